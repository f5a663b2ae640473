"""One writer a slide: a lock file that says who is at work, and that outlives nobody.

A lock of the operating system would die with its process, but many shared file systems do not pass such locks
from machine to machine. So the lock is a small file, which a living holder touches now and then.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger(__name__)

_TOUCH_SECONDS = 30.0
# So many touches must fail to come before a holder on another machine is taken for dead.
_STALE_SECONDS = 20 * _TOUCH_SECONDS


class LockedError(Exception):
    """Another run is at work; the message says which, and what to do if it is not."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes
    ----------
    host : str
    pid : int
    started : str
        When the lock was taken, UTC, ISO 8601.
    process_started : float
        When the process began, seconds since 1970: a number that a later process of the same pid has not.
    token : str
        Tells this lock from every other.
    """

    host: str
    pid: int
    started: str
    process_started: float
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.started}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs.

    Parameters
    ----------
    path : Path
        The lock file; removed at the end. Its folder must exist.

    Raises
    ------
    LockedError
        A process that lives holds it.
    OSError
        The file cannot be written.

    Notes
    -----
    A lock is stale when its process is gone (on this machine), or when it was not touched for ten minutes
    (on another, by the file server's clock). It is then cleared, and the log says so.
    """
    mine = _take(path)
    done = threading.Event()
    toucher = threading.Thread(target=_touch, args=(path, done), daemon=True, name="lock-toucher")
    toucher.start()
    try:
        yield
    finally:
        done.set()
        toucher.join()
        # After ten minutes of sleep (a closed laptop) the lock may be somebody else's.
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _take(path: Path) -> Holder:
    import psutil

    mine = Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        process_started=psutil.Process().create_time(),
        token=uuid.uuid4().hex,
    )
    for _ in range(3):
        if _create(path, mine):
            return mine
        holder = _read(path)
        if holder is None and not path.exists():
            continue  # given back this moment
        reason = _stale(path, holder)
        if reason is None:
            raise LockedError(
                f"{holder or 'another run'} is at work on it; if that is not so, delete {path.name}"
            )
        log.warning("%s was left by %s, %s; it is cleared", path.name, holder or "a run that broke", reason)
        _clear(path, holder)
    raise LockedError(f"other runs take and leave {path.name} at this moment; run again")


def _create(path: Path, holder: Holder) -> bool:
    """Create the lock, with its content, in one step that only one process can win."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(holder), file)
        try:
            os.link(name, path)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links: then the content follows a moment after the file.
            try:
                with path.open("x", encoding="utf-8") as file:
                    json.dump(asdict(holder), file)
            except FileExistsError:
                return False
    finally:
        Path(name).unlink()
    return True


def _clear(path: Path, holder: Holder | None) -> None:
    """Move a stale lock away; one that was replaced in the meantime is put back."""
    aside = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != holder:
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink()


def _stale(path: Path, holder: Holder | None) -> str | None:
    """Say why a lock is stale; None where it is not."""
    import psutil

    if holder is not None and holder.host == socket.gethostname():
        try:
            started = psutil.Process(holder.pid).create_time()
        except psutil.NoSuchProcess:
            return "which is gone"
        except psutil.AccessDenied:
            return None
        # Clocks are corrected by some seconds; a pid does not come round again so soon.
        return (
            None if abs(started - holder.process_started) < 5 else "which is gone (its pid is another's now)"
        )
    try:
        with tempfile.NamedTemporaryFile(prefix=f"{path.name}-", dir=path.parent) as now:
            idle = Path(now.name).stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return None
    return f"and was not touched for {idle / 60:.0f} minutes" if idle > _STALE_SECONDS else None


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _touch(path: Path, done: threading.Event) -> None:
    while not done.wait(_TOUCH_SECONDS):
        with suppress(OSError):
            os.utime(path)
