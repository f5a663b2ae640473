"""Which seeds the others contradict: clicks that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tissuumaps_sic.annotation.lending import Guest
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import fit
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.labelling.judged import JudgedSeeds
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.slidefile.arrays import Index, Labels, Singles

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide


@dataclass(frozen=True)
class Doubts:
    """What the seeds of a session say of each other.

    Attributes
    ----------
    patches : ndarray of shape (n_doubtful,), intp
        Rows of the seeds that the others contradict clearly, the most contradicted first.
    labels, expected : ndarray of shape (n_doubtful,), int64
        The class that each was given, and the one that the others say; places in the session's classes.
    scores : ndarray of shape (n_doubtful,), float32
        How surely they say so, 0 to 1.
    accuracy : float or None
        Share of all judged seeds whose class the others say too: of seeds, not of the slide.
    n_judged : int
        How many are judged; a class's only seed is not.
    """

    patches: Index
    labels: Labels
    expected: Labels
    scores: Singles
    accuracy: float | None
    n_judged: int


def judge_session(
    slide: EmbeddedSlide,
    session: Session,
    *,
    method: Method = DEFAULT_METHOD,
    guests: Sequence[Guest] = (),
    progress: Progress | None = None,
) -> Doubts:
    """Leave each seed of a session out in turn and tell which of them the others contradict.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
    method : "sic" or "refine", default="refine"
    guests : sequence of Guest, default=()
        Seeds of other slides, which judge as well and are not judged.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    Doubts

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
    try:
        judged: JudgedSeeds = estimator.judge_seeds(progress=stretch.part(0.8, 1.0).follow)
    except ValueError as error:
        raise SessionError(str(error)) from error
    order = np.argsort(judged.margins, kind="stable")
    doubtful = order[judged.is_doubtful[order]]
    code = np.array(used)
    return Doubts(
        judged.patches[doubtful],
        code[judged.labels[doubtful]],
        code[judged.expected[doubtful]],
        judged.scores[doubtful],
        judged.accuracy if len(judged.labels) else None,
        len(judged.labels),
    )
