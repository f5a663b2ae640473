"""A child process that does one thing at a time, so that what kills it, hangs or eats the memory is no harm.

The libraries that decode slides are written in C, and a damaged file can end the process that reads it. So
the commands let a child read: it is kept from slide to slide, with its encoder, and made anew when it is
gone. What it logs, writes to stderr and tells of its progress arrives here as if it had been done here.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

from embedder.isolation import memory
from tissuumaps_sic.slidefile.errors import SicError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

# Beginning to work, a child calls what is named here as "module:function": tests put encoders and slides in
# place of the real ones by it.
PREPARATION: str | None = None

_LOOK_SECONDS = 0.1
# What a library says just before it ends the process is told with the slide, and not twice.
_HELD_SECONDS = 1.0
_STOP_SECONDS, _LEAVE_SECONDS = 20.0, 4.0
_LINES_KEPT = 20
_MOST_SAID = 300

_PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Attributes
    ----------
    silent_seconds : float or None
        How long it may go without progress, where progress is to be expected; None for ever.
    memory : int or None
        Bytes; None for what the machine, or the container, has.
    """

    silent_seconds: float | None = _PATIENCE_SECONDS
    memory: int | None = None


class LostError(SicError):
    """The child is gone; the message says how, and what it was doing."""


class StalledError(LostError):
    """The child was ended since nothing came of what it did."""


class ChildError(SicError):
    """No child can be started; the message says why."""


