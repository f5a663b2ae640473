"""Which class drawings, or a mask, give each patch: by how much of it they cover, and by points in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.area import Area, Polygon
from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.truth.classes import UNCOUNTED
from tissuumaps_sic.truth.rasters import Pair, TruthRaster, draw_areas, measure_shares
from tissuumaps_sic.truth.squares import PatchSquares

# Shares are compared up to the rounding of their sums; less than a pixel of a patch is no part of it.
_ROUNDING = 1e-6
_LEAST = 1e-3
# Drawn at so many pixels to a patch's edge, a share is within 1 % of the patch; a slide of 100,000 patches
# takes seconds.
_PIXELS_PER_PATCH = 32
_MOST_COMPARED = 1000

Claimed = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Claims:
    """The class of each patch that something claims.

    Attributes
    ----------
    labels : ndarray of shape (n_patches,), int64
        -1 where nothing does.
    n_partial : int
        Patches that are covered in part, and less than is asked for.
    n_tied : int
        Patches that two classes claim alike, which have none.
    n_nested : int
        Patches that have one class because the smaller drawing lies over the larger.
    n_off : int
        Drawings and points that lie on no patch.
    n_left_out : int
        Patches that have none because what is left out claims them.
    alone : mapping of str to int, optional
        How many patches each class of a file has by itself, where several become one; None is not counted.
    """

    labels: Claimed
    n_partial: int = 0
    n_tied: int = 0
    n_nested: int = 0
    n_off: int = 0
    n_left_out: int = 0
    alone: Mapping[str, int] | None = None


def claim_by_raster(
    raster: TruthRaster, squares: PatchSquares, n_classes: int, *, inside: float = 0.5
) -> Claims:
    """Return which patches each class of a raster claims.

    Parameters
    ----------
    raster : TruthRaster
    squares : PatchSquares
    n_classes : int
    inside : float, default=0.5
        From which share of a patch on its class claims it, above 0 to 1; of several the one with the largest.

    Returns
    -------
    Claims

    Raises
    ------
    AreaError
        When a mask cannot be read.
    """
    shares = measure_shares(raster, squares, n_classes)
    labels, tied = _choose(shares, inside)
    partial = (shares.max(axis=1, initial=0) > _LEAST) & (labels < 0) & ~tied
    return Claims(labels, int(partial.sum()), int(tied.sum()))


def claim_by_areas(
    name: str,
    areas: Sequence[tuple[int, Area]],
    squares: PatchSquares,
    *,
    left_out: Sequence[Area] = (),
    offset: Pair = (0.0, 0.0),
    inside: float = 0.5,
    cell: float | None = None,
) -> Claims:
    """Return which patches drawings claim.

    Of drawings over each other the smaller one counts, so that what is nested in another keeps its own class,
    whatever the order in the file. A point claims the patch whose cell it lies in, whatever is drawn there.

    Parameters
    ----------
    name : str
        The file's, for messages.
    areas : sequence of (int, Area)
        Each with the number of its class, from 0.
    squares : PatchSquares
    left_out : sequence of Area, optional
        Their polygons claim patches as the others do, and give them no class.
    offset : (x, y), default=(0, 0)
        Where the areas' (0, 0) lies, in level-0 pixels.
    inside : float, default=0.5
        As for `claim_by_raster`.
    cell : float, optional
        Distance of neighbouring patches in level-0 pixels; a patch's edge by default.

    Returns
    -------
    Claims

    Raises
    ------
    TruthError
        When there are polygons, no points, and no polygon lies on a patch.
    """
    n_classes = max((number for number, _ in areas), default=-1) + 1
    ranked = _rank([*areas, *((n_classes, area) for area in left_out)])
    drawn = [each for each in ranked if each[0] < n_classes]
    by_point, alike, n_beside = _claim_by_points(areas, squares, offset, cell or squares.size0)
    shares = np.zeros((len(squares.centres), n_classes + 1))
    labels, tied = _choose(shares, inside)
    n_nested = 0
    if drawn and (not (by_point >= 0).any() or _count_on(drawn, squares, offset)):

        def measure(each: Sequence[tuple[int, Area]]) -> Doubles:
            raster = draw_areas(name, each, squares, offset=offset, pixels_per_patch=_PIXELS_PER_PATCH)
            return measure_shares(raster, squares, n_classes + 1)

        shares = measure(ranked)
        labels, tied = _choose(shares, inside)
        if _may_overlap(drawn):
            # What the other order would give tells where two claim one patch.
            other, _ = _choose(measure(ranked[::-1]), inside)
            both = (np.minimum(labels, other) >= 0) & (np.maximum(labels, other) < n_classes)
            n_nested = int((both & (labels != other)).sum())
    labels = np.where(by_point >= 0, by_point, labels)
    tied = alike | (tied & (labels < 0))
    is_left_out = ~tied & (labels == n_classes)
    labels[tied | is_left_out] = UNCOUNTED
    partial = (shares[:, :n_classes].max(axis=1, initial=0) > _LEAST) & (labels < 0) & ~tied & ~is_left_out
    n_off = len(drawn) - _count_on(drawn, squares, offset) + n_beside
    return Claims(labels, int(partial.sum()), int(tied.sum()), n_nested, n_off, int(is_left_out.sum()))


def _rank(areas: Sequence[tuple[int, Area]]) -> list[tuple[int, Area]]:
    """Return each polygon by itself, the largest first."""
    drawn = [
        (number, Area(area.values, area.classed, (polygon,)))
        for number, area in areas
        for polygon in area.polygons
    ]
    return sorted(drawn, key=lambda each: -_size(each[1].polygons[0]))


def _choose(shares: Doubles, inside: float) -> tuple[Claimed, npt.NDArray[np.bool_]]:
    """Return the class of the largest share that is large enough, and where two have it."""
    if not shares.shape[1]:
        return np.full(len(shares), UNCOUNTED, np.int64), np.zeros(len(shares), bool)
    most = shares.max(axis=1)
    enough = most >= inside - _ROUNDING
    tied = enough & ((shares >= most[:, None] - _ROUNDING).sum(axis=1) > 1)
    return np.where(enough & ~tied, shares.argmax(axis=1), UNCOUNTED).astype(np.int64), tied


def _may_overlap(drawn: Sequence[tuple[int, Area]]) -> bool:
    """Tell whether drawings of two classes have boxes that overlap; of very many nobody wants to know."""
    if len(drawn) > _MOST_COMPARED or len({number for number, _ in drawn}) < 2:
        return False
    numbers = np.array([number for number, _ in drawn])
    low = np.array([area.polygons[0][0].min(axis=0) for _, area in drawn])
    high = np.array([area.polygons[0][0].max(axis=0) for _, area in drawn])
    overlap = (low[:, None] < high).all(axis=2) & (low < high[:, None]).all(axis=2)
    return bool((overlap & (numbers[:, None] != numbers)).any())


def _size(polygon: Polygon) -> float:
    """Return how much the outline of a polygon encloses; of its holes some may lie beside it."""
    x, y = (polygon[0] - polygon[0][0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _claim_by_points(
    areas: Sequence[tuple[int, Area]], squares: PatchSquares, offset: Pair, cell: float
) -> tuple[Claimed, npt.NDArray[np.bool_], int]:
    """Return the class of each patch by the points in its cell, which have two, and how many lie in none."""
    labels = np.full(len(squares.centres), UNCOUNTED, np.int64)
    points = [area.points for _, area in areas if len(area.points)]
    if not points:
        return labels, np.zeros(len(labels), bool), 0
    places = np.concatenate(points) + np.array(offset)
    numbers = np.concatenate(
        [np.full(len(area.points), number) for number, area in areas if len(area.points)]
    )
    # A cell holds its left and upper border: that of the nearest centre to a place that is moved a little.
    from scipy.spatial import cKDTree  # half a second, where nothing is drawn too

    distances, rows = cKDTree(squares.centres).query(places + 1e-6 * cell, p=np.inf)
    held = distances <= cell / 2 + _ROUNDING * cell
    low, high = np.full(len(labels), np.iinfo(np.int64).max), np.full(len(labels), UNCOUNTED)
    np.minimum.at(low, rows[held], numbers[held])
    np.maximum.at(high, rows[held], numbers[held])
    tied = (high >= 0) & (low != high)
    return np.where((high >= 0) & ~tied, high, UNCOUNTED), tied, int((~held).sum())


def _count_on(drawn: Sequence[tuple[int, Area]], squares: PatchSquares, offset: Pair) -> int:
    """Return how many drawings have some patch in the box around them."""
    if not drawn:
        return 0
    outlines = [area.polygons[0][0] for _, area in drawn]
    low = np.array([outline.min(axis=0) for outline in outlines]) + offset
    high = np.array([outline.max(axis=0) for outline in outlines]) + offset
    # The nearest patch of the box's middle, and whether it reaches into the box.
    from scipy.spatial import cKDTree

    distances, rows = cKDTree(squares.centres).query((low + high) / 2, p=np.inf)
    reach = (high - low) / 2 + squares.size0 / 2
    touched = (np.abs(squares.centres[rows] - (low + high) / 2) < reach).all(axis=1)
    large = ~touched & (distances < reach.max(axis=1))
    for place in np.flatnonzero(large).tolist():
        near = np.abs(squares.centres - (low[place] + high[place]) / 2) < reach[place]
        touched[place] = bool(near.all(axis=1).any())
    return int(touched.sum())
