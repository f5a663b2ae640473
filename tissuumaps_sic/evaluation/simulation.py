"""A simulated annotator: who seeds a slide from its truth, click by click, and how good the labels become.

Nothing here reads a file; `evaluate` brings slides and truths, and this module the clicks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.clustering import UNLABELLED, SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.typical import choose_typical, is_untold
from tissuumaps_sic.slidefile.arrays import Labels
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.truth.classes import UNCOUNTED
from tissuumaps_sic.truth.truth import Truth

Rows = npt.NDArray[np.intp]

# A raster of the patch grid beyond this many cells means that the patches lie on no grid.
_MOST_CELLS = 50_000_000


class EvaluationError(SicError):
    """An evaluation cannot be run as asked, or a slide cannot take part; the message says what to do."""


# From seeds, shape (n_patches,), -1 where there is none, to a fitted estimator.
Engine = Callable[[Labels], SeededIterativeClustering]
# From a fitted estimator and its seeds to more figures of it.
Follower = Callable[[SeededIterativeClustering, Labels], dict[str, float]]


def draw_seeds(labels: Labels, n_seeds: int, rng: np.random.Generator) -> Labels:
    """Return `n_seeds` seeds of each class, drawn inside the patches of the class.

    Parameters
    ----------
    labels : ndarray of shape (n_patches,), int64
        The truth; -1 is drawn nowhere.
    n_seeds : int
        For each class; all of a class that has fewer.
    rng : Generator

    Returns
    -------
    ndarray of shape (n_patches,), int64
        -1 where there is no seed.
    """
    y = np.full(len(labels), UNLABELLED, np.int64)
    for number in range(labels.max() + 1):
        inside = np.flatnonzero(labels == number)
        y[rng.choice(inside, min(n_seeds, len(inside)), replace=False)] = number
    return y


def measure(truth: Labels, labels: Labels, n_classes: int) -> dict[str, float]:
    """Compare labels with the truth, over the patches that have one.

    Parameters
    ----------
    truth, labels : ndarray of shape (n_patches,), int64
        0 to ``n_classes - 1``; -1 in `truth` is not counted.
    n_classes : int

    Returns
    -------
    dict of str to float
        ``f1``, ``precision`` and ``recall`` of class 1, or of three or more classes their mean;
        ``macro_f1``, the mean over all classes; ``balanced_accuracy``, the mean recall. What would be
        divided by zero is 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    counted = truth != UNCOUNTED
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth[counted], labels[counted], labels=range(n_classes), zero_division=0.0
    )
    chosen = slice(1, 2) if n_classes == 2 else slice(None)
    return {
        "f1": float(f1[chosen].mean()),
        "macro_f1": float(f1.mean()),
        "precision": float(precision[chosen].mean()),
        "recall": float(recall[chosen].mean()),
        "balanced_accuracy": float(recall.mean()),
    }


