"""What can be trusted: seeds that others contradict, scores that mean what they say, where to click first."""

import numpy as np
import pytest
from making.scenes import scene, seeds

from tissuumaps_sic.labelling import refine
from tissuumaps_sic.labelling.calibration import SLOPE, apply_slope, find_slope, temper
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.leave_one_out import (
    FEWEST_OF_A_LASSO,
    find_lassos,
    judge,
    weigh_lassos,
)
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.typical import choose_typical, is_untold


def fitted(X, y, coords, **options):
    return SeededIterativeClustering(method="refine", **options).fit(X, y, coords)


# ------------------------------------------------------------------------------------------- leave one out


@pytest.mark.parametrize("n_classes", [2, 4])
def test_leaving_out_in_closed_form_is_leaving_out(n_classes):
    rng = np.random.default_rng(n_classes)
    points, labels = rng.normal(size=(12, 3)), rng.integers(0, n_classes, 12)
    gram = np.exp(-0.5 * ((points[:, None] - points[None]) ** 2).sum(axis=2)) + np.diag(
        rng.uniform(0.1, 0.6, 12)
    )
    targets = np.eye(n_classes)[labels] - 1.0 / n_classes
    found = judge(gram, targets)
    assert np.allclose(found.weights, np.linalg.solve(gram, targets))
    for point in range(12):
        others = np.delete(np.arange(12), point)
        mean = gram[point, others] @ np.linalg.solve(gram[np.ix_(others, others)], targets[others])
        assert np.allclose(found.means[point], mean)
        rest = np.delete(mean, labels[point])
        assert np.isclose(found.margins[point], mean[labels[point]] - rest.max())
        assert np.isclose(mean[found.others[point]], rest.max())
        assert found.others[point] != labels[point]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("method", ["sic", "refine"])
def test_a_mistaken_seed_is_the_most_doubtful_and_its_class_is_told(method, n_classes):
    for seed in range(5):
        X, coords, truth = scene(seed, n_classes=n_classes)
        y = seeds(truth, 8, seed)
        mistaken = int(np.flatnonzero(y == 0)[3])
        y[mistaken] = 1
        judged = SeededIterativeClustering(method=method).fit(Prepared(X, coords), y).judge_seeds()
        assert judged.doubtful[0] == mistaken
        assert len(judged.doubtful) <= 2
        place = np.flatnonzero(judged.patches == mistaken)[0]
        assert (judged.labels[place], judged.expected[place]) == (1, 0)
        assert judged.scores[place] > 0.5
        assert np.array_equal(judged.labels, y[judged.patches])
        assert judged.accuracy == (judged.expected == judged.labels).mean() >= 0.85


def test_neither_a_lone_seed_nor_exact_doubles_nor_a_far_seed_are_false_alarms():
    X, coords, truth = scene(1, n_classes=2, noise=0.3)
    # A tissue that is like nothing else, seen in two places that are not alike either.
    far = coords // 128
    here, there = (np.abs(far - place).max(axis=1) <= 1 for place in ([2, 2], [15, 15]))
    X[here | there] = 0.05
    X[here, :8], X[there, 16:] = 4.0, 4.0
    y = np.where(here | there, -1, seeds(truth, 6))
    first, second = 2 * 18 + 2, 15 * 18 + 15
    y[[first, second]] = 2
    twice = np.flatnonzero(y == 0)[0]
    X, coords, y = (np.concatenate([each, each[[twice]]]) for each in (X, coords, y))
    judged = fitted(X, y, coords).judge_seeds()
    assert judged.doubtful.size == 0
    assert {first, second, twice, len(y) - 1} <= set(judged.patches.tolist())
    y[second] = -1
    assert first not in fitted(X, y, coords).judge_seeds().patches


def test_seeds_of_other_slides_judge_and_are_not_judged():
    X, coords, truth = scene(2)
    prepared, y = Prepared(X, coords), seeds(truth, 1)
    lent = np.concatenate([np.flatnonzero(truth == label)[4:9] for label in (0, 1)])
    guests = refine.Guests(prepared.neighbourhoods(lent), truth[lent])
    own = int(np.flatnonzero(y == 0)[0])
    y[own] = 1
    judged = SeededIterativeClustering(method="refine").fit(prepared, y, guests=guests).judge_seeds()
    assert set(judged.patches.tolist()) == set(np.flatnonzero(y >= 0).tolist())
    assert judged.doubtful.tolist() == [own]


# ------------------------------------------------------------------------------------------------- lassos


def test_seeds_that_touch_are_one_lasso_from_so_many_on():
    side = 6
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    coords = np.column_stack([x.ravel(), y.ravel()]) * 10.0
    labels = (x.ravel() >= 4).astype(np.int64)
    found = find_lassos(coords, labels, 10.0)
    assert np.array_equal(found >= 0, labels == 0)  # 24 of them; of the other class 12
    assert len(np.unique(found[labels == 0])) == 1
    apart = find_lassos(coords * [1.0, 1.6], np.zeros(side * side, np.int64), 10.0)
    assert side < FEWEST_OF_A_LASSO
    assert (apart == -1).all()  # rows of six that do not touch


def test_a_lasso_counts_the_less_the_more_of_it_is_contradicted():
    lassos = np.array([0] * 4 + [-1] * 2 + [7] * 4)
    margins = np.array([-0.5, 0.1, -0.1, 0.3, -0.9, 0.2, 0.5, 0.4, 0.1, 0.2])
    factors = weigh_lassos(lassos, margins)
    assert factors.tolist() == [11.0] * 4 + [1.0] * 6


