"""A matrix of embeddings in an h5ad, of which rows are read when they are asked for.

Nothing is mapped into memory: a process that reads a map is killed (SIGBUS) when somebody cuts or rewrites
the file, whatever it would have done about an error.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Floats
from tissuumaps_sic.slidefile.h5ad import SlideFileError, open_h5ad, show_size, stamp_of

# A gap between two rows that is cheaper to read than to skip.
_GAP_BYTES = 2**14
_SPAN_BYTES = 5 << 19
# The HDF5 library lets one thread in at a time; after so much the next has its turn.
_TURN_BYTES = 2**23
# Rows of a packed matrix that are read by themselves, for as long as nobody has asked for all of them.
_FEW_ROWS = 256


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

        Parameters
        ----------
        start : int
            The first row.
        out : floating array of shape (n, n_columns)
            Is filled.

        Raises
        ------
        SlideFileError
            When the file is not what it was when it was opened.
        """
        self._fill(start, out)
        self._require_same()

    def take_rows(self, index: npt.NDArray[np.intp], out: Floats) -> None:
        """Read rows that rise into `out`, (n, n_columns), contiguous and of the matrix's dtype.

        Parameters
        ----------
        index : int array of shape (n,)
            Ascending.
        out : floating array of shape (n, n_columns)
            Is filled.

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
        return self._unpack()[start:stop]

    def _gather(self, index: npt.NDArray[np.intp], out: Floats) -> None:
        if self._whole is not None or len(index) > _FEW_ROWS:
            np.take(self._unpack(), index, axis=0, out=out, mode="clip")
            return
        rows, places = np.unique(index, return_inverse=True)
        with self._same() as dataset:
            found = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
            for place, row in enumerate(rows):
                found[place] = dataset[int(row)]
        out[:] = found[places]

    def _unpack(self) -> Floats:
        with self._unpacking:
            if self._whole is None:
                try:
                    whole = np.empty(self.shape, dtype=self.dtype)
                except MemoryError as error:
                    raise SlideFileError(
                        f"{self.path.name}: its embeddings take {show_size(self.nbytes)} of memory when they "
                        "are unpacked, which is more than there is; embed the slide again, uncompressed"
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
            with open_h5ad(self.path) as file:
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

    Returns
    -------
    Matrix
    """
    return (StoredMatrix if StoredMatrix.lies_plain(dataset) else PackedMatrix)(path, dataset)
