"""Seeds that travel: what was seeded on one slide labels another one of the same embedding.

A session borrows seeds (`lend`, `Session.borrow`); a run takes them with its own (`guests_of`, `cluster`).
Only the seeds are kept, by the names of their patches: their embeddings are read from the slide that lends,
which must therefore be where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.session import (
    Guest,
    Loan,
    Run,
    SeedClass,
    SessionError,
    UsedLoan,
    cluster,
    joined,
    seed_vector,
)
from tissuumaps_sic.labelling import refine
from tissuumaps_sic.labelling.progress import Progress
from tissuumaps_sic.labelling.refine import Guests
from tissuumaps_sic.slides.slide import MAIN, EmbeddedSlide, Outline, open_slide_file, provenance

# What must be equal for embeddings of two slides to lie in one space: where it is recorded, and its name.
_SAME = (
    (("encoder", "name"), "encoder"),
    (("encoder", "weights_sha256"), "weights (sha256)"),
    (("encoder", "transform"), "transform"),
    (("grid", "target_mpp"), "mpp"),
    (("grid", "patch_size"), "patch size"),
)

Opener = Callable[[Path, str], EmbeddedSlide]

# Which files may be read because a session names them. A server sets this for a request, so that whatever
# comes to replay a session in it is bound, however it got there.
_ADMITS: ContextVar[Callable[[Path], bool] | None] = ContextVar("admits", default=None)


@contextmanager
def only_from(admits: Callable[[Path], bool]) -> Iterator[None]:
    """Let sessions in this thread borrow only from files, with all links followed, that `admits` admits."""
    token = _ADMITS.set(admits)
    try:
        yield
    finally:
        _ADMITS.reset(token)


def lend(
    source: EmbeddedSlide, seeds: Mapping[str, int], target: EmbeddedSlide, *, session: str = ""
) -> Loan:
    """Return seeds of one slide as a session of another one borrows them.

    Parameters
    ----------
    source : EmbeddedSlide
    seeds : mapping of str to int
        Class of each seeded patch of `source` by the patch's name.
    target : EmbeddedSlide
        The slide that borrows.
    session : str, default=""
        Name of the session that the seeds are from.

    Raises
    ------
    SessionError
        When there are no seeds, the two are one slide or lie on two drives, a seeded patch is not in the
        source's file, or no two of their embeddings can be compared.
    """
    if not seeds:
        raise SessionError(f"{source.name}: has no seeds to borrow; seed it first")
    seed_vector(source, seeds)
    there, here = source.path.resolve(), target.path.resolve()
    if there == here:
        raise SessionError(f"{source.name}: a slide cannot borrow its own seeds; choose another one")
    comparable(source, target)
    try:
        path = Path(os.path.relpath(there, here.parent)).as_posix()
    except ValueError as error:
        raise SessionError(
            f"{source.path}: lies on another drive than {target.path}; put both on one"
        ) from error
    return Loan(
        slide=source.name, path=path, session=session, fingerprint=source.fingerprint, seeds=dict(seeds)
    )


def lender_of(h5ad: Path, loan: Loan) -> Path:
    """Return the h5ad that a session of `h5ad` borrows from.

    Raises
    ------
    SessionError
        When it is not there, or lies where it may not be read from (`only_from`).
    """
    # Normalised first: ".." leaves the folder that the path names, and not where a link in it leads.
    path = Path(os.path.normpath(h5ad.resolve().parent / loan.path)).resolve()
    admits = _ADMITS.get()
    if not path.is_file() or (admits is not None and not admits(path)):
        raise SessionError(
            f"{loan.path}: is not there, and {len(loan.seeds)} seeds are borrowed from it; put that file "
            "back, or drop the borrowed seeds"
        )
    return path


def guests_of(
    slide: EmbeddedSlide, loans: Iterable[Loan], *, opener: Opener = open_slide_file
) -> tuple[Guest, ...]:
    """Return what a run on an embedding takes of borrowed seeds.

    Parameters
    ----------
    slide : EmbeddedSlide
        The slide that borrows, with the embedding that is to be run on.
    loans : iterable of Loan
        A `UsedLoan` gives what it gave to the run that used it, or nothing.
    opener : callable, default=open_slide_file
        Opens an embedding of an h5ad.

    Raises
    ------
    SessionError
        When a slide that lends is not there, is another one than it was, or has no embedding like that.
    SlideFileError
        When it cannot be read.
    """
    return tuple(_guest(slide, loan, opener) for loan in loans)


def _guest(slide: EmbeddedSlide, loan: Loan, opener: Opener) -> Guest:
    path = lender_of(slide.path, loan)
    source = opener(path, loan.embedding if isinstance(loan, UsedLoan) else MAIN)
    if source.fingerprint != loan.fingerprint:
        raise SessionError(
            f"{loan.path}: holds other patches than when its seeds were borrowed; borrow them again, or put "
            "the file back"
        )
    if isinstance(loan, UsedLoan):
        if source.sample != loan.sample:
            raise SessionError(
                f"{loan.path}: its embeddings have changed since the labels were made from its seeds; run "
                "the clustering again"
            )
        used = loan
    else:
        source = comparable(source, slide, opener=opener)
        used = UsedLoan(**loan.model_dump(), embedding=source.embedding, sample=source.sample)
    y = seed_vector(source, loan.seeds)
    rows = np.flatnonzero(y >= 0)
    try:
        return Guest(used, Guests(source.prepared.neighbourhoods(rows), y[rows]))
    except ValueError as error:
        raise SessionError(f"{loan.path}: {error}") from error


def unlike(
    slide: EmbeddedSlide, seeds: Mapping[str, int], guests: Sequence[Guest]
) -> npt.NDArray[np.bool_] | None:
    """Return which patches are unlike any seed, borrowed or not (`refine.find_unlike`), (n_patches,), bool.

    Their labels are guesses. None where nothing is borrowed: every seed is then of this slide.
    """
    together = joined(guests)
    if together is None:
        return None
    return refine.find_unlike(slide.prepared, together, seed_vector(slide, seeds))


def transfer(
    source: EmbeddedSlide,
    seeds: Mapping[str, int],
    classes: Sequence[SeedClass],
    target: EmbeddedSlide,
    *,
    progress: Progress | None = None,
) -> tuple[Run, npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Label a slide from the seeds of another one, by the refined method.

    The embeddings that the two were opened with must be comparable (`check_comparable`).

    Parameters
    ----------
    source : EmbeddedSlide
        The slide that was seeded.
    seeds : mapping of str to int
        Class of each seeded patch of `source` by the patch's name.
    classes : sequence of SeedClass
    target : EmbeddedSlide
        The slide to label.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    run : Run
        Labels of `target`; its loan names the slide that the seeds are from.
    scores : ndarray of shape (n_patches, n_classes), float32
        As `SeededIterativeClustering.scores_`.
    unlike : ndarray of shape (n_patches,), bool
        Which patches are unlike any seed (`refine.find_unlike`): their labels are guesses.

    Raises
    ------
    SessionError
        When the embeddings of the two slides cannot be compared, or a class has no seeds.
    """
    check_comparable(source, target)
    y = seed_vector(source, seeds)
    for label, seed_class in enumerate(classes):
        if not (y == label).any():
            raise SessionError(f"“{seed_class.name}” has no seeds on {source.name}; seed it there first")
    loan = lend(source, seeds, target)
    used = UsedLoan(**loan.model_dump(), embedding=source.embedding, sample=source.sample)
    guests = guests_of(target, [used], opener=lambda path, _: _same(source, path))
    run, scores = cluster(target, classes, {}, method="refine", guests=guests, progress=progress)
    found = unlike(target, {}, guests)
    assert found is not None
    return run, scores, found


