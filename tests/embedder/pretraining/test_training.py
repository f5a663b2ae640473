"""Training on small slides: what it does in a step, that a stop changes nothing, and what it writes."""

import copy
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from making.tissue import write_tissue
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import embedder.pretraining.store
import embedder.pretraining.training
from embedder.encoders.load import load_encoder
from embedder.pretraining.augment import AugmentOptions
from embedder.pretraining.options import PretrainError, PretrainOptions
from embedder.pretraining.pipeline import pretrain
from embedder.pretraining.training import Training, learning_rate, start_encoder
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.pixels.source import SlideError

# Two epochs of two steps.
SMALL = PretrainOptions(
    encoder="resnet18",
    start="random",
    patches=16,
    epochs=2,
    batch_size=8,
    patch_size=32,
    probe_patches=20,
    device="cpu",
)
WRITTEN = ["encoder.safetensors", "history.json", "loss.png", "probe.png", "training.ckpt"]


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient_smith")
    return [write_tissue(folder / f"smith_{seed}.tif", side=256, seed=seed) for seed in range(2)]


@pytest.fixture(scope="module")
def trained(slides, tmp_path_factory):
    """The small training, without a stop; not to be written to."""
    folder = tmp_path_factory.mktemp("straight")
    return pretrain(slides, folder, SMALL)


