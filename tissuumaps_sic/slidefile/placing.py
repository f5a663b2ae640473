"""The picture of a slide: where it lies, its pixels at any place and scale."""

from __future__ import annotations

import logging
import math
import os
import re
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
import numpy.typing as npt
from PIL import Image

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.names import path_of

if TYPE_CHECKING:
    from tissuumaps_sic.slidefile.pixels.source import Source

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

# Beyond so many pixels of a level, it is read in pieces that are made smaller at once.
_MOST_AT_ONCE = 2**24
_PIECE = 2048
# A level of a downsample of 4.0003 is one of 4: levels have whole numbers of pixels.
_COARSER = 1.001
# An address of another server, or of a file by its whole path.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|[A-Za-z]:\\|\\\\|data:")
# Files of which a folder beside them, of the same name, holds the pixels.
_WITH_FOLDER = (".mrxs",)


class ImageError(SicError):
    """A slide's pixels cannot be read; the message names the file, and says what to do."""


def layers_of(h5ad: Path) -> list[dict[str, Any]]:
    """Return the image layers of the TissUUmaps project beside an h5ad, or else of the one in it.

    Those whose image lies in the h5ad's folder or below it are told, whether it is there or not; whoever may
    save a project must not make the server read what it does not serve.
    """
    project = _project(h5ad)
    layers = project.get("layers")
    return [
        layer
        for layer in (layers if isinstance(layers, list) else ())
        if isinstance(layer, dict) and image_name(layer, h5ad.parent) is not None
    ]


def image_name(layer: dict[str, Any], folder: Path | None = None) -> str | None:
    """Return the path of a layer's image from its project's folder, with forward slashes; None if outside.

    Parameters
    ----------
    layer : dict
    folder : Path, optional
        The project's: images of older projects, whose addresses are plain paths, are known by what is there.
    """
    source = layer.get("tileSource")
    if not isinstance(source, str) or not source.endswith(".dzi") or source.startswith("/"):
        return None
    name = path_of(source.removesuffix(".dzi"), folder)
    path = PurePosixPath(name)
    # A colon or a backslash is a letter like others, but where they name drives and folders.
    foreign = os.name == "nt" and bool(set(name) & set(":\\"))
    if "\0" in name or foreign or _SCHEME.match(source):
        return None
    if "\\" in source and not (folder is not None and (folder / name).exists()):
        return None
    outside = path.is_absolute() or not path.parts or ".." in path.parts
    return None if outside else path.as_posix()


def find_image(h5ad: Path) -> Path | None:
    """Return a slide's image, by the project beside its h5ad or the one in it; None where it is not there."""
    for layer in layers_of(h5ad):
        path = h5ad.parent / str(image_name(layer, h5ad.parent))
        if path.exists():
            return path
    return None


def place_image(image: Path, folder: Path) -> str | None:
    """Make an image reachable from a folder that TissUUmaps serves; return its path there, or None.

    TissUUmaps serves nothing outside of the folder. An image that lies elsewhere is linked into it: by a
    symbolic link or, where the system has none for its users, a hard one.
    """
    within = folder.resolve()
    # Where it is named, not where it leads: the image may be a link to where the scanner put it.
    named = image.parent.resolve() / image.name
    if named.is_relative_to(within):
        return named.relative_to(within).as_posix()
    source = image.resolve()
    if source.is_relative_to(within):
        return source.relative_to(within).as_posix()
    if source.suffix.lower() == ".dcm":
        # The slide is all files beside this one.
        linked = _link(source.parent, within / named.parent.name)
        return f"{named.parent.name}/{source.name}" if linked else None
    parts = [(source, within / named.name)]
    if named.suffix.lower() in _WITH_FOLDER:
        parts.append((source.with_suffix(""), within / named.with_suffix("").name))
    return named.name if all(_link(each, target) for each, target in parts) else None


