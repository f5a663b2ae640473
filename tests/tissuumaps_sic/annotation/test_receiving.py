"""Sessions that come home: none is lost, whatever lies here, and what contradicts is told."""

import json
import shutil
import zipfile

import pytest

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.receiving import Conflict, merge_seeds, receive_sessions
from tissuumaps_sic.annotation.records import SessionError, SessionFileError
from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_names, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def home(small_h5ad):
    return open_slide_file(small_h5ad)


@pytest.fixture
def away(home, tmp_path):
    """The reader's copy of the slide."""
    (tmp_path / "reader").mkdir()
    return open_slide_file(shutil.copy(home.path, tmp_path / "reader" / home.path.name))


def seed(session, slide, *, user="Ben", **classes):
    for name, rows in classes.items():
        number = [each.name for each in session.classes].index(name)
        session = session.seed([str(slide.patch_names[row]) for row in rows], number, user=user)
    return session


def save(slide, session, name="Ben"):
    path = session_path(slide.path, name)
    save_session(path, session)
    return path


def of(slide, name="Ben"):
    """Class of each seed, by row."""
    session = load_session(session_path(slide.path, name), slide)
    names = [each.name for each in session.classes]
    return {int(slide.index[patch]): names[number] for patch, number in session.seeds.items()}


def test_a_new_one_gets_its_own_name_and_leaves_all_others_alone(home, away):
    own = save(home, seed(Session.new(home), home, Tumour=[3]), "")
    before = own.read_bytes()
    sent = save(away, label(away, seed(Session.new(away), away, Tumour=[1], Other=[2])).session)
    (received,) = receive_sessions(home, sent)
    assert (received.name, received.how, received.n_seeds) == ("Ben", "new", 2)
    assert received.path == session_path(home.path, "Ben")
    assert received.path.read_bytes() == sent.read_bytes()
    assert own.read_bytes() == before
    (again,) = receive_sessions(home, sent)
    assert again.how == "known"
    assert session_names(home.path) == ["", "Ben"]


def test_one_that_went_on_takes_the_place_of_what_it_began_with(home, away):
    begun = seed(Session.new(home), home, Tumour=[1], Other=[2])
    save(home, begun)
    sent = save(away, seed(begun.undo(), away, Tumour=[7, 8]))
    (received,) = receive_sessions(home, sent)
    assert (received.how, received.n_seeds) == ("went on", 2)
    assert of(home) == of(away)


def test_one_that_went_on_keeps_what_was_looked_at_and_is_noticed_by_open_pages(home, away):
    import numpy as np

    begun = seed(Session.new(home), home, Tumour=[1])
    seen = np.zeros(home.n_patches, bool)
    seen[:5] = True
    save(home, begun.with_seen(seen))
    sent = save(away, seed(begun, away, Other=[2]).with_seen(seen[::-1]))
    (received,) = receive_sessions(home, sent)
    session = load_session(received.path, home)
    assert received.how == "went on"
    assert session.seen_patches(home.n_patches).sum() == 10
    assert session.revision > load_session(sent, away).revision > begun.revision


def test_an_older_one_changes_nothing(home, away):
    begun = seed(Session.new(home), home, Tumour=[1])
    sent = save(away, begun)
    path = save(home, seed(begun, home, Other=[2]))
    before = path.read_bytes()
    (received,) = receive_sessions(home, sent)
    assert received.how == "known"
    assert path.read_bytes() == before


def test_where_both_went_on_seeds_are_added_conflicts_told_and_the_other_kept_whole(home, away):
    begun = seed(Session.new(home), home, Tumour=[1], Other=[2])
    save(home, seed(begun, home, Tumour=[10, 11]))
    other = seed(begun, away, Other=[11, 12], Tumour=[13])
    other = seed(other.add_class(SeedClass(name="Necrosis", color="#ffb000")), away, Necrosis=[14])
    sent = save(away, other)
    (received,) = receive_sessions(home, sent)
    assert received.how == "merged"
    assert of(home) == {
        1: "Tumour", 2: "Other", 10: "Tumour", 11: "Tumour", 12: "Other", 13: "Tumour", 14: "Necrosis"
    }  # fmt: skip
    assert received.n_seeds == 3
    assert received.conflicts == (Conflict(str(home.patch_names[11]), "Tumour", "Other"),)
    assert received.kept == session_path(home.path, "Ben 2")
    assert received.kept.read_bytes() == sent.read_bytes()
    merged = load_session(received.path, home)
    assert len({each.color for each in merged.classes}) == 3
    # All of it can be undone.
    for _ in range(4):
        merged = merged.undo()
    assert len(merged.seeds) == 4
    # What came once comes no second time, and more of it only adds.
    (again,) = receive_sessions(home, sent)
    assert again.how == "known"
    sent = save(away, seed(other, away, Tumour=[20]))
    (more,) = receive_sessions(home, sent)
    assert (more.how, more.n_seeds) == ("merged", 1)
    assert more.kept == session_path(home.path, "Ben 3")


