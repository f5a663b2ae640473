"""Encoders from outside the table, each against its own library's transform or a reference made by hand."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
huggingface_hub = pytest.importorskip("huggingface_hub")
from huggingface_hub import constants  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from embedder.cli import main  # noqa: E402
from embedder.encoders.load import available_encoders, load_encoder  # noqa: E402
from embedder.encoders.spec import EncoderError, UnknownEncoderError  # noqa: E402
from embedder.encoders.told import Told  # noqa: E402
from embedder.files.share import share  # noqa: E402
from embedder.files.whitelist import encoder_name  # noqa: E402
from tissuumaps_sic.slidefile.provenance import EncoderRecord, read_provenance  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VIT, CNN = "test_vit.r160_in1k", "test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def nothing_there(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)


@pytest.fixture
def patches():
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(each).resize((200, 200), Image.Resampling.BICUBIC)) for each in small]
    )


def make_random(name, seed=0, **arguments):
    """A timm model with random weights that is not all zeros anywhere."""
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False, **arguments)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand_like(value))
    return model.eval()


def save(model, path):
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that has some files at a commit; tells what was asked of it."""
    asked = []

    def download(repository, file, *, revision=None):
        asked.append((repository, file, revision))
        path = tmp_path / "hub" / repository / "snapshots" / COMMIT / file
        if not path.exists():
            error = huggingface_hub.errors.RemoteEntryNotFoundError.__new__(
                huggingface_hub.errors.RemoteEntryNotFoundError
            )
            error.args = ("no such file",)
            raise error
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    download.asked = asked
    return download


def on_the_hub(tmp_path, repository, model, config=None):
    folder = tmp_path / "hub" / repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    save(model, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))


def embed_by_timm(model, name, patches, **overrides):
    """What timm's own transform and model make of patches."""
    config = timm.data.resolve_data_config(overrides, model=timm.create_model(name, pretrained=False))
    transform = timm.data.create_transform(**config, is_training=False)
    batch = torch.stack([transform(Image.fromarray(each)) for each in patches])
    with torch.inference_mode():
        return model(batch).numpy()


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# ------------------------------------------------------------------------------------------------ timm


@pytest.mark.parametrize("name", [VIT, CNN, "test_efficientnet.r160_in1k", "test_convnext.r160_in1k"])
def test_a_timm_model_gives_what_timm_gives(name, patches, tmp_path, hub):
    whole = make_random(name)
    on_the_hub(tmp_path, f"timm/{name}", whole)
    encoder = load_encoder(f"timm:{name}")
    whole.reset_classifier(0)
    expected = embed_by_timm(whole, name, patches)
    found = encoder.encode(patches)
    assert found.shape == expected.shape == (4, encoder.dimension)
    # Cut and resized as timm does; Pillow rounds otherwise than torch by a grey level here and there.
    assert cosines(found, expected).min() > 0.9999
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert hub.asked == [(f"timm/{name}", "model.safetensors", None)]
    assert encoder.spec.source == f"timm {name}; huggingface timm/{name}@{COMMIT}"
    assert (encoder.name, encoder.spec.licence) == (f"timm:{name}", "apache-2.0")
    assert encoder.spec.input_size == 160
    assert encoder.spec.resized == 168
    how = timm.get_pretrained_cfg(name).interpolation
    assert encoder.transform.startswith(f"RGB 0..255, resized to 168 px ({how}), cut to the central 160 px")


