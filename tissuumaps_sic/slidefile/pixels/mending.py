"""A slide whose file is damaged in places: there it is read from another level.

What cannot be decoded is found tile by tile, when it is first asked for. Its pixels are then those of the
next finer level, made smaller, else of the next coarser one, made larger. Which tiles these are is known for
each level afterwards, so that whoever embeds them can tell. Only damage is mended: a disk that is gone, a
missing codec or a lack of memory stays the error that it is.

After an error OpenSlide reads nothing more, and libvips gives black where it failed: each error costs a
handle of the file, and the next read has a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tissuumaps_sic.slidefile.pixels.blocks import Blocks
from tissuumaps_sic.slidefile.pixels.failure import Stamp, is_damage
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.probing import backend_errors
from tissuumaps_sic.slidefile.pixels.resampling import find_span, resample
from tissuumaps_sic.slidefile.pixels.source import CorruptError, PixelError, Pixels, Size, Source
from tissuumaps_sic.slidefile.pixels.vips import COMPLAINTS

Tile = tuple[int, int]
Rectangle = tuple[int, int, int, int]

# What counts as a tile where OpenSlide does not tell how large they are.
_UNTOLD = (256, 256)
# Beyond so many times nothing is left of the tissue's texture: such pixels are told to be lost.
_MOST_ENLARGED = 8.0
# Pixels of a finer level that are read at once.
_MOST_AT_ONCE = 2**24
# How often what failed as a whole, and not in any of its tiles, is read again.
_MOST_TRIES = 2


@dataclass(frozen=True)
class DamagedTiles:
    """The tiles of a level that were found damaged so far.

    Attributes
    ----------
    tile : (width, height) or None
        None where the level cannot be read in parts.
    mended, lost : frozenset of (column, row)
        Those read from another level, and those that no level has.
    """

    tile: Size | None
    mended: frozenset[Tile] = frozenset()
    lost: frozenset[Tile] = frozenset()


class _Handle:
    """An open file, closed when it is no longer wanted and nobody reads from it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.readers = 0
        self.is_retired = False


