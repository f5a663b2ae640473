"""What the answers to a stratified random sample tell of all patches: counts to figures with intervals.

Each stratum has a posterior of its own: a Dirichlet prior worth one answer that agrees with the label and a
quarter of one that does not, the answers, and for the patches that were not asked about a multinomial draw,
so that what is known is known and a sample of all patches leaves no doubt. Plain normal intervals, and
Jeffreys' prior in each stratum, do not hold the truth as often as they say where classes are rare:
`benchmarks/README.md` has the figures of what was tried.

References
----------
P. Olofsson et al., "Good practices for estimating area and assessing accuracy of land change", Remote Sensing
of Environment 148, 2014: what is estimated. S. V. Stehman, "Estimating area and map accuracy for stratified
random sampling when the strata are different from the map classes", International Journal of Remote Sensing
35, 2014: why labels may change after the drawing. W. A. Ericson, "Subjective Bayesian models in sampling
finite populations", Journal of the Royal Statistical Society B 31, 1969: the posterior of a finite
population. L. D. Brown, T. T. Cai, A. DasGupta, "Interval estimation for a binomial proportion", Statistical
Science 16, 2001: why not the normal interval.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Doubles, Integers

LEVEL = 0.95
# Answers that the prior of a stratum is worth: that a label is right, and that it is not. The latter are as
# few as they may be without intervals of rare classes that leave the truth out, and shared by the other
# classes: each class beside all others has then the same prior, however many there are.
_RIGHT, _WRONG = 1.0, 0.25
_MOST_DRAWS, _FEWEST_DRAWS, _MOST_NUMBERS = 3000, 500, 120_000
# How far answers are thought on for what would halve an interval.
_MOST_TIMES = 64
_ROUNDS = 6


@dataclass(frozen=True)
class Interval:
    """A figure with the interval that holds it with a probability of `LEVEL`, 0.95.

    Attributes
    ----------
    value, low, high : float
        In the unit of the figure.
    """

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """From one end to the other."""
        return self.high - self.low

    def scale(self, factor: float) -> Interval:
        """Return it in other units.

        Parameters
        ----------
        factor : float

        Returns
        -------
        Interval
        """
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, eq=False)
class Tally:
    """Patches and answers by cell: what is of one stratum and has one label.

    Attributes
    ----------
    labels : ndarray of shape (n_cells,), int64
        The class that the patches of a cell are labelled.
    sizes : ndarray of shape (n_cells,), int64
        How many there are.
    areas : ndarray of shape (n_cells,), float64
        Their area together, in any unit.
    answers : ndarray of shape (n_cells, n_classes), float64
        How many were said to be of each class.
    answered_areas, answered_squares : ndarray of shape (n_cells, n_classes), float64
        Sums of their areas, and of the squares of these.
    shares : ndarray of shape (n_cells,), float64
        Which share of the questions goes to a cell.
    """

    labels: Integers
    sizes: Integers
    areas: Doubles
    answers: Doubles
    answered_areas: Doubles
    answered_squares: Doubles
    shares: Doubles

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.answers.shape[1])

    @property
    def n_answers(self) -> int:
        """How many patches were told the class of."""
        return int(self.answers.sum())

    @property
    def prior(self) -> Doubles:
        """Of each cell, (n_cells, n_classes): so many answers more."""
        others = max(self.n_classes - 1, 1)
        prior = np.full(self.answers.shape, _WRONG / others)
        prior[np.arange(len(self.labels)), self.labels] = _RIGHT
        return prior


def tally(
    strata: npt.NDArray[np.integer[Any]],
    labels: npt.NDArray[np.integer[Any]],
    areas: npt.NDArray[np.floating[Any]],
    rows: npt.NDArray[np.integer[Any]],
    answers: npt.NDArray[np.integer[Any]],
    *,
    shares: Doubles,
    n_classes: int,
) -> Tally:
    """Count patches and answers by stratum and label.

    Parameters
    ----------
    strata, labels : integer ndarray of shape (n_patches,)
        The strata that were drawn from; the labels that are judged, those of the drawing or later ones.
    areas : floating ndarray of shape (n_patches,)
    rows, answers : integer ndarray of shape (n_answers,)
        The patches that were drawn and answered, and the class of each. Patches that nobody can tell are left
        out: the others of their stratum stand for them.
    shares : ndarray of shape (n_strata,), float64
        `sampling.Design.shares`.
    n_classes : int

    Returns
    -------
    Tally
    """
    code = strata.astype(np.int64) * n_classes + labels
    sizes = np.bincount(code, minlength=len(shares) * n_classes)
    known = np.flatnonzero(sizes)
    place = np.zeros(len(sizes), np.int64)
    place[known] = np.arange(len(known))
    asked = place[code[rows]] * n_classes + answers
    shape = len(known), n_classes
    weights = areas[rows].astype(np.float64)

    def count(each: Doubles) -> Doubles:
        return _sum(asked, each, shape[0] * shape[1]).reshape(shape)

    stratum = known // n_classes
    of_stratum = np.bincount(stratum, sizes[known], minlength=len(shares))[stratum]
    return Tally(
        labels=known % n_classes,
        sizes=sizes[known],
        areas=_sum(code, areas, len(sizes))[known],
        answers=count(np.ones(len(rows))),
        answered_areas=count(weights),
        answered_squares=count(weights**2),
        shares=shares[stratum] * sizes[known] / of_stratum,
    )


def _sum(places: Integers, values: npt.NDArray[np.floating[Any]], n: int) -> Doubles:
    """Return the sums of values that have the same place, (n,)."""
    return np.bincount(places, values, minlength=n).astype(np.float64)


@dataclass(frozen=True)
class Estimates:
    """How good labels are, each figure with its interval; None where there is nothing that it is of.

    Attributes
    ----------
    precision, recall, f1 : tuple of Interval or None
        Of each class.
    area : tuple of Interval
        Of each class, as if a reader had labelled all patches; in the unit of the tally.
    accuracy : Interval
        Share of the patches whose label is right.
    """

    precision: tuple[Interval | None, ...]
    recall: tuple[Interval | None, ...]
    f1: tuple[Interval | None, ...]
    area: tuple[Interval, ...]
    accuracy: Interval


def estimate(counts: Tally, *, draws: int = _MOST_DRAWS, randomness: int = 0) -> Estimates:
    """Return what the answers tell of all patches.

    The values are those of Olofsson et al. and of Stehman (2014); of a cell without answers, those of its
    prior. The intervals are the shortest that hold `LEVEL` of the posterior, and the value; those of areas
    begin no lower than where the lower half of the rest ends.

    Parameters
    ----------
    counts : Tally
    draws : int, default=3000
        Of the posterior; fewer where there are many classes.
    randomness : int, default=0

    Returns
    -------
    Estimates
    """
    rng = np.random.default_rng(randomness)
    draws = min(draws, max(_FEWEST_DRAWS, _MOST_NUMBERS // counts.answers.size))
    drawn, drawn_areas = _draw(rng, counts, draws)
    likely, likely_areas = _expect(counts)
    figures = [_compare(each, counts.labels) for each in (likely[None], drawn)]
    summed = [each.sum(axis=-2) for each in (likely_areas[None], drawn_areas)]
    precision, recall, f1 = (
        tuple(find_interval(*(each[kind][:, label] for each in figures)) for label in range(counts.n_classes))
        for kind in ("precision", "recall", "f1")
    )
    area = [_find_area(*(each[:, label] for each in summed)) for label in range(counts.n_classes)]
    accuracy = find_interval(*(each["accuracy"] for each in figures))
    assert accuracy is not None
    return Estimates(precision, recall, f1, tuple(area), accuracy)


def _draw(rng: np.random.Generator, counts: Tally, n: int) -> tuple[Doubles, Doubles]:
    """Return what all patches may be, by cell and class: numbers and areas, (n, n_cells, n_classes)."""
    answered = counts.answers.sum(axis=1)
    rest = np.maximum(counts.sizes - np.rint(answered), 0).astype(np.int64)
    missing = _fill_up(rng, counts.prior + counts.answers, rest, n)
    rest_area = counts.areas - counts.answered_areas.sum(axis=1)
    if _are_alike(counts):
        others = missing
    else:
        # Of patches of unequal area fewer count: as many as tell as much (Kish).
        areas = counts.answered_areas.sum(axis=1, keepdims=True)
        squares = counts.answered_squares.sum(axis=1, keepdims=True)
        n_equal = np.divide(areas, squares, out=np.zeros_like(areas), where=squares > 0)
        others = _fill_up(rng, counts.prior + counts.answered_areas * n_equal, rest, n)
    mean_area = np.divide(rest_area, rest, out=np.zeros_like(rest_area), where=rest > 0)
    return missing + counts.answers, others * mean_area[:, None] + counts.answered_areas


def _fill_up(rng: np.random.Generator, alpha: Doubles, rest: Integers, n: int) -> Doubles:
    """Return of how many of the patches that were not asked about each class may be, (n, *alpha.shape)."""
    drawn = rng.standard_gamma(np.broadcast_to(alpha, (n, *alpha.shape)))
    # All may be nothing where alpha is next to it.
    totals = np.maximum(drawn.sum(axis=2, keepdims=True), 1e-300)
    shares = np.minimum(drawn / totals, 1.0)
    return rng.multinomial(np.broadcast_to(rest, shares.shape[:2]), shares).astype(np.float64)


def _are_alike(counts: Tally) -> bool:
    """Whether the patches of each cell that were answered are of one area."""
    n, areas = counts.answers.sum(axis=1), counts.answered_areas.sum(axis=1)
    return bool(np.allclose(counts.answered_squares.sum(axis=1) * n, areas**2, rtol=1e-6))


def _expect(counts: Tally) -> tuple[Doubles, Doubles]:
    """Return what all patches are when each answer stands for as many of its cell, as `_draw` does."""
    found: list[Doubles] = []
    for answers, total in (
        (counts.answers, counts.sizes.astype(np.float64)),
        (counts.answered_areas, counts.areas),
    ):
        sums = answers.sum(axis=1, keepdims=True)
        prior = counts.prior / counts.prior.sum(axis=1, keepdims=True)
        shares = np.where(sums > 0, answers / np.where(sums > 0, sums, 1.0), prior)
        found.append(np.asarray(shares * total[:, None], np.float64))
    return found[0], found[1]


def _compare(counts: Doubles, labels: Integers) -> dict[str, Doubles]:
    """Return figures of labels from numbers by cell and class, (n, n_cells, n_classes); NaN of nothing."""
    n, _, n_classes = counts.shape
    is_labelled = labels[:, None] == np.arange(n_classes)
    right = (counts * is_labelled).sum(axis=1)
    labelled = counts.sum(axis=2) @ is_labelled
    true = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": right / labelled,
            "recall": right / true,
            "f1": 2 * right / (labelled + true),
            "accuracy": (right.sum(axis=1) / counts.reshape(n, -1).sum(axis=1)),
        }


def find_interval(value: Doubles, drawn: Doubles) -> Interval | None:
    """Return a value with the shortest interval that holds `LEVEL` of what was drawn, and the value.

    Parameters
    ----------
    value : ndarray of shape (1,), float64
    drawn : ndarray of shape (n_draws,), float64
        NaN where a draw has nothing that the figure is of.

    Returns
    -------
    Interval or None
        None where the value is NaN, or all that was drawn.
    """
    known = np.sort(drawn[np.isfinite(drawn)])
    if not np.isfinite(value[0]) or not len(known):
        return None
    n_held = int(np.ceil(LEVEL * len(known)))
    widths = known[n_held - 1 :] - known[: len(known) - n_held + 1]
    first = int(widths.argmin())
    low, high = min(known[first], value[0]), max(known[first + n_held - 1], value[0])
    return Interval(float(value[0]), float(low), float(high))


def _find_area(value: Doubles, drawn: Doubles) -> Interval:
    """Return the interval of an area.

    What may be of a rare class has a long tail above. The shortest interval then leaves out nothing below,
    and holds the truth far more often than it says.
    """
    shortest = find_interval(value, drawn)
    assert shortest is not None
    low = float(np.quantile(drawn, (1 - LEVEL) / 2))
    return replace(shortest, low=min(max(shortest.low, low), shortest.value))


def answers_to_halve(counts: Tally, label: int) -> int | None:
    """Return how many more answers would likely halve the interval of the F1 of a class.

    The answers are thought on as they are, patches in the order in which they are drawn.

    Parameters
    ----------
    counts : Tally
    label : int
        The class.

    Returns
    -------
    int or None
        None where the interval has no width, or all patches would not be enough.
    """
    wanted = _width_of(counts, label) / 2
    n, most = counts.n_answers, int(counts.sizes.sum())
    if not n or wanted <= 0:
        return None
    fewest, enough = n, min(_MOST_TIMES * n, most)
    if _width_of(_think_on(counts, enough), label) > wanted:
        return None
    for _ in range(_ROUNDS):
        middle = round((fewest * enough) ** 0.5)
        if middle in (fewest, enough):
            break
        if _width_of(_think_on(counts, middle), label) > wanted:
            fewest = middle
        else:
            enough = middle
    return enough - n


def _width_of(counts: Tally, label: int) -> float:
    """Return the width of the interval of the F1 of a class, without what only small slides tell."""
    rng = np.random.default_rng(0)
    alpha = counts.prior + counts.answers
    drawn = rng.standard_gamma(np.broadcast_to(alpha, (_FEWEST_DRAWS, *alpha.shape)))
    shares = drawn / np.maximum(drawn.sum(axis=2, keepdims=True), 1e-300)
    rest = np.maximum(counts.sizes - counts.answers.sum(axis=1), 0.0)
    every = shares * rest[:, None] + counts.answers
    likely = _expect(counts)[0]
    found = find_interval(*(_f1_of(each, counts.labels, label) for each in (likely[None], every)))
    return 0.0 if found is None else found.width


def _f1_of(counts: Doubles, labels: Integers, label: int) -> Doubles:
    """Return the F1 of one class from numbers by cell and class, (n, n_cells, n_classes)."""
    mine = labels == label
    right = counts[:, mine, label].sum(axis=1)
    both = counts[:, mine].sum(axis=(1, 2)) + counts[:, :, label].sum(axis=1)
    return np.asarray(2 * right / np.maximum(both, 1e-300), np.float64)


def _think_on(counts: Tally, n: int) -> Tally:
    """Return a tally of `n` answers that are as the ones that there are."""
    answered = counts.answers.sum(axis=1)
    wanted = np.minimum(counts.sizes, np.maximum(answered, counts.shares * n))
    # What full cells leave goes to the others.
    room = counts.sizes - wanted
    spare = max(n - wanted.sum(), 0.0)
    wanted += room * min(spare / max(room.sum(), 1e-9), 1.0)
    likely = counts.prior + counts.answers
    shares = likely / likely.sum(axis=1, keepdims=True)
    more = np.maximum(wanted - answered, 0.0)[:, None] * shares
    area = (counts.areas / counts.sizes)[:, None]
    return replace(
        counts,
        answers=counts.answers + more,
        answered_areas=counts.answered_areas + more * area,
        answered_squares=counts.answered_squares + more * area**2,
    )
