"""Real servers with many clients, two servers on one folder, and servers that are killed."""

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException

import numpy as np
import pytest
from making.files import write_small_h5ad
from making.server import Client, ask, serving, unpack

from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.locking import BusyError, hold_lock
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server

# `SIC_LOAD_SECONDS=60 pytest ...` lets the twenty clients work for a minute, in place of 50 requests each.
LOAD_SECONDS = float(os.environ.get("SIC_LOAD_SECONDS", "0"))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """The addresses of two servers on one folder, in which each test has its own, and that folder."""
    root = tmp_path_factory.mktemp("served")
    with serving(root) as one, serving(root) as other:
        yield (one.netloc, other.netloc), root


@pytest.fixture
def served(servers, request):
    """The addresses of two servers, a slide of this test, and what the servers call it."""
    netlocs, root = servers
    folder = root / request.node.name
    folder.mkdir()
    h5ad = write_small_h5ad(folder / "small.h5ad")
    return netlocs, h5ad, h5ad.relative_to(root).as_posix()


def test_two_servers_on_one_folder_lose_no_acknowledged_seed(served):
    """What one server saves the other must have read before it saves."""
    netlocs, small_h5ad, name = served

    def seed(start):
        client = Client(netlocs[start % 2], name)
        return sum(client.seed(row, row % 2) for row in range(start, 96, 4))

    with ThreadPoolExecutor(4) as pool:
        refused = sum(pool.map(seed, range(4)))
    for netloc in netlocs:
        assert Client(netloc, name).state()["seeds"] == {"patches": list(range(96)), "labels": [0, 1] * 48}
    assert refused > 0, "the servers never met, so that nothing was shown"
    slide = open_slide_file(small_h5ad)
    assert load_session(session_path(small_h5ad), slide).revision == 96
    assert sorted(path.name for path in small_h5ad.parent.iterdir()) == [
        ".small.sic.lock",
        "small.h5ad",
        "small.sic.json",
    ]


def test_a_merge_waits_for_the_server_and_is_whole(served, capsys):
    """The command writes a session under the same lock."""
    (netloc, _), small_h5ad, name = served
    for session in ("Anna", "Ben"):
        Client(netloc, name, session).seed(3, 1)
    lock = small_h5ad.with_name(".small.sic.lock")
    target = session_path(small_h5ad, "consensus")
    with hold_lock(lock):
        merging = threading.Thread(
            target=main, args=[["merge", str(small_h5ad), "--sessions", "Anna", "Ben"]]
        )
        merging.start()
        merging.join(0.5)
        assert not target.exists()
    merging.join()
    assert list(load_session(target, open_slide_file(small_h5ad)).seeds.values()) == [1]


NO_LOCKS = (
    "import errno, fcntl\n"
    "def refuse(*_): raise OSError(errno.ENOLCK, 'No locks available')\n"
    "fcntl.flock = refuse\n"
)
HOLD = (
    "import sys, time; from pathlib import Path; from tissuumaps_sic.slidefile.locking import hold_lock\n"
    "with hold_lock(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(600)\n"
)


