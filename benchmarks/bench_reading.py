"""How fast patches are read: strips, each decoded once, against one read for each patch.

    python benchmarks/bench_reading.py [SLIDE] [--slide-mpp MPP]

Both read the same tissue patches (256 px at 0.5 µm/px, half overlap); the slide is opened anew for
each, so that neither finds the other's tiles decoded. The single reads are timed on a contiguous
tenth of the patches (at least 500).
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from embedder.patches import iter_patches
from embedder.slide import Slide, SlideError, open_slide, require_resolution
from embedder.tiling import PatchGrid
from embedder.tissue import tissue_mask

DEFAULT = Path(__file__).parents[2] / "shared" / "data" / "slides" / "colon_section1.tif"


def tissue_grid(slide: Slide) -> PatchGrid:
    """Plan the patches that are at least half tissue."""
    resolution = require_resolution(slide)
    grid = PatchGrid.plan(
        slide.size,
        mpp_x=resolution.mpp_x,
        mpp_y=resolution.mpp_y,
        bounds=slide.bounds,
        level_downsamples=slide.level_downsamples,
    )
    return grid.select(tissue_mask(slide).share(grid.x0, grid.y0, grid.patch_size0) >= 0.5)


def read_one(slide: Slide, grid: PatchGrid, index: int) -> np.ndarray:
    """Read one patch by itself, as a loop over coordinates would."""
    side = round(grid.patch_size0 / grid.level_downsample)
    x, y = (round(v / grid.level_downsample) for v in (grid.x0[index], grid.y0[index]))
    region = slide.read(x, y, side, side, level=grid.level)
    if side == grid.patch_size:
        return region
    size = (grid.patch_size, grid.patch_size)
    return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.BILINEAR))


def main() -> int:
    """Time both ways and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--slide-mpp", type=float)
    arguments = parser.parse_args()
    if not arguments.slide.is_file():
        print(f"no slide at {arguments.slide}; name one as the first argument", file=sys.stderr)
        return 2
    try:
        with open_slide(arguments.slide, mpp=arguments.slide_mpp) as slide:
            grid = tissue_grid(slide)
        print(
            f"{arguments.slide.name}: {len(grid)} tissue patches of {grid.columns * grid.rows}, "
            f"level {grid.level}, {grid.level_scale[0]:.4g} level pixels per target pixel"
        )
        if len(grid) == 0:
            print("no tissue was found; nothing to time", file=sys.stderr)
            return 1
        with open_slide(arguments.slide, mpp=arguments.slide_mpp) as slide:
            start = time.perf_counter()
            for _ in iter_patches(slide, grid, batch_size=64):
                pass
            strips = len(grid) / (time.perf_counter() - start)
        count = min(len(grid), max(500, len(grid) // 10))
        with open_slide(arguments.slide, mpp=arguments.slide_mpp) as slide:
            start = time.perf_counter()
            for index in range(count):
                read_one(slide, grid, index)
            single = count / (time.perf_counter() - start)
    except SlideError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"strips, each decoded once : {strips:8.0f} patches/s")
    print(f"one read for each patch   : {single:8.0f} patches/s (timed on {count})")
    print(f"ratio                     : {strips / single:8.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
