"""Regions as the XML of ASAP: a group for each class, an annotation for each polygon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import shapely

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.annotations import find_regions
from tissuumaps_sic.export.pieces import pieces_of
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.regions import Region


def write_asap(labelled: Labelled, target: Path, *, simplify: float = 0.0, blocks: bool = False) -> None:
    """Write the region of each class as annotations of ASAP.

    ASAP knows no holes: a polygon that has some is cut into pieces that have none (`pieces_of`). Coordinates
    are level-0 pixels of the whole slide.

    Parameters
    ----------
    labelled, target, simplify, blocks
        As for `write_regions`.

    Raises
    ------
    ExportError, OSError
        When the patches do not lie on a grid, or the file cannot be written.
    """
    regions, classes = find_regions(labelled, simplify=simplify, blocks=blocks)
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0"?>\n<ASAP_Annotations>\n\t<Annotations>\n')
        for region in regions:
            file.writelines(_annotations(region, classes[region.label]))
        file.write("\t</Annotations>\n\t<AnnotationGroups>\n")
        file.writelines(_groups(regions, classes))
        file.write("\t</AnnotationGroups>\n</ASAP_Annotations>\n")


def _annotations(region: Region, seed_class: SeedClass) -> Iterator[str]:
    name, color = quoteattr(seed_class.name), quoteattr(seed_class.color.upper())
    for piece in pieces_of(region):
        yield f'\t\t<Annotation Name={name} Type="Polygon" PartOfGroup={name} Color={color}>\n'
        yield "\t\t\t<Coordinates>\n"
        # The last corner is the first one again.
        for order, (x, y) in enumerate(shapely.get_coordinates(piece.exterior)[:-1].tolist()):
            yield f'\t\t\t\t<Coordinate Order="{order}" X="{x:.10g}" Y="{y:.10g}" />\n'
        yield "\t\t\t</Coordinates>\n\t\t</Annotation>\n"


def _groups(regions: Sequence[Region], classes: Sequence[SeedClass]) -> Iterator[str]:
    for each in (classes[region.label] for region in regions):
        name, color = quoteattr(each.name), quoteattr(each.color.upper())
        yield f'\t\t<Group Name={name} PartOfGroup="None" Color={color}>\n'
        yield "\t\t\t<Attributes />\n\t\t</Group>\n"
