"""Temporary folders that go with their process, those of killed ones at the next start."""

import signal
import subprocess
import sys
import tempfile

import pytest

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
