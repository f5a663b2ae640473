"""A folder for temporary files that goes with its process, or after it where the process was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_HELD = ".held"


@contextmanager
def hold_folder(prefix: str) -> Iterator[Path]:
    """Make a folder in the temporary one, which lasts as long as the block; give its path.

    What killed processes left, folders of the same prefix whose lock nobody holds any more, is removed first.

    Parameters
    ----------
    prefix : str
        With which its name begins.

    Raises
    ------
    OSError
        When the temporary folder takes no file.
    """
    _remove_of_killed(Path(tempfile.gettempdir()), prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    held = FileLock(folder / _HELD)
    # Where disks have no locks, nobody can take this one either, and the folder stays.
    with suppress(OSError):
        held.acquire(timeout=0)
    try:
        yield folder
    finally:
        held.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_of_killed(temporary: Path, prefix: str) -> None:
    for folder in temporary.glob(f"{prefix}*"):
        # Others' folders, and those that are being made, have none that can be taken.
        if not (folder / _HELD).is_file() or folder.is_symlink():
            continue
        try:
            with FileLock(folder / _HELD, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue
