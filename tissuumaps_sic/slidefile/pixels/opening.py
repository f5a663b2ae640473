"""Which library reads a file's pixels right, and what is refused because none does for certain.

OpenSlide and libvips read most TIFFs alike, libvips some three times as fast (benchmarks/bench_reading.py).
Where they differ, the file's own tags (`tiff`) say which one is right, and a look at the pixels (`_probe`)
whether it could decode them at all. TissUUmaps shows what OpenSlide opens as OpenSlide reads it, and all else
as libvips does: what it would show otherwise than it is embedded is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide

from tissuumaps_sic.slidefile.kind import tell_kind
from tissuumaps_sic.slidefile.pixels import ome_xml, room
from tissuumaps_sic.slidefile.pixels.failure import explain, names_missing_codec
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.source import (
    PixelError,
    Size,
    SlideError,
    Source,
    has_same_shape,
    one_line,
)
from tissuumaps_sic.slidefile.pixels.tiff import COMPRESSIONS, JPEG, YCBCR, Blocks, Page, Tiff, read_tiff
from tissuumaps_sic.slidefile.pixels.vips import (
    Level,
    VipsSource,
    description,
    find_levels,
    import_vips,
    tile_size,
)

# Edge of what is compared of each level before one library is taken for another, and the pixels of a level
# that are looked at to find a place for it.
_COMPARED = 128
_LOOKED_AT = 2**21
# Decoders of one kind of JPEG differ by a few grey levels, and two different pictures by far more.
_OTHER_PICTURE = 24
# libvips keeps two rows of tiles, however wide: beyond so many bytes OpenSlide, which has a limit, reads.
_MOST_HELD = 256 * 2**20
# Formats of OpenSlide's that are TIFFs of tiles and nothing else; others leave tiles out, or overlap them.
_BY_VIPS = ("generic-tiff", "aperio")
# Every build of libtiff decodes these: where they fail, the file is damaged.
_ALWAYS_THERE = (1, 5, 7, 8, 32773, 32946)
# Of these the builds that lack them say so.
_IN_SOME = (33003, 33005, 50000, 50001)
# Tiles of these OpenSlide decodes by itself, as they are stored; all others it turns within themselves, as
# the orientation says.
_AS_STORED = (JPEG, 33003, 33005)
_TURNED = (2, 3, 4, 6, 7, 8)
# Tiles with most bytes that are decoded before level 0 is believed, and larger ones that are not.
_PROBED = 2
_MOST_PROBED = 2**22
# An image in 16 bits whose brightest pixels, single hot ones apart, are darker than this (of 255) keeps fewer
# bits: 12 end at 15, 14 at 64, 15 at 127. One that is dark for other reasons was made from 8 bits.
_TOO_DARK, _BRIGHTEST = 128, 99.9


def open_source(path: Path) -> Source:
    """Open a file's or a folder's pixels by the fastest library that reads them right.

    Raises
    ------
    SlideError
        No library reads it for certain, or it is no bright-field image.
    """
    if path.suffix.lower() == ".zarr":
        try:
            from tissuumaps_sic.slidefile.pixels.ome_zarr import OmeZarrSource
        except ImportError as error:
            raise SlideError(
                f"{path.name!r} is an OME-Zarr, which needs the package zarr ({error}); install it with "
                "`pip install zarr`"
            ) from error
        return OmeZarrSource(path)
    if not path.is_file():
        # A named pipe would be waited for for ever.
        raise SlideError(f"{path.name!r} is no file; name the slide's file")
    try:
        return _open(path, probe=True)
    except _DamagedError:
        # After an error OpenSlide reads nothing more, and the damage may lie where no tissue is.
        return _open(path, probe=False)


class _DamagedError(Exception):
    """A tile could not be decoded, though the codec is there."""


def backend_errors() -> tuple[type[BaseException], ...]:
    """Return what the libraries raise where pixels cannot be read."""
    return (openslide.OpenSlideError, import_vips().Error, PixelError, OSError, MemoryError)


def _open(path: Path, *, probe: bool) -> Source:
    refusal = ""
    slide, tiff, fault = None, None, None
    try:
        tiff = read_tiff(path)
    except SlideError as error:
        fault = error  # of a format of OpenSlide's own, it knows better
    except OSError as error:
        raise SlideError(f"{path.name!r} cannot be read {explain(path, error)}") from error
    if tiff is not None:
        tiff.check_counts()
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        pass
    except (openslide.OpenSlideError, OSError, ValueError) as error:
        refusal = f"OpenSlide: {one_line(error, path)}"
    if slide is not None and slide.properties.get("openslide.vendor") not in _BY_VIPS:
        return OpenSlideSource(slide)
    source: Source | None = None
    try:
        if fault is not None:
            raise fault
        if slide is not None and tiff is not None:
            source = _open_tiled(path, slide, tiff, probe=probe)
        elif slide is not None:
            source = OpenSlideSource(slide)
        else:
            source = _open_by_vips(path, tiff, refusal)
        if probe and isinstance(source, OpenSlideSource | VipsSource):
            _probe(path, source)
    except (OSError, import_vips().Error) as error:
        if source is None and slide is not None:
            slide.close()
        elif source is not None:
            source.close()
        raise SlideError(f"{path.name!r} cannot be read {explain(path, error)}") from error
    except (SlideError, _DamagedError):
        if source is not None:
            source.close()
        elif slide is not None:
            slide.close()
        raise
    return source


def _open_by_vips(path: Path, tiff: Tiff | None, refusal: str) -> VipsSource:
    """Open what OpenSlide does not."""
    levels = find_levels(path, tiff)
    if levels is None:
        page = tiff.pages[0] if tiff is not None else None
        reason = page.refusal() if page is not None else None
        if reason is not None:
            raise SlideError(f"{path.name!r} {reason}")
        if page is not None and (names_missing_codec(refusal) or page.compression not in COMPRESSIONS):
            raise _codec_error(path, page, refusal)
        kind = tell_kind(path) if page is None else None
        if kind is not None:
            raise SlideError(f"{path.name!r} is no slide; it is {kind}")
        told = f"{refusal}; " if refusal else ""
        raise SlideError(
            f"{path.name!r} is no slide that can be read ({told}libvips: not a known image "
            "format, or damaged); check that it is whole, or export it as a tiled pyramidal TIFF"
        )
    first = levels[0]
    _check_image(path, first)
    if tiff is not None:
        _check_pages(path, tiff, [level.pages for level in levels], (first.image.width, first.image.height))
        _check_twins(path, tiff, first.pages, description(first.image))
    for page in first.pages:
        why = _vips_errs(page)
        if why:
            raise SlideError(f"{path.name!r} {why}, which cannot be read for certain; export it as 8-bit RGB")
        if page.tile is None and page.orientation not in range(1, 9):
            raise SlideError(
                f"{path.name!r} has an orientation that means nothing (TIFF tag 274 is {page.orientation}); "
                "set it to 1, as `tiffset -s 274 1 FILE` does, or export it again"
            )
    if tile_size(first.image) is None:
        # It is decoded as a whole, by the first pixel that is asked for.
        width, height = first.image.width, first.image.height
        bytes_a_pixel = first.image.bands * (2 if first.image.format == "ushort" else 1)
        strip = first.pages[0] if first.pages else None
        room.check_room(path, room.cost_of(width, height, bytes_a_pixel, strip))
    return _by_vips(tiff, levels)


def _open_tiled(path: Path, slide: openslide.OpenSlide, tiff: Tiff, *, probe: bool) -> Source:
    """Open a tiled TIFF that OpenSlide opens too, by whichever is right and, where both are, by libvips.

    Of an OME-TIFF, whose levels are sub-images or whose colours are pages, OpenSlide sees the first alone.
    """
    source = OpenSlideSource(slide)
    generic = slide.properties.get("openslide.vendor") == "generic-tiff"
    by_size: dict[Size, Page] = {}
    for page in tiff.images:
        by_size.setdefault(page.size, page)
    pages = [tuple(filter(None, [by_size.get(size)])) for size in source.level_sizes]
    _check_pages(path, tiff, pages, source.level_sizes[0], beside=_associated(slide))
    if generic:
        _check_twins(path, tiff, pages[0], slide.properties.get("tiff.ImageDescription"))
    for level, size in enumerate(source.level_sizes):
        if not has_same_shape(size, source.level_sizes[0]):
            number = pages[level][0].number if pages[level] else "?"
            raise SlideError(
                f"{path.name!r} calls its page {number}, {size[0]} x {size[1]} px, a smaller level of "
                f"{source.level_sizes[0][0]} x {source.level_sizes[0][1]} px, but it has another shape; "
                "export it as a tiled pyramidal TIFF again"
            )
    for page in (page for each in pages for page in each):
        if page.orientation in _TURNED and page.compression not in _AS_STORED:
            raise SlideError(
                f"{path.name!r} has an orientation (TIFF tag 274 is {page.orientation}), by which viewers "
                "turn each tile within itself; export it upright, or set the tag to 1, as `tiffset -s 274 1 "
                "FILE` does"
            )
    source.pages = tuple(each[0] if each else None for each in pages)
    source.blocks = tuple(Blocks(tiff, page) if page is not None else None for page in source.pages)
    try:
        levels = find_levels(path, tiff)
    except SlideError:
        if generic:
            raise
        return source
    if levels is None or any(_vips_errs(page) for level in levels for page in level.pages):
        return source
    described = ome_xml.read_ome_xml(description(levels[0].image), source.level_sizes[0])
    joined = described is not None and described.is_planar_rgb
    if generic and (joined or len(levels) > 1 == slide.level_count):
        _check_image(path, levels[0])
        _check_pages(path, tiff, [level.pages for level in levels], source.level_sizes[0])
        found = _by_vips(tiff, levels)
        if not joined and not _decodes(found):
            return source  # the slide alone, without its levels, is better than nothing
        found.overview_pixels = source.overview_pixels
        source.close()
        return found
    alike = _levels_like(source, levels)
    if alike is None or any(_vips_holds(level.image) > _MOST_HELD for level in alike):
        return source
    found = _by_vips(tiff, alike)
    if any(_openslide_errs(page) for each in pages for page in each):
        found.stand_in(source, reads=False)
        return found
    if not generic and any(blocks is not None and blocks.has_gaps for blocks in found.blocks):
        return source  # it makes tiles that were left out from those of the level above
    try:
        if not _decodes(found) or not _same_pixels(path, source, found):
            return source
    except openslide.OpenSlideError as error:
        if probe:
            raise _failure(path, source, 0, error) from error
        again = OpenSlideSource(openslide.OpenSlide(path))
        again.pages, again.blocks = source.pages, source.blocks
        source.close()
        return again
    found.stand_in(source)
    return found


def _levels_like(source: OpenSlideSource, levels: list[Level]) -> list[Level] | None:
    """Return libvips' image of each of OpenSlide's levels; None where it has not all."""
    by_size = {(level.image.width, level.image.height): level for level in levels}
    if not all(size in by_size for size in source.level_sizes):
        return None
    return [by_size[size] for size in source.level_sizes]


def _by_vips(tiff: Tiff | None, levels: list[Level]) -> VipsSource:
    source = VipsSource(levels)
    if tiff is not None:
        source.blocks = tuple(
            Blocks(tiff, level.pages[0]) if level.pages and level.pages[0].tile else None for level in levels
        )
    return source


def _associated(slide: openslide.OpenSlide) -> set[Size]:
    """Return the sizes of the pictures that a slide has beside its levels: label, macro, thumbnail."""
    properties = slide.properties
    found = set()
    for name in slide.associated_images:
        width, height = (
            properties.get(f"openslide.associated.{name}.{side}") for side in ("width", "height")
        )
        if width and height:
            found.add((int(width), int(height)))
    return found


def _check_image(path: Path, level: Level) -> None:
    """Refuse what libvips opens as something else than colours."""
    image = level.image
    if level.pages:
        return  # a TIFF's tags say more
    channels = image.bands - image.hasalpha()
    if image.interpretation == "cmyk":
        raise SlideError(f"{path.name!r} has colours that are CMYK, for printing; export it as RGB")
    if channels not in (1, 3):
        raise SlideError(
            f"{path.name!r} has {channels} channels; export it as an RGB image (bright field), "
            "or one channel of it"
        )
    if image.format not in ("uchar", "ushort"):
        raise SlideError(
            f"{path.name!r} holds numbers of the kind {image.format} and not colours; export it as 8-bit RGB"
        )


def _check_pages(
    path: Path,
    tiff: Tiff,
    levels: Iterable[tuple[Page, ...]],
    size: Size,
    *,
    beside: Collection[Size] = (),
) -> None:
    """Refuse a TIFF that has a larger page than level 0 (`size`), or levels that cannot be right."""
    others = [page for page in tiff.images if page.size not in beside]
    largest = max(others, key=lambda page: page.pixels, default=None)
    if largest is not None and largest.pixels > size[0] * size[1]:
        raise SlideError(
            f"{path.name!r} has its largest image, {largest.size[0]} x {largest.size[1]} px, on page "
            f"{largest.number} of {len(tiff.pages)}, behind one of {size[0]} x {size[1]} px that readers and "
            f"viewers take for the slide; export page {largest.number} as a tiled pyramidal TIFF of its own"
        )
    for page in (page for level in levels for page in level):
        reason = page.refusal()
        if reason is not None:
            raise SlideError(f"{path.name!r} {reason}")
        blocks = Blocks(tiff, page)
        beyond, lost = blocks.beyond_the_end(), blocks.in_the_header()
        if page.tile is not None:
            room.check_room(path, room.cost_of_tile(page))
        if lost:
            raise SlideError(
                f"{path.name!r} is damaged: {lost} of the tiles or strips of its page {page.number} are said "
                "to lie where the file begins; copy it again, or export it from its source again"
            )
        if beyond:
            raise SlideError(
                f"{path.name!r} is cut short: {beyond} of the tiles or strips of its page {page.number} lie "
                f"beyond its end at {tiff.bytes} bytes; copy it again, or export it from its source again"
            )


def _check_twins(path: Path, tiff: Tiff, level: tuple[Page, ...], described: str | None) -> None:
    """Refuse a TIFF with several images of level 0's size; an OME-TIFF tells what they are."""
    if not level or ome_xml.read_ome_xml(described, level[0].size) is not None:
        return
    numbers = {page.number for page in level}
    twins = [page for page in tiff.images if page.size == level[0].size and page.number not in numbers]
    if twins:
        width, height = level[0].size
        raise SlideError(
            f"{path.name!r} has {len(twins) + 1} images of {width} x {height} px (page {twins[0].number} is "
            "another), and nothing says which of them is the slide; export that one as an RGB image"
        )


