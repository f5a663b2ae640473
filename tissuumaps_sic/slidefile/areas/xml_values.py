"""What the XML of every program has in common: numbers and colours in attributes and elements."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_COLOR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE | re.ASCII)


def number_in(text: str | None, key: str) -> float:
    """Return the number that stands as the value of `key`.

    Raises
    ------
    ValueError
        When there is none.
    """
    if text is None:
        raise ValueError(f"has a coordinate without {key}")
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(f"has a coordinate whose {key} is {text!r}, which is no number")
    return float(text)


def attribute(element: ET.Element, key: str) -> float:
    """Return the number in an attribute; errors are those of `number_in`.

    Parameters
    ----------
    element : Element
    key : str

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `number_in`.
    """
    return number_in(element.get(key), key)


def child(element: ET.Element, key: str) -> float:
    """Return the number in the element of that name below another; errors are those of `number_in`.

    Parameters
    ----------
    element : Element
    key : str

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `number_in`.
    """
    return number_in(element.findtext(key), key)


def color_of(text: str | None) -> str | None:
    """Return a colour that is written as ``#rrggbb``; None where it is not.

    Parameters
    ----------
    text : str or None

    Returns
    -------
    str or None
    """
    found = _COLOR.fullmatch((text or "").strip())
    return found[0].lower() if found else None
