"""Ground truth of a slide, from a mask or drawn polygons, to the share of each class in every patch.

Whatever the form, the truth becomes a raster that is read block by block, and a patch's shares are means over
its square. Level-0 pixels count from the slide's top-left corner; pixel k covers k to k + 1.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.evaluation.classes import OTHERS, UNCOUNTED, TruthClasses, TruthError
from tissuumaps_sic.evaluation.overlaps import tell_overlaps
from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Areas
from tissuumaps_sic.slidefile.areas.files import DRAWINGS, is_drawing, read_areas
from tissuumaps_sic.slidefile.areas.fill import Shape
from tissuumaps_sic.slidefile.areas.masks import MASKS, N_VALUES, MaskImage, open_mask, place_mask
from tissuumaps_sic.slidefile.areas.sums import area_in, sum_before
from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slidefile.spelling import fold, join_names
from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

# How a truth is called after its slide's name, in the order of looking. Images under the bare name come
# last: they are often the slide itself.
ENDINGS = (
    *("_mask.png", "_mask.tif", "_mask.tiff", ".geojson", ".geojson.gz", ".json", ".json.gz", ".xml"),
    *(".png", ".tif", ".tiff"),
)
# Pixels of the raster's edge that are held at a time, beside a patch: 16 Mpx, about 80 MB with the sums.
_BLOCK = 4096
# Polygons are drawn at this many pixels to a patch's edge.
_PIXELS_PER_PATCH = 64
# A share is compared with one half up to the rounding of its sums.
_HALF = 0.5 - 1e-6

Classes = npt.NDArray[np.int16]
Pair = tuple[float, float]


@dataclass(frozen=True)
class PatchSquares:
    """Where the patches of a slide lie.

    Attributes
    ----------
    centres : ndarray of shape (n_patches, 2), float64
        (x, y) in level-0 pixels of the full slide.
    size0 : float
        Edge of a patch in level-0 pixels.
    slide_size : (width, height) or None
        Of the full slide in level-0 pixels, where it is known.
    bounds : (x, y, width, height) or None
        What the scanner filled of it, in level-0 pixels; OpenSlide's bounds, or the whole slide.
    """

    centres: Doubles
    size0: float
    slide_size: tuple[int, int] | None = None
    bounds: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Truth:
    """The truth of every patch.

    Attributes
    ----------
    names : tuple of str
        Names of the classes 0, 1, ...
    labels : ndarray of shape (n_patches,), int64
        Class of each patch, or -1 where it is not counted.
    shares : ndarray of shape (n_patches, n_classes), float32
        Share of the patch's area that each class covers; the rest is in no class.
    found : tuple of str
        The values in the file: of a mask those under the patches, of polygons all.
    """

    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]
    found: tuple[str, ...]


def patch_squares(slide: EmbeddedSlide, *, slide_size: tuple[int, int] | None = None) -> PatchSquares:
    """Return where the patches of an embedded slide lie.

    Parameters
    ----------
    slide : EmbeddedSlide
    slide_size : (width, height), optional
        Of the full slide in level-0 pixels; by default what the provenance tells.

    Raises
    ------
    TruthError
        When the file tells no edge of a patch, or patches lie outside a slide of that size.
    """
    known = read_provenance(slide.path)
    size0 = known.grid.patch_size0 or _edge_by_corners(slide)
    size = slide_size or known.slide.size
    if size is not None and (slide.centres.max(axis=0) > size).any():
        x, y = slide.centres.max(axis=0)
        raise TruthError(
            f"{slide.path.name}: has a patch at x {x:.0f}, y {y:.0f}, outside a slide of "
            f"{size[0]} x {size[1]} level-0 pixels; give the size of level 0 (--slide-size WIDTH,HEIGHT)"
        )
    return PatchSquares(slide.centres, float(size0), size, known.slide.bounds)


def _edge_by_corners(slide: EmbeddedSlide) -> float:
    """Return a patch's edge from its corner and centre, for files without provenance."""
    with h5py.File(slide.path, "r", locking=False) as file:
        corners = [file[f"obs/{key}"][()] for key in ("x0", "y0") if f"obs/{key}" in file]
    if len(corners) == 2:
        # Corners are rounded to whole pixels; the median over the patches evens that out.
        edge = 2 * float(np.median(slide.centres - np.column_stack(corners)))
        if edge > 0:
            return edge
    raise TruthError(
        f"{slide.path.name}: tells no size of a patch, neither in uns['embedder'] nor by obs['x0'] and "
        "obs['y0']; embed the slide with this version"
    )


