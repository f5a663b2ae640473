"""How fast patches are read: strips, each tile decoded once, against one read for each patch.

    python benchmarks/bench_reading.py [SLIDE] [--slide-mpp MPP] [--repeats 3]

All read the same tissue patches (256 px at 0.5 µm/px, half overlap). Every way opens the slide anew, so that
none finds another's tiles decoded, and they take turns; the fastest of the repeats is printed. Reads of one
patch are timed on a contiguous tenth of the patches (at least 500). "bare decode" reads each tile that a
patch touches once, with as many threads as the strips have, and makes no patches: nothing can be faster
without another decoder.
"""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pyvips
from PIL import Image

from embedder.patches.grid import PatchGrid
from embedder.patches.reading import decoder_count, iter_patches
from embedder.patches.tissue import tissue_mask
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide, require_resolution
from tissuumaps_sic.slidefile.pixels.source import SlideError

DEFAULT = Path(__file__).parents[2] / "shared" / "data" / "slides" / "colon_section1.tif"
Region = tuple[int, int, int, int]


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
    share = tissue_mask(slide).share(grid.x0, grid.y0, (grid.patch_width0, grid.patch_height0))
    return grid.select(share >= 0.5)


def place(grid: PatchGrid, index: int) -> Region:
    """Give a patch's (x, y, width, height) in whole pixels of the grid's level."""
    x, y = (round(v / grid.level_downsample) for v in (grid.x0[index], grid.y0[index]))
    width, height = (round(v / grid.level_downsample) for v in (grid.patch_width0, grid.patch_height0))
    return x, y, width, height


def made_to_size(region: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """Give a region as a patch."""
    size = (grid.patch_size, grid.patch_size)
    if region.shape[:2] == size:
        return region
    return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.BILINEAR))


def stretches(slide: Slide, grid: PatchGrid) -> list[Region]:
    """Give the tiles that patches touch, those that lie side by side in one piece of up to 1024 px."""
    width, height = slide.level_sizes[grid.level]
    across, down = slide.tile_sizes[grid.level] or (256, 256)
    touched = np.zeros((-(height // -down), -(width // -across)), bool)
    for index in range(len(grid)):
        x, y, w, h = place(grid, index)
        touched[y // down : -((y + h) // -down), x // across : -((x + w) // -across)] = True
    most = max(1, 1024 // across)
    pieces = []
    for row, wanted in enumerate(touched):
        column = 0
        while column < len(wanted):
            end = column
            while end < len(wanted) and end - column < most and wanted[end]:
                end += 1
            if end > column:
                x, y = column * across, row * down
                pieces.append((x, y, min(end * across, width) - x, min(down, height - y)))
            column = max(end, column + 1)
    return pieces


def vips_level(path: Path, size: tuple[int, int]) -> Any | None:
    """Give the page of a TIFF that has a level's size, as a libvips image."""
    try:
        pages = pyvips.Image.new_from_file(str(path)).get("n-pages")
        for page in range(pages):
            image = pyvips.Image.new_from_file(str(path), page=page, access="random")
            if (image.width, image.height) == size and image.bands == 3:
                image.crop(size[0] // 2, size[1] // 2, 1, 1).avg()  # the header tells not what it can decode
                return image
    except pyvips.Error:
        pass
    return None


def ways(
    path: Path, mpp: float | None, grid: PatchGrid, pieces: list[Region], size: tuple[int, int]
) -> dict[str, tuple[int, Callable[[], None]]]:
    """Give what is timed, by its name: how many patches it reads, and the function."""
    some = min(len(grid), max(500, len(grid) // 10))

    def bare() -> None:
        with open_slide(path, mpp=mpp) as slide, ThreadPoolExecutor(decoder_count()) as pool:
            for _ in pool.map(lambda piece: slide.read(*piece, level=grid.level).shape, pieces):
                pass

    def strips() -> None:
        with open_slide(path, mpp=mpp) as slide:
            for _ in iter_patches(slide, grid, batch_size=64):
                pass

    def singly() -> None:
        with open_slide(path, mpp=mpp) as slide:
            for index in range(some):
                made_to_size(slide.read(*place(grid, index), level=grid.level), grid)

    def by_openslide() -> None:
        with openslide.OpenSlide(path) as slide:
            for index in range(some):
                _, _, *region = place(grid, index)
                corner = int(grid.x0[index]), int(grid.y0[index])
                read = slide.read_region(corner, grid.level, tuple(region)).convert("RGB")
                made_to_size(np.asarray(read), grid)

    def by_vips() -> None:
        image = vips_level(path, size)
        assert image is not None
        region = pyvips.Region.new(image)
        for index in range(some):
            x, y, width, height = place(grid, index)
            pixels = np.frombuffer(region.fetch(x, y, width, height), np.uint8)
            made_to_size(pixels.reshape(height, width, 3), grid)

    found = {
        "bare decode of the tiles": (len(grid), bare),
        "strips": (len(grid), strips),
        "one Slide.read a patch": (some, singly),
    }
    if openslide.OpenSlide.detect_format(path):
        found["one OpenSlide read a patch"] = (some, by_openslide)
    if vips_level(path, size) is not None:
        found["one pyvips region a patch"] = (some, by_vips)
    return found


def main() -> int:
    """Time all ways and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--slide-mpp", type=float)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    path, mpp = arguments.slide, arguments.slide_mpp
    if not path.exists():
        print(f"no slide at {path}; name one as the first argument", file=sys.stderr)
        return 2
    pyvips.cache_set_max(0)
    try:
        with open_slide(path, mpp=mpp) as slide:
            grid = tissue_grid(slide)
            pieces = stretches(slide, grid)
            size = slide.level_sizes[grid.level]
        print(
            f"{path.name}: {len(grid)} tissue patches of {grid.columns * grid.rows}, level {grid.level}, "
            f"{grid.level_scale[0]:.4g} level pixels per target pixel, {decoder_count()} threads decode"
        )
        if len(grid) == 0:
            print("no tissue was found; nothing to time", file=sys.stderr)
            return 1
        timed = ways(path, mpp, grid, pieces, size)
        seconds = {name: [] for name in timed}
        for _ in range(arguments.repeats):
            for name, (_, way) in timed.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    except SlideError as error:
        print(error, file=sys.stderr)
        return 1
    rates = {name: timed[name][0] / min(seconds[name]) for name in timed}
    for name, rate in rates.items():
        print(f"{name:<27}: {rate:8.0f} patches/s, strips are {rates['strips'] / rate:5.2f} times as fast")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
