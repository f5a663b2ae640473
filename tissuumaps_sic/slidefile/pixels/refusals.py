"""What a file's own tags tell of it that no library reads right, or that a viewer would show otherwise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tissuumaps_sic.slidefile.pixels import ome_xml, room
from tissuumaps_sic.slidefile.pixels.blocks import Blocks
from tissuumaps_sic.slidefile.pixels.source import Size, SlideError, has_same_shape
from tissuumaps_sic.slidefile.pixels.tiff import JPEG, YCBCR, Page, Tiff
from tissuumaps_sic.slidefile.pixels.vips import Level

# Tiles of these OpenSlide decodes by itself, as they are stored; all others it turns within themselves, as
# the orientation says.
_AS_STORED = (JPEG, 33003, 33005)
_TURNED = (2, 3, 4, 6, 7, 8)


def check_image(path: Path, level: Level) -> None:
    """Refuse what libvips opens as something else than colours.

    Parameters
    ----------
    path : Path
        For messages, as in the others.
    level : Level
        The largest.

    Raises
    ------
    SlideError
        It is.
    """
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


def check_pages(
    path: Path,
    tiff: Tiff,
    levels: Iterable[tuple[Page, ...]],
    size: Size,
    *,
    beside: Collection[Size] = (),
) -> None:
    """Refuse a TIFF that has a larger page than level 0 (`size`), or levels that cannot be right.

    Parameters
    ----------
    path : Path
    tiff : Tiff
    levels : iterable of tuples of Page
    size : (width, height)
        Of level 0, pixels.
    beside : collection of (width, height), optional
        Sizes of images that are known to be no slide.

    Raises
    ------
    SlideError
        It has, or it is damaged or cut short, or there is no room to decode its tiles.
    """
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
        # Of tiles the others are read, and where these would be, another level.
        if beyond and (
            page.tile is None or page.is_planar or (page.size == size and beyond >= blocks.filled)
        ):
            raise SlideError(
                f"{path.name!r} is cut short: {beyond} of the tiles or strips of its page {page.number} lie "
                f"beyond its end at {tiff.bytes} bytes; copy it again, or export it from its source again"
            )


def check_twins(path: Path, tiff: Tiff, level: tuple[Page, ...], described: str | None) -> None:
    """Refuse a TIFF with several images of level 0's size; an OME-TIFF tells what they are.

    Parameters
    ----------
    path : Path
    tiff : Tiff
    level : tuple of Page
        Level 0.
    described : str or None
        The TIFF's description.

    Raises
    ------
    SlideError
        It has.
    """
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


def check_levels(path: Path, sizes: Sequence[Size], pages: Sequence[tuple[Page, ...]]) -> None:
    """Refuse levels of another shape than level 0, and those that viewers turn tile by tile.

    Parameters
    ----------
    path : Path
    sizes : sequence of (width, height)
        Of the levels, level 0 first.
    pages : sequence of tuples of Page
        Of each level.

    Raises
    ------
    SlideError
        There is one.
    """
    for level, size in enumerate(sizes):
        if not has_same_shape(size, sizes[0]):
            number = pages[level][0].number if pages[level] else "?"
            raise SlideError(
                f"{path.name!r} calls its page {number}, {size[0]} x {size[1]} px, a smaller level of "
                f"{sizes[0][0]} x {sizes[0][1]} px, but it has another shape; "
                "export it as a tiled pyramidal TIFF again"
            )
    for page in (page for each in pages for page in each):
        if page.orientation in _TURNED and page.compression not in _AS_STORED:
            raise SlideError(
                f"{path.name!r} has an orientation (TIFF tag 274 is {page.orientation}), by which viewers "
                "turn each tile within itself; export it upright, or set the tag to 1, as `tiffset -s 274 1 "
                "FILE` does"
            )


def vips_errs(page: Page) -> str | None:
    """Tell what of a page libvips does not read, or reads as something else.

    Parameters
    ----------
    page : Page

    Returns
    -------
    str or None
    """
    if page.photometric == YCBCR and page.compression != JPEG:
        return f"has YCbCr colours (TIFF tag 262 is {YCBCR}) under {page.codec}"
    if page.is_planar and page.tile is not None:
        return "has the tiles of each colour apart (TIFF tag 284 is 2)"
    return None


def openslide_errs(page: Page) -> bool:
    """Tell whether OpenSlide reads other pixels: of grey in 16 bits, or with transparency.

    Parameters
    ----------
    page : Page

    Returns
    -------
    bool
    """
    grey = page.samples - page.has_alpha == 1
    return grey and (page.has_alpha or max(page.bits, default=8) == 16)
