"""Where pixels come from: OpenSlide, or libvips, behind one small face.

Nothing outside of `slide` knows which of them is at work.
"""

import ctypes
import logging
import math
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import openslide
import openslide.lowlevel

from embedder import ome

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

# OpenSlide keeps decoded tiles here. It must hold two rows of tiles of the widest stretch that is
# read at once (patches._BAND_PIXELS x 256 x 4 bytes x 2 = 32 MiB), because a level whose downsample
# is no whole number is read a fraction of a pixel off its tiles, and then each read touches the
# next row's tiles too.
_CACHE_BYTES = 64 * 2**20
# Edge of what is compared of each level before one library is taken for another, and the pixels of a level
# that are looked at to find a place for it.
_COMPARED = 128
_LOOKED_AT = 2**21
# libvips keeps two rows of tiles, however wide: beyond so many bytes OpenSlide, which has a limit, reads.
_MOST_HELD = 256 * 2**20
# Formats of OpenSlide's that are TIFFs of tiles and nothing else; others leave tiles out, or overlap them.
_BY_VIPS = ("generic-tiff", "aperio")
# openslide-python gives a region as a Pillow image only, which costs two thirds of the decoding once more
# and holds up other threads. Its function for the bare buffer is private, so it may be missing.
_read_into = getattr(openslide.lowlevel, "_read_region", None)


class SlideError(Exception):
    """A slide cannot be used; the message names the file, what is wrong, and what to do."""


class Source(Protocol):
    """What a backend must give; `read` is only ever asked for pixels that lie inside the level."""

    level_sizes: tuple[Size, ...]
    level_downsamples: tuple[float, ...]
    tile_sizes: tuple[Size | None, ...]
    bounds: tuple[int, int, int, int] | None
    tagged_mpp: tuple[float, float] | None
    objective_power: float | None
    quick_hash: str | None

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Give a rectangle that lies inside a level, RGB; what is transparent is white."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing reads any more."""
        ...


