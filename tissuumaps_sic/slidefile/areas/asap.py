"""The XML of ASAP: annotations in groups that may lie in groups."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from tissuumaps_sic.slidefile.areas.area import Area, AreaError
from tissuumaps_sic.slidefile.areas.left_out import LeftOut
from tissuumaps_sic.slidefile.areas.rings import points_of, polygon_of
from tissuumaps_sic.slidefile.areas.xml_values import attribute, color_of
from tissuumaps_sic.slidefile.spelling import fold, strip

_AREAS = ("polygon", "spline", "rectangle")
_POINTS = ("dot", "pointset")
_LINES = ("measurement", "none")


def areas_in(name: str, root: ET.Element) -> tuple[list[Area], LeftOut]:
    """Return the polygons and points in ASAP's XML, and what of it is none.

    Splines are taken as the polygon through their points.

    Parameters
    ----------
    name : str
        The file's, for messages.
    root : Element
        ``ASAP_Annotations``.

    Returns
    -------
    areas : list of Area
    left_out : LeftOut

    Raises
    ------
    AreaError
        When an annotation is not as it should be: told by its number, from 1.
    """
    groups = {fold(group.get("Name", "")): group for group in root.iter("Group")}
    areas: list[Area] = []
    left_out = LeftOut("annotation")
    for number, element in enumerate(root.iter("Annotation"), 1):
        left_out.count = number
        try:
            area = _area(element, number, groups, left_out)
        except ValueError as error:
            own = element.get("Name", "")
            raise AreaError(
                f"{name}: annotation {number} ({own!r}) {error}; correct it, or export it again"
            ) from error
        if area is not None:
            areas.append(area)
    return areas, left_out


def _area(
    element: ET.Element, number: int, groups: Mapping[str, ET.Element], left_out: LeftOut
) -> Area | None:
    kind = element.get("Type", "").strip().lower()
    if kind not in _AREAS + _POINTS:
        if kind not in _LINES:
            raise ValueError(f"is a {element.get('Type')!r}, which ASAP does not know")
        left_out.lines.append(number)
        return None
    names: list[str] = []
    color = None
    group = strip(element.get("PartOfGroup", ""))
    while fold(group) not in ("", "none", *map(fold, names)):
        names.append(group)
        known = groups.get(fold(group))
        group = "" if known is None else strip(known.get("PartOfGroup", ""))
        color = color or (None if known is None else color_of(known.get("Color")))
    own = strip(element.get("Name", ""))
    values, color = tuple(names) or ((own,) if own else ()), color or color_of(element.get("Color"))
    ordered = sorted(
        (attribute(point, "Order"), place, [attribute(point, "X"), attribute(point, "Y")])
        for place, point in enumerate(element.iter("Coordinate"))
    )
    points = [point for _, _, point in ordered]
    if kind in _POINTS:
        left_out.points.append(number)
        found = points_of(points)
        return Area(values, bool(names), (), found, color) if len(found) else None
    polygon, _ = polygon_of([points])
    if polygon is None:
        left_out.empty.append(number)
        return None
    return Area(values, bool(names), (polygon,), color=color)
