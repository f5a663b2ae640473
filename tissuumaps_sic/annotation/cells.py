"""The labels of a run, finer than a patch: `Labelled` to a label of each cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tissuumaps_sic.annotation.runs import Labelled, apply_border
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.sharpen import find_middle
from tissuumaps_sic.slides.cells import CellLabels, sharpen_slide


def sharpen_labels(labelled: Labelled, *, stretch: Stretch = SILENT) -> CellLabels:
    """Return the labels of a run by cell.

    Where the file has no embeddings of cells, borders follow the scores between the patches' centres. A
    run's border is one of the cells' scores as well; the cells at the middle of a seeded patch have its
    class.

    Raises
    ------
    SlideFileError
        When the file cannot be read, or its patches lie on no grid.
    """
    found = sharpen_slide(labelled.slide, labelled.every, labelled.seeds.astype(np.int64), stretch=stretch)
    positive = find_positive(labelled)
    if labelled.run.border is None or not labelled.every[:, positive].any():
        return found
    side = found.cells.side
    kept = np.zeros((len(labelled.seeds), side**2), bool)
    kept[np.flatnonzero(labelled.seeds >= 0)[:, None], find_middle(side)] = True
    flat = found.every.reshape(-1, found.every.shape[3])
    moved = apply_border(flat, found.labels.ravel(), kept.ravel(), labelled.run.border, positive=positive)
    return replace(found, labels=moved.reshape(found.labels.shape))


def find_positive(labelled: Labelled) -> int:
    """Return where class 1 of the run is among the classes: the one that a border is about."""
    name = labelled.session.run_classes[1].name
    return [each.name for each in labelled.classes].index(name)
