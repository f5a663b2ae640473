"""A run's labels by cell: the border that was drawn comes back, and what is glass is none."""

import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import shapely
import tifffile
from making.labels import CLASSES, cell_centres, labelled, plan, write_grid_h5ad

from tissuumaps_sic.annotation.cells import sharpen_labels
from tissuumaps_sic.export.annotations import find_regions, write_regions
from tissuumaps_sic.export.mask import write_mask
from tissuumaps_sic.export.report import make_report
from tissuumaps_sic.labelling.calibration import SLOPE, apply_slope, temper
from tissuumaps_sic.slides.cells import open_cells, sharpen_slide
from tissuumaps_sic.slides.regions import scale_of
from tissuumaps_sic.slides.slide import open_slide_file

SIDE = 4
# Level-0 µm of the border: not alike in x and y, and between the patches' own borders.
WAVE = 35.0


def border_at(y):
    """x of the drawn border, µm, by y, µm."""
    return 610.0 + WAVE * np.sin(y / 90.0)


@pytest.fixture(params=[(0.25, (0, 0)), (0.5, (0, 0)), (1.0, (0, 0)), (0.5, (340, 120))], ids=str)
def drawn(request, tmp_path):
    """A slide of two tissues with a wavy border and a corner of glass, and its labels by whole patches."""
    mpp, (left, top) = request.param
    width, height = round(1300 / mpp), round(950 / mpp)
    size = (width + left, height + top)
    grid = plan(size, mpp=(mpp, mpp), bounds=(left, top, width, height))
    places = (cell_centres(grid, SIDE) - (left, top)) * mpp
    truth = (places[..., 0] > border_at(places[..., 1])).astype(int)
    tissue = np.where((places[..., 0] < 300) & (places[..., 1] < 250), 0, 100).astype(np.uint8)
    rng = np.random.default_rng(0)
    values = 2.5 * np.eye(2, 6)[truth] + rng.standard_normal((*truth.shape, 6))
    values[tissue == 0] = 40
    h5ad = write_grid_h5ad(tmp_path / "drawn.h5ad", grid, fine=(values, tissue))
    share = truth.mean(axis=(1, 2))
    scores = np.exp(4 * np.stack([1 - share, share], axis=1))
    scores /= scores.sum(axis=1, keepdims=True)
    made = labelled(h5ad, scores.argmax(axis=1), classes=CLASSES[:2], scores=scores)
    return made, truth, tissue, mpp, (left, top)


def test_cells_have_the_label_that_was_drawn(drawn):
    made, truth, tissue, *_ = drawn
    found = sharpen_labels(made)
    assert found.labels.shape == truth.shape
    assert (found.labels == truth)[tissue > 0].mean() > 0.99
    assert found.scores.min() >= 0.5


def test_a_border_comes_back_within_40_um_everywhere(drawn):
    made, _, _, mpp, (left, top) = drawn
    regions, classes = find_regions(made)
    (tumour,) = (each for each in regions if classes[each.label].name == "Tumour")
    y = np.arange(80, 860, 5.0)
    line = shapely.linestrings(np.column_stack([border_at(y) / mpp + left, y / mpp + top]))
    inside = shapely.box(200 / mpp + left, 80 / mpp + top, 900 / mpp + left, 855 / mpp + top)
    found = tumour.shape.boundary.intersection(inside)
    assert found.hausdorff_distance(line) * mpp < 40


def test_glass_is_in_no_region_and_no_area(drawn):
    made, truth, tissue, *_ = drawn
    regions, classes = find_regions(made)
    cell = 64.0 / SIDE
    for region in regions:
        wanted = ((truth == region.label) & (tissue > 0)).sum() * cell**2 * 1e-6
        assert region.area == pytest.approx(wanted, rel=0.02)
        assert region.tissue == pytest.approx(region.area)
    assert sum(each.share for each in regions) == pytest.approx(1)
    rows = {row.name: row for row in make_report(made).rows}
    for region in regions:
        assert rows[classes[region.label].name].area == pytest.approx(region.area)
        assert rows[classes[region.label].name].tissue == pytest.approx(region.tissue)
    blocks = {row.name: row for row in make_report(made, blocks=True).rows}
    assert blocks["Other"].area > 1.05 * rows["Other"].area


