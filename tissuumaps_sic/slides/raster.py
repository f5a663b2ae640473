"""Labels as a picture: what lies at any place of the slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Integers
from tissuumaps_sic.slides.cells import SlideCells
from tissuumaps_sic.slides.regions import lattice_of

# Of cells in the smallest rectangle around all patches, which are kept in memory, a byte each.
_MOST_CELLS = 2**28


@dataclass(frozen=True, eq=False)
class LabelRaster:
    """A value for each square of a slide; made by `raster_of` or `raster_of_cells`.

    Attributes
    ----------
    corner : (float, float)
        Upper left corner (x, y) of the first cell, level-0 pixels.
    stride : (float, float)
        Width and height of a cell, level-0 pixels.
    values : ndarray of shape (rows + 2, columns + 2), uint8
        0 where there is no patch, and all around.
    """

    corner: tuple[float, float]
    stride: tuple[float, float]
    values: npt.NDArray[np.uint8]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of all cells, level-0 pixels."""
        rows, columns = (each - 2 for each in self.values.shape)
        left, top = self.corner
        return left, top, left + columns * self.stride[0], top + rows * self.stride[1]

    def columns_at(self, x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int32]:
        """Return the columns of `values` in which places (n,) lie, level-0 pixels; (n,) int32.

        Parameters
        ----------
        x : ndarray of shape (n,), floating
            Level-0 pixels.

        Returns
        -------
        ndarray of shape (n,), int32
            The nearest column of the frame where a place lies beyond it.
        """
        return self._within(x, axis=0)

    def rows_at(self, y: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int32]:
        """Return the rows of `values` in which places (n,) lie, level-0 pixels; (n,) int32.

        Parameters
        ----------
        y : ndarray of shape (n,), floating
            Level-0 pixels.

        Returns
        -------
        ndarray of shape (n,), int32
            The nearest row of the frame where a place lies beyond it.
        """
        return self._within(y, axis=1)

    def _within(self, places: npt.NDArray[np.floating[Any]], *, axis: int) -> npt.NDArray[np.int32]:
        found = np.floor((places - self.corner[axis]) / self.stride[axis]) + 1
        return np.asarray(np.clip(found, 0, self.values.shape[1 - axis] - 1), np.int32)


def raster_of(
    centres: npt.NDArray[np.float64], values: npt.NDArray[np.integer[Any]], stride: tuple[float, float]
) -> LabelRaster:
    """Return the cells that patches own (`regions.cells_of`) as a raster of their values.

    Parameters
    ----------
    centres : float64 array of shape (n_patches, 2)
        (x, y), level-0 pixels.
    values : integer array of shape (n_patches,)
        From 1 to 255.
    stride : (float, float)
        Size of a cell, level-0 pixels.

    Returns
    -------
    LabelRaster

    Raises
    ------
    ValueError
        When two patches own one cell, or the patches do not lie on a lattice.
    """
    corner, place = lattice_of(centres, stride)
    found = _empty(place, 1, stride)
    found[place[:, 1] + 1, place[:, 0] + 1] = values
    return LabelRaster((float(corner[0]), float(corner[1])), stride, found)


def raster_of_cells(cells: SlideCells, values: npt.NDArray[np.integer[Any]]) -> LabelRaster:
    """Return the cells of a slide as a raster of their values, with 0 where they are glass.

    Parameters
    ----------
    cells : SlideCells
    values : integer array of shape (n_patches, side, side)
        From 1 to 255.

    Returns
    -------
    LabelRaster

    Raises
    ------
    ValueError
        When the patches do not lie on a lattice.
    """
    side, place = cells.side, cells.place
    found = _empty(place, side, cells.size)
    columns, rows = (place.max(axis=0) + 1).tolist()
    inner = np.zeros((rows, side, columns, side), np.uint8)
    inner[place[:, 1], :, place[:, 0]] = np.where(cells.is_glass, 0, values)
    found[1:-1, 1:-1] = inner.reshape(rows * side, columns * side)
    return LabelRaster(cells.corner, cells.size, found)


def _empty(place: Integers, side: int, size: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Return a raster of nothing for patches at places (column, row) of a lattice, a frame around it."""
    columns, rows = ((place.max(axis=0) + 1) * side).tolist()
    if columns * rows > _MOST_CELLS:
        raise ValueError(
            f"{columns} x {rows} cells of {size[0]:g} x {size[1]:g} level-0 pixels lie around its "
            f"{len(place)} patches: they are on no grid, or its stride is not what the file says; embed the "
            "slide again"
        )
    return np.zeros((rows + 2, columns + 2), np.uint8)
