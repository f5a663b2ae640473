import csv
import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from making.many import write_mosaic

from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.access import FOLDER

SEEDS = {"small_0_0": 0, "small_128_128": 0, "small_1408_0": 1, "small_1280_256": 1}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_seeds(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def labels_in(path):
    with Path(path).open() as file:
        return [row["label"] for row in csv.DictReader(file)]


def fitted(method, slide, y):
    return SeededIterativeClustering(method=method).fit(slide.X, y, slide.centres).labels_


def expected_labels(h5ad, method="refine"):
    slide = open_slide_file(h5ad)
    y = np.full(slide.n_patches, -1)
    for name, label in SEEDS.items():
        y[slide.index[name]] = label
    return [("Other", "Tumour")[each] for each in fitted(method, slide, y)]


def test_seeds_by_name_by_place_and_from_a_session_give_the_same_labels(small_h5ad, tmp_path):
    slide = open_slide_file(small_h5ad)
    by_name = write_seeds(tmp_path / "n.csv", ["patch", "class"], SEEDS.items())
    places = [(*(slide.centres[slide.index[name]] + (30, -40)), label) for name, label in SEEDS.items()]
    by_place = write_seeds(tmp_path / "p.csv", ["x", "y", "class"], places)
    session = Session.new(slide)
    for name, label in SEEDS.items():
        session = session.seed([name], label)
    save_session(tmp_path / "s.json", session)
    for number, seeds in enumerate([by_name, by_place, "s.json"]):
        assert main(["run", str(small_h5ad), "--seeds", seeds, "-o", f"{number}.csv"]) == 0
        assert labels_in(f"{number}.csv") == expected_labels(small_h5ad)


def test_two_named_classes_need_to_know_the_positive_one(small_h5ad, tmp_path, caplog):
    rows = [(name, "stroma" if label else "gland") for name, label in SEEDS.items()]
    seeds = write_seeds(tmp_path / "n.csv", ["patch", "class"], rows)
    assert main(["run", str(small_h5ad), "--seeds", seeds]) == 1
    assert "--positive 'gland'" in caplog.text
    assert main(["run", str(small_h5ad), "--seeds", seeds, "--positive", "stroma"]) == 0
    named = {"Other": "gland", "Tumour": "stroma"}
    assert labels_in("small.labels.csv") == [named[each] for each in expected_labels(small_h5ad)]


def test_either_method_is_one_option_away_and_a_session_keeps_its_own(small_h5ad, tmp_path):
    seeds = write_seeds(tmp_path / "n.csv", ["patch", "class"], SEEDS.items())
    for method in ("sic", "refine"):
        assert main(["run", str(small_h5ad), "--seeds", seeds, "--method", method, "-o", "out.csv"]) == 0
        assert labels_in("out.csv") == expected_labels(small_h5ad, method)
    assert expected_labels(small_h5ad, "sic") != expected_labels(small_h5ad, "refine")
    slide = open_slide_file(small_h5ad)
    session = Session.new(slide)
    for name, label in SEEDS.items():
        session = session.seed([name], label)
    run, _ = cluster(slide, session.classes, session.seeds, method="sic")
    save_session(session_path(small_h5ad), session.with_run(run))
    assert main(["run", str(small_h5ad), "--seeds", str(session_path(small_h5ad)), "-o", "out.csv"]) == 0
    assert labels_in("out.csv") == expected_labels(small_h5ad, "sic")


def test_run_reports_to_machines(small_h5ad, tmp_path, capsys):
    seeds = write_seeds(tmp_path / "n.csv", ["patch", "class"], SEEDS.items())
    assert main(["run", str(small_h5ad), "--seeds", seeds, "--json", "-o", "out.h5ad"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["labels"]["Tumour"] == expected_labels(small_h5ad).count("Tumour")
    assert open_slide_file(tmp_path / "out.h5ad").n_patches == sum(report["labels"].values())


def test_seeds_of_three_classes_label_a_slide(small_h5ad, tmp_path, capsys):
    rows = [("small_0_0", "c"), ("small_128_0", "a"), ("small_256_0", "b")]
    seeds = write_seeds(tmp_path / "three.csv", ["patch", "class"], rows)
    assert main(["run", str(small_h5ad), "--seeds", seeds, "--json", "-o", str(tmp_path / "out.csv")]) == 0
    slide = open_slide_file(small_h5ad)
    y = np.full(slide.n_patches, -1)
    for name, label in rows:
        y[slide.index[name]] = "abc".index(label)
    labels = SeededIterativeClustering(method="refine").fit(slide.X, y, slide.centres).labels_
    assert labels_in(tmp_path / "out.csv") == ["abc"[label] for label in labels]
    assert list(json.loads(capsys.readouterr().out)["labels"]) == ["a", "b", "c"]


@pytest.mark.parametrize("format_", ["csv", "h5ad"])
def test_export_takes_the_session_beside_the_file(small_h5ad, format_):
    slide = open_slide_file(small_h5ad)
    session = Session.new(slide)
    assert main(["export", str(small_h5ad), "--format", format_]) == 1
    run, _ = cluster(slide, session.classes, SEEDS)
    save_session(session_path(small_h5ad), session.with_run(run))
    assert main(["export", str(small_h5ad), "--format", format_]) == 0
    if format_ == "csv":
        assert labels_in("small.labels.csv") == expected_labels(small_h5ad)
    else:
        import anndata

        assert list(anndata.read_h5ad("small.labels.h5ad").obs["sic_label"]) == expected_labels(small_h5ad)


def test_a_folder_is_exported_and_one_bad_slide_ends_nothing(small_h5ad, tmp_path, capsys, caplog):
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copyfile(small_h5ad, folder / f"{name}.h5ad")
    slide = open_slide_file(folder / "a.h5ad")
    run, _ = cluster(slide, Session.new(slide).classes, SEEDS)
    save_session(session_path(slide.path), Session.new(slide).with_run(run))
    (folder / "b.sic.json").write_text("{}")
    command = ["export", str(folder), "--format", "geojson.gz", "-o", str(tmp_path / "out")]
    assert main(command) == 1
    assert [each.name for each in (tmp_path / "out").glob("[!.]*")] == ["a.labels.geojson.gz"]
    assert "b.sic.json: not a session" in caplog.text
    assert "c.h5ad: has no session yet; left out" in caplog.text
    (folder / "b.sic.json").unlink()
    assert main(command) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / "a.labels.geojson.gz")] * 2
    names = json.loads(gzip.decompress((tmp_path / "out" / "a.labels.geojson.gz").read_bytes()))
    assert [each["properties"]["name"] for each in names["features"]] == ["Other", "Tumour"]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (["name", "class"], [("small_0_0", 1)], "patch,class or x,y,class"),
        (["patch", "class"], [("nowhere", 1), ("small_0_0", 0)], "no patch named nowhere"),
        (["patch", "class"], [("small_0_0", "a"), ("small_128_0", "b")], "--positive 'a'"),
        (["patch", "class"], [("small_0_0", "a" * 61), ("x", "b"), ("y", "c")], "has 61 characters"),
        (["patch", "class"], [("small_0_0", "a")], "has seeds of 1 class (a); give seeds of 2 to"),
        (["patch", "class"], [("small_0_0", 1)], "Each class needs a seed: Tumour 1, Other 0"),
        (["x", "y", "class"], [("9999", "9999", 1)], "no patch at x 9999"),
        (["x", "y", "class"], [("left", "9", 1)], "line 2: x is 'left', which is no number"),
    ],
)
def test_seeds_that_do_not_fit_are_told_in_one_line(small_h5ad, tmp_path, caplog, header, rows, message):
    seeds = write_seeds(tmp_path / "n.csv", header, rows)
    assert main(["run", str(small_h5ad), "--seeds", seeds]) == 1
    assert message in caplog.text
    assert len(caplog.records) == 1
    assert not (tmp_path / "small.labels.csv").exists()


