"""Cells smaller than a patch: how many, where in the patch, and what of the network they are."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import pyvips
import torch
import torchvision

from embedder.encoders.build import build
from embedder.encoders.fine import CellPlan, make_projection, make_reader, plan_cells, weigh_places
from embedder.encoders.load import load_encoder
from embedder.encoders.network import Encoder
from embedder.encoders.spec import FineLayer
from embedder.encoders.table import ENCODERS

CNNS = [name for name, spec in ENCODERS.items() if not spec.fine.tokens]


@pytest.mark.parametrize(
    ("name", "patch_size", "stride", "side", "channels"),
    [
        ("efficientnet-lite0", 256, 128, 4, 40),
        ("efficientnet-lite0", 128, 64, 2, 40),
        ("efficientnet-lite0", 256, 256, 8, 40),
        ("efficientnet-lite0", 256, 179, 6, 40),
        ("efficientnet-lite0", 256, 3, 1, 40),
        ("resnet18", 256, 128, 4, 64),
        ("resnet18", 128, 64, 2, 64),
        ("resnet18", 256, 256, 8, 24),
        ("resnet50", 256, 128, 4, 64),
        ("kaiko-vits16", 224, 112, 4, 64),
        ("virchow", 224, 224, 7, 64),
        ("resnet18", 2048, 2048, 32, 1),
    ],
)
def test_cells_are_of_32_px_with_what_three_times_the_embedding_allows(
    name, patch_size, stride, side, channels
):
    spec = ENCODERS[name]
    plan = plan_cells(spec, patch_size, stride)
    assert (plan.side, plan.channels) == (side, channels)
    assert plan.width <= 3 * spec.dimension
    assert plan.cell * plan.side == pytest.approx(stride)
    assert (plan.projection is None) == (channels == spec.fine.channels)


def test_an_encoder_without_such_a_layer_has_no_cells():
    assert plan_cells(replace(ENCODERS["resnet18"], fine=None), 256, 128) is None


def test_every_encoder_of_the_table_has_a_layer():
    assert all(spec.fine is not None for spec in ENCODERS.values())


def averaging(name):
    """A convolutional network of the table that only averages, so that it is linear in what it is given."""
    network = build(ENCODERS[name]).eval().to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.fill_(1 / module.weight[0].numel())
            elif isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                _do_nothing(module)
    return network


def _do_nothing(norm):
    norm.weight.fill_(1)
    norm.bias.zero_()
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)


class CaughtError(Exception):
    """Ends a network's work where its layer has answered: what follows takes most of the time."""


def layer_output(network, layer, images):
    def catch(_, __, output):
        raise CaughtError(output)

    handle = network.get_submodule(layer.module).register_forward_hook(catch)
    with torch.inference_mode(), pytest.raises(CaughtError) as caught:
        network(images)
    handle.remove()
    return caught.value.args[0]


@pytest.mark.parametrize("size", [128, 124, 122, 101])
@pytest.mark.parametrize("name", CNNS)
def test_the_places_of_a_layer_lie_where_they_are_said_to(name, size):
    """A ramp through a network that averages gives the place of each receptive field's centre."""
    layer, network = replace(ENCODERS[name].fine, lean=0), averaging(name)
    ramp = (torch.arange(size) + 0.5) / 1000
    pixels = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)])
    # Down the ramp as well: a maximum of neighbours leads the mean by as much one way as the other.
    up, down, even = (
        layer_output(network, layer, each[:, None].expand(-1, 3, -1, -1))[:, 0] * 1000
        for each in (pixels, size / 1000 - pixels, torch.full_like(pixels, 1 / 1000))
    )
    assert up.shape[1:] == (layer.count_places(size),) * 2
    found = ((up - down) / even + size) / 2
    expected = layer.stride * (torch.arange(up.shape[-1]) + 0.5) + layer.shift(size)
    inner = slice(4, -4)
    across, down = found[0][inner, inner], found[1][inner, inner]
    assert across.numel() > 0
    assert (across - expected[inner]).abs().max() < 0.05
    assert (down - expected[inner, None]).abs().max() < 0.05


def test_the_shifts_that_were_reckoned_by_hand():
    assert replace(ENCODERS["efficientnet-lite0"].fine, lean=0).shift(256) == 3.5
    assert ENCODERS["efficientnet-lite0"].fine.shift(256) == pytest.approx(0.3)
    assert ENCODERS["resnet18"].fine.shift(256) == -3.5
    assert ENCODERS["resnet50"].fine.shift(101) == -3.5
    assert ENCODERS["uni"].fine.shift(224) == 0


