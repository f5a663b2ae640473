"""Labels as a mask: a pyramidal TIFF of one byte a pixel."""

from __future__ import annotations

import errno
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.rasters import draw_raster
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.raster import LabelRaster
from tissuumaps_sic.slides.regions import Scale, scale_of, slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide

# Pixels along the shorter edge of a patch's cell, unless a resolution is asked for: 8 µm/px for patches of
# 256 px at 0.5 µm/px that overlap by half.
_PIXELS_PER_CELL = 8
_TILE = 256
# What one image of a TIFF with offsets of 32 bits may have is 4 GB, and compressed it is always less.
_BIG_PIXELS = 2**31


def write_mask(
    labelled: Labelled,
    target: Path,
    *,
    mpp: float | None = None,
    downsample: float | None = None,
    blocks: bool = False,
) -> None:
    """Write the labels of the whole slide as a tiled, pyramidal TIFF of uint8.

    0 is where no patch is, or glass; 1, 2, ... are the classes in the order in which the viewer lists them,
    the positive one first. A pixel has the class of the cell that its centre lies in, and pixels of smaller
    levels that of most of the pixels that they stand for. The image's description is JSON that tells
    the classes' names and colours; there is no palette, because OpenSlide and libvips would give colours
    in place of the classes. The mask begins at level 0's corner and, where the file tells the slide's size,
    covers all of it.

    Parameters
    ----------
    labelled : Labelled
    target : Path
    mpp : float, optional
        µm per pixel of the mask. By default the shorter edge of a patch's cell is 8 pixels: 8 µm/px for
        patches of 256 px at 0.5 µm/px that overlap by half.
    downsample : float, optional
        Level-0 pixels per pixel of the mask, in both directions, in place of `mpp`: for files that do not
        tell their resolution. The mask then has none either.
    blocks : bool, default=False
        Whether all of a patch's middle has the class of the patch, glass or not.

    Raises
    ------
    ExportError, OSError
        When the file does not tell its resolution and there is no `downsample`, the mask would be finer than
        the slide, or it cannot be written.
    """
    slide, arranged = labelled.slide, labelled.arrange()
    scale = scale_of(slide)
    step = _step(slide, scale, mpp, downsample)
    raster = draw_raster(arranged, blocks=blocks)
    known = slide_size_of(slide)
    size = known or (math.ceil(raster.extent[2]), math.ceil(raster.extent[3]))
    resolution = scale.mpp and (scale.mpp[0] * step[0], scale.mpp[1] * step[1])
    description = {
        "software": f"tissuumaps-sic {__version__}",
        "slide": slide.name,
        "slide_size": list(size) if known else None,
        "downsample": list(step),
        "mpp": list(resolution) if resolution else None,
        "values": {"0": "no patch"} | {str(n): each.name for n, each in enumerate(arranged.classes, 1)},
        "colors": {str(n): each.color for n, each in enumerate(arranged.classes, 1)},
    }
    # A hair below the whole number counts as the whole number: it comes of a resolution's last digit.
    shape = (max(1, math.ceil(size[0] / step[0] - 1e-6)), max(1, math.ceil(size[1] / step[1] - 1e-6)))
    with replacing(target) as temporary:
        _save(
            _image(raster, shape, step), temporary, resolution=resolution, description=json.dumps(description)
        )
        if resolution is None:
            _forget_unit(temporary)


def _step(
    slide: EmbeddedSlide, scale: Scale, mpp: float | None, downsample: float | None
) -> tuple[float, float]:
    """Return the level-0 pixels per pixel of the mask, in x and in y."""
    for option, value in (("mpp", mpp), ("downsample", downsample)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ExportError(f"--{option}: {value:g} is not the size of a pixel; give a number above 0")
    if downsample is not None:
        step = (float(downsample), float(downsample))
    elif scale.mpp is None:
        fits = max(1.0, min(scale.stride) / _PIXELS_PER_CELL)
        raise ExportError(
            f"{slide.path.name}: does not say its µm per pixel, which a mask needs; give the level-0 "
            f"pixels per pixel of the mask instead (tissuumaps-sic export {slide.path.name} --format mask "
            f"--downsample {fits:g})"
        )
    else:
        cell = min(edge * size for edge, size in zip(scale.stride, scale.mpp, strict=True))
        wanted = cell / _PIXELS_PER_CELL if mpp is None else mpp
        step = (wanted / scale.mpp[0], wanted / scale.mpp[1])
        if mpp is None and min(step) < 1:
            step = (step[0] / min(step), step[1] / min(step))
    if min(step) < 1 - 1e-6:
        raise ExportError(
            f"{slide.path.name}: the mask's pixels would be {min(step):.3g} times as large as the slide's, "
            "which adds nothing; give a larger --mpp or --downsample"
        )
    return step


def _image(raster: LabelRaster, shape: tuple[int, int], step: tuple[float, float]) -> Any:
    """Return the mask as an image that libvips makes piece by piece, while it is written."""
    import pyvips

    width, height = shape
    column = raster.columns_at((np.arange(width) + 0.5) * step[0])
    row = raster.rows_at((np.arange(height) + 0.5) * step[1])
    # The other direction of each is never in memory.
    across = pyvips.Image.new_from_array(column[None]).zoom(1, height)
    down = pyvips.Image.new_from_array(row[:, None]).zoom(width, 1)
    values: npt.NDArray[np.uint8] = raster.values
    image = pyvips.Image.new_from_array(values).mapim(
        across.bandjoin(down), interpolate=pyvips.Interpolate.new("nearest")
    )
    return image.copy(interpretation="b-w")


def _save(image: Any, target: Path, *, resolution: tuple[float, float] | None, description: str) -> None:
    import pyvips

    # In pixels per mm; without a resolution the unit is taken out afterwards.
    x, y = (1000 / each for each in resolution) if resolution else (1.0, 1.0)
    image = image.copy(xres=x, yres=y)
    image.set_type(pyvips.GValue.gstr_type, "image-description", description)
    try:
        image.tiffsave(
            str(target),
            tile=True,
            tile_width=_TILE,
            tile_height=_TILE,
            pyramid=True,
            region_shrink="mode",
            compression="deflate",
            resunit="cm",
            bigtiff=image.width * image.height > _BIG_PIXELS,
        )
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        raise OSError(errno.EIO, f"libvips could not write it: {reason}") from error


def _forget_unit(path: Path) -> None:
    """Set the unit of resolution of each image in a TIFF to none: libvips always writes one.

    Raises
    ------
    OSError
        When the file cannot be read or written.
    """
    with path.open("rb+") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(f"{order}H", head[2:4])[0] == 43
        # Offset of the first directory; lengths of its count, of an entry and of the next one's offset.
        word, entry, counted = ("Q", 20, 8) if big else ("I", 12, 2)
        count_format = f"{order}{'Q' if big else 'H'}"
        at = struct.unpack_from(f"{order}{word}", head, 8 if big else 4)[0]
        while at:
            file.seek(at)
            n = struct.unpack(count_format, file.read(counted))[0]
            entries = file.read(n * entry)
            following = struct.unpack(f"{order}{word}", file.read(struct.calcsize(word)))[0]
            for place in range(n):
                if struct.unpack_from(f"{order}H", entries, place * entry)[0] == _RESOLUTION_UNIT:
                    file.seek(at + counted + place * entry + (12 if big else 8))
                    file.write(struct.pack(f"{order}H", _NO_UNIT))
            at = following


_RESOLUTION_UNIT, _NO_UNIT = 296, 1