def test_the_program_says_in_one_line_what_cannot_be_meant():
    command = [sys.executable, "-m", "tissuumaps_sic", "run", "a.h5ad", "--border", "2"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "argument --border: give a number from 0 to 1, not '2'\n" in ran.stderr


def test_what_is_not_there_ends_with_one(small_h5ad, caplog):
    assert main(["run", str(small_h5ad), "--seeds", "missing.csv"]) == 1
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["missing.csv"]


def test_install_plugin_copies_what_tissuumaps_needs(tmp_path):
    assert main(["install-plugin", "--to", str(tmp_path / "plugins")]) == 0
    there = {path.name for path in (tmp_path / "plugins").iterdir()}
    assert there == {"SIC.py", "SIC.js", "SIC.yml", "SIC_page"}
    modules = {path.relative_to(FOLDER) for path in FOLDER.rglob("SIC_page/**/*.js")}
    assert Path("SIC_page/main.js") in modules
    copied = tmp_path / "plugins"
    assert {path.relative_to(copied) for path in copied.rglob("SIC_page/**/*") if path.is_file()} == modules


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom tissuumaps_sic.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'anndata', 'pandas', 'sklearn', 'tissuumaps', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_open_serves_the_slide_that_was_asked_for_first(tmp_path, monkeypatch):
    """Of two slides one fails, and an older one lies in the folder."""
    import tissuumaps_sic.demo.folder
    import tissuumaps_sic.viewer.serve

    def embed(slides, folder, *, options):
        assert options == ["--slide-mpp", "0.5"]
        (folder / "z.tmap").write_text("{}")
        raise tissuumaps_sic.demo.folder.EmbedError("not every slide could be embedded")

    served = []

    class Server:
        effective_port = 7

        def run(self):
            pass

        close = run

    monkeypatch.setattr(tissuumaps_sic.demo.folder, "embed", embed)
    monkeypatch.setattr("waitress.server.create_server", lambda app, **options: Server())
    monkeypatch.setattr("builtins.print", lambda text, flush: served.append(text.strip()))
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.tmap").write_text("{}")
    arguments = ["-o", str(out), "--no-browser", "--slide-mpp", "0.5"]
    assert main(["open", "z.svs", "y.svs", *arguments]) == 0
    *slides, start = served[1:]
    assert slides == ["http://127.0.0.1:7/z.tmap", "http://127.0.0.1:7/a.tmap"]
    assert start == "All slides, with pictures: http://127.0.0.1:7/"
    assert main(["open", "z.svs", *arguments]) == 1


def test_a_border_of_one_leaves_the_positive_class_its_seeds(small_h5ad, tmp_path, capsys):
    seeds = write_seeds(tmp_path / "n.csv", ["patch", "class"], SEEDS.items())
    out = tmp_path / "out.csv"
    assert main(["run", str(small_h5ad), "--seeds", seeds, "--border", "1", "-o", str(out)]) == 0
    slide = open_slide_file(small_h5ad)
    positive = [slide.patch_names[row] for row, each in enumerate(labels_in(out)) if each == "Tumour"]
    assert positive == [name for name in slide.patch_names if SEEDS.get(name) == 1]


# `run` as it is, but with a moment to look at before it is done, or interrupted there as by Ctrl-C.
HALF_WAY = """
import os, signal, sys, time
from tissuumaps_sic import cli
from tissuumaps_sic.annotation import runs

def fitted(quick):
    def fit(*args, progress, **options):
        def followed(stage, share):
            progress(stage, share)
            if share > 0.5 and not told:
                told.append(share)
                {action}
        return quick(*args, progress=followed, **options)
    return fit

told = []
runs.fit = fitted(runs.fit)
sys.exit(cli.main())
"""


def run_half_way(h5ad, tmp_path, action):
    seeds = write_seeds(tmp_path / "seeds.csv", ["patch", "class"], SEEDS.items())
    before = set(tmp_path.iterdir())
    command = [sys.executable, "-c", HALF_WAY.format(action=action), "run", str(h5ad), "--seeds", seeds]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    return done, set(tmp_path.iterdir()) - before


def test_a_run_that_takes_longer_than_a_moment_shows_how_far_it_is(small_h5ad, tmp_path):
    done, written = run_half_way(small_h5ad, tmp_path, "time.sleep(1.5)")
    assert done.returncode == 0
    assert "%" in done.stderr
    assert "%" not in done.stdout
    assert {path.name for path in written} == {"small.labels.csv"}
    assert labels_in("small.labels.csv") == expected_labels(small_h5ad)


def test_an_interrupted_run_leaves_nothing_half_written(small_h5ad, tmp_path):
    # What a shell runs in the background has Ctrl-C ignored, and the tests may be run so.
    heed = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    done, written = run_half_way(small_h5ad, tmp_path, f"{heed}; os.kill(os.getpid(), signal.SIGINT)")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert not written
    assert not list(tmp_path.glob(".*"))


ENDING = """
import threading
import h5py
from h5py._objects import phil
from tissuumaps_sic.commands import serve
import tissuumaps_sic.viewer.serve

held = threading.Event()
def read_for_ever():
    with phil:
        held.set()
        threading.Event().wait()

def some_server(*arguments, **others):
    threading.Thread(target=read_for_ever, name="waitress-0", daemon=True).start()
    held.wait()

tissuumaps_sic.viewer.serve.serve = some_server
from tissuumaps_sic.cli import make_parser
serve.serve_folder(None, make_parser().parse_args(["serve", "folder", "--no-browser"]))
"""


def test_a_server_ends_although_a_request_holds_the_lock_of_hdf5():
    """Python, which takes its modules apart when it ends, waited for that lock for ever."""
    subprocess.run([sys.executable, "-c", ENDING], check=True)


# ---------------------------------------------------------------------------------------------- suggest


def suggested(capsys, *arguments):
    capsys.readouterr()
    assert main(["suggest", *map(str, arguments)]) == 0
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


def test_first_clicks_are_suggested_without_a_seed_and_their_classes_can_be_run(
    small_h5ad, tmp_path, capsys, caplog
):
    rows = suggested(capsys, small_h5ad, "-n", 7)
    slide = open_slide_file(small_h5ad)
    assert len({row["patch"] for row in rows}) == 7
    for row in rows:
        assert (row["why"], row["class"]) == ("typical", "")
        assert np.array_equal(
            slide.centres[slide.index[row["patch"]]], [float(row[axis]) for axis in ("x", "y")]
        )
    assert main(["suggest", str(small_h5ad), "-n", "7", "-o", "first.csv"]) == 0
    written = list(csv.DictReader((tmp_path / "first.csv").open()))
    assert written == rows
    for number, row in enumerate(written):
        row["class"] = number % 2
    filled = write_seeds(tmp_path / "filled.csv", list(rows[0]), [row.values() for row in written])
    caplog.clear()
    assert main(["run", str(small_h5ad), "--seeds", filled, "-o", "labels.csv"]) == 0
    assert caplog.text == ""  # what `suggest` itself has written is no surprise
    with (tmp_path / "labels.csv").open() as file:
        seeds = {row["patch"]: row["seed"] for row in csv.DictReader(file) if row["seed"]}
    assert seeds == {row["patch"]: ("Other", "Tumour")[row["class"]] for row in written}


def test_suggestions_follow_the_seeds_of_a_session_and_its_skipped_patches(small_h5ad, capsys):
    slide = open_slide_file(small_h5ad)
    session = Session.new(slide)
    names = [str(name) for name in slide.patch_names]
    save_session(session_path(small_h5ad), session.seed(names[:3], 0))
    typical = [row["patch"] for row in suggested(capsys, small_h5ad, "-n", 4)]
    assert not set(typical) & set(names[:3])
    save_session(session_path(small_h5ad), session.seed(names[:3], 0).skip(typical[:2]))
    others = [row["patch"] for row in suggested(capsys, small_h5ad, "-n", 4)]
    assert not set(others) & set(typical[:2])
    save_session(session_path(small_h5ad, "Anna"), session.seed(names[:3], 0).seed(names[-3:], 1))
    by_doubt = suggested(capsys, small_h5ad, "-n", 3, "--session", "Anna")
    assert {row["why"] for row in by_doubt} == {"in doubt"}
    capsys.readouterr()
    assert main(["suggest", str(small_h5ad), "-n", "3", "--session", "Anna", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["patches"] == [row["patch"] for row in by_doubt]
    assert told["why"] == ["in doubt"] * 3


def test_a_second_opinion_can_be_asked_for(tmp_path, capsys, caplog):
    h5ad, truth = write_mosaic(tmp_path, "one")
    assert main(["suggest", str(h5ad), "--second-opinion"]) == 1  # nothing is seeded
    assert "Each class needs a seed" in caplog.text
    slide = open_slide_file(h5ad)
    names, session = slide.patch_names.astype(str), Session.new(slide)
    seeded = {label: names[np.flatnonzero(truth == label)[[3, 30, 60]]].tolist() for label in (0, 1)}
    for label, patches in seeded.items():
        session = session.seed(patches, label)
    save_session(session_path(h5ad), session)
    capsys.readouterr()
    rows = suggested(capsys, h5ad, "--second-opinion", "-n", 4)
    assert 0 < len(rows) <= 4
    assert {row["why"] for row in rows} <= {"Tumour or Other?", "Other or Tumour?"}
    assert not {row["patch"] for row in rows} & {*seeded[0], *seeded[1]}


def test_more_suggestions_than_patches_are_told(small_h5ad, capsys, caplog):
    n_patches = open_slide_file(small_h5ad).n_patches
    assert len(suggested(capsys, small_h5ad, "-n", n_patches + 5)) == n_patches
    assert f"only {n_patches} patches are left to suggest" in caplog.text
    assert main(["suggest", str(small_h5ad), "--session", "Nobody"]) == 1


# ----------------------------------------------------------------------------------------------- effort


def test_what_annotations_took_is_a_table_of_a_folder(small_h5ad, tmp_path, capsys):
    slide = open_slide_file(small_h5ad)
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).seed(names[:3], 0, user="=Ann").seed(names[:1], 1, user="=Ann")
    save_session(session_path(small_h5ad), session)
    save_session(session_path(small_h5ad, "Ben"), Session.new(slide).seed(names[5:6], 1, user="Ben"))
    capsys.readouterr()
    assert main(["effort", str(small_h5ad.parent), "-o", "effort.csv"]) == 0
    with (tmp_path / "effort.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [[row[key] for key in ("session", "clicks", "patches", "corrections", "minutes")] for row in rows]
    assert told == [["", "2", "4", "1", "0.0"], ["Ben", "1", "1", "0", "0.0"]]
    assert rows[0]["reader"] == "'=Ann"  # no formula
    assert rows[1]["f1"] == ""
    assert main(["effort", str(small_h5ad), "--json"]) == 0
    assert [row["reader"] for row in json.loads(capsys.readouterr().out)] == ["=Ann", "Ben"]
