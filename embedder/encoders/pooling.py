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
    """Return the first token, the class's.

    Parameters
    ----------
    tokens : Tensor of shape (n, tokens, d)

    Returns
    -------
    Tensor of shape (n, d)
    """
    return tokens[:, 0]


def pool_tokens(tokens: torch.Tensor, *, prefix: int, pool: str) -> torch.Tensor:
    """Return the mean, or the greatest, of the tokens of the patches.

    Parameters
    ----------
    tokens : Tensor of shape (n, tokens, d)
    prefix : int
        How many tokens are no patch's; they are the first.
    pool : "mean" or "max"

    Returns
    -------
    Tensor of shape (n, d)
    """
    places = tokens[:, prefix:]
    return places.mean(dim=1) if pool == "mean" else places.amax(dim=1)


def pool_map_mean(places: torch.Tensor) -> torch.Tensor:
    """Return the mean over the places of a map.

    Parameters
    ----------
    places : Tensor of shape (n, d, rows, columns)

    Returns
    -------
    Tensor of shape (n, d)
    """
    return places.mean(dim=(2, 3))


def pool_map_max(places: torch.Tensor) -> torch.Tensor:
    """Return the greatest over the places of a map.

    Parameters
    ----------
    places : Tensor of shape (n, d, rows, columns)

    Returns
    -------
    Tensor of shape (n, d)
    """
    return places.amax(dim=(2, 3))
