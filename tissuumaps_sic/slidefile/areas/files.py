"""Drawings from files: which reader for which file, and what is told of them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from tissuumaps_sic.slidefile.areas import asap, geojson, imagescope, ndpa
from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Areas, Stage
from tissuumaps_sic.slidefile.areas.left_out import LeftOut
from tissuumaps_sic.slidefile.documents import parse_xml
from tissuumaps_sic.slidefile.packed import GZIP, unpack

log = logging.getLogger(__name__)

GEOJSON = (".geojson", ".json", ".geojson.gz", ".json.gz")
XML = (".xml", ".ndpa")
DRAWINGS = GEOJSON + XML
# More than a million outlines of cells, as text.
_MOST_BYTES = 1 << 31


def is_drawing(path: Path) -> bool:
    """Tell whether a file holds drawings, by its name.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    return path.name.lower().endswith(DRAWINGS)


def read_drawings(path: Path, *, stage: Stage | None = None) -> Areas:
    """Read the polygons and points that somebody drew.

    Parameters
    ----------
    path : Path
        GeoJSON (QuPath's or any other's, also with ``.gz``), the XML of ASAP or of Aperio ImageScope, or the
        annotations of Hamamatsu's NDP.view (``.ndpa``).
    stage : Stage, optional
        Where the scan lies on the glass slide, which the last are counted from.

    Returns
    -------
    Areas
        What is neither (lines, polygons and holes that enclose nothing) is left out, and told by
        `Areas.left_out`.

    Raises
    ------
    AreaError
        When the file cannot be read, something in it is not as it should be, or it holds neither.
    """
    areas, left_out, is_xml = _read(path, stage)
    told = left_out.tell(points=False)
    if not areas:
        raise AreaError(f"{path.name}: holds no polygon and no point{f', but {told}' if told else ''}")
    # QuPath crops a slide to what was scanned of it; the others do not.
    return Areas(path.name, tuple(areas), from_bounds=not is_xml, left_out=told)


def read_areas(path: Path, *, stage: Stage | None = None) -> Areas:
    """Read the polygons that somebody drew.

    Parameters
    ----------
    path : Path
        As `read_drawings`.
    stage : Stage, optional
        As `read_drawings`.

    Returns
    -------
    Areas
        What has no area (points, lines, polygons and holes that enclose nothing) is left out, and told.

    Raises
    ------
    AreaError
        When the file cannot be read, something in it is not as it should be, or it holds no polygon.
    """
    name = path.name
    found, left_out, is_xml = _read(path, stage)
    areas = tuple(replace(area, points=area.points[:0]) for area in found if area.polygons)
    told = left_out.tell(points=True)
    if not areas:
        if (left_out.lines or left_out.points) and not left_out.empty:
            raise AreaError(
                f"{name}: its {left_out.count} annotations are points or lines; draw the areas as polygons"
            )
        raise AreaError(f"{name}: holds no polygon{f', but {told}' if told else ''}; draw some")
    if told:
        log.warning("%s: left out %s", name, told)
    return Areas(name, areas, from_bounds=not is_xml, left_out=told)


def _read(path: Path, stage: Stage | None) -> tuple[list[Area], LeftOut, bool]:
    """Return what a file holds, what of it is neither polygon nor point, and whether it is XML."""
    name, content = path.name, _content(path)
    if not name.lower().removesuffix(".gz").endswith(XML):
        return *geojson.areas_in(name, content), False
    try:
        root = parse_xml(content)
    except ValueError as error:
        raise AreaError(f"{name}: cannot be read ({error}); export it again") from error
    # By what it is and not by its name: each of the three programs calls its files .xml, or may.
    match root.tag:
        case "ASAP_Annotations":
            return *asap.areas_in(name, root), True
        case "Annotations":
            return *imagescope.areas_in(name, root), True
        case "annotations":
            return *ndpa.areas_in(name, root, stage), True
    raise AreaError(
        f"{name}: begins with <{root.tag[:40]}>, and the XML of ASAP with <ASAP_Annotations>, of ImageScope "
        "with <Annotations>, of NDP.view with <annotations>; export the annotations as GeoJSON instead"
    )


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise AreaError(f"{path}: no such file; name the file of drawings")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        # By what it is and not by its name, which unpacking by hand leaves as it was.
        if content.startswith(GZIP):
            content = unpack(content, _MOST_BYTES)
    except OSError as error:
        raise AreaError(f"{path.name}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise AreaError(f"{path.name}: {error}; copy or export it again") from error
    if len(content) > _MOST_BYTES:
        raise AreaError(
            f"{path.name}: is larger than {_MOST_BYTES >> 30} GiB, which no drawing is; export fewer "
            "annotations"
        )
    return content
