"""How good labels are finer than a patch: by pixel, and along their borders.

Truth and labels are compared at points that part each patch's middle evenly, so that a large slide with
little tissue takes no more than its tissue does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tissuumaps_sic.labelling.places import Places
from tissuumaps_sic.labelling.sharpen import CellGrid, sharpen
from tissuumaps_sic.slidefile.arrays import Index, Integers, Labels, Mask, Singles
from tissuumaps_sic.slides.cells import SlideCells
from tissuumaps_sic.truth.classes import UNCOUNTED
from tissuumaps_sic.truth.rasters import TruthRaster

# What is compared: squares of whole patches, scores between centres, and the cells.
WAYS = ("blocks", "interpolated", "fine")
# A border that is off by less is right, µm; where the resolution is not known, by a fourth of a stride.
TOLERANCE = 32.0
# Points along the edge of a middle, on slides whose points fit in so many.
_MOST_ALONG, _MOST_POINTS = 16, 2**25
_BLOCK_PATCHES = 256
# Patches along the edge of a square in which borders are compared.
_SQUARE = 64

Points = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class PixelTruth:
    """The truth at points of the patches' middles.

    Attributes
    ----------
    classes : ndarray of shape (n_patches, along, along), int16
        -1 where there is none, or glass.
    cells : SlideCells
    n_classes : int
    tolerance : (float, float)
        How far off a border may be, in points, in x and in y.
    """

    classes: Points
    cells: SlideCells
    n_classes: int
    tolerance: tuple[float, float]

    @property
    def along(self) -> int:
        """Points along the edge of a middle."""
        return int(self.classes.shape[1])


def sample_truth(
    raster: TruthRaster,
    cells: SlideCells,
    n_classes: int,
    mpp: tuple[float, float] | None,
    *,
    most_along: int = _MOST_ALONG,
) -> PixelTruth:
    """Read the truth at points of the patches' middles.

    Parameters
    ----------
    raster : TruthRaster
    cells : SlideCells
    n_classes : int
    mpp : (float, float) or None
        Micrometres per level-0 pixel in x and in y, where they are known.
    most_along : int, default=16
        Points along the edge of a middle, at most; at least one a cell.

    Returns
    -------
    PixelTruth
    """
    n_patches, side = cells.grid.n_patches, cells.side
    most = max(1, min(most_along, int((_MOST_POINTS / n_patches) ** 0.5)))
    along = side * max(1, most // side)
    stride = np.array(cells.size) * side
    steps = (np.arange(along) + 0.5) / along
    corners = np.array(cells.corner) + cells.place * stride
    classes = np.full((n_patches, along, along), UNCOUNTED, np.int16)
    pixel, origin = np.array(raster.pixel), np.array(raster.origin)
    # By places near each other, so that little of the raster is read for a block.
    order = np.lexsort((cells.place[:, 0], cells.place[:, 1] // 8))
    for start in range(0, n_patches, _BLOCK_PATCHES):
        rows = order[start : start + _BLOCK_PATCHES]
        for part in _near(cells.place[rows], rows):
            points = (corners[part, :, None] + stride[:, None] * steps - origin[:, None]) / pixel[:, None]
            x, y = np.floor(points).astype(np.int64).transpose(1, 0, 2)
            left, top = int(x.min()), int(y.min())
            read = raster.read(left, top, int(x.max()) - left + 1, int(y.max()) - top + 1)
            classes[part] = read[(y - top)[:, :, None], (x - left)[:, None, :]]
    glass = cells.is_glass.repeat(along // side, axis=1).repeat(along // side, axis=2)
    classes[glass] = UNCOUNTED
    x, y = TOLERANCE / (np.array(mpp) * stride) if mpp else (0.25, 0.25)
    return PixelTruth(classes, cells, n_classes, (float(x * along), float(y * along)))


def _near(places: Integers, rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Part patches into those whose columns lie close together."""
    order = np.argsort(places[:, 0], kind="stable")
    gaps = np.flatnonzero(np.diff(places[order, 0]) > 4) + 1
    return [rows[each] for each in np.split(order, gaps)]


def label_ways(
    truth: PixelTruth, scores: Singles, labels: Labels, seeds: Labels, places: Places
) -> dict[str, Points]:
    """Return the label of each point by each of `WAYS`, (n_patches, along, along).

    Parameters
    ----------
    truth : PixelTruth
    scores : ndarray of shape (n_patches, n_classes), float32
        Of a slope of `calibration.SLOPE`.
    labels, seeds : ndarray of shape (n_patches,), int64
    places : Places
        Of the patches' centres.

    Returns
    -------
    dict of str to ndarray of shape (n_patches, along, along)
        By the name of the way.
    """
    grid, along = truth.cells.grid, truth.along
    plain = CellGrid(truth.cells.place, side=along)
    reach = places.find_reach(scores.astype(np.float64))
    fine = sharpen(scores, grid, reach=reach, seeds=seeds).argmax(axis=3).astype(np.int16)
    times = along // grid.side
    return {
        "blocks": np.broadcast_to(labels[:, None, None].astype(np.int16), truth.classes.shape),
        "interpolated": sharpen(scores, plain, reach=reach).argmax(axis=3).astype(np.int16),
        "fine": fine.repeat(times, axis=1).repeat(times, axis=2),
    }


