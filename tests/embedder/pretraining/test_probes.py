"""What probes say of embeddings that are made to know, or not to know."""

import numpy as np
import pytest

from embedder.pretraining.probes import knn_probe, linear_probe, neighbour_probe


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_labels_that_features_tell_are_found_and_others_are_chance(probe, random):
    labels = np.repeat([3, 7], [150, 50])
    X = random.normal(size=(200, 16)).astype(np.float32)
    assert abs(probe(X, labels) - 0.5) < 0.12
    X[:, 0] += np.where(labels == 7, 6, -6)
    assert probe(X, labels) > 0.95


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_a_slide_is_never_asked_about_itself(probe, random):
    # Features tell the slide alone, and each slide has mostly one label: known slides would answer it.
    slides = np.repeat(np.arange(6), 40)
    labels = (slides % 2 == 0).astype(np.int64)
    X = np.eye(6, dtype=np.float32)[slides] + random.normal(size=(240, 6), scale=0.01).astype(np.float32)
    assert probe(X, labels) > 0.95
    assert probe(X, labels, groups=slides) < 0.7


def test_a_common_label_is_not_accuracy(random):
    labels = np.repeat([0, 1], [190, 10])
    X = random.normal(size=(200, 4)).astype(np.float32)
    assert knn_probe(X, labels) < 0.6


def test_near_patches_are_counted_by_hand():
    # Four patches in a row and one of another slide at the same place.
    places = np.array([[0, 0], [1, 0], [2, 0], [9, 0], [0, 0]])
    slides = np.array([0, 0, 0, 0, 1])
    angles = np.deg2rad([0, 10, 90, 11, 1])
    X = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32) * [[1], [5], [1], [2], [1]]
    share, chance = neighbour_probe(X, places, slides, neighbours=1)
    # Nearest of 0 is the other slide's, of 1 the far one, of 2 the far one, of the far one 1, of the last 0.
    assert share == 0
    assert chance == pytest.approx(6 / 20)
    share, _ = neighbour_probe(X, places, slides, neighbours=2)
    # Second nearest: 0 has 1, 1 has 0 or the other's (9 degrees), 2 has 1; 9 and the last have none near.
    assert share == pytest.approx(2 / 10)


def test_what_cannot_be_probed_is_refused(random):
    X = random.normal(size=(10, 4)).astype(np.float32)
    with pytest.raises(ValueError, match="two or more"):
        knn_probe(X, np.zeros(10, np.int64))
    with pytest.raises(ValueError, match="4 patches"):
        linear_probe(X[:4], np.array([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="no neighbours"):
        neighbour_probe(X[:1], np.zeros((1, 2), np.int64), np.zeros(1, np.int64))
