"""What is known of an encoder, and what goes wrong with one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tissuumaps_sic.slidefile.errors import SicError, WrongUseError

if TYPE_CHECKING:
    import torch

DEFAULT_ENCODER = "efficientnet-lite0"
PRECISIONS = ("auto", "float32", "bfloat16")
# In place of a network's size in pixels: as many as the file has places for.
GRID_OF_FILE = "grid of the file"
_FREE = ("Apache-2.0", "MIT", "BSD-3-Clause")
# A pooler and a mask token are what transformers saves beside a vision transformer.
VIT_HEADS = ("head.", "pooler.", "mask_token")

# A resolution within this share of the recommended one is not worth a word: 256 px seen as 224 are within.
_CLOSE = 0.15


class EncoderError(SicError):
    """An encoder cannot be loaded or run; the message says what to do."""


class UnknownEncoderError(EncoderError, WrongUseError):
    """There is no encoder of the name, or none with these options."""


@dataclass(frozen=True)
class FineLayer:
    """A layer that tells places of a patch apart.

    Attributes
    ----------
    module : str
        Its name in the network; what it gives is a map of its places, or a token for each.
    channels : int
        Numbers for each place.
    stride : int
        Pixels of what the network takes from a place to the next; a power of two for maps.
    padding : "symmetric", "same" or "none"
        What the convolutions that halve a map put around it, which moves its places: as much on either side
        (PyTorch's own), TensorFlow's "SAME", or nothing, where squares of pixels lie side by side.
    lean : float
        How far, to the right and down, its trained weights answer from the middle of what they see, in pixels
        of what the network takes: training makes up for padding that is not even.
    tokens : bool
        Whether it gives (n, tokens, channels), the places' own last, and not (n, channels, rows, columns).
    """

    module: str
    channels: int
    stride: int
    padding: str = "symmetric"
    lean: float = 0.0
    tokens: bool = False

    def count_places(self, size: int) -> int:
        """Return how many places there are along an edge of so many pixels.

        Parameters
        ----------
        size : int
            Edge of what the network takes, pixels.

        Returns
        -------
        int
        """
        return size // self.stride if self.padding == "none" else -(-size // self.stride)

    def shift(self, size: int) -> float:
        """Return how far its places lie from the middles of squares of `stride` pixels laid side by side.

        Parameters
        ----------
        size : int
            Edge, in pixels, of what the network takes.

        Returns
        -------
        float
            Pixels: place j is centred at ``stride * j + stride / 2 + shift``.
        """
        shift, step = self.lean, 1
        while self.padding != "none" and step < self.stride:
            # Halving takes every second pixel, from the first on. TensorFlow pads an even edge by one pixel
            # less before than behind, and so takes every second pixel from the second on.
            shift += step / 2 if self.padding == "same" and size % 2 == 0 else -step / 2
            size, step = -(-size // 2), 2 * step
        return shift


@dataclass(frozen=True)
class EncoderSpec:
    """Facts about an encoder.

    Attributes
    ----------
    name : str
        As given to ``--encoder``.
    dimension : int
        Length of an embedding.
    mean, std : tuple of float
        A pixel, 0..255, becomes (pixel - mean) / std, for red, green and blue.
    mpp : float
        µm per pixel at which it is best used.
    source, licence : str
        Of the weights.
    library : "timm", "torchvision", "conch", "own", "program" or "package"
        What builds the network; "own" are those written in this package.
    architecture : str
        Its name there.
    arguments : mapping
        Given to the library beside the name.
    keys : callable
        Renames a checkpoint's keys to the network's.
    values : callable, optional
        Makes the network's tensors of a checkpoint's, by the network's names, where renaming is not enough.
    heads : tuple of str
        Beginnings of the keys, by the network's names, that no embedding needs.
    mpp_range : tuple of float, optional
        Least and greatest µm per pixel that it was trained on, where there were several.
    patch_size : int, optional
        Edge, in pixels, of the patches that it was trained on, where any size can be given.
    input_size : int, optional
        Edge, in pixels, of what the network takes; without it that is any size, and nothing is resized.
    resized : int, optional
        Edge that patches are resized to, to be cut to the input size about their centre; without it, the
        input size.
    interpolation : "bilinear" or "bicubic"
        How they are resized.
    pool : callable, optional
        Makes an embedding of what the network gives, (n, dimension); without it that is one already.
    fine : FineLayer, optional
        The layer from which cells smaller than a patch are read; without it there are none.
    shipped : tuple of (str, str), optional
        Package that brings the weights, and their path in it.
    download : str, optional
        Address of the weights.
    hub : str, optional
        Repository on the Hugging Face hub that holds them.
    gated : bool
        Whether the repository opens on request only.
    pooling : str
        What a person has told in place of the network's own pooling; "" where nothing.
    hub_files : tuple of str
        Names of the file of weights in the repository, where they are not the usual ones.
    unread : tuple of str
        Facts of this row that no card or repository was at hand for, in words; one of these is
        "resolution" where µm per pixel are a convention.
    """

    name: str
    dimension: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mpp: float
    source: str
    licence: str
    architecture: str
    library: str = "timm"
    arguments: Mapping[str, object] = field(default_factory=dict)
    keys: Callable[[str], str] = str
    values: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None
    heads: tuple[str, ...] = VIT_HEADS
    mpp_range: tuple[float, float] | None = None
    patch_size: int | None = None
    input_size: int | None = None
    resized: int | None = None
    interpolation: str = "bilinear"
    pool: Callable[[torch.Tensor], torch.Tensor] | None = None
    fine: FineLayer | None = None
    shipped: tuple[str, str] | None = None
    download: str | None = None
    hub: str | None = None
    gated: bool = False
    pooling: str = ""
    hub_files: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether the licence of the weights lets them be used for anything, trade included."""
        return self.licence in _FREE

    @property
    def packages(self) -> tuple[str, ...]:
        """What must be installed of this project's own requirements."""
        builder = ("torchvision",) if self.library == "torchvision" else ("timm",)
        fetcher = ("huggingface_hub", "safetensors") if self.hub else ()
        return ("torch", *builder, *fetcher, *(self.shipped or ())[:1])

    @property
    def margin(self) -> int:
        """Pixels that are cut from each side of a resized patch."""
        if self.input_size is None or self.resized is None:
            return 0
        return round((self.resized - self.input_size) / 2)

    @property
    def transform(self) -> str:
        """What is done to a patch before the network, in words for the provenance."""
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        fitted = ""
        if self.input_size is not None:
            fitted = f"resized to {self.resized or self.input_size} px ({self.interpolation}), "
            if self.resized is not None and self.resized != self.input_size:
                fitted += f"cut to the central {self.input_size} px, "
        pooled = f", pooled by {self.pooling}" if self.pooling else ""
        return f"RGB 0..255, {fitted}minus ({mean}), divided by ({std}){pooled}"

    def advice(self, patch_size: int, mpp: float) -> str | None:
        """Return a line on what to give instead, where patches do not suit this encoder; else None.

        Parameters
        ----------
        patch_size : int
            Edge of the patches in pixels.
        mpp : float
            µm per pixel of the patches.

        Returns
        -------
        str or None
        """
        best = self.patch_size if self.input_size is None else self.resized or self.input_size
        seen, lines = mpp, []
        if self.input_size is not None and best is not None and patch_size != best:
            seen = mpp * patch_size / best
            lines.append(
                f"{self.name} takes {best} px: patches of {patch_size} px at {mpp:g} µm/px are resized, "
                f"and seen at {seen:.3g} µm/px; --patch-size {best} leaves them as they are"
            )
        elif best is not None and patch_size != best:
            lines.append(
                f"{self.name} was trained on patches of {best} px, not {patch_size}; --patch-size {best}"
            )
        if not self._suits(seen) and not self._suits(mpp):
            lines.append(
                f"{self.name} was trained at {self._trained_at} µm/px, not {seen:.3g}; --mpp {self.mpp:g}"
            )
        return "; ".join(lines) or None

    @property
    def tells_resolution(self) -> bool:
        """Whether the authors say at how many µm per pixel they trained."""
        return "resolution" not in self.unread

    def _suits(self, mpp: float) -> bool:
        if not self.tells_resolution:
            return True
        least, most = self.mpp_range or (self.mpp, self.mpp)
        return (1 - _CLOSE) * least <= mpp <= (1 + _CLOSE) * most

    @property
    def _trained_at(self) -> str:
        least, most = self.mpp_range or (self.mpp, self.mpp)
        return f"{least:g}" if least == most else f"{least:g} to {most:g}"
