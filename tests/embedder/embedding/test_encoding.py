"""How patches go through an encoder."""

import re
from types import SimpleNamespace

import pytest

from embedder.embedding.encoding import choose_batch_size, describe_place
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.isolation.child import Limits


@pytest.mark.parametrize(
    ("device", "size"), [("cpu", 32), ("cuda", 128), ("cuda:1", 128), ("mps", 32), ("cpu:0", 32)]
)
def test_a_gpu_gets_larger_batches_unless_a_size_is_asked_for(device, size):
    encoder = SimpleNamespace(device=device)
    assert choose_batch_size(encoder, EmbedOptions()) == size
    assert choose_batch_size(encoder, EmbedOptions(batch_size=7)) == 7


def test_of_larger_patches_a_gpu_gets_fewer():
    encoder = SimpleNamespace(device="cuda")
    sizes = [choose_batch_size(encoder, EmbedOptions(patch_size=size)) for size in (224, 256, 362, 512, 1024)]
    assert sizes == [128, 128, 64, 32, 32]


@pytest.mark.parametrize(
    ("device", "precision", "told"),
    [
        ("cpu", "float32", "the processor (3 threads), float32"),
        ("cpu", "auto", "the processor (3 threads), float32 or bfloat16, as a short measurement finds"),
        ("cuda", "bfloat16", "cuda:1 (Card 1), bfloat16"),
        ("cuda:0", "float32", "cuda:0 (Card 0), float32"),
        ("mps", "float32", "mps, float32"),
    ],
)
def test_where_an_encoder_runs_is_said_by_its_name(monkeypatch, device, precision, told):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    assert describe_place(SimpleNamespace(device=device, precision=precision)) == told


@pytest.mark.parametrize("limits", [None, Limits()], ids=["here", "in a child"])
def test_a_run_says_once_where_its_encoder_runs(tmp_path, caplog, limits):
    slides = [tmp_path / f"{name}.tif" for name in ("missing", "gone")]
    with caplog.at_level("INFO"):
        embed_slides(slides, tmp_path / "out", EmbedOptions(device="cpu", precision="float32"), limits=limits)
    said = [each for each in caplog.messages if each.startswith("encoder efficientnet-lite0 on ")]
    assert len(said) == 1
    assert caplog.messages[0] == said[0]
    assert re.search(r"on the processor \(\d+ threads?\), float32$", said[0])
