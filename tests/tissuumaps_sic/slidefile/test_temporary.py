"""Temporary folders that go with their process, those of killed ones at the next start."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from tissuumaps_sic.slidefile.temporary import hold_folder

HOLD = "import sys, signal; sys.path[:0] = {path}\n" + (
    "from tissuumaps_sic.slidefile.temporary import hold_folder\n"
    "with hold_folder('mine-') as folder:\n"
    "    (folder / 'half').write_text('x'); print(folder, flush=True); signal.pause()\n"
)


def held_by_another(tmp_path):
    program = HOLD.format(path=sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(tmp_path)}
    )


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "mine-unheld").mkdir()  # of something else, or being made
    with held_by_another(tmp_path) as killed, held_by_another(tmp_path) as living:
        folders = {killed.stdout.readline().strip(), living.stdout.readline().strip()}
        assert {str(path) for path in tmp_path.iterdir()} == {*folders, str(tmp_path / "mine-unheld")}
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with hold_folder("mine-") as folder:
            assert folder.parent == tmp_path
            assert len(list(tmp_path.iterdir())) == 3
            with hold_folder("mine-"):
                assert folder.is_dir()
        living.kill()
    with hold_folder("mine-"):
        assert len(list(tmp_path.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine-unheld"]


def test_a_temporary_folder_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError), hold_folder("mine-"):
        pass


def test_a_folder_of_others_that_cannot_be_looked_into_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "mine-of-another").mkdir()
    is_file = Path.is_file

    def refuse(path):
        if path.parent.name == "mine-of-another":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    with hold_folder("mine-") as folder:
        assert folder.is_dir()
    assert (tmp_path / "mine-of-another").is_dir()


def test_a_folder_that_is_swept_before_it_is_held_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make, made = tempfile.mkdtemp, []

    def sweep_the_first(*args, **options):
        made.append(make(*args, **options))
        if len(made) == 1:
            sweeper.append(FileLock(Path(made[0]) / ".held"))
            sweeper[0].acquire()
        return made[-1]

    sweeper = []
    monkeypatch.setattr(tempfile, "mkdtemp", sweep_the_first)
    with hold_folder("mine-") as folder:
        assert str(folder) == made[1]
    sweeper[0].release()
