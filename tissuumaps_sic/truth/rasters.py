"""Classes on a grid of pixels over a slide, of a mask or polygons, and the share of each in every patch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.area import Area
from tissuumaps_sic.slidefile.areas.fill import Shape
from tissuumaps_sic.slidefile.areas.masks import N_VALUES, MaskImage, open_mask, place_mask
from tissuumaps_sic.slidefile.areas.sums import area_in, sum_before
from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.truth.classes import UNCOUNTED, TruthClasses, TruthError
from tissuumaps_sic.truth.squares import PatchSquares

# Pixels of the raster's edge that are held at a time, beside a patch: 16 Mpx, about 80 MB with the sums.
_BLOCK = 4096
# Polygons are drawn at this many pixels to a patch's edge.
_PIXELS_PER_PATCH = 64

Classes = npt.NDArray[np.int16]
Pair = tuple[float, float]


class TruthRaster(Protocol):
    """Classes on a grid of pixels over the slide, read by rectangles."""

    @property
    def origin(self) -> Pair:
        """Where its corner lies, (x, y) in level-0 pixels."""

    @property
    def pixel(self) -> Pair:
        """Width and height of its pixel in level-0 pixels."""

    @property
    def found(self) -> tuple[str, ...]:
        """Values that were met so far."""

    def read(self, left: int, top: int, width: int, height: int) -> Classes:
        """Return the classes in a rectangle of the raster.

        Parameters
        ----------
        left, top, width, height : int
            Pixels of the raster.

        Returns
        -------
        ndarray of shape (height, width), int16
            -1 is no class.
        """


def measure_shares(raster: TruthRaster, squares: PatchSquares, n_classes: int) -> Doubles:
    """Return the share of each patch that each class covers.

    Parameters
    ----------
    raster : TruthRaster
    squares : PatchSquares
    n_classes : int

    Returns
    -------
    ndarray of shape (n_patches, n_classes), float64
        0 to 1; exact up to rounding, since pixels that an edge cuts count by the part inside.

    Raises
    ------
    AreaError
        When a mask cannot be read.
    """
    pixel = np.array(raster.pixel)
    corners = (squares.centres - squares.size0 / 2 - raster.origin) / pixel
    edges = squares.size0 / pixel
    shares = np.zeros((len(corners), n_classes))
    _, block_of = np.unique(np.floor(corners / _BLOCK), axis=0, return_inverse=True)
    order = np.argsort(block_of.ravel(), kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(block_of.ravel()))[:-1]):
        near = np.floor(corners[rows].min(axis=0)).astype(int)
        far = np.ceil((corners[rows] + edges).max(axis=0)).astype(int)
        values = raster.read(*near.tolist(), *(far - near).tolist())
        (left, top), (right, bottom) = (corners[rows] - near).T, (corners[rows] - near + edges).T
        for number in range(n_classes):
            inside = values == number
            if not inside.any():
                continue
            sums = sum_before(inside)
            shares[rows, number] = area_in(sums, left, top, right, bottom) / edges.prod()
    return np.clip(shares, 0, 1)


@dataclass
class MaskRaster:
    """The classes of a mask image."""

    image: MaskImage
    origin: Pair
    pixel: Pair
    class_of: Classes
    met: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(N_VALUES, bool))

    @property
    def found(self) -> tuple[str, ...]:
        """See `TruthRaster`."""
        return tuple(str(value) for value in np.flatnonzero(self.met))

    def read(self, left: int, top: int, width: int, height: int) -> Classes:
        """See `TruthRaster`."""
        values = np.full((height, width), UNCOUNTED, np.int16)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.image.size[0]), min(top + height, self.image.size[1])
        if x0 < x1 and y0 < y1:
            inside = self.image.read(x0, y0, x1 - x0, y1 - y0)
            self.met[inside] = True
            values[y0 - top : y1 - top, x0 - left : x1 - left] = self.class_of[inside]
        return values


def open_mask_raster(path: Path, squares: PatchSquares, classes: TruthClasses) -> MaskRaster:
    """Lay a mask image over a slide.

    Parameters
    ----------
    path : Path
    squares : PatchSquares
    classes : TruthClasses

    Returns
    -------
    MaskRaster

    Raises
    ------
    AreaError, TruthError
        When it cannot be read, or does not fit the slide or the classes.
    """
    class_of = np.full(N_VALUES, classes.others, np.int16)
    for value, number in classes.values.items():
        if not re.fullmatch(r"\d{1,5}", value) or int(value) >= N_VALUES:
            raise TruthError(
                f"{path.name}: is a mask, whose values are whole numbers from 0 on, and not {value!r}; "
                "give values of the mask, for example --positive 1"
            )
        class_of[int(value)] = number
    image = open_mask(path)
    if squares.slide_size is None:
        raise TruthError(
            f"{path.name}: the slide's h5ad does not say the size of level 0, so that the mask cannot be "
            "laid over it; give that size (--slide-size WIDTH,HEIGHT)"
        )
    origin, pixel = place_mask(path.name, image.size, squares.slide_size, squares.bounds)
    return MaskRaster(image, origin, pixel, class_of)


@dataclass(frozen=True)
class DrawingRaster:
    """Polygons as a raster, later ones over earlier ones; what lies in none has the class `background`."""

    origin: Pair
    pixel: Pair
    found: tuple[str, ...]
    shapes: tuple[tuple[int, Shape], ...]
    background: int

    @cached_property
    def _boxes(self) -> npt.NDArray[np.int_]:
        """Whole pixels around each shape, shape (2, n_shapes, 2)."""
        boxes = [[shape.low for _, shape in self.shapes], [shape.high for _, shape in self.shapes]]
        return np.array(boxes, int).reshape(2, -1, 2)

    def read(self, left: int, top: int, width: int, height: int) -> Classes:
        """See `TruthRaster`."""
        values = np.full((height, width), self.background, np.int16)
        corner, far = np.array([left, top]), np.array([left + width, top + height])
        # Only the part of the rectangle that a polygon's own box covers is drawn.
        low, high = np.clip(self._boxes, corner, far)
        for position in np.flatnonzero((low < high).all(axis=1)):
            (x0, y0), (x1, y1) = low[position] - corner, high[position] - corner
            number, shape = self.shapes[position]
            values[y0:y1, x0:x1][shape.fill(low[position], high[position])] = number
        return values


def draw_areas(
    name: str,
    areas: Iterable[tuple[int, Area]],
    squares: PatchSquares,
    *,
    offset: Pair,
    background: int = UNCOUNTED,
    found: tuple[str, ...] = (),
    pixels_per_patch: int = _PIXELS_PER_PATCH,
) -> DrawingRaster:
    """Return areas, each with its class, as a raster over the patches of a slide.

    Parameters
    ----------
    name : str
        The file's, for messages.
    areas : iterable of (int, Area)
        Later ones lie over earlier ones.
    squares : PatchSquares
    offset : (x, y)
        Where the areas' (0, 0) lies, in level-0 pixels.
    background : int, default=-1
        The class of what lies in none.
    found : tuple of str
        The values that the file has.
    pixels_per_patch : int, default=64
        How finely they are drawn.

    Returns
    -------
    DrawingRaster

    Raises
    ------
    TruthError
        When none of their polygons lies on a patch.
    """
    pixel = squares.size0 / pixels_per_patch
    origin = squares.centres.min(axis=0) - squares.size0 / 2
    shapes = [
        (number, Shape.of(polygon, origin=origin - offset, pixel=pixel))
        for number, area in areas
        for polygon in area.polygons
    ]
    far = (squares.centres.max(axis=0) + squares.size0 / 2 - origin) / pixel
    if shapes and not any((shape.low < far).all() and (shape.high > 0).all() for _, shape in shapes):
        raise TruthError(
            f"{name}: none of its {len(shapes)} polygons lies on a patch; their coordinates must be "
            "pixels of the slide's level 0"
        )
    return DrawingRaster(
        (float(origin[0]), float(origin[1])), (pixel, pixel), found, tuple(shapes), background
    )
