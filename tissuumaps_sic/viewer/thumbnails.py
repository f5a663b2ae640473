"""Slides as small pictures with their labels: what a browser lays over a tile of the slide's image."""

from __future__ import annotations

import base64
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.store import read_session, session_path
from tissuumaps_sic.slidefile.h5ad import SlideFileError, Stamp, open_h5ad, stamp_of
from tissuumaps_sic.slidefile.names import address
from tissuumaps_sic.slidefile.placing import find_image
from tissuumaps_sic.slides.raster import raster_of
from tissuumaps_sic.slides.regions import scale_in
from tissuumaps_sic.slides.slide import outline, spacing_of
from tissuumaps_sic.viewer.worklist import Entry

# The level of a pyramid of tiles, as DeepZoom counts them, that is one tile of 256 pixels at most.
_LEVEL = 8
_OPAQUE, _SEE_THROUGH = 255, 140
_MOST_KEPT = 1000
# Of patches without labels.
_GREY = (150, 155, 165)


@dataclass(frozen=True)
class Thumbnail:
    """A slide's picture.

    Attributes
    ----------
    image : str
        Address of the slide's own picture, "" where there is none.
    labels : str
        Labels as a ``data:`` address, "" where nothing is to be drawn.
    box : (float, float, float, float)
        Where the labels lie on the picture: left, top, width and height in percent.
    ratio : float
        Width of the picture by its height.
    """

    image: str = ""
    labels: str = ""
    box: tuple[float, float, float, float] = (0.0, 0.0, 100.0, 100.0)
    ratio: float = 1.0


class Thumbnails:
    """The pictures of slides, made anew where their files have changed; safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str], tuple[tuple[Stamp | None, ...], Thumbnail]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, entry: Entry, root: Path) -> Thumbnail:
        """Return the picture of a slide below a served folder; an empty one where it cannot be drawn."""
        key = entry.h5ad, entry.session
        files = entry.h5ad, session_path(*key), entry.h5ad.with_suffix(".tmap")
        stamps = tuple(map(_stamp, files))
        with self._lock:
            known = self._kept.get(key)
        if known is not None and known[0] == stamps:
            return known[1]
        try:
            made = _make(entry, root)
        except (SlideFileError, SessionError, OSError, ValueError, KeyError):
            made = Thumbnail()
        with self._lock:
            self._kept[key] = stamps, made
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def _make(entry: Entry, root: Path) -> Thumbnail:
    known = outline(entry.h5ad).provenance["X"]
    with open_h5ad(entry.h5ad) as file:
        centres = np.asarray(file["obsm/spatial"][()], np.float64)
    values = np.ones(len(centres), np.uint8)
    colors = [_GREY]
    is_labelled = entry.state in ("labelled", "changed")
    if is_labelled:
        session = read_session(session_path(entry.h5ad, entry.session), len(centres))
        assert session.run is not None
        values = session.run.unpack() + np.uint8(1)
        colors = [_parse(each.color) for each in session.run_classes]
    image, size = _address(entry.h5ad, root), known.slide.known_size
    raster = raster_of(centres, values, scale_in(known, spacing_of(centres)).stride)
    left, top, right, bottom = raster.extent
    if not image or size is None:
        box, width, height, image = (0.0, 0.0, 100.0, 100.0), right - left, bottom - top, ""
    else:
        width, height = float(size[0]), float(size[1])
        across, down = 100 / width, 100 / height
        box = (left * across, top * down, (right - left) * across, (bottom - top) * down)
    drawn = _draw(raster.values[1:-1, 1:-1], colors, _SEE_THROUGH if image else _OPAQUE)
    return Thumbnail(image, "" if image and not is_labelled else drawn, box, width / height)


def _address(h5ad: Path, root: Path) -> str:
    """Return the address of a tile that shows a slide's whole image, "" where it has none in the folder."""
    image = find_image(h5ad)
    if image is None or not image.is_relative_to(root):
        return ""
    return f"/{address(image.relative_to(root).as_posix())}_files/{_LEVEL}/0_0.jpeg"


def _parse(color: str) -> tuple[int, int, int]:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def _draw(values: npt.NDArray[np.uint8], colors: list[tuple[int, int, int]], alpha: int) -> str:
    """Return values, (rows, columns) uint8 from 0 on, as a PNG of a pixel each; 0 is nothing."""
    from PIL import Image

    table = np.zeros((256, 4), np.uint8)
    table[1 : len(colors) + 1] = [(*color, alpha) for color in colors]
    file = io.BytesIO()
    Image.fromarray(table[values], "RGBA").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
