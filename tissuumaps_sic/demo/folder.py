"""From a slide to a folder that can be served: the demo's synthetic slide, or one's own."""

from __future__ import annotations

import importlib.util
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tissuumaps_sic.demo.synthetic import write_synthetic_slide
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.console import TerminateInterrupt
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.extras import tell_install

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
# For so long the embedder may take to end by a Ctrl-C that it has heard, before it is told to.
_GRACE_SECONDS = 5.0

# `python -m embedder`, which stops when whoever started it is killed: else it would hold the slide, and the
# same command, given again, would find it at work.
_EMBEDDER = """
import runpy, sys
from tissuumaps_sic.slidefile.processes import end_with
end_with(int(sys.argv.pop(1)), "SIGTERM")
runpy.run_module("embedder", run_name="__main__", alter_sys=True)
"""


class EmbedError(SicError):
    """The slide could not be embedded; `exit_code` is that of the embedder."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def make_demo(folder: Path) -> Path:
    """Make and embed the synthetic slide in `folder`, where that is not done yet.

    Where another run is making it in that folder, it is waited for.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
        The slide.

    Raises
    ------
    EmbedError
        When the slide could not be embedded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slide = folder / "demo.tif"
    with _waiting_for_others(folder / leases.hidden_name("demo", ".making.lock")):
        if not slide.exists():
            write_synthetic_slide(slide)
        embed([slide], folder)
    return slide


@contextmanager
def _waiting_for_others(lock: Path) -> Iterator[None]:
    """Run the block while nobody else holds the lock; as it is, where the folder cannot be written."""
    is_told = False
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(leases.hold_lock(lock))
            except leases.LockedError as error:
                if _is_no_file(lock):
                    raise  # for what is no lock one would wait for ever
                if not is_told:
                    log.info("waiting: %s", error)
                is_told = True
                time.sleep(_LOOK_SECONDS)
                continue
            except OSError:
                pass
            break
        yield


def _is_no_file(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def embed(slides: Sequence[Path], folder: Path, *, options: Sequence[str] = ()) -> None:
    """Run the other half, ``embedder embed``, in a process of its own: the two never import each other.

    Parameters
    ----------
    slides : sequence of Path
    folder : Path
        Where the h5ad and tmap files go.
    options : sequence of str
        Further options of ``embedder embed``.

    Raises
    ------
    EmbedError
        When the embedder is not installed, or any slide failed; it has told which and why on stderr.
    """
    if importlib.util.find_spec("torch") is None:
        raise EmbedError(
            f"embedding needs torch, which is not installed here; run {tell_install('embed')}, or embed the "
            "slide on another machine and serve the files here (tissuumaps-sic serve DIR)"
        )
    command = [sys.executable, "-c", _EMBEDDER, str(os.getpid())]
    command += ["embed", *map(str, slides), "-o", str(folder), *options]
    status = _run(command)
    if status:
        raise EmbedError("not every slide could be embedded; what is wrong with each is told above", status)


def _run(command: Sequence[str]) -> int:
    """Run a program to its end, and let it end in its own time where this one is stopped meanwhile.

    It then keeps what it has, and goes on from there when it is run again; a second Ctrl-C ends it as it is.
    """
    with subprocess.Popen(command) as process:  # noqa: S603 -- our own module, no shell
        try:
            return process.wait()
        except KeyboardInterrupt as error:
            # A terminal's Ctrl-C has reached it as well; another one, as of a notebook, has not.
            if not isinstance(error, TerminateInterrupt):
                with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                    process.wait(_GRACE_SECONDS)
            if process.poll() is None:
                process.terminate()
            try:
                process.wait()
            except KeyboardInterrupt:
                process.kill()
            raise
