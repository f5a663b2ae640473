"""Regions as GeoJSON, as QuPath reads it: a FeatureCollection of annotations with their classes."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import shapely

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.colors import rgb_of
from tissuumaps_sic.export.review import Mark
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.regions import Region, Scale


def write_geojson(
    regions: Sequence[Region],
    classes: Sequence[SeedClass],
    scale: Scale,
    target: Path | str,
    *,
    marks: Sequence[Mark] = (),
) -> None:
    """Write one annotation for each class, with its areas and share as measurements, and one for each note.

    QuPath counts from the corner of the part that was scanned (OpenSlide's bounds), which is subtracted.
    It is written ring by ring, so that regions of many small pieces are never in memory as text. A name that
    ends in ``.gz`` is compressed.

    Parameters
    ----------
    regions : sequence of Region
        Level-0 pixels of the whole slide.
    classes : sequence of SeedClass
        By label.
    scale : Scale
        Whose origin is subtracted.
    target : Path
    marks : sequence of Mark, default=()
        Those of the slide as a whole, which has no place, are in a member ``notes`` beside the features.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    target = Path(target)
    with replacing(target) as temporary, _open(temporary, compressed=target.suffix == ".gz") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for place, region in enumerate(regions):
            file.write(",\n" if place else "\n")
            file.writelines(_feature(region, classes[region.label], scale))
        for place, mark in enumerate(each for each in marks if each.points):
            file.write(",\n" if place or regions else "\n")
            file.write(json.dumps(_mark(mark, scale)))
        of_slide = [mark.text for mark in marks if not mark.points]
        file.write(f'\n], "notes": {json.dumps(of_slide)}}}\n' if of_slide else "\n]}\n")


def _mark(mark: Mark, scale: Scale) -> dict[str, Any]:
    """Return a note as a feature: a point, or the outline of a part."""
    points = [[x - scale.origin[0], y - scale.origin[1]] for x, y in mark.points]
    geometry: dict[str, Any] = {"type": "Point", "coordinates": points[0]}
    if len(points) > 1:
        geometry = {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    properties = {"objectType": "annotation", "name": mark.text, "isLocked": False, "description": mark.by}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


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
            "color": rgb_of(seed_class.color),
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
        # Without the name of the temporary file and the time, so that the same regions are the same bytes.
        with (
            path.open("wb") as packed,
            gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as unpacked,
            io.TextIOWrapper(unpacked, encoding="utf-8") as file,
        ):
            yield file
    else:
        with path.open("w", encoding="utf-8") as file:
            yield file
