"""Checkpoints: reading a file of weights without running what it may hold, and filling a network strictly.

Nothing here guesses. A file is read as tensors alone, its keys are brought to the network's spelling by the
rules of the encoder's row, and whatever is left over or lacking is an error that names it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.encoders.spec import GRID_OF_FILE, EncoderError, EncoderSpec
from tissuumaps_sic.slidefile.spelling import say_count

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

# What `embedder pretrain` writes into the metadata of its file, so that it can be told from any other.
PRETRAINED_FORMAT = "tissuumaps-sic-simclr"

# What training frameworks put before the keys of the network itself, one within the other.
_PREFIXES = ("module.", "model.", "backbone.", "encoder.", "resnet.")
# Only the published file of Ciga et al. (2022) has these: a resnet18 within a Lightning module, whose fully
# connected layer is the two layers of the contrastive head.
_HISTOSSL_KEYS = {"model.resnet.conv1.weight", "model.resnet.fc.1.weight", "model.resnet.fc.3.weight"}
# Lightning pickles these beside the weights. Nothing of theirs is needed: a class of the same name stands in
# for each, so that a file loads with weights_only=True and without Lightning.
_LIGHTNING_DICTS = (
    "pytorch_lightning.utilities.parsing",
    "lightning.pytorch.utilities.parsing",
    "lightning_fabric.utilities.data",
    "lightning.fabric.utilities.data",
)
_LIGHTNING_CALLBACKS = (
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("pytorch_lightning.callbacks.early_stopping", "EarlyStopping"),
    ("pytorch_lightning.callbacks.lr_monitor", "LearningRateMonitor"),
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes
    ----------
    path : Path
    state : dict of str to Tensor
        Tensors by key, without the prefixes that a training framework put before all of them.
    metadata : dict of str to str
        Of a ``.safetensors`` file; empty for any other.
    histossl : bool
        Whether its keys are exactly spelt as in the published HistoSSL file.
    """

    path: Path
    state: State
    metadata: Mapping[str, str]
    histossl: bool

    @property
    def pretrained(self) -> bool:
        """Whether `embedder pretrain` wrote it."""
        return self.metadata.get("format") == PRETRAINED_FORMAT


@dataclass(frozen=True)
class Pretrained:
    """What `embedder pretrain` says of its file.

    Attributes
    ----------
    architecture : str
    mean, std : tuple of float
        A pixel, 0..255, becomes (pixel - mean) / std.
    mpp : float
        µm per pixel of the patches it was trained on.
    patch_size : int
        Their edge in pixels.
    steps : int
    start_sha256 : str
        Of the weights that it started from; empty when from none.
    """

    architecture: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mpp: float
    patch_size: int
    steps: int
    start_sha256: str


