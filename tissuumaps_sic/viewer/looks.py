"""Endpoints of what was looked at, and of what other readers noted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.slides.regions import scale_of
from tissuumaps_sic.slides.umap import read_tissue
from tissuumaps_sic.viewer.access import AccessError, Reach
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.places import locate_session, session_names
from tissuumaps_sic.viewer.remarks import rows_in, tell_note
from tissuumaps_sic.viewer.requests import LookRequest, OpenRequest, RequestError


def send_notes(shared: Shared, reach: Reach, request: OpenRequest) -> Header:
    """Return the ``notes`` of the slide's other sessions, each with its ``session``, but for damaged ones."""
    slide = shared.opened.slide(reach.h5ad)
    notes: list[dict[str, Any]] = []
    for name in session_names(slide.path):
        if name == request.session:
            continue
        try:
            session = shared.opened.session(slide, name)
        except (SessionError, AccessError):
            continue
        notes += [{**tell_note(slide, each), "session": name} for each in session.notes]
    return {"notes": notes}


def send_looked(shared: Shared, reach: Reach, request: OpenRequest) -> Answer:
    """Return what was looked at closely, and what that is measured by.

    ``spacing`` is the distance of patches in µm, None where the file does not tell; ``tissue`` is whether it
    tells tissue. Two arrays: the share of tissue, (n_patches,) float32, 1 where it is not told, and whether a
    patch was seen, (n_patches,) uint8.
    """
    slide = shared.opened.slide(reach.h5ad)
    scale = scale_of(slide)
    spacing = min(scale.stride) * sum(scale.mpp) / 2 if scale.mpp else None
    told = read_tissue(reach.h5ad)
    tissue = np.ones(slide.n_patches, np.float32) if told is None else told
    header = {"n_patches": slide.n_patches, "spacing": spacing, "tissue": told is not None}
    seen = shared.opened.session(slide, request.session).seen_patches(slide.n_patches)
    return header, tissue.astype("<f4"), seen.astype(np.uint8)


def keep_looked(shared: Shared, reach: Reach, request: LookRequest) -> Header:
    """Add what was looked at closely to a session that there is; ``kept`` tells whether there is one.

    The revision stays: whatever order pages tell this in, it comes to the same.
    """
    opened = shared.opened
    with shared.turns.writing(reach.h5ad):
        slide = opened.slide(reach.h5ad)
        if not _is_begun(reach.h5ad, request.session):
            return {"kept": False}
        session = opened.session(slide, request.session)
        before = session.seen_patches(slide.n_patches)
        seen = before.copy()
        seen[rows_in(slide, request.patches)] = True
        if not np.array_equal(seen, before):
            opened.save(reach.h5ad, session.with_seen(seen), request.session)
    return {"kept": True}


def _is_begun(h5ad: Path, session: str) -> bool:
    """Return whether a session has a file: to look at a slide begins none."""
    try:
        return os.path.lexists(locate_session(h5ad, session))
    except OSError as error:
        raise RequestError(422, f"{session}: {error.strerror}; give the session another name") from error
