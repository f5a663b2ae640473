"""Scores that mean what they say: the slope of their logistic curve, found on the slide.

A score of 0.8 should be right for eight patches in ten. How steep the curve must be for that differs from
slide to slide: where tissues are easily told apart few patches lie near the border, and nearly all labels are
right. That gap is seen without any truth; what the seeds say of each other corrects it.

References
----------
O. Chapelle, A. Zien, "Semi-supervised classification by low density separation", AISTATS 2005, for the gap.
C. Guo et al., "On calibration of modern neural networks", ICML 2017, for one slope for all scores.
"""

from __future__ import annotations

import numpy as np

from tissuumaps_sic.slidefile.arrays import Doubles, Singles

# Without calibration; also what the slope is where the gap is `_USUAL_GAP`.
SLOPE = 4.0
# By experiment on fields and mosaics (benchmarks/README.md): a slope of 4.2 at a gap of 0.26, and e times as
# steep for each quarter more.
_PRIOR_SLOPE, _USUAL_GAP, _STEEPER = 4.2, 0.26, 4.0
_LEAST, _MOST = 3.0, 20.0
# Standard deviation of the prior, of the slope's logarithm.
_PRIOR_WIDTH = 0.2
_QUANTILES = (0.2, 0.8)
_TRIED = np.exp(np.linspace(np.log(2.0), np.log(40.0), 61))


def find_slope(field: Doubles, margins: Doubles) -> float:
    """Return the slope with which scores of a field mean what they say.

    Parameters
    ----------
    field : ndarray of shape (n_patches, n_classes), float64
        The process's mean for each class.
    margins : ndarray of shape (n_seeds,), float64
        Of each seed, by how much the process given all other seeds prefers its class to the best other one.

    Returns
    -------
    float
        2 to 40.
    """
    near, far = np.quantile(_measure_lead(field), _QUANTILES)
    gap = near / far if far > 0 else 0.0
    prior = np.clip(_PRIOR_SLOPE * np.exp(_STEEPER * (gap - _USUAL_GAP)), _LEAST, _MOST)
    # Log-likelihood of the seeds' classes, each left out in turn, against the best other class.
    likelihood = -np.logaddexp(0.0, -_TRIED[:, None] * margins[None]).sum(axis=1)
    away_from_prior = (np.log(_TRIED) - np.log(prior)) / _PRIOR_WIDTH
    return float(_TRIED[np.argmax(likelihood - 0.5 * away_from_prior**2)])


def _measure_lead(field: Doubles) -> Doubles:
    """Return by how much the best class of each patch leads the next one, (n_patches,)."""
    if field.shape[1] == 2:  # in a fiftieth of the time
        return np.abs(field[:, 1] - field[:, 0])
    sides = np.partition(field, -2, axis=1)
    lead: Doubles = sides[:, -1] - sides[:, -2]
    return lead


def apply_slope(field: Doubles, slope: float) -> Doubles:
    """Return scores of a field: a softmax of `slope` times it.

    For two classes this is the logistic curve of the difference, one half at the border.

    Parameters
    ----------
    field : ndarray of shape (n_patches, n_classes), float64
    slope : float

    Returns
    -------
    ndarray of shape (n_patches, n_classes), float64
        Rows sum to 1.
    """
    # Column by column, since numpy takes a row of few numbers as long as one of many.
    highest = np.maximum.reduce(list(field.T))
    raised: Doubles = np.exp(slope * (field - highest[:, None]))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def temper(scores: Singles, power: float) -> Singles:
    """Return scores as if their curve were `power` times as steep.

    Parameters
    ----------
    scores : ndarray of shape (..., n_classes), float32
    power : float
        With ``SLOPE / slope`` scores of any slope are as those without calibration.

    Returns
    -------
    ndarray of shape (..., n_classes), float32
        Rows sum to 1.
    """
    if power == 1.0:  # to the last bit, as runs of before there was a slope are replayed
        return scores
    raised = scores.astype(np.float64) ** power
    raised /= raised.sum(axis=-1, keepdims=True)
    return raised.astype(np.float32)
