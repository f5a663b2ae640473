"""Seeds that travel: what was seeded on one slide labels another one of the same embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic import refine
from tissuumaps_sic.clustering import SeededIterativeClustering
from tissuumaps_sic.progress import Progress, Stretch
from tissuumaps_sic.refine import Guests
from tissuumaps_sic.session import Run, SeedClass, SessionError, make_run, seed_vector
from tissuumaps_sic.slides import MAIN, EmbeddedSlide, provenance

# What must be equal for embeddings of two slides to lie in one space: where it is recorded, and its name.
_SAME = (
    (("encoder", "name"), "encoder"),
    (("encoder", "weights_sha256"), "weights (sha256)"),
    (("encoder", "transform"), "transform"),
    (("grid", "target_mpp"), "mpp"),
    (("grid", "patch_size"), "patch size"),
)


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
        Labels of `target`; its parameters name the slide that the seeds are from.
    scores : ndarray of shape (n_patches, n_classes), float32
        As `SeededIterativeClustering.scores_`.
    unlike : ndarray of shape (n_patches,), bool
        Which patches are unlike any seed (`refine.unlike`): their labels are guesses.

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
    rows = np.flatnonzero(y >= 0)
    stretch = Stretch.whole(progress)
    estimator = SeededIterativeClustering(method="refine")
    try:
        theirs = source.prepare(stretch.part(0.0, 0.1))
        guests = Guests(theirs.neighbourhoods(rows), y[rows])
        ours = target.prepare(stretch.part(0.1, 0.2))
        nobody = np.full(target.n_patches, -1)
        estimator.fit(ours, nobody, guests=guests, progress=stretch.part(0.2, 1.0).follow)
    except ValueError as error:
        raise SessionError(f"{target.path.name}: {error}") from error
    run = make_run(estimator, {}, len(classes), embedding=target.embedding)
    origin = {
        "seeds_of": source.name,
        "seeds_fingerprint": source.fingerprint,
        "seeds_embedding": source.embedding,
        "foreign_seeds": dict(seeds),
    }
    run = run.model_copy(update={"parameters": {**run.parameters, **origin}})
    return run, estimator.scores_, refine.unlike(target.prepared, guests)


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


def _found(known: Mapping[str, Any], keys: tuple[str, str]) -> Any:
    section = known.get(keys[0])
    return section.get(keys[1]) if isinstance(section, Mapping) else None
