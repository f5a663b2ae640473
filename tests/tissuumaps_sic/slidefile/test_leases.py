"""Two runs never write the same slide, and a dead one keeps nobody waiting."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.leases import LockedError, LostError, hidden_name, hold_lock

LINUX = sys.platform.startswith("linux")
HOLD = (
    "import sys; from pathlib import Path; from tissuumaps_sic.slidefile.leases import hold_lock\n"
    "with hold_lock(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)
TAKE = (
    "import sys; from pathlib import Path\n"
    "from tissuumaps_sic.slidefile.leases import LockedError, hold_lock\n"
    "try:\n"
    "    with hold_lock(Path(sys.argv[1])): print('taken')\n"
    "except LockedError as error: print(error)\n"
)


def hold(path, ready, release):
    with hold_lock(path):
        ready.set()
        release.wait(60)


def test_a_lock_says_who_holds_it_and_goes_with_the_block(tmp_path):
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        known = json.loads(path.read_text())
        assert known["pid"] == os.getpid()
        assert known["host"]
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on .* since 20\d\d-"), hold_lock(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_kept_out_until_the_holder_is_done(tmp_path):
    path = tmp_path / ".slide.lock"
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(path, ready, release))
    other.start()
    assert ready.wait(60)
    with pytest.raises(LockedError, match=f"process {other.pid}"), hold_lock(path):
        pass
    release.set()
    other.join(60)
    with hold_lock(path):
        pass


def test_the_lock_of_a_killed_process_is_cleared_and_explained(tmp_path, caplog):
    path = tmp_path / ".slide.lock"
    code = (
        "import os, signal; from pathlib import Path; from tissuumaps_sic.slidefile.leases import hold_lock\n"
        f"with hold_lock(Path({str(path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    with hold_lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert "which is gone; it is cleared" in caplog.text


def test_a_pid_that_is_another_process_now_does_not_hold(tmp_path, caplog):
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"process_started": known["process_started"] - 1000}))
    with hold_lock(path):
        pass
    assert "its pid is another's now" in caplog.text


def test_a_lock_of_another_machine_is_stale_only_when_untouched(tmp_path, caplog):
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"host": "elsewhere", "boot": "another"}))
    with pytest.raises(LockedError, match="on elsewhere since"), hold_lock(path):
        pass
    old = time.time() - 3600
    os.utime(path, (old, old))
    with hold_lock(path):
        pass
    assert "not touched for 60 minutes" in caplog.text


def test_a_living_holder_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_TOUCH_SECONDS", 0.01)
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime < 1000 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1000


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_many_processes_at_a_stale_lock_one_wins_at_a_time(tmp_path, hard_links):
    """Each adds one to a counter, reading and writing apart: two at once would lose a step."""
    path, counter = tmp_path / ".slide.lock", tmp_path / "counter"
    counter.write_text("0")
    path.write_text(json.dumps({"host": "elsewhere"}))  # broken, and old
    os.utime(path, (0, 0))
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tissuumaps_sic.slidefile.leases import hold_lock, LockedError\n"
        "path, counter = map(Path, sys.argv[1:])\n"
        f"if not {hard_links}: import os; os.link = lambda *_: os.stat('/no/such/file/system')\n"
        "steps = 0\n"
        "while steps < 5:\n"
        "    try:\n"
        "        with hold_lock(path):\n"
        "            n = int(counter.read_text()); time.sleep(0.005); counter.write_text(str(n + 1))\n"
        "        steps += 1\n"
        "    except LockedError:\n"
        "        time.sleep(0.003)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, path, counter]) for _ in range(3)]
    assert [run.wait(120) for run in runs] == [0, 0, 0]
    assert counter.read_text() == "15"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["counter"]


def container(*words):
    """The start of a command that runs in a pid namespace of its own, under the host's name."""
    command = ["unshare", "--pid", "--fork", *words]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("this system makes no pid namespace for us")
    return command


