"""What arrays hold, as types; one home for both packages."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
# Classes of patches, -1 for none.
Labels = npt.NDArray[np.int64]
# Which rows, in numbers or in truth values.
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
