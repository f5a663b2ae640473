"""What of a file of drawings is no polygon, for the message that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MOST_NUMBERS = 5
_PLURALS = {
    "point or line": "points or lines",
    "hole outside of every polygon": "holes outside of every polygon",
}


@dataclass
class LeftOut:
    """Numbers, from 1, of what was left out of a file.

    Attributes
    ----------
    what : str
        What is numbered: "feature".
    count : int
        How many of those the file has.
    empty, lines, holes, points, lone : list of int
        Of polygons that enclose nothing; of lines; of holes that enclose nothing; of points; of holes that
        lie in no polygon.
    """

    what: str
    count: int = 0
    empty: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    lone: list[int] = field(default_factory=list)

    def tell(self, *, points: bool) -> str:
        """Return in words what was left out, and whether points were.

        Parameters
        ----------
        points : bool
            Whether points are among it.

        Returns
        -------
        str
            Empty where nothing was.
        """
        lines = ("point or line", sorted([*self.points, *self.lines])) if points else ("line", self.lines)
        parts = (
            ("empty polygon", self.empty),
            lines,
            ("empty hole", self.holes),
            ("hole outside of every polygon", self.lone),
        )
        return " and ".join(self._part(*each) for each in parts if each[1])

    def _part(self, what: str, numbers: Sequence[int]) -> str:
        if len(numbers) > 1:
            what = _PLURALS.get(what, f"{what}s")
        places = list(dict.fromkeys(numbers))
        named = ", ".join(map(str, places[:_MOST_NUMBERS])) + (", ..." if len(places) > _MOST_NUMBERS else "")
        return f"{len(numbers)} {what} ({self.what}{'s' if len(places) > 1 else ''} {named})"
