"""What the other seeds say of each seed: a Gaussian process with one seed left out in turn, in closed form.

References
----------
C. E. Rasmussen, C. K. I. Williams, "Gaussian processes for machine learning", MIT Press 2006, section 5.4.2
(equations 5.10 to 5.12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, lapack
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tissuumaps_sic.slidefile.arrays import Doubles, Index, Labels, Mask

# A seed is doubtful from this margin down: by experiment, six or seven in ten flipped seeds of the prostate
# fields and one in ten sound ones; nearly all flipped seeds of the mosaics (benchmarks/README.md).
_DOUBTFUL = -0.2
# The fewer other seeds its class has, the more likely it is that it is merely another kind of the same.
_LONELY = 2.0
# Seeds of one class that touch each other, and are so many, were given together: nobody has looked at each.
FEWEST_OF_A_LASSO = 20
# From one place of the patch grid to the next, diagonals included, in strides.
_TOUCHING = 1.5
# By how much more noisy seeds of a lasso are, all of which the other seeds contradict.
_LASSO_NOISE = 20.0


@dataclass(frozen=True)
class Judgement:
    """What a process says of each of its points when that is left out.

    Attributes
    ----------
    weights : ndarray of shape (n_points, n_classes), float64
        Those of the process with all points: likeness to the points times these is its mean.
    means : ndarray of shape (n_points, n_classes), float64
        The mean at each point of the process given all others.
    margins : ndarray of shape (n_points,), float64
        By how much it prefers the point's class to the best other one: at most 1, below 0 where it
        contradicts the point.
    others : ndarray of shape (n_points,), intp
        That other class.
    """

    weights: Doubles
    means: Doubles
    margins: Doubles
    others: Index


def judge(gram: Doubles, targets: Doubles) -> Judgement:
    """Leave each point out in turn.

    Parameters
    ----------
    gram : ndarray of shape (n_points, n_points), float64
        Likeness of the points to each other, with the variance of their noise added to the diagonal.
    targets : ndarray of shape (n_points, n_classes), float64
        The highest of a row is that of the point's class.

    Returns
    -------
    Judgement
    """
    factor = cholesky(gram, lower=True)
    weights = cho_solve((factor, True), targets)
    inverse, _ = lapack.dtrtri(factor, lower=1)
    precisions = np.einsum("ij,ij->j", inverse, inverse)
    means = targets - weights / precisions[:, None]
    own, points = targets.argmax(axis=1), np.arange(len(targets))
    contenders = means.copy()
    contenders[points, own] = -np.inf
    others = contenders.argmax(axis=1)
    return Judgement(weights, means, means[points, own] - contenders[points, others], others)


def find_lassos(coords: Doubles, labels: Labels, stride: float) -> npt.NDArray[np.int64]:
    """Return which lasso or stroke each seed was given with, (n_seeds,); -1 of those given one by one.

    Parameters
    ----------
    coords : ndarray of shape (n_seeds, 2), float64
        Centres of the seeded patches.
    labels : ndarray of shape (n_seeds,), int64
    stride : float
        Of the patch grid, in the units of `coords`.

    Returns
    -------
    ndarray of shape (n_seeds,), int64
    """
    found = np.full(len(labels), -1)
    if len(labels) < FEWEST_OF_A_LASSO:
        return found
    pairs = cKDTree(coords).query_pairs(_TOUCHING * stride, output_type="ndarray")
    one, other = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]].T
    touching = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(labels), len(labels)))
    _, group = connected_components(touching, directed=False)
    is_large = np.bincount(group)[group] >= FEWEST_OF_A_LASSO
    found[is_large] = group[is_large]
    return found


def weigh_lassos(lassos: npt.NDArray[np.int64], margins: Doubles) -> Doubles:
    """Return by what to multiply the noise of each seed, (n_seeds,): more where its lasso is contradicted.

    Parameters
    ----------
    lassos : ndarray of shape (n_seeds,), int64
        As `find_lassos` gives them.
    margins : ndarray of shape (n_seeds,), float64
        As in `Judgement`.

    Returns
    -------
    ndarray of shape (n_seeds,), float64
    """
    factors = np.ones(len(margins))
    for lasso in np.unique(lassos[lassos >= 0]):
        members = lassos == lasso
        factors[members] += _LASSO_NOISE * float((margins[members] < 0).mean())
    return factors


def find_doubtful(labels: Labels, margins: Doubles, n_classes: int) -> Mask:
    """Return which judged seeds the others contradict clearly, (n_seeds,).

    Parameters
    ----------
    labels : ndarray of shape (n_seeds,), int64
    margins : ndarray of shape (n_seeds,), float64
        As in `Judgement`.
    n_classes : int

    Returns
    -------
    ndarray of shape (n_seeds,), bool
    """
    companions = np.maximum(np.bincount(labels, minlength=n_classes)[labels] - 1, 1)
    return np.asarray(margins < _DOUBTFUL * (1.0 + _LONELY / companions))


def find_judged(labels: Labels, n_classes: int) -> Mask:
    """Return of which seeds the others can say something: those that are not their class's only one.

    Parameters
    ----------
    labels : ndarray of shape (n_seeds,), int64
        The class of each seed.
    n_classes : int

    Returns
    -------
    ndarray of shape (n_seeds,), bool
    """
    return np.bincount(labels, minlength=n_classes)[labels] > 1