def test_a_sloppy_lasso_spoils_less_than_it_did():
    """A circle drawn over a border, with three clicks of each class beside it."""
    better = []
    for seed in range(8):
        X, coords, truth = scene(seed, noise=2.5)
        y = seeds(truth, 3, seed)
        border = np.flatnonzero((truth == 0) & (np.roll(truth, 1) == 1))[0]
        y[np.hypot(*(coords - coords[border]).T) <= 4 * 128.0] = 0
        right = [
            ((fitted(X, y, coords, leave_one_out=judged).labels_ == truth)[y < 0]).mean()
            for judged in (True, False)
        ]
        better.append(right[0] - right[1])
    assert np.mean(better) > 0
    assert min(better) >= -0.02


# -------------------------------------------------------------------------------------------- calibration


def calibration_error(scores, labels, truth):
    sure, right = scores.max(axis=1), labels == truth
    bins = np.minimum((10 * sure).astype(int), 9)
    return sum(
        (bins == each).mean() * abs(sure[bins == each].mean() - right[bins == each].mean())
        for each in np.unique(bins)
    )


def test_a_score_says_how_often_the_label_is_right():
    errors = {True: [], False: []}
    for seed in range(6):
        X, coords, truth = scene(seed, noise=1.0)
        y = seeds(truth, 5, seed)
        for judged, found in errors.items():
            estimator = fitted(X, y, coords, leave_one_out=judged)
            found.append(calibration_error(estimator.scores_[y < 0], estimator.labels_[y < 0], truth[y < 0]))
    assert np.mean(errors[True]) < 0.6 * np.mean(errors[False])
    assert np.mean(errors[True]) < 0.05


def test_the_slope_follows_the_gap_and_the_seeds_correct_it():
    rng = np.random.default_rng(0)
    side = rng.choice([-1.0, 1.0], 2000)
    apart, mixed = side * rng.uniform(0.8, 1.0, 2000), rng.uniform(-1.0, 1.0, 2000)
    steep, flat = (find_slope(np.column_stack([-each, each]) / 2, np.empty(0)) for each in (apart, mixed))
    assert steep > 2 * flat
    field = np.column_stack([-mixed, mixed]) / 2
    right, wrong = find_slope(field, np.full(40, 0.3)), find_slope(field, np.full(40, -0.3))
    assert wrong < flat < right
    assert find_slope(np.zeros((5, 2)), np.empty(0)) == find_slope(np.zeros((5, 3)), np.empty(0))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_judging_changes_no_label_where_nothing_was_given_at_once(n_classes):
    X, coords, truth = scene(3, n_classes=n_classes, noise=2.0)
    y = seeds(truth, 6)
    now, before = (fitted(X, y, coords, leave_one_out=judged) for judged in (True, False))
    assert np.array_equal(now.labels_, before.labels_)
    assert before.slope_ == SLOPE != now.slope_
    assert np.allclose(temper(now.scores_, SLOPE / now.slope_), before.scores_, atol=1e-5)


def test_tempered_scores_keep_their_order_and_come_back():
    scores = apply_slope(np.random.default_rng(0).normal(size=(50, 3)), 2.0).astype(np.float32)
    scores[0] = [1.0, 0.0, 0.0]  # a class that is not used
    steep = temper(scores, 3.0)
    assert np.allclose(steep.sum(axis=1), 1.0, atol=1e-6)
    assert np.array_equal(np.argsort(steep, axis=1), np.argsort(scores, axis=1))
    assert np.allclose(temper(steep, 1 / 3.0), scores, atol=1e-5)
    assert np.array_equal(temper(scores, SLOPE / SLOPE), scores)


# ------------------------------------------------------------------------------------------- first clicks


def test_the_first_clicks_are_of_every_tissue_and_one_by_one_are_the_same():
    X, coords, truth = scene(2, n_classes=5, noise=0.5)
    prepared = Prepared(X, coords)
    at_once = choose_typical(prepared, 9)
    assert set(truth[at_once].tolist()) == set(range(5))
    one_by_one: list[int] = []
    for _ in range(9):
        one_by_one += choose_typical(prepared, 1, one_by_one).tolist()
    assert at_once.tolist() == one_by_one
    assert len(set(one_by_one)) == 9


def test_clusters_that_were_clicked_are_passed_over_and_what_is_no_candidate_too():
    X, coords, truth = scene(6, n_classes=3, noise=0.3)
    prepared = Prepared(X, coords)
    clicked = np.flatnonzero(truth == 0)[:6]
    found = choose_typical(prepared, 4, clicked)
    assert not np.isin(found, clicked).any()
    assert {1, 2} <= set(truth[found].tolist())
    there = truth != 1
    assert not (truth[choose_typical(prepared, 12, candidates=there)] == 1).any()


def test_there_are_as_many_first_clicks_as_patches_even_where_all_are_alike():
    X = np.ones((7, 4), np.float32)
    coords = np.column_stack([np.arange(7.0), np.zeros(7)])
    found = choose_typical(Prepared(X, coords), 20, [2])
    assert sorted(found.tolist()) == [0, 1, 3, 4, 5, 6]
    assert choose_typical(Prepared(X, coords), 3, range(7)).size == 0


def test_doubt_takes_over_once_two_classes_have_six_seeds():
    assert is_untold(np.array([], np.int64))
    assert is_untold(np.array([0, 0, 0, 0, 0, 0, 0]))
    assert is_untold(np.array([0, 1, 0, 1, 0, -1, -1]))
    assert not is_untold(np.array([0, 1, 0, 1, 0, 1, -1]))
