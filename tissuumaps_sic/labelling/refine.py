"""Refined labels: a Gaussian process from a few seeds to every patch, in the space of the slide's embeddings.

Four things were found by experiment to reward a click (figures in ``benchmarks/README.md``): embeddings
averaged over their neighbours on the patch grid; a smooth kernel in the leading principal components, so that
a correction acts on what looks alike; class means that unlabelled patches share in while seeds are few, which
is seeded KMeans as in the published algorithm; and scores smoothed over the grid, as far as the slide's own
labels reach.

References
----------
C. E. Rasmussen, C. K. I. Williams, "Gaussian processes for machine learning", MIT Press 2006, sections 2.2
(regression) and 6.5 (classification by least squares).
S. Basu, A. Banerjee, R. Mooney, "Semi-supervised clustering by seeding", ICML 2002.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tissuumaps_sic.labelling.calibration import apply_slope, find_slope
from tissuumaps_sic.labelling.leave_one_out import (
    Judgement,
    find_judged,
    find_lassos,
    judge,
    weigh_lassos,
)
from tissuumaps_sic.labelling.places import STEP
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.arrays import Doubles, Index, Labels, Mask, Singles

# Variance of the noise of one seed, where the process itself has variance 1.
NOISE = 0.3
# As many seeds as all unlabelled patches of a cluster count for in its mean.
PSEUDO_SEEDS = 1.5
_CLUSTER_PASSES = 3
# The score field is smoothed by this share of the distance over which it stays alike.
_REACH_SHARE = 0.25
_MOST_STEPS = 8
_BLOCK_ROWS = 4096
# The likeness of each patch to each point takes four bytes: so many in all, unless points were too few.
_MOST_LIKENESSES = 2**28
_FEWEST_POINTS, _MOST_POINTS = 500, 4000
# Patches that are looked at for a suggestion.
_POOL = 2000
# Share of a slide's first run that is needed once, on 1,000,000 x 512 and 100,000 x 1280.
_ONCE = 0.9


@dataclass(frozen=True)
class Field:
    """A Gaussian process given seeds.

    Attributes
    ----------
    prepared : Prepared
    points : ndarray of shape (n_points, n_components), float32
        The seeds' components, then the clusters' means. Where there are more seeds than memory and time allow
        for (`_most_points`), some of each class stand for all, spread over the slide evenly.
    rows : ndarray of shape (n_own,), intp
        Patches of this slide that the first points are.
    guests : ndarray of shape (n_taken,), intp
        Which of the guests the next points are.
    targets : ndarray of shape (n_points, n_classes), float64
        1 for a point's class less the mean of the row.
    noise : ndarray of shape (n_points,), float64
    kernel : ndarray of shape (n_patches, n_points), float32
        Likeness of each patch to each point, 0..1.
    y : ndarray of shape (n_patches,), int64
        The seeds, -1 where there are none.
    n_iter : int
        Passes of the seeded KMeans.
    """

    prepared: Prepared
    points: Singles
    rows: Index
    guests: Index
    targets: Doubles
    noise: Doubles
    kernel: Singles
    y: Labels
    n_iter: int

    @property
    def n_seeds(self) -> int:
        """How many of the points are seeds, of this slide or of others; the means of clusters come after."""
        return self.rows.size + self.guests.size

    @property
    def labels(self) -> Labels:
        """The class of each seed, (n_seeds,)."""
        labels: Labels = self.targets[: self.n_seeds].argmax(axis=1)
        return labels

    def judge(self) -> Judgement:
        """Return what the process says of each point when that is left out.

        Returns
        -------
        Judgement
        """
        return judge(self._measure_points(), self.targets)

    def weigh(self, taken: Mask | None = None) -> Doubles:
        """Return the weights of the points, (n_points, n_classes), where some of them or all count.

        Parameters
        ----------
        taken : ndarray of shape (n_points,), bool, optional

        Returns
        -------
        ndarray of shape (n_points, n_classes), float64
        """
        if taken is None:
            taken = np.ones(len(self.targets), dtype=bool)
        # Points that are not taken weigh nothing: to take their columns out would copy a gigabyte.
        weights = np.zeros(self.targets.shape)
        weights[taken] = np.linalg.solve(self._measure_points(taken), self.targets[taken])
        return weights

    def spread(self, weights: Doubles, *, stretch: Stretch = SILENT) -> Doubles:
        """Return the process's mean for each patch and class, smoothed over the slide as far as labels reach.

        Parameters
        ----------
        weights : ndarray of shape (n_points, n_classes), float64
        stretch : Stretch, optional

        Returns
        -------
        ndarray of shape (n_patches, n_classes), float64
        """
        mean = (self.kernel @ weights.astype(np.float32)).astype(np.float64)
        stretch.tell(0.4)
        steps = self._count_steps(mean)
        return self.prepared.places.smooth(mean, steps, stretch.part(0.5, 1.0)).astype(np.float64)

    def find_slope(self, mean: Doubles, judgement: Judgement) -> float:
        """Return the slope with which scores of a mean, as `spread` gives it, mean what they say.

        Parameters
        ----------
        mean : ndarray of shape (n_patches, n_classes), float64
        judgement : Judgement

        Returns
        -------
        float
        """
        judged = find_judged(self.labels, self.targets.shape[1])
        return find_slope(mean, judgement.margins[: self.n_seeds][judged])

    def score(self, mean: Doubles, slope: float) -> Singles:
        """Return each patch's score for each class; a seeded patch has the highest of its own class.

        Parameters
        ----------
        mean : ndarray of shape (n_patches, n_classes), float64
            As `spread` gives it; changed.
        slope : float

        Returns
        -------
        ndarray of shape (n_patches, n_classes), float32
            Rows sum to 1.
        """
        self._honour(mean)
        return apply_slope(mean, slope).astype(np.float32)

    def _measure_points(self, taken: Mask | slice = slice(None)) -> Doubles:
        """Return the likeness of points to each other, with the variance of their noise on the diagonal."""
        points = self.points[taken]
        return _likeness(points, points).astype(np.float64) + np.diag(self.noise[taken])

    def _count_steps(self, field: Doubles) -> int:
        """Return how many steps of smoothing the field's own correlation over the slide asks for."""
        reach = self.prepared.places.find_reach(field)
        return int(np.clip(round((_REACH_SHARE * reach / STEP) ** 2), 0, _MOST_STEPS))

    def _honour(self, field: Doubles) -> None:
        """Raise the class of each seeded patch, and of its exact doubles, above the others."""
        seeded = np.flatnonzero(self.y >= 0)
        every, own = field[seeded], (np.arange(seeded.size), self.y[seeded])
        raised = every[own]
        every[own] = -np.inf
        # Of a large lasso all but a few need nothing.
        for patch in seeded[~(raised > every.max(axis=1) + 0.01)]:
            label = self.y[patch]
            others = np.delete(field[patch], label)
            if field[patch, label] > others.max() + 0.01:
                continue
            for same in self.prepared.find_doubles(int(patch)):
                if self.y[same] in (-1, label):
                    field[same, label] = others.max() + 0.01


