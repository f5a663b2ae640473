"""Where the tissue is, as somebody drew it: a mask image, or polygons in GeoJSON."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedder.slide import Slide, SlideError
from embedder.tissue import TissueMask

log = logging.getLogger(__name__)

Ring = npt.NDArray[np.float64]  # (n, 2) corners (x, y), level-0 pixels
Polygon = list[Ring]  # the outline, then the holes

_POLYGONS = (".geojson", ".json", ".geojson.gz", ".json.gz")
_IMAGES = (".png", ".tif", ".tiff", ".bmp")
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
        A mask image of any scale, or GeoJSON (QuPath's or any other; gzipped too) in level-0 pixels; or a
        folder with one for each slide, named like it (``<slide>.png``, ``<slide>_mask.png``,
        ``<slide>.geojson``...).
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
        content = path.read_bytes()
    except OSError as error:
        raise SlideError(f"{path}: the tissue cannot be read ({error.strerror or error})") from error
    parameters: dict[str, Any] = {"sha256": hashlib.sha256(content).hexdigest()}
    if classes:
        parameters["classes"] = ", ".join(classes)
    if path.name.lower().endswith(_POLYGONS):
        if from_bounds:
            parameters["from_bounds"] = True
        elif slide.bounds != (0, 0, *slide.size):
            log.warning(
                "%s: only a part of this slide was scanned, and QuPath counts polygons from that part's "
                "corner; if %s is QuPath's, give --tissue-from-bounds",
                slide.path.name,
                path.name,
            )
        mask, downsample = _draw(slide, _polygons(path, content, classes), from_bounds=from_bounds)
        method = "polygons"
    else:
        mask, downsample = _read_image(slide, path, classes)
        method = "mask"
    if not mask.any():
        only = f" of {', '.join(classes)}" if classes else ""
        raise SlideError(
            f"{path}: nothing{only} on {slide.path.name} is tissue; check the file and --tissue-class"
        )
    return TissueMask(mask, downsample, method, parameters)


def _find(folder: Path, name: str) -> Path:
    wanted = [f"{name}{middle}{suffix}" for suffix in _POLYGONS + _IMAGES for middle in _NAMES]
    there = {each.name for each in folder.iterdir()}
    found = [each for each in wanted if each in there]
    if not found:
        raise SlideError(
            f"{folder}: has no tissue for {name}; it would be {name}.geojson, {name}.png or {name}_mask.png"
        )
    if len(found) > 1:
        raise SlideError(f"{folder}: has {' and '.join(found)} for {name}; leave one")
    return folder / found[0]


def _read_image(slide: Slide, path: Path, classes: Sequence[str]) -> tuple[npt.NDArray[np.float32], float]:
    try:
        with warnings.catch_warnings():
            # The size of a mask that its user made is no attack.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                values = np.asarray(image)
                has_alpha = image.mode in ("RGBA", "LA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SlideError(f"{path}: cannot be read as a mask ({' '.join(str(error).split())})") from error
    inside = _inside(values, has_alpha=has_alpha, classes=classes, path=path)
    rows, columns = inside.shape
    width, height = slide.size
    # Each side was rounded, up or down, to whole pixels.
    across, down = width / columns, height / rows
    if abs(across - down) * min(rows, columns) > 1.5 * max(across, down):
        raise SlideError(
            f"{path}: a mask of {columns} x {rows} px does not fit {slide.path.name}, {width} x {height} px"
        )
    factor = math.ceil(max(rows, columns) / _MASK_SIDE)
    return _reduce(inside, factor), (across + down) / 2 * factor


def _inside(
    values: npt.NDArray[Any], *, has_alpha: bool, classes: Sequence[str], path: Path
) -> npt.NDArray[np.bool_]:
    """Return which pixels of an image are meant."""
    opaque = values[..., -1] > 0 if has_alpha else None
    if has_alpha:
        values = values[..., :-1]
    if values.ndim == 3 and not (values == values[..., :1]).all():
        if classes:
            raise SlideError(f"{path}: is a colour image, which has no values to choose; save it in grey")
        found = values.any(axis=-1)
    else:
        grey = values[..., 0] if values.ndim == 3 else values
        found = np.isin(grey.astype(np.int64), _whole(classes, path)) if classes else grey != 0
    return np.asarray(found if opaque is None else found & opaque, bool)


def _whole(classes: Sequence[str], path: Path) -> list[int]:
    try:
        return [int(each) for each in classes]
    except ValueError:
        raise SlideError(
            f"{path}: is a mask image: --tissue-class must be a value such as 1, not {' or '.join(classes)}"
        ) from None


def _polygons(path: Path, content: bytes, classes: Sequence[str]) -> list[Polygon]:
    try:
        data = json.loads(gzip.decompress(content) if path.name.lower().endswith(".gz") else content)
        features = list(_features(data))
        known = sorted({name for name, _ in features if name is not None})
        if classes and not set(classes) & set(known):
            raise SlideError(
                f"{path}: has no polygon of class {' or '.join(classes)}; its classes are "
                f"{', '.join(known) or 'none'}"
            )
        return [
            [_ring(ring) for ring in polygon]
            for name, geometry in features
            if not classes or name in classes
            for polygon in _of_geometry(geometry)
        ]
    except (ValueError, TypeError, KeyError, AttributeError, OSError, EOFError) as error:
        raise SlideError(f"{path}: is no GeoJSON of polygons ({' '.join(str(error).split())})") from error


def _features(data: Any) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Give the class and geometry of all that a GeoJSON text holds; it may be a bare geometry."""
    if isinstance(data, list):
        for each in data:
            yield from _features(each)
    elif data["type"] == "FeatureCollection":
        yield from _features(data["features"])
    elif data["type"] == "Feature":
        if data.get("geometry") is not None:
            properties = data.get("properties") or {}
            # QuPath writes the class as an object; others as its name.
            named = properties.get("classification")
            yield (named.get("name") if isinstance(named, dict) else named), data["geometry"]
    else:
        yield None, data


