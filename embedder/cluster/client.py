"""Slides on many workers: one slide a task, and none lost or done twice when a worker dies.

The client keeps the list of slides and hands a worker that is free the next one; the Dask scheduler never
holds more than what is at work. So a worker that joins late gets its share, the largest slides go first, and
when a worker is gone it is known which slide it had.
"""

from __future__ import annotations

import logging
import os
import queue
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from embedder import __version__
from embedder.cluster.ledger import MOST_LOST, Job, Ledger
from embedder.cluster.worker import TOPIC, Setup, UnfitError, prepare, stop, work_on_slide
from embedder.embedding.options import EmbedOptions
from embedder.embedding.request import SlideInput, as_inputs
from embedder.embedding.results import SlideResult
from embedder.encoders.spec import EncoderError
from embedder.encoders.table import ENCODERS
from tissuumaps_sic.slidefile.leases import LockedError, hold_lock
from tissuumaps_sic.slidefile.machines.errors import ClusterError
from tissuumaps_sic.slidefile.machines.slurm import SlurmOptions
from tissuumaps_sic.slidefile.machines.workers import Workers, connect_workers
from tissuumaps_sic.slidefile.spelling import say_count

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_RESTORE_SECONDS = 20.0
_WAITING_SECONDS = (20.0, 600.0)
_RESULT_SECONDS = 30.0
_PAUSED = (
    "Dask pauses the workers, since it finds their memory full; start them with `dask worker "
    "--memory-limit 0`"
)
_STOP_SECONDS = 15.0
_MARKER = ".embedder-run-"


def embed_on_cluster(
    slides: Sequence[SlideInput | Path],
    folder: Path,
    options: EmbedOptions | None = None,
    *,
    scheduler: str | None = None,
    slurm: SlurmOptions | None = None,
    workers: int | None = None,
    devices: Sequence[str] = (),
) -> list[SlideResult]:
    """Embed slides on many workers, each of which embeds one slide at a time.

    Give one of `scheduler`, `slurm` (with `workers`), and `workers` or `devices` of this machine. What is
    true of `embed.embed_slides` is true here: a slide that fails never ends the run, and a run that was ended
    goes on.

    Parameters
    ----------
    slides : sequence of SlideInput or Path
    folder : Path
        Where the files go; like the slides and weights, under the same path on every machine.
    options : EmbedOptions, optional
    scheduler : str, optional
        Address of a Dask scheduler whose workers have this version of the package. Where some of them declare
        the resource "GPU", only those are used, unless the options' device is "cpu".
    slurm : SlurmOptions, optional
        Start workers as SLURM jobs.
    workers : int, optional
        How many workers to start; on this machine they share its processors evenly.
    devices : sequence of str
        Devices of this machine, such as "cuda:0" and "cuda:1", with a worker each.

    Returns
    -------
    list of SlideResult
        In the order of the slides. Where all workers or the scheduler are lost for good, the slides that are
        left are "failed", and the log says why in one line.

    Raises
    ------
    EncoderError
        When no worker can load the encoder.
    ClusterError
        When the scheduler, SLURM or the workers cannot be used, before any slide is embedded.
    OSError
        When the folder cannot be made or written.
    KeyboardInterrupt
        As ever; what was begun is checkpointed first.

    Notes
    -----
    Workers of this machine are processes that import the program's main module: a script must call this under
    ``if __name__ == "__main__":``.
    """
    options = options or EmbedOptions()
    items = as_inputs(slides)
    folder.mkdir(parents=True, exist_ok=True)
    if devices:
        kinds = {device.partition(":")[0] for device in devices}
        if len(kinds) > 1:
            raise ClusterError(f"--devices are {', '.join(devices)}, of several kinds; give devices of one")
        options = replace(options, device=kinds.pop())
    with _mark_folder(folder) as (marker, began):
        setup = Setup(
            run=marker.name,
            version=__version__,
            folder=_make_absolute(folder),
            options=_make_paths_absolute(options),
            began=began,
            level=log.getEffectiveLevel(),
        )
        with connect_workers(
            setup.folder,
            scheduler=scheduler,
            slurm=slurm,
            workers=None if workers is None else max(1, min(workers, len(items))),
            devices=devices[: max(1, len(items))],
        ) as source:
            ledger = Ledger(items, folder)
            _Run(ledger, setup, source).go()
    return ledger.results


def _make_absolute(path: Path) -> Path:
    # Not resolved: /home/lab may be a link to another place on each machine.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _make_paths_absolute(options: EmbedOptions) -> EmbedOptions:
    """Return the options with paths that mean the same in every process."""
    checkpoint = Path(options.encoder)
    named = options.encoder in ENCODERS or not checkpoint.is_file()
    return replace(
        options,
        encoder=options.encoder if named else str(_make_absolute(checkpoint)),
        weights=None if options.weights is None else _make_absolute(options.weights),
        tissue=None if options.tissue is None else _make_absolute(options.tissue),
    )


