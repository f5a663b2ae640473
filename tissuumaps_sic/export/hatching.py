"""Lines and letters that tell classes apart in a report where colours cannot: those that have a sign."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from tissuumaps_sic.annotation.classes import sign_of

# Directions of the lines, in the order of the classes that have some: as a step in x and one in y.
_DIRECTIONS = ((1, 1), (1, -1), (0, 1), (1, 0))
# Of the lines and of their distance, and of a letter, as shares of the picture's longer side.
_LINE, _PERIOD, _LETTER = 0.003, 0.014, 0.03
_WHITE, _BLACK = "#ffffff", "#111111"


def direction_of(place: int) -> tuple[int, int] | None:
    """Return what the lines of a class are across, (x, y), by its place in the list; None of one without.

    Parameters
    ----------
    place : int

    Returns
    -------
    (int, int) or None
    """
    if not sign_of(place):
        return None
    first = next(each for each in range(place + 1) if sign_of(each))
    return _DIRECTIONS[(place - first) % len(_DIRECTIONS)]


def hatch(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return where lines are in a picture of labels.

    Parameters
    ----------
    labels : integer array of shape (rows, columns)
        Places of classes in the list, and anything below 0 where there is none.

    Returns
    -------
    lines : bool array of shape (rows, columns)
    """
    lines = np.zeros(labels.shape, bool)
    row, column = np.indices(labels.shape)
    longest = max(labels.shape)
    width, period = max(round(_LINE * longest), 1), max(round(_PERIOD * longest), 3)
    for place in _places(labels):
        x, y = direction_of(place) or (1, 1)
        lines |= (labels == place) & ((x * column + y * row) % period < width)
    return lines


def write_signs(picture: Image.Image, labels: npt.NDArray[np.integer]) -> None:
    """Write the letter of each class that has one where it is widest; `labels` are those of `hatch`.

    Parameters
    ----------
    picture : Image
    labels : integer array of shape (rows, columns)
    """
    size = round(_LETTER * max(labels.shape))
    drawing = ImageDraw.Draw(picture)
    for place in _places(labels):
        # Glass all around, so that the picture's edge is one of the class as well.
        depth = distance_transform_edt(np.pad(labels == place, 1))[1:-1, 1:-1]
        # In the middle of a strip, which is equally wide all along.
        widest = np.flatnonzero(depth >= 0.95 * depth.max())
        row, column = np.unravel_index(widest[len(widest) // 2], depth.shape)
        drawing.text(
            (int(column), int(row)), sign_of(place), anchor="mm", font=_font(size), fill=_WHITE,
            stroke_width=max(size // 8, 1), stroke_fill=_BLACK,
        )  # fmt: skip


def css_of(color: str, place: int) -> str:
    """Return the background of a class in CSS: its colour, with its lines.

    Parameters
    ----------
    color : str
    place : int

    Returns
    -------
    str
    """
    direction = direction_of(place)
    if direction is None:
        return color
    # Of the lines' own direction the gradient goes across.
    angle = {(1, 1): 135, (1, -1): 45, (0, 1): 180, (1, 0): 90}[direction]
    return f"repeating-linear-gradient({angle}deg, {color} 0 3px, #fff 3px 4.5px)"


def _places(labels: npt.NDArray[np.integer]) -> list[int]:
    return [place for place in np.unique(labels[labels >= 0]).tolist() if sign_of(place)]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf"), size)
