"""Locks between processes, so that no writer loses what another wrote."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from tissuumaps_sic.slidefile.errors import SicError

# A run on a million patches takes less.
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.2
# What file systems without locks answer, beside ENOSYS, which `filelock` knows.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


# The lock files that each thread holds.
_HELD = threading.local()


class BusyError(SicError):
    """Another program holds a lock; the message says which, and what to do if it is not so."""

    status = 503


@contextmanager
def hold_lock(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a lock between processes while the block runs; wait for it where another one holds it.

    Threads of one process are kept apart as well, but wait longer than a `threading.Lock` would make them.
    The thread that holds a lock may take it again.

    Parameters
    ----------
    path : Path
        The lock file. It stays where it is, empty: to remove it would let two processes hold two locks.
    waiting : callable, optional
        Called several times a second while another one holds it; what it raises ends the wait.

    Raises
    ------
    BusyError
        When another process holds the lock for two minutes.
    OSError
        When the folder cannot be written.

    Notes
    -----
    The lock is the operating system's, and ends with the process that holds it, `kill -9` included. On file
    systems that have none its place is taken by a file beside it, which tells its process; one that a process
    of another machine left when it died must be deleted by hand.
    """
    held: set[Path] = vars(_HELD).setdefault("paths", set())
    real = path.parent.resolve() / path.name
    if real in held:
        yield
        return
    lock = _acquire(path, waiting)
    held.add(real)
    try:
        yield
    finally:
        held.discard(real)
        lock.release()


def _acquire(path: Path, waiting: Callable[[], object]) -> BaseFileLock:
    # Whoever may write into the folder must be able to take a lock that somebody else's process made.
    lock: BaseFileLock = FileLock(path, mode=0o666, poll_interval=0.02)
    try:
        try:
            _wait_for(lock, waiting)
        except OSError as error:
            # A `Timeout` is one too.
            if error.errno not in _NO_LOCKS:
                raise
            lock = SoftFileLock(f"{path}ed")
            _wait_for(lock, waiting)
    except Timeout as error:
        raise BusyError(
            "another program has been writing this slide's session for two minutes; try again, or, where no "
            f"other is at work, delete {Path(lock.lock_file).name} beside the slide"
        ) from error
    return lock


def _wait_for(lock: BaseFileLock, waiting: Callable[[], object]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            lock.acquire(timeout=min(_LOOK_SECONDS, _PATIENCE_SECONDS))
        except Timeout:
            waiting()
            if time.monotonic() >= until:
                raise
        else:
            return
