"""One writer a slide: a lock file that says who is at work, and that outlives nobody.

A lock of the operating system would die with its process, but many shared file systems do not pass such locks
from machine to machine. So the lock is a small file, and to hold it is a lease: the holder renews it now and
then, and looks before each checkpoint whether it is still its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import socket
import stat
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.processes import identify_machine, look_up_process

log = logging.getLogger(__name__)

_TOUCH_SECONDS = 10.0
# So long must renewals fail to come before a holder that cannot be looked at is taken for dead.
_STALE_SECONDS = 600.0
# A holder that lives renews its lock while it is watched so long.
_TOUCHES_WATCHED = 1.5
_LOOK_SECONDS = 0.2
_MOST_BYTES = 4096
_MOST_STARTED = 1e15
_LONGEST_NAME = 255
_DIGEST_LENGTH = 16
# Of files that may be anything, none is waited for (a pipe), followed (a link) or changed in its line ends.
_AS_IT_IS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class LockedError(SicError):
    """Another run is at work; the message says which, and what to do if it is not."""


class LostError(LockedError):
    """The lock was held, and is so no more; the message says who has it."""


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
        When the process began: a number that a later process of the same pid has not. On Linux in ticks since
        the machine started, which does not change when its clock is set; elsewhere in seconds since 1970.
    token : str
        Tells this lock from every other.
    boot : str
        Of the machine, since it was started; "" where that cannot be known.
    namespace : str
        Within which the pid means anything: every container has its own. "" where that cannot be known.
    renewed : str
        When the lease was last renewed, in seconds of the machine's monotonic clock; as wide at each renewal.
    """

    host: str
    pid: int
    started: str
    process_started: float
    token: str
    boot: str = ""
    namespace: str = ""
    renewed: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.started}"


@dataclass(frozen=True)
class Lock:
    """A lock that is held; made by `hold_lock`. It may be passed on to the process that does the work.

    Attributes
    ----------
    path : Path
    token : str
        Tells this lock from every other.
    ended : frozenset of str
        Tokens of holders before this one that are known to live no more, by their processes.
    """

    path: Path
    token: str
    ended: frozenset[str] = frozenset()

    def check(self, what: str = "this slide") -> None:
        """Make sure that the lock is still held.

        Parameters
        ----------
        what : str, default="this slide"
            What it is the lock of, for the message.

        Raises
        ------
        LostError
            Another run has it, since this one did not renew it (a machine that slept), or it was deleted.
        OSError
            The file system does not answer.
        """
        try:
            found = _look(self.path)
        except LockedError:
            found = None
        if found is None:
            raise LostError(
                f"another run took {what}, or its lock {self.path.name} was deleted; run again when no "
                "other is at work on it"
            )
        if found.holder is None or found.holder.token != self.token:
            raise LostError(
                f"another run took {what} ({found.holder or 'which does not tell its name'}), since this "
                "one stood still for more than ten minutes or its lock was deleted; run again when that one "
                "is done"
            )


@dataclass(frozen=True)
class _Found:
    """What lies at a lock's place: its content, the time of its last renewal, and whom it names."""

    content: bytes | None
    mtime_ns: int
    holder: Holder | None


def hidden_name(name: str, ending: str) -> str:
    """Return the name of a hidden file of a slide, such as ``.slide.lock``.

    Names that no file system would take (of more than 255 bytes) are cut, and told apart by a digest.

    Parameters
    ----------
    name : str
        Of the slide.
    ending : str
        Such as ".lock".

    Returns
    -------
    str
    """
    whole = f".{name}{ending}"
    if len(os.fsencode(whole)) <= _LONGEST_NAME:
        return whole
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:_DIGEST_LENGTH]
    room = _LONGEST_NAME - len(os.fsencode(f".-{digest}{ending}"))
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return f".{name}-{digest}{ending}"


@contextmanager
def hold_lock(path: Path) -> Iterator[Lock]:
    """Hold a lock file while the block runs.

    Parameters
    ----------
    path : Path
        The lock file; removed at the end. Its folder must exist.

    Yields
    ------
    Lock
        With which long work looks now and then whether it still holds the lock.

    Raises
    ------
    LockedError
        A process that lives holds it, or something that is no lock lies there.
    OSError
        The file cannot be written.

    Notes
    -----
    A lock is stale when its process is gone, which is asked only on its own machine and in its own container,
    or when it was not renewed for ten minutes, by the file server's clock. It is then cleared, and the log
    says so. A holder that was only asleep finds out by `Lock.check`.
    """
    lock = _take(path)
    done = threading.Event()
    toucher = threading.Thread(target=_touch, args=(lock, done), daemon=True, name="lock-toucher")
    toucher.start()
    try:
        yield lock
    finally:
        done.set()
        toucher.join()
        with suppress(OSError, LostError):
            lock.check()
            path.unlink(missing_ok=True)


def _take(path: Path) -> Lock:
    mine = _myself()
    ended: set[str] = set()
    for _ in range(3):
        if _create(path, mine):
            return Lock(path, mine.token, frozenset(ended))
        found = _look(path)
        if found is None:
            continue  # given back this moment
        who = found.holder
        gone = None if who is None else _gone(who)
        # Where the process cannot be looked at, its lease tells.
        reason = _describe_unrenewed(path, found) if who is None or gone is None else gone
        if not reason:
            raise LockedError(
                f"{who or 'another run'} is at work on it; if that is not so, delete {path.name}"
            )
        log.warning("%s was left by %s, %s; it is cleared", path.name, who or "a run that broke", reason)
        if who is not None and gone:
            ended.add(who.token)
        _clear(path, found)
    raise LockedError(f"other runs take and leave {path.name} at this moment; run again")


