import csv
import json

import anndata
import h5py
import numpy as np
import pytest
import shapely
import shapely.geometry

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, replay
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.export.annotations import write_regions
from tissuumaps_sic.export.csv_rows import write_csv
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def labelled(small_h5ad):
    slide = open_slide_file(small_h5ad)
    session = Session.new(slide).seed(["small_0_0", "small_128_128"], 0).seed(["small_1408_0"], 1)
    run, scores = cluster(slide, session.classes, session.seeds)
    return slide, session.with_run(run), scores


def export(write, slide, session, target):
    write(replay(slide, session), target)


def test_the_csv_has_each_patch_with_its_own_label(labelled, tmp_path):
    slide, session, scores = labelled
    export(write_csv, slide, session, tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    labels = session.run.unpack()
    assert [row["patch"] for row in rows] == list(slide.patch_names)
    assert [float(row["x"]) for row in rows] == slide.centres[:, 0].tolist()
    assert [float(row["y"]) for row in rows] == slide.centres[:, 1].tolist()
    assert [row["label"] for row in rows] == [("Other", "Tumour")[label] for label in labels]
    assert np.allclose([float(row["score"]) for row in rows], scores.max(axis=1), atol=1e-6)
    assert {row["patch"]: row["seed"] for row in rows if row["seed"]} == {
        "small_0_0": "Other",
        "small_128_128": "Other",
        "small_1408_0": "Tumour",
    }


def test_the_labelled_h5ad_follows_the_contract_and_keeps_the_rest(labelled, tmp_path):
    slide, session, _ = labelled
    export(write_labels, slide, session, tmp_path / "out.h5ad")
    before, after = anndata.read_h5ad(slide.path), anndata.read_h5ad(tmp_path / "out.h5ad")
    assert np.array_equal(after.X, before.X)
    assert after.obs_names.equals(before.obs_names)
    assert after.obs[["x0", "y0"]].equals(before.obs[["x0", "y0"]])
    assert list(after.obs["sic_label"].cat.categories) == ["Other", "Tumour"]
    assert np.array_equal(after.obs["sic_label"].cat.codes, session.run.unpack())
    assert after.obs["sic_score"].dtype == np.float32
    assert after.obs["sic_seed"].dropna().to_dict() == {
        "small_0_0": "Other",
        "small_128_128": "Other",
        "small_1408_0": "Tumour",
    }
    assert list(after.uns["sic_label_colors"]) == [each.color for each in session.classes]
    with h5py.File(tmp_path / "out.h5ad") as file:
        assert isinstance(file["obs/sic_label/categories"], h5py.Dataset)
        assert file["X"].id.get_offset() is not None


def test_labels_are_written_into_the_slides_own_file_again_and_again(labelled):
    slide, session, _ = labelled
    for _ in range(2):
        export(write_labels, slide, session, slide.path)
    adata = anndata.read_h5ad(slide.path)
    assert list(adata.obs.columns) == ["x0", "y0", "sic_label", "sic_score", "sic_seed"]
    assert open_slide_file(slide.path).fingerprint == session.fingerprint


def test_labels_of_later_seeds_are_not_taken_for_those_of_the_run(labelled, tmp_path):
    slide, session, _ = labelled
    later = session.undo().seed(["small_0_128"], 1)
    export(write_csv, slide, later, tmp_path / "later.csv")
    export(write_csv, slide, session, tmp_path / "then.csv")
    assert (tmp_path / "later.csv").read_text() == (tmp_path / "then.csv").read_text()


def test_without_a_run_there_is_nothing_to_export(labelled, tmp_path):
    slide, _, _ = labelled
    with pytest.raises(SessionError, match="run the clustering first"):
        export(write_csv, slide, Session.new(slide), tmp_path / "out.csv")
    assert not list(tmp_path.glob("*.csv"))


def test_labels_that_the_seeds_do_not_give_are_refused(labelled, tmp_path):
    slide, session, _ = labelled
    forged = session.run.model_copy(update={"seeds": {"small_0_0": 1, "small_1408_0": 0}})
    with pytest.raises(SessionError, match="not those that its seeds give"):
        export(write_labels, slide, session.with_run(forged), tmp_path / "out.h5ad")


def test_classes_that_were_merged_after_the_run_are_one_in_what_is_written(labelled, tmp_path):
    slide, session, _ = labelled
    three = session.add_class(SeedClass(name="Stroma", color="#009e73")).seed(["small_640_640"], 2)
    three = three.with_run(cluster(slide, three.classes, three.seeds)[0])
    merged = three.remove_class(2, into=0)
    export(write_labels, slide, merged, tmp_path / "out.h5ad")
    written = anndata.read_h5ad(tmp_path / "out.h5ad")
    names = np.array(["Other", "Tumour", "Other"])[three.run.unpack()]
    assert written.obs["sic_label"].tolist() == names.tolist()
    assert list(written.obs["sic_label"].cat.categories) == ["Other", "Tumour"]
    assert list(written.uns["sic_label_colors"]) == [each.color for each in session.classes]
    assert written.obs.loc["small_640_640", "sic_seed"] == "Other"


def test_regions_hold_the_patches_of_their_class(labelled, tmp_path):
    slide, session, _ = labelled
    export(write_regions, slide, session, tmp_path / "out.geojson")
    features = json.loads((tmp_path / "out.geojson").read_text())["features"]
    points = shapely.points(slide.centres)
    for label, feature in enumerate(features):
        assert feature["properties"]["name"] == session.classes[label].name
        inside = shapely.contains(shapely.geometry.shape(feature["geometry"]), points)
        assert np.array_equal(inside, session.run.unpack() == label)
