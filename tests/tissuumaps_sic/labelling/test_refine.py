"""The refined method: what every result of it must hold to, whatever the slide."""

import numpy as np
import pytest
from making.scenes import scene, seeds

from tissuumaps_sic.labelling import refine
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared


def refined(X, y, coords):
    return SeededIterativeClustering(method="refine").fit(X, y, coords)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_a_seeded_patch_keeps_its_class_even_a_mistaken_one(seed, n_classes):
    X, coords, truth = scene(seed, n_classes=n_classes)
    y = seeds(truth, 3)
    mistaken = np.flatnonzero(y == 0)[0]
    y[mistaken] = 1
    found = refined(X, y, coords)
    assert np.array_equal(found.labels_[y >= 0], y[y >= 0])
    assert np.array_equal(found.scores_.argmax(axis=1), found.labels_)


def test_scores_are_shares_and_one_half_is_the_border():
    X, coords, truth = scene(5)
    found = refined(X, seeds(truth, 2), coords)
    assert found.scores_.dtype == np.float32
    assert np.allclose(found.scores_.sum(axis=1), 1.0, atol=1e-6)
    assert np.array_equal(found.scores_[:, 1] > 0.5, found.labels_ == 1)


def test_more_seeds_make_it_better_and_it_beats_the_published_method():
    f1 = {1: [], 10: []}
    published = []
    for seed in range(6):
        X, coords, truth = scene(seed, noise=3.0)
        for n, found in f1.items():
            found.append((refined(X, seeds(truth, n, seed), coords).labels_ == truth).mean())
        y = seeds(truth, 10, seed)
        published.append((SeededIterativeClustering().fit(X, y).labels_ == truth).mean())
    assert np.mean(f1[10]) > np.mean(f1[1])
    assert np.mean(f1[10]) > np.mean(published) + 0.05


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("method", ["sic", "refine"])
def test_permuting_patches_permutes_labels(method, n_classes):
    X, coords, truth = scene(7, n_classes=n_classes)
    y, order = seeds(truth, 3), np.random.default_rng(1).permutation(len(truth))
    # The published method may draw random numbers for its conventional two-means; few do here.
    fit = SeededIterativeClustering(method=method).fit
    one, other = fit(X, y, coords).labels_.copy(), fit(X[order], y[order], coords[order]).labels_
    assert (other == one[order]).mean() > (0.999 if method == "refine" else 0.9)


def test_adding_a_constant_to_all_coordinates_changes_nothing():
    X, coords, truth = scene(8)
    y = seeds(truth, 3)
    assert np.array_equal(
        refined(X, y, coords).labels_, refined(X, y, coords + np.array([12_800, 51_200])).labels_
    )


@pytest.mark.parametrize("swap", [(0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("method", ["sic", "refine"])
def test_swapping_two_of_three_classes_swaps_their_labels(method, swap):
    X, coords, truth = scene(9, n_classes=3)
    y = seeds(truth, 3)
    names = np.arange(3)
    names[list(swap)] = names[list(swap[::-1])]
    fit = SeededIterativeClustering(method=method).fit
    labels = fit(X, y, coords).labels_.copy()
    swapped = fit(X, np.where(y >= 0, names[y], -1), coords).labels_
    assert np.array_equal(swapped, names[labels])


def test_duplicated_patches_get_one_label():
    X, coords, truth = scene(10)
    y = seeds(truth, 3)
    y[np.flatnonzero(y == 0)[0]] = 1
    twice = refined(np.tile(X, (2, 1)), np.concatenate([y, np.full_like(y, -1)]), np.tile(coords, (2, 1)))
    first, second = np.split(twice.labels_, 2)
    assert np.array_equal(first, second)


def test_three_classes_are_told_apart_by_either_method():
    X, coords, truth = scene(11, n_classes=3, noise=0.5)
    y = seeds(truth, 5)
    for method in ("sic", "refine"):
        found = SeededIterativeClustering(method=method).fit(X, y, coords)
        assert found.scores_.shape == (len(truth), 3)
        assert (found.labels_ == truth).mean() > 0.9


def test_what_is_prepared_once_gives_the_same_labels_again():
    X, coords, truth = scene(12)
    prepared, y = Prepared(X, coords), seeds(truth, 2)
    estimator = SeededIterativeClustering(method="refine")
    first = estimator.fit(prepared, y).scores_
    assert prepared.components is prepared.components
    assert np.array_equal(first, estimator.fit(prepared, y).scores_)
    assert np.array_equal(first, estimator.fit(X, y, coords).scores_)


def test_suggested_patches_are_unseeded_different_and_not_neighbours():
    X, coords, truth = scene(13)
    y = seeds(truth, 2)
    found = refined(X, y, coords)
    chosen = found.suggest(6)
    assert len(set(chosen.tolist())) == 6
    assert (y[chosen] == -1).all()
    assert np.array_equal(chosen, found.suggest(6))
    places = coords[chosen] / 128
    apart = np.abs(places[:, None] - places[None]).max(axis=2) + 100 * np.eye(6)
    assert apart.min() > 1


def test_flips_are_fewer_where_the_seeds_agree():
    few, many = [], []
    for seed in range(5):
        X, coords, truth = scene(seed, noise=2.5)
        few.append(refined(X, seeds(truth, 2, seed), coords).flips().mean())
        many.append(refined(X, seeds(truth, 20, seed), coords).flips().mean())
    assert 0 <= np.mean(many) < np.mean(few) <= 1


def test_without_places_it_says_so():
    X, coords, truth = scene(14)
    with pytest.raises(ValueError, match="give coords"):
        SeededIterativeClustering(method="refine").fit(X, seeds(truth, 1))
    with pytest.raises(ValueError, match="coords has shape"):
        refined(X, seeds(truth, 1), coords[:-1])
    with pytest.raises(ValueError, match="prepared with normalize=True"):
        SeededIterativeClustering(normalize=False).fit(Prepared(X, coords), seeds(truth, 1))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_of_very_many_seeds_some_stand_for_all_and_all_keep_their_class(monkeypatch, n_classes):
    X, coords, truth = scene(3, n_classes=n_classes, side=30)
    y = np.where(np.random.default_rng(0).random(900) < 0.5, truth, -1)
    whole = refined(X, y, coords)
    monkeypatch.setattr(refine, "_MOST_LIKENESSES", 0)
    monkeypatch.setattr(refine, "_FEWEST_POINTS", 60)
    some = refined(X, y, coords)
    field = some._field
    assert field.kernel.shape == (900, 60 + n_classes)
    assert np.array_equal(some.labels_[y >= 0], y[y >= 0])
    assert np.array_equal(field.targets[:60].argmax(axis=1), y[field.rows])
    assert (some.labels_ == whole.labels_).mean() > 0.95
    assert some.flips(3).shape == (900,)
    assert (y[some.suggest(3)] == -1).all()


def test_each_class_gets_its_part_of_the_seeds_that_are_taken():
    labels = np.repeat([0, 1, 2], [3, 500, 1000])
    taken = refine._thin(labels, np.array([3, 500, 1000]), 100)
    assert np.bincount(labels[taken]).tolist() == [3, 48, 49]
    assert (np.diff(taken) > 0).all()
    assert np.array_equal(refine._thin(labels, np.array([3, 500, 1000]), 1503), np.arange(1503))
    # Classes that have seeds on another slide only take nobody's part.
    assert len(refine._thin(labels, np.array([3, 500, 1000, 0]), 100)) == 100
