"""Building the network of an encoder, still without its weights."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.encoders.hub import require_conch
from embedder.encoders.spec import GRID_OF_FILE, EncoderSpec

if TYPE_CHECKING:
    import torch


def build(spec: EncoderSpec) -> torch.nn.Module:
    """Return the network of an encoder, without weights.

    Parameters
    ----------
    spec : EncoderSpec

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    EncoderError
        When a package of its authors is not installed.
    """
    return make_empty(lambda: _BUILDERS[spec.library](spec))


def make_empty(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Return a network on the ``meta`` device, until its weights are loaded, which takes no time and memory.

    On the processor where it holds numbers that are in no file of weights, and would stay without values:
    angles of rotary positions, or which place is beside which.

    Parameters
    ----------
    make : callable
        Makes the network on whatever device is torch's own then.

    Returns
    -------
    torch.nn.Module
    """
    import torch

    with torch.device("meta"):
        network = make()
    hidden = {name for name, _ in network.named_buffers()} - network.state_dict().keys()
    return make() if hidden else network


def _build_timm(spec: EncoderSpec) -> torch.nn.Module:
    import timm

    arguments: dict[str, Any] = dict(spec.arguments)
    if arguments.get("img_size") == GRID_OF_FILE:  # of a file that is not there yet
        arguments["img_size"] = spec.input_size
    if isinstance(layer := arguments.get("mlp_layer"), str):
        arguments["mlp_layer"] = getattr(timm.layers, layer)
    return timm.create_model(spec.architecture, pretrained=False, **arguments)


def _build_torchvision(spec: EncoderSpec) -> torch.nn.Module:
    import torchvision

    network: torch.nn.Module = getattr(torchvision.models, spec.architecture)(weights=None, **spec.arguments)
    return network


def _build_conch(spec: EncoderSpec) -> torch.nn.Module:
    """Build CONCH's image tower by its own package, so that it gives what that one's encode_image does."""
    require_conch(spec)
    package = importlib.import_module("conch.open_clip_custom")
    model = importlib.import_module("conch.open_clip_custom.coca_model")
    described = Path(next(iter(package.__path__))) / "model_configs" / f"{spec.architecture}.json"
    settings: dict[str, Any] = json.loads(described.read_text())
    settings.pop("custom_text", None)
    tower: Any = model.CoCa(**settings).visual
    # Without the projection into the space that it shares with text: the card's choice for embeddings.
    tower.forward = partial(tower.forward_no_head, normalize=False)
    network: torch.nn.Module = tower
    return network


def _build_own(spec: EncoderSpec) -> torch.nn.Module:
    """Build a network that is written in this package."""
    from embedder.encoders import colours, towers

    makers: dict[str, Callable[[Mapping[str, Any], int], torch.nn.Module]] = {
        "KEEP": towers.make_keep,
        "CONCH v1.5": towers.make_conch,
        "GenBio-PathFM": colours.make_colour_by_colour,
    }
    return makers[spec.architecture](spec.arguments, spec.dimension)


_BUILDERS: dict[str, Callable[[EncoderSpec], torch.nn.Module]] = {
    "timm": _build_timm,
    "torchvision": _build_torchvision,
    "conch": _build_conch,
    "own": _build_own,
}