@dataclass(frozen=True)
class Grid:
    """Where patches lie on their grid.

    Attributes
    ----------
    rows, columns : ndarray of shape (n_patches,), intp
    """

    rows: Rows
    columns: Rows

    @classmethod
    def of(cls, slide: EmbeddedSlide) -> Grid:
        """Return the grid of a slide's patches.

        Parameters
        ----------
        slide : EmbeddedSlide

        Returns
        -------
        Grid

        Raises
        ------
        EvaluationError
            When they lie on none.
        """
        columns, rows = (_steps(slide.centres[:, axis], slide.spacing) for axis in (0, 1))
        if (columns.max() + 1) * (rows.max() + 1) > _MOST_CELLS:
            raise EvaluationError(
                f"{slide.path.name}: its patches do not lie on a grid, so that no annotator can be "
                "simulated on it; give 0 clicks"
            )
        return cls(rows, columns)

    def raster(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return a mask of patches as an image, shape (rows, columns).

        Parameters
        ----------
        mask : ndarray of shape (n_patches,), bool

        Returns
        -------
        ndarray of shape (rows, columns), bool
            False where there is no patch.
        """
        image = np.zeros((self.rows.max() + 1, self.columns.max() + 1), bool)
        image[self.rows[mask], self.columns[mask]] = True
        return image


def _steps(positions: npt.NDArray[np.float64], spacing: float) -> Rows:
    """Return how many whole steps of the grid each position is from the first.

    Counted from each position to the next, so that a spacing that is a little off never adds up.
    """
    known, inverse = np.unique(positions, return_inverse=True)
    steps = np.rint(np.diff(known, prepend=known[0]) / spacing)
    return np.asarray(np.cumsum(steps)[inverse.ravel()], dtype=np.intp)


@dataclass(frozen=True)
class Turn:
    """What a simulated annotator sees before a click.

    Attributes
    ----------
    truth : ndarray of shape (n_patches,), int64
    grid : Grid
    seeds : ndarray of shape (n_patches,), int64
    prepared : Prepared
        Of the slide's embeddings.
    fitted : SeededIterativeClustering or None
        None while fewer than two classes have seeds.
    rng : Generator
        The simulated annotator's own; it goes on from click to click.
    used : ndarray of shape (n_used,), int64, optional
        The classes that `fitted` tells apart, where some have no seed.
    """

    truth: Labels
    grid: Grid
    seeds: Labels
    prepared: Prepared
    fitted: SeededIterativeClustering | None
    rng: np.random.Generator
    used: Labels | None = None

    @property
    def labels(self) -> Labels:
        """The label of each patch, (n_patches,): the one class that has seeds, while it is the only one."""
        if self.fitted is None:
            return np.full_like(self.truth, self.seeds.max())
        return self.fitted.labels_ if self.used is None else self.used[self.fitted.labels_]

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Which patches have another label than their truth; shape (n_patches,)."""
        return np.asarray((self.truth != UNCOUNTED) & (self.truth != self.labels))

    @property
    def free(self) -> npt.NDArray[np.bool_]:
        """Which patches can be clicked: those with a truth and no seed; shape (n_patches,)."""
        return np.asarray((self.truth != UNCOUNTED) & (self.seeds == UNLABELLED))


def _largest_error(turn: Turn) -> int | None:
    """Choose the middle of the largest area that is wrong, as a person does who looks at the labels.

    Wrong patches of one true class that are neighbours by a side form an area. Its middle is the patch
    farthest from the area's border, and of equals the one nearest to the area's centroid.
    """
    from scipy import ndimage

    wrong, free = turn.wrong, turn.free
    areas: list[tuple[int, int, int]] = []
    images = []
    for number in range(turn.truth.max() + 1):
        image, count = ndimage.label(turn.grid.raster(wrong & (turn.truth == number)))
        images.append(image)
        sizes = np.bincount(image.ravel(), minlength=count + 1)[1:]
        areas += [(-int(size), number, area) for area, size in enumerate(sizes, start=1)]
    # The largest first; of equals the lower class, and then the first in reading order.
    for _, number, area in sorted(areas):
        mine = images[number][turn.grid.rows, turn.grid.columns] == area
        members = np.flatnonzero(mine & wrong & free & (turn.truth == number))
        if members.size:
            return _middle(images[number] == area, members, turn.grid)
    return None


def _middle(area: npt.NDArray[np.bool_], members: Rows, grid: Grid) -> int:
    from scipy import ndimage

    rows, columns = np.nonzero(area)
    box = np.pad(
        area[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 1
    )  # the border of the raster is a border of the area
    depth = ndimage.distance_transform_edt(box)
    mine = depth[grid.rows[members] - rows.min() + 1, grid.columns[members] - columns.min() + 1]
    distance = np.hypot(grid.rows[members] - rows.mean(), grid.columns[members] - columns.mean())
    # Rounded, so that what is equal by symmetry is equal in every digit.
    best = np.lexsort((members, distance.round(6), -mine.round(6)))[0]
    return int(members[best])


def _random(turn: Turn) -> int | None:
    """Choose any patch."""
    free = np.flatnonzero(turn.free)
    return int(turn.rng.choice(free)) if free.size else None


def _take_suggestion(turn: Turn) -> int | None:
    """Choose what the estimator suggests."""
    assert turn.fitted is not None
    free = turn.free
    # More are asked for only where the first ones have no truth.
    for count in (1, 16, 256, len(free)):
        for index in turn.fitted.suggest(min(count, len(free))):
            if free[index]:
                return int(index)
    return None


def _border(turn: Turn) -> int | None:
    """Choose the patch whose two best classes are nearest to each other."""
    assert turn.fitted is not None
    free = np.flatnonzero(turn.free)
    if not free.size:
        return None
    best = np.sort(turn.fitted.scores_[free], axis=1)
    return int(free[np.argmin(best[:, -1] - best[:, -2])])


def _take_typical(turn: Turn) -> int | None:
    """Choose what the viewer suggests: what is typical of the slide at first, what is in doubt later."""
    if not is_untold(turn.seeds):
        return _take_suggestion(turn)
    counted, seeded = turn.truth != UNCOUNTED, np.flatnonzero(turn.seeds != UNLABELLED)
    found = choose_typical(turn.prepared, 1, seeded, candidates=counted)
    return int(found[0]) if found.size else None


# How a simulated annotator chooses the next patch; None when there is none left to choose.
STRATEGIES: dict[str, Callable[[Turn], int | None]] = {
    "largest-error": _largest_error,
    "random": _random,
    "suggest": _take_suggestion,
    "border": _border,
    "cold": _take_typical,
    "cold-random": _random,
}
# Those that start on a slide without any seed.
COLD = ("cold", "cold-random")


def simulate(
    engine: Engine,
    prepared: Prepared,
    truth: Truth,
    grid: Grid,
    seeds: Labels,
    *,
    strategy: str,
    clicks: int,
    rng: np.random.Generator,
    follow: Follower | None = None,
) -> list[dict[str, float]]:
    """Annotate a slide click by click, always truthfully.

    Parameters
    ----------
    engine : callable
        From seeds to a fitted estimator.
    prepared : Prepared
        Of the slide's embeddings.
    truth : Truth
    grid : Grid
    seeds : ndarray of shape (n_patches,), int64
        The first seeds; for one of `COLD` there are none.
    strategy : str
        A name in `STRATEGIES`.
    clicks : int
        In all, the first seeds included.
    rng : Generator
        The annotator's own.
    follow : callable, optional
        Gives more figures of what was fitted, once every class has seeds.

    Returns
    -------
    list of dict of str to float
        ``f1``, and what `follow` gives, after the first seeds, where there are some, and after every further
        click. They stay once nothing is wrong, or nothing is left to click.
    """
    y = seeds.copy()
    curve: list[dict[str, float]] = []
    n_figures = clicks + 1 - max(1, int((seeds != UNLABELLED).sum()))
    while len(curve) < n_figures:
        used = np.unique(y[y != UNLABELLED])
        # To an estimator a class without seeds is none.
        code = np.full(len(truth.names) + 1, UNLABELLED)
        code[used] = np.arange(len(used))
        fitted = engine(code[y]) if len(used) > 1 else None
        turn = Turn(truth.labels, grid, y, prepared, fitted, rng, used)
        if (y != UNLABELLED).any():
            figures = {"f1": measure(truth.labels, turn.labels, len(truth.names))["f1"]}
            more = follow(fitted, y) if follow and fitted and len(used) == len(truth.names) else {}
            curve.append(figures | more)
        chosen = STRATEGIES[strategy](turn) if turn.wrong.any() else None
        if chosen is None:
            break
        y[chosen] = truth.labels[chosen]
    return curve + curve[-1:] * (n_figures - len(curve))
