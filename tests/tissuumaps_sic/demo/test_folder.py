"""The embedder that `demo` and `open` start: a process of its own, which does not outlive them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tissuumaps_sic.demo.folder import make_demo
from tissuumaps_sic.slidefile import leases

# It tells how it ends: by being asked to, or by itself, long after.
EMBEDDER = """
import os, signal, sys, time

def stop(*_):
    os.write(1, b"stopped")
    sys.exit()

signal.signal(signal.SIGTERM, stop)
os.write(1, " ".join([*sys.argv[1:], ""]).encode() + b"\\n")
time.sleep(60)
os.write(1, b"went on alone")
"""
CALLER = """
from pathlib import Path
from tissuumaps_sic.demo.folder import embed
embed([Path("a.tif")], Path("out"))
"""


# It takes its time to end, as one that saves what it has.
SLOW_EMBEDDER = """
import os, signal, sys, time

def stop(*_):
    time.sleep(2)
    os.write(1, b"saved")
    sys.exit(130)

signal.signal(signal.SIGTERM, stop)
os.write(1, b"begun\\n")
time.sleep(60)
"""
COMMAND = """
import sys
from tissuumaps_sic.cli import main
sys.exit(main(["open", "a.tif", "-o", "out", "--no-browser"]))
"""
TWO = """
import sys, time
from pathlib import Path
from tissuumaps_sic.demo import folder

def write(path):
    assert not path.exists()
    time.sleep(1)
    path.touch()

def embed(slides, at):
    # Of two at once the second would find it there.
    (at / "at work").touch(exist_ok=False)
    time.sleep(1)
    (at / "at work").unlink()
    print("made", flush=True)

folder.write_synthetic_slide, folder.embed = write, embed
print("begun", flush=True)
folder.make_demo(Path("demo"))
"""


def start(program: str, folder: Path) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[3])])
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_embedder(folder: Path, program: str) -> None:
    (folder / "torch.py").touch()
    (folder / "embedder").mkdir()
    (folder / "embedder" / "__init__.py").touch()
    (folder / "embedder" / "__main__.py").write_text(program)


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGTERM elsewhere")
@pytest.mark.parametrize("twice", [False, True])
def test_an_embedder_ends_in_its_own_time_when_who_started_it_is_asked_to(
    tmp_path: Path, twice: bool
) -> None:
    write_embedder(tmp_path, SLOW_EMBEDDER)
    caller = start(COMMAND, tmp_path)
    assert caller.stdout is not None
    assert caller.stdout.readline() == "begun\n"
    caller.send_signal(signal.SIGTERM)
    if twice:  # as where the group of processes is told as well
        caller.send_signal(signal.SIGTERM)
    told, complaints = caller.communicate(timeout=30)
    assert told == "saved"
    assert caller.returncode == 130
    assert complaints == ""


def test_of_two_demos_at_once_the_second_waits_for_the_first(tmp_path: Path) -> None:
    both = [start(TWO, tmp_path) for _ in range(2)]
    told = [each.communicate(timeout=60) for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    assert [out for out, _ in told] == ["begun\nmade\n"] * 2
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["demo.tif"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of a parent's death")
def test_an_embedder_does_not_go_on_when_who_started_it_is_killed(tmp_path: Path) -> None:
    write_embedder(tmp_path, EMBEDDER)
    caller = start(CALLER, tmp_path)
    assert caller.stdout is not None
    asked = caller.stdout.readline()
    caller.kill()
    caller.wait()
    assert caller.stdout.read() == "stopped"
    assert asked.split() == ["embed", "a.tif", "-o", "out"]


def test_for_what_is_no_lock_nobody_waits(tmp_path):
    """It would be for ever."""
    (tmp_path / leases.hidden_name("demo", ".making.lock")).mkdir()
    with pytest.raises(leases.LockedError, match="is a folder"):
        make_demo(tmp_path)
    assert not (tmp_path / "demo.tif").exists()
