"""A rectangle of a level made larger or smaller, by a triangle filter that widens as it shrinks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tissuumaps_sic.slidefile.pixels.source import Pixels, Size


def find_span(
    begins: Sequence[float], steps: Sequence[float], size: Size, limits: Size
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return which pixels a rectangle is made of, with what the filter sees beyond it.

    Parameters
    ----------
    begins : (x, y)
        Where the rectangle begins, in pixels of the level that is read.
    steps : (x, y)
        That level's pixels per pixel of the result.
    size : (columns, rows)
        Of the result.
    limits : (width, height)
        Of the level. Beyond it nothing is added, but what the rectangle itself covers there stays.

    Returns
    -------
    first : (x, y)
    span : (width, height)
    """
    first, ends = [], []
    for begin, step, n, limit in zip(begins, steps, size, limits, strict=True):
        start, end = math.floor(begin + 1e-6), math.ceil(begin + step * n - 1e-6)
        # What the filter sees beyond the rectangle, so far as there is a slide.
        reach = math.ceil(step) + 1
        first.append(start if start < 0 else max(start - reach, 0))
        ends.append(end if end > limit else min(end + reach, limit))
    return (first[0], first[1]), (ends[0] - first[0], ends[1] - first[1])


def resample(region: Pixels, begins: Sequence[float], steps: Sequence[float], size: Size) -> Pixels:
    """Return a rectangle of a region as (columns, rows) pixels; `begins` counts from the region's corner.

    Parameters
    ----------
    region : uint8 array of shape (rows, columns, 3)
    begins : (x, y)
        Of the rectangle, in pixels of the region.
    steps : (x, y)
        Pixels of the region per pixel of the result.
    size : (columns, rows)
        Of the result.

    Returns
    -------
    uint8 array of shape (rows, columns, 3)
    """
    box = [*begins, *(at + step * n for at, step, n in zip(begins, steps, size, strict=True))]
    # By the rounding of a last digit it may lie outside of the region.
    limits = (region.shape[1], region.shape[0])
    inside = [min(max(at, 0), limits[place % 2]) for place, at in enumerate(box)]
    small = Image.fromarray(region).resize(
        size, Image.Resampling.BILINEAR, box=(inside[0], inside[1], inside[2], inside[3])
    )
    return np.asarray(small)
