"""Read the patches of a grid from a slide, decoding each stretch of it once.

Patches overlap, so reading them one by one would decode everything several times (four times at
half overlap). Here a level is read in strips as high as the file's tiles, resampled once, and
patches are cut from what is kept of the last strips. Only tiles that selected patches touch are
read.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np

from embedder.patches.grid import PatchGrid
from embedder.patches.strips import make_axes, read_strips, resample_strips
from tissuumaps_sic.slidefile.arrays import Integers, Mask
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
        While iterating: pixels cannot be read, for another reason than that they are damaged; see `Tally`.
    ValueError
        The grid was planned for another slide, `batch_size` is below 1, or `start` is no multiple of it.

    Notes
    -----
    Where the level has another scale than the patches it is resampled with a triangle filter that
    widens as it shrinks (Pillow's BILINEAR), at exact sub-pixel positions; else pixels are copied.
    Beside three batches, memory is some 50 MB with tiles of 256 pixels, 170 MB with 1024 and 400 MB with
    4096, however large the slide; the slide's library keeps decoded tiles besides. A consumer that stops
    early ends the threads by closing the iterator, or by leaving its loop and letting it go.

    Where the slide is damaged, pixels are those of another level, or white where none has them:
    `patches.damage.Tally` tells which patches these are.
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
        for band in _part_into_bands(slide, grid):
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


def _part_into_bands(slide: Slide, grid: PatchGrid) -> Iterator[Integers]:
    """Give the patches' indices by bands of columns, each narrow enough to be held in memory."""
    _, axis_y = make_axes(slide, grid)
    width = min(_BAND_PIXELS, _STRIP_PIXELS // axis_y.unit) / max(1.0, grid.level_scale[0])
    columns = max(1, int((width - grid.patch_size) // grid.stride) + 1)
    band_of = grid.column // columns
    for band in np.unique(band_of):
        yield np.flatnonzero(band_of == band)


def _band_patches(
    slide: Slide, grid: PatchGrid, indices: Integers, decoders: Executor, skipped: int
) -> Iterator[tuple[int, list[Pixels]]]:
    """Give one band's patches but the first ones, in row-major order: index, and its rows, in parts."""
    if skipped == len(indices):
        return
    axis_x, axis_y = make_axes(slide, grid)
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
        needed = _unite(
            (begin_y[run] - first_y, end_y[run] - first_y),
            (begin_x[run] - first_x, end_x[run] - first_x),
            shape=(int(end_y[run[-1]]) - first_y, int(end_x.max()) - first_x),
        )
        strips = read_strips(slide, grid.level, needed, (first_x, first_y), axis_x, axis_y, decoders)
        made_left = int(left.min())
        width = int(left.max()) + grid.patch_size - made_left
        rows = resample_strips(
            strips,
            axis_x,
            axis_y,
            decoders,
            first_x=first_x,
            left=made_left,
            width=width,
            top=int(top[run[0]]),
        )
        # What is left out of a run is made all the same: resampling from elsewhere on could round a pixel
        # otherwise, and reading is a small part of embedding.
        for k, parts in zip(run, _cut_patches(rows, top[run], left[run] - made_left, grid), strict=True):
            if k >= skipped:
                yield int(indices[k]), parts


def _cut_patches(
    rows: Iterator[Pixels], tops: Integers, lefts: Integers, grid: PatchGrid
) -> Iterator[list[Pixels]]:
    """Give each patch, as parts of the rows that are made, as soon as they are."""
    # Rows that patches still need, as they were made: putting them together would copy them all.
    kept: deque[tuple[int, Pixels]] = deque()
    made_to = int(tops[0])
    done = 0
    for new in rows:
        kept.append((made_to, new))
        made_to += len(new)
        while done < len(tops) and int(tops[done]) + grid.patch_size <= made_to:
            top = int(tops[done])
            while kept[0][0] + len(kept[0][1]) <= top:
                kept.popleft()
            yield _cut(kept, top, int(lefts[done]), grid.patch_size)
            done += 1
    assert done == len(tops), "every patch of a run lies on its strips"


def _cut(kept: Iterable[tuple[int, Pixels]], top: int, x: int, side: int) -> list[Pixels]:
    """Give a square's rows, from each of the blocks (first row, pixels) that it lies on."""
    parts = []
    for block_top, block in kept:
        begin, end = max(top - block_top, 0), min(top + side - block_top, len(block))
        if begin < end:
            parts.append(block[begin:end, x : x + side])
    return parts


def _unite(
    rows: tuple[Integers, Integers], columns: tuple[Integers, Integers], *, shape: tuple[int, int]
) -> Mask:
    """Give the cells of a (rows, columns) raster that any of n rectangles covers."""
    # Corners of the rectangles; their double running sum counts the rectangles over each cell.
    corners = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    for row, sign_y in zip(rows, (1, -1), strict=True):
        for column, sign_x in zip(columns, (1, -1), strict=True):
            np.add.at(corners, (row, column), sign_y * sign_x)
    return np.asarray(corners.cumsum(0).cumsum(1)[:-1, :-1] > 0)
