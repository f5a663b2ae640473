"""Slides on real worker processes, which are killed, lost, stopped and refused."""

import json
import logging
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import anndata
import dask
import distributed
import numpy as np
import pytest
from dask.system import CPU_COUNT
from making.embeddings import MeanEncoder
from making.workers import KILLS, WAITS, Patched, write_slide

import embedder.cluster.client
import embedder.cluster.ledger
import embedder.cluster.worker
import embedder.embedding.encoding
import tissuumaps_sic.slidefile.machines.workers
from embedder import __version__
from embedder.cluster.client import embed_on_cluster
from embedder.cluster.worker import Setup, UnfitError, _load, prepare, work_on_slide
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.request import SlideInput
from embedder.encoders.spec import EncoderError
from tissuumaps_sic.slidefile.machines.errors import ClusterError
from tissuumaps_sic.slidefile.machines.security import share_security
from tissuumaps_sic.slidefile.machines.slurm import SlurmOptions, correct_jobs, make_slurm_cluster
from tissuumaps_sic.slidefile.machines.workers import connect_workers

OPTIONS = EmbedOptions(
    encoder="means", umap=False, patch_size=64, overlap=0, batch_size=4, min_tissue=0, device="cpu"
)
PATIENCE = 60


@pytest.fixture(autouse=True)
def interruptible():
    """What runs in the background of a shell ignores Ctrl-C, and so would the tests and all they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """Where tests and the workers' encoders leave each other word."""
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def machines(control):
    """The client of a scheduler with two machines, the first of which says that it has a GPU."""
    options = {"nthreads": 2, "memory_limit": 0, "dashboard": False, "silence_logs": logging.CRITICAL}
    specs = {
        place: {"cls": distributed.Nanny, "options": options | ({} if place else {"resources": {"GPU": 1}})}
        for place in range(2)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"port": 0, "dashboard": False}}
    with (
        distributed.SpecCluster(workers=specs, scheduler=scheduler, silence_logs=logging.CRITICAL) as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        client.register_plugin(Patched(control))
        yield client


@pytest.fixture
def address(machines, control):
    """The scheduler's address, with two workers and no word left."""
    try:
        machines.wait_for_workers(2, timeout=PATIENCE)
    except TimeoutError:  # a nanny gives up where a busy machine takes long to start a worker anew
        machines.cluster.sync(correct_jobs, machines.cluster)
        machines.wait_for_workers(2, timeout=4 * PATIENCE)
    for word in control.iterdir():
        word.unlink()
    return machines.scheduler.address


@pytest.fixture(autouse=True)
def quick(monkeypatch, caplog):
    monkeypatch.setattr(embedder.cluster.client, "_LOOK_SECONDS", 0.1)
    for name in ("embedder", "tissuumaps_sic"):
        caplog.set_level(logging.INFO, logger=name)


def wait_for(path):
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)
    return path.read_text()


@contextmanager
def meanwhile(function):
    """Run a function in a thread beside the block, and raise what it raised."""
    raised = []

    def run():
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
    assert not raised, raised


def begun(caplog, name):
    """How often a slide was begun, by what the workers told."""
    return sum(record.getMessage().startswith(f"{name}: ") and "patches of" in record.getMessage()
               for record in caplog.records)  # fmt: skip


