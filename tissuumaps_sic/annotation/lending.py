"""Seeds that travel: what was seeded on one slide labels another one of the same embedding.

A session borrows seeds (`lend`, `Session.borrow`); a run takes them with its own (`guests_of`,
`runs.cluster`). Only the seeds are kept, by the names of their patches: their embeddings are read from the
slide that lends, which must therefore be where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.loans import Loan, UsedLoan
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.session import seed_vector
from tissuumaps_sic.labelling import refine
from tissuumaps_sic.labelling.refine import Guests
from tissuumaps_sic.slidefile.provenance import MAIN, Provenance, read_provenance
from tissuumaps_sic.slides.slide import EmbeddedSlide, Outline, open_slide_file

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


@dataclass(frozen=True)
class Guest:
    """Seeds of another slide, with their embeddings.

    Attributes
    ----------
    loan : UsedLoan
        Whose they are.
    seeds : Guests
        What the clustering takes.
    """

    loan: UsedLoan
    seeds: Guests


@contextmanager
def only_from(admits: Callable[[Path], bool]) -> Iterator[None]:
    """Let sessions in this thread borrow only from files, with all links followed, that `admits` admits.

    Parameters
    ----------
    admits : callable
    """
    token = _ADMITS.set(admits)
    try:
        yield
    finally:
        _ADMITS.reset(token)


def is_admitted(path: Path) -> bool:
    """Return whether sessions in this thread may take something from a file (`only_from`).

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    admits = _ADMITS.get()
    return admits is None or admits(path)


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

    Returns
    -------
    Loan

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
            f"{source.path}: lies on another drive than {target.path}; put both on one drive"
        ) from error
    return Loan(
        slide=source.name, path=path, session=session, fingerprint=source.fingerprint, seeds=dict(seeds)
    )


def lender_of(h5ad: Path, loan: Loan) -> Path:
    """Return the h5ad that a session of `h5ad` borrows from.

    Parameters
    ----------
    h5ad : Path
    loan : Loan

    Returns
    -------
    Path

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

    Returns
    -------
    tuple of Guest

    Raises
    ------
    SessionError
        When a slide that lends is not there, is another one than it was, or has no embedding like that.
    SlideFileError
        When it cannot be read.
    """
    return tuple(_guest(slide, loan, opener) for loan in loans)


def _guest(slide: EmbeddedSlide, loan: Loan, opener: Opener) -> Guest:
    source, used = open_lent(slide, loan, opener=opener)
    y = seed_vector(source, loan.seeds)
    rows = np.flatnonzero(y >= 0)
    try:
        return Guest(used, Guests(source.prepared.neighbourhoods(rows), y[rows]))
    except ValueError as error:
        raise SessionError(f"{loan.path}: {error}") from error


def open_lent(
    slide: EmbeddedSlide, loan: Loan, *, opener: Opener = open_slide_file
) -> tuple[EmbeddedSlide, UsedLoan]:
    """Open the embeddings of borrowed seeds; parameters and errors are those of `guests_of`.

    Parameters
    ----------
    slide : EmbeddedSlide
    loan : Loan
    opener : callable, default=open_slide_file

    Returns
    -------
    (EmbeddedSlide, UsedLoan)
    """
    path = lender_of(slide.path, loan)
    source = opener(path, loan.embedding if isinstance(loan, UsedLoan) else MAIN)
    if source.fingerprint != loan.fingerprint:
        raise SessionError(
            f"{loan.path}: holds other patches than when its seeds were borrowed; borrow them again, or put "
            "the file back"
        )
    if not isinstance(loan, UsedLoan):
        source = comparable(source, slide, opener=opener)
        return source, UsedLoan(**loan.model_dump(), embedding=source.embedding, sample=source.sample)
    if source.sample != loan.sample:
        raise SessionError(
            f"{loan.path}: its embeddings have changed since the labels were made from its seeds; run "
            "the clustering again"
        )
    return source, loan


def join_guests(guests: Sequence[Guest]) -> Guests | None:
    """Return the seeds of all guests in order, as one; None where there are none.

    Parameters
    ----------
    guests : sequence of Guest

    Returns
    -------
    Guests or None
    """
    if not guests:
        return None
    return Guests(
        np.concatenate([each.seeds.embeddings for each in guests]),
        np.concatenate([each.seeds.labels for each in guests]),
    )


def flag_unlike(
    slide: EmbeddedSlide, seeds: Mapping[str, int], guests: Sequence[Guest]
) -> npt.NDArray[np.bool_] | None:
    """Return which patches are unlike any seed, borrowed or not (`refine.find_unlike`), (n_patches,), bool.

    Their labels are guesses. None where nothing is borrowed: every seed is then of this slide.

    Parameters
    ----------
    slide : EmbeddedSlide
    seeds : mapping of str to int
    guests : sequence of Guest

    Returns
    -------
    ndarray of shape (n_patches,), bool, or None
    """
    together = join_guests(guests)
    if together is None:
        return None
    return refine.find_unlike(slide.prepared, together, seed_vector(slide, seeds))


def comparable(
    source: EmbeddedSlide, target: EmbeddedSlide, *, opener: Opener = open_slide_file
) -> EmbeddedSlide:
    """Return the source with an embedding like the target's: that of the same name, else any that is.

    Parameters
    ----------
    source : EmbeddedSlide
    target : EmbeddedSlide
    opener : callable, default=open_slide_file

    Returns
    -------
    EmbeddedSlide

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
    one, other = (read_provenance(each.path).of_embedding(each.embedding) for each in (source, target))
    for known, slide in ((one, source), (other, target)):
        if not known.is_told:
            which = "it" if slide.embedding == MAIN else f"its embedding {slide.embedding}"
            raise SessionError(
                f"{slide.path.name}: does not say how {which} was embedded (uns['embedder']), so that seeds "
                "cannot travel to or from it; embed the slide again (embedder embed)"
            )
    differing = [
        f"{name} ({_fact(one, keys)} there, {_fact(other, keys)} here)"
        for keys, name in _SAME
        if _fact(one, keys) != _fact(other, keys)
    ]
    if source.X.shape[1] != target.X.shape[1]:
        differing.append(f"length of an embedding ({source.X.shape[1]} there, {target.X.shape[1]} here)")
    if differing:
        raise SessionError(
            f"{target.path.name}: was not embedded as {source.path.name} was: {', '.join(differing)}; "
            "embed one of them as the other"
        )


def spaces_of(outline: Outline) -> frozenset[str]:
    """Return a digest for the space of each embedding of a slide: with one in common two are comparable.

    Parameters
    ----------
    outline : Outline

    Returns
    -------
    frozenset of str
    """
    found = set()
    for each in outline.embeddings:
        known = outline.provenance[each.name]
        if known.is_told:
            facts = [_fact(known, keys) for keys, _ in _SAME]
            text = json.dumps([*facts, each.n_features], sort_keys=True, default=str)
            found.add(hashlib.sha256(text.encode()).hexdigest()[:16])
    return frozenset(found)


def _fact(known: Provenance, keys: tuple[str, str]) -> Any:
    return getattr(getattr(known, keys[0]), keys[1])
