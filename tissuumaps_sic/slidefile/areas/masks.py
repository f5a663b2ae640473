"""Mask images: whole numbers on a grid of pixels over the slide, read by rectangles or by strips."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.area import AreaError

log = logging.getLogger(__name__)

MASKS = (".png", ".tif", ".tiff", ".bmp")
# Values are told apart up to here.
N_VALUES = 1 << 16
# What is unpacked as a whole, into memory where it has a palette and else, from 100 MB on, into a temporary
# file: masks of slides 65,000 px wide at full size, or of any slide at a smaller scale.
_MOST_PIXELS = 1 << 32
_MOST_IN_MEMORY = 1 << 30
# A coloured mask has a colour a class; what has more is a photograph.
_MOST_COLOURS = 256
_STRIP_PIXELS = 1 << 24

Values = npt.NDArray[np.uint16]
Fetch = Callable[[int, int, int, int], npt.NDArray[Any]]
Pair = tuple[float, float]
Colours = Literal["refused", "values"]


@dataclass
class MaskImage:
    """A mask that is open.

    Attributes
    ----------
    name : str
        The file's.
    size : (width, height)
    fetch : callable
        Gives the pixels of a rectangle (left, top, width, height) inside it, shape (height, width) or
        (height, width, bands).
    has_alpha : bool
        Whether its last band tells what is drawn at all; where that is 0, the value is 0.
    spread : int
        What its values were multiplied by to fill 8 bits.
    colours : "refused" or "values"
        What becomes of pixels that are not grey: an error, or 1 for every colour but black.
    description : str
        What a TIFF tells of itself.
    """

    name: str
    size: tuple[int, int]
    fetch: Fetch
    has_alpha: bool = False
    spread: int = 1
    colours: Colours = "refused"
    description: str = ""

    def __post_init__(self) -> None:
        self._colours = np.empty(0, np.uint64)

    @property
    def is_coloured(self) -> bool:
        """Whether a colour was met so far."""
        return len(self._colours) > 0

    def read(self, left: int, top: int, width: int, height: int) -> Values:
        """Return the values in a rectangle inside the mask, shape (height, width).

        Parameters
        ----------
        left, top, width, height : int
            Pixels of the mask.

        Returns
        -------
        uint16 array of shape (height, width)

        Raises
        ------
        AreaError
            When they cannot be read, or are none from 0 to 65535.
        """
        pixels = self.fetch(left, top, width, height)
        opaque = None
        if self.has_alpha:
            opaque, pixels = pixels[..., -1] > 0, pixels[..., :-1]
        if pixels.ndim == 3 and pixels.shape[2] > 1 and (pixels != pixels[..., :1]).any():
            grey = self._of_colours(pixels if opaque is None else pixels * opaque[..., None])
        else:
            grey = pixels[..., 0] if pixels.ndim == 3 else pixels
            if grey.dtype.kind != "u" or grey.dtype.itemsize > 2:
                grey = self._whole(grey)
            grey = grey // self.spread
        if opaque is not None:
            grey = grey * opaque
        return np.asarray(grey, np.uint16)

    def strips(self, multiple: int = 1) -> Iterator[Values]:
        """Yield the values from top to bottom, whole rows of them, at most some 16 Mpx at a time.

        All but the last have a number of rows that is a multiple of `multiple`.

        Parameters
        ----------
        multiple : int, default=1

        Yields
        ------
        uint16 array of shape (rows, width)

        Raises
        ------
        AreaError
            As `read`.
        """
        width, height = self.size
        rows = max(_STRIP_PIXELS // width // multiple, 1) * multiple
        for top in range(0, height, rows):
            yield self.read(0, top, width, min(rows, height - top))

    def _of_colours(self, pixels: npt.NDArray[Any]) -> Values:
        if self.colours == "refused" or pixels.shape[2] != 3:
            raise AreaError(
                f"{self.name}: is a coloured picture (the slide itself?); save a mask in grey or with a "
                "palette, each value a class"
            )
        shades = pixels.astype(np.uint64)
        packed = (shades[..., 0] << np.uint64(32)) | (shades[..., 1] << np.uint64(16)) | shades[..., 2]
        # Neighbours are mostly alike: only where the colour changes there is something to sort.
        flat = packed.ravel()
        changes = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        self._colours = np.union1d(self._colours, flat[changes])
        if len(self._colours) > _MOST_COLOURS:
            raise AreaError(
                f"{self.name}: has more than {_MOST_COLOURS} colours, as a picture has (the slide itself?) "
                "and a mask has not; save it in grey, each value a class"
            )
        return np.asarray(packed > 0, np.uint16)

    def _whole(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if values.dtype == np.bool_:
            return values.astype(np.uint8)
        low, high = values.min(), values.max()
        if low < 0 or high >= N_VALUES:
            raise AreaError(
                f"{self.name}: has values from {low} to {high}; a mask's are whole numbers from 0 to "
                f"{N_VALUES - 1}"
            )
        return values.astype(np.uint16)


def open_mask(
    path: Path,
    *,
    colours: Colours = "refused",
    access: Literal["random", "sequential"] = "random",
    most: int | None = None,
) -> MaskImage:
    """Open a mask image.

    Parameters
    ----------
    path : Path
        PNG, TIFF (a pyramid is read at its finest level) or BMP, grey or with a palette, of whole numbers.
        It is read as it is stored: an orientation is not applied, and told.
    colours : "refused" or "values"
        What becomes of pixels that are not grey: an error, or 1 for every colour but black.
    access : "random" or "sequential"
        Whether it is read anywhere, or by `strips` alone, which needs no room for what is unpacked.
    most : int, optional
        One of more pixels is refused, whatever it is.

    Returns
    -------
    MaskImage

    Raises
    ------
    AreaError
        When it is of another kind, is too large to be unpacked, or cannot be read.
    """
    kind = _kind(path)
    if kind == "bmp":
        return _open_in_memory(path, kind, most)
    tags = _tiff_tags(path) if kind == "tiff" else {}
    _check_tags(path, tags)
    if tags.get(_PHOTOMETRIC) == _PALETTE or (kind == "png" and _is_palette_png(path)):
        # libvips, which reads all the rest, gives a palette's colours and not its indices.
        return _open_in_memory(path, kind, most)
    image = _open_by_vips(path, kind, tags, colours, access)
    if most is not None:
        _check_size(path, *image.size, most)
    return image


def place_mask(
    name: str,
    size: tuple[int, int],
    slide_size: tuple[int, int],
    bounds: tuple[int, int, int, int] | None = None,
) -> tuple[Pair, Pair]:
    """Return where a mask's corner lies and how large its pixel is, both (x, y) in level-0 pixels.

    Parameters
    ----------
    name : str
        The mask's file, for messages.
    size : (width, height)
        Of the mask.
    slide_size : (width, height)
    bounds : (x, y, width, height), optional
        What the scanner filled of the slide, where a mask of that alone may be given.

    Returns
    -------
    corner, pixel : (x, y)
        Level-0 pixels.

    Raises
    ------
    AreaError
        When the mask has the shape of neither.
    """
    whole = (0, 0, *slide_size)
    fitting = [
        place
        for place in dict.fromkeys((whole, bounds or whole))
        # Scaling rounds either side by up to one pixel.
        if abs(size[0] * place[3] - size[1] * place[2]) <= place[2] + place[3]
    ]
    if not fitting:
        raise AreaError(
            f"{name}: is {size[0]} x {size[1]} pixels, and that is not the shape of the slide, "
            f"{slide_size[0]} x {slide_size[1]}; a mask covers the whole slide, at any scale"
        )
    if len(fitting) > 1:
        log.warning(
            "%s: has the shape of the slide and of its scanned part, x %d, y %d, %d x %d; it is taken to "
            "cover the whole slide",
            name,
            *fitting[1],
        )
    x, y, width, height = fitting[0]
    return (float(x), float(y)), (width / size[0], height / size[1])


_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _TILE_WIDTH = 256, 257, 259, 262, 274, 322
_DESCRIPTION = 270
_JPEG = (6, 7)
# libvips' names of whole numbers.
_DTYPES = {"uchar": "u1", "ushort": "u2", "char": "i1", "short": "i2", "int": "i4", "uint": "u4"}
_PALETTE = 3


def _kind(path: Path) -> str:
    """Return which format a file is of, by its content, so that it reaches none of the many other loaders."""
    try:
        if not path.is_file():
            raise AreaError(f"{path}: no such file; name the mask")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise AreaError(f"{path.name}: cannot be read ({error.strerror or error})") from error
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head.startswith(b"BM"):
        return "bmp"
    if head.startswith(b"\xff\xd8"):
        raise AreaError(f"{path.name}: is a JPEG, which changes a mask's values; save it as PNG or TIFF")
    raise AreaError(f"{path.name}: cannot be read as a mask: it is no PNG, TIFF or BMP; export it again")


def _tiff_tags(path: Path) -> dict[int, Any]:
    from PIL import TiffImagePlugin

    try:
        # Of a damaged file Pillow warns tag by tag; what cannot be read is told once, below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with TiffImagePlugin.TiffImageFile(path) as image:
                return dict(image.tag_v2)
    except Exception:  # noqa: BLE001 -- Pillow knows fewer kinds; libvips has the last word on what is readable
        return {}


def _check_tags(path: Path, tags: dict[int, Any]) -> None:
    if tags.get(_COMPRESSION) in _JPEG:
        raise AreaError(
            f"{path.name}: is compressed as JPEG, which changes a mask's values; save it with deflate"
        )
    if tags.get(_ORIENTATION, 1) != 1:
        log.warning(
            "%s: tells an orientation (%s), which is not applied: its pixels are taken as they are stored",
            path.name,
            tags[_ORIENTATION],
        )


def _is_palette_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(26)[25:] == b"\x03"


def _check_size(path: Path, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise AreaError(
            f"{path.name}: is {width} x {height} px, more than the {most / 1e6:,.0f} Mpx that are unpacked "
            "at once; save it smaller (a mask may have any scale), or as a tiled grey TIFF"
        )


def _open_in_memory(path: Path, kind: str, most: int | None) -> MaskImage:
    from PIL import BmpImagePlugin, PngImagePlugin, TiffImagePlugin

    readers: dict[str, Any] = {
        "png": PngImagePlugin.PngImageFile,
        "tiff": TiffImagePlugin.TiffImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
    }
    try:
        # Not by `Image.open`, whose limit is of the whole process and calls a large mask an attack.
        with warnings.catch_warnings(), readers[kind](path) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            _check_size(path, width, height, min(most or _MOST_IN_MEMORY, _MOST_IN_MEMORY))
            values = np.asarray(image)
            has_alpha = image.mode in ("RGBA", "LA")
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise _unreadable(path, error) from error
    return MaskImage(
        path.name,
        (values.shape[1], values.shape[0]),
        lambda left, top, width, height: values[top : top + height, left : left + width],
        has_alpha=has_alpha,
    )


def _open_by_vips(path: Path, kind: str, tags: dict[int, Any], colours: Colours, access: str) -> MaskImage:
    import pyvips

    load = pyvips.Image.pngload if kind == "png" else pyvips.Image.tiffload
    try:
        # Anew, because libvips keeps what it opened last by its name: the file may be another one now.
        image = load(str(path), access=access, fail_on="error", revalidate=True)
        if kind == "tiff":
            _check_pages(path, image)
    except pyvips.Error as error:
        raise _unreadable(path, error) from error
    if image.format not in _DTYPES:
        raise AreaError(
            f"{path.name}: has pixels of the kind {image.format}; save the classes as whole numbers of 8 or "
            "16 bits, grey"
        )
    if _TILE_WIDTH not in tags:
        _check_size(path, image.width, image.height, _MOST_PIXELS)
    # libvips spreads 1, 2 and 4 bits over 0 to 255.
    bits = int(image.get("bits-per-sample")) if image.get_typeof("bits-per-sample") else 8
    region = pyvips.Region.new(image)
    dtype = np.dtype(_DTYPES[image.format])

    def fetch(left: int, top: int, width: int, height: int) -> npt.NDArray[Any]:
        try:
            pixels = region.fetch(left, top, width, height)
        except pyvips.Error as error:
            needed = math.prod((image.width, image.height, image.bands, dtype.itemsize))
            raise _unreadable(path, error, needed if _TILE_WIDTH not in tags else 0) from error
        return np.frombuffer(pixels, dtype).reshape(height, width, image.bands)

    return MaskImage(
        path.name,
        (image.width, image.height),
        fetch,
        has_alpha=bool(image.hasalpha()),
        spread=255 // (2**bits - 1) if bits < 8 else 1,
        colours=colours,
        description=str(tags.get(_DESCRIPTION, "")),
    )


def _check_pages(path: Path, image: Any) -> None:
    """Refuse a stack, of whose pages one alone would be read; the levels of a pyramid are smaller."""
    import pyvips

    pages = int(image.get("n-pages")) if image.get_typeof("n-pages") else 1
    for page in range(1, pages):
        other = pyvips.Image.tiffload(str(path), page=page, revalidate=True)
        if other.width >= image.width and other.height >= image.height:
            raise AreaError(
                f"{path.name}: page {page + 1} of its {pages} is {other.width} x {other.height} px and "
                f"the first {image.width} x {image.height}; save one page, or a pyramid "
                "whose first page is the largest"
            )


def _unreadable(path: Path, error: Exception, unpacked: int = 0) -> AreaError:
    # libvips tells what it met before, too; the last is why it gave up.
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    reason = lines[-1][:200] if lines else type(error).__name__
    room = ""
    # As libvips does it, unless it is told otherwise (VIPS_DISC_THRESHOLD).
    if unpacked > 100 << 20:
        room = (
            f"; if its {unpacked >> 20} MB do not fit into the temporary folder, set TMPDIR to one with room"
        )
    return AreaError(f"{path.name}: cannot be read as a mask ({reason}); export it again{room}")
