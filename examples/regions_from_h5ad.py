"""From an h5ad and a few seeds to regions whose borders follow the tissue, as GeoJSON for QuPath.

Run after ``tissuumaps-sic demo --no-serve``:
``python examples/regions_from_h5ad.py demo/demo.h5ad demo.geojson``; without the last, areas are told alone.
"""

import sys
from pathlib import Path

import numpy as np

import tissuumaps_sic as sic
from tissuumaps_sic.annotation.classes import SeedClass

# The label of each seed and its place, in level-0 pixels: the demo's tumour lies left of its middle.
SEEDS = [(1, 1500, 1500), (1, 1200, 1900), (1, 1900, 2100), (0, 4800, 1900), (0, 2700, 3500), (0, 5400, 2600)]
CLASSES = [SeedClass(name="Other", color="#00a6fb"), SeedClass(name="Tumour", color="#ffb000")]

slide = sic.open_slide_file(Path(sys.argv[1]))
y = np.full(slide.n_patches, -1)
for label, *place in SEEDS:
    y[slide.nearest(*place)] = label
patches = sic.SeededIterativeClustering(method="refine").fit(slide.X, y, slide.centres)
cells = sic.sharpen_slide(slide, patches.scores_, y, slope=patches.slope_)
regions = sic.regions_of_cells(cells.cells, cells.labels, sic.scale_of(slide))
for region in regions:
    print(f"{CLASSES[region.label].name}: {region.area:.3f} mm², of it tissue {region.tissue:.3f} mm²")
if len(sys.argv) > 2:
    sic.write_geojson(regions, CLASSES, sic.scale_of(slide), Path(sys.argv[2]))
