"""Encoders that installed packages offer, by the group of entry points that `own` names."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from embedder.encoders.outside import ANY_MPP, Facts, Foreign, measure_dimension, tell
from embedder.encoders.own import GROUP, OwnEncoder
from embedder.encoders.spec import EncoderError, EncoderSpec, UnknownEncoderError
from embedder.encoders.told import Told

if TYPE_CHECKING:
    import torch


def list_packages() -> list[EntryPoint]:
    """Return the encoders that installed packages offer, by name.

    Returns
    -------
    list of EntryPoint
    """
    return sorted(entry_points(group=GROUP), key=lambda each: each.name)


def open_package(offered: EntryPoint, weights: Path | None, told: Told) -> Foreign:
    """Return what a package offers; parameters and errors as `foreign.open_foreign`.

    Parameters
    ----------
    offered : EntryPoint
    weights : Path or None
        A checkpoint in place of its own weights.
    told : Told

    Returns
    -------
    Foreign

    Raises
    ------
    EncoderError
        It cannot be loaded, or gives something else than an `OwnEncoder`.
    UnknownEncoderError
        The pooling is to be another, or a fact of its input is not told.
    """
    name, package = offered.name, offered.dist.name if offered.dist else offered.module
    if told.pool:
        raise UnknownEncoderError(f"{name} comes whole from {package}; --pool cannot change what it gives")
    try:
        own = offered.load()(*([] if weights is None else [weights]))
    except Exception as error:
        raise EncoderError(f"{name} of the package {package} cannot be loaded ({tell(error)})") from error
    if not isinstance(own, OwnEncoder):
        raise EncoderError(
            f"{name} of the package {package} gives a {type(own).__name__}, not an embedder.OwnEncoder"
        )
    version = offered.dist.version if offered.dist else "unknown version"
    facts = Facts(
        told.input_size or own.input_size,
        told.mean or own.mean,
        told.std or own.std,
        told.interpolation or own.interpolation,
    )
    spec = EncoderSpec(
        name=name,
        dimension=0,
        **facts.require(name),
        mpp=own.mpp or 0.5,
        mpp_range=None if own.mpp else ANY_MPP,
        source="; ".join(each for each in (own.source, f"package {package} {version}") if each),
        licence=own.licence,
        architecture=package,
        library="package",
    )
    network = own.network.eval()
    spec = replace(spec, dimension=measure_dimension(spec, network, "cpu"))
    return Foreign(spec, network, _hash_state(network))


def _hash_state(network: torch.nn.Module) -> str:
    """Return the sha256 of a network's weights, by name, type, shape and bytes."""
    import torch

    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        held = value.detach().cpu().contiguous()
        digest.update(f"{key}\0{held.dtype}\0{tuple(held.shape)}\0".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
