"""What readers say of a slide beside its seeds: notes, and that it is checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tissuumaps_sic.annotation.records import Record

LONGEST_NOTE = 1000


def tell_time(time: str) -> str:
    """Return when something was said, as people read it: to the minute, as the session has it (UTC).

    Parameters
    ----------
    time : str

    Returns
    -------
    str
    """
    return time[:16].replace("T", " ")


# Left, top, right, bottom in level-0 pixels.
Box = tuple[float, float, float, float]
_Pixel = Annotated[float, Field(allow_inf_nan=False)]
StoredBox = tuple[_Pixel, _Pixel, _Pixel, _Pixel]
# Corners of what was drawn, (x, y) in level-0 pixels; the last is joined with the first.
MOST_CORNERS = 1000
Outline = Annotated[tuple[tuple[_Pixel, _Pixel], ...], Field(min_length=3, max_length=MOST_CORNERS)]


class Note(Record):
    """A note on a slide, on one of its patches, or on a part of it.

    Attributes
    ----------
    number : int
        What tells it from the other notes of its session.
    text : str
    time, user : str
        When and by whom it was last written.
    patch : str
        Name of the patch; of a part that in its middle; "" of the slide.
    box : (float, float, float, float) or None
        The part: left, top, right, bottom in level-0 pixels.
    outline : tuple of (float, float), or None
        Corners of the part that was drawn, which `box` is around; None where it is the box itself.
    """

    number: int
    text: str
    time: str
    user: str
    patch: str = ""
    box: Box | None = None
    outline: Outline | None = None

    @property
    def place(self) -> str:
        """What it is on, for people."""
        if self.box is not None:
            left, top, right, bottom = self.box
            return f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}"
        return self.patch or "the slide"


class Check(Record):
    """A reader's word that a slide is done.

    Attributes
    ----------
    time, user : str
    is_current : bool
        Whether seeds and classes are still those that were checked.
    """

    time: str
    user: str
    is_current: bool = True
