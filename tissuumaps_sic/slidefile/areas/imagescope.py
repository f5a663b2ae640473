"""The XML of Aperio ImageScope: layers (``Annotation``) of regions, of which negative ones are holes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Polygon, Ring
from tissuumaps_sic.slidefile.areas.left_out import LeftOut
from tissuumaps_sic.slidefile.areas.rings import polygon_of
from tissuumaps_sic.slidefile.areas.round import ellipse
from tissuumaps_sic.slidefile.areas.xml_values import attribute
from tissuumaps_sic.slidefile.spelling import strip

# What a region's Type says; files of other programs leave it out of outlines.
_OUTLINE, _RECTANGLE, _ELLIPSE = "0", "1", "2"
_LINES = ("3", "4")


def areas_in(name: str, root: ET.Element) -> tuple[list[Area], LeftOut]:
    """Return the regions in ImageScope's XML, and what of it is none.

    A region's class is its layer: the layer's name, or else what is written in the layer's attributes. Where
    it has neither, the region's own text is its class. What is left of that is called by the layer's number.

    Parameters
    ----------
    name : str
        The file's, for messages.
    root : Element
        ``Annotations``.

    Returns
    -------
    areas : list of Area
    left_out : LeftOut

    Raises
    ------
    AreaError
        When a region is not as it should be: told by its number, from 1.
    """
    areas: list[Area] = []
    left_out = LeftOut("region")
    for place, layer in enumerate(root.iter("Annotation"), 1):
        found: list[tuple[int, Area]] = []
        holes: list[tuple[int, Ring]] = []
        for region in layer.iter("Region"):
            left_out.count += 1
            number = left_out.count
            try:
                polygon = _polygon(region, number, left_out)
            except ValueError as error:
                raise AreaError(
                    f"{name}: region {number} (of layer {place}) {error}; correct it, or export it again"
                ) from error
            if polygon is None:
                continue
            if region.get("NegativeROA", "0").strip() == "1":
                holes.append((number, polygon[0]))
            else:
                values, classed = _names(layer, region, place)
                found.append((number, Area(values, classed, (polygon,), color=_color(layer))))
        areas += [_cut(area, holes) for _, area in found]
        left_out.lone += [
            number for number, hole in holes if not any(_touches(area.polygons[0], hole) for _, area in found)
        ]
    return areas, left_out


def _polygon(region: ET.Element, number: int, left_out: LeftOut) -> Polygon | None:
    kind = region.get("Type", _OUTLINE).strip()
    if kind in _LINES:
        left_out.lines.append(number)
        return None
    points = [[attribute(vertex, "X"), attribute(vertex, "Y")] for vertex in region.iter("Vertex")]
    if len(points) > 1 and (kind == _ELLIPSE or (kind == _RECTANGLE and len(points) == 2)):
        # Both are known by the corners of the box around them.
        (left, top), (right, bottom) = np.min(points, axis=0).tolist(), np.max(points, axis=0).tolist()
        if kind == _ELLIPSE:
            centre = (left + right) / 2, (top + bottom) / 2
            points = ellipse(centre, ((right - left) / 2, (bottom - top) / 2))
        else:
            points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    polygon, _ = polygon_of([points])
    if polygon is None:
        (left_out.points if len(points) == 1 else left_out.empty).append(number)
    return polygon


def _names(layer: ET.Element, region: ET.Element, place: int) -> tuple[tuple[str, ...], bool]:
    """Return what the class of a region may be called, and whether that is a class at all."""
    text = strip(region.get("Text", ""))
    for known in (strip(layer.get("Name", "")), _description(layer), text):
        if known:
            return (known,), True
    return (f"Layer {place}",), False


def _description(layer: ET.Element) -> str:
    """Return the first thing that is written in the attributes of a layer.

    ImageScope writes it as the value of "Description"; programs that write for it, as an attribute's name.
    """
    for each in layer.findall("Attributes/Attribute"):
        known, value = strip(each.get("Name", "")), strip(each.get("Value", ""))
        if value:
            return value
        if known and known != "Description":
            return known
    return ""


def _color(layer: ET.Element) -> str | None:
    """Return a layer's colour, which is written as one number, red in its lowest byte."""
    text = layer.get("LineColor", "").strip()
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 24):
        return None
    blue, green, red = int(text).to_bytes(3, "big")
    return f"#{red:02x}{green:02x}{blue:02x}"


def _cut(area: Area, holes: Sequence[tuple[int, Ring]]) -> Area:
    (polygon,) = area.polygons
    return replace(area, polygons=((*polygon, *(hole for _, hole in holes if _touches(polygon, hole))),))


def _touches(polygon: Polygon, hole: Ring) -> bool:
    outline = polygon[0]
    return bool(
        (outline.min(axis=0) < hole.max(axis=0)).all() and (hole.min(axis=0) < outline.max(axis=0)).all()
    )
