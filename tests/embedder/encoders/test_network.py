"""How a network is run: as fast as can be, and saying the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from embedder.encoders import network
from embedder.encoders import precision as precisions
from embedder.encoders.forward import find_least_cosine
from embedder.encoders.network import Encoder
from embedder.encoders.precision import Choice
from embedder.encoders.spec import EncoderError
from embedder.encoders.table import ENCODERS


def make_network(*, norm=True, dimension=12, seed=0):
    torch.manual_seed(seed)
    middle = torch.nn.BatchNorm2d(8) if norm else torch.nn.GroupNorm(2, 8)
    layers = [torch.nn.Conv2d(3, 8, 5, stride=2), middle, torch.nn.ReLU(), torch.nn.Conv2d(8, dimension, 3)]
    made = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    if norm:  # as after training: else folding it away could go wrong unseen
        torch.nn.init.uniform_(middle.weight, 0.5, 2)
        torch.nn.init.uniform_(middle.bias, -1, 1)
        middle.running_mean.uniform_(-1, 1)
        middle.running_var.uniform_(0.5, 2)
    return made


def make_encoder(precision="auto", *, spec=None, **options):
    spec = spec or replace(ENCODERS["resnet18"], dimension=12, input_size=None, pool=None)
    made = make_network(**options)
    return Encoder(spec, made, name="small", weights_sha256="0", device="cpu", precision=precision)


@pytest.fixture
def patches():
    return np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), dtype=np.uint8)


def by_hand(encoder, patches):
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (encoder.spec.mean, encoder.spec.std))
    x = torch.from_numpy(patches).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        return encoder.network((x - mean) / std).numpy()


@pytest.mark.parametrize("norm", [True, False])
def test_what_runs_says_what_the_network_says(patches, norm):
    encoder = make_encoder("float32", norm=norm)
    found = encoder.encode(patches)
    assert found.dtype == np.float32
    assert np.abs(found - by_hand(encoder, patches)).max() < 1e-4
    (forward,) = encoder._forwards.values()
    assert isinstance(forward, torch.jit.ScriptModule) == norm  # folded where there is something to fold


def test_any_number_and_any_size_of_patches_does(patches):
    encoder = make_encoder("float32")
    for some in (patches, patches[:1], patches[:, :30, :24], patches[:13]):
        some = np.ascontiguousarray(some)
        assert np.abs(encoder.encode(some) - by_hand(encoder, some)).max() < 1e-4


@pytest.mark.parametrize("norm", [True, False])
def test_bfloat16_is_near_float32(patches, norm):
    low, high = make_encoder("bfloat16", norm=norm), make_encoder("float32", norm=norm)
    found = low.encode(patches)
    assert found.dtype == np.float32
    assert not np.array_equal(found, high.encode(patches))
    assert find_least_cosine(found, high.encode(patches)) > 0.999


@pytest.mark.parametrize(
    ("times", "cosine", "chosen"),
    [
        ({"float32": 1.0, "bfloat16": 0.5}, 0.9999, "bfloat16"),
        ({"float32": 1.0, "bfloat16": 0.5}, 0.99, "float32"),  # it says something else
        ({"float32": 1.0, "bfloat16": 0.9}, 0.9999, "float32"),  # it is not worth it
        ({"float32": 1.0, "bfloat16": 3.0}, 0.9999, "float32"),
        ({"float32": 1.0, "bfloat16": 5.0}, 0.9999, "float32"),  # at a first look
    ],
)
def test_the_precision_is_chosen_by_speed_and_by_what_it_says(
    patches, monkeypatch, caplog, times, cosine, chosen
):
    encoder = make_encoder("auto")
    assert encoder.precision == "auto"
    wrap, forward = network.wrap, encoder._forward
    forwards = []

    def remember(made, precision):
        forwards.append((made, precision))
        return made

    # At a first look the network is taken as it is wrapped; then as it is frozen.
    monkeypatch.setattr(network, "wrap", lambda *args: remember(wrap(*args), args[2]))
    monkeypatch.setattr(encoder, "_forward", lambda *args: remember(forward(*args), args[0]))

    def seconds(forward, batch):
        return next(times[precision] for made, precision in forwards if made is forward)

    monkeypatch.setattr(precisions, "_time", seconds)
    monkeypatch.setattr(precisions, "find_least_cosine", lambda a, b: cosine)
    with caplog.at_level("INFO"):
        choice = encoder.choose_precision(patches)
    assert (choice.precision, choice.asked) == (chosen, "auto")
    assert choice.speed_ratio == pytest.approx(1 / times["bfloat16"], abs=0.01)
    assert f"precision: {chosen}: bfloat16 is" in caplog.text
    assert encoder.choose_precision(patches) is choice  # once


def test_where_bfloat16_is_hopeless_no_network_is_frozen_in_it(patches, monkeypatch):
    encoder = make_encoder("auto")
    seconds = iter([1.0, 1.0, 10.0, 11.0])
    monkeypatch.setattr(precisions, "_time", lambda forward, batch: next(seconds))
    assert encoder.choose_precision(patches).speed_ratio == 0.1
    encoder.encode(patches)
    assert {precision for precision, *_ in encoder._forwards} == {"float32"}


def test_a_device_without_bfloat16_computes_in_float32(patches, monkeypatch):
    encoder = make_encoder("auto")
    made = encoder._forward

    def refuses(precision, some, cells):
        if precision == "bfloat16":
            raise RuntimeError("not implemented for BFloat16")
        return made(precision, some, cells)

    monkeypatch.setattr(encoder, "_forward", refuses)
    assert encoder.choose_precision(patches) == Choice("float32", "auto")
    encoder.encode(patches)


def test_a_precision_that_is_passed_is_not_measured_and_binds_no_later_batch(patches, monkeypatch):
    encoder = make_encoder("auto")
    expected = make_encoder("bfloat16").encode(patches)
    with monkeypatch.context() as patched:
        patched.setattr(encoder, "_measure", lambda *_: pytest.fail("measured"))
        assert np.array_equal(encoder.fetch(encoder.start(patches, precision="bfloat16")).pooled, expected)
    monkeypatch.setattr(encoder, "_measure", lambda *_: Choice("float32", "auto"))
    assert np.array_equal(encoder.encode(patches), make_encoder("float32").encode(patches))


def test_a_frozen_network_that_says_something_else_is_not_used(patches, monkeypatch):
    encoder = make_encoder("float32")
    monkeypatch.setattr(torch.jit, "freeze", lambda traced: lambda some: traced(some.flip(0)))
    assert np.abs(encoder.encode(patches) - by_hand(encoder, patches)).max() < 1e-4


def test_patches_are_resized_to_the_input_of_the_network(patches):
    spec = replace(ENCODERS["resnet18"], dimension=12, input_size=24, pool=None)
    found = make_encoder("float32", spec=spec).encode(patches)
    from PIL import Image

    small = [
        np.asarray(Image.fromarray(each).resize((24, 24), Image.Resampling.BILINEAR)) for each in patches
    ]
    expected = by_hand(make_encoder("float32", spec=spec), np.stack(small))
    assert find_least_cosine(found, expected) > 0.9999


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
    ],
)
def test_what_is_no_patch_is_refused(wrong):
    with pytest.raises(ValueError, match="give uint8 of shape"):
        make_encoder("float32").encode(wrong)


def test_a_device_that_is_not_there_is_told():
    spec = replace(ENCODERS["resnet18"], dimension=12)
    with pytest.raises(EncoderError, match=r"device 'cuda:7' cannot be used .*; choose cpu"):
        Encoder(spec, make_network(), name="x", weights_sha256="0", device="cuda:7", precision="float32")


def test_cosines_of_zeros_and_of_equals():
    a = np.array([[0, 0], [1, 0]], np.float32)
    assert find_least_cosine(a, a) == 1
    assert find_least_cosine(a, a[::-1]) == 0
    assert find_least_cosine(a[1:], -a[1:]) == -1


def limit_memory(encoder, monkeypatch, most):
    """Let the encoder's device hold no more than so many patches at once; return what was asked of it."""
    whole, asked = encoder._forward("float32", np.zeros((1, 40, 40, 3), np.uint8), None), []

    def forward(batch):
        asked.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(batch)

    monkeypatch.setattr(encoder, "_forward", lambda *_: forward)
    return asked


