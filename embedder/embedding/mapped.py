"""Mapped files whose pages are not kept."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt


def forget_pages(array: npt.NDArray[Any]) -> None:
    """Let the system drop the pages of a memory map that were read; does nothing to any other array.

    It would drop them when it needs room, but a cluster's scheduler counts them against the job until then.
    """
    if isinstance(array, np.memmap) and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        vars(array)["_mmap"].madvise(mmap.MADV_DONTNEED)