def test_mask_and_regions_agree_in_area(drawn, tmp_path):
    made = drawn[0]
    write_mask(made, tmp_path / "mask.tif")
    mask = tifffile.imread(tmp_path / "mask.tif")
    names = json.loads(tifffile.TiffFile(tmp_path / "mask.tif").pages[0].description)
    pixel = np.prod(names["mpp"]) * 1e-6
    regions, classes = find_regions(made)
    values = {name: int(value) for value, name in names["values"].items()}
    for region in regions:
        counted = (mask == values[classes[region.label].name]).sum() * pixel
        assert counted == pytest.approx(region.area, rel=1e-3)


def test_geojson_has_the_same_regions_with_fewer_corners_where_asked(drawn, tmp_path):
    made, *_, (left, top) = drawn
    regions, classes = find_regions(made)
    corners = []
    for simplify in (0, 20):
        write_regions(made, tmp_path / "a.geojson", simplify=simplify)
        features = json.loads((tmp_path / "a.geojson").read_text())["features"]
        assert [each["properties"]["classification"]["name"] for each in features] == [
            classes[region.label].name for region in regions
        ]
        shapes = [shapely.geometry.shape(each["geometry"]) for each in features]
        for shape, region in zip(shapes, regions, strict=True):
            moved = shapely.transform(region.shape, lambda xy: xy - (left, top))
            assert shape.symmetric_difference(moved).area < 0.05 * moved.area
            assert shape.is_valid
        assert shapely.coverage_is_valid(np.array(shapes, object))
        corners.append(sum(shapely.get_num_coordinates(shapes)))
    assert corners[1] < 0.7 * corners[0]


def test_a_file_without_cells_has_borders_between_its_patches(tmp_path):
    """Straight lines between centres: a border that is nearer to one patch's centre than the other's."""
    grid = plan((1300, 900))
    h5ad = write_grid_h5ad(tmp_path / "plain.h5ad", grid)
    x = grid.centres[:, 0]
    share = np.clip((x - 500) / 400, 0.02, 0.98)
    scores = np.stack([1 - share, share], axis=1)
    made = labelled(h5ad, share > 0.5, classes=CLASSES[:2], scores=scores)
    (tumour,) = (each for each in find_regions(made)[0] if each.label == 1)
    assert abs(tumour.shape.bounds[0] - 700) <= scale_of(made.slide).stride[0] / 8
    assert tumour.tissue is None


def test_a_border_that_was_moved_moves_the_cells(tmp_path):
    grid = plan((1300, 900))
    h5ad = write_grid_h5ad(tmp_path / "plain.h5ad", grid)
    share = np.clip((grid.centres[:, 0] - 300) / 800, 0.02, 0.98)
    scores = np.stack([1 - share, share], axis=1)
    made = labelled(h5ad, share > 0.5, classes=CLASSES[:2], scores=scores)
    lefts = []
    for border in (0.3, 0.5, 0.8):
        run = made.run.model_copy(update={"border": border})
        session = made.session.model_copy(update={"run": run})
        moved = type(made).of(made.slide, session, scores.astype(np.float32))
        (tumour,) = (each for each in find_regions(moved)[0] if each.label == 1)
        lefts.append(tumour.shape.bounds[0])
    step = scale_of(made.slide).stride[0] / 4
    assert np.allclose(lefts, [540, 700, 940], atol=step)


def test_classes_that_were_merged_after_the_run_are_one(tmp_path):
    grid = plan((1300, 900))
    h5ad = write_grid_h5ad(tmp_path / "plain.h5ad", grid)
    third = np.clip((grid.centres[:, 0] - 200) / 900, 0, 1)
    scores = np.stack([1 - third, third * 0.6, third * 0.4], axis=1)
    twice = (CLASSES[0], CLASSES[1], CLASSES[1])
    made = labelled(h5ad, scores.argmax(axis=1), classes=twice, scores=scores)
    assert np.allclose(made.every.sum(axis=1), 1)
    assert made.every.shape[1] == len(made.classes) == 2
    arranged = made.arrange()
    names = [each.name for each in arranged.classes]
    assert names == ["Tumour", "Other"]
    assert np.array_equal(arranged.every[:, 0], made.every[:, 1])
    one, other = sharpen_labels(made), sharpen_labels(arranged)
    assert (one.labels == 1 - other.labels).all()


