"""Label a slide from seeds in Python by the published algorithm, and say how many patches are positive.

Run after ``tissuumaps-sic demo --no-serve``:  python examples/label_from_seeds.py demo/demo.h5ad
"""

import sys
from pathlib import Path

import numpy as np

from tissuumaps_sic import SeededIterativeClustering, open_slide_file

slide = open_slide_file(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/demo.h5ad"))

# Seeds by place, in level-0 pixels: the demo's tumour lies left of its middle.
points = {1: [(1500, 1500), (1200, 1900), (1900, 2100)], 0: [(4800, 1900), (2700, 3500), (5400, 2600)]}
y = np.full(slide.n_patches, -1)
for label, places in points.items():
    for place in places:
        y[slide.nearest(*place)] = label

clustering = SeededIterativeClustering().fit(slide.X, y)
print(
    f"{slide.n_patches} patches: {clustering.labels_.sum()} positive, after {clustering.n_iter_} iterations"
)
for step in clustering.history_:
    print(f"  {step.split}: {step.n_before} -> {step.n_positive} positive, F1 {step.score:.2f}")
