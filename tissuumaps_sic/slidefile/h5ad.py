"""An h5ad as a file: opened in words, kept to itself, its sizes looked at before its data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.heaps import has_endless_heap

# What tells a file from the one that takes its place; see `stamp_of`.
Stamp = tuple[int, int, int, int]

# The parts of an h5ad that anything here reads or writes.
_PARTS = ("X", "obs", "obsm", "uns", "var")
# A walk over so many takes a second; files that programs write have tens.
_MOST_MEMBERS = 100_000
# gzip packs embeddings to half their size at best, names and places to a twentieth; what unpacks to more than
# this many times its size is made to fill the memory. What is small may be all zeros.
_MOST_UNPACKED, _ALWAYS_UNPACKED = 100, 2**26
# The HDF5 library lets one thread in at a time; after so much the next has its turn.
_TURN_NAMES = 2**16
_SHOWN_ROWS = 3


class SlideFileError(SicError):
    """An h5ad cannot be used; the message names the file, what is wrong and what to do."""


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file is written or replaced, by one of the same size and time too.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (int, int, int, int)
        Number of the file, bytes, and two times in ns.

    Raises
    ------
    OSError
        When there is no such file.
    """
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@contextmanager
def open_h5ad(path: Path) -> Iterator[h5py.File]:
    """Open an h5ad to read, see that it lies in this one file (`require_own`), and tell faults in words.

    Parameters
    ----------
    path : Path

    Yields
    ------
    h5py.File

    Raises
    ------
    SlideFileError
        When the file is missing or damaged, or a part of it lies elsewhere or nowhere.
    """
    if not path.is_file():
        raise SlideFileError(f"{path.name}: no such file; embed the slide first (embedder embed)")
    try:
        if _is_endless(path, stamp_of(path)):
            raise SlideFileError(
                f"{path.name}: has zeros where its texts lie, as where a copy broke off; copy it again, or "
                "embed the slide again (embedder embed)"
            )
        with h5py.File(path, "r", locking=False) as file:
            require_own(file, path.name)
            yield file
    # A damaged file makes h5py, and what reads with it, raise almost anything.
    except (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SlideFileError(
            f"{path.name}: not a readable h5ad ({reason}); embed the slide again (embedder embed)"
        ) from error


@lru_cache(maxsize=1024)
def _is_endless(path: Path, _stamp: Stamp) -> bool:
    """Whether HDF5 would read the file's texts for ever; found once for each state of a file."""
    return has_endless_heap(path)


def require_own(file: h5py.File, name: str) -> None:
    """See that what an h5ad consists of lies in it: no link to another file, none that leads nowhere.

    Through such a link another file of the account would be read, or labels be written into it. Links that
    lead to a place in the same file are followed.

    Parameters
    ----------
    file : h5py.File
        Open to read or write; none of its data are read.
    name : str
        What the message calls it.

    Raises
    ------
    SlideFileError
        Naming the first member that is not its own.
    """
    home = h5py.h5o.get_info(file.id).fileno
    seen: set[int] = set()
    waiting: list[tuple[h5py.Group, str, str]] = [(file, part, part) for part in _PARTS if _has(file, part)]
    n_members = 0
    while waiting:
        parent, key, member = waiting.pop()
        n_members += 1
        if n_members > _MOST_MEMBERS:
            raise SlideFileError(
                f"{name}: has more than {_MOST_MEMBERS} members; leave out what is not needed of obs, obsm, "
                "uns and var"
            )
        found = _follow(parent, key, f"{name}: {_short(member)}")
        if not isinstance(found, h5py.Group | h5py.Dataset):
            continue
        info = h5py.h5o.get_info(found.id)
        if info.fileno != home or (isinstance(found, h5py.Dataset) and _is_elsewhere(found)):
            raise SlideFileError(f"{name}: {_short(member)} lies in another file; write the h5ad as one file")
        # A group may be reached by two ways, and lie in itself.
        if isinstance(found, h5py.Group) and info.addr not in seen:
            seen.add(info.addr)
            waiting += [(found, each, f"{member}/{each}") for each in found]


def _has(group: h5py.Group, key: str) -> bool:
    """Whether there is a link of that name, wherever it leads."""
    return group.get(key, getlink=True) is not None


def _follow(parent: h5py.Group, key: str, subject: str) -> Any:
    try:
        link = parent.get(key, getlink=True)
    except TypeError:  # of a kind that its maker's program alone knows
        link = None
    if isinstance(link, h5py.ExternalLink) or link is None:
        raise SlideFileError(f"{subject} lies in another file; write the h5ad as one file")
    try:
        return parent[key]
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        if isinstance(link, h5py.SoftLink):
            raise SlideFileError(
                f"{subject} is a link that leads nowhere; delete it, or embed the slide again"
            ) from error
        raise


def _is_elsewhere(dataset: h5py.Dataset) -> bool:
    made = dataset.id.get_create_plist()
    return bool(made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count())


def require_held(dataset: h5py.Dataset, subject: str) -> None:
    """See that a file holds as much of a dataset as it declares; a file of a few KB can declare terabytes.

    Parameters
    ----------
    dataset : h5py.Dataset
        None of its data are read.
    subject : str
        File and member, as the message names them.

    Raises
    ------
    SlideFileError
    """
    declared = math.prod(dataset.shape or (0,)) * dataset.dtype.itemsize
    if not declared:
        return
    stored = dataset.id.get_storage_size()
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        end = 0 if offset is None else offset + declared
        is_held = stored >= declared and end <= dataset.file.id.get_filesize()
    else:
        sizes = zip(dataset.shape, dataset.chunks, strict=True)
        n_chunks = math.prod(-(-size // chunk) for size, chunk in sizes)
        # Of the many that a file of a few KB declares, none must be counted one by one.
        is_held = n_chunks <= stored and dataset.id.get_num_chunks() == n_chunks
        is_held = is_held and declared <= max(_MOST_UNPACKED * stored, _ALWAYS_UNPACKED)
    if not is_held:
        raise SlideFileError(
            f"{subject} declares {show_size(declared)} and the file holds {show_size(stored)} of it; it was "
            "not written to its end, or is no true h5ad: copy it again, or embed the slide again"
        )


def names_in(frame: Any, subject: str) -> h5py.Dataset:
    """Return where the index of an open h5ad's ``obs`` or ``var`` lies; no name is read.

    Parameters
    ----------
    frame : object
        What lies at ``obs`` or ``var``.
    subject : str
        What the message calls it.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    SlideFileError
        When it is no data frame with an index of text.
    """
    key = frame.attrs.get("_index") if isinstance(frame, h5py.Group) else None
    index = frame.get(key) if isinstance(key, str) and key else None
    if isinstance(index, h5py.Group):
        # A nullable string array, which anndata writes with pandas 3; names are never missing.
        index = index.get("values")
    if not _is_text(index) or index.ndim != 1:
        raise SlideFileError(f"{subject} is no data frame with an index of names; write it with anndata")
    return index


def _is_text(item: Any) -> TypeGuard[h5py.Dataset]:
    return isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype) is not None


def read_names(index: h5py.Dataset) -> npt.NDArray[np.object_]:
    """Read an index of text, (n,), object.

    Parameters
    ----------
    index : h5py.Dataset
        As `names_in` returns it.

    Returns
    -------
    object array of shape (n,)
    """
    names = np.empty(index.shape, dtype=object)
    for start in range(0, len(names), _TURN_NAMES):
        names[start : start + _TURN_NAMES] = index.asstr()[start : start + _TURN_NAMES]
        time.sleep(0)
    return names


def twice_named(names: npt.NDArray[np.object_]) -> tuple[str, int, int] | None:
    """Return the first name that two patches have, with their rows; None where each has its own.

    Parameters
    ----------
    names : object array of shape (n,)

    Returns
    -------
    (name, row, row) or None
    """
    if len(set(names)) == len(names):
        return None
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in first:
            return str(name), first[name], row
        first[name] = row
    raise AssertionError


def first_rows(wrong: npt.NDArray[np.bool_]) -> str:
    """Say which rows are meant, as "in 5 of 96 patches, first in rows 3, 4, 7".

    Parameters
    ----------
    wrong : bool array of shape (n_patches,)

    Returns
    -------
    str
    """
    rows = np.flatnonzero(wrong)
    listed = ", ".join(map(str, rows[:_SHOWN_ROWS]))
    return f"in {rows.size} of {wrong.size} patches, first in row{'s' if rows.size > 1 else ''} {listed}"


def library_names(obs: h5py.Group) -> list[str]:
    """Return the slides that ``obs['library_id']`` says the patches are of; none where it does not tell.

    Parameters
    ----------
    obs : h5py.Group

    Returns
    -------
    list of str

    Raises
    ------
    SlideFileError
        The column declares more than the file holds.
    """
    column = obs.get("library_id")
    codes, names = (
        (column.get("codes"), column.get("categories")) if isinstance(column, h5py.Group) else (None, None)
    )
    if isinstance(names, h5py.Group):
        names = names.get("values")
    if not isinstance(codes, h5py.Dataset) or codes.ndim != 1 or codes.dtype.kind not in "iu":
        return []
    if not _is_text(names) or names.ndim != 1:
        return []
    for each in (codes, names):
        require_held(each, f"{Path(each.file.filename).name}: obs['library_id']")
    used = np.unique(codes[()])
    known = names.asstr()[()]
    return [str(known[code]) for code in used if 0 <= code < len(known)]


def text_in(file: h5py.File, key: str) -> str | None:
    """Return a text of an open h5ad, such as ``uns/embedder``; None where there is none.

    Parameters
    ----------
    file : h5py.File
    key : str

    Returns
    -------
    str or None

    Raises
    ------
    ValueError
        When there is something else; the message says what.
    """
    item = file.get(key)
    if item is None:
        return None
    if not _is_text(item) or item.shape != ():
        kind = f"{item.dtype} of shape {item.shape}" if isinstance(item, h5py.Dataset) else "a group"
        raise ValueError(f"it is {kind}, and no text")
    return str(item.asstr()[()])


def _short(member: str) -> str:
    return member if len(member) <= 80 else f"{member[:77]}..."


def show_size(n_bytes: float) -> str:
    """Return a size as a message shows it.

    Parameters
    ----------
    n_bytes : float

    Returns
    -------
    str
    """
    for unit in ("bytes", "KB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