def find_truth(folder: Path, names: Sequence[str]) -> Path:
    """Return the truth of a slide in a folder: the slide's name and one of `ENDINGS`, the first there is.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        What the slide is called: its own name, that of its h5ad.

    Raises
    ------
    TruthError
        When there is none.
    """
    for name in names:
        for ending in ENDINGS:
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    raise TruthError(
        f"{folder}: holds no truth of {names[0]}; call it {names[0]}_mask.png, {names[0]}.geojson or "
        f"{names[0]}.xml, or name the file itself"
    )


def read_truth(
    path: Path, squares: PatchSquares, classes: TruthClasses, *, offset: Pair | None = None
) -> Truth:
    """Read the truth of a slide and compare it with the slide's patches.

    A patch has the class that covers at least half of it. Of two classes, a patch that is not positive is
    negative, as in the paper. A patch is not counted when less than half of it is in any class, or when none
    of three or more classes covers half.

    Parameters
    ----------
    path : Path
        One of

        - a mask (``.png``, ``.tif``, ``.tiff``, ``.bmp``): grey or palette of 8 or 16 bits, whose values are
          classes. It covers the slide, or else its bounds, at any scale; a pyramid is read at its finest
          level;
        - GeoJSON (``.geojson``, ``.json``, also with ``.gz``), as QuPath writes it;
        - the XML of ASAP (``.xml``). Splines are taken as the polygon through their points.

        Classes that `classes` names lie over those it does not name, whatever the order in the file; of two
        that it names, the one that comes later lies over the other. How much they overlap is told.
        Annotations without a class, and those that QuPath itself ignores because their class ends in ``*``,
        are left out unless `classes` names them.
    squares : PatchSquares
        The patches, as `patch_squares` gives them.
    classes : TruthClasses
    offset : (x, y), optional
        Where GeoJSON's (0, 0) lies, in level-0 pixels; by default the corner of the slide's bounds, because
        QuPath crops a slide to them. ASAP does not.

    Returns
    -------
    Truth

    Raises
    ------
    TruthError
        When the file cannot be read, or does not fit the slide or the classes.

    Notes
    -----
    Shares are exact for a mask: pixels that a patch's edge cuts count by the part inside. Polygons are drawn
    at 64 pixels to the edge of a patch, a pixel belonging to a polygon by its centre, so that a share is
    within 0.3 % of the patch for outlines that are smooth at that scale (usually within 0.1 %).
    """
    return measure_truth(open_truth(path, squares, classes, offset=offset), squares, classes)


def open_truth(
    path: Path, squares: PatchSquares, classes: TruthClasses, *, offset: Pair | None = None
) -> TruthRaster:
    """Return the truth of a slide as a raster of classes; parameters and errors are those of `read_truth`."""
    if not path.is_file():
        raise TruthError(f"{path}: no such file; give the slide's mask, GeoJSON or XML")
    try:
        if is_drawing(path):
            return _read_drawing(path, squares, classes, offset)
        if path.suffix.lower() in MASKS:
            return _read_mask(path, squares, classes)
    except AreaError as error:
        raise TruthError(str(error)) from error
    raise TruthError(
        f"{path.name}: a truth ends in {', '.join(sorted(DRAWINGS + MASKS))}; convert the file, or rename it"
    )


def measure_truth(raster: TruthRaster, squares: PatchSquares, classes: TruthClasses) -> Truth:
    """Return the truth of every patch, of a raster of classes; errors are those of `read_truth`."""
    try:
        shares = _shares(raster, squares, len(classes.names))
    except AreaError as error:
        raise TruthError(str(error)) from error
    return Truth(classes.names, _labels(shares), shares.astype(np.float32), raster.found)


def _labels(shares: Doubles) -> npt.NDArray[np.int64]:
    most = shares.argmax(axis=1)
    if shares.shape[1] == 2:
        # A tie at one half is positive.
        most = (shares[:, 1] >= _HALF).astype(np.int64)
        counted = shares.sum(axis=1) >= _HALF
    else:
        counted = shares.max(axis=1) >= _HALF
    return np.where(counted, most, UNCOUNTED).astype(np.int64)


# ---------------------------------------------------------------------------------------------- shares


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
        """Return the classes in a rectangle, shape (height, width); -1 is no class."""


def _shares(raster: TruthRaster, squares: PatchSquares, n_classes: int) -> Doubles:
    """Return the share of each class in each square, shape (n_patches, n_classes)."""
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
            sums = sum_before(values == number)
            shares[rows, number] = area_in(sums, left, top, right, bottom) / edges.prod()
    return np.clip(shares, 0, 1)


# ----------------------------------------------------------------------------------------------- masks


@dataclass
class _MaskClasses:
    """The classes of a mask image."""

    image: MaskImage
    origin: Pair
    pixel: Pair
    class_of: Classes
    met: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(N_VALUES, bool))

    @property
    def found(self) -> tuple[str, ...]:
        return tuple(str(value) for value in np.flatnonzero(self.met))

    def read(self, left: int, top: int, width: int, height: int) -> Classes:
        values = np.full((height, width), UNCOUNTED, np.int16)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.image.size[0]), min(top + height, self.image.size[1])
        if x0 < x1 and y0 < y1:
            inside = self.image.read(x0, y0, x1 - x0, y1 - y0)
            self.met[inside] = True
            values[y0 - top : y1 - top, x0 - left : x1 - left] = self.class_of[inside]
        return values


