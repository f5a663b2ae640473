"""How TissUUmaps gets at the image of a slide that is embedded; what the run says of it."""

from __future__ import annotations

import logging
from pathlib import Path

from tissuumaps_sic.slidefile import placing

log = logging.getLogger(__name__)


def plan_image(slide: Path, folder: Path) -> placing.Placement:
    """Find how a slide is reached from the served folder (`placing.plan_image`), and tell where it is not.

    Parameters
    ----------
    slide : Path
    folder : Path
        The one that will be served.

    Returns
    -------
    Placement
    """
    inside = slide.resolve().is_relative_to(folder.resolve())
    if slide.is_dir() and not inside:
        log.info(
            "%s: TissUUmaps shows no OME-Zarr, so the viewer shows its patches without the image", slide.name
        )
        return placing.Placement(None)
    placement = placing.plan_image(slide, folder)
    if placement.name is None:
        log.warning(
            "%s: could not be linked into %s, so the viewer shows its patches without the image; "
            "copy the slide there and embed it from there",
            slide,
            folder.resolve(),
        )
    return placement


def link_image(placement: placing.Placement) -> None:
    """Make the links, and tell those that could not be made.

    Parameters
    ----------
    placement : Placement
    """
    for source, target in placement.link():
        log.warning(
            "%s: could not be linked to %s, so the viewer may show patches without the image; copy it there",
            target,
            source,
        )
