"""Dividing patches in two: Lloyd's iterations for two centres, at the speed of reading the embeddings.

`Part` is some of a slide's patches; `seeded_two_means` and `two_means` divide a part and return a `Split`.

Three things make it fast. Which of two centres is nearer depends only on the plane half way between them, so
a pass is one product with its normal. The sums of the two sides follow the patches that change side and no
others. And a patch is skipped while the plane cannot have reached it: its distance from the plane changes by
no more than its radius times the turn of the normal and the plane's own move, the bound of Hamerly's KMeans.

The few patches that lie nearer to the plane than single precision can tell are decided in double. So are
sums, centres and k-means++ distances, and the labels are those of a computation in double precision.

References
----------
G. Hamerly, "Making k-means even faster", SIAM International Conference on Data Mining, 2010.
D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.rows import LARGE_ROWS, Rows
from tissuumaps_sic.slidefile.arrays import Doubles, Index, Labels, Mask

# Share of what is left that one of Lloyd's iterations is told to be: most divisions take ten to thirty.
_ROUND = 0.1


@dataclass(frozen=True)
class Part:
    """Some of the patches of a slide, with their sum.

    Attributes
    ----------
    rows : Rows
    index : ndarray of shape (n,), intp, or None
        The patches, in rising order; None for all.
    size : int
        n, the number of patches.
    total : ndarray of shape (n_features,), float64
        Sum of their scaled rows.
    """

    rows: Rows
    index: Index | None
    size: int
    total: Doubles

    @classmethod
    def whole(cls, rows: Rows) -> Part:
        """Return all patches as a part.

        Parameters
        ----------
        rows : Rows

        Returns
        -------
        Part
        """
        return cls(rows, None, rows.n_patches, rows.total)

    @classmethod
    def of(cls, rows: Rows, index: Index) -> Part:
        """Return the patches at `index`, of shape (n,), in rising order, as a part.

        Parameters
        ----------
        rows : Rows
        index : ndarray of shape (n,), intp
            Rising.

        Returns
        -------
        Part
        """
        return cls(rows, index, len(index), rows.sum(index))

    def at(self, positions: Index) -> Index:
        """Return the patches at some positions of this part.

        Parameters
        ----------
        positions : ndarray of shape (n,), intp

        Returns
        -------
        ndarray of shape (n,), intp
            Rows of all patches.
        """
        return positions if self.index is None else self.index[positions]

    @property
    def patches(self) -> Index:
        """The patches, of shape (n,), in rising order."""
        return np.arange(self.size) if self.index is None else self.index

    @cached_property
    def radii(self) -> Doubles:
        """The patches' distances from the rows' origin, of shape (n,)."""
        return self.rows.radii if self.index is None else self.rows.radii[self.index]

    @cached_property
    def spread(self) -> float:
        """Sum of the patches' squared distances from the rows' origin."""
        return float(self.radii @ self.radii)

    def mean_variance(self) -> float:
        """Return the variance of each feature over the part, averaged over the features."""
        offset = self.total / self.size - self.rows.origin
        squares = self.spread - self.size * float(offset @ offset)
        return max(squares / (self.size * self.rows.n_features), 0.0)


@dataclass(frozen=True)
class Split:
    """The patches of a part, divided in two.

    Attributes
    ----------
    part : Part
        What was divided.
    labels : ndarray of shape (n,), int64
        0 or 1 for each patch of the part.
    centers : ndarray of shape (2, n_features), float64
        Centres of the two sides: a patch has the label of the nearer one, or 0 when both are as near.
    totals : ndarray of shape (2, n_features), float64
        Sum of the scaled rows of each side.
    n_iter : int
        Lloyd iterations.
    split : str
        "seeded" or "kmeans".
    """

    part: Part
    labels: Labels
    centers: Doubles
    totals: Doubles
    n_iter: int
    split: str

    def swap(self) -> Split:
        """Return the same division with the two sides' numbers exchanged.

        Returns
        -------
        Split
        """
        return Split(
            self.part, 1 - self.labels, self.centers[::-1], self.totals[::-1], self.n_iter, self.split
        )

    def side(self, label: int) -> Part:
        """Return the patches of one side as a part.

        Parameters
        ----------
        label : int

        Returns
        -------
        Part
        """
        index = self.part.at(np.flatnonzero(self.labels == label))
        return Part(self.part.rows, index, len(index), self.totals[label])

    def positive_score(self, stretch: Stretch = SILENT) -> Doubles:
        """Return the nearness to side 1, of shape (n,), in 0..1; above one half exactly where the label is 1.

        That is d0 / (d0 + d1) of the squared distances to the two centres. It takes a pass over the part.

        Parameters
        ----------
        stretch : Stretch, optional

        Returns
        -------
        ndarray of shape (n,), float64
        """
        rows = self.part.rows
        difference, middle = self.centers[1] - self.centers[0], self.centers.mean(axis=0) - rows.origin
        # d0 - d1 = 2 (x - middle) . difference, and d0 + d1 = 2 |x - middle|^2 + |difference|^2 / 2.
        gap, reach = float(np.linalg.norm(difference)), float(np.linalg.norm(middle))
        axes = np.stack([difference / gap, middle / reach if reach > 0 else middle])
        along = rows.products(axes, self.part.index, stretch) - axes @ rows.origin
        squares = np.maximum(self.part.radii**2 - 2.0 * reach * along[:, 1] + reach**2, 0.0)
        score = 0.5 + gap * (along[:, 0] - axes[0] @ middle) / (2.0 * squares + 0.5 * gap**2)
        # Rounding may put a patch on the wrong side of one half; scores are kept as float32.
        above = np.nextafter(np.float32(0.5), np.float32(1.0))
        agreeing: Doubles = np.where(self.labels == 1, np.clip(score, above, 1.0), np.clip(score, 0.0, 0.5))
        return agreeing


def seeded_two_means(
    part: Part, seeds: Labels, *, max_iter: int, tol: float, stretch: Stretch = SILENT
) -> Split | None:
    """Divide a part in two by Lloyd's iterations that start from the mean of each class's seeds.

    Parameters
    ----------
    part : Part
        n patches.
    seeds : ndarray of shape (n,), int64
        -1, 0 or 1 for each patch of the part; both classes occur.
    max_iter : int
        The most iterations.
    tol : float
        The iterations end when the centres move by less than this share of the part's mean variance (squared
        distance, as in scikit-learn's ``KMeans``), or no patch changes sides.
    stretch : Stretch, optional
        Is told how far the division is, by what is known of its iterations.

    Returns
    -------
    Split or None
        None where the two starting means are equal, so that nothing divides.
    """
    chosen = [part.at(np.flatnonzero(seeds == label)) for label in (0, 1)]
    sums = [
        part.rows.sum(index, stretch.part(0.05 * at, 0.05 * at + 0.05)) for at, index in enumerate(chosen)
    ]
    centers = np.stack([total / len(index) for total, index in zip(sums, chosen, strict=True)])
    runs = _lloyd(
        part, centers[None], max_iter=max_iter, tol=tol, split="seeded", stretch=stretch.part(0.1, 1.0)
    )
    return runs[0]


def two_means(
    part: Part,
    *,
    max_iter: int,
    tol: float,
    random_state: int,
    n_init: int = 10,
    stretch: Stretch = SILENT,
) -> Split | None:
    """Divide a part in two by conventional KMeans: the tightest of `n_init` k-means++ starts.

    The random draws are those of scikit-learn's ``KMeans(2, n_init=10, random_state=...)``, so that the
    two agree patch for patch.

    Parameters
    ----------
    part : Part
    max_iter : int
    tol : float
        As in `seeded_two_means`.
    random_state : int
        Seed of the draws.
    n_init : int, default=10
        Starts; they advance together, so that each pass over the part serves all.
    stretch : Stretch, optional

    Returns
    -------
    Split or None
        None where all rows are equal.
    """
    rng = np.random.RandomState(random_state)
    starts = _plus_plus_centers(part, n_init, rng, stretch.part(0.0, 0.3))
    runs = _lloyd(part, starts, max_iter=max_iter, tol=tol, split="kmeans", stretch=stretch.part(0.3, 1.0))
    best: Split | None = None
    best_inertia = np.inf
    for split in runs:
        if split is None:
            continue
        inertia = _inertia(split)
        same = best is not None and (
            np.array_equal(best.labels, split.labels) or np.array_equal(best.labels, 1 - split.labels)
        )
        if inertia < best_inertia and not same:
            best, best_inertia = split, inertia
    return best


def _lloyd(
    part: Part, centers: Doubles, *, max_iter: int, tol: float, split: str, stretch: Stretch
) -> list[Split | None]:
    """Run Lloyd's iterations for two centres from several starts, (n_runs, 2, n_features), side by side.

    The result of a run is None where its centres coincide at the start or one side runs empty.
    """
    results: list[Split | None] = [None] * len(centers)
    runs = _Runs(part, centers)
    runs.keep(_differ(centers))
    threshold = tol * part.mean_variance()
    runs.assign(stretch.round(0, _ROUND))
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        runs.keep((runs.n_one > 0) & (runs.n_one < part.size))
        if not len(runs.names):
            break
        shifts = runs.move(runs.means())
        changed = runs.assign(stretch.round(n_iter, _ROUND))
        ended = (changed == 0) | (shifts <= threshold) | (n_iter == max_iter)
        for run in np.flatnonzero(ended):
            results[runs.names[run]] = runs.result(int(run), n_iter, split)
        runs.keep(~ended)
    return results


class _Runs:
    """The state of several runs over one part.

    A run's plane is where (x - origin) . axis = offset, half way between its centres; the patches beyond it,
    where the product is larger, have label 1.

    Attributes
    ----------
    names : ndarray of shape (n_runs,), intp
        Which of the runs that were started these are.
    centers : ndarray of shape (n_runs, 2, n_features), float64
    axes : ndarray of shape (n_runs, n_features), float64
        Unit normals of the planes.
    offsets : ndarray of shape (n_runs,), float64
    turned : ndarray of shape (n_runs,), float64
        How far the normal's tip has travelled since the start.
    labels : ndarray of shape (n, n_runs), bool
    room : ndarray of shape (n, n_runs), float32
        For each patch, the least that (x - origin) . axis can be in the direction of its own side, to which
        radius * turned is added when it is stored and taken off when it is used.
    sums : ndarray of shape (n_runs, n_features), float64
        Sum of the scaled rows with label 1.
    n_one : ndarray of shape (n_runs,), int64
        Patches with label 1.
    """

    centers: Doubles
    axes: Doubles
    offsets: Doubles

    def __init__(self, part: Part, centers: Doubles) -> None:
        n_runs = len(centers)
        self.part = part
        self.names = np.arange(n_runs)
        self.turned = np.zeros(n_runs)
        # Nothing is assigned yet; no room at all makes the first pass look at every patch.
        self.labels = np.zeros((part.size, n_runs), dtype=bool)
        self.room = np.full((part.size, n_runs), -np.inf, dtype=np.float32)
        self.sums = np.zeros((n_runs, part.rows.n_features))
        self.n_one = np.zeros(n_runs, dtype=np.int64)
        self._set(centers)

    def keep(self, which: Mask) -> None:
        """Go on with some of the runs only."""
        if which.all():
            return
        self.names, self.centers, self.axes = self.names[which], self.centers[which], self.axes[which]
        self.offsets, self.turned = self.offsets[which], self.turned[which]
        self.labels, self.room = self.labels[:, which], self.room[:, which]
        self.sums, self.n_one = self.sums[which], self.n_one[which]

    def means(self) -> Doubles:
        """Return the mean of each side, of the shape of `centers`."""
        n_one = self.n_one[:, None]
        others = (self.part.total - self.sums) / (self.part.size - n_one)
        return np.stack([others, self.sums / n_one], axis=1)

    def move(self, centers: Doubles) -> Doubles:
        """Set the centres and return by how much they moved: squared distances, of shape (n_runs,)."""
        shifts: Doubles = ((centers - self.centers) ** 2).sum(axis=(1, 2))
        before = self.axes
        self._set(centers)
        # A little more than it is, so that rounding never makes a bound too tight.
        self.turned = self.turned + np.linalg.norm(self.axes - before, axis=1) * (1 + 1e-9) + 1e-15
        return shifts

    def assign(self, stretch: Stretch) -> npt.NDArray[np.int64]:
        """Give every patch the label of the nearer centre; return how many changed in each run."""
        rows = self.part.rows
        changed = np.zeros(len(self.names), dtype=np.int64)
        middle = self.axes @ rows.origin
        due = self._find_due()
        for start in range(0, len(due), LARGE_ROWS):
            positions = due[start : start + LARGE_ROWS]
            index = self.part.at(positions)
            along = rows.products(self.axes, index) - middle
            if not rows.precise:
                unsure = (np.abs(along - self.offsets) <= self._find_slack(positions)).any(axis=1)
                if unsure.any():
                    along[unsure] = rows.precise_products(self.axes, index[unsure]) - middle
            changed += self._store(positions, index, along)
            stretch.tell((start + len(positions)) / len(due))
        stretch.tell(1.0)
        return changed

    def result(self, run: int, n_iter: int, split: str) -> Split:
        """Return one run as it stands."""
        return Split(
            part=self.part,
            labels=self.labels[:, run].astype(np.int64),
            centers=self.centers[run],
            totals=np.stack([self.part.total - self.sums[run], self.sums[run]]),
            n_iter=n_iter,
            split=split,
        )

    def _set(self, centers: Doubles) -> None:
        differences = centers[:, 1] - centers[:, 0]
        lengths = np.linalg.norm(differences, axis=1, keepdims=True)
        self.centers = centers
        self.axes = differences / np.where(lengths > 0, lengths, 1.0)
        self.offsets = np.einsum("rj,rj->r", self.axes, centers.mean(axis=1) - self.part.rows.origin)

    def _find_due(self) -> Index:
        """Return the positions of the patches that may have changed side in any run."""
        due = np.zeros(self.part.size, dtype=bool)
        for run in range(len(self.names)):
            bound = self.part.radii * self.turned[run]
            bound += np.where(self.labels[:, run], self.offsets[run], -self.offsets[run])
            due |= ~(self.room[:, run] > bound)
        positions = np.flatnonzero(due)
        # Reading all rows where they lie is faster than gathering half of them.
        if self.part.index is None and 2 * len(positions) > self.part.size:
            return np.arange(self.part.size)
        return positions

    def _find_slack(self, positions: Index) -> Doubles:
        """Return how much rounding may have changed a product, (k, 1); no row is longer than this sum."""
        rows = self.part.rows
        length = self.part.radii[positions] + np.linalg.norm(rows.origin)
        slack: Doubles = rows.rounding * length[:, None]
        return slack

    def _store(self, positions: Index, index: Index, along: Doubles) -> npt.NDArray[np.int64]:
        """Store where some patches lie; return how many changed side in each run.

        Parameters
        ----------
        positions, index : ndarray of shape (k,), intp
            The patches, by their positions in the part and among all rows.
        along : ndarray of shape (k, n_runs), float64
            (x - origin) . axis.
        """
        before = self.labels[positions]
        after = along > self.offsets
        self.labels[positions] = after
        radii = self.part.radii[positions][:, None]
        room = np.where(after, along, -along) - self._find_slack(positions) + radii * self.turned
        self.room[positions] = np.nextafter(room.astype(np.float32), np.float32(-np.inf))
        gained = after.astype(np.int8) - before
        moved = np.flatnonzero(gained.any(axis=1))
        if len(moved):
            self.sums += self.part.rows.sum_weighted(index[moved], gained[moved].astype(np.float64))
            self.n_one += gained.sum(axis=0)
        changed: npt.NDArray[np.int64] = (gained != 0).sum(axis=0)
        return changed


def _differ(centers: Doubles) -> Mask:
    """Return which pairs of centres, (n_runs, 2, n_features), differ by more than the rounding of a mean."""
    distances = np.linalg.norm(centers[:, 1] - centers[:, 0], axis=1)
    lengths = np.linalg.norm(centers, axis=2).max(axis=1)
    return np.asarray(distances > 64 * np.finfo(np.float64).eps * lengths)


def _inertia(split: Split) -> float:
    """Return the sum of squared distances of a part's patches to the centres of their sides."""
    part, inertia = split.part, split.part.spread
    for label in (0, 1):
        size = int((split.labels == label).sum())
        center = split.centers[label] - part.rows.origin
        sums = split.totals[label] - size * part.rows.origin
        inertia += size * float(center @ center) - 2.0 * float(sums @ center)
    return inertia


