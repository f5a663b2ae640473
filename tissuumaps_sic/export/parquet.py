"""Labels as Parquet: a row a patch, and the regions as GeoParquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.annotations import find_regions, region_columns
from tissuumaps_sic.export.review import notes_of_patches
from tissuumaps_sic.slidefile.writing import replacing


def write_parquet(labelled: Labelled, target: Path) -> None:
    """Write one row a patch with the columns of `write_csv`, typed; names are as they are.

    A patch that is no seed, or that has no note, has null there.

    Parameters
    ----------
    labelled : Labelled
    target : Path

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    slide = labelled.slide
    names = [each.name for each in labelled.classes]
    seeds = [None if seed < 0 else names[seed] for seed in labelled.seeds.tolist()]
    columns: dict[str, Any] = {
        "patch": pa.array([str(name) for name in slide.patch_names], pa.string()),
        "x": pa.array(slide.centres[:, 0], pa.float64()),
        "y": pa.array(slide.centres[:, 1], pa.float64()),
        "label": pa.array([names[label] for label in labelled.labels.tolist()], pa.string()),
        "score": pa.array(labelled.scores, pa.float32()),
        "seed": pa.array(seeds, pa.string()),
    }
    if labelled.unlike is not None:
        columns["unlike"] = pa.array(labelled.unlike, pa.bool_())
    if notes := notes_of_patches(labelled):
        columns["note"] = pa.array([notes.get(row) for row in range(slide.n_patches)], pa.string())
    with replacing(target) as temporary:
        pq.write_table(pa.table(columns), temporary)


def write_geoparquet(
    labelled: Labelled, target: Path, *, simplify: float = 0.0, blocks: bool = False
) -> None:
    """Write one row a class as GeoParquet 1.1: its name, colour, areas, share and region.

    Coordinates are level-0 pixels of the whole slide, y downwards, so there is no coordinate reference
    system.

    Parameters
    ----------
    labelled, target, simplify, blocks
        As for `write_regions`.

    Raises
    ------
    ExportError, OSError
        When the patches do not lie on a grid, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    regions, classes = find_regions(labelled, simplify=simplify, blocks=blocks)
    shapes = np.array([region.shape for region in regions], object)
    geometry = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"],
        # Else longitude and latitude are meant.
        "crs": None,
        "edges": "planar",
        "bbox": shapely.total_bounds(shapes).tolist(),
    }
    told = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": geometry},
        "creator": {"library": "tissuumaps-sic", "version": __version__},
    }
    # Not by what is in them: all areas may be unknown.
    columns = {
        name: pa.array(values, pa.string() if name in ("class", "color") else pa.float64())
        for name, values in region_columns(regions, classes).items()
    }
    columns["geometry"] = pa.array(shapely.to_wkb(shapes).tolist(), pa.binary())
    table = pa.table(columns)
    with replacing(target) as temporary:
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(told)}), temporary)
