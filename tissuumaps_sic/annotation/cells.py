"""The labels of a run, finer than a patch: `Labelled` to a label of each cell."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.classes import drop_repeated
from tissuumaps_sic.annotation.runs import Labelled, apply_border
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.sharpen import find_middle
from tissuumaps_sic.slidefile.arrays import Index, Labels, Singles
from tissuumaps_sic.slides.cells import CellLabels, SlideCells, open_cells, sharpen_slide

# What is kept: the page's map, its regions and a report are of the same run.
_MOST_RUNS, _MOST_BYTES = 4, 2**28


def sharpen_labels(labelled: Labelled, *, stretch: Stretch = SILENT) -> CellLabels:
    """Return the labels of a run by cell; those of the last few runs are kept.

    Where the file has no embeddings of cells, borders follow the scores between the patches' centres. A
    run's border is one of the cells' scores as well; the cells at the middle of a seeded patch have its
    class. In whichever order the classes are, the cells are the same.

    Parameters
    ----------
    labelled : Labelled
    stretch : Stretch, optional

    Returns
    -------
    CellLabels

    Raises
    ------
    SlideFileError
        When the file cannot be read, or its patches lie on no grid.
    """
    found = _arrange(_sharpen(labelled, stretch), _find_places(labelled))
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
    """Return where class 1 of the run is among the classes: the one that a border is about.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    int
    """
    name = labelled.session.run_classes[1].name
    return [each.name for each in labelled.classes].index(name)


def _find_places(labelled: Labelled) -> Index:
    """Return where each class, in the order of the run, is in `Labelled.classes`."""
    names = [each.name for each in labelled.classes]
    return np.array([names.index(each.name) for each in drop_repeated(labelled.session.run_classes)], np.intp)


def _sharpen(labelled: Labelled, stretch: Stretch) -> CellLabels:
    """Return the cells of a run, without its border and with classes in the order of the run."""
    places = _find_places(labelled)
    scores = np.ascontiguousarray(labelled.every[:, places])
    seeds: Labels = np.append(np.argsort(places), -1)[labelled.seeds]
    key = hashlib.sha256(f"{scores.shape} {labelled.run.slope}\n".encode())
    key.update(scores.tobytes())
    key.update(seeds.tobytes())
    cells = open_cells(labelled.slide)
    found = _SHARPENED.get(cells, key.digest())
    if found is None:
        found = sharpen_slide(labelled.slide, scores, seeds, slope=labelled.run.slope, stretch=stretch)
        _SHARPENED.put(key.digest(), found)
    # What was stopped is not answered from what is kept either.
    stretch.part(0.0, 1.0, "Sharpening").tell(1.0)
    return found


def _arrange(found: CellLabels, places: Index) -> CellLabels:
    """Return the same with each class at its place."""
    if (places == np.arange(len(places))).all():
        return found
    return replace(
        found, labels=places.astype(np.uint8)[found.labels], every=found.every[..., np.argsort(places)]
    )


@dataclass(eq=False)
class _Kept:
    labels: npt.NDArray[np.uint8]
    every: Singles
    turn: int


class _Sharpened:
    """The cells of the last few runs; safe to use from many threads.

    They are kept by the numbers that they come of, so that none is given for another run. They go with the
    slide's cells, which hold its file open, and must not be held by them.
    """

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[SlideCells, dict[bytes, _Kept]] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._turn = 0

    def get(self, cells: SlideCells, key: bytes) -> CellLabels | None:
        """Return what was put for the same cells and key, where it is still there."""
        with self._lock:
            kept = self._kept.get(cells, {}).get(key)
            if kept is None:
                return None
            self._turn += 1
            kept.turn = self._turn
            return CellLabels(cells, kept.labels, kept.every)

    def put(self, key: bytes, found: CellLabels) -> None:
        """Keep the cells of a run, which from then on nobody may write to."""
        found.labels.flags.writeable = found.every.flags.writeable = False
        if found.every.nbytes > _MOST_BYTES:
            return
        with self._lock:
            self._turn += 1
            self._kept.setdefault(found.cells, {})[key] = _Kept(found.labels, found.every, self._turn)
            self._forget_some()

    def _forget_some(self) -> None:
        """Forget those that were asked for longest ago, beyond what is kept."""
        every = [(kept, key, runs) for runs in self._kept.values() for key, kept in runs.items()]
        n_bytes = 0
        for place, (kept, key, runs) in enumerate(sorted(every, key=lambda each: -each[0].turn)):
            n_bytes += kept.every.nbytes
            if place >= _MOST_RUNS or n_bytes > _MOST_BYTES:
                del runs[key]


_SHARPENED = _Sharpened()
