"""The cells of a slide's file: where they lie on the slide, and how much of each is tissue."""

import json

import h5py
import numpy as np
import pytest
import pyvips
import torch
from making.slides import write_scn

import embedder.embedding.encoding
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.encoders.network import Encoder
from embedder.encoders.spec import EncoderSpec, FineLayer
from tissuumaps_sic.slidefile.contract import check
from tissuumaps_sic.slidefile.fine import read_fine
from tissuumaps_sic.slidefile.provenance import read_provenance

PLAIN = {"umap": False, "min_tissue": 0, "device": "cpu", "precision": "float32"}


class Repeated(torch.nn.Module):
    """Mean colours, repeated until they are an embedding."""

    def forward(self, x):
        return x.mean(dim=(2, 3)).repeat(1, 200)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """A network whose layer is the mean colour of squares of 8 px."""
    spec = EncoderSpec(
        name="means",
        dimension=600,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        mpp=0.5,
        mpp_range=(0, 10),
        source="arithmetic",
        licence="none",
        architecture="means",
        fine=FineLayer("0", channels=3, stride=8, padding="none"),
    )
    network = torch.nn.Sequential(torch.nn.AvgPool2d(8), Repeated())
    made = Encoder(spec, network, name="means", weights_sha256="0", device="cpu", precision="float32")
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: made)
    return made


def draw_ramp(width, height):
    """Red tells x and green tells y, by 200 levels; noise before rounding keeps what lies between levels."""
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack(
        [20 + 200 * (x + 0.5) / width, 20 + 200 * (y + 0.5) / height, np.full_like(x, 90)], axis=-1
    )
    return np.floor(levels + np.random.default_rng(0).random(levels.shape)).astype(np.uint8)


def write_tiff(path, pixels, mpp_x, mpp_y):
    image = pyvips.Image.new_from_array(pixels).copy(
        interpretation="srgb", xres=1000 / mpp_x, yres=1000 / mpp_y
    )
    image.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, resunit="cm")
    return path


def embed(slide, folder, **options):
    (result,) = embed_slides([slide], folder, EmbedOptions(**PLAIN | options))
    assert result.status == "done", result.message
    assert check(result.h5ad) == []
    return folder / f"{slide.stem}.h5ad"


def read_places(h5ad):
    """Where each cell lies by the file, and where by its colours: (n, side, side), level-0 pixels."""
    fine, known = read_fine(h5ad), read_provenance(h5ad)
    with h5py.File(h5ad) as file:
        centres = file["obsm/spatial"][()]
    steps = np.arange(fine.side) + 0.5 - fine.side / 2
    x, y = np.broadcast_arrays(
        centres[:, None, None, 0] + steps * fine.cell0[0],
        centres[:, None, None, 1] + steps[:, None] * fine.cell0[1],
    )
    left, top, width, height = known.slide.bounds
    red, green = (np.asarray(fine.values)[..., channel].astype(float) for channel in (0, 1))
    return fine, (x, y), ((red - 20) / 200 * width + left, (green - 20) / 200 * height + top)


@pytest.mark.parametrize(
    ("mpp_x", "mpp_y", "overlap", "patch_size"),
    [
        *((0.5, 0.5, overlap, 128) for overlap in (0, 0.3, 0.5, 0.75)),
        *((0.25, 0.25, overlap, 128) for overlap in (0, 0.5)),
        (0.25, 0.5, 0.5, 128),
        (0.5, 0.3, 0.3, 104),
        (0.46, 0.46, 0.5, 128),
        (0.9, 0.9, 0.5, 64),
    ],
)
def test_every_cell_is_where_the_file_says_it_is(tmp_path, mpp_x, mpp_y, overlap, patch_size):
    width, height = round(350 / mpp_x), round(260 / mpp_y)
    slide = write_tiff(tmp_path / "ramp.tif", draw_ramp(width, height), mpp_x, mpp_y)
    h5ad = embed(slide, tmp_path / "out", overlap=overlap, patch_size=patch_size)
    fine, said, drawn = read_places(h5ad)
    assert fine.side == max(1, round(round(patch_size * (1 - overlap)) / 32))
    # One target pixel, in level-0 pixels.
    for by_file, by_color, mpp in zip(said, drawn, (mpp_x, mpp_y), strict=True):
        off = (by_color - by_file) * mpp / 0.5
        assert np.abs(off).max() < 1
        # Of that, resampling rounds halves of a level up, which is some 0.3 px of this ramp.
        assert abs(off.mean()) < 0.55


def test_cells_of_a_slide_with_bounds_lie_on_the_whole_slide(tmp_path):
    slide = write_scn(
        tmp_path / "bounds.scn", draw_ramp(640, 512), collection=(1600, 1200), place=(301, 203), mpp=0.5
    )
    _, said, drawn = read_places(embed(slide, tmp_path / "out", patch_size=128))
    assert min(said[0].min(), said[1].min()) > 203
    for by_file, by_color in zip(said, drawn, strict=True):
        assert np.abs(by_color - by_file).max() < 1


