"""Transformers written out by hand, weights for them, and the transforms of their cards."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from embedder.encoders.load import available_encoders


def status(name):
    return next(each for each in available_encoders() if each.name == name)


def at_random(network, seed=0):
    """Weights of a size at which no block, gate or layer scale vanishes; the published scale is 1e-5."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in network.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        one = key.endswith(("gamma", "norm.weight", "norm1.weight", "norm2.weight"))
        state[key] = (0.7 + 0.2 * noise) if one else 0.15 * noise
    return state


def vit_by_hand(w, x, *, heads, prefix, positions_of_patches_only=False, grid=None):
    """Tokens of a timm vision transformer, (n, tokens, d), from its raw weights."""
    x = F.conv2d(
        x,
        w["patch_embed.proj.weight"],
        w["patch_embed.proj.bias"],
        stride=w["patch_embed.proj.weight"].shape[-1],
    )
    side = x.shape[-1]
    x = x.flatten(2).transpose(1, 2)
    n, _, d = x.shape
    positions = w["pos_embed"]
    if grid is not None:
        positions = positions.reshape(1, grid, grid, d).permute(0, 3, 1, 2)
        positions = F.interpolate(positions, size=(side, side), mode="bicubic", antialias=True)
        positions = positions.permute(0, 2, 3, 1).reshape(1, -1, d)
    first = [w["cls_token"].expand(n, -1, -1)]
    if "reg_token" in w:
        first.append(w["reg_token"].expand(n, -1, -1))
    if positions_of_patches_only:
        x = torch.cat([*first, x + positions], dim=1)
    else:
        x = torch.cat([*first, x], dim=1) + positions
    assert x.shape[1] == prefix + side * side
    for block in range(sum(key.endswith("norm1.weight") for key in w)):
        at = f"blocks.{block}."
        y = F.layer_norm(x, (d,), w[at + "norm1.weight"], w[at + "norm1.bias"], eps=1e-6)
        q, k, v = F.linear(y, w[at + "attn.qkv.weight"], w[at + "attn.qkv.bias"]).chunk(3, dim=-1)
        q, k, v = (each.view(n, -1, heads, d // heads).transpose(1, 2) for each in (q, k, v))
        y = torch.softmax(q @ k.transpose(-2, -1) / (d // heads) ** 0.5, dim=-1) @ v
        y = F.linear(
            y.transpose(1, 2).reshape(n, -1, d), w[at + "attn.proj.weight"], w[at + "attn.proj.bias"]
        )
        x = x + y * w.get(at + "ls1.gamma", 1.0)
        y = F.layer_norm(x, (d,), w[at + "norm2.weight"], w[at + "norm2.bias"], eps=1e-6)
        y = F.linear(y, w[at + "mlp.fc1.weight"], w[at + "mlp.fc1.bias"])
        if w[at + "mlp.fc2.weight"].shape[1] < y.shape[-1]:
            gate, value = y.chunk(2, dim=-1)
            y = F.silu(gate) * value
        else:
            y = F.gelu(y)
        x = x + F.linear(y, w[at + "mlp.fc2.weight"], w[at + "mlp.fc2.bias"]) * w.get(at + "ls2.gamma", 1.0)
    return F.layer_norm(x, (d,), w["norm.weight"], w["norm.bias"], eps=1e-6)


def card_transform(edge, crop, interpolation, mean, std):
    from torchvision.transforms import v2

    mode = getattr(v2.InterpolationMode, interpolation.upper())
    return v2.Compose(
        [
            v2.Resize(edge, interpolation=mode),
            v2.CenterCrop(crop),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=mean, std=std),
        ]
    )


def cosine_with(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LUNIT = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HIBOU = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
GENBIO = ((0.697, 0.575, 0.728), (0.188, 0.24, 0.187))
