"""`run` and `export` on many slides: from their sessions or another slide's seeds, kept in sessions."""

import csv
import json

import anndata
import numpy as np
import pytest
from making.many import seeds_of, write_mosaic
from making.server import ask

from tissuumaps_sic.annotation.lending import guests_of, lend
from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three slides: "a" has run with a border, "b" has seeds of one class, "c" is not begun."""
    folder = tmp_path / "slides"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for number, name in enumerate("abc"):
        path, truth = write_mosaic(folder, name, seed=number, strange=name == "c")
        slide = open_slide_file(path)
        session = Session.new(slide)
        if name == "a":
            for patch, label in seeds_of(path, truth).items():
                session = session.seed([patch], label)
            run, _ = cluster(slide, session.classes, session.seeds, border=0.6)
            save_session(session_path(path), session.with_run(run))
        if name == "b":
            save_session(session_path(path), session.seed([str(slide.patch_names[-1])], 1))
    return folder


def session_of(folder, name):
    slide = open_slide_file(folder / f"{name}.h5ad")
    return load_session(session_path(slide.path), slide)


def labels_in(path):
    with path.open() as file:
        return [row["label"] for row in csv.DictReader(file)]


def names_of(session):
    return [session.run_classes[label].name for label in session.run.unpack()]


def test_a_folder_is_run_again_from_its_own_sessions(folder, tmp_path, capsys, caplog):
    (folder / "d.h5ad").write_bytes(b"nonsense")
    (folder / "d.sic.json").write_text("{}")
    # Class "Other" of b has no seeds, c is not begun, d is damaged: a is done all the same.
    assert main(["run", str(folder), "-o", str(tmp_path / "out")]) == 1
    assert [each.name for each in (tmp_path / "out").glob("[!.]*")] == ["a.labels.csv"]
    assert labels_in(tmp_path / "out" / "a.labels.csv") == names_of(session_of(folder, "a"))
    assert capsys.readouterr().out.count("\n") == 1
    assert "Each class needs a seed: Tumour 1, Other 0" in caplog.text
    assert "c.h5ad: has no session yet; left out" in caplog.text
    assert "d.h5ad: not a readable h5ad" in caplog.text
    rows = [record.getMessage().split() for record in caplog.records][-5:]
    assert [row[:2] for row in rows[:-1]] == [
        *(["a.h5ad", "done"], ["c.h5ad", "left"], ["b.h5ad", "failed"], ["d.h5ad", "failed"])
    ]
    assert rows[-1] == ["1", "done,", "1", "left", "out,", "2", "failed"]


def test_one_slides_seeds_label_all_the_others_of_a_folder(folder, tmp_path, capsys):
    before = (folder / "b.sic.json").read_bytes()
    command = ["run", str(folder), "--from", str(folder / "a.h5ad"), "--format", "geojson.gz"]
    assert main([*command, "-o", str(tmp_path / "out"), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [each["slide"] for each in reports] == ["b", "c"]
    assert {each.name for each in (tmp_path / "out").glob("[!.]*")} == {
        "b.labels.geojson.gz",
        "c.labels.geojson.gz",
    }
    assert (folder / "b.sic.json").read_bytes() == before
    assert not (folder / "c.sic.json").exists()
    # The third tissue of c is one that nobody seeded.
    assert reports[1]["unlike"] > 90 > reports[0]["unlike"]
    # The one seed that b has of its own counts with the borrowed ones.
    b, a = open_slide_file(folder / "b.h5ad"), open_slide_file(folder / "a.h5ad")
    own = session_of(folder, "b")
    expected = own.borrow(lend(a, session_of(folder, "a").seeds, b), session_of(folder, "a").classes)
    run, _ = cluster(b, expected.classes, expected.seeds, guests=guests_of(b, expected.loans))
    assert list(reports[0]["labels"].values()) == list(run.counts)


def test_saved_runs_are_what_the_viewer_shows_and_export_replays(folder, tmp_path, capsys):
    assert main(["run", str(folder), "--from", str(folder / "a.h5ad"), "--save"]) == 0
    # Nothing but the sessions was written.
    assert list(tmp_path.joinpath("elsewhere").iterdir()) == []
    for name in "bc":
        state = ask(Server(), "open", folder, {"h5ad": f"{name}.h5ad"})
        assert state["borrowed"][0]["slide"] == "a"
        assert not state["run"]["stale"]
    assert session_of(folder, "b").undo().loans == ()
    assert main(["export", str(folder), "--format", "csv", "-o", str(tmp_path / "out")]) == 0
    for name in "abc":
        assert labels_in(tmp_path / "out" / f"{name}.labels.csv") == names_of(session_of(folder, name))
    # Again: every slide can now be run from its own session, to the same labels.
    kept = {name: session_of(folder, name).run.unpack() for name in "abc"}
    assert main(["run", str(folder), "--save"]) == 0
    for name, labels in kept.items():
        assert np.array_equal(session_of(folder, name).run.unpack(), labels)
    assert session_of(folder, "a").run.border == 0.6


def test_a_session_that_changed_meanwhile_is_not_overwritten(folder, tmp_path, monkeypatch, caplog):
    import tissuumaps_sic.commands.batch as batch

    label = batch.label

    def meanwhile(slide, session, *arguments, **named):
        save_session(session_path(slide.path), session.seed([str(slide.patch_names[5])], 0))
        return label(slide, session, *arguments, **named)

    monkeypatch.setattr(batch, "label", meanwhile)
    assert main(["run", str(folder), "--from", str(folder / "a.h5ad"), "--save"]) == 1
    assert "b.sic.json: holds other seeds than were run on" in caplog.text
    assert session_of(folder, "b").run is None


def test_one_named_slide_keeps_seeds_of_a_file_only_where_they_are_its_own(folder, tmp_path, caplog):
    seeds = tmp_path / "seeds.csv"
    c, truth = folder / "c.h5ad", write_mosaic(tmp_path, "c", seed=2, strange=True)[1]
    rows = seeds_of(c, truth).items()
    seeds.write_text("patch,class\n" + "".join(f"{patch},{label}\n" for patch, label in rows))
    assert main(["run", str(c), "--seeds", str(seeds), "--save"]) == 0
    assert session_of(folder, "c").seeds == dict(rows)
    assert session_of(folder, "c").run is not None
    assert main(["run", str(c), "--seeds", str(seeds), "--save", "--method", "sic"]) == 0
    assert session_of(folder, "c").run.method == "sic"
    assert main(["run", str(folder / "b.h5ad"), "--seeds", str(folder / "a.sic.json"), "--save"]) == 1
    seeds.write_text("patch,class\n" + "".join(f"{patch},{1 - label}\n" for patch, label in rows))
    assert main(["run", str(c), "--seeds", str(seeds), "--save"]) == 1
    assert "c.sic.json: holds other seeds than seeds.csv" in caplog.text
    assert main(["run", str(c), "--from", str(folder / "a.h5ad"), "--save"]) == 1
    assert "has seeds of its own" in caplog.text


def test_a_named_slide_runs_on_the_session_beside_it(folder, tmp_path, capsys):
    assert main(["run", str(folder / "a.h5ad"), "--json", "-o", str(tmp_path / "a.h5ad")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["method"] == "refine"
    found = anndata.read_h5ad(tmp_path / "a.h5ad").obs["sic_label"].tolist()
    assert found == names_of(session_of(folder, "a"))
    assert main(["run", str(folder / "c.h5ad")]) == 1
