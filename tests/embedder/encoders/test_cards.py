"""Vision transformers against the passes that their cards describe, written out by hand."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
from making.encoders import (  # noqa: E402
    BIOPTIMUS,
    GENBIO,
    HALF,
    HIBOU,
    IMAGENET,
    LUNIT,
    at_random,
    card_transform,
    cosine_with,
    status,
    vit_by_hand,
)
from safetensors.torch import save_file  # noqa: E402

from embedder.encoders.build import build  # noqa: E402
from embedder.encoders.forward import _fit  # noqa: E402
from embedder.encoders.load import load_encoder  # noqa: E402
from embedder.encoders.spec import EncoderError  # noqa: E402
from embedder.encoders.table import ENCODERS  # noqa: E402

# As the cards have it: edge resized to, edge cut to, interpolation, mean and standard deviation; tokens that
# are no patch's, whether positions are the patches' alone, whether the mean of the patches is appended; the
# millions of parameters that are published.
CARDS = {
    "kaiko-vits16": ((224, 224, "bilinear", *HALF), 1, False, False, 21.7),
    "kaiko-vits8": ((224, 224, "bilinear", *HALF), 1, False, False, 21.7),
    "kaiko-vitb16": ((224, 224, "bilinear", *HALF), 1, False, False, 85.8),
    "kaiko-vitb8": ((224, 224, "bilinear", *HALF), 1, False, False, 85.8),
    "kaiko-vitl14": ((224, 224, "bilinear", *HALF), 5, True, False, 304),
    "phikon": ((224, 224, "bilinear", *IMAGENET), 1, False, False, 85.8),
    "phikon-v2": ((224, 224, "bicubic", *IMAGENET), 1, False, False, 303),
    "uni": ((224, 224, "bilinear", *IMAGENET), 1, False, False, 303),
    "uni2-h": ((224, 224, "bilinear", *IMAGENET), 9, True, False, 681),
    "virchow": ((224, 224, "bicubic", *IMAGENET), 1, False, True, 632),
    "virchow2": ((224, 224, "bicubic", *IMAGENET), 5, False, True, 632),
    "h-optimus-0": ((224, 224, "bicubic", *BIOPTIMUS), 5, True, False, 1130),
    "h-optimus-1": ((224, 224, "bicubic", *BIOPTIMUS), 5, True, False, 1130),
    "h0-mini": ((224, 224, "bicubic", *BIOPTIMUS), 5, True, True, 85.7),
    "prov-gigapath": ((256, 224, "bicubic", *IMAGENET), 1, False, False, 1130),
    "midnight-12k": ((224, 224, "bilinear", *HALF), 1, False, True, 1140),
    "gpfm": ((224, 224, "bicubic", *IMAGENET), 1, False, False, 303),
    "lunit-vits8": ((224, 224, "bicubic", *LUNIT), 1, False, False, 21.7),
    "lunit-vits16": ((224, 224, "bicubic", *LUNIT), 1, False, False, 21.7),
    "dinov2-vits14": ((224, 224, "bicubic", *IMAGENET), 1, False, False, 21.7),
    "dinov2-vitb14": ((224, 224, "bicubic", *IMAGENET), 1, False, False, 85.8),
    "dinov2-vitl14": ((224, 224, "bicubic", *IMAGENET), 1, False, False, 303),
}
# Those whose tokens know their places by rotation, which is not written out here: timm's own network.
ROTARY = {
    "dinov3-vits16": ((256, 256, "bicubic", *IMAGENET), 21.6),
    "dinov3-vitb16": ((256, 256, "bicubic", *IMAGENET), 85.7),
    "dinov3-vitl16": ((256, 256, "bicubic", *IMAGENET), 303),
}
# Those whose published file is written out in test_published.py, where they are tested against it.
PUBLISHED = {
    "hibou-b": ((224, 224, "bicubic", *HIBOU), 85.7),
    "hibou-l": ((224, 224, "bicubic", *HIBOU), 303.7),
    "openmidnight": ((224, 224, "bilinear", *IMAGENET), 1130),
    "genbio-pathfm": ((224, 224, "bilinear", *GENBIO), 1130),
    "keep": ((224, 224, "bicubic", *IMAGENET), 304),
    "musk": ((384, 384, "bicubic", *HALF), 304),
    "conch-v1.5": ((448, 448, "bilinear", *IMAGENET), 307),
}
TRANSFORMS = {name: facts[0] for name, facts in (CARDS | ROTARY | PUBLISHED).items()}
TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def shrunken(name):
    """A row whose network has the row's structure, and two narrow blocks."""
    spec = ENCODERS[name]
    both = CARDS[name][3]
    return replace(spec, dimension=96 if both else 48, arguments={**spec.arguments, **TINY})


