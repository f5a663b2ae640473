"""A level read in strips as high as its tiles, and resampled to rows of target pixels, each once."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from PIL import Image

from embedder.patches.grid import PatchGrid
from tissuumaps_sic.slidefile.arrays import Integers, Mask
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import Pixels

# A read has its cost whatever its size, so flat tiles (NDPI has some of 8 rows) are read by several.
_MIN_READ = 256
# Decoding is most of the work (three quarters on a JPEG pyramid), and libraries decode tiles of one
# slide in several threads at once: a strip is read in pieces this wide, on whole tiles.
_PIECE_PIXELS = 1024


@dataclass(frozen=True)
class Axis:
    """One direction of the level: between target pixels, level pixels, and units that are read."""

    origin: float  # level pixel where target pixel 0 begins
    scale: float  # level pixels per target pixel
    margin: int  # level pixels that the filter reaches beyond a target pixel's own
    unit: int  # level pixels in a unit: a tile, or several
    size: int  # level pixels of the slide; beyond it there is nothing, and the filter ends there

    def units(self, begin: Integers, end: Integers) -> tuple[Integers, Integers]:
        """Give the first unit, and the one after the last, that target pixels need.

        Parameters
        ----------
        begin, end : int64 arrays of shape (n,)
            First target pixel, and the one after the last.

        Returns
        -------
        first, end : int64 arrays of shape (n,)
        """
        first = np.maximum(np.floor(self.origin + begin * self.scale) - self.margin, 0)
        last = np.minimum(np.ceil(self.origin + end * self.scale) + self.margin, self.size)
        return (
            np.floor(first / self.unit).astype(np.int64),
            np.ceil(last / self.unit).astype(np.int64),
        )

    def whole(self, begin: int, end: int) -> tuple[int, int]:
        """Give the target pixels that can be made from the level pixels from begin to end.

        Parameters
        ----------
        begin, end : int
            Level pixels, the latter the one after the last.

        Returns
        -------
        begin, end : int
            Target pixels, likewise.
        """
        begin += self.margin if begin > 0 else 0
        # A level's size is rounded, so the slide's last patch may end a fraction of a pixel after it.
        end += 1 if end == self.size else -self.margin
        # The hair (the margin has room for it) keeps a pixel that misses by the last binary digit.
        return (
            math.ceil((begin - self.origin) / self.scale - 1e-6),
            math.floor((end - self.origin) / self.scale + 1e-6),
        )

    def at(self, target: int) -> float:
        """Give the level pixel where a target pixel begins.

        Parameters
        ----------
        target : int

        Returns
        -------
        float
        """
        return self.origin + target * self.scale


def make_axes(slide: Slide, grid: PatchGrid) -> tuple[Axis, Axis]:
    """Give both directions of the level that a grid is read from, x and y.

    Parameters
    ----------
    slide : Slide
    grid : PatchGrid

    Returns
    -------
    x, y : Axis
    """
    tile = slide.tile_sizes[grid.level] or (_MIN_READ, _MIN_READ)
    # The filter reaches one target pixel from a target pixel's centre, or one level pixel where it
    # enlarges; one more for rounding. Without resampling there is nothing to reach for.
    # In both directions, or in none: a row of pixels is resampled in both at once.
    copied = grid.level_scale == (1, 1)
    x, y = (
        Axis(
            origin,
            scale,
            0 if copied else math.ceil(max(1.0, scale)) + 1,
            side * math.ceil(_MIN_READ / side),
            size,
        )
        for origin, scale, side, size in zip(
            grid.level_origin, grid.level_scale, tile, slide.level_sizes[grid.level], strict=True
        )
    )
    return x, y


@dataclass(frozen=True)
class Strip:
    """One row of units: its first level row, its pixels, and the columns that were read."""

    top: int
    pixels: Pixels
    stretches: list[tuple[int, int]]  # level columns, begin and end


def read_strips(
    slide: Slide,
    level: int,
    needed: Mask,
    first: tuple[int, int],
    axis_x: Axis,
    axis_y: Axis,
    decoders: Executor,
) -> Iterator[Strip]:
    """Read the units that are needed, a row of them at a time; between them lies whatever was in memory.

    Where the slide is damaged at all levels they are white.

    Parameters
    ----------
    slide : Slide
    level : int
    needed : bool array of shape (rows, columns)
        Which units, from `first` on.
    first : (column, row)
        Of units.
    axis_x, axis_y : Axis
    decoders : Executor
        Threads that read.

    Yields
    ------
    Strip

    Raises
    ------
    SlideError
        Pixels cannot be read, for another reason than damage.
    """
    level_left = first[0] * axis_x.unit
    piece = max(axis_x.unit, _PIECE_PIXELS // axis_x.unit * axis_x.unit)

    def begin(row: int) -> tuple[Strip, list[Future[None]]]:
        top = (first[1] + row) * axis_y.unit
        height = min(axis_y.unit, axis_y.size - top)
        pixels = np.empty((height, needed.shape[1] * axis_x.unit, 3), np.uint8)
        stretches = [
            (level_left + begin * axis_x.unit, min(level_left + end * axis_x.unit, axis_x.size))
            for begin, end in _find_runs(needed[row])
        ]

        def read(x: int, width: int) -> None:
            left = x - level_left
            pixels[:, left : left + width] = slide.read_rest(x, top, width, height, level=level)

        reads = [
            decoders.submit(read, x, min(piece, right - x))
            for left, right in stretches
            for x in range(left, right, piece)
        ]
        return Strip(top, pixels, stretches), reads

    # The next strip is decoded while patches are made of this one.
    ahead: deque[tuple[Strip, list[Future[None]]]] = deque()
    try:
        for row in range(len(needed) + 1):
            if row < len(needed):
                ahead.append(begin(row))
            if row > 0:
                strip, reads = ahead[0]
                for read in reads:
                    read.result()
                ahead.popleft()
                yield strip
    finally:
        for _, reads in ahead:
            for read in reads:
                read.cancel()


def resample_strips(
    strips: Iterator[Strip],
    axis_x: Axis,
    axis_y: Axis,
    decoders: Executor,
    *,
    first_x: int,
    left: int,
    width: int,
    top: int,
) -> Iterator[Pixels]:
    """Turn strips into rows of target pixels, each once and without seams.

    The target columns from `left` to `left + width` are made, from the target row `top` on; in columns
    that no patch needs there is anything.

    Parameters
    ----------
    strips : iterator of Strip
    axis_x, axis_y : Axis
    decoders : Executor
        Threads that resample.
    first_x : int
        The unit at which the strips begin.
    left, width : int
        Target pixels.
    top : int
        Target row.

    Yields
    ------
    uint8 array of shape (rows, width, 3)
        The next rows of target pixels.
    """
    done = top
    level_left = first_x * axis_x.unit
    raw = np.empty((0, 0, 3), np.uint8)
    raw_top = 0
    for strip in strips:
        # Before it, rows of the last strip that the filter still reaches or that are not made yet.
        raw = np.concatenate([raw, strip.pixels]) if len(raw) else strip.pixels
        raw_top = raw_top if len(raw) > len(strip.pixels) else strip.top
        _, ready = axis_y.whole(raw_top, raw_top + len(raw))
        if ready <= done:
            continue
        span = axis_y.at(done) - raw_top, axis_y.at(ready) - raw_top
        if axis_y.margin == 0 and span[1] <= len(raw) and axis_x.at(left + width) <= axis_x.size:
            x = int(axis_x.at(left)) - level_left
            rows = raw[int(span[0]) : int(span[1]), x : x + width]
        else:
            rows = np.empty((ready - done, width, 3), np.uint8)
            pieces = []
            # A patch that needs these rows needs this strip: else they would have been made before.
            for begin, end in strip.stretches:
                first, last = axis_x.whole(begin, end)
                first, last = max(first, left), min(last, left + width)
                read = raw[:, begin - level_left : end - level_left]
                # Pieces end at the same columns in each run, whatever the number of threads: where a box
                # begins can move a pixel by one grey level.
                for column in range(first, last, _PIECE_PIXELS):
                    stop = min(column + _PIECE_PIXELS, last)
                    made = rows[:, column - left : stop - left]
                    pieces.append(decoders.submit(_resample_into, made, read, axis_x, span, begin, column))
            for piece in pieces:
                piece.result()
        yield rows
        keep = max(0, math.floor(axis_y.at(ready)) - axis_y.margin - raw_top)
        raw, raw_top = raw[keep:], raw_top + keep
        done = ready


def _resample_into(
    made: Pixels, read: Pixels, axis_x: Axis, span: tuple[float, float], read_left: int, column: int
) -> None:
    """Make the target pixels from `column` on of the level's columns from `read_left` on."""
    begin, end = (axis_x.at(edge) - read_left for edge in (column, column + made.shape[1]))
    # Pillow copies what it is given.
    left = max(math.floor(begin) - axis_x.margin, 0)
    near = read[:, left : math.ceil(end) + axis_x.margin]
    made[:] = _resample(near, (begin - left, span[0], end - left, span[1]), (made.shape[1], made.shape[0]))


def _resample(pixels: Pixels, box: tuple[float, float, float, float], size: tuple[int, int]) -> Pixels:
    """Give a box of some pixels, as (width, height) pixels; copied where the two agree."""
    left, top, right, bottom = box
    missing = (
        max(0, math.ceil(bottom) - pixels.shape[0]),
        max(0, math.ceil(right) - pixels.shape[1]),
    )
    if any(missing):  # the fraction of a pixel after the slide's end: its last pixels once more
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    if (right - left, bottom - top) == size:
        return pixels[int(top) : int(bottom), int(left) : int(right)]
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=box))


def _find_runs(wanted: Mask) -> Iterator[tuple[int, int]]:
    """Give (begin, end) of each run of True."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    for begin, end in edges.reshape(-1, 2):
        yield int(begin), int(end)
