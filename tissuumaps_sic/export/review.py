"""What readers said of a slide beside its seeds, as exports tell it: notes, checks, what was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.remarks import Note, tell_time
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.slides.umap import read_tissue

# Of a report, so that it stays a page.
_MOST_NOTES = 8


@dataclass(frozen=True)
class Mark:
    """A note with its place.

    Attributes
    ----------
    text, by : str
        What, and who and when.
    points : tuple of (float, float)
        Level-0 pixels: the centre of a patch, the corners of a part as it was drawn, nothing of the slide.
    """

    text: str
    by: str
    points: tuple[tuple[float, float], ...] = ()


def marks_of(labelled: Labelled) -> list[Mark]:
    """Return the notes of a session with their places.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    list of Mark
    """
    slide = labelled.slide
    marks = []
    for note in labelled.session.notes:
        points: tuple[tuple[float, float], ...] = ()
        if note.outline is not None:
            points = note.outline
        elif note.box is not None:
            left, top, right, bottom = note.box
            points = ((left, top), (right, top), (right, bottom), (left, bottom))
        elif note.patch in slide.index:
            x, y = slide.centres[slide.index[note.patch]].tolist()
            points = ((x, y),)
        marks.append(Mark(note.text, _by(note), points))
    return marks


def notes_of_patches(labelled: Labelled) -> dict[int, str]:
    """Return the notes on each patch by its row, those on a part that it lies in included.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    dict of int to str
    """
    slide = labelled.slide
    notes: dict[int, list[str]] = {}
    for note in labelled.session.notes:
        rows: list[int] = []
        if note.outline is not None:
            rows = np.flatnonzero(_holds(note.outline, slide.centres)).tolist()
        elif note.box is not None:
            corner, opposite = np.array(note.box[:2]), np.array(note.box[2:])
            inside = ((slide.centres >= corner) & (slide.centres <= opposite)).all(axis=1)
            rows = np.flatnonzero(inside).tolist()
        elif note.patch in slide.index:
            rows = [slide.index[note.patch]]
        for row in rows:
            notes.setdefault(row, []).append(" ".join(note.text.split()))
    return {row: "; ".join(texts) for row, texts in notes.items()}


def _holds(outline: Sequence[tuple[float, float]], points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which points, (n, 2), lie within an outline: by the even-odd rule, as the page has it."""
    inside = np.zeros(len(points), bool)
    x, y = points.T
    corners = np.array(outline, np.float64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def tell_review(labelled: Labelled) -> list[tuple[str, str]]:
    """Return facts of a report: who reviewed the slide, how much of it was looked at, and the notes.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    list of (str, str)
    """
    session, told = labelled.session, []
    if session.checked is not None:
        changed = "" if session.checked.is_current else "; changed since then"
        told.append(
            ("Reviewed", f"{session.checked.user or 'somebody'}, {tell_time(session.checked.time)}{changed}")
        )
    if session.seen:
        tissue = read_tissue(labelled.slide.path)
        weights = np.ones(labelled.slide.n_patches) if tissue is None else tissue.astype(np.float64)
        share = float(weights[session.seen_patches(len(weights))].sum() / max(weights.sum(), 1e-9))
        whole = "patches" if tissue is None else "tissue"
        told.append(("Looked at", f"{100 * share:.0f} % of the {whole} at 10x or nearer"))
    notes = session.notes
    told += [
        ("Note", f"{note.place}: {' '.join(note.text.split())} ({_by(note)})") for note in notes[:_MOST_NOTES]
    ]
    if len(notes) > _MOST_NOTES:
        told.append(("Notes", f"{len(notes) - _MOST_NOTES} more; the GeoJSON has all"))
    return told


def _by(note: Note) -> str:
    return ", ".join(filter(None, (note.user, tell_time(note.time))))