def test_copies_of_a_session_with_a_long_name_are_all_kept(home, away):
    name = f"{'A' * 35} bc"  # cut where the space is
    begun = seed(Session.new(home), home, Tumour=[1])
    save(home, seed(begun, home, Tumour=[10]), name)
    kept = [
        receive_sessions(home, save(away, seed(begun, away, Other=[row]), name))[0].kept for row in (11, 12)
    ]
    assert kept == [session_path(home.path, f"{'A' * 35} {number}") for number in (2, 3)]


def test_what_was_undone_here_is_not_lost(home, away):
    begun = seed(Session.new(home), home, Tumour=[1], Other=[2])
    branched = seed(begun.undo(), home, Other=[5])
    save(home, branched)
    sent = save(away, seed(begun, away, Tumour=[9]))
    (received,) = receive_sessions(home, sent)
    assert received.how == "merged"
    kept = load_session(received.path, home)
    assert kept.branches == branched.branches
    assert kept.actions[: len(branched.actions)] == branched.actions


def test_one_without_a_name_is_called_as_its_reader_or_as_is_told(home, away):
    sent = save(away, seed(Session.new(away), away, Tumour=[1], user="Dr. Ben Müller"), "")
    (received,) = receive_sessions(home, sent)
    assert received.name == "Dr  Ben Müller"
    (received,) = receive_sessions(home, sent, name="second")
    assert received.path == session_path(home.path, "second")
    for users in (("",), ("Ann", "Ben")):
        session = Session.new(away)
        for user in users:
            session = seed(session, away, Tumour=[1], user=user)
        with pytest.raises(WrongUseError, match="--as NAME"):
            receive_sessions(home, save(away, session, ""))
    assert session_names(home.path) == ["Dr  Ben Müller", "second"]


