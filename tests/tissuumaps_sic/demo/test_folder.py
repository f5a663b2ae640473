"""The embedder that `demo` and `open` start: a process of its own, which does not outlive them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of a parent's death")
def test_an_embedder_does_not_go_on_when_who_started_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "embedder").mkdir()
    (tmp_path / "embedder" / "__init__.py").touch()
    (tmp_path / "embedder" / "__main__.py").write_text(EMBEDDER)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert caller.stdout is not None
    asked = caller.stdout.readline()
    caller.kill()
    caller.wait()
    assert caller.stdout.read() == "stopped"
    assert asked.split() == ["embed", "a.tif", "-o", "out"]
