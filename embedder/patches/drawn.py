"""Where the tissue is, as somebody drew it: a mask image, or polygons."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedder.patches.tissue import TissueMask
from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Stage
from tissuumaps_sic.slidefile.areas.files import DRAWINGS, is_drawing, read_areas
from tissuumaps_sic.slidefile.areas.fill import Shape
from tissuumaps_sic.slidefile.areas.masks import MASKS, N_VALUES, open_mask, place_mask
from tissuumaps_sic.slidefile.arrays import Mask, Singles
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import SlideError

log = logging.getLogger(__name__)

_NAMES = ("", "_mask", "-mask", "_tissue", ".mask")
# Polygons are drawn with sides of at most this many pixels, and then halved, so that a pixel on an outline
# counts by the share of it that is inside: on a slide of 50 mm some 12 µm.
_DRAWN_SIDE = 8192
# What is finer than this is reduced, each pixel then being the share of tissue in it.
_MASK_SIDE = 8192


def read_tissue(
    slide: Slide, source: Path, *, classes: Sequence[str] = (), from_bounds: bool = False
) -> TissueMask:
    """Read where the tissue is.

    Parameters
    ----------
    slide : Slide
    source : Path
        A mask image of any scale (`open_mask`), or polygons in level-0 pixels (`read_areas`: GeoJSON, the
        XML of ASAP, ImageScope or NDP.view); or a folder with one for each slide, named like it
        (``<slide>.png``, ``<slide>_mask.png``, ``<slide>.geojson``...).
    classes : sequence of str
        The polygons' classes, or the mask's values, that are tissue; all polygons, or every value but 0,
        where there are none.
    from_bounds : bool, default=False
        Whether the polygons' coordinates count from the corner of the slide's scanned part, as QuPath's do on
        slides with bounds (MRXS, SCN, some NDPI), and not from the slide's own.

    Returns
    -------
    TissueMask
        Its parameters hold the file's sha256, and no path.

    Raises
    ------
    SlideError
        There is no such file, it cannot be read, it does not fit the slide, or nothing in it is tissue.
    """
    path = _find(source, slide.name) if source.is_dir() else source
    try:
        with path.open("rb") as file:
            parameters: dict[str, Any] = {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise SlideError(f"{path}: the tissue cannot be read ({error.strerror or error})") from error
    if classes:
        parameters["classes"] = ", ".join(classes)
    try:
        if is_drawing(path):
            if from_bounds:
                parameters["from_bounds"] = True
            method = "polygons"
            mask, downsample = _draw_file(slide, path, classes, from_bounds=from_bounds)
        else:
            method = "mask"
            mask, downsample = _read_image(slide, path, classes)
    except AreaError as error:
        raise SlideError(str(error)) from error
    if not mask.any():
        only = f" of {', '.join(classes)}" if classes else ""
        raise SlideError(
            f"{path}: nothing{only} on {slide.path.name} is tissue; check the file and --tissue-class"
        )
    return TissueMask(mask, downsample, method, parameters)


def _find(folder: Path, name: str) -> Path:
    wanted = [f"{name}{middle}{suffix}" for suffix in DRAWINGS + MASKS for middle in _NAMES]
    there = {file.name for file in folder.iterdir()}
    files = [file for file in wanted if file in there]
    if not files:
        raise SlideError(
            f"{folder}: has no tissue for {name}; it would be {name}.geojson, {name}.png or {name}_mask.png"
        )
    if len(files) > 1:
        raise SlideError(f"{folder}: has {' and '.join(files)} for {name}; keep one of them")
    return folder / files[0]


def _read_image(slide: Slide, path: Path, classes: Sequence[str]) -> tuple[Singles, float]:
    # A colour is no value that could be chosen; where none is, whatever is not black is meant.
    image = open_mask(path, colours="refused" if classes else "values", access="sequential")
    _, pixel = place_mask(path.name, image.size, slide.size)
    chosen = np.zeros(N_VALUES, bool)
    if classes:
        chosen[_parse_values(classes, path)] = True
    else:
        chosen[1:] = True
    factor = math.ceil(max(image.size) / _MASK_SIDE)
    mask = np.concatenate([_reduce(chosen[values], factor) for values in image.strips(factor)])
    if image.is_coloured and mask.all():
        raise SlideError(
            f"{path.name}: is a coloured picture without black, so that all of it would be tissue; give a "
            "mask whose background is 0"
        )
    return mask, sum(pixel) / 2 * factor


def _parse_values(classes: Sequence[str], path: Path) -> list[int]:
    values = [word.strip() for word in classes]
    if not all(word.isascii() and word.isdigit() and int(word) < N_VALUES for word in values):
        raise SlideError(
            f"{path}: is a mask image: --tissue-class must be a value such as 1, not {' or '.join(classes)}"
        )
    return [int(word) for word in values]


def _draw_file(
    slide: Slide, path: Path, classes: Sequence[str], *, from_bounds: bool
) -> tuple[Singles, float]:
    drawn = read_areas(path, stage=Stage.of(slide.stage))
    if drawn.from_bounds and not from_bounds and slide.bounds != (0, 0, *slide.size):
        log.warning(
            "%s: only a part of this slide was scanned, and QuPath counts polygons from that part's "
            "corner; if %s is QuPath's, give --tissue-from-bounds",
            slide.path.name,
            path.name,
        )
    x, y = slide.bounds[:2] if from_bounds else (0, 0)
    drawn.check_place(slide.size, (x, y))
    return _draw(slide, drawn.of(classes) if classes else drawn.areas, (x, y))


def _draw(slide: Slide, areas: Sequence[Area], corner: tuple[int, int]) -> tuple[Singles, float]:
    width, height = slide.size
    fine = max(1.0, max(width, height) / _DRAWN_SIDE)
    drawn = np.zeros((math.ceil(height / fine), math.ceil(width / fine)), bool)
    for polygon in (polygon for area in areas for polygon in area.polygons):
        shape = Shape.of(polygon, origin=np.negative(corner), pixel=fine)
        low, high = np.maximum(shape.low, 0), np.minimum(shape.high, drawn.shape[::-1])
        if (low < high).all():
            # A hole takes nothing from a polygon that is drawn before.
            drawn[low[1] : high[1], low[0] : high[0]] |= shape.fill(low, high)
    return _reduce(drawn, 2), 2 * fine


def _reduce(mask: Mask, factor: int) -> Singles:
    """Return the share of True in squares of `factor` pixels; what the last ones lack is False."""
    rows, columns = (-(-side // factor) for side in mask.shape)
    padded = np.zeros((rows * factor, columns * factor), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    counts = padded.reshape(rows, factor, columns, factor).sum(axis=(1, 3), dtype=np.float32)
    return np.asarray(counts / factor**2, np.float32)