def measure_pixels(truth: PixelTruth, found: Points, *, borders: bool = True) -> dict[str, float]:
    """Compare labels with the truth, by point.

    Parameters
    ----------
    truth : PixelTruth
    found : ndarray of shape (n_patches, along, along), int16
    borders : bool, default=True
        Whether borders are compared too, which takes longest.

    Returns
    -------
    dict of str to float
        ``pixel_f1`` and ``iou`` of class 1, or of three or more classes their mean; ``pixel_macro_f1``, the
        mean over all classes; ``boundary_f1``, the harmonic mean of the share of the found borders that are
        near a true one, and of the true ones that are near a found one. What would be divided by zero is 0.
    """
    counted = truth.classes != UNCOUNTED
    n = truth.n_classes
    pairs = np.bincount(
        truth.classes[counted].astype(np.int64) * n + found[counted], minlength=n * n
    ).reshape(n, n)
    hits, sums = np.diag(pairs), pairs.sum(axis=0) + pairs.sum(axis=1)
    f1 = 2 * hits / np.maximum(sums, 1)
    iou = hits / np.maximum(sums - hits, 1)
    chosen = slice(1, 2) if n == 2 else slice(None)
    figures = {
        "pixel_f1": float(f1[chosen].mean()),
        "pixel_macro_f1": float(f1.mean()),
        "iou": float(iou[chosen].mean()),
    }
    return figures | ({"boundary_f1": _measure_borders(truth, found)} if borders else {})


def _measure_borders(truth: PixelTruth, found: Points, *, square: int = _SQUARE) -> float:
    """Return the F1 of borders.

    They are compared square by square, so that memory does not grow with the rectangle around all patches,
    nor time with the glass in it. How large the squares are, in patches, does not change the figure.
    """
    along = truth.along
    # A point's border is told by those to its right and below; what lies beyond the tolerance is not near.
    reach = max(-(-(int(np.ceil(each)) + 1) // along) for each in truth.tolerance)
    spacing = (1 / truth.tolerance[1], 1 / truth.tolerance[0])
    near, total = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for part in _part(truth.cells.place, square, reach):
        pictures = [part.lay_out(values) for values in (truth.classes, found)]
        pictures[1][pictures[0] == UNCOUNTED] = UNCOUNTED
        true_border, found_border = map(_find_border, pictures)
        inner = part.find_own(along)
        for which, (one, other) in enumerate(((found_border, true_border), (true_border, found_border))):
            own = one[inner]
            total[which] += own.sum()
            if own.any() and other.any():
                distance = ndimage.distance_transform_edt(~other, sampling=spacing)
                near[which] += (distance[inner][own] <= 1.0).sum()
    if not total.all():
        return 0.0
    shares = (near / total).tolist()
    return float(2 * shares[0] * shares[1] / (sum(shares) or 1.0))


@dataclass(frozen=True, eq=False)
class _Part:
    """A square of the grid of patches, with what lies around it.

    Attributes
    ----------
    rows : ndarray of shape (n,), intp
        Patches of the square, and those beside it.
    place : ndarray of shape (n, 2), int64
        (column, row) of each.
    left, top : int
        Column and row where the square begins.
    square : int
        Patches along its edge.
    """

    rows: Index
    place: Integers
    left: int
    top: int
    square: int

    def lay_out(self, values: Points) -> Points:
        """Return what all patches' points have as a picture of these ones, -1 where there are none."""
        place, along = self.place - self.place.min(axis=0), values.shape[1]
        columns, rows = (place.max(axis=0) + 1).tolist()
        picture = np.full((rows, along, columns, along), UNCOUNTED, np.int16)
        picture[place[:, 1], :, place[:, 0]] = values[self.rows]
        return picture.reshape(rows * along, columns * along)

    def find_own(self, along: int) -> tuple[slice, slice]:
        """Return where the square itself is in the picture."""
        corner = self.place.min(axis=0).tolist()
        starts = self.top - corner[1], self.left - corner[0]
        down, across = (slice(max(0, at) * along, (at + self.square) * along) for at in starts)
        return down, across


def _part(place: Integers, square: int, reach: int) -> Iterator[_Part]:
    """Part patches at places (column, row) into squares, each with those up to `reach` patches beside it."""
    order = np.argsort(place[:, 1], kind="stable")
    known = place[order, 1]
    for top in (np.unique(place[:, 1] // square) * square).tolist():
        first, begin, end, last = np.searchsorted(
            known, (top - reach, top, top + square, top + square + reach)
        ).tolist()
        strip = order[first:last]
        column = place[strip, 0]
        for left in (np.unique(place[order[begin:end], 0] // square) * square).tolist():
            rows = strip[(column >= left - reach) & (column < left + square + reach)]
            yield _Part(rows, place[rows], left, top, square)


def _find_border(picture: Points) -> Mask:
    """Return the points that differ from the one to the right or below, where both have a class."""
    border = np.zeros(picture.shape, bool)
    known = picture != UNCOUNTED
    border[:, :-1] |= (picture[:, :-1] != picture[:, 1:]) & known[:, :-1] & known[:, 1:]
    border[:-1] |= (picture[:-1] != picture[1:]) & known[:-1] & known[1:]
    return border
