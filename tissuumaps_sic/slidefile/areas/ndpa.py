"""The annotations of Hamamatsu's NDP.view, ``.ndpa``: places on the glass slide, in nanometres."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Stage
from tissuumaps_sic.slidefile.areas.left_out import LeftOut
from tissuumaps_sic.slidefile.areas.rings import points_of, polygon_of
from tissuumaps_sic.slidefile.areas.round import ellipse
from tissuumaps_sic.slidefile.areas.xml_values import child, color_of
from tissuumaps_sic.slidefile.spelling import strip

# Nanometres of each unit that a file may count in.
_UNITS = {"nanometers": 1.0, "micrometers": 1e3, "millimeters": 1e6}
_LINES = ("linearmeasure", "pointer")


def areas_in(name: str, root: ET.Element, stage: Stage | None) -> tuple[list[Area], LeftOut]:
    """Return the annotations of NDP.view in level-0 pixels, and what of the file is none.

    An annotation's title is its class.

    Parameters
    ----------
    name : str
        The file's, for messages.
    root : Element
        ``annotations``.
    stage : Stage or None
        Where the scan lies on the glass slide.

    Returns
    -------
    areas : list of Area
    left_out : LeftOut

    Raises
    ------
    AreaError
        When that is not known, or an annotation is not as it should be: told by its number, from 1.
    """
    if stage is None:
        raise AreaError(
            f"{name}: counts from the middle of the glass slide, and where the scan lies on that is not "
            "known; keep the slide's .ndpi beside its h5ad, or embed it again with this version"
        )
    areas: list[Area] = []
    left_out = LeftOut("annotation")
    for view in root.iter("ndpviewstate"):
        title = strip(view.findtext("title") or "")
        for element in view.iter("annotation"):
            left_out.count += 1
            number = left_out.count
            try:
                area = _area(view, element, title, number, left_out, stage)
            except ValueError as error:
                raise AreaError(
                    f"{name}: annotation {number} ({title!r}) {error}; correct it, or export it again"
                ) from error
            if area is not None:
                areas.append(area)
    return areas, left_out


def _area(
    view: ET.Element, element: ET.Element, title: str, number: int, left_out: LeftOut, stage: Stage
) -> Area | None:
    values, color = ((title,) if title else ()), color_of(element.get("color"))
    kind = element.get("type", "freehand").strip().lower()
    if kind in _LINES or _is_open(element):
        left_out.lines.append(number)
        return None
    unit = _unit(view)
    if kind == "pin":
        place = np.array([[child(element, "x"), child(element, "y")]]) * unit
        return Area(values, bool(title), (), points_of(stage.to_pixels(place).tolist()), color)
    if kind == "circle":
        radius = child(element, "radius")
        given = ellipse((child(element, "x"), child(element, "y")), (radius, radius))
    else:
        given = [[child(point, "x"), child(point, "y")] for point in element.iterfind("pointlist/point")]
    points = stage.to_pixels(np.array(given).reshape(-1, 2) * unit)
    polygon, _ = polygon_of([points.tolist()])
    if polygon is None:
        left_out.empty.append(number)
        return None
    return Area(values, bool(title), (polygon,), color=color)


def _is_open(element: ET.Element) -> bool:
    """Tell whether a freehand outline is a mere line."""
    shown = element.get("displayname", "").strip().lower()
    return shown == "annotatefreehandline" or (element.findtext("closed") or "1").strip() == "0"


def _unit(view: ET.Element) -> float:
    text = (view.findtext("coordformat") or "nanometers").strip().lower()
    if text not in _UNITS:
        raise ValueError(f"counts in {text[:20]!r}, and not in nanometers")
    return _UNITS[text]
