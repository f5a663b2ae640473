"""Endpoints that tell what happened in a session, and what going back to a point of it would do."""

from __future__ import annotations

from dataclasses import asdict

from tissuumaps_sic.annotation.history import list_steps, tell_restoring
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import HistoryRequest, PointRequest

# Steps of the trunk, and of all branches together, that a page is told of; the newest.
_MOST_STEPS = 500


def send_history(shared: Shared, reach: Reach, request: HistoryRequest) -> Header:
    """Return the steps of a session, the newest first: ``trunk``, and ``branches`` of what was replaced.

    Each is a `Step`; ``position`` is that of the session, and ``more`` how many steps of the trunk are older
    than those that are told. Those beyond ``before`` are not.
    """
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    steps = list_steps(session)
    trunk = [each for each in steps if each.branch is None]
    last = len(trunk) if request.before is None else min(request.before, len(trunk))
    shown = trunk[max(last - _MOST_STEPS, 0) : last]
    branches = sorted((each for each in steps if each.branch is not None), key=lambda each: each.time)
    return {
        "position": session.position,
        "trunk": [asdict(each) for each in reversed(shown)],
        "branches": [asdict(each) for each in reversed(branches[-_MOST_STEPS:])],
        "more": last - len(shown),
    }


def send_restoring(shared: Shared, reach: Reach, request: PointRequest) -> Header:
    """Return in words, ``text``, what going to a point of the history would do; nothing is done."""
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    return {"text": tell_restoring(session, session.restore(request.position, branch=request.branch))}
