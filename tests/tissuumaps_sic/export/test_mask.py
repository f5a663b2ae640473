"""Masks against the cells of patches, point by point, as other programs read them."""

import json
import subprocess
import sys

import numpy as np
import openslide
import pytest
import shapely
import tifffile
from making.labels import labelled, plan, write_grid_h5ad

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.mask import write_mask
from tissuumaps_sic.slides.regions import cells_of, regions_of, scale_of

# The viewer lists the positive class, 1, first.
VALUE_OF = np.array([2, 1, 3])


def some_labels(h5ad, grid, seed=0, **more):
    return labelled(h5ad, np.random.default_rng(seed).integers(0, 3, len(grid)), **more)


def by_points(made, shape, step):
    """Which value each pixel has by the cell that its centre lies in, and where it lies on no border."""
    cells = cells_of(made.slide.centres, scale_of(made.slide).stride)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    points = shapely.points(x.ravel() * step[0], y.ravel() * step[1])
    expected = np.zeros(len(points), int)
    point, cell = shapely.STRtree(cells).query(points, predicate="intersects")
    expected[point] = VALUE_OF[made.labels[cell]]
    edges = shapely.STRtree(shapely.boundary(cells))
    on_edge = np.unique(edges.query(points, predicate="dwithin", distance=1e-6)[0])
    clear = np.ones(len(points), bool)
    clear[on_edge] = False
    return expected.reshape(shape), clear.reshape(shape)


@pytest.mark.parametrize(
    ("mpp", "target", "options"),
    [
        ((0.5, 0.5), 0.5, {}),
        ((0.5, 0.5), 0.5, {"mpp": 5.3}),
        ((0.25, 0.5), 0.5, {}),
        ((0.37, 0.61), 0.7, {"mpp": 9.1}),
        ((0.5, 0.5), 0.63, {"downsample": 11.7}),
    ],
)
def test_a_pixel_has_the_class_of_the_cell_that_its_centre_lies_in(tmp_path, mpp, target, options):
    rng = np.random.default_rng(0)
    grid = plan(mpp=mpp, target_mpp=target, bounds=(101, 203, 2400, 1600), keep=lambda n: rng.random(n) < 0.8)
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid), grid)
    write_mask(made, tmp_path / "a.tif", **options, blocks=True)
    mask = tifffile.imread(tmp_path / "a.tif")
    if "downsample" in options:
        step = (options["downsample"],) * 2
    else:
        # By default eight pixels for the distance between patches.
        wanted = options.get("mpp", grid.stride * target / 8)
        step = (wanted / mpp[0], wanted / mpp[1])
    assert mask.dtype == np.uint8
    assert mask.shape == tuple(
        int(np.ceil(np.round(n / s, 6))) for n, s in ((1900, step[1]), (2600, step[0]))
    )
    expected, clear = by_points(made, mask.shape, step)
    assert clear.mean() > 0.9
    assert np.array_equal(mask[clear], expected[clear])
    assert set(np.unique(mask)) == {0, 1, 2, 3}


def test_areas_are_those_of_the_regions(tmp_path):
    grid = plan()
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid), grid)
    write_mask(made, tmp_path / "a.tif", blocks=True)
    mask = tifffile.imread(tmp_path / "a.tif")
    for region in regions_of(made.slide.centres, made.labels, scale_of(made.slide)):
        assert (mask == VALUE_OF[region.label]).sum() * 8 * 8 * 1e-6 == pytest.approx(region.area)


def test_openslide_finds_the_resolution_a_pyramid_and_what_values_mean(tmp_path):
    grid = plan((9000, 7000), mpp=(0.5, 0.25), target_mpp=0.5)
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid), grid)
    write_mask(made, tmp_path / "a.tif", mpp=4, blocks=True)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(4, rel=1e-5)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(4, rel=1e-5)
        assert slide.dimensions == (1125, 438)
        assert slide.level_count > 2
        told = json.loads(slide.properties["openslide.comment"])
    assert told["values"] == {"0": "no patch", "1": "Tumour", "2": "Other", "3": "In situ: low"}
    assert told["colors"] == {"1": "#ffb000", "2": "#00a6fb", "3": "#009e73"}
    assert told["slide_size"] == [9000, 7000]
    assert told["downsample"] == [8, 16]


