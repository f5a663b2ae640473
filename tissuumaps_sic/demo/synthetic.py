"""A made-up H&E slide with known truth, for the demo and for tests.

Benign glands in fibrous stroma, and an irregular tumour of crowded, dark nuclei in back-to-back glands. First
it is laid out where everything lies, over the slide and in micrometres (`layout`); then pixels are painted
block by block, as optical densities of two stains (`painting`). It looks like a section; it models none.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

from tissuumaps_sic.demo.fields import MASK_SCALE
from tissuumaps_sic.demo.layout import lay_out
from tissuumaps_sic.demo.painting import paint_block
from tissuumaps_sic.slidefile.writing import replacing

_BLOCK = 1024  # a multiple of MASK_SCALE, so that no mask pixel lies in two blocks
_SMALLEST = 450  # micrometres along the shorter side: room for a tumour and for glands beside it


@dataclass(frozen=True)
class SyntheticSlide:
    """A synthetic slide and its truth.

    Attributes
    ----------
    path : Path
        Tiled pyramidal TIFF.
    mask_path : Path
        PNG at 1/16 of the slide's scale: 0 glass, 1 normal, 2 tumour. Its pixel (column i, row j) covers the
        level-0 pixels [16 i, 16 i + 16) x [16 j, 16 j + 16).
    size : (int, int)
        Width and height in level-0 pixels.
    mpp : float
        Micrometres per level-0 pixel.
    """

    path: Path
    mask_path: Path
    size: tuple[int, int]
    mpp: float


def write_synthetic_slide(
    path: Path, *, size: tuple[int, int] = (6144, 4608), mpp: float = 0.5, seed: int = 0
) -> SyntheticSlide:
    """Write a synthetic H&E slide, and beside it `<stem>_mask.png`, its truth.

    The same arguments and versions of numpy, scipy and libvips give the same pixels. Each file is written
    whole or not at all, the mask first.

    Parameters
    ----------
    path : Path
        The slide to write, a TIFF; its folder must exist.
    size : (int, int)
        Width and height in level-0 pixels, each at least 450 µm.
    mpp : float
        Micrometres per level-0 pixel, 0.2 to 1. It sets the size of cells and glands in pixels.
    seed : int
        Not negative.

    Returns
    -------
    SyntheticSlide

    Raises
    ------
    ValueError
        When `size`, `mpp` or `seed` is out of range.
    OSError
        When a file cannot be written.
    """
    if not 0.2 <= mpp <= 1.0:
        raise ValueError(f"mpp is {mpp}; give 0.2 to 1 µm per pixel")
    if min(size) * mpp < _SMALLEST:
        least = int(np.ceil(_SMALLEST / mpp))
        raise ValueError(
            f"size is {size[0]} x {size[1]}; give at least {least} x {least} pixels at {mpp} µm/px"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; give 0 or more")
    pixels, mask = render(size, mpp, seed)
    mask_path = path.with_name(f"{path.stem}_mask.png")
    with replacing(mask_path) as temporary:
        Image.fromarray(mask).save(temporary, format="PNG")
    with replacing(path) as temporary:
        _write_pyramid(pixels, temporary, mpp)
    return SyntheticSlide(path=path, mask_path=mask_path, size=size, mpp=mpp)


def render(
    size: tuple[int, int], mpp: float, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Paint a slide.

    Parameters
    ----------
    size : (int, int)
        Width and height in level-0 pixels.
    mpp : float
        Micrometres per level-0 pixel.
    seed : int

    Returns
    -------
    pixels : uint8, (height, width, 3)
        RGB.
    mask : uint8, (ceil(height / 16), ceil(width / 16))
        GLASS, NORMAL or TUMOUR.
    """
    width, height = size
    section = lay_out(size, mpp, seed)
    # Whole mask pixels are painted; what lies beyond the slide is cut off at the end.
    rows, columns = section.tissue.shape
    pixels = np.empty((rows * MASK_SCALE, columns * MASK_SCALE, 3), np.uint8)
    mask = np.empty((rows, columns), np.uint8)

    def paint(corner: tuple[int, int]) -> None:
        x, y = corner
        w, h = min(_BLOCK, pixels.shape[1] - x), min(_BLOCK, pixels.shape[0] - y)
        rgb, labels = paint_block(section, x, y, w, h, np.random.default_rng([seed, x, y]))
        pixels[y : y + h, x : x + w] = rgb
        s = MASK_SCALE
        mask[y // s : (y + h) // s, x // s : (x + w) // s] = labels

    corners = [(x, y) for y in range(0, pixels.shape[0], _BLOCK) for x in range(0, pixels.shape[1], _BLOCK)]
    # numpy and scipy let go of the interpreter in most of the work; a block depends on its corner alone.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(paint, corners))
    return np.ascontiguousarray(pixels[:height, :width]), mask


def _write_pyramid(pixels: npt.NDArray[np.uint8], path: Path, mpp: float) -> None:
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, "uchar")
    try:
        image.copy(interpretation="srgb").tiffsave(
            str(path),
            tile=True,
            tile_width=256,
            tile_height=256,
            pyramid=True,
            compression="jpeg",
            Q=88,
            resunit="cm",
            # libvips takes pixels per millimetre, whatever the unit that it writes.
            xres=1000 / mpp,
            yres=1000 / mpp,
        )
    except pyvips.Error as error:
        raise OSError(f"{path.name} could not be written: {str(error).strip()}; is the disk full?") from error