def _same(source: EmbeddedSlide, path: Path) -> EmbeddedSlide:
    assert source.path.resolve() == path
    return source


def comparable(
    source: EmbeddedSlide, target: EmbeddedSlide, *, opener: Opener = open_slide_file
) -> EmbeddedSlide:
    """Return the source with an embedding like the target's: that of the same name, else any that is.

    Raises
    ------
    SessionError
        When there is none (`check_comparable`).
    """
    names = [each.name for each in source.embeddings] or [source.embedding]
    names.sort(key=lambda name: name != target.embedding)
    refusal: SessionError | None = None
    for name in names:
        candidate = source if name == source.embedding else opener(source.path, name)
        try:
            check_comparable(candidate, target)
        except SessionError as error:
            refusal = refusal or error
        else:
            return candidate
    assert refusal is not None
    raise refusal


def check_comparable(source: EmbeddedSlide, target: EmbeddedSlide) -> None:
    """See that embeddings of two slides lie in one space.

    Raises
    ------
    SessionError
        When one has no provenance, or encoder, weights, transform, mpp or patch size differ; the message
        names what.
    """
    one, other = (provenance(slide.path, slide.embedding) for slide in (source, target))
    for known, slide in ((one, source), (other, target)):
        if not known:
            which = "it" if slide.embedding == MAIN else f"its embedding {slide.embedding}"
            raise SessionError(
                f"{slide.path.name}: does not tell how {which} was embedded (uns['embedder']), so seeds "
                "cannot travel to or from it; embed the slide again (embedder embed)"
            )
    differing = [
        f"{name} ({_found(one, keys)} there, {_found(other, keys)} here)"
        for keys, name in _SAME
        if _found(one, keys) != _found(other, keys)
    ]
    if source.X.shape[1] != target.X.shape[1]:
        differing.append(f"length of an embedding ({source.X.shape[1]} there, {target.X.shape[1]} here)")
    if differing:
        raise SessionError(
            f"{target.path.name}: was not embedded as {source.path.name} was: {', '.join(differing)}; "
            "embed one of them as the other"
        )


def spaces_of(told: Outline) -> frozenset[str]:
    """Return a digest for the space of each embedding of a slide: with one in common two are comparable."""
    found = set()
    for each in told.embeddings:
        known = told.provenance[each.name]
        if known:
            facts = [_found(known, keys) for keys, _ in _SAME]
            text = json.dumps([*facts, each.n_features], sort_keys=True, default=str)
            found.add(hashlib.sha256(text.encode()).hexdigest()[:16])
    return frozenset(found)


def _found(known: Mapping[str, Any], keys: tuple[str, str]) -> Any:
    section = known.get(keys[0])
    return section.get(keys[1]) if isinstance(section, Mapping) else None