def _create(path: Path, holder: Holder) -> bool:
    """Create the lock; only one process can."""
    try:
        # Colleagues who may write here must be able to read whose it is.
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _AS_IT_IS, 0o666)
    except FileExistsError:
        return False
    # Until the content is there, and if it never comes, others go by the file's time.
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_content(holder))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _clear(path: Path, found: _Found) -> None:
    """Move a stale lock away; one that was renewed or replaced in the meantime stays, or is put back."""
    if _look(path) != found:
        return
    aside = path.with_name(f".{uuid.uuid4().hex}.lock")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _look(aside) != found:
            try:
                os.link(aside, path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                if not path.exists():
                    aside.rename(path)
        aside.unlink()


def _look(path: Path) -> _Found | None:
    """Return what lies at a lock's place, None where nothing does.

    Raises
    ------
    LockedError
        It is no file.
    """
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        raise LockedError(
            f"{path.name} is {_kind(facts.st_mode)}, where a run puts its lock; delete it and run again"
        )
    try:
        descriptor = os.open(path, os.O_RDONLY | _AS_IT_IS)
    except FileNotFoundError:
        return None
    except PermissionError:  # somebody else's: there is its time to go by
        return _Found(None, facts.st_mtime_ns, None)
    try:
        content = os.read(descriptor, _MOST_BYTES)
        return _Found(content, os.fstat(descriptor).st_mtime_ns, _holder(content))
    finally:
        os.close(descriptor)


def _kind(mode: int) -> str:
    for test, word in ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a pipe")):
        if test(mode):
            return word
    return "no file"


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _holder(content: bytes) -> Holder | None:
    """Return whom a lock names; None where it is broken, or says what cannot be."""
    try:
        known = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(known, dict):
        return None
    known = {"boot": "", "namespace": "", "renewed": ""} | known  # locks of 0.1
    words = [known.get(key) for key in ("host", "started", "token", "boot", "namespace", "renewed")]
    # They go into a message of one line.
    if not all(isinstance(word, str) and len(word) <= _LONGEST_NAME and word.isprintable() for word in words):
        return None
    pid, process_started = known.get("pid"), known.get("process_started")
    if isinstance(pid, bool) or not isinstance(pid, int) or not 0 < pid < 2**31:
        return None
    if not isinstance(process_started, int | float) or not 0 <= process_started < _MOST_STARTED:
        return None
    return Holder(**{key: known[key] for key in Holder.__dataclass_fields__})


def _myself() -> Holder:
    boot, namespace = identify_machine()
    began, _ = look_up_process(os.getpid())
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        process_started=0 if math.isnan(began) else began,
        token=uuid.uuid4().hex,
        boot=boot,
        namespace=namespace,
        renewed=f"{time.monotonic():017.3f}",
    )


def _gone(holder: Holder) -> str | None:
    """Say how a holder's process ended; "" where it lives, None where that cannot be known from here."""
    boot, namespace = identify_machine()
    here = (socket.gethostname(), boot, namespace)
    if not boot or not namespace or (holder.host, holder.boot, holder.namespace) != here:
        return None
    started, ended = look_up_process(holder.pid)
    if ended:
        return "which is gone"
    if math.isnan(started):
        return None
    if sys.platform.startswith("linux"):
        same = started == holder.process_started
    elif abs(started - holder.process_started) < 1:
        same = True
    else:
        return None  # another process, or a clock that was set
    return "" if same else "which is gone (its pid is another's now)"


def _describe_unrenewed(path: Path, found: _Found) -> str | None:
    """Say for how long a lock was not renewed; None where it may still be held."""
    with tempfile.NamedTemporaryFile(prefix=".", suffix=".lock", dir=path.parent) as now:
        idle = (Path(now.name).stat().st_mtime_ns - found.mtime_ns) / 1e9
    if abs(idle) <= _STALE_SECONDS:
        return None
    # A clock that was set makes a lock look older than it is, or younger: then it is watched.
    if (idle < 0 or _was_renewed(found.holder)) and _is_renewed(path, found):
        return None
    told = f"and was not touched for {idle / 60:.0f} minutes"
    return told if idle > 0 else "and was not touched since (its time lies in the future)"


def _was_renewed(holder: Holder | None) -> bool:
    """Tell whether a lock of this machine was renewed lately, by a clock that nobody sets."""
    if holder is None or not holder.boot or holder.boot != identify_machine()[0]:
        return False
    try:
        return time.monotonic() - float(holder.renewed) <= _STALE_SECONDS
    except ValueError:
        return False


def _is_renewed(path: Path, found: _Found) -> bool:
    """Watch a lock for as long as a holder that lives needs to renew it."""
    until = time.monotonic() + _TOUCHES_WATCHED * _TOUCH_SECONDS
    while time.monotonic() < until:
        if _look(path) != found:
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _touch(lock: Lock, done: threading.Event) -> None:
    while not done.wait(_TOUCH_SECONDS):
        with suppress(OSError):
            _renew(lock)


def _renew(lock: Lock) -> None:
    """Renew a lease, if it is still held; one file is read and written, whatever others do."""
    descriptor = os.open(lock.path, os.O_RDWR | _AS_IT_IS)
    try:
        holder = _holder(os.read(descriptor, _MOST_BYTES))
        if holder is None or holder.token != lock.token:
            return
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            # Not only touched: some network file systems take the time of a touch from this machine's clock.
            os.write(descriptor, _content(replace(holder, renewed=f"{time.monotonic():017.3f}")))
            os.fsync(descriptor)
        except OSError:  # a full disk may refuse even what takes no more room
            os.utime(lock.path)
    finally:
        os.close(descriptor)