@contextmanager
def held(path, *, before=""):
    """A lock in the hands of another process, which is killed at the end."""
    command = [sys.executable, "-c", before + HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("before", ["", NO_LOCKS], ids=["with flock", "on a file system without locks"])
def test_a_lock_of_a_killed_process_keeps_nobody_out(tmp_path, monkeypatch, before):
    if before:
        # As NFS answers without its lock service.
        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("tissuumaps_sic.slidefile.locking._PATIENCE_SECONDS", 0.2)
    path = tmp_path / ".small.sic.lock"
    with (
        held(path, before=before),
        pytest.raises(BusyError, match="another program has been writing"),
        hold_lock(path),
    ):
        pass
    with hold_lock(path):
        pass


def test_a_slide_that_another_program_holds_is_told(small_h5ad, monkeypatch):
    monkeypatch.setattr("tissuumaps_sic.slidefile.locking._PATIENCE_SECONDS", 0.1)
    content = {"h5ad": "small.h5ad", "revision": 0, "change": {"kind": "seed", "label": 1, "patches": [0]}}
    server = Server()
    with held(small_h5ad.with_name(".small.sic.lock")):
        with pytest.raises(SicError, match=r"try again.*delete \.small\.sic\.lock") as caught:
            ask(server, "change", small_h5ad.parent, content)
        assert caught.value.status == 503
        assert ask(server, "open", small_h5ad.parent, {"h5ad": "small.h5ad"})["revision"] == 0
    assert ask(server, "change", small_h5ad.parent, content)["revision"] == 1


def test_a_page_that_waits_for_another_one_is_told_at_last(small_h5ad, monkeypatch):
    content = {"h5ad": "small.h5ad", "revision": 0, "change": {"kind": "seed", "label": 1, "patches": [0]}}
    server = Server()
    monkeypatch.setattr("tissuumaps_sic.viewer.turns._PATIENCE_SECONDS", 0.1)
    with server._shared.turns.writing(small_h5ad.resolve()), ThreadPoolExecutor(1) as pool:
        told = pool.submit(ask, server, "change", small_h5ad.parent, content).exception()
    assert isinstance(told, SicError)
    assert told.status == 503
    assert ask(server, "change", small_h5ad.parent, content)["revision"] == 1


def test_every_acknowledged_seed_is_there_after_kill_9(tmp_path):
    """The server is killed three times within two hundred saves; each next one has them."""
    h5ad = write_small_h5ad(tmp_path / "small.h5ad", columns=25)
    rows, sent, acknowledged = iter(range(200)), set(), set()
    enough = threading.Event()

    def seed(netloc, limit):
        with suppress(OSError, HTTPException):
            client = Client(netloc)
            while (row := next(rows, None)) is not None:
                sent.add(row)
                client.seed(row, row % 2)
                acknowledged.add(row)
                if len(acknowledged) >= limit:
                    enough.set()

    def check(server):
        """What was acknowledged is there, and the session is that of whole actions."""
        session = json.loads(session_path(h5ad).read_text())
        assert session["revision"] == len(session["actions"])
        seeds = Client(server.netloc).state()["seeds"]
        assert acknowledged <= set(seeds["patches"]) <= sent
        assert seeds["labels"] == [row % 2 for row in seeds["patches"]]
        return session["revision"]

    for limit in (65, 130, 195):
        enough.clear()
        with serving(tmp_path) as server, ThreadPoolExecutor(4) as pool:
            if acknowledged:
                check(server)
            working = [pool.submit(seed, server.netloc, limit) for _ in range(4)]
            while not enough.wait(0.05) and not all(each.done() for each in working):
                pass
            server.kill()
            for each in working:
                each.result()
    with serving(tmp_path) as server:
        revision = check(server)
    assert len(acknowledged) > 150
    # What a killed save left behind is gone with the next one.
    ask(
        Server(),
        "change",
        tmp_path,
        {"h5ad": h5ad.name, "revision": revision, "change": {"kind": "clear"}},
    )
    assert not list(tmp_path.glob(".small.sic-*"))


def test_twenty_clients_at_once_get_equal_labels_and_lose_nothing(served):
    """Each reads the labels of one session, and they all change another one."""
    (netloc, _), small_h5ad, name = served
    begin = time.perf_counter()

    def is_done(count):
        return time.perf_counter() - begin > LOAD_SECONDS if LOAD_SECONDS else count >= 50

    reader = Client(netloc, name)
    for row, label in ((0, 0), (13, 0), (11, 1), (22, 1)):
        reader.seed(row, label)
    status, first = reader.post("run", revision=4)
    assert status == 200
    Client(netloc, name, "shared").seed(0, 0)
    expected = reader.post("labels")

    def work(number):
        mine, shared = Client(netloc, name), Client(netloc, name, "shared")
        random = np.random.default_rng(number)
        count, done, refused, answers = 0, {}, 0, set()
        revision = shared.state()["revision"]
        while not is_done(count):
            answers.add(mine.post("labels"))
            seed = {"label": int(random.integers(2)), "patches": [int(random.integers(96))]}
            status, body = shared.change(revision, kind="seed", **seed)
            # Where too many wait at once, on a slow machine: who is told to try again loses nothing either.
            assert status in (200, 409, 503), body
            if status == 200:
                revision = json.loads(body)["revision"]
                done[revision] = seed
            else:
                refused += 1
                revision = shared.state()["revision"]
            count += 3 - (status == 200)
        return count, done, refused, answers

    with ThreadPoolExecutor(20) as pool:
        worked = list(pool.map(work, range(20)))
    slide = open_slide_file(small_h5ad)
    labels = unpack(expected[1])[1]
    assert np.array_equal(labels, unpack(first)[1])
    session = load_session(session_path(small_h5ad), slide)
    assert np.array_equal(labels, cluster(slide, session.classes, session.seeds)[0].unpack())
    assert set().union(*(answers for *_, answers in worked)) == {expected}
    done = dict(itertools.chain.from_iterable(each.items() for _, each, *_ in worked))
    actions = load_session(session_path(small_h5ad, "shared"), slide).actions[1:]
    assert len(done) == sum(len(each) for _, each, *_ in worked) == len(actions)
    for place, action in enumerate(actions):
        seed = done[place + 2]
        assert (action.label, action.patches) == (seed["label"], (slide.patch_names[seed["patches"][0]],))
    print(
        f"{sum(count for count, *_ in worked)} requests in {time.perf_counter() - begin:.1f} s, "
        f"{len(done)} changes, {sum(refused for _, _, refused, _ in worked)} refused"
    )