class Child:
    """A process that runs functions for this one, one at a time; use it in a ``with`` statement.

    Parameters
    ----------
    limits : Limits, optional

    Attributes
    ----------
    runs : int
        How many functions the process that runs now has finished.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.runs = 0
        self._limits = limits or Limits()
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, function: Callable[..., Any], *arguments: Any, progress: Progress | None = None) -> Any:
        """Run a function in the child, and return what it returns.

        Parameters
        ----------
        function : callable
            Of a module's top level, as `pickle` wants it.
        *arguments
            What `pickle` takes.
        progress : callable, optional
            Called with what the function gives to `tell_progress`.

        Raises
        ------
        LostError
            The child died, or was ended since it passed a limit. The next call begins another one.
        ChildError
            No child can be started.
        KeyboardInterrupt
            As ever; the child was asked to stop first, and given the time to save its work.
        Exception
            Whatever the function raised.
        """
        if self._process is None:
            self._process = _Process(self._limits)
        try:
            result = self._process.run(function, arguments, progress)
            self.runs += 1
        except LostError:
            self._end()
            raise
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):  # who is impatient does not wait
                self._process.stop()
            self._end()
            raise
        return result

    def _end(self) -> None:
        self.runs = 0
        if self._process is not None:
            self._process.end()
            self._process = None


class _Process:
    """One child, from its start to its end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        command = [sys.executable, "-P", "-c", f"from {__name__} import _work; _work()"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path)}  # noqa: PTH109
        try:
            with _signals_held():
                # Where the parent's memory is large, and for GPUs, nothing of it may be shared: no fork.
                self._popen = subprocess.Popen(  # noqa: S603 -- our own program
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                )
        except OSError as error:
            raise ChildError(f"no process can be started to read slides in ({error.strerror})") from error
        self._messages: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._said = _Said(_stream(self._popen.stderr))
        self._reader = threading.Thread(target=self._receive, daemon=True, name="child-reader")
        self._reader.start()
        self._stage, self._limited = "its process was started", False
        package = logging.getLogger("embedder")
        self._send(("begin", os.getpid(), package.getEffectiveLevel(), PREPARATION))

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...], progress: Progress | None) -> Any:
        # Before it answers, a process that was just started has modules to load.
        self._stage, self._limited = "its process was started", False
        self._said.forget()
        self._send(("run", function, arguments))
        heard = looked = time.monotonic()
        while True:
            try:
                kind, *content = self._messages.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                kind, content = "", []
            now = time.monotonic()
            self._said.pass_on(older_than=_HELD_SECONDS)
            if kind:
                heard = now
            if kind == "done":
                self._said.pass_on()
                return content[0]
            if kind == "raised":
                self._said.pass_on()
                raise content[0]
            if kind == "stopped":
                raise KeyboardInterrupt
            if kind == "gone":
                raise LostError(self._told(_death(self._popen.wait())))
            if kind == "log":
                name, level, message = content
                logging.getLogger(name).log(level, "%s", message)
            elif kind == "progress" and progress is not None:
                progress(*content)
            elif kind == "stage":
                self._stage, self._limited = content
            # Not at each of a thousand messages.
            if now - looked < _LOOK_SECONDS:
                continue
            looked = now
            silent = self._limits.silent_seconds
            if self._limited and silent is not None and now - heard > silent:
                self._popen.kill()
                self._popen.wait()
                raise StalledError(
                    self._told(
                        f"nothing came of it for {_duration(silent)}, and it was ended: the file is damaged, "
                        "or its disk does not answer"
                    )
                )
            excess = memory.excess(self._popen.pid, self._limits.memory)
            if excess is not None:
                self._popen.kill()
                self._popen.wait()
                raise LostError(self._told(f"{excess}; it was ended before the system ends more than that"))

    def stop(self) -> None:
        """Ask the child to save its work, and wait for it."""
        self._send(("stop",))
        # After its last patch there is nothing left to save.
        deadline = time.monotonic() + (_STOP_SECONDS if self._limited else _LEAVE_SECONDS)
        while time.monotonic() < deadline:
            with suppress(queue.Empty):
                kind, *_ = self._messages.get(timeout=_LOOK_SECONDS)
                if kind in ("stopped", "done", "raised", "gone"):
                    return

    def end(self) -> None:
        with suppress(OSError):
            _stream(self._popen.stdin).close()  # by which it ends itself
        try:
            self._popen.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._said.close()
        self._reader.join(_HELD_SECONDS)
        for stream in (self._popen.stdout, self._popen.stderr):
            # A process that the child left behind may hold the other end.
            if stream is not None and not self._reader.is_alive():
                stream.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        stdin = _stream(self._popen.stdin)
        with suppress(OSError):  # it is gone, and `run` will see it
            pickle.dump(message, stdin)
            stdin.flush()

    def _receive(self) -> None:
        stdout = _stream(self._popen.stdout)
        try:
            while True:
                self._messages.put(pickle.load(stdout))  # noqa: S301 -- from our own child
        except Exception:  # noqa: BLE001 -- the end of the file, or half a message of a child that died
            self._messages.put(("gone",))

    def _told(self, how: str) -> str:
        last = self._said.last()
        said = f" (last words: {last})" if last else ""
        return f"while {self._stage}, {how}{said}"


