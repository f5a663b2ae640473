"""What readers say beside seeds: skipped patches, notes, checks, places looked at; kept and taken back."""

import json

import numpy as np
import pytest

from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def slide(small_h5ad):
    return open_slide_file(small_h5ad)


@pytest.fixture
def names(slide):
    return [str(each) for each in slide.patch_names]


def test_a_patch_that_cannot_be_told_is_skipped_until_it_is_seeded_or_undone(slide, names):
    session = Session.new(slide).skip(names[:2], user="Anna")
    assert session.skipped == set(names[:2])
    assert session.seeds == {}
    assert session.seed(names[:1], 1).skipped == {names[1]}
    assert session.undo().skipped == set()
    assert not session.is_stale


def test_notes_are_on_a_slide_a_patch_or_a_part_and_are_written_anew_and_removed(slide, names):
    session = Session.new(slide).note("blurred", user="Anna").note("odd", patch=names[3], user="Ben")
    session = session.note("fold", patch=names[5], box=(0, 0, 256.5, 128))
    assert [(each.number, each.text, each.place) for each in session.notes] == [
        (0, "blurred", "the slide"), (1, "odd", names[3]), (2, "fold", "x 0 to 256, y 0 to 128"),
    ]  # fmt: skip
    again = session.note("very odd", number=1, user="Carla")
    assert [(each.text, each.patch, each.user) for each in again.notes][1] == ("very odd", names[3], "Carla")
    less = again.note("", number=0)
    assert [each.number for each in less.notes] == [1, 2]
    assert less.undo().notes == again.notes
    assert less.note("new").notes[-1].number == 3
    with pytest.raises(SessionError, match="no longer there"):
        less.note("x", number=0)
    with pytest.raises(SessionError, match="empty"):
        less.note("")


def test_a_check_holds_until_something_changes_and_says_so(slide, names):
    session = Session.new(slide).seed(names[:3], 1).seed(names[3:6], 0).check(user="Anna")
    assert (session.checked.user, session.checked.is_current) == ("Anna", True)
    assert session.note("x").skip(names[9:]).checked.is_current
    changed = session.seed(names[7:8], 0)
    assert (changed.checked.user, changed.checked.is_current) == ("Anna", False)
    assert changed.undo().checked.is_current
    assert session.check(checked=False).checked is None
    run, _ = cluster(slide, session.classes, session.seeds)
    assert session.with_run(run.model_copy(update={"time": "2020"})).checked.is_current
    assert not session.with_run(run.model_copy(update={"time": "3000"})).checked.is_current


def test_all_of_it_is_kept_and_makes_the_file_one_of_the_newest_schema(slide, names):
    path = session_path(slide.path)
    session = Session.new(slide).seed(names[:3], 1)
    save_session(path, session)
    assert json.loads(path.read_text())["schema"].endswith("/3")
    seen = np.arange(slide.n_patches) % 3 == 0
    for each in (session.skip(names[:1]), session.note("x"), session.check(), session.with_seen(seen)):
        save_session(path, each)
        assert json.loads(path.read_text())["schema"].endswith("/5")
        assert load_session(path, slide) == each
    assert np.array_equal(load_session(path, slide).seen_patches(slide.n_patches), seen)
    assert session.with_seen(seen).revision == session.revision
    assert not session.seen_patches(slide.n_patches).any()


def test_what_was_seen_of_other_patches_is_refused(slide):
    path = session_path(slide.path)
    save_session(path, Session.new(slide).with_seen(np.ones(slide.n_patches + 64, bool)))
    with pytest.raises(SessionError, match="seen: "):
        load_session(path, slide)
