"""How the commands of both halves meet a terminal: what they write to it, and what ends them."""

from __future__ import annotations

import argparse
import io
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.failure import os_reason

log = logging.getLogger(__name__)

Number = TypeVar("Number", int, float)

# A whole group of processes is often told at once, and each of them by its parent once more.
_ONE_SIGNAL_SECONDS = 1.0


class TerminateInterrupt(KeyboardInterrupt):
    """SIGTERM, which reaches this process alone, where Ctrl-C reaches those that it has started as well."""


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
    """Log an error that a person can act on, as one line; return what a command ends with for it.

    Parameters
    ----------
    error : SicError or OSError
    output : Path, optional
        The file that an error of the system is told of, where it names none.

    Returns
    -------
    int
    """
    if isinstance(error, OSError):
        log.error("%s", os_reason(error, output))
        return 1
    log.error("%s", error)
    return error.exit_code


@contextmanager
def as_wrong_use(*errors: type[SicError]) -> Iterator[None]:
    """Take errors of these classes for wrong use: what is read in the block was typed with the command.

    Parameters
    ----------
    *errors : type of SicError

    Raises
    ------
    WrongUseError
    """
    try:
        yield
    except errors as error:
        raise WrongUseError(str(error)) from error


def read_within(kind: type[Number], holds: Callable[[Number], bool], range_: str) -> Callable[[str], Number]:
    """Return what reads an option's number for argparse, which refuses those out of range in one line.

    Parameters
    ----------
    kind : type
        `int` or `float`.
    holds : callable
        Whether a number can be; it is never asked of what is none.
    range_ : str
        What can be, in words: the message says to give it.

    Returns
    -------
    callable
        From a text to a number, for `type` of `add_argument`.

    Raises
    ------
    argparse.ArgumentTypeError
        By what is returned, for a text that is none.
    """

    def read(text: str) -> Number:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not holds(number):
            raise argparse.ArgumentTypeError(f"give {range_}, not {text!r}")
        return number

    return read


read_count = read_within(int, lambda number: number >= 1, "a whole number of 1 or more")
read_whole = read_within(int, lambda number: number >= 0, "a whole number of 0 or more")
read_positive = read_within(float, lambda number: 0 < number < math.inf, "a number above 0")
read_not_negative = read_within(float, lambda number: 0 <= number < math.inf, "a number of 0 or more")
read_share = read_within(float, lambda number: 0 <= number <= 1, "a number from 0 to 1")


@contextmanager
def _stop_on_terminate() -> Iterator[None]:
    """Treat SIGTERM, by which service managers and batch systems end a job, like Ctrl-C: it ends cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    told = -math.inf

    def stop(*_: object) -> None:
        nonlocal told
        if time.monotonic() - told < _ONE_SIGNAL_SECONDS:
            return  # what is cleaned up is not to be torn by the same signal
        told = time.monotonic()
        raise TerminateInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
