"""Labels as regions, and regions as seeds, as a person uses them."""

import csv
import json

import numpy as np
import pytest
import shapely
from test_annotating import click_seeds, headless, some_seeds
from test_fine_map import cells_of, labels_of_cells
from viewer import ARTIFACTS

from tissuumaps_sic.slides.regions import scale_of
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def labelled(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    return viewer, np.array(headless(viewer, seeds))


def test_labels_are_shown_as_regions_with_their_areas_and_taken_away(labelled):
    viewer, labels = labelled
    viewer.wait_for_cells()
    viewer.press("regions")
    viewer.keep_picture(ARTIFACTS, "regions")
    shown = viewer.evaluate(
        """() => Object.values(regionUtils._regions).map(({ regionClass, polycolor, globalPoints }) =>
            ({ name: regionClass, color: polycolor,
               polygons: globalPoints.map((rings) =>
                   rings.map((ring) => ring.map(({ x, y }) => [x, y]))) }))"""
    )
    assert {each["name"]: each["color"] for each in shown} == {"Other": "#00a6fb", "Tumour": "#ffb000"}
    cells, middles = cells_of(viewer)
    points, is_glass = shapely.points(middles), cells.is_glass.reshape(len(middles), -1)
    fine = labels_of_cells(viewer, len(middles))
    for each in shown:
        shape = shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in each["polygons"]])
        label = ("Other", "Tumour").index(each["name"])
        assert np.array_equal(shapely.contains(shape, points), (fine == label) & ~is_glass)
    assert_areas(viewer, cells, fine)
    viewer.press("regions")
    assert viewer.evaluate("Object.keys(regionUtils._regions).length") == 0
    # Other labels have other regions: those that are shown follow.
    viewer.press("regions")
    viewer.choose(1)
    viewer.click_patch(int(np.flatnonzero(labels == 0)[0]))
    viewer.run()
    viewer.wait_for_cells()
    now = labels_of_cells(viewer, len(middles))
    assert (now != fine).any()
    assert_areas(viewer, cells, now)
    assert viewer.evaluate("Object.keys(regionUtils._regions).length") == 2
    viewer.press("regions")
    assert viewer.page.query_selector("#sic-areas") is None


def assert_areas(viewer, cells, labels):
    """The table of the panel tells the areas of labels of cells, in mm², as the classes are listed."""
    one = np.prod(cells.size) * np.prod(scale_of(open_slide_file(viewer.h5ad)).mpp) * 1e-6
    tissue = np.where(cells.is_glass, 0, cells.tissue / 100).reshape(labels.shape)
    table = [row.inner_text().split("\t") for row in viewer.page.query_selector_all("#sic-areas tbody tr")]
    for name, area, of_tissue, share in table:
        mine = labels == ("Other", "Tumour").index(name)
        assert float(area) == pytest.approx((mine & (tissue > 0)).sum() * one, abs=6e-4)
        assert float(of_tissue) == pytest.approx(tissue[mine].sum() * one, abs=6e-4)
        assert float(share.removesuffix(" %")) == pytest.approx(
            100 * tissue[mine].sum() / tissue.sum(), abs=0.6
        )
    assert [name for name, *_ in table] == ["Tumour", "Other"]


@pytest.mark.parametrize("format_", ["csv", "geojson"])
def test_labels_come_as_a_download(labelled, format_, tmp_path):
    viewer, labels = labelled
    with viewer.page.expect_download() as download:
        viewer.choose_from("#sic-export", value=format_)
    viewer.wait()
    assert download.value.suggested_filename == f"demo.labels.{format_}"
    path = tmp_path / "got"
    download.value.save_as(path)
    names = [("Other", "Tumour")[label] for label in labels]
    if format_ == "csv":
        assert [row["label"] for row in csv.DictReader(path.open())] == names
    else:
        features = json.loads(path.read_text())["features"]
        assert [each["properties"]["name"] for each in features] == ["Other", "Tumour"]
    assert viewer.error is None


def test_regions_drawn_in_the_viewer_seed_what_they_hold(viewer):
    viewer.press("from-regions")
    assert "Draw a region" in viewer.status
    centres = viewer.adata.obsm["spatial"]
    middle = centres[len(centres) // 2]
    # A square with a hole; one of no class, and one that has the name of a class.
    viewer.evaluate(
        """([[x, y], [u, v]]) => {
            const square = (x, y, half) =>
                [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([i, j]) => [x + i * half, y + j * half]);
            regionUtils.addRegion([[square(x, y, 400), square(x, y, 100)]], "mine", "#ff0000", "", 0, true);
            regionUtils.addRegion([[square(u, v, 70)]], "named", "#00ff00", "Other", 0, true);
        }""",
        [middle.tolist(), centres[0].tolist()],
    )
    viewer.choose(1)
    viewer.press("from-regions")
    distance = np.abs(centres - middle).max(axis=1)
    expected = dict.fromkeys(np.flatnonzero((distance < 400) & (distance > 100)).tolist(), 1)
    named = np.flatnonzero(np.abs(centres - centres[0]).max(axis=1) < 70)
    assert len(expected) > 8
    assert viewer.seeds == expected | dict.fromkeys(named.tolist(), 0)
    assert viewer.error is None