@pytest.fixture
def default_interrupts():
    """Ctrl-C as Python has it, whatever started the tests."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def nt_xent(first, second, temperature):
    """Chen et al. 2020, equation 1, one pair after the other."""
    z = np.concatenate([first, second]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n = len(first)
    losses = []
    for i in range(2 * n):
        similar = np.exp(z @ z[i] / temperature)
        losses.append(-np.log(similar[(i + n) % (2 * n)] / (similar.sum() - similar[i])))
    return np.mean(losses)


def make_training(**changes):
    options = replace(SMALL, **changes)
    random = np.random.default_rng(0)
    patches = random.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    encoder = start_encoder(options)
    return Training(encoder, patches, options, "{}"), encoder


# A step.


def test_the_loss_is_nt_xent_of_two_views_of_the_same_patches(monkeypatch):
    training, encoder = make_training(temperature=0.3)
    given, views = [], []
    real = embedder.pretraining.training.view

    def seen(patches, **arguments):
        given.append(patches.clone())
        views.append(real(patches, **arguments))
        return views[-1]

    monkeypatch.setattr(embedder.pretraining.training, "view", seen)
    network, head = copy.deepcopy(training.network), copy.deepcopy(training._head)
    loss = training._do_step()
    assert torch.equal(given[0], given[1])
    assert not torch.equal(views[0], views[1])
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (encoder.spec.mean, encoder.spec.std))
    with torch.no_grad():
        projected = head(network((torch.cat(views) * 255 - mean) / std)).numpy()
    assert projected.shape == (16, 128)
    assert loss == pytest.approx(nt_xent(projected[:8], projected[8:], 0.3), abs=1e-4)


def test_an_epoch_sees_every_patch_once_and_the_next_in_another_order():
    training, _ = make_training()
    orders = []
    for epoch in range(2):
        rows = []
        for step in range(2):
            training.step = 2 * epoch + step
            rows.append(training._rows().tolist())
        assert sorted(rows[0] + rows[1]) == list(range(16))
        orders.append(rows)
    assert orders[0] != orders[1]


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 0.5) for step in range(100)]
    assert np.allclose(np.diff(rates[:10]), 0.05)
    assert rates[9] == rates[10] == max(rates) == 0.5
    assert all(np.diff(rates[10:]) < 0)
    assert rates[55] == pytest.approx(0.25)
    assert 0 < rates[-1] < 0.001
    assert learning_rate(0, 1, 0.5) == 0.5


def test_in_bfloat16_the_weights_stay_what_they_are():
    training, _ = make_training(precision="bfloat16")
    low = training._do_step()
    exact = make_training()[0]._do_step()
    assert low != exact
    assert low == pytest.approx(exact, abs=0.1)
    assert {each.dtype for each in training.network.parameters()} == {torch.float32}


# The whole.


@pytest.mark.parametrize("stopped", [2, 3])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    trained, slides, tmp_path, monkeypatch, default_interrupts, stopped
):
    real, steps = embedder.pretraining.training.view, []

    def interrupting(*arguments, **others):
        steps.append(None)
        if len(steps) == 2 * stopped:  # two views a step
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **others)

    monkeypatch.setattr(embedder.pretraining.training, "view", interrupting)
    with pytest.raises(KeyboardInterrupt):
        pretrain(slides, tmp_path, SMALL)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    saved = torch.load(tmp_path / "training.ckpt", weights_only=True)
    assert saved["step"] == stopped
    assert (tmp_path / ".patches").exists()
    assert not (tmp_path / "encoder.safetensors").exists()
    # Nothing of the process is left to the run that goes on.
    torch.manual_seed(123)
    result = pretrain(slides, tmp_path, SMALL)
    assert len(steps) == 2 * 4
    assert result.loss == trained.loss
    assert same(load_file(result.encoder), load_file(trained.encoder))
    assert result.probes == trained.probes


def test_the_folder_holds_what_is_promised_and_no_patch(trained):
    assert sorted(each.name for each in trained.encoder.parent.iterdir()) == WRITTEN
    for name in ("loss.png", "probe.png"):
        with Image.open(trained.encoder.parent / name) as image:
            assert min(image.size) > 300
    history = json.loads((trained.encoder.parent / "history.json").read_text())
    assert history["loss"] == list(trained.loss)
    assert (history["steps"], history["n_patches"], history["n_slides"]) == (4, 16, 2)


def test_nothing_that_is_written_names_a_slide(trained):
    for name in ("encoder.safetensors", "training.ckpt", "history.json"):
        assert b"smith" not in (trained.encoder.parent / name).read_bytes()


def test_the_file_is_the_trained_backbone_and_says_how_it_was_made(trained):
    with safe_open(trained.encoder, framework="pt") as file:
        facts = file.metadata()
    assert facts["format"] == "tissuumaps-sic-simclr"
    assert facts["architecture"] == "resnet18"
    assert np.allclose(json.loads(facts["mean"]), [123.675, 116.28, 103.53])
    assert np.allclose(json.loads(facts["std"]), [58.395, 57.12, 57.375])
    assert (float(facts["mpp"]), facts["patch_size"], facts["steps"]) == (0.5, "32", "4")
    assert "start_sha256" not in facts
    state = load_file(trained.encoder)
    checkpoint = torch.load(trained.encoder.parent / "training.ckpt", weights_only=True)
    assert same(state, checkpoint["network"])
    network = torchvision.models.resnet18(weights=None)
    network.fc = torch.nn.Identity()
    assert state.keys() == network.state_dict().keys()
    network.load_state_dict(state)
    patches = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    batch = torch.from_numpy(patches).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(json.loads(facts[key])).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = network.eval()((batch - mean) / std).numpy()
    encoder = load_encoder(str(trained.encoder))
    assert (encoder.name, encoder.spec.patch_size, encoder.spec.mpp) == ("simclr", 32, 0.5)
    assert np.allclose(encoder.encode(patches), expected, atol=1e-4)
    start = start_encoder(SMALL).network.state_dict()
    moved = [key for key in state if state[key].ndim > 1 and not torch.equal(state[key], start[key])]
    assert len(moved) == 20  # every convolution


def test_the_shipped_encoder_is_trained_on(slides, tmp_path):
    options = PretrainOptions(
        patches=4, epochs=1, batch_size=4, patch_size=64, probe_patches=0, device="cpu", learning_rate=1e-5
    )
    result = pretrain(slides, tmp_path, options)
    assert result.probes == {}
    start, end = load_encoder(), load_encoder(str(result.encoder))
    with safe_open(result.encoder, framework="pt") as file:
        facts = file.metadata()
    assert facts["start_sha256"] == start.weights_sha256
    assert (facts["architecture"], facts["mean"]) == ("tf_efficientnet_lite0", "[127.0, 127.0, 127.0]")
    state = load_file(result.encoder)
    assert state.keys() == start.network.state_dict().keys()
    # One step of a hundred thousandth: the shipped weights, hardly moved, and not random ones.
    far = max(
        (state[name] - each.detach()).abs().max().item() for name, each in start.network.named_parameters()
    )
    assert 0 < far < 1e-4
    assert end.dimension == 1280
    # And what came of it is a start.
    again = start_encoder(PretrainOptions(encoder=str(result.encoder)))
    assert again.weights_sha256 == end.weights_sha256


def test_the_loss_falls(slides, tmp_path):
    # Views that hardly differ: what is asked is whether a step goes down, not how much can be learnt.
    options = replace(
        SMALL,
        patches=16,
        epochs=10,
        batch_size=16,
        learning_rate=1e-3,
        augment=AugmentOptions(stain=0.02, crop=0.9, brightness=0.02),
        probe_patches=0,
    )
    loss = np.array(pretrain(slides, tmp_path, options).loss)
    assert len(loss) == 10
    # By chance it is about log(31) = 3.4.
    assert loss[-3:].mean() < loss[:3].mean() - 0.5


def test_a_slide_that_fails_is_left_out(trained, slides, tmp_path):
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    result = pretrain([*slides, broken], tmp_path / "out", SMALL)
    assert [path for path, _ in result.failures] == [str(broken)]
    assert result.n_slides == 2
    assert same(load_file(result.encoder), load_file(trained.encoder))


def test_what_is_done_is_not_done_again(trained, slides, monkeypatch):
    monkeypatch.setattr(Training, "run", None)
    assert pretrain(slides, trained.encoder.parent, SMALL) == trained


def test_another_training_is_neither_continued_nor_lost(trained, slides, tmp_path, monkeypatch):
    folder = trained.encoder.parent
    before = (folder / "training.ckpt").read_bytes()
    other = replace(SMALL, learning_rate=1e-3, seed=1)
    with pytest.raises(PretrainError, match=r"another training \(different: .*learning_rate.*seed.*\)"):
        pretrain(slides, folder, other)
    assert (folder / "training.ckpt").read_bytes() == before
    (tmp_path / "training.ckpt").write_bytes(b"nothing")
    with pytest.raises(PretrainError, match="--overwrite"):
        pretrain(slides, tmp_path, SMALL)
    result = pretrain(slides, tmp_path, replace(SMALL, overwrite=True))
    assert same(load_file(result.encoder), load_file(trained.encoder))


def test_a_loss_that_is_no_number_ends_the_training(slides, tmp_path, monkeypatch):
    real, steps = embedder.pretraining.training.view, []

    def spoilt(*arguments, **others):
        steps.append(None)
        return real(*arguments, **others) * (float("nan") if len(steps) > 6 else 1)

    monkeypatch.setattr(embedder.pretraining.training, "view", spoilt)
    with pytest.raises(
        PretrainError, match=r"loss is nan at step 4 of 4; choose a --learning-rate below 0\.0003"
    ):
        pretrain(slides, tmp_path, SMALL)
    # The last good epoch is there, and nothing that could be taken for a result.
    assert torch.load(tmp_path / "training.ckpt", weights_only=True)["step"] == 2
    assert not (tmp_path / "encoder.safetensors").exists()


def test_with_a_truth_labels_are_probed(slides, tmp_path):
    truth = tmp_path / "truth"
    truth.mkdir()
    mask = np.full((64, 64), 1, np.uint8)
    mask[:, 32:] = 2
    for slide in slides:
        Image.fromarray(mask).save(truth / f"{slide.stem}_mask.png")
    options = replace(SMALL, truth=truth, probe_patches=80)
    probes = pretrain(slides, tmp_path / "out", options).probes
    assert list(probes) == ["neighbours, balanced accuracy", "linear, balanced accuracy"]
    assert {probe.chance for probe in probes.values()} == {0.5}
    # Many nuclei against few: a line through a random network's features sees that.
    linear = probes["linear, balanced accuracy"]
    assert min(linear.start, linear.trained) > 0.75


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"start": "zero"}, "no start 'zero'; choose one of weights, random"),
        ({"precision": "half"}, "no precision 'half'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weights": "some.pth"}, "some.pth: a random start takes no weights"),
        ({"encoder": "some.pth"}, "give resnet18"),
        ({"encoder": "kaiko-vits16"}, "kaiko-vits16 cannot be trained here"),
        ({"batch_size": 5000, "patches": 5000}, "fewer than a batch of 5000"),
        ({"patch_size": 1000}, "no slide to train on: .*smith_0"),
    ],
)
def test_what_cannot_be_is_told(slides, tmp_path, changes, told):
    with pytest.raises(PretrainError, match=told):
        pretrain(slides, tmp_path, replace(SMALL, **changes))


def test_no_slide_no_truth_and_a_busy_folder_are_told(slides, tmp_path):
    with pytest.raises(PretrainError, match="no slide to train on: none was given"):
        pretrain([], tmp_path, SMALL)
    with pytest.raises(PretrainError, match=r"no truth for any slide; it would be smith_0_mask\.png"):
        pretrain(slides, tmp_path, replace(SMALL, truth=tmp_path))
    with (
        leases.hold_lock(tmp_path / ".pretrain.lock"),
        pytest.raises(PretrainError, match="process"),
    ):
        pretrain(slides, tmp_path, SMALL)


def test_a_training_whose_slides_cannot_be_read_writes_no_encoder(slides, tmp_path, monkeypatch):
    real = embedder.pretraining.store.iter_patches

    def failing(slide, grid, *, batch_size):
        if slide.path.stem == "smith_1":
            raise SlideError("smith_1.tif: a tile is damaged")
        yield from real(slide, grid, batch_size=batch_size)

    monkeypatch.setattr(embedder.pretraining.store, "iter_patches", failing)
    with pytest.raises(PretrainError, match="have 8 patches of tissue, fewer than a batch of 16"):
        pretrain(slides, tmp_path, replace(SMALL, batch_size=16))
    assert not (tmp_path / "encoder.safetensors").exists()
