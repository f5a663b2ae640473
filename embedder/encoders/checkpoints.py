"""Checkpoints: reading a file of weights without running what it may hold, and filling a network strictly.

Nothing here guesses. A file is read as tensors alone, its keys are brought to the network's spelling by the
rules of the encoder's row, and whatever is left over or lacking is an error that names it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.slidefile.errors import SicError

if TYPE_CHECKING:
    import torch

    from embedder.encoders.table import EncoderSpec

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


class EncoderError(SicError):
    """An encoder cannot be loaded or run; the message says what to do."""


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
        raise EncoderError(f"{path}: holds no state_dict but a {kind}; save the state_dict alone")
    import torch

    state = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise EncoderError(f"{path}: holds no weights; save the state_dict alone")
    histossl = state.keys() >= _HISTOSSL_KEYS
    return Checkpoint(path, _without_prefixes(state), metadata, histossl)


def pretrained_facts(checkpoint: Checkpoint) -> Pretrained:
    """Return what `embedder pretrain` wrote into a file's metadata.

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


def load_strictly(spec: EncoderSpec, network: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Fill a network, which may be on the ``meta`` device; anything but an exact match is an error.

    Only what no embedding needs may be lacking or over: the classifier and the like (`spec.heads`), and the
    counters of batches seen.

    Raises
    ------
    EncoderError
        When keys or shapes differ; it lists them.
    """
    import torch

    own = network.state_dict()
    given = _fused(_renamed(spec, checkpoint))

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
            f"{checkpoint.path}: does not match {spec.name}: {_listed(faults)}; "
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
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Key maps: from the spelling of a published file to that of the network.


def lite0_keys(key: str) -> str:
    """Rename a key of the TensorFlow port of EfficientNet-Lite0 to timm's; timm's own stay."""
    if not key.startswith("_"):
        return key
    head, _, rest = key.partition(".")
    if head != "_blocks":
        names = {
            "_conv_stem": "conv_stem",
            "_bn0": "bn1",
            "_conv_head": "conv_head",
            "_bn1": "bn2",
            "_fc": "classifier",
        }
        return f"{names.get(head, head)}.{rest}"
    number, layer, rest = rest.split(".", 2)
    stage, block = _LITE0_BLOCKS[int(number)]
    # The first block widens nothing, so timm counts its layers from the depthwise convolution.
    layers = (
        {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
        if int(number) == 0
        else {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        }
    )
    return f"blocks.{stage}.{block}.{layers.get(layer, layer)}.{rest}"


# Blocks of each stage of EfficientNet-B0, which Lite0 keeps (Tan and Le, 2019, table 1).
_LITE0_BLOCKS = [
    (stage, block) for stage, blocks in enumerate((1, 2, 2, 3, 3, 4, 1)) for block in range(blocks)
]


def transformers_keys(key: str) -> str:
    """Rename a key of `transformers` ViTModel or Dinov2Model to timm's; timm's own stay.

    Query, key and value get names of their own, which `load_strictly` makes one of, as timm has it.
    """
    if key in _TRANSFORMERS_STEM:
        return _TRANSFORMERS_STEM[key]
    found = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias|lambda1)", key)
    if found is None:
        return re.sub(r"^layernorm\.", "norm.", key)
    block, layer, kind = found.groups()
    kind = "gamma" if kind == "lambda1" else kind
    return f"blocks.{block}.{_TRANSFORMERS_LAYERS.get(layer, layer)}.{kind}"


_TRANSFORMERS_STEM = {
    "embeddings.cls_token": "cls_token",
    "embeddings.mask_token": "mask_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
}
_TRANSFORMERS_LAYERS = {
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj",
    # ViTModel
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    # Dinov2Model, whose norm1, norm2, mlp.fc1 and mlp.fc2 are timm's
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
}


def conch_keys(key: str) -> str:
    """Rename a key of CONCH's image tower to that of the tower alone; the text's stay."""
    return key.removeprefix("visual.")


def _read(path: Path) -> tuple[Any, dict[str, str]]:
    import torch

    if path.suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.torch import load_file

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    with torch.serialization.safe_globals(_harmless()):
        return torch.load(path, map_location="cpu", weights_only=True), {}


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return classes that may stand in a checkpoint: they hold values and do nothing."""

    def made(*_: object) -> OrderedDict[str, object]:
        # The reader fills no class of dictionaries but Python's own.
        return OrderedDict()

    dicts = [
        type("AttributeDict", (), {"__module__": module, "__new__": made}) for module in _LIGHTNING_DICTS
    ]
    callbacks = [type(name, (), {"__module__": module}) for module, name in _LIGHTNING_CALLBACKS]
    return [argparse.Namespace, *dicts, *callbacks]


def _without_prefixes(state: State) -> State:
    while True:
        shared = next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), None)
        if shared is None:
            return state
        state = {key.removeprefix(shared): value for key, value in state.items()}


def _renamed(spec: EncoderSpec, checkpoint: Checkpoint) -> State:
    given = {spec.keys(key): value for key, value in checkpoint.state.items()}
    if len(given) < len(checkpoint.state):
        # A checkpoint in two spellings at once: which of the two was meant cannot be known.
        names = [spec.keys(key) for key in checkpoint.state]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise EncoderError(
            f"{checkpoint.path}: does not match {spec.name}: {len(twice)} there twice: "
            f"{', '.join(twice[:5])}; give a checkpoint of {spec.name}"
        )
    return given


def _fused(state: State) -> State:
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


def _listed(faults: Mapping[str, list[str]]) -> str:
    return "; ".join(
        f"{len(keys)} {fault}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
        for fault, keys in faults.items()
        if keys
    )


def _one_line(told: object) -> str:
    return " ".join(str(told).split())[:150]
