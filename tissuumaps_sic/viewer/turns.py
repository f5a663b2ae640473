"""Whose turn it is: who may cluster, who may write a slide's sessions, and what a page may stop."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tissuumaps_sic.annotation.store import editing, session_path
from tissuumaps_sic.labelling.progress import Cancelled, Progress
from tissuumaps_sic.viewer.jobs import Jobs, Room
from tissuumaps_sic.viewer.places import is_writable
from tissuumaps_sic.viewer.requests import RequestError, naming

_PATIENCE_SECONDS = 120.0
# Each uses every core, and of a large slide gigabytes.
_FITS_AT_ONCE = 2
# How often what waits looks whether it was stopped.
_LOOK_SECONDS = 0.1
# Of the threads that answer (`serve`) so many may be at work on a run or wait for one, or for their turn to
# write; the others go on serving tiles. Who waits for no longer than a moment is not counted.
_MOST_LONG, _MOST_OF_SLIDE = 10, 8
_MOMENT_SECONDS = 0.5
_WAITING = "Waiting for another run"
# Not an HTTP status of any standard, but what servers note of a request that its client has given up.
_STOPPED = 499


def _ignore(_stage: str, _share: float) -> None:
    """Be told how far something is, for nobody."""


class Turns:
    """Turns of the requests of all pages; safe to use from many threads.

    Attributes
    ----------
    jobs : Jobs
        What pages may ask about.
    """

    def __init__(self) -> None:
        self.jobs = Jobs()
        self._own = threading.Lock()
        self._writing: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._clustering: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._fitting = threading.BoundedSemaphore(_FITS_AT_ONCE)
        self._room = Room(_MOST_LONG, _MOST_OF_SLIDE, patience=_MOMENT_SECONDS)

    @contextmanager
    def job(self, h5ad: Path, token: str | None) -> Iterator[Progress]:
        """Keep a place for a request that takes long, and let it be asked about and stopped.

        Parameters
        ----------
        h5ad : Path
        token : str or None

        Yields
        ------
        callable
        """
        try:
            with self.jobs.begin(h5ad, token) as job, self._room.place(h5ad):
                yield job.tell
        except Cancelled as error:
            raise RequestError(_STOPPED, "stopped; the labels are as they were") from error

    @contextmanager
    def clustering(self, h5ad: Path, progress: Progress = _ignore) -> Iterator[None]:
        """Wait for one's turn to cluster, or until `progress` raises: one a slide, and few in all.

        Parameters
        ----------
        h5ad : Path
        progress : callable, optional
        """
        with self._own:
            of_slide = self._clustering[h5ad]
        with ExitStack() as held:
            # Of one slide only one, or what is found once a slide would be found twice, in twice the memory.
            for gate in (of_slide, self._fitting):
                while not gate.acquire(timeout=_LOOK_SECONDS):
                    progress(_WAITING, 0.0)
                held.callback(gate.release)
            yield

    @contextmanager
    def writing(self, h5ad: Path, progress: Progress = _ignore, *, has_place: bool = False) -> Iterator[None]:
        """Keep everyone else from writing sessions of an h5ad: threads of this process, then other ones.

        Who waits for longer than a moment needs one of the few places for that, and may have it already.

        Parameters
        ----------
        h5ad : Path
        progress : callable, optional
        has_place : bool, default=False
        """
        with self._own:
            lock = self._writing[h5ad]
        started = time.monotonic()
        with ExitStack() as held, ExitStack() as waiting:

            def wait() -> None:
                nonlocal has_place
                progress(_WAITING, 0.0)
                waited = time.monotonic() - started
                # Where all places are taken nothing is over in a moment.
                if not has_place and (waited >= _MOMENT_SECONDS or self._room.is_full(h5ad)):
                    waiting.enter_context(self._room.place(h5ad, patience=0.0))
                    has_place = True

            # Not for ever, since every thread that waits here is one that serves no tiles.
            timeout = 0.0
            while not lock.acquire(timeout=timeout):
                timeout = min(_LOOK_SECONDS, _PATIENCE_SECONDS)
                wait()
                if time.monotonic() - started >= _PATIENCE_SECONDS:
                    raise RequestError(
                        503, "another page is at work on this slide; try again when it is done"
                    )
            held.callback(lock.release)
            # What the server keeps for itself no other process writes.
            if is_writable(h5ad):
                with naming(session_path(h5ad)):
                    held.enter_context(editing(h5ad, wait))
            waiting.close()
            yield