def _plus_plus_centers(part: Part, n_init: int, rng: np.random.RandomState, stretch: Stretch) -> Doubles:
    """Return pairs of rows, (n_init, 2, n_features), each by greedy k-means++ with two trials."""
    # The draws do not depend on the rows, so those of all starts come first and two passes serve all.
    uniform = np.full(part.size, 1.0 / part.size)
    draws = [(rng.choice(part.size, p=uniform), rng.uniform(size=2)) for _ in range(n_init)]
    first = part.rows.at(part.at(np.array([row for row, _ in draws], dtype=np.intp)))
    nearest = np.empty((n_init, part.size))
    for where, distances in _squared_distances(part, first, stretch.part(0.0, 0.5)):
        nearest[:, where] = distances.T
    trials = np.empty((n_init, 2), dtype=np.intp)
    for init, (_, shares) in enumerate(draws):
        summed = np.cumsum(nearest[init])
        trials[init] = np.minimum(np.searchsorted(summed, shares * nearest[init].sum()), part.size - 1)
    candidates = part.rows.at(part.at(trials.ravel()))
    potentials = np.zeros((n_init, 2))
    for where, distances in _squared_distances(part, candidates, stretch.part(0.5, 1.0)):
        pairs = distances.reshape(-1, n_init, 2)
        potentials += np.minimum(pairs, nearest[:, where].T[:, :, None]).sum(axis=0)
    chosen = candidates.reshape(n_init, 2, -1)[np.arange(n_init), potentials.argmin(axis=1)]
    return np.stack([first, chosen], axis=1)


def _squared_distances(part: Part, points: Doubles, stretch: Stretch) -> Iterator[tuple[slice, Doubles]]:
    """Yield, a block at a time, the squared distances, (k, n_points), of a part's patches to some points."""
    rows = part.rows
    offsets = points - rows.origin
    squares = np.einsum("ij,ij->i", offsets, offsets)
    for where, values in rows.wide_blocks(part.index, stretch):
        index = where if part.index is None else part.index[where]
        along = (values @ offsets.T) * rows.scale(index) - offsets @ rows.origin
        yield where, np.maximum(part.radii[where][:, None] ** 2 - 2.0 * along + squares, 0.0)
