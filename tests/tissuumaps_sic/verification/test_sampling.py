"""Patches that are drawn to be judged: any first ones are a sample of each stratum by chance alone."""

import numpy as np

from tissuumaps_sic.verification.sampling import Design, order_patches, stratify


def test_each_class_has_a_doubtful_and_a_sure_stratum_that_share_its_doubt():
    labels = np.repeat([0, 1], [900, 100]).astype(np.uint8)
    scores = np.linspace(0.5, 1, 1000, dtype=np.float32)
    design = stratify(labels, scores)
    assert set(zip(labels.tolist(), design.strata.tolist(), strict=True)) == {(0, 0), (0, 1), (1, 2), (1, 3)}
    assert scores[design.strata == 0].max() < scores[design.strata == 1].min()
    assert (design.strata == 0).sum() < (design.strata == 1).sum()
    assert np.isclose(design.shares.sum(), 1)
    # A class of a tenth of the slide is asked about far more often than that.
    assert design.shares[2:].sum() > 0.25


def test_scores_that_are_all_alike_and_classes_of_one_patch_are_drawn_from_too():
    labels = np.array([0] * 50 + [2], np.uint8)
    design = stratify(labels, np.ones(51, np.float32))
    assert np.bincount(design.strata).tolist() == [24, 26, 1]
    assert sorted(order_patches(design, 3, 100).tolist()) == list(range(51))


def test_the_order_goes_on_where_it_was_left_and_hangs_on_nothing_but_the_randomness():
    design = stratify(
        np.tile([0, 1, 1], 500).astype(np.uint8), np.random.default_rng(0).random(1500, np.float32)
    )
    long = order_patches(design, 12, 200)
    assert len(set(long.tolist())) == 200
    for n in (0, 1, 30, 77):
        assert np.array_equal(order_patches(design, 12, n), long[:n])
    assert not np.array_equal(order_patches(design, 13, 200), long)
    # With every version of NumPy, since it is kept in sessions.
    assert order_patches(Design(np.zeros(8, np.uint8), np.ones(1)), 5, 8).tolist() == [7, 4, 3, 5, 6, 2, 0, 1]


def test_questions_are_shared_as_they_should_be_and_go_to_others_where_a_stratum_is_through():
    strata = np.repeat([0, 1, 2], [500, 400, 4]).astype(np.uint8)
    design = Design(strata, np.array([0.5, 0.2, 0.3]))
    for n in range(1, 60):
        asked = np.bincount(strata[order_patches(design, 1, n)], minlength=3)
        assert asked.sum() == n
        assert asked[2] <= 4
        if n <= 13:
            assert (np.abs(asked - design.shares * n) <= 1).all()


def test_every_patch_of_a_stratum_is_as_likely_to_be_asked_about():
    strata = np.repeat([0, 1], [10, 30]).astype(np.uint8)
    design = Design(strata, np.array([0.5, 0.5]))
    counts = np.zeros(40)
    for randomness in range(4000):
        counts[order_patches(design, randomness, 10)] += 1
    # Five of ten, five of thirty.
    assert np.abs(counts[:10] / 4000 - 1 / 2).max() < 0.04
    assert np.abs(counts[10:] / 4000 - 1 / 6).max() < 0.03
