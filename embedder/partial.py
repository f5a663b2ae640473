"""The embeddings of a slide while they are being made, on disk, so that a run that dies loses little."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.writing import replacing

# How long a run works between two checkpoints, and so what a `kill -9` costs. One takes some milliseconds.
_CHECKPOINT_SECONDS = 10.0


class Partial:
    """Embeddings that grow batch by batch in a folder of their own; made by `Partial.open`.

    Attributes
    ----------
    done : int
        Patches, in the order of `patches.iter_patches`, whose embeddings are safely on disk.
    notes : dict
        JSON-able facts that the run that began left for the one that goes on; see `note`.
    seconds : float
        Time that earlier runs took for what is done.
    """

    def __init__(
        self, folder: Path, request: dict[str, Any], shape: tuple[int, int], dtype: npt.DTypeLike
    ) -> None:
        self._folder = folder
        self._request = request
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self.done = 0
        self.notes: dict[str, Any] = {}
        self.seconds = 0.0
        self._written = 0
        self._begun = self._saved = time.monotonic()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        request: dict[str, Any],
        shape: tuple[int, int],
        dtype: npt.DTypeLike = np.float32,
    ) -> Self:
        """Go on with what a folder holds, if it was made for the same request; else begin.

        Parameters
        ----------
        folder : Path
        request : dict
            JSON-able; all that the embeddings depend on. Embeddings of another request are thrown away.
        shape : (n_patches, n_features)
        dtype : float32 or float16
        """
        self = cls(folder, request, shape, dtype)
        state = self._read_state()
        if state is not None and state["request"] == json.loads(json.dumps(request)):
            self.done = self._written = state["done"]
            self.notes, self.seconds = state["notes"], state["seconds"]
        else:
            self.remove()
            folder.mkdir()
            with self._data.open("wb") as file:
                _reserve(file.fileno(), self._bytes)
                file.truncate(self._bytes)
            self.save()
        return self

    @property
    def _data(self) -> Path:
        return self._folder / "X"

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    @property
    def _bytes(self) -> int:
        return self._shape[0] * self._shape[1] * self._dtype.itemsize

    def note(self, **facts: Any) -> None:
        """Leave JSON-able facts for a run that goes on, and save them at once."""
        self.notes |= facts
        self.save()

    def write(self, indices: npt.NDArray[np.int64], features: npt.NDArray[np.float32]) -> None:
        """Write the embeddings of the next patches.

        Parameters
        ----------
        indices : int64 array of shape (b,)
            Their rows.
        features : float32 array of shape (b, n_features)

        Raises
        ------
        OSError
            The disk is full, say. What was saved before stays, for the run that goes on.
        """
        rows = np.ascontiguousarray(features, dtype=self._dtype)
        breaks = np.flatnonzero(np.diff(indices) != 1) + 1
        # Not through a memory map: where the disk is full, that ends the process without a word.
        with self._data.open("rb+", buffering=0) as file:
            for begin, end in zip([0, *breaks], [*breaks, len(indices)], strict=True):
                file.seek(int(indices[begin]) * self._shape[1] * self._dtype.itemsize)
                _write_all(file, rows[begin:end].data.cast("B"))
        self._written += len(indices)
        if time.monotonic() - self._saved > _CHECKPOINT_SECONDS:
            self.save()

    def save(self) -> None:
        """Make sure that what was written is on disk, and say so in the folder."""
        with self._data.open("rb+") as file:
            os.fsync(file.fileno())
        self.done = self._written
        self.seconds += time.monotonic() - self._begun
        self._begun = self._saved = time.monotonic()
        state = {
            "request": self._request,
            "done": self.done,
            "notes": self.notes,
            "seconds": self.seconds,
        }
        with replacing(self._state) as temporary:
            temporary.write_text(json.dumps(state), encoding="utf-8")

    def array(self) -> npt.NDArray[Any]:
        """Map the embeddings, (n_patches, n_features), read-only."""
        return np.memmap(self._data, dtype=self._dtype, mode="r", shape=self._shape)

    def remove(self) -> None:
        """Delete the folder; on Windows the array must be gone before."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read_state(self) -> dict[str, Any] | None:
        """Return what the folder says of itself; None where that is nothing, or not true."""
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            fits = (
                self._data.stat().st_size == self._bytes
                and 0 <= state["done"] <= self._shape[0]
                and isinstance(state["notes"], dict)
                and isinstance(state["seconds"], int | float)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if fits and "request" in state else None


def _reserve(descriptor: int, size: int) -> None:
    """Ask for the room at once where the system can: a full disk is then told before the work, not after."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, max(1, size))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        # Else it is a file system that cannot promise room.


def _write_all(file: Any, content: memoryview) -> None:
    # An unbuffered write may write less than all, on a disk that fills up and for more than 2 GB.
    while content:
        content = content[file.write(content) :]
