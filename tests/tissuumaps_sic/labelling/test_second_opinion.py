"""Where a second model differs from the labels: by pair, the rarest first, spread over the slide."""

import numpy as np
import pytest
from making.scenes import scene, seeds

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.progress import SILENT
from tissuumaps_sic.labelling.refine import Guests
from tissuumaps_sic.labelling.second_opinion import ask_second, find_differing


def fitted(n_classes, seed=0, method="refine", noise=2.0):
    X, coords, truth = scene(seed, n_classes=n_classes, noise=noise)
    y = seeds(truth, 4, seed)
    return SeededIterativeClustering(method=method).fit(Prepared(X, coords), y), y, coords, truth


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("method", ["sic", "refine"])
def test_each_patch_is_one_on_which_the_two_models_say_the_two_classes_of_its_pair(n_classes, method):
    model, y, _, _ = fitted(n_classes, method=method)
    second = ask_second(model._find_field(SILENT)).argmax(axis=1)
    found = model.second_opinion(1000)
    assert found
    assert len({frozenset(each.classes) for each in found}) == len(found)
    for each in found:
        assert (y[each.patches] < 0).all()
        for patch in each.patches:
            assert {model.labels_[patch], second[patch]} == set(each.classes)
    differ = (second != model.labels_) & (y < 0)
    assert sum(each.n_patches for each in found) == differ.sum()


def test_the_rarest_class_comes_first_and_stands_first():
    model, *_ = fitted(4)
    sizes = np.bincount(model.labels_)
    found = model.second_opinion(5)
    assert len(found) > 2
    for each in found:
        assert sizes[each.classes[0]] <= sizes[each.classes[1]]
    rarest = [sizes[each.classes[0]] for each in found]
    assert rarest == sorted(rarest)


def test_patches_of_a_pair_lie_apart_and_the_strongest_comes_first():
    model, _, coords, _ = fitted(2, noise=3.0)
    (pair,) = model.second_opinion(1000)
    places = coords[pair.patches]
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    stride = model._prepared.places.find_stride()
    assert len(pair.patches) > 3
    assert apart[~np.eye(len(places), dtype=bool)].min() >= 3 * stride
    second = ask_second(model._find_field(SILENT))
    both = model.scores_ + second
    strength = both[np.arange(len(both)), second.argmax(axis=1)] - both[np.arange(len(both)), model.labels_]
    assert (np.diff(strength[pair.patches]) <= 0).all()
    differ = (second.argmax(axis=1) != model.labels_) & (model._seeds < 0)
    assert strength[pair.patches[0]] == strength[differ].max()
    assert len(model.second_opinion(2)[0].patches) == 2
    assert model.second_opinion(2)[0].patches.tolist() == pair.patches[:2].tolist()


def test_the_labels_are_wrong_more_often_where_the_second_model_differs():
    wrong, elsewhere = [], []
    for seed in range(8):
        model, _, _, truth = fitted(3, seed, noise=3.0)
        asked = np.concatenate([each.patches for each in model.second_opinion(20)])
        wrong.append((model.labels_ != truth)[asked].mean())
        elsewhere.append((model.labels_ != truth).mean())
    assert np.mean(wrong) > 2 * np.mean(elsewhere)


def test_only_candidates_are_returned_and_counted_and_the_same_come_each_time():
    model, _, _, _ = fitted(2)
    candidates = np.zeros(len(model.labels_), dtype=bool)
    candidates[: len(candidates) // 2] = True
    (pair,) = model.second_opinion(1000, candidates=candidates)
    assert candidates[pair.patches].all()
    assert pair.n_patches < model.second_opinion(1)[0].n_patches
    again = model.second_opinion(1000, candidates=candidates)
    assert again[0].patches.tolist() == pair.patches.tolist()
    assert model.second_opinion(5, candidates=~(candidates | ~candidates)) == []


def test_seeds_of_other_slides_count_for_the_second_model_too():
    X, coords, truth = scene(0, n_classes=2, noise=2.0)
    prepared = Prepared(X, coords)
    rows = np.concatenate([np.flatnonzero(truth == label)[:4] for label in (0, 1)])
    guests = Guests(prepared.neighbourhoods(rows), truth[rows])
    none = np.full(len(truth), -1)
    own = none.copy()
    own[rows] = truth[rows]
    borrowed = SeededIterativeClustering(method="refine").fit(prepared, none, guests=guests)
    seeded = SeededIterativeClustering(method="refine").fit(prepared, own)
    second = ask_second(borrowed._find_field(SILENT))
    assert np.allclose(second, ask_second(seeded._find_field(SILENT)), atol=1e-3)


def test_what_cannot_be_asked_is_refused():
    model, *_ = fitted(2)
    with pytest.raises(ValueError, match="at least one"):
        model.second_opinion(0)
    X, _, truth = scene(0, n_classes=2)
    with pytest.raises(ValueError, match="coords"):
        SeededIterativeClustering().fit(X, seeds(truth, 4)).second_opinion(3)


def test_labels_of_another_run_can_be_given():
    model, *_ = fitted(2)
    field = model._find_field(SILENT)
    second = ask_second(field)
    assert find_differing(field, second.argmax(axis=1), second, 10) == []
