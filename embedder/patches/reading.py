"""Read the patches of a grid from a slide, decoding each stretch of it once.

Patches overlap, so reading them one by one would decode everything several times (four times at
half overlap). Here a level is read in strips as high as the file's tiles, resampled once, and
patches are cut from what is kept of the last strips. Only tiles that selected patches touch are
read.
"""

import math
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.patches.grid import Integers, PatchGrid
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import Pixels

Batch = tuple[Integers, Pixels]

# Widest stretch, in level pixels, that is held at once. A wider slide is read in bands from top to
# bottom; what two bands share, patch_size - stride target pixels and up to two tiles, is read
# twice: about 2 in 100 at 256-pixel patches and tiles.
_BAND_PIXELS = 16_384
# Most level pixels in a strip (50 MB; some three are held): tiles higher than 1024 px make bands narrower,
# and the tiles that two bands share are decoded for each.
_STRIP_PIXELS = 16_384 * 1024
# A read has its cost whatever its size, so flat tiles (NDPI has some of 8 rows) are read by several.
_MIN_READ = 256
# Decoding is most of the work (three quarters on a JPEG pyramid), and libraries decode tiles of one
# slide in several threads at once: a strip is read in pieces this wide, on whole tiles.
_PIECE_PIXELS = 1024
_MOST_DECODERS = 8
# Batches made before they are asked for; with the one in hand, three exist at a time.
_AHEAD = 2


def iter_patches(slide: Slide, grid: PatchGrid, *, batch_size: int, start: int = 0) -> Iterator[Batch]:
    """Give all patches of a grid, in batches, while threads read the next ones.

    Parameters
    ----------
    slide : Slide
        The slide that the grid was planned for; it must stay open until the last batch.
    grid : PatchGrid
    batch_size : int
        Patches in each batch; the last one may have fewer.
    start : int, default=0
        How many patches to leave out from the beginning, a multiple of `batch_size`. The batches are then
        those that an iterator from the beginning gives after them, to the last bit.

    Yields
    ------
    indices : int64 array of shape (b,)
        Which of the grid's patches these are. Over all batches each comes once; in row-major
        order within each band of columns, so in the grid's order on slides of ordinary width.
    patches : uint8 array of shape (b, patch_size, patch_size, 3)
        RGB; a new array each time.

    Raises
    ------
    SlideError
        While iterating: pixels cannot be read.
    ValueError
        The grid was planned for another slide, `batch_size` is below 1, or `start` is no multiple of it.

    Notes
    -----
    Where the level has another scale than the patches it is resampled with a triangle filter that
    widens as it shrinks (Pillow's BILINEAR), at exact sub-pixel positions; else pixels are copied.
    Beside three batches, memory is some 50 MB with tiles of 256 pixels, 170 MB with 1024 and 400 MB with
    4096, however large the slide; the slide's library keeps decoded tiles besides. A consumer that stops
    early ends the threads by closing the iterator, or by leaving its loop and letting it go.
    """
    if batch_size < 1:
        raise ValueError(f"a batch must have patches; batch_size is {batch_size}")
    # All that is there may be left out, and the last batch may be smaller than the others.
    if start < 0 or (start % batch_size and start != len(grid)):
        raise ValueError(f"start is {start}, which is no multiple of the batches of {batch_size}")
    if grid.slide_size != slide.size or grid.level >= len(slide.level_sizes):
        raise ValueError(
            f"the grid was planned for a slide of {grid.slide_size[0]} x {grid.slide_size[1]} px, "
            f"but {slide.path.name!r} has {slide.size[0]} x {slide.size[1]}"
        )
    return _read_ahead(_batches(slide, grid, batch_size, start))


def _read_ahead(batches: Generator[Batch, None, None]) -> Iterator[Batch]:
    """Run an iterator in a thread, a few steps ahead; its exceptions arrive in their place."""
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="patch-reader") as reader:
            ahead: deque[Future[Batch | None]] = deque(
                reader.submit(next, batches, None) for _ in range(_AHEAD)
            )
            try:
                while (batch := ahead.popleft().result()) is not None:
                    ahead.append(reader.submit(next, batches, None))
                    yield batch
            finally:
                # Leaving the `with` then waits for the one step that may be under way.
                for step in ahead:
                    step.cancel()
    finally:
        batches.close()


def _batches(slide: Slide, grid: PatchGrid, batch_size: int, start: int) -> Generator[Batch, None, None]:
    shape = (batch_size, grid.patch_size, grid.patch_size, 3)
    indices, patches = np.empty(batch_size, np.int64), np.empty(shape, np.uint8)
    filled = 0
    with ThreadPoolExecutor(decoder_count(), thread_name_prefix="patch-decoder") as decoders:
        for band in _bands(slide, grid):
            skipped, start = min(start, len(band)), max(0, start - len(band))
            for index, parts in _band_patches(slide, grid, band, decoders, skipped):
                indices[filled], row = index, 0
                for part in parts:
                    patches[filled, row : row + len(part)] = part
                    row += len(part)
                filled += 1
                if filled == batch_size:
                    yield indices, patches
                    indices, patches = np.empty(batch_size, np.int64), np.empty(shape, np.uint8)
                    filled = 0
    if filled:
        yield indices[:filled], patches[:filled]


