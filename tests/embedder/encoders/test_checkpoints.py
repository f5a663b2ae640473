"""Checkpoints in exactly the forms that are published, read without the libraries that wrote them."""

import argparse
import sys
import types
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402, N812
import torchvision  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from embedder.encoders.load import load_encoder  # noqa: E402
from embedder.encoders.spec import EncoderError  # noqa: E402
from embedder.encoders.table import ENCODERS  # noqa: E402


@pytest.fixture(scope="module")
def patches():
    y, x = np.mgrid[0:224, 0:224]
    wave = np.stack([x / 2 + 60 * np.sin(y / 9), y / 2 + 60 * np.sin(x / 17), (x + y) / 6 + 0 * x], axis=-1)
    noise = np.random.default_rng(0).normal(0, 12, size=(2, 224, 224, 3))
    return np.clip(wave + 40 + noise, 0, 255).astype(np.uint8)


# HistoSSL (Ciga et al. 2022).


@pytest.fixture(scope="module")
def ciga():
    """Weights of a resnet18 with the head of the published one in place of its classifier."""
    torch.manual_seed(5)
    network = torchvision.models.resnet18(weights=None)
    network.fc = torch.nn.Sequential(
        torch.nn.Identity(), torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 128)
    )
    return network.state_dict()


def lightning_checkpoint(state, classes):
    """The dictionary that Lightning 0.9 to 1.4 saved, its own objects among the values."""
    hyper_parameters = classes["AttributeDict"](backbone="resnet18", batch_size=512, lr=0.3, gpus=[0, 1])
    return {
        "epoch": 999,
        "global_step": 780_000,
        "pytorch-lightning_version": "1.0.2",
        "checkpoint_callback_best_model_path": "ckpts/_ckpt_epoch_9.ckpt",
        "callbacks": {
            classes["ModelCheckpoint"]: {"best_model_score": torch.tensor(0.5), "current_score": None}
        },
        "optimizer_states": [
            {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.3}]}
        ],
        "lr_schedulers": [{"base_lrs": [0.3], "last_epoch": 1000, "_step_count": 1001}],
        "state_dict": OrderedDict((f"model.resnet.{key}", value) for key, value in state.items()),
        "hparams_name": "hparams",
        "hyper_parameters": hyper_parameters,
        "args": argparse.Namespace(data="slides", temperature=0.1),
    }


def save_as_lightning(path, state, **options):
    """Save as from a process that has Lightning; this one has it no longer when it reads."""
    modules = {
        "AttributeDict": ("pytorch_lightning.utilities.parsing", (dict,)),
        "ModelCheckpoint": ("pytorch_lightning.callbacks.model_checkpoint", ()),
    }
    fakes, classes = {}, {}
    for name, (module, bases) in modules.items():
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            package = ".".join(parts[:length])
            fakes.setdefault(package, types.ModuleType(package))
        classes[name] = type(name, bases, {"__module__": module})
        setattr(fakes[module], name, classes[name])
    with pytest.MonkeyPatch.context() as patch:
        for package, fake in fakes.items():
            patch.setitem(sys.modules, package, fake)
        torch.save(lightning_checkpoint(state, classes), path, **options)
    return path


