import json

import numpy as np
import pytest
from making import write_small_h5ad

from tissuumaps_sic.clustering import SeededIterativeClustering
from tissuumaps_sic.session import (
    SeedClass,
    Session,
    SessionError,
    cluster,
    load_session,
    save_session,
    seed_vector,
    session_path,
)
from tissuumaps_sic.slides import open_slide_file


@pytest.fixture
def slide(small_h5ad):
    return open_slide_file(small_h5ad)


def test_seeds_follow_from_the_actions_that_count(slide):
    session = Session.new(slide).seed(["a", "b"], 1).seed(["c"], 0).seed(["b"], 0).seed(["a"], None)
    assert session.seeds == {"c": 0, "b": 0}
    assert session.undo().seeds == {"a": 1, "c": 0, "b": 0}
    assert session.undo().undo().seeds == {"a": 1, "b": 1, "c": 0}
    assert session.undo().undo().redo().seeds == session.undo().seeds
    assert session.clear().seeds == {}
    assert session.clear().undo().seeds == session.seeds


def test_a_new_seed_drops_what_was_undone(slide):
    session = Session.new(slide).seed(["a"], 1).seed(["b"], 0).undo().seed(["c"], 0)
    assert session.seeds == {"a": 1, "c": 0}
    assert not session.can_redo
    with pytest.raises(SessionError, match="nothing to redo"):
        session.redo()
    with pytest.raises(SessionError, match="nothing to undo"):
        Session.new(slide).undo()


def test_every_change_has_a_revision_of_its_own(slide):
    session = Session.new(slide)
    for change in (lambda s: s.seed(["a"], 1), lambda s: s.undo(), lambda s: s.redo(), lambda s: s.clear()):
        changed = change(session)
        assert changed.revision == session.revision + 1
        session = changed


def test_a_saved_session_comes_back_with_its_undone_actions(slide, tmp_path):
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).seed(names[:2], 0).seed(names[-2:], 1).seed([names[5]], 1).undo()
    run, _ = cluster(slide, session.classes, session.seeds)
    session = session.with_run(run).with_class(1, SeedClass(name="Gleason 4", color="#123456"))
    save_session(session_path(slide.path), session)
    assert session_path(slide.path).name == "small.sic.json"
    again = load_session(session_path(slide.path), slide)
    assert again == session
    assert again.redo().seeds[names[5]] == 1
    assert np.array_equal(again.run.unpack(), run.unpack())


def test_seeds_become_a_vector_in_the_order_of_the_file(slide):
    y = seed_vector(slide, {"small_128_0": 1, "small_0_128": 0})
    # Row-major: the second patch lies right of the first, the thirteenth below it.
    assert np.flatnonzero(y == 1).tolist() == [1]
    assert np.flatnonzero(y == 0).tolist() == [12]
    assert (y == -1).sum() == slide.n_patches - 2
    with pytest.raises(SessionError, match="has no patch named elsewhere_0_0"):
        seed_vector(slide, {"elsewhere_0_0": 1})


@pytest.mark.parametrize("method", ["sic", "refine"])
def test_a_run_labels_as_the_estimator_does(slide, method):
    y = np.full(slide.n_patches, -1)
    y[[0, 13]], y[[11, 22]] = 0, 1
    seeds = {str(slide.patch_names[row]): int(y[row]) for row in np.flatnonzero(y >= 0)}
    run, scores = cluster(slide, Session.new(slide).classes, seeds, method=method)
    expected = SeededIterativeClustering(method=method).fit(slide.X, y, slide.centres)
    assert run.method == method
    assert np.array_equal(run.unpack(), expected.labels_)
    assert np.array_equal(scores, expected.scores_)
    assert list(run.counts) == [(expected.labels_ == 0).sum(), (expected.labels_ == 1).sum()]


def test_a_class_without_seeds_is_named(slide):
    with pytest.raises(SessionError, match="“Tumour” has no seeds yet"):
        cluster(slide, Session.new(slide).classes, {str(slide.patch_names[0]): 0})


def test_a_session_of_other_patches_is_refused(slide, tmp_path):
    other = open_slide_file(write_small_h5ad(tmp_path / "other.h5ad"))
    path = tmp_path / "x.sic.json"
    save_session(path, Session.new(other))
    with pytest.raises(SessionError, match="made on other patches"):
        load_session(path, slide)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: "{",
        lambda data: json.dumps({**data, "schema": "tissuumaps-sic/session/99"}),
        lambda data: json.dumps({**data, "position": 4}),
        lambda data: json.dumps({**data, "extra": 1}),
        lambda data: json.dumps({**data, "actions": [{"kind": "seed", "label": 1, "patches": []}]}),
    ],
)
def test_a_spoilt_session_is_told_and_not_used(slide, tmp_path, spoil):
    path = tmp_path / "x.sic.json"
    save_session(path, Session.new(slide))
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(SessionError, match="start anew"):
        load_session(path, slide)


@pytest.mark.parametrize("name", ["", "  ", "<b>", 'a"b', "a\nb", "x" * 61])
def test_class_names_that_would_spoil_a_page_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        SeedClass(name=name, color="#000000")


def test_two_classes_cannot_share_a_name(slide):
    with pytest.raises(SessionError, match="choose another name"):
        Session.new(slide).with_class(0, SeedClass(name="Tumour", color="#000000"))


def test_a_failed_save_leaves_the_old_session_and_no_litter(slide, tmp_path, monkeypatch):
    path = tmp_path / "x.sic.json"
    save_session(path, Session.new(slide))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_session(path, Session.new(slide).seed(["a"], 1))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.glob(".x*")] == []