def _of_geometry(geometry: dict[str, Any]) -> Iterator[list[Any]]:
    kind = geometry["type"]
    if kind == "Polygon":
        yield geometry["coordinates"]
    elif kind == "MultiPolygon":
        yield from geometry["coordinates"]
    elif kind == "GeometryCollection":
        for each in geometry["geometries"]:
            yield from _of_geometry(each)
    elif kind not in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        raise ValueError(f"{kind} is no kind of geometry")


def _ring(corners: Any) -> Ring:
    found = np.asarray(corners, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] < 3 or found.shape[1] < 2 or not np.isfinite(found).all():
        raise ValueError("a polygon has fewer than three corners, or some that are no numbers")
    return found[:, :2]


def _draw(
    slide: Slide, polygons: list[Polygon], *, from_bounds: bool
) -> tuple[npt.NDArray[np.float32], float]:
    from skimage import draw

    width, height = slide.size
    fine = max(1.0, max(width, height) / _DRAWN_SIDE)
    drawn = np.zeros((math.ceil(height / fine), math.ceil(width / fine)), bool)
    origin = np.array(slide.bounds[:2] if from_bounds else (0, 0), np.float64)
    fill: Any = draw.polygon  # scikit-image is typed in part only
    for rings in polygons:
        # On a canvas of its own, so that a hole takes nothing from a polygon drawn before.
        places = [(ring + origin) / fine for ring in rings]
        low = np.maximum(np.floor(places[0].min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(places[0].max(axis=0)), drawn.shape[::-1]).astype(int)
        if (low >= high).any():
            continue
        canvas = np.zeros((high[1] - low[1], high[0] - low[0]), bool)
        for k, place in enumerate(places):
            # A pixel is inside when its middle is.
            x, y = (place - low - 0.5).T
            canvas[fill(y, x, canvas.shape)] = k == 0
        drawn[low[1] : high[1], low[0] : high[0]] |= canvas
    return _reduce(drawn, 2), 2 * fine


def _reduce(mask: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.float32]:
    """Return the share of True in squares of `factor` pixels; what the last ones lack is False."""
    rows, columns = (-(-side // factor) for side in mask.shape)
    padded = np.zeros((rows * factor, columns * factor), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    counts = padded.reshape(rows, factor, columns, factor).sum(axis=(1, 3), dtype=np.float32)
    return np.asarray(counts / factor**2, np.float32)
