"""Slides whose truth is known, labelled by maps of many qualities, on which intervals are tried."""

from dataclasses import dataclass

import numpy as np

# How a map errs, and how good it is.
KINDS = (
    ("model", "good"), ("model", "fair"), ("model", "poor"), ("shifted", "fair"), ("overconfident", "fair"),
    ("border", "good"), ("border", "fair"), ("anywhere", "good"), ("anywhere", "fair"), ("one-sided", "fair"),
)  # fmt: skip
_DISTANCES = {"good": 3.4, "fair": 2.25, "poor": 1.5}
_RATES = {"good": (0.92, 0.99), "fair": (0.75, 0.92), "poor": (0.5, 0.8)}


@dataclass(frozen=True, eq=False)
class Map:
    """A labelled slide: truth and labels, (n_patches,) uint8, and the score of each patch's own label."""

    truth: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def make_map(rng, share, kind, quality, n_classes=2):
    """A slide of 1,500 to 15,000 patches of which `share` is of class 1.

    "model": scores of a classifier that knows the distributions, whose labels are theirs; "shifted": with its
    border moved; "overconfident" (or too cautious): with its scores sharpened or flattened. Else errors are
    made at random, to a recall and precision: with low scores ("border"), with any ("anywhere"), or mostly of
    one kind ("one-sided").
    """
    n = int(np.exp(rng.uniform(np.log(1500), np.log(15000))))
    shares = np.full(n_classes, (1 - share) / max(n_classes - 1, 1))
    shares[1] = share
    truth = rng.choice(n_classes, n, p=shares)
    if kind in ("model", "shifted", "overconfident"):
        return _model(rng, truth, shares, kind, _DISTANCES[quality] * rng.uniform(0.9, 1.1))
    return _confuse(rng, truth, n_classes, kind, _RATES[quality])


def _model(rng, truth, shares, kind, distance):
    n, n_classes = len(truth), len(shares)
    seen = rng.normal(size=(n, n_classes))
    seen[np.arange(n), truth] += distance
    logits = seen * distance + np.log(shares)
    if kind == "shifted":
        logits[:, 1] += rng.choice([-1.5, 1.5])
    if kind == "overconfident":
        logits *= rng.choice([0.5, 2.0])
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    labels = scores.argmax(axis=1)
    return Map(truth.astype(np.uint8), labels.astype(np.uint8), scores.max(axis=1).astype(np.float32))


def _confuse(rng, truth, n_classes, kind, rates):
    recall, precision = rng.uniform(*rates, 2)
    if kind == "one-sided":
        recall, precision = (min(recall + 0.15, 0.99), precision - 0.2) if rng.random() < 0.5 else (
            recall - 0.2, min(precision + 0.15, 0.99)
        )  # fmt: skip
    n, labels = len(truth), truth.copy()
    mine = np.flatnonzero(truth == 1)
    missed = mine[rng.random(len(mine)) > recall]
    labels[missed] = rng.choice([0, 2][: n_classes - 1], len(missed))
    others = np.flatnonzero(truth != 1)
    n_wrong = rng.poisson((len(mine) - len(missed)) * (1 - precision) / precision)
    labels[rng.choice(others, min(n_wrong, len(others) // 2), replace=False)] = 1
    if n_classes == 3:
        rest = others[labels[others] != 1]
        swapped = rest[rng.random(len(rest)) > rng.uniform(*rates)]
        labels[swapped] = 2 - truth[swapped]
    is_wrong = labels != truth
    doubt = rng.beta(2, 1, n)
    if kind == "border":
        doubt = np.where(is_wrong, rng.beta(1.2, 3, n), rng.beta(4, 1.2, n))
    return Map(truth.astype(np.uint8), labels.astype(np.uint8), (0.5 + 0.5 * doubt).astype(np.float32))


def draw_mixture(rng, n, *, shares, n_classes=2):
    """`n` maps: kinds and shares in turn, those that lack a class made anew."""
    made = 0
    while made < n:
        share = shares[made % len(shares)]
        found = make_map(rng, share, *KINDS[(made // len(shares)) % len(KINDS)], n_classes)
        if len(np.unique(found.labels)) == n_classes:
            made += 1
            yield found


def measure(found, n_classes):
    """F1 and number of patches of each class, as they are."""
    right = np.bincount(found.truth[found.truth == found.labels], minlength=n_classes)
    true, labelled = (np.bincount(each, minlength=n_classes) for each in (found.truth, found.labels))
    return 2 * right / (true + labelled), true
