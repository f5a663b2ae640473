"""Rings of points as files have them, checked; what encloses nothing is no ring."""

# ruff: noqa: TRY004 -- whatever is wrong in a file is a ValueError here

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.area import Points, Polygon, Ring

# No slide has so many pixels across.
_FARTHEST = 2.0**31


def ring_of(points: Any) -> Ring | None:
    """Return a ring's corners, (n, 2); None where they enclose nothing.

    Parameters
    ----------
    points : list of [x, y] or [x, y, z]
        May be closed by repeating the first.

    Raises
    ------
    ValueError
        When they are not lists of numbers, nested as a ring is, or a number is not finite.
    """
    if points is None:
        return None
    if not isinstance(points, list):
        raise ValueError(f"has a ring that is no list of points ({short(points)})")
    corners = points_of(points)
    if len(corners) > 1 and (corners[0] == corners[-1]).all():
        corners = corners[:-1]
    return corners if _encloses(corners) else None


def points_of(points: list[Any]) -> Points:
    """Return places, (n, 2) float64, of a list of [x, y] or [x, y, z].

    Parameters
    ----------
    points : list of [x, y] or [x, y, z]

    Returns
    -------
    float64 array of shape (n, 2)

    Raises
    ------
    ValueError
        As `ring_of`.
    """
    found = _numbers(points)
    if not np.isfinite(found).all():
        raise ValueError("has a coordinate that is not finite")
    if (np.abs(found) > _FARTHEST).any():
        raise ValueError(f"has a coordinate of {np.abs(found).max():g}, which no slide has")
    return found


def polygon_of(rings: Iterable[Any]) -> tuple[Polygon | None, int]:
    """Return a polygon, None where its outline encloses nothing, and how many empty holes were left out.

    Parameters
    ----------
    rings : iterable of lists of points
        The outline, then the holes.

    Returns
    -------
    polygon : tuple of float64 arrays of shape (n, 2), or None
    n_empty : int

    Raises
    ------
    ValueError
        As `ring_of`.
    """
    outline, *holes = [ring_of(ring) for ring in rings] or [None]
    if outline is None:
        return None, 0
    kept = [hole for hole in holes if hole is not None]
    return (outline, *kept), len(holes) - len(kept)


def _numbers(points: list[Any]) -> npt.NDArray[np.float64]:
    try:
        found = np.array(points)
    except ValueError:  # points of two and of three numbers, or lists of no one depth
        found = np.array(None)
    if found.ndim == 2 and found.shape[1] >= 2 and found.dtype.kind in "iuf":
        return found[:, :2].astype(np.float64)
    if not points:
        return np.empty((0, 2))
    return np.array([_point(each) for each in points], np.float64)


def _point(point: Any) -> tuple[float, float]:
    if not isinstance(point, list):
        raise ValueError(f"is wrongly nested: {short(point)} stands where a point [x, y] must be")
    if any(isinstance(each, list) for each in point):
        raise ValueError("is wrongly nested: a list of points stands where a point [x, y] must be")
    if len(point) < 2:
        raise ValueError(f"has a point of {len(point)} numbers")
    x, y = point[:2]
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in (x, y)):
        raise ValueError(f"has a coordinate that is no number ({short(x)}, {short(y)})")
    try:
        return float(x), float(y)
    except OverflowError:
        raise ValueError("has a coordinate that is too large") from None


def short(value: Any) -> str:
    """Return a value of a file as a message shows it.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
        At most 40 letters.
    """
    return reprlib.repr(value)[:40]


def _encloses(corners: npt.NDArray[np.float64]) -> bool:
    """Tell whether corners do not all lie on one line; an eight whose halves cancel out is no line."""
    if len(corners) < 3:
        return False
    steps = corners - corners[0]
    farthest = steps[np.abs(steps).sum(axis=1).argmax()]
    away = np.abs(steps[:, 0] * farthest[1] - steps[:, 1] * farthest[0])
    return bool((away > 1e-9 * (farthest**2).sum()).any())
