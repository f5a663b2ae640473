"""The shell scripts in examples/: what they call is written down by a stand-in, and then run here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from making.files import write_small_h5ad

import embedder.cli
import tissuumaps_sic.cli
from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run a script with stand-ins for the commands; return its status, what it says, and what it called.

    In a process each, a command takes seconds to begin.
    """
    programs = tmp_path / "lab" / "env" / "bin"
    programs.mkdir(parents=True)
    told = tmp_path / "told"
    for name in ("embedder", "tissuumaps-sic"):
        program = programs / name
        # A word a line, and an empty one at the end of a call.
        program.write_text(f'#!/bin/bash\nprintf "%s\\n" {name} "$@" "" >> "{told}"\nexit "${{STATUS:-0}}"\n')
        program.chmod(0o755)

    def run(script, *arguments, status=0):
        told.write_text("")
        environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "LAB": str(tmp_path / "lab"),
            "STATUS": str(status),
        }
        ran = subprocess.run(
            ["bash", EXAMPLES / script, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        calls = [each.splitlines() for each in told.read_text().split("\n\n") if each]
        return ran.returncode, ran.stderr, calls

    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def annotated(tmp_path):
    """A folder of two slides with sessions, of which one has a space in its name, and one without."""
    folder = tmp_path / "my slides"
    folder.mkdir()
    for seed, name in enumerate(("one", "two 2", "not begun")):
        h5ad = write_small_h5ad(folder / f"{name}.h5ad", seed=seed)
        if name == "not begun":
            continue
        slide = open_slide_file(h5ad)
        session = Session.new(slide)
        for number, row in enumerate((0, -1)):
            session = session.seed([str(slide.patch_names[row])], number)
        save_session(session_path(h5ad), label(slide, session).session)
    return folder


def test_a_folder_is_exported(call, annotated, tmp_path):
    status, _, calls = call("export_folder.sh", "my slides", "my results")
    assert status == 0
    assert [program for program, *_ in calls] == ["tissuumaps-sic"] * 3
    for _, *arguments in calls:
        # `table` runs nothing that could be spread.
        alone = ["--workers", "1"] if arguments[0] == "export" else []
        assert tissuumaps_sic.cli.main([*arguments, *alone]) == 0
    results = tmp_path / "my results"
    there = [path for path in results.rglob("*") if not path.name.startswith(".")]
    written = {path.relative_to(results).as_posix() for path in there}
    assert written == {
        *("qupath", "qupath/one.labels.geojson.gz", "qupath/two 2.labels.geojson.gz"),
        *("patches", "patches/one.labels.csv", "patches/two 2.labels.csv"),
        *("table.csv", "sheet.html"),
    }
    assert len((results / "patches" / "one.labels.csv").read_text().splitlines()) == 1 + 96
    assert "two 2" in (results / "table.csv").read_text()


def test_a_slide_that_fails_ends_no_export_and_wrong_use_does(call):
    status, _, calls = call("export_folder.sh", "slides", status=1)
    assert (status, len(calls)) == (1, 3)
    status, _, calls = call("export_folder.sh", "slides", status=2)
    assert (status, len(calls)) == (2, 1)
    status, said, calls = call("export_folder.sh")
    assert status != 0
    assert calls == []
    assert "say which folder" in said


def test_the_slurm_job_asks_for_what_the_command_takes(call, tmp_path, monkeypatch, caplog):
    status, _, calls = call("slurm_embed.sh", "my slides", "out")
    assert status == 0
    ((program, *arguments),) = calls
    assert program == "embedder"
    assert arguments[:4] == ["embed", "my slides", "-o", "out"]
    status, said, calls = call("slurm_embed.sh", "slides")
    assert status != 0
    assert calls == []
    assert "SLIDES OUTPUT" in said
    # Every option is known: what is wrong is that there is no SLURM.
    (tmp_path / "my slides").mkdir()
    (tmp_path / "my slides" / "a.tif").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedder.cli.main(arguments) != 0
    assert "sbatch is not on this machine" in caplog.text


def test_the_slurm_job_says_what_its_page_says():
    script, page = ((EXAMPLES / name).read_text() for name in ("slurm_embed.sh", "slurm.md"))
    directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert len(directives) == 5
    assert all(line in page for line in directives)
    options = script.split("--slurm-options")[1].split()
    assert len(options) == 5
    assert all(option in page for option in options)
