"""What another package gives, so that its encoder can be used by name: the door for encoders of all makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# A package names a function in this group of its entry points: it takes nothing, or (`--weights`) the path
# of a file, and returns an `OwnEncoder`.
GROUP = "tissuumaps_sic.encoders"


@dataclass(frozen=True, eq=False)
class OwnEncoder:
    """An encoder of another package, whole.

    Attributes
    ----------
    network : torch.nn.Module
        Takes patches, (n, 3, input_size, input_size) float32, normalised, and gives (n, dimension).
    input_size : int
        Edge, in pixels, of what it takes; patches of another size are resized.
    mean, std : tuple of float
        Of red, green and blue, as for pixels of 0 to 1.
    mpp : float or None
        µm per pixel at which it is best used, for a word of advice.
    interpolation : "bilinear" or "bicubic"
    source : str
        Where it comes from, for the file's provenance.
    licence : str
        Of the weights.

    Examples
    --------
    In the package's ``pyproject.toml``::

        [project.entry-points."tissuumaps_sic.encoders"]
        ours = "our_package:make"

    and in ``our_package.py``::

        def make():
            return OwnEncoder(network, 224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    """

    network: torch.nn.Module
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mpp: float | None = None
    interpolation: str = "bilinear"
    source: str = ""
    licence: str = "not stated"
