"""Labels finer than a patch against a drawn truth, by pixel and along borders."""

import numpy as np
import pytest
from making.labels import cell_centres, plan, write_grid_h5ad
from PIL import Image

from tissuumaps_sic.evaluation.classes import TruthClasses
from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.evaluation.pixels import WAYS, label_ways, measure_pixels, sample_truth
from tissuumaps_sic.evaluation.truth import open_truth, patch_squares
from tissuumaps_sic.labelling.places import Places
from tissuumaps_sic.slides.cells import open_cells
from tissuumaps_sic.slides.slide import open_slide_file

SIDE, SIZE = 4, (2600, 1900)


def inside(x, y):
    """A truth whose border lies within patches, and not alike in x and y; level-0 pixels."""
    return x > 1230 + 90 * np.sin(y / 200)


@pytest.fixture
def drawn(tmp_path):
    """A slide with cells, its mask at 2 pixels, and a corner that is glass."""
    grid = plan(SIZE)
    places = cell_centres(grid, SIDE)
    truth = inside(places[..., 0], places[..., 1]).astype(int)
    rng = np.random.default_rng(0)
    values = 2.5 * np.eye(2, 6)[truth] + rng.standard_normal((*truth.shape, 6))
    tissue = np.full(truth.shape, 100)
    tissue[(places[..., 0] < 700) & (places[..., 1] < 500)] = 0
    h5ad = write_grid_h5ad(tmp_path / "drawn.h5ad", grid, fine=(values, tissue))
    y, x = np.mgrid[0 : SIZE[1] : 2, 0 : SIZE[0] : 2] + 1.0
    Image.fromarray(inside(x, y).astype(np.uint8)).save(tmp_path / "drawn_mask.png")
    slide = open_slide_file(h5ad)
    classes = TruthClasses.binary("1")
    raster = open_truth(tmp_path / "drawn_mask.png", patch_squares(slide), classes)
    return slide, sample_truth(raster, open_cells(slide), 2, (0.5, 0.5)), truth


def test_the_truth_is_read_at_places_of_the_middles_without_glass(drawn):
    slide, finer, _ = drawn
    assert finer.along == 16
    steps = (np.arange(16) + 0.5) / 16 - 0.5
    x = slide.centres[:, 0, None, None] + steps * 128
    y = slide.centres[:, 1, None, None] + steps[:, None] * 128
    x, y = np.broadcast_arrays(x, y)
    glass = open_cells(slide).is_glass.repeat(4, axis=1).repeat(4, axis=2)
    assert glass.any()
    assert (finer.classes[glass] == -1).all()
    assert (finer.classes == inside(x, y))[~glass].mean() > 0.999
    assert finer.tolerance == pytest.approx((32 / 4, 32 / 4))


def test_cells_are_better_than_squares_and_the_truth_is_best(drawn):
    slide, finer, truth = drawn
    share = truth.mean(axis=(1, 2))
    scores = np.stack([1 - share, share], axis=1).astype(np.float32)
    labels, none = scores.argmax(axis=1), np.full(len(scores), -1)
    ways = label_ways(finer, scores, labels, none, Places(slide.centres))
    assert tuple(ways) == WAYS
    figures = {way: measure_pixels(finer, found) for way, found in ways.items()}
    for key in ("pixel_f1", "pixel_macro_f1", "iou"):
        assert figures["blocks"][key] < figures["interpolated"][key] < figures["fine"][key] < 1
    assert figures["fine"]["boundary_f1"] > 0.97
    assert set(measure_pixels(finer, finer.classes).values()) == {1.0}


def test_figures_are_what_they_are_called(drawn):
    """Against numbers by hand: all is called class 1."""
    _, finer, _ = drawn
    counted = finer.classes >= 0
    share = (finer.classes[counted] == 1).mean()
    figures = measure_pixels(finer, np.ones_like(finer.classes))
    assert figures["pixel_f1"] == pytest.approx(2 * share / (1 + share))
    assert figures["pixel_macro_f1"] == pytest.approx(share / (1 + share))
    assert figures["iou"] == pytest.approx(share)
    assert figures["boundary_f1"] == 0


@pytest.mark.parametrize(("shift", "right"), [(6, True), (12, False)])
def test_a_border_may_be_off_by_32_um(drawn, shift, right):
    """A point is 4 µm: 24 µm are right, 48 are wrong."""
    slide, finer, _ = drawn
    steps = (np.arange(16) + 0.5) / 16 - 0.5
    x = slide.centres[:, 0, None, None] + steps * 128 + 8 * shift
    y = slide.centres[:, 1, None, None] + steps[:, None] * 128
    moved = inside(*np.broadcast_arrays(x, y)).astype(np.int16)
    figure = measure_pixels(finer, moved)["boundary_f1"]
    assert figure > 0.99 if right else figure < 0.5


def test_evaluate_tells_them_beside_the_figures_of_patches(drawn):
    slide, *_ = drawn
    pairs = [(slide.path, slide.path.parent)]
    classes = TruthClasses.binary("1")
    asked = {"classes": classes, "methods": ("refine",), "seeds_per_class": (3,), "repeats": 2, "clicks": 3}
    found = evaluate(pairs, **asked)
    assert found.failures == ()
    assert list(found.pixels["way"]) == [*WAYS, *WAYS]
    assert list(found.pixels["repeat"]) == [0, 0, 0, 1, 1, 1]
    assert list(found.pixels_summary()["way"]) == list(WAYS)
    assert {f"pixel_f1_{way}" for way in WAYS} < set(found.clicks)
    plain = evaluate(pairs, **asked, pixels=False)
    assert plain.pixels.empty
    assert plain.runs.equals(found.runs)
    assert list(plain.clicks["f1"]) == list(found.clicks["f1"])
    assert "pixel_f1_fine" not in plain.clicks
