"""Pixels through libvips."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tissuumaps_sic.slidefile.pixels import ome_xml
from tissuumaps_sic.slidefile.pixels.blocks import Blocks
from tissuumaps_sic.slidefile.pixels.complaints import Complaints
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.source import (
    PixelError,
    Pixels,
    Size,
    SlideError,
    has_same_shape,
    positive,
    size_or_none,
)
from tissuumaps_sic.slidefile.pixels.tiff import YCBCR, Page, Tiff

# Edge of what is looked at to tell how many bits are in use.
_WIDENED = 512


@dataclass(frozen=True)
class Level:
    """An image of libvips', and the pages of a TIFF that it is made of; no pages where it is no TIFF.

    `load` opens it anew.
    """

    image: Any
    load: Callable[[], Any]
    pages: tuple[Page, ...] = ()


class VipsSource:
    """Pixels through libvips; one lazy 8-bit sRGB image a level.

    Attributes
    ----------
    pages : tuple of (Page or None)
        What each level is in a TIFF; None where the file is none.
    blocks : tuple of (Blocks or None)
        What each level's tiles have in the file, where that is known; what is read is compared with it.
    is_deep : bool
        Whether it is kept in 16 bits.
    """

    objective_power: float | None = None
    quick_hash: str | None = None
    bounds: tuple[int, int, int, int] | None = None
    overview_pixels: int | None = None

    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = tuple(levels)
        first = levels[0].image
        fields = set(first.get_fields())
        self._raw = [level.image for level in levels]
        self._images = [_to_srgb(level.image) for level in levels]
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._failure: Exception | None = None
        self._instead: OpenSlideSource | None = None
        self.level_sizes = tuple((int(level.image.width), int(level.image.height)) for level in levels)
        self.level_downsamples = tuple(
            (self.level_sizes[0][0] / width + self.level_sizes[0][1] / height) / 2
            for width, height in self.level_sizes
        )
        self.tile_sizes = tuple(tile_size(level.image) for level in levels)
        self.is_deep = first.format == "ushort"
        self.profile: bytes | None = first.get("icc-profile-data") if "icc-profile-data" in fields else None
        self.pages = tuple(level.pages[0] if level.pages else None for level in levels)
        self.blocks: tuple[Blocks | None, ...] = (None,) * len(levels)
        # libvips says 1 px/mm where a file says nothing; a TIFF that does say something has a unit.
        known = "resolution-unit" in fields if is_tiff(first) else first.xres != 1
        x, y = positive(first.xres), positive(first.yres)
        self.tagged_mpp = (1000 / x, 1000 / y) if known and x is not None and y is not None else None
        described = ome_xml.read_ome_xml(description(first), self.level_sizes[0])
        if described is not None and described.mpp is not None:
            self.tagged_mpp = described.mpp

    def stand_in(self, source: "OpenSlideSource", *, reads: bool = True) -> None:
        """Read pixels for OpenSlide, which knows vendors' ways to write all that is not pixels.

        Where pixels cannot be read, OpenSlide is asked (`reads`): two libraries do not decode the same.

        Parameters
        ----------
        source : OpenSlideSource
        reads : bool, default=True
        """
        self.level_downsamples = source.level_downsamples
        self.tile_sizes = source.tile_sizes
        self.bounds = source.bounds
        self.objective_power = source.objective_power
        self.quick_hash = source.quick_hash
        self.tagged_mpp = source.tagged_mpp
        self.overview_pixels = source.overview_pixels
        if reads:
            self._instead = source
        else:
            source.close()

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """See `Source`."""
        if self._failure is None:
            try:
                pixels = self._read(x, y, width, height, level)
                blocks = self.blocks[level]
                if blocks is not None:
                    blocks.check(pixels, x, y, partial(self._fetch, level))
            except (import_vips().Error, PixelError) as error:
                # Asked for a tile again that it could not decode, libvips gives black and no error.
                self._failure = error
            else:
                return pixels
        if self._instead is None:
            raise self._failure
        return self._instead.read(x, y, width, height, level)

    def is_widened(self, level: int) -> bool:
        """Tell whether 16 bits were made from 8, by the middle of a level: then each is a multiple of 257.

        Parameters
        ----------
        level : int

        Returns
        -------
        bool
        """
        raw = self._raw[level]
        width, height = min(raw.width, _WIDENED), min(raw.height, _WIDENED)
        middle = raw.crop((raw.width - width) // 2, (raw.height - height) // 2, width, height)
        return bool((middle.numpy() % 257 == 0).all())

    def reopen(self, path: Path) -> "VipsSource":
        """See `Source`."""
        again = VipsSource([replace(level, image=level.load()) for level in self._levels])
        again.blocks = self.blocks
        if self._instead is not None:
            again.stand_in(self._instead.reopen(path))
        return again

    def close(self) -> None:
        """See `Source`."""
        self._threads = threading.local()
        self._images = []
        self._raw = []
        if self._instead is not None:
            self._instead.close()

    def _read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Give a rectangle; tiles that were left out are white: nothing was scanned there."""
        blocks = self.blocks[level]
        filled = blocks.list_present(x, y, width, height) if blocks is not None and blocks.has_gaps else None
        if filled is None:
            return self._fetch(level, x, y, width, height)
        pixels = np.full((height, width, 3), 255, np.uint8)
        for rows, columns in filled:
            place = x + columns.start, y + rows.start, columns.stop - columns.start, rows.stop - rows.start
            pixels[rows, columns] = self._fetch(level, *place)
        return pixels

    def _fetch(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Give a rectangle of a level as libvips decodes it.

        A region belongs to the thread that made it and computes there: several threads read at once, and
        libvips starts none of its own. On two cores that is twice as fast as evaluating a crop.
        """
        regions: dict[int, Any] | None = getattr(self._threads, "regions", None)
        if regions is None:
            regions = self._threads.regions = {}
        # Where OpenSlide reads the file, too, no byte is left over: else it would read nothing of it.
        with COMPLAINTS.listen(**({} if self._instead is None else {"allowed": 0})):
            if level in regions:
                memory = regions[level].fetch(x, y, width, height)
            else:
                with self._lock:  # an image begins to load when it is first asked, which two must not at once
                    regions[level] = import_vips().Region.new(self._images[level])
                    memory = regions[level].fetch(x, y, width, height)
        return np.frombuffer(memory, np.uint8).reshape(height, width, 3)


def find_levels(path: Path, tiff: Tiff | None) -> "list[Level] | None":
    """Give a file's levels, largest first; None where libvips refuses the file.

    Parameters
    ----------
    path : Path
    tiff : Tiff or None

    Returns
    -------
    list of Level or None

    Raises
    ------
    SlideError
        It is an OME-TIFF of several planes, or of stains.
    """
    pyvips = import_vips()
    # Half a JPEG would otherwise be filled up with grey, and a TIFF's tile that cannot be decoded be black:
    # libvips counts the latter as a warning. So it does colours of full size in strips, where no tag says so.
    level = "error" if tiff is None or _tells_no_subsampling(tiff.pages[0]) else "warning"
    options = {"access": "random", "fail_on": level}

    def load(**place: int) -> Any:
        return pyvips.Image.new_from_file(str(path), **options, **place)

    try:
        first = load()
        if _is_jpeg(first):
            # What cannot be decoded of a JPEG is filled up with grey, which its library tells as a warning.
            options["fail_on"] = "warning"
            first = load()
        if tiff is None or not is_tiff(first):
            return [Level(first, load)]
        by_number = {page.number: page for page in tiff.images}
        described = ome_xml.read_ome_xml(description(first), (first.width, first.height))
        planes = _planes(path, first, described)
        pages = first.get("n-pages") if "n-pages" in first.get_fields() else 1
        sub_images = first.get("n-subifds") if "n-subifds" in first.get_fields() else 0
        main = tuple(filter(None, (by_number.get(str(k + 1)) for k in planes)))
        join = partial(_load_joined, load)
        places: list[dict[str, int]] = [{}] if len(planes) == 1 else [{"page": k} for k in planes]
        levels = [Level(first if len(planes) == 1 else join(places), partial(join, places), main)]
        # One level's pages: its numbers in the file, and how libvips is asked for each.
        candidates = [
            [(f"{k + 1}.{sub + 1}", {"page": k, "subifd": sub}) for k in planes] for sub in range(sub_images)
        ] or [
            [(f"{start + k + 1}", {"page": start + k}) for k in planes]
            for start in range(len(planes), pages - len(planes) + 1, len(planes))
        ]
        known = [each for each in candidates if all(number in by_number for number, _ in each)]
        # Not every program writes levels in the order of their sizes.
        for each in sorted(known, key=lambda each: -by_number[each[0][0]].size[0]):
            found = tuple(by_number[number] for number, _ in each)
            if not _is_smaller_level(found[0].size, levels):
                continue
            places = [place for _, place in each]
            image = join(places)
            if image.bands == levels[0].image.bands:
                levels.append(Level(image, partial(join, places), found))
    except pyvips.Error:
        return None
    return levels


def _is_jpeg(image: Any) -> bool:
    return "vips-loader" in image.get_fields() and image.get("vips-loader") == "jpegload"


def _tells_no_subsampling(page: Page) -> bool:
    return page.tile is None and page.photometric == YCBCR and not page.subsampling


def _planes(path: Path, first: Any, described: ome_xml.OmeImage | None) -> range:
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


def _load_joined(load: Callable[..., Any], places: "list[dict[str, int]]") -> Any:
    """Return the image of some pages: one, or one for each colour."""
    planes = [load(**place) for place in places]
    if len(planes) == 1:
        return planes[0]
    return planes[0].bandjoin(planes[1:]).copy(interpretation="srgb")


def description(image: Any) -> str | None:
    """Return a TIFF's description.

    Parameters
    ----------
    image : object

    Returns
    -------
    str or None
    """
    return image.get("image-description") if "image-description" in image.get_fields() else None


def _is_smaller_level(size: Size, levels: "list[Level]") -> bool:
    """Tell a pyramid's next level from a label, a macro or a stack's plane, by its shape."""
    last = levels[-1].image
    if size[0] >= last.width or size[1] >= last.height:
        return False
    return has_same_shape(size, (levels[0].image.width, levels[0].image.height))


def _to_srgb(image: Any) -> Any:
    """Give any grey or RGB image as 8-bit sRGB on white."""
    if image.interpretation == "multiband":
        image = image.copy(interpretation="srgb" if image.bands >= 3 else "b-w")
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    return image.cast("uchar")


def is_tiff(image: Any) -> bool:
    """Tell whether libvips opened a file as a TIFF.

    Parameters
    ----------
    image : object

    Returns
    -------
    bool
    """
    return str(image.get("vips-loader")).startswith("tiff")


def tile_size(image: Any) -> Size | None:
    """Return the size of an image's tiles; None where it has none.

    Parameters
    ----------
    image : object

    Returns
    -------
    (width, height) or None
    """
    if not {"tile-width", "tile-height"} <= set(image.get_fields()):
        return None
    return size_or_none(image.get("tile-width"), image.get("tile-height"))


def _take_complaints() -> str:
    """Return what libvips' text of errors holds, and empty it."""
    pyvips = import_vips()
    said: str = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode(errors="replace")
    if said:
        pyvips.vips_lib.vips_error_clear()
    return said


COMPLAINTS = Complaints(_take_complaints)


def import_vips() -> Any:
    """Return libvips, set to hold nothing and to be quiet.

    Returns
    -------
    object
    """
    import pyvips

    # libvips' warnings come through this logger; what matters about a file is in SlideError.
    vips_log = logging.getLogger("pyvips")
    if vips_log.level == logging.NOTSET:
        vips_log.setLevel(logging.ERROR)
    # Its cache of operations would keep a decoded image after close(), and give it for another file
    # of that name.
    pyvips.cache_set_max(0)
    return pyvips
