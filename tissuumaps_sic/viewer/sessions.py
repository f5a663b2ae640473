"""Endpoints that open a session and change its seeds and classes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from threading import Thread
from typing import Any

import numpy as np

from tissuumaps_sic.annotation.classes import make_class, next_color, order_classes
from tissuumaps_sic.annotation.lending import lend
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.scheme import FILE, find_scheme, write_scheme
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.slidefile.batch_command import CLUSTERING
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.verification.check import require_question
from tissuumaps_sic.viewer.access import Reach, require_no_link
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.facts import page_facts
from tissuumaps_sic.viewer.opened import Shared, look_for_scheme
from tissuumaps_sic.viewer.remarks import change_remarks
from tissuumaps_sic.viewer.requests import (
    AnswerChange,
    BorrowChange,
    ChangeRequest,
    CheckChange,
    DecideChange,
    NoteChange,
    OfferedChange,
    OpenRequest,
    SeedChange,
    SeedFileChange,
    SeenRequest,
    SkipChange,
    naming,
    require_patch,
)
from tissuumaps_sic.viewer.seed_files import take_seeds
from tissuumaps_sic.viewer.tables import page_tables


def open_session(shared: Shared, reach: Reach, request: OpenRequest) -> Header:
    """Return a session's state, a new one where there is none yet, with `page_tables` and `page_facts`."""
    _load_clustering()
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.session(slide, request.session)
    state = shared.opened.state(slide, session, request)
    return {**state, "tables": page_tables(), "facts": page_facts(slide, reach)}


def _load_clustering() -> None:
    """Begin to load what the first run needs, which takes seconds, while somebody looks at the slide."""
    if CLUSTERING not in sys.modules:
        Thread(target=import_module, args=(CLUSTERING,), daemon=True).start()


def change_session(shared: Shared, reach: Reach, request: ChangeRequest) -> Header:
    """Change seeds or classes, save the session, and return its new state."""
    opened, asked = shared.opened, request.change
    if isinstance(asked, SeedFileChange):
        return take_seeds(shared, reach, request, asked.file)
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
        elif isinstance(asked, DecideChange):
            session = _decide(slide, session, asked, request.user)
        elif isinstance(asked, OfferedChange):
            session = _add_offered(slide, session, request.user)
        elif isinstance(asked, AnswerChange):
            patch = require_question(slide, session, asked.patch)
            session = session.answer(patch, asked.label, user=request.user)
        elif isinstance(asked, SkipChange | NoteChange | CheckChange):
            session = change_remarks(slide, session, asked, request.user)
        else:
            session = _CHANGES[asked.kind](session, asked, request.user)
        opened.save(reach.h5ad, session, request.session)
        return opened.state(slide, session, request)


def offer_classes(shared: Shared, reach: Reach, request: SeenRequest) -> Header:
    """Keep a session's classes as the list of the folder, for new slides and sessions; return the state.

    It is that of the served folder where the same password opens it, else that of the slide's folder.
    """
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    target = reach.root / FILE
    if not reach.admits(target):
        target = reach.h5ad.parent / FILE
    require_no_link(target)
    # A list that is nearer to the slide is the one that counts, and so the one that changes.
    target = find_scheme(reach.h5ad.parent, reach.admits) or target
    with naming(target):
        write_scheme(target, session.classes)
    return {**shared.opened.state(slide, session, request), "written": target.name}


def _add_offered(slide: EmbeddedSlide, session: Session, user: str) -> Session:
    scheme, problem = look_for_scheme(slide.path)
    if scheme is None:
        raise SessionError(problem or "the folder has no class list; make one of a slide's classes first")
    known = {each.name for each in session.classes}
    for label in order_classes(len(scheme.classes)):
        each = scheme.classes[label]
        if each.name in known:
            continue
        is_taken = each.color in {other.color for other in session.classes}
        color = next_color(session.classes) if is_taken else each.color
        session = session.add_class(make_class(each.name, color), user=user)
    return session


def _decide(slide: EmbeddedSlide, session: Session, asked: DecideChange, user: str) -> Session:
    wanted = make_class(asked.name, next_color(session.classes))
    names = [each.name for each in session.classes]
    if wanted.name not in names:
        session = session.add_class(wanted, user=user)
        names.append(wanted.name)
    label = names.index(wanted.name)
    return _seed(slide, session, SeedChange(kind="seed", label=label, patches=asked.patches), user)


def _seed(slide: EmbeddedSlide, session: Session, asked: SeedChange, user: str) -> Session:
    if len(asked.patches) > slide.n_patches:
        raise SessionError(f"{len(asked.patches)} patches are more than the {slide.n_patches} of the slide")
    require_patch(max(asked.patches), slide.n_patches)
    return session.seed_rows(np.array(asked.patches, np.int64), asked.label, user=user)


# What needs no more than the session: what is asked, and by whom.
_CHANGES: dict[str, Callable[[Session, Any, str], Session]] = {
    "clear": lambda session, _, user: session.clear(user=user),
    "undo": lambda session, _, __: session.undo(),
    "redo": lambda session, _, __: session.redo(),
    "restore": lambda session, asked, _: session.restore(asked.position, branch=asked.branch),
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
