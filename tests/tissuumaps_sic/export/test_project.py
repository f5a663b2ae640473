"""Projects as TissUUmaps' own schema and a reader of polygons see them."""

import csv
import json

import numpy as np
import pytest
import shapely
from making.embeddings import write_ramp
from making.labels import CLASSES, labelled, plan, write_grid_h5ad
from tissuumaps_schema.v01.project import Project

from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.project import write_project


def shapes_of(project):
    """The regions of a project: class, colour, and polygons."""
    return {
        each["regionClass"]: (
            each["polycolor"],
            shapely.MultiPolygon(
                [
                    shapely.Polygon(*([[(at["x"], at["y"]) for at in ring] for ring in rings][0:1]))
                    - shapely.union_all(
                        [shapely.Polygon([(at["x"], at["y"]) for at in ring]) for ring in rings[1:]]
                    )
                    for rings in each["globalPoints"]
                ]
            ),
            shapely.box(each["_gxmin"], each["_gymin"], each["_gxmax"], each["_gymax"]),
        )
        for each in project["regions"].values()
    }


@pytest.fixture
def ramp(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_ramp(folder / "ramp.tif")
    grid = plan((1400, 1100))
    h5ad = write_grid_h5ad(folder / "ramp.h5ad", grid, image="ramp.tif")
    labels = np.where(np.hypot(grid.column - 4, grid.row - 3) < 2.5, 1, 0)
    labels[(grid.column == 4) & (grid.row == 3)] = 2
    return labelled(h5ad, labels)


def written(made, target, **options):
    write_project(made, target, **options, blocks=True)
    project = json.loads(target.read_text())
    Project.model_validate(project)
    return project


def test_labels_are_a_csv_beside_the_project_grouped_and_coloured_by_class(ramp):
    target = ramp.slide.path.with_name("ramp.labels.tmap")
    project = written(ramp, target)
    (markers,) = project["markerFiles"]
    assert markers["path"] == "ramp.labels.tmap.csv"
    assert markers["autoLoad"] is True
    header = markers["expectedHeader"]
    assert json.loads(header["cb_gr_dict"]) == {each.name: each.color for each in CLASSES}
    rows = list(csv.DictReader(target.with_name(markers["path"]).open()))
    assert [row[header["gb_col"]] for row in rows] == [CLASSES[label].name for label in ramp.labels]
    places = [(float(row[header["X"]]), float(row[header["Y"]])) for row in rows]
    assert np.array_equal(places, ramp.slide.centres)
    assert "plugins" not in project
    assert "settings" not in project
    assert project["mpp"] == 0.5


def test_regions_hold_the_patches_of_their_class_and_no_other(ramp):
    shapes = shapes_of(written(ramp, ramp.slide.path.with_name("out.tmap")))
    points = shapely.points(ramp.slide.centres)
    for label, seed_class in enumerate(CLASSES):
        color, shape, box = shapes[seed_class.name]
        assert color == seed_class.color
        assert np.array_equal(shapely.contains(shape, points), ramp.labels == label)
        assert box.equals(shapely.box(*shape.bounds))
    assert shapes["Tumour"][1].area == pytest.approx((ramp.labels == 1).sum() * 128**2)


def test_the_image_keeps_its_path_in_the_same_folder_and_is_linked_into_another(ramp, tmp_path):
    assert written(ramp, ramp.slide.path.with_name("out.tmap"))["layers"] == [
        {"name": "ramp", "tileSource": "ramp.tif.dzi"}
    ]
    other = tmp_path / "results"
    other.mkdir()
    assert written(ramp, other / "out.tmap")["layers"][0]["tileSource"] == "ramp.tif.dzi"
    assert (other / "ramp.tif").samefile(ramp.slide.path.with_name("ramp.tif"))
    # A folder above: nothing to link, another path.
    assert written(ramp, tmp_path / "out.tmap")["layers"][0]["tileSource"] == "slides/ramp.tif.dzi"
    assert not (tmp_path / "ramp.tif").exists()
    unlinked = tmp_path / "sent"
    unlinked.mkdir()
    assert written(ramp, unlinked / "out.tmap", link=False)["layers"][0]["tileSource"] == "ramp.tif.dzi"
    assert sorted(path.name for path in unlinked.iterdir()) == ["out.tmap", "out.tmap.csv"]


def test_without_the_image_the_patches_are_shown_alone_and_that_is_told(ramp, tmp_path, caplog):
    (ramp.slide.path.with_name("ramp.tif")).unlink()
    assert written(ramp, tmp_path / "out.tmap")["layers"] == []
    assert "its image ramp.tif is missing; the project shows its patches alone" in caplog.text


def test_an_image_that_cannot_be_linked_is_told(ramp, tmp_path, caplog):
    other = tmp_path / "results"
    other.mkdir()
    (other / "ramp.tif").write_text("somebody else's")
    assert written(ramp, other / "out.tmap")["layers"] == []
    assert "could not be linked into" in caplog.text
    assert (other / "ramp.tif").read_text() == "somebody else's"


def test_regions_follow_the_patches_onto_the_canvas_that_small_places_are_stretched_to(tmp_path):
    grid = plan((400, 300), patch_size=64)
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid), np.arange(len(grid)) % 2)
    project = written(made, tmp_path / "out.tmap")
    low, high = made.slide.centres.min(axis=0), made.slide.centres.max(axis=0)
    # What TissUUmaps makes of coordinates that end below 500.
    factor = 5000 / (high - low).max()
    points = shapely.points((made.slide.centres - low) * factor)
    for label, name in enumerate(("Other", "Tumour")):
        _, shape, _ = shapes_of(project)[name]
        assert np.array_equal(shapely.contains(shape, points), made.labels == label)
    assert project["mpp"] == pytest.approx(0.5 / factor)


def test_the_project_that_the_slide_is_annotated_in_is_never_overwritten(ramp):
    own = ramp.slide.path.with_suffix(".tmap")
    before = own.read_bytes()
    with pytest.raises(ExportError, match="is the project that the slide is annotated in"):
        write_project(ramp, own, blocks=True)
    assert own.read_bytes() == before
