"""One function over many things in several processes: what ends one process takes nothing else with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# What the libraries that compute read when they are loaded: a processor each is what processes are for.
_IN_PROCESSES = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VIPS_CONCURRENCY"), "1"
) | {
    # Bars of several processes would write over each other.
    "TQDM_DISABLE": "1"
}

# Never forks of this process: HDF5, OpenMP and libvips do not survive that once they are used.
_METHOD = "forkserver" if sys.platform.startswith("linux") else "spawn"

_EXIT = 128 + signal.SIGTERM

# For so long the end of the processes is waited for; a library may hold one up.
_LEAVE_SECONDS = 5.0


def count_processors() -> int:
    """Return how many processors this process may use; a batch system gives it a share of the machine's.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_early(*modules: str) -> None:
    """Begin to load modules for the processes of `map_in_processes`, while this one goes on.

    Loading them takes each process seconds; where the system can, it is done once for all.

    Parameters
    ----------
    modules : str
        Such that are only loaded, and begin nothing: no thread of theirs would be there in the processes.
    """
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(list(modules))
        with _let_compute_in_one_thread():
            forkserver.ensure_running()


def map_in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[int, Result | None]]:
    """Yield the place of each item and what `work` returns of it, as they are finished.

    Parameters
    ----------
    work : callable
        With more than one worker it goes to other processes, with the items, by pickle; each of them computes
        in one thread. What it raises ends all.
    items : iterable
    workers : int

    Yields
    ------
    place : int
        From 0.
    result : object or None
        None where a process was ended from outside while it worked on the item, and again when it worked on
        that alone: usually for want of memory, or by a fault in a library.
    """
    waiting = deque(enumerate(items))
    if workers <= 1:
        for place, item in waiting:
            yield place, work(item)
        return
    while waiting:
        suspects = yield from _work_together(work, waiting, workers)
        for suspect in suspects:
            # Whichever of them it was, the others have done nothing wrong.
            lost = yield from _work_together(work, deque([suspect]), 1)
            if lost:
                yield suspect[0], None


def _work_together(
    work: Callable[[Item], Result], waiting: deque[tuple[int, Item]], workers: int
) -> Generator[tuple[int, Result | None], None, list[tuple[int, Item]]]:
    """Yield results until nothing waits, or a process was ended: return what was being worked on then."""
    running: dict[Future[Result], tuple[int, Item]] = {}
    with _open_pool(workers) as pool:
        try:
            while waiting or running:
                # Processes begin when there is something for them.
                with _let_compute_in_one_thread():
                    # No more than keeps all of them busy, so that memory does not grow with what there is.
                    while waiting and len(running) < 2 * workers:
                        future = pool.submit(_work_or_end, work, waiting[0][1])
                        running[future] = waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future)[0], result
        except BrokenProcessPool:
            return list(running.values())
    return []


@contextmanager
def _open_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool; where the block is left by Ctrl-C or an error, what its processes are at is ended too."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context(_METHOD), initializer=_begin)
    try:
        yield pool
    except BaseException:
        # Python 3.14 has a method for it. What ends is one slide, whose temporary files are removed.
        processes: dict[int, Any] = dict(getattr(pool, "_processes", None) or {})
        for process in processes.values():
            process.terminate()
        raise
    finally:
        manager: threading.Thread | None = getattr(pool, "_executor_manager_thread", None)
        pool.shutdown(wait=False, cancel_futures=True)
        # Its thread is waited for: where it ends while this process does, Python 3.11 may write to its pipe
        # just after that was closed, and a command that did all of its work ends with a traceback. Not for
        # ever: a process that a library holds up ends when it can.
        if manager is not None:
            manager.join(_LEAVE_SECONDS)


@contextmanager
def _let_compute_in_one_thread() -> Iterator[None]:
    """Have the processes that begin in the block load their libraries with one thread for each."""
    before = {name: os.environ.get(name) for name in _IN_PROCESSES}
    os.environ.update(_IN_PROCESSES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Ended(BaseException):
    """Raised where a process is told to end, so that what it was writing is removed."""


class _Here:
    """Whether this process is at work, and must clean up when it is told to end; and whether it was told."""

    at_work = False
    is_told = False


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when that does, with what is being written removed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end(*_: object) -> None:
    _Here.is_told = True
    if _Here.at_work:
        _Here.at_work = False
        raise _Ended
    os._exit(_EXIT)


def _work_or_end(work: Callable[[Item], Result], item: Item) -> Result:
    try:
        _Here.at_work = True
        return work(item)
    except _Ended:
        # The pool would send it to the parent as a result, and take the next item.
        os._exit(_EXIT)
    finally:
        _Here.at_work = False
        # Where `_Ended` was raised in what Python ignores errors of, as in `__del__`, the work has gone on.
        # The pool would then wait for the next item, and for ever where the parent is gone.
        if _Here.is_told:
            os._exit(_EXIT)