@contextmanager
def _mark_folder(folder: Path) -> Iterator[tuple[Path, int]]:
    """Put a file into the folder, by which workers see that it is the same one; a lock, which tells its run.

    Its time is that of the run's begin by the file server's clock, which the times of the results go by.
    """
    for old in folder.glob(f"{_MARKER}*"):  # of runs that were killed
        with suppress(LockedError, OSError), hold_lock(old):
            pass
    path = folder / f"{_MARKER}{uuid.uuid4().hex}"
    with hold_lock(path):
        yield path, path.stat().st_mtime_ns


@dataclass
class _Worker:
    """A worker as the client knows it."""

    address: str
    name: Any
    host: str
    gpu: bool
    state: Literal["new", "preparing", "fit", "unfit", "released"] = "new"
    machine: str = ""
    paused: bool = False
    job: Job | None = None
    future: Any = None

    def __str__(self) -> str:
        return f"worker {self.name} on {self.machine or self.host}"


class _EndError(Exception):
    """Nothing more can be done; the message says why."""


class _Run:
    """The workers of a run, and who is at which slide."""

    def __init__(self, ledger: Ledger, setup: Setup, source: Workers) -> None:
        self._ledger = ledger
        self._setup = setup
        self._source = source
        self._workers: dict[str, _Worker] = {}
        # Of the threads of Dask's client: ends of tasks, and what workers tell.
        self._news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._unfit: Exception | None = None
        self._lost_preparing = 0
        self._rounds_ended = 0
        self._places: set[str] = set()

    def go(self) -> None:
        """Run until each slide has a result."""
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        ledger = self._ledger
        self._source.client.subscribe_topic(TOPIC, lambda event: self._news.put(event[1]))
        try:
            with (
                logging_redirect_tqdm(),
                tqdm(total=len(ledger), unit="slide", dynamic_ncols=True, mininterval=1) as bar,
            ):
                self._loop(bar)
        except _EndError as error:
            if ledger.n_finished == 0:
                raise (self._unfit if self._unfit is not None else ClusterError(str(error))) from error
            ledger.give_up(error)
        except KeyboardInterrupt:
            log.warning("%d of %s finished", ledger.n_finished, say_count(len(ledger), "slide"))
            raise
        finally:
            self._stop_workers()

    def _loop(self, bar: Any) -> None:
        looked = restored = warned = -float("inf")
        since = time.monotonic()
        patience = _WAITING_SECONDS[0]
        while self._ledger.n_finished < len(self._ledger):
            now = time.monotonic()
            if now - looked > _LOOK_SECONDS:
                looked = now
                self._look()
            if now - restored > _RESTORE_SECONDS:
                restored = now
                self._restore()
            self._assign()
            fit = [worker for worker in self._workers.values() if worker.state == "fit"]
            if any(not worker.paused for worker in fit):
                since, patience = now, _WAITING_SECONDS[0]
            elif now - max(since, warned) > patience:
                warned, patience = now, _WAITING_SECONDS[1]
                log.warning("%s", _PAUSED if fit else self._source.waiting)
            with suppress(queue.Empty):
                self._take(self._news.get(timeout=_LOOK_SECONDS / 2))
                while True:
                    self._take(self._news.get_nowait())
            self._draw(bar)

    def _restore(self) -> None:
        """Ask for workers in place of lost ones, unless jobs end again and again before theirs are here."""
        ended = self._source.forget_ended({worker.name for worker in self._workers.values()})
        self._rounds_ended = 0 if self._usable() else self._rounds_ended + (ended > 0)
        if self._rounds_ended == MOST_LOST:
            raise _EndError(
                f"{say_count(ended, 'job')} ended before a worker was here, {MOST_LOST} times over; what "
                f"they wrote into {self._source.logs} says why"
            )
        self._source.restore()

    def _look(self) -> None:
        """See which workers joined and which are gone."""
        try:
            known = self._source.client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, RuntimeError, TimeoutError) as error:
            raise _say_scheduler_lost() from error
        for address in self._workers.keys() - known.keys():
            self._mourn(self._workers.pop(address))
        for address, facts in known.items():
            if address not in self._workers:
                gpu = facts["resources"].get("GPU", 0) >= 1
                self._workers[address] = _Worker(address, facts["name"], facts["host"], gpu)
            self._workers[address].paused = facts["status"] != "running"
        for worker in self._workers.values():
            if worker.state == "new" and self._wants(worker):
                worker.state = "preparing"
                self._submit(worker, prepare, self._setup)

    def _wants(self, worker: _Worker) -> bool:
        """Tell whether to use a worker: where some declare a GPU, the others are left alone."""
        if worker.gpu or self._setup.options.device == "cpu":
            return True
        return not any(other.gpu for other in self._workers.values())

    def _submit(self, worker: _Worker, function: Any, *arguments: Any, **named: Any) -> None:
        worker.future = self._source.client.submit(
            function,
            *arguments,
            **named,
            workers=[worker.address],
            allow_other_workers=False,
            resources={"GPU": 1} if worker.gpu and worker.job is not None else None,
            key=f"embedder-{function.__name__.strip('_')}-{uuid.uuid4().hex}",
            pure=False,
        )
        worker.future.add_done_callback(lambda future: self._news.put((worker, future)))

    def _assign(self) -> None:
        """Give each free worker the largest slide that may be begun."""
        free = [
            worker
            for worker in self._workers.values()
            if worker.state == "fit" and worker.job is None and not worker.paused and self._wants(worker)
        ]
        for worker in free:
            job = self._ledger.take(worker.host)
            if job is not None:
                worker.job = job
                item = replace(job.item, path=_make_absolute(job.item.path))
                self._submit(worker, work_on_slide, self._setup, job.place, item, seen=job.seen)
            elif not self._ledger.waiting and self._source.release(worker.name):
                worker.state = "released"

    def _take(self, news: Any) -> None:
        if isinstance(news, dict):
            if news.get("run") == self._setup.run:
                self._hear(news)
            return
        worker, future = news
        if future is worker.future and worker.address in self._workers:
            self._take_outcome(worker, future)

    def _hear(self, news: dict[str, Any]) -> None:
        worker = self._workers.get(news["worker"])
        if "message" in news:
            logger = logging.getLogger(news["logger"])
            logger.log(news["level"], "%s [%s]", news["message"], worker or news["worker"])
        elif worker is not None and worker.job is not None and worker.job.place == news["place"]:
            worker.job.done, worker.job.total = news["done"], news["total"]

    def _take_outcome(self, worker: _Worker, future: Any) -> None:
        """Take what a task came to."""
        from distributed import KilledWorker

        if future.status == "cancelled":
            raise _say_scheduler_lost()
        job, worker.job, worker.future = worker.job, None, None
        try:
            value = future.result(timeout=_RESULT_SECONDS)
        except (KilledWorker, TimeoutError):
            # The worker died, with its result where it had one; its slide's file may be there all the same.
            if job is None:
                self._lost_preparing += 1
                self._workers.pop(worker.address, None)
            else:
                self._ledger.lose(job, worker=str(worker), host=worker.host)
        except (UnfitError, EncoderError, ImportError, AttributeError) as error:
            self._reject(worker, error)
            if job is not None:
                self._ledger.put_back(job)
        except Exception as error:  # noqa: BLE001 -- whatever a task raised
            if job is None:
                self._reject(worker, error)
            else:
                path = job.item.path
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                message = f"{path}: {reason} (unexpected; --verbose shows where)"
                self._ledger.finish(job.place, SlideResult(str(path), "failed", message))
        else:
            if job is None:
                worker.state, (worker.machine, place) = "fit", value
                # Of a hundred that are alike the first is enough.
                log.log(logging.DEBUG if place in self._places else logging.INFO, "%s [%s]", place, worker)
                self._places.add(place)
            else:
                self._ledger.conclude(job, value)

    def _mourn(self, worker: _Worker) -> None:
        if worker.future is None:
            return
        with suppress(Exception):
            worker.future.cancel()
        if worker.job is None:
            self._lost_preparing += 1
            if self._lost_preparing >= MOST_LOST and not self._usable():
                raise _EndError(
                    f"{self._lost_preparing} workers died while they loaded the encoder, most likely for "
                    "want of memory; their logs say more: give workers more memory, or choose a smaller "
                    "encoder"
                )
        else:
            self._ledger.lose(worker.job, worker=str(worker), host=worker.host)

    def _reject(self, worker: _Worker, error: Exception) -> None:
        """Use a worker no more; end the run when that was the last one."""
        worker.state = "unfit"
        if isinstance(error, ImportError | AttributeError):
            reason: Exception = ClusterError(
                f"{worker} cannot run tissuumaps-sic {__version__} ({error}); install the same version there"
            )
        elif isinstance(error, EncoderError):
            reason = EncoderError(f"{error} (on {worker})")
        else:
            reason = ClusterError(f"{worker} {error}")
        self._unfit = reason
        if not self._usable():
            raise _EndError(str(reason)) from reason
        log.warning("%s; this worker is not used", reason)

    def _usable(self) -> bool:
        return any(worker.state != "unfit" and self._wants(worker) for worker in self._workers.values())

    def _stop_workers(self) -> None:
        """Let workers that are at a slide save what they have."""
        futures = [worker.future for worker in self._workers.values() if worker.job is not None]
        if not futures or self._source.client.status != "running":
            return
        with suppress(OSError, RuntimeError, TimeoutError):
            self._source.client.run(stop, self._setup.run, on_error="ignore")
        deadline = time.monotonic() + _STOP_SECONDS
        while not all(future.done() for future in futures) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _draw(self, bar: Any) -> None:
        at_work = [worker.job for worker in self._workers.values() if worker.job is not None]
        shares = sum(job.done / job.total for job in at_work if job.total)
        bar.n = round(self._ledger.n_finished + shares, 2)
        patches = self._ledger.n_patches + sum(job.done for job in at_work)
        bar.set_postfix(
            patches=patches, workers=sum(w.state == "fit" for w in self._workers.values()), refresh=False
        )
        bar.update(0)


def _say_scheduler_lost() -> _EndError:
    return _EndError("the connection to the Dask scheduler was lost; the same command goes on where it was")
