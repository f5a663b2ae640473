"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What file systems take for one name, in bytes; what is put around a stem takes this much of it at most.
_LONGEST_NAME = 255
_AROUND = len(".-") + 8
# Temporary files of this process.
_UNFINISHED: set[Path] = set()


@contextmanager
def replacing(target: Path, *, follow_links: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on leaving, flush it to disk and rename it over `target`.

    When the body raises, the temporary file is removed and `target` is as it was. A file that is replaced
    leaves its mode to the new one, and its owner where the process may give files away.

    Parameters
    ----------
    target : Path
    follow_links : bool, default=True
        Whether a symbolic link is followed, so that what it leads to is replaced and the link stays. That is
        what people expect of the files that they name; where others may put files into the folder, a link
        could lead anywhere, and is itself replaced.

    Yields
    ------
    Path

    Raises
    ------
    OSError
        When the folder cannot be written, or the target is itself a folder.
    """
    if follow_links and target.is_symlink():
        target = target.resolve()
    if target.is_dir() and not target.is_symlink():
        # Before the work is done that would fill it.
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(target))
    try:
        replaced = target.lstat()
    except FileNotFoundError:
        replaced = None
    if replaced is not None and not stat.S_ISREG(replaced.st_mode):
        replaced = None
    # The suffix is kept, because some writers choose the format by it.
    temporary = target.with_name(f"{_beginning(target)}{secrets.token_hex(4)}{target.suffix}")
    # A new file is made by the process's own rules: a shared folder's other readers must see it. What takes
    # the place of a file that only some may read is nobody else's from the first byte on.
    mode = 0o666 if replaced is None else 0o600
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode))
    _UNFINISHED.add(temporary)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            if replaced is not None:
                _copy_ownership(file.fileno(), replaced)
            os.fsync(file.fileno())
        temporary.replace(target)
        _flush_folder(target.parent)
    finally:
        _UNFINISHED.discard(temporary)
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def placing_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`; on leaving, it takes that name, and what had it is removed.

    When the body raises, the new folder is removed and `target` is as it was.

    Parameters
    ----------
    target : Path

    Yields
    ------
    Path

    Raises
    ------
    OSError
        When the folder around it cannot be written.
    """
    temporary = target.with_name(f"{_beginning(target)}{secrets.token_hex(4)}{target.suffix}")
    temporary.mkdir(parents=True)
    old = temporary.with_name(f"{temporary.name}-old")
    try:
        yield temporary
        if target.exists():
            # No system exchanges two folders everywhere: for a moment there is none.
            target.rename(old)
        temporary.rename(target)
        _flush_folder(target.parent)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        # Where it could not be put back, it is all that there is.
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def remove_unfinished() -> None:
    """Remove what threads are writing now; for a process that ends without waiting for them."""
    for temporary in list(_UNFINISHED):
        with suppress(OSError):
            temporary.unlink()


def remove_left_behind(target: Path, *, follow_links: bool = True) -> None:
    """Remove what a process killed in `replacing` left; nobody else may be writing `target` now.

    Parameters
    ----------
    target : Path
    follow_links : bool, default=True
    """
    if follow_links and target.is_symlink():
        target = target.resolve()
    left = re.compile(rf"{re.escape(_beginning(target))}[0-9a-f]{{8}}{re.escape(target.suffix)}")
    for path in target.parent.iterdir():
        if left.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def _beginning(target: Path) -> str:
    """Return what the names of a file's temporary ones begin with, shortened where they would be too long."""
    room = _LONGEST_NAME - _AROUND - len(os.fsencode(target.suffix))
    stem = os.fsencode(target.stem)
    if len(stem) > room:
        stem = stem[:room].decode("utf-8", "ignore").encode()
    return f".{os.fsdecode(stem)}-"


def _copy_ownership(descriptor: int, replaced: os.stat_result) -> None:
    if not hasattr(os, "fchmod"):  # Windows, where a new file has its folder's rights
        return
    with suppress(OSError):
        os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
    # After the owner, since a change of that takes rights away; some shares know no modes.
    with suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(replaced.st_mode))


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
