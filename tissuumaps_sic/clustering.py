"""Seeded iterative clustering: a few seeds of two classes to a label for every patch.

The estimator holds the published algorithm; the functions below it are kernels from arrays to arrays.
Nothing here reads a file or knows of a viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClusterMixin

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]
Metric = Callable[[Labels, Labels], float]

UNLABELLED = -1
# Rows taken at a time where a temporary array as large as X would otherwise be made.
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Step:
    """One pass of the outer loop of seeded iterative clustering.

    Attributes
    ----------
    split : str
        How the positive patches were divided: "seeded" (both classes had seeds among them) or "kmeans".
    n_before, n_positive : int
        Positive patches before and after the split.
    score : float
        The metric over all seeds after the split.
    accepted : bool
        Whether the score rose, so that the split was kept.
    n_iter : int
        Lloyd iterations that the split took.
    """

    split: str
    n_before: int
    n_positive: int
    score: float
    accepted: bool
    n_iter: int


class SeededIterativeClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Binary clustering of patch embeddings, guided by a few seeds, as published.

    The whole slide is divided by a two-means that starts from the mean embedding of each class's seeds. The
    positive part is divided again in the same way as long as a metric over the seeds rises: by a seeded
    two-means while seeds of both classes lie in it, by a conventional one when only positive seeds do.

    Parameters
    ----------
    metric : "f1" or callable, default="f1"
        What the outer loop must raise. A callable takes ``(y_true, y_pred)``, both int arrays of shape
        (n_seeds,) of 0 and 1, and returns a float that is larger when better.
    normalize : bool, default=True
        Scale every embedding to unit length first, so that directions are compared and not magnitudes.
    max_iter : int, default=300
        The most Lloyd iterations in one two-means.
    tol : float, default=1e-4
        A two-means ends when its centres move by less than this share of the mean variance of the
        features (squared distance, as in scikit-learn's ``KMeans``), or no patch changes sides.
    random_state : int, default=0
        Seed of the conventional two-means, the only step that draws random numbers.

    Attributes
    ----------
    labels_ : ndarray of shape (n_patches,), int64
        1 for the positive class, 0 for the other.
    scores_ : ndarray of shape (n_patches, 2), float32
        How near each patch lies to each side of the last split that it took part in; rows sum to 1,
        and a patch is positive exactly when its second score is above one half.
    n_iter_ : int
        Lloyd iterations in all.
    history_ : list of Step
        The outer loop, in order; empty when the first division left no positive seed to go on from.
    n_features_in_ : int
        Length of an embedding.

    Notes
    -----
    Seeds steer the centres and nothing else: a seeded patch may end in the other class, and more seeds
    help little once the means are right. Where the tissue of interest is a small share of the slide,
    the result varies with the choice of seeds.

    The published listing keeps looping while the score does *not* rise and calls the positive-only case
    "only negative annotations"; both are read here as the text of the paper has them.

    References
    ----------
    "Seeded iterative clustering for histology region identification", Learning Meaningful Representations
    of Life workshop, NeurIPS 2022. S. Basu, A. Banerjee, R. Mooney, "Semi-supervised clustering by
    seeding", ICML 2002, for the seeded KMeans.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.repeat([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]], 4, axis=0)
    >>> y = np.full(12, -1)
    >>> y[0], y[4] = 0, 1
    >>> SeededIterativeClustering().fit(X, y).labels_
    array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    """

    labels_: Labels
    scores_: npt.NDArray[np.float32]
    n_iter_: int
    history_: list[Step]
    n_features_in_: int

    def __init__(
        self,
        *,
        metric: str | Metric = "f1",
        normalize: bool = True,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.metric = metric
        self.normalize = normalize
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> SeededIterativeClustering:
        """Label every patch.

        Parameters
        ----------
        X : array-like of shape (n_patches, n_features)
            Embeddings, one row a patch; may be a memory map. float32 is computed in float32, anything
            else in float64.
        y : array-like of shape (n_patches,), int
            Seeds: 1 positive, 0 the other class, -1 unlabelled.

        Returns
        -------
        self : SeededIterativeClustering

        Raises
        ------
        ValueError
            When a parameter, X or y cannot be used; the message says what to do.
        """
        metric = self._check_parameters()
        features = check_features(X)
        seeds = check_seeds(y, features.shape[0])
        if self.normalize:
            features = unit_rows(features)

        seeded = seeds != UNLABELLED
        y_seeds = seeds[seeded]
        first = seeded_two_means(features, seeds, max_iter=self.max_iter, tol=self.tol)
        if first is None:
            raise ValueError(
                "the seeds of both classes have the same mean embedding, so they cannot be told apart; "
                "seed other patches"
            )
        labels = first.labels
        positive_score = first.positive_score
        n_iter = first.n_iter
        history: list[Step] = []
        best = 0.0
        while True:
            rows = np.flatnonzero(labels == 1)
            part = self._divide(features, seeds, rows)
            if part is None:
                break
            candidate = np.zeros_like(labels)
            candidate[rows] = part.labels
            score = float(metric(y_seeds, candidate[seeded]))
            n_iter += part.n_iter
            history.append(
                Step(
                    split=part.split,
                    n_before=rows.size,
                    n_positive=int(candidate.sum()),
                    score=score,
                    accepted=score > best,
                    n_iter=part.n_iter,
                )
            )
            if score <= best:
                break
            labels, best = candidate, score
            positive_score[rows] = part.positive_score

        self.labels_ = labels
        self.scores_ = np.column_stack([1.0 - positive_score, positive_score]).astype(np.float32)
        self.n_iter_ = n_iter
        self.history_ = history
        self.n_features_in_ = features.shape[1]
        return self

    def _divide(self, features: Floats, seeds: Labels, rows: npt.NDArray[np.intp]) -> Split | None:
        """Divide the patches at `rows` in two, or None where the published algorithm stops."""
        inside = seeds[rows]
        n_positive = int((inside == 1).sum())
        if n_positive == 0 or rows.size < 2:
            return None
        if (inside == 0).any():
            return seeded_two_means(features[rows], inside, max_iter=self.max_iter, tol=self.tol)
        split = two_means(
            features[rows], max_iter=self.max_iter, tol=self.tol, random_state=self.random_state
        )
        if split is None:
            return None
        # The positive part is the one with more positive seeds; of two equals, the larger, then part 0.
        in_one = int((inside[split.labels == 1] == 1).sum())
        size_one = int(split.labels.sum())
        if (in_one, size_one) > (n_positive - in_one, rows.size - size_one):
            return split
        return split.swapped()

    def _check_parameters(self) -> Metric:
        if callable(self.metric):
            metric = self.metric
        elif self.metric == "f1":
            metric = f1
        else:
            raise ValueError(f"metric is {self.metric!r}; give 'f1' or a function of (y_true, y_pred)")
        if self.max_iter < 1:
            raise ValueError(f"max_iter is {self.max_iter}; give at least 1")
        if self.tol < 0:
            raise ValueError(f"tol is {self.tol}; give 0 or more")
        return metric


@dataclass(frozen=True)
class Split:
    """Patches divided in two.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
        0 or 1.
    positive_score : ndarray of shape (n,), float64
        Nearness to part 1, in 0..1; above one half exactly where the label is 1.
    n_iter : int
        Lloyd iterations.
    split : str
        "seeded" or "kmeans".
    """

    labels: Labels
    positive_score: npt.NDArray[np.float64]
    n_iter: int
    split: str

    def swapped(self) -> Split:
        """Return the same division with the two parts' numbers exchanged."""
        labels = 1 - self.labels
        # An exact tie scores one half and belongs to label 0; as label 1 it must lie just above.
        score = 1.0 - self.positive_score
        score[(labels == 1) & (score <= 0.5)] = np.nextafter(np.float32(0.5), np.float32(1.0))
        return Split(labels, score, self.n_iter, self.split)


def check_features(X: npt.ArrayLike) -> Floats:
    """Return X as a float32 or float64 array of shape (n_patches >= 2, n_features >= 1), all finite.

    Raises
    ------
    ValueError
        Naming what is wrong and what to do.
    """
    features: Floats = np.asanyarray(X)
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float64)
    if features.ndim != 2:
        raise ValueError(
            f"X has {features.ndim} dimensions; give a matrix with one row a patch, (n_patches, n_features)"
        )
    n_patches, n_features = features.shape
    if n_patches < 2:
        raise ValueError(f"X has {n_patches} patch; clustering needs at least two")
    if n_features < 1:
        raise ValueError("X has no features; give embeddings of at least one dimension")
    for start in range(0, n_patches, _CHUNK_ROWS):
        finite = np.isfinite(features[start : start + _CHUNK_ROWS]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ValueError(
                f"X holds NaN or infinity, first in row {row}; leave those patches out or embed them again"
            )
    return features


def check_seeds(y: npt.ArrayLike, n_patches: int) -> Labels:
    """Return y as int64 seeds of shape (n_patches,), with both classes seeded.

    Raises
    ------
    ValueError
        Naming what is wrong and what to do.
    """
    given = np.asarray(y)
    if given.shape != (n_patches,):
        raise ValueError(
            f"y has shape {given.shape} and X has {n_patches} patches; give one seed or -1 for each patch"
        )
    seeds = given.astype(np.int64)
    if not np.array_equal(seeds, given):
        raise ValueError("y holds values that are not whole numbers; give 0, 1, or -1 for unlabelled")
    wrong = np.flatnonzero((seeds < UNLABELLED) | (seeds > 1))
    if wrong.size:
        raise ValueError(
            f"seed {seeds[wrong[0]]} of patch {wrong[0]} is out of range; give 0, 1, or -1 for unlabelled"
        )
    for label, name in ((1, "positive class (1)"), (0, "other class (0)")):
        if not (seeds == label).any():
            raise ValueError(f"no seed of the {name}; seed at least one patch of each class")
    return seeds


def f1(y_true: Labels, y_pred: Labels) -> float:
    """F1 of the positive class over two arrays of 0 and 1; 0.0 where nothing is or should be positive."""
    hits = int(((y_true == 1) & (y_pred == 1)).sum())
    misses = int((y_true != y_pred).sum())
    return 2.0 * hits / (2.0 * hits + misses) if hits else 0.0


def unit_rows(X: Floats) -> Floats:
    """Return X with every row scaled to unit length; a row of zeros stays as it is."""
    unit = np.empty_like(X, subok=False)
    for start in range(0, X.shape[0], _CHUNK_ROWS):
        rows = np.asarray(X[start : start + _CHUNK_ROWS])
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        norms[norms == 0] = 1
        np.divide(rows, norms[:, None], out=unit[start : start + _CHUNK_ROWS])
    return unit


def seeded_two_means(X: Floats, seeds: Labels, *, max_iter: int, tol: float) -> Split | None:
    """Divide X in two by Lloyd's iterations that start from the mean of each class's seeds.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    seeds : ndarray of shape (n,), int64
        -1, 0 or 1; both classes occur.
    max_iter : int
    tol : float

    Returns
    -------
    Split or None
        None where the two starting means are equal, so that nothing divides.
    """
    centers = np.stack([X[seeds == label].mean(axis=0, dtype=np.float64) for label in (0, 1)])
    return _lloyd(X, centers, max_iter=max_iter, tol=tol, split="seeded")


def two_means(X: Floats, *, max_iter: int, tol: float, random_state: int, n_init: int = 10) -> Split | None:
    """Divide X in two by conventional KMeans: the tightest of `n_init` k-means++ starts.

    The random draws are those of scikit-learn's ``KMeans(2, n_init=10, random_state=...)``, so that the
    two agree patch for patch.

    Returns
    -------
    Split or None
        None where all rows are equal.
    """
    rng = np.random.RandomState(random_state)
    best: Split | None = None
    best_inertia = np.inf
    for _ in range(n_init):
        centers = _plus_plus_centers(X, rng)
        split = _lloyd(X, centers, max_iter=max_iter, tol=tol, split="kmeans")
        if split is None:
            continue
        inertia = _inertia(X, split.labels)
        same = best is not None and (
            np.array_equal(best.labels, split.labels) or np.array_equal(best.labels, 1 - split.labels)
        )
        if inertia < best_inertia and not same:
            best, best_inertia = split, inertia
    return best


def _lloyd(
    X: Floats, centers: npt.NDArray[np.float64], *, max_iter: int, tol: float, split: str
) -> Split | None:
    """Run Lloyd's iterations for two centres.

    A patch belongs to centre 1 when it lies nearer to it, which is one product with the difference of
    the centres: |x - c0|^2 > |x - c1|^2 exactly when 2 x.(c1 - c0) > |c1|^2 - |c0|^2.
    """
    if np.array_equal(centers[0], centers[1]):
        return None
    total = X.sum(axis=0, dtype=np.float64)
    threshold = tol * _mean_variance(X, total / X.shape[0])
    labels = _nearer_one(X, centers)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        n_one = int(labels.sum())
        if n_one in (0, X.shape[0]):
            return None
        sum_one = X[labels].sum(axis=0, dtype=np.float64)
        updated = np.stack([(total - sum_one) / (X.shape[0] - n_one), sum_one / n_one])
        shift = float(((updated - centers) ** 2).sum())
        centers = updated
        moved = _nearer_one(X, centers)
        converged = bool(np.array_equal(moved, labels)) or shift <= threshold
        labels = moved
        if converged:
            break
    return Split(labels.astype(np.int64), _positive_score(X, centers, labels), n_iter=n_iter, split=split)


def _nearer_one(X: Floats, centers: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which rows lie nearer to centre 1; ties go to centre 0."""
    difference = centers[1] - centers[0]
    offset = 0.5 * (centers[1] @ centers[1] - centers[0] @ centers[0])
    return np.asarray(X @ difference.astype(X.dtype) > X.dtype.type(offset))


def _positive_score(
    X: Floats, centers: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return d0 / (d0 + d1) of the squared distances to the two centres, agreeing with the labels."""
    squares = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    distances = [
        np.maximum(squares - 2.0 * (X @ center.astype(X.dtype)) + center @ center, 0.0) for center in centers
    ]
    total = distances[0] + distances[1]
    score = np.divide(distances[0], total, out=np.full(len(total), 0.5), where=total > 0)
    # Rounding may put a patch on the wrong side of one half; scores are kept as float32.
    above = np.nextafter(np.float32(0.5), np.float32(1.0))
    agreeing: npt.NDArray[np.float64] = np.where(labels, np.maximum(score, above), np.minimum(score, 0.5))
    return agreeing


def _mean_variance(X: Floats, mean: npt.NDArray[np.float64]) -> float:
    """Return the variance of each feature, averaged over the features."""
    squares = 0.0
    for start in range(0, X.shape[0], _CHUNK_ROWS):
        deviations = X[start : start + _CHUNK_ROWS] - mean
        squares += float(np.einsum("ij,ij->", deviations, deviations))
    return squares / X.size


def _inertia(X: Floats, labels: Labels) -> float:
    """Return the sum of squared distances of the rows to the mean of their part."""
    inertia = 0.0
    for label in (0, 1):
        rows = X[labels == label]
        deviations = rows - rows.mean(axis=0, dtype=np.float64)
        inertia += float(np.einsum("ij,ij->", deviations, deviations))
    return inertia


def _plus_plus_centers(X: Floats, rng: np.random.RandomState) -> npt.NDArray[np.float64]:
    """Return two rows of X by greedy k-means++ (Arthur and Vassilvitskii, 2007), two trials."""
    n = X.shape[0]
    first = X[rng.choice(n, p=np.full(n, 1.0 / n))].astype(np.float64)
    nearest = _squared_distances(X, first)
    draws = rng.uniform(size=2) * nearest.sum()
    trials = np.minimum(np.searchsorted(np.cumsum(nearest), draws), n - 1)
    candidates = [X[row].astype(np.float64) for row in trials]
    potentials = [np.minimum(nearest, _squared_distances(X, row)).sum() for row in candidates]
    return np.stack([first, candidates[int(np.argmin(potentials))]])


def _squared_distances(X: Floats, row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    distances = np.empty(X.shape[0])
    for start in range(0, X.shape[0], _CHUNK_ROWS):
        deviations = X[start : start + _CHUNK_ROWS] - row
        distances[start : start + _CHUNK_ROWS] = np.einsum("ij,ij->i", deviations, deviations)
    return distances