def test_a_batch_that_memory_does_not_hold_is_run_in_parts(patches, monkeypatch, caplog):
    encoder = make_encoder("float32")
    whole = encoder.encode(patches)
    asked = limit_memory(encoder, monkeypatch, most=6)
    with caplog.at_level("INFO"):
        assert np.abs(encoder.encode(patches) - whole).max() < 1e-4
    assert asked == [20, 10, 5, 5, 5, 5]
    assert "too little memory for 10 patches at once: going on with 5" in caplog.text
    encoder.encode(patches[:7])  # it is not tried anew
    assert asked[6:] == [5, 2]


def test_the_trial_of_bfloat16_is_of_fewer_patches_where_memory_is_short(patches, monkeypatch):
    encoder = make_encoder("auto", norm=False)
    monkeypatch.setattr(precisions, "_HOPELESS", 0)
    compare, asked = encoder._forward, []

    def make(*key):
        forward = compare(*key)

        def limited(batch):
            asked.append(len(batch))
            if len(batch) > 2:
                raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")
            return forward(batch)

        return limited

    monkeypatch.setattr(encoder, "_forward", make)
    choice = encoder.choose_precision(patches)
    # It was measured, and not taken for a device without bfloat16.
    assert choice.speed_ratio is not None
    assert asked[:2] == [8, 4]
    assert set(asked[2:]) == {2}


def test_a_network_too_large_for_one_patch_says_what_to_do(patches, monkeypatch):
    encoder = make_encoder("float32")
    limit_memory(encoder, monkeypatch, most=0)
    with pytest.raises(EncoderError, match=r"not even with one patch.*bfloat16, or --device cpu"):
        encoder.encode(patches)
