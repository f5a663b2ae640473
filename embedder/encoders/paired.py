"""Rows of the table for the image towers of models that know images and words.

As in `table`, where the facts come from stands above each row.
"""

from __future__ import annotations

from embedder.encoders.keys import beit3_keys, keep_keys
from embedder.encoders.shared import HALF, IMAGENET_MEAN, IMAGENET_STD, read_tokens
from embedder.encoders.spec import EncoderSpec
from embedder.encoders.values import drop_first_positions, fit_conch_positions

PAIRED = (
    # github MAGIC-AI4Med/KEEP, quick_start/keep_inference.py (network, transform, projected and of length
    # one). lazyslide-models and raw2features: MIT, for everybody; the former: spelling of the hub's file; the
    # latter: no magnification is stated.
    EncoderSpec(
        name="keep",
        dimension=768,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        mpp=0.5,
        source="MAGIC-AI4Med, image tower ViT-L/16, Zhou et al. 2026; huggingface Astaxanthin/KEEP",
        licence="MIT",
        library="own",
        architecture="KEEP",
        arguments={"init_values": 1e-5},
        keys=keep_keys,
        heads=("text.", "logit_scale"),
        input_size=224,
        interpolation="bicubic",
        fine=read_tokens(1024, 16, "visual.norm"),
        hub="Astaxanthin/KEEP",
        unread=("resolution",),
    ),
    # github lilab-stanford/MUSK: README.md (transform, licence, access), musk/modeling.py and torchscale
    # (network). The class token without the projection, at one scale: its README also sees each patch at
    # twice the size, in four parts, which takes five times as long. Resolutions as slide2vec has them.
    EncoderSpec(
        name="musk",
        dimension=1024,
        mean=HALF,
        std=HALF,
        mpp=0.5,
        mpp_range=(0.25, 1.0),
        source="Stanford, image tower BEiT-3 L/16, Xiang et al. 2025; huggingface xiangjx/musk",
        licence="CC-BY-NC-ND-4.0",
        architecture="beit3_large_patch16_224",
        arguments={"num_classes": 0, "img_size": 384, "global_pool": "token"},
        keys=beit3_keys,
        values=drop_first_positions,
        heads=("text.", "mask_token"),
        input_size=384,
        interpolation="bicubic",
        fine=read_tokens(1024, 16),
        hub="xiangjx/musk",
        gated=True,
    ),
    # TRIDENT's loader, of the authors' own lab, and the copy of TITAN's network in lingxitong/MIL_BASELINE:
    # network, transform, file. The lab cuts patches of 512 px at 20 x, which are resized.
    EncoderSpec(
        name="conch-v1.5",
        dimension=768,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        mpp=0.5,
        source="Mahmood Lab, image tower ViT-L/16, of TITAN, Ding et al. 2024; "
        "huggingface MahmoodLab/conchv1_5",
        licence="CC-BY-NC-ND-4.0",
        library="own",
        architecture="CONCH v1.5",
        arguments={"img_size": 448, "init_values": 1e-6},
        values=fit_conch_positions,
        input_size=448,
        fine=read_tokens(1024, 16, "trunk.norm"),
        hub="MahmoodLab/conchv1_5",
        gated=True,
        hub_files=("pytorch_model_vision.bin",),
        unread=("grid of positions",),
    ),
)
