"""How patches go through an encoder."""

from types import SimpleNamespace

import pytest

from embedder.embedding.encoding import choose_batch_size
from embedder.embedding.options import EmbedOptions


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
