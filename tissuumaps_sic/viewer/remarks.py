"""What readers say of a slide beside its seeds, as pages ask for it and are told it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.remarks import Box, Note
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.slides.regions import scale_of
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.requests import CheckChange, NoteChange, SkipChange, require_patch


def change_remarks(
    slide: EmbeddedSlide, session: Session, asked: SkipChange | NoteChange | CheckChange, user: str
) -> Session:
    """Return a session with what a page says beside seeds.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
    asked : SkipChange or NoteChange or CheckChange
    user : str

    Returns
    -------
    Session
    """
    if isinstance(asked, CheckChange):
        return session.check(checked=asked.checked, user=user)
    rows = rows_in(slide, asked.patches)
    if isinstance(asked, SkipChange):
        return session.skip([str(slide.patch_names[row]) for row in rows], user=user)
    text, number = asked.text.strip(), asked.number
    if asked.outline is not None:
        patch, box = place_outline(slide, asked.outline)
        return session.note(text, number=number, patch=patch, box=box, outline=asked.outline, user=user)
    found, part = place_note(slide, rows)
    return session.note(text, number=number, patch=found, box=part, user=user)


def rows_in(slide: EmbeddedSlide, patches: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return rows that a page names, (n,) int64.

    Parameters
    ----------
    slide : EmbeddedSlide
    patches : tuple of int

    Returns
    -------
    ndarray of shape (n,), int64

    Raises
    ------
    RequestError
        When the slide does not have all of them.
    """
    rows = np.unique(np.array(patches, np.int64))
    if rows.size:
        require_patch(int(rows[-1]), slide.n_patches)
    return rows


def place_note(slide: EmbeddedSlide, rows: npt.NDArray[np.int64]) -> tuple[str, Box | None]:
    """Return the patch of a note and its box: of one patch its name, of several that in their middle."""
    if not rows.size:
        return "", None
    if rows.size == 1:
        return str(slide.patch_names[rows[0]]), None
    centres = slide.centres[rows]
    half = np.array(scale_of(slide).stride) / 2
    least, most = centres.min(axis=0), centres.max(axis=0)
    middle = rows[np.linalg.norm(centres - (least + most) / 2, axis=1).argmin()]
    (left, top), (right, bottom) = (least - half).tolist(), (most + half).tolist()
    return str(slide.patch_names[middle]), (left, top, right, bottom)


def place_outline(slide: EmbeddedSlide, outline: Sequence[tuple[float, float]]) -> tuple[str, Box]:
    """Return the patch in the middle of what was drawn, and the box around it."""
    corners = np.array(outline, np.float64)
    least, most = corners.min(axis=0), corners.max(axis=0)
    middle = np.linalg.norm(slide.centres - (least + most) / 2, axis=1).argmin()
    (left, top), (right, bottom) = least.tolist(), most.tolist()
    return str(slide.patch_names[middle]), (left, top, right, bottom)


def tell_note(slide: EmbeddedSlide, note: Note) -> dict[str, Any]:
    """Return a note as a page reads it; its patch is a row, None of the slide.

    Parameters
    ----------
    slide : EmbeddedSlide
    note : Note

    Returns
    -------
    dict of str to value
    """
    return {**note.model_dump(), "patch": slide.index.get(note.patch), "place": note.place}


def tell_remarks(slide: EmbeddedSlide, session: Session) -> Header:
    """Return what readers say, as a page's state has it: ``skipped``, ``notes``, ``checked``, ``sample``.

    ``sample`` is None where there is no check sample, else how many patches of it were ``answered``, and of
    how many of these the reader could not tell the class, ``unclear``.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session

    Returns
    -------
    Header
    """
    answers = session.answers.values()
    sample = {"answered": len(answers), "unclear": sum(each is None for each in answers)}
    return {
        "skipped": skipped_rows(slide, session),
        "notes": [tell_note(slide, each) for each in session.notes],
        "checked": session.checked and session.checked.model_dump(),
        "sample": sample if session.sample else None,
    }


def skipped_rows(slide: EmbeddedSlide, session: Session) -> list[int]:
    """Return the rows of the patches that a reader could not tell.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session

    Returns
    -------
    list of int
    """
    return sorted(slide.index[name] for name in session.skipped if name in slide.index)
