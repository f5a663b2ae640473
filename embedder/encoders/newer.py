"""Rows of the table that came after the first ones: networks given out freely, and some not of histology.

As in `table`, where the facts come from stands above each row.
"""

from __future__ import annotations

from functools import partial

from embedder.encoders.keys import transformers_keys
from embedder.encoders.network import class_and_mean
from embedder.encoders.shared import ANY_MPP, HALF, IMAGENET_MEAN, IMAGENET_STD, read_tokens
from embedder.encoders.spec import GRID_OF_FILE, EncoderSpec

# As slide2vec has them; the repository itself does not tell.
_LUNIT_MEAN = (0.70322989 * 255, 0.53606487 * 255, 0.66096631 * 255)
_LUNIT_STD = (0.21716536 * 255, 0.26081574 * 255, 0.20723464 * 255)


def _lunit(edge: int) -> EncoderSpec:
    # github lunit-io/benchmark-ssl-pathology, README.md (network, licence); timm's form is 1aurent's. TRIDENT
    # and slide2vec resize by that repository's settings, not at hand here: 224 px are not resized at all.
    repository = f"1aurent/vit_small_patch{edge}_224.lunit_dino"
    return EncoderSpec(
        name=f"lunit-vits{edge}",
        dimension=384,
        mean=_LUNIT_MEAN,
        std=_LUNIT_STD,
        mpp=0.5,
        mpp_range=(0.25, 0.5),
        source=f"Lunit, DINO ViT-S/{edge}, Kang et al. 2023; huggingface {repository}",
        licence="Lunit non-commercial",
        architecture=f"vit_small_patch{edge}_224",
        arguments={"num_classes": 0},
        input_size=224,
        interpolation="bicubic",
        fine=read_tokens(384, edge),
        hub=repository,
        unread=("interpolation", "mean and standard deviation from the authors"),
    )


def _dinov2(size: str, letter: str, dimension: int) -> EncoderSpec:
    # timm's own entry; 224 px in place of its 518, since cells of a patch of 256 px need no more.
    name = f"vit_{size}_patch14_dinov2"
    return EncoderSpec(
        name=f"dinov2-vit{letter}14",
        dimension=dimension,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        mpp=0.5,
        mpp_range=ANY_MPP,
        source=f"Meta, DINOv2, natural images, Oquab et al. 2023; huggingface timm/{name}.lvd142m",
        licence="Apache-2.0",
        architecture=name,
        arguments={"num_classes": 0, "img_size": GRID_OF_FILE, "dynamic_img_size": True},
        input_size=224,
        interpolation="bicubic",
        fine=read_tokens(dimension, 14),
        hub=f"timm/{name}.lvd142m",
    )


def _dinov3(size: str, letter: str, dimension: int) -> EncoderSpec:
    # timm's own entry: the mean of the patches' tokens, at 256 px.
    name = f"vit_{size}_patch16_dinov3"
    return EncoderSpec(
        name=f"dinov3-vit{letter}16",
        dimension=dimension,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        mpp=0.5,
        mpp_range=ANY_MPP,
        source=f"Meta, DINOv3, natural images, Siméoni et al. 2025; huggingface timm/{name}.lvd1689m",
        licence="DINOv3 License",
        architecture=name,
        arguments={"num_classes": 0},
        input_size=256,
        interpolation="bicubic",
        fine=read_tokens(dimension, 16),
        hub=f"timm/{name}.lvd1689m",
    )


NEWER = (
    # github kaiko-ai/Midnight, README.md (the model of 12,000 slides, its licence); network, transform,
    # pooling and resolutions as slide2vec has them. The file is a Dinov2Model of transformers with gated
    # units; of which size the grid of its positions is was not at hand, and is read from the file.
    EncoderSpec(
        name="midnight-12k",
        dimension=3072,
        mean=HALF,
        std=HALF,
        mpp=0.5,
        mpp_range=(0.25, 2.0),
        source="kaiko.ai, DINOv2 ViT-g/14, Karasikov et al. 2025; huggingface kaiko-ai/midnight",
        licence="MIT",
        architecture="vit_giant_patch14_dinov2",
        arguments={
            "num_classes": 0,
            "img_size": GRID_OF_FILE,
            "dynamic_img_size": True,
            "global_pool": "",
        },
        keys=transformers_keys,
        input_size=224,
        pool=partial(class_and_mean, prefix=1),
        fine=read_tokens(1536, 14),
        hub="kaiko-ai/midnight",
        unread=("grid of positions",),
    ),
    # Network, file and transform as slide2vec loads it, whose keys are timm's. Of the licence TRIDENT says
    # MIT, LazySlide CC-BY-NC-ND-4.0.
    EncoderSpec(
        name="gpfm",
        dimension=1024,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        mpp=0.5,
        source="HKUST SmartLab, distilled DINOv2 ViT-L/14, Ma et al. 2024; huggingface majiabo/GPFM",
        licence="unclear",
        architecture="vit_large_patch14_dinov2",
        arguments={"num_classes": 0, "img_size": GRID_OF_FILE, "dynamic_img_size": True},
        input_size=224,
        interpolation="bicubic",
        fine=read_tokens(1024, 14),
        hub="majiabo/GPFM",
        hub_files=("GPFM.pth",),
        unread=("licence (MIT by TRIDENT, CC-BY-NC-ND-4.0 by LazySlide)", "resolution"),
    ),
    _lunit(8),
    _lunit(16),
    _dinov2("small", "s", 384),
    _dinov2("base", "b", 768),
    _dinov2("large", "l", 1024),
    _dinov3("small", "s", 384),
    _dinov3("base", "b", 768),
    _dinov3("large", "l", 1024),
)