def _vips_errs(page: Page) -> str | None:
    """Tell what of a page libvips does not read, or reads as something else."""
    if page.photometric == YCBCR and page.compression != JPEG:
        return f"has YCbCr colours (TIFF tag 262 is {YCBCR}) under {page.codec}"
    if page.is_planar and page.tile is not None:
        return "has the tiles of each colour apart (TIFF tag 284 is 2)"
    return None


def _openslide_errs(page: Page) -> bool:
    """Tell whether OpenSlide reads other pixels: of grey in 16 bits, or with transparency."""
    grey = page.samples - page.has_alpha == 1
    return grey and (page.has_alpha or max(page.bits, default=8) == 16)


def _vips_holds(image: Any) -> int:
    """Return how many bytes libvips keeps of a level: two rows of tiles."""
    width, height = tile_size(image) or (0, 0)
    return int(2 * (image.width + width) * height * image.bands)


def _probe(path: Path, source: OpenSlideSource | VipsSource) -> None:
    """Decode those tiles of each level that hold most, and look whether something came of it.

    Raises
    ------
    SlideError
        They cannot be decoded here, or came back blank; or the image is all but black.
    _DamagedError
        One cannot be decoded, though others may.
    """
    for level, blocks in enumerate(source.blocks):
        places = blocks.largest(_PROBED if level == 0 else 1) if blocks is not None else []
        for x, y, width, height in places or [(0, 0, 1, 1)]:
            if width * height > _MOST_PROBED:
                continue
            try:
                source.read(x, y, width, height, level)
            except backend_errors() as error:
                raise _failure(path, source, level, error) from error
    page = source.pages[0]
    if source.is_deep or (page is not None and max(page.bits, default=8) == 16):
        _check_depth(path, source)


