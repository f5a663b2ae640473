"""Nothing that was done is lost: undone steps that others took the place of are branches, and come back."""

import json

import numpy as np
import pytest

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.history import list_steps, tell_redo, tell_restoring, tell_undo
from tissuumaps_sic.annotation.records import SessionError, SessionFileError
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, read_session, save_session
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def slide(small_h5ad):
    return open_slide_file(small_h5ad)


def test_seeds_that_were_undone_before_another_click_come_back(slide):
    """The steps of viewer.md, A2: all undone by a key held too long, then a click."""
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide)
    for row in range(13):
        session = session.seed(names[row : row + 1], row % 2, user="Anna")
    whole = session.seeds
    for _ in range(13):
        session = session.undo()
    session = session.seed(names[20:21], 1)
    assert session.seeds == {names[20]: 1}
    (branch,) = session.branches
    back = session.restore(branch.end, branch=branch.number)
    assert back.seeds == whole
    # And what was clicked meanwhile is not lost by it.
    (other,) = back.branches
    assert back.restore(other.end, branch=other.number).seeds == session.seeds


def test_every_point_of_any_history_can_be_reached_from_any_other(slide, tmp_path):
    """Over random clicks, undo and restoring, against a list of all that was ever there."""
    names = [str(name) for name in slide.patch_names]
    for number in range(6):
        random = np.random.default_rng(number)
        session, seen = Session.new(slide), set()
        for click in range(40):
            what = random.choice(["seed", "undo", "restore"], p=[0.55, 0.35, 0.1])
            if what == "undo" and session.can_undo:
                session = session.undo()
            elif what == "restore" and session.branches:
                branch = session.branches[random.integers(len(session.branches))]
                position = int(random.integers(branch.at, branch.end + 1))
                session = session.restore(position, branch=branch.number)
            else:
                # Each click is another patch or class, so that each state is of one path alone.
                session = session.seed([names[click % len(names)]], click // len(names) % 2)
            seen.add(tuple(session.seeds.items()))
        path = tmp_path / f"{number}.sic.json"
        save_session(path, session)
        session = load_session(path, slide)
        reached = {()}
        for step in list_steps(session):
            there = session.restore(step.position, branch=step.branch)
            reached.add(tuple(there.seeds.items()))
            # From there the first state is reached again.
            assert len(list_steps(there)) == len(list_steps(session))
        assert seen <= reached


def test_branches_are_saved_in_a_schema_of_their_own(slide, tmp_path):
    names = [str(name) for name in slide.patch_names]
    path = tmp_path / "a.sic.json"
    session = Session.new(slide).seed(names[:1], 1).seed(names[1:2], 0)
    save_session(path, session.undo())
    assert json.loads(path.read_text())["schema"] == "tissuumaps-sic/session/3"
    session = session.undo().seed(names[2:3], 0)
    save_session(path, session)
    written = json.loads(path.read_text())
    assert written["schema"] == "tissuumaps-sic/session/5"
    assert written["branches"][0]["actions"][0]["patches"] == names[1:2]
    again = load_session(path, slide)
    assert again == session
    assert read_session(path, slide.n_patches).seed_counts == session.seed_counts
    # By rows, once it is large.
    large = session.seed(names * 60, 1)
    save_session(path, large)
    assert "rows" in json.loads(path.read_text())["branches"][0]["actions"][0]
    assert load_session(path, slide) == large


@pytest.mark.parametrize("damage", [{"on": 7}, {"at": 9}, {"on": 0}, {"actions": []}])
def test_damaged_branches_are_refused(slide, tmp_path, damage):
    path = tmp_path / "a.sic.json"
    session = Session.new(slide).seed([str(slide.patch_names[0])], 1).undo().clear()
    save_session(path, session)
    document = json.loads(path.read_text())
    document["branches"][0] |= damage
    path.write_text(json.dumps(document))
    with pytest.raises(SessionFileError, match="branch"):
        load_session(path, slide)


def test_steps_are_told_in_words(slide):
    names = [str(name) for name in slide.patch_names]
    session = (
        Session.new(slide)
        .seed(names[:19], 0, user="Anna")
        .add_class(SeedClass(name="Necrosis", color="#112233"), user="Ben")
    )
    assert tell_undo(session).text == "class “Necrosis” added"
    assert (tell_undo(session.undo()).text, tell_undo(session.undo()).user) == ("19 seeds of Other", "Anna")
    assert tell_redo(session.undo()).text == "class “Necrosis” added"
    assert tell_undo(Session.new(slide)) is None
    assert tell_redo(session) is None
    session = session.seed(names[20:21], 2).with_class(2, SeedClass(name="Barrett's", color="#112233"))
    session = session.seed(names[:1], None).remove_class(2, into=1)
    session = session.add_class(SeedClass(name="Debris", color="#445566")).remove_class(2).clear()
    for each in list_steps(session):
        number, _, what = each.text.partition(" ")
        alone = not each.together and not each.n
        assert alone or (str(each.n), each.together.removeprefix("seeds ")) == (
            number,
            what.partition(" ")[2],
        )
    assert [each.text for each in list_steps(session)] == [
        "19 seeds of Other",
        "class “Necrosis” added",
        "1 seed of Necrosis",
        "“Necrosis” renamed to “Barrett's”",
        "1 seed taken back",
        "“Barrett's” merged into “Tumour”",
        "class “Debris” added",
        "class “Debris” removed",
        "all seeds cleared",
    ]
    # A step of a branch is told in the classes that its line had.
    branched = session.restore(3).seed(names[30:31], 1)
    assert [each.text for each in list_steps(branched) if each.branch is not None][-3:] == [
        "class “Debris” added",
        "class “Debris” removed",
        "all seeds cleared",
    ]


def test_what_restoring_changes_is_told_before(slide):
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).seed(names[:3], 1).add_class(SeedClass(name="Necrosis", color="#112233"))
    session = session.seed(names[5:6], 2)
    told = tell_restoring(session, session.restore(0))
    assert "Tumour: 3 → 0 seeds" in told
    assert "class “Necrosis” is removed, with 1 seed" in told
    assert "comes back" in tell_restoring(session.restore(0), session)
    assert "the same seeds" in tell_restoring(session, session)
    moved = session.seed(names[:1], None).seed(names[9:10], 1)
    assert "other classes for 2 seeded patches" in tell_restoring(session, moved)


def test_a_point_that_there_is_not_is_told(slide):
    session = Session.new(slide).seed([str(slide.patch_names[0])], 1)
    for point in ({"position": 2}, {"position": 0, "branch": 4}):
        with pytest.raises(SessionError, match="no such point"):
            session.restore(**point)
