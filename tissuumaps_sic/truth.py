"""Ground truth of a slide, from a mask or drawn polygons, to the share of each class in every patch.

Whatever the form, the truth becomes a raster that is read block by block, and a patch's shares are means over
its square. Level-0 pixels count from the slide's top-left corner; pixel k covers k to k + 1.
"""

from __future__ import annotations

import gzip
import json
import re
import warnings
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slides import EmbeddedSlide, provenance

UNCOUNTED = -1
# What stands for every value that no class names, and for what lies in no polygon.
OTHERS = "*"
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
Floats = npt.NDArray[np.float64]
Pair = tuple[float, float]


class TruthError(Exception):
    """A ground truth cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class TruthClasses:
    """Which values of a truth make which class.

    Attributes
    ----------
    names : tuple of str
        Names of the classes 0, 1, ...; of two classes, 1 is the positive one.
    values : mapping of str to int
        Class of each value: a mask's number as text, or an annotation's class name in lower case.
    others : int
        Class of every other value, and of what lies in no polygon; -1 counts it in no class.
    """

    names: tuple[str, ...]
    values: Mapping[str, int]
    others: int = UNCOUNTED

    @classmethod
    def binary(cls, positive: str) -> TruthClasses:
        """Return two classes: the comma-separated values in `positive`, and everything else.

        Raises
        ------
        TruthError
            When a value is empty, is ``*`` or occurs twice.
        """
        if OTHERS in positive:
            raise TruthError(f"--positive {positive}: names the values themselves; {OTHERS} is for --class")
        return cls.parse(["Other=*", f"Positive={positive}"])

    @classmethod
    def parse(cls, texts: Sequence[str]) -> TruthClasses:
        """Return classes from texts ``NAME=VALUE[,VALUE...]``, in the order of their numbers.

        A value ``*`` stands for all that no class names, what lies in no polygon included. Without it, that
        is counted in no class.

        Raises
        ------
        TruthError
            When a text is not of that form, there are fewer than two, or a name or value occurs twice.

        Examples
        --------
        >>> TruthClasses.parse(["Stroma=4", "Gland=0,1,3"]).values
        {'4': 0, '0': 1, '1': 1, '3': 1}
        """
        names: list[str] = []
        values: dict[str, int] = {}
        for number, text in enumerate(texts):
            name, equals, listed = (part.strip() for part in text.partition("="))
            given = [value.strip() for value in listed.split(",")]
            if not (name and equals and all(given)):
                raise TruthError(
                    f"--class {text!r}: must be NAME=VALUE[,VALUE...], for example Tumour=1,2 or Other=*"
                )
            if name in names:
                raise TruthError(f"--class {text!r}: there is a class {name} already; list its values there")
            names.append(name)
            for value in given:
                if value.casefold() in values:
                    raise TruthError(f"--class {text!r}: {value} is in a class already; keep one of the two")
                values[value.casefold()] = number
        if len(names) < 2:
            raise TruthError(
                f"{len(names)} class is named; name at least two, for example "
                "--class Other=* --class Tumour=1, or the positive values alone: --positive 1"
            )
        others = values.pop(OTHERS, UNCOUNTED)
        return cls(tuple(names), values, others)

    def named(self, values: Sequence[str]) -> int | None:
        """Return the class of the first of `values` that a class names, or None."""
        numbers = (self.values.get(value.strip().casefold()) for value in values)
        return next((number for number in numbers if number is not None), None)


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

    centres: Floats
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
    known = provenance(slide.path)
    recorded = _group(known, "slide")
    size0 = _group(known, "grid").get("patch_size0") or _edge_by_corners(slide)
    size = slide_size or _whole(recorded.get("size"), 2)
    bounds = _whole(recorded.get("bounds"), 4)
    if size is not None and (slide.centres.max(axis=0) > size).any():
        x, y = slide.centres.max(axis=0)
        raise TruthError(
            f"{slide.path.name}: has a patch at x {x:.0f}, y {y:.0f}, outside a slide of "
            f"{size[0]} x {size[1]} level-0 pixels; give the size of level 0 (--slide-size WIDTH,HEIGHT)"
        )
    return PatchSquares(slide.centres, float(size0), size, bounds)


def _group(known: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    group = known.get(key)
    return group if isinstance(group, dict) else {}


def _whole(values: Any, count: int) -> Any:
    if not isinstance(values, list) or len(values) != count:
        return None
    return tuple(int(value) for value in values)


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

        - a mask (``.png``, ``.tif``, ``.tiff``): grey or palette of 8 or 16 bits, whose values are classes.
          It covers the slide, or else its bounds, at any scale; a pyramid is read at its finest level;
        - GeoJSON (``.geojson``, ``.json``, also with ``.gz``), as QuPath writes it;
        - the XML of ASAP (``.xml``). Splines are taken as the polygon through their points.

        Polygons that come later in a file lie over earlier ones. Annotations without a class, and those
        that QuPath itself ignores because their class ends in ``*``, are left out unless `classes` names
        them.
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
    if not path.is_file():
        raise TruthError(f"{path}: no such file; give the slide's mask, GeoJSON or XML")
    ending = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    form = _FORMS.get(ending)
    if form is None:
        raise TruthError(
            f"{path.name}: a truth ends in {', '.join(sorted(_FORMS))}; convert the file, or rename it"
        )
    raster = form(path, squares, classes, offset)
    shares = _shares(raster, squares, len(classes.names))
    return Truth(classes.names, _labels(shares), shares.astype(np.float32), raster.found)


def _labels(shares: Floats) -> npt.NDArray[np.int64]:
    most = shares.argmax(axis=1)
    if shares.shape[1] == 2:
        # A tie at one half is positive.
        most = (shares[:, 1] >= _HALF).astype(np.int64)
        counted = shares.sum(axis=1) >= _HALF
    else:
        counted = shares.max(axis=1) >= _HALF
    return np.where(counted, most, UNCOUNTED).astype(np.int64)


# ---------------------------------------------------------------------------------------------- shares


class _Raster(Protocol):
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


def _shares(raster: _Raster, squares: PatchSquares, n_classes: int) -> Floats:
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
        for number in range(n_classes):
            sums = _sums(values == number)
            shares[rows, number] = _inside(sums, corners[rows] - near, edges) / edges.prod()
    return np.clip(shares, 0, 1)


def _sums(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Return the true pixels above and left of each pixel corner, shape (rows + 1, columns + 1)."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.cumsum(mask, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _inside(sums: npt.NDArray[np.int32], corners: Floats, edges: Floats) -> Floats:
    """Return the true area in rectangles, in pixels; cut pixels count by the part inside."""
    (left, top), (right, bottom) = corners.T, (corners + edges).T
    return (
        _before(sums, right, bottom)
        - _before(sums, left, bottom)
        - _before(sums, right, top)
        + _before(sums, left, top)
    )


def _before(sums: npt.NDArray[np.int32], x: Floats, y: Floats) -> Floats:
    """Return the true area above and left of points; it is bilinear inside a pixel."""
    column = np.clip(np.floor(x).astype(np.intp), 0, sums.shape[1] - 2)
    row = np.clip(np.floor(y).astype(np.intp), 0, sums.shape[0] - 2)
    u, v = x - column, y - row
    upper = sums[row, column] * (1 - u) + sums[row, column + 1] * u
    lower = sums[row + 1, column] * (1 - u) + sums[row + 1, column + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)


# ----------------------------------------------------------------------------------------------- masks


@dataclass
class _Mask:
    """A mask image; `fetch` gives the values of a rectangle inside it, shape (height, width)."""

    size: tuple[int, int]
    origin: Pair
    pixel: Pair
    fetch: Callable[[int, int, int, int], npt.NDArray[np.unsignedinteger[Any]]]
    class_of: Classes
    met: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(65536, bool))

    @property
    def found(self) -> tuple[str, ...]:
        return tuple(str(value) for value in np.flatnonzero(self.met))

    def read(self, left: int, top: int, width: int, height: int) -> Classes:
        values = np.full((height, width), UNCOUNTED, np.int16)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.size[0]), min(top + height, self.size[1])
        if x0 < x1 and y0 < y1:
            inside = self.fetch(x0, y0, x1 - x0, y1 - y0)
            self.met[inside] = True
            values[y0 - top : y1 - top, x0 - left : x1 - left] = self.class_of[inside]
        return values


def _read_mask(path: Path, squares: PatchSquares, classes: TruthClasses, _: Pair | None) -> _Mask:
    class_of = np.full(65536, classes.others, np.int16)
    for value, number in classes.values.items():
        if not re.fullmatch(r"\d{1,5}", value) or int(value) > 65535:
            raise TruthError(
                f"{path.name}: is a mask, whose values are numbers from 0, and {value!r} is none; "
                "give the mask's own, for example --positive 1"
            )
        class_of[int(value)] = number
    size, fetch = _open_palette(path) or _open_grey(path)
    origin, pixel = _place(path, size, squares)
    return _Mask(size, origin, pixel, fetch, class_of)


def _open_palette(path: Path) -> Any:
    """Return size and reader of a mask that is a palette's indices, or None where it is something else.

    libvips, which reads all the rest, gives a palette's colours and not its indices.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode != "P":
                    return None
                values = np.asarray(image)
    except Image.DecompressionBombError:
        # More than 179 Mpx: too many for a format that is unpacked as a whole, whatever its values.
        return None
    except (OSError, SyntaxError, ValueError) as error:
        # Pillow knows fewer kinds of TIFF than libvips, which has the last word on what is readable.
        if "truncated" in str(error):
            raise _unreadable(path, error) from error
        return None
    height, width = values.shape
    return (width, height), lambda left, top, w, h: values[top : top + h, left : left + w]


