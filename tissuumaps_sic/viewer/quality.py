"""Endpoints of the check of labels: begun, asked patch by patch without their labels, and told.

What a page does, in order. ``draw`` begins a check (writes; runs the clustering again where its scores are no
longer known, so it may take as long as a run and has a ``job``). ``questions`` gives the next patches.
``change`` of the kind "answer" (``patch``, a row; ``label``, a class by its place in the list, or null where
the reader cannot tell) keeps an answer like any other change: with the revision, in the outbox, taken back by
"undo". ``verify`` tells the figures. The state that ``open`` and ``change`` return has ``sample``: null, or
how many were ``answered`` and ``unclear``; a check goes on where it was left, in any later window.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tissuumaps_sic.verification.check import (
    FEWEST_ANSWERS,
    WANTED_ANSWERS,
    begin_check,
    compare_checks,
    join_check,
    list_questions,
    verify,
)
from tissuumaps_sic.verification.readers import ReaderAgreement
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import DrawRequest, QuestionsRequest, RequestError, VerifyRequest
from tissuumaps_sic.viewer.runs import require_run


def draw_sample(shared: Shared, reach: Reach, request: DrawRequest) -> Header:
    """Begin a check of the last run's labels, in place of any before it; return the new state.

    With ``like``, the name of another session of the slide, the patches are those of its check, so that two
    readers answer the same ones. Without labels it is refused (404). "undo" takes it back.
    """
    h5ad, opened, turns = reach.h5ad, shared.opened, shared.turns
    with turns.job(h5ad, request.job) as progress:
        slide = opened.slide(h5ad)
        session = opened.seen_session(slide, request)
        require_run(session)
        scores = None
        if request.like is None:
            with turns.clustering(h5ad, progress):
                scores = shared.label(slide, session, request).scores
        with turns.writing(h5ad, progress, has_place=True):
            slide = opened.slide(h5ad)
            session = opened.seen_session(slide, request)
            if scores is None:
                other = opened.session(slide, request.like or "")
                session = join_check(session, other, user=request.user)
            else:
                session = begin_check(session, scores, user=request.user)
            opened.save(h5ad, session, request.session)
        return opened.state(slide, session, request)


def ask_questions(shared: Shared, reach: Reach, request: QuestionsRequest) -> Header:
    """Return which patches to judge next, and nothing of what they are labelled.

    ``patches`` are rows in the order in which they are to be answered, ``n`` at most: the first is asked now,
    the others are there so that their pictures can be fetched. What is passed over, in that a later one is
    answered, counts as not told. It is empty when all patches of the slide were answered. ``answered`` is how
    many there are, ``fewest`` how many it takes to tell figures, ``wanted`` how many to aim for. An answer to
    a patch that was not asked about is refused (422). Refused where there is no check (404).
    """
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    if session.sample is None:
        raise RequestError(404, "no check was begun yet; begin one")
    return {
        "patches": list_questions(slide, session, request.n),
        "answered": len(session.answers),
        "fewest": FEWEST_ANSWERS,
        "wanted": WANTED_ANSWERS,
    }


def send_quality(shared: Shared, reach: Reach, request: VerifyRequest) -> Header:
    """Return how good the labels are, as `verification.check.Verification` has it, all figures included.

    ``state`` is "none" (no check was begun), "few" (fewer answers than ``fewest``), "void" (a patch that was
    answered has become a seed of the labels since) or "ready"; ``told`` says it in a sentence, which is to be
    shown as it is. When it is ready: ``accuracy``, ``classes`` (each with ``name``, ``color``, ``patches``,
    ``answers``, ``precision``, ``recall``, ``f1``, ``area`` in mm², ``share`` of the tissue,
    ``labelled_area``), ``halving``: about how many more answers halve the interval of the F1 of the class
    ``halved``. A figure is an object of ``value``, ``low`` and ``high``, or null. ``answers`` were told,
    ``unclear`` not; ``is_reweighted``: the labels have changed since the drawing, and the answers still hold.

    With ``other``, the name of another session, ``agreement`` tells how far its answers agree with these on
    the patches that both told: ``patches``, ``share`` and ``kappa`` (figures), ``names`` of the classes and
    ``table`` (rows: this session). Not told is which patches are labelled otherwise than they were judged:
    who corrects just those leaves a check that holds for nothing.
    """
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    told = asdict(verify(slide, session)) | {"fewest": FEWEST_ANSWERS, "wanted": WANTED_ANSWERS}
    if request.other is not None:
        other = shared.opened.session(slide, request.other)
        told["agreement"] = tell_agreement(*compare_checks(slide, session, other))
    return told


def tell_agreement(found: ReaderAgreement, names: tuple[str, ...]) -> dict[str, Any]:
    """Return how far two readers agree, as JSON has it."""
    return {
        "patches": found.n_patches,
        "share": found.share and asdict(found.share),
        "kappa": found.kappa and asdict(found.kappa),
        "names": list(names),
        "table": found.table.tolist(),
    }