@pytest.mark.parametrize("overlap", [0, 0.3, 0.5, 0.75])
def test_cells_tile_the_slide_once(tmp_path, overlap):
    slide = write_tiff(tmp_path / "ramp.tif", draw_ramp(700, 520), 0.5, 0.5)
    fine, (x, y), _ = read_places(embed(slide, tmp_path / "out", patch_size=128, overlap=overlap))
    places = np.stack([(x - x.min()) / fine.cell0[0], (y - y.min()) / fine.cell0[1]], axis=-1).reshape(-1, 2)
    assert np.abs(places - np.rint(places)).max() < 1e-3
    columns, rows = np.rint(places).astype(int).max(axis=0) + 1
    assert len(places) == columns * rows == len(np.unique(np.rint(places), axis=0))
    # All but half of what a patch and its middle differ by, and what is less than a stride at the end.
    margin, stride = (128 - fine.cell0[0] * fine.side) / 2, fine.cell0[0] * fine.side
    assert x.min() - fine.cell0[0] / 2 == pytest.approx(margin)
    assert 700 - (x.max() + fine.cell0[0] / 2) < margin + stride


def test_a_step_is_in_the_cells_on_either_side_of_it(tmp_path):
    pixels = np.full((400, 600, 3), 200, np.uint8)
    pixels[:, 333:, 0] = 60
    pixels[217:, :, 1] = 60
    slide = write_tiff(tmp_path / "step.tif", pixels, 0.5, 0.5)
    fine, (x, y), _ = read_places(embed(slide, tmp_path / "out", patch_size=128))
    values = np.asarray(fine.values)
    for place, edge, channel in ((x, 333, 0), (y, 217, 1)):
        # A cell reaches its own edge, 32 px, on either side of its centre.
        assert (values[..., channel][place < edge - 32.5] == 200).all()
        assert (values[..., channel][place > edge + 32.5] == 60).all()
        near = np.abs(place - edge) < 16
        assert near.any()
        assert ((values[..., channel][near] > 60) & (values[..., channel][near] < 200)).all()


@pytest.mark.parametrize(("mpp_x", "mpp_y"), [(0.5, 0.5), (0.25, 0.5)])
def test_the_tissue_of_a_cell_is_what_of_it_was_drawn(tmp_path, mpp_x, mpp_y):
    width, height = round(350 / mpp_x), round(260 / mpp_y)
    slide = write_tiff(tmp_path / "ramp.tif", draw_ramp(width, height), mpp_x, mpp_y)
    left, top, right, bottom = 0.21 * width, 0.33 * height, 0.77 * width, 0.71 * height
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    drawing = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "tissue.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [drawing]}))
    h5ad = embed(slide, tmp_path / "out", patch_size=128, tissue=tmp_path / "tissue.geojson")
    fine, (x, y), _ = read_places(h5ad)
    wide, high = fine.cell0
    across = np.clip(np.minimum(x + wide / 2, right) - np.maximum(x - wide / 2, left), 0, None)
    down = np.clip(np.minimum(y + high / 2, bottom) - np.maximum(y - high / 2, top), 0, None)
    expected = 100 * across * down / (wide * high)
    assert fine.tissue.dtype == np.uint8
    assert np.abs(fine.tissue - expected).max() < 8  # outlines are drawn by whole pixels
    assert np.abs(fine.tissue - expected).mean() < 1
    assert fine.tissue.max() == 100
    assert fine.tissue.min() == 0


def test_cells_can_be_left_out_and_the_embeddings_stay(tmp_path):
    slide = write_tiff(tmp_path / "ramp.tif", draw_ramp(400, 300), 0.5, 0.5)
    both, plain = (
        embed(slide, tmp_path / name, patch_size=128, fine=fine) for name, fine in (("a", True), ("b", False))
    )
    assert read_fine(plain) is None
    with h5py.File(both) as a, h5py.File(plain) as b:
        assert np.array_equal(a["X"], b["X"])
        assert {"fine", "fine_tissue"} == set(a["obsm"]) - set(b["obsm"])
        assert a["obsm/fine"].chunks is None
        assert "fine" not in json.loads(b["uns/embedder"].asstr()[()])
        record = json.loads(a["uns/embedder"].asstr()[()])["fine"]
    assert record == {"side": 2, "channels": 3, "cell": 32.0, "layer": "0", "projection": None}


def test_an_encoder_that_cannot_is_told_once_and_its_files_have_none(tmp_path, encoder, monkeypatch, caplog):
    monkeypatch.setattr(encoder, "plan_cells", lambda patch_size, stride: None)
    slides = [write_tiff(tmp_path / f"{name}.tif", draw_ramp(400, 300), 0.5, 0.5) for name in "ab"]
    with caplog.at_level("INFO"):
        results = embed_slides(slides, tmp_path / "out", EmbedOptions(**PLAIN))
    assert [read_fine(tmp_path / "out" / f"{name}.h5ad") for name in "ab"] == [None, None]
    assert [result.status for result in results] == ["done", "done"]
    assert caplog.text.count("cannot tell cells smaller than a patch apart") == 1
