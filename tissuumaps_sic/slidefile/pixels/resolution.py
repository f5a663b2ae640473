"""How large a slide's pixels are, where that comes from, and what no slide has."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tissuumaps_sic.slidefile.pixels.source import SlideError, Source

log = logging.getLogger(__name__)

# No light microscope's scan lies outside: an oil objective of 100x gives about 0.05, a macro camera
# about 10 µm/px.
PLAUSIBLE_MPP = (0.05, 10.0)
# A tag that is so many times off what the objective gives is doubted, or wrong: scanners with a doubler call
# themselves 20x at 0.25 µm/px, and none is ten times off, as a tag in the wrong unit is.
_DOUBT = 1.6
_CONTRADICTION = 4.0

# The ratio of a pixel's sides beyond which a tag is wrong: no scanner has such pixels.
_OBLONG = 4.0


@dataclass(frozen=True)
class Resolution:
    """How large a level-0 pixel is.

    Attributes
    ----------
    mpp_x, mpp_y : float
        Width and height of a level-0 pixel in µm.
    source : str
        "tag" (the file says so), "objective power" (10 / power, an estimate) or "user".
    """

    mpp_x: float
    mpp_y: float
    source: str

    @property
    def mpp(self) -> float:
        """Mean of the two directions, in µm per pixel."""
        return (self.mpp_x + self.mpp_y) / 2


def find_resolution(source: Source) -> Resolution | None:
    """Return what the file's tag says, or else its objective makes likely.

    Parameters
    ----------
    source : Source

    Returns
    -------
    Resolution or None
    """
    if source.tagged_mpp is not None:
        return Resolution(*source.tagged_mpp, "tag")
    power = source.objective_power
    return Resolution(10 / power, 10 / power, "objective power") if power is not None and power > 0 else None


def check_resolution(name: str, resolution: Resolution, power: float | None) -> None:
    """Refuse a resolution that no slide has; what the user gave is never refused.

    Parameters
    ----------
    name : str
        The file's.
    resolution : Resolution
    power : float or None
        Of the objective, as the file says.

    Raises
    ------
    SlideError
        It is outside 0.05 to 10 µm/px, more than four times off its objective's, or of pixels too oblong.
    """
    if resolution.source == "user":
        return
    if resolution.source == "tag" and power is not None and power > 0:
        _compare_with_objective(name, resolution, power)
    low, high = PLAUSIBLE_MPP
    for mpp in (resolution.mpp_x, resolution.mpp_y):
        if low <= mpp <= high:
            continue
        if resolution.source == "objective power":
            raise SlideError(
                f"{name!r} says only its objective power, {power:g}x, which would be "
                f"{mpp:.4g} µm/px: no slide has that ({low:g} to {high:g} is plausible); give the "
                "true value with --slide-mpp, such as --slide-mpp 0.5"
            )
        raise SlideError(
            f"{name!r} says {mpp:.4g} µm/px ({25_400 / mpp:.4g} dpi), which no slide has "
            f"({low:g} to {high:g} is plausible; image programs write or assume 72 dpi "
            "where they know nothing); "
            "give the true value with --slide-mpp, such as --slide-mpp 0.5"
        )
    if max(resolution.mpp_x / resolution.mpp_y, resolution.mpp_y / resolution.mpp_x) > _OBLONG:
        raise SlideError(
            f"{name!r} says {resolution.mpp_x:.4g} µm/px across and {resolution.mpp_y:.4g} "
            "down, which no slide has; give the true value with --slide-mpp, such as --slide-mpp 0.5"
        )


def _compare_with_objective(name: str, resolution: Resolution, power: float) -> None:
    off = max(resolution.mpp * power / 10, 10 / (resolution.mpp * power))
    if off > _CONTRADICTION:
        raise SlideError(
            f"{name!r} says {resolution.mpp:.4g} µm/px and {power:g}x, which contradict each "
            f"other ({power:g}x is about {10 / power:.3g} µm/px); give the true value with --slide-mpp"
        )
    if off > _DOUBT:
        log.warning(
            "%r says %.4g µm/px and %gx, where %.3g µm/px is usual; the former is used, --slide-mpp "
            "corrects it",
            name,
            resolution.mpp,
            power,
            10 / power,
        )