def test_smaller_levels_hold_classes_and_never_means_of_them(tmp_path):
    grid = plan((9000, 9000))
    # Between 1 and 3 there would be 2.
    labels = np.where((grid.column + grid.row) % 2, 1, 2)
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid), labels)
    write_mask(made, tmp_path / "a.tif", blocks=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        levels = [page.asarray() for page in file.pages]
        assert all(page.is_tiled for page in file.pages)
    assert len(levels) > 2
    for level in levels:
        assert set(np.unique(level)) == {0, 1, 3}
    halved = levels[0][: levels[1].shape[0] * 2 : 2, : levels[1].shape[1] * 2 : 2]
    assert (halved == levels[1]).mean() > 0.99


@pytest.mark.parametrize("big", [False, True])
def test_without_a_resolution_one_is_told_what_to_do_and_none_is_made_up(tmp_path, monkeypatch, big):
    grid = plan()
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid, told=False), grid)
    with pytest.raises(ExportError, match=r"does not say its µm per pixel.*--downsample 16"):
        write_mask(made, tmp_path / "a.tif", mpp=8, blocks=True)
    assert not (tmp_path / "a.tif").exists()
    if big:
        monkeypatch.setattr("tissuumaps_sic.export.mask._BIG_PIXELS", 0)
    write_mask(made, tmp_path / "a.tif", downsample=16, blocks=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff == big
        assert {page.tags["ResolutionUnit"].value for page in file.pages} == {tifffile.RESUNIT.NONE}
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert "openslide.mpp-x" not in slide.properties
    mask = tifffile.imread(tmp_path / "a.tif")
    expected, clear = by_points(made, mask.shape, (16, 16))
    assert np.array_equal(mask[clear], expected[clear])
    # As far as there are patches: the file does not tell how far the slide goes.
    assert mask.shape == tuple(int(np.ceil(n / 16)) for n in (made.slide.centres.max(axis=0) + 64)[::-1])


def test_classes_that_were_merged_after_the_run_have_one_value(tmp_path):
    grid = plan()
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid), grid)
    merged = made.session.remove_class(2, into=0)
    write_mask(Labelled.of(made.slide, merged, made.every), tmp_path / "a.tif", blocks=True)
    mask = tifffile.imread(tmp_path / "a.tif")
    assert [(mask == value).sum() for value in (1, 2)] == [
        (made.labels == 1).sum() * 64,
        (made.labels != 1).sum() * 64,
    ]
    assert set(np.unique(mask)) == {0, 1, 2}


def test_a_renamed_class_is_called_as_it_is_now(tmp_path):
    grid = plan()
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid), grid)
    session = made.session.with_class(1, SeedClass(name="Gebärmutter", color="#123456"))
    write_mask(Labelled.of(made.slide, session, made.every), tmp_path / "a.tif", blocks=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        told = json.loads(file.pages[0].description)
    assert (told["values"]["1"], told["colors"]["1"]) == ("Gebärmutter", "#123456")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mpp": 0.1}, "0.2 times as large as the slide's"),
        ({"mpp": 0}, "--mpp: 0 is not the size"),
        ({"downsample": float("nan")}, "--downsample: nan is not the size"),
        ({"downsample": 0.5}, "give a larger"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(tmp_path, options, message):
    grid = plan()
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid), grid)
    with pytest.raises(ExportError, match=message):
        write_mask(made, tmp_path / "a.tif", **options, blocks=True)
    assert not list(tmp_path.glob("*.tif"))


def test_patches_on_no_grid_are_refused_before_they_fill_the_memory(tmp_path):
    grid = plan()
    made = some_labels(write_grid_h5ad(tmp_path / "a.h5ad", grid, told=False), grid)
    made.slide.centres[:] *= 1e6
    made.slide.centres[0] += 3
    with pytest.raises(ExportError, match="on no grid"):
        write_mask(made, tmp_path / "a.tif", downsample=16, blocks=True)


BOUNDED = """
import resource, sys
from pathlib import Path
import numpy as np
from tissuumaps_sic.export.mask import _image, _save
from tissuumaps_sic.slides.raster import LabelRaster
values = np.random.default_rng(0).integers(0, 5, (702, 702)).astype(np.uint8)
raster = LabelRaster((0.0, 0.0), (160.0, 160.0), values)
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
_save(_image(raster, (300, 300), (8.0, 8.0)), Path(sys.argv[1]), resolution=(8.0, 8.0), description="{}")
before = most()
_save(_image(raster, (14000, 14000), (8.0, 8.0)), Path(sys.argv[1]), resolution=(8.0, 8.0), description="{}")
print(most() - before)
"""


def test_a_mask_is_never_in_memory_as_a_whole(tmp_path):
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "large.tif")]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    # MB; all of it is 187.
    assert float(ran.stdout) < 90
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert file.pages[0].shape == (14000, 14000)
