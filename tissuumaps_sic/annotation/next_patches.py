"""Which patches to look at next: typical ones of an untouched slide, and later those that are in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tissuumaps_sic.annotation.lending import Guest, join_guests
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import fit
from tissuumaps_sic.annotation.session import Session, seed_vector
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.labelling.typical import choose_typical, is_untold
from tissuumaps_sic.slidefile.arrays import Index
from tissuumaps_sic.slides.umap import find_thin

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

# Each costs as much as one that is asked for.
_MOST_LEFT_OUT = 100


@dataclass(frozen=True)
class Suggestion:
    """Patches to look at next.

    Attributes
    ----------
    patches : ndarray of shape (n,), intp
        Rows, the most telling first.
    is_cold : bool
        Whether they are typical of the slide, because too few seeds say what is in doubt.
    flips : float or None
        Share of the patches whose label changes when the seeds are resampled, 0 to 1; None where that was
        not asked for, or cannot be told yet.
    """

    patches: Index
    is_cold: bool
    flips: float | None = None


def suggest_next(
    slide: EmbeddedSlide,
    session: Session,
    n: int,
    *,
    method: Method = DEFAULT_METHOD,
    guests: Sequence[Guest] = (),
    left_out: Iterable[int] = (),
    n_resamples: int = 0,
    progress: Progress | None = None,
) -> Suggestion:
    """Return the patches whose classes would tell most about the slide.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        Its seeds decide; it is not changed.
    n : int
        How many at most.
    method : "sic" or "refine", default="refine"
    guests : sequence of Guest, default=()
        Seeds of other slides.
    left_out : iterable of int
        Rows that are not to be suggested: what was shown already, or what nobody can tell.
    n_resamples : int, default=0
        How often seeds are resampled for `Suggestion.flips`.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    Suggestion
        Rows of patches, the most telling first.

    Raises
    ------
    SessionError
        When the embeddings cannot be clustered.
    """
    stretch = Stretch.whole(progress)
    y = seed_vector(slide, session.seeds)
    together = join_guests(guests)
    every = y if together is None else np.concatenate([y, together.labels])
    passed = np.fromiter(left_out, np.intp)
    if is_untold(every):
        return _suggest_typical(slide, n, np.concatenate([np.flatnonzero(y >= 0), passed]), stretch)
    fitting, resampling, looking = (
        stretch.part(*ends).follow for ends in ((0.0, 0.5), (0.5, 0.95), (0.95, 1.0))
    )
    estimator, _ = fit(slide, session.classes, session.seeds, method=method, guests=guests, progress=fitting)
    try:
        flips = float(estimator.flips(n_resamples, progress=resampling).mean()) if n_resamples else None
        found = estimator.suggest(n + min(len(passed), _MOST_LEFT_OUT), progress=looking)
    except ValueError as error:
        raise SessionError(str(error)) from error
    patches = found[~np.isin(found, passed)]
    thin = find_thin(slide.path, slide.n_patches)[patches]
    return Suggestion(np.concatenate([patches[~thin], patches[thin]])[:n], is_cold=False, flips=flips)


def _suggest_typical(slide: EmbeddedSlide, n: int, clicked: Index, stretch: Stretch) -> Suggestion:
    candidates = ~find_thin(slide.path, slide.n_patches)
    try:
        prepared = slide.prepare(stretch.part(0.0, 0.3))
        prepared.ready(stretch.part(0.3, 0.8))
        choosing = stretch.part(0.8, 1.0, "Looking for typical patches")
        patches = choose_typical(prepared, n, clicked, candidates=candidates, stretch=choosing)
    except ValueError as error:
        raise SessionError(f"{slide.path.name}: {error}") from error
    return Suggestion(patches, is_cold=True)
