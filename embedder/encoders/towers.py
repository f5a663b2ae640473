"""Image towers of models that know images and words: timm's vision transformers, and what pools them.

Written from what their authors' code does. Torch is imported at the top, since `build` imports this file only
where one of these networks is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize, scaled_dot_product_attention


class Keep(nn.Module):
    """KEEP's images: a class token, projected in two steps and of length one, as the words beside it are."""

    def __init__(self, visual: nn.Module, *, width: int, dimension: int) -> None:
        super().__init__()
        self.visual = visual
        self.visual_head = nn.Sequential(
            nn.Linear(width, dimension), nn.GELU(), nn.Linear(dimension, dimension)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return embeddings, (n, dimension), of patches, (n, 3, rows, columns).

        Parameters
        ----------
        x : Tensor of shape (n, 3, rows, columns)
            Patches, normalised.

        Returns
        -------
        Tensor of shape (n, dimension)
            Of length one.
        """
        return normalize(self.visual_head(self.visual(x)), dim=-1)


class AttentionPool(nn.Module):
    """One learnt question asked of all tokens, by several heads: (n, tokens, width) to (n, dimension)."""

    def __init__(self, *, width: int, dimension: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, dimension))
        self.ln_q, self.ln_k = nn.LayerNorm(dimension), nn.LayerNorm(width)
        self.to_q = nn.Linear(dimension, dimension, bias=False)
        self.to_kv = nn.Linear(width, 2 * dimension, bias=False)
        self.to_out = nn.Linear(dimension, dimension, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the tokens answer.

        Parameters
        ----------
        tokens : Tensor of shape (n, tokens, width)

        Returns
        -------
        Tensor of shape (n, dimension)
        """
        asked = self.to_q(self.ln_q(self.query)).expand(len(tokens), 1, -1)
        keys, values = self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1)
        parts = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (asked, keys, values))
        answer = scaled_dot_product_attention(*parts)
        pooled: torch.Tensor = self.to_out(answer.transpose(1, 2).flatten(2))[:, 0]
        return pooled


class ConchTower(nn.Module):
    """CONCH v1.5's images: all tokens of the trunk, pooled by attention."""

    def __init__(self, trunk: nn.Module, *, width: int, dimension: int, heads: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = AttentionPool(width=width, dimension=dimension, heads=heads)
        self.ln_contrast = nn.LayerNorm(dimension)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return embeddings, (n, dimension), of patches, (n, 3, rows, columns).

        Parameters
        ----------
        x : Tensor of shape (n, 3, rows, columns)
            Patches, normalised.

        Returns
        -------
        Tensor of shape (n, dimension)
        """
        pooled: torch.Tensor = self.ln_contrast(self.attn_pool_contrast(self.trunk(x)))
        return pooled


def make_keep(arguments: Mapping[str, Any], dimension: int) -> nn.Module:
    """Return KEEP's image tower; the arguments are those of its vision transformer.

    Parameters
    ----------
    arguments : mapping
        As timm takes them.
    dimension : int
        Length of an embedding.

    Returns
    -------
    torch.nn.Module
    """
    visual = _make_trunk(arguments)
    return Keep(visual, width=visual.embed_dim, dimension=dimension)


def make_conch(arguments: Mapping[str, Any], dimension: int) -> nn.Module:
    """Return CONCH v1.5's image tower; the arguments are those of its vision transformer.

    Parameters
    ----------
    arguments : mapping
        As timm takes them.
    dimension : int
        Length of an embedding.

    Returns
    -------
    torch.nn.Module
    """
    trunk = _make_trunk({**arguments, "global_pool": ""})
    return ConchTower(trunk, width=trunk.embed_dim, dimension=dimension, heads=8)


def _make_trunk(arguments: Mapping[str, Any]) -> Any:
    import timm

    make: Callable[..., Any] = timm.create_model
    return make("vit_large_patch16_224", pretrained=False, num_classes=0, **arguments)
