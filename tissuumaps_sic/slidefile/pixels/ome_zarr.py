"""Pixels of an OME-Zarr (NGFF 0.4 and 0.5) slide."""

from __future__ import annotations

import itertools
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tissuumaps_sic.slidefile.pixels.failure import explain, names_missing_codec
from tissuumaps_sic.slidefile.pixels.ome_xml import micrometres, names_are_rgb
from tissuumaps_sic.slidefile.pixels.source import (
    PixelError,
    Pixels,
    Size,
    SlideError,
    both_directions,
    has_same_shape,
)

log = logging.getLogger(__name__)


class OmeZarrSource:
    """Pixels of the first image of an OME-Zarr folder; see `Source`.

    Raises
    ------
    SlideError
        It is no OME-Zarr, is no 8-bit RGB or grey image, or has more than one plane.
    """

    bounds: tuple[int, int, int, int] | None = None
    objective_power: float | None = None
    quick_hash: str | None = None
    overview_pixels: int | None = None
    profile: bytes | None = None

    def __init__(self, path: Path) -> None:
        import zarr

        try:
            group: Any = zarr.open_group(path, mode="r")
            image = _multiscales(group)
            if image is None and "0" in group:
                group = group["0"]  # as bioformats2raw lays out several images
                image = _multiscales(group)
            if image is None:
                raise SlideError(f"{path.name!r} is no OME-Zarr: it has no multiscales")
            axes = [each["name"] for each in image["axes"]]
            units = {each["name"]: each.get("unit") for each in image["axes"]}
            across, down = axes.index("x"), axes.index("y")
            levels = [(group[each["path"]], _scale(image, each, axes)) for each in image["datasets"]]
            # The specification puts the largest first; not every program does.
            levels.sort(key=lambda level: -level[0].shape[across] * level[0].shape[down])
            first, scale = levels[0]
            size = (first.shape[across], first.shape[down])
            self._levels: list[Any] = [
                level for level, _ in levels if has_same_shape((level.shape[across], level.shape[down]), size)
            ]
            names = _channel_names(group)
        except (KeyError, TypeError, ValueError, OSError, IndexError, AttributeError) as error:
            if names_missing_codec(f"{type(error).__name__}: {error}"):
                raise SlideError(
                    f"{path.name!r} cannot be read as OME-Zarr {explain(path, error)}"
                ) from error
            raise SlideError(
                f"{path.name!r} cannot be read as OME-Zarr ({type(error).__name__}: "
                f"{' '.join(str(error).split())}); it may be incomplete"
            ) from error
        self._path = path
        self._told_of_gaps = False
        sizes = dict(zip(axes, first.shape, strict=True))
        if any(size != 1 for axis, size in sizes.items() if axis not in "cyx"):
            raise SlideError(f"{path.name!r} has several planes or times ({sizes}); export one of them")
        channels = sizes.get("c", 1)
        if first.dtype != np.uint8 or channels not in (1, 3) or (channels == 3 and not names_are_rgb(names)):
            told = f" ({', '.join(names)})" if any(names) else ""
            raise SlideError(
                f"{path.name!r} has {channels} channels{told} of {first.dtype}; export it as 8-bit RGB "
                "(bright field), or one channel of it"
            )
        self._axes = axes
        self.level_sizes: tuple[Size, ...] = tuple(self._size(level) for level in self._levels)
        width, height = self.level_sizes[0]
        self.level_downsamples: tuple[float, ...] = tuple(
            (width / w + height / h) / 2 for w, h in self.level_sizes
        )
        self.tile_sizes: tuple[Size | None, ...] = tuple(
            (int(level.chunks[axes.index("x")]), int(level.chunks[axes.index("y")])) for level in self._levels
        )
        x, y = (micrometres(scale[axis], units[axis]) if units[axis] else None for axis in "xy")
        self.tagged_mpp: tuple[float, float] | None = both_directions(x, y)

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Give a rectangle that lies inside a level, as RGB.

        Parameters
        ----------
        x, y, width, height : int
            Pixels of the level.
        level : int

        Returns
        -------
        uint8 array of shape (height, width, 3)

        Raises
        ------
        PixelError
            zarr does not give them.
        """
        wanted = {"x": slice(x, x + width), "y": slice(y, y + height), "c": slice(None)}
        array = self._levels[level]
        try:
            block = np.asarray(array[tuple(wanted.get(axis, 0) for axis in self._axes)])
        except (ValueError, RuntimeError, TypeError, LookupError, zlib.error) as error:
            raise PixelError(f"{type(error).__name__}: {error}") from error
        kept = [axis for axis in self._axes if axis in wanted]
        block = block.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        if block.ndim == 2:
            block = block[..., None]
        pixels = np.ascontiguousarray(np.broadcast_to(block, (height, width, 3)))
        return self._whiten_gaps(pixels, x, y, array)

    def _whiten_gaps(self, pixels: Pixels, x: int, y: int, array: Any) -> Pixels:
        """Make chunks that are not there white: nothing was scanned, and black would be tissue."""
        if array.fill_value:
            return pixels
        across, down = self._axes.index("x"), self._axes.index("y")
        # Of chunks that lie in one file together, only the file can be looked for.
        shape = getattr(array, "shards", None) or array.chunks
        wide, high = int(shape[across]), int(shape[down])
        height, width, _ = pixels.shape
        for row in range(y // high, (y + height - 1) // high + 1):
            rows = slice(max(row * high - y, 0), min((row + 1) * high - y, height))
            for column in range(x // wide, (x + width - 1) // wide + 1):
                part = pixels[rows, max(column * wide - x, 0) : min((column + 1) * wide - x, width)]
                if part[0, 0].any() or part.any():
                    continue
                index = [0] * len(self._axes)
                index[across], index[down] = column, row
                if (self._path / array.path / array.metadata.encode_chunk_key(tuple(index))).exists():
                    continue
                part[:] = 255
                if not self._told_of_gaps:
                    self._told_of_gaps = True
                    log.warning(
                        "%r lacks some of its chunks; they are taken to be white, as where nothing was "
                        "scanned. If it should have all, copy it again",
                        self._path.name,
                    )
        return pixels

    def reopen(self, path: Path) -> OmeZarrSource:
        """See `Source`."""
        return OmeZarrSource(path)

    def close(self) -> None:
        """Let go of the arrays; their files are open only while they are read."""
        self._levels = []

    def _size(self, level: Any) -> Size:
        return int(level.shape[self._axes.index("x")]), int(level.shape[self._axes.index("y")])


def _multiscales(group: Any) -> dict[str, Any] | None:
    """Return the first image that a group's metadata describe: at the top in 0.4, under "ome" in 0.5."""
    attributes = dict(group.attrs)
    found = (attributes.get("ome") or attributes).get("multiscales")
    return found[0] if found else None


def _scale(image: dict[str, Any], dataset: dict[str, Any], axes: list[str]) -> dict[str, float]:
    """Return the size of a pixel of a level along each axis, in the axis' unit."""
    transforms = itertools.chain(
        dataset.get("coordinateTransformations", ()), image.get("coordinateTransformations", ())
    )
    scales = [each["scale"] for each in transforms if each["type"] == "scale"]
    return {axis: float(np.prod([scale[k] for scale in scales])) for k, axis in enumerate(axes)}


def _channel_names(group: Any) -> tuple[str, ...]:
    attributes = dict(group.attrs)
    channels = (attributes.get("omero") or attributes.get("ome", {}).get("omero") or {}).get("channels") or []
    names = tuple(str(each.get("label") or "") for each in channels)
    return names if len(names) == 3 else ("", "", "")