@dataclass(frozen=True)
class Guests:
    """Seeds of another slide, embedded by the same encoder at the same resolution and patch size.

    Attributes
    ----------
    embeddings : ndarray of shape (n_guests, n_features), float64
        As `Prepared.neighbourhoods` of that slide gives them.
    labels : ndarray of shape (n_guests,), int64
    """

    embeddings: Doubles
    labels: Labels


def find_unlike(prepared: Prepared, guests: Guests, y: Labels | None = None) -> Mask:
    """Return which patches are unlike any seed of another slide, and any of this one.

    A patch is, when it lies further from its nearest seed than any seed does from the nearest other seed of
    its own class: beyond the seeds' own spread, where labels are a guess.

    Parameters
    ----------
    prepared : Prepared
    guests : Guests
        With the seeds of this slide at least two of one class, or there is no spread to measure and no patch
        is told to be unlike.
    y : ndarray of shape (n_patches,), int64, optional
        Seeds of this slide, -1 where there are none.

    Returns
    -------
    ndarray of shape (n_patches,), bool
    """
    points, labels = prepared.place(guests.embeddings), guests.labels
    if y is not None:
        own = np.flatnonzero(y >= 0)
        points = np.concatenate([prepared.components[own], points])
        labels = np.concatenate([y[own], labels])
    # What is compared is a matrix of all pairs; a lasso's thousands tell no more of the spread than these.
    kept = _thin(labels, np.bincount(labels), _MOST_POINTS)
    points, labels = points[kept], labels[kept]
    apart = _squared_distances(points, points)
    apart[labels[:, None] != labels[None]] = np.inf
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(axis=1)
    if not np.isfinite(nearest).any():
        return np.zeros(prepared.n_patches, dtype=bool)
    spread = nearest[np.isfinite(nearest)].max()
    found = np.empty(prepared.n_patches, dtype=bool)
    for start in range(0, prepared.n_patches, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        found[block] = _squared_distances(prepared.components[block], points).min(axis=1) > spread
    return found


def condition(
    prepared: Prepared,
    y: Labels,
    n_classes: int,
    guests: Guests | None = None,
    *,
    doubt_lassos: bool = True,
    stretch: Stretch = SILENT,
) -> Field:
    """Condition the process on seeds.

    Parameters
    ----------
    prepared : Prepared
    y : ndarray of shape (n_patches,), int64
        -1 unlabelled, 0..n_classes-1.
    n_classes : int
        Every class occurs, in y or among the guests.
    guests : Guests, optional
        Seeds of another slide.
    doubt_lassos : bool, default=True
        Whether seeds that were given many at once count the less, the more the other seeds contradict them.
    stretch : Stretch, optional
        Is told how far this is, with what is found once a slide.

    Returns
    -------
    Field
    """
    prepared_by = 0.0 if prepared.is_ready else _ONCE
    prepared.ready(stretch.part(0.0, prepared_by))
    stretch = stretch.part(prepared_by, 1.0, "Learning from the seeds")
    components = prepared.components
    seeded = np.flatnonzero(y >= 0)
    seeds, seed_labels = components[seeded], y[seeded]
    if guests is not None:
        seeds = np.concatenate([seeds, prepared.place(guests.embeddings)])
        seed_labels = np.concatenate([seed_labels, guests.labels])
    counts = np.bincount(seed_labels, minlength=n_classes)
    means = _cluster_means(components, seeds, seed_labels, counts, stretch.part(0.0, 0.5))
    kept = _thin(seed_labels, counts, _most_points(prepared.n_patches))
    n_own = seeded.size
    seeds, seed_labels, seeded = seeds[kept], seed_labels[kept], seeded[kept[kept < n_own]]
    taken = kept[kept >= n_own] - n_own
    counts = np.bincount(seed_labels, minlength=n_classes)
    points = np.concatenate([seeds, means.astype(np.float32)])
    labels = np.concatenate([seed_labels, np.arange(n_classes)])
    targets = np.eye(n_classes)[labels] - 1.0 / n_classes
    # A class with many seeds should not outweigh one with few, so that all together weigh the same; and the
    # clusters' means fade as seeds come in.
    noise = NOISE * np.concatenate([counts[seed_labels] / counts.mean(), np.full(n_classes, counts.mean())])
    kernel = np.empty((prepared.n_patches, len(points)), dtype=np.float32)
    for start in range(0, prepared.n_patches, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        kernel[block] = _likeness(components[block], points)
        stretch.tell(0.5 + 0.5 * min(block.stop / prepared.n_patches, 1.0))
    field = Field(prepared, points, seeded, taken, targets, noise, kernel, y, n_iter=_CLUSTER_PASSES)
    return _doubt_lassos(field) if doubt_lassos else field


def _doubt_lassos(field: Field) -> Field:
    """Return the process with more noise of seeds that were given many at once and are contradicted."""
    places = field.prepared.places
    n_own = field.rows.size
    lassos = find_lassos(places.coords[field.rows], field.labels[:n_own], places.find_stride())
    if (lassos < 0).all():
        return field
    noise = field.noise.copy()
    noise[:n_own] *= weigh_lassos(lassos, field.judge().margins[:n_own])
    return replace(field, noise=noise)


def _most_points(n_patches: int) -> int:
    """Return how many seeds the process can take on a slide: a gigabyte of likenesses, mostly."""
    return int(np.clip(_MOST_LIKENESSES // n_patches, _FEWEST_POINTS, _MOST_POINTS))


def _thin(labels: Labels, counts: Labels, most: int) -> Index:
    """Return which of the seeds to take, in order: all, or of each class as many at even steps of the rows.

    Parameters
    ----------
    labels : ndarray of shape (n_seeds,), int64
    counts : ndarray of shape (n_classes,), int64
        Seeds of each class.
    most : int
        How many to take at most, unless there are more classes.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    # What classes with few seeds leave of their part goes to the others.
    quotas, left = np.zeros_like(counts), most
    for place, label in enumerate(np.argsort(counts, kind="stable")):
        quotas[label] = min(counts[label], max(left // (len(counts) - place), 1))
        left -= quotas[label]
    taken = []
    for label, quota in enumerate(quotas):
        of_class = np.flatnonzero(labels == label)
        if quota:
            taken.append(of_class[np.arange(quota) * of_class.size // quota])
    return np.sort(np.concatenate(taken))


def suggest(field: Field, scores: Singles, n: int, random_state: int, stretch: Stretch = SILENT) -> Index:
    """Return the patches whose seeds would tell most about the patches that are in doubt.

    One after the other is chosen, each as if those before it were seeded: the one that takes most variance
    from the process over the slide, where patches near the border count more. The class of a seed does not
    matter to that, so no truth and no guess is needed; and a patch near one that is chosen is told already,
    so that the chosen are diverse.

    Parameters
    ----------
    field : Field
    scores : ndarray of shape (n_patches, n_classes), float32
    n : int
    random_state : int
        Draws the patches that are looked at, on slides of more than 2,000.
    stretch : Stretch, optional

    Returns
    -------
    ndarray of shape (n,), intp
        The most telling first; fewer where there are fewer unseeded patches.
    """
    components = field.prepared.components
    free = np.flatnonzero(field.y < 0)
    rng = np.random.default_rng(random_state)
    if free.size > _POOL:
        free = np.sort(rng.choice(free, _POOL, replace=False))
    top = np.sort(scores[free], axis=1)
    # Squared, as found by experiment: what is far from the border needs no help.
    doubt = (1.0 - (top[:, -1] - top[:, -2]).astype(np.float64)) ** 2
    stretch.tell(0.1)
    cross = field.kernel[free].astype(np.float64)
    gram = _likeness(field.points, field.points).astype(np.float64)
    solved = np.linalg.solve(gram + np.diag(field.noise), cross.T)
    stretch.tell(0.5)
    covariance = _likeness(components[free], components[free]).astype(np.float64) - cross @ solved
    noise = float(field.noise.min())
    chosen: list[int] = []
    for place in range(min(n, free.size)):
        stretch.tell(0.5 + 0.5 * place / n)
        gain = ((covariance**2) @ doubt) / (covariance.diagonal() + noise)
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        column = covariance[:, best].copy()
        covariance -= np.outer(column, column) / (column[best] + noise)
    return free[chosen]


def _likeness(one: Singles, other: Singles) -> Singles:
    """Return exp(-d^2 / 2) of the distances between rows, (n_one, n_other), float32."""
    squares = _squared_distances(one, other)
    squares *= -0.5
    likeness: Singles = np.exp(squares, out=squares)
    return likeness


def _squared_distances(one: Singles, other: Singles) -> Singles:
    """Return the squared distances between rows, (n_one, n_other), float32."""
    squares: Singles = np.einsum("ij,ij->i", one, one)[:, None] + np.einsum("ij,ij->i", other, other)[None]
    squares -= 2.0 * (one @ other.T)
    return np.maximum(squares, 0.0, out=squares)


def _cluster_means(
    components: Singles,
    points: Singles,
    labels: Labels,
    counts: Labels,
    stretch: Stretch,
) -> Doubles:
    """Return the means of the clusters that seeded KMeans finds, (n_classes, n_components).

    A centre is the mean of its seeds and of `PSEUDO_SEEDS` more at the mean of its cluster, so that many
    seeds are not outvoted.
    """
    n_classes = len(counts)
    seeds = np.stack([points[labels == label].mean(axis=0, dtype=np.float64) for label in range(n_classes)])
    share = (PSEUDO_SEEDS / (counts + PSEUDO_SEEDS))[:, None]
    centers = means = seeds
    for done in range(_CLUSTER_PASSES):
        stretch.tell(done / _CLUSTER_PASSES)
        offsets = 0.5 * np.einsum("ij,ij->i", centers, centers)
        nearest = np.argmax(components @ centers.T.astype(np.float32) - offsets.astype(np.float32), axis=1)
        sums, sizes = _sums(components, nearest, n_classes)
        means = np.where(sizes > 0, sums / np.maximum(sizes, 1), seeds)
        centers = (1.0 - share) * seeds + share * means
    return means


def _sums(components: Singles, labels: Labels, n_classes: int) -> tuple[Doubles, Labels]:
    """Return the sum of the rows of each class, (n_classes, n_components), and how many, (n_classes, 1)."""
    sums = np.zeros((n_classes, components.shape[1]))
    # As a product, in double precision: a third of the time of gathering the rows of each class.
    for start in range(0, len(components), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        members = (labels[block] == np.arange(n_classes)[:, None]).astype(np.float64)
        sums += members @ components[block].astype(np.float64)
    return sums, np.bincount(labels, minlength=n_classes)[:, None]
