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
    """
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        vars(array)["_mmap"].madvise(mmap.MADV_DONTNEED)


def select_rows(matrix: npt.NDArray[Any], keep: Mask, folder: Path) -> npt.NDArray[Any]:
    """Return some rows of a mapped matrix, mapped from a file in a folder that is gone with the array."""
    rows = np.flatnonzero(keep)
    with tempfile.TemporaryFile(dir=folder) as file:
        kept = np.memmap(file, matrix.dtype, "w+", shape=(len(rows), matrix.shape[1]))
    for start in range(0, len(rows), _BLOCK_ROWS):
        kept[start : start + _BLOCK_ROWS] = matrix[rows[start : start + _BLOCK_ROWS]]
        forget_pages(matrix)
    return kept
