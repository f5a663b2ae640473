"""What other programs made, in a form as they write it, becomes a file that can be annotated."""

import json
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import shapely

from embedder.cli import main
from embedder.files.convert import ConvertError, convert
from tissuumaps_sic import cli as sic
from tissuumaps_sic.slidefile.contract import check
from tissuumaps_sic.slidefile.extras import tell_install
from tissuumaps_sic.slides.slide import open_slide_file

STEP = 448


def grid(columns=7, rows=5):
    """Top-left corners in column-major order: x and y cannot be exchanged unseen."""
    return np.array([(100 + STEP * i, 300 + STEP * j) for i in range(columns) for j in range(rows)])


def features(n, d=16):
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def write_trident(path, *, batched=False, **changes):
    """Patch features as TRIDENT writes them: attributes of the coordinates travel along."""
    corners, attributes = grid(), {
        "patch_size": 224,
        "patch_size_level0": STEP,
        "level0_magnification": 40,
        "target_magnification": 20,
        "overlap": 0,
        "name": "case-7",
        "savetodir": "/home/ann/trident",
        "level0_width": 5000,
        "level0_height": 4000,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        X = features(len(corners))
        file["features"] = X[None] if batched else X
        file["features"].attrs["encoder"] = "uni_v1"
        file["coords"] = corners[None] if batched else corners
        file["coords"].attrs.update({k: v for k, v in (attributes | changes).items() if v is not None})
    return path


def matches(path, *, centres):
    adata = anndata.read_h5ad(path)
    assert check(path) == []
    assert np.allclose(adata.obsm["spatial"], centres)
    assert np.allclose(adata.X, features(len(centres)), atol=1e-3)
    return adata, json.loads(adata.uns["embedder"])


@pytest.mark.parametrize("batched", [False, True])
def test_tridents_features_keep_their_places(tmp_path, batched, caplog):
    source = write_trident(tmp_path / "case-7.h5", batched=batched)
    made = convert(source, tmp_path / "out" / "a.h5ad", umap=False)
    assert (made.kind, made.n_patches, made.n_features) == ("trident", 35, 16)
    adata, known = matches(made.path, centres=grid() + STEP / 2)
    assert adata.obs_names[1] == "case-7_100_748"
    assert adata.var_names[0] == "uni_v1_0000"
    assert known["slide"]["size"] == [5000, 4000]
    assert (known["slide"]["mpp_x"], known["slide"]["mpp_source"]) == (0.25, "objective power")
    assert known["grid"]["target_mpp"] == 0.5
    assert (known["grid"]["stride"], known["grid"]["overlap"]) == (224, 0)
    assert known["converted"] == {"from": "trident"}
    assert "an estimate" in caplog.text
    assert "/home/ann" not in made.path.read_bytes().decode(errors="ignore")


def test_a_resolution_that_is_given_is_taken(tmp_path):
    source = write_trident(tmp_path / "a.h5", level0_magnification=None)
    with pytest.raises(ConvertError, match=r"--mpp"):
        convert(source, tmp_path / "a.h5ad")
    convert(source, tmp_path / "a.h5ad", mpp=0.2425, umap=False)
    _, known = matches(tmp_path / "a.h5ad", centres=grid() + STEP / 2)
    assert (known["slide"]["mpp_x"], known["slide"]["mpp_source"]) == (0.2425, "user")


def test_clams_features_need_what_they_do_not_say(tmp_path):
    source = tmp_path / "clam.h5"
    with h5py.File(source, "w") as file:
        file["features"], file["coords"] = features(35), grid()
    with pytest.raises(ConvertError, match="--mpp"):
        convert(source, tmp_path / "a.h5ad")
    with pytest.raises(ConvertError, match="--patch-size0"):
        convert(source, tmp_path / "a.h5ad", mpp=0.25)
    made = convert(source, tmp_path / "a.h5ad", mpp=0.25, patch_size0=STEP, umap=False)
    assert made.kind == "clam"
    matches(made.path, centres=grid() + STEP / 2)
    with h5py.File(source, "r+") as file:  # as CLAM's own patching has it
        file["coords"].attrs.update({"patch_size": 224, "patch_level": 1, "downsample": (2.0, 2.0)})
    convert(source, tmp_path / "b.h5ad", mpp=0.25, umap=False)
    _, known = matches(tmp_path / "b.h5ad", centres=grid() + STEP / 2)
    assert known["grid"]["patch_size0"] == STEP


def write_lazyslide(path, *, tables=("resnet18",), shuffle=True):
    """A store with the layout of LazySlide 0.13, as one that it wrote was seen to have."""
    import geopandas
    import spatialdata
    from spatialdata.models import ShapesModel, TableModel

    corners = grid()
    boxes = shapely.box(*corners.T, *(corners + STEP).T)
    shapes = ShapesModel.parse(geopandas.GeoDataFrame(geometry=boxes))
    order = np.random.default_rng(1).permutation(len(corners)) if shuffle else np.arange(len(corners))
    made = {}
    for table in tables:
        obs = pd.DataFrame(
            {"tile_id": order, "library_id": pd.Categorical(["tiles"] * len(order))},
            index=[str(each) for each in range(len(order))],
        )
        adata = anndata.AnnData(X=features(len(corners))[order], obs=obs)
        made[f"{table}_tiles"] = TableModel.parse(
            adata, region="tiles", region_key="library_id", instance_key="tile_id"
        )
    store = spatialdata.SpatialData(shapes={"tiles": shapes}, tables=made)
    store.attrs["slide_properties"] = {"shape": [4000, 5000], "mpp": 0.25, "bounds": [0, 0, 5000, 4000]}
    store.attrs["tile_spec"] = {
        "tiles": {
            "height": 224, "width": 224, "stride_height": 224, "stride_width": 224, "mpp": 0.5,
            "ops_level": 1, "ops_downsample": 1.0, "base_level": 0, "base_downsample": 2.0,
        }
    }  # fmt: skip
    store.write(path)
    return path


def test_lazyslides_rows_find_their_tiles(tmp_path):
    made = convert(write_lazyslide(tmp_path / "x.zarr"), tmp_path / "x.h5ad", umap=False)
    assert made.kind == "lazyslide"
    adata = anndata.read_h5ad(made.path)
    assert check(made.path) == []
    # Rows were shuffled; each must have the place of its own tile.
    by_place = {tuple(place): row for place, row in zip(adata.obsm["spatial"], adata.X, strict=True)}
    for corner, row in zip(grid(), features(35), strict=True):
        assert np.array_equal(by_place[tuple(corner + STEP / 2)], row)
    known = json.loads(adata.uns["embedder"])
    assert known["slide"]["size"] == [5000, 4000]
    assert (known["slide"]["mpp_x"], known["grid"]["target_mpp"]) == (0.25, 0.5)
    assert known["encoder"]["name"] == "resnet18"


def test_one_of_several_tables_is_named(tmp_path):
    source = write_lazyslide(tmp_path / "x.zarr", tables=("resnet18", "uni"))
    with pytest.raises(ConvertError, match=r"resnet18_tiles, uni_tiles.*--table"):
        convert(source, tmp_path / "x.h5ad")
    with pytest.raises(ConvertError, match="no table 'conch'"):
        convert(source, tmp_path / "x.h5ad", table="conch")
    convert(source, tmp_path / "x.h5ad", table="uni_tiles", umap=False)
    assert json.loads(anndata.read_h5ad(tmp_path / "x.h5ad").uns["embedder"])["encoder"]["name"] == "uni"


@pytest.mark.parametrize("kind", ["float64", "float16", "sparse"])
@pytest.mark.parametrize("corners", [False, True])
def test_an_anndata_of_another_kind_is_read(tmp_path, kind, corners):
    X = features(35)
    X = scipy.sparse.csr_matrix(X) if kind == "sparse" else X.astype(kind)
    adata = anndata.AnnData(X=X)
    # In pixels of a level that is four times smaller, as DEPICTER has them.
    adata.obsm["spatial"] = (grid() + (0 if corners else STEP / 2)) / 4
    adata.write_h5ad(tmp_path / "other.h5ad")
    arguments = ["convert", tmp_path / "other.h5ad", "-o", tmp_path / "a.h5ad", "--mpp", 0.25, "--unit", 4]
    arguments += ["--patch-size0", STEP, "--no-umap", *(["--corners"] if corners else [])]
    assert main(list(map(str, arguments))) == 0
    matches(tmp_path / "a.h5ad", centres=grid() + STEP / 2)


def test_what_was_converted_can_be_annotated_with_umap_colours(tmp_path):
    made = convert(write_trident(tmp_path / "a.h5"), tmp_path / "a.h5ad")
    assert len(set(anndata.read_h5ad(made.path).obs["umap_rgb"])) > 10
    slide = open_slide_file(made.path)
    assert slide.spacing == STEP
    (tmp_path / "seeds.csv").write_text("x,y,class\n324,524,1\n324,972,1\n3012,2316,0\n2564,2316,0\n")
    arguments = ["run", made.path, "--seeds", tmp_path / "seeds.csv", "-o", tmp_path / "labels.csv"]
    assert sic.main(list(map(str, arguments))) == 0
    assert len(pd.read_csv(tmp_path / "labels.csv")) == 35
    project = json.loads((tmp_path / "a.tmap").read_text())
    assert project["layers"] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.pop("coords"), "has no features and coords but features"),
        (lambda file: file["coords"].write_direct(np.zeros((35, 2), np.int64)), "the same place"),
        (lambda file: file["coords"].attrs.update({"level0_magnification": 4000}), "no slide has"),
    ],
)
def test_what_cannot_be_right_is_one_line(tmp_path, change, told):
    source = write_trident(tmp_path / "a.h5")
    with h5py.File(source, "r+") as file:
        change(file)
    with pytest.raises(ConvertError, match=told) as error:
        convert(source, tmp_path / "out.h5ad", umap=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.h5ad").exists()


def test_what_is_nothing_known_is_told(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    )
    for name, told in (("a.pt", "is none of"), ("missing.h5", "no such file"), ("b.zarr", "not laid out")):
        with pytest.raises(ConvertError, match=told):
            convert(tmp_path / name, tmp_path / "out.h5ad")


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch, caplog):
    source = write_lazyslide(tmp_path / "x.zarr")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["convert", str(source), "-o", str(tmp_path / "x.h5ad")]) == 1
    assert f"run {tell_install('convert')}" in caplog.text


