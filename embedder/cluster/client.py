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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from embedder import __version__
from embedder.cluster.machines import ClusterError, SlurmOptions, Workers, connected
from embedder.cluster.worker import TOPIC, Setup, UnfitError, prepare, stop, work_on_slide
from embedder.embedding.options import EmbedOptions
from embedder.embedding.request import SlideInput, as_inputs
from embedder.embedding.results import SlideResult, log_result, refuse_names
from embedder.encoders.spec import EncoderError
from embedder.encoders.table import ENCODERS
from tissuumaps_sic.slidefile.leases import LockedError, locked

__all__ = ["ClusterError", "SlurmOptions", "embed_on_cluster"]

log = logging.getLogger(__name__)

# A slide that takes its worker down so often, without going further in between, is at fault itself.
_MOST_LOST = 4
_LOOK_SECONDS = 1.0
_RESTORE_SECONDS = 20.0
_WAITING_SECONDS = (20.0, 600.0)
# A lock of a process that died on another machine is stale after ten minutes: `slidefile.leases`.
_ASK_AGAIN_SECONDS = 30.0
_LOCK_SECONDS = 660.0
_RESULT_SECONDS = 30.0
_PAUSED = "Dask pauses the workers, since it finds their memory full; start them with --memory-limit 0"
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
            raise ClusterError(f"devices are {', '.join(devices)}; give devices of one kind")
        options = replace(options, device=kinds.pop())
    with _marker(folder) as (marker, began):
        setup = Setup(
            run=marker.name,
            version=__version__,
            folder=_absolute(folder),
            options=_anywhere(options),
            began=began,
            level=log.getEffectiveLevel(),
        )
        with connected(
            setup.folder,
            scheduler=scheduler,
            slurm=slurm,
            workers=None if workers is None else max(1, min(workers, len(items))),
            devices=devices[: max(1, len(items))],
        ) as source:
            run = _Run(items, folder, setup, source)
            run.go()
    return run.results


def _absolute(path: Path) -> Path:
    # Not resolved: /home/lab may be a link to another place on each machine.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _anywhere(options: EmbedOptions) -> EmbedOptions:
    """Return the options with paths that mean the same in every process."""
    checkpoint = Path(options.encoder)
    named = options.encoder in ENCODERS or not checkpoint.is_file()
    return replace(
        options,
        encoder=options.encoder if named else str(_absolute(checkpoint)),
        weights=None if options.weights is None else _absolute(options.weights),
        tissue=None if options.tissue is None else _absolute(options.tissue),
    )


@contextmanager
def _marker(folder: Path) -> Iterator[tuple[Path, int]]:
    """Put a file into the folder, by which workers see that it is the same one; a lock, which tells its run.

    Its time is that of the run's begin by the file server's clock, which the times of the results go by.
    """
    for old in folder.glob(f"{_MARKER}*"):  # of runs that were killed
        with suppress(LockedError, OSError), locked(old):
            pass
    path = folder / f"{_MARKER}{uuid.uuid4().hex}"
    with locked(path):
        yield path, path.stat().st_mtime_ns


@dataclass
class _Job:
    """A slide that has no result yet."""

    place: int
    item: SlideInput
    seen: bool
    size: int
    done: int = 0
    total: int = 0
    furthest: int = -1
    lost: int = 0
    host: str | None = None
    not_before: float = 0.0
    locked_since: float | None = None


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
    job: _Job | None = None
    future: Any = None

    def __str__(self) -> str:
        return f"worker {self.name} on {self.machine or self.host}"


class _EndError(Exception):
    """Nothing more can be done; the message says why."""


