"""What was drawn, as every reader gives it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.spelling import fold, join_names

log = logging.getLogger(__name__)

Ring = npt.NDArray[np.float64]  # (n, 2) corners (x, y), not closed by repeating the first
Points = npt.NDArray[np.float64]  # (n, 2), (x, y)
Polygon = tuple[Ring, ...]  # the outline, then the holes


class AreaError(SicError):
    """A drawing or a mask cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Stage:
    """Where a scan lies on the glass slide, as scanners tell it that count from the slide's middle.

    Attributes
    ----------
    corner : (x, y)
        Of level 0, in nanometres.
    pixel : (width, height)
        Of a pixel of level 0, in nanometres.
    """

    corner: tuple[float, float]
    pixel: tuple[float, float]

    @classmethod
    def of(cls, told: Sequence[float] | None) -> Stage | None:
        """Return it of its four numbers (x, y, width, height); None where there are none.

        Parameters
        ----------
        told : sequence of float, or None
            Corner (x, y) of level 0, and width and height of its pixels, nanometres.

        Returns
        -------
        Stage or None
        """
        if told is None or not min(told[2:]) > 0:
            return None
        x, y, width, height = map(float, told)
        return cls((x, y), (width, height))

    def to_pixels(self, nanometres: Points) -> Points:
        """Return places on the glass slide, (n, 2), in pixels of level 0.

        Parameters
        ----------
        nanometres : float64 array of shape (n, 2)
            (x, y).

        Returns
        -------
        float64 array of shape (n, 2)
            (x, y).
        """
        pixels: Points = (nanometres - np.array(self.corner)) / np.array(self.pixel)
        return pixels


def _no_points() -> Points:
    return np.empty((0, 2))


@dataclass(frozen=True)
class Area:
    """One thing that was drawn.

    Attributes
    ----------
    values : tuple of str
        What its class may be called, the nearest first: ``Tumor: Positive``, ``Tumor``.
    classed : bool
        Whether those are a class's names, or merely its own.
    polygons : tuple of Polygon
        One or more, or none where there are points.
    points : ndarray of shape (n, 2), float64
        Single places.
    color : str or None
        That of its class, or else its own, ``#rrggbb``.
    """

    values: tuple[str, ...]
    classed: bool
    polygons: tuple[Polygon, ...]
    points: Points = field(default_factory=_no_points)
    color: str | None = None

    @property
    def outlines(self) -> tuple[Points, ...]:
        """What of it has a place: outlines of polygons, and its points."""
        return (*(polygon[0] for polygon in self.polygons), *((self.points,) if len(self.points) else ()))


@dataclass(frozen=True)
class Areas:
    """All that a file of drawings holds, in its order.

    Attributes
    ----------
    name : str
        The file's.
    areas : tuple of Area
        One or more.
    from_bounds : bool
        Whether programs that write such files count from the corner of the slide's scanned part.
    left_out : str
        What of the file is not here, in words; "" where nothing was left out.
    """

    name: str
    areas: tuple[Area, ...]
    from_bounds: bool
    left_out: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes there are, and of what is drawn without a class, in order."""
        spelt: dict[str, str] = {}
        for area in self.areas:
            for value in area.values[:1]:
                spelt.setdefault(fold(value), value)
        return tuple(sorted(spelt.values()))

    def of(self, classes: Sequence[str]) -> list[Area]:
        """Return the areas of some classes, whose spelling does not matter; a class without any is told.

        Parameters
        ----------
        classes : sequence of str

        Returns
        -------
        list of Area

        Raises
        ------
        AreaError
            When there is none.
        """
        wanted = {fold(each): each for each in classes}
        chosen = [area for area in self.areas if not wanted.keys().isdisjoint(map(fold, area.values))]
        if not chosen:
            raise AreaError(
                f"{self.name}: has no polygon of class {' or '.join(classes)}; its classes are "
                f"{join_names(self.classes)}"
            )
        missing = wanted.keys() - {fold(value) for area in chosen for value in area.values}
        if missing:
            log.warning(
                "%s: has no polygon of class %s; its classes are %s",
                self.name,
                " or ".join(wanted[each] for each in wanted if each in missing),
                join_names(self.classes),
            )
        return chosen

    def check_place(self, size: tuple[int, int], origin: tuple[float, float]) -> int:
        """Tell how many polygons, and sets of points, lie outside a slide, and return that.

        Parameters
        ----------
        size : (width, height)
            Of the slide, level-0 pixels.
        origin : (x, y)
            Where the polygons' (0, 0) lies.

        Returns
        -------
        int

        Raises
        ------
        AreaError
            When all do.
        """
        outlines = [outline + origin for area in self.areas for outline in area.outlines]
        low = np.array([outline.min(axis=0) for outline in outlines])
        high = np.array([outline.max(axis=0) for outline in outlines])
        outside = int(((low >= size) | (high <= 0)).any(axis=1).sum())
        if outside == 0:
            return 0
        (left, top), (right, bottom) = low.min(axis=0), high.max(axis=0)
        told = (
            f"outside the slide, {size[0]} x {size[1]} px (they reach from x {left:g}, y {top:g} to "
            f"x {right:g}, y {bottom:g}); coordinates must be pixels of the slide's level 0"
        )
        what = "drawings" if any(len(area.points) for area in self.areas) else "polygons"
        if outside == len(outlines):
            raise AreaError(f"{self.name}: all {outside} {what} lie {told}")
        log.warning("%s: %d of %d %s lie %s", self.name, outside, len(outlines), what, told)
        return outside
