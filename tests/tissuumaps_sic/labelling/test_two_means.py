"""The kernels: whatever X is stored as, the same division, and nothing as large as X made on the way."""

import tracemalloc

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from tissuumaps_sic.labelling.rows import Rows
from tissuumaps_sic.labelling.two_means import Part, seeded_two_means, two_means


def embeddings(n=3000, d=96, dtype=np.float32):
    rng = np.random.default_rng(0)
    lump = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    X = np.maximum(rng.normal(size=(4, d))[lump] * 0.6 + rng.normal(size=(n, d)), 0)
    y = np.full(n, -1)
    for label in (0, 1):
        y[rng.choice(np.flatnonzero((lump == 2) == label), 4, replace=False)] = label
    return X.astype(dtype), y


def divide(rows, y):
    return seeded_two_means(Part.whole(rows), y, max_iter=300, tol=1e-4)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_both_divisions_are_those_of_scikit_learn(dtype, normalized):
    X, y = embeddings(dtype=dtype)
    wide = X.astype(np.float64)
    wide = normalize(wide) if normalized else wide
    rows = Rows(X, normalize=normalized)
    means = np.stack([wide[y == label].mean(axis=0) for label in (0, 1)])
    theirs = KMeans(2, init=means, n_init=1).fit(wide)
    ours = divide(rows, y)
    assert np.array_equal(ours.labels, theirs.labels_)
    assert ours.n_iter > 3
    assert np.allclose(ours.centers, theirs.cluster_centers_, atol=1e-6)
    theirs = KMeans(2, n_init=10, random_state=0).fit(wide)
    ours = two_means(Part.whole(rows), max_iter=300, tol=1e-4, random_state=0)
    assert np.array_equal(ours.labels, theirs.labels_)


def test_a_memory_map_divides_as_an_array_does_and_twice_alike(tmp_path):
    X, y = embeddings()
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    one, other, again = divide(Rows(X), y), divide(Rows(mapped), y), divide(Rows(X), y)
    for each in (other, again):
        assert np.array_equal(each.labels, one.labels)
        assert np.array_equal(each.centers, one.centers)
        assert np.array_equal(each.positive_score(), one.positive_score())


def test_a_part_divides_as_its_rows_alone_do():
    X, y = embeddings()
    rows = Rows(X)
    index = np.flatnonzero(np.arange(len(X)) % 3 > 0)
    part = seeded_two_means(Part.of(rows, index), y[index], max_iter=300, tol=1e-4)
    alone = divide(Rows(X[index]), y[index])
    assert np.array_equal(part.labels, alone.labels)
    assert np.array_equal(part.side(1).patches, index[alone.labels == 1])


def test_scores_are_nearness_to_the_second_centre():
    X, y = embeddings()
    split = divide(Rows(X), y)
    wide = normalize(X.astype(np.float64))
    squares = ((wide[:, None] - split.centers[None]) ** 2).sum(axis=2)
    assert np.allclose(split.positive_score(), squares[:, 0] / squares.sum(axis=1), atol=1e-5)
    assert np.array_equal(split.positive_score() > 0.5, split.labels == 1)
    assert np.array_equal(split.swap().positive_score() > 0.5, split.labels == 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_nothing_as_large_as_x_is_made(dtype):
    X, y = embeddings(n=40_000, d=256, dtype=dtype)
    divide(Rows(X[:100]), np.where(np.arange(100) < 50, 0, 1))
    tracemalloc.start()
    split = divide(Rows(X), y)
    side = split.side(1)
    two_means(side, max_iter=300, tol=1e-4, random_state=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Blocks of fixed size, and some numbers a patch: a tenth of this X would be a copy of its part already.
    assert peak < 24 * 2**20 < X.astype(np.float32).nbytes


def test_rows_all_alike_do_not_divide():
    assert two_means(Part.whole(Rows(np.ones((9, 3)))), max_iter=9, tol=0, random_state=0) is None


def test_a_row_of_zeros_stays_zero():
    X, y = embeddings()
    X[7] = 0
    rows = Rows(X)
    assert not rows.at(np.array([7])).any()
    assert divide(rows, y) is not None


def test_numbers_too_large_to_square_are_told():
    X = np.ones((5, 3))
    X[3, 1] = 1e300
    with pytest.raises(ValueError, match="too large to square, first in row 3"):
        Rows(X)