def _decodes(source: VipsSource) -> bool:
    """Tell whether libvips decodes a tile: where its codec is missing, there is nothing to compare."""
    blocks = source.blocks[0]
    try:
        for place in blocks.largest(1) if blocks is not None else ():
            source.read(*place, 0)
    except (import_vips().Error, PixelError):
        return False
    return True


def _failure(
    path: Path, source: OpenSlideSource | VipsSource, level: int, error: BaseException
) -> SlideError | _DamagedError:
    """Return what to raise where a level's tile cannot be decoded at opening."""
    text = one_line(str(error), path)
    page = source.pages[level]
    if page is not None:
        missing = names_missing_codec(text)
        if missing or page.compression not in (*_ALWAYS_THERE, *_IN_SOME):
            return _codec_error(path, page, text)
    elif names_missing_codec(text):
        return SlideError(f"{path.name!r} cannot be read {explain(path, error)}")
    if isinstance(error, PixelError) or source.tile_sizes[level] is None:
        return SlideError(f"{path.name!r} opens, but its pixels cannot be read {explain(path, error)}")
    return _DamagedError(text)


def _codec_error(path: Path, page: Page, text: str) -> SlideError:
    number = re.search(r"compression: (\d+)", text)
    codec = page.codec
    if number is not None and int(number[1]) != page.compression:  # another page's
        codec = f"{COMPRESSIONS.get(int(number[1]), 'an unknown codec')} (TIFF compression {number[1]})"
    reason = f" ({text})" if text else ""
    return SlideError(
        f"{path.name!r} is compressed with {codec}, which cannot be decoded here{reason}; the file may well "
        "be whole: export it as a tiled pyramidal TIFF with JPEG, LZW or deflate compression"
    )


