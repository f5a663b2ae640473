"""Mapped files whose pages are not kept."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Mask

# Rows that are copied at once.
_BLOCK_ROWS = 4096


def forget_pages(array: npt.NDArray[Any]) -> None:
    """Let the system drop the pages of a memory map that were read; does nothing to any other array.

    It would drop them when it needs room, but a cluster's scheduler counts them against the job until then.

    Parameters
    ----------
    array : ndarray of any shape
    """
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        vars(array)["_mmap"].madvise(mmap.MADV_DONTNEED)


def select_rows(matrix: npt.NDArray[Any], keep: Mask, folder: Path) -> npt.NDArray[Any]:
    """Return some rows of a mapped matrix, mapped read-only from a file that is gone with the array.

    Parameters
    ----------
    matrix : ndarray of shape (n, n_features)
    keep : bool array of shape (n,)
    folder : Path
        Where the temporary file lies.

    Returns
    -------
    ndarray of shape (n_kept, n_features)
        Of the same dtype.

    Raises
    ------
    OSError
        The disk of the folder is full, say.
    """
    rows = np.flatnonzero(keep)
    # Not through the memory map: where the disk is full, that ends the process without a word.
    with tempfile.TemporaryFile(dir=folder) as file:
        for start in range(0, len(rows), _BLOCK_ROWS):
            file.write(matrix[rows[start : start + _BLOCK_ROWS]].data)
            forget_pages(matrix)
        file.flush()
        return np.memmap(file, matrix.dtype, "r", shape=(len(rows), matrix.shape[1]))
