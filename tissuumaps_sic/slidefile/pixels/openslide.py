"""Pixels through OpenSlide."""

import ctypes
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
import openslide.lowlevel

from tissuumaps_sic.slidefile.pixels import ome_xml
from tissuumaps_sic.slidefile.pixels.blocks import Blocks
from tissuumaps_sic.slidefile.pixels.source import (
    Pixels,
    Size,
    SlideError,
    both_directions,
    one_line,
    positive,
    size_or_none,
)
from tissuumaps_sic.slidefile.pixels.tiff import Page

# OpenSlide keeps decoded tiles here. It must hold two rows of tiles of the widest stretch that is
# read at once (patches._BAND_PIXELS x 256 x 4 bytes x 2 = 32 MiB), because a level whose downsample
# is no whole number is read a fraction of a pixel off its tiles, and then each read touches the
# next row's tiles too.
_CACHE_BYTES = 64 * 2**20
# openslide-python gives a region as a Pillow image only, which costs two thirds of the decoding once more
# and holds up other threads. Its function for the bare buffer is private, so it may be missing.
_read_into = getattr(openslide.lowlevel, "_read_region", None)


class OpenSlideSource:
    """Pixels through OpenSlide.

    Attributes
    ----------
    pages : tuple of (Page or None)
        What each level is in a TIFF, where that is known.
    blocks : tuple of (Blocks or None)
        What each level's tiles have in the file, where that is known; what is read is compared with it.
    stage : (x, y, width, height) or None
        Nanometres from the middle of the glass slide to level 0's corner, and of its pixel, where they are
        told.
    """

    is_deep = False

    def __init__(self, slide: "openslide.OpenSlide") -> None:
        properties = slide.properties
        self._slide = slide
        slide.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
        self.level_sizes: tuple[Size, ...] = tuple(slide.level_dimensions)
        self.level_downsamples: tuple[float, ...] = tuple(slide.level_downsamples)
        self.tile_sizes = tuple(
            size_or_none(
                properties.get(f"openslide.level[{level}].tile-width"),
                properties.get(f"openslide.level[{level}].tile-height"),
            )
            for level in range(slide.level_count)
        )
        self.pages: tuple[Page | None, ...] = (None,) * slide.level_count
        self.blocks: tuple[Blocks | None, ...] = (None,) * slide.level_count
        # TissUUmaps shows what OpenSlide opens as OpenSlide has it.
        self.overview_pixels: int | None = self.level_sizes[-1][0] * self.level_sizes[-1][1]
        self.quick_hash: str | None = properties.get("openslide.quickhash-1")
        # As bytes: `color_profile` would open it, and a broken one is to be told and not to end all.
        self.profile: bytes | None = getattr(slide, "_profile", None) or None
        self.objective_power = positive(properties.get("openslide.objective-power"))
        self.tagged_mpp = both_directions(
            positive(properties.get("openslide.mpp-x")), positive(properties.get("openslide.mpp-y"))
        )
        described = ome_xml.read_ome_xml(properties.get("tiff.ImageDescription"), self.level_sizes[0])
        if described is not None and described.mpp is not None:
            # Programs that write OME-TIFF leave the TIFF's own resolution at 72 dpi, or wrong.
            self.tagged_mpp = described.mpp
        bounds = [_whole(properties.get(f"openslide.bounds-{key}")) for key in ("x", "y", "width", "height")]
        x, y, width, height = bounds
        self.bounds = (
            None if x is None or y is None or width is None or height is None else (x, y, width, height)
        )

        self.stage = _stage(properties, self.level_sizes[0])

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`."""
        pixels = self._read(x, y, width, height, level)
        blocks = self.blocks[level]
        if blocks is not None:
            blocks.check(pixels, x, y, partial(self._read, level=level))
        return pixels

    def reopen(self, path: Path) -> "OpenSlideSource":
        """See `Source`."""
        again = OpenSlideSource(openslide.OpenSlide(path))
        again.pages, again.blocks = self.pages, self.blocks
        return again

    def close(self) -> None:
        """See `Source`."""
        self._slide.close()

    def _read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        downsample = self.level_downsamples[level]
        place = round(x * downsample), round(y * downsample)
        return _on_white(_read_argb(self._slide, place, level, (width, height)))


def dicom_file(folder: Path) -> Path:
    """Return the file by which OpenSlide opens the slide whose DICOM files a folder holds.

    A slide is a series: a file or more for each level, and some for label and overview, which open nothing.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path

    Raises
    ------
    SlideError
        No file of the folder is one of a slide's, or they are several slides'.
    """
    # What is no file but, say, a named pipe would be waited for for ever.
    files = sorted(each for each in folder.iterdir() if each.suffix.lower() == ".dcm" and each.is_file())
    found: dict[str, Path] = {}
    refusal = ""
    for file in files:
        try:
            with openslide.OpenSlide(file) as slide:
                found.setdefault(slide.properties.get("dicom.SeriesInstanceUID", ""), file)
        except (openslide.OpenSlideError, OSError) as error:
            refusal = one_line(error, file)
    if not found:
        raise SlideError(f"{folder.name!r} holds DICOM files, but no slide that OpenSlide reads ({refusal})")
    if len(found) > 1:
        names = ", ".join(each.name for each in found.values())
        raise SlideError(
            f"{folder.name!r} holds {len(found)} slides; put each into a folder of its own, or name a file "
            f"of each ({names})"
        )
    return next(iter(found.values()))


def _stage(properties: Mapping[str, str], size: Size) -> tuple[float, float, float, float] | None:
    """Return where a scan of Hamamatsu's lies on the glass slide; such a file tells it of its middle."""
    told = []
    for axis, side in zip("XY", size, strict=True):
        pixel = positive(properties.get(f"openslide.mpp-{axis.lower()}"))
        try:
            middle = float(properties.get(f"hamamatsu.{axis}OffsetFromSlideCentre", "nan"))
        except ValueError:
            return None
        if pixel is None or not math.isfinite(middle):
            return None
        told.append((middle - 500 * pixel * side, 1000 * pixel))
    (x, width), (y, height) = told
    return x, y, width, height


def _whole(text: str | None) -> int | None:
    """Give a property as a whole number; None where it is absent or is none."""
    try:
        return None if text is None else int(float(text))
    except (ValueError, OverflowError):
        return None


def _read_argb(
    slide: "openslide.OpenSlide", place: tuple[int, int], level: int, size: Size
) -> npt.NDArray[np.uint32]:
    """Give a region as OpenSlide has it: premultiplied ARGB, one number a pixel; (height, width)."""
    argb = np.empty((size[1], size[0]), np.uint32)
    if _read_into is None or getattr(slide, "_osr", None) is None:
        rgba = np.asarray(slide.read_region(place, level, size)).astype(np.uint32)
        alpha = rgba[..., 3]
        red, green, blue = ((rgba[..., k] * alpha + 127) // 255 for k in range(3))
        argb[:] = alpha << 24 | red << 16 | green << 8 | blue
        return argb
    pointer = argb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
    _read_into(slide._osr, pointer, *place, level, *size)
    return argb


def _on_white(argb: npt.NDArray[np.uint32]) -> Pixels:
    """Turn premultiplied ARGB into RGB on white; (height, width, 3)."""
    rgb = np.empty((*argb.shape, 3), np.uint8)
    blue_first = argb.astype("<u4", copy=False).view(np.uint8).reshape(*argb.shape, 4)
    for channel in range(3):  # three strided copies take a quarter of the time of one that is reversed
        rgb[..., channel] = blue_first[..., 2 - channel]
    if argb.min(initial=2**32 - 1) < 0xFF000000:
        # What is missing to full cover is the ground's share; premultiplied, it is only added.
        rgb += (255 - (argb >> 24)).astype(np.uint8)[..., None]
    return rgb
