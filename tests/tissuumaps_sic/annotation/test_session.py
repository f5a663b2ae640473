import json

import numpy as np
import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.annotation.classes import SeedClass, next_color, order_classes
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import apply_border, cluster
from tissuumaps_sic.annotation.session import Session, seed_vector
from tissuumaps_sic.annotation.store import load_session, save_session, session_names, session_path
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slides.slide import open_slide_file


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


def test_seeds_are_what_a_dictionary_of_them_would_hold(slide):
    """Over random clicks, lassos, undo and redo; the last of two seeds of a patch counts, and its place."""
    names = [str(name) for name in slide.patch_names]
    for number in range(10):
        random = np.random.default_rng(number)
        session, done, position = Session.new(slide), [], 0
        for _ in range(60):
            what = random.choice(["seed", "undo", "redo", "clear"], p=[0.6, 0.2, 0.15, 0.05])
            if what == "undo" and session.can_undo:
                session, position = session.undo(), position - 1
            elif what == "redo" and session.can_redo:
                session, position = session.redo(), position + 1
            elif what in ("seed", "clear"):
                patches = list(random.choice(names, random.choice([1, 3, 60])))
                label = random.choice([0, 1, None])
                session = session.seed(patches, label) if what == "seed" else session.clear()
                done = [*done[:position], (patches, label) if what == "seed" else (names, None)]
                position += 1
            expected = {}
            for patches, label in done[:position]:
                for patch in patches:
                    expected.pop(patch, None)
                    if label is not None:
                        expected[patch] = label
            assert list(session.seeds.items()) == list(expected.items())


def test_a_new_seed_makes_a_branch_of_what_was_undone(slide):
    session = Session.new(slide).seed(["a"], 1).seed(["b"], 0).undo().seed(["c"], 0)
    assert session.seeds == {"a": 1, "c": 0}
    assert [(each.at, len(each.actions)) for each in session.branches] == [(1, 1)]
    assert session.restore(2, branch=session.branches[0].number).seeds == {"a": 1, "b": 0}
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
    session = Session.new(slide).seed(names[:2], 0).seed(names[-2:], 1)
    run, _ = cluster(slide, session.classes, session.seeds)
    session = session.with_run(run).with_class(1, SeedClass(name="Gleason 4", color="#123456"))
    session = session.seed([names[5]], 1, user="Anna").undo()
    save_session(session_path(slide.path), session)
    assert session_path(slide.path).name == "small.sic.json"
    again = load_session(session_path(slide.path), slide)
    assert again == session
    assert again.redo().seeds[names[5]] == 1
    assert np.array_equal(again.run.unpack(), run.unpack())


def test_seeds_of_patches_that_the_slide_has_not_are_told(slide):
    session = Session.new(slide).seed(["small_0_0", "elsewhere_0_0"], 1)
    assert session.seeds == {"small_0_0": 1, "elsewhere_0_0": 1}
    save_session(session_path(slide.path), session)
    again = load_session(session_path(slide.path), slide)
    assert again == session
    with pytest.raises(SessionError, match="has no patch named elsewhere_0_0"):
        seed_vector(slide, again.seeds)
    assert seed_vector(slide, again.undo().seeds).max() == -1


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
    with pytest.raises(SessionError, match="Each class needs a seed: Tumour 0, Other"):
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


@pytest.mark.parametrize("name", ["", "  ", "\x00\n", "x" * 61])
def test_class_names_of_no_letter_or_too_many_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        SeedClass(name=name, color="#000000")


def test_no_name_turns_the_direction_of_what_it_stands_in():
    name = SeedClass(name="\u202eruomut\u2066 שלום\u200f", color="#000000").name
    assert name == "ruomut שלום\u200f"  # a mark, which turns nothing else, stays


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


def test_classes_come_and_go_and_come_back(slide):
    names = [str(name) for name in slide.patch_names]
    begun = Session.new(slide).seed(names[:2], 0).seed(names[2:4], 1)
    stroma = SeedClass(name="Stroma", color="#009e73")
    three = begun.add_class(stroma).seed(names[4:5], 2)
    assert [each.name for each in three.classes] == ["Other", "Tumour", "Stroma"]
    assert [three.classes[label].name for label in order_classes(3)] == ["Tumour", "Other", "Stroma"]
    # On the page the others stay in their order.
    fewer = three.remove_class(0)
    assert [fewer.classes[label].name for label in order_classes(2)] == ["Tumour", "Stroma"]
    assert by_name(fewer) == {names[2]: "Tumour", names[3]: "Tumour", names[4]: "Stroma"}
    merged = three.remove_class(2, into=0)
    assert by_name(merged) == {
        **dict.fromkeys(names[:2], "Other"), **dict.fromkeys(names[2:4], "Tumour"), names[4]: "Other"
    }  # fmt: skip
    for changed in (fewer, merged):
        assert changed.undo().seeds == three.seeds
        assert changed.undo().classes == three.classes
        assert changed.undo().redo().seeds == changed.seeds
    renamed = three.with_class(2, SeedClass(name="Muscle", color="#123456"))
    assert renamed.classes[2].name == "Muscle"
    assert renamed.undo().classes[2] == stroma


def by_name(session):
    return {patch: session.classes[label].name for patch, label in session.seeds.items()}


