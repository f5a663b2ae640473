"""Endpoints that help a person to seed: where next, why a patch is of its class, what is like no seed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.doubts import judge_session
from tissuumaps_sic.annotation.lending import comparable, flag_unlike, lender_of
from tissuumaps_sic.annotation.loans import Loan
from tissuumaps_sic.annotation.next_patches import suggest_next
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.second_opinion import ask_second_opinion
from tissuumaps_sic.annotation.session import seed_vector
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.alike import cosines
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.opened import Shared, read_seeds
from tissuumaps_sic.viewer.remarks import skipped_rows
from tissuumaps_sic.viewer.requests import (
    JudgeRequest,
    OpinionRequest,
    RequestError,
    SuggestRequest,
    UnlikeRequest,
    WhyRequest,
    require_patch,
)

# Enough for a share that is told in whole percent, and half the time of the estimator's own number.
_RESAMPLES = 10
# Seeds of a class that are shown beside a patch.
_SHOWN = 3


def suggest_patches(shared: Shared, reach: Reach, request: SuggestRequest) -> Header:
    """Return rows of the patches to seed next, and how far the labels hang on single seeds.

    Those that were shown, or that a reader could not tell, are left out; those of little tissue come last.
    ``flips`` is the share of patches whose label changes when the seeds are resampled. While too few seeds
    say what is in doubt, ``cold`` is true: the patches are typical of the slide, and ``flips`` is null.
    """
    h5ad, opened, turns = reach.h5ad, shared.opened, shared.turns
    slide = opened.slide(h5ad, request.embedding)
    session = opened.seen_session(slide, request)
    with turns.job(h5ad, request.job) as progress, turns.clustering(h5ad, progress):
        found = suggest_next(
            slide,
            session,
            request.n,
            method=request.method,
            guests=opened.guests(slide, session.loans),
            left_out={*request.shown, *skipped_rows(slide, session)},
            n_resamples=_RESAMPLES,
            progress=progress,
        )
    return {"patches": found.patches.tolist(), "flips": found.flips, "cold": found.is_cold}


def judge_seeds(shared: Shared, reach: Reach, request: JudgeRequest) -> Header:
    """Return the seeds that all other seeds contradict, the most contradicted first.

    ``doubtful`` lists their ``patch``, their ``label``, the class ``expected`` and how surely (``score``, 0
    to 1); ``accuracy`` is the share of the ``judged`` seeds whose class the others say too, null where there
    is none.
    """
    h5ad, opened, turns = reach.h5ad, shared.opened, shared.turns
    slide = opened.slide(h5ad, request.embedding)
    session = opened.seen_session(slide, request)
    with turns.job(h5ad, request.job) as progress, turns.clustering(h5ad, progress):
        found = judge_session(
            slide,
            session,
            method=request.method,
            guests=opened.guests(slide, session.loans),
            progress=progress,
        )
    told = zip(found.patches, found.labels, found.expected, found.scores, strict=True)
    return {
        "doubtful": [
            {"patch": int(patch), "label": int(label), "expected": int(other), "score": float(score)}
            for patch, label, other, score in told
        ],
        "accuracy": found.accuracy,
        "judged": found.n_judged,
    }


def ask_opinion(shared: Shared, reach: Reach, request: OpinionRequest) -> Header:
    """Return where a second model says another class than the labels.

    ``pairs`` lists the pairs of ``classes`` that are taken for each other, the rarest first: ``patches`` to
    look at, the strongest first and spread over the slide, and of how many in all (``n_patches``).
    """
    h5ad, opened, turns = reach.h5ad, shared.opened, shared.turns
    slide = opened.slide(h5ad, request.embedding)
    session = opened.seen_session(slide, request)
    shown = [row for row in request.shown if row < slide.n_patches]
    with turns.job(h5ad, request.job) as progress, turns.clustering(h5ad, progress):
        found = ask_second_opinion(
            slide,
            session,
            request.n,
            method=request.method,
            guests=opened.guests(slide, session.loans),
            left_out={*shown, *skipped_rows(slide, session)},
            progress=progress,
        )
    return {
        "pairs": [
            {"classes": list(each.classes), "patches": each.patches.tolist(), "n_patches": each.n_patches}
            for each in found
        ]
    }


def explain_patch(shared: Shared, reach: Reach, request: WhyRequest) -> Header:
    """Return the seeds of each class that a patch is most like, by cosine similarity.

    ``nearest`` lists at most `_SHOWN` for each class that has any, the most alike first, and the same of
    each slide that lends seeds, whose name is then ``slide`` and whose ``patches`` are names; ``margin``
    is how much more alike the nearest seed is than the nearest one of another class.
    """
    slide = shared.opened.slide(reach.h5ad, request.embedding)
    session = shared.opened.seen_session(slide, request)
    require_patch(request.patch, slide.n_patches)
    row = slide.X[request.patch]
    nearest = _list_nearest(row, slide, read_seeds(slide, session))
    for loan in session.loans:
        # A slide that is gone is left out, and told of at the next run.
        with suppress(SessionError, SlideFileError):
            source = shared.opened.slide(lender_of(slide.path, loan))
            source = comparable(source, slide, opener=shared.opened.slide)
            nearest += _list_nearest(row, source, seed_vector(source, loan.seeds), loan)
    nearest.sort(key=lambda seeds: -seeds["similarities"][0])
    others = [seeds for seeds in nearest if seeds["label"] != nearest[0]["label"]]
    margin = nearest[0]["similarities"][0] - others[0]["similarities"][0] if others else None
    return {"patch": request.patch, "nearest": nearest, "margin": margin}


def _list_nearest(
    row: npt.NDArray[Any], source: EmbeddedSlide, y: npt.NDArray[np.int64], loan: Loan | None = None
) -> list[dict[str, Any]]:
    """Return the seeds of each class that a patch's row of X is most like, as `explain_patch`."""
    rows = np.flatnonzero(y >= 0)
    similarities = cosines(row, source.X, rows)
    if loan is None and not np.isfinite(similarities).all():
        raise SlideFileError(
            f"{source.path.name}: X holds NaN or infinity; leave those patches out or embed them again"
        )
    nearest = []
    for label in np.unique(y[rows]):
        of_class = np.flatnonzero(y[rows] == label)
        best = of_class[np.argsort(-similarities[of_class], kind="stable")[:_SHOWN]]
        if np.isfinite(similarities[best]).all():
            seeds = rows[best].tolist()
            nearest.append(
                {
                    "label": int(label),
                    "patches": [str(source.patch_names[seed]) for seed in seeds] if loan else seeds,
                    "similarities": similarities[best].tolist(),
                    "slide": loan and loan.slide,
                }
            )
    return nearest


def mark_unlike(shared: Shared, reach: Reach, request: UnlikeRequest) -> Answer:
    """Return which patches are unlike any seed, borrowed or not, (n_patches,) uint8, and how many."""
    opened, turns = shared.opened, shared.turns
    slide = opened.slide(reach.h5ad, request.embedding)
    session = opened.seen_session(slide, request)
    if not session.loans:
        raise RequestError(404, "nothing is borrowed: every seed is of this slide")
    try:
        with turns.job(reach.h5ad, None), turns.clustering(reach.h5ad):
            is_unlike = flag_unlike(slide, session.seeds, opened.guests(slide, session.loans))
    except ValueError as error:
        raise SessionError(str(error)) from error
    assert is_unlike is not None
    return {"n_patches": slide.n_patches, "unlike": int(is_unlike.sum())}, is_unlike.astype(np.uint8)
