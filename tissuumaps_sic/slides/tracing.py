"""The outlines of a picture of labels, as polygons that share their borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from tissuumaps_sic.slidefile.arrays import Mask


def trace(values: npt.NDArray[np.integer[Any]]) -> dict[int, shapely.MultiPolygon]:
    """Return what each value covers in a picture, with holes.

    Neighbours have every corner of their common border in common, so that the polygons are one coverage
    (`shapely.coverage_simplify`). Pixels that touch at a corner alone are not connected.

    Parameters
    ----------
    values : integer array of shape (rows, columns)
        0 is nothing.

    Returns
    -------
    dict of int to MultiPolygon
        By value, ascending; corners are (column, row) of the pixels' own corners.
    """
    framed = np.pad(values, 1)
    # Along the upper edge of each pixel, and along its left edge.
    level = framed[1:, 1:-1] != framed[:-1, 1:-1]
    upright = framed[1:-1, 1:] != framed[1:-1, :-1]
    lines = np.concatenate([_join(level, upright), _join(upright.T, level.T)[:, :, ::-1]])
    if not len(lines):
        return {}
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(lines.astype(np.float64))))
    inside = _find_values(faces, values)
    return {
        int(value): shapely.MultiPolygon(faces[inside == value].tolist())
        for value in np.unique(inside)
        if value
    }


def _join(edges: Mask, across: Mask) -> npt.NDArray[np.int64]:
    """Join edges of pixels along a row to straight lines that end where others meet them.

    `edges` is (rows + 1, columns), of the rows' upper edges; `across` (rows, columns + 1), of the edges that
    stand on them. Returns the lines' ends (column, row), (n_lines, 2, 2).
    """
    meets = np.zeros((edges.shape[0], edges.shape[1] + 1), bool)
    meets[:-1] |= across
    meets[1:] |= across
    begins, ends = edges.copy(), edges.copy()
    begins[:, 1:] &= ~edges[:, :-1] | meets[:, 1:-1]
    ends[:, :-1] &= ~edges[:, 1:] | meets[:, 1:-1]
    row, first = np.nonzero(begins)
    _, last = np.nonzero(ends)
    return np.stack([np.column_stack([first, row]), np.column_stack([last + 1, row])], axis=1)


def _find_values(
    faces: npt.NDArray[Any], values: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.integer[Any]]:
    """Return the value of the pixels in each polygon: of that below and right of its foremost corner."""
    corners, owner = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    order = np.lexsort((corners[:, 1], corners[:, 0], owner))
    _, first = np.unique(owner[order], return_index=True)
    column, row = corners[order[first]].astype(np.int64).T
    found: npt.NDArray[np.integer[Any]] = values[row, column]
    return found
