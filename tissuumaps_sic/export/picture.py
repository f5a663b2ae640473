"""A picture of a slide's labels, over the slide where its image is there."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tissuumaps_sic.annotation.colors import rgb_of
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.hatching import hatch, write_signs
from tissuumaps_sic.export.rasters import draw_raster
from tissuumaps_sic.slidefile.pixels.source import Pixels, SlideError
from tissuumaps_sic.slides.image import open_own_image
from tissuumaps_sic.slides.raster import LabelRaster, raster_of
from tissuumaps_sic.slides.regions import Scale, lattice_of, scale_of, slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide

# How strongly labels are drawn over the slide, and the borders of what has one label over that.
_LABEL, _BORDER = 0.42, 0.9
_MARGIN = 0.02
_PAPER = 255
_JPEG_QUALITY = 88


@dataclass(frozen=True, eq=False)
class Picture:
    """Labels, and the slide below them.

    Attributes
    ----------
    labels : ndarray of shape (rows, columns, 3), uint8
        The slide with labels and seeds drawn over it; on white where there is no image.
    slide : ndarray of shape (rows, columns, 3), uint8, or None
        The same without labels; None where there is no image.
    width_um : float or None
        What it is wide on the slide, in µm, where that is known.
    lack : str
        Why there is no slide where its image is there; "" where there is nothing to tell.
    """

    labels: Pixels
    slide: Pixels | None
    width_um: float | None
    lack: str = ""


def draw(labelled: Labelled, *, most_pixels: int, image: Path | None = None, blocks: bool = False) -> Picture:
    """Draw labels, and their seeds as dots of their class with a white ring.

    Classes that colours do not tell have lines and a letter (`hatching`), as the table has them. The picture
    is of what patches cover, and a little more.

    Parameters
    ----------
    labelled : Labelled
    most_pixels : int
        Of the longer side.
    image : Path, optional
        The slide's image; by default that of the project beside the h5ad, where it is there.
    blocks : bool, default=False
        Whether labels are drawn as the squares of whole patches, and not as their cells.

    Returns
    -------
    Picture

    Raises
    ------
    ExportError
        When the patches do not lie on a grid, or the image that was named cannot be read or is of another
        slide.
    """
    slide = labelled.slide
    scale = scale_of(slide)
    raster = draw_raster(labelled, blocks=blocks)
    window, size = _window(raster, scale, slide_size_of(slide), most_pixels)
    plain, lack = _slide(slide, image, window, size)
    colors = [each.color for each in labelled.classes]
    labels = _over(plain, raster, window, size, colors)
    _dot(labels, slide.centres, labelled.seeds, window, colors, scale)
    width_um = window[2] * scale.mpp[0] if scale.mpp else None
    return Picture(np.asarray(labels), plain, width_um, lack)


def draw_patches(slide: EmbeddedSlide, colors: npt.NDArray[np.uint8], *, most_pixels: int) -> Picture:
    """Draw a slide that has no labels: its image, or where that is not there its patches.

    Parameters
    ----------
    slide : EmbeddedSlide
    colors : ndarray of shape (n_patches, 3), uint8
        Of the patches: red, green, blue.
    most_pixels : int
        Of the longer side.

    Returns
    -------
    Picture

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    scale = scale_of(slide)
    try:
        raster = raster_of(slide.centres, np.ones(slide.n_patches, np.uint8), scale.stride)
    except ValueError as error:
        raise ExportError(f"{slide.path.name}: {error}") from error
    window, size = _window(raster, scale, slide_size_of(slide), most_pixels)
    plain, lack = _slide(slide, None, window, size)
    width_um = window[2] * scale.mpp[0] if scale.mpp else None
    if plain is not None:
        return Picture(plain, plain, width_um, lack)
    place = lattice_of(slide.centres, scale.stride)[1] + 1
    paper = np.full((*raster.values.shape, 3), _PAPER, np.uint8)
    paper[place[:, 1], place[:, 0]] = colors
    return Picture(paper[_sample(raster, window, size)], None, width_um, lack)


