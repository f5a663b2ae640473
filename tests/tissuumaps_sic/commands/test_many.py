"""A folder of slides by one command: by several processes or a cluster, gone on with, and told as a table."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from making.many import seeds_of, write_mosaic

from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slidefile.made import MadeFiles
from tissuumaps_sic.slides.slide import open_slide_file

NAMES = "abcde"
_PATIENCE = 120


def wait_until(holds, what):
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five seeded slides."""
    folder = tmp_path / "slides"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        seed_slide(*write_mosaic(folder, name, seed=number))
    return folder


def seed_slide(path, truth):
    slide = open_slide_file(path)
    session = Session.new(slide)
    for patch, label in seeds_of(path, truth).items():
        session = session.seed([patch], label)
    save_session(session_path(path), session)


def seed_more(path):
    slide = open_slide_file(path)
    session = load_session(session_path(path), slide)
    free = next(name for name in slide.patch_names if str(name) not in session.seeds)
    save_session(session_path(path), session.seed([str(free)], 0))


def report_of(capsys, *command):
    capsys.readouterr()
    code = main([*map(str, command), "--json"])
    return code, {each["slide"]: each for each in json.loads(capsys.readouterr().out)}


def statuses_of(capsys, *command):
    _, report = report_of(capsys, *command)
    return "".join(report[name]["status"][0] for name in NAMES)


def test_two_processes_write_what_one_does_and_the_second_time_nothing(folder, tmp_path, capsys):
    for workers in ("1", "2"):
        command = ["run", folder, "-o", tmp_path / workers]
        assert statuses_of(capsys, *command, "--workers", workers) == "ddddd"
        assert statuses_of(capsys, *command) == "uuuuu"
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / each).glob("*.csv")} for each in "12")
    assert one == two
    assert len(one) == len(NAMES)
    # One slide seeded further, one result gone: these are done, with the rest reported as before.
    seed_more(folder / "b.h5ad")
    (tmp_path / "2" / "d.labels.csv").unlink()
    assert statuses_of(capsys, *command) == "ududu"
    assert statuses_of(capsys, *command, "--method", "sic") == "ddddd"
    assert statuses_of(capsys, *command, "--method", "sic", "--overwrite") == "ddddd"
    code, report = report_of(capsys, *command, "--method", "sic")
    assert code == 0
    assert {sum(each["labels"].values()) for each in report.values()} == {24 * 16}


def test_labels_that_are_kept_in_sessions_do_not_make_them_stale(folder, capsys):
    command = ["run", folder, "--save"]
    assert statuses_of(capsys, *command) == "ddddd"
    assert statuses_of(capsys, *command) == "uuuuu"
    seed_more(folder / "c.h5ad")
    assert statuses_of(capsys, *command) == "uuduu"
    assert statuses_of(capsys, "export", folder, "--format", "geojson", "-o", "out") == "ddddd"
    assert statuses_of(capsys, "export", folder, "--format", "geojson", "-o", "out") == "uuuuu"
    assert statuses_of(capsys, "export", folder, "--format", "geojson", "-o", "out", "--blocks") == "ddddd"


def test_seeds_of_another_slide_count_among_what_labels_are_made_of(folder, capsys):
    for name in "bcde":
        session_path(folder / f"{name}.h5ad").unlink()
    command = ["run", folder, "--from", folder / "a.h5ad", "-o", "out"]
    _, report = report_of(capsys, *command)
    assert {name: each["status"] for name, each in report.items()} == dict.fromkeys("bcde", "done")
    assert report_of(capsys, *command)[1]["e"]["status"] == "up to date"
    seed_more(folder / "a.h5ad")
    assert report_of(capsys, *command)[1]["e"]["status"] == "done"


