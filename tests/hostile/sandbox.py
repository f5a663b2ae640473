"""One piece of work in a process of its own, with limits: what became of it, whatever it did."""

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# More than any file of the hunt needs by far: they are small.
SECONDS = 30.0
MEMORY = 3 * 2**30
_LONGEST_LINE = 1000


@dataclass(frozen=True)
class Verdict:
    """What became of a file.

    Attributes
    ----------
    kind : str
        "fine", "refused" in one line, "killed" by a signal of its own making (a decoder's crash, which takes
        nothing but the process that reads the slide), or "fault".
    text : str
        The refusal, or what was wrong.
    """

    kind: Literal["fine", "refused", "killed", "fault"]
    text: str = ""


def attempt(
    work: Callable[[], str | None], *, named: str, seconds: float = SECONDS, memory: int = MEMORY
) -> Verdict:
    """Do a piece of work in a fork of this process.

    Parameters
    ----------
    work : callable
        Gives what is wrong with what it got, in words; None where nothing is. One of the project's own errors
        is a refusal.
    named : str
        What a refusal must name.
    seconds, memory : float and int
        After so much wall-clock time it is killed; so many bytes it may have beyond what this process has.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.close(reading)
            _limit(seconds, memory)
            verdict = _judge(work, named)
            os.write(writing, json.dumps(verdict.__dict__).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    try:
        answer = _read_until(reading, time.monotonic() + seconds)
    finally:
        os.close(reading)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if answer is None:
        return Verdict("fault", f"hangs: nothing after {seconds:g} s")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return Verdict("fault", f"hangs: {seconds:g} s of computing and no end")
        return Verdict("killed", signal.Signals(number).name)
    if not answer:
        return Verdict("fault", f"ended with status {os.WEXITSTATUS(status)} and no word")
    return Verdict(**json.loads(answer))


def _limit(seconds: float, memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries complain on stderr of every damaged file.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.dup2(silent, 1)


def _judge(work: Callable[[], str | None], named: str) -> Verdict:
    try:
        wrong = work()
    except MemoryError as error:
        return Verdict("fault", f"asks for too much memory: {error} {_place(error)}")
    except Exception as error:  # noqa: BLE001 -- what is no refusal is a fault, and must be told
        if type(error).__module__.partition(".")[0] not in ("embedder", "tissuumaps_sic"):
            return Verdict("fault", f"{type(error).__name__}: {str(error)[:200]} {_place(error)}")
        return _judge_message(str(error), named)
    return Verdict("fine") if wrong is None else Verdict("fault", wrong)


def _judge_message(message: str, named: str) -> Verdict:
    if not message.strip() or "\n" in message or len(message) > _LONGEST_LINE:
        return Verdict("fault", f"a refusal is one line, not {message[:300]!r}")
    if named not in message:
        return Verdict("fault", f"the refusal does not name the file: {message[:300]!r}")
    return Verdict("refused", message)


def _place(error: BaseException) -> str:
    """Return the innermost lines of the project's own that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f"{Path(each.filename).name}:{each.lineno}"
        for each in frames
        if "/embedder/" in each.filename or "/tissuumaps_sic/" in each.filename
    ]
    return f"({' > '.join(own[-3:])})"


def _read_until(descriptor: int, until: float) -> bytes | None:
    """Return all that comes until the other end closes; None where it does not in time."""
    parts: list[Any] = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return None
        part = os.read(descriptor, 2**16)
        if not part:
            return b"".join(parts)
        parts.append(part)


if sys.platform == "win32":
    raise ImportError("the hunt forks, which Windows cannot")
