"""The XML of ASAP: annotations in groups that may lie in groups."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from tissuumaps_sic.slidefile.areas.area import Area, AreaError
from tissuumaps_sic.slidefile.areas.left_out import LeftOut
from tissuumaps_sic.slidefile.areas.rings import polygon_of
from tissuumaps_sic.slidefile.documents import parse_xml
from tissuumaps_sic.slidefile.spelling import folded, stripped

_AREAS = ("polygon", "spline", "rectangle")
_LINES = ("dot", "pointset", "measurement", "none")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def areas_in(name: str, content: bytes) -> tuple[list[Area], LeftOut]:
    """Return the polygons in ASAP's XML, and what of it is none.

    Splines are taken as the polygon through their points.

    Parameters
    ----------
    name : str
        The file's, for messages.
    content : bytes

    Raises
    ------
    AreaError
        When it is not ASAP's XML, or an annotation is not as it should be: told by its number, from 1.
    """
    try:
        root = parse_xml(content)
    except ValueError as error:
        raise AreaError(f"{name}: cannot be read ({error}); export it again") from error
    if root.tag != "ASAP_Annotations":
        raise AreaError(
            f"{name}: begins with <{root.tag}>, and ASAP's XML with <ASAP_Annotations>; "
            "export the annotations as GeoJSON instead"
        )
    parents = {
        folded(group.get("Name", "")): stripped(group.get("PartOfGroup", "")) for group in root.iter("Group")
    }
    areas: list[Area] = []
    left_out = LeftOut("annotation")
    for number, element in enumerate(root.iter("Annotation"), 1):
        left_out.count = number
        try:
            area = _area(element, number, parents, left_out)
        except ValueError as error:
            own = element.get("Name", "")
            raise AreaError(
                f"{name}: annotation {number} ({own!r}) {error}; correct it, or export it again"
            ) from error
        if area is not None:
            areas.append(area)
    return areas, left_out


def _area(element: ET.Element, number: int, parents: Mapping[str, str], left_out: LeftOut) -> Area | None:
    kind = element.get("Type", "").strip().lower()
    if kind not in _AREAS:
        if kind not in _LINES:
            raise ValueError(f"is a {element.get('Type')!r}, which ASAP does not know")
        left_out.lines.append(number)
        return None
    groups: list[str] = []
    group = stripped(element.get("PartOfGroup", ""))
    while folded(group) not in ("", "none", *map(folded, groups)):
        groups.append(group)
        group = parents.get(folded(group), "")
    own = stripped(element.get("Name", ""))
    points = sorted(
        (_number(point, "Order"), place, [_number(point, "X"), _number(point, "Y")])
        for place, point in enumerate(element.iter("Coordinate"))
    )
    polygon, _ = polygon_of([[point for _, _, point in points]])
    if polygon is None:
        left_out.empty.append(number)
        return None
    return Area(tuple(groups) or ((own,) if own else ()), bool(groups), (polygon,))


def _number(point: ET.Element, key: str) -> float:
    text = point.get(key)
    if text is None:
        raise ValueError(f"has a coordinate without {key}")
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(f"has a coordinate whose {key} is {text!r}, which is no number")
    return float(text)