def decoder_count() -> int:
    """Give how many threads decode: the processors that this process may use, within reason."""
    try:
        processors = len(os.sched_getaffinity(0))  # a SLURM job sees its own share
    except AttributeError:  # Windows and macOS have no affinity to ask for
        processors = os.cpu_count() or 1
    return min(processors, _MOST_DECODERS)


def _bands(slide: Slide, grid: PatchGrid) -> Iterator[Integers]:
    """Give the patches' indices by bands of columns, each narrow enough to be held in memory."""
    _, axis_y = _axes(slide, grid)
    width = min(_BAND_PIXELS, _STRIP_PIXELS // axis_y.unit) / max(1.0, grid.level_scale[0])
    columns = max(1, int((width - grid.patch_size) // grid.stride) + 1)
    band_of = grid.column // columns
    for band in np.unique(band_of):
        yield np.flatnonzero(band_of == band)


@dataclass(frozen=True)
class _Axis:
    """One direction of the level: between target pixels, level pixels, and units that are read."""

    origin: float  # level pixel where target pixel 0 begins
    scale: float  # level pixels per target pixel
    margin: int  # level pixels that the filter reaches beyond a target pixel's own
    unit: int  # level pixels in a unit: a tile, or several
    size: int  # level pixels of the slide; beyond it there is nothing, and the filter ends there

    def units(self, begin: Integers, end: Integers) -> tuple[Integers, Integers]:
        """Give the first unit, and the one after the last, that target pixels need."""
        first = np.maximum(np.floor(self.origin + begin * self.scale) - self.margin, 0)
        last = np.minimum(np.ceil(self.origin + end * self.scale) + self.margin, self.size)
        return (
            np.floor(first / self.unit).astype(np.int64),
            np.ceil(last / self.unit).astype(np.int64),
        )

    def whole(self, begin: int, end: int) -> tuple[int, int]:
        """Give the target pixels that can be made from the level pixels from begin to end."""
        begin += self.margin if begin > 0 else 0
        # A level's size is rounded, so the slide's last patch may end a fraction of a pixel after it.
        end += 1 if end == self.size else -self.margin
        # The hair (the margin has room for it) keeps a pixel that misses by the last binary digit.
        return (
            math.ceil((begin - self.origin) / self.scale - 1e-6),
            math.floor((end - self.origin) / self.scale + 1e-6),
        )

    def at(self, target: int) -> float:
        """Give the level pixel where a target pixel begins."""
        return self.origin + target * self.scale


def _axes(slide: Slide, grid: PatchGrid) -> tuple[_Axis, _Axis]:
    tile = slide.tile_sizes[grid.level] or (_MIN_READ, _MIN_READ)
    # The filter reaches one target pixel from a target pixel's centre, or one level pixel where it
    # enlarges; one more for rounding. Without resampling there is nothing to reach for.
    # In both directions, or in none: a row of pixels is resampled in both at once.
    copied = grid.level_scale == (1, 1)
    x, y = (
        _Axis(
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


def _band_patches(
    slide: Slide, grid: PatchGrid, indices: Integers, decoders: Executor, skipped: int
) -> Iterator[tuple[int, list[Pixels]]]:
    """Give one band's patches but the first ones, in row-major order: index, and its rows, in parts."""
    if skipped == len(indices):
        return
    axis_x, axis_y = _axes(slide, grid)
    left, top = grid.column[indices] * grid.stride, grid.row[indices] * grid.stride
    begin_x, end_x = axis_x.units(left, left + grid.patch_size)
    begin_y, end_y = axis_y.units(top, top + grid.patch_size)
    first_x = int(begin_x.min())
    # Rows of patches whose strips touch are made in one go: no strip is read twice.
    breaks = 1 + np.flatnonzero(begin_y[1:] >= np.maximum.accumulate(end_y)[:-1])
    for run in np.split(np.arange(len(indices)), breaks):
        if run[-1] < skipped:
            continue  # the next run shares no strip with it
        first_y = int(begin_y[run[0]])
        needed = _union(
            (begin_y[run] - first_y, end_y[run] - first_y),
            (begin_x[run] - first_x, end_x[run] - first_x),
            shape=(int(end_y[run[-1]]) - first_y, int(end_x.max()) - first_x),
        )
        strips = _strips(slide, grid.level, needed, (first_x, first_y), axis_x, axis_y, decoders)
        made_left = int(left.min())
        width = int(left.max()) + grid.patch_size - made_left
        rows = _target_rows(
            strips,
            axis_x,
            axis_y,
            decoders,
            first_x=first_x,
            left=made_left,
            width=width,
            top=int(top[run[0]]),
        )
        # Rows that patches still need, as they were made: putting them together would copy them all.
        kept: deque[tuple[int, Pixels]] = deque()
        made_to = int(top[run[0]])
        waiting = 0
        for new in rows:
            kept.append((made_to, new))
            made_to += len(new)
            while waiting < len(run):
                k = run[waiting]
                first, x = int(top[k]), int(left[k]) - made_left
                if first + grid.patch_size > made_to:
                    break
                while kept[0][0] + len(kept[0][1]) <= first:
                    kept.popleft()
                # What is left out of a run is made all the same: resampling from elsewhere on could round
                # a pixel otherwise, and reading is a small part of embedding.
                if k >= skipped:
                    yield int(indices[k]), _cut(kept, first, x, grid.patch_size)
                waiting += 1
        assert waiting == len(run), "every patch of a run lies on its strips"


def _cut(kept: Iterable[tuple[int, Pixels]], top: int, x: int, side: int) -> list[Pixels]:
    """Give a square's rows, from each of the blocks (first row, pixels) that it lies on."""
    parts = []
    for block_top, block in kept:
        begin, end = max(top - block_top, 0), min(top + side - block_top, len(block))
        if begin < end:
            parts.append(block[begin:end, x : x + side])
    return parts


def _union(
    rows: tuple[Integers, Integers], columns: tuple[Integers, Integers], *, shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Give the cells of a (rows, columns) raster that any of n rectangles covers."""
    # Corners of the rectangles; their double running sum counts the rectangles over each cell.
    corners = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    for row, sign_y in zip(rows, (1, -1), strict=True):
        for column, sign_x in zip(columns, (1, -1), strict=True):
            np.add.at(corners, (row, column), sign_y * sign_x)
    return np.asarray(corners.cumsum(0).cumsum(1)[:-1, :-1] > 0)


@dataclass(frozen=True)
class _Strip:
    """One row of units: its first level row, its pixels, and the columns that were read."""

    top: int
    pixels: Pixels
    stretches: list[tuple[int, int]]  # level columns, begin and end


def _strips(
    slide: Slide,
    level: int,
    needed: npt.NDArray[np.bool_],
    first: tuple[int, int],
    axis_x: _Axis,
    axis_y: _Axis,
    decoders: Executor,
) -> Iterator[_Strip]:
    """Read the units that are needed, a row of them at a time; between them lies whatever was in memory."""
    level_left = first[0] * axis_x.unit
    piece = max(axis_x.unit, _PIECE_PIXELS // axis_x.unit * axis_x.unit)

    def begin(row: int) -> tuple[_Strip, list[Future[None]]]:
        top = (first[1] + row) * axis_y.unit
        height = min(axis_y.unit, axis_y.size - top)
        pixels = np.empty((height, needed.shape[1] * axis_x.unit, 3), np.uint8)
        stretches = [
            (level_left + begin * axis_x.unit, min(level_left + end * axis_x.unit, axis_x.size))
            for begin, end in _runs(needed[row])
        ]

        def read(x: int, width: int) -> None:
            left = x - level_left
            pixels[:, left : left + width] = slide.read(x, top, width, height, level=level)

        reads = [
            decoders.submit(read, x, min(piece, right - x))
            for left, right in stretches
            for x in range(left, right, piece)
        ]
        return _Strip(top, pixels, stretches), reads

    # The next strip is decoded while patches are made of this one.
    ahead: deque[tuple[_Strip, list[Future[None]]]] = deque()
    try:
        for row in range(len(needed) + 1):
            if row < len(needed):
                ahead.append(begin(row))
            if row > 0:
                strip, reads = ahead[0]
                for each in reads:
                    each.result()
                ahead.popleft()
                yield strip
    finally:
        for _, reads in ahead:
            for each in reads:
                each.cancel()


def _target_rows(
    strips: Iterator[_Strip],
    axis_x: _Axis,
    axis_y: _Axis,
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
            for each in pieces:
                each.result()
        yield rows
        keep = max(0, math.floor(axis_y.at(ready)) - axis_y.margin - raw_top)
        raw, raw_top = raw[keep:], raw_top + keep
        done = ready


def _resample_into(
    made: Pixels, read: Pixels, axis_x: _Axis, span: tuple[float, float], read_left: int, column: int
) -> None:
    """Make the target pixels from `column` on of the level's columns from `read_left` on."""
    begin, end = (axis_x.at(each) - read_left for each in (column, column + made.shape[1]))
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


def _runs(wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Give (begin, end) of each run of True."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    for begin, end in edges.reshape(-1, 2):
        yield int(begin), int(end)