def _open_grey(path: Path) -> Any:
    """Return size and reader of a grey mask; rectangles are unpacked when asked for."""
    import pyvips

    # By the ending and not by the content, so that a file never reaches one of libvips' many other loaders.
    load = pyvips.Image.pngload if path.suffix.lower() == ".png" else pyvips.Image.tiffload
    try:
        image = load(str(path), access="random", fail_on="error")
    except pyvips.Error as error:
        raise _unreadable(path, error) from error
    if image.hasalpha():
        image = image[: image.bands - 1]
    if image.format not in ("uchar", "ushort"):
        raise TruthError(
            f"{path.name}: has pixels of the kind {image.format}; save the classes as whole numbers of 8 or "
            "16 bits, grey"
        )
    # libvips spreads 1, 2 and 4 bits over 0 to 255.
    bits = int(image.get("bits-per-sample")) if image.get_typeof("bits-per-sample") else 8
    spread = 255 // (2**bits - 1) if bits < 8 else 1

    def fetch(left: int, top: int, width: int, height: int) -> Any:
        try:
            values = image.crop(left, top, width, height).numpy()
        except pyvips.Error as error:
            raise _unreadable(path, error) from error
        if values.ndim == 3:
            if (values != values[:, :, :1]).any():
                raise TruthError(
                    f"{path.name}: is a coloured picture (the slide itself?); a mask is grey or has a "
                    "palette, each value a class"
                )
            values = values[:, :, 0]
        return values // spread

    return (image.width, image.height), fetch