def test_slides_on_workers_are_what_they_are_one_after_the_other(address, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    slides = [write_slide(tmp_path / f"{i}.tif", blue=20 + i, width=600 + 100 * i) for i in range(3)]
    (tmp_path / "broken.tif").write_text("no slide")
    (tmp_path / "again").mkdir()
    clash = write_slide(tmp_path / "again" / "0.tif")
    given = [SlideInput(path.relative_to(tmp_path)) for path in slides]
    given[2] = replace(given[2], mpp=1.0)
    given += [SlideInput(tmp_path / "broken.tif"), SlideInput(clash), SlideInput(tmp_path / "missing.tif")]
    out = tmp_path.relative_to(tmp_path) / "out"
    results = embed_on_cluster(given, out, OPTIONS, scheduler=address)
    assert f"{address} asks for no certificate" in caplog.text
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: MeanEncoder())
    expected = embed_slides(given, tmp_path / "expected", OPTIONS)
    assert [each.slide for each in results] == [str(item.path) for item in given]
    assert [each.status for each in results] == ["done"] * 3 + ["failed"] * 3
    assert [each.n_patches for each in results] == [each.n_patches for each in expected]
    assert "same name" in results[4].message
    for each, other in zip(results[:3], expected, strict=False):
        assert each.h5ad == str(out / f"{SlideInput(tmp_path / each.slide).name}.h5ad")
        a, b = anndata.read_h5ad(each.h5ad), anndata.read_h5ad(other.h5ad)
        assert np.array_equal(a.X, b.X)
        assert a.obs_names.equals(b.obs_names)
    again = embed_on_cluster(given[:3], out, OPTIONS, scheduler=address)
    assert [each.status for each in again] == ["skipped"] * 3
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_nothing_is_lost_or_done_twice_when_a_worker_is_killed(address, control, machines, tmp_path, caplog):
    slides = [write_slide(tmp_path / f"{i}.tif") for i in range(4)]
    slides.insert(0, write_slide(tmp_path / "interrupted.tif", blue=WAITS, width=2000))

    def kill():
        os.kill(int(wait_for(control / "waiting")), signal.SIGKILL)
        (control / "go").touch()

    with meanwhile(kill):
        results = embed_on_cluster(slides, tmp_path / "out", OPTIONS, scheduler=address)
    assert [each.status for each in results] == ["done"] * 5
    assert [each.n_patches for each in results] == [31 * 10, *[21 * 10] * 4]
    for each in results:
        assert anndata.read_h5ad(each.h5ad).n_obs == each.n_patches
    assert [begun(caplog, path.name) for path in slides] == [2, 1, 1, 1, 1]
    assert sum("was lost" in record.getMessage() for record in caplog.records) == 1
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_slide_that_kills_every_worker_fails_alone(address, tmp_path):
    slides = [write_slide(tmp_path / "deadly.tif", blue=KILLS), write_slide(tmp_path / "good.tif")]
    deadly, good = embed_on_cluster(slides, tmp_path / "out", OPTIONS, scheduler=address)
    assert good.status == "done"
    assert deadly.status == "failed"
    assert "4 workers in a row died of it" in deadly.message
    assert str(slides[0]) in deadly.message
    assert "\n" not in deadly.message


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_slide_that_was_done_when_its_worker_died_is_not_done_anew(address, tmp_path, caplog, overwrite):
    slide = write_slide(tmp_path / "unreported.tif")
    options = replace(OPTIONS, overwrite=overwrite)
    (result,) = embed_on_cluster([slide], tmp_path / "out", options, scheduler=address)
    assert (result.status, result.n_patches) == ("done", 210)
    assert any("was lost" in record.getMessage() for record in caplog.records)
    assert begun(caplog, "unreported.tif") == 1


def test_a_run_that_is_interrupted_saves_its_work_and_goes_on(address, control, tmp_path, caplog):
    slide = write_slide(tmp_path / "long.tif", blue=WAITS)
    out = tmp_path / "out"

    def interrupt():
        wait_for(control / "waiting")
        os.kill(os.getpid(), signal.SIGINT)
        # Once the client told so, it has sent the order to stop, or does before long; the encoder has time.
        while not any(" finished" in record.getMessage() for record in caplog.records):
            time.sleep(0.02)
        time.sleep(1)
        (control / "go").touch()

    with meanwhile(interrupt), pytest.raises(KeyboardInterrupt):
        embed_on_cluster([slide], out, OPTIONS, scheduler=address)
    assert any("0 of 1 slide finished" in record.getMessage() for record in caplog.records)
    assert [path.name for path in out.iterdir() if path.suffix in (".h5ad", ".lock")] == []
    assert not list(out.glob(".embedder-run-*"))
    done = json.loads((out / ".long.partial" / "state.json").read_text())["done"]
    assert 0 < done < 210
    (result,) = embed_on_cluster([slide], out, OPTIONS, scheduler=address)
    assert (result.status, result.n_patches) == ("done", 210)
    assert any(f"going on after {done} patches" in record.getMessage() for record in caplog.records)


