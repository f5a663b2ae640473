"""The server as a container runs it: only /tmp and the slides can be written, and the user has no name."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from making.wsgi import annotate, post, running

ROOT = Path(__file__).parents[3]
CONTAINERFILE = (ROOT / "examples" / "container" / "Containerfile").read_text()
BWRAP = shutil.which("bwrap")


def isolated(data):
    """What is put before a command, for it to find the machine as a container has it, and `data` at /data."""
    return [
        *(BWRAP, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
        *("--bind", str(data), "/mnt", "--unshare-user", "--uid", "10001", "--gid", "10001"),
        *("--unshare-pid", "--die-with-parent", "--new-session", "--chdir", "/mnt/.."),
    ]


def can_isolate():
    tried = BWRAP and subprocess.run([*isolated("/"), "true"], check=False, capture_output=True)
    return bool(tried) and tried.returncode == 0


def settings():
    """The environment and the command of the container, by this Python."""
    text = CONTAINERFILE.replace("\\\n", " ")
    environment = dict(re.findall(r"(\w+)=(\S+)", re.search(r"^ENV (.*)$", text, re.MULTILINE)[1]))
    command = json.loads(re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)[1])
    health = json.loads(re.search(r"CMD (\[.*\])$", re.search(r"^HEALTHCHECK.*$", text, re.MULTILINE)[0])[1])
    return environment, [sys.executable, *command[1:]], [sys.executable, *health[1:]]


@pytest.mark.skipif(
    not can_isolate(), reason="no bwrap here, or it may do nothing (apt-get install bubblewrap)"
)
def test_all_goes_on_where_only_tmp_and_the_slides_can_be_written(small_h5ad, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    small_h5ad.rename(data / "small.h5ad")
    environment, command, health = settings()
    assert environment["TISSUUMAPS_SIC_FOLDER"] == "/data"
    environment["PYTHONPATH"] = str(ROOT)
    before = isolated(data)
    for place in ("/", "$PWD", str(ROOT), "/root", "/var/tmp"):
        writing = [*before, "sh", "-c", f"touch {place}/written"]
        assert subprocess.run(writing, check=False, capture_output=True).returncode != 0
    command = [each.replace("0.0.0.0:5100", "127.0.0.1:{port}") for each in command]
    with running([*before, *command], "/mnt", **environment | {"TISSUUMAPS_SIC_FOLDER": "/mnt"}) as (base, _):
        assert len(annotate(base)) > 96
        seen = {"revision": json.loads(post(base, "open"))["revision"]}
        for format_ in ("csv", "geojson", "pdf", "h5ad"):
            assert len(post(base, "export", format=format_, **seen)) > 500
        assert json.loads(post(base, "write", **seen))
        port = base.rpartition(":")[2]
        subprocess.run([each.replace("5100", port) for each in health], check=True)
    session = json.loads((data / "small.sic.json").read_text())
    assert len(session["actions"]) == 2
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([each.replace("5100", port) for each in health], check=True, capture_output=True)