class OpenSlideSource:
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
        described = ome.parse_xml(properties.get("tiff.ImageDescription"))
        if described is not None and described.mpp is not None:
            # Programs that write OME-TIFF leave the TIFF's own resolution at 72 dpi, or wrong.
            self.tagged_mpp = described.mpp
        bounds = [_number(properties.get(f"openslide.bounds-{key}")) for key in ("x", "y", "width", "height")]
        x, y, width, height = (None if value is None else int(value) for value in bounds)
        self.bounds = (
            None if x is None or y is None or width is None or height is None else (x, y, width, height)
        )

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`."""
        downsample = self.level_downsamples[level]
        place = round(x * downsample), round(y * downsample)
        return _on_white(_read_argb(self._slide, place, level, (width, height)))

    def close(self) -> None:
        """See `Source`."""
        self._slide.close()


class VipsSource:
    """Pixels through libvips; one lazy 8-bit sRGB image a level."""

    def __init__(self, images: "list[Any]") -> None:
        first = images[0]
        fields = set(first.get_fields())
        self._images = [_to_srgb(image) for image in images]
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._failure: Exception | None = None
        self._instead: OpenSlideSource | None = None
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
        described = ome.parse_xml(_description(first))
        if described is not None and described.mpp is not None:
            self.tagged_mpp = described.mpp

    def stand_in(self, source: "OpenSlideSource") -> None:
        """Read pixels for OpenSlide, which knows vendors' ways to write all that is not pixels.

        Where pixels cannot be read, OpenSlide is asked: it knows tiles that were left out on purpose.
        """
        self._instead = source
        self.level_downsamples = source.level_downsamples
        self.tile_sizes = source.tile_sizes
        self.bounds = source.bounds
        self.objective_power = source.objective_power
        self.quick_hash = source.quick_hash
        self.tagged_mpp = source.tagged_mpp

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`."""
        if self._failure is None:
            try:
                memory = self._region(level, x, y, width, height)
                return np.frombuffer(memory, np.uint8).reshape(height, width, 3)
            except _import_vips().Error as error:
                # Asked for a tile again that it could not decode, libvips gives black and no error.
                self._failure = error
        if self._instead is None:
            raise self._failure
        return self._instead.read(x, y, width, height, level)

    def close(self) -> None:
        """See `Source`."""
        self._threads = threading.local()
        self._images = []
        if self._instead is not None:
            self._instead.close()

    def _region(self, level: int, *place: int) -> Any:
        """Give a rectangle's bytes.

        A region belongs to the thread that made it and computes there: several threads read at once, and
        libvips starts none of its own. On two cores that is twice as fast as evaluating a crop.
        """
        regions: dict[int, Any] | None = getattr(self._threads, "regions", None)
        if regions is None:
            regions = self._threads.regions = {}
        if level in regions:
            return regions[level].fetch(*place)
        with self._lock:  # an image begins to load when it is first asked, which two must not do at once
            regions[level] = _import_vips().Region.new(self._images[level])
            return regions[level].fetch(*place)


def open_source(path: Path) -> Source:
    """Open a file's or a folder's pixels by the fastest library that reads them right.

    Raises
    ------
    SlideError
        No library reads it, or it is no bright-field image.
    """
    if path.suffix.lower() == ".zarr":
        from embedder.ome_zarr import OmeZarrSource

        return OmeZarrSource(path)
    refusal = ""
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        pass
    except (openslide.OpenSlideError, OSError, ValueError) as error:
        refusal = f"OpenSlide: {one_line(error, path)}; "
    else:
        source = OpenSlideSource(slide)
        if slide.properties.get("openslide.vendor") not in _BY_VIPS:
            return source
        try:
            return _by_vips(path, slide, source) or source
        except openslide.OpenSlideError:
            # After an error it reads nothing more, and the damage may lie where no tissue is.
            source.close()
            return OpenSlideSource(openslide.OpenSlide(path))
    images = _vips_images(path)
    if images is None:
        raise SlideError(
            f"{path.name!r} is no slide that can be read ({refusal}libvips: not a known image "
            "format, or damaged); check that it is whole, or export it as a tiled pyramidal TIFF"
        )
    return _checked(path, images)


def _checked(path: Path, images: "list[Any]") -> VipsSource:
    channels, has_alpha = images[0].bands, images[0].hasalpha()
    if channels - has_alpha not in (1, 3) and images[0].interpretation != "cmyk":
        raise SlideError(
            f"{path.name!r} has {channels} channels; export it as an RGB image (bright field), "
            "or one channel of it"
        )
    return VipsSource(images)


def dicom_file(folder: Path) -> Path:
    """Return the file by which OpenSlide opens the slide whose DICOM files a folder holds.

    A slide is a series: a file or more for each level, and some for label and overview, which open nothing.

    Raises
    ------
    SlideError
        No file of the folder is one of a slide's, or they are several slides'.
    """
    files = sorted(each for each in folder.iterdir() if each.suffix.lower() == ".dcm")
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


def _by_vips(path: Path, slide: "openslide.OpenSlide", source: "OpenSlideSource") -> "VipsSource | None":
    """Return a tiled TIFF through libvips, where that gives the same pixels; else None.

    It decodes them some three times as fast (benchmarks/bench_reading.py). Of an OME-TIFF, whose levels are
    sub-images or whose colours are pages, OpenSlide sees the first image alone.
    """
    generic = slide.properties.get("openslide.vendor") == "generic-tiff"
    try:
        images = _vips_images(path)
    except SlideError:
        if generic:
            source.close()
            raise
        return None
    if images is None:
        return None
    described = ome.parse_xml(_description(images[0]))
    joined = described is not None and described.is_planar_rgb
    if generic and (joined or len(images) > 1 == slide.level_count):
        source.close()
        return _checked(path, images)
    by_size = {(image.width, image.height): image for image in images}
    if not all(size in by_size for size in source.level_sizes):
        return None
    if any(_vips_holds(level) > _MOST_HELD for level in by_size.values()):
        return None
    found = VipsSource([by_size[size] for size in source.level_sizes])
    if not _same_pixels(source, found):
        return None
    found.stand_in(source)
    return found


def _vips_holds(image: Any) -> int:
    """Return how many bytes libvips keeps of a level: two rows of tiles."""
    width, height = _vips_tile_size(image) or (0, 0)
    return int(2 * (image.width + width) * height * image.bands)


def _same_pixels(one: "OpenSlideSource", other: "VipsSource") -> bool:
    """Compare a coloured place of each level; libraries decode a few of the kinds of JPEG differently."""
    try:
        across, down = _coloured_place(one)
        for level, (width, height) in enumerate(one.level_sizes):
            (x, w), (y, h) = _around(across, width), _around(down, height)
            expected, found = (each.read(x, y, w, h, level).astype(np.int16) for each in (one, other))
            # Where a level's pixels begin beside level 0's, OpenSlide mixes neighbours. How the file is
            # decoded shows at level 0; here it is enough that this is the same level.
            low, high = (found, found) if one.level_downsamples[level].is_integer() else _range_around(found)
            if (expected < low).any() or (expected > high).any():
                return False
    except _import_vips().Error:
        return False
    return True


def _range_around(pixels: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the lowest and the highest of each pixel and those around it, one grey level further."""
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    # What lies beyond the edge is not known.
    low, high = np.min(shifted, axis=0) - 1, np.max(shifted, axis=0) + 1
    for edge in (np.s_[[0, -1]], np.s_[:, [0, -1]]):
        low[edge], high[edge] = 0, 255
    return low, high


