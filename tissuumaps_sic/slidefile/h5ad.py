"""An h5ad as a file: opened in words, kept to itself, its sizes looked at before its data, read in blocks.

Nothing is mapped into memory: a process that reads a map is killed (SIGBUS) when somebody cuts or rewrites
the file, whatever it would have done about an error.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.heaps import has_endless_heap

Floats = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.integer[Any]]

# What tells a file from the one that takes its place; see `stamp_of`.
Stamp = tuple[int, int, int, int]

# The parts of an h5ad that anything here reads or writes.
_PARTS = ("X", "obs", "obsm", "uns", "var")
# A walk over so many takes a second; files that programs write have tens.
_MOST_MEMBERS = 100_000
# gzip packs embeddings to half their size at best, names and places to a twentieth; what unpacks to more than
# this many times its size is made to fill the memory. What is small may be all zeros.
_MOST_UNPACKED, _ALWAYS_UNPACKED = 100, 2**26
# A gap between two rows that is cheaper to read than to skip.
_GAP_BYTES = 2**14
_SPAN_BYTES = 5 << 19
# The HDF5 library lets one thread in at a time; after so much the next has its turn.
_TURN_BYTES = 2**23
_TURN_NAMES = 2**16
# Rows of a packed matrix that are read by themselves, for as long as nobody has asked for all of them.
_FEW_ROWS = 256
_SHOWN_ROWS = 3


class SlideFileError(SicError):
    """An h5ad cannot be used; the message names the file, what is wrong and what to do."""


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file is written or replaced, by one of the same size and time too.

    Raises
    ------
    OSError
        When there is no such file.
    """
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an h5ad to read, see that it lies in this one file (`require_own`), and tell faults in words.

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
        found = _follow(parent, key, f"{name}: {_shown(member)}")
        if not isinstance(found, h5py.Group | h5py.Dataset):
            continue
        info = h5py.h5o.get_info(found.id)
        if info.fileno != home or (isinstance(found, h5py.Dataset) and _is_elsewhere(found)):
            raise SlideFileError(f"{name}: {_shown(member)} lies in another file; write the h5ad as one file")
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
            f"{subject} declares {_size(declared)} and the file holds {_size(stored)} of it; it was not "
            "written to its end, or is no true h5ad: copy it again, or embed the slide again"
        )


