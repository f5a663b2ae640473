"""The labels of a run, finer than a patch: `Labelled` to a label of each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.runs import Labelled, apply_border
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.sharpen import find_middle, sharpen
from tissuumaps_sic.slidefile.arrays import Singles
from tissuumaps_sic.slides.cells import SlideCells, open_cells


@dataclass(frozen=True, eq=False)
class CellLabels:
    """The label of each cell of a slide.

    Attributes
    ----------
    cells : SlideCells
        Where they lie, and what of them is tissue.
    labels : ndarray of shape (n_patches, side, side), uint8
        Place in the classes of the `Labelled`.
    every : ndarray of shape (n_patches, side, side, n_classes), float32
        Score of each cell for each class; those of a cell sum to 1.
    """

    cells: SlideCells
    labels: npt.NDArray[np.uint8]
    every: Singles

    @property
    def scores(self) -> Singles:
        """Score of each cell's own label, 0 to 1; (n_patches, side, side)."""
        own = np.take_along_axis(self.every, self.labels[..., None].astype(np.intp), axis=3)
        return np.asarray(own[..., 0])


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
    cells = open_cells(labelled.slide)
    scores, seeds = labelled.every, labelled.seeds.astype(np.int64)
    reach = labelled.slide.prepared.places.find_reach(scores.astype(np.float64))
    found = sharpen(scores, cells.grid, reach=reach, seeds=seeds, stretch=stretch)
    labels = found.argmax(axis=3).astype(np.uint8)
    positive = find_positive(labelled)
    if labelled.run.border is not None and scores[:, positive].any():
        kept = np.zeros((len(seeds), cells.side**2), bool)
        kept[np.flatnonzero(seeds >= 0)[:, None], find_middle(cells.side)] = True
        flat = found.reshape(-1, found.shape[3])
        moved = apply_border(flat, labels.ravel(), kept.ravel(), labelled.run.border, positive=positive)
        labels = moved.reshape(labels.shape)
    return CellLabels(cells, labels, found)


def find_positive(labelled: Labelled) -> int:
    """Return where class 1 of the run is among the classes: the one that a border is about."""
    name = labelled.session.run_classes[1].name
    return [each.name for each in labelled.classes].index(name)