def test_every_transformer_of_the_table_is_tested_against_its_card():
    transformers = {name for name, spec in ENCODERS.items() if spec.library in ("timm", "own")}
    assert {*CARDS, *ROTARY, *PUBLISHED} == transformers - {"efficientnet-lite0"}


@pytest.mark.parametrize("name", CARDS)
def test_transformers_embed_as_their_cards_do_by_hand(name, patches, tmp_path, monkeypatch):
    from PIL import Image

    transform, prefix, patches_only, both, _ = CARDS[name]
    spec = shrunken(name)
    monkeypatch.setitem(ENCODERS, name, spec)
    with torch.device("cpu"):
        state = at_random(build(spec))
    if name == "virchow":
        torch.save({key: value.half() for key, value in state.items()}, tmp_path / "pytorch_model.bin")
        path, state = (
            tmp_path / "pytorch_model.bin",
            {key: value.half().float() for key, value in state.items()},
        )
    else:
        path = tmp_path / "model.safetensors"
        save_file(state, path)
    encoder = load_encoder(name, weights=path)
    for batch, tolerance in ((patches[:2, :224, :224], 2e-4), (patches[:2], None)):
        if name == "prov-gigapath":
            tolerance = {224: None, 256: 2e-4}[batch.shape[1]]
        images = torch.stack([card_transform(*transform)(Image.fromarray(each)) for each in batch])
        with torch.inference_mode():
            tokens = vit_by_hand(
                state,
                images,
                heads=3,
                prefix=prefix,
                positions_of_patches_only=patches_only,
                grid=37 if name == "kaiko-vitl14" else None,
            )
        expected = tokens[:, 0]
        if both:
            expected = torch.cat([expected, tokens[:, prefix:].mean(dim=1)], dim=1)
        expected = expected.numpy()
        found = encoder.encode(np.ascontiguousarray(batch))
        assert found.shape == (2, spec.dimension)
        assert found.dtype == np.float32
        assert np.abs(expected).max() > 0.5
        if tolerance is None:
            # Pillow rounds in fixed point: a level here and there.
            cosine = (
                (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
            )
            assert cosine.min() > 0.99995
        else:
            assert np.abs(found - expected).max() < tolerance
    assert cosine_with(encoder.encode(patches[:1, ..., ::-1]), encoder.encode(patches[:1])) < 0.999


@pytest.mark.parametrize("name", ROTARY)
def test_rotary_transformers_average_the_patches_as_timm_does(name, patches, tmp_path, monkeypatch):
    spec = ENCODERS[name]
    tiny = replace(spec, dimension=48, arguments={**spec.arguments, **TINY})
    monkeypatch.setitem(ENCODERS, name, tiny)
    network = build(tiny).eval()
    state = at_random(network)
    network.load_state_dict(state)
    save_file(state, tmp_path / "model.safetensors")
    found = load_encoder(name, weights=tmp_path / "model.safetensors").encode(patches[:2, :256, :256])
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in IMAGENET)
    batch = (torch.from_numpy(patches[:2, :256, :256]).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.inference_mode():
        expected = network.forward_features(batch)[:, 5:].mean(dim=1).numpy()
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() < 2e-4
    whole = build(spec)
    assert abs(sum(each.numel() for each in whole.parameters()) / 1e6 / ROTARY[name][1] - 1) < 0.02


@pytest.mark.parametrize("name", [*CARDS, *PUBLISHED])
def test_whole_transformers_have_the_published_size_and_the_dimension_claimed(name):
    """On the meta device, which holds shapes and no numbers."""
    spec = ENCODERS[name]
    network = build(spec).eval()
    millions = sum(each.numel() for each in network.parameters()) / 1e6
    assert abs(millions / (CARDS | PUBLISHED)[name][-1] - 1) < 0.02
    found = network(torch.empty(2, 3, spec.input_size, spec.input_size, device="meta"))
    pooled = found if spec.pool is None else spec.pool(found)
    assert pooled.shape == (2, spec.dimension)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("efficientnet-lite0", 4.65), ("resnet18", 11.69), ("resnet50", 25.56), ("histossl", 11.69)],
)
def test_whole_convolutional_networks_have_the_published_size(name, millions):
    network = build(ENCODERS[name])
    assert abs(sum(each.numel() for each in network.parameters()) / 1e6 / millions - 1) < 0.01