@pytest.mark.parametrize("name", ["test_vit_relpos", "test_maxvit"])
def test_a_network_with_numbers_that_are_in_no_file_of_weights_is_whole(name, patches, tmp_path):
    model = make_random(name)
    assert {key for key, _ in model.named_buffers()} - model.state_dict().keys()
    path = save(model, tmp_path / "own.safetensors")
    facts = Told(input_size=160, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic")
    found = load_encoder(f"timm:{name}", weights=path, told=facts).encode(patches[:, :160, :160])
    model.reset_classifier(0)
    batch = torch.from_numpy(patches[:, :160, :160]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        assert np.abs(found - model(batch).numpy()).max() < 1e-3


def test_its_facts_can_be_told_otherwise(patches, tmp_path):
    model = make_random(CNN)
    path = save(model, tmp_path / "own.safetensors")
    told = Told(input_size=128, mean=(0.7, 0.6, 0.5), std=(0.2, 0.25, 0.3), interpolation="bilinear")
    encoder = load_encoder(f"timm:{CNN}", weights=path, told=told)
    model.reset_classifier(0)
    own = {
        "input_size": (3, 128, 128),
        "mean": told.mean,
        "std": told.std,
        "interpolation": "bilinear",
        "crop_pct": 1,
    }
    expected = embed_by_timm(model, CNN, patches, **own)
    assert cosines(encoder.encode(patches), expected).min() > 0.9999
    assert (
        encoder.transform
        == "RGB 0..255, resized to 128 px (bilinear), minus (178.5, 153, 127.5), divided by (51, 63.75, 76.5)"
    )
    assert encoder.spec.source == f"timm {CNN}; a file"


@pytest.mark.parametrize(
    ("pool", "by_hand"),
    [
        ("cls", lambda tokens: tokens[:, 0]),
        ("mean", lambda tokens: tokens[:, 1:].mean(axis=1)),
        ("max", lambda tokens: tokens[:, 1:].max(axis=1)),
        ("cls+mean", lambda tokens: np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1)),
    ],
)
def test_tokens_are_pooled_as_told(pool, by_hand, patches, tmp_path):
    model = make_random("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48, num_heads=3)
    monkey = timm.create_model  # the registered size is too large for a test

    def small(name, **arguments):
        return monkey(name, **{"img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3, **arguments})

    path = save(model, tmp_path / "vit.safetensors")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timm, "create_model", small)
        encoder = load_encoder("timm:vit_tiny_patch16_224", weights=path, told=Told(input_size=64, pool=pool))
    scaled = patches[:, :64, :64]
    batch = torch.from_numpy(scaled).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        expected = by_hand(model.forward_features(batch).numpy())
    assert np.abs(encoder.encode(scaled) - expected).max() < 1e-4
    assert encoder.transform.endswith(f", pooled by {pool}")
    assert encoder.spec.fine is not None
    assert (encoder.spec.fine.channels, encoder.spec.fine.stride) == (48, 16)


def test_positions_are_resampled_for_patches_of_another_size(patches, tmp_path):
    model = make_random(VIT, dynamic_img_size=True)
    path = save(model, tmp_path / "vit.safetensors")
    model.reset_classifier(0)
    encoder = load_encoder(f"timm:{VIT}", weights=path, told=Told(input_size=96))
    scaled = patches[:, :96, :96]
    with torch.inference_mode():
        expected = model(torch.from_numpy(scaled).permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()
    assert np.abs(encoder.encode(scaled) - expected).max() < 1e-4
    assert "resized to 96 px" in encoder.transform


def test_maps_are_pooled_as_told_and_have_no_class_token(patches, tmp_path):
    model = make_random(CNN)
    path = save(model, tmp_path / "own.safetensors")
    own = load_encoder(f"timm:{CNN}", weights=path).encode(patches)
    mean = load_encoder(f"timm:{CNN}", weights=path, told=Told(pool="mean")).encode(patches)
    most = load_encoder(f"timm:{CNN}", weights=path, told=Told(pool="max")).encode(patches)
    assert np.abs(own - mean).max() < 1e-4
    assert (most >= mean - 1e-5).all()
    with pytest.raises(UnknownEncoderError, match="no class token"):
        load_encoder(f"timm:{CNN}", weights=path, told=Told(pool="cls"))


def test_what_timm_has_not_is_told_with_what_it_has(tmp_path):
    with pytest.raises(UnknownEncoderError, match="did you mean test_vit"):
        load_encoder("timm:test_vitt")
    with pytest.raises(UnknownEncoderError, match=r"no weights 'test_vit.x'; .*test_vit\.r160_in1k"):
        load_encoder("timm:test_vit.x")
    with pytest.raises(EncoderError, match="no such file"):
        load_encoder(f"timm:{VIT}", weights=tmp_path / "none")
    other = save(make_random(VIT), tmp_path / "vit.safetensors")
    with pytest.raises(EncoderError, match="does not match"):
        load_encoder(f"timm:{CNN}", weights=other)


def test_without_a_network_one_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        load_encoder(f"timm:{VIT}")


# ------------------------------------------------------------------------------------------------ the hub

CONFIG = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 0,
    "num_features": 48,
    "global_pool": "token",
    "model_args": {
        "img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3, "reg_tokens": 4, "init_values": 1e-5,
    },
    "pretrained_cfg": {
        "tag": "own", "input_size": [3, 64, 64], "interpolation": "bicubic", "crop_pct": 1.0,
        "mean": [0.7, 0.6, 0.7], "std": [0.2, 0.2, 0.2], "license": "cc-by-nc-nd-4.0",
    },
}  # fmt: skip


@pytest.fixture
def published(tmp_path):
    arguments = {**CONFIG["model_args"], "num_classes": 0, "global_pool": "token"}
    model = make_random("vit_tiny_patch16_224", **arguments)
    on_the_hub(tmp_path, "lab/own-net", model, CONFIG)
    return model


def test_a_repository_is_built_as_it_describes_itself_and_its_commit_is_kept(published, patches, hub):
    encoder = load_encoder("hf:lab/own-net")
    scaled = patches[:, :64, :64]
    batch = (
        torch.from_numpy(scaled).permute(0, 3, 1, 2).float() / 255
        - torch.tensor([0.7, 0.6, 0.7]).view(3, 1, 1)
    ) / 0.2
    with torch.inference_mode():
        expected = published(batch).numpy()
    assert np.abs(encoder.encode(scaled) - expected).max() < 1e-4
    assert encoder.spec.source == f"huggingface lab/own-net@{COMMIT}"
    assert encoder.spec.licence == "cc-by-nc-nd-4.0"
    # The weights are those of the commit that the description is of.
    assert hub.asked == [("lab/own-net", "config.json", None), ("lab/own-net", "model.safetensors", COMMIT)]
    both = load_encoder("hf:lab/own-net", told=Told(pool="cls+mean"))
    assert both.dimension == 96
    with torch.inference_mode():
        tokens = published.forward_features(batch).numpy()
    expected = np.concatenate([tokens[:, 0], tokens[:, 5:].mean(axis=1)], axis=1)  # registers are no places
    assert np.abs(both.encode(scaled) - expected).max() < 1e-4


def test_a_revision_can_be_pinned(published, hub):
    load_encoder("hf:lab/own-net@v1.0")
    assert hub.asked[0] == ("lab/own-net", "config.json", "v1.0")


def test_an_older_description_has_its_facts_beside_the_architecture(tmp_path, hub):
    flat = {"architecture": "test_resnet", **CONFIG["pretrained_cfg"]}
    on_the_hub(tmp_path, "lab/flat", make_random("test_resnet"), flat)
    encoder = load_encoder("hf:lab/flat")
    assert (encoder.spec.input_size, encoder.spec.mean) == (64, pytest.approx((178.5, 153.0, 178.5)))


HALF = {"architecture": "test_resnet", "mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "dinov2"}, "does not describe a timm model"),
        ([], "does not describe a timm model"),
        ({"architecture": "no_such_net"}, "timm cannot build no_such_net"),
        ({"architecture": "test_resnet"}, "does not say how patches become.*--input-size 224 --mean"),
        ({**HALF, "input_size": [3, 64, 32]}, "--input-size"),
        ({**HALF, "input_size": [3, 64, 64], "interpolation": "random"}, "--interpolation bicubic"),
    ],
)
def test_what_a_repository_does_not_tell_is_asked_for(config, message, tmp_path, hub):
    on_the_hub(tmp_path, "lab/odd", make_random("test_resnet"), config)
    with pytest.raises(EncoderError, match=message):
        load_encoder("hf:lab/odd")


def test_a_name_that_is_none_of_the_hub_is_wrong_use():
    for name in ("hf:", "hf:lab", "hf:lab/a b", "hf:lab/net@"):
        with pytest.raises(UnknownEncoderError, match="must be hf:OWNER/NAME"):
            load_encoder(name)


# ------------------------------------------------------------------------------------------------ programs


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )

    def forward(self, x):
        return self.body(x).mean(dim=(2, 3))


TOLD = Told(input_size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def save_program(kind, path, network=None):
    network = (network or Network()).eval()
    sample = torch.zeros(2, 3, 64, 64)
    if kind == "script":
        torch.jit.script(network).save(str(path))
    elif kind == "trace":
        torch.jit.trace(network, sample).save(str(path))
    else:
        batch = torch.export.Dim("batch", min=1, max=4096)
        torch.export.save(torch.export.export(network, (sample,), dynamic_shapes=({0: batch},)), path)
    return path


@pytest.mark.parametrize(("kind", "suffix"), [("script", "pt"), ("trace", "pth"), ("export", "pt2")])
def test_a_compiled_network_is_run_as_it_is(kind, suffix, patches, tmp_path):
    path = save_program(kind, tmp_path / f"ours.{suffix}")
    encoder = load_encoder(str(path), told=TOLD, precision="auto")
    scaled = patches[:3, :64, :64]
    with torch.inference_mode():
        expected = Network().eval()(torch.from_numpy(scaled).permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()
    assert np.abs(encoder.encode(scaled) - expected).max() < 1e-4
    assert np.abs(encoder.encode(scaled[:1]) - expected[:1]).max() < 1e-4
    assert (encoder.name, encoder.dimension, encoder.precision) == ("ours", 8, "float32")
    with pytest.raises(UnknownEncoderError, match="compiled for float32"):
        load_encoder(str(path), told=TOLD, precision="bfloat16")
    with pytest.raises(UnknownEncoderError, match=r"--input-size 224 --mean 0\.485,0\.456,0\.406 --std"):
        load_encoder(str(path))
    with pytest.raises(UnknownEncoderError, match="--pool cannot change"):
        load_encoder(str(path), told=Told(pool="mean"))
    with pytest.raises(UnknownEncoderError, match="holds its weights"):
        load_encoder(str(path), weights=path, told=TOLD)


def test_a_network_for_one_patch_at_a_time_or_without_embeddings_is_refused(tmp_path):
    fixed = tmp_path / "one.pt2"
    torch.export.save(torch.export.export(Network().eval(), (torch.zeros(1, 3, 64, 64),)), fixed)
    with pytest.raises(EncoderError, match="takes any number of patches"):
        load_encoder(str(fixed), told=TOLD)
    maps = save_program("script", tmp_path / "maps.pt", Network().body)
    with pytest.raises(EncoderError, match=r"gives \(2, 8, 31, 31\) for 2 patches"):
        load_encoder(str(maps), told=TOLD)
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_encoder(str(damaged), told=TOLD)


# ------------------------------------------------------------------------------------------------ packages

PACKAGE = """
import torch
from embedder import OwnEncoder


def make(weights=None):
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 5))
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    facts = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "mpp": 1.0, "licence": "MIT"}
    return OwnEncoder(network, 32, **facts, source="ours")


def broken():
    raise RuntimeError("no licence server")


def wrong():
    return 3
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An example package as it is when installed."""
    site = tmp_path / "site"
    described = site / "our_encoders-1.2.dist-info"
    described.mkdir(parents=True)
    (site / "our_encoders.py").write_text(PACKAGE)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: our-encoders\nVersion: 1.2\n")
    offers = "".join(f"{name} = our_encoders:{name}\n" for name in ("make", "broken", "wrong"))
    (described / "entry_points.txt").write_text(f"[tissuumaps_sic.encoders]\n{offers}")
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("our_encoders", None)


def test_a_package_offers_its_encoder_by_name(package, patches, tmp_path):
    torch.manual_seed(4)
    encoder = load_encoder("make")
    torch.manual_seed(4)
    linear = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 5))[2]
    scaled = patches[:, :32, :32]
    means = (scaled.mean(axis=(1, 2)) / 255 - 0.5) / 0.25
    with torch.inference_mode():
        expected = linear(torch.from_numpy(means).float()).numpy()
    assert np.abs(encoder.encode(scaled) - expected).max() < 1e-4
    assert encoder.spec.source == "ours; package our-encoders 1.2"
    assert (encoder.name, encoder.dimension, encoder.spec.licence) == ("make", 5, "MIT")
    assert "trained at 1 µm/px" in encoder.spec.advice(32, 0.5)
    offered = {each.name: each for each in available_encoders()}
    assert offered["make"].usable
    assert offered["make"].source == "package our-encoders 1.2"
    # The weights tell encoders apart, not the name.
    torch.manual_seed(4)
    assert load_encoder("make").weights_sha256 == encoder.weights_sha256
    torch.manual_seed(5)
    assert load_encoder("make").weights_sha256 != encoder.weights_sha256
    state = {"2.weight": torch.ones(5, 3), "2.bias": torch.zeros(5)}
    torch.save(state, tmp_path / "ones.pt")
    ones = load_encoder("make", weights=tmp_path / "ones.pt")
    assert np.abs(ones.encode(scaled) - means.sum(axis=1, keepdims=True)).max() < 1e-4


def test_a_package_that_fails_is_named(package):
    with pytest.raises(
        EncoderError, match=r"broken of the package our-encoders cannot be loaded \(no licence server\)"
    ):
        load_encoder("broken")
    with pytest.raises(EncoderError, match=r"gives a int, not an embedder\.OwnEncoder"):
        load_encoder("wrong")


# ------------------------------------------------------------------------------------------------ all the way


def test_what_is_told_is_for_encoders_from_outside_alone():
    with pytest.raises(UnknownEncoderError, match="tells its own transform; leave out --input-size, --pool"):
        load_encoder("efficientnet-lite0", told=Told(input_size=128, pool="mean"))


def test_a_slide_is_embedded_checked_and_shared_by_a_model_from_outside(tmp_path, caplog):
    rng = np.random.default_rng(0)
    tissue = (rng.random((600, 900, 3)) * [120, 60, 120] + [100, 40, 90]).astype(np.uint8)
    Image.fromarray(tissue).save(tmp_path / "slide.png")
    weights = save(make_random(VIT), tmp_path / "vit.safetensors")
    given = ["embed", str(tmp_path / "slide.png"), "-o", str(tmp_path / "out"), "--slide-mpp", "0.5"]
    given += ["--no-umap", "--min-tissue", "0", "--precision", "float32"]
    given += ["--encoder", f"timm:{VIT}", "--weights", str(weights)]
    assert main(given) == 0
    h5ad = tmp_path / "out" / "slide.h5ad"
    assert main(["check", str(h5ad)]) == 0
    record = read_provenance(h5ad).encoder
    assert (record.name, record.architecture, record.dimension) == (f"timm:{VIT}", f"timm:{VIT}", 64)
    before = h5ad.read_bytes()
    # The same again is nothing to do; another pooling is another file.
    assert main(given) == 0
    assert h5ad.read_bytes() == before
    assert main([*given, "--pool", "mean"]) == 1
    assert "pooled by mean" in caplog.text
    assert h5ad.read_bytes() == before
    for wrong in ("1,2", "127,127,127"):
        with pytest.raises(SystemExit) as ended:
            main([*given, "--mean", wrong])
        assert ended.value.code == 2
    share(h5ad, tmp_path / "shared")
    shared = read_provenance(next((tmp_path / "shared").glob("*.h5ad"))).encoder
    assert (shared.name, shared.transform) == (f"timm:{VIT}", record.transform)


def test_what_may_be_private_of_a_name_is_not_shared():
    assert encoder_name(EncoderRecord(name=f"timm:{VIT}", weights_sha256="ab" * 32)) == f"timm:{VIT}"
    assert (
        encoder_name(EncoderRecord(name="hf:lab/secret-net", weights_sha256="ab" * 32)) == "encoder-abababab"
    )
    assert encoder_name(EncoderRecord(name="timm:Dr Smith", weights_sha256="ab" * 32)) == "encoder-abababab"