def _unreadable(path: Path, error: Exception) -> TruthError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return TruthError(f"{path.name}: cannot be read ({reason}); export it again")


def _place(path: Path, size: tuple[int, int], squares: PatchSquares) -> tuple[Pair, Pair]:
    """Return where a mask's corner lies and how large its pixel is, in level-0 pixels."""
    if squares.slide_size is None:
        raise TruthError(
            f"{path.name}: the slide's h5ad does not tell the size of level 0, so that the mask cannot be "
            "laid over it; give it (--slide-size WIDTH,HEIGHT)"
        )
    whole = (0, 0, *squares.slide_size)
    for x, y, width, height in (whole, squares.bounds or whole):
        # Scaling rounds either side by up to one pixel.
        if abs(size[0] * height - size[1] * width) <= width + height:
            return (float(x), float(y)), (width / size[0], height / size[1])
    raise TruthError(
        f"{path.name}: is {size[0]} x {size[1]} pixels, and that is not the shape of the slide, "
        f"{squares.slide_size[0]} x {squares.slide_size[1]}; a mask covers the whole slide, at any scale"
    )


# -------------------------------------------------------------------------------------------- polygons


@dataclass(frozen=True)
class _Annotation:
    """What was drawn: polygons as lists of rings of shape (n_points, 2), level-0 pixels.

    `values` are what its class may be called, the nearest first; `classed` tells whether they are a class's
    or merely the annotation's own name.
    """

    values: tuple[str, ...]
    classed: bool
    polygons: tuple[tuple[Floats, ...], ...]


