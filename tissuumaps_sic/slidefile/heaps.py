"""Heaps of an HDF5 file in whose reading the HDF5 library would never end.

A text that an attribute or a dataset holds lies in a heap, a list of objects that each tell their length.
Where a copy that broke off has left zeros in one, the library (2.0, too) goes on by nothing for ever and
holds the lock of all HDF5 files; only its process's end ends that. So such heaps are looked for first.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEADER = 16
_LARGEST = 2**26
_BLOCK = 2**22
# Of files larger than this the matrices, which are most of them, are not looked through.
_SMALL = 2**26
_PATIENCE_SECONDS = 8.0
# Each text for itself: what stops at one of them might go on for ever at the next.
_READ_ALL = """
import sys, h5py
def tried(read):
    try:
        read()
    except Exception:
        pass
with h5py.File(sys.argv[1], "r", locking=False) as file:
    items = [file]
    tried(lambda: file.visititems(lambda name, item: items.append(item)))
    for item in items:
        for key in item.attrs:
            tried(lambda: item.attrs[key])
        if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype) is not None:
            tried(lambda: item[()])
"""


def has_endless_heap(path: Path) -> bool:
    """Whether reading all texts of an HDF5 file would never end.

    Where a heap looks like that (it may be one that the file has given up), another process tries it.

    Parameters
    ----------
    path : Path
        A file that can be opened as HDF5.

    Returns
    -------
    bool

    Raises
    ------
    OSError
        It cannot be read.
    """
    size = path.stat().st_size
    skipped = [] if size <= _SMALL else sorted(_large_extents(path))
    with path.open("rb") as file:
        suspicious = any(_ends_nowhere(file, place, size) for place in _heaps(file, size, skipped))
    return suspicious and not _can_be_read(path)


def _large_extents(path: Path) -> Iterator[tuple[int, int]]:
    """Give where the matrices of an h5ad begin and end, or each of their chunks."""
    with h5py.File(path, "r", locking=False) as file:
        obsm = file.get("obsm")
        others = list(obsm.values()) if isinstance(obsm, h5py.Group) else []
        for item in (file.get("X"), *others):
            if not isinstance(item, h5py.Dataset) or item.id.get_storage_size() <= _BLOCK:
                continue
            begin = item.id.get_offset()
            if begin is not None:
                yield begin, begin + item.id.get_storage_size()
            elif item.chunks is not None:
                chunks: list[Any] = []
                item.id.chunk_iter(chunks.append)
                yield from ((each.byte_offset, each.byte_offset + each.size) for each in chunks)


def _heaps(file: BinaryIO, size: int, skipped: list[tuple[int, int]]) -> Iterator[int]:
    """Give where heaps begin; `skipped` parts of the file, in their order, hold none."""
    place = 0
    for begin, end in [*skipped, (size, size)]:
        while place < begin:
            file.seek(place)
            block = file.read(min(_BLOCK, begin - place) + len(_SIGNATURE) - 1)
            at = block.find(_SIGNATURE)
            while at >= 0:
                yield place + at
                at = block.find(_SIGNATURE, at + 1)
            place += _BLOCK
        place = max(end, begin)


def _ends_nowhere(file: BinaryIO, place: int, size: int) -> bool:
    """Whether an object of a heap has no length, so that the next one is itself."""
    file.seek(place + len(_SIGNATURE))
    (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if not _HEADER < length <= min(_LARGEST, size - place):
        return False
    file.seek(place)
    heap = file.read(length)
    at = _HEADER
    while at + _HEADER <= length:
        number, _, _, used = struct.unpack_from("<HHIQ", heap, at)
        step = _HEADER + (used + 7) // 8 * 8 if number else used
        if step == 0:
            return True
        at += step
    return False


def _can_be_read(path: Path) -> bool:
    command = [sys.executable, "-c", _READ_ALL, str(path)]
    try:
        subprocess.run(command, check=False, capture_output=True, timeout=_PATIENCE_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return True
