"""How good labels are finer than a patch: by pixel, and along their borders.

Truth and labels are compared at points that part each patch's middle evenly, so that a large slide with
little tissue takes no more than its tissue does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tissuumaps_sic.evaluation.classes import UNCOUNTED
from tissuumaps_sic.evaluation.truth import TruthRaster
from tissuumaps_sic.labelling.places import Places
from tissuumaps_sic.labelling.sharpen import CellGrid, sharpen
from tissuumaps_sic.slidefile.arrays import Integers, Labels, Singles
from tissuumaps_sic.slides.cells import SlideCells

# What is compared: squares of whole patches, scores between centres, and the cells.
WAYS = ("blocks", "interpolated", "fine")
# A border that is off by less is right, µm; where the resolution is not known, by a fourth of a stride.
TOLERANCE = 32.0
# Points along the edge of a middle, on slides whose points fit in so many.
_MOST_ALONG, _MOST_POINTS = 16, 2**25
_BLOCK_PATCHES = 256

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
    labels, seeds : ndarray of shape (n_patches,), int64
    places : Places
        Of the patches' centres.
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


def _measure_borders(truth: PixelTruth, found: Points) -> float:
    true_border = _find_border(_lay_out(truth, truth.classes))
    found_border = _find_border(_lay_out(truth, np.where(truth.classes == UNCOUNTED, UNCOUNTED, found)))
    if not true_border.any() or not found_border.any():
        return 0.0
    shares = []
    for one, other in ((found_border, true_border), (true_border, found_border)):
        spacing = (1 / truth.tolerance[1], 1 / truth.tolerance[0])
        distance = ndimage.distance_transform_edt(~other, sampling=spacing)
        shares.append(float((distance[one] <= 1.0).mean()))
    return 2 * shares[0] * shares[1] / (sum(shares) or 1.0)


def _lay_out(truth: PixelTruth, values: Points) -> Points:
    """Return what points have as a picture of the slide, -1 where there are none."""
    place, along = truth.cells.place, truth.along
    columns, rows = (place.max(axis=0) + 1).tolist()
    picture = np.full((rows, along, columns, along), UNCOUNTED, np.int16)
    picture[place[:, 1], :, place[:, 0]] = values
    return picture.reshape(rows * along, columns * along)


def _find_border(picture: Points) -> npt.NDArray[np.bool_]:
    """Return the points that differ from the one to the right or below, where both have a class."""
    border = np.zeros(picture.shape, bool)
    known = picture != UNCOUNTED
    border[:, :-1] |= (picture[:, :-1] != picture[:, 1:]) & known[:, :-1] & known[:, 1:]
    border[:-1] |= (picture[:-1] != picture[1:]) & known[:-1] & known[1:]
    return border