@dataclass(frozen=True)
class _Shape:
    """One polygon of a class: its edges, and the box around it, in pixels of the raster."""

    number: int
    starts: Floats
    ends: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class _Drawing:
    """Polygons as a raster; pixels in no polygon have the class `background`."""

    origin: Pair
    pixel: Pair
    found: tuple[str, ...]
    shapes: tuple[_Shape, ...]
    background: int

    @cached_property
    def _boxes(self) -> tuple[Floats, Floats]:
        """Whole pixels around each shape, shape (n_shapes, 2) each."""
        low = np.array([shape.low for shape in self.shapes]).reshape(-1, 2)
        high = np.array([shape.high for shape in self.shapes]).reshape(-1, 2)
        return np.floor(low), np.ceil(high)

    def read(self, left: int, top: int, width: int, height: int) -> Classes:
        values = np.full((height, width), self.background, np.int16)
        corner, far = np.array([left, top]), np.array([left + width, top + height])
        # Only the part of the rectangle that a polygon's own box covers is drawn.
        low, high = (np.clip(edges, corner, far).astype(int) for edges in self._boxes)
        for position in np.flatnonzero((low < high).all(axis=1)):
            (x0, y0), (x1, y1) = low[position] - corner, high[position] - corner
            shape = self.shapes[position]
            values[y0:y1, x0:x1][_fill(shape, low[position], high[position] - low[position])] = shape.number
        return values