def test_what_classes_cannot_do_is_told(slide):
    session = Session.new(slide)
    with pytest.raises(SessionError, match="must be two classes"):
        session.remove_class(0)
    with pytest.raises(SessionError, match="a class named Tumour already"):
        session.add_class(SeedClass(name="Tumour", color="#009e73"))
    three = session.add_class(SeedClass(name="Stroma", color="#009e73"))
    for label, into in ((3, None), (0, 3)):
        with pytest.raises(SessionError, match="no class 3; there are 3"):
            three.remove_class(label, into=into)
    with pytest.raises(SessionError, match="merged with itself"):
        three.remove_class(1, into=1)
    many = session
    while len(many.classes) < 64:
        many = many.add_class(SeedClass(name=f"Class {len(many.classes)}", color=next_color(many.classes)))
    assert len({each.color for each in many.classes[:18]}) == 18
    with pytest.raises(SessionError, match="64 classes, the most"):
        many.add_class(SeedClass(name="One more", color="#000000"))


def test_labels_keep_their_meaning_when_classes_change_after_the_run(slide):
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).add_class(SeedClass(name="Stroma", color="#009e73"))
    session = session.seed(names[:1], 0).seed(names[-1:], 1).seed(names[40:41], 2)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    assert not session.is_stale
    renamed = session.with_class(2, SeedClass(name="Muscle", color="#123456"))
    assert not renamed.is_stale
    assert [each.name for each in renamed.run_classes] == ["Other", "Tumour", "Muscle"]
    removed = session.remove_class(0)
    assert removed.is_stale
    assert [each.name for each in removed.run_classes] == ["Other", "Tumour", "Stroma"]
    merged = session.remove_class(2, into=1)
    assert [each.name for each in merged.run_classes] == ["Other", "Tumour", "Tumour"]
    assert not merged.undo().is_stale


def test_labels_of_a_class_whose_making_was_undone_keep_its_name(slide, tmp_path):
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).add_class(SeedClass(name="Stroma", color="#009e73"))
    session = session.seed(names[:1], 0).seed(names[-1:], 1).seed(names[40:41], 2)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    while session.can_undo:
        session = session.undo()
    for changed in (session, session.add_class(SeedClass(name="Muscle", color="#123456"))):
        assert [each.name for each in changed.run_classes] == ["Other", "Tumour", "Stroma"]
        assert changed.is_stale
        save_session(tmp_path / "s.sic.json", changed)
        assert load_session(tmp_path / "s.sic.json", slide) == changed
    # Done again, it is the same class.
    while session.can_redo:
        session = session.redo()
    assert not session.is_stale


def test_a_session_of_the_first_schema_opens(slide, tmp_path):
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).seed(names[:2], 0).seed(names[-2:], 1)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    old = json.loads(session.model_dump_json(by_alias=True)) | {"schema": "tissuumaps-sic/session/1"}
    old["classes"][1]["name"] = "Gleason 4"
    del old["run"]["class_numbers"], old["run"]["classes"]
    for action in old["actions"]:
        del action["user"]
    path = tmp_path / "old.sic.json"
    path.write_text(json.dumps(old))
    again = load_session(path, slide)
    assert again.seeds == session.seeds
    assert [each.name for each in again.run_classes] == ["Other", "Gleason 4"]
    assert not again.is_stale
    # Of classes that came later its labels know nothing.
    more = again.add_class(SeedClass(name="Stroma", color="#009e73"))
    assert [each.name for each in more.run_classes] == ["Other", "Gleason 4"]
    assert more.is_stale


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "remove-class", "label": 5},
        {"kind": "remove-class", "label": 1},
        {"kind": "seed", "label": 2, "patches": ["a"]},
        {"kind": "edit-class", "label": 2, "name": "x", "color": "#000000"},
        {"kind": "add-class", "number": 2, "name": "\x00", "color": "#000000"},
        {"kind": "add-class", "number": 1, "name": "x", "color": "#000000"},
    ],
)
def test_a_session_whose_actions_cannot_have_been_is_refused(slide, tmp_path, action):
    broken = json.loads(Session.new(slide).model_dump_json(by_alias=True))
    broken["actions"] = [action]
    path = tmp_path / "broken.sic.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(SessionError, match=r"broken\.sic\.json: not a session"):
        load_session(path, slide)


def test_sessions_have_names_that_stay_in_the_folder(slide):
    names = ["", "Anna", "second reading"]
    for name in names:
        save_session(session_path(slide.path, name), Session.new(slide))
    assert session_names(slide.path) == names
    for name in ("../x", "a/b", "a.b", ".", " a", "a ", "x" * 41, "a\n"):
        with pytest.raises(SessionError, match="cannot be a session's name"):
            session_path(slide.path, name)
    slide.path.with_name("small.of.nobody.sic.json").touch()
    slide.path.with_name("small.other.h5ad").touch()
    slide.path.with_name("small.other.sic.json").touch()
    assert session_names(slide.path) == names
    with pytest.raises(SessionError, match=r"there is a slide small\.other"):
        session_path(slide.path, "other")


def test_below_the_border_a_patch_is_of_the_best_other_class():
    scores = np.array([[0.1, 0.6, 0.3], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32)
    seeded = np.array([False, True, False, False])
    assert apply_border(scores, scores.argmax(axis=1), seeded, 0.65).tolist() == [2, 1, 1, 0]
    assert apply_border(scores, scores.argmax(axis=1), seeded, 0.2).tolist() == [1, 1, 1, 1]
