"""What OME metadata says of an image: how large its pixels are, and what its channels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tissuumaps_sic.slidefile.documents import parse_xml
from tissuumaps_sic.slidefile.pixels.source import both_directions, positive

# µm in each unit of length that the schema and NGFF name and that images of tissue have.
_MICROMETRES = {
    **dict.fromkeys(("µm", "μm", "um", "micrometer", "micrometre", "micron"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("Å", "angstrom"), 1e-4),
    **dict.fromkeys(("in", "inch"), 25_400.0),
}
_RED_GREEN_BLUE = (("red", "r"), ("green", "g"), ("blue", "b"))


@dataclass(frozen=True)
class OmeImage:
    """What OME-XML says of its first image.

    Attributes
    ----------
    mpp : (x, y) or None
        µm per pixel.
    samples : tuple of int
        Samples per pixel of each channel: (3,) is RGB in one plane, (1, 1, 1) three planes.
    channel_names : tuple of str
    planes : int
        Images in the stack: z times t.
    """

    mpp: tuple[float, float] | None
    samples: tuple[int, ...]
    channel_names: tuple[str, ...]
    planes: int

    @property
    def is_planar_rgb(self) -> bool:
        """Whether red, green and blue are a plane each, and not three stains of a fluorescence image."""
        return self.samples == (1, 1, 1) and names_are_rgb(self.channel_names)


def names_are_rgb(names: Sequence[str]) -> bool:
    """Tell whether three channels are red, green and blue, by their names; none named counts as such.

    Parameters
    ----------
    names : sequence of str
        Three.

    Returns
    -------
    bool
    """
    return all(
        name.strip().lower() in ("", *meant, str(k), f"channel {k}", f"channel:0:{k}")
        for k, (name, meant) in enumerate(zip(names, _RED_GREEN_BLUE, strict=True))
    )


def micrometres(value: float | str | None, unit: str | None) -> float | None:
    """Turn a length into µm; None where it is none or its unit (µm where there is none) is unknown.

    Parameters
    ----------
    value : float or str or None
    unit : str or None

    Returns
    -------
    float or None
    """
    factor = 1.0 if unit is None else _MICROMETRES.get(unit.strip(), _MICROMETRES.get(unit.strip().lower()))
    length = positive(value)
    return None if factor is None or length is None else length * factor


def read_ome_xml(text: str | None, size: tuple[int, int]) -> OmeImage | None:
    """Read the OME-XML of a TIFF's description; None where it is something else.

    Of several images that is meant which has the `size` (width, height), else the first: a slide may come
    after its macro.

    Parameters
    ----------
    text : str or None
    size : (width, height)
        Pixels.

    Returns
    -------
    OmeImage or None
    """
    if not text or "OME" not in text[:2000]:
        return None
    try:
        root = parse_xml(text.strip("\0 \n\r\t").encode())
    except ValueError:
        return None
    images = [each for each in root.iter() if _name(each) == "Pixels"]
    if not images:
        return None
    pixels = next(
        (each for each in images if (_count(each, "SizeX"), _count(each, "SizeY")) == size), images[0]
    )
    x, y = (
        micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit")) for axis in "XY"
    )
    channels = [each for each in pixels if _name(each) == "Channel"]
    return OmeImage(
        mpp=both_directions(x, y),
        samples=tuple(_count(each, "SamplesPerPixel") for each in channels),
        channel_names=tuple(each.get("Name") or "" for each in channels),
        planes=_count(pixels, "SizeZ") * _count(pixels, "SizeT"),
    )


def _count(element: ET.Element, name: str) -> int:
    """Return an attribute that counts something; 1 where it is missing, or no number."""
    try:
        return int(element.get(name) or 1)
    except ValueError:
        return 1


def _name(element: ET.Element) -> str:
    """Return an element's name without the namespace, which has the schema's date in it."""
    return element.tag.rpartition("}")[2]
