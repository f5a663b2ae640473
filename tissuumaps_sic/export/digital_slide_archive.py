"""Regions as an annotation of the Digital Slide Archive: polygons with holes, in large_image's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.colors import rgb_of
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.annotations import find_regions
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.regions import Region

_FILL = 0.3


def write_dsa(labelled: Labelled, target: Path, *, simplify: float = 0.0, blocks: bool = False) -> None:
    """Write the region of each class as closed polylines with holes, in a group that has the class's name.

    The file is what HistomicsUI's *Upload* and girder's ``POST /annotation`` take. Coordinates are level-0
    pixels of the whole slide.

    Parameters
    ----------
    labelled, target, simplify, blocks
        As for `write_regions`.

    Raises
    ------
    ExportError, OSError
        When the patches do not lie on a grid, or the file cannot be written.
    """
    regions, classes = find_regions(labelled, simplify=simplify, blocks=blocks)
    run = labelled.run
    head = {
        "name": f"{labelled.slide.name}: labels",
        "description": f"tissuumaps-sic {__version__}, {run.method}, {run.time}",
        "attributes": {"classes": [classes[region.label].model_dump() for region in regions]},
    }
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        # A polygon at a time, so that all of them are never in memory as text.
        file.write(json.dumps(head).removesuffix("}") + ', "elements": [')
        elements = (element for region in regions for element in _elements(region, classes[region.label]))
        for place, element in enumerate(elements):
            file.write(",\n" if place else "\n")
            file.write(json.dumps(element))
        file.write("\n]}\n")


def _elements(region: Region, seed_class: SeedClass) -> Iterator[dict[str, Any]]:
    red, green, blue = rgb_of(seed_class.color)
    for polygon in region.shape.geoms:
        element: dict[str, Any] = {
            "type": "polyline",
            "closed": True,
            "points": _points(polygon.exterior),
            "label": {"value": seed_class.name},
            "group": seed_class.name,
            "lineColor": f"rgb({red}, {green}, {blue})",
            "lineWidth": 2,
            "fillColor": f"rgba({red}, {green}, {blue}, {_FILL:g})",
        }
        if polygon.interiors:
            element["holes"] = [_points(ring) for ring in polygon.interiors]
        yield element


def _points(ring: Any) -> list[list[float]]:
    """Return the corners of a ring as (x, y, 0), without the last one, which is the first again."""
    corners = shapely.get_coordinates(ring)[:-1]
    points: list[list[float]] = np.column_stack([corners, np.zeros(len(corners))]).tolist()
    return points