def _read_mask(path: Path, squares: PatchSquares, classes: TruthClasses) -> _MaskClasses:
    class_of = np.full(N_VALUES, classes.others, np.int16)
    for value, number in classes.values.items():
        if not re.fullmatch(r"\d{1,5}", value) or int(value) >= N_VALUES:
            raise TruthError(
                f"{path.name}: is a mask, whose values are numbers from 0, and {value!r} is none; "
                "give the mask's own, for example --positive 1"
            )
        class_of[int(value)] = number
    image = open_mask(path)
    if squares.slide_size is None:
        raise TruthError(
            f"{path.name}: the slide's h5ad does not tell the size of level 0, so that the mask cannot be "
            "laid over it; give it (--slide-size WIDTH,HEIGHT)"
        )
    origin, pixel = place_mask(path.name, image.size, squares.slide_size, squares.bounds)
    return _MaskClasses(image, origin, pixel, class_of)


# -------------------------------------------------------------------------------------------- polygons


@dataclass(frozen=True)
class _Drawing:
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
        values = np.full((height, width), self.background, np.int16)
        corner, far = np.array([left, top]), np.array([left + width, top + height])
        # Only the part of the rectangle that a polygon's own box covers is drawn.
        low, high = np.clip(self._boxes, corner, far)
        for position in np.flatnonzero((low < high).all(axis=1)):
            (x0, y0), (x1, y1) = low[position] - corner, high[position] - corner
            number, shape = self.shapes[position]
            values[y0:y1, x0:x1][shape.fill(low[position], high[position])] = number
        return values


def _read_drawing(path: Path, squares: PatchSquares, classes: TruthClasses, offset: Pair | None) -> _Drawing:
    drawn = read_areas(path)
    if offset is None:
        # QuPath counts from the corner of what was scanned.
        corner = squares.bounds[:2] if squares.bounds and drawn.from_bounds else (0, 0)
        offset = float(corner[0]), float(corner[1])
    if squares.slide_size is not None:
        drawn.check_place(squares.slide_size, offset)
    named, others = _chosen(drawn, classes)
    tell_overlaps(path.name, named, others, classes)
    pixel = squares.size0 / _PIXELS_PER_PATCH
    origin = squares.centres.min(axis=0) - squares.size0 / 2
    # What is named lies over the rest.
    shapes = [
        (number, Shape.of(polygon, origin=origin - offset, pixel=pixel))
        for number, area in [*((classes.others, area) for area in others), *named]
        for polygon in area.polygons
    ]
    far = (squares.centres.max(axis=0) + squares.size0 / 2 - origin) / pixel
    if shapes and not any((shape.low < far).all() and (shape.high > 0).all() for _, shape in shapes):
        raise TruthError(
            f"{path.name}: none of its {len(shapes)} polygons lies on a patch; their coordinates must be "
            "pixels of the slide's level 0"
        )
    return _Drawing(
        (float(origin[0]), float(origin[1])), (pixel, pixel), drawn.classes, tuple(shapes), classes.others
    )


def _chosen(drawn: Areas, classes: TruthClasses) -> tuple[list[tuple[int, Area]], list[Area]]:
    """Return the areas of named classes, each with its class, and those of classes that no option names.

    Raises
    ------
    TruthError
        When a named class has no area.
    """
    named: list[tuple[int, Area]] = []
    others: list[Area] = []
    nameless = 0
    for area in drawn.areas:
        number = classes.find_class(area.values)
        if number is not None:
            named.append((number, area))
        elif not area.classed:
            nameless += 1
        elif not area.values[0].endswith(OTHERS):
            others.append(area)
    there = {fold(value) for _, area in named for value in area.values}
    missing = [value for value in classes.values if value not in there]
    what = f"its classes are {join_names(drawn.classes)}"
    if nameless:
        what += f"; {nameless} annotation{'s have' if nameless > 1 else ' has'} no class"
    for number, name in enumerate(classes.names):
        values = [value for value, of in classes.values.items() if of == number]
        if number != classes.others and not set(values) - set(missing):
            raise TruthError(f"{drawn.name}: nothing in it is {name} ({', '.join(values)}); {what}")
    if missing:
        log.warning("%s: nothing in it is %s; %s", drawn.name, " or ".join(missing), what)
    elif nameless:
        log.warning(
            "%s: left out %d annotation%s without a class", drawn.name, nameless, "s" if nameless > 1 else ""
        )
    return named, others
