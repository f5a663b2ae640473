"""What is done to the numbers of a published checkpoint where renaming them is not enough.

Each takes tensors by the network's names, and gives them as the network has them. What is not as it was
published is left as it is: `load_strictly` then tells what does not match.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

# Positions of CONCH v1.5's published files, along an edge, and those of the 448 px that it takes.
_CONCH_SIDE = 14
_CONCH_NEEDED = 28


def fold_class_position(state: State) -> State:
    """Add the position of the class token to that token, as timm has it in networks with registers.

    DINOv2 adds positions to the class and to the patches, and puts the registers, which have none, between
    them afterwards; timm's networks have positions of patches only.

    Parameters
    ----------
    state : dict of str to Tensor

    Returns
    -------
    dict of str to Tensor
    """
    if not {"cls_token", "pos_embed"} <= state.keys():
        return state
    positions = state["pos_embed"]
    return {**state, "cls_token": state["cls_token"] + positions[:, :1], "pos_embed": positions[:, 1:]}


def drop_first_positions(state: State) -> State:
    """Leave out the two first positions of BEiT-3, which counts from two, as Fairseq does.

    Parameters
    ----------
    state : dict of str to Tensor

    Returns
    -------
    dict of str to Tensor
    """
    positions = state.get("pos_embed")
    return state if positions is None else {**state, "pos_embed": positions[2:][None]}


def fit_conch_positions(state: State) -> State:
    """Resample the positions of CONCH v1.5 for 448 px as its authors' own loader and network do.

    Their network has 14 x 14 positions; a file that has others is brought to these, bilinearly. On patches of
    448 px it resamples them bicubically by a factor of 28.1 / 14, which lays them a little off an even grid.

    Parameters
    ----------
    state : dict of str to Tensor

    Returns
    -------
    dict of str to Tensor
    """
    positions = state.get("trunk.pos_embed")
    side = 0 if positions is None else math.isqrt(positions.shape[-2] - 1)
    if positions is None or positions.dim() != 3 or side**2 + 1 != positions.shape[1]:
        return state
    from torch.nn.functional import interpolate

    grid = positions[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if side != _CONCH_SIDE:
        grid = interpolate(grid, size=(_CONCH_SIDE, _CONCH_SIDE), mode="bilinear")
    grid = interpolate(grid, scale_factor=(_CONCH_NEEDED + 0.1) / _CONCH_SIDE, mode="bicubic")
    return {**state, "trunk.pos_embed": _join(positions[:, :1].float(), grid)}


def _join(first: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1)
