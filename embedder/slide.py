"""Open any slide: its pixels at any level, its size, and its resolution with where that came from.

OpenSlide reads what it can; flat images and plain TIFF pyramids that it refuses go through libvips.
Nothing outside this module knows which of the two is at work, and neither library's exceptions
leave it: whatever is wrong with a file becomes one `SlideError` of one line.
"""

import hashlib
import logging
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import openslide
from PIL import Image

from embedder.tiling import nearest_finer_level

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

# No light microscope's scan lies outside: an oil objective of 100x gives about 0.05, a macro camera
# about 10 µm/px.
PLAUSIBLE_MPP = (0.05, 10.0)

# OpenSlide keeps decoded tiles here. It must hold two rows of tiles of the widest stretch that is
# read at once (patches._BAND_PIXELS x 256 x 4 bytes x 2 = 32 MiB), because a level whose downsample
# is no whole number is read a fraction of a pixel off its tiles, and then each read touches the
# next row's tiles too.
_CACHE_BYTES = 64 * 2**20
# Thumbnails are made from squares of about this edge, so that a slide never lies in memory.
_BLOCK_PIXELS = 2048
_HASH_BYTES = 2**20


class SlideError(Exception):
    """A slide cannot be used; the message names the file, what is wrong, and what to do."""


@dataclass(frozen=True)
class Resolution:
    """How large a level-0 pixel is.

    Attributes
    ----------
    mpp_x, mpp_y : float
        Width and height of a level-0 pixel in µm.
    source : str
        "tag" (the file says so), "objective power" (10 / power, an estimate) or "user".
    """

    mpp_x: float
    mpp_y: float
    source: str

    @property
    def mpp(self) -> float:
        """Mean of the two directions, in µm per pixel."""
        return (self.mpp_x + self.mpp_y) / 2


class _Source(Protocol):
    """What a backend must give; `read` is only ever asked for pixels that lie inside the level."""

    level_sizes: tuple[Size, ...]
    level_downsamples: tuple[float, ...]
    tile_sizes: tuple[Size | None, ...]
    bounds: tuple[int, int, int, int] | None
    tagged_mpp: tuple[float, float] | None
    objective_power: float | None
    quick_hash: str | None

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels: ...

    def close(self) -> None: ...


