"""Labels as regions: QuPath's GeoJSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tissuumaps_sic.annotation.session import SeedClass, Session
from tissuumaps_sic.export.geojson import write_geojson
from tissuumaps_sic.export.labels import ExportError, distinct, replay
from tissuumaps_sic.slides.regions import Region, regions_of, scale_of
from tissuumaps_sic.slides.slide import EmbeddedSlide


def write_regions(
    slide: EmbeddedSlide,
    session: Session,
    target: Path,
    columns: pd.DataFrame | None = None,
    *,
    simplify: float = 0.0,
) -> None:
    """Write the region of each class as GeoJSON for QuPath, compressed where the name ends in ``.gz``.

    Parameters
    ----------
    slide, session, target, columns
        As for `write_csv`.
    simplify : float, default=0.0
        How far, in µm, borders may move to have fewer corners (`regions.regions_of`); level-0 pixels where
        the file does not tell its resolution.

    Raises
    ------
    ExportError, SessionError, OSError
        When there are no labels, they cannot be replayed, or the file cannot be written.
    """
    if columns is None:
        # Regions need no scores, but what cannot be replayed is no result.
        replay(slide, session)
    found, classes = regions_in(slide, session, simplify=simplify)
    write_geojson(found, classes, scale_of(slide), target)


def regions_in(
    slide: EmbeddedSlide, session: Session, *, simplify: float = 0.0
) -> tuple[list[Region], list[SeedClass]]:
    """Return the regions of the session's last run, and the classes that their labels mean.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        With a run.
    simplify : float, default=0.0
        As for `write_regions`.

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    assert session.run is not None
    classes = distinct(session.run_classes)
    names = [each.name for each in classes]
    code = np.array([names.index(each.name) for each in session.run_classes])
    scale = scale_of(slide)
    reach = simplify / (sum(scale.mpp) / 2) if scale.mpp else simplify
    try:
        return regions_of(slide.centres, code[session.run.unpack()], scale, simplify=reach), classes
    except ValueError as error:
        raise ExportError(f"{slide.path.name}: {error}") from error
