"""What runs on a worker of a cluster: one slide a task, by an encoder that is loaded once."""

from __future__ import annotations

import functools
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedder import __version__
from embedder.embedding.encoding import describe_place, log_encoder, make_encoder
from embedder.embedding.options import EmbedOptions
from embedder.embedding.rehearsal import RehearsalError
from embedder.embedding.request import SlideInput
from embedder.embedding.results import SlideResult
from embedder.embedding.slide import embed_slide
from embedder.encoders.network import Encoder
from embedder.isolation.program import Progress
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.extras import tell_install

# Workers tell what happens under this topic of Dask's events.
TOPIC = "tissuumaps-sic"

_TELL_SECONDS = 1.0
# Network file systems may show a new file to other machines some seconds later.
_SEE_SECONDS = 15.0


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know of a run.

    Attributes
    ----------
    run : str
        Name of a file in the folder, by which a worker sees that it is the same folder.
    version : str
        Of the package.
    folder : Path
        Where the slides' files go, absolute.
    options : EmbedOptions
        With absolute paths.
    began : int
        Time of that file, by the clock of the file server, in ns.
    level : int
        The least level of what the client logs.
    """

    run: str
    version: str
    folder: Path
    options: EmbedOptions
    began: int
    level: int


class UnfitError(SicError):
    """The worker cannot be used; the message says why, and begins with a verb."""


class _StoppedError(Exception):
    """The run was ended from outside."""


# A worker of somebody's cluster may have many threads, and be used by two runs: one slide at a time.
_at_work = threading.Lock()
_stopped: set[str] = set()


def stop(run: str) -> None:
    """End this worker's slide of a run after the batch that it is at, so that it is checkpointed.

    Parameters
    ----------
    run : str
        As `Setup` names it.
    """
    _stopped.add(run)


def prepare(setup: Setup) -> tuple[str, str]:
    """Make sure that this worker can embed, with its encoder loaded.

    Parameters
    ----------
    setup : Setup

    Returns
    -------
    machine, place : str
        The machine's name; which encoder runs where on it, for the log.

    Raises
    ------
    UnfitError
        It has another version, lacks a package, or does not share the folder.
    EncoderError
        The encoder cannot be loaded here.
    """
    if setup.version != __version__:
        raise UnfitError(
            f"has tissuumaps-sic {__version__}, and the run is of {setup.version}; install the same "
            "version there"
        )
    _require_folder(setup.folder, setup.run)
    encoder = _get_encoder(setup)
    return socket.gethostname(), f"encoder {encoder.name} on {describe_place(encoder)}"


def _require_folder(folder: Path, name: str) -> None:
    deadline = time.monotonic() + _SEE_SECONDS
    try:
        # Listing makes a network file system look anew, which asking for one file may not.
        while name not in {file.name for file in folder.iterdir()}:
            if time.monotonic() > deadline:
                raise FileNotFoundError(2, "it is another folder of this name")
            time.sleep(1)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UnfitError(
            f"cannot use {folder} ({error.strerror or error}); output and slides must lie on a shared file "
            "system, under the same path on every machine, where workers may write"
        ) from error


def _get_encoder(setup: Setup) -> Encoder:
    from distributed import get_worker

    try:
        with _at_work:
            return _load(setup.run, setup.options, get_worker().state.nthreads)
    except ModuleNotFoundError as error:
        raise _say_lacking(error) from error


# By the run too, between two of which a checkpoint may change.
@functools.lru_cache(maxsize=1)
def _load(run: str, options: EmbedOptions, threads: int) -> Encoder:  # noqa: ARG001
    encoder = make_encoder(options)
    import torch

    # Dask tells its workers to compute in one thread, since it means to run many tasks in each.
    torch.set_num_threads(threads)
    log_encoder(encoder, options)
    return encoder


def _say_lacking(error: ModuleNotFoundError) -> UnfitError:
    return UnfitError(f"lacks {error.name}; there too, run {tell_install('embed', 'cluster')}")


def work_on_slide(setup: Setup, place: int, item: SlideInput, *, seen: bool) -> SlideResult:
    """Embed one slide on this worker.

    Parameters
    ----------
    setup : Setup
    place : int
        Of the slide among the slides of the run.
    item : SlideInput
        With an absolute path.
    seen : bool
        Whether the client sees the slide; if not, its absence is no fault of the worker.

    Returns
    -------
    SlideResult

    Raises
    ------
    UnfitError, EncoderError
        As `prepare`, and where the slide is not seen here.
    """
    if seen and not item.path.exists():
        raise UnfitError(
            f"does not see {item.path}; slides must lie on a shared file system, under the same path on "
            "every machine"
        )
    encoder = _get_encoder(setup)
    h5ad = setup.folder / f"{item.name}.h5ad"
    with _at_work, _report_to_client(setup, place) as progress:
        # A worker that died after writing the file, and before saying so, leaves nothing to do.
        made = _is_made_since(h5ad, setup.began)
        options = replace(setup.options, overwrite=False) if made else setup.options
        try:
            result = embed_slide(item, setup.folder, encoder, options, progress=progress)
        except ModuleNotFoundError as error:
            raise _say_lacking(error) from error
        except RehearsalError as error:
            raise UnfitError(f"cannot be used: {error}") from error
    if made and result.status == "skipped" and result.h5ad is not None:
        return replace(result, status="done", message=f"{item.path}: {result.n_patches} patches -> {h5ad}")
    return result


def _is_made_since(path: Path, began: int) -> bool:
    try:
        return path.stat().st_mtime_ns > began
    except OSError:
        return False


@contextmanager
def _report_to_client(setup: Setup, place: int) -> Iterator[Progress]:
    """Send the client what is logged in the block; yield what sends it the progress of a slide."""
    from distributed import get_worker

    worker = get_worker()
    last = 0.0

    def send(**facts: Any) -> None:
        worker.log_event(TOPIC, {"run": setup.run, "place": place, "worker": worker.address} | facts)

    def progress(done: int, total: int) -> None:
        nonlocal last
        if setup.run in _stopped:
            raise _StoppedError("the run was stopped")
        if done == total or time.monotonic() - last > _TELL_SECONDS:
            last = time.monotonic()
            send(done=done, total=total)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            send(logger=record.name, level=record.levelno, message=record.getMessage())

    package = logging.getLogger("embedder")
    handler, level = Handler(setup.level), package.level
    package.addHandler(handler)
    package.setLevel(setup.level)
    try:
        yield progress
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
