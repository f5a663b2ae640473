"""How much of a rectangle is inside a mask: exact, whatever pixels its edges cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Doubles

Sums = npt.NDArray[np.int32] | npt.NDArray[np.float64]


def sum_before(mask: npt.NDArray[np.bool_] | npt.NDArray[np.floating[Any]]) -> Sums:
    """Return what of a mask, (rows, columns), lies above and left of each pixel corner.

    Parameters
    ----------
    mask : bool or floating array of shape (rows, columns)
        Each pixel, or the share of it, that is inside.

    Returns
    -------
    int32 or float64 array of shape (rows + 1, columns + 1)
        Pixels; int32 of a bool mask.
    """
    rows, columns = mask.shape
    kind = np.int32 if mask.dtype == np.bool_ else np.float64
    sums: npt.NDArray[Any] = np.zeros((rows + 1, columns + 1), kind)
    np.cumsum(mask, axis=0, dtype=sums.dtype, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def area_in(sums: Sums, left: Doubles, top: Doubles, right: Doubles, bottom: Doubles) -> Doubles:
    """Return the area inside the mask of each rectangle, (n,), in pixels; beyond the mask there is none.

    Parameters
    ----------
    sums : array of shape (rows + 1, columns + 1)
        As `sum_before` returns it.
    left, top, right, bottom : float64 arrays of shape (n,)
        Pixels of the mask.

    Returns
    -------
    float64 array of shape (n,)
    """
    return (
        _area_before(sums, right, bottom)
        - _area_before(sums, left, bottom)
        - _area_before(sums, right, top)
        + _area_before(sums, left, top)
    )


def _area_before(sums: Sums, x: Doubles, y: Doubles) -> Doubles:
    """Return the area above and left of points. It is bilinear inside a pixel: interpolating is exact."""
    rows, columns = sums.shape[0] - 1, sums.shape[1] - 1
    x, y = np.clip(x, 0, columns), np.clip(y, 0, rows)
    column = np.minimum(x.astype(np.intp), columns - 1)
    row = np.minimum(y.astype(np.intp), rows - 1)
    u, v = x - column, y - row
    upper = sums[row, column] * (1 - u) + sums[row, column + 1] * u
    lower = sums[row + 1, column] * (1 - u) + sums[row + 1, column + 1] * u
    return np.asarray(upper * (1 - v) + lower * v)
