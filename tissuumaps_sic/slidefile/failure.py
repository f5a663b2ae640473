"""What went wrong with a file, in the system's words and on one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ERRNO = re.compile(r"errno = (\d+)")


@contextmanager
def as_os_errors(path: Path) -> Iterator[None]:
    """Tell the HDF5 library's failures to write in the block as the system's, with the file's name.

    The library has texts of several lines, with the temporary file's name and memory addresses, as an error
    of this kind or of that, among which the system's reason is.

    Parameters
    ----------
    path : Path
        The file that is written, by its final name.

    Raises
    ------
    OSError
        With `errno`, `strerror` and `filename`.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        number = os_errno(error)
        if number is None:
            if not isinstance(error, RuntimeError):
                raise
            number = errno.EIO
        name = (
            None
            if not isinstance(error, OSError) or not error.filename
            else Path(os.fsdecode(error.filename))
        )
        if name is not None and not (name.parent == path.parent and name.name.startswith(".")):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def os_errno(error: BaseException) -> int | None:
    """Return the system's number of an error, also where HDF5 wraps it; None where it has none.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    int or None
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno:
            return seen.errno
        match = _ERRNO.search(str(seen))
        if match and int(match[1]):
            return int(match[1])
        seen = seen.__cause__ or seen.__context__
    return None


def os_reason(error: OSError, path: Path | str | None = None) -> str:
    """Return a system's error as one line: the file's name and the reason.

    Parameters
    ----------
    error : OSError
    path : Path or str, optional
        The file, where the error names none.

    Returns
    -------
    str
    """
    number = os_errno(error)
    reason = " ".join(str(error.strerror or error).split())
    if number and _ERRNO.search(reason):
        reason = os.strerror(number)
    name = os.fsdecode(error.filename or path or "")
    return f"{name}: {reason}" if name and name not in reason else reason
