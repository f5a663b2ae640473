"""Labels finer than a patch against a drawn truth, by pixel and along borders."""

import tracemalloc

import numpy as np
import pytest
from making.labels import cell_centres, plan, write_grid_h5ad
from PIL import Image
from scipy import ndimage

from tissuumaps_sic.evaluation import pixels
from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.evaluation.pixels import WAYS, PixelTruth, label_ways, measure_pixels, sample_truth
from tissuumaps_sic.labelling.places import Places
from tissuumaps_sic.labelling.sharpen import CellGrid
from tissuumaps_sic.slides.cells import SlideCells, open_cells
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses
from tissuumaps_sic.truth.squares import patch_squares
from tissuumaps_sic.truth.truth import open_truth

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


def border_f1(truth, found):
    """Of the whole slide at once: what `_measure_borders` finds square by square."""
    place, along = truth.cells.place, truth.along
    columns, rows = (place.max(axis=0) + 1).tolist()
    borders = []
    for values in (truth.classes, np.where(truth.classes == -1, -1, found)):
        picture = np.full((rows, along, columns, along), -1, np.int16)
        picture[place[:, 1], :, place[:, 0]] = values
        borders.append(pixels._find_border(picture.reshape(rows * along, columns * along)))
    if not all(border.any() for border in borders):
        return 0.0
    shares = []
    for one, other in (borders[::-1], borders):
        spacing = (1 / truth.tolerance[1], 1 / truth.tolerance[0])
        distance = ndimage.distance_transform_edt(~other, sampling=spacing)
        shares.append(float((distance[one] <= 1.0).mean()))
    return 2 * shares[0] * shares[1] / (sum(shares) or 1.0)


def speckled(place, *, along, tolerance, seed=0):
    """Truth and labels of three classes with borders everywhere, some glass, at chosen places."""
    rng = np.random.default_rng(seed)
    shape = (len(place), along, along)
    y, x = np.mgrid[0:along, 0:along] / along
    waves = np.sin(0.7 * (place[:, 0, None, None] + x)) + np.cos(0.6 * (place[:, 1, None, None] + y))
    classes = np.digitize(waves, (-0.5, 0.5)).astype(np.int16)
    found = np.digitize(waves + 0.3 * rng.standard_normal((len(place), 1, 1)), (-0.5, 0.5)).astype(np.int16)
    found[place[:, 0] % 20 > 12] = 0  # some true borders that nothing is near
    classes[rng.random(shape) < 0.05] = -1
    cells = SlideCells(CellGrid(place, side=along), (0.0, 0.0), place, (8.0, 8.0), None)
    return PixelTruth(classes, cells, 3, tolerance), found


@pytest.mark.parametrize("tolerance", [(8.0, 8.0), (2.5, 3.7), (0.4, 0.4), (21.0, 5.0)], ids=str)
def test_borders_compared_in_squares_are_as_near_as_on_the_whole_slide(tolerance):
    """To the last bit, wherever squares end, with holes and patches apart from the others."""
    rows, columns = np.mgrid[0:19, 0:23].reshape(2, -1)
    place = np.stack([columns, rows], axis=1)
    place = place[np.random.default_rng(1).random(len(place)) < 0.8]
    place = np.concatenate([place, [(40, 3), (41, 3), (5, 37)]]).astype(np.int64)
    truth, found = speckled(place, along=8, tolerance=tolerance)
    wanted = border_f1(truth, found)
    assert 0.1 < wanted < 1
    for square in (1, 2, 3, 7, 10, 64):
        assert pixels._measure_borders(truth, found, square=square) == wanted
    assert measure_pixels(truth, found)["boundary_f1"] == wanted


def test_patches_scattered_over_a_slide_take_no_more_memory_than_their_own():
    """Their rectangle at once would take gigabytes."""
    corners = np.random.default_rng(2).integers(0, 300, (20, 2)) * 3
    block = np.stack(np.mgrid[0:3, 0:3].reshape(2, -1), axis=1)
    place = np.unique((corners[:, None] + block).reshape(-1, 2), axis=0).astype(np.int64)
    truth, found = speckled(place, along=8, tolerance=(8.0, 8.0))
    tracemalloc.start()
    try:
        assert 0 < measure_pixels(truth, found)["boundary_f1"] <= 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


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