def read_checkpoint(path: Path, *, remedy: str) -> Checkpoint:
    """Read a checkpoint (``.safetensors``, or what torch.save writes) without running anything in it.

    Parameters
    ----------
    path : Path
    remedy : str
        What the error tells to do when the file holds more than weights.

    Returns
    -------
    Checkpoint

    Raises
    ------
    EncoderError
        When it cannot be read as weights.
    """
    try:
        content, metadata = _read(path)
    except Exception as error:
        # PyTorch's advice, to read the file without such care, comes before the reason.
        reason = str(error).rpartition("WeightsUnpickler error:")[2]
        raise EncoderError(f"{path}: cannot be read as weights ({_one_line(reason)}); {remedy}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise EncoderError(f"{path}: holds a {kind} and no state_dict; save the state_dict alone")
    import torch

    state = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise EncoderError(f"{path}: holds no weights; save the state_dict alone")
    histossl = state.keys() >= _HISTOSSL_KEYS
    return Checkpoint(path, _strip_prefixes(state), metadata, histossl)


def read_pretrained(checkpoint: Checkpoint) -> Pretrained:
    """Return what `embedder pretrain` wrote into a file's metadata.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    Pretrained

    Raises
    ------
    EncoderError
        When it did not write the file, or what it wrote is damaged.
    """
    if not checkpoint.pretrained:
        raise EncoderError(
            f"{checkpoint.path}: was not written by `embedder pretrain`; "
            "give its encoder.safetensors, or name the encoder that the file belongs to"
        )
    facts = checkpoint.metadata
    try:
        mean, std = (tuple(float(value) for value in json.loads(facts[key])) for key in ("mean", "std"))
        mpp, patch_size, steps = float(facts["mpp"]), int(facts["patch_size"]), int(facts["steps"])
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or not mpp > 0:
            raise ValueError("mean, std or mpp")  # noqa: TRY301
        return Pretrained(
            facts["architecture"], mean, std, mpp, patch_size, steps, facts.get("start_sha256", "")
        )
    except (KeyError, ValueError, TypeError) as error:
        raise EncoderError(
            f"{checkpoint.path}: its metadata are damaged ({_one_line(error)}); run `embedder pretrain` again"
        ) from error


def fit_grid(spec: EncoderSpec, checkpoint: Checkpoint) -> EncoderSpec:
    """Return the facts of an encoder, with the size that a file has places for where they leave it open.

    Parameters
    ----------
    spec : EncoderSpec
    checkpoint : Checkpoint

    Returns
    -------
    EncoderSpec

    Raises
    ------
    EncoderError
        When the file has no positions, or not those of a square.
    """
    if spec.arguments.get("img_size") != GRID_OF_FILE:
        return spec
    places = next((value for key, value in checkpoint.state.items() if spec.keys(key) == "pos_embed"), None)
    edge = None if spec.fine is None else spec.fine.stride
    # The class token has a position too.
    side = 0 if places is None else math.isqrt(max(places.shape[-2] - 1, 0))
    if places is None or edge is None or side == 0 or side**2 + 1 != places.shape[-2]:
        raise EncoderError(
            f"{checkpoint.path}: does not match {spec.name}: its positions are not those of a square and a "
            f"class token; give a checkpoint of {spec.name}"
        )
    return replace(spec, arguments={**spec.arguments, "img_size": side * edge})


def load_strictly(spec: EncoderSpec, network: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Fill a network, which may be on the ``meta`` device; anything but an exact match is an error.

    Only what no embedding needs may be lacking or over: the classifier and the like (`spec.heads`), and the
    counters of batches seen.

    Parameters
    ----------
    spec : EncoderSpec
    network : torch.nn.Module
        Gets the weights.
    checkpoint : Checkpoint

    Raises
    ------
    EncoderError
        When keys or shapes differ; it lists them.
    """
    import torch

    own = network.state_dict()
    given = _fuse_attention(_rename_keys(spec, checkpoint))
    if spec.values is not None:
        given = spec.values(given)

    def spare(key: str) -> bool:
        return key.startswith(spec.heads) or key.endswith("num_batches_tracked")

    faults = {
        "missing": [key for key in own if key not in given and not spare(key)],
        "unknown": [key for key in given if key not in own and not spare(key)],
        "of another shape": [
            f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"
            for key in own
            if key in given and not spare(key) and given[key].shape != own[key].shape
        ],
    }
    if any(faults.values()):
        raise EncoderError(
            f"{checkpoint.path}: does not match {spec.name}: {_list_faults(faults)}; "
            f"give a checkpoint of {spec.name}"
        )
    # In float32, whatever a file was saved in: precision is chosen later, and by measurement.
    fitting = {
        key: given[key].to(value.dtype)
        if key in given and given[key].shape == value.shape
        else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in own.items()
    }
    # Assigned, not copied: a network of a billion weights is in memory once.
    network.load_state_dict(fitting, assign=True)


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> tuple[Any, dict[str, str]]:
    import torch

    if path.suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.torch import load_file

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    with torch.serialization.safe_globals(_list_harmless()):
        return torch.load(path, map_location="cpu", weights_only=True), {}


def _list_harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return classes that may stand in a checkpoint: they hold values and do nothing."""

    def make_dict(*_: object) -> OrderedDict[str, object]:
        # The reader fills no class of dictionaries but Python's own.
        return OrderedDict()

    dicts = [
        type("AttributeDict", (), {"__module__": module, "__new__": make_dict}) for module in _LIGHTNING_DICTS
    ]
    callbacks = [type(name, (), {"__module__": module}) for module, name in _LIGHTNING_CALLBACKS]
    return [argparse.Namespace, *dicts, *callbacks]


def _strip_prefixes(state: State) -> State:
    while True:
        shared = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None)
        if shared is None:
            return state
        state = {key.removeprefix(shared): value for key, value in state.items()}


def _rename_keys(spec: EncoderSpec, checkpoint: Checkpoint) -> State:
    given = {spec.keys(key): value for key, value in checkpoint.state.items()}
    if len(given) < len(checkpoint.state):
        # A checkpoint in two spellings at once: which of the two was meant cannot be known.
        names = [spec.keys(key) for key in checkpoint.state]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise EncoderError(
            f"{checkpoint.path}: does not match {spec.name}: {say_count(len(twice), 'key')} there twice: "
            f"{', '.join(twice[:5])}; give a checkpoint of {spec.name}"
        )
    return given


def _fuse_attention(state: State) -> State:
    """Make one of each query, key and value that a checkpoint has apart; what is incomplete stays."""
    import torch

    fused = dict(state)
    for key in state:
        if ".attn.q." not in key:
            continue
        parts = [key.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(part in state for part in parts):
            fused[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat([fused.pop(part) for part in parts])
    return fused


def _list_faults(faults: Mapping[str, list[str]]) -> str:
    return "; ".join(
        f"{say_count(len(keys), 'key')} {fault}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
        for fault, keys in faults.items()
        if keys
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:150]
