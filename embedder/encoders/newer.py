"""Rows of the table that came after the first ones: networks given out freely, and some not of histology.

As in `table`, where the facts come from stands above each row.
"""

from __future__ import annotations

from functools import partial

from embedder.encoders.keys import dinov2_keys, hibou_keys, transformers_keys
from embedder.encoders.pooling import class_and_mean
from embedder.encoders.shared import ANY_MPP, HALF, IMAGENET_MEAN, IMAGENET_STD, SWIGLU, read_tokens
from embedder.encoders.spec import GRID_OF_FILE, EncoderSpec
from embedder.encoders.values import fold_class_position

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


def _hibou(letter: str, size: str, dimension: int, ratio: float, repository: str) -> EncoderSpec:
    # github HistAI/hibou: hibou/models (network, of the smaller one), README.md (licence); that the larger
    # one has gated units too, and positions for 224 px, follows from its 303.7 million parameters. Transform,
    # pooling and that it opens on request as lazyslide-models has them. The file on the hub is that of a
    # Dinov2Model of transformers with registers, whose code comes with it and is not run here.
    return EncoderSpec(
        name=f"hibou-{letter}",
        dimension=dimension,
        mean=(0.7068 * 255, 0.5755 * 255, 0.722 * 255),
        std=(0.195 * 255, 0.2316 * 255, 0.1816 * 255),
        mpp=0.5,
        source=f"HistAI, DINOv2 ViT-{letter.upper()}/14 with 4 registers, Nechaev et al. 2024; "
        f"huggingface {repository}",
        licence="Apache-2.0",
        architecture=f"vit_{size}_patch14_reg4_dinov2",
        arguments={
            "num_classes": 0,
            "img_size": GRID_OF_FILE,
            "dynamic_img_size": True,
            "mlp_ratio": ratio,
            **SWIGLU,
        },
        keys=hibou_keys,
        values=fold_class_position,
        input_size=224,
        interpolation="bicubic",
        fine=read_tokens(dimension, 14),
        hub=repository,
        gated=True,
        unread=("resolution", "spelling of the registers in the file"),
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
    # github MedARC-AI/OpenMidnight, README.md (network, file); transform, licence, and the class token as the
    # embedding as lazyslide-models has them; raw2features agrees. The file has the keys of DINOv2's own code.
    EncoderSpec(
        name="openmidnight",
        dimension=1536,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        mpp=0.5,
        source="Sophont and MedARC, DINOv2 ViT-g/14 with 4 registers, Kaplan et al. 2025; "
        "huggingface SophontAI/OpenMidnight",
        licence="Apache-2.0",
        architecture="vit_giant_patch14_reg4_dinov2",
        arguments={"num_classes": 0, "img_size": GRID_OF_FILE, "dynamic_img_size": True},
        keys=dinov2_keys,
        values=fold_class_position,
        input_size=224,
        fine=read_tokens(1536, 14),
        hub="SophontAI/OpenMidnight",
        gated=True,
        hub_files=("teacher_checkpoint_load.pt",),
        unread=("resolution", "whether it opens on request (lazyslide-models: yes)"),
    ),
    _hibou("b", "base", 768, 5.33334, "histai/hibou-b"),
    _hibou("l", "large", 1024, 5.34375, "histai/hibou-L"),
    # github genbio-ai/genbio-pathfm: genbio-pathfm/model.py (network, transform), README.md (licence); the
    # file on the hub as AtlasPatch and mussel load it.
    EncoderSpec(
        name="genbio-pathfm",
        dimension=4608,
        mean=(0.697 * 255, 0.575 * 255, 0.728 * 255),
        std=(0.188 * 255, 0.240 * 255, 0.187 * 255),
        mpp=0.5,
        source="GenBio AI, ViT-g/16 of one colour at a time, Kapse et al. 2026; "
        "huggingface genbio-ai/genbio-pathfm",
        licence="GenBio AI Community License",
        library="own",
        architecture="GenBio-PathFM",
        arguments={"embed_dim": 1536, "depth": 40, "num_heads": 24},
        input_size=224,
        fine=read_tokens(4608, 16, "joined"),
        hub="genbio-ai/genbio-pathfm",
        hub_files=("model.pth",),
        unread=("resolution", "whether it opens on request (slide2vec: no)"),
    ),
    # Network, file and transform as slide2vec loads it, whose keys are timm's. Of the licence raw2features
    # says that card and repository contradict each other, and of patches that the card means 512 px at 40 x.
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
        unread=("licence (MIT by its card, CC-BY-NC-ND-4.0 by its repository: raw2features)", "resolution"),
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
