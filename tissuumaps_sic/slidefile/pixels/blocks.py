"""What a TIFF's tiles or strips have in the file, by which is judged what a library gives of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.pixels.source import PixelError, Pixels
from tissuumaps_sic.slidefile.pixels.tiff import DEFLATE, NO_COMPRESSION, PACKBITS, PALETTE, Page, Tiff

# Of the shorter of the two heads that a TIFF may have.
_HEAD_BYTES = 8
# A tile of one colour has at least this many times fewer bytes than pixels: PackBits has two bytes for 128,
# JPEG less than one for a block of 64.
_AT_LEAST_TIMES, _HEADER = 40, 1024
# So many of the pixels of a tile, along each side, are compared before all are.
_SAMPLED = 8


class Blocks:
    """Tiles or strips of a page: how many bytes each has.

    Attributes
    ----------
    page : Page
    counts : int64 array of shape (n_blocks,)
        Row by row; where each sample is stored apart, of all samples together. Empty where the file says
        nothing.
    filled : int
        How many have bytes.
    has_gaps : bool
        Whether tiles were left out: they have no bytes.
    """

    def __init__(self, tiff: Tiff, page: Page) -> None:
        self.page = page
        self._tiff = tiff
        width, height = page.block
        self._across, self._down = -(-page.size[0] // width), -(-page.size[1] // height)
        blocks = self._across * self._down
        counts = tiff.numbers(page.counts)
        if page.is_planar and len(counts) >= blocks * page.samples > 0:
            counts = counts[: blocks * page.samples].reshape(page.samples, blocks).sum(axis=0)
        self.counts = counts[:blocks] if len(counts) >= blocks else counts[:0]
        self.filled = int((self.counts > 0).sum())
        self.has_gaps = bool(page.tile) and bool((self.counts == 0).any())
        samples = 1 if page.photometric == PALETTE else page.samples
        raw = width * height * samples * max(page.bits, default=8) // 8
        self._few = _HEADER + raw // _AT_LEAST_TIMES

    def largest(self, count: int) -> list[tuple[int, int, int, int]]:
        """Return the blocks with most bytes, as (x, y, width, height) inside the page.

        Parameters
        ----------
        count : int
            At most so many.

        Returns
        -------
        list of (x, y, width, height)
            Pixels of the page.
        """
        there = self.counts.copy()
        beyond = self._beyond()
        there[beyond[beyond < len(there)]] = -1  # which fail, whatever library reads them
        if not (there > 0).any():
            return []
        count = min(count, int((there >= 0).sum()))
        return [self._place(int(index)) for index in np.argpartition(there, -count)[-count:]]

    def beyond_the_end(self) -> int:
        """Return how many blocks end after the file does.

        Returns
        -------
        int
        """
        return len(self._beyond())

    def _beyond(self) -> npt.NDArray[np.intp]:
        counts, places = self._tiff.numbers(self.page.counts), self._tiff.numbers(self.page.places)
        if len(counts) != len(places):
            return np.empty(0, np.intp)
        return np.flatnonzero((counts > 0) & (places + counts > self._tiff.bytes))

    def list_beyond(self) -> list[tuple[int, int]]:
        """Return the (column, row) of each block that ends after the file does.

        Returns
        -------
        list of (column, row)
        """
        if self.page.is_planar:
            return []  # no library reads a part of it
        return [(int(index) % self._across, int(index) // self._across) for index in self._beyond()]

    def in_the_header(self) -> int:
        """Return how many blocks that have bytes are said to begin where the file tells that it is a TIFF.

        Returns
        -------
        int
        """
        counts, places = self._tiff.numbers(self.page.counts), self._tiff.numbers(self.page.places)
        if len(counts) != len(places):
            return 0
        return int(((counts > 0) & (places < _HEAD_BYTES)).sum())

    def list_present(self, x: int, y: int, width: int, height: int) -> list[tuple[slice, slice]] | None:
        """Return the rows and columns of a read whose tiles are there; None where all are.

        Parameters
        ----------
        x, y, width, height : int
            Pixels of the page.

        Returns
        -------
        list of (rows, columns), or None
            Slices of the read.
        """
        within = self._within(x, y, width, height)
        there = [where for index, where in within if self.counts[index]]
        return None if len(there) == len(within) else there

    def check(self, pixels: Pixels, x: int, y: int, read: Callable[[int, int, int, int], Pixels]) -> None:
        """Believe what a library gave, unless a tile has one colour only though its bytes are not few.

        Parameters
        ----------
        pixels : uint8 array of shape (height, width, 3)
            What a library gave.
        x, y : int
            Their place on the page.
        read : callable
            Gives a rectangle (x, y, width, height) of the page: tiles of which `pixels` show a part.

        Raises
        ------
        PixelError
            There is such a tile.
        """
        if not len(self.counts) or self.page.compression == NO_COMPRESSION:
            return
        height, width, _ = pixels.shape
        for index, where in self._within(x, y, width, height):
            part = pixels[where]
            # Most tiles end here, after a thousandth of the time that it takes to decode one.
            if part[0, 0].tobytes() != part[part.shape[0] // 2, part.shape[1] // 2].tobytes():
                continue
            if self.counts[index] <= self._few or not _has_one_colour(part):
                continue
            place = self._place(index)
            if part.shape[:2] != (place[3], place[2]) and not _has_one_colour(read(*place)):
                continue
            # Of a tile that lies outside of the slide for the most part, it is not known what fills it.
            if place[2] * place[3] * 4 < self.page.block[0] * self.page.block[1] or self._is_one_colour(
                index
            ):
                continue
            if self._may_be_flat(part[0, 0]):
                continue
            row, column = divmod(index, self._across)
            raise PixelError(
                f"tile ({column}, {row}) has {self.counts[index]} bytes and came back in one colour, "
                f"{tuple(int(value) for value in part[0, 0])}"
            )

    def _may_be_flat(self, colour: npt.NDArray[np.uint8]) -> bool:
        """Tell of one colour that many bytes may mean it: noise or pictures of which nothing is seen."""
        page = self.page
        if not colour.any():  # what libraries give of a tile that they could not decode
            return False
        # Under full transparency; in the lower of two bytes; under a code that repeats single bytes alone.
        is_hidden = page.has_alpha and bool((colour == 255).all())
        return is_hidden or max(page.bits, default=8) > 8 or page.compression == PACKBITS

    def _place(self, index: int) -> tuple[int, int, int, int]:
        """Return a block's (x, y, width, height) inside the page."""
        (row, column), (width, height) = divmod(index, self._across), self.page.block
        x, y = column * width, row * height
        return x, y, min(width, self.page.size[0] - x), min(height, self.page.size[1] - y)

    def _within(self, x: int, y: int, width: int, height: int) -> list[tuple[int, tuple[slice, slice]]]:
        """Return each block that a rectangle touches, with its rows and columns of that rectangle."""
        wide, high = self.page.block
        found = []
        for row in range(y // high, (y + height - 1) // high + 1):
            rows = slice(max(row * high - y, 0), min((row + 1) * high - y, height))
            for column in range(x // wide, (x + width - 1) // wide + 1):
                columns = slice(max(column * wide - x, 0), min((column + 1) * wide - x, width))
                found.append((row * self._across + column, (rows, columns)))
        return found

    def _is_one_colour(self, index: int) -> bool:
        """Tell whether a deflated block truly has one colour: some programs hardly compress."""
        page = self.page
        if page.compression not in DEFLATE or page.is_planar:
            return False
        try:
            with self._tiff.path.open("rb") as file:
                file.seek(int(self._tiff.numbers(page.places)[index]))
                raw = zlib.decompress(file.read(int(self.counts[index])))
        except (OSError, zlib.error, IndexError):
            return False
        wide = page.samples * max(page.bits) // 8
        row = raw[: page.block[0] * wide]
        after = row[wide:]
        # Differences, where a predictor was at work, are zero after the first pixel of a row.
        same = not any(after) or (wide > 0 and after == row[:wide] * (len(after) // wide))
        return bool(row) and same and raw == row * (len(raw) // len(row))


def _has_one_colour(pixels: Pixels) -> bool:
    """Tell whether all pixels are the same; some are looked at first."""
    rows, columns = (max(1, side // _SAMPLED) for side in pixels.shape[:2])
    return bool((pixels[::rows, ::columns] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all())
