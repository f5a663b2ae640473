"""Long requests are asked about and stopped by the page that sent them, while others go on."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from making.files import write_small_h5ad
from making.server import ask

from tissuumaps_sic.annotation import next_patches
from tissuumaps_sic.annotation.store import editing
from tissuumaps_sic.labelling.progress import Cancelled
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.viewer import runs, turns
from tissuumaps_sic.viewer.endpoints import Server
from tissuumaps_sic.viewer.jobs import _MOST, Jobs, TakenError
from tissuumaps_sic.viewer.serve import make_app

SEEDS = {0: 0, 13: 0, 11: 1, 22: 1}
TOKEN, OTHER_TOKEN = "token-of-a-page", "token-of-another"


class Slow:
    """The clustering, made to wait until it is let go on; it looks for a stop meanwhile."""

    def __init__(self, monkeypatch):
        self.begun, self.goes_on = threading.Semaphore(0), threading.Event()
        for module, name in ((runs, "cluster"), (next_patches, "fit")):
            monkeypatch.setattr(module, name, self._slowed(getattr(module, name)))

    def _slowed(self, quick):
        def slow(*args, progress, **options):
            self.begun.release()
            while not self.goes_on.wait(0.01):
                progress("Being slow", 0.25)
            return quick(*args, progress=progress, **options)

        return slow

    def wait(self):
        assert self.begun.acquire(timeout=60)


class Page:
    """What one page asks of the endpoints, in threads of its own."""

    def __init__(self, server, root, h5ad, pool):
        self.server, self.root, self.pool = server, root, pool
        self.about = {"h5ad": h5ad}
        self.path = (root / h5ad).with_suffix(".sic.json")

    def ask(self, endpoint, **content):
        return ask(self.server, endpoint, self.root, {**self.about, **content})

    def later(self, endpoint, **content):
        return self.pool.submit(self.ask, endpoint, **content)

    def seed_all(self):
        for revision, (row, label) in enumerate(SEEDS.items()):
            # Enough of them for suggestions of what is in doubt.
            change = {"kind": "seed", "label": label, "patches": [row, row + 1]}
            self.ask("change", revision=revision, change=change)
        return len(SEEDS)

    def wait_for_stage(self, stage, job=TOKEN):
        while (told := self.ask("progress", job=job))["stage"] != stage:
            time.sleep(0.01)
        return told


@pytest.fixture
def page_of(tmp_path):
    server = Server()
    with ThreadPoolExecutor(8) as pool:

        def make(name):
            if not (tmp_path / name).exists():
                write_small_h5ad(tmp_path / name)
            return Page(server, tmp_path, name, pool)

        yield make


@pytest.fixture
def slow(monkeypatch):
    slow = Slow(monkeypatch)
    yield slow
    slow.goes_on.set()


def refused(future):
    error = future.exception(timeout=60)
    assert isinstance(error, SicError), error
    return error


@pytest.mark.parametrize("endpoint", ["run", "suggest"])
def test_what_runs_is_told_and_stopped_and_nothing_is_saved(page_of, slow, endpoint):
    page = page_of("a.h5ad")
    revision = page.seed_all()
    before = page.path.read_bytes()
    running = page.later(endpoint, revision=revision, job=TOKEN)
    slow.wait()
    told = page.wait_for_stage("Being slow")
    assert 0 < told["share"] < 1
    assert page.ask("cancel", job=TOKEN) == {"running": True}
    error = refused(running)
    assert error.status == 499
    assert str(error) == "stopped; the labels are as they were"
    assert page.path.read_bytes() == before
    assert page.ask("progress", job=TOKEN) == {"stage": None, "share": None}


def test_after_a_stop_the_same_seeds_give_the_same_labels(page_of, slow):
    stopped, other = page_of("a.h5ad"), page_of("b.h5ad")
    for page in (stopped, other):
        page.seed_all()
    running = stopped.later("run", revision=4, job=TOKEN)
    slow.wait()
    stopped.ask("cancel", job=TOKEN)
    refused(running)
    slow.goes_on.set()
    (state, labels), (_, expected) = (each.ask("run", revision=4, job=TOKEN) for each in (stopped, other))
    assert np.array_equal(labels, expected)
    assert state["revision"] == 5


def test_scores_that_are_found_again_can_be_stopped(page_of, slow):
    page = page_of("a.h5ad")
    revision = page.seed_all()
    slow.goes_on.set()
    state, _ = page.ask("run", revision=revision)
    slow.goes_on.clear()
    page.server = Server()  # a server that was started anew keeps no scores
    while slow.begun.acquire(blocking=False):
        pass
    asking = page.later("scores", revision=state["revision"], job=TOKEN)
    slow.wait()
    page.ask("cancel", job=TOKEN)
    assert refused(asking).status == 499


def test_a_run_that_waits_for_others_says_so_and_can_be_stopped(page_of, slow):
    busy, waiting = [page_of(f"{name}.h5ad") for name in "abc"], page_of("d.h5ad")
    for page in (*busy, waiting):
        page.seed_all()
    under_way = [page.later("run", revision=4, job=TOKEN) for page in busy[: turns._FITS_AT_ONCE]]
    for _ in under_way:
        slow.wait()
    run = waiting.later("run", revision=4, job=TOKEN)
    waiting.wait_for_stage("Waiting for another run")
    waiting.ask("cancel", job=TOKEN)
    assert refused(run).status == 499
    assert json.loads(waiting.path.read_text())["run"] is None
    # And one that is not stopped gets its turn.
    patient = busy[-1].later("run", revision=4, job=TOKEN)
    busy[-1].wait_for_stage("Waiting for another run")
    slow.goes_on.set()
    for run in (*under_way, patient):
        assert run.result(timeout=60)[0]["run"]["counts"]


def test_a_run_that_another_program_keeps_from_saving_can_be_stopped(page_of):
    page = page_of("a.h5ad")
    page.seed_all()
    before = page.path.read_bytes()
    with editing(page.root / "a.h5ad"):
        running = page.later("run", revision=4, job=TOKEN)
        page.wait_for_stage("Waiting for another run")
        page.ask("cancel", job=TOKEN)
        assert refused(running).status == 499
    assert page.path.read_bytes() == before
    assert page.ask("run", revision=4, job=TOKEN)[0]["run"]["counts"]


def test_another_page_of_the_slide_goes_on_seeding_while_one_runs(page_of, slow):
    anna, ben = page_of("a.h5ad"), page_of("a.h5ad")
    anna.seed_all()
    ben.about["session"] = "Ben"
    running = anna.later("run", revision=4, job=TOKEN)
    slow.wait()
    ben.seed_all()
    assert ben.ask("open")["revision"] == 4
    # Its run waits, since one slide is prepared once.
    second = ben.later("run", revision=4, job=OTHER_TOKEN)
    ben.wait_for_stage("Waiting for another run", OTHER_TOKEN)
    slow.goes_on.set()
    assert np.array_equal(running.result(60)[1], second.result(60)[1])


def test_a_run_on_seeds_that_another_page_has_changed_meanwhile_is_not_kept(page_of, slow):
    page = page_of("a.h5ad")
    page.seed_all()
    running = page.later("run", revision=4)
    slow.wait()
    page.ask("change", revision=4, change={"kind": "undo"})
    saved = page.path.read_bytes()
    slow.goes_on.set()
    assert refused(running).status == 409
    assert page.path.read_bytes() == saved


def test_a_job_is_stopped_by_its_own_slide_only(page_of, slow):
    page, other = page_of("a.h5ad"), page_of("b.h5ad")
    page.seed_all()
    running = page.later("run", revision=4, job=TOKEN)
    slow.wait()
    page.wait_for_stage("Being slow")
    assert other.ask("progress", job=TOKEN) == {"stage": None, "share": None}
    assert other.ask("cancel", job=TOKEN) == {"running": False}
    assert page.ask("cancel", job=OTHER_TOKEN) == {"running": False}
    slow.goes_on.set()
    assert running.result(60)[0]["run"]["counts"]


def test_a_stop_that_overtakes_its_request_is_honoured(page_of, slow):
    page = page_of("a.h5ad")
    page.seed_all()
    assert page.ask("cancel", job=TOKEN) == {"running": False}
    assert refused(page.later("run", revision=4, job=TOKEN)).status == 499
    slow.goes_on.set()
    assert page.ask("run", revision=4, job=TOKEN)[0]["run"]["counts"]


def test_two_jobs_of_one_name_at_once_are_refused(page_of, slow):
    page = page_of("a.h5ad")
    page.seed_all()
    running = page.later("run", revision=4, job=TOKEN)
    slow.wait()
    assert refused(page.later("suggest", revision=4, job=TOKEN)).status == 422
    slow.goes_on.set()
    assert running.result(60)[0]["run"]["counts"]


def test_a_real_run_tells_stages_that_rise(page_of, monkeypatch):
    page = page_of("a.h5ad")
    page.seed_all()
    told = []
    quick = runs.cluster

    def overheard(*args, progress, **options):
        def hear(stage, share):
            progress(stage, share)
            told.append(page.ask("progress", job=TOKEN))
            assert told[-1] == {"stage": stage, "share": share}

        return quick(*args, progress=hear, **options)

    monkeypatch.setattr(runs, "cluster", overheard)
    page.ask("run", revision=4, job=TOKEN)
    shares = [each["share"] for each in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len({each["stage"] for each in told}) > 3


@pytest.mark.parametrize("token", ["", "short", "x" * 65, "a b c d e f", "../../../etc", 12345678, None])
def test_tokens_that_are_none_are_refused(page_of, token):
    page = page_of("a.h5ad")
    for endpoint in ("progress", "cancel"):
        with pytest.raises(SicError) as caught:
            page.ask(endpoint, job=token)
        assert caught.value.status == 422


def test_stopping_needs_the_password_of_the_slides_folder(tmp_path):
    (tmp_path / "locked").mkdir()
    write_small_h5ad(tmp_path / "locked" / "a.h5ad")
    (tmp_path / "locked" / "auth").write_text("anna;secret")
    client = make_app(tmp_path).test_client()
    for endpoint in ("progress", "cancel"):
        content = {"h5ad": "locked/a.h5ad", "job": TOKEN}
        assert client.post(f"/plugins/SIC/{endpoint}", json=content).status_code == 401
        answer = client.post(f"/plugins/SIC/{endpoint}", json=content, auth=("anna", "secret"))
        assert answer.status_code == 200
        assert client.get(f"/plugins/SIC/{endpoint}").status_code == 405


def test_jobs_that_never_come_are_forgotten(tmp_path):
    jobs = Jobs()
    with jobs.begin(tmp_path, TOKEN) as running:
        for number in range(3 * _MOST):
            jobs.cancel(tmp_path, f"never-{number:04}")
        assert len(jobs._jobs) == _MOST + 1
        # Never one that runs; and the newest of the others are known still.
        jobs.cancel(tmp_path, TOKEN)
        with pytest.raises(Cancelled):
            running.tell("Working", 0.5)
        with pytest.raises(TakenError), jobs.begin(tmp_path, TOKEN):
            pass
        assert jobs.progress(tmp_path, TOKEN) is not None
    with jobs.begin(tmp_path, f"never-{3 * _MOST - 1:04}") as stopped, pytest.raises(Cancelled):
        stopped.tell("Working", 0.5)
