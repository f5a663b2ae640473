"""Polygons as pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.area import Polygon, Ring
from tissuumaps_sic.slidefile.arrays import Mask

Whole = npt.NDArray[np.int_]


@dataclass(frozen=True)
class Shape:
    """A polygon in pixels of a raster.

    Attributes
    ----------
    rings : tuple of Ring
        The outline, then the holes; pixel k covers k to k + 1.
    lows, highs : int arrays of shape (n_rings, 2)
        The whole pixels, (x, y), around each ring.
    """

    rings: tuple[Ring, ...]
    lows: Whole
    highs: Whole

    @classmethod
    def of(cls, polygon: Polygon, *, origin: npt.ArrayLike = (0, 0), pixel: float = 1.0) -> Shape:
        """Return a polygon's shape in a raster with its corner at `origin`, and an edge of its pixels.

        Parameters
        ----------
        polygon : tuple of float64 arrays of shape (n, 2)
            The outline, then the holes.
        origin : array-like of shape (2,), default=(0, 0)
            The raster's corner, (x, y), in the polygon's unit.
        pixel : float, default=1.0
            Edge of the raster's pixels in that unit.

        Returns
        -------
        Shape
        """
        rings = tuple((ring - np.asarray(origin)) / pixel for ring in polygon)
        lows = np.array([np.floor(ring.min(axis=0)) for ring in rings]).astype(int)
        highs = np.array([np.ceil(ring.max(axis=0)) for ring in rings]).astype(int)
        return cls(rings, lows, highs)

    @property
    def low(self) -> Whole:
        """The first pixel, (x, y), of the box around it."""
        low: Whole = self.lows[0]
        return low

    @property
    def high(self) -> Whole:
        """The pixel, (x, y), behind the last of the box around it."""
        high: Whole = self.highs[0]
        return high

    def fill(self, corner: Whole, far: Whole) -> Mask:
        """Return which pixels from `corner` to before `far` have their centre inside, and in no hole.

        Inside is what the even-odd rule says of each ring by itself, so that holes which overlap, or lie
        there twice, remain holes.

        Parameters
        ----------
        corner, far : int arrays of shape (2,)
            (x, y), in pixels of the raster.

        Returns
        -------
        bool array of shape (rows, columns)
        """
        inside = _fill(self.rings[0], corner, far)
        touched = ((self.lows[1:] < far) & (self.highs[1:] > corner)).all(axis=1)
        for hole in np.flatnonzero(touched) + 1:
            low, high = np.maximum(self.lows[hole], corner), np.minimum(self.highs[hole], far)
            (x0, y0), (x1, y1) = low - corner, high - corner
            inside[y0:y1, x0:x1] &= ~_fill(self.rings[hole], low, high)
        return inside


def _fill(ring: Ring, corner: Whole, far: Whole) -> Mask:
    """Return which pixels of a rectangle have their centre in a ring, by the even-odd rule.

    Each edge toggles, in every row whose middle it crosses, all pixels to its right. Pillow's own polygons
    are no help here: they include their outline, half a pixel too much on every side.
    """
    width, height = (far - corner).tolist()
    starts = ring - corner - 0.5
    (x1, y1), (x2, y2) = starts.T, np.roll(starts, -1, axis=0).T
    first = np.clip(np.ceil(np.minimum(y1, y2)), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y1, y2)), 0, height).astype(np.int64)
    edge = np.repeat(np.arange(len(first)), last - first)
    # The rows of each edge, one after the other: first, first + 1, ... last - 1.
    row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
    x = x1[edge] + (row - y1[edge]) * ((x2 - x1)[edge] / (y2 - y1)[edge])
    column = np.clip(np.ceil(x), 0, width).astype(np.int64)
    toggles = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(toggles, (row, column), 1)
    np.bitwise_xor.accumulate(toggles, axis=1, out=toggles)
    return toggles[:, :width].astype(bool)