@pytest.mark.parametrize("name", [*TRANSFORMS, "conch"])
@pytest.mark.parametrize("edge", [256, 200])
def test_patches_are_resized_and_cut_as_the_cards_do(name, edge, patches):
    from PIL import Image

    clip = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    resized, crop, mode, mean, std = TRANSFORMS.get(name) or (448, 448, "bicubic", *clip)
    spec = ENCODERS[name]
    image = np.ascontiguousarray(patches[0, :edge, :edge])
    # The edges of black and white are where a cubic overshoots.
    image[40:90, 40:90], image[60:70, 60:70] = 255, 0
    expected = card_transform(resized, crop, mode, mean, std)(Image.fromarray(image))
    x = _fit(torch.from_numpy(image)[None].permute(0, 3, 1, 2).float(), spec)
    assert x.shape == (1, 3, crop, crop)
    levels = expected * torch.tensor(std).view(3, 1, 1) * 255 + torch.tensor(mean).view(3, 1, 1) * 255
    # Pillow works in fixed point, so that a half may be rounded to the other side in each of its two passes.
    assert (x[0] - levels).abs().max() <= 2.01
    assert (x[0] - levels).abs().mean() < 0.1
    scale = torch.tensor(spec.std).view(3, 1, 1)
    normal = (x[0] - torch.tensor(spec.mean).view(3, 1, 1)) / scale
    assert (normal - expected).abs().max() < 2.01 / min(spec.std)
    told = f"resized to {resized} px ({mode})"
    assert told in spec.transform
    assert (f"central {crop} px" in spec.transform) == (crop != resized)


def test_a_transformer_in_bfloat16_stays_close_to_float32(patches, tmp_path, monkeypatch):
    spec = shrunken("virchow2")
    monkeypatch.setitem(ENCODERS, "virchow2", spec)
    with torch.device("cpu"):
        save_file(at_random(build(spec)), tmp_path / "model.safetensors")
    full, half = (
        load_encoder("virchow2", weights=tmp_path / "model.safetensors", precision=precision).encode(
            patches[:1]
        )
        for precision in ("float32", "bfloat16")
    )
    assert not np.array_equal(full, half)
    assert cosine_with(full, half) > 0.999


def test_a_transformers_checkpoint_of_another_one_is_refused_with_its_keys(tmp_path, monkeypatch):
    for name in ("virchow", "virchow2", "uni"):
        monkeypatch.setitem(ENCODERS, name, shrunken(name))
    with torch.device("cpu"):
        state = at_random(build(ENCODERS["virchow2"]))
    path = tmp_path / "model.safetensors"
    save_file(state | {"head.weight": torch.ones(2, 48)}, path)
    assert load_encoder("virchow2", weights=path).dimension == 96
    with pytest.raises(EncoderError, match="1 key unknown: reg_token"):
        load_encoder("virchow", weights=path)
    with pytest.raises(EncoderError, match=r"of another shape: pos_embed .*patch_embed\.proj\.weight"):
        load_encoder("uni", weights=path)
    with pytest.raises(EncoderError, match="--encoder NAME --weights"):
        load_encoder(str(path))


