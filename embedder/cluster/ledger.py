"""The slides of a run on many workers: which wait for one, and what became of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedder.embedding.request import SlideInput
from embedder.embedding.results import SlideResult, log_result, refuse_names
from tissuumaps_sic.slidefile.spelling import say_count

log = logging.getLogger(__name__)

# A slide that takes its worker down so often, without going further in between, is at fault itself.
MOST_LOST = 4
# A lock of a process that died on another machine is stale after ten minutes: `slidefile.leases`.
_ASK_AGAIN_SECONDS = 30.0
_LOCK_SECONDS = 660.0


@dataclass
class Job:
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


class Ledger:
    """What is known of each slide of a run.

    Parameters
    ----------
    items : sequence of SlideInput
        Those whose name cannot be have their result, a failure, at once.
    folder : Path
        As it was given, for the paths in the results.

    Attributes
    ----------
    waiting : list of Job
        The largest first.
    n_patches : int
        Of the slides that are finished.
    """

    def __init__(self, items: Sequence[SlideInput], folder: Path) -> None:
        self.n_patches = 0
        self._items = items
        self._folder = folder
        self._results: dict[int, SlideResult] = {}
        for place, result in refuse_names(items).items():
            self.finish(place, result)
        jobs = (_make_job(place, item) for place, item in enumerate(items) if place not in self._results)
        self.waiting = sorted(jobs, key=lambda job: -job.size)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def n_finished(self) -> int:
        """How many slides have a result."""
        return len(self._results)

    @property
    def results(self) -> list[SlideResult]:
        """In the order of the slides, once all have one."""
        return [self._results[place] for place in range(len(self._items))]

    def take(self, host: str) -> Job | None:
        """Return the largest slide that may be begun on a host; None where there is none now.

        Parameters
        ----------
        host : str
            Name of the machine that a free worker is on.

        Returns
        -------
        Job or None
        """
        now = time.monotonic()
        ready = [job for job in self.waiting if job.not_before <= now]
        # A dead process' lock is seen to be stale on its own machine at once, elsewhere in ten minutes.
        job = next((job for job in ready if job.host == host), ready[0] if ready else None)
        if job is not None:
            self.waiting.remove(job)
        return job

    def put_back(self, job: Job) -> None:
        """Let a slide be the next that is begun.

        Parameters
        ----------
        job : Job
        """
        self.waiting.insert(0, job)

    def conclude(self, job: Job, result: SlideResult) -> None:
        """Note what a worker made of a slide; one that another run is at is asked for again.

        Parameters
        ----------
        job : Job
        result : SlideResult
        """
        if result.status == "skipped" and result.h5ad is None:
            now = time.monotonic()
            job.locked_since = job.locked_since or now
            if now - job.locked_since < _LOCK_SECONDS:
                # If it is a dead worker's, of this run or one before, it is stale soon; else it may be done.
                log.debug("%s; it is asked for again", result.message)
                job.not_before = now + _ASK_AGAIN_SECONDS
                self.waiting.append(job)
                return
        self.n_patches += result.n_patches
        self.finish(job.place, result)

    def lose(self, job: Job, *, worker: str, host: str) -> None:
        """Put a slide back whose worker died, unless it is the slide that kills them.

        Parameters
        ----------
        job : Job
        worker : str
            What the message calls it.
        host : str
            The machine that it was on.
        """
        job.lost = job.lost + 1 if job.done <= job.furthest else 1
        job.furthest = max(job.furthest, job.done)
        job.host = host
        path = job.item.path
        if job.lost < MOST_LOST:
            log.warning("%s was lost; %s is given to another worker", worker, path)
            job.done = job.total = 0
            self.put_back(job)
            return
        at = f"after {job.furthest} of {job.total} patches" if job.total else "at its beginning"
        message = (
            f"{path}: {job.lost} workers in a row died of it, {at}, the last one {worker}; "
            "give workers more memory, or leave the slide out"
        )
        self.finish(job.place, SlideResult(str(path), "failed", message))

    def finish(self, place: int, result: SlideResult) -> None:
        """Note a result, with the paths as they were given, and log it.

        Parameters
        ----------
        place : int
            Of the slide among those that were given, from 0.
        result : SlideResult
        """
        h5ad = None if result.h5ad is None else str(self._folder / Path(result.h5ad).name)
        self._results[place] = replace(result, slide=str(self._items[place].path), h5ad=h5ad)
        log_result(result)

    def give_up(self, reason: object) -> None:
        """Let the slides that have no result be failures.

        Parameters
        ----------
        reason : object
            Whose text is the reason.
        """
        left = [place for place in range(len(self)) if place not in self._results]
        log.error("%s; %d of %s not embedded", reason, len(left), say_count(len(self), "slide"))
        for place in left:
            path = str(self._items[place].path)
            self._results[place] = SlideResult(path, "failed", f"{path}: not embedded, since {reason}")


def _make_job(place: int, item: SlideInput) -> Job:
    try:
        size = item.path.stat().st_size
    except OSError:
        return Job(place, item, seen=False, size=0)
    return Job(place, item, seen=True, size=size)