def _check_depth(path: Path, source: OpenSlideSource | VipsSource) -> None:
    """Refuse 12 bits that are kept in 16: they would be all but black."""
    level = len(source.level_sizes) - 1
    width, height = source.level_sizes[level]
    squares: list[tuple[int, int, int, int]] = []
    if width * height <= _LOOKED_AT:
        squares = [(0, width, 0, height)]
    else:
        shares = np.linspace(0, 1, 5)
        squares = [(*_around(x, width), *_around(y, height)) for y in shares for x in shares]
        blocks = source.blocks[level]
        places = blocks.largest(8) if blocks is not None else []
        squares += [(x, min(w, _COMPARED), y, min(h, _COMPARED)) for x, y, w, h in places]
    try:
        looked_at = (source.read(x, y, w, h, level) for x, w, y, h in squares)
        most = max(int(np.percentile(pixels, _BRIGHTEST)) for pixels in looked_at)
    except backend_errors() as error:
        raise _failure(path, source, level, error) from error
    if most < _TOO_DARK and not (isinstance(source, VipsSource) and source.is_widened(level)):
        bits = 16 - (8 - max(1, most).bit_length())
        raise SlideError(
            f"{path.name!r} keeps its pixels in 16 bits, but the brightest that was looked at has {most} of "
            f"255: it seems to use no more than {bits} of them; export it with 8 bits a sample, or with all "
            "16 in use"
        )


