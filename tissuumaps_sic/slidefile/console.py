"""How the commands of both halves meet a terminal: what they write to it, and what ends them."""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.failure import os_reason

log = logging.getLogger(__name__)


def escape_output() -> None:
    r"""Let stdout and stderr write what their encoding lacks as ``\xb5`` or ``\u5207``: never an exception.

    A terminal of Windows, or a pipe, may have an encoding that lacks the signs of a slide's name, and whose
    owner wants the other lines all the same.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_command(command: Callable[[], int], *, output: Path | None = None, stopped: str | None = None) -> int:
    """Run a command; an error that a person can act on ends it with one line on stderr.

    Parameters
    ----------
    command : callable
        Returns what the program ends with: 0 all well, 1 when some slides failed.
    output : Path, optional
        The file that an error of the system is told of, where it names none.
    stopped : str, optional
        What is said when Ctrl-C or SIGTERM ends it.

    Returns
    -------
    int
        What `command` returns, or 2 for wrong use, 1 for another error, 130 where it was stopped.
    """
    try:
        with _stop_on_terminate():
            return command()
    except KeyboardInterrupt:
        if stopped:
            log.error(stopped)  # noqa: TRY400 -- a message for a person, not a trace
        return 130
    except (SicError, OSError) as error:
        return report_error(error, output)


def report_error(error: SicError | OSError, output: Path | None = None) -> int:
    """Log an error that a person can act on, as one line; return what a command ends with for it."""
    if isinstance(error, OSError):
        log.error("%s", os_reason(error, output))
        return 1
    log.error("%s", error)
    return error.exit_code


@contextmanager
def as_wrong_use(*errors: type[SicError]) -> Iterator[None]:
    """Take errors of these classes for wrong use: what is read in the block was typed with the command.

    Raises
    ------
    WrongUseError
    """
    try:
        yield
    except errors as error:
        raise WrongUseError(str(error)) from error


@contextmanager
def _stop_on_terminate() -> Iterator[None]:
    """Treat SIGTERM, by which service managers and batch systems end a job, like Ctrl-C: it ends cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
