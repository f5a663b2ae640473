"""Endpoints of the fine map: where the cells of a slide lie, and the labels of a run by cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.cells import find_positive, sharpen_labels
from tissuumaps_sic.annotation.runs import Labelled, find_runner_up
from tissuumaps_sic.labelling.progress import Stretch
from tissuumaps_sic.labelling.sharpen import find_middle
from tissuumaps_sic.slidefile.arrays import Singles
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slides.cells import CellLabels, open_cells, require_grid
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Answer, Arrays
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import OpenRequest, RequestError, ScoresRequest
from tissuumaps_sic.viewer.runs import require_run

# The steps of the page's slider: a score is sent as how many of them it has reached.
_STEPS = (np.arange(101) / 100).astype(np.float32)


def send_lattice(shared: Shared, reach: Reach, request: OpenRequest) -> Answer:  # noqa: ARG001 -- of the table
    """Return where the cells of a slide lie.

    The header tells the upper left corner of all of them and the size of one, (x, y) in level-0 pixels; how
    many there are along a patch's middle, ``side``; which of those are its own middle, ``middle``; and
    whether the file has embeddings of them, ``fine``. Two arrays: column and row of each patch on the grid of
    patches, (n_patches, 2) uint32; and which cells are glass (1), (n_patches, side * side) uint8.

    Raises
    ------
    RequestError
        422 when the patches lie on no grid, or on several: a page then draws labels as markers.
    """
    slide = shared.opened.slide(reach.h5ad)
    try:
        require_grid(slide)
        cells = open_cells(slide)
    except SlideFileError as error:
        raise RequestError(422, str(error)) from error
    header = {
        "corner": cells.corner,
        "size": cells.size,
        "side": cells.side,
        "middle": find_middle(cells.side),
        "fine": cells.grid.has_values,
        "n_patches": slide.n_patches,
    }
    return header, cells.place.astype("<u4"), cells.is_glass.astype(np.uint8)


def send_cells(shared: Shared, reach: Reach, request: ScoresRequest) -> Answer:
    """Return the labels of the last run by cell, each array of shape (n_patches, side * side) uint8.

    They are the label, its score, the score of class 1 (both in hundredths, rounded down), and the best other
    class; labels are places in the classes of the run.

    Raises
    ------
    RequestError
        When there is no run, or it was of the seeds of another slide.
    """
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    if not require_run(session).can_replay:
        raise RequestError(404, "these labels came from the seeds of another slide; run them again")
    with shared.turns.job(reach.h5ad, request.job) as progress:
        with shared.turns.clustering(reach.h5ad, progress):
            labelled = shared.label(slide, session, request)
            found = sharpen_labels(labelled, stretch=Stretch.whole(progress))
        return {"n_patches": slide.n_patches, "side": found.cells.side}, *_arrays_of(labelled, found)


def _arrays_of(labelled: Labelled, found: CellLabels) -> Arrays:
    positive = find_positive(labelled)
    # From the classes as people have them to those of the run, of which several may have become one since.
    names = [each.name for each in labelled.session.run_classes]
    code = np.array([names.index(each.name) for each in labelled.classes], np.uint8)
    rest = find_runner_up(found.every.reshape(-1, found.every.shape[3]), positive)
    sent = (
        code[found.labels],
        _in_steps(found.scores),
        _in_steps(found.every[..., positive]),
        code[rest],
    )
    return tuple(each.reshape(len(found.labels), -1) for each in sent)


def _in_steps(scores: Singles) -> npt.NDArray[np.uint8]:
    """Return how many hundredths scores have reached, as whoever compares them in float32 would say."""
    return (np.searchsorted(_STEPS, scores, side="right") - 1).astype(np.uint8)
