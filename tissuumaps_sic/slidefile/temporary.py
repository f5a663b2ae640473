"""A folder for temporary files that goes with its process, or after it where the process was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

_HELD = ".held"
# A new folder is swept only in the moment before its lock is taken.
_ATTEMPTS = 5


@contextmanager
def hold_folder(prefix: str) -> Iterator[Path]:
    """Make a folder in the temporary one, which lasts as long as the block; give its path.

    What killed processes left, folders of the same prefix whose lock nobody holds any more, is removed first.

    Parameters
    ----------
    prefix : str
        With which its name begins.

    Yields
    ------
    Path

    Raises
    ------
    OSError
        When the temporary folder takes no file.
    """
    _remove_of_killed(Path(tempfile.gettempdir()), prefix)
    folder, held = _make_held(prefix)
    try:
        yield folder
    finally:
        held.release()
        shutil.rmtree(folder, ignore_errors=True)


def _make_held(prefix: str) -> tuple[Path, BaseFileLock]:
    """Make a folder and take its lock; anew where another process, which sweeps, was there first."""
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        held = FileLock(folder / _HELD)
        try:
            held.acquire(timeout=0)
        except Timeout:
            continue
        except OSError:
            # Where disks have no locks, nobody can take this one either, and the folder stays.
            pass
        break
    return folder, held


def _remove_of_killed(temporary: Path, prefix: str) -> None:
    for folder in temporary.glob(f"{prefix}*"):
        try:
            # Others' folders, and those that are being made, have none that can be taken.
            if not (folder / _HELD).is_file() or folder.is_symlink():
                continue
            with FileLock(folder / _HELD, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue
