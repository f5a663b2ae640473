"""Two runs never write the same slide, and a dead one keeps nobody waiting."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from embedder import locks
from embedder.locks import LockedError, locked


def hold(path, ready, release):
    with locked(path):
        ready.set()
        release.wait(60)


def test_a_lock_says_who_holds_it_and_goes_with_the_block(tmp_path):
    path = tmp_path / ".slide.lock"
    with locked(path):
        known = json.loads(path.read_text())
        assert known["pid"] == os.getpid()
        assert known["host"]
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on .* since 20\d\d-"), locked(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_kept_out_until_the_holder_is_done(tmp_path):
    path = tmp_path / ".slide.lock"
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(path, ready, release))
    other.start()
    assert ready.wait(60)
    with pytest.raises(LockedError, match=f"process {other.pid}"), locked(path):
        pass
    release.set()
    other.join(60)
    with locked(path):
        pass


def test_the_lock_of_a_killed_process_is_cleared_and_explained(tmp_path, caplog):
    path = tmp_path / ".slide.lock"
    code = (
        "import os, signal; from pathlib import Path; from embedder.locks import locked\n"
        f"with locked(Path({str(path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    with locked(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert "which is gone; it is cleared" in caplog.text


def test_a_pid_that_is_another_process_now_does_not_hold(tmp_path, caplog):
    path = tmp_path / ".slide.lock"
    with locked(path):
        known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"process_started": known["process_started"] - 1000}))
    with locked(path):
        pass
    assert "its pid is another's now" in caplog.text


def test_a_lock_of_another_machine_is_stale_only_when_untouched(tmp_path, caplog):
    path = tmp_path / ".slide.lock"
    with locked(path):
        known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"host": "elsewhere"}))
    with pytest.raises(LockedError, match="on elsewhere since"), locked(path):
        pass
    old = time.time() - 3600
    os.utime(path, (old, old))
    with locked(path):
        pass
    assert "not touched for 60 minutes" in caplog.text


def test_a_living_holder_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_TOUCH_SECONDS", 0.01)
    path = tmp_path / ".slide.lock"
    with locked(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime < 1000 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1000


def test_of_many_processes_at_a_stale_lock_one_wins_at_a_time(tmp_path):
    """Each adds one to a counter, reading and writing apart: two at once would lose a step."""
    path, counter = tmp_path / ".slide.lock", tmp_path / "counter"
    counter.write_text("0")
    path.write_text(json.dumps({"host": "elsewhere"}))  # broken, and old
    os.utime(path, (0, 0))
    code = (
        "import sys, time; from pathlib import Path; from embedder.locks import locked, LockedError\n"
        "path, counter = map(Path, sys.argv[1:])\n"
        "steps = 0\n"
        "while steps < 5:\n"
        "    try:\n"
        "        with locked(path):\n"
        "            n = int(counter.read_text()); time.sleep(0.005); counter.write_text(str(n + 1))\n"
        "        steps += 1\n"
        "    except LockedError:\n"
        "        time.sleep(0.003)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, path, counter]) for _ in range(3)]
    assert [run.wait(120) for run in runs] == [0, 0, 0]
    assert counter.read_text() == "15"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["counter"]
