"""The grid of patches: every conversion between patches, target pixels, levels and level 0.

Three kinds of pixels occur. A *target pixel* is a pixel of a patch and measures `target_mpp`. A
*level-0 pixel* is one of the slide's finest, and `scale` of them make a target pixel. A *level
pixel* is one of the level that is read. Continuous coordinates count from the slide's top-left
corner, so that pixel k covers k to k + 1.
"""

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Integers, Mask
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.pixels.source import nearest_finer_level

log = logging.getLogger(__name__)


# Up to this, pixels count as square: tags are no more exact, and a scale for each direction would blur, by
# resampling, what can be copied. Beyond the other, one of the two tags is wrong.
_SQUARE = 0.01
_MAX_ANISOTROPY = 4.0
# How many times a slide may be enlarged to reach the target: unsaid, and with a warning.
_ENLARGING_NOTED = 1.1
_ENLARGING_MOST = 2.0


class TilingError(SicError, ValueError):
    """No grid of patches can be laid over the slide as asked."""


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """Square patches on a regular grid over a slide; made by `PatchGrid.plan`.

    The patch in column i and row j covers the target pixels from i x stride to
    i x stride + patch_size in x, and likewise j in y, counted from the bounds' top-left corner.
    Only patches that lie wholly inside the bounds exist: up to one stride along the right and lower
    edges is in no patch.

    Attributes
    ----------
    slide_size : (width, height)
        In level-0 pixels.
    bounds : (x, y, width, height)
        What the grid covers, in level-0 pixels.
    mpp_x, mpp_y : float
        µm per level-0 pixel.
    target_mpp : float
        µm per pixel of a patch.
    patch_size : int
        Edge of a patch in target pixels.
    overlap : float
        Share of a patch's edge that its neighbour covers too, 0 to below 1.
    level : int
        The level to read from, which has pixels fine enough in both directions.
    level_downsample : float
        Level-0 pixels per pixel of that level.
    cells : int64 array of shape (n,)
        The patches: row x columns + column, ascending (row-major order).
    """

    slide_size: tuple[int, int]
    bounds: tuple[int, int, int, int]
    mpp_x: float
    mpp_y: float
    target_mpp: float
    patch_size: int
    overlap: float
    level: int
    level_downsample: float
    cells: Integers

    @classmethod
    def plan(
        cls,
        slide_size: tuple[int, int],
        *,
        mpp_x: float,
        mpp_y: float,
        target_mpp: float = 0.5,
        patch_size: int = 256,
        overlap: float = 0.5,
        bounds: tuple[int, int, int, int] | None = None,
        level_downsamples: tuple[float, ...] = (1.0,),
    ) -> Self:
        """Lay patches over a slide.

        Parameters
        ----------
        slide_size : (width, height)
            In level-0 pixels.
        mpp_x, mpp_y : float
            µm per level-0 pixel.
        target_mpp : float, default=0.5
            µm per pixel of a patch.
        patch_size : int, default=256
            Edge of a patch in target pixels.
        overlap : float, default=0.5
            Share of a patch's edge that its neighbour covers too, 0 to below 1; the stride is
            rounded to whole target pixels.
        bounds : (x, y, width, height), optional
            What to cover, in level-0 pixels; the whole slide by default.
        level_downsamples : tuple of float, default=(1.0,)
            Level-0 pixels per pixel of each level of the slide.

        Returns
        -------
        PatchGrid
            With every patch that lies wholly inside the bounds.

        Raises
        ------
        TilingError
            A value is out of range; a level-0 pixel is more than four times as long as wide, or wide as
            long; the slide would have to be enlarged more than twice; or the bounds hold no patch.

        Notes
        -----
        Enlarging adds no detail: an encoder that learnt at 0.5 µm/px sees blur where it expects
        texture, and its embeddings drift. Up to 1.1 times is within the error of most tags, up to
        2 times is done with a warning, and beyond it is refused. Pixels that are not square are resampled
        by a scale for each direction, so that patches are not distorted; up to 1 % from square counts as
        square.
        """
        _check(mpp_x, mpp_y, target_mpp, patch_size, overlap)
        if abs(mpp_x - mpp_y) <= _SQUARE * min(mpp_x, mpp_y):
            mpp_x = mpp_y = (mpp_x + mpp_y) / 2
        scale = target_mpp / max(mpp_x, mpp_y)
        _check_enlarging(scale, target_mpp)
        if bounds is None:
            bounds = (0, 0, *slide_size)
        x, y, width, height = bounds
        if x < 0 or y < 0 or x + width > slide_size[0] or y + height > slide_size[1]:
            raise TilingError(
                f"the bounds {bounds} (x, y, width, height) are not on the slide, which has "
                f"{slide_size[0]} x {slide_size[1]} px"
            )
        level = nearest_finer_level(level_downsamples, scale)
        grid = cls(
            slide_size=slide_size,
            bounds=bounds,
            mpp_x=mpp_x,
            mpp_y=mpp_y,
            target_mpp=target_mpp,
            patch_size=patch_size,
            overlap=overlap,
            level=level,
            level_downsample=level_downsamples[level],
            cells=np.empty(0, np.int64),
        )
        if grid.stride * scale < 1:
            raise TilingError(
                f"neighbouring patches would be {grid.stride * scale:.3g} px apart on the slide, "
                f"less than one; choose an --overlap below {overlap:g}"
            )
        if grid.columns * grid.rows == 0:
            edge = math.ceil(grid.patch_width0), math.ceil(grid.patch_height0)
            raise TilingError(
                f"the slide's {width} x {height} px hold no patch of {patch_size} px at "
                f"{target_mpp:g} µm/px, which takes {edge[0]} x {edge[1]} of them; "
                "choose a smaller --patch-size, or give the slide's true µm per pixel with --slide-mpp"
            )
        return replace(grid, cells=np.arange(grid.columns * grid.rows, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def stride(self) -> int:
        """Target pixels from a patch to the next."""
        return stride_of(self.patch_size, self.overlap)

    @property
    def scale_x(self) -> float:
        """Level-0 pixels per target pixel, from left to right."""
        return self.target_mpp / self.mpp_x

    @property
    def scale_y(self) -> float:
        """Level-0 pixels per target pixel, from top to bottom."""
        return self.target_mpp / self.mpp_y

    @property
    def scale(self) -> float:
        """Level-0 pixels per target pixel; the mean of the two directions where pixels are not square."""
        return (self.scale_x + self.scale_y) / 2

    @property
    def patch_size0(self) -> float:
        """Edge of a patch in level-0 pixels; the mean of the two directions where pixels are not square."""
        return self.patch_size * self.scale

    @property
    def patch_width0(self) -> float:
        """Width of a patch in level-0 pixels."""
        return self.patch_size * self.scale_x

    @property
    def patch_height0(self) -> float:
        """Height of a patch in level-0 pixels."""
        return self.patch_size * self.scale_y

    @property
    def columns(self) -> int:
        """How many patches fit side by side in the bounds."""
        return self._count(self.bounds[2], self.scale_x)

    @property
    def rows(self) -> int:
        """How many patches fit one below the other in the bounds."""
        return self._count(self.bounds[3], self.scale_y)

    @cached_property
    def column(self) -> Integers:
        """Column of each patch; shape (n,)."""
        return self.cells % self.columns

    @cached_property
    def row(self) -> Integers:
        """Row of each patch; shape (n,)."""
        return self.cells // self.columns

    @cached_property
    def x0(self) -> Integers:
        """Left edge of each patch, rounded to whole level-0 pixels; shape (n,)."""
        return np.rint(self._corners[:, 0]).astype(np.int64)

    @cached_property
    def y0(self) -> Integers:
        """Upper edge of each patch, rounded to whole level-0 pixels; shape (n,)."""
        return np.rint(self._corners[:, 1]).astype(np.int64)

    @cached_property
    def centres(self) -> npt.NDArray[np.float64]:
        """Centre (x, y) of each patch in level-0 pixels; shape (n, 2).

        From the exact corner, not the rounded one: at most half a pixel from
        (x0, y0) + (patch_width0, patch_height0) / 2.
        """
        return self._corners + np.array([self.patch_width0, self.patch_height0]) / 2

    @property
    def level_scale(self) -> tuple[float, float]:
        """Level pixels per target pixel, (x, y); 1 where the level is within 1 in a million of it."""
        x, y = (
            1.0 if abs(scale / self.level_downsample - 1) <= 1e-6 else scale / self.level_downsample
            for scale in (self.scale_x, self.scale_y)
        )
        return x, y

    @property
    def level_origin(self) -> tuple[float, float]:
        """Where the grid's target pixel (0, 0) begins, (x, y) in level pixels.

        Whole pixels where a target pixel is a level pixel: half a pixel beside the place does no
        harm, and interpolating all of the slide for it would blur it.
        """
        x, y = self.bounds[0] / self.level_downsample, self.bounds[1] / self.level_downsample
        return (round(x), round(y)) if self.level_scale == (1, 1) else (x, y)

    def cell_corners(
        self, rows: slice, side: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[float, float]]:
        """Give the cells of some patches' middles, which tile the grid: each is a square of one stride.

        Parameters
        ----------
        rows : slice
            Which patches.
        side : int
            Cells along an edge of a middle.

        Returns
        -------
        x0, y0 : float64 arrays of shape (patches, side, side)
            Exact top-left corner of each cell in level-0 pixels; rows of cells first.
        size0 : (width, height)
            Of a cell in level-0 pixels.
        """
        step = np.array([self.scale_x, self.scale_y]) * self.stride / side
        first = self.centres[rows] - step * (side / 2)
        steps = np.arange(side)
        x0 = first[:, None, None, 0] + steps * step[0]
        y0 = first[:, None, None, 1] + steps[:, None] * step[1]
        shape = (len(first), side, side)
        return np.broadcast_to(x0, shape), np.broadcast_to(y0, shape), (float(step[0]), float(step[1]))

    def select(self, keep: Mask) -> Self:
        """Give the grid with only the patches that are True in `keep`, of shape (n,).

        Parameters
        ----------
        keep : bool array of shape (n,)
            Which of its patches.

        Returns
        -------
        PatchGrid

        Raises
        ------
        ValueError
            `keep` is of another type or shape.
        """
        if keep.dtype != np.bool_ or keep.shape != self.cells.shape:
            raise ValueError(
                f"keep must be bool of shape {self.cells.shape}, not {keep.dtype} of {keep.shape}"
            )
        return replace(self, cells=self.cells[keep])

    @cached_property
    def _corners(self) -> npt.NDArray[np.float64]:
        """Exact top-left corner (x, y) of each patch in level-0 pixels; shape (n, 2)."""
        steps = np.stack([self.column, self.row], axis=1).astype(np.float64)
        step = np.array([self.scale_x, self.scale_y]) * self.stride
        return np.asarray(np.array(self.bounds[:2], np.float64) + steps * step)

    def _count(self, side: int, scale: float) -> int:
        # The hair keeps a patch that fits exactly and misses by the last binary digit.
        last = math.floor((side / scale - self.patch_size) / self.stride + 1e-6)
        return max(0, last + 1)


def stride_of(patch_size: int, overlap: float) -> int:
    """Return how many target pixels lie from a patch to the next.

    Parameters
    ----------
    patch_size : int
        Edge of a patch in target pixels.
    overlap : float
        Share of a patch's edge that its neighbour covers too, 0 to below 1.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, round(patch_size * (1 - overlap)))


def _check(mpp_x: float, mpp_y: float, target_mpp: float, patch_size: int, overlap: float) -> None:
    for name, mpp in (("mpp_x", mpp_x), ("mpp_y", mpp_y), ("target_mpp", target_mpp)):
        if not (math.isfinite(mpp) and mpp > 0):
            raise TilingError(f"{name} must be a positive number of µm per pixel, not {mpp:g}")
    if patch_size != int(patch_size) or patch_size < 1:
        raise TilingError(f"patch_size must be a whole number of pixels above 0, not {patch_size}")
    if not 0 <= overlap < 1:
        raise TilingError(f"overlap must be from 0 to below 1, not {overlap:g}")
    if max(mpp_x, mpp_y) > _MAX_ANISOTROPY * min(mpp_x, mpp_y):
        raise TilingError(
            f"the slide's pixels are {mpp_x:g} x {mpp_y:g} µm, one side more than {_MAX_ANISOTROPY:g} times "
            "the other, so one of the two is probably wrong; give the true value with --slide-mpp"
        )


def _check_enlarging(scale: float, target_mpp: float) -> None:
    enlarging = 1 / scale
    mpp = target_mpp / scale
    if enlarging > _ENLARGING_MOST:
        raise TilingError(
            f"patches at {target_mpp:g} µm/px of a slide at {mpp:.4g} µm/px would be enlarged "
            f"{enlarging:.2f} times, which adds blur and no detail (at most {_ENLARGING_MOST:g}); "
            f"choose --mpp {mpp:.4g} or above, or give the slide's true µm per pixel with --slide-mpp"
        )
    if enlarging > _ENLARGING_NOTED:
        log.warning(
            "patches at %g µm/px of a slide at %.4g µm/px are enlarged %.2f times, which adds no "
            "detail; --mpp %.4g or above avoids it",
            target_mpp,
            mpp,
            enlarging,
            mpp,
        )