class MendedSource:
    """Pixels of another source, mended where the file is damaged; see `Source`.

    Parameters
    ----------
    path : Path
        What the source was opened from.
    source : Source
    """

    def __init__(self, path: Path, source: Source) -> None:
        self._path = path
        self._stamp = Stamp.of(path)
        self.level_sizes = source.level_sizes
        self.level_downsamples = source.level_downsamples
        self.tile_sizes = source.tile_sizes
        self.bounds = source.bounds
        self.tagged_mpp = source.tagged_mpp
        self.objective_power = source.objective_power
        self.quick_hash = source.quick_hash
        # Of Hamamatsu's scans, which OpenSlide alone reads.
        self.stage: tuple[float, float, float, float] | None = getattr(source, "stage", None)
        self.overview_pixels = source.overview_pixels
        self.profile = source.profile
        self._change = threading.Lock()
        self._finding = threading.Lock()
        self._handle = _Handle(source)
        self._units = [
            tile or (_UNTOLD if isinstance(source, OpenSlideSource) else None) for tile in self.tile_sizes
        ]
        self._is_mended = False
        self._damaged: list[dict[Tile, BaseException]] = [{} for _ in self.level_sizes]
        self._lost: list[set[Tile]] = [set() for _ in self.level_sizes]
        blocks: tuple[Blocks | None, ...] = getattr(source, "blocks", ())
        for level, known in enumerate(blocks):
            if known is not None and self._units[level] == known.page.tile:
                error = PixelError("it lies beyond the end of the file")
                self._damaged[level] = dict.fromkeys(known.list_beyond(), error)

    @property
    def is_mended(self) -> bool:
        """Whether some tile was found damaged when it was read."""
        return self._is_mended

    @property
    def source(self) -> Source:
        """What reads the file now."""
        return self._handle.source

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`; fails where no level has the pixels."""
        pixels, lost = self._read(x, y, width, height, level)
        if lost is not None:
            raise lost
        return pixels

    def read_rest(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Read as `read` does, but what no level has is white; `tell_damage` says where.

        Parameters
        ----------
        x, y, width, height : int
            Pixels of the level; inside it.
        level : int

        Returns
        -------
        uint8 array of shape (height, width, 3)
        """
        return self._read(x, y, width, height, level)[0]

    def tell_damage(self, level: int) -> DamagedTiles:
        """Return which tiles of a level are known to be damaged; others are only known when they are read.

        Parameters
        ----------
        level : int

        Returns
        -------
        DamagedTiles
        """
        damaged, lost = frozenset(self._damaged[level]), frozenset(self._lost[level])
        return DamagedTiles(self._units[level], damaged - lost, lost)

    def reopen(self, path: Path) -> Source:
        """See `Source`."""
        return MendedSource(path, self.source.reopen(path))

    def close(self) -> None:
        """See `Source`."""
        self._replace(None)

    def _read(
        self, x: int, y: int, width: int, height: int, level: int
    ) -> tuple[Pixels, BaseException | None]:
        """Return a rectangle, and why a part of it is white in place of its pixels."""
        try:
            return self._read_sound(x, y, width, height, level), None
        except backend_errors():
            if not self._list_damaged((x, y, width, height), level):
                raise
        pixels, reason = np.empty((height, width, 3), np.uint8), None
        for tile in self._tiles((x, y, width, height), level):
            left, top, right, bottom = _intersect(self._place(tile, level), (x, y, width, height))
            part = self._read_tile(tile, (left, top, right - left, bottom - top), level)
            if part is None:
                reason = reason or self._damaged[level][tile]
            pixels[top - y : bottom - y, left - x : right - x] = 255 if part is None else part
        return pixels, reason

    def _read_tile(self, tile: Tile, part: Rectangle, level: int) -> Pixels | None:
        """Return a part of a tile, from another level where it is damaged; None where none has it."""
        if tile not in self._damaged[level]:
            try:
                return self._read_sound(*part, level)
            except backend_errors():
                if tile not in self._damaged[level]:
                    raise
        self._is_mended = True
        whole = self._place(tile, level)
        pixels = self._mend(tile, whole, level)
        if pixels is None:
            return None
        left, top = part[0] - whole[0], part[1] - whole[1]
        return pixels[top : top + part[3], left : left + part[2]]

    def _mend(self, tile: Tile, whole: Rectangle, level: int) -> Pixels | None:
        """Return a damaged tile from another level; all of it, so that its pixels are always the same."""
        downs = self.level_downsamples
        finer = sorted((k for k in range(len(downs)) if downs[k] < downs[level]), key=lambda k: -downs[k])
        coarser = sorted((k for k in range(len(downs)) if downs[k] > downs[level]), key=lambda k: downs[k])
        for other in (*finer, *coarser):
            if downs[other] > _MOST_ENLARGED * downs[level]:
                continue
            try:
                return self._read_scaled(whole, level, other)
            except backend_errors() as error:
                if not is_damage(self._path, error, self._stamp):
                    raise
        with self._change:
            self._lost[level].add(tile)
        return None

    def _read_scaled(self, rectangle: Rectangle, level: int, other: int) -> Pixels:
        """Return a rectangle of a level from the pixels of another."""
        x, y, width, height = rectangle
        ratio = self.level_downsamples[level] / self.level_downsamples[other]
        begins, steps, limits = (x * ratio, y * ratio), (ratio, ratio), self.level_sizes[other]
        first, span = find_span(begins, steps, (width, height), limits)
        # Levels' sizes are rounded, so that one may end a little before the other.
        left, top = min(first[0], limits[0] - 1), min(first[1], limits[1] - 1)
        columns, rows = min(first[0] + span[0], limits[0]) - left, min(first[1] + span[1], limits[1]) - top
        if columns * rows > _MOST_AT_ONCE and max(width, height) > 1:
            parts = [self._read_scaled(each, level, other) for each in _halve(rectangle)]
            return np.concatenate(parts, axis=1 if width >= height else 0)
        region = self._read_sound(left, top, columns, rows, other)
        return resample(region, (begins[0] - left, begins[1] - top), steps, (width, height))

    def _read_sound(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Return a rectangle in which nothing is damaged; else raise what is the matter."""
        tries = 0
        while True:
            for tile in self._list_damaged((x, y, width, height), level):
                # One error stands for all reads, each of which would add its own lines to it.
                raise self._damaged[level][tile].with_traceback(None)
            with self._reading() as handle:
                try:
                    return handle.source.read(x, y, width, height, level)
                except backend_errors() as error:
                    failure = error
            # What is read as a whole cannot be mended, but it may be another slide's damage that was heard.
            is_whole = self._units[level] is None and not isinstance(failure, CorruptError)
            if is_whole or not is_damage(self._path, failure, self._stamp):
                raise failure
            if self._find_damage(handle, (x, y, width, height), level) is False:
                tries += 1
                if tries > _MOST_TRIES:
                    raise failure

    def _find_damage(self, spoilt: _Handle, rectangle: Rectangle, level: int) -> bool | None:
        """Read the tiles of a rectangle one by one, and have a new handle afterwards.

        Returns
        -------
        bool or None
            Whether some are damaged; None where another thread has a new handle already.
        """
        with self._finding:
            if spoilt is not self._handle:
                return None
            known = len(self._damaged[level])
            fresh = spoilt.source.reopen(self._path)
            try:
                for tile in self._tiles(rectangle, level):
                    if tile in self._damaged[level]:
                        continue
                    try:
                        with COMPLAINTS.alone():
                            fresh.read(*self._place(tile, level), level)
                    except backend_errors() as error:
                        # Were it closed first, a closed one would be read from where this fails.
                        used, fresh = fresh, spoilt.source.reopen(self._path)
                        used.close()
                        if not is_damage(self._path, error, self._stamp):
                            raise
                        with self._change:
                            self._damaged[level][tile] = error
            finally:
                self._replace(fresh)
            return len(self._damaged[level]) > known

    @contextmanager
    def _reading(self) -> Iterator[_Handle]:
        with self._change:
            handle = self._handle
            handle.readers += 1
        try:
            yield handle
        finally:
            with self._change:
                handle.readers -= 1
                is_last = handle.is_retired and handle.readers == 0
            if is_last:
                handle.source.close()

    def _replace(self, source: Source | None) -> None:
        """Read from another source from now on; None where nothing is read any more."""
        with self._change:
            old, self._handle = self._handle, self._handle if source is None else _Handle(source)
            old.is_retired = True
            is_idle = old.readers == 0
        if is_idle:
            old.source.close()

    def _list_damaged(self, rectangle: Rectangle, level: int) -> list[Tile]:
        """Return the tiles under a rectangle that are known to be damaged."""
        damaged = self._damaged[level]
        return [tile for tile in self._tiles(rectangle, level) if tile in damaged] if damaged else []

    def _tiles(self, rectangle: Rectangle, level: int) -> Iterator[Tile]:
        """Give the tiles that a rectangle touches, row by row."""
        unit = self._units[level]
        if unit is None:
            return
        x, y, width, height = rectangle
        for row in range(y // unit[1], (y + height - 1) // unit[1] + 1):
            for column in range(x // unit[0], (x + width - 1) // unit[0] + 1):
                yield column, row

    def _place(self, tile: Tile, level: int) -> Rectangle:
        """Return a tile's (x, y, width, height), inside the level."""
        unit, size = self._units[level], self.level_sizes[level]
        assert unit is not None
        x, y = tile[0] * unit[0], tile[1] * unit[1]
        return x, y, min(unit[0], size[0] - x), min(unit[1], size[1] - y)


def _intersect(one: Rectangle, other: Rectangle) -> Rectangle:
    """Return (left, top, right, bottom) of what two rectangles (x, y, width, height) share."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[0] + one[2], other[0] + other[2]), min(one[1] + one[3], other[1] + other[3])
    return left, top, right, bottom


def _halve(rectangle: Rectangle) -> tuple[Rectangle, Rectangle]:
    x, y, width, height = rectangle
    if width >= height:
        half = width // 2
        return (x, y, half, height), (x + half, y, width - half, height)
    half = height // 2
    return (x, y, width, half), (x, y + half, width, height - half)
