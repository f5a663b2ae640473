"""Labels as a raster, for what is made of one: masks and pictures."""

from __future__ import annotations

import numpy as np

from tissuumaps_sic.annotation.cells import sharpen_labels
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.slides.raster import LabelRaster, raster_of, raster_of_cells
from tissuumaps_sic.slides.regions import scale_of


def draw_raster(labelled: Labelled, *, blocks: bool) -> LabelRaster:
    """Return the labels plus 1 of cells, or with `blocks` of whole patches; 0 where there is nothing.

    Parameters
    ----------
    labelled : Labelled
    blocks : bool

    Returns
    -------
    LabelRaster

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    slide = labelled.slide
    try:
        if blocks:
            return raster_of(slide.centres, labelled.labels + np.uint8(1), scale_of(slide).stride)
        found = sharpen_labels(labelled)
        return raster_of_cells(found.cells, found.labels + np.uint8(1))
    except ValueError as error:
        raise ExportError(f"{slide.path.name}: {error}") from error
