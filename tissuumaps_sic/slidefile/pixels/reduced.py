"""A slide's picture that was made smaller for a bundle, and keeps the coordinates of the slide.

Everything here, and TissUUmaps, counts in level-0 pixels of the slide that was embedded. So the picture
tells how large that was, and is read as that slide whose finest levels were left out: patches lie at their
places, and pictures of them come of the same code. For all other programs it is a tiled pyramidal TIFF like
any other, of its own resolution.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from tissuumaps_sic.slidefile.pixels.source import Pixels, Size, Source, has_same_shape
from tissuumaps_sic.slidefile.pixels.vips import description, import_vips, is_tiff

_KEY = "tissuumaps-sic/reduced/1"
# No more than this is a picture made smaller; what says more is damaged, or made to cost time.
_MOST_DOWN = 64.0
_SUFFIXES = (".tif", ".tiff")
_LONGEST = 1000
# Pixels around a rectangle that its enlarging looks at.
_REACH = 2


def describe_reduced(size: Size) -> str:
    """Return what the TIFF of a picture says of itself: of which (width, height) in level-0 pixels it is.

    Parameters
    ----------
    size : (width, height)
        Of the slide, level-0 pixels.

    Returns
    -------
    str
    """
    return json.dumps({"schema": _KEY, "size": list(size)})


def read_described(text: str | None, stored: Size) -> Size | None:
    """Return the size in level-0 pixels that a TIFF's description tells; None where it is no such picture.

    Parameters
    ----------
    text : str or None
    stored : (width, height)
        Of the picture itself.

    Returns
    -------
    (width, height) or None
    """
    if not text or _KEY not in text[:_LONGEST] or len(text) > _LONGEST:
        return None
    try:
        told = json.loads(text)
        width, height = told["size"]
        is_ours = told["schema"] == _KEY and type(width) is int and type(height) is int
    except (KeyError, TypeError, ValueError):
        return None
    size = (width, height)
    if not is_ours or min(*size, *stored) < 1 or not has_same_shape(stored, size):
        return None
    return size if 1 < max(width / stored[0], height / stored[1]) <= _MOST_DOWN else None


def find_size(path: Path) -> Size | None:
    """Return the size in level-0 pixels of a picture that was made smaller; None of every other file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (width, height) or None
    """
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return None
    pyvips = import_vips()
    try:
        image = pyvips.Image.new_from_file(str(path))
        return read_described(description(image), (image.width, image.height)) if is_tiff(image) else None
    except pyvips.Error:
        return None


class ReducedSource:
    """The pixels of such a picture: its own levels, and before them one of the slide's own size.

    Parameters
    ----------
    source : Source
        The picture as it is stored.
    size : (width, height)
        Of the slide, level-0 pixels.
    """

    bounds: tuple[int, int, int, int] | None = None
    objective_power: float | None = None

    def __init__(self, source: Source, size: Size) -> None:
        self._source = source
        self.level_sizes = (size, *source.level_sizes)
        self.level_downsamples = tuple(
            (size[0] / width + size[1] / height) / 2 for width, height in self.level_sizes
        )
        self.tile_sizes = (source.tile_sizes[0], *source.tile_sizes)
        mpp, (width, height) = source.tagged_mpp, source.level_sizes[0]
        self.tagged_mpp = None if mpp is None else (mpp[0] * width / size[0], mpp[1] * height / size[1])
        self.quick_hash = source.quick_hash
        self.overview_pixels = source.overview_pixels
        self.profile = source.profile

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`."""
        if level > 0:
            return self._source.read(x, y, width, height, level - 1)
        first, box, span = place_reduced((x, y), (width, height), self.level_sizes[0], self.level_sizes[1])
        region = self._source.read(*first, *span, 0)
        enlarged = Image.fromarray(region).resize((width, height), Image.Resampling.BILINEAR, box=box)
        return np.asarray(enlarged)

    def reopen(self, path: Path) -> Source:
        """See `Source`."""
        return ReducedSource(self._source.reopen(path), self.level_sizes[0])

    def close(self) -> None:
        """See `Source`."""
        self._source.close()


def place_reduced(
    start: tuple[int, int], size: Size, whole: Size, stored: Size
) -> tuple[tuple[int, int], tuple[float, float, float, float], Size]:
    """Find where a rectangle of the slide lies in the picture that was made smaller.

    Parameters
    ----------
    start, size : (x, y), (width, height)
        The rectangle, level-0 pixels; inside the slide.
    whole, stored : (width, height)
        Of the slide in level-0 pixels, and of the picture in its own.

    Returns
    -------
    first : (x, y)
        Upper left corner of the part of the picture that is to be read.
    box : (left, top, right, bottom)
        Where the rectangle lies in that part.
    span : (width, height)
        Of the part.
    """
    first, span, edges = [], [], []
    for begin, length, full, small in zip(start, size, whole, stored, strict=True):
        share = small / full
        low, high = begin * share, (begin + length) * share
        left = max(math.floor(low) - _REACH, 0)
        right = min(math.ceil(high) + _REACH, small)
        first.append(left)
        span.append(right - left)
        # By the rounding of a last digit it may lie outside.
        edges.append((max(low - left, 0.0), min(high - left, float(right - left))))
    (left0, right0), (top0, bottom0) = edges
    return (first[0], first[1]), (left0, top0, right0, bottom0), (span[0], span[1])
