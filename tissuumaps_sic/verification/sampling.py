"""Which patches a reader is asked about: a stratified random sample that may stop after any answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Doubles, Integers, Singles

# A score is taken for no surer than this: scores of patches that all say 1.00 tell nothing of which errs.
_LEAST_DOUBT = 0.005


@dataclass(frozen=True, eq=False)
class Design:
    """What patches are drawn from.

    Attributes
    ----------
    strata : ndarray of shape (n_patches,), uint8
        Stratum of each patch: those of a class of which the labels are doubtful, then the sure ones.
    shares : ndarray of shape (n_strata,), float64
        Share of the questions that is of each stratum; they sum to 1.
    """

    strata: npt.NDArray[np.uint8]
    shares: Doubles


def stratify(labels: npt.NDArray[np.uint8], scores: Singles) -> Design:
    """Part the patches of each class into the doubtful and the sure, and say how often each is asked about.

    What is doubted is the deviation of a label that is right with a probability of its score. Of each class
    the patches with the lowest scores that hold half of all doubt are one stratum, as Dalenius and Hodges cut
    strata; half of the questions are shared equally, so that rare classes are asked about, and half by the
    doubt in each stratum, as Neyman has it. Scores that tell nothing make the intervals wider and no less
    true: what is estimated does not use them.

    Parameters
    ----------
    labels : ndarray of shape (n_patches,), uint8
    scores : ndarray of shape (n_patches,), float32
        Of each patch's own label, 0 to 1.

    Returns
    -------
    Design

    References
    ----------
    T. Dalenius, J. L. Hodges, "Minimum variance stratification", Journal of the American Statistical
    Association 54, 1959. J. Neyman, "On the two different aspects of the representative method", Journal of
    the Royal Statistical Society 97, 1934.
    """
    error = np.clip(1.0 - scores.astype(np.float64), _LEAST_DOUBT, 0.5)
    doubt = np.sqrt(error * (1.0 - error))
    strata = np.zeros(len(labels), np.uint8)
    n_strata = 0
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(-error[rows], kind="stable")]
        # Of patches of one score those of the lower rows are the doubtful ones: any cut is valid.
        sums = np.cumsum(doubt[rows])
        cut = int(np.searchsorted(sums, sums[-1] / 2, side="right"))
        if 0 < cut < len(rows):
            strata[rows[:cut]] = n_strata
            n_strata += 1
        strata[rows[cut:]] = n_strata
        n_strata += 1
    doubts = np.bincount(strata, doubt, minlength=n_strata)
    return Design(strata, 0.5 / n_strata + 0.5 * doubts / doubts.sum())


def order_patches(design: Design, randomness: int, n: int) -> Integers:
    """Return the rows of the first patches to ask about, in order, (n,) int64, fewer of a small slide.

    The order within a stratum is random, and which stratum comes next hangs on nothing but the shares and
    sizes: whenever somebody stops, what was asked is of each stratum a simple random sample without
    replacement, of a size that was fixed before.

    Parameters
    ----------
    design : Design
    randomness : int
        0 or more; the same gives the same order, with every version of NumPy.
    n : int

    Returns
    -------
    ndarray of shape (n,), int64
    """
    n_strata = len(design.shares)
    # The raw stream of a bit generator never changes, unlike what generators make of it.
    keys = np.random.PCG64(randomness).random_raw(len(design.strata))
    order = np.argsort(keys)
    order = order[np.argsort(design.strata[order], kind="stable")]
    sizes = np.bincount(design.strata, minlength=n_strata)
    starts = np.cumsum(sizes) - sizes
    asked = np.zeros(n_strata, np.int64)
    rows = np.empty(min(n, len(order)), np.int64)
    for place in range(len(rows)):
        behind = design.shares * (place + 1) - asked
        behind[asked >= sizes] = -np.inf
        next_stratum = int(behind.argmax())
        rows[place] = order[starts[next_stratum] + asked[next_stratum]]
        asked[next_stratum] += 1
    return rows
