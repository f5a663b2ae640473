"""The program of a child process: it does what its parent asks, and tells of it.

Without a parent there is nobody to tell, and nothing is done: what is embedded in this process tells alike.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from embedder.isolation import memory
from tissuumaps_sic.slidefile.processes import end_with

Progress = Callable[[int, int], None]

# What a child is given to end in by itself.
LEAVE_SECONDS = 4.0

_outbox: BinaryIO | None = None
_sending = threading.Lock()
_stop_asked = False


def tell_progress(done: int, total: int) -> None:
    """Tell the parent how many patches are done; without a parent do nothing.

    Parameters
    ----------
    done, total : int
        Patches.
    """
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


def work() -> None:
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
    # Even while a decoder lets nothing else run.
    end_with(parent, "SIGKILL")
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
                _tell("raised", _make_portable(error))
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
        time.sleep(LEAVE_SECONDS / 2)
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


def _make_portable(error: Exception) -> Exception:
    """Return an error that can be sent; its text, where it cannot."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    except Exception:  # noqa: BLE001
        return RuntimeError(" ".join(f"{type(error).__name__}: {error}".split()))
    return error
