"""Coarse fields over a section: a float32 a mask pixel, read between nodes by linear interpolation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tissuumaps_sic.slidefile.arrays import Singles

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MASK_SCALE = 16  # level-0 pixels along an edge of a mask pixel; the coarse fields share its grid


def make_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Singles:
    """Gaussian noise of unit variance, smooth over `sigma` cells, that wraps round at its edges.

    Parameters
    ----------
    rng : Generator
    shape : (int, int)
        Rows and columns.
    sigma : float
        In cells of the field.

    Returns
    -------
    ndarray of shape `shape`, float32
    """
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    noise -= noise.mean()
    return np.asarray(noise / noise.std(), np.float32)


def make_warp(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, amplitude: float, sigma: float
) -> Singles:
    """Smooth displacements in level-0 pixels; `amplitude` and `sigma` in micrometres, as is `cell`.

    Parameters
    ----------
    rng : Generator
    shape : (int, int)
        Rows and columns.
    cell : float
        Edge of a cell of the field, in micrometres.
    amplitude : float
        In micrometres.
    sigma : float
        In micrometres.

    Returns
    -------
    ndarray of shape `shape`, float32
        Level-0 pixels.
    """
    return make_noise(rng, shape, sigma / cell) * np.float32(amplitude * MASK_SCALE / cell)


def read_points(field: Singles, x: Doubles, y: Doubles) -> Singles:
    """Read a coarse field at level-0 coordinates.

    Parameters
    ----------
    field : ndarray of shape (rows, columns), float32
    x : ndarray of shape (n,), float64
    y : ndarray of shape (n,), float64

    Returns
    -------
    ndarray of shape (n,), float32
    """
    where = ((y + 0.5) / MASK_SCALE - 0.5, (x + 0.5) / MASK_SCALE - 0.5)
    return np.asarray(ndimage.map_coordinates(field, where, order=1, mode="nearest"), np.float32)


def read_pixels(field: Singles, x: int, y: int, width: int, height: int, step: int = 1) -> Singles:
    """Read a coarse field at every `step`-th pixel of a block, as `read_points` would.

    Parameters
    ----------
    field : ndarray of shape (rows, columns), float32
    x : int
        Left edge of the block, in level-0 pixels.
    y : int
        Its upper edge.
    width : int
        In level-0 pixels.
    height : int
        In level-0 pixels.
    step : int, default=1

    Returns
    -------
    ndarray of shape (ceil(height / step), ceil(width / step)), float32
    """
    result = field
    for axis, (start, length) in enumerate(((y, height), (x, width))):
        place = (np.arange(start, start + length, step) + 0.5) / MASK_SCALE - 0.5
        place = np.clip(place, 0, field.shape[axis] - 1)
        low = np.minimum(place.astype(np.int64), field.shape[axis] - 2)
        share = (place - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        result = np.take(result, low, axis) * (1 - share) + np.take(result, low + 1, axis) * share
    return result


def measure_distance(region: npt.NDArray[np.bool_]) -> Singles:
    """Level-0 pixels to the region's outline, positive inside.

    Parameters
    ----------
    region : ndarray of shape (rows, columns), bool
        A mask pixel each.

    Returns
    -------
    ndarray of shape (rows, columns), float32
    """
    inside = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    distance = (inside - ndimage.distance_transform_edt(~region)) * MASK_SCALE
    # The steps of the coarse grid would show as corners in the outline.
    return np.asarray(ndimage.gaussian_filter(distance, 1.2, mode="nearest"), np.float32)


def ramp(value: Singles, start: float, stop: float) -> Singles:
    """0 up to `start`, 1 from `stop`, smooth between.

    Parameters
    ----------
    value : ndarray of any shape, float32
    start : float
    stop : float

    Returns
    -------
    ndarray of the same shape, float32
    """
    t = np.clip((value - start) / (stop - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
