"""A second opinion on the labels, by another kind of model: where the two differ, one of them is wrong.

The Gaussian process goes by likeness to seeds; this is one plane between classes, by logistic regression on
the same components. Both are right about as often, and where they differ the labels are wrong two to three
times as often as at a patch chosen at random, and more often than where the process itself is least sure
(figures, and the models that were tried beside it, in ``benchmarks/README.md``).

References
----------
H. S. Seung, M. Opper, H. Sompolinsky, "Query by committee", Workshop on computational learning theory, 1992.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tissuumaps_sic.labelling.refine import Field
from tissuumaps_sic.slidefile.arrays import Index, Labels, Mask, Singles

# Between two patches of one pair, in strides: a look at one tells of those beside it as well.
_APART = 3.0
# Of each pair so many are looked at, the strongest: nobody answers thousands.
_MOST_LOOKED_AT = 5000


@dataclass(frozen=True)
class Differing:
    """Patches on which two models differ, of one pair of classes.

    Attributes
    ----------
    classes : tuple of int
        The two, of which each model says one; the one that fewer patches are labelled with comes first.
    patches : ndarray of shape (n,), intp
        Rows to look at, those first that the second model is surest of and the first one least; none within
        three strides of one before it.
    n_patches : int
        Patches of this pair in all.
    """

    classes: tuple[int, int]
    patches: Index
    n_patches: int


def ask_second(field: Field) -> Singles:
    """Return what logistic regression from the same seeds gives for each patch and class.

    Parameters
    ----------
    field : Field

    Returns
    -------
    ndarray of shape (n_patches, n_classes), float32
        Rows sum to 1.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    points = field.points[: field.n_seeds].astype(np.float64)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    # One thread: the same sums on any machine.
    with threadpool_limits(1):
        model.fit(points, field.labels)
    found: Singles = model.predict_proba(field.prepared.components).astype(np.float32)
    return found


def find_differing(
    field: Field,
    labels: Labels,
    scores: Singles,
    n: int,
    *,
    candidates: Mask | None = None,
) -> list[Differing]:
    """Return where the second model says another class than the labels, by pair of classes.

    Parameters
    ----------
    field : Field
        On whose seeds the second model is fitted; seeded patches are settled.
    labels : ndarray of shape (n_patches,), int64
    scores : ndarray of shape (n_patches, n_classes), float32
        Of the labels; rows sum to 1.
    n : int
        How many patches of each pair at most.
    candidates : ndarray of shape (n_patches,), bool, optional
        Patches that may be returned and are counted; all by default.

    Returns
    -------
    list of Differing
        Pairs with the rarest class first: an error there is a large part of it.
    """
    second = ask_second(field)
    other = second.argmax(axis=1)
    is_free = field.y < 0 if candidates is None else (field.y < 0) & candidates
    rows = np.flatnonzero(is_free & (other != labels))
    sizes = np.bincount(labels, minlength=scores.shape[1])
    both = scores[rows] + second[rows]
    at = np.arange(rows.size)
    strength = both[at, other[rows]] - both[at, labels[rows]]
    found = []
    for pair in np.unique(np.sort(np.column_stack([labels[rows], other[rows]]), axis=1), axis=0):
        is_of_pair = np.isin(labels[rows], pair) & np.isin(other[rows], pair)
        members = rows[is_of_pair][np.argsort(-strength[is_of_pair], kind="stable")]
        rare, common = sorted(pair.tolist(), key=lambda label: (sizes[label], label))
        found.append(Differing((rare, common), _spread(field, members, n), members.size))
    return sorted(found, key=lambda each: sorted(int(sizes[label]) for label in each.classes))


def _spread(field: Field, rows: Index, n: int) -> Index:
    """Return n of some rows, the first ones that lie apart from each other."""
    places = field.prepared.places
    rows = rows[:_MOST_LOOKED_AT]
    coords, least = places.coords[rows], _APART * places.find_stride()
    is_far = np.ones(rows.size, dtype=bool)
    chosen: list[int] = []
    while len(chosen) < n and is_far.any():
        best = int(np.argmax(is_far))
        chosen.append(best)
        is_far &= np.abs(coords - coords[best]).max(axis=1) >= least
    return rows[chosen]
