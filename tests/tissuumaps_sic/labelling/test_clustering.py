"""Seeded iterative clustering against an oracle that is written with scikit-learn's KMeans."""

import numpy as np
import pytest
from making.oracle import oracle

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.rows import Rows
from tissuumaps_sic.labelling.two_means import Part, seeded_two_means


def blobs(rng, n, d, separation, share, dtype):
    """Two overlapping clouds, each of two lumps, and a truth; the positive one holds `share` of all."""
    truth = (rng.random(n) < share).astype(int)
    lumps = rng.normal(size=(4, d)) * separation
    X = lumps[2 * truth + rng.integers(0, 2, n)] + rng.normal(size=(n, d)) + 2.0
    return X.astype(dtype), truth


def seeds_of(rng, truth, per_class, *, mistakes=0.0):
    """Seeds inside each class, some of them mistaken, but always of both classes."""
    while True:
        y = np.full(len(truth), -1)
        for label in (0, 1):
            chosen = rng.choice(np.flatnonzero(truth == label), per_class, replace=False)
            wrong = rng.random(per_class) < mistakes
            y[chosen] = np.where(wrong, 1 - label, label)
        if (y == 0).any() and (y == 1).any():
            return y


@pytest.mark.parametrize("case", range(200))
def test_labels_equal_those_of_the_oracle_on_random_clouds(case):
    rng = np.random.default_rng(case)
    X, truth = blobs(
        rng,
        n=int(rng.integers(60, 900)),
        d=int(rng.integers(2, 40)),
        separation=rng.uniform(0.2, 1.5),
        share=rng.uniform(0.1, 0.6),
        dtype=[np.float32, np.float64, np.float16][case % 3],
    )
    y = seeds_of(rng, truth, int(rng.integers(1, 6)), mistakes=0.1)
    normalized = bool(case % 4)
    found = SeededIterativeClustering(normalize=normalized).fit(X, y)
    assert np.array_equal(found.labels_, oracle(X, y, normalized=normalized))


def test_the_random_clouds_take_every_road_of_the_algorithm():
    splits, depths = set(), set()
    for case in range(200):
        rng = np.random.default_rng(case)
        X, truth = blobs(rng, 400, 8, 0.7, 0.3, np.float64)
        y = seeds_of(rng, truth, 3, mistakes=0.15)
        history = SeededIterativeClustering().fit(X, y).history_
        splits |= {step.split for step in history}
        depths.add(len(history))
        if splits == {"seeded", "kmeans"} and max(depths) >= 3:
            break
    assert splits == {"seeded", "kmeans"}
    assert max(depths) >= 3


