"""Labels as regions: QuPath's GeoJSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tissuumaps_sic.annotation.cells import sharpen_labels
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.runs import Labelled, labels_of
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.geojson import write_geojson
from tissuumaps_sic.export.review import marks_of
from tissuumaps_sic.slides.outlines import regions_of_cells
from tissuumaps_sic.slides.regions import Region, Scale, regions_of, scale_of
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.slides.umap import read_tissue


def write_regions(labelled: Labelled, target: Path, *, simplify: float = 0.0, blocks: bool = False) -> None:
    """Write the region of each class as GeoJSON for QuPath, compressed where the name ends in ``.gz``.

    Readers' notes are annotations of their own.

    Parameters
    ----------
    labelled : Labelled
    target : Path
    simplify : float, default=0.0
        How far, in µm, borders may move to have fewer corners (`regions.regions_of`); level-0 pixels where
        the file does not tell its resolution.
    blocks : bool, default=False
        Whether regions are the squares of whole patches, and not of their cells, without glass.

    Raises
    ------
    ExportError, OSError
        When the patches do not lie on a grid, or the file cannot be written.
    """
    regions, classes = find_regions(labelled, simplify=simplify, blocks=blocks)
    marks = marks_of(labelled)
    write_geojson(regions, classes, scale_of(labelled.slide), target, marks=marks)


def find_regions(
    labelled: Labelled, *, simplify: float = 0.0, blocks: bool = False
) -> tuple[list[Region], list[SeedClass]]:
    """Return the regions of a run's labels, and the classes that their labels mean.

    Parameters
    ----------
    labelled, simplify, blocks
        As for `write_regions`.

    Returns
    -------
    regions : list of Region
        Level-0 pixels of the whole slide.
    classes : list of SeedClass
        By `Region.label`.

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    slide = labelled.slide
    if blocks:
        return regions_in(slide, labelled.session, simplify=simplify)
    found = sharpen_labels(labelled)
    scale = scale_of(slide)
    try:
        regions = regions_of_cells(found.cells, found.labels, scale, simplify=_in_pixels(simplify, scale))
    except ValueError as error:
        raise ExportError(f"{slide.path.name}: {error}") from error
    return regions, list(labelled.classes)


def region_columns(regions: Sequence[Region], classes: Sequence[SeedClass]) -> dict[str, list[Any]]:
    """Return what tables of regions have, a row a region, by the names of the columns.

    Parameters
    ----------
    regions : sequence of Region
    classes : sequence of SeedClass
        By label, as `find_regions` returns them.

    Returns
    -------
    dict of str to list
        ``class``, ``color`` (#rrggbb), ``share`` (0 to 1), ``area_mm2`` and ``tissue_mm2``; an area that is
        not known is None.
    """
    named = [classes[region.label] for region in regions]
    return {
        "class": [each.name for each in named],
        "color": [each.color for each in named],
        "share": [region.share for region in regions],
        "area_mm2": [region.area for region in regions],
        "tissue_mm2": [region.tissue for region in regions],
    }


def regions_in(
    slide: EmbeddedSlide, session: Session, *, simplify: float = 0.0
) -> tuple[list[Region], list[SeedClass]]:
    """Return the regions of the session's last run by whole patches, and the classes that their labels mean.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        With a run.
    simplify : float, default=0.0
        As for `write_regions`.

    Returns
    -------
    (list of Region, list of SeedClass)

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    classes, labels = labels_of(session)
    scale = scale_of(slide)
    reach, tissue = _in_pixels(simplify, scale), read_tissue(slide.path)
    try:
        found = regions_of(slide.centres, labels, scale, simplify=reach, tissue=tissue)
    except ValueError as error:
        raise ExportError(f"{slide.path.name}: {error}") from error
    return found, classes


def _in_pixels(simplify: float, scale: Scale) -> float:
    """Return a length in µm in level-0 pixels, which it is already where their size is not known."""
    return simplify / (sum(scale.mpp) / 2) if scale.mpp else simplify
