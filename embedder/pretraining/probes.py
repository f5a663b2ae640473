"""What embeddings know, asked in three ways: of labels by neighbours and by a line, and of places on a slide.

All of them compare encoders on the same patches; none says how good an encoder is by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from embedder.embedding.umap import unit_rows
from tissuumaps_sic.slidefile.arrays import Integers, Singles

_FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """What one probe found.

    Attributes
    ----------
    start, trained : float
        0 to 1: of the encoder that the training started from, and of the trained one.
    chance : float
        What an encoder that knows nothing would give.
    """

    start: float
    trained: float
    chance: float


def knn_probe(X: Singles, labels: Integers, *, groups: Integers | None = None, neighbours: int = 10) -> float:
    """Return the balanced accuracy of labels predicted by the nearest patches of other groups.

    Parameters
    ----------
    X : float32 array of shape (n_patches, n_features)
        Compared by cosine.
    labels : int64 array of shape (n_patches,)
    groups : int64 array of shape (n_patches,), optional
        Patches that are never asked about one another, such as those of a slide. Where there is none, or one,
        five parts are drawn.
    neighbours : int, default=10

    Returns
    -------
    float
        0 to 1; by chance one over the number of labels.

    Raises
    ------
    ValueError
        There are not two labels, or fewer patches than parts.
    """
    from sklearn.neighbors import KNeighborsClassifier

    def model(n_train: int) -> Any:
        return KNeighborsClassifier(min(neighbours, n_train))

    return _cross_validate(model, unit_rows(X), labels, groups)


def linear_probe(X: Singles, labels: Integers, *, groups: Integers | None = None) -> float:
    """Return the balanced accuracy of labels predicted by a logistic regression that other groups taught.

    Parameters and errors are those of `knn_probe`.

    Parameters
    ----------
    X : float32 array of shape (n_patches, n_features)
    labels : int64 array of shape (n_patches,)
    groups : int64 array of shape (n_patches,), optional
        As of `knn_probe`.

    Returns
    -------
    float
        0 to 1; by chance one over the number of labels.

    Raises
    ------
    ValueError
        As `knn_probe`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def model(_: int) -> Any:
        # Hundreds of features for hundreds of patches: a strong penalty, the same for every encoder.
        line = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
        return make_pipeline(StandardScaler(), line)

    return _cross_validate(model, unit_rows(X), labels, groups)


def neighbour_probe(
    X: Singles,
    places: Integers,
    slides: Integers,
    *,
    reach: int = 2,
    neighbours: int = 5,
) -> tuple[float, float]:
    """Return how many of the nearest patches in feature space are near on the slide; it needs no labels.

    Parameters
    ----------
    X : float32 array of shape (n_patches, n_features)
        Compared by cosine.
    places : int64 array of shape (n_patches, 2)
        (x, y) of each patch in strides.
    slides : int64 array of shape (n_patches,)
        Which slide each is of.
    reach : int, default=2
        Near is at most so many strides away, in x and in y.
    neighbours : int, default=5

    Returns
    -------
    share : float
        Of the nearest patches, those on the same slide and near.
    chance : float
        The same for neighbours that are drawn.

    Raises
    ------
    ValueError
        There are fewer than two patches.
    """
    n = len(X)
    if n < 2:
        raise ValueError(f"{n} patches have no neighbours; give two or more")
    near = slides[:, None] == slides[None, :]
    near &= np.abs(places[:, None, :] - places[None, :, :]).max(axis=2) <= reach
    np.fill_diagonal(near, val=False)
    unit = unit_rows(X)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, : min(neighbours, n - 1)]
    share = np.take_along_axis(near, nearest, axis=1).mean()
    return float(share), float(near.sum() / (n * (n - 1)))


def _cross_validate(model: Any, X: Singles, labels: Integers, groups: Integers | None) -> float:
    from sklearn.metrics import recall_score
    from sklearn.model_selection import GroupKFold, KFold

    known = np.unique(labels)
    if len(known) < 2:
        raise ValueError(f"{len(known)} label cannot be told apart; give patches of two or more")
    if len(X) < _FOLDS:
        raise ValueError(f"{len(X)} patches cannot be parted in {_FOLDS}; give more")
    if groups is None or len(np.unique(groups)) < 2:
        parts = list(KFold(_FOLDS, shuffle=True, random_state=0).split(X))
    else:
        parts = list(GroupKFold(min(_FOLDS, len(np.unique(groups)))).split(X, groups=groups))
    predicted = np.empty_like(labels)
    for train, test in parts:
        if len(np.unique(labels[train])) < 2:
            predicted[test] = labels[train][0]  # nothing to learn: a regression would refuse
        else:
            predicted[test] = model(len(train)).fit(X[train], labels[train]).predict(X[test])
    return float(recall_score(labels, predicted, labels=known, average="macro"))
