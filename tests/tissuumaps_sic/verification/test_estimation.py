"""Figures of labels from answers, beside worked examples of others, and how often their intervals hold."""

import numpy as np
import pytest
from making.maps import draw_mixture, measure

from tissuumaps_sic.verification.estimation import Tally, answers_to_halve, estimate, tally
from tissuumaps_sic.verification.sampling import order_patches, stratify


def make_tally(labels, sizes, answers, *, areas=None):
    answers = np.array(answers, np.float64)
    sizes = np.array(sizes, np.int64)
    areas = sizes.astype(np.float64) if areas is None else areas
    mean = (areas / sizes)[:, None]
    shares = np.full(len(sizes), 1 / len(sizes))
    return Tally(np.array(labels), sizes, areas, answers, answers * mean, answers * mean**2, shares)


def test_the_worked_example_of_olofsson_and_others():
    """Table 8 of "Good practices for estimating area ...": deforestation, forest gain, forest, no forest."""
    counts = make_tally(
        [0, 1, 2, 3],
        [200_000, 150_000, 3_200_000, 6_450_000],
        [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]],
    )
    found = estimate(counts)
    assert [round(each.value, 2) for each in found.precision] == [0.88, 0.73, 0.93, 0.96]
    assert [round(each.value, 2) for each in found.recall] == [0.75, 0.85, 0.93, 0.96]
    assert round(found.accuracy.value, 2) == 0.95
    assert round(found.area[0].value) == 235_086
    # There is 68,418 to either side, by the normal approximation.
    assert found.area[0].width == pytest.approx(2 * 68_418, rel=0.15)
    assert found.accuracy.width == pytest.approx(2 * 0.0185, rel=0.1)


def test_strata_that_are_not_the_labels_are_weighed_by_their_sizes():
    """As Stehman (2014) has it: each answer stands for as many patches as its stratum was asked one of."""
    strata = np.repeat([0, 1], [800, 200])
    labels = np.tile([0, 0, 0, 1], 250)
    rows = np.array([0, 1, 3, 7, 800, 803, 804, 807])
    truth = np.array([0, 1, 1, 0, 0, 1, 0, 1])
    counts = tally(strata, labels, np.full(1000, 0.5), rows, truth, shares=np.array([0.5, 0.5]), n_classes=2)
    assert counts.labels.tolist() == [0, 1, 0, 1]
    assert counts.sizes.tolist() == [600, 200, 150, 50]
    assert counts.answers.tolist() == [[1, 1], [1, 1], [2, 0], [0, 2]]
    assert counts.areas.tolist() == [300, 100, 75, 25]
    assert np.allclose(counts.shares, [0.375, 0.125, 0.375, 0.125])
    found = estimate(counts)
    right = 100 + 50
    assert found.precision[1].value == pytest.approx(right / 250)
    assert found.recall[1].value == pytest.approx(right / (300 + 100 + 50))
    assert found.f1[1].value == pytest.approx(2 * right / (250 + 450))
    assert found.area[1].value == pytest.approx(450 / 2)
    assert found.accuracy.value == pytest.approx((300 + 100 + 150 + 50) / 1000)


def test_what_is_known_of_every_patch_is_beyond_doubt():
    found = estimate(make_tally([0, 1], [10, 4], [[9, 1], [1, 3]]))
    assert (found.f1[1].value, found.f1[1].low, found.f1[1].high) == pytest.approx((6 / 8,) * 3)
    assert found.area[1].width == 0


def test_intervals_hold_their_values_and_get_narrower_with_answers():
    few, many = (estimate(make_tally([0, 1], [5000, 500], np.array([[9, 1], [1, 9]]) * n)) for n in (1, 5))
    for found in (few, many):
        for each in (*found.precision, *found.recall, *found.f1, found.accuracy, *found.area):
            assert each.low <= each.value <= each.high
    assert many.f1[1].width < few.f1[1].width
    perfect = estimate(make_tally([0, 1], [5000, 500], [[10, 0], [0, 10]]))
    assert (perfect.f1[0].value, perfect.f1[0].high) == (1, 1)
    assert perfect.f1[1].low < 0.7


def test_a_class_that_is_labelled_nowhere_is_found_nowhere_and_has_no_precision():
    found = estimate(make_tally([0, 1], [500, 500], [[8, 0, 2], [0, 10, 0]]))
    assert found.precision[2] is None
    assert (found.recall[2].value, found.f1[2].value) == (0, 0)
    assert found.area[2].value == pytest.approx(100)


def test_areas_are_of_what_the_answered_patches_cover():
    """Patches of half the tissue count half: 2 of 10 answers, but a ninth of the tissue."""
    areas = np.ones(1000)
    areas[:200] = 0.5
    rows = np.array([0, 1, *range(200, 208)])
    truth = np.array([1, 1, *[0] * 8])
    counts = tally(
        np.zeros(1000, int), np.zeros(1000, int), areas, rows, truth, shares=np.ones(1), n_classes=2
    )
    assert estimate(counts).area[1].value == pytest.approx(900 / 9)


@pytest.mark.parametrize("answers", [[[9, 1], [2, 8]], [[15, 0], [0, 15]]])
def test_as_many_more_answers_as_are_told_halve_the_interval(answers):
    counts = make_tally([0, 1], [20_000, 2000], answers)
    more = answers_to_halve(counts, 1)
    n = counts.n_answers
    likely = (counts.prior + counts.answers) / (counts.prior + counts.answers).sum(axis=1, keepdims=True)
    later = make_tally([0, 1], [20_000, 2000], counts.answers + likely * more / 2)
    assert estimate(later).f1[1].width == pytest.approx(estimate(counts).f1[1].width / 2, rel=0.15)
    assert n / 2 < more < 20 * n
    assert answers_to_halve(make_tally([0, 1], [10, 4], [[9, 1], [1, 3]]), 1) is None


# How many slides, the shares of class 1, and how many classes and answers there are.
CASES = [
    pytest.param((0.02,), 2, 30, id="rare-30"),
    pytest.param((0.02,), 2, 60, id="rare-60"),
    pytest.param((0.02, 0.1, 0.3), 2, 40, id="two classes"),
    pytest.param((0.02, 0.1, 0.3), 3, 50, id="three classes"),
]
N_SLIDES = 500


@pytest.mark.parametrize(("shares", "n_classes", "n_answers"), CASES)
def test_intervals_hold_the_truth_as_often_as_they_say(shares, n_classes, n_answers):
    """2,000 slides in all, labelled by maps of ten kinds (`making.maps`), each with another sample."""
    rng = np.random.default_rng(n_answers)
    held = []
    for number, found in enumerate(draw_mixture(rng, N_SLIDES, shares=shares, n_classes=n_classes)):
        design = stratify(found.labels, found.scores)
        rows = order_patches(design, number, n_answers)
        counts = tally(
            design.strata,
            found.labels,
            np.ones(len(found.labels)),
            rows,
            found.truth[rows],
            shares=design.shares,
            n_classes=n_classes,
        )
        told = estimate(counts, draws=600, randomness=number)
        f1, sizes = measure(found, n_classes)
        held.append(
            (
                told.f1[1].low <= f1[1] <= told.f1[1].high,
                told.area[1].low <= sizes[1] <= told.area[1].high,
            )
        )
    f1, area = np.mean(held, axis=0)
    assert 0.93 <= f1 <= 0.975
    assert 0.93 <= area <= 0.975