class _Said:
    """What a child writes to stderr, passed on line by line; the last of it is kept."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept: deque[tuple[float, str]] = deque()
        self._passed_on: deque[str] = deque(maxlen=_LINES_KEPT)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True, name="child-stderr")
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._stream:
                with self._lock:
                    self._kept.append((time.monotonic(), line.decode("utf-8", "backslashreplace").rstrip()))
                    # A library that complains of each tile must not fill the memory.
                    while len(self._kept) > 1000:
                        self._kept.popleft()

    def pass_on(self, *, older_than: float = 0.0) -> None:
        """Write what the child wrote to our stderr."""
        until = time.monotonic() - older_than
        with self._lock:
            lines = []
            while self._kept and self._kept[0][0] <= until:
                lines.append(self._kept.popleft()[1])
            self._passed_on.extend(lines)
        if lines:
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()

    def forget(self) -> None:
        """Begin anew to keep the last words."""
        with self._lock:
            self._passed_on.clear()

    def last(self) -> str:
        """Return what was said last, on one line; the child is gone."""
        self._thread.join(_HELD_SECONDS)
        with self._lock:
            lines = [*self._passed_on, *(line for _, line in self._kept)]
            self._kept.clear()
        told = " ".join(" ".join(lines[-_LINES_KEPT:]).split())
        return told if len(told) <= _MOST_SAID else "..." + told[-_MOST_SAID:]

    def close(self) -> None:
        self._thread.join(_HELD_SECONDS)
        self.pass_on()


def _stream(stream: Any) -> BinaryIO:
    found: BinaryIO = stream
    return found


def _death(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"its process ended without a word (exit status {status})"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL":
        return f"its process was killed ({name}), most likely since the machine had no memory left"
    return f"its process died of {name}: the file is damaged, or the library that reads it has a fault"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let a child begin deaf to Ctrl-C and SIGTERM, which reach all processes of a terminal or a job."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --------------------------------------------------------------------------------------------- in the child

_outbox: BinaryIO | None = None
_sending = threading.Lock()
_stop_asked = False


def tell_progress(done: int, total: int) -> None:
    """Tell the parent how many patches are done; without a parent do nothing."""
    _tell("progress", done, total)


def tell_stage(stage: str, *, limited: bool = True) -> None:
    """Tell the parent what is done now; without a parent do nothing.

    Parameters
    ----------
    stage : str
        A clause, such as "its tissue was looked for".
    limited : bool, default=True
        Whether it is a sign of trouble when nothing comes of it for a long time.
    """
    _tell("stage", stage, limited)


def _tell(*message: Any) -> None:
    if _outbox is None:
        return
    content = pickle.dumps(message)
    with _sending:
        _outbox.write(content)
        _outbox.flush()


class _Handler(logging.Handler):
    """Gives the parent what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell("log", record.name, record.levelno, self.format(record))


def _work() -> None:
    """Do what the parent asks, until it is gone; this is the child's whole program."""
    global _outbox
    inbox = os.fdopen(os.dup(0), "rb")
    _outbox = os.fdopen(os.dup(1), "wb")
    # What libraries print goes where they complain, and what they ask for is not there.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _listen_to_stop()
    asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    _, parent, level, preparation = pickle.load(inbox)  # noqa: S301 -- from our own parent
    _die_with(parent)
    memory.volunteer()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Handler()])
    logging.getLogger("embedder").setLevel(level)
    threading.Thread(target=_read_orders, args=(inbox, asked), daemon=True).start()
    if preparation is not None:
        module, _, name = preparation.partition(":")
        getattr(importlib.import_module(module), name)()
    try:
        while True:
            order = asked.get()
            if not order:
                return
            _, function, arguments = order
            tell_stage("it was read")
            try:
                _tell("done", function(*arguments))
            except Exception as error:  # noqa: BLE001 -- the parent's to handle
                _tell("raised", _portable(error))
    except KeyboardInterrupt:
        _tell("stopped")


def _read_orders(inbox: BinaryIO, asked: queue.SimpleQueue[tuple[Any, ...]]) -> None:
    global _stop_asked
    try:
        while True:
            message = pickle.load(inbox)  # noqa: S301 -- from our own parent
            if message[0] == "stop":
                _stop_asked = True
                import _thread

                _thread.interrupt_main(signal.SIGINT)
            else:
                asked.put(message)
    except Exception:  # noqa: BLE001 -- the parent is gone, or wants no more
        # Who waits for orders ends in order; who works on may never come to it.
        asked.put(())
        time.sleep(_LEAVE_SECONDS / 2)
        os._exit(0)


def _listen_to_stop() -> None:
    """Stop by the parent's word alone, and once."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        if _stop_asked and not stopped:
            stopped = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _die_with(parent: int) -> None:
    """End with the parent even while a decoder lets nothing else run; where the system can (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent; its text, where it cannot."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    except Exception:  # noqa: BLE001
        return RuntimeError(" ".join(f"{type(error).__name__}: {error}".split()))
    return error
