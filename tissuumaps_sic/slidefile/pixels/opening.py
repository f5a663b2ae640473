"""Which library reads a file's pixels right, and what is refused because none does for certain.

OpenSlide and libvips read most TIFFs alike, libvips some three times as fast (benchmarks/bench_reading.py).
Where they differ, the file's own tags (`refusals`) say which one is right, and a look at the pixels
(`probing`) whether it could decode them at all. TissUUmaps shows what OpenSlide opens as OpenSlide reads it,
and all else as libvips does: what it would show otherwise than it is embedded is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openslide

from tissuumaps_sic.slidefile.kind import tell_kind
from tissuumaps_sic.slidefile.pixels import ome_xml, room
from tissuumaps_sic.slidefile.pixels.blocks import Blocks
from tissuumaps_sic.slidefile.pixels.failure import explain, names_missing_codec
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.probing import (
    DamagedError,
    codec_error,
    decodes,
    failure_of,
    has_same_pixels,
    probe_tiles,
)
from tissuumaps_sic.slidefile.pixels.reduced import ReducedSource, find_size
from tissuumaps_sic.slidefile.pixels.refusals import (
    check_image,
    check_levels,
    check_pages,
    check_twins,
    openslide_errs,
    vips_errs,
)
from tissuumaps_sic.slidefile.pixels.source import Size, SlideError, Source, one_line
from tissuumaps_sic.slidefile.pixels.tiff import COMPRESSIONS, Page, Tiff, read_tiff
from tissuumaps_sic.slidefile.pixels.vips import (
    Level,
    VipsSource,
    description,
    find_levels,
    import_vips,
    tile_size,
)

# libvips keeps two rows of tiles, however wide: beyond so many bytes OpenSlide, which has a limit, reads.
_MOST_HELD = 256 * 2**20
# Formats of OpenSlide's that are TIFFs of tiles and nothing else; others leave tiles out, or overlap them.
_BY_VIPS = ("generic-tiff", "aperio")


def open_source(path: Path) -> Source:
    """Open a file's or a folder's pixels by the fastest library that reads them right.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Source

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
    size = find_size(path)
    try:
        source = _open(path, probe=True)
    except DamagedError:
        # After an error OpenSlide reads nothing more, and the damage may lie where no tissue is.
        source = _open(path, probe=False)
    return source if size is None else ReducedSource(source, size)


def _open(path: Path, *, probe: bool) -> Source:
    tiff, fault = _read_tags(path)
    slide, refusal = _open_by_openslide(path)
    if slide is not None and slide.properties.get("openslide.vendor") not in _BY_VIPS:
        return OpenSlideSource(slide)
    with _closing(path, slide):
        if fault is not None:
            raise fault
        if slide is None:
            source: Source = _open_by_vips(path, tiff, refusal)
        elif tiff is None:
            source = OpenSlideSource(slide)
        else:
            source = _open_tiled(path, slide, tiff, probe=probe)
    if probe and isinstance(source, OpenSlideSource | VipsSource):
        with _closing(path, source):
            probe_tiles(path, source)
    return source


def _read_tags(path: Path) -> tuple[Tiff | None, SlideError | None]:
    """Return a TIFF's tags, or what is wrong with them; of a format of its own OpenSlide knows better."""
    try:
        tiff = read_tiff(path)
    except SlideError as error:
        return None, error
    except OSError as error:
        raise SlideError(f"{path.name!r} cannot be read {explain(path, error)}") from error
    if tiff is not None:
        tiff.check_counts()
    return tiff, None


def _open_by_openslide(path: Path) -> tuple[openslide.OpenSlide | None, str]:
    """Return the slide, or why OpenSlide does not open it where it knows the format."""
    try:
        return openslide.OpenSlide(path), ""
    except openslide.OpenSlideUnsupportedFormatError:
        return None, ""
    except (openslide.OpenSlideError, OSError, ValueError) as error:
        return None, f"OpenSlide: {one_line(error, path)}"