def _same_pixels(path: Path, one: OpenSlideSource, other: VipsSource) -> bool:
    """Compare a coloured place of each level; libraries decode a few of the kinds of JPEG differently.

    Raises
    ------
    SlideError
        They read two different pictures, and nothing says which one is right.
    """
    try:
        across, down = _coloured_place(one)
        for level, (width, height) in enumerate(one.level_sizes):
            (x, w), (y, h) = _around(across, width), _around(down, height)
            expected, found = (each.read(x, y, w, h, level).astype(np.int16) for each in (one, other))
            # Where a level's pixels begin beside level 0's, OpenSlide mixes neighbours. How the file is
            # decoded shows at level 0; here it is enough that this is the same level.
            low, high = (found, found) if one.level_downsamples[level].is_integer() else _range_around(found)
            if (expected < low).any() or (expected > high).any():
                off = float(np.abs(expected - found).mean())
                if level == 0 and off > _OTHER_PICTURE:
                    raise SlideError(
                        f"{path.name!r} is read in two ways: by OpenSlide and by libvips its pixels differ "
                        f"by {off:.0f} of 255, and nothing says which is right; export it as a tiled "
                        "pyramidal TIFF again"
                    )
                return False
    except (import_vips().Error, PixelError):
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


def _coloured_place(source: OpenSlideSource) -> tuple[float, float]:
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
