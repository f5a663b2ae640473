"""Which precision is faster and still says the same, measured on the first patches of a run and not guessed.

bfloat16 is faster where a processor has instructions for it, and ten times as slow where it has none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.encoders.forward import (
    LEAST_COSINE,
    fetch,
    find_least_cosine,
    is_out_of_memory,
    keep_float32_exact,
)
from tissuumaps_sic.slidefile.arrays import Singles

if TYPE_CHECKING:
    import torch

    from embedder.encoders.forward import Forward

    # What makes the function from patches to features in a precision, for patches of the size of those.
    Make = Callable[[str, npt.NDArray[np.uint8]], Forward]

log = logging.getLogger(__name__)

# The warm-up: few enough patches to take a second, enough to fill the vectors of any processor.
WARM_UP_PATCHES = 8
_WARM_UP_PASSES = 2
# bfloat16 is chosen only for a gain that is worth its rounding.
WORTH = 1.2
# Below this at a first look it is not timed any longer: a processor without instructions for it takes ten
# times as long as in float32, and the warm-up a minute.
_HOPELESS = 0.25
# Edge of the part of a patch that is tried first, pixels.
_GLANCE = 64


@dataclass(frozen=True)
class Choice:
    """Which precision was chosen, and why.

    Attributes
    ----------
    precision : "float32" or "bfloat16"
    asked : "auto", "float32" or "bfloat16"
    speed_ratio : float or None
        How many times as fast as float32 bfloat16 was in the warm-up; None where nothing was measured.
    cosine : float or None
        The least cosine of a bfloat16 embedding with its float32 one in the warm-up.
    """

    precision: str
    asked: str
    speed_ratio: float | None = None
    cosine: float | None = None

    def __str__(self) -> str:
        if self.speed_ratio is None or self.cosine is None:
            return f"{self.precision}, as asked"
        return (
            f"{self.precision}: bfloat16 is {self.speed_ratio:.2f} times as fast as float32 here, "
            f"and the embeddings' least cosine with float32 is {self.cosine:.5f}"
        )


def take_first_look(
    make: Make, patches: npt.NDArray[np.uint8], to_device: Callable[..., torch.Tensor], *, any_size: bool
) -> Choice | None:
    """Return the choice of a first look, at one patch, where bfloat16 is far slower; None where it is not.

    Parameters
    ----------
    make : callable
        Of the network as it is, since freezing one takes longer than the look.
    patches, to_device
        As of `compare`, with its errors.
    any_size : bool
        Whether a part of a patch will do: where bfloat16 is a twentieth as fast, a whole one takes seconds,
        and a minute on a busy machine.

    Returns
    -------
    Choice or None
    """
    edge = _GLANCE if any_size else None
    first = compare(make, patches[:1, :edge, :edge], to_device)
    return first if first.speed_ratio is not None and first.speed_ratio < _HOPELESS else None


def compare(make: Make, patches: npt.NDArray[np.uint8], to_device: Callable[..., torch.Tensor]) -> Choice:
    """Time both precisions, and choose by that.

    Parameters
    ----------
    make : callable
    patches : ndarray of shape (n, rows, columns, 3), uint8
        Such as will be embedded; the fewer, where the device's memory does not hold them at once.
    to_device : callable
        Brings patches to where the network is.

    Returns
    -------
    Choice

    Raises
    ------
    RuntimeError
        When the network fails in float32, or the device's memory does not hold one patch
        (`forward.is_out_of_memory`).
    """
    import torch

    seconds: dict[str, float] = {}
    embeddings: dict[str, Singles] = {}
    batch = to_device(patches)
    for precision in ("float32", "bfloat16"):
        try:
            forward = make(precision, patches)
            with torch.inference_mode(), keep_float32_exact():
                embeddings[precision] = fetch(forward(batch))[0]
                seconds[precision] = min(_time(forward, batch) for _ in range(_WARM_UP_PASSES))
        except RuntimeError as error:  # a device without bfloat16 says so here
            if is_out_of_memory(error) and len(patches) > 1:
                break
            if precision == "float32" or is_out_of_memory(error):
                raise
            log.debug("bfloat16 cannot be used: %s", error)
            return Choice("float32", "auto")
    if len(seconds) < 2:
        # By fewer patches; not in the handler, whose traceback holds what failed.
        torch.cuda.empty_cache()
        return compare(make, patches[: len(patches) // 2], to_device)
    ratio = seconds["float32"] / seconds["bfloat16"]
    cosine = find_least_cosine(embeddings["float32"], embeddings["bfloat16"])
    chosen = "bfloat16" if ratio >= WORTH and cosine >= LEAST_COSINE else "float32"
    return Choice(chosen, "auto", speed_ratio=round(ratio, 2), cosine=round(cosine, 6))


def _time(forward: Forward, batch: torch.Tensor) -> float:
    """Return how long one pass takes, seconds."""
    started = time.perf_counter()
    fetch(forward(batch))
    return time.perf_counter() - started
