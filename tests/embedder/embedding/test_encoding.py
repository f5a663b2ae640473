"""How patches go through an encoder."""

from types import SimpleNamespace

import pytest

from embedder.embedding.encoding import choose_batch_size
from embedder.embedding.options import EmbedOptions


@pytest.mark.parametrize(("device", "size"), [("cpu", 32), ("cuda", 128), ("cuda:1", 128), ("mps", 128)])
def test_a_gpu_gets_larger_batches_unless_a_size_is_asked_for(device, size):
    encoder = SimpleNamespace(device=device)
    assert choose_batch_size(encoder, EmbedOptions()) == size
    assert choose_batch_size(encoder, EmbedOptions(batch_size=7)) == 7
