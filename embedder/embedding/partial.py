"""The embeddings of a slide while they are being made, on disk, so that a run that dies loses little.

A run may have lost the slide's lock without knowing it yet. It then never writes into the embeddings of the
one that has it: each run keeps the file open that it began with, and goes on in another's file only when that
run has certainly ended; else it copies what was saved. The state names the file that it speaks of.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
import weakref
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Integers, Singles
from tissuumaps_sic.slidefile.leases import Lock, LostError
from tissuumaps_sic.slidefile.writing import replacing

# How long a run works between two checkpoints, and so what a `kill -9` costs. One takes some milliseconds.
_CHECKPOINT_SECONDS = 10.0
# What stands behind the embeddings in their file, and tells it from every other.
_NAME_BYTES = 32
_BLOCK_BYTES = 1 << 24
_FINE = np.dtype(np.float16)


class Partial:
    """Embeddings that grow batch by batch in a folder of their own; made by `Partial.open`.

    Attributes
    ----------
    done : int
        Patches, in the order of `patches.iter_patches`, whose embeddings are safely on disk.
    written : int
        Patches that were written, those included that a checkpoint has not made safe yet.
    notes : dict
        JSON-able facts that the run that began left for the one that goes on; see `note`.
    seconds : float
        Time that earlier runs took for what is done.
    """

    def __init__(
        self,
        folder: Path,
        request: dict[str, Any],
        shape: tuple[int, int],
        dtype: npt.DTypeLike,
        fine: int,
        lock: Lock | None,
    ) -> None:
        self._folder = folder
        self._request = request
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._fine_shape = (shape[0], fine)
        self._lock = lock
        self._writer: str | None = uuid.uuid4().hex if lock is None else lock.token
        self.done = 0
        self.notes: dict[str, Any] = {}
        self.seconds = 0.0
        self.written = 0
        self._begun = self._saved = time.monotonic()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        request: dict[str, Any],
        shape: tuple[int, int],
        dtype: npt.DTypeLike = np.float32,
        fine: int = 0,
        lock: Lock | None = None,
    ) -> Self:
        """Go on with what a folder holds, if it was made for the same request; else begin.

        Parameters
        ----------
        folder : Path
        request : dict
            JSON-able; all that the embeddings depend on. Embeddings of another request are thrown away.
        shape : (n_patches, n_features)
        dtype : float32 or float16
        fine : int, default=0
            Numbers of the cells of each patch, which are kept behind the embeddings, as float16.
        lock : Lock, optional
            The slide's, which is looked at before anything is saved.

        Returns
        -------
        Partial

        Raises
        ------
        LostError
            The lock is another run's.
        OSError
            The folder cannot be written, or the disk is full.
        """
        self = cls(folder, request, shape, dtype, fine, lock)
        self._require_lock()
        state = self._read_state()
        if state is None or state["request"] != json.loads(json.dumps(request)):
            remove_partial(folder)
            folder.mkdir(exist_ok=True)
            self._make()
        else:
            self.done = self.written = state["done"]
            self.notes, self.seconds = state["notes"], state["seconds"]
            ended = frozenset[str]() if lock is None else lock.ended
            if state["writer"] is None or state["writer"] in ended:
                self._hold(state["name"])
            else:
                self._make()
        self.save()
        return self

    @property
    def _data(self) -> Path:
        return self._folder / "X"

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    @property
    def _fine_offset(self) -> int:
        return self._shape[0] * self._shape[1] * self._dtype.itemsize

    @property
    def _bytes(self) -> int:
        return self._fine_offset + self._fine_shape[0] * self._fine_shape[1] * _FINE.itemsize

    def _make(self) -> None:
        """Make a file of our own, with a copy of what is done: the one before may still be written to."""
        for old in self._folder.glob("X-*"):
            old.unlink(missing_ok=True)
        name = uuid.uuid4().hex
        path = self._folder / f"X-{name}"
        with path.open("xb", buffering=0) as file:
            _reserve(file.fileno(), self._bytes + _NAME_BYTES)
            file.truncate(self._bytes)
            if self.done:
                with self._data.open("rb") as before:
                    left = self._bytes
                    while left and (block := before.read(min(left, _BLOCK_BYTES))):
                        _write_all(file, memoryview(block))
                        left -= len(block)
                if left:
                    raise OSError(errno.EIO, "it was cut while it was copied; run again", str(self._data))
            file.seek(self._bytes)
            _write_all(file, memoryview(name.encode()))
        path.replace(self._data)
        self._hold(name)

    def _hold(self, name: str) -> None:
        """Write to the file of this name from now on, whatever becomes of its place in the folder."""
        self._file, self._name = self._data.open("rb+", buffering=0), name
        weakref.finalize(self, self._file.close)
        self._file.seek(self._bytes)
        if self._file.read() != name.encode():
            self._require_lock()
            raise OSError(errno.ESTALE, "another program put another file there", str(self._data))

    def note(self, **facts: Any) -> None:
        """Leave JSON-able facts for a run that goes on, and save them at once.

        Parameters
        ----------
        **facts : object
            By name, as `notes` will have them.

        Raises
        ------
        LostError
            The slide's lock is another run's.
        """
        self.notes |= facts
        self.save()

    def write(
        self, indices: Integers, features: Singles, fine: npt.NDArray[np.float16] | None = None
    ) -> None:
        """Write the embeddings of the next patches, and those of their cells.

        Parameters
        ----------
        indices : int64 array of shape (b,)
            Their rows.
        features : float32 array of shape (b, n_features)
        fine : float16 array of shape (b, numbers), optional
            Where there are cells.

        Raises
        ------
        LostError
            The slide's lock is another run's. What was saved before is that run's to go on with.
        OSError
            The disk is full, say. What was saved before stays, for the run that goes on.
        """
        if (0 if fine is None else fine.shape[1]) != self._fine_shape[1]:
            raise ValueError(f"there are to be {self._fine_shape[1]} numbers of the cells of each patch")
        self._write_rows(0, indices, np.ascontiguousarray(features, dtype=self._dtype))
        if fine is not None:
            self._write_rows(self._fine_offset, indices, np.ascontiguousarray(fine, dtype=_FINE))
        self.written += len(indices)
        if time.monotonic() - self._saved > _CHECKPOINT_SECONDS:
            self.save()

    def _write_rows(self, offset: int, indices: Integers, rows: npt.NDArray[Any]) -> None:
        breaks = np.flatnonzero(np.diff(indices) != 1) + 1
        # Not through a memory map: where the disk is full, that ends the process without a word.
        for begin, end in zip([0, *breaks], [*breaks, len(indices)], strict=True):
            self._file.seek(offset + int(indices[begin]) * rows.shape[1] * rows.itemsize)
            _write_all(self._file, rows[begin:end].data.cast("B"))

    def save(self) -> None:
        """Make sure that what was written is on disk, and say so in the folder.

        Raises
        ------
        LostError
            The slide's lock is another run's; nothing is saved then.
        OSError
            The disk is full, say.
        """
        self._require_lock()
        os.fsync(self._file.fileno())
        self.done = self.written
        self.seconds += time.monotonic() - self._begun
        self._begun = self._saved = time.monotonic()
        state = {
            "request": self._request,
            "done": self.done,
            "notes": self.notes,
            "seconds": self.seconds,
            "name": self._name,
            "writer": self._writer,
        }
        try:
            with replacing(self._state, follow_links=False) as temporary:
                temporary.write_text(json.dumps(state), encoding="utf-8")
        except OSError:
            self._require_lock()  # the folder may be gone since it is another run's
            raise

    def finish(self) -> None:
        """Save for the last time: this run writes no more. Errors are those of `save`."""
        self._writer = None
        self.save()

    def array(self) -> npt.NDArray[Any]:
        """Map the embeddings, (n_patches, n_features), read-only.

        Returns
        -------
        ndarray of shape (n_patches, n_features)
            Of the dtype that was asked for.
        """
        # Of the file that this run wrote, not of the one that lies in its place now.
        return np.memmap(self._file, dtype=self._dtype, mode="r", shape=self._shape)

    def fine(self) -> npt.NDArray[Any] | None:
        """Map the embeddings of the cells, (n_patches, numbers), read-only; None where there are none.

        Returns
        -------
        float16 array of shape (n_patches, numbers), or None
        """
        if not self._fine_shape[1]:
            return None
        return np.memmap(self._file, dtype=_FINE, mode="r", offset=self._fine_offset, shape=self._fine_shape)

    def remove(self) -> None:
        """Delete the folder, if it is still this run's; on Windows the arrays must be gone before."""
        self._file.close()
        with suppress(LostError):
            self._require_lock()
            remove_partial(self._folder)

    def _require_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()

    def _read_state(self) -> dict[str, Any] | None:
        """Return what the folder says of itself; None where that is nothing, or not true."""
        if not (self._state.is_file() and self._data.is_file()):  # a pipe would be waited for
            return None
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            with self._data.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(self._bytes)
                name = file.read()
            fits = (
                size == self._bytes + _NAME_BYTES
                and name == state["name"].encode()
                and type(state["done"]) is int
                and 0 <= state["done"] <= self._shape[0]
                and isinstance(state["notes"], dict)
                and isinstance(state["seconds"], int | float)
                and isinstance(state["writer"], str | None)
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return state if fits and "request" in state else None


def remove_partial(folder: Path) -> None:
    """Remove the folder of a run that ended before it could; whoever calls this holds the slide's lock.

    Parameters
    ----------
    folder : Path
    """
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)


def holds_nothing(folder: Path) -> bool:
    """Tell whether a run that ended left nothing in its folder that another one could go on with.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    try:
        return not json.loads((folder / "state.json").read_text(encoding="utf-8"))["done"]
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _reserve(descriptor: int, size: int) -> None:
    """Ask for the room at once where the system can: a full disk is then told before the work, not after."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, max(1, size))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        # Else it is a file system that cannot promise room.


def _write_all(file: FileIO, content: memoryview) -> None:
    # An unbuffered write may write less than all, on a disk that fills up and for more than 2 GB.
    while content:
        content = content[file.write(content) :]
