"""Regions as GeoJSON, as QuPath reads it: a FeatureCollection of annotations with their classes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import shapely

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.regions import Region, Scale


def write_geojson(
    regions: Sequence[Region], classes: Sequence[SeedClass], scale: Scale, target: Path
) -> None:
    """Write one annotation for each class, with its area, the tissue in it and its share as measurements.

    QuPath counts from the corner of the part that was scanned (OpenSlide's bounds), which is subtracted.
    It is written ring by ring, so that regions of many small pieces are never in memory as text. A name that
    ends in ``.gz`` is compressed.

    Parameters
    ----------
    regions : sequence of Region
    classes : sequence of SeedClass
        By label.
    scale : Scale
    target : Path

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    with replacing(target) as temporary, _open(temporary, compressed=target.suffix == ".gz") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for place, region in enumerate(regions):
            file.write(",\n" if place else "\n")
            file.writelines(_feature(region, classes[region.label], scale))
        file.write("\n]}\n")


def _feature(region: Region, seed_class: SeedClass, scale: Scale) -> Iterator[str]:
    """Yield the text of a feature, in pieces of one ring at most."""
    measurements = {"Share %": 100 * region.share}
    if region.area is not None:
        measurements["Area mm^2"] = region.area
    if region.tissue is not None:
        measurements["Tissue mm^2"] = region.tissue
    properties = {
        "objectType": "annotation",
        "name": seed_class.name,
        "classification": {
            "name": seed_class.name,
            "color": [int(seed_class.color[place : place + 2], 16) for place in (1, 3, 5)],
        },
        "isLocked": False,
        "measurements": measurements,
    }
    yield '{"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": ['
    for place, polygon in enumerate(region.shape.geoms):
        yield ", [" if place else "["
        for number, ring in enumerate((polygon.exterior, *polygon.interiors)):
            moved = shapely.get_coordinates(ring) - scale.origin
            yield (", " if number else "") + json.dumps(moved.tolist())
        yield "]"
    yield f']}}, "properties": {json.dumps(properties)}}}'


@contextmanager
def _open(path: Path, *, compressed: bool) -> Iterator[IO[str]]:
    if compressed:
        with gzip.open(path, "wt", encoding="utf-8") as file:
            yield file
    else:
        with path.open("w", encoding="utf-8") as file:
            yield file
