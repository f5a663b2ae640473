"""A slide's picture at a coarser resolution: a tiled pyramidal TIFF of pixels alone, written as it is read.

No label, no macro picture and none of the scanner's tags goes into it: it is made of pixels, and says what
`slidefile.pixels.reduced` reads.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.pixels.reduced import describe_reduced
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import Size

_QUALITY, _TILE, _ROWS = 85, 256, 128
# Beyond so many pixels a TIFF may outgrow 4 GB.
_BIG_PIXELS = 2**30
_MOST_DOWN = 64.0


def reduced_size(size: Size, mpp: tuple[float, float], wanted: float) -> Size:
    """Return (width, height) of a slide's picture at `wanted` µm per pixel, or its own where that is finer.

    Parameters
    ----------
    size : (width, height)
        Level-0 pixels.
    mpp : (float, float)
        µm per level-0 pixel, in x and in y.
    wanted : float

    Returns
    -------
    Size

    Raises
    ------
    ExportError
        When it would be more than 64 times smaller.

    Examples
    --------
    >>> reduced_size((6144, 4608), (0.25, 0.25), 1.0)
    (1536, 1152)
    """
    # One factor for both: what is not square stays so.
    down = max(1.0, wanted / min(mpp))
    if down > _MOST_DOWN or min(size) < down:
        raise ExportError(f"--mpp {wanted:g}: is too coarse for this slide; give {min(mpp) * 16:.3g} or less")
    return math.ceil(size[0] / down - 1e-6), math.ceil(size[1] / down - 1e-6)


def write_reduced(
    slide: Slide, target: Path, size: Size, *, mpp: tuple[float, float] | None, stretch: Stretch = SILENT
) -> None:
    """Write a slide's picture of a size; it lies in memory by some rows at a time.

    Parameters
    ----------
    slide : Slide
    target : Path
        A TIFF.
    size : (width, height)
        Of the picture.
    mpp : (float, float) or None
        µm per level-0 pixel of the slide, in x and in y.
    stretch : Stretch
        Whom to tell how far it is.

    Raises
    ------
    ExportError, SlideError
        When it cannot be written, or the slide's pixels cannot be read.
    """
    import pyvips

    rows = _Rows(slide, size, stretch)
    source = pyvips.SourceCustom()
    source.on_read(rows.read)
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential")
        image = image.copy(interpretation="srgb")
        if mpp is not None:
            scale = size[0] / slide.size[0], size[1] / slide.size[1]
            image = image.copy(xres=1000 * scale[0] / mpp[0], yres=1000 * scale[1] / mpp[1])
        text = describe_reduced(slide.size) if size != slide.size else ""
        image.set_type(pyvips.GValue.gstr_type, "image-description", text)
        image.tiffsave(
            str(target),
            tile=True,
            tile_width=_TILE,
            tile_height=_TILE,
            pyramid=True,
            compression="jpeg",
            Q=_QUALITY,
            resunit="cm",
            bigtiff=size[0] * size[1] > _BIG_PIXELS,
        )
    except pyvips.Error as error:
        if rows.failure is not None:
            raise rows.failure from error
        reason = " ".join(str(error).split())
        raise ExportError(f"{slide.name}: its picture could not be written (libvips: {reason})") from error
    if rows.failure is not None:
        raise rows.failure


class _Rows:
    """The picture as a PNG, not compressed, that libvips reads piece by piece; it reads no simpler stream.

    Attributes
    ----------
    failure : BaseException or None
        What stopped it: no exception goes through libvips.
    """

    def __init__(self, slide: Slide, size: Size, stretch: Stretch) -> None:
        self.failure: BaseException | None = None
        self._slide, self._size, self._stretch = slide, size, stretch
        self._next = 0
        self._packer = zlib.compressobj(0)
        header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
        self._left = memoryview(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header))

    def read(self, most: int) -> bytes:
        """Return what comes next, `most` bytes of it; nothing at the end, or where something is wrong."""
        try:
            if not self._left and self._next < self._size[1]:
                self._left = memoryview(self._make())
        except BaseException as error:  # noqa: BLE001 -- raised again when libvips has returned
            self.failure = error
            return b""
        part, self._left = self._left[:most], self._left[most:]
        return bytes(part)

    def _make(self) -> bytes:
        """Return the next rows as a chunk, and after the last what ends the file."""
        (width, height), (columns, rows) = self._slide.size, self._size
        first, last = self._next, min(self._next + _ROWS, rows)
        step = height / rows
        part = (0, first * step, width, (last - first) * step)
        # One tile that is lost is no reason to have no picture.
        pixels = self._slide.picture(*part, (columns, last - first), rest=True)
        self._next = last
        self._stretch.tell(last / rows)
        # Each row begins with the number of its filter: none.
        lines = np.pad(pixels.reshape(last - first, -1), ((0, 0), (1, 0)))
        packed = self._packer.compress(lines.tobytes())
        if last < rows:
            return _chunk(b"IDAT", packed)
        return _chunk(b"IDAT", packed + self._packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
