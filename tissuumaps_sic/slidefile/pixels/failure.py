"""Why pixels could not be read, and what to do: each reason has its own advice."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.slidefile.pixels.room import amount, free_disk, free_memory, temporary_folder
from tissuumaps_sic.slidefile.pixels.source import PixelError, one_line

# What libraries say of a compression that they were built without.
_NO_CODEC = re.compile(
    r"not configured|decoding is not implemented|without JPEG2000 support|unsupported tiff compression"
    r"|unsupported compression|unsupported transfer syntax|unsupported jpeg process|unsupported marker type"
    r"|SOF type|arithmetic cod|unsupported .*data precision|codec not available|unknown codec|UnknownCodec"
    r"|implementation for codec .* is not available",
    re.IGNORECASE,
)
_NO_ROOM = re.compile(
    r"no space left|unable to (create|open|make|write to) temp|vips__temp|unable to write to fd", re.I
)
_NO_MEMORY = re.compile(r"out of memory|cannot allocate|unable to allocate|not enough memory", re.IGNORECASE)
# libvips stops at a tag that cannot be, though it says nothing of the pixels.
_WRONG_TAG = re.compile(r'Bad value .* for "\w+" tag')
# A disk that fails to give a part of the file may give it the next time.
_DISK = re.compile(r"input/output error|stale (nfs )?file handle|transport endpoint|timed out", re.IGNORECASE)
# Read to see whether the disk still gives the file: its beginning, its middle and its end.
_LOOKED_AT = 4096


@dataclass(frozen=True)
class Stamp:
    """What a file was when it was opened: its size in bytes, and when it was changed."""

    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """Return a file's; None for a folder, or where it cannot be asked.

        Parameters
        ----------
        path : Path

        Returns
        -------
        Stamp or None
        """
        try:
            found = path.stat()
        except OSError:
            return None
        return None if path.is_dir() else cls(found.st_size, found.st_mtime_ns)


def names_missing_codec(text: str) -> bool:
    """Tell whether a library's message means that it lacks the codec.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    return _NO_CODEC.search(text) is not None


def explain(path: Path, error: BaseException, *, stamp: Stamp | None = None) -> str:
    """Tell why a file's pixels could not be read, with the library's reason and what to do.

    Parameters
    ----------
    path : path
        The file, or the folder, that was read.
    error : exception
        What the library raised.
    stamp : Stamp, optional
        The file as it was when it was opened.

    Returns
    -------
    str
        On one line, without the file's name, to follow "its pixels cannot be read".
    """
    reason = one_line(str(error) or type(error).__name__, path)
    other = _explain_other(path, error, reason, stamp)
    if other is not None:
        return other
    if isinstance(error, PixelError):
        return (
            f"({reason}); it was not decoded: the file is damaged there, or compressed in a way that is not "
            "known here: copy it again, or export it as a pyramidal TIFF with JPEG, LZW or deflate "
            "compression"
        )
    return f"({reason}); the file is damaged or cut short: copy or export it again"


def is_damage(path: Path, error: BaseException, stamp: Stamp | None) -> bool:
    """Tell whether pixels could not be read because they are damaged in the file, and for no other reason.

    Parameters are those of `explain`.

    Parameters
    ----------
    path : Path
    error : BaseException
    stamp : Stamp or None

    Returns
    -------
    bool
    """
    reason = one_line(str(error) or type(error).__name__, path)
    return _DISK.search(reason) is None and _explain_other(path, error, reason, stamp) is None


def _explain_other(path: Path, error: BaseException, reason: str, stamp: Stamp | None) -> str | None:
    """Tell why pixels could not be read, and what to do; None where it is that they are damaged."""
    number = getattr(error, "errno", None)
    lost = _disk_failure(path)
    if lost is not None:
        return lost
    if stamp is not None and (now := Stamp.of(path)) is not None and now != stamp:
        return (
            f"({reason}); the file has been changed since it was opened ({stamp.size} bytes then, {now.size} "
            "now): wait until it is written, and start again"
        )
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _NO_MEMORY.search(reason):
        free = free_memory()
        told = "" if free is None else f", of which {amount(free)} are free"
        return (
            f"({reason}); there is not enough memory{told}: free some, use a machine with more, or export it "
            "as a tiled pyramidal TIFF"
        )
    if number == errno.ENOSPC or _NO_ROOM.search(reason):
        folder = temporary_folder()
        free = free_disk(folder)
        told = "which cannot be written to" if free is None else f"where {amount(free)} are free"
        return (
            f"({reason}); there is no room to decode it in the temporary folder, {folder}, {told}: set "
            "TMPDIR to a folder with room, or export it as a tiled pyramidal TIFF"
        )
    if names_missing_codec(reason):
        return (
            f"({reason}); how they are compressed cannot be decoded here, though the file may well be whole: "
            "export it as a pyramidal TIFF with JPEG, LZW or deflate compression"
        )
    if _WRONG_TAG.search(reason):
        return (
            f"({reason}); one of its tags has a value that cannot be, which says nothing of its pixels: set "
            "it right, as `tiffset` does, or export it again"
        )
    return None


def _disk_failure(path: Path) -> str | None:
    """Tell why the disk no longer gives a file that was opened before; None where it does."""
    try:
        if path.is_dir():
            next(os.scandir(path), None)
            return None
        size = path.stat().st_size
        with path.open("rb") as file:
            for place in (0, size // 2, max(0, size - _LOOKED_AT)):
                file.seek(place)
                file.read(_LOOKED_AT)
    except (FileNotFoundError, NotADirectoryError):
        return (
            "because the file is gone: it was moved or deleted, or its disk is no longer there; bring it "
            "back and start again"
        )
    except PermissionError as error:
        return f"because this user has no right to ({error.strerror}); ask its owner for the right to read it"
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN):
            return f"because its disk is no longer there ({error.strerror}); bring it back and start again"
        return (
            f"because its disk fails to give them ({error.strerror}); try again, and if it stays so, copy "
            "the file from elsewhere"
        )
    return None