def _coloured_place(source: "OpenSlideSource") -> tuple[float, float]:
    """Return where the slide has most colour, (x, y) as shares of its size: glass would compare nothing."""
    level = len(source.level_sizes) - 1
    width, height = source.level_sizes[level]
    if width * height <= _LOOKED_AT:
        squares = [(0, width, 0, height)]
    else:
        shares = (0.25, 0.5, 0.75)
        squares = [(*_around(x, width), *_around(y, height)) for y in shares for x in shares]
    found = []
    for x, w, y, h in squares:
        colour = np.ptp(source.read(x, y, w, h, level), axis=2)
        row, column = np.unravel_index(int(colour.argmax()), colour.shape)
        found.append((int(colour[row, column]), (x + int(column)) / width, (y + int(row)) / height))
    return max(found)[1:]


def _around(share: float, side: int) -> tuple[int, int]:
    """Return where a stretch around a place begins, and how long it is."""
    length = min(_COMPARED, side)
    return min(max(int(share * side) - length // 2, 0), side - length), length


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
            described = ome.parse_xml(_description(first))
            planes = _planes(path, first, described)
            fields = set(first.get_fields())
            sub_images = first.get("n-subifds") if "n-subifds" in fields else 0
            candidates = [{"subifd": k} for k in range(sub_images)] or [
                {"page": k} for k in range(len(planes), first.get("n-pages"), len(planes))
            ]
            if len(planes) > 1:
                images = [_joined([load(page=k) for k in planes])]
            for place in candidates:
                page = place.get("page", 0)
                parts = [load(**place | {"page": page + k}) for k in planes]
                image = parts[0] if len(parts) == 1 else _joined(parts)
                if _is_smaller_level(image, images):
                    images.append(image)
    except pyvips.Error:
        return None
    return images


def _planes(path: Path, first: Any, described: ome.OmeImage | None) -> range:
    """Return the pages that make one image: three where an OME-TIFF keeps its colours apart."""
    if described is None:
        return range(1)
    if described.planes > 1:
        raise SlideError(
            f"{path.name!r} is a stack of {described.planes} planes or times; export one of them as an image "
            "of its own"
        )
    if first.bands != 1 or len(described.samples) < 2:
        return range(1)
    if described.is_planar_rgb and first.get("n-pages") >= 3:
        return range(3)
    names = ", ".join(filter(None, described.channel_names))
    raise SlideError(
        f"{path.name!r} has {len(described.samples)} channels ({names or 'not named'}); export it as an RGB "
        "image (bright field), or one channel of it"
    )


def _joined(planes: "list[Any]") -> Any:
    return planes[0].bandjoin(planes[1:]).copy(interpretation="srgb")


def _description(image: Any) -> str | None:
    return image.get("image-description") if "image-description" in image.get_fields() else None


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


def backend_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries raise where pixels cannot be read."""
    return (openslide.OpenSlideError, _import_vips().Error, OSError)


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


def one_line(error: Exception, path: Path) -> str:
    """Give another library's message on one line, without the folder: it may name a patient."""
    return " ".join(str(error).replace(str(path), path.name).split())