@pytest.mark.parametrize("name", ["efficientnet-lite0", "resnet18", "uni", "prov-gigapath", "uni2-h"])
@pytest.mark.parametrize(("patch_size", "stride"), [(256, 128), (256, 64), (224, 157), (128, 64), (300, 150)])
def test_the_weights_of_a_cell_are_centred_on_it(name, patch_size, stride):
    spec = ENCODERS[name]
    plan = plan_cells(spec, patch_size, stride)
    weights = weigh_places(spec, plan)
    assert weights.dtype == np.float32
    assert weights.sum(axis=1) == pytest.approx(1)
    size = patch_size if spec.input_size is None else spec.input_size
    places = spec.fine.stride * (np.arange(weights.shape[1]) + 0.5) + spec.fine.shift(size)
    zoom = 1 if spec.input_size is None else (spec.resized or spec.input_size) / patch_size
    cut = 16 if name == "prov-gigapath" else 0
    found = (weights @ places + cut) / zoom  # in pixels of the patch
    cells = patch_size / 2 + (np.arange(plan.side) - (plan.side - 1) / 2) * stride / plan.side
    # A triangle over whole places is off its middle by little, and not to one side.
    assert np.abs(found - cells).max() < 1.6
    assert abs((found - cells).mean()) < 0.5


def test_a_cell_beyond_the_cut_is_as_the_outermost_place():
    spec = ENCODERS["prov-gigapath"]  # the central 224 of 256 px
    plan = plan_cells(spec, 256, 256)
    weights = weigh_places(spec, plan)
    assert weights[0, 0] == weights[-1, -1] == weights.max()


def test_the_projection_is_the_same_for_ever():
    signs = make_projection(128, 24)
    assert signs.shape == (128, 24)
    assert set(np.unique(signs * np.sqrt(np.float32(24))).round(6)) == {-1, 1}
    told = hashlib.sha256(np.packbits(signs > 0).tobytes()).hexdigest()
    assert told == "4052e05b206aa4ebd5929b0916f0c48e2bdd06a497ea0733e14698929d583922"
    assert not np.array_equal(make_projection(128, 12), signs[:, :12])
    # Lengths and distances are kept about as well as by chance projections.
    vectors = np.random.default_rng(0).normal(size=(200, 128)).astype(np.float32)
    ratios = np.linalg.norm(vectors @ signs, axis=1) / np.linalg.norm(vectors, axis=1)
    assert abs(ratios.mean() - 1) < 0.05
    assert ratios.std() < 0.25


@pytest.fixture(scope="module")
def patches():
    return np.random.default_rng(0).integers(0, 256, (6, 96, 96, 3), dtype=np.uint8)


def by_hand(layer_map, spec, plan):
    weights = torch.tensor(weigh_places(spec, plan))
    cells = torch.einsum("ri,ncij,sj->nrsc", weights, layer_map, weights)
    if plan.projection is not None:
        cells = cells @ torch.tensor(make_projection(plan.layer.channels, plan.channels))
    return cells.flatten(1).numpy()


@pytest.mark.parametrize("name", ["efficientnet-lite0", "resnet18"])
def test_the_frozen_network_tells_cells_as_the_layer_does(name, patches):
    encoder = load_encoder(name) if name == "efficientnet-lite0" else random_resnet18()
    plan = encoder.plan_cells(96, 48)
    found = encoder.fetch(encoder.start(patches, cells=plan))
    (forward,) = encoder._forwards.values()
    assert isinstance(forward, torch.jit.ScriptModule)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (encoder.spec.mean, encoder.spec.std))
    x = (torch.from_numpy(patches).permute(0, 3, 1, 2).float() - mean) / std
    expected = by_hand(layer_output(encoder.network, plan.layer, x), encoder.spec, plan)
    assert found.fine.dtype == np.float16
    assert np.abs(found.fine - expected).max() < 2e-3 * np.abs(expected).max()
    assert np.array_equal(found.pooled, encoder.encode(patches))
    assert np.array_equal(encoder.fetch(encoder.start(patches[:2], cells=plan)).fine, found.fine[:2])


def random_resnet18(**changes):
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    network.fc = torch.nn.Identity()
    spec = replace(ENCODERS["resnet18"], **changes)
    return Encoder(spec, network, name="r", weights_sha256="", device="cpu", precision="float32")


def test_a_frozen_network_whose_cells_are_others_is_not_used(patches, monkeypatch):
    encoder = random_resnet18()
    plan = encoder.plan_cells(96, 48)
    monkeypatch.setattr(
        torch.jit, "freeze", lambda traced: lambda some: (traced(some)[0], traced(some)[1].flip(0))
    )
    encoder.start(patches, cells=plan)
    (forward,) = encoder._forwards.values()
    assert isinstance(forward, torch.nn.Module)


