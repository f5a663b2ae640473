"""Long fits tell how far they are, and leave nothing half made when they are stopped."""

import itertools

import numpy as np
import pytest

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.progress import Cancelled, Stretch

# More than any block of rows or patches has, so that every loop is left in the middle too.
SIDE, N_FEATURES = 190, 8


@pytest.fixture(scope="module")
def slide():
    """Embeddings and places of a slide with four kinds of patches, and seeds of two and of three classes."""
    rng = np.random.default_rng(5)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    kind = ((x > SIDE / 2) * 2 + (y > SIDE / 2)).ravel()
    X = rng.normal(size=(kind.size, N_FEATURES)) + 2.0 * rng.normal(size=(4, N_FEATURES))[kind]
    seeds = {}
    for n_classes in (2, 3):
        seeds[n_classes] = np.full(kind.size, -1)
        for label in range(n_classes):
            seeds[n_classes][rng.choice(np.flatnonzero(kind == label), 4, replace=False)] = label
    return X.astype(np.float32), np.column_stack([x.ravel(), y.ravel()]) * 256.0, seeds


CASES = [("refine", 2), ("refine", 3), ("sic", 2), ("sic", 3)]


class Listener:
    """Keeps what it is told, and stops the work when it is told for the time numbered `until`, from 0."""

    def __init__(self, until=None):
        self.told, self.until = [], until

    def __call__(self, stage, share):
        self.told.append((stage, share))
        if self.until is not None and len(self.told) > self.until:
            raise Cancelled


@pytest.mark.parametrize(("method", "n_classes"), CASES)
def test_the_share_never_falls_and_ends_at_one(slide, method, n_classes):
    X, coords, seeds = slide
    listener = Listener()
    SeededIterativeClustering(method=method).fit(X, seeds[n_classes], coords, progress=listener)
    shares = [share for _, share in listener.told]
    assert all(0 <= before <= after for before, after in itertools.pairwise(shares))
    assert shares[-1] == 1.0
    assert all(stage for stage, _ in listener.told)
    # It is told of all along, not only at the ends.
    assert max(np.diff(shares)) < 0.3


@pytest.mark.parametrize(("method", "n_classes"), CASES)
def test_following_changes_no_bit(slide, method, n_classes):
    X, coords, seeds = slide
    alone = SeededIterativeClustering(method=method).fit(X, seeds[n_classes], coords)
    followed = SeededIterativeClustering(method=method).fit(X, seeds[n_classes], coords, progress=Listener())
    assert np.array_equal(alone.labels_, followed.labels_)
    assert np.array_equal(alone.scores_, followed.scores_)
    assert alone.history_ == followed.history_


@pytest.mark.parametrize(("method", "n_classes"), CASES)
def test_stopped_anywhere_the_next_fit_is_the_same_to_the_bit(slide, method, n_classes):
    X, coords, seeds = slide
    y = seeds[n_classes]
    expected = SeededIterativeClustering(method=method).fit(X, y, coords)
    listener = Listener()
    SeededIterativeClustering(method=method).fit(Prepared(X, coords), y, progress=listener)
    stages = [stage for stage, _ in listener.told]
    firsts = {stages.index(stage) for stage in stages}
    lasts = {len(stages) - 1 - stages[::-1].index(stage) for stage in stages}
    some = {len(stages) // 3, 2 * len(stages) // 3}
    for until in sorted(firsts | lasts | some):
        prepared = Prepared(X, coords)
        estimator = SeededIterativeClustering(method=method)
        with pytest.raises(Cancelled):
            estimator.fit(prepared, y, progress=Listener(until))
        assert not hasattr(estimator, "labels_")
        estimator.fit(prepared, y)
        assert np.array_equal(estimator.labels_, expected.labels_), stages[until]
        assert np.array_equal(estimator.scores_, expected.scores_), stages[until]


def test_stopped_in_every_stage_in_turn_it_comes_to_the_same(slide):
    X, coords, seeds = slide
    expected = SeededIterativeClustering(method="refine").fit(X, seeds[2], coords)
    at_once = Listener()
    SeededIterativeClustering(method="refine").fit(Prepared(X, coords), seeds[2], progress=at_once)
    prepared, estimator = Prepared(X, coords), SeededIterativeClustering(method="refine")
    for until in itertools.count():
        try:
            estimator.fit(prepared, seeds[2], progress=Listener(until))
        except Cancelled:
            continue
        break
    # What one attempt has found, the next need not find again.
    assert until < len(at_once.told)
    assert np.array_equal(estimator.labels_, expected.labels_)
    assert np.array_equal(estimator.scores_, expected.scores_)


def test_a_stopped_fit_leaves_the_estimator_as_it_was(slide):
    X, coords, seeds = slide
    prepared = Prepared(X, coords)
    estimator = SeededIterativeClustering().fit(prepared, seeds[2])
    labels, scores, history = estimator.labels_, estimator.scores_, list(estimator.history_)
    suggested = estimator.suggest(3)
    with pytest.raises(Cancelled):
        estimator.fit(prepared, seeds[3], progress=Listener(5))
    assert estimator.labels_ is labels
    assert estimator.scores_ is scores
    assert estimator.history_ == history
    assert np.array_equal(estimator.suggest(3), suggested)


@pytest.mark.parametrize("method", ["refine", "sic"])
def test_suggestions_and_resampling_can_be_followed_and_stopped(slide, method):
    X, coords, seeds = slide
    estimator = SeededIterativeClustering(method=method).fit(X, seeds[2], coords)
    for ask in (
        lambda progress: estimator.flips(3, progress=progress),
        lambda progress: estimator.suggest(3, progress=progress),
    ):
        expected = ask(None)
        listener = Listener()
        assert np.array_equal(ask(listener), expected)
        shares = [share for _, share in listener.told]
        assert all(before <= after for before, after in itertools.pairwise(shares))
        assert shares[-1] == 1.0
        for until in np.linspace(0, len(shares) - 1, 5).astype(int):
            with pytest.raises(Cancelled):
                ask(Listener(until))
        assert np.array_equal(ask(None), expected)


def test_a_way_is_divided_into_parts_and_rounds():
    told = []
    way = Stretch.whole(lambda stage, share: told.append((stage, round(share, 6))))
    half = way.part(0.5, 1.0, "second half")
    half.tell(0.0)
    half.round(0, 0.5).tell(1.0)
    half.round(1, 0.5).tell(1.0)
    half.part(0.0, 0.1).tell(1.0)  # never back
    half.part(0.9, 1.0, "end").tell(1.0)
    assert told == [
        ("second half", 0.5),
        ("second half", 0.75),
        ("second half", 0.875),
        ("second half", 0.875),
        ("end", 1.0),
    ]
