"""GenBio-PathFM's network: a vision transformer that sees one colour at a time.

Red, green and blue go through it as three grey pictures, and their class tokens side by side are the
embedding. Tokens know their places by rotation, computed in bfloat16 as in the authors' code.
Torch is imported at the top, since `build` imports this file only where the network is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

# The class token and the four that store things, which are nobody's place.
_PREFIX = 5
_EPSILON = 1e-6

Angles = tuple[torch.Tensor, torch.Tensor]


class Attention(nn.Module):
    """Self-attention whose questions and keys are turned by the places that they are of."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, angles: Angles) -> torch.Tensor:
        """Return (n, tokens, width) for the same.

        Parameters
        ----------
        tokens : Tensor of shape (n, tokens, width)
        angles : (Tensor, Tensor)
            As `Places` gives them.

        Returns
        -------
        Tensor of shape (n, tokens, width)
        """
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        met = scaled_dot_product_attention(_turn(q, angles), _turn(k, angles), v)
        out: torch.Tensor = self.proj(met.transpose(1, 2).flatten(2))
        return out


class GatedUnit(nn.Module):
    """A layer of which one half opens the other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, inner), nn.Linear(width, inner)
        self.w3 = nn.Linear(inner, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, width) for the same.

        Parameters
        ----------
        tokens : Tensor of shape (n, tokens, width)

        Returns
        -------
        Tensor of shape (n, tokens, width)
        """
        out: torch.Tensor = self.w3(silu(self.w1(tokens)) * self.w2(tokens))
        return out


class Scale(nn.Module):
    """A number for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, width) for the same.

        Parameters
        ----------
        tokens : Tensor of shape (n, tokens, width)

        Returns
        -------
        Tensor of shape (n, tokens, width)
        """
        return tokens * self.gamma


class Block(nn.Module):
    """Attention and a gated unit, each beside what it was given."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=_EPSILON) for _ in range(2))
        self.attn, self.mlp = Attention(width, heads), GatedUnit(width, inner)
        self.ls1, self.ls2 = Scale(width), Scale(width)

    def forward(self, tokens: torch.Tensor, angles: Angles) -> torch.Tensor:
        """Return (n, tokens, width) for the same.

        Parameters
        ----------
        tokens : Tensor of shape (n, tokens, width)
        angles : (Tensor, Tensor)
            As `Places` gives them.

        Returns
        -------
        Tensor of shape (n, tokens, width)
        """
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens), angles))
        out: torch.Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return out


class Stem(nn.Module):
    """Squares of pixels of one colour to tokens."""

    def __init__(self, width: int, edge: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, kernel_size=edge, stride=edge)


class Places(nn.Module):
    """How fast each pair of channels turns along an edge of the picture."""

    def __init__(self, head: int) -> None:
        super().__init__()
        self.register_buffer("periods", torch.empty(head // 4, dtype=torch.bfloat16))  # in the file
        self.periods: torch.Tensor

    def forward(self, rows: int, columns: int) -> Angles:
        """Return the sine and cosine of each place, rows first: (rows * columns, channels of a head).

        Parameters
        ----------
        rows, columns : int
            Of the grid of places.

        Returns
        -------
        (Tensor, Tensor)
            Each of shape (rows * columns, channels of a head).
        """
        device, dtype = self.periods.device, self.periods.dtype
        along = [
            2 * torch.arange(0.5, count, dtype=dtype, device=device) / count - 1 for count in (rows, columns)
        ]
        places = torch.stack(torch.meshgrid(*along, indexing="ij"), dim=-1).flatten(0, 1)
        angles = 2 * math.pi * places[:, :, None] / self.periods
        angles = angles.flatten(1).tile(2)
        return angles.sin(), angles.cos()


class ColourByColour(nn.Module):
    """The whole network: (n, 3, rows, columns) to (n, 3 * width)."""

    def __init__(self, *, width: int, depth: int, heads: int, inner: int, edge: int) -> None:
        super().__init__()
        self.patch_embed = Stem(width, edge)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.storage_tokens = nn.Parameter(torch.empty(1, _PREFIX - 1, width))
        self.rope_embed = Places(width // heads)
        self.blocks = nn.ModuleList(Block(width, heads, inner) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        # Tokens of the three colours side by side: the layer that cells are read from.
        self.joined = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class tokens of red, green and blue side by side.

        Parameters
        ----------
        x : Tensor of shape (n, 3, rows, columns)
            Patches, normalised.

        Returns
        -------
        Tensor of shape (n, 3 * width)
        """
        count, colours, *size = x.shape
        grid = self.patch_embed.proj(x.reshape(count * colours, 1, *size))
        own = [token.expand(count * colours, -1, -1) for token in (self.cls_token, self.storage_tokens)]
        tokens = torch.cat([*own, grid.flatten(2).transpose(1, 2)], dim=1)
        angles = self.rope_embed(*grid.shape[2:])
        for block in self.blocks:
            tokens = block(tokens, angles)
        apart = self.norm(tokens).unflatten(0, (count, colours))
        joined: torch.Tensor = self.joined(apart.transpose(1, 2).flatten(2))
        return joined[:, 0]


def make_colour_by_colour(arguments: Mapping[str, Any], _: int) -> nn.Module:
    """Return the network of so many blocks and heads, of the given width.

    Parameters
    ----------
    arguments : mapping
        "embed_dim", "depth" and "num_heads".

    Returns
    -------
    torch.nn.Module
    """
    width = arguments["embed_dim"]
    return ColourByColour(
        width=width,
        depth=arguments["depth"],
        heads=arguments["num_heads"],
        inner=round_up(4 * width * 2 / 3),
        edge=16,
    )


def round_up(number: float) -> int:
    """Return the next multiple of 64: the authors' width of gated units."""
    return -(-int(number) // 64) * 64


def _turn(heads: torch.Tensor, angles: Angles) -> torch.Tensor:
    """Turn the channels of all tokens that have a place, (n, heads, tokens, channels), in pairs of halves."""
    sine, cosine = angles
    # Those without a place are rounded as well.
    rounded = heads.to(sine.dtype)
    first, placed = rounded[:, :, :_PREFIX], rounded[:, :, _PREFIX:]
    low, high = placed.chunk(2, dim=-1)
    turned = placed * cosine + torch.cat([-high, low], dim=-1) * sine
    return torch.cat([first, turned], dim=2).to(heads.dtype)
