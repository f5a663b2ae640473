"""Labels of cells as regions, whose borders follow the tissue."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.slides.cells import SlideCells
from tissuumaps_sic.slides.raster import raster_of_cells
from tissuumaps_sic.slides.regions import Region, Scale
from tissuumaps_sic.slides.tracing import trace


def regions_of_cells(
    cells: SlideCells, labels: npt.NDArray[np.integer[Any]], scale: Scale, *, simplify: float = 0.0
) -> list[Region]:
    """Return the region of each label that a cell has, by label, without the cells that are glass.

    Parameters
    ----------
    cells : SlideCells
    labels : integer array of shape (n_patches, side, side)
        0 to 254, as `CellLabels.labels`.
    scale : Scale
        By its µm per pixel areas are in mm².
    simplify : float, default=0.0
        How far, in level-0 pixels, borders may move to have fewer corners (`shapely.coverage_simplify`); 0
        keeps the cells' own.

    Returns
    -------
    list of Region
        Polygons with holes, (x, y) in level-0 pixels; neighbours share their borders.

    Raises
    ------
    ValueError
        When `simplify` is negative, or the patches do not lie on a lattice.
    """
    if not simplify >= 0:
        raise ValueError(f"simplify is {simplify:g}; give 0 or more")
    raster = raster_of_cells(cells, labels + 1)
    traced = trace(raster.values[1:-1, 1:-1])
    if not traced:
        return []
    # From the corners of cells to level-0 pixels.
    matrix = (cells.size[0], 0.0, 0.0, cells.size[1], *cells.corner)
    shapes = [_move(shape, matrix) for shape in traced.values()]
    if simplify:
        shapes = list(shapely.coverage_simplify(np.array(shapes, object), simplify))
    found = np.array([value - 1 for value in traced])
    areas, tissue = np.array([shape.area for shape in shapes]), None
    known = measure_cells(cells, labels, int(found.max()) + 1)[1]
    if known is not None:
        tissue = known[found]
    counted = areas if tissue is None else tissue
    pixel = None if scale.mpp is None else scale.mpp[0] * scale.mpp[1] * 1e-6
    return [
        Region(
            int(label),
            shape if isinstance(shape, shapely.MultiPolygon) else shapely.MultiPolygon([shape]),
            None if pixel is None else float(areas[place] * pixel),
            float(counted[place] / counted.sum()),
            None if pixel is None or tissue is None else float(tissue[place] * pixel),
        )
        for place, (label, shape) in enumerate(zip(found, shapes, strict=True))
    ]


def _move(shape: shapely.MultiPolygon, matrix: tuple[float, ...]) -> shapely.MultiPolygon:
    width, _, _, height, left, top = matrix
    moved: shapely.MultiPolygon = shapely.transform(
        shape, lambda corners: corners * (width, height) + (left, top)
    )
    return moved


def measure_cells(
    cells: SlideCells, labels: npt.NDArray[np.integer[Any]], n_labels: int
) -> tuple[Doubles, Doubles | None]:
    """Return the area of each label's cells, and of the tissue in them, in level-0 pixels.

    Parameters
    ----------
    cells : SlideCells
    labels : integer array of shape (n_patches, side, side)
    n_labels : int

    Returns
    -------
    area : ndarray of shape (n_labels,), float64
        Of the cells that are not glass.
    tissue : ndarray of shape (n_labels,), float64, or None
        By the share of each of them that is; None where the file does not tell.
    """
    pixels, is_tissue = cells.size[0] * cells.size[1], ~cells.is_glass
    kept = labels[is_tissue]
    area: Doubles = np.bincount(kept, minlength=n_labels).astype(np.float64) * pixels
    if cells.tissue is None:
        return area, None
    weights = cells.tissue[is_tissue] * (pixels / 100)
    return area, np.bincount(kept, weights, minlength=n_labels).astype(np.float64)
