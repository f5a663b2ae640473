"""What of a file of drawings is no polygon, for the message that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MOST_NUMBERS = 5


@dataclass
class LeftOut:
    """Numbers, from 1, of what was left out of a file.

    Attributes
    ----------
    what : str
        What is numbered: "feature".
    count : int
        How many of those the file has.
    empty, lines, holes : list of int
        Of polygons that enclose nothing; of points and lines; of holes that enclose nothing.
    """

    what: str
    count: int = 0
    empty: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        parts = (
            ("empty polygon", self.empty),
            ("point or line", self.lines),
            ("empty hole", self.holes),
        )
        return " and ".join(self._part(*each) for each in parts if each[1])

    def _part(self, what: str, numbers: Sequence[int]) -> str:
        if len(numbers) > 1:
            what = "points or lines" if what == "point or line" else f"{what}s"
        places = list(dict.fromkeys(numbers))
        named = ", ".join(map(str, places[:_MOST_NUMBERS])) + (", ..." if len(places) > _MOST_NUMBERS else "")
        return f"{len(numbers)} {what} ({self.what}{'s' if len(places) > 1 else ''} {named})"