def _window(
    raster: LabelRaster, scale: Scale, slide_size: tuple[int, int] | None, most: int
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return what to draw, (x, y, width, height) in level-0 pixels, and the picture's size."""
    left, top, right, bottom = raster.extent
    margin = _MARGIN * max(right - left, bottom - top)
    left, top, right, bottom = left - margin, top - margin, right + margin, bottom + margin
    if slide_size is not None:
        left, top = max(left, 0.0), max(top, 0.0)
        right, bottom = min(right, float(slide_size[0])), min(bottom, float(slide_size[1]))
    width, height = max(right - left, 1.0), max(bottom - top, 1.0)
    # Pixels of a picture are square; those of a slide need not be.
    across, down = (width * scale.mpp[0], height * scale.mpp[1]) if scale.mpp else (width, height)
    longest = max(across, down)
    size = (max(1, round(most * across / longest)), max(1, round(most * down / longest)))
    return (left, top, width, height), size


def _slide(
    slide: EmbeddedSlide,
    image: Path | None,
    window: tuple[float, float, float, float],
    size: tuple[int, int],
) -> tuple[Pixels | None, str]:
    """Return the pixels of a part of the slide, and why there are none where its image is there."""
    try:
        opened = open_own_image(slide, image)
        if opened is None:
            return None, ""
        with opened:
            return opened.picture(*window, size, rest=True), ""
    except SlideError as error:
        # A report without the slide is better than none, unless this image was asked for.
        if image is not None:
            raise ExportError(str(error)) from error
        return None, str(error)


def _over(
    plain: Pixels | None,
    raster: LabelRaster,
    window: tuple[float, float, float, float],
    size: tuple[int, int],
    colors: list[str],
) -> Image.Image:
    values = raster.values[_sample(raster, window, size)]
    places = values.astype(np.int16) - 1
    table = np.array([[_PAPER] * 3, *map(rgb_of, colors)], np.float32)
    if plain is None:
        found, strength, border = np.full((*values.shape, 3), _PAPER, np.float32), 1.0, 0.0
    else:
        found, strength, border = plain.astype(np.float32), _LABEL, _BORDER
    share = np.where(values > 0, strength, 0)
    edge = np.zeros(values.shape, bool)
    edge[:, 1:] |= values[:, 1:] != values[:, :-1]
    edge[:, :-1] |= values[:, 1:] != values[:, :-1]
    edge[1:] |= values[1:] != values[:-1]
    edge[:-1] |= values[1:] != values[:-1]
    share = np.where(edge & (values > 0) & (border > 0), border, share)[..., None]
    # Over the slide lines are as strong as borders, on paper they are left out.
    share = np.where(hatch(places)[..., None], border, share)
    mixed = found * (1 - share) + table[values] * share
    picture = Image.fromarray(np.rint(mixed).astype(np.uint8))
    write_signs(picture, places)
    return picture


def _sample(
    raster: LabelRaster, window: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[npt.NDArray[np.int32], ...]:
    """Return what takes the value at each of a picture's pixels out of a raster's array."""
    left, top, width, height = window
    column = raster.columns_at(left + (np.arange(size[0]) + 0.5) * width / size[0])
    row = raster.rows_at(top + (np.arange(size[1]) + 0.5) * height / size[1])
    return np.ix_(row, column)


def _dot(
    picture: Image.Image,
    centres: npt.NDArray[np.float64],
    seeds: npt.NDArray[np.int16],
    window: tuple[float, float, float, float],
    colors: list[str],
    scale: Scale,
) -> None:
    """Draw a dot for each seed."""
    zoom = picture.width / window[2], picture.height / window[3]
    cell = min(edge * each for edge, each in zip(scale.stride, zoom, strict=True))
    # Smaller than its patch, unless that could not be seen; and not a blot.
    radius = min(max(0.3 * cell, picture.width / 300), picture.width / 120)
    drawing = ImageDraw.Draw(picture)
    for row in np.flatnonzero(seeds >= 0):
        x = (centres[row, 0] - window[0]) * zoom[0]
        y = (centres[row, 1] - window[1]) * zoom[1]
        for reach, color in (
            (radius * 1.6, "#ffffff"),
            (radius * 1.25, "#000000"),
            (radius, colors[seeds[row]]),
        ):
            drawing.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)


def encode(pixels: Pixels, *, photo: bool) -> bytes:
    """Return an image as JPEG, or as PNG where it is of flat colours, which keep without loss.

    Parameters
    ----------
    pixels : ndarray of shape (rows, columns, 3), uint8
    photo : bool

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    if photo:
        Image.fromarray(pixels).save(buffer, "jpeg", quality=_JPEG_QUALITY)
    else:
        Image.fromarray(pixels).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def scale_bar(width_um: float, *, share: float = 0.25) -> tuple[float, str]:
    """Return the length of a scale bar in µm, at most a share of a width, and what it is called.

    >>> scale_bar(3072)
    (500.0, '500 µm')
    >>> scale_bar(50_000)
    (10000.0, '10 mm')

    Parameters
    ----------
    width_um : float
    share : float, default=0.25

    Returns
    -------
    (float, str)
    """
    most = width_um * share
    power = 10.0 ** math.floor(math.log10(most))
    length = max(step * power for step in (1, 2, 5) if step * power <= most)
    return length, f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