# CONCH, by its own package.

CONCH = """
import torch
class Tower(torch.nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.trunk = torch.nn.Conv2d(3, width, 16, stride=16)
        self.ln_contrast = torch.nn.LayerNorm(width)
        self.proj_contrast = torch.nn.Parameter(torch.randn(width, out))
    def forward_no_head(self, x, normalize=False):
        x = self.ln_contrast(self.trunk(x).mean(dim=(2, 3)))
        return torch.nn.functional.normalize(x, dim=-1) if normalize else x
    def forward(self, x):
        return self.forward_no_head(x) @ self.proj_contrast, None
class CoCa(torch.nn.Module):
    def __init__(self, embed_dim, embed_dim_caption, vision_cfg, text_cfg, multimodal_cfg):
        super().__init__()
        assert vision_cfg["image_size"] == 448
        self.visual = Tower(embed_dim, embed_dim)
        self.text = torch.nn.Linear(4, 4)
        self.logit_scale = torch.nn.Parameter(torch.ones([]))
"""


@pytest.fixture
def conch(tmp_path, monkeypatch):
    """A package with the layout and the interface of CONCH's, and a small network."""
    import sys

    package = tmp_path / "site" / "conch" / "open_clip_custom"
    (package / "model_configs").mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "coca_model.py").write_text(CONCH)
    settings = {"embed_dim": 512, "embed_dim_caption": 768, "text_cfg": {}, "multimodal_cfg": {}}
    settings |= {"vision_cfg": {"image_size": 448}, "custom_text": True}
    (package / "model_configs" / "conch_ViT-B-16.json").write_text(json.dumps(settings))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "conch"]:
        del sys.modules[name]


def test_conch_embeds_by_its_own_package_without_projection(conch, patches, tmp_path):
    torch.manual_seed(3)
    state = {
        "visual.trunk.weight": torch.randn(512, 3, 16, 16) / 30,
        "visual.trunk.bias": torch.randn(512),
        "visual.ln_contrast.weight": torch.rand(512),
        "visual.ln_contrast.bias": torch.randn(512),
        "visual.proj_contrast": torch.randn(512, 512),
        "text.weight": torch.ones(4, 4),
        "text.bias": torch.ones(4),
        "logit_scale": torch.ones([]),
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    image = np.ascontiguousarray(np.tile(patches[0, :224, :224], (2, 2, 1)))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    x = ((torch.from_numpy(image) / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)[None]
    x = F.conv2d(x, state["visual.trunk.weight"], state["visual.trunk.bias"], stride=16).mean(dim=(2, 3))
    weight, bias = state["visual.ln_contrast.weight"], state["visual.ln_contrast.bias"]
    expected = F.layer_norm(x, (512,), weight, bias)
    found = load_encoder("conch", weights=tmp_path / "pytorch_model.bin").encode(image[None])
    assert found.shape == (1, 512)
    assert np.abs(found - expected.numpy()).max() < 1e-4
    assert "pip install" not in status("conch").state
    del state["visual.trunk.bias"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"1 key missing: trunk\.bias"):
        load_encoder("conch", weights=tmp_path / "pytorch_model.bin")


def test_conch_without_its_package_says_what_to_install(tmp_path):
    if importlib.util.find_spec("conch") is not None:
        pytest.skip("conch is installed")
    (tmp_path / "model.bin").touch()
    for weights in (None, tmp_path / "model.bin"):
        with pytest.raises(EncoderError, match=r"pip install git\+https://github\.com/mahmoodlab/CONCH"):
            load_encoder("conch", weights=weights)
    assert "pip install git+" in status("conch").state
