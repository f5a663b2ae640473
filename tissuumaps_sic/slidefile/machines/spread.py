"""One function over many files, in processes of this machine or on the workers of many."""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tissuumaps_sic import __version__
from tissuumaps_sic.slidefile.machines.errors import ClusterError
from tissuumaps_sic.slidefile.machines.slurm import SlurmOptions
from tissuumaps_sic.slidefile.pool import count_processors, map_in_processes
from tissuumaps_sic.slidefile.spelling import say_count

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_SECONDS = 1.0
_RESTORE_SECONDS = 20.0
_WAITING_SECONDS = 20.0
# Jobs that end again and again before a worker is there will not do otherwise the next time.
_MOST_ENDED = 4
_LOST = "the connection to the Dask scheduler was lost; the same command goes on where it was"

# A worker of somebody's cluster may have many threads: one file at a time.
_at_work = threading.Lock()


@dataclass(frozen=True)
class Machines:
    """Who does the work.

    Attributes
    ----------
    workers : int or None
        Processes of this machine, or jobs of SLURM; None for as many as this machine has processors.
    scheduler : str or None
        Address of a Dask scheduler whose workers do it.
    slurm : SlurmOptions or None
        Have SLURM start the workers.
    """

    workers: int | None = None
    scheduler: str | None = None
    slurm: SlurmOptions | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether others than this machine's processes do it: paths must then mean the same there."""
        return self.scheduler is not None or self.slurm is not None


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], machines: Machines, *, folder: Path
) -> Iterator[tuple[int, Result | None]]:
    """Yield the place of each item and what `work` returns of it, as they are finished.

    Parameters
    ----------
    work : callable
        A function of this package, or an instance of a class of it; it goes to other processes by pickle.
    items : sequence
        With absolute paths where the machines are others.
    machines : Machines
    folder : Path
        Where jobs leave their logs, absolute.

    Yields
    ------
    place : int
        From 0.
    result : object or None
        None where what worked on the item was ended from outside, again and again.

    Raises
    ------
    ClusterError
        The workers cannot be used, or are lost.
    ModuleNotFoundError
        The packages of the extra "cluster" are not installed, and are needed.
    """
    if machines.elsewhere:
        yield from _map_on_workers(work, items, machines, folder)
        return
    workers = machines.workers or count_processors()
    yield from map_in_processes(work, items, max(1, min(workers, len(items))))


def _map_on_workers(
    work: Callable[[Item], Result], items: Sequence[Item], machines: Machines, folder: Path
) -> Iterator[tuple[int, Result | None]]:
    from tissuumaps_sic.slidefile.machines.workers import connect_workers

    waiting = deque(enumerate(items))
    running: dict[Any, int] = {}
    # Of the threads of Dask's client.
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Jobs leave their logs there, and have their certificate from there.
    folder.mkdir(parents=True, exist_ok=True)
    with connect_workers(
        folder,
        scheduler=machines.scheduler,
        slurm=machines.slurm,
        workers=machines.workers,
        name="tissuumaps-sic",
    ) as source:
        restored = told = time.monotonic()
        n_ended = 0
        while waiting or running:
            names = _list_workers(source.client)
            n_workers = len(names)
            # One to work on and one that waits for it, each: who joins late gets a share.
            while waiting and len(running) < max(1, 2 * n_workers):
                place, item = waiting.popleft()
                future = source.client.submit(
                    _work_here, __version__, work, item, key=f"tissuumaps-sic-{uuid.uuid4().hex}", pure=False
                )
                running[future] = place
                future.add_done_callback(finished.put)
            with suppress(queue.Empty):
                future = finished.get(timeout=_LOOK_SECONDS)
                yield running.pop(future), _take(future)
            now = time.monotonic()
            if now - restored > _RESTORE_SECONDS:
                restored = now
                ended = source.forget_ended(names)
                n_ended = 0 if names else n_ended + (ended > 0)
                if n_ended == _MOST_ENDED:
                    raise ClusterError(
                        f"{say_count(ended, 'job')} ended before a worker was here, {n_ended} times over; "
                        f"what they wrote into {source.logs} says why"
                    )
                source.restore()
            if n_workers:
                told = now
            elif now - told > _WAITING_SECONDS:
                told = now + _WAITING_SECONDS * 29  # ten minutes until it is told again
                log.warning("%s", source.waiting)


def _list_workers(client: Any) -> set[Any]:
    try:
        return {facts["name"] for facts in client.scheduler_info(n_workers=-1)["workers"].values()}
    except (OSError, RuntimeError, TimeoutError) as error:
        raise ClusterError(_LOST) from error


def _take(future: Any) -> Any:
    """Return what a task returned; None where its workers died of it.

    Raises
    ------
    ClusterError
        The scheduler is gone, or workers have other versions of what is needed.
    """
    from distributed import KilledWorker

    if future.status == "cancelled":
        raise ClusterError(_LOST)
    try:
        return future.result()
    except KilledWorker:
        return None
    except (ImportError, AttributeError) as error:
        # A task that could not be read there: what it is of is not on that machine, or another version.
        raise ClusterError(
            f"a worker cannot do this ({type(error).__name__}: {error}); "
            f"install tissuumaps-sic {__version__} on every machine"
        ) from error


def _work_here(version: str, work: Callable[[Item], Result], item: Item) -> Result:
    if version != __version__:
        raise ImportError(f"it has tissuumaps-sic {__version__}")
    with _at_work:
        return work(item)