def test_a_network_that_lacks_the_layer_has_no_cells():
    encoder = random_resnet18(fine=ENCODERS["conch"].fine)
    assert encoder.plan_cells(256, 128) is None


def test_tokens_are_read_by_their_rows_and_columns_without_those_of_no_place():
    layer = FineLayer("norm", 2, 14, padding="none", tokens=True)
    spec = replace(ENCODERS["uni2-h"], fine=layer)
    plan = CellPlan(layer, 224, 112, 4, 2)
    row, column = np.mgrid[0:16, 0:16]
    tokens = torch.full((3, 9 + 256, 2), torch.nan)
    tokens[:, 9:] = torch.tensor(np.stack([row, column], axis=-1).reshape(256, 2), dtype=torch.float32)
    cells = make_reader(spec, plan, "cpu")(tokens).numpy().reshape(3, 4, 4, 2)
    # Cells of 28 px are 2 tokens; the middle begins at token 4.
    expected = 4 + (np.arange(4) + 0.5) * 2 - 0.5
    assert np.abs(cells[..., 0] - expected[:, None]).max() < 0.01
    assert np.abs(cells[..., 1] - expected).max() < 0.01


def test_what_float16_cannot_hold_is_cut_to_its_range():
    layer = FineLayer("layer2", 1, 8)
    plan = CellPlan(layer, 64, 32, 2, 1)
    given = torch.full((1, 1, 8, 8), 1e9)
    cells = make_reader(replace(ENCODERS["resnet18"], fine=layer), plan, "cpu")(given)
    assert (cells == 65504).all()
    assert (make_reader(replace(ENCODERS["resnet18"], fine=layer), plan, "cpu")(-given) == -65504).all()


@pytest.mark.parametrize("size", [128, 121])
def test_the_trained_network_answers_a_dot_where_its_places_are_said_to_lie(size, shared_data):
    """What averages say is not all: trained weights make up for padding that is not even."""
    encoder = load_encoder("efficientnet-lite0")
    layer = encoder.spec.fine
    tissue = pyvips.Image.new_from_file(str(shared_data / "prostate" / "test10.jpg")).numpy()[..., :3]
    dots = np.array([(x, y) for x in range(56, 64) for y in range(56, 68, 3)])
    offsets = []
    for top, left in ((100, 300), (250, 600)):
        images = np.stack([tissue[top : top + size, left : left + size]] * (len(dots) + 1))
        for image, (x, y) in zip(images[1:], dots, strict=True):
            image[y - 1 : y + 1, x - 1 : x + 1] = 255 - image[y - 1 : y + 1, x - 1 : x + 1]
        x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
        answers = layer_output(encoder.network, layer, x)
        change = (answers[1:] - answers[:1]).abs().sum(dim=1).numpy()
        places = layer.stride * (np.arange(change.shape[-1]) + 0.5) + layer.shift(size)
        sums = change.sum(axis=(1, 2))
        across, down = (change.sum(axis=1) @ places / sums, change.sum(axis=2) @ places / sums)
        offsets.append(np.stack([across, down], axis=1) - dots)
    assert np.abs(np.concatenate(offsets).mean(axis=0)).max() < 1


def test_the_cell_that_changes_is_the_one_where_a_dot_is_drawn():
    """With the real network: the shift of its places is seen, and x and y are not exchanged."""
    encoder = load_encoder("efficientnet-lite0")
    plan = encoder.plan_cells(128, 64)
    rng = np.random.default_rng(0)
    plain = rng.integers(150, 220, (16, 16, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    # In the middle, which is 64 px about the centre, at every offset to the places and to the cells.
    dots = np.array([(x, y) for x in range(45, 84, 5) for y in range(47, 82, 5)])
    patches = np.stack([plain, *[plain] * len(dots)])
    for patch, (x, y) in zip(patches[1:], dots, strict=True):
        patch[y - 2 : y + 2, x - 2 : x + 2] = 0
    cells = encoder.fetch(encoder.start(patches, cells=plan)).fine.astype(float)
    cells = cells.reshape(-1, plan.side, plan.side, plan.channels)
    change = ((cells[1:] - cells[0]) ** 2).sum(axis=-1)
    row, column = np.unravel_index(change.reshape(len(dots), -1).argmax(axis=1), change.shape[1:])
    offsets = (np.stack([column, row], axis=1) + 0.5) * plan.cell + 32 - dots
    assert np.abs(offsets).max() <= plan.cell / 2 + 4
    assert (np.abs(offsets) <= plan.cell / 2).all(axis=1).mean() > 0.85
    assert np.abs(offsets.mean(axis=0)).max() < 2.5
