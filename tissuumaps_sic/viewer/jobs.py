"""What the long requests of pages are at: asked for by the pages while they wait, and stopped by them.

And how many requests may take long at once, since each keeps one of the server's few threads.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.labelling.progress import Cancelled
from tissuumaps_sic.slidefile.errors import SicError

# A page has one at a time; what is stopped before it has begun is remembered as long.
_MOST = 256


class TakenError(SicError):
    """A job of that name is at work on the slide already."""


class FullError(SicError):
    """As many requests as may wait are waiting; the message is for who asks now."""

    status = 503


class Room:
    """Places for requests that take long or wait; safe to use from many threads.

    Parameters
    ----------
    most, of_slide : int
        How many places there are, and for requests of one slide.
    patience : float
        Seconds for which who finds no place looks again.
    """

    def __init__(self, most: int, of_slide: int, *, patience: float) -> None:
        self._most, self._of_slide, self._patience = most, of_slide, patience
        self._taken: Counter[Path] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, h5ad: Path, *, patience: float | None = None) -> Iterator[None]:
        """Keep a place while the block runs; `patience` is that of the room by default.

        Parameters
        ----------
        h5ad : Path
        patience : float, optional

        Raises
        ------
        FullError
            When there is none.
        """
        if patience is None:
            patience = self._patience
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_taken(h5ad), patience):
                whose = "of this slide" if self._taken[h5ad] >= self._of_slide else "of other pages"
                raise FullError(
                    f"the server is busy with {self._taken.total()} requests and takes no more {whose} now; "
                    "try again in a moment"
                )
            self._taken[h5ad] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[h5ad] -= 1
                if not self._taken[h5ad]:
                    del self._taken[h5ad]
                self._changed.notify_all()

    def is_full(self, h5ad: Path) -> bool:
        """Return whether there is no place now for a request of a slide.

        Parameters
        ----------
        h5ad : Path

        Returns
        -------
        bool
        """
        with self._changed:
            return self._is_taken(h5ad)

    def _is_taken(self, h5ad: Path) -> bool:
        return self._taken.total() >= self._most or self._taken[h5ad] >= self._of_slide


@dataclass
class _Job:
    stage: str = ""
    share: float = 0.0
    is_cancelled: bool = False
    is_running: bool = False

    def tell(self, stage: str, share: float) -> None:
        self.stage, self.share = stage, share
        if self.is_cancelled:
            raise Cancelled


class Jobs:
    """Jobs by the slide they are of and the token that a page gave them; safe to use from many threads."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[tuple[Path, str], _Job] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def begin(self, h5ad: Path, token: str | None) -> Iterator[_Job]:
        """Keep a job while the block runs; without a token it cannot be asked for.

        Parameters
        ----------
        h5ad : Path
        token : str or None

        Yields
        ------
        job
            Its `tell` is the `Progress` to be given to what takes long; it raises `Cancelled` when the job is
            stopped, at once where that was before it began.

        Raises
        ------
        TakenError
            When such a job is running.
        """
        if token is None:
            yield _Job()
            return
        with self._lock:
            job = self._jobs.pop((h5ad, token), None) or _Job()
            # Put back too where it is refused: it is another one's.
            self._jobs[h5ad, token] = job
            if job.is_running:
                raise TakenError(f"a job {token} is at work on {h5ad.name} already; give each its own token")
            job.is_running = True
            self._forget_some()
        try:
            yield job
        finally:
            with self._lock:
                del self._jobs[h5ad, token]

    def progress(self, h5ad: Path, token: str) -> tuple[str, float] | None:
        """Return the stage of a job in words and the share that is done; None where it is not running.

        Parameters
        ----------
        h5ad : Path
        token : str

        Returns
        -------
        (str, float) or None
        """
        with self._lock:
            job = self._jobs.get((h5ad, token))
            return (job.stage, job.share) if job is not None and job.is_running else None

    def cancel(self, h5ad: Path, token: str) -> bool:
        """Stop a job, or one of that name that comes yet; return whether it was running.

        Parameters
        ----------
        h5ad : Path
        token : str

        Returns
        -------
        bool
        """
        with self._lock:
            job = self._jobs.setdefault((h5ad, token), _Job())
            job.is_cancelled = True
            self._forget_some()
            return job.is_running

    def _forget_some(self) -> None:
        """Forget jobs that were stopped and never came, beyond those that are kept."""
        idle = [key for key, job in self._jobs.items() if not job.is_running]
        for key in idle[: max(len(idle) - _MOST, 0)]:
            del self._jobs[key]
