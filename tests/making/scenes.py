"""Made-up slides as numbers: regions of a few tissues on a grid of patches, and seeds of them."""

import numpy as np


def scene(seed, *, n_classes=2, side=18, noise=1.0):
    """A square grid of patches in a few regions, their embeddings around one mean a region, and the truth."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    corners = rng.uniform(0, side, (n_classes, 2))
    truth = np.argmin(
        (x.ravel()[:, None] - corners[:, 0]) ** 2 + (y.ravel()[:, None] - corners[:, 1]) ** 2, axis=1
    )
    means = rng.normal(size=(n_classes, 24))
    X = np.maximum(means[truth] + noise * rng.normal(size=(side * side, 24)), 0) + 0.1
    return X.astype(np.float32), np.column_stack([x.ravel(), y.ravel()]) * 128.0 + 64.0, truth


def seeds(truth, per_class, seed=0):
    rng = np.random.default_rng(seed)
    y = np.full(len(truth), -1)
    for label in np.unique(truth):
        y[rng.choice(np.flatnonzero(truth == label), per_class, replace=False)] = label
    return y
