"""An embedding made of all that a network says of a patch: of its tokens, or of the places of its map."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def class_and_mean(tokens: torch.Tensor, *, prefix: int) -> torch.Tensor:
    """Return the class token followed by the mean of the patches' tokens.

    Parameters
    ----------
    tokens : Tensor of shape (n, tokens, d)
        The class token is the first.
    prefix : int
        How many tokens are no patch's: the class token and the registers after it.

    Returns
    -------
    Tensor of shape (n, 2 * d)
    """
    import torch

    return torch.cat([tokens[:, 0], tokens[:, prefix:].mean(dim=1)], dim=-1)


def pool_class(tokens: torch.Tensor) -> torch.Tensor:
    """Return the first token, the class's: (n, tokens, d) to (n, d)."""
    return tokens[:, 0]


def pool_tokens(tokens: torch.Tensor, *, prefix: int, pool: str) -> torch.Tensor:
    """Return the mean, or with `pool="max"` the greatest, of the tokens after the first few: (n, d)."""
    places = tokens[:, prefix:]
    return places.mean(dim=1) if pool == "mean" else places.amax(dim=1)


def pool_map_mean(places: torch.Tensor) -> torch.Tensor:
    """Return the mean over a map's places: (n, d, rows, columns) to (n, d)."""
    return places.mean(dim=(2, 3))


def pool_map_max(places: torch.Tensor) -> torch.Tensor:
    """Return the greatest over a map's places: (n, d, rows, columns) to (n, d)."""
    return places.amax(dim=(2, 3))
