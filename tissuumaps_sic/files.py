"""Writing files so that a reader never sees half of one, and no writer loses what another wrote."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

# A run on a million patches takes less.
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.2
# What file systems without locks answer, beside ENOSYS, which `filelock` knows.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class BusyError(Exception):
    """Another program holds a lock; the message says which, and what to do if it is not so."""


@contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a lock between processes while the block runs; wait for it where another one holds it.

    Threads of one process are kept apart as well, but wait longer than a `threading.Lock` would make them.

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
    lock = _acquired(path, waiting)
    try:
        yield
    finally:
        lock.release()


def _acquired(path: Path, waiting: Callable[[], object]) -> BaseFileLock:
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


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on leaving, flush it to disk and rename it over `target`.

    When the body raises, the temporary file is removed and `target` is as it was.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    # The suffix is kept, because some writers choose the format by it.
    temporary = target.with_name(f".{target.stem}-{secrets.token_hex(4)}{target.suffix}")
    # By the process's own rules for new files: a shared folder's other readers must see ours.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _flush_folder(target.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_left_behind(target: Path) -> None:
    """Remove what a process killed in `replacing` left; nobody else may be writing `target` now."""
    left = re.compile(rf"\.{re.escape(target.stem)}-[0-9a-f]{{8}}{re.escape(target.suffix)}")
    for path in target.parent.iterdir():
        if left.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
