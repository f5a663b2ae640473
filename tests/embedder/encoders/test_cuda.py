"""On a GPU of Nvidia: the same embeddings as on the processor, and what the GPU alone does."""

import numpy as np
import pytest
import torch

from embedder.encoders.build import build
from embedder.encoders.forward import LEAST_COSINE
from embedder.encoders.load import load_encoder
from embedder.encoders.network import choose_device
from embedder.encoders.precision import WORTH
from embedder.encoders.table import ENCODERS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU of Nvidia")

# A convolutional network, whose weights are installed, and a transformer.
NAMES = ("efficientnet-lite0", "kaiko-vits16")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Made-up weights of the transformer, in the form that its authors publish."""
    torch.manual_seed(0)
    made = build(ENCODERS["kaiko-vits16"]).to_empty(device="cpu")
    with torch.no_grad():
        for name, value in made.state_dict().items():
            value.fill_(1.0) if "norm" in name and name.endswith("weight") else value.normal_(0, 0.02)
    path = tmp_path_factory.mktemp("weights") / "kaiko.pth"
    torch.save(made.state_dict(), path)
    return path


@pytest.fixture
def load(weights):
    def load(name, **options):
        return load_encoder(name, weights=weights if name == "kaiko-vits16" else None, **options)

    return load


@pytest.fixture(scope="module")
def patches():
    # Smooth, as tissue is: noise would leave nothing of an embedding but its mean.
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (40, 3, 16, 16)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=256, mode="bicubic").clamp(0, 255)
    return np.ascontiguousarray(smooth.permute(0, 2, 3, 1).numpy().astype(np.uint8))


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_a_gpu_that_is_there_is_chosen():
    assert choose_device("auto") == "cuda"


@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_says_what_the_processor_says(name, load, patches):
    here, there = load(name, device="cpu"), load(name, device="cuda")
    assert cosines(here.encode(patches[:6]), there.encode(patches[:6])).min() > 0.99999
    low = load(name, device="cuda", precision="bfloat16")
    assert cosines(there.encode(patches), low.encode(patches)).min() > 0.99


@pytest.mark.parametrize("name", NAMES)
def test_cells_smaller_than_a_patch_agree_too(name, load, patches):
    found = []
    for device in ("cpu", "cuda"):
        encoder = load(name, device=device)
        cells = encoder.plan_cells(256, 128)
        if cells is None:
            pytest.skip(f"{name} tells no cells")
        found.append(encoder.fetch(encoder.start(patches[:4], cells=cells)).fine)
    assert found[0].dtype == found[1].dtype == np.float16
    width = found[0].shape[-1]
    assert cosines(*(each.reshape(-1, width) for each in found)).min() > 0.999


def test_the_same_patches_give_the_same_bits(load, patches):
    encoder = load("efficientnet-lite0", device="cuda")
    assert np.array_equal(encoder.encode(patches), encoder.encode(patches))


def test_the_precision_is_measured_on_the_gpu(load, patches):
    encoder = load("kaiko-vits16", device="cuda", precision="auto")
    choice = encoder.choose_precision(patches)
    assert choice.speed_ratio is not None
    assert choice.cosine is not None
    worth = choice.speed_ratio >= WORTH and choice.cosine >= LEAST_COSINE
    assert choice.precision == ("bfloat16" if worth else "float32")


def test_more_patches_than_its_memory_holds_are_run_in_parts(load, patches, caplog):
    encoder = load("kaiko-vits16", device="cuda")
    whole = encoder.encode(patches)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    # What is held already, and room for a few patches; not for forty.
    room = torch.cuda.memory_reserved() + 60 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        with caplog.at_level("INFO"):
            parts = encoder.encode(patches)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "too little memory" in caplog.text
    assert cosines(whole, parts).min() > 0.99999
