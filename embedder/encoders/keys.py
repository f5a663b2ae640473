"""Key maps of checkpoints: from the spelling of a published file to that of the network."""

from __future__ import annotations

import re


def lite0_keys(key: str) -> str:
    """Rename a key of the TensorFlow port of EfficientNet-Lite0 to timm's; timm's own stay.

    Parameters
    ----------
    key : str

    Returns
    -------
    str
    """
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

    Parameters
    ----------
    key : str

    Returns
    -------
    str
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
    "embeddings.register_tokens": "reg_token",
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
    """Rename a key of CONCH's image tower to that of the tower alone; the text's stay.

    Parameters
    ----------
    key : str

    Returns
    -------
    str
    """
    return key.removeprefix("visual.")


def dinov2_keys(key: str) -> str:
    """Rename a key of DINOv2's own code to timm's; timm's own stay.

    Parameters
    ----------
    key : str

    Returns
    -------
    str
    """
    if key == "register_tokens":
        return "reg_token"
    return key.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")


def hibou_keys(key: str) -> str:
    """Rename a key of Hibou to timm's: the hub's file is as of transformers, its authors' as of DINOv2.

    Parameters
    ----------
    key : str

    Returns
    -------
    str
    """
    return dinov2_keys(transformers_keys(key))


def keep_keys(key: str) -> str:
    """Rename the layer scales of KEEP's file on the hub, which calls them weights, to timm's; others stay.

    Parameters
    ----------
    key : str

    Returns
    -------
    str
    """
    return re.sub(r"\.(ls[12])\.weight$", r".\1.gamma", key)


# What a key of BEiT-3 begins with, and pieces of it. Branch A is for images, branch B for words.
_BEIT3_STEM = {
    "beit3.vision_embed.cls_token": "cls_token",
    "beit3.vision_embed.mask_token": "mask_token",
    "beit3.encoder.embed_positions.A.weight": "pos_embed",
}
_BEIT3_PARTS = (
    ("beit3.vision_embed.", "patch_embed."),
    ("beit3.encoder.layer_norm.A.", "norm."),
    ("beit3.encoder.layers.", "blocks."),
    (".self_attn_layer_norm.A.", ".norm1."),
    (".final_layer_norm.A.", ".norm2."),
    (".self_attn.inner_attn_ln.A.", ".attn.norm."),
    (".self_attn.out_proj.A.", ".attn.proj."),
    *((f".self_attn.{part}_proj.A.", f".attn.{part}.") for part in "qkv"),
    (".ffn.A.ffn_layernorm.", ".mlp.norm."),
    (".ffn.A.", ".mlp."),
)


def beit3_keys(key: str) -> str:
    """Rename a key of MUSK, which is a BEiT-3, to timm's; what is for words begins with ``text.`` then.

    Parameters
    ----------
    key : str

    Returns
    -------
    str
    """
    if key in _BEIT3_STEM:
        return _BEIT3_STEM[key]
    if ".B." in key or not key.startswith("beit3.") or key.startswith("beit3.text_embed."):
        return f"text.{key}"
    for theirs, ours in _BEIT3_PARTS:
        key = key.replace(theirs, ours)
    return key