def _fill(shape: _Shape, corner: npt.NDArray[np.int_], size: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """Return which pixels of a rectangle have their centre in a polygon, by the even-odd rule.

    Each edge toggles, in every row whose middle it crosses, all pixels to its right. Pillow's own polygons
    are no help here: they include their outline, half a pixel too much on every side.
    """
    width, height = size.tolist()
    (x1, y1), (x2, y2) = (shape.starts - corner - 0.5).T, (shape.ends - corner - 0.5).T
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


def _draw(
    path: Path,
    squares: PatchSquares,
    classes: TruthClasses,
    annotations: Sequence[_Annotation],
    offset: Pair,
) -> _Drawing:
    pixel = squares.size0 / _PIXELS_PER_PATCH
    origin = squares.centres.min(axis=0) - squares.size0 / 2
    shapes: list[_Shape] = []
    for annotation in annotations:
        number = classes.named(annotation.values)
        if number is None:
            if not annotation.classed or annotation.values[0].endswith(OTHERS):
                continue
            number = classes.others
        for polygon in annotation.polygons:
            rings = [(ring + offset - origin) / pixel for ring in polygon]
            starts = np.concatenate(rings)
            ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
            shapes.append(_Shape(number, starts, ends, starts.min(axis=0), starts.max(axis=0)))
    far = (squares.centres.max(axis=0) + squares.size0 / 2 - origin) / pixel
    if shapes and not any((shape.low < far).all() and (shape.high > 0).all() for shape in shapes):
        raise TruthError(
            f"{path.name}: none of its {len(shapes)} polygons lies on a patch; their coordinates must be "
            "pixels of the slide's level 0"
        )
    found = sorted({annotation.values[0] for annotation in annotations if annotation.values})
    return _Drawing(
        (float(origin[0]), float(origin[1])), (pixel, pixel), tuple(found), tuple(shapes), classes.others
    )


def _only_polygons(path: Path, annotations: list[_Annotation]) -> list[_Annotation]:
    areas = [annotation for annotation in annotations if annotation.polygons]
    if annotations and not areas:
        raise TruthError(
            f"{path.name}: its {len(annotations)} annotations are points or lines; draw the truth as polygons"
        )
    return areas


def _ring(points: Any) -> Floats:
    """Return points as an array of shape (n_points, 2).

    Raises
    ------
    ValueError
        When they are not at least one (x, y) of finite numbers.
    """
    ring = np.array([(point[0], point[1]) for point in points], dtype=np.float64)
    if not len(ring) or not np.isfinite(ring).all():
        raise ValueError("a ring is empty or holds a coordinate that is no number")
    return ring


# --------------------------------------------------------------------------------------------- GeoJSON


def _read_geojson(path: Path, squares: PatchSquares, classes: TruthClasses, offset: Pair | None) -> _Drawing:
    try:
        content = path.read_bytes()
        document = json.loads(gzip.decompress(content) if path.suffix.lower() == ".gz" else content)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        document = document.get("features")
    features = [document] if isinstance(document, dict) else document
    if not isinstance(features, list):
        raise TruthError(f"{path.name}: holds no list of features; export the annotations as GeoJSON")
    annotations = []
    for position, feature in enumerate(features):
        try:
            values, classed = _feature_values(feature.get("properties") or {})
            # Not `get`: what has no geometry, not even null, is no feature.
            polygons = tuple(_polygons(feature["geometry"] or {}))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise TruthError(
                f"{path.name}: feature {position} is not as GeoJSON has it ({error!r}); export it again"
            ) from error
        annotations.append(_Annotation(values, classed, polygons))
    if offset is None:
        offset = (float(squares.bounds[0]), float(squares.bounds[1])) if squares.bounds else (0.0, 0.0)
    return _draw(path, squares, classes, _only_polygons(path, annotations), offset)


def _feature_values(properties: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """Return what a feature's class may be called, and whether that is a class at all.

    QuPath has written a class as ``{"name": ...}``, as ``{"names": [...]}`` for a class of a class, and as a
    mere string; ``Tumor: Positive`` is also a ``Tumor``.
    """
    known = properties.get("classification")
    if isinstance(known, dict):
        known = known.get("name") or ": ".join(known.get("names") or [])
    if known:
        name = str(known)
        return (name, *(name[: match.start()] for match in reversed([*re.finditer(": ", name)]))), True
    return ((str(properties["name"]),) if properties.get("name") else ()), False


def _polygons(geometry: Mapping[str, Any]) -> Iterator[tuple[Floats, ...]]:
    """Yield each polygon of a geometry as its rings, the outer one first; points and lines have none."""
    kind = geometry.get("type")
    if kind == "Polygon":
        yield tuple(_ring(ring) for ring in geometry["coordinates"])
    elif kind == "MultiPolygon":
        for polygon in geometry["coordinates"]:
            yield tuple(_ring(ring) for ring in polygon)
    elif kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _polygons(part)


# ------------------------------------------------------------------------------------------------ ASAP

_ASAP_AREAS = ("polygon", "spline", "rectangle")


class _NoDoctype(ET.TreeBuilder):
    """Builds a tree and refuses a document type, the only place where entities that expand are declared."""

    def doctype(self, name: str, *_: str | None) -> None:
        raise TruthError(f"declares a document type ({name}), which no annotation needs; export it again")


def _read_asap(path: Path, squares: PatchSquares, classes: TruthClasses, _: Pair | None) -> _Drawing:
    try:
        root = ET.XML(path.read_bytes(), ET.XMLParser(target=_NoDoctype()))  # noqa: S314 -- no doctype
    except TruthError as error:
        raise TruthError(f"{path.name}: {error}") from error
    except (OSError, ET.ParseError, LookupError, ValueError) as error:
        raise _unreadable(path, error) from error
    if root.tag != "ASAP_Annotations":
        raise TruthError(
            f"{path.name}: begins with <{root.tag}>, and ASAP's XML with <ASAP_Annotations>; "
            "export the annotations as GeoJSON instead"
        )
    parents = {group.get("Name", ""): group.get("PartOfGroup", "") for group in root.iter("Group")}
    annotations = [
        _asap_annotation(path, position, element, parents)
        for position, element in enumerate(root.iter("Annotation"))
    ]
    return _draw(path, squares, classes, _only_polygons(path, annotations), (0.0, 0.0))


def _asap_annotation(
    path: Path, position: int, element: ET.Element, parents: Mapping[str, str]
) -> _Annotation:
    groups: list[str] = []
    group = element.get("PartOfGroup", "")
    while group not in ("", "None", *groups):
        groups.append(group)
        group = parents.get(group, "")
    name = element.get("Name", "")
    values = tuple(groups) or ((name,) if name else ())
    if element.get("Type", "").lower() not in _ASAP_AREAS:
        return _Annotation(values, bool(groups), ())
    try:
        points = sorted(
            (int(float(point.attrib["Order"])), float(point.attrib["X"]), float(point.attrib["Y"]))
            for point in element.iter("Coordinate")
        )
        ring = _ring([(x, y) for _, x, y in points])
    except (KeyError, ValueError, OverflowError) as error:
        raise TruthError(
            f"{path.name}: annotation {position} ({name!r}) has a coordinate that is missing or no number "
            f"({error}); export it again"
        ) from error
    return _Annotation(values, bool(groups), ((ring,),))


_FORMS: dict[str, Callable[[Path, PatchSquares, TruthClasses, Pair | None], _Raster]] = {
    ".png": _read_mask,
    ".tif": _read_mask,
    ".tiff": _read_mask,
    ".geojson": _read_geojson,
    ".json": _read_geojson,
    ".geojson.gz": _read_geojson,
    ".json.gz": _read_geojson,
    ".xml": _read_asap,
}