def test_a_lost_scheduler_ends_the_run_with_one_line(control, tmp_path, caplog):
    for word in control.iterdir():
        word.unlink()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    python = [sys.executable, "-m"]
    serve = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    work = ["distributed.cli.dask_worker", f"127.0.0.1:{port}", "--no-nanny", "--death-timeout", "5"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    where = {"env": os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}}
    with (
        subprocess.Popen([*python, *serve], **silent, **where) as scheduler,
        subprocess.Popen([*python, *work], **silent, **where) as worker,
    ):
        try:
            with distributed.Client(f"127.0.0.1:{port}", timeout=PATIENCE, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=PATIENCE)
                client.register_plugin(Patched(control))
            slides = [write_slide(tmp_path / "large.tif", width=2000)]
            slides += [write_slide(tmp_path / f"{i}.tif", blue=WAITS) for i in range(2)]

            def kill():
                wait_for(control / "waiting")
                scheduler.kill()

            with meanwhile(kill):
                results = embed_on_cluster(slides, tmp_path / "out", OPTIONS, scheduler=f"127.0.0.1:{port}")
        finally:
            (control / "go").touch()
            scheduler.kill()
            worker.kill()
    assert [each.status for each in results] == ["done", "failed", "failed"]
    assert all("scheduler was lost" in each.message for each in results[1:])
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "scheduler was lost" in told[0]
    assert "2 of 3 slides" in told[0]


def test_an_encoder_that_cannot_be_loaded_is_told_once(address, tmp_path, caplog):
    slides = [write_slide(tmp_path / f"{i}.tif") for i in range(3)]
    with pytest.raises(EncoderError, match="no encoder 'nope'"):
        embed_on_cluster(slides, tmp_path / "out", replace(OPTIONS, encoder="nope"), scheduler=address)
    assert sum(record.levelno >= logging.ERROR for record in caplog.records) == 0


def test_workers_of_another_version_are_refused(address, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.cluster.client, "__version__", "99.0")
    with pytest.raises(ClusterError, match=rf"has tissuumaps-sic {__version__}, and the run is of 99\.0"):
        embed_on_cluster([write_slide(tmp_path / "a.tif")], tmp_path / "out", OPTIONS, scheduler=address)


def test_a_worker_that_does_not_share_the_folder_is_unfit(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.cluster.worker, "_SEE_SECONDS", 0)
    setup = Setup("run", __version__, tmp_path / "out", OPTIONS, 0, logging.INFO)
    with pytest.raises(UnfitError, match=r"No such file.*shared file system"):
        prepare(setup)
    setup.folder.mkdir()
    with pytest.raises(UnfitError, match=r"another folder.*shared file system"):
        prepare(setup)
    with pytest.raises(UnfitError, match=r"does not see .*gone\.tif.*shared file system"):
        work_on_slide(setup, 0, SlideInput(tmp_path / "gone.tif"), seen=True)


def test_a_slide_that_the_workers_do_not_see_ends_the_run_once(address, tmp_path, monkeypatch):
    # Only the client sees these slides.
    monkeypatch.setattr(
        embedder.cluster.ledger,
        "_make_job",
        lambda place, item: embedder.cluster.ledger.Job(place, item, seen=True, size=1),
    )
    slides = [tmp_path / f"{i}.tif" for i in range(9)]
    with pytest.raises(ClusterError, match=r"worker \d on .* does not see .*shared file system"):
        embed_on_cluster(slides, tmp_path / "out", OPTIONS, scheduler=address)


def test_warnings_of_workers_reach_the_clients_log(address, tmp_path, caplog):
    slide = write_slide(tmp_path / "a.tif")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.tif").write_text("somebody else's")
    (result,) = embed_on_cluster([slide], tmp_path / "out", OPTIONS, scheduler=address)
    assert result.status == "done"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "could not be linked" in told[0]
    assert "[worker " in told[0]


def test_large_slides_go_first(address, tmp_path, caplog):
    widths = (200, 2000, 300, 1500, 700)
    slides = [write_slide(tmp_path / f"{i}.tif", width=width) for i, width in enumerate(widths)]
    # One worker is used, that with a GPU: of two, either may be the first to tell.
    embed_on_cluster(slides, tmp_path / "out", replace(OPTIONS, device="auto"), scheduler=address)
    told = [record.getMessage() for record in caplog.records]
    assert [each[0] for each in told if "patches of" in each] == ["1", "3", "4", "2", "0"]


