"""What every reader of pixels gives, and what it raises."""

import math
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.errors import SicError

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

# By so many pixels a level's side may be off: one, and some more where each level was made of the one before.
_ROUNDED = 1.5


class SlideError(SicError):
    """A slide cannot be used; the message names the file, what is wrong, and what to do."""


class PixelError(SicError):
    """A library did not give the pixels that it was asked for; the message is its reason."""


class CorruptError(PixelError):
    """Of a tile a part was decoded, and the rest could not be."""


class Source(Protocol):
    """What a backend must give; `read` is only ever asked for pixels that lie inside the level.

    Attributes
    ----------
    overview_pixels : int or None
        Pixels of the smallest level from which TissUUmaps makes an overview; None where it makes its own
        levels first, or shows no image.
    profile : bytes or None
        The colour profile (ICC) of its pixels, as it lies in the file; `read` does not apply it.
    """

    level_sizes: tuple[Size, ...]
    level_downsamples: tuple[float, ...]
    tile_sizes: tuple[Size | None, ...]
    bounds: tuple[int, int, int, int] | None
    tagged_mpp: tuple[float, float] | None
    objective_power: float | None
    quick_hash: str | None
    overview_pixels: int | None
    profile: bytes | None

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Give a rectangle that lies inside a level, RGB; what is transparent is white.

        Parameters
        ----------
        x, y, width, height : int
            Pixels of the level.
        level : int

        Returns
        -------
        uint8 array of shape (height, width, 3)
        """
        ...

    def reopen(self, path: Path) -> "Source":
        """Open the same file again, by the same library: an error spoils a handle.

        Parameters
        ----------
        path : Path

        Returns
        -------
        Source
        """
        ...

    def close(self) -> None:
        """Let go of the file; nothing reads any more."""
        ...


def positive(value: str | float | None) -> float | None:
    """Give a number that a file tells; None where it tells none: 0, negative, not finite, no number.

    Parameters
    ----------
    value : str or float or None

    Returns
    -------
    float or None
    """
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def both_directions(x: float | None, y: float | None) -> tuple[float, float] | None:
    """Give µm per pixel of both directions; a file that gives one only means square pixels.

    Parameters
    ----------
    x, y : float or None
        µm per pixel.

    Returns
    -------
    (x, y) or None
        µm per pixel.
    """
    x, y = (y if x is None else x), (x if y is None else y)
    return None if x is None or y is None else (x, y)


def size_or_none(width: str | int | None, height: str | int | None) -> Size | None:
    """Give a tile's size; None where the file tells none.

    Parameters
    ----------
    width, height : str or int or None
        Pixels.

    Returns
    -------
    (width, height) or None
    """
    size = (int(width or 0), int(height or 0))
    return size if min(size) > 0 else None


def has_same_shape(small: Size, size: Size) -> bool:
    """Tell whether one size is the other made smaller, each side rounded, up or down, to whole pixels.

    Parameters
    ----------
    small, size : (width, height)
        Pixels.

    Returns
    -------
    bool
    """
    least, most = 0.0, math.inf
    for short, long in zip(small, size, strict=True):
        least = max(least, long / (short + _ROUNDED))
        most = min(most, long / (short - _ROUNDED) if short > _ROUNDED else math.inf)
    return least <= most


def nearest_finer_level(level_downsamples: tuple[float, ...], scale: float) -> int:
    """Give the level to read pixels of `scale` level-0 pixels from: the coarsest not coarser.

    A level that is coarser by less than 1 in 1,000 still counts: downsamples such as 2.0005 come
    from rounding the level's size to whole pixels. Level 0 where all are coarser.

    Parameters
    ----------
    level_downsamples : tuple of float
        Level-0 pixels per pixel of each level.
    scale : float
        Level-0 pixels.

    Returns
    -------
    int
    """
    fits = [k for k, downsample in enumerate(level_downsamples) if downsample <= scale * 1.001]
    return max(fits, key=lambda k: level_downsamples[k]) if fits else 0


def one_line(error: Exception | str, path: Path) -> str:
    """Give another library's message on one line, without the folder: it may name a patient.

    libvips repeats a message for every tile that a read touches: one is enough.

    Parameters
    ----------
    error : Exception or str
    path : Path

    Returns
    -------
    str
    """
    lines = dict.fromkeys(line.strip() for line in str(error).replace(str(path), path.name).splitlines())
    told = [line for line in lines if line and line != "unable to fetch from region"]
    return " ".join(" ".join(told or lines).split())
