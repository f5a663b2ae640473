"""Which patches lie where a slide is damaged, and how many of them are too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.patches.grid import PatchGrid
from embedder.patches.strips import Axis, make_axes
from tissuumaps_sic.slidefile.arrays import Integers, Mask
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import SlideError

_MENDED, _LOST = "mended", "lost"


class Tally:
    """The patches of a grid that lie where their slide is damaged.

    Parameters
    ----------
    slide : Slide
    grid : PatchGrid
    limit : float
        The largest share of the patches that may.
    known : mapping, optional
        As `to_notes` returned it in a run that ended.

    Attributes
    ----------
    mended, lost : bool arrays of shape (n_patches,)
        Those that were read from another level in part, and those of which a part is at no level.

    Raises
    ------
    SlideError
        They are too many already.
    """

    def __init__(
        self, slide: Slide, grid: PatchGrid, limit: float, known: Mapping[str, Any] | None = None
    ) -> None:
        self._slide, self._grid, self._limit = slide, grid, limit
        self.mended = np.zeros(len(grid), np.bool_)
        self.lost = np.zeros(len(grid), np.bool_)
        for name, found in ((_MENDED, self.mended), (_LOST, self.lost)):
            found[[row for row in (known or {}).get(name, ()) if 0 <= row < len(grid)]] = True
        # Tiles behind the end of a file that is cut short are known before they are read.
        self.look_at(np.arange(len(grid)))

    @property
    def damaged(self) -> Mask:
        """Patches that are either, (n_patches,)."""
        return np.asarray(self.mended | self.lost)

    def look_at(self, indices: Integers) -> None:
        """See which of some patches, that were read, lie on damaged tiles.

        Parameters
        ----------
        indices : int64 array of shape (n,)
            Rows of the grid.

        Raises
        ------
        SlideError
            They are too many, with those seen before, or nothing but such patches is left.
        """
        damage = self._slide.tell_damage(self._grid.level)
        if damage.tile is not None:
            for found, tiles in ((self.mended, damage.mended), (self.lost, damage.lost)):
                if tiles:
                    found[indices] |= self._find_touching(indices, damage.tile, list(tiles))
        self.mended &= ~self.lost
        count, of = int(self.damaged.sum()), len(self._grid)
        if count > self._limit * of or self.lost.all():
            share = f"more than the {self._limit:.3g} of all that --damage-limit allows"
            allow = "" if self.lost.all() else ", or allow more, such as --damage-limit 0.1"
            raise SlideError(
                f"{self._slide.path.name!r} is damaged: at least {count:,} of its {of:,} patches lie on "
                f"tiles that cannot be decoded, {share}; copy it again, or export it from its source "
                f"again{allow}"
            )

    def tell(self) -> str:
        """Return what is to be said of a slide that was read all the same; empty where it is whole.

        Returns
        -------
        str
        """
        parts = []
        if self.mended.any():
            parts.append(f"{int(self.mended.sum()):,} of them read from another level (obs['damaged'])")
        if self.lost.any():
            parts.append(f"{int(self.lost.sum()):,} others left out, which no level has")
        return f"; the slide is damaged: {', '.join(parts)}" if parts else ""

    def to_notes(self) -> dict[str, list[int]]:
        """Return what a later run must know, as JSON has it.

        Returns
        -------
        dict of str to list of int
            Rows of the grid.
        """
        pairs = ((_MENDED, self.mended), (_LOST, self.lost))
        return {name: np.flatnonzero(found).tolist() for name, found in pairs}

    def corners_of_lost(self) -> list[tuple[int, int]]:
        """Return the top-left corners (x, y) of the lost patches, level-0 pixels.

        Returns
        -------
        list of (int, int)
        """
        corners = np.stack([self._grid.x0, self._grid.y0], axis=1)[self.lost]
        return [(int(x), int(y)) for x, y in corners]

    def _find_touching(self, indices: Integers, tile: tuple[int, int], tiles: list[tuple[int, int]]) -> Mask:
        """Return which patches are made of pixels of some tiles."""
        axes = make_axes(self._slide, self._grid)
        starts = (self._grid.column[indices], self._grid.row[indices])
        spans = [
            _span(axis, start * self._grid.stride, self._grid.patch_size, side)
            for axis, start, side in zip(axes, starts, tile, strict=True)
        ]
        (left, right), (top, bottom) = spans
        columns, rows = np.array(tiles, np.int64).T
        shape = (
            max(int(rows.max()) + 1, int(bottom.max())) + 1,
            max(int(columns.max()) + 1, int(right.max())) + 1,
        )
        # How many damaged tiles lie above and to the left of each.
        sums = np.zeros(shape, np.int64)
        sums[rows + 1, columns + 1] = 1
        sums = sums.cumsum(0).cumsum(1)
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return np.asarray(inside > 0)


def _span(axis: Axis, begin: Integers, length: int, tile: int) -> tuple[Integers, Integers]:
    """Return the first tile, and the one after the last, that some target pixels are made of."""
    first = np.maximum(np.floor(axis.origin + begin * axis.scale) - axis.margin, 0)
    last = np.minimum(np.ceil(axis.origin + (begin + length) * axis.scale) + axis.margin, axis.size)
    return _whole(np.floor(first / tile)), _whole(np.ceil(last / tile))


def _whole(numbers: npt.NDArray[np.float64]) -> Integers:
    return numbers.astype(np.int64)
