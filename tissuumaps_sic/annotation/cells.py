"""The labels of a run, finer than a patch: `Labelled` to a label of each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.sharpen import sharpen
from tissuumaps_sic.slidefile.arrays import Singles
from tissuumaps_sic.slides.cells import SlideCells, open_cells

# Scores are kept off nought and one, whose logarithms are none.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class CellLabels:
    """The label of each cell of a slide.

    Attributes
    ----------
    cells : SlideCells
        Where they lie, and what of them is tissue.
    labels : ndarray of shape (n_patches, side, side), uint8
        Place in the classes of the `Labelled`.
    scores : ndarray of shape (n_patches, side, side), float32
        Score of the cell's own label, 0 to 1.
    """

    cells: SlideCells
    labels: npt.NDArray[np.uint8]
    scores: Singles


def sharpen_labels(labelled: Labelled, *, stretch: Stretch = SILENT) -> CellLabels:
    """Return the labels of a run by cell.

    Where the file has no embeddings of cells, borders follow the scores between the patches' centres.

    Raises
    ------
    SlideFileError
        When the file cannot be read, or its patches lie on no grid.
    """
    cells = open_cells(labelled.slide)
    scores = labelled.every
    reach = labelled.slide.prepared.places.find_reach(scores.astype(np.float64))
    if labelled.run.border is not None:
        scores = _move_border(scores, labelled.run.border, _positive(labelled))
    found = sharpen(scores, cells.grid, reach=reach, seeds=labelled.seeds.astype(np.int64), stretch=stretch)
    labels = found.argmax(axis=3).astype(np.uint8)
    own = np.take_along_axis(found, labels[..., None].astype(np.intp), axis=3)[..., 0]
    return CellLabels(cells, labels, own)


def _positive(labelled: Labelled) -> int:
    """Return where class 1 of the run is among the classes: the one that a border is about."""
    name = labelled.session.run_classes[1].name
    return [each.name for each in labelled.classes].index(name)


def _move_border(scores: Singles, border: float, positive: int) -> Singles:
    """Return scores of which the positive class's is the greatest where it is at least a border.

    In logarithms it is as far ahead of the best other one as the logit of its score is of the border's.
    """
    kept = np.clip(scores, _LEAST, 1 - _LEAST).astype(np.float64)
    least = float(np.clip(border, _LEAST, 1 - _LEAST))
    own = kept[:, positive]
    best = np.delete(kept, positive, axis=1).max(axis=1)
    kept[:, positive] = best * (own / (1 - own)) * ((1 - least) / least)
    moved: Singles = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    return moved
