"""GeoJSON, QuPath's or any other's: collections, lists of features, or bare geometries."""

# ruff: noqa: TRY004 -- whatever is wrong in a file is a ValueError here, and told by the feature's number

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Points, Polygon
from tissuumaps_sic.slidefile.areas.left_out import LeftOut
from tissuumaps_sic.slidefile.areas.rings import points_of, polygon_of, short
from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.spelling import strip

_POINTS = ("Point", "MultiPoint")
_LINES = ("LineString", "MultiLineString")


def areas_in(name: str, content: bytes) -> tuple[list[Area], LeftOut]:
    """Return the polygons and points in a GeoJSON text, and what of it is none.

    Parameters
    ----------
    name : str
        The file's, for messages.
    content : bytes
        The text, in any encoding that JSON may have.

    Returns
    -------
    areas : list of Area
    left_out : LeftOut

    Raises
    ------
    AreaError
        When it is no GeoJSON, or a feature is not as it should be: told by its number, from 1.
    """
    try:
        document = parse_json(content)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise AreaError(f"{name}: is no GeoJSON ({reason}); export it again") from error
    is_object = isinstance(document, dict) and ("type" in document or "geometry" in document)
    if not isinstance(document, list) and not is_object:
        raise AreaError(f"{name}: is no GeoJSON of polygons, but {short(document)}; export it again")
    areas: list[Area] = []
    left_out = LeftOut("feature")
    number = 0
    try:
        for number, feature in enumerate(_features(document), 1):
            left_out.count = number
            properties, geometry = _parts(feature)
            values, classed = _names(properties)
            points: list[Points] = []
            polygons = tuple(_polygons(geometry, number, left_out, points))
            places = np.concatenate([np.empty((0, 2)), *points])
            if polygons or len(places):
                areas.append(Area(values, classed, polygons, places, _color(properties)))
    except ValueError as error:
        raise AreaError(
            f"{name}: feature {max(number, 1)} {error}; correct it, or export it again"
        ) from error
    return areas, left_out


def _features(document: Any) -> Iterator[Any]:
    """Yield what stands where a feature must, in collections and lists of any depth."""
    if isinstance(document, list):
        for each in document:
            yield from _features(each)
    elif isinstance(document, dict) and document.get("type") == "FeatureCollection":
        if not isinstance(document.get("features"), list):
            raise ValueError("is missing: a FeatureCollection holds no list of features")
        yield from _features(document["features"])
    else:
        yield document


def _parts(feature: Any) -> tuple[Any, Any]:
    """Return the properties and the geometry of a feature; a bare geometry has no properties."""
    kind = feature.get("type") if isinstance(feature, dict) else None
    if isinstance(feature, dict) and "geometry" in feature:
        return feature.get("properties"), feature["geometry"]
    if kind == "Feature":
        raise ValueError("has no geometry, not even null")
    if not isinstance(kind, str):
        raise ValueError(f"is no feature, but {short(feature)}")
    return None, feature


def _names(properties: Any) -> tuple[tuple[str, ...], bool]:
    """Return what a feature's class may be called, and whether that is a class at all.

    QuPath has written a class as ``{"name": ...}``, as ``{"names": [...]}`` for a class of a class, and as a
    mere string; ``Tumor: Positive`` is also a ``Tumor``.
    """
    if properties is None:
        return (), False
    if not isinstance(properties, dict):
        raise ValueError(f"has properties that are no object ({short(properties)})")
    known = properties.get("classification")
    if isinstance(known, dict):
        known = known.get("name") or known.get("names")
    if isinstance(known, list) and all(isinstance(each, str) for each in known):
        known = ": ".join(map(strip, known))
    name = _name(known, "classification")
    if name:
        ends = reversed([match.start() for match in re.finditer(r"\s*:\s+", name)])
        return (name, *(name[:end] for end in ends if end)), True
    own = properties.get("name")
    own = _name(own, "name") if isinstance(own, str | int | float) else ""
    return ((own,) if own else ()), False


def _name(value: Any, what: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return strip(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if isinstance(value, int) else f"{value:g}"
    raise ValueError(f"has a {what} that is no name ({short(value)})")


def _color(properties: Any) -> str | None:
    """Return the colour of a feature's class, or else its own, where it can be understood.

    QuPath writes ``[red, green, blue]``, and wrote one number, ``colorRGB``, with blue in its lowest byte.
    """
    known = properties.get("classification") if isinstance(properties, dict) else None
    for holder in (known, properties):
        if not isinstance(holder, dict):
            continue
        for key in ("color", "colorRGB"):
            given = holder.get(key)
            if isinstance(given, int) and not isinstance(given, bool):
                return f"#{given & 0xFFFFFF:06x}"
            if isinstance(given, list) and len(given) == 3 and all(_is_byte(each) for each in given):
                return "#{:02x}{:02x}{:02x}".format(*given)
    return None


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _polygons(geometry: Any, number: int, left_out: LeftOut, points: list[Points]) -> Iterator[Polygon]:
    """Yield each polygon of a geometry; points are gathered, lines and what is empty are noted."""
    if geometry is None:
        left_out.empty.append(number)
        return
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind in _LINES:
        left_out.lines.append(number)
    elif kind in _POINTS:
        left_out.points.append(number)
        listed = _list(geometry, "coordinates")
        points.append(points_of(listed if kind == "MultiPoint" or not listed else [listed]))
    elif kind == "GeometryCollection":
        for part in _list(geometry, "geometries"):
            yield from _polygons(part, number, left_out, points)
    elif kind in ("Polygon", "MultiPolygon"):
        listed = _list(geometry, "coordinates")
        if not listed:
            left_out.empty.append(number)
        yield from _enclosed([listed] if kind == "Polygon" and listed else listed, number, left_out)
    else:
        what = short(kind if isinstance(kind, str) else geometry)
        raise ValueError(f"has a geometry {what}, which GeoJSON does not know")


def _enclosed(listed: list[Any], number: int, left_out: LeftOut) -> Iterator[Polygon]:
    """Yield each polygon of a list of rings of each; what encloses nothing is noted."""
    for rings in listed:
        if not isinstance(rings, list):
            raise ValueError(f"is wrongly nested: {short(rings)} stands where rings must be")
        polygon, holes = polygon_of(rings)
        if polygon is None:
            left_out.empty.append(number)
        else:
            left_out.holes.extend([number] * holes)
            yield polygon


def _list(geometry: Mapping[str, Any], key: str) -> list[Any]:
    if key not in geometry:
        raise ValueError(f"has a {geometry['type']} without {key}")
    value = geometry[key]
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"has {key} that are no list ({short(value)})")
    return value
