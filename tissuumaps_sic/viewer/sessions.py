"""Endpoints that open a session and change its seeds and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tissuumaps_sic.annotation.classes import make_class, next_color
from tissuumaps_sic.annotation.lending import lend
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.facts import page_facts
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import BorrowChange, ChangeRequest, OpenRequest, SeedChange
from tissuumaps_sic.viewer.tables import page_tables


def open_session(shared: Shared, reach: Reach, request: OpenRequest) -> Header:
    """Return a session's state, a new one where there is none yet, with `page_tables` and `page_facts`."""
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.session(slide, request.session)
    state = shared.opened.state(slide, session, request)
    return {**state, "tables": page_tables(), "facts": page_facts(slide, reach)}


def change_session(shared: Shared, reach: Reach, request: ChangeRequest) -> Header:
    """Change seeds or classes, save the session, and return its new state."""
    opened, asked = shared.opened, request.change
    with shared.turns.writing(reach.h5ad):
        slide = opened.slide(reach.h5ad)
        session = opened.seen_session(slide, request)
        if isinstance(asked, BorrowChange):
            source = opened.slide(reach.find(asked.source))
            lent = opened.session(source, asked.session)
            here = opened.slide(reach.h5ad, asked.embedding)
            loan = lend(source, lent.seeds, here, session=asked.session)
            session = session.borrow(loan, lent.classes, user=request.user)
        elif isinstance(asked, SeedChange):
            session = _seed(slide, session, asked, request.user)
        else:
            session = _CHANGES[asked.kind](session, asked, request.user)
        opened.save(reach.h5ad, session, request.session)
        return opened.state(slide, session, request)


def _seed(slide: EmbeddedSlide, session: Session, asked: SeedChange, user: str) -> Session:
    if len(asked.patches) > slide.n_patches:
        raise SessionError(f"{len(asked.patches)} patches are more than the {slide.n_patches} of the slide")
    if max(asked.patches) >= slide.n_patches:
        raise SessionError(f"there is no patch {max(asked.patches)}; the slide has {slide.n_patches}")
    return session.seed_rows(np.array(asked.patches, np.int64), asked.label, user=user)


# What needs no more than the session: what is asked, and by whom.
_CHANGES: dict[str, Callable[[Session, Any, str], Session]] = {
    "clear": lambda session, _, user: session.clear(user=user),
    "undo": lambda session, _, __: session.undo(),
    "redo": lambda session, _, __: session.redo(),
    "class": lambda session, asked, user: session.with_class(
        asked.label, make_class(asked.name, asked.color), user=user
    ),
    "add-class": lambda session, asked, user: session.add_class(
        make_class(asked.name, next_color(session.classes)), user=user
    ),
    "remove-class": lambda session, asked, user: session.remove_class(
        asked.label, into=asked.into, user=user
    ),
    "return": lambda session, asked, user: session.give_back(asked.path, user=user),
}