def ciga_by_hand(state, patches):
    """As the author's README loads it and issue 2 normalises: mean and standard deviation 0.5."""
    network = torchvision.models.resnet18(weights=None)
    network.fc = torch.nn.Identity()
    network.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})
    batch = (torch.from_numpy(patches).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        return network.eval()(batch.permute(0, 3, 1, 2)).numpy()


@pytest.mark.parametrize("zipped", [True, False], ids=["torch 1.6 and later", "before torch 1.6"])
def test_the_published_histossl_file_is_read_without_lightning(zipped, ciga, patches, tmp_path):
    path = save_as_lightning(
        tmp_path / "tenpercent_resnet18.ckpt", ciga, _use_new_zipfile_serialization=zipped
    )
    expected = ciga_by_hand(ciga, patches)
    for encoder in (load_encoder("histossl", weights=path), load_encoder(str(path))):
        assert np.allclose(encoder.encode(patches), expected, atol=1e-4)
        assert (encoder.name, encoder.spec.name, encoder.dimension) == ("histossl", "histossl", 512)


def test_the_file_without_lightnings_objects_is_read_too(ciga, patches, tmp_path):
    path = tmp_path / "pytorchnative_tenpercent_resnet18.ckpt"
    torch.save({"state_dict": {f"model.resnet.{key}": value for key, value in ciga.items()}}, path)
    assert np.allclose(load_encoder(str(path)).encode(patches), ciga_by_hand(ciga, patches), atol=1e-4)


def test_nothing_stays_allowed_in_checkpoints_after_one_was_read(ciga, tmp_path):
    before = set(torch.serialization.get_safe_globals())
    load_encoder(str(save_as_lightning(tmp_path / "own.ckpt", ciga)))
    assert set(torch.serialization.get_safe_globals()) == before


def test_other_objects_in_the_file_are_refused_and_the_clean_one_is_named(ciga, tmp_path):
    class Evil:
        def __reduce__(self):
            return ((tmp_path / "ran").touch, ())

    path = tmp_path / "tenpercent_resnet18.ckpt"
    content = {"state_dict": {f"model.resnet.{key}": value for key, value in ciga.items()}, "x": Evil()}
    torch.save(content, path)
    with pytest.raises(
        EncoderError, match=r"nativetenpercent/pytorchnative_tenpercent_resnet18\.ckpt"
    ) as caught:
        load_encoder("histossl", weights=path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_resnet18_that_is_not_histossls_keeps_imagenets_mean(tmp_path):
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(
        {"state_dict": {f"model.resnet.{key}": value for key, value in state.items()}}, tmp_path / "own.ckpt"
    )
    assert load_encoder(str(tmp_path / "own.ckpt")).spec.name == "resnet18"


# Phikon and Phikon-v2, as transformers saves them.


def transformers_by_hand(w, x, *, heads, dinov2):
    """Class token of ViTModel or Dinov2Model of transformers, from the keys that it saves."""
    norm1, norm2 = ("norm1", "norm2") if dinov2 else ("layernorm_before", "layernorm_after")
    fc1, fc2 = ("mlp.fc1", "mlp.fc2") if dinov2 else ("intermediate.dense", "output.dense")

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)

    projection = "embeddings.patch_embeddings.projection"
    stride = w[f"{projection}.weight"].shape[-1]
    x = F.conv2d(x, w[f"{projection}.weight"], w[f"{projection}.bias"], stride=stride)
    x = x.flatten(2).transpose(1, 2)
    n, _, d = x.shape
    x = (
        torch.cat([w["embeddings.cls_token"].expand(n, -1, -1), x], dim=1)
        + w["embeddings.position_embeddings"]
    )
    for layer in range(2):
        at = f"encoder.layer.{layer}."
        y = norm(x, at + norm1)
        q, k, v = (
            linear(y, f"{at}attention.attention.{part}").view(n, -1, heads, d // heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1, d)
        y = linear(y, at + "attention.output.dense")
        x = x + (y * w[at + "layer_scale1.lambda1"] if dinov2 else y)
        y = norm(x, at + norm2)
        if f"{at}mlp.weights_in.weight" in w:
            gate, value = linear(y, f"{at}mlp.weights_in").chunk(2, dim=-1)
            y = linear(F.silu(gate) * value, f"{at}mlp.weights_out")
        else:
            y = linear(F.gelu(linear(y, at + fc1)), at + fc2)
        x = x + (y * w[at + "layer_scale2.lambda1"] if dinov2 else y)
    return norm(x, "layernorm")


def transformers_state(*, dinov2, edge=16, positions=197, gated=False):
    d = 48
    shapes = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.position_embeddings": (1, positions, d),
        "embeddings.patch_embeddings.projection.weight": (d, 3, edge, edge),
        "embeddings.patch_embeddings.projection.bias": (d,),
        "layernorm.weight": (d,),
        "layernorm.bias": (d,),
    }
    shapes |= (
        {"embeddings.mask_token": (1, d)}
        if dinov2
        else {"pooler.dense.weight": (d, d), "pooler.dense.bias": (d,)}
    )
    for layer in range(2):
        at = f"encoder.layer.{layer}."
        linears = {f"attention.attention.{part}": (d, d) for part in ("query", "key", "value")}
        linears |= {"attention.output.dense": (d, d)}
        linears |= (
            {"mlp.fc1": (4 * d, d), "mlp.fc2": (d, 4 * d)}
            if dinov2
            else {"intermediate.dense": (4 * d, d), "output.dense": (d, 4 * d)}
        )
        if gated:
            del linears["mlp.fc1"], linears["mlp.fc2"]
            linears |= {"mlp.weights_in": (2 * 128, d), "mlp.weights_out": (d, 128)}
        for name, shape in linears.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
        for name in ("norm1", "norm2") if dinov2 else ("layernorm_before", "layernorm_after"):
            shapes |= {f"{at}{name}.weight": (d,), f"{at}{name}.bias": (d,)}
        if dinov2:
            shapes |= {f"{at}layer_scale{number}.lambda1": (d,) for number in (1, 2)}
    generator = torch.Generator().manual_seed(1)
    return {
        key: 0.15 * torch.randn(shape, generator=generator)
        + (0.7 if "norm" in key and "weight" in key else 0.0)
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize("name", ["phikon", "phikon-v2"])
def test_phikon_in_transformers_form_embeds_as_that_does_by_hand(name, patches, tmp_path, monkeypatch):
    spec = ENCODERS[name]
    tiny = {**spec.arguments, "depth": 2, "embed_dim": 48, "num_heads": 3}
    monkeypatch.setitem(ENCODERS, name, replace(spec, dimension=48, arguments=tiny))
    state = transformers_state(dinov2=name == "phikon-v2")
    path = tmp_path / "model.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = ((torch.from_numpy(patches).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    expected = transformers_by_hand(state, batch, heads=3, dinov2=name == "phikon-v2")[:, 0].numpy()
    assert np.abs(expected).max() > 0.5
    assert np.abs(load_encoder(name, weights=path).encode(patches) - expected).max() < 2e-4
    del state["encoder.layer.1.attention.attention.key.bias"]
    save_file(state, path)
    with pytest.raises(
        EncoderError, match=r"1 key missing: blocks\.1\.attn\.qkv\.bias; 2 keys unknown: .*attn\.q\.bias"
    ):
        load_encoder(name, weights=path)


@pytest.fixture
def tiny_midnight(monkeypatch):
    spec = ENCODERS["midnight-12k"]
    tiny = {**spec.arguments, "depth": 2, "embed_dim": 48, "num_heads": 3}
    monkeypatch.setitem(ENCODERS, "midnight-12k", replace(spec, dimension=96, arguments=tiny))


def test_midnight_in_transformers_form_embeds_as_that_does_by_hand(tiny_midnight, patches, tmp_path):
    state = transformers_state(dinov2=True, edge=14, positions=257, gated=True)
    path = tmp_path / "model.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    tokens = transformers_by_hand(
        state, torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 127.5 - 1, heads=3, dinov2=True
    )
    expected = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=-1).numpy()
    found = load_encoder("midnight-12k", weights=path).encode(patches)
    assert np.abs(expected).max() > 0.5
    assert np.abs(found - expected).max() < 2e-4


def test_the_grid_of_positions_is_that_of_the_file(tiny_midnight, patches, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(transformers_state(dinov2=True, edge=14, positions=26, gated=True), path)
    encoder = load_encoder("midnight-12k", weights=path)
    assert encoder.network.pos_embed.shape == (1, 26, 48)
    assert np.isfinite(encoder.encode(patches)).all()
    save_file(transformers_state(dinov2=True, edge=14, positions=28, gated=True), path)
    with pytest.raises(EncoderError, match="its positions are not those of a square"):
        load_encoder("midnight-12k", weights=path)