class Slide:
    """An open slide; made by `open_slide`, closed by `close` or by leaving its `with` block.

    `read` and `thumbnail` may be called from several threads at once.

    Attributes
    ----------
    path : Path
    name : str
        The file's name without its last suffix.
    size : (width, height)
        In level-0 pixels.
    bounds : (x, y, width, height)
        The part of level 0 that was scanned; the whole of it where the file does not say.
    resolution : Resolution or None
        As the file or the user says, not checked; see `require_resolution`.
    level_sizes : tuple of (width, height)
        Level 0, the largest, first.
    level_downsamples : tuple of float
        Level-0 pixels per pixel of each level.
    tile_sizes : tuple of ((width, height) or None)
        Of each level's tiles in the file; None where the file is not tiled.
    """

    def __init__(self, path: Path, source: _Source, *, resolution: Resolution | None) -> None:
        self.path = path
        self.name = path.stem
        self.resolution = resolution
        self.level_sizes = source.level_sizes
        self.level_downsamples = source.level_downsamples
        self.tile_sizes = source.tile_sizes
        self.size = source.level_sizes[0]
        self.bounds = _clip_bounds(source.bounds, self.size)
        self._quick_hash = source.quick_hash
        self._source: _Source | None = source
        self._reads = 0
        self._change = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Slide {self.path.name!r}, {self.size[0]} x {self.size[1]}>"

    @property
    def tile_size(self) -> Size | None:
        """(width, height) of level 0's tiles in the file; None where it is not tiled."""
        return self.tile_sizes[0]

    def close(self) -> None:
        """Close the file, once reads that are under way are done; closing twice does no harm."""
        with self._change:
            source, self._source = self._source, None
            # Closing under a reading thread would crash the process, not raise.
            self._change.wait_for(lambda: self._reads == 0)
        if source is not None:
            source.close()

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> Pixels:
        """Read a rectangle of one level.

        Parameters
        ----------
        x, y : int
            Its top-left, in pixels of `level`; may lie outside the slide.
        width, height : int
            Its size, in pixels of `level`.
        level : int, default=0

        Returns
        -------
        uint8 array of shape (height, width, 3)
            RGB; what lies outside the slide, or is transparent, is white. Copy it before writing to
            it: it may be read-only.

        Raises
        ------
        SlideError
            The file's pixels cannot be read, or the slide is closed.
        ValueError
            No such level, or an empty rectangle.

        Notes
        -----
        OpenSlide takes positions in whole level-0 pixels. Where a level's downsample is no whole
        number it therefore reads up to half a level-0 pixel beside the place, interpolating;
        elsewhere the pixels are the file's own.
        """
        if not 0 <= level < len(self.level_sizes):
            raise ValueError(f"level {level} is not in {self.path.name!r}, which has {len(self.level_sizes)}")
        if width < 1 or height < 1:
            raise ValueError(f"a region must have pixels, not {width} x {height}")
        level_width, level_height = self.level_sizes[level]
        left, right = max(x, 0), min(x + width, level_width)
        top, bottom = max(y, 0), min(y + height, level_height)
        if (right - left, bottom - top) == (width, height):
            return self._read_inside(x, y, width, height, level)
        region = np.full((height, width, 3), 255, np.uint8)
        if left < right and top < bottom:
            region[top - y : bottom - y, left - x : right - x] = self._read_inside(
                left, top, right - left, bottom - top, level
            )
        return region

    def thumbnail(self, max_side: int) -> Pixels:
        """Give the whole slide, small.

        Parameters
        ----------
        max_side : int
            Longest side of the result; a slide that is smaller already is not enlarged.

        Returns
        -------
        uint8 array of shape (rows, columns, 3)
            Pixel (row, column) covers the level-0 square from (column x s, row x s) to one s
            further, where s = max(size) / max(rows, columns). The last row or column may reach
            beyond the slide and is white there.
        """
        if max_side < 1:
            raise ValueError(f"a thumbnail must have pixels; max_side is {max_side}")
        width, height = self.size
        scale = max(1.0, max(width, height) / max_side)
        # A hair below the whole number counts as the whole number: 1000 / (1000 / 300) is
        # 300.00000000000006.
        columns, rows = (max(1, math.ceil(side / scale - 1e-6)) for side in self.size)
        level = nearest_finer_level(self.level_downsamples, scale)
        to_level = scale / self.level_downsamples[level]
        factor = max(1, math.floor(to_level + 1e-6))
        coarse = self._reduce_level(level, factor)
        # Pillow wants the box inside the image; what is added is white, as everything outside a
        # slide.
        span = to_level / factor
        box = (0.0, 0.0, columns * span, rows * span)
        missing = (
            max(0, math.ceil(box[3]) - coarse.shape[0]),
            max(0, math.ceil(box[2]) - coarse.shape[1]),
        )
        if any(missing):
            coarse = np.pad(coarse, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255)
        small = Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BILINEAR, box=box)
        return np.asarray(small)

    def fast_hash(self) -> str:
        """Give a short name of the file's content, without reading all of it.

        Returns
        -------
        str
            "openslide-quickhash-1:<hex>", or "sha256-size-head-tail:<hex>" (of the file's size in
            bytes, its first and its last MiB) where OpenSlide gives none.
        """
        if self._quick_hash:
            return f"openslide-quickhash-1:{self._quick_hash}"
        try:
            size = self.path.stat().st_size
            digest = hashlib.sha256(str(size).encode())
            with self.path.open("rb") as file:
                digest.update(file.read(_HASH_BYTES))
                file.seek(max(0, size - _HASH_BYTES))
                digest.update(file.read(_HASH_BYTES))
        except OSError as error:
            raise SlideError(f"{self.path.name!r} cannot be read: {error.strerror or error}") from error
        return f"sha256-size-head-tail:{digest.hexdigest()}"

    def _read_inside(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        with self._change:
            source = self._source
            if source is None:
                raise SlideError(f"{self.path.name!r} is closed; open it again to read from it")
            self._reads += 1
        try:
            return source.read(x, y, width, height, level)
        except _backend_errors() as error:
            raise SlideError(
                f"{self.path.name!r} opens, but its pixels at ({x}, {y}) of level {level} cannot be "
                f"read ({_one_line(error, self.path)}); the file is damaged or cut short: "
                "copy or export it again"
            ) from error
        finally:
            with self._change:
                self._reads -= 1
                self._change.notify_all()

    def _reduce_level(self, level: int, factor: int) -> Pixels:
        """Give a level made smaller by a whole factor (box means), read square by square."""
        width, height = self.level_sizes[level]
        block = max(1, _BLOCK_PIXELS // factor) * factor
        coarse = np.empty((math.ceil(height / factor), math.ceil(width / factor), 3), np.uint8)
        for y in range(0, height, block):
            for x in range(0, width, block):
                region = self.read(x, y, min(block, width - x), min(block, height - y), level=level)
                small = np.asarray(Image.fromarray(region).reduce(factor))
                top, left = y // factor, x // factor
                coarse[top : top + small.shape[0], left : left + small.shape[1]] = small
        return coarse


def open_slide(path: Path | str, *, mpp: float | None = None) -> Slide:
    """Open a slide and try one pixel of it.

    Parameters
    ----------
    path : path
        A file that OpenSlide reads (SVS, NDPI, MRXS, SCN, BIF, tiled TIFF, ...), or a flat JPEG,
        PNG or TIFF.
    mpp : float, optional
        µm per level-0 pixel, instead of what the file says (the command line's `--slide-mpp`).

    Returns
    -------
    Slide
        To be closed; use it in a `with` statement.

    Raises
    ------
    SlideError
        There is no such file, it is no slide, or its pixels cannot be read.
    ValueError
        `mpp` is not a positive number.

    Notes
    -----
    Pixels are taken as they are stored: an EXIF orientation is not applied, nor is a colour
    profile, so that coordinates agree with what a tile viewer shows. A JPEG, a PNG or a TIFF
    without tiles is decoded once, when it is opened: into memory, or beyond 100 MB (libvips'
    `VIPS_DISC_THRESHOLD`) into a temporary file that is mapped.
    """
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise ValueError(f"the slide's µm per pixel must be a positive number, not {mpp:g}")
    path = Path(path)
    if path.is_dir():
        raise SlideError(f"{path.name!r} is a folder; name the slide's file")
    try:
        # Opened here only because the system's own reason ("Permission denied") is better than
        # either library's.
        path.open("rb").close()
    except OSError as error:
        raise SlideError(f"{path.name!r} cannot be opened: {error.strerror or error}") from error
    source = _open_source(path)
    slide = Slide(path, source, resolution=_resolution(source, path, mpp))
    try:
        slide.read(slide.size[0] // 2, slide.size[1] // 2, 1, 1)
    except SlideError:
        slide.close()
        raise
    return slide


def require_resolution(slide: Slide) -> Resolution:
    """Give the slide's resolution, or refuse.

    Raises
    ------
    SlideError
        The file says nothing of its resolution, or what it says is outside 0.05 to 10 µm/px. What
        the user gave is never refused.
    """
    resolution = slide.resolution
    if resolution is None:
        raise SlideError(
            f"{slide.path.name!r} does not say its resolution; give its µm per pixel with "
            "--slide-mpp (about 0.25 for a scan at 40x, 0.5 at 20x)"
        )
    low, high = PLAUSIBLE_MPP
    if resolution.source != "user":
        for mpp in (resolution.mpp_x, resolution.mpp_y):
            if not low <= mpp <= high:
                dpi = f" ({25_400 / mpp:.4g} dpi)" if mpp > 0 else ""
                raise SlideError(
                    f"{slide.path.name!r} says {mpp:.4g} µm/px{dpi}, which no slide has "
                    f"({low:g} to {high:g} is plausible; image programs write or assume 72 dpi "
                    "where they know nothing); "
                    "give the true value with --slide-mpp, such as --slide-mpp 0.5"
                )
    return resolution


class _OpenSlideSource:
    """Pixels through OpenSlide."""

    def __init__(self, slide: "openslide.OpenSlide") -> None:
        properties = slide.properties
        self._slide = slide
        slide.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
        self.level_sizes: tuple[Size, ...] = tuple(slide.level_dimensions)
        self.level_downsamples: tuple[float, ...] = tuple(slide.level_downsamples)
        self.tile_sizes = tuple(
            _size_or_none(
                properties.get(f"openslide.level[{level}].tile-width"),
                properties.get(f"openslide.level[{level}].tile-height"),
            )
            for level in range(slide.level_count)
        )
        self.quick_hash: str | None = properties.get("openslide.quickhash-1")
        self.objective_power = _number(properties.get("openslide.objective-power"))
        mpp_x = _number(properties.get("openslide.mpp-x"))
        mpp_y = _number(properties.get("openslide.mpp-y"))
        # A file that gives one direction only means square pixels.
        mpp_x, mpp_y = (mpp_y if mpp_x is None else mpp_x), (mpp_x if mpp_y is None else mpp_y)
        self.tagged_mpp = None if mpp_x is None or mpp_y is None else (mpp_x, mpp_y)
        bounds = [_number(properties.get(f"openslide.bounds-{key}")) for key in ("x", "y", "width", "height")]
        x, y, width, height = (None if value is None else int(value) for value in bounds)
        self.bounds = (
            None if x is None or y is None or width is None or height is None else (x, y, width, height)
        )

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        downsample = self.level_downsamples[level]
        region = self._slide.read_region(
            (round(x * downsample), round(y * downsample)), level, (width, height)
        )
        alpha_low, _ = region.getchannel("A").getextrema()
        if alpha_low == 255:
            return np.asarray(region.convert("RGB"))
        ground = Image.new("RGB", region.size, (255, 255, 255))
        ground.paste(region, mask=region)
        return np.asarray(ground)

    def close(self) -> None:
        self._slide.close()


class _VipsSource:
    """Pixels through libvips; one lazy 8-bit sRGB image a level."""

    def __init__(self, images: "list[Any]") -> None:
        first = images[0]
        fields = set(first.get_fields())
        self._images = [_to_srgb(image) for image in images]
        # libvips evaluates an image with its own threads; two callers at once would only compete.
        self._lock = threading.Lock()
        self.level_sizes = tuple((int(image.width), int(image.height)) for image in images)
        self.level_downsamples = tuple(
            (first.width / image.width + first.height / image.height) / 2 for image in images
        )
        self.tile_sizes = tuple(_vips_tile_size(image) for image in images)
        self.bounds: tuple[int, int, int, int] | None = None
        self.objective_power: float | None = None
        self.quick_hash: str | None = None
        # libvips says 1 px/mm where a file says nothing; a TIFF that does say something has a unit.
        known = "resolution-unit" in fields if _is_tiff(first) else first.xres != 1
        self.tagged_mpp: tuple[float, float] | None = (
            (1000 / first.xres, 1000 / first.yres) if known and first.xres > 0 and first.yres > 0 else None
        )

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        with self._lock:
            memory = self._images[level].crop(x, y, width, height).write_to_memory()
        return np.frombuffer(memory, np.uint8).reshape(height, width, 3)

    def close(self) -> None:
        self._images = []


def _open_source(path: Path) -> _Source:
    refusal = ""
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        pass
    except (openslide.OpenSlideError, OSError, ValueError) as error:
        refusal = f"OpenSlide: {_one_line(error, path)}; "
    else:
        # OpenSlide sees only the first image of a TIFF whose levels are sub-images (OME-TIFF): ask
        # libvips for them.
        if slide.level_count == 1 and slide.properties.get("openslide.vendor") == "generic-tiff":
            images = _vips_images(path)
            if images is not None and len(images) > 1:
                slide.close()
                return _VipsSource(images)
        return _OpenSlideSource(slide)
    images = _vips_images(path)
    if images is None:
        raise SlideError(
            f"{path.name!r} is no slide that can be read ({refusal}libvips: not a known image "
            "format, or damaged); check that it is whole, or export it as a tiled pyramidal TIFF"
        )
    channels, has_alpha = images[0].bands, images[0].hasalpha()
    if channels - has_alpha not in (1, 3) and images[0].interpretation != "cmyk":
        raise SlideError(
            f"{path.name!r} has {channels} channels; export it as an RGB image (bright field), "
            "or one channel of it"
        )
    return _VipsSource(images)


def _vips_images(path: Path) -> "list[Any] | None":
    """Give the file's levels as libvips images, largest first; None where it refuses the file."""
    pyvips = _import_vips()

    def load(**options: int) -> Any:
        # fail_on: half a JPEG would otherwise be filled up with grey.
        return pyvips.Image.new_from_file(str(path), access="random", fail_on="error", **options)

    try:
        first = load()
        images = [first]
        if _is_tiff(first):
            fields = set(first.get_fields())
            sub_images = first.get("n-subifds") if "n-subifds" in fields else 0
            candidates = [load(subifd=k) for k in range(sub_images)] or [
                load(page=k) for k in range(1, first.get("n-pages"))
            ]
            for image in candidates:
                if _is_smaller_level(image, images):
                    images.append(image)
    except pyvips.Error:
        return None
    return images


def _is_smaller_level(image: Any, images: "list[Any]") -> bool:
    """Tell a pyramid's next level from a label, a macro or a stack's plane, by its shape."""
    first, last = images[0], images[-1]
    if image.bands != first.bands or image.width >= last.width or image.height >= last.height:
        return False
    downsample = first.width / image.width
    # Each side of a level is rounded, up or down, to whole pixels.
    return bool(abs(first.height - image.height * downsample) <= 2 * downsample)


def _to_srgb(image: Any) -> Any:
    """Give any grey, RGB or CMYK image as 8-bit sRGB on white."""
    if image.interpretation == "multiband":
        image = image.copy(interpretation="srgb" if image.bands >= 3 else "b-w")
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    return image.cast("uchar")


def _is_tiff(image: Any) -> bool:
    return str(image.get("vips-loader")).startswith("tiff")


def _vips_tile_size(image: Any) -> Size | None:
    fields = set(image.get_fields())
    if not {"tile-width", "tile-height"} <= fields:
        return None
    return _size_or_none(image.get("tile-width"), image.get("tile-height"))


def _import_vips() -> Any:
    import pyvips

    # libvips' warnings come through this logger; what matters about a file is in SlideError.
    vips_log = logging.getLogger("pyvips")
    if vips_log.level == logging.NOTSET:
        vips_log.setLevel(logging.ERROR)
    # Its cache of operations would keep a decoded image after close(), and give it for another file
    # of that name.
    pyvips.cache_set_max(0)
    return pyvips


def _backend_errors() -> tuple[type[Exception], ...]:
    return (openslide.OpenSlideError, _import_vips().Error, OSError)


def _resolution(source: _Source, path: Path, mpp: float | None) -> Resolution | None:
    if mpp is not None:
        return Resolution(mpp, mpp, "user")
    if source.tagged_mpp is not None:
        return Resolution(*source.tagged_mpp, "tag")
    power = source.objective_power
    if power is not None and power > 0:
        estimate = 10 / power
        log.warning(
            "%r says only its objective power, %gx: its resolution is taken to be %.4g µm/px, "
            "an estimate; give the true value with --slide-mpp",
            path.name,
            power,
            estimate,
        )
        return Resolution(estimate, estimate, "objective power")
    return None


def _clip_bounds(bounds: tuple[int, int, int, int] | None, size: Size) -> tuple[int, int, int, int]:
    """Give the part of the bounds that lies on the slide; the whole slide where there is none."""
    if bounds is not None:
        x, y, width, height = bounds
        left, right = max(x, 0), min(x + width, size[0])
        top, bottom = max(y, 0), min(y + height, size[1])
        if left < right and top < bottom:
            return left, top, right - left, bottom - top
    return 0, 0, size[0], size[1]


def _number(text: str | None) -> float | None:
    """Give a property as a finite number; None where it is absent or is none."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _size_or_none(width: str | int | None, height: str | int | None) -> Size | None:
    size = (int(width or 0), int(height or 0))
    return size if min(size) > 0 else None


def _one_line(error: Exception, path: Path) -> str:
    """Give another library's message on one line, without the folder: it may name a patient."""
    return " ".join(str(error).replace(str(path), path.name).split())


# What a folder's listing takes for slides. A folder is one where its name says so or its files are DICOM.
_SUFFIXES = frozenset(
    {".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".czi", ".tif", ".tiff", ".btf"}
    | {".jpg", ".jpeg", ".png", ".bmp", ".dcm"}
)


def is_slide(path: Path) -> bool:
    """Tell by its name whether a path is taken for a slide in a folder of them; nothing is opened."""
    if path.is_dir():
        return path.suffix.lower() == ".zarr" or any(each.suffix.lower() == ".dcm" for each in path.iterdir())
    return path.suffix.lower() in _SUFFIXES