@contextmanager
def _closing(path: Path, slide: Source | openslide.OpenSlide | None) -> Iterator[None]:
    """Close what was opened where it turns out that it cannot be read."""
    try:
        yield
    except (OSError, import_vips().Error, SlideError, DamagedError) as error:
        if slide is not None:
            slide.close()
        if isinstance(error, SlideError | DamagedError):
            raise
        raise SlideError(f"{path.name!r} cannot be read {explain(path, error)}") from error


def _tell_kind(path: Path) -> str | None:
    if path.suffix == ".h5ad":  # which may well be whole
        return f"a file of embeddings; `tissuumaps-sic serve {path.parent}` shows it"
    return tell_kind(path)


def _open_by_vips(path: Path, tiff: Tiff | None, refusal: str) -> VipsSource:
    """Open what OpenSlide does not."""
    levels = find_levels(path, tiff)
    if levels is None:
        page = tiff.pages[0] if tiff is not None else None
        reason = page.refusal() if page is not None else None
        if reason is not None:
            raise SlideError(f"{path.name!r} {reason}")
        if page is not None and (names_missing_codec(refusal) or page.compression not in COMPRESSIONS):
            raise codec_error(path, page, refusal)
        kind = _tell_kind(path) if page is None else None
        if kind is not None:
            raise SlideError(f"{path.name!r} is no slide; it is {kind}")
        told = f"{refusal}; " if refusal else ""
        raise SlideError(
            f"{path.name!r} is no slide that can be read ({told}libvips: not a known image "
            "format, or damaged); check that it is whole, or export it as a tiled pyramidal TIFF"
        )
    first = levels[0]
    check_image(path, first)
    if tiff is not None:
        check_pages(path, tiff, [level.pages for level in levels], (first.image.width, first.image.height))
        check_twins(path, tiff, first.pages, description(first.image))
    for page in first.pages:
        why = vips_errs(page)
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
    check_pages(path, tiff, pages, source.level_sizes[0], beside=_list_associated(slide))
    if generic:
        check_twins(path, tiff, pages[0], slide.properties.get("tiff.ImageDescription"))
    check_levels(path, source.level_sizes, pages)
    source.pages = tuple(each[0] if each else None for each in pages)
    source.blocks = tuple(Blocks(tiff, page) if page is not None else None for page in source.pages)
    try:
        levels = find_levels(path, tiff)
    except SlideError:
        if generic:
            raise
        return source
    if levels is None or any(vips_errs(page) for level in levels for page in level.pages):
        return source
    described = ome_xml.read_ome_xml(description(levels[0].image), source.level_sizes[0])
    is_joined = described is not None and described.is_planar_rgb
    if generic and (is_joined or len(levels) > 1 == slide.level_count):
        check_image(path, levels[0])
        check_pages(path, tiff, [level.pages for level in levels], source.level_sizes[0])
        found = _by_vips(tiff, levels)
        if not is_joined and not decodes(found):
            return source  # the slide alone, without its levels, is better than nothing
        found.overview_pixels = source.overview_pixels
        source.close()
        return found
    return _faster_of(path, source, tiff, levels, generic=generic, probe=probe)


def _faster_of(
    path: Path, source: OpenSlideSource, tiff: Tiff, levels: list[Level], *, generic: bool, probe: bool
) -> Source:
    """Return libvips' source where it reads all that OpenSlide's does, and the same, or what is right."""
    alike = _levels_like(source, levels)
    if alike is None or any(_vips_holds(level.image) > _MOST_HELD for level in alike):
        return source
    found = _by_vips(tiff, alike)
    if any(page is not None and openslide_errs(page) for page in source.pages):
        found.stand_in(source, reads=False)
        return found
    if not generic and any(blocks is not None and blocks.has_gaps for blocks in found.blocks):
        return source  # it makes tiles that were left out from those of the level above
    try:
        if not decodes(found) or not has_same_pixels(path, source, found):
            return source
    except openslide.OpenSlideError as error:
        if probe:
            raise failure_of(path, source, 0, error) from error
        again = source.reopen(path)
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


def _list_associated(slide: openslide.OpenSlide) -> set[Size]:
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


def _vips_holds(image: Any) -> int:
    """Return how many bytes libvips keeps of a level: two rows of tiles."""
    width, height = tile_size(image) or (0, 0)
    return int(2 * (image.width + width) * height * image.bands)