def test_labels_equal_those_of_the_oracle_on_embeddings_of_a_slide(demo_h5ad):
    import anndata

    adata = anndata.read_h5ad(demo_h5ad)
    centres = adata.obsm["spatial"]
    order = np.argsort(centres[:, 0])
    for case in range(10):
        rng = np.random.default_rng(case)
        y = np.full(adata.n_obs, -1)
        y[rng.choice(order[: len(order) // 3], 3, replace=False)] = 0
        y[rng.choice(order[-len(order) // 3 :], 3, replace=False)] = 1
        found = SeededIterativeClustering().fit(adata.X, y)
        assert np.array_equal(found.labels_, oracle(adata.X, y))


def test_two_clear_clouds_are_told_apart_whichever_is_positive():
    rng = np.random.default_rng(3)
    X, truth = blobs(rng, 500, 16, 4.0, 0.4, np.float32)
    X[truth == 1] += 6.0
    y = seeds_of(rng, truth, 3)
    labels = SeededIterativeClustering(normalize=False).fit(X, y).labels_
    # SIC goes on to divide the positive cloud, so it may lose positives but never gains a negative.
    assert not labels[truth == 0].any()
    assert labels[y == 1].any()


def test_scores_agree_with_labels_and_sum_to_one():
    for case in range(20):
        rng = np.random.default_rng(case)
        X, truth = blobs(rng, 300, 6, 0.5, 0.4, [np.float32, np.float64][case % 2])
        found = SeededIterativeClustering().fit(X, seeds_of(rng, truth, 3))
        assert found.scores_.shape == (300, 2)
        assert found.scores_.dtype == np.float32
        assert np.allclose(found.scores_.sum(axis=1), 1.0, atol=1e-6)
        assert np.array_equal(found.scores_[:, 1] > 0.5, found.labels_ == 1)


def test_a_memory_map_gives_the_labels_of_the_array_and_is_left_as_it_was(tmp_path):
    rng = np.random.default_rng(5)
    X, truth = blobs(rng, 5000, 12, 0.8, 0.3, np.float32)
    y = seeds_of(rng, truth, 4)
    X.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", dtype=np.float32, mode="r", shape=X.shape)
    assert np.array_equal(
        SeededIterativeClustering().fit(mapped, y).labels_,
        SeededIterativeClustering().fit(X, y).labels_,
    )
    assert np.array_equal(mapped, X)


def test_permuting_the_patches_permutes_a_seeded_division():
    rng = np.random.default_rng(7)
    X, truth = blobs(rng, 400, 10, 0.9, 0.4, np.float64)
    y = seeds_of(rng, truth, 3)
    order = rng.permutation(400)
    found, again = (
        seeded_two_means(Part.whole(Rows(X[rows], normalize=False)), y[rows], max_iter=300, tol=1e-4)
        for rows in (np.arange(400), order)
    )
    assert np.array_equal(again.labels, found.labels[order])
    assert np.allclose(again.positive_score(), found.positive_score()[order])


def test_history_tells_what_was_tried_and_kept():
    rng = np.random.default_rng(11)
    X, truth = blobs(rng, 400, 10, 0.6, 0.3, np.float64)
    found = SeededIterativeClustering().fit(X, seeds_of(rng, truth, 5))
    kept = [step for step in found.history_ if step.accepted]
    assert [step.score for step in kept] == sorted({step.score for step in kept})
    assert kept[-1].n_positive == found.labels_.sum()
    assert found.n_iter_ > sum(step.n_iter for step in found.history_) > 0


def test_a_metric_of_ones_own_steers_the_loop():
    rng = np.random.default_rng(13)
    X, truth = blobs(rng, 300, 6, 0.7, 0.4, np.float64)
    y = seeds_of(rng, truth, 3)
    calls = []

    def never_better(y_true, y_pred):
        calls.append((y_true, y_pred))
        return 0.0

    found = SeededIterativeClustering(metric=never_better).fit(X, y)
    assert len(calls) == 1
    assert len(calls[0][0]) == 6
    assert not found.history_[0].accepted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, np.where(y == 1, -1, y)), "no seed of class 1"),
        (lambda X, y: (X, np.where(y == 0, -1, y)), "no seed of class 0"),
        (lambda X, y: (X, np.where(y == 1, 2, y)), "no seed of class 1"),
        (lambda X, y: (X, np.where(y == 1, 255, y)), "seed 255 of patch .* is out of range"),
        (lambda X, y: (X, np.where(y == -1, -2, y)), "seed -2 of patch .* is out of range"),
        (lambda X, y: (X, y + 0.5), "not whole numbers"),
        (lambda X, y: (X, y[:-1]), "y has shape"),
        (
            lambda X, y: (np.where(np.arange(len(X))[:, None] == 7, np.nan, X), y),
            "NaN or infinity in 1 of 50 patches, first in row 7",
        ),
        (lambda X, y: (X[:1], y[:1]), "at least two"),
        (lambda X, y: (X[:, 0], y), "1 dimensions"),
        (lambda X, y: (np.ones_like(X), y), "cannot be told apart"),
    ],
)
def test_bad_input_says_what_to_do(change, message):
    rng = np.random.default_rng(17)
    X, truth = blobs(rng, 50, 4, 1.0, 0.5, np.float64)
    y = seeds_of(rng, truth, 2)
    with pytest.raises(ValueError, match=message):
        SeededIterativeClustering().fit(*change(X, y))


@pytest.mark.parametrize(
    "parameters", [{"method": "magic"}, {"metric": "f2"}, {"max_iter": 0}, {"tol": -1.0}]
)
def test_bad_parameters_are_refused(parameters):
    X = np.eye(4)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        SeededIterativeClustering(**parameters).fit(X, np.array([0, 1, -1, -1]))


def test_it_is_cloned_and_described_like_any_estimator():
    from sklearn.base import clone

    estimator = SeededIterativeClustering(normalize=False, max_iter=7)
    assert clone(estimator).get_params() == estimator.get_params()
    assert "normalize=False" in repr(estimator)