@pytest.mark.parametrize("inside", ["holder", "claimant", "both"])
def test_containers_of_one_host_name_do_not_take_each_others_lock(tmp_path, inside):
    path = tmp_path / ".slide.lock"
    prefix = container("--mount-proc")
    holder = [*(prefix if inside in ("holder", "both") else ()), sys.executable, "-c", HOLD, path]
    claimant = [*(prefix if inside in ("claimant", "both") else ()), sys.executable, "-c", TAKE, path]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "held\n"
        before = path.read_bytes()
        told = subprocess.run(claimant, check=True, capture_output=True, text=True).stdout
        assert "is at work on it" in told
        assert path.read_bytes() == before
        run.stdin.close()
    assert not path.exists()
    assert subprocess.run(claimant, check=True, capture_output=True, text=True).stdout == "taken\n"


def test_in_a_container_that_has_the_machines_proc_a_lock_is_kept(tmp_path):
    """There the number of a process names another one in /proc."""
    path = tmp_path / ".slide.lock"
    script = (
        f'mkfifo {tmp_path}/in; ( {sys.executable} -c "$1" {path} < {tmp_path}/in > {tmp_path}/out ) & '
        f"exec 3> {tmp_path}/in; while [ ! -s {tmp_path}/out ]; do sleep 0.02; done; "
        f'{sys.executable} -c "$2" {path}; exec 3>&-; wait'
    )
    command = [*container(), "sh", "-c", script, "sh", HOLD, TAKE]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "is at work on it" in told


@pytest.mark.parametrize("other", [{"namespace": "pid:[1]"}, {"boot": "another"}, {"host": "elsewhere"}])
def test_a_process_of_another_container_or_boot_is_not_judged_by_its_number(tmp_path, other):
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        known = json.loads(path.read_text())
    path.write_text(json.dumps(known | other | {"pid": 2**22 + 1}))  # more than Linux gives
    with pytest.raises(LockedError, match="is at work on it"), hold_lock(path):
        pass


@pytest.mark.skipif(not LINUX, reason="elsewhere such a lock is left to its lease")
def test_a_clock_that_is_set_makes_no_holder_gone(tmp_path, monkeypatch):
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        for seconds in (60, -60, 86400):
            # As `psutil` tells it: from the clock and the time since the machine started.
            create_time = psutil.Process.create_time
            shifted = lambda self, by=seconds, call=create_time: call(self) + by  # noqa: E731
            with monkeypatch.context() as patched:
                patched.setattr(psutil.Process, "create_time", shifted)
                with pytest.raises(LockedError, match=f"process {os.getpid()}"), hold_lock(path):
                    pass