class SlideImage:
    """An open slide; made by `open_image`, closed by leaving its `with` block. Threads may share it.

    Attributes
    ----------
    path : Path
    size : (width, height)
        Level-0 pixels.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self._source = source
        self.size = source.level_sizes[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._source.close()

    def picture(self, x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Pixels:
        """Return a rectangle of the slide with as many pixels as asked for.

        The level is the coarsest that is fine enough. Where a pixel is a level's pixel, those are copied,
        from the nearest whole place; else they are resampled by a triangle filter that widens as it shrinks.

        Parameters
        ----------
        x, y, width, height : float
            Level-0 pixels; may reach beyond the slide, where it is white.
        size : (columns, rows)

        Returns
        -------
        ndarray of shape (rows, columns, 3), uint8
            RGB.

        Raises
        ------
        ImageError
            When the pixels cannot be read.
        """
        level = self._level(min(width / size[0], height / size[1]))
        down = self._source.level_downsamples[level]
        # Of each direction: where it begins, and level pixels per pixel of the result.
        begins = [x / down, y / down]
        steps = [width / down / size[0], height / down / size[1]]
        if all(abs(step - 1) <= 1e-6 for step in steps):
            return self._read(round(begins[0]), round(begins[1]), size[0], size[1], level)
        first, ends = [], []
        for begin, step, n, limit in zip(begins, steps, size, self._source.level_sizes[level], strict=True):
            start, end = math.floor(begin + 1e-6), math.ceil(begin + step * n - 1e-6)
            # What the filter sees beyond the rectangle, so far as there is a slide.
            reach = math.ceil(step) + 1
            first.append(start if start < 0 else max(start - reach, 0))
            ends.append(end if end > limit else min(end + reach, limit))
        spans = [end - start for start, end in zip(first, ends, strict=True)]
        factor = max(1, math.floor(min(steps))) if spans[0] * spans[1] > _MOST_AT_ONCE else 1
        region = self._reduced(first[0], first[1], spans[0], spans[1], level, factor)
        box = [(begin - start) / factor for begin, start in zip(begins, first, strict=True)]
        box += [at + step * n / factor for at, step, n in zip(box, steps, size, strict=True)]
        # By the rounding of a last digit it may lie outside of the region.
        limits = (region.shape[1], region.shape[0])
        inside = [min(max(at, 0), limits[place % 2]) for place, at in enumerate(box)]
        small = Image.fromarray(region).resize(
            size, Image.Resampling.BILINEAR, box=(inside[0], inside[1], inside[2], inside[3])
        )
        return np.asarray(small)

    def error(self, x: int, y: int, level: int, error: BaseException) -> ImageError:
        """Return what to raise where a library did not read a place of a level."""
        from tissuumaps_sic.slidefile.pixels.failure import explain

        return ImageError(
            f"{self.path.name}: its pixels at ({x}, {y}) of level {level} cannot be read "
            f"{explain(self.path, error)}"
        )

    def _level(self, scale: float) -> int:
        """Return the coarsest level with at most `scale` level-0 pixels per pixel; 0 where all have more."""
        downs = self._source.level_downsamples
        fits = [level for level, down in enumerate(downs) if down <= scale * _COARSER]
        return max(fits, key=lambda level: downs[level]) if fits else 0

    def _reduced(self, x: int, y: int, width: int, height: int, level: int, factor: int) -> Pixels:
        """Return a rectangle of a level, made smaller by a whole factor, by means of squares."""
        if factor == 1:
            return self._read(x, y, width, height, level)
        found = np.empty((math.ceil(height / factor), math.ceil(width / factor), 3), np.uint8)
        edge = max(1, _PIECE // factor) * factor
        for top in range(0, height, edge):
            for left in range(0, width, edge):
                piece = self._read(x + left, y + top, min(edge, width - left), min(edge, height - top), level)
                small = np.asarray(Image.fromarray(piece).reduce(factor))
                row, column = top // factor, left // factor
                found[row : row + small.shape[0], column : column + small.shape[1]] = small
        return found

    def _read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Return a rectangle of a level, in its pixels; white outside of the slide."""
        columns, rows = self._source.level_sizes[level]
        left, right = max(x, 0), min(x + width, columns)
        top, bottom = max(y, 0), min(y + height, rows)
        whole = (right - left, bottom - top) == (width, height)
        found = np.full((0 if whole else height, width, 3), 255, np.uint8)
        if left >= right or top >= bottom:
            return found
        from tissuumaps_sic.slidefile.pixels.opening import backend_errors

        try:
            inside = self._source.read(left, top, right - left, bottom - top, level)
        except backend_errors() as error:
            raise self.error(left, top, level, error) from error
        if whole:
            return inside
        found[top - y : bottom - y, left - x : right - x] = inside
        return found


def open_image(path: Path) -> SlideImage:
    """Open a slide's image by the same readers as it was embedded by: the same pixels lie at the same places.

    Raises
    ------
    ImageError
        When there is no such file, or no library reads it for certain.
    """
    from tissuumaps_sic.slidefile.pixels.opening import backend_errors, open_source
    from tissuumaps_sic.slidefile.pixels.source import SlideError

    if not path.exists():
        raise ImageError(f"{path}: no such file; name the slide's image with --image")
    try:
        source = open_source(path)
    except SlideError as error:
        raise ImageError(f"{error}; or name another image of the slide with --image") from error
    image = SlideImage(path, source)
    try:
        source.read(0, 0, 1, 1, 0)  # some files open, and have no pixels
    except backend_errors() as error:
        source.close()
        raise image.error(0, 0, 0, error) from error
    return image


def _project(h5ad: Path) -> dict[str, Any]:
    """Return the project beside an h5ad, else the one in it; nothing where neither can be read."""
    try:
        project = parse_json(h5ad.with_suffix(".tmap").read_bytes())
    except (OSError, ValueError):
        try:
            with h5py.File(h5ad, "r", locking=False) as file:
                project = parse_json(file["uns/tmap"].asstr()[()])
        except (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError):
            project = None
    return project if isinstance(project, dict) else {}


def _link(source: Path, target: Path) -> bool:
    """Link a file or folder; False where that cannot be done, or something else is there already."""
    try:
        if target.exists() and target.samefile(source):
            return True
        if target.exists() and not target.is_symlink():
            return False
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(source, target_is_directory=source.is_dir())
        except OSError:
            target.hardlink_to(source)
    except OSError:
        return False
    return True
