"""A look at the pixels: can they be decoded here, are they black, do two libraries read the same ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide

from tissuumaps_sic.slidefile.pixels.failure import explain, names_missing_codec
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.source import CorruptError, PixelError, SlideError, one_line
from tissuumaps_sic.slidefile.pixels.tiff import COMPRESSIONS, Page
from tissuumaps_sic.slidefile.pixels.vips import VipsSource, import_vips

# Edge of what is compared of each level before one library is taken for another, and the pixels of a level
# that are looked at to find a place for it.
_COMPARED = 128
_LOOKED_AT = 2**21
# Decoders of one kind of JPEG differ by a few grey levels, and two different pictures by far more.
_OTHER_PICTURE = 24
# Every build of libtiff decodes these: where they fail, the file is damaged.
_ALWAYS_THERE = (1, 5, 7, 8, 32773, 32946)
# Of these the builds that lack them say so.
_IN_SOME = (33003, 33005, 50000, 50001)
# Tiles with most bytes that are decoded before level 0 is believed, and larger ones that are not.
_PROBED = 2
_MOST_PROBED = 2**22
# An image in 16 bits whose brightest pixels, single hot ones apart, are darker than this (of 255) keeps fewer
# bits: 12 end at 15, 14 at 64, 15 at 127. One that is dark for other reasons was made from 8 bits.
_TOO_DARK, _BRIGHTEST = 128, 99.9


class DamagedError(Exception):
    """A tile could not be decoded, though the codec is there."""


def backend_errors() -> tuple[type[BaseException], ...]:
    """Return what the libraries raise where pixels cannot be read.

    Returns
    -------
    tuple of types
    """
    return (openslide.OpenSlideError, import_vips().Error, PixelError, OSError, MemoryError)


def probe_tiles(path: Path, source: OpenSlideSource | VipsSource) -> None:
    """Decode those tiles of each level that hold most, and look whether something came of it.

    Parameters
    ----------
    path : Path
    source : OpenSlideSource or VipsSource

    Raises
    ------
    SlideError
        They cannot be decoded here, or came back blank; or the image is all but black.
    DamagedError
        One cannot be decoded, though others may.
    """
    for level, blocks in enumerate(source.blocks):
        places = blocks.largest(_PROBED if level == 0 else 1) if blocks is not None else []
        for x, y, width, height in places or [(0, 0, 1, 1)]:
            if width * height > _MOST_PROBED:
                continue
            try:
                source.read(x, y, width, height, level)
            except backend_errors() as error:
                raise failure_of(path, source, level, error) from error
    page = source.pages[0]
    if source.is_deep or (page is not None and max(page.bits, default=8) == 16):
        _check_depth(path, source)


def decodes(source: VipsSource) -> bool:
    """Tell whether libvips decodes a tile: where its codec is missing, there is nothing to compare.

    Parameters
    ----------
    source : VipsSource

    Returns
    -------
    bool
    """
    blocks = source.blocks[0]
    try:
        for place in blocks.largest(1) if blocks is not None else ():
            source.read(*place, 0)
    except (import_vips().Error, PixelError):
        return False
    return True


def has_same_pixels(path: Path, one: OpenSlideSource, other: VipsSource) -> bool:
    """Compare a coloured place of each level; libraries decode a few of the kinds of JPEG differently.

    Parameters
    ----------
    path : Path
        For messages.
    one : OpenSlideSource
    other : VipsSource

    Returns
    -------
    bool

    Raises
    ------
    SlideError
        They read two different pictures, and nothing says which one is right.
    """
    try:
        across, down = _find_coloured(one)
        for level, (width, height) in enumerate(one.level_sizes):
            (x, w), (y, h) = _around(across, width), _around(down, height)
            expected, found = (each.read(x, y, w, h, level).astype(np.int16) for each in (one, other))
            # Where a level's pixels begin beside level 0's, OpenSlide mixes neighbours. How the file is
            # decoded shows at level 0; here it is enough that this is the same level.
            low, high = (found, found) if one.level_downsamples[level].is_integer() else _range_around(found)
            if (expected < low).any() or (expected > high).any():
                off = float(np.abs(expected - found).mean())
                if level == 0 and off > _OTHER_PICTURE:
                    raise SlideError(
                        f"{path.name!r} is read in two ways: by OpenSlide and by libvips its pixels differ "
                        f"by {off:.0f} of 255, and nothing says which is right; export it as a tiled "
                        "pyramidal TIFF again"
                    )
                return False
    except (import_vips().Error, PixelError):
        return False
    return True


def failure_of(
    path: Path, source: OpenSlideSource | VipsSource, level: int, error: BaseException
) -> SlideError | DamagedError:
    """Return what to raise where a level's tile cannot be decoded at opening.

    Parameters
    ----------
    path : Path
    source : OpenSlideSource or VipsSource
    level : int
    error : BaseException

    Returns
    -------
    SlideError or DamagedError
    """
    text = one_line(str(error), path)
    page = source.pages[level]
    if page is not None:
        missing = names_missing_codec(text)
        if missing or page.compression not in (*_ALWAYS_THERE, *_IN_SOME):
            return codec_error(path, page, text)
    elif names_missing_codec(text):
        return SlideError(f"{path.name!r} cannot be read {explain(path, error)}")
    is_blank = isinstance(error, PixelError) and not isinstance(error, CorruptError)
    if is_blank or source.tile_sizes[level] is None:
        return SlideError(f"{path.name!r} opens, but its pixels cannot be read {explain(path, error)}")
    return DamagedError(text)


def codec_error(path: Path, page: Page, text: str) -> SlideError:
    """Return what to raise where the codec of a page, or the one that a message names, is missing.

    Parameters
    ----------
    path : Path
    page : Page
    text : str

    Returns
    -------
    SlideError
    """
    number = re.search(r"compression: (\d+)", text)
    codec = page.codec
    if number is not None and int(number[1]) != page.compression:  # another page's
        codec = f"{COMPRESSIONS.get(int(number[1]), 'an unknown codec')} (TIFF compression {number[1]})"
    reason = f" ({text})" if text else ""
    return SlideError(
        f"{path.name!r} is compressed with {codec}, which cannot be decoded here{reason}; the file may well "
        "be whole: export it as a tiled pyramidal TIFF with JPEG, LZW or deflate compression"
    )


def _check_depth(path: Path, source: OpenSlideSource | VipsSource) -> None:
    """Refuse 12 bits that are kept in 16: they would be all but black."""
    level = len(source.level_sizes) - 1
    width, height = source.level_sizes[level]
    squares: list[tuple[int, int, int, int]] = []
    if width * height <= _LOOKED_AT:
        squares = [(0, width, 0, height)]
    else:
        shares = np.linspace(0, 1, 5)
        squares = [(*_around(x, width), *_around(y, height)) for y in shares for x in shares]
        blocks = source.blocks[level]
        places = blocks.largest(8) if blocks is not None else []
        squares += [(x, min(w, _COMPARED), y, min(h, _COMPARED)) for x, y, w, h in places]
    try:
        looked_at = (source.read(x, y, w, h, level) for x, w, y, h in squares)
        most = max(int(np.percentile(pixels, _BRIGHTEST)) for pixels in looked_at)
    except backend_errors() as error:
        raise failure_of(path, source, level, error) from error
    if most < _TOO_DARK and not (isinstance(source, VipsSource) and source.is_widened(level)):
        bits = 16 - (8 - max(1, most).bit_length())
        raise SlideError(
            f"{path.name!r} keeps its pixels in 16 bits, but the brightest that was looked at has {most} of "
            f"255: it seems to use no more than {bits} of them; export it with 8 bits a sample, or with all "
            "16 in use"
        )


def _range_around(pixels: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the lowest and the highest of each pixel and those around it, one grey level further."""
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    # What lies beyond the edge is not known.
    low, high = np.min(shifted, axis=0) - 1, np.max(shifted, axis=0) + 1
    for edge in (np.s_[[0, -1]], np.s_[:, [0, -1]]):
        low[edge], high[edge] = 0, 255
    return low, high


def _find_coloured(source: OpenSlideSource) -> tuple[float, float]:
    """Return where the slide has most colour, (x, y) as shares of its size: glass would compare nothing."""
    level = len(source.level_sizes) - 1
    width, height = source.level_sizes[level]
    if width * height <= _LOOKED_AT:
        squares = [(0, width, 0, height)]
    else:
        shares = (0.25, 0.5, 0.75)
        squares = [(*_around(x, width), *_around(y, height)) for y in shares for x in shares]
    found = []
    for x, w, y, h in squares:
        colour = np.ptp(source.read(x, y, w, h, level), axis=2)
        row, column = np.unravel_index(int(colour.argmax()), colour.shape)
        found.append((int(colour[row, column]), (x + int(column)) / width, (y + int(row)) / height))
    return max(found)[1:]


def _around(share: float, side: int) -> tuple[int, int]:
    """Return where a stretch around a place begins, and how long it is."""
    length = min(_COMPARED, side)
    return min(max(int(share * side) - length // 2, 0), side - length), length
