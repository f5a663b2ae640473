"""Where pixels come from: OpenSlide, or libvips, behind one small face.

Nothing outside of `slide` knows which of them is at work.
"""

import logging
import math
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import openslide
from PIL import Image

from embedder import ome

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

# OpenSlide keeps decoded tiles here. It must hold two rows of tiles of the widest stretch that is
# read at once (patches._BAND_PIXELS x 256 x 4 bytes x 2 = 32 MiB), because a level whose downsample
# is no whole number is read a fraction of a pixel off its tiles, and then each read touches the
# next row's tiles too.
_CACHE_BYTES = 64 * 2**20
# Edge of what is compared of each level before one library is taken for another.
_COMPARED = 128


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
        """See `Source`."""
        self._slide.close()


class VipsSource:
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
        described = ome.parse_xml(_description(first))
        if described is not None and described.mpp is not None:
            self.tagged_mpp = described.mpp

    def take_facts(self, source: "OpenSlideSource") -> None:
        """Take from OpenSlide, which knows vendors' ways to write them, all that is not pixels."""
        self.level_downsamples = source.level_downsamples
        self.tile_sizes = source.tile_sizes
        self.bounds = source.bounds
        self.objective_power = source.objective_power
        self.quick_hash = source.quick_hash
        self.tagged_mpp = source.tagged_mpp

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`."""
        with self._lock:
            memory = self._images[level].crop(x, y, width, height).write_to_memory()
        return np.frombuffer(memory, np.uint8).reshape(height, width, 3)

    def close(self) -> None:
        """See `Source`."""
        self._images = []


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
        faster = _by_vips(path, slide, source)
        if faster is None:
            return source
        source.close()
        return faster
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
    vendor = slide.properties.get("openslide.vendor")
    if vendor not in ("generic-tiff", "aperio"):
        return None
    try:
        images = _vips_images(path)
    except SlideError:
        if slide.level_count == 1 and vendor == "generic-tiff":
            source.close()
            raise
        return None
    if images is None:
        return None
    if vendor == "generic-tiff" and slide.level_count == 1 and (len(images) > 1 or images[0].bands != 3):
        return VipsSource(images)
    by_size = {(image.width, image.height): image for image in images}
    if not all(size in by_size for size in source.level_sizes):
        return None
    found = VipsSource([by_size[size] for size in source.level_sizes])
    found.take_facts(source)
    return found if _same_pixels(source, found) else None


def _same_pixels(one: "OpenSlideSource", other: "VipsSource") -> bool:
    """Compare the middle of each level; libraries differ in how they decode a few of the kinds of JPEG."""
    for level, (width, height) in enumerate(one.level_sizes):
        side = min(_COMPARED, width, height)
        place = (width - side) // 2, (height - side) // 2, side, side, level
        try:
            if not np.array_equal(one.read(*place), other.read(*place)):
                return False
        except backend_errors():
            return False  # which of them is at fault will be seen when the slide is read
    return True


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
    if described is None or first.bands != 1 or len(described.samples) < 2:
        return range(1)
    if described.is_planar_rgb and described.planes == 1 and first.get("n-pages") >= 3:
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