@pytest.mark.parametrize("shift", [-3600, 3600])
def test_a_lock_that_looks_too_old_or_too_new_is_watched(tmp_path, monkeypatch, caplog, shift):
    """Of two containers, say, whose machine's clock was set by an hour."""
    monkeypatch.setattr(leases, "_TOUCH_SECONDS", 0.2)
    monkeypatch.setattr(leases, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(leases, "_gone", lambda holder: None)
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        os.utime(path, (time.time() + shift,) * 2)
        with pytest.raises(LockedError, match="is at work on it"), hold_lock(path):
            pass
        left = path.read_bytes()
    path.write_bytes(left)  # by a kill
    os.utime(path, (time.time() + shift,) * 2)
    with hold_lock(path):
        pass
    assert "it is cleared" in caplog.text


@pytest.mark.skipif(not LINUX, reason="what is asked of /proc")
def test_a_killed_process_that_nobody_clears_away_does_not_hold(tmp_path, caplog):
    """In a container whose first process waits for no child, it stays in the list of processes."""
    path = tmp_path / ".slide.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        run.stdout.readline()
        run.send_signal(signal.SIGKILL)
        while b") Z " not in open(f"/proc/{run.pid}/stat", "rb").read():  # noqa: PTH123, SIM115
            time.sleep(0.01)
        with hold_lock(path) as lock:
            assert len(lock.ended) == 1
    assert "which is gone; it is cleared" in caplog.text


def test_a_process_that_cannot_be_looked_at_is_judged_by_its_lease(tmp_path, monkeypatch):
    """Such as another person's, where /proc hides those."""
    path = tmp_path / ".slide.lock"
    with hold_lock(path):
        monkeypatch.setattr(leases, "look_up_process", lambda pid: (float("nan"), False))
        with pytest.raises(LockedError, match="is at work on it"), hold_lock(path):
            pass


KNOWN = {"host": "h", "pid": 1, "started": "now", "process_started": 0, "token": "x"}
ODD = [
    b"", b"\0" * 300, b"\xff\xfe{", b"[]", b"3", b"null", b"NaN", b"[" * 5000, b'{"pid": 1}',
    *(
        json.dumps(KNOWN | change).encode()
        for change in (
            {"pid": "x"}, {"pid": -1}, {"pid": 0}, {"pid": 1.5}, {"pid": 10**30}, {"pid": [1]}, {"pid": True},
            {"pid": None}, {"pid": float("nan")}, {"pid": 2**40}, {"host": 3}, {"host": ["a"]},
            {"host": "a\nb"}, {"host": "h" * 3000}, {"token": None}, {"started": 5}, {"process_started": "x"},
            {"process_started": float("nan")}, {"process_started": 10**400}, {"process_started": -1},
            {"boot": 7}, {"namespace": {}},
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("content", ODD)
def test_a_lock_that_says_what_cannot_be_is_held_until_it_is_old(tmp_path, caplog, content):
    path = tmp_path / ".slide.lock"
    path.write_bytes(content)
    with (
        pytest.raises(LockedError, match=r"^another run is at work on it.*delete \.slide\.lock$"),
        hold_lock(path),
    ):
        pass
    assert path.read_bytes() == content
    os.utime(path, (0, 0))
    with hold_lock(path):
        pass
    assert "a run that broke, and was not touched" in caplog.text


@pytest.mark.parametrize("change", [{"extra": 1}, {"renewed": "x"}, {"renewed": ""}])
def test_locks_of_other_versions_are_read(tmp_path, change):
    path = tmp_path / ".slide.lock"
    path.write_text(json.dumps(KNOWN | change))
    with pytest.raises(LockedError, match="process 1 on h since now"), hold_lock(path):
        pass
    os.utime(path, (0, 0))
    with hold_lock(path):
        pass


def test_what_is_no_file_is_told_as_that(tmp_path):
    path = tmp_path / ".slide.lock"

    def told():
        with pytest.raises(LockedError, match=r"delete it and run again") as raised, hold_lock(path):
            pass
        return str(raised.value)

    path.mkdir()
    assert "a folder" in told()
    path.rmdir()
    path.symlink_to("nowhere")
    assert "a link" in told()
    path.unlink()
    (tmp_path / "lock").write_text(json.dumps(KNOWN))
    path.symlink_to("lock")
    assert "a link" in told()
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        assert "a pipe" in told()


def test_a_lock_that_another_run_took_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "_TOUCH_SECONDS", 0.01)
    path = tmp_path / ".slide.lock"
    other = json.dumps(KNOWN | {"pid": 7}).encode()
    with hold_lock(path) as lock:
        lock.check()
        path.unlink()
        with pytest.raises(LostError, match=r"\.slide\.lock was deleted"):
            lock.check()
        path.write_bytes(other)
        os.utime(path, (0, 0))
        with pytest.raises(LostError, match=r"another run took this slide \(process 7 on h since now"):
            lock.check()
        time.sleep(0.1)  # ten times as long as it takes to renew one's own
        assert path.stat().st_mtime == 0
    assert path.read_bytes() == other
    path.unlink()


def test_a_lock_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(leases, "_content", full)
    with pytest.raises(OSError, match="No space left"), hold_lock(tmp_path / ".slide.lock"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 245, "x" * 249, "x" * 255, "\u5207" * 83, "\udcff" * 250])
def test_hidden_files_of_long_names_have_names_that_file_systems_take(tmp_path, name):
    names = {hidden_name(each, ".partial") for each in (name, name[:-1] + "y", name[1:])}
    assert len(names) == 3
    assert all(len(os.fsencode(each)) <= 255 for each in names)
    path = tmp_path / hidden_name(name, ".lock")
    path.write_text("broken")
    os.utime(path, (0, 0))
    with hold_lock(path):
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_names_that_fit_are_as_they_were():
    assert hidden_name("a b", ".lock") == ".a b.lock"
    assert hidden_name("x" * 249, ".lock") == f".{'x' * 249}.lock"