def test_a_run_that_is_killed_goes_on_where_it_was(folder, tmp_path):
    for number in range(20):
        seed_slide(*write_mosaic(folder, f"n{number:02}", seed=number))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tissuumaps_sic", "run", str(folder), "-o", str(out), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: count_noted(out) >= 3, "three slides are labelled, and that is noted")
        process.kill()
    if sys.platform.startswith("linux"):
        wait_until(lambda: not children_at_work(folder), "its processes ended with it")
        assert not [path for path in out.glob(".*") if path.name != MadeFiles.NAME], "half-written files"
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert [each["slide"] for each in report] == sorted([*NAMES, *(f"n{number:02}" for number in range(20))])
    known = [each for each in report if each["status"] == "up to date"]
    assert len(known) >= 3, "what was done is not done again"
    assert {each["status"] for each in report} == {"up to date", "done"}
    for each in report:
        with (out / f"{each['slide']}.labels.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 24 * 16


def count_noted(out):
    """Return of how many slides a folder's list says what was made."""
    made = out / MadeFiles.NAME
    return sum(map(bool, made.read_text().splitlines())) if made.exists() else 0


def children_at_work(folder):
    """Return the numbers of processes that a pool has started in the folder's place."""
    found = []
    for path in (entry for entry in os.scandir("/proc") if entry.name.isdecimal()):
        try:
            environ = Path(path, "environ").read_bytes()
            spawned = b"spawn_main" in Path(path, "cmdline").read_bytes()
        except OSError:
            continue
        if spawned and f"PWD={folder.parent}".encode() in environ:
            found.append(path.name)
    return found


def test_ctrl_c_ends_the_processes_too_and_leaves_nothing_half_written(folder, tmp_path):
    for number in range(20):
        seed_slide(*write_mosaic(folder, f"n{number:02}", seed=number))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tissuumaps_sic", "run", str(folder), "-o", str(out), "--workers", "2"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: len(list(out.glob("*.csv"))) >= 2, "two slides are labelled")
        os.killpg(process.pid, signal.SIGTERM)
        told = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in told
    assert not [path for path in out.glob(".*") if path.name != MadeFiles.NAME]
    assert len(list(out.glob("*.csv"))) < 25


def test_several_slides_are_checked_as_tables_in_a_folder(folder, tmp_path, capsys):
    assert main(["run", str(folder), "--save"]) == 0
    session_path(folder / "e.h5ad").unlink()
    draw = ["verify", folder, "--draw", "12", "-o", tmp_path / "check"]
    assert main([str(each) for each in draw]) == 0
    tables = sorted((tmp_path / "check").glob("*.csv"))
    assert [path.name for path in tables] == [f"{name}.check.csv" for name in "abcd"]
    # Answers that somebody gave are never written over by drawing again.
    for path in tables[:2]:
        text = path.read_text().splitlines()
        path.write_text("\n".join([text[0], *(f"{line}Tumour" for line in text[1:])]) + "\n")
    before = [path.read_bytes() for path in tables]
    assert main([str(each) for each in draw]) == 0
    assert [path.read_bytes() for path in tables] == before
    tables[3].unlink()
    assert main(["verify", str(folder), "--answers", str(tmp_path / "check"), "--user", "Ada"]) == 0
    capsys.readouterr()
    assert main(["verify", str(folder), "-o", str(tmp_path / "figures.csv"), "--json"]) == 0
    report = {each["slide"]: each for each in json.loads(capsys.readouterr().out)}
    assert [report[name].get("answers") for name in NAMES] == [12, 12, 0, 0, None]
    assert report["e"]["status"] == "left out"
    with (tmp_path / "figures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["slide"] for row in rows} <= set("abcd")
    assert set(rows[0]) == {"slide", "class", "measure", "value", "low", "high", "answers", "state"}


@pytest.fixture
def scheduler():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster.scheduler_address


def test_workers_of_a_scheduler_write_what_this_machine_does(folder, tmp_path, capsys, scheduler):
    assert statuses_of(capsys, "run", folder, "-o", "here") == "ddddd"
    (folder / "c.h5ad").write_bytes(b"nonsense")
    command = ["run", "slides", "-o", "there", "--scheduler", scheduler]
    assert statuses_of(capsys, *command) == "ddfdd"
    assert statuses_of(capsys, *command) == "uufuu"
    for name in "abde":
        assert (tmp_path / "there" / f"{name}.labels.csv").read_bytes() == (
            tmp_path / "here" / f"{name}.labels.csv"
        ).read_bytes()
    assert statuses_of(capsys, "export", "slides", "-o", "out", "--scheduler", scheduler) == "fffff"


def test_a_scheduler_that_is_not_there_or_cannot_be_meant_is_told(folder, caplog, monkeypatch):
    import tissuumaps_sic.slidefile.machines.workers as workers

    monkeypatch.setattr(workers, "_CONNECT_SECONDS", 1)
    assert main(["run", str(folder), "-o", "out", "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert "there is no Dask scheduler at tcp://127.0.0.1:9" in caplog.text
    assert main(["run", str(folder), "--scheduler", "tcp://127.0.0.1:9", "--workers", "2"]) == 2
    assert main(["run", str(folder), "--slurm"]) == 2
    assert main(["run", str(folder), "--slurm-options", "queue=x"]) == 2


def test_a_name_that_one_slide_cannot_have_is_of_that_slide_alone(folder, capsys):
    for name in "abc":
        source = session_path(folder / f"{name}.h5ad")
        source.rename(session_path(folder / f"{name}.h5ad", "me"))
    (folder / "a.me.h5ad").write_bytes((folder / "d.h5ad").read_bytes())
    _, report = report_of(capsys, "run", folder, "--session", "me", "-o", "out")
    assert report["a"]["status"] == "failed"
    assert "there is a slide a.me" in report["a"]["error"]
    assert [report[name]["status"] for name in "bcde"] == ["done", "done", "left out", "left out"]
    _, report = report_of(capsys, "verify", folder, "--session", "me")
    assert [report[name]["status"] for name in "abc"] == ["failed", "done", "done"]


def test_a_named_slide_without_seeds_ends_no_others(folder, tmp_path, capsys):
    (tmp_path / "seeds").mkdir()
    for name in "ac":
        seeds = session_path(folder / f"{name}.h5ad")
        (tmp_path / "seeds" / f"{name}.json").write_bytes(seeds.read_bytes())
    named = [folder / f"{name}.h5ad" for name in "abc"]
    code, report = report_of(capsys, "run", *named, "--seeds", tmp_path / "seeds", "-o", "out")
    assert code == 1
    assert [report[name]["status"] for name in "abc"] == ["done", "failed", "done"]
    assert "holds no seeds of b" in report["b"]["error"]


def test_an_image_that_comes_later_is_shown_by_a_new_report(folder, tmp_path, capsys):
    assert main(["run", str(folder), "--save"]) == 0
    command = ["export", folder, "--format", "html", "-o", "out"]
    assert statuses_of(capsys, *command) == "ddddd"
    assert statuses_of(capsys, *command) == "uuuuu"
    (folder / "b.tmap").write_text(json.dumps({"layers": [{"name": "b", "tileSource": "b.png.dzi"}]}))
    assert statuses_of(capsys, *command) == "uduuu"


def test_answers_are_not_written_over_by_one_slides_new_table(folder, tmp_path, caplog):
    assert main(["run", str(folder / "a.h5ad"), "--save"]) == 0
    draw = ["verify", str(folder / "a.h5ad"), "--draw", "12", "-o", str(tmp_path / "t.csv")]
    assert main(draw) == 0
    assert main(draw) == 0
    text = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([text[0], f"{text[1]}Tumour", *text[2:]]) + "\n")
    assert main(draw) == 1
    assert "holds answers" in caplog.text
    assert main([*draw, "--overwrite"]) == 0


def test_jobs_find_the_folder_that_they_log_to(folder, monkeypatch):
    from contextlib import contextmanager

    import tissuumaps_sic.slidefile.machines.workers as workers
    from tissuumaps_sic.slidefile.machines.errors import ClusterError

    @contextmanager
    def connect(where, **_):
        assert where.is_dir()
        raise ClusterError("seen")
        yield

    monkeypatch.setattr(workers, "connect_workers", connect)
    for named in ([folder], [folder / "a.h5ad"]):
        command = ["run", *map(str, named), "-o", "new", "--slurm", "--workers", "1"]
        assert main(command) == 1