def test_patches_that_are_no_numbers_are_named_and_may_be_left_out(tmp_path, caplog):
    source = write_trident(tmp_path / "nan.h5")
    with h5py.File(source, "r+") as file:
        file["features"][3, 5] = np.nan
        file["features"][20] = np.inf
    (tmp_path / "q.tmap").write_text("somebody's")
    with pytest.raises(ConvertError) as refused:
        convert(source, tmp_path / "q.h5ad", umap=False)
    assert "nan.h5: 2 of 35 patches hold NaN" in str(refused.value)
    assert "rows 3, 20," in str(refused.value)
    assert "--drop-nan" in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {"nan.h5", "q.tmap"}
    assert (tmp_path / "q.tmap").read_text() == "somebody's"
    command = ["convert", str(source), "-o", str(tmp_path / "q.h5ad"), "--no-umap", "--drop-nan"]
    assert main(command) == 0
    assert "2 of 35 patches" in caplog.text
    made = anndata.read_h5ad(tmp_path / "q.h5ad")
    assert check(tmp_path / "q.h5ad") == []
    assert np.array_equal(made.X, np.delete(features(35), [3, 20], axis=0))
    assert np.array_equal(made.obsm["spatial"], np.delete(grid() + STEP / 2, [3, 20], axis=0))
    assert json.loads((tmp_path / "q.tmap").read_text())["markerFiles"][0]["path"] == "q.h5ad"


