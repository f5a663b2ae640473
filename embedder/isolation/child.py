"""A child process that does one thing at a time, so that what kills it, hangs or eats the memory is no harm.

The libraries that decode slides are written in C, and a damaged file can end the process that reads it. So
the commands let a child read: it is kept from slide to slide, with its encoder, and made anew when it is
gone. What it logs, writes to stderr and tells of its progress arrives here as if it had been done here.
"""

from __future__ import annotations

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
from typing import IO, Any, Self

from embedder.isolation import memory, program
from embedder.isolation.program import LEAVE_SECONDS, Progress
from tissuumaps_sic.slidefile.errors import SicError

log = logging.getLogger(__name__)

# Beginning to work, a child calls what is named here as "module:function": tests put encoders and slides in
# place of the real ones by it.
PREPARATION: str | None = None

_LOOK_SECONDS = 0.1
# What a library says just before it ends the process is told with the slide, and not twice.
_HELD_SECONDS = 1.0
_STOP_SECONDS = 20.0
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

        Returns
        -------
        object
            What the function returned.

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
        command = [sys.executable, "-P", "-c", f"from {program.__name__} import work; work()"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(place or os.getcwd() for place in sys.path)}  # noqa: PTH109
        try:
            with _hold_signals():
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
        stdin, stdout, stderr = self._popen.stdin, self._popen.stdout, self._popen.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._stdin, self._stdout = stdin, stdout
        self._said = _Said(stderr)
        self._reader = threading.Thread(target=self._listen, daemon=True, name="child-reader")
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
            message = self._receive(_LOOK_SECONDS)
            now = time.monotonic()
            self._said.pass_on(older_than=_HELD_SECONDS)
            if message is not None:
                heard = now
                kind, *content = message
                if kind == "done":
                    self._said.pass_on()
                    return content[0]
                self._take(kind, content, progress)
            # Not at each of a thousand messages.
            if now - looked >= _LOOK_SECONDS:
                looked = now
                self._enforce_limits(now - heard)

    def _take(self, kind: str, content: list[Any], progress: Progress | None) -> None:
        """Do what a message is for; raise what the function ended with, where it did not return."""
        if kind == "raised":
            self._said.pass_on()
            raise content[0]
        if kind == "stopped":
            raise KeyboardInterrupt
        if kind == "gone":
            raise LostError(self._explain(_describe_death(self._popen.wait())))
        if kind == "log":
            name, level, text = content
            logging.getLogger(name).log(level, "%s", text)
        elif kind == "progress" and progress is not None:
            progress(*content)
        elif kind == "stage":
            self._stage, self._limited = content

    def _enforce_limits(self, silent_for: float) -> None:
        """End the child where it takes more than it may."""
        silent = self._limits.silent_seconds
        if self._limited and silent is not None and silent_for > silent:
            self._kill()
            raise StalledError(
                self._explain(
                    f"nothing came of it for {_duration(silent)}, and it was ended: the file is damaged, "
                    "or its disk does not answer (--patience waits longer)"
                )
            )
        excess = memory.describe_excess(self._popen.pid, self._limits.memory)
        if excess is not None:
            self._kill()
            raise LostError(self._explain(f"{excess}; it was ended before the system ends more than that"))

    def _kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """Ask the child to save its work, and wait for it."""
        self._send(("stop",))
        # After its last patch there is nothing left to save.
        deadline = time.monotonic() + (_STOP_SECONDS if self._limited else LEAVE_SECONDS)
        while time.monotonic() < deadline:
            message = self._receive(_LOOK_SECONDS)
            if message is not None and message[0] in ("stopped", "done", "raised", "gone"):
                return

    def end(self) -> None:
        with suppress(OSError):
            self._stdin.close()  # by which it ends itself
        try:
            self._popen.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        self._said.close()
        self._reader.join(_HELD_SECONDS)
        if not self._reader.is_alive():  # a process that the child left behind may hold the other end
            self._stdout.close()
            self._said.stream.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        with suppress(OSError):  # it is gone, and `run` will see it
            pickle.dump(message, self._stdin)
            self._stdin.flush()

    def _receive(self, seconds: float) -> tuple[Any, ...] | None:
        """Return the child's next message; None where there is none for so long."""
        with suppress(queue.Empty):
            return self._messages.get(timeout=seconds)
        return None

    def _listen(self) -> None:
        try:
            while True:
                self._messages.put(pickle.load(self._stdout))  # noqa: S301 -- from our own child
        except Exception:  # noqa: BLE001 -- the end of the file, or half a message of a child that died
            self._messages.put(("gone",))

    def _explain(self, how: str) -> str:
        last = self._said.last()
        said = f" (last words: {last})" if last else ""
        return f"while {self._stage}, {how}{said}"


class _Said:
    """What a child writes to stderr, passed on line by line; the last of it is kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self._kept: deque[tuple[float, str]] = deque()
        self._passed_on: deque[str] = deque(maxlen=_LINES_KEPT)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True, name="child-stderr")
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            for line in self.stream:
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
        words = " ".join(" ".join(lines[-_LINES_KEPT:]).split())
        return words if len(words) <= _MOST_SAID else "..." + words[-_MOST_SAID:]

    def close(self) -> None:
        self._thread.join(_HELD_SECONDS)
        self.pass_on()


def _describe_death(status: int) -> str:
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
def _hold_signals() -> Iterator[None]:
    """Let a child begin deaf to Ctrl-C and SIGTERM, which reach all processes of a terminal or a job."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
