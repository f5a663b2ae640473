"""Pixels of an OME-Zarr (NGFF 0.4 and 0.5) slide."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from embedder.ome import micrometres, names_are_rgb
from embedder.sources import Pixels, Size, SlideError


class OmeZarrSource:
    """Pixels of the first image of an OME-Zarr folder; see `sources.Source`.

    Raises
    ------
    SlideError
        It is no OME-Zarr, is no 8-bit RGB or grey image, or has more than one plane.
    """

    bounds: tuple[int, int, int, int] | None = None
    objective_power: float | None = None
    quick_hash: str | None = None

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
            self._levels: list[Any] = [group[each["path"]] for each in image["datasets"]]
            scale = _scale(image, axes)
            names = _channel_names(group)
        except (KeyError, TypeError, ValueError, OSError, IndexError) as error:
            raise SlideError(
                f"{path.name!r} cannot be read as OME-Zarr ({type(error).__name__}: "
                f"{' '.join(str(error).split())}); it may be incomplete"
            ) from error
        first = self._levels[0]
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
        self.tagged_mpp: tuple[float, float] | None = None if x is None or y is None else (x, y)

    def read(self, x: int, y: int, width: int, height: int, level: int) -> Pixels:
        """Give a rectangle that lies inside a level, as RGB."""
        wanted = {"x": slice(x, x + width), "y": slice(y, y + height), "c": slice(None)}
        block = np.asarray(self._levels[level][tuple(wanted.get(axis, 0) for axis in self._axes)])
        kept = [axis for axis in self._axes if axis in wanted]
        block = block.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        if block.ndim == 2:
            block = block[..., None]
        return np.ascontiguousarray(np.broadcast_to(block, (height, width, 3)))

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


def _scale(image: dict[str, Any], axes: list[str]) -> dict[str, float]:
    """Return the size of a pixel of the finest level along each axis, in the axis' unit."""
    transforms = itertools.chain(
        image["datasets"][0].get("coordinateTransformations", ()), image.get("coordinateTransformations", ())
    )
    scales = [each["scale"] for each in transforms if each["type"] == "scale"]
    return {axis: float(np.prod([scale[k] for scale in scales])) for k, axis in enumerate(axes)}


def _channel_names(group: Any) -> tuple[str, ...]:
    attributes = dict(group.attrs)
    channels = (attributes.get("omero") or attributes.get("ome", {}).get("omero") or {}).get("channels") or []
    names = tuple(str(each.get("label") or "") for each in channels)
    return names if len(names) == 3 else ("", "", "")
