"""Labels as a TissUUmaps project, which shows them without any plugin."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.annotations import find_regions
from tissuumaps_sic.export.csv_rows import write_csv
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.slidefile.names import escape_markup
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.placing import image_name, layers_of, open_image, place_image
from tissuumaps_sic.slidefile.project import Canvas, empty_canvas, image_layer, marker_layer, marker_scale
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.regions import Region, scale_of, slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

_OPACITY = 0.6


def write_project(
    labelled: Labelled, target: Path, *, simplify: float = 0.0, blocks: bool = False, link: bool = True
) -> None:
    """Write a TissUUmaps project with the labels as squares that meet, the regions, and the slide's image.

    The squares are those of a CSV beside the project, ``<project>.csv`` (`write_csv`), grouped by label; the
    regions are in the project. The image is that of the ``.tmap`` beside the h5ad; one that lies in another
    folder is linked into the project's, since TissUUmaps serves nothing from outside. Without it the
    patches are shown alone, and the log says so.

    Parameters
    ----------
    labelled, target, simplify, blocks
        As for `write_regions`.
    link : bool, default=True
        Whether to link the image; without, the project names it as the one beside the h5ad does, and is to
        be put into that folder.

    Raises
    ------
    ExportError, OSError
        When the patches do not lie on a grid, a file cannot be written, or `target` is the project that the
        slide is annotated in.
    """
    slide = labelled.slide
    own = slide.path.with_suffix(".tmap")
    if target.resolve() == own.resolve():
        raise ExportError(
            f"{target}: is the project that the slide is annotated in; give the result another name"
        )
    regions, of_labels = find_regions(labelled, simplify=simplify, blocks=blocks)
    classes = labelled.arrange().classes
    scale = scale_of(slide)
    layers = _layers(slide, target.parent, link=link)
    canvas = empty_canvas(slide.centres)
    if layers and (size := _image_size(slide)) is not None:
        canvas = Canvas(float(size[0]))
    edge = marker_scale(canvas.zoom * scale.stride[0], width=canvas.width)
    markers = target.with_name(f"{target.name}.csv")
    project: dict[str, Any] = {
        "schemaVersion": "1.3",
        "filename": escape_markup(f"{slide.name}: labels"),
        "layers": layers,
        "markerFiles": [_markers(markers.name, classes, edge)],
        "regions": {
            name: _region(name, each, of_labels[each.label], canvas)
            for name, each in ((f"label{each.label}", each) for each in regions)
        },
    }
    if scale.mpp:
        project["mpp"] = sum(scale.mpp) / 2 / canvas.zoom
    # The project last: it is what a person opens. The viewer puts a label into its tooltips as HTML.
    plain = tuple(SeedClass(name=escape_markup(each.name), color=each.color) for each in labelled.classes)
    write_csv(replace(labelled, classes=plain), markers)
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        for piece in json.JSONEncoder(indent=None).iterencode(project):
            file.write(piece)


def _markers(path: str, classes: Sequence[SeedClass], scale_factor: float) -> dict[str, Any]:
    header = {
        "X": "x",
        "Y": "y",
        "gb_col": "label",
        # By the names as the CSV has them.
        "cb_gr_dict": json.dumps({as_text(escape_markup(each.name)): each.color for each in classes}),
        "shape_fixed": "square",
        "scale_factor": round(scale_factor, 6),
        "coord_factor": 1,
        "opacity": _OPACITY,
        "collectionItem_fixed": "0",
        "tooltip_fmt": "{key}, score {col_score}",
    }
    return marker_layer(
        path, title="Labels", name="Labels", uid="labels", header=header, on=("cb_gr", "cb_gr_dict")
    )


def _region(name: str, region: Region, seed_class: SeedClass, canvas: Canvas) -> dict[str, Any]:
    """Return a region as TissUUmaps keeps those of a project: polygons of rings of {x, y}."""

    def points(ring: Any) -> list[dict[str, float]]:
        coordinates = shapely.get_coordinates(ring)
        if canvas.origin is not None:
            coordinates = (coordinates - canvas.origin) * canvas.zoom
        return [{"x": x, "y": y} for x, y in np.round(coordinates, 3).tolist()]

    left, top, right, bottom = region.shape.bounds
    if canvas.origin is not None:
        left, right = ((each - canvas.origin[0]) * canvas.zoom for each in (left, right))
        top, bottom = ((each - canvas.origin[1]) * canvas.zoom for each in (top, bottom))
    polygons = [
        [points(ring) for ring in (polygon.exterior, *polygon.interiors)] for polygon in region.shape.geoms
    ]
    return {
        "id": name,
        "globalPoints": polygons,
        "regionName": escape_markup(seed_class.name),
        "regionClass": escape_markup(seed_class.name),
        "barcodeHistogram": [],
        "visibility": True,
        "collectionIndex": 0,
        "len": len(polygons),
        "polycolor": seed_class.color,
        "_gxmin": left,
        "_gxmax": right,
        "_gymin": top,
        "_gymax": bottom,
        "associatedPoints": [],
    }


def _layers(slide: EmbeddedSlide, folder: Path, *, link: bool) -> list[dict[str, Any]]:
    """Return the image layers of the project beside the h5ad, by the paths that they have from `folder`."""
    layers = []
    for layer in layers_of(slide.path):
        name = image_name(layer, slide.path.parent)
        path = slide.path.parent / str(name)
        if not path.exists():
            log.warning("%s: its image %s is missing; the project shows its patches alone", slide.name, name)
            continue
        placed = place_image(path, folder) if link else name
        if placed is None:
            log.warning(
                "%s: its image %s could not be linked into %s, so the project shows its patches alone; copy "
                "the image there and export again",
                slide.name,
                path,
                folder,
            )
            continue
        layers.append(layer | image_layer(str(layer.get("name", "")), str(placed)))
    return layers


def _image_size(slide: EmbeddedSlide) -> tuple[int, int] | None:
    """Return the size of the first image layer, as the h5ad or else the image tells it."""
    known = slide_size_of(slide)
    if known is not None:
        return known
    path = slide.path.parent / str(image_name(layers_of(slide.path)[0], slide.path.parent))
    try:
        with open_image(path) as image:
            return image.size
    except SlideError as error:
        log.warning("%s; the squares of the patches may not meet", error)
        return None
