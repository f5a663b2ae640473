"""Key maps of checkpoints: from the spelling of a published file to that of the network."""

from __future__ import annotations

import re


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
    match = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias|lambda1)", key)
    if match is None:
        return re.sub(r"^layernorm\.", "norm.", key)
    block, layer, kind = match.groups()
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
    # Dinov2Model, whose norm1, norm2, mlp.fc1 and mlp.fc2 are timm's; the gated units of its largest
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
}


def conch_keys(key: str) -> str:
    """Rename a key of CONCH's image tower to that of the tower alone; the text's stay."""
    return key.removeprefix("visual.")
