"""One function from patches to features: a network with what comes before and after it, made fast.

Two things make a convolutional network faster on a processor, and neither changes an embedding beyond
rounding: channels last in memory, and batch normalisation folded into the convolutions (which tracing and
freezing do).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedder.encoders.fine import CellPlan, catch_output, make_reader
from embedder.encoders.spec import EncoderSpec
from tissuumaps_sic.slidefile.arrays import Singles

if TYPE_CHECKING:
    import torch

    Started = tuple[torch.Tensor, ...]
    Forward = Callable[[torch.Tensor], Started]

log = logging.getLogger(__name__)

# The least cosine of an embedding in bfloat16 with its float32 one: below it the rounding is not small.
LEAST_COSINE = 0.999
# A frozen network differs from the eager one by rounding alone.
_FROZEN_COSINE = 0.99999


def freeze(eager: torch.nn.Module, name: str, precision: str, device: str, sample: torch.Tensor) -> Forward:
    """Return a network frozen, where that pays and says the same; else as it was wrapped.

    Parameters
    ----------
    eager : Module
        Made by `wrap`.
    name, precision, device : str
        The network's name, "float32" or "bfloat16", and where it runs.
    sample : Tensor of shape (n, rows, columns, 3), uint8
        Patches of the size that the frozen network is for.

    Returns
    -------
    callable
        From patches to what `fetch` takes.
    """
    import torch

    kind = torch.device(device).type
    # Folding pays where there is batch normalisation, and on a GPU the compiler behind `freeze` gains
    # nothing that is worth its warm-up.
    if kind != "cpu" or not _has_batch_norm(eager):
        return eager
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that tracing takes for constants: compared below
            traced = torch.jit.trace(eager, sample, check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced)
        with torch.inference_mode():
            # Another number of patches than was traced, since a trace could take that for a constant. Twice:
            # in the second pass the compiler has settled. No third number: the first pass of each takes a
            # second, in which the libraries beneath make programs for it.
            part = sample[: max(1, len(sample) // 2)]
            expected = eager(part)
            same = all(_agrees(frozen(part), expected, precision) for _ in range(2))
    except (RuntimeError, TypeError, ValueError) as error:
        log.debug("%s cannot be frozen: %s", name, error)
        return eager
    return frozen if same else eager


def _has_batch_norm(network: torch.nn.Module) -> bool:
    import torch

    return any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def _agrees(frozen: Started, eager: Started, precision: str) -> bool:
    # In bfloat16, folding rounds other weights than the eager network has.
    least = _FROZEN_COSINE if precision == "float32" else LEAST_COSINE
    return len(frozen) == len(eager) and all(
        a.shape == b.shape and find_least_cosine(a.numpy(), b.numpy()) >= least
        for a, b in zip(frozen, eager, strict=True)
    )


def wrap(
    network: torch.nn.Module, spec: EncoderSpec, precision: str, device: str, cells: CellPlan | None
) -> torch.nn.Module:
    """Return a network with all that comes before it and after it.

    Parameters
    ----------
    network : Module
        As `Encoder` has it.
    spec : EncoderSpec
        How patches are fitted and normalised, and how an embedding is pooled.
    precision, device : str
        "float32" or "bfloat16", and where it runs.
    cells : CellPlan or None
        Cells to be told as well.

    Returns
    -------
    Module
        From patches, uint8 of shape (n, rows, columns, 3), to embeddings and, with `cells`, those of cells.
    """
    import torch

    low = precision == "bfloat16"
    # A convolutional network is cast whole, which is fastest. A transformer's sums of residuals lose too
    # much that way: autocast keeps them in float32.
    cast = low and _has_batch_norm(network)
    body = copy.deepcopy(network).bfloat16() if cast else network
    dtype = torch.bfloat16 if cast else torch.float32
    device_type = torch.device(device).type

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            shape = (1, 3, 1, 1)
            self.mean = torch.tensor(spec.mean, device=device).view(shape)
            self.scale = (1 / torch.tensor(spec.std, device=device)).view(shape)
            self.reader = None if cells is None else make_reader(spec, cells, device)

        def forward(self, patches: torch.Tensor) -> Started:
            # Channels are last in memory already: the permutation is the layout that the network wants.
            x = patches.permute(0, 3, 1, 2).float()
            x = _fit(x, spec)
            x = ((x - self.mean) * self.scale).to(dtype)
            if cells is None or self.reader is None:
                return (self.embed(x),)
            with catch_output(self.body.get_submodule(cells.layer.module)) as caught:
                pooled = self.embed(x)
            return pooled, self.reader(caught[0])

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            if low and not cast:
                with torch.autocast(device_type, torch.bfloat16):
                    features = self.body(x)
            else:
                features = self.body(x)
            pooled: torch.Tensor = features if spec.pool is None else spec.pool(features)
            return pooled.float()

    return Whole().eval()


def _fit(patches: torch.Tensor, spec: EncoderSpec) -> torch.Tensor:
    """Return patches, (n, 3, rows, columns) of 0..255, resized and cut to what the network takes."""
    import torch

    if spec.input_size is None:
        return patches
    edge = spec.resized or spec.input_size
    # As Pillow does for the encoders' own transforms: along the rows, then along the columns, and after each
    # to 8 bits, halves upwards; that cuts a cubic's overshoot.
    for size in ([patches.shape[2], edge], [edge, edge]):
        if list(patches.shape[2:]) != size:
            resized = torch.nn.functional.interpolate(
                patches, size=size, mode=spec.interpolation, antialias=True
            )
            patches = (resized + 0.5).floor().clamp(0, 255)
    inner = slice(spec.margin, spec.margin + spec.input_size)
    return patches[:, :, inner, inner]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device's memory was full, which its libraries say in their own words.

    Parameters
    ----------
    error : RuntimeError

    Returns
    -------
    bool
    """
    import torch

    told = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in told or "ALLOC_FAILED" in told


def keep_float32_exact() -> Any:
    """Keep float32 what it is.

    Left to itself, cuDNN rounds float32 to the 10 bits of TF32 and may choose its algorithm anew in each run.

    Returns
    -------
    context manager
    """
    import torch

    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def find_least_cosine(a: Singles, b: Singles) -> float:
    """Return the least cosine of a row of one with the same row of the other; two zeros agree.

    Parameters
    ----------
    a, b : ndarray of shape (n, dimension), float32

    Returns
    -------
    float
        -1 to 1; 1 of no rows.
    """
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    same = (a64 == b64).all(axis=1)
    cosines = np.where(same, 1.0, (a64 * b64).sum(axis=1) / np.where(lengths == 0, 1, lengths))
    return float(cosines.min(initial=1.0))


def fetch(started: Started) -> tuple[npt.NDArray[Any], ...]:
    """Return what a forward function gives, in memory; waits for a GPU that is still at it.

    Parameters
    ----------
    started : tuple of Tensor

    Returns
    -------
    tuple of ndarray
    """
    return tuple(part.cpu().numpy() for part in started)
