"""What must hold for any slide and any seeds, for both methods and any number of classes."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering

BOTH = pytest.mark.parametrize("method", ["sic", "refine"])
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def slides(draw, least_classes=2):
    """A grid with some patches missing, embeddings in lumps, and seeds of each class, right or wrong."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width, height = draw(st.integers(4, 14)), draw(st.integers(4, 14))
    n_classes = draw(st.integers(least_classes, 4))
    x, y = (each.ravel() for each in np.meshgrid(np.arange(width), np.arange(height)))
    there = np.flatnonzero(rng.random(x.size) < draw(st.sampled_from([0.6, 0.9, 1.0])))
    assume(there.size >= 4 * n_classes)
    stride = draw(st.sampled_from([1.0, 64.0, 127.5, 512.0]))
    coords = np.column_stack([x, y])[there] * stride
    n_features = draw(st.integers(2, 40))
    lumps = rng.normal(size=(n_classes + 1, n_features)) * draw(st.sampled_from([0.3, 1.0, 4.0]))
    X = lumps[rng.integers(0, n_classes + 1, there.size)] + rng.normal(size=(there.size, n_features))
    seeds = np.full(there.size, -1)
    per_class = draw(st.integers(1, 4))
    chosen = rng.choice(there.size, per_class * n_classes, replace=False)
    seeds[chosen] = np.repeat(np.arange(n_classes), per_class)
    return X.astype(draw(st.sampled_from([np.float32, np.float64]))), seeds, coords, rng


def fit(method, X, y, coords):
    return SeededIterativeClustering(method=method).fit(X, y, coords)


def clear(scores):
    """Whether a patch's label does not hang on the last places of a sum."""
    top = np.sort(scores, axis=1)
    return top[:, -1] - top[:, -2] > 1e-3


@FEW
@given(slides())
def test_permuting_patches_permutes_labels(case):
    X, y, coords, rng = case
    order = rng.permutation(len(X))
    one, other = fit("refine", X, y, coords), fit("refine", X[order], y[order], coords[order])
    sure = clear(one.scores_)[order]
    assert np.array_equal(other.labels_[sure], one.labels_[order][sure])


@FEW
@given(slides(), st.integers(-(10**5), 10**5), st.integers(-(10**5), 10**5))
def test_adding_a_constant_to_all_coordinates_changes_nothing(case, right, down):
    X, y, coords, _ = case
    moved = coords + np.array([right, down])
    assert np.array_equal(fit("refine", X, y, coords).labels_, fit("refine", X, y, moved).labels_)


@BOTH
@FEW
@given(case=slides())
def test_duplicated_patches_get_one_label(method, case):
    X, y, coords, _ = case
    unseeded = np.full_like(y, -1)
    twice = fit(method, np.tile(X, (2, 1)), np.concatenate([y, unseeded]), np.tile(coords, (2, 1)))
    first, second = np.split(twice.labels_, 2)
    assert np.array_equal(first, second)


@FEW
@given(slides(), st.data())
def test_swapping_classes_swaps_the_labels_of_refine(case, data):
    X, y, coords, _ = case
    names = np.array(data.draw(st.permutations(range(y.max() + 1))))
    found = fit("refine", X, y, coords)
    renamed = fit("refine", X, np.where(y >= 0, names[y], -1), coords)
    sure = clear(found.scores_)
    assert np.array_equal(renamed.labels_[sure], names[found.labels_][sure])


@FEW
@given(slides(least_classes=3), st.data())
def test_swapping_classes_swaps_the_labels_of_many_class_sic(case, data):
    X, y, coords, _ = case
    names = np.array(data.draw(st.permutations(range(y.max() + 1))))
    found = fit("sic", X, y, coords)
    renamed = fit("sic", X, np.where(y >= 0, names[y], -1), coords)
    sure = clear(found.scores_)
    assert np.array_equal(renamed.labels_[sure], names[found.labels_][sure])


@BOTH
@FEW
@given(case=slides())
def test_scores_are_shares_that_agree_with_the_labels(method, case):
    X, y, coords, _ = case
    found = fit(method, X, y, coords)
    assert found.scores_.dtype == np.float32
    assert np.isfinite(found.scores_).all()
    assert np.allclose(found.scores_.sum(axis=1), 1.0, atol=1e-5)
    if found.scores_.shape[1] == 2:
        assert np.array_equal(found.labels_ == 1, found.scores_[:, 1] > 0.5)
    else:
        assert np.array_equal(found.labels_, found.scores_.argmax(axis=1))


@FEW
@given(slides())
def test_refine_honours_every_seed(case):
    X, y, coords, _ = case
    found = fit("refine", X, y, coords)
    assert np.array_equal(found.labels_[y >= 0], y[y >= 0])


@FEW
@given(slides(), st.integers(1, 12))
def test_suggestions_are_distinct_unseeded_patches(case, n):
    X, y, coords, _ = case
    chosen = fit("refine", X, y, coords).suggest(n)
    assert len(chosen) == min(n, (y == -1).sum())
    assert len(set(chosen.tolist())) == len(chosen)
    assert (y[chosen] == -1).all()
