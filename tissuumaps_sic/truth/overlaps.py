"""What classes of a drawing share: areas that are drawn as two of them, told with the one that counts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tissuumaps_sic.slidefile.areas.area import Area
from tissuumaps_sic.slidefile.areas.fill import Shape
from tissuumaps_sic.slidefile.arrays import Doubles, Mask
from tissuumaps_sic.truth.classes import UNCOUNTED, TruthClasses

log = logging.getLogger(__name__)

# Overlaps of classes are measured on so many pixels at most, and told from this share on: neighbours that are
# drawn by hand overlap by slivers.
_OVERLAP_SIDE = 2048
_OVERLAP_TOLD = 0.01


def tell_overlaps(
    name: str, named: Sequence[tuple[int, Area]], others: Sequence[Area], classes: TruthClasses
) -> None:
    """Log what share of each named class something else covers, and which of the two counts there.

    Parameters
    ----------
    name : str
    named : sequence of (int, Area)
    others : sequence of Area
    classes : TruthClasses
    """
    by_value: dict[str, list[Area]] = {}
    for area in others:
        by_value.setdefault(area.values[0], []).append(area)
    if len({number for number, _ in named}) + len(by_value) < 2:
        return
    canvas = _Canvas.around([area for _, area in named])
    masks: dict[int, Mask] = {}
    last = np.full(canvas.shape, UNCOUNTED, np.int16)
    for number, area in named:
        mask = masks.setdefault(number, np.zeros(canvas.shape, bool))
        for box, inside in canvas.insides(area):
            mask[box] |= inside
            last[box][inside] = number
    sizes = {number: max(int(mask.sum()), 1) for number, mask in masks.items()}
    for one, two in combinations(sorted(masks), 2):
        both = masks[one] & masks[two]
        small, large = (classes.names[number] for number in sorted((one, two), key=sizes.__getitem__))
        share = both.sum() / min(sizes[one], sizes[two])
        if share >= _OVERLAP_TOLD:
            wins = (last[both] == classes.names.index(large)).mean()
            log.warning(
                "%s: %.0f%% of %s is drawn as %s too; what is drawn later counts: %s in %.0f%% of that",
                *(name, 100 * share, small, large, large, 100 * wins),
            )
    _tell_unnamed(
        name, by_value, canvas, {number: masks[number] for number in masks.keys() - {classes.others}}, classes
    )


def _tell_unnamed(
    name: str,
    by_value: Mapping[str, Sequence[Area]],
    canvas: _Canvas,
    masks: Mapping[int, Mask],
    classes: TruthClasses,
) -> None:
    """Log what share of each named class is covered by something that no class is named for."""
    for value, drawn in by_value.items():
        mask = canvas.fill(drawn)
        for number in sorted(masks):
            share = (masks[number] & mask).sum() / max(int(masks[number].sum()), 1)
            if share >= _OVERLAP_TOLD:
                log.warning(
                    "%s: %.0f%% of %s is drawn as %s too, which no option names; it counts as %s",
                    *(name, 100 * share, classes.names[number], value, classes.names[number]),
                )


@dataclass(frozen=True)
class _Canvas:
    """A raster on which overlaps are measured.

    Attributes
    ----------
    low : ndarray of shape (2,), float64
        Its corner (x, y), in the drawing's own pixels.
    pixel : float
        Edge of its pixels in those.
    shape : (rows, columns)
    """

    low: Doubles
    pixel: float
    shape: tuple[int, int]

    @classmethod
    def around(cls, areas: Sequence[Area]) -> _Canvas:
        corners = np.concatenate([polygon[0] for area in areas for polygon in area.polygons])
        low, high = corners.min(axis=0), corners.max(axis=0)
        pixel = float((high - low).max()) / _OVERLAP_SIDE
        columns, rows = np.ceil((high - low) / pixel).astype(int).tolist()
        return cls(low, pixel, (rows, columns))

    def fill(self, areas: Sequence[Area]) -> Mask:
        """Return which pixels lie in any of some areas."""
        mask = np.zeros(self.shape, bool)
        for area in areas:
            for box, inside in self.insides(area):
                mask[box] |= inside
        return mask

    def insides(self, area: Area) -> Iterator[tuple[tuple[slice, slice], Mask]]:
        """Yield the part of the raster around each polygon, and which of its pixels lie inside."""
        rows, columns = self.shape
        for polygon in area.polygons:
            shape = Shape.of(polygon, origin=self.low, pixel=self.pixel)
            first, behind = np.maximum(shape.low, 0), np.minimum(shape.high, (columns, rows))
            if (first < behind).all():
                box = slice(first[1], behind[1]), slice(first[0], behind[0])
                yield box, shape.fill(first, behind)
