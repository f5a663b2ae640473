"""Endpoints of a session's own file: handed to a page, and taken back from one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tissuumaps_sic.annotation.document import to_text
from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.places import is_writable
from tissuumaps_sic.viewer.requests import BringRequest, RequestError, SeenRequest


def send_document(shared: Shared, reach: Reach, request: SeenRequest) -> Header:
    """Return the file of a session: its ``name``, which is that beside its slide, and its ``text``."""
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    return {"name": session_path(reach.h5ad, request.session).name, "text": to_text(session)}


def bring_document(shared: Shared, reach: Reach, request: BringRequest) -> Header:
    """Keep a session that a page has held since before the server was started anew; return its state.

    It takes the place of none: where somebody has begun another meanwhile, the page gives its own as a file.
    """
    h5ad, opened = reach.h5ad, shared.opened
    if is_writable(h5ad):
        raise RequestError(409, "sessions of this slide lie beside it; put the file there")
    with shared.turns.writing(h5ad):
        slide = opened.slide(h5ad)
        if opened.session(slide, request.session).revision:
            raise RequestError(
                409, "somebody has begun another session of that name since; give this one another name"
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / session_path(h5ad, request.session).name
            path.write_text(request.text, encoding="utf-8", errors="surrogatepass")
            session = load_session(path, slide)
        opened.save(h5ad, session, request.session)
        return opened.state(slide, session, request)
