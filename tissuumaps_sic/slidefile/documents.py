"""JSON and XML that may have come from anywhere."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Parameters
    ----------
    text : str or bytes

    Returns
    -------
    object

    Raises
    ------
    ValueError
        When it is no JSON, or nested so deeply that Python gives up, which it tells by another error.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def parse_xml(text: str | bytes) -> ET.Element:
    """Return the root of an XML document.

    Parameters
    ----------
    text : str or bytes

    Returns
    -------
    Element

    Raises
    ------
    ValueError
        When it is no XML, or declares a document type: nothing here needs one, and only there are entities
        declared, which may expand to gigabytes or name files.
    """
    try:
        return ET.XML(text, ET.XMLParser(target=_NoDoctype()))  # noqa: S314 -- no doctype
    except (ET.ParseError, LookupError) as error:
        raise ValueError(" ".join(str(error).split())) from error


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, *_: str | None) -> None:
        raise ValueError(f"it declares a document type, {name}, which nothing here needs")