def test_a_conversion_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    source = write_trident(tmp_path / "a.h5")
    convert(source, tmp_path / "q.h5ad", umap=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*args, **parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedder.embedding.writing.write_matrix", fail)
    with pytest.raises(OSError, match="No space") as full:
        convert(source, tmp_path / "q.h5ad", umap=False, name="other")
    assert full.value.filename == str(tmp_path / "q.h5ad")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "damaged or cut short"),
    ],
)
def test_a_source_that_is_something_else_is_named_and_told(tmp_path, content, told):
    for name in ("x.h5", "x.h5ad"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConvertError, match=told) as refused:
            convert(tmp_path / name, tmp_path / "target.h5ad")
        assert str(refused.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "target.h5ad").exists()


@pytest.mark.parametrize(
    ("values", "told"),
    [(np.zeros((35, 16), np.float32), "the same embedding"), (np.full((35, 16), b"x"), "are no numbers")],
)
def test_embeddings_that_tell_nothing_are_refused_by_the_files_name(tmp_path, values, told):
    source = write_trident(tmp_path / "odd.h5")
    with h5py.File(source, "r+") as file:
        del file["features"]
        file["features"] = values
    with pytest.raises(ConvertError, match=rf"^odd\.h5: .*{told}"):
        convert(source, tmp_path / "q.h5ad", umap=False)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.h5"]