def test_where_all_classes_became_one_every_cell_has_it(drawn):
    made = drawn[0]
    one = (CLASSES[0], CLASSES[0])
    merged = labelled(made.slide.path, made.labels, classes=one, scores=made.every)
    for border in (None, 0.4):
        run = merged.run.model_copy(update={"border": border})
        session = merged.session.model_copy(update={"run": run})
        found = sharpen_labels(type(made).of(made.slide, session, made.every))
        assert (found.labels == 0).all()
        assert np.allclose(found.scores, 1)


def write_pieces(path, *, value=0.0, names=("X",)):
    """A slide with cells, and with as many embeddings as there are names."""
    grid = plan((1300, 900))
    values = np.random.default_rng(0).standard_normal((len(grid), SIDE, SIDE, 6)) + value
    write_grid_h5ad(path, grid, fine=(values, np.full(values.shape[:3], 100, np.uint8)))
    with h5py.File(path, "r+") as file:
        for name in names[1:]:
            file["obsm"].create_dataset(f"X_{name}", data=file["X"][()])
    return path


def test_cells_are_found_once_for_an_open_file(tmp_path):
    """A slide with two embeddings, or opened twice, has them once in memory."""
    path = write_pieces(tmp_path / "a.h5ad", names=("X", "other"))
    slide = open_slide_file(path)
    cells = open_cells(slide)
    assert open_cells(slide) is cells
    assert open_cells(slide.with_embedding("other")) is cells
    assert open_cells(open_slide_file(path)) is cells


def test_threads_that_open_a_slide_at_once_are_given_the_same_cells(tmp_path):
    path = write_pieces(tmp_path / "a.h5ad")
    slides = [open_slide_file(path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(open_cells, slides))
    assert len(set(map(id, every))) == 1


def test_cells_of_a_file_that_was_replaced_are_read_anew(tmp_path):
    path = write_pieces(tmp_path / "a.h5ad")
    before = open_slide_file(path)
    old = open_cells(before)
    write_pieces(tmp_path / "b.h5ad", value=3.0).replace(path)
    slide = open_slide_file(path)
    assert open_cells(slide) is not old
    assert open_cells(before) is old


def test_cells_go_with_the_last_slide_that_has_them(tmp_path):
    """Else their file stayed open, and could not be replaced on every system."""
    slide = open_slide_file(write_pieces(tmp_path / "a.h5ad"))
    cells = weakref.ref(open_cells(slide))
    scores = np.random.default_rng(0).dirichlet([1, 1], slide.n_patches)
    made = labelled(slide.path, scores.argmax(axis=1), classes=CLASSES[:2], scores=scores)
    sharpen_labels(made)
    assert cells() is not None
    del slide, made
    gc.collect()
    assert cells() is None


def test_how_steep_scores_are_does_not_move_a_border(tmp_path):
    """What cells tell and what patches tell are weighed on one scale."""
    grid = plan((1400, 900))
    rng = np.random.default_rng(0)
    fine = rng.normal(size=(len(grid), SIDE, SIDE, 6)), np.full((len(grid), SIDE, SIDE), 100)
    slide = open_slide_file(write_grid_h5ad(tmp_path / "a.h5ad", grid, fine=fine))
    field = np.sin(slide.centres[:, :1] / 300.0) * [1.0, -1.0] * 0.4
    flat, steep = (apply_slope(field, slope).astype(np.float32) for slope in (SLOPE, 11.0))
    before, now = sharpen_slide(slide, flat), sharpen_slide(slide, steep, slope=11.0)
    assert np.array_equal(now.labels, before.labels)
    assert np.allclose(temper(now.every, SLOPE / 11.0), before.every, atol=1e-4)
    assert now.scores.mean() > before.scores.mean()