@dataclass
class _Run:
    """The slides, who is at which, and what became of them."""

    items: Sequence[SlideInput]
    folder: Path
    setup: Setup
    source: Workers
    _results: dict[int, SlideResult] = field(default_factory=dict)
    _waiting: list[_Job] = field(default_factory=list)
    _workers: dict[str, _Worker] = field(default_factory=dict)
    # Of the threads of Dask's client: ends of tasks, and what workers tell.
    _news: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    _unfit: Exception | None = None
    _lost_preparing: int = 0
    _patches: int = 0

    @property
    def results(self) -> list[SlideResult]:
        """In the order of the slides."""
        return [self._results[place] for place in range(len(self.items))]

    def go(self) -> None:
        """Run until each slide has a result."""
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        for place, result in refuse_names(self.items).items():
            self._finish(place, result)
        self._waiting = sorted(
            (_job(place, item) for place, item in enumerate(self.items) if place not in self._results),
            key=lambda job: -job.size,
        )
        self.source.client.subscribe_topic(TOPIC, lambda event: self._news.put(event[1]))
        try:
            with (
                logging_redirect_tqdm(),
                tqdm(total=len(self.items), unit="slide", dynamic_ncols=True, mininterval=1) as bar,
            ):
                self._loop(bar)
        except _EndError as error:
            self._give_up(error)
        except KeyboardInterrupt:
            log.warning("%d of %d slides are finished", len(self._results), len(self.items))
            raise
        finally:
            self._stop_workers()

    def _loop(self, bar: Any) -> None:
        looked = restored = told = -float("inf")
        since = time.monotonic()
        patience = _WAITING_SECONDS[0]
        while len(self._results) < len(self.items):
            now = time.monotonic()
            if now - looked > _LOOK_SECONDS:
                looked = now
                self._look()
            if now - restored > _RESTORE_SECONDS:
                restored = now
                self.source.restore()
            self._assign()
            fit = [worker for worker in self._workers.values() if worker.state == "fit"]
            if any(not worker.paused for worker in fit):
                since, patience = now, _WAITING_SECONDS[0]
            elif now - max(since, told) > patience:
                told, patience = now, _WAITING_SECONDS[1]
                log.warning("%s", _PAUSED if fit else self.source.waiting)
            with suppress(queue.Empty):
                self._take(self._news.get(timeout=_LOOK_SECONDS / 2))
                while True:
                    self._take(self._news.get_nowait())
            self._draw(bar)

    def _look(self) -> None:
        """See which workers joined and which are gone."""
        try:
            known = self.source.client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, RuntimeError, TimeoutError) as error:
            raise _lost_scheduler() from error
        for address in self._workers.keys() - known.keys():
            self._mourn(self._workers.pop(address))
        for address, facts in known.items():
            if address not in self._workers:
                gpu = facts["resources"].get("GPU", 0) >= 1
                self._workers[address] = _Worker(address, facts["name"], facts["host"], gpu)
            self._workers[address].paused = facts["status"] != "running"
        for worker in self._workers.values():
            if worker.state == "new" and self._wanted(worker):
                worker.state = "preparing"
                self._submit(worker, prepare, self.setup)

    def _wanted(self, worker: _Worker) -> bool:
        """Tell whether to use a worker: where some declare a GPU, the others are left alone."""
        if worker.gpu or self.setup.options.device == "cpu":
            return True
        return not any(each.gpu for each in self._workers.values())

    def _submit(self, worker: _Worker, function: Any, *arguments: Any, **named: Any) -> None:
        worker.future = self.source.client.submit(
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
        now = time.monotonic()
        free = [
            worker
            for worker in self._workers.values()
            if worker.state == "fit" and worker.job is None and not worker.paused and self._wanted(worker)
        ]
        for worker in free:
            ready = [job for job in self._waiting if job.not_before <= now]
            # A dead process' lock is seen to be stale on its own machine at once, elsewhere in ten minutes.
            job = next((job for job in ready if job.host == worker.host), ready[0] if ready else None)
            if job is not None:
                self._waiting.remove(job)
                worker.job = job
                item = replace(job.item, path=_absolute(job.item.path))
                self._submit(worker, work_on_slide, self.setup, job.place, item, seen=job.seen)
            elif not self._waiting and self.source.release(worker.name):
                worker.state = "released"

    def _take(self, news: Any) -> None:
        if isinstance(news, dict):
            if news.get("run") == self.setup.run:
                self._hear(news)
            return
        worker, future = news
        if future is worker.future and worker.address in self._workers:
            self._ended(worker, future)

    def _hear(self, news: dict[str, Any]) -> None:
        worker = self._workers.get(news["worker"])
        if "message" in news:
            logger = logging.getLogger(news["logger"])
            logger.log(news["level"], "%s [%s]", news["message"], worker or news["worker"])
        elif worker is not None and worker.job is not None and worker.job.place == news["place"]:
            worker.job.done, worker.job.total = news["done"], news["total"]

    def _ended(self, worker: _Worker, future: Any) -> None:
        """Take what a task came to."""
        from distributed import KilledWorker

        if future.status == "cancelled":
            raise _lost_scheduler()
        job, worker.job, worker.future = worker.job, None, None
        try:
            value = future.result(timeout=_RESULT_SECONDS)
        except (KilledWorker, TimeoutError):
            # The worker died, with its result where it had one; its slide's file may be there all the same.
            if job is None:
                self._lost_preparing += 1
                self._workers.pop(worker.address, None)
            else:
                self._lose(job, worker)
        except (UnfitError, EncoderError, ImportError, AttributeError) as error:
            self._reject(worker, error)
            if job is not None:
                self._waiting.insert(0, job)
        except Exception as error:  # noqa: BLE001 -- whatever a task raised
            if job is None:
                self._reject(worker, error)
            else:
                path = job.item.path
                told = " ".join(f"{type(error).__name__}: {error}".split())
                self._finish(job.place, SlideResult(str(path), "failed", f"{path}: {told} (unexpected)"))
        else:
            if job is None:
                worker.state, worker.machine = "fit", value
                log.debug("%s is ready", worker)
            else:
                self._conclude(job, value)

    def _conclude(self, job: _Job, result: SlideResult) -> None:
        locked = result.status == "skipped" and result.h5ad is None
        now = time.monotonic()
        if locked:
            job.locked_since = job.locked_since or now
            if now - job.locked_since < _LOCK_SECONDS:
                # If it is a dead worker's, of this run or one before, it is stale soon; else it may be done.
                log.debug("%s; it is asked for again", result.message)
                job.not_before = now + _ASK_AGAIN_SECONDS
                self._waiting.append(job)
                return
        self._patches += result.n_patches
        self._finish(job.place, result)

    def _mourn(self, worker: _Worker) -> None:
        if worker.future is None:
            return
        with suppress(Exception):
            worker.future.cancel()
        if worker.job is None:
            self._lost_preparing += 1
            if self._lost_preparing >= _MOST_LOST and not self._usable():
                raise _EndError(
                    f"{self._lost_preparing} workers died while they loaded the encoder; their logs say why "
                    "(memory?)"
                )
        else:
            self._lose(worker.job, worker)

    def _lose(self, job: _Job, worker: _Worker) -> None:
        """Put a slide back whose worker died, unless it is the slide that kills them."""
        job.lost = job.lost + 1 if job.done <= job.furthest else 1
        job.furthest = max(job.furthest, job.done)
        job.host = worker.host
        path = job.item.path
        if job.lost < _MOST_LOST:
            log.warning("%s was lost; %s is given to another", worker, path)
            job.done = job.total = 0
            self._waiting.insert(0, job)
            return
        at = f"after {job.furthest} of {job.total} patches" if job.total else "at its begin"
        self._finish(
            job.place,
            SlideResult(
                str(path),
                "failed",
                f"{path}: {job.lost} workers in a row died of it, {at}, the last one {worker}; "
                "give workers more memory, or leave the slide out",
            ),
        )

    def _reject(self, worker: _Worker, error: Exception) -> None:
        """Use a worker no more; end the run when that was the last one."""
        worker.state = "unfit"
        if isinstance(error, ImportError | AttributeError):
            told: Exception = ClusterError(
                f"{worker} cannot run tissuumaps-sic {__version__} ({error}); install the same version there"
            )
        elif isinstance(error, EncoderError):
            told = EncoderError(f"{error} (on {worker})")
        else:
            told = ClusterError(f"{worker} {error}")
        self._unfit = told
        if not self._usable():
            raise _EndError(str(told)) from told
        log.warning("%s; it is not used", told)

    def _usable(self) -> bool:
        return any(worker.state != "unfit" and self._wanted(worker) for worker in self._workers.values())

    def _finish(self, place: int, result: SlideResult) -> None:
        """Note a result, with the paths as they were given."""
        h5ad = None if result.h5ad is None else str(self.folder / Path(result.h5ad).name)
        self._results[place] = replace(result, slide=str(self.items[place].path), h5ad=h5ad)
        log_result(result)

    def _give_up(self, error: _EndError) -> None:
        if len(self._results) == 0:
            raise (self._unfit if self._unfit is not None else ClusterError(str(error))) from error
        left = [place for place in range(len(self.items)) if place not in self._results]
        log.error("%s; %d of %d slides are not embedded", error, len(left), len(self.items))
        for place in left:
            path = str(self.items[place].path)
            self._results[place] = SlideResult(path, "failed", f"{path}: not embedded, since {error}")

    def _stop_workers(self) -> None:
        """Let workers that are at a slide save what they have."""
        futures = [worker.future for worker in self._workers.values() if worker.job is not None]
        if not futures or self.source.client.status != "running":
            return
        with suppress(OSError, RuntimeError, TimeoutError):
            self.source.client.run(stop, self.setup.run, on_error="ignore")
        deadline = time.monotonic() + _STOP_SECONDS
        while not all(future.done() for future in futures) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _draw(self, bar: Any) -> None:
        at_work = [worker.job for worker in self._workers.values() if worker.job is not None]
        shares = sum(job.done / job.total for job in at_work if job.total)
        bar.n = round(len(self._results) + shares, 2)
        patches = self._patches + sum(job.done for job in at_work)
        bar.set_postfix(
            patches=patches, workers=sum(w.state == "fit" for w in self._workers.values()), refresh=False
        )
        bar.update(0)


def _job(place: int, item: SlideInput) -> _Job:
    try:
        size = item.path.stat().st_size
    except OSError:
        return _Job(place, item, seen=False, size=0)
    return _Job(place, item, seen=True, size=size)


def _lost_scheduler() -> _EndError:
    return _EndError("the connection to the Dask scheduler was lost; the same command goes on where it was")
