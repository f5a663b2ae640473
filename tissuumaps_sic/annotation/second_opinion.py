"""Where a second model says another class than the labels of a session: what to look at for errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tissuumaps_sic.annotation.lending import Guest
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import fit
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.labelling.second_opinion import Differing
from tissuumaps_sic.slides.umap import find_thin

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide


def ask_second_opinion(
    slide: EmbeddedSlide,
    session: Session,
    n: int,
    *,
    method: Method = DEFAULT_METHOD,
    guests: Sequence[Guest] = (),
    left_out: Iterable[int] = (),
    progress: Progress | None = None,
) -> list[Differing]:
    """Return where a second model says another class than the labels, by pair of classes, the rarest first.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        Its seeds decide; it is not changed.
    n : int
        How many patches of each pair at most.
    method : "sic" or "refine", default="refine"
    guests : sequence of Guest, default=()
        Seeds of other slides.
    left_out : iterable of int
        Rows that are not to be asked about: what was shown already, or what nobody can tell.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    list of Differing
        Classes are places in the session's classes. Patches of little tissue are left out.

    Raises
    ------
    SessionError
        When fewer than two classes have seeds, or the embeddings cannot be clustered.
    """
    stretch = Stretch.whole(progress)
    fitting = stretch.part(0.0, 0.8).follow
    estimator, used = fit(
        slide, session.classes, session.seeds, method=method, guests=guests, progress=fitting
    )
    candidates = ~find_thin(slide.path, slide.n_patches)
    candidates[np.fromiter(left_out, np.intp)] = False
    try:
        found = estimator.second_opinion(n, candidates=candidates, progress=stretch.part(0.8, 1.0).follow)
    except ValueError as error:
        raise SessionError(str(error)) from error
    return [replace(each, classes=(used[each.classes[0]], used[each.classes[1]])) for each in found]
