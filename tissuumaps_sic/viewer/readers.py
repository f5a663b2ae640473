"""Endpoints that compare the sessions of a slide's readers, and make one of them."""

from __future__ import annotations

import numpy as np

from tissuumaps_sic.annotation.agreement import compare, consensus, decisions, list_disputed
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.places import locate_session
from tissuumaps_sic.viewer.requests import CompareRequest, MergeRequest, SeenRequest
from tissuumaps_sic.viewer.runs import require_run

# Places of dispute that a page is told of; who has settled so many asks again.
_MOST_PLACES = 500


def compare_sessions(shared: Shared, reach: Reach, request: CompareRequest) -> Answer:
    """Return how far the labels of two sessions agree, and where they do not.

    Two arrays of (n_patches,) uint8: 1 where a patch is disputed, and the other session's labels, whose
    ``classes`` are in the header. ``places`` are those of `list_disputed`.
    """
    slide = shared.opened.slide(reach.h5ad)
    mine = shared.opened.seen_session(slide, request)
    other = shared.opened.session(slide, request.other)
    agreement = compare(slide, mine, other)
    header = {
        "n_patches": slide.n_patches,
        # JSON has no NaN.
        "kappa": agreement.kappa if np.isfinite(agreement.kappa) else None,
        "word": agreement.word,
        "n_disputed": int(agreement.disputed.sum()),
        # Who of the two says what: rows are this session's classes, columns the other's.
        "table": {"names": list(agreement.table.index), "counts": agreement.table.to_numpy().tolist()},
        "classes": [seed_class.model_dump() for seed_class in other.run_classes],
        "is_stale": other.is_stale,
        "places": list_disputed(slide, agreement.disputed)[:_MOST_PLACES],
    }
    return header, agreement.disputed.astype(np.uint8), require_run(other).unpack()


def merge_sessions(shared: Shared, reach: Reach, request: MergeRequest) -> Header:
    """Save a consensus of sessions as a new one; return its state and how many seeds are disputed."""
    h5ad, opened = reach.h5ad, shared.opened
    if len(set(request.sessions)) < len(request.sessions):
        raise SessionError("a session is named twice; name each once")
    with shared.turns.writing(h5ad):
        slide = opened.slide(h5ad)
        if locate_session(h5ad, request.session).exists():
            raise SessionError(f"there is a session {request.session!r} already; choose another name")
        missing = [name for name in request.sessions if not locate_session(h5ad, name).exists()]
        if missing:
            raise SessionError(
                f"there is no session {missing[0]!r} of {slide.name}; choose one that there is"
            )
        merged, disputed = consensus({name: opened.session(slide, name) for name in request.sessions})
        opened.save(h5ad, merged, request.session)
        return {**opened.state(slide, merged, request), "n_disputed": len(disputed)}


def list_decisions(shared: Shared, reach: Reach, request: SeenRequest) -> Header:
    """Return what is to be decided of a consensus, ``decisions``, each ``{row, size, said}``; ``n`` of them.

    ``said`` are ``{reader, name, color}``. ``missing`` are readers whose sessions are no longer there.
    """
    opened = shared.opened
    slide = opened.slide(reach.h5ad)
    session = opened.seen_session(slide, request)
    if not session.readers:
        raise SessionError("this session is not a consensus; compare two sessions, and make one from them")
    there = [name for name in session.readers if locate_session(reach.h5ad, name).exists()]
    readers = {name: opened.session(slide, name) for name in there}
    found = decisions(slide, session, readers)
    colors = {
        each.name: each.color
        for one in (*reversed(readers.values()), session)
        for each in (*one.run_classes, *one.classes)
    }
    return {
        "n": len(found),
        "missing": [name for name in session.readers if name not in readers],
        "decisions": [
            {
                "row": each.row,
                "size": each.size,
                "said": [{"reader": who, "name": name, "color": colors[name]} for who, name in each.said],
            }
            for each in found[:_MOST_PLACES]
        ],
    }
