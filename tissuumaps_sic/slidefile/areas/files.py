"""Drawings from files: which reader for which file, and what is told of them."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

from tissuumaps_sic.slidefile.areas import asap, geojson
from tissuumaps_sic.slidefile.areas.area import AreaError, Areas

log = logging.getLogger(__name__)

GEOJSON = (".geojson", ".json", ".geojson.gz", ".json.gz")
ASAP = (".xml",)
DRAWINGS = GEOJSON + ASAP
# More than a million outlines of cells, as text.
_MOST_BYTES = 1 << 31


def is_drawing(path: Path) -> bool:
    """Tell whether a file holds polygons, by its name."""
    return path.name.lower().endswith(DRAWINGS)


def read_areas(path: Path) -> Areas:
    """Read the polygons that somebody drew.

    Parameters
    ----------
    path : Path
        GeoJSON (QuPath's or any other's, also with ``.gz``) or the XML of ASAP, by its ending.

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
    content = _content(path)
    is_xml = name.lower().endswith(ASAP)
    areas, left_out = (asap if is_xml else geojson).areas_in(name, content)
    if not areas:
        if left_out.lines and not left_out.empty:
            raise AreaError(
                f"{name}: its {left_out.count} annotations are points or lines; draw the areas as polygons"
            )
        raise AreaError(f"{name}: holds no polygon{f', but {left_out}' if str(left_out) else ''}; draw some")
    if str(left_out):
        log.warning("%s: left out %s", name, left_out)
    # QuPath crops a slide to what was scanned of it; ASAP does not.
    return Areas(name, tuple(areas), from_bounds=not is_xml)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise AreaError(f"{path}: no such file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        # By what it is and not by its name, which unpacking by hand leaves as it was.
        if content.startswith(b"\x1f\x8b"):
            unpacking = zlib.decompressobj(wbits=31)
            packed, content = content, unpacking.decompress(content, _MOST_BYTES + 1)
            if not unpacking.eof and len(content) <= _MOST_BYTES:
                raise AreaError(f"{path.name}: is cut short ({len(packed)} bytes packed); copy it again")
    except OSError as error:
        raise AreaError(f"{path.name}: cannot be read ({error.strerror or error})") from error
    except zlib.error as error:
        raise AreaError(f"{path.name}: cannot be unpacked ({error}); copy or export it again") from error
    if len(content) > _MOST_BYTES:
        raise AreaError(f"{path.name}: is larger than {_MOST_BYTES >> 30} GiB, which no drawing is")
    return content
