"""Commands over many files: none lost, none done twice, and what is up to date left alone."""

import json
import os
import sys
from pathlib import Path

import pytest
from making.batches import Shout

from tissuumaps_sic.slidefile.batch import BatchItem, work_through
from tissuumaps_sic.slidefile.batch_command import find_h5ads
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.spread import Machines
from tissuumaps_sic.slidefile.made import MadeFiles, describe_recipe, stamp


@pytest.fixture
def shout(tmp_path):
    """Return what has files of given texts worked on, and gives what became of them."""

    def go(*texts, workers=1, recipe="loud", anew=False, write=True):
        work = Shout(tmp_path / "out")
        paths = [tmp_path / f"{place}.txt" for place in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            if write and text is not None:
                path.write_text(text)
        made = MadeFiles(tmp_path / "out", describe_recipe(recipe), anew=anew)
        items = [work.plan(path) for path in paths]
        return list(work_through(items, work, folder=tmp_path, machines=Machines(workers), made=made))

    return go


def statuses(outcomes):
    return [each.status for each in outcomes]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_fails_is_told_and_the_others_are_done_in_order(shout, workers, tmp_path, caplog):
    outcomes = shout("a", "bad", "bug", None, "nothing", "b", workers=workers)
    assert statuses(outcomes) == ["done", "failed", "failed", "failed", "left out", "done"]
    assert outcomes[1].message == "1.txt: is bad"
    assert outcomes[2].message == "2.txt: ZeroDivisionError: by zero (unexpected)"
    assert outcomes[3].message.endswith("3.txt: No such file or directory")
    assert outcomes[4].message == "says nothing"
    assert [each.report["said"] for each in (outcomes[0], outcomes[5])] == ["A", "B"]
    assert {path.name for path in (tmp_path / "out").glob("*.out")} == {"0.out", "5.out"}
    # What is logged in another process is told here, too, once.
    assert [record.getMessage() for record in caplog.records].count("0.txt: heard a") == 1
    here = {each.report["by"] == os.getpid() for each in (outcomes[0], outcomes[5])}
    assert here == {workers == 1}


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_one_that_ends_its_process_is_a_failure_of_it_alone(shout):
    outcomes = shout("a", "deadly", "b", "c", workers=2)
    assert statuses(outcomes) == ["done", "failed", "done", "done"]
    assert "was ended from outside" in outcomes[1].message


def test_wrong_use_ends_all(shout):
    with pytest.raises(WrongUseError, match="--loud"):
        shout("nonsense", "a")


def test_what_is_up_to_date_is_left_alone_and_nothing_else(shout, tmp_path):
    assert statuses(shout("a", "b", "bad")) == ["done", "done", "failed"]
    before = stamp(tmp_path / "out" / "0.out")
    again = shout("a", "b", "bad", write=False)
    assert statuses(again) == ["up to date", "up to date", "failed"]
    assert again[0].report["said"] == "A"
    assert stamp(tmp_path / "out" / "0.out") == before
    # An input that changed, an output that went or was changed, other options: made anew.
    (tmp_path / "0.txt").write_text("c")
    assert statuses(shout(None, None, write=False)) == ["done", "up to date"]
    assert (tmp_path / "out" / "0.out").read_text() == "C"
    (tmp_path / "out" / "1.out").unlink()
    assert statuses(shout(None, None, write=False)) == ["up to date", "done"]
    (tmp_path / "out" / "1.out").write_text("by hand")
    assert statuses(shout(None, None, write=False)) == ["up to date", "done"]
    assert statuses(shout(None, None, write=False, recipe="quiet")) == ["done", "done"]
    assert statuses(shout(None, None, write=False, recipe="quiet")) == ["up to date"] * 2
    assert statuses(shout(None, None, write=False, recipe="quiet", anew=True)) == ["done", "done"]


def test_an_input_that_the_work_itself_writes_does_not_make_it_stale(shout):
    assert statuses(shout("own")) == ["done"]
    assert statuses(shout(None, write=False)) == ["up to date"]


def test_an_input_that_comes_later_makes_it_stale(tmp_path):
    (tmp_path / "a").write_text("a")
    inputs = [tmp_path / "a", tmp_path / "session"]
    made = MadeFiles(tmp_path, "recipe")
    made.note(tmp_path / "a", "", {path: stamp(path) for path in inputs}, [tmp_path / "a"], {})
    assert MadeFiles(tmp_path, "recipe").find(tmp_path / "a", "", inputs) == {}
    assert MadeFiles(tmp_path, "recipe").find(tmp_path / "a", "part", inputs) is None
    (tmp_path / "session").write_text("")
    assert MadeFiles(tmp_path, "recipe").find(tmp_path / "a", "", inputs) is None


def test_a_list_that_was_torn_or_cannot_be_kept_costs_work_and_nothing_else(shout, tmp_path):
    shout("a", "b")
    kept = tmp_path / "out" / MadeFiles.NAME
    whole = kept.read_bytes()
    # Cut in the middle of the last line, as by a power cut; then what another command appends.
    kept.write_bytes(b'"a text"\n[1]\n{"key": 3}\n' + whole[: len(whole) - 20])
    assert statuses(shout(None, None, write=False)) == ["up to date", "done"]
    assert statuses(shout(None, None, write=False)) == ["up to date", "up to date"]
    kept.unlink()
    kept.mkdir()
    assert statuses(shout(None, None, write=False)) == ["done", "done"]


def test_a_list_tells_nothing_of_where_it_lies_and_moves_with_its_folder(shout, tmp_path):
    shout("a")
    text = (tmp_path / "out" / MadeFiles.NAME).read_text()
    assert str(tmp_path) not in text
    (line,) = [json.loads(each) for each in text.split("\n") if each]
    assert list(line["outputs"]) == ["0.out"]
    assert list(line["inputs"]) == [str(Path("..", "0.txt"))]


def test_paths_that_go_to_other_machines_are_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    item = BatchItem(Path("a.h5ad"), (Path("b"),), (Path("../c"),)).make_absolute()
    assert [item.path, *item.inputs, *item.outputs] == [
        tmp_path / "a.h5ad",
        tmp_path / "b",
        tmp_path.parent / "c",
    ]


def test_a_file_that_is_named_twice_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.h5ad").touch()
    named = [Path("b.h5ad"), tmp_path, tmp_path / "a.h5ad"]
    assert list(find_h5ads(named)) == [(Path("b.h5ad"), False), (tmp_path / "a.h5ad", True)]
