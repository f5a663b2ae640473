"""Endpoints that run the clustering on a session's seeds, and tell what came of it."""

from __future__ import annotations

import time

from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.runs import agree, cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Answer
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import OpenRequest, RequestError, RunRequest, ScoresRequest


def run_clustering(shared: Shared, reach: Reach, request: RunRequest) -> Answer:
    """Run the clustering; return the new state and the labels, (n_patches,) uint8."""
    h5ad, opened, turns = reach.h5ad, shared.opened, shared.turns
    with turns.job(h5ad, request.job) as progress:
        slide = opened.slide(h5ad, request.embedding)
        session = opened.seen_session(slide, request)
        started = time.perf_counter()
        # Other pages go on seeding meanwhile, in sessions of their own.
        with turns.clustering(h5ad, progress):
            run, scores = cluster(
                slide,
                session.classes,
                session.seeds,
                method=request.method,
                border=request.border,
                guests=opened.guests(slide, session.loans),
                progress=progress,
            )
        seconds = time.perf_counter() - started
        # Its place is its own until it is saved, so that what was worked out is never turned away.
        with turns.writing(h5ad, progress, has_place=True):
            slide = opened.slide(h5ad, request.embedding)
            session = opened.seen_session(slide, request).with_run(run)
            opened.save(h5ad, session, request.session)
        shared.scores.put(h5ad, request.session, require_run(session), scores)
        return {**opened.state(slide, session, request), "seconds": seconds}, run.unpack()


def send_labels(shared: Shared, reach: Reach, request: OpenRequest) -> Answer:
    """Return the state and the labels of the last run, (n_patches,) uint8."""
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.session(slide, request.session)
    labels = require_run(session).unpack()
    return shared.opened.state(slide, session, request), labels


def send_scores(shared: Shared, reach: Reach, request: ScoresRequest) -> Answer:
    """Return how sure the labels of the last run are, and what a border may be moved on: as `Scores.put`."""
    h5ad, opened = reach.h5ad, shared.opened
    slide = opened.slide(h5ad)
    session = opened.seen_session(slide, request)
    run = session.run
    if run is None or not run.can_replay:
        raise RequestError(404, "there are no scores yet; seed every class and run")
    arrays = shared.scores.get(h5ad, request.session, run)
    if arrays is None:
        slide = opened.slide(h5ad, run.embedding)
        # As the run had it: scores are not kept in the session, and come of the same seeds again.
        with shared.turns.job(h5ad, request.job) as progress, shared.turns.clustering(h5ad, progress):
            again, scores = cluster(
                slide,
                session.run_classes,
                run.seeds,
                method=run.method,
                border=run.border,
                guests=opened.guests(slide, run.loans),
                leave_one_out=run.leaves_one_out,
                progress=progress,
            )
        arrays = shared.scores.put(h5ad, request.session, run, scores, agrees=agree(run, again))
    return {"n_patches": slide.n_patches, "border": run.border}, *arrays


def require_run(session: Session) -> Run:
    """Return the last run of a session.

    Parameters
    ----------
    session : Session

    Returns
    -------
    Run

    Raises
    ------
    RequestError
        When there is none.
    """
    if session.run is None:
        raise RequestError(404, "there are no labels yet; seed every class and run")
    return session.run
