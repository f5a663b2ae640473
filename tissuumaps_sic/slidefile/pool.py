"""One function over many things in several processes: what ends one process takes nothing else with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[int, Result | None]]:
    """Yield the place of each item and what `work` returns of it, as they are finished.

    Parameters
    ----------
    work : callable
        With more than one worker it goes to other processes, with the items, by pickle. What it raises ends
        all.
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
    # New processes rather than forked ones: HDF5, OpenMP and libvips do not survive a fork.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    running: dict[Future[Result], tuple[int, Item]] = {}
    try:
        while waiting or running:
            # No more than keeps all of them busy, so that memory does not grow with what there is.
            while waiting and len(running) < 2 * workers:
                future = pool.submit(work, waiting[0][1])
                running[future] = waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future)[0], result
    except BrokenProcessPool:
        return list(running.values())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return []
