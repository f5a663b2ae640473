"""Labels as elements of SpatialData: regions and patches as shapes, scores as a table of these."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.annotations import find_regions, region_columns
from tissuumaps_sic.export.h5ad import label_columns, tell_run
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slides.regions import scale_of

# Level-0 pixels are what SpatialData's own name means here; the other is a scale of them.
PIXELS, MICROMETRES = "global", "micrometres"


def make_regions(labelled: Labelled, *, simplify: float, blocks: bool) -> Any:
    """Return the regions as a ShapesModel: a row a class, with the columns of `region_columns`.

    Parameters
    ----------
    labelled, simplify, blocks
        As for `write_regions`.

    Returns
    -------
    GeoDataFrame

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    import geopandas
    from spatialdata.models import ShapesModel

    regions, classes = find_regions(labelled, simplify=simplify, blocks=blocks)
    frame = geopandas.GeoDataFrame(
        region_columns(regions, classes), geometry=[region.shape for region in regions]
    )
    # An area that is not known is NaN there, where all are unknown, too.
    areas = ["area_mm2", "tissue_mm2"]
    frame[areas] = frame[areas].astype(np.float64)
    return ShapesModel.parse(frame, transformations=_transformations(labelled))


def make_patches(labelled: Labelled) -> Any:
    """Return the patches as a ShapesModel: a row a patch with its name, indexed by its row in the file.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    object
    """
    import geopandas
    from spatialdata.models import ShapesModel

    corners = patch_corners(labelled)
    frame = geopandas.GeoDataFrame(
        {"patch": [str(name) for name in labelled.slide.patch_names]}, geometry=shapely.box(*corners.T)
    )
    return ShapesModel.parse(frame, transformations=_transformations(labelled))


def patch_corners(labelled: Labelled) -> npt.NDArray[np.float64]:
    """Return (left, top, right, bottom) of each patch, level-0 pixels, (n_patches, 4).

    Where the file does not tell how large its patches are, they are as large as the way from one to the next.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    ndarray of shape (n_patches, 4), float64
    """
    slide = labelled.slide
    size = read_provenance(slide.path).grid.patch0 or scale_of(slide).stride
    half = np.array(size) / 2
    return np.hstack([slide.centres - half, slide.centres + half])


def make_table(
    labelled: Labelled,
    region: str,
    *,
    keys: tuple[str, str] = ("region", "instance_id"),
    instances: npt.NDArray[Any] | None = None,
    rows: npt.NDArray[np.intp] | None = None,
    embeddings: bool = False,
) -> Any:
    """Return a TableModel of patches: scores of each class as ``X``, labels and seeds as in an h5ad.

    Parameters
    ----------
    labelled : Labelled
    region : str
        The shapes that it annotates.
    keys : (str, str)
        Columns of ``obs`` for the name of those shapes, and for which of them a row is of.
    instances : ndarray of shape (n,), optional
        Which shape each row of the table is of; by default the patches' rows.
    rows : ndarray of shape (n,), intp, optional
        Which patch each row of the table is of; -1 is none, and has no label. All by default.
    embeddings : bool, default=False
        Whether ``obsm["X_embedding"]`` holds what was clustered.

    Returns
    -------
    object
    """
    import pandas as pd
    from anndata import AnnData
    from spatialdata.models import TableModel

    slide = labelled.slide
    if rows is None:
        rows = np.arange(slide.n_patches)
    if instances is None:
        instances = rows
    known = rows >= 0
    names = np.where(known, slide.patch_names[rows], instances.astype(str)).astype(object)
    every = np.where(known[:, None], labelled.every[rows], np.float32(np.nan))
    obs = label_columns(labelled).iloc[rows].reset_index(drop=True)
    if not known.all():
        obs = obs.where(pd.Series(known), other=None)
    obs.index = pd.Index(names, dtype=object)
    obs[keys[0]] = pd.Categorical([region] * len(rows))
    obs[keys[1]] = instances
    classes = pd.Index([each.name for each in labelled.classes], dtype=object)
    table = AnnData(
        X=every.astype(np.float32),
        obs=obs,
        var=pd.DataFrame(index=classes),
        uns={
            "sic": tell_run(labelled),
            "sic_label_colors": np.array([each.color for each in labelled.classes], dtype=object),
        },
    )
    if known.all():
        table.obsm["spatial"] = slide.centres[rows]
        if embeddings:
            table.obsm["X_embedding"] = np.asarray(slide.X[rows], np.float32)
    return TableModel.parse(table, region=region, region_key=keys[0], instance_key=keys[1])


def _transformations(labelled: Labelled) -> dict[str, Any]:
    from spatialdata.transformations import Identity, Scale

    known: dict[str, Any] = {PIXELS: Identity()}
    if (mpp := scale_of(labelled.slide).mpp) is not None:
        known[MICROMETRES] = Scale(list(mpp), axes=("x", "y"))
    return known