def test_one_of_another_slide_is_refused_and_nothing_written(home, tmp_path):
    from making.many import write_mosaic

    path, _ = write_mosaic(tmp_path, "other")
    other = open_slide_file(path)
    sent = save(other, seed(Session.new(other), other, Tumour=[1]))
    with pytest.raises(SessionFileError, match="other patches"):
        receive_sessions(home, sent)
    (tmp_path / "small.Ben.sic.json").write_text(json.dumps({"schema": "tissuumaps-sic/session/3"}))
    with pytest.raises(SessionError):
        receive_sessions(home, tmp_path / "small.Ben.sic.json")
    with pytest.raises(SessionError, match="no such file"):
        receive_sessions(home, tmp_path / "nothing.sic.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SessionError, match="holds no session"):
        receive_sessions(home, tmp_path / "empty")


def test_a_zip_or_a_folder_of_several(home, away, tmp_path):
    save(away, seed(Session.new(away), away, Tumour=[1]), "Ben")
    save(away, seed(Session.new(away), away, Tumour=[2]), "Cleo")
    assert [each.name for each in receive_sessions(home, away.path.parent)] == ["Ben", "Cleo"]
    target = tmp_path / "sent.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path in away.path.parent.glob("*.sic.json"):
            archive.write(path, f"some folder/{path.name}")
            archive.writestr(f"__MACOSX/._{path.name}", b"\0\1")
        archive.writestr("../../evil.sic.json", b"{}")
    with pytest.raises(WrongUseError, match="several sessions"):
        receive_sessions(home, target, name="x")
    assert [each.how for each in receive_sessions(home, target)] == ["known", "known"]
    assert not list(tmp_path.parent.glob("evil*"))
    target.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(SessionError, match="not a whole zip"):
        receive_sessions(home, target)


@pytest.mark.parametrize("ran_later", ["here", "there"])
def test_no_run_is_lost_of_two_on_the_same_seeds(home, away, capsys, ran_later):
    begun = seed(Session.new(home), home, Tumour=[1], Other=[2])
    here = label(home, begun, border=0.3).session
    there = label(away, begun, border=0.7).session
    if ran_later == "here":
        here = label(home, here, border=0.4).session
    else:
        there = label(away, there, border=0.8).session
    path, sent = save(home, here), save(away, there)
    assert main(["receive", str(home.path), str(sent)]) == 0
    whose, kept = ("was sent", there) if ran_later == "here" else ("was here", here)
    assert f"Ben 2.sic.json: the session that {whose}, as it was" in capsys.readouterr().out
    assert load_session(session_path(home.path, "Ben 2"), home).run.identity == kept.run.identity
    left = here if ran_later == "here" else there
    assert load_session(path, home).run.identity == left.run.identity
    (again,) = receive_sessions(home, sent)
    assert (again.how, again.kept) == ("known", None)
    assert session_names(home.path) == ["Ben", "Ben 2"]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_slide_whose_name_goes_on_from_this_ones_keeps_its_own_sessions(home, away, tmp_path, zipped):
    from making.many import write_mosaic

    path, _ = write_mosaic(away.path.parent, f"{home.name}.2")
    other = open_slide_file(path)
    for name in ("", "Ben"):
        save(other, seed(Session.new(other), other, Tumour=[1]), name)
        save(away, seed(Session.new(away), away, Tumour=[1], user="Ada"), name)
    sent = away.path.parent
    if zipped:
        sent = tmp_path / "sent.zip"
        with zipfile.ZipFile(sent, "w") as archive:
            for each in away.path.parent.iterdir():
                archive.write(each, each.name)
    assert {each.name for each in receive_sessions(home, sent)} == {"Ben", "Ada"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_that_was_damaged_on_its_way_is_told(home, away, tmp_path, compression):
    sent = save(away, seed(Session.new(away), away, Tumour=[1]))
    target = tmp_path / "sent.zip"
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.write(sent, sent.name)
    content = bytearray(target.read_bytes())
    # Past the member's header, and LZMA's own.
    start = 30 + len(sent.name) + 12
    content[start : start + 40] = bytes([255] * 40)
    target.write_bytes(content)
    with pytest.raises(SessionError, match="not a whole zip"):
        receive_sessions(home, target)


def test_merging_keeps_classes_apart_by_name(home):
    one = seed(Session.new(home), home, Tumour=[1])
    other = seed(Session.new(home).with_class(1, SeedClass(name="Ca", color="#ffb000")), home, Ca=[1, 2])
    merged, n_seeds, conflicts = merge_seeds(one, other, user="Ben")
    assert [each.name for each in merged.classes] == ["Other", "Tumour", "Ca"]
    assert n_seeds == 1
    assert conflicts == (Conflict(str(home.patch_names[1]), "Tumour", "Ca"),)
    assert merged.actions[-1].user == "Ben"


def test_the_command_tells_what_became_of_it(home, away, capsys):
    begun = seed(Session.new(home), home, Tumour=[1], Other=[2])
    sent = save(away, begun)
    assert main(["receive", str(home.path), str(sent)]) == 0
    assert ": new, with 2 seeds" in capsys.readouterr().out
    save(home, seed(begun, home, Tumour=[3]))
    save(away, seed(begun, away, Other=[3, 4]))
    assert main(["receive", str(home.path), str(sent)]) == 0
    told = capsys.readouterr().out
    assert "it adds 1 seed," in told
    assert "1 patch has another class there, and the class of here is kept:" in told
    assert f"{home.patch_names[3]}: Tumour here, Other there" in told
    assert main(["receive", str(home.path), str(sent), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["how"] == "known"
    assert main(["receive", str(home.path), str(sent), str(sent), "--as", "x"]) == 2
    assert main(["receive", str(home.path), str(sent), "--as", "no/name"]) == 1
    assert main(["receive", str(home.path), str(sent.with_name("none.sic.json"))]) == 1
    # As readers of one slide their sessions are merged further by what there is.
    assert main(["merge", str(home.path), "--sessions", "Ben", "Ben 2"]) == 0