def test_where_workers_have_a_gpu_the_others_are_left_alone(address, tmp_path, caplog):
    slides = [write_slide(tmp_path / f"{i}.tif") for i in range(4)]
    results = embed_on_cluster(slides, tmp_path / "out", replace(OPTIONS, device="auto"), scheduler=address)
    assert [each.status for each in results] == ["done"] * 4
    told = [record.getMessage() for record in caplog.records if "patches of" in record.getMessage()]
    assert len(told) == 4
    assert all("[worker 0 on " in each for each in told)


def test_a_slide_that_another_run_is_at_is_asked_for_again(address, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.cluster.ledger, "_ASK_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(embedder.cluster.ledger, "_LOCK_SECONDS", 2)
    slides = [write_slide(tmp_path / f"{name}.tif") for name in ("given_back", "kept")]
    (tmp_path / "out").mkdir()
    now = datetime.now(UTC).isoformat()
    holder = {"host": "elsewhere", "pid": 1, "started": now, "process_started": 0, "token": "x"}
    locks = [tmp_path / "out" / f".{path.stem}.lock" for path in slides]
    for lock in locks:
        lock.write_text(json.dumps(holder))
    free = threading.Timer(0.5, locks[0].unlink)
    free.start()
    results = embed_on_cluster(slides, tmp_path / "out", OPTIONS, scheduler=address)
    assert [each.status for each in results] == ["done", "skipped"]
    assert "process 1 on elsewhere" in results[1].message


def test_no_scheduler_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(tissuumaps_sic.slidefile.machines.workers, "_CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match=r"no Dask scheduler at 127\.0\.0\.1:9") as raised:
        embed_on_cluster([tmp_path / "a.tif"], tmp_path / "out", OPTIONS, scheduler="127.0.0.1:9")
    assert "\n" not in str(raised.value)
    with pytest.raises(ClusterError, match=r"tls://127\.0\.0\.1:9 asks for a certificate") as raised:
        embed_on_cluster([tmp_path / "a.tif"], tmp_path / "out", OPTIONS, scheduler="tls://127.0.0.1:9")
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="one of"):
        embed_on_cluster([], tmp_path / "out", OPTIONS)


def test_each_gpu_of_this_machine_has_a_worker_that_sees_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with connect_workers(tmp_path, devices=["cuda:0", "cuda:1"]) as source:
        seen = source.client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        known = source.client.scheduler_info()["workers"].values()
        # Ctrl-C reaches every process of a terminal; the client alone is to act on it.
        for pid in source.client.run(os.getpid).values():
            os.kill(pid, signal.SIGINT)
        assert len(source.client.run(os.getpid)) == 2
    assert sorted(seen.values()) == ["5", "7"]
    assert [each["resources"] for each in known] == [{"GPU": 1}] * 2
    assert [each["nthreads"] for each in known] == [max(1, CPU_COUNT // 2)] * 2
    with (
        pytest.raises(ClusterError, match=r"no cuda:2.*'5,7'"),
        connect_workers(tmp_path, devices=["cuda:2"]),
    ):
        pass


# What any user of the machine can try who sees the ports: to have a function run as the run's user.
STRANGER = """
import asyncio, os, sys
from distributed import Client
from distributed.core import rpc
from distributed.protocol import to_serialize
from distributed.security import Security

async def ask(address, security):
    arguments = security.get_connection_args("client") if security else {}
    async with rpc(address, connection_args=arguments, timeout=5) as node:
        return await node.run(function=to_serialize(os.getpid))

def reached(address, security):
    try:
        return asyncio.run(asyncio.wait_for(ask(address, security), 10))
    except Exception as error:
        return type(error).__name__

if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
for address in sys.argv[1:]:
    port = address.rpartition("/")[2]
    for told in (reached(f"tcp://{port}", None), reached(f"tls://{port}", Security.temporary())):
        print(told)
    try:
        client = Client(f"tls://{port}", timeout=2, security=Security.temporary(), set_as_default=False)
        print(client.run_on_scheduler(os.getpid))
    except Exception as error:
        print(type(error).__name__)
"""


def test_workers_of_this_machine_do_nothing_for_strangers(tmp_path):
    with connect_workers(tmp_path, workers=1) as source:
        client = source.client
        client.wait_for_workers(1, timeout=PATIENCE)
        ((worker, facts),) = client.scheduler_info(n_workers=-1)["workers"].items()
        addresses = [client.scheduler.address, worker, facts["nanny"]]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        command = [sys.executable, "-c", STRANGER, *addresses]
        told = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.split()
        assert len(told) == 9
        assert not any(word.isdecimal() for word in told), told
        # Nor do the pages that Dask serves beside them tell anything.
        for port in (facts["services"]["dashboard"], client.run_on_scheduler(_pages_port)):
            for page in ("metrics", "info/main/machines.html", "json/identity.json", "health", "statics/x"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=PATIENCE)
        assert client.submit(sum, [1, 2]).result(timeout=PATIENCE) == 3


def _pages_port(dask_scheduler):
    return dask_scheduler.http_server.port


def test_a_worker_computes_in_as_many_threads_as_it_says(monkeypatch):
    torch = pytest.importorskip("torch")
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(embedder.cluster.worker, "make_encoder", lambda options: MeanEncoder())
    _load("run", OPTIONS, 3)
    _load("run", OPTIONS, 3)
    assert set_to == [3]


def test_workers_of_this_machine_give_the_same_embeddings(tmp_path):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    weights = tmp_path / "random.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    options = replace(OPTIONS, encoder="resnet18", weights=weights, precision="float32", batch_size=32)
    slides = [write_slide(tmp_path / f"{i}.tif", width=300 + 100 * i, height=200) for i in range(2)]
    results = embed_on_cluster(slides, tmp_path / "out", options, workers=2)
    for each, other in zip(results, embed_slides(slides, tmp_path / "expected", options), strict=True):
        a, b = anndata.read_h5ad(each.h5ad), anndata.read_h5ad(other.h5ad)
        assert np.allclose(a.X, b.X, rtol=1e-4, atol=1e-5)


def test_slurm_options_are_read_from_words():
    words = ["queue=gpu", "gpus=1", "cores=8", "directives=--constraint=a100", "directives=--qos=high"]
    options = SlurmOptions.from_words(words)
    assert (options.queue, options.gpus, options.cores) == ("gpu", 1, 8)
    assert options.directives == ("--constraint=a100", "--qos=high")
    for word, told in (
        ("gpu=1", "gpus"),
        ("gpus=two", "whole number"),
        ("gpus=4", "--workers"),
        ("x", "walltime"),
    ):
        with pytest.raises(ClusterError, match=told):
            SlurmOptions.from_words([word])


def test_the_job_of_a_slurm_worker_asks_for_what_was_given(tmp_path):
    options = SlurmOptions(
        queue="gpu", account="lab", walltime="08:00:00", memory="32GB", cores=8, gpus=1, scratch="/scratch",
        directives=("--constraint=a100",), prologue=("module load cuda",),
    )  # fmt: skip
    with make_slurm_cluster(options, tmp_path) as made:
        lines = made.job_script().splitlines()
    for line in ("-p gpu", "-A lab", "-n 1", "--cpus-per-task=8", "--mem=30G", "-t 08:00:00", "--gres=gpu:1",
                 "--constraint=a100"):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    command = lines[-1]
    assert "module load cuda" in lines
    assert command.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    assert "--nthreads 8" in command
    assert "--resources GPU=1" in command
    assert command.rindex("--memory-limit 0") > command.index("--memory-limit")
    assert "--local-directory /scratch" in command
    with make_slurm_cluster(SlurmOptions(), tmp_path) as made:
        script = made.job_script()
    assert "#SBATCH -t" not in script
    assert "GPU" not in script
    assert "gres" not in script
    with pytest.raises(ClusterError, match="much"):
        make_slurm_cluster(SlurmOptions(memory="much"), tmp_path)


def test_only_the_user_reads_the_key_of_the_jobs(tmp_path):
    """Who has it can have a function run as that user."""
    folder = tmp_path / "a b"
    left = folder / ".embedder-tls-left"  # by a run that was killed
    left.mkdir(parents=True)
    (left / "lock").write_text("broken")
    os.utime(left / "lock", (0, 0))
    with (
        share_security(folder) as security,
        make_slurm_cluster(SlurmOptions(), folder, security) as made,
    ):
        (held,) = folder.glob(".embedder-tls-*")
        assert held.name != left.name
        assert stat.S_IMODE(held.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in held.glob("*.pem")} == {0o600}
        command = made.job_script().splitlines()[-1]
        words = shlex.split(command)
        assert words[words.index("--tls-key") + 1] == str(held / "key.pem")
        assert words[words.index("distributed.cli.dask_worker") + 1].startswith("tls://")
        assert "PRIVATE KEY" not in made.job_script()
        # A second run of the same folder leaves the files of this one alone.
        with share_security(folder):
            assert len(list(folder.glob(".embedder-tls-*"))) == 2
            assert (held / "key.pem").exists()
    assert not list(folder.glob(".embedder-tls-*"))


def test_without_slurm_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="sbatch is not on this machine") as raised:
        embed_on_cluster([tmp_path / "a.tif"], tmp_path / "out", OPTIONS, slurm=SlurmOptions())
    assert "\n" not in str(raised.value)


def write_command(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def test_what_slurm_refuses_is_told_in_its_words(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    write_command(
        tmp_path / "bin", "sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1"
    )
    write_command(tmp_path / "bin", "scancel", "true")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(
        ClusterError, match=r"SLURM takes no job: sbatch: error: invalid partition specified: x$"
    ):
        embed_on_cluster([tmp_path / "a.tif"], tmp_path / "out", OPTIONS, slurm=SlurmOptions(queue="x"))


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder of jobs, which run here and now in the place of SLURM; a file beside it names the ended."""
    bin_, jobs = tmp_path / "bin", tmp_path / "jobs"
    bin_.mkdir()
    jobs.mkdir()
    script = f"setsid bash $1 > {jobs}/$$ 2>&1 & sleep 0.05; echo Submitted batch job $!"
    write_command(bin_, "sbatch", script)
    write_command(bin_, "squeue", "ps -eo pid=")
    write_command(bin_, "scancel", f"echo $1 >> {tmp_path}/cancelled; kill -- -$1")
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "making.workers")
    monkeypatch.setenv("MAKING_WORKERS_FOLDER", str(tmp_path))
    return jobs


SMALL_JOB = SlurmOptions(cores=1, memory="2GB")


def test_slides_are_embedded_by_jobs_which_are_given_back(slurm, tmp_path):
    slides = [write_slide(tmp_path / f"{i}.tif") for i in range(3)]
    out = tmp_path / "an out"
    results = embed_on_cluster(slides, out, OPTIONS, slurm=SMALL_JOB, workers=2)
    assert [each.status for each in results] == ["done"] * 3
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert len(list(slurm.iterdir())) == 2
    assert len(set((tmp_path / "cancelled").read_text().split())) == 2


def test_jobs_that_end_at_once_end_the_run_with_one_line(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.cluster.client, "_RESTORE_SECONDS", 0.1)
    asked = tmp_path / "asked"
    write_command(tmp_path / "bin", "sbatch", f"echo x >> {asked}; true & wait; echo Submitted batch job $!")
    with pytest.raises(ClusterError, match=r"^2 jobs ended before .* 4 times over; .*slurm-logs says why$"):
        embed_on_cluster(
            [write_slide(tmp_path / f"{i}.tif") for i in range(2)],
            *(tmp_path / "out", OPTIONS),
            slurm=SMALL_JOB,
            workers=2,
        )
    assert 8 <= len(asked.read_text().split()) <= 10


def test_a_queue_that_does_not_answer_ends_no_run(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.cluster.client, "_RESTORE_SECONDS", 0.1)
    write_command(tmp_path / "bin", "squeue", "echo 'slurm_load_jobs error' >&2; exit 1")
    slide = write_slide(tmp_path / "a.tif")
    (result,) = embed_on_cluster([slide], tmp_path / "out", OPTIONS, slurm=SMALL_JOB, workers=1)
    assert result.status == "done"
    assert len(list(slurm.iterdir())) == 1


def test_a_job_that_is_ended_is_asked_for_anew(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.cluster.client, "_RESTORE_SECONDS", 0.5)
    slide = write_slide(tmp_path / "long.tif", blue=WAITS)

    def end():
        os.killpg(os.getpgid(int(wait_for(tmp_path / "waiting"))), signal.SIGKILL)
        (tmp_path / "go").touch()

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}), meanwhile(end):
        (result,) = embed_on_cluster([slide], tmp_path / "out", OPTIONS, slurm=SMALL_JOB, workers=1)
    assert result.status == "done"
    assert len(list(slurm.iterdir())) == 2
