"""What was drawn, as every reader gives it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.spelling import fold, join_names

log = logging.getLogger(__name__)

Ring = npt.NDArray[np.float64]  # (n, 2) corners (x, y), not closed by repeating the first
Polygon = tuple[Ring, ...]  # the outline, then the holes


class AreaError(SicError):
    """A drawing or a mask cannot be used; the message names the file, what is wrong and what to do."""


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
        One or more.
    """

    values: tuple[str, ...]
    classed: bool
    polygons: tuple[Polygon, ...]


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
    """

    name: str
    areas: tuple[Area, ...]
    from_bounds: bool

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

    def check_place(self, size: tuple[int, int], origin: tuple[float, float]) -> None:
        """Tell how many polygons lie outside a slide.

        Parameters
        ----------
        size : (width, height)
            Of the slide, level-0 pixels.
        origin : (x, y)
            Where the polygons' (0, 0) lies.

        Raises
        ------
        AreaError
            When all do.
        """
        outlines = [polygon[0] + origin for area in self.areas for polygon in area.polygons]
        low = np.array([outline.min(axis=0) for outline in outlines])
        high = np.array([outline.max(axis=0) for outline in outlines])
        outside = int(((low >= size) | (high <= 0)).any(axis=1).sum())
        if outside == 0:
            return
        (left, top), (right, bottom) = low.min(axis=0), high.max(axis=0)
        told = (
            f"outside the slide, {size[0]} x {size[1]} px (they reach from x {left:g}, y {top:g} to "
            f"x {right:g}, y {bottom:g}); coordinates must be pixels of the slide's level 0"
        )
        if outside == len(outlines):
            raise AreaError(f"{self.name}: all {outside} polygons lie {told}")
        log.warning("%s: %d of %d polygons lie %s", self.name, outside, len(outlines), told)