def names_in(frame: Any, subject: str) -> h5py.Dataset:
    """Return where the index of an open h5ad's ``obs`` or ``var`` lies; no name is read.

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
    """Read an index of text, (n,), object."""
    names = np.empty(index.shape, dtype=object)
    for start in range(0, len(names), _TURN_NAMES):
        names[start : start + _TURN_NAMES] = index.asstr()[start : start + _TURN_NAMES]
        time.sleep(0)
    return names


def twice_named(names: npt.NDArray[np.object_]) -> tuple[str, int, int] | None:
    """Return the first name that two patches have, with their rows; None where each has its own."""
    if len(set(names)) == len(names):
        return None
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in first:
            return str(name), first[name], row
        first[name] = row
    raise AssertionError


def first_rows(wrong: npt.NDArray[np.bool_]) -> str:
    """Say which rows are meant, as "in 5 of 96 patches, first in rows 3, 4, 7"."""
    rows = np.flatnonzero(wrong)
    listed = ", ".join(map(str, rows[:_SHOWN_ROWS]))
    return f"in {rows.size} of {wrong.size} patches, first in row{'s' if rows.size > 1 else ''} {listed}"


def library_names(obs: h5py.Group) -> list[str]:
    """Return the slides that ``obs['library_id']`` says the patches are of; none where it does not tell."""
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


class Matrix:
    """A dense matrix of floats in a file, of which rows are read when they are asked for.

    Rows are taken by a number, a slice or an array of numbers; ``np.asarray`` reads it whole.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, n_columns)
    dtype : dtype
    """

    ndim = 2

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        self.path = path
        self.shape: tuple[int, int] = (int(dataset.shape[0]), int(dataset.shape[1]))
        self.dtype: np.dtype[np.floating[Any]] = dataset.dtype

    @property
    def nbytes(self) -> int:
        """Size of all rows, bytes."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: int | slice | npt.ArrayLike) -> Floats:
        """Read some rows.

        Raises
        ------
        IndexError
            When there is no such row.
        SlideFileError
            When the file is not what it was when it was opened.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._span(start, max(stop, start))
            return self[np.arange(start, stop, step)]
        index = np.asarray(rows)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        if index.size and not (-len(self) <= index.min() and index.max() < len(self)):
            raise IndexError(f"a row of {index.min()} to {index.max()} is not one of {len(self)}")
        index = np.where(index < 0, index + len(self), index).astype(np.intp)
        flat = index.ravel()
        order = np.argsort(flat, kind="stable")
        found = np.empty((flat.size, self.shape[1]), dtype=self.dtype)
        if (order == np.arange(flat.size)).all():
            self._gather(flat, found)
        else:
            ordered = np.empty_like(found)
            self._gather(flat[order], ordered)
            found[order] = ordered
        return found.reshape(*index.shape, self.shape[1])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Floats:
        """Read all rows."""
        whole = self._span(0, len(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _span(self, start: int, stop: int) -> Floats:
        raise NotImplementedError

    def _gather(self, index: npt.NDArray[np.intp], out: Floats) -> None:
        raise NotImplementedError


class StoredMatrix(Matrix):
    """A matrix that lies in its file as it would in memory; safe to read from many threads at once.

    After each reading the file is looked at, so that rows are of the file that was opened, or not returned.

    Parameters
    ----------
    path : Path
    dataset : h5py.Dataset
        For which `lies_plain` is true.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        super().__init__(path, dataset)
        self._offset = int(dataset.id.get_offset())
        self._row_bytes = self.shape[1] * self.dtype.itemsize
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self._opened = os.fstat(self._descriptor)
        self._seeking = threading.Lock()

    @staticmethod
    def lies_plain(dataset: h5py.Dataset) -> bool:
        """Whether the bytes of a dataset are those that numpy has in memory."""
        return (
            dataset.chunks is None
            and dataset.id.get_offset() is not None
            and dataset.dtype.isnative
            # Floats that numpy does not have come as the next wider ones.
            and bool(dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)))
        )

    def read_rows(self, start: int, out: Floats) -> None:
        """Read rows from `start` on into `out`, (n, n_columns), contiguous and of the matrix's dtype.

        Raises
        ------
        SlideFileError
            When the file is not what it was when it was opened.
        """
        self._fill(start, out)
        self._require_same()

    def take_rows(self, index: npt.NDArray[np.intp], out: Floats) -> None:
        """Read rows that rise into `out`, (n, n_columns), contiguous and of the matrix's dtype.

        Raises
        ------
        SlideFileError
            When the file is not what it was when it was opened.
        """
        if not len(index):
            return
        gap = max(_GAP_BYTES // self._row_bytes, 1)
        breaks = np.flatnonzero(np.diff(index) > gap) + 1
        starts = np.concatenate([[0], breaks, [len(index)]]).tolist()
        most = max(_SPAN_BYTES // self._row_bytes, 1)
        scratch: Floats | None = None
        for begin, end in pairwise(starts):
            first, last = int(index[begin]), int(index[end - 1])
            if last - first == end - begin - 1 and self._rise_by_one(index[begin:end]):
                self._fill(first, out[begin:end])
                continue
            while begin < end:
                first = int(index[begin])
                until = begin + int(np.searchsorted(index[begin:end], first + most))
                last = int(index[until - 1])
                if scratch is None:
                    scratch = np.empty((most, self.shape[1]), dtype=self.dtype)
                span = scratch[: last - first + 1]
                self._fill(first, span)
                np.take(span, index[begin:until] - first, axis=0, out=out[begin:until], mode="clip")
                begin = until
        self._require_same()

    @staticmethod
    def _rise_by_one(index: npt.NDArray[np.intp]) -> bool:
        return len(index) < 3 or bool((np.diff(index) == 1).all())

    def _span(self, start: int, stop: int) -> Floats:
        rows = np.empty((stop - start, self.shape[1]), dtype=self.dtype)
        self.read_rows(start, rows)
        return rows

    def _gather(self, index: npt.NDArray[np.intp], out: Floats) -> None:
        self.take_rows(index, out)

    def _fill(self, start: int, out: Floats) -> None:
        if not out.size:
            return
        view = memoryview(out.data).cast("B")
        at, done = self._offset + start * self._row_bytes, 0
        while done < len(view):
            try:
                n_read = self._read_at(view[done:], at + done)
            except OSError as error:
                raise SlideFileError(
                    f"{self.path.name}: cannot be read any more ({error.strerror or error}); see that its "
                    "disk or share is there, and open it again"
                ) from error
            if not n_read:
                raise SlideFileError(f"{self.path.name}: was cut short while it was read; open it again")
            done += n_read

    def _read_at(self, view: memoryview, at: int) -> int:
        # A call reads two gigabytes at most.
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [view], at)
        with self._seeking:
            os.lseek(self._descriptor, at, os.SEEK_SET)
            part = os.read(self._descriptor, min(len(view), 2**26))
        view[: len(part)] = part
        return len(part)

    def _require_same(self) -> None:
        before, now = self._opened, os.fstat(self._descriptor)
        same = (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
        # The third time knows of writers who put the second one back. It changes, too, when the file gets or
        # loses a name, as it does when another one takes its place; what was opened is still whole then.
        if not same or (before.st_ctime_ns != now.st_ctime_ns and before.st_nlink == now.st_nlink):
            raise SlideFileError(f"{self.path.name}: was rewritten while it was read; open it again")


class PackedMatrix(Matrix):
    """A matrix that must be unpacked; it is, once, when more than a few rows are asked for, and then kept.

    `embedder share --compress` makes such files. Safe to read from many threads at once.

    Parameters
    ----------
    path : Path
    dataset : h5py.Dataset
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        super().__init__(path, dataset)
        self._key = dataset.name
        self._stamp = stamp_of(path)
        self._whole: Floats | None = None
        self._unpacking = threading.Lock()

    def _span(self, start: int, stop: int) -> Floats:
        return self._unpacked()[start:stop]

    def _gather(self, index: npt.NDArray[np.intp], out: Floats) -> None:
        if self._whole is not None or len(index) > _FEW_ROWS:
            np.take(self._unpacked(), index, axis=0, out=out, mode="clip")
            return
        rows, places = np.unique(index, return_inverse=True)
        with self._same() as dataset:
            found = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
            for place, row in enumerate(rows):
                found[place] = dataset[int(row)]
        out[:] = found[places]

    def _unpacked(self) -> Floats:
        with self._unpacking:
            if self._whole is None:
                try:
                    whole = np.empty(self.shape, dtype=self.dtype)
                except MemoryError as error:
                    raise SlideFileError(
                        f"{self.path.name}: its embeddings take {_size(self.nbytes)} of memory when they are "
                        "unpacked, which is more than there is; embed the slide again, uncompressed"
                    ) from error
                with self._same() as dataset:
                    rows_of_chunk = dataset.chunks[0] if dataset.chunks else 1
                    row_bytes = self.shape[1] * self.dtype.itemsize
                    step = max(_TURN_BYTES // (rows_of_chunk * row_bytes), 1) * rows_of_chunk
                    for start in range(0, len(whole), step):
                        whole[start : start + step] = dataset[start : start + step]
                        time.sleep(0)
                self._whole = whole
            return self._whole

    @contextmanager
    def _same(self) -> Iterator[h5py.Dataset]:
        """Open the matrix, and see before and after that it is of the file that it was of."""
        self._require_same()
        try:
            with opened(self.path) as file:
                yield file[self._key]
        except SlideFileError:
            # Of a file that is being rewritten that is what is wrong with it, and not what HDF5 says.
            self._require_same()
            raise
        self._require_same()

    def _require_same(self) -> None:
        try:
            now = stamp_of(self.path)
        except OSError as error:
            raise SlideFileError(
                f"{self.path.name}: was removed while it was read; put it back and open it again"
            ) from error
        if now != self._stamp:
            raise SlideFileError(f"{self.path.name}: was rewritten while it was read; open it again")


def open_matrix(path: Path, dataset: h5py.Dataset) -> Matrix:
    """Return a matrix of an open h5ad, to be read from when the file is closed.

    Parameters
    ----------
    path : Path
        Where the file lies; who calls sees to it that it is still the file that the dataset is of.
    dataset : h5py.Dataset
        Of two dimensions, held by the file (`require_held`).
    """
    return (StoredMatrix if StoredMatrix.lies_plain(dataset) else PackedMatrix)(path, dataset)


def _shown(member: str) -> str:
    return member if len(member) <= 80 else f"{member[:77]}..."


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
