"""Cells smaller than a patch: a middle layer of the same pass tells them apart, and is read out cell by cell.

A cell's embedding is a mean of the layer's places about the cell's true centre. The layer's own geometry says
where each of its places lies in the patch, so that cells are where they are said to be, to a pixel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.encoders.spec import EncoderSpec, FineLayer
from tissuumaps_sic.slidefile.arrays import Singles

if TYPE_CHECKING:
    import torch

# Edge of a cell, in target pixels. Labels of cells of 16 px, four times as many, were no better
# (benchmarks/README.md).
_EDGE = 32
# All cells take at most so many times the numbers of the patch's own embedding.
_MOST_TIMES = 3
_MOST_CHANNELS = 64
# In the provenance: whoever changes the signs must change the name.
SIGNS = "shake256-signs-1"
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class CellPlan:
    """How the middle of a patch is parted into cells, and what is kept of each; made by `plan_cells`.

    Attributes
    ----------
    layer : FineLayer
    patch_size, stride : int
        Edge of a patch, and of its middle, in target pixels.
    side : int
        Cells along an edge of the middle.
    channels : int
        Numbers for each cell.
    """

    layer: FineLayer
    patch_size: int
    stride: int
    side: int
    channels: int

    @property
    def cell(self) -> float:
        """Edge of a cell in target pixels; it need not be whole."""
        return self.stride / self.side

    @property
    def width(self) -> int:
        """Numbers for each patch."""
        return self.side**2 * self.channels

    @property
    def projection(self) -> str | None:
        """What makes the layer's channels fewer, by name; None where all are kept."""
        return SIGNS if self.channels < self.layer.channels else None


def plan_cells(spec: EncoderSpec, patch_size: int, stride: int) -> CellPlan | None:
    """Choose the cells of a patch: of 32 px, with as many channels as three times its embedding has room for.

    Parameters
    ----------
    spec : EncoderSpec
    patch_size : int
        Edge of a patch in target pixels.
    stride : int
        Target pixels from a patch to the next.

    Returns
    -------
    CellPlan or None
        None where no layer of the encoder is known to tell places apart.
    """
    layer, most = spec.fine, _MOST_TIMES * spec.dimension
    if layer is None:
        return None
    edge = _EDGE
    while max(1, round(stride / edge)) ** 2 > most:  # patches as large as this are embedded by nobody
        edge *= 2
    side = max(1, round(stride / edge))
    channels = min(layer.channels, most // side**2, _MOST_CHANNELS)
    return CellPlan(layer, patch_size, stride, side, channels)


def weigh_places(spec: EncoderSpec, plan: CellPlan) -> Singles:
    """Return how much each place of the layer counts for each cell along an edge, (side, places).

    A triangle about the cell's centre, as wide on either side as the cell or as the step between places,
    whichever is more, and narrower where it would reach beyond the outermost place, since it would else lean
    inwards. A cell beyond that, such as where the patch is cut for the network, is as the nearest place.
    """
    layer, size = plan.layer, plan.patch_size if spec.input_size is None else spec.input_size
    edge = plan.patch_size if spec.input_size is None else spec.resized or spec.input_size
    zoom = edge / plan.patch_size
    n_places = layer.count_places(size)
    cells = (plan.patch_size - plan.stride) / 2 + (np.arange(plan.side) + 0.5) * plan.cell
    # In pixels of what the network takes, then in places: place j lies at stride * j + stride / 2 + shift.
    pixels = cells * zoom - spec.margin
    centres = np.clip((pixels - layer.shift(size)) / layer.stride - 0.5, 0, n_places - 1)
    reach = np.minimum(max(1.0, plan.cell * zoom / layer.stride), np.minimum(centres + 1, n_places - centres))
    weights = np.maximum(1 - np.abs(np.arange(n_places) - centres[:, None]) / reach[:, None], 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def make_projection(n_channels: int, kept: int) -> Singles:
    """Return the matrix that makes channels fewer, (n_channels, kept): the same for ever, everywhere.

    Signs over the root of `kept`, so that distances are kept as well as by any projection that has not seen
    the data (Achlioptas 2003). They are bits of SHAKE-256 of the name and the shape.
    """
    n_signs = n_channels * kept
    text = f"{SIGNS} {n_channels} {kept}".encode()
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(text).digest(-(-n_signs // 8)), np.uint8))
    signs = bits[:n_signs].reshape(n_channels, kept).astype(np.float32) * 2 - 1
    return np.asarray(signs / np.sqrt(np.float32(kept)), np.float32)


@contextmanager
def catch_output(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Yield a list that gets what a module gives while the network runs.

    Parameters
    ----------
    module : torch.nn.Module

    Yields
    ------
    list of Tensor
    """
    caught: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        caught.append(output)

    handle = module.register_forward_hook(keep)
    try:
        yield caught
    finally:
        handle.remove()


def make_reader(spec: EncoderSpec, plan: CellPlan, device: str) -> torch.nn.Module:
    """Return a module from what the layer gives, of n patches, to their cells: (n, width), float16.

    Parameters
    ----------
    spec : EncoderSpec
    plan : CellPlan
    device : str

    Returns
    -------
    torch.nn.Module
    """
    import torch

    weights = torch.tensor(weigh_places(spec, plan), device=device)
    projection = None
    if plan.projection is not None:
        projection = torch.tensor(make_projection(plan.layer.channels, plan.channels), device=device)
    n_places, n_channels = weights.shape[1], plan.layer.channels

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights, self.projection = weights, projection

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            if plan.layer.tokens:
                # Those of the class and of the registers come first.
                places = given[:, -(n_places**2) :].reshape(-1, n_places, n_places, n_channels)
            else:
                # Channels are last in memory already.
                places = given.permute(0, 2, 3, 1)
            rows = torch.matmul(self.weights, places.float().flatten(2))
            cells = torch.matmul(self.weights, rows.reshape(-1, plan.side, n_places, n_channels))
            if self.projection is not None:
                cells = torch.matmul(cells, self.projection)
            return cells.flatten(1).clamp(-_LARGEST, _LARGEST).half()

    return Reader()
