"""The patches that are taken of a slide: where its tissue is, and which places of the grid hold it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedder.patches.drawn import read_tissue
from embedder.patches.grid import PatchGrid
from embedder.patches.options import PatchOptions
from embedder.patches.tissue import TissueMask, tissue_mask
from tissuumaps_sic.slidefile.arrays import Singles
from tissuumaps_sic.slidefile.pixels.slide import Slide, require_resolution
from tissuumaps_sic.slidefile.pixels.source import SlideError

# Patches whose cells are looked at together.
_BLOCK_PATCHES = 1024


def find_tissue(slide: Slide, options: PatchOptions) -> TissueMask:
    """Return where the tissue is, by the slide's colours or by the file that the options name.

    Errors are those of `tissue_mask` and `read_tissue`.

    Parameters
    ----------
    slide : Slide
    options : PatchOptions

    Returns
    -------
    TissueMask

    Raises
    ------
    SlideError
        As `tissue_mask` and `read_tissue`.
    """
    if options.tissue is None:
        return tissue_mask(slide)
    return read_tissue(
        slide, options.tissue, classes=options.tissue_classes, from_bounds=options.tissue_from_bounds
    )


def plan_grid(slide: Slide, mask: TissueMask, options: PatchOptions) -> tuple[PatchGrid, Singles]:
    """Return the patches that hold tissue, and the share of each that does, (n_patches,).

    Parameters
    ----------
    slide : Slide
    mask : TissueMask
    options : PatchOptions

    Returns
    -------
    grid : PatchGrid
    shares : float32 array of shape (n_patches,)
        0 to 1.

    Raises
    ------
    SlideError
        When there is no such patch, or the slide has no resolution.
    TilingError
        When no patch fits.
    """
    resolution = require_resolution(slide)
    grid = PatchGrid.plan(
        slide.size,
        mpp_x=resolution.mpp_x,
        mpp_y=resolution.mpp_y,
        target_mpp=options.mpp,
        patch_size=options.patch_size,
        overlap=options.overlap,
        bounds=slide.bounds,
        level_downsamples=slide.level_downsamples,
    )
    shares = mask.share(grid.x0, grid.y0, (grid.patch_width0, grid.patch_height0))
    keep = shares >= options.min_tissue
    if not keep.any():
        raise SlideError(
            f"{slide.path.name}: no patch is at least {options.min_tissue:.0%} tissue; "
            "lower --min-tissue (0 embeds everything) if there is tissue on this slide"
        )
    return grid.select(keep), shares[keep]


def measure_cells(grid: PatchGrid, mask: TissueMask, side: int) -> npt.NDArray[np.uint8]:
    """Return the percent of each cell of the patches' middles that is tissue, (n_patches, side * side).

    Parameters
    ----------
    grid : PatchGrid
    mask : TissueMask
    side : int
        Cells along an edge of a middle.

    Returns
    -------
    uint8 array of shape (n_patches, side * side)
        0 to 100; rows of cells first.
    """
    percents = np.empty((len(grid), side**2), np.uint8)
    for start in range(0, len(grid), _BLOCK_PATCHES):
        rows = slice(start, start + _BLOCK_PATCHES)
        x0, y0, size0 = grid.cell_corners(rows, side)
        percents[rows] = np.rint(100 * mask.share(x0.ravel(), y0.ravel(), size0)).reshape(-1, side**2)
    return percents
