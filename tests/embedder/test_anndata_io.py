"""The file contract: what is written, what opens it, and that every broken rule is named."""

import json
from importlib.metadata import version

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from embedder.anndata_io import check, tmap_project, write_slide, write_tmap


def slide_arguments(n=12):
    rng = np.random.default_rng(0)
    # Four columns and three rows, patches of 250 level-0 pixels every 125, so that x and y differ.
    x0 = np.array([0, 125, 250, 375] * 3, dtype=np.int64)[:n]
    y0 = np.repeat(np.array([0, 125, 250], dtype=np.int64), 4)[:n]
    centres = np.column_stack([x0, y0]) + 125.0
    provenance = {
        "slide": {"name": "A b", "size": [2000, 1000]},
        "grid": {"patch_size0": 250.0},
        **{key: {} for key in ("tissue", "encoder", "versions", "seconds")},
    }
    return {
        "X": rng.normal(size=(n, 5)).astype(np.float32),
        "x0": x0,
        "y0": y0,
        "centres": centres,
        "tissue": np.linspace(0, 1, n, dtype=np.float32),
        "umap2": rng.normal(size=(n, 2)).astype(np.float32),
        "umap3": rng.normal(size=(n, 3)).astype(np.float32),
        "colors": [f"#0000{i:02x}" for i in range(n)],
        "slide_name": "A b",
        "encoder_name": "net",
        "provenance": provenance,
        "tmap": project(centres),
    }


def project(centres, *, image="A b.svs", stride0=125.0, slide_size=(2000, 1000)):
    return tmap_project(
        h5ad_name="A b.h5ad",
        slide_name="A b",
        image=image,
        slide_size=slide_size,
        centres=centres,
        stride0=stride0,
        mpp=0.25,
    )


@pytest.fixture
def h5ad(tmp_path):
    path = tmp_path / "A b.h5ad"
    write_slide(path, **slide_arguments())
    return path


def test_a_written_file_follows_the_contract_and_reads_back_as_it_was(h5ad):
    given = slide_arguments()
    assert check(h5ad) == []
    adata = anndata.read_h5ad(h5ad)
    assert np.array_equal(adata.X, given["X"])
    assert adata.obs_names[1] == "A b_125_0"
    assert adata.obs_names[4] == "A b_0_125"
    assert adata.var_names.tolist() == [f"net_{i:04d}" for i in range(5)]
    assert np.array_equal(adata.obsm["spatial"], given["centres"])
    assert np.array_equal(adata.obs["x0"], given["x0"])
    assert np.array_equal(adata.obs["y0"], given["y0"])
    assert adata.obs["umap_rgb"].tolist() == given["colors"]
    assert np.array_equal(adata.obsm["X_umap_3d"], given["umap3"])
    assert json.loads(adata.uns["embedder"]) == given["provenance"]


def test_embeddings_can_be_mapped_from_the_file(h5ad):
    given = slide_arguments()["X"]
    with h5py.File(h5ad) as file:
        offset = file["X"].id.get_offset()
    assert np.array_equal(np.memmap(h5ad, np.float32, "r", offset, given.shape), given)


def test_a_memory_map_is_written_like_an_array(tmp_path):
    given = slide_arguments()
    given["X"].tofile(tmp_path / "x.bin")
    given["X"] = np.memmap(tmp_path / "x.bin", np.float32, "r", shape=(12, 5))
    write_slide(tmp_path / "m.h5ad", **given)
    assert np.array_equal(anndata.read_h5ad(tmp_path / "m.h5ad").X, given["X"])


def test_scanpy_opens_the_file(h5ad):
    scanpy = pytest.importorskip("scanpy")
    adata = scanpy.read_h5ad(h5ad)
    scanpy.pp.neighbors(adata, n_neighbors=3, use_rep="X")
    assert adata.obs["library_id"].cat.categories.tolist() == ["A b"]


def test_tissuumaps_own_loader_opens_the_file_and_writes_nothing_beside_it(h5ad):
    from tissuumaps.read_h5ad import h5ad_to_tmap

    before = sorted(path.name for path in h5ad.parent.iterdir())
    opened = h5ad_to_tmap(str(h5ad.parent), h5ad.name)
    assert opened["markerFiles"][0]["expectedHeader"]["cb_col"] == "/obs/umap_rgb"
    assert sorted(path.name for path in h5ad.parent.iterdir()) == before


def test_the_project_is_valid_for_tissuumaps_of_the_installed_version(h5ad):
    from tissuumaps_schema import current

    made = project(slide_arguments()["centres"])
    current.Project.model_validate(made)
    assert made["schemaVersion"] == ".".join(version("tissuumaps-schema").split(".")[:2])
    write_tmap(h5ad.with_suffix(".tmap"), made)
    assert json.loads(h5ad.with_suffix(".tmap").read_text()) == made


def test_a_project_without_an_image_has_no_layer_and_the_markers_size_of_the_empty_canvas():
    # The canvas is 6 % wider than the last centre; the squares must keep their share of it.
    centres = np.array([[100.0, 600.0], [1000.0, 700.0]])
    bare = project(centres, image=None)
    framed = project(centres, slide_size=(1060, 900))
    assert bare["layers"] == []
    assert bare["markerFiles"][0]["expectedHeader"] == framed["markerFiles"][0]["expectedHeader"]
    # Small coordinates are stretched to 5000 pixels, and the squares with them.
    small = project(centres / 10, image=None, stride0=12.5)
    stretched = project(centres, slide_size=(int(900 * 1.06), 900))
    factor = [each["markerFiles"][0]["expectedHeader"]["scale_factor"] for each in (small, stretched)]
    assert factor[0] == pytest.approx(factor[1], rel=0.01)


def test_a_thumbnail_takes_the_projects_place(tmp_path):
    path = tmp_path / "t.h5ad"
    write_slide(path, **slide_arguments(), thumbnail=np.zeros((100, 200, 3), np.uint8))
    assert check(path) == []
    adata = anndata.read_h5ad(path)
    assert "tmap" not in adata.uns
    assert adata.uns["spatial"]["A b"]["scalefactors"]["tissue_hires_scalef"] == 0.1


def test_a_failed_write_leaves_the_old_file_and_no_litter(h5ad, monkeypatch):
    before = h5ad.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_slide(h5ad, **slide_arguments(8))
    assert h5ad.read_bytes() == before
    assert [path.name for path in h5ad.parent.iterdir()] == [h5ad.name]


def _edit(change):
    def spoil(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return spoil


def _replace(key, values):
    def change(file):
        attributes = dict(file[key].attrs)
        new = values(file[key][()]) if callable(values) else values
        del file[key]
        file[key] = new
        file[key].attrs.update(attributes)

    return _edit(change)


def _rewrite(change):
    def spoil(path):
        adata = anndata.read_h5ad(path)
        change(adata)
        with anndata.settings.override(allow_write_nullable_strings=True):
            adata.write_h5ad(path, convert_strings_to_categoricals=False)

    return spoil


def _sparse(adata):
    from scipy import sparse

    adata.X = sparse.csr_matrix(adata.X)


def _nullable(adata):
    adata.obs["n"] = pd.array([1] * adata.n_obs, dtype="Int64")


def _string_index(adata):
    adata.obs.index = pd.Index(adata.obs_names, dtype="string")


def _provenance(change):
    def spoil(adata):
        known = json.loads(adata.uns["embedder"])
        change(known)
        adata.uns["embedder"] = json.dumps(known)

    return _rewrite(spoil)


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (_rewrite(_sparse), {"X-dense-float32"}),
        (_replace("X", lambda X: X.astype(np.float64)), {"X-dense-float32"}),
        (_edit(lambda file: file.__delitem__("X")), {"X-dense-float32"}),
        (lambda path: anndata.read_h5ad(path).write_h5ad(path, compression="lzf",
            convert_strings_to_categoricals=False), {"gzip-only"}),
        (_rewrite(_nullable), {"no-nullable"}),
        (_rewrite(_string_index), {"obs-index"}),
        (_replace("obs/x0", lambda x: x.astype(np.int32)), {"obs-corners"}),
        (_replace("obs/umap_rgb", np.arange(12)), {"obs-umap_rgb"}),
        (_replace("obs/umap_rgb", np.array(["red"] * 12, object)), {"obs-umap_rgb"}),
        (_rewrite(lambda a: a.obs.__setitem__("library_id", 1)), {"obs-library_id"}),
        (_rewrite(lambda a: a.obs.__setitem__("tissue", 1.0)), {"obs-tissue"}),
        (_rewrite(lambda a: setattr(a, "obs_names", [f"p{i}" for i in range(a.n_obs)])), {"obs-names"}),
        (_rewrite(lambda a: setattr(a, "var_names", list("abcde"))), {"var-names"}),
        (_replace("obsm/spatial", lambda xy: xy[:, ::-1]), {"spatial-centres"}),
        (_replace("obsm/spatial", lambda xy: xy - 125), {"spatial-centres"}),
        (_replace("obsm/spatial", lambda xy: xy.astype(np.float32)), {"spatial-centres"}),
        (_replace("obsm/X_umap", np.zeros((12, 3), np.float32)), {"obsm-umap"}),
        (_edit(lambda file: file.__delitem__("uns/embedder")), {"uns-embedder"}),
        (_provenance(lambda known: known.pop("encoder")), {"uns-embedder"}),
        (_provenance(lambda known: known["slide"].update(path="/home/ann/x.svs")), {"no-paths"}),
        (_provenance(lambda known: known["slide"].update(path="C:\\ann\\x.svs")), {"no-paths"}),
        (_rewrite(lambda a: a.uns.__setitem__("tmap", "{}")), {"uns-tmap"}),
        (_edit(lambda file: file.__delitem__("uns/tmap")), {"uns-tmap"}),
        (_rewrite(lambda a: a.uns.__setitem__("spatial", {"A b": {"images": {}}})),
            {"tmap-or-spatial", "uns-spatial"}),
        (_rewrite(lambda a: a.obsp.__setitem__("spatial_connectivities", np.eye(12))), {"no-connectivities"}),
        (_rewrite(lambda a: a.obs.__setitem__("sic_label", 1)), {"labels"}),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), {"file"}),
        (lambda path: path.write_text("nothing"), {"file"}),
        (lambda path: path.unlink(), {"file"}),
    ],
)  # fmt: skip
def test_each_broken_rule_is_named_with_its_fix(h5ad, spoil, rules):
    spoil(h5ad)
    problems = check(h5ad)
    assert {problem.rule for problem in problems} == rules
    assert all(problem.what and problem.fix and "\n" not in problem.what for problem in problems)


def test_a_file_of_another_tool_is_checked_without_a_crash(tmp_path):
    anndata.AnnData(np.eye(3)).write_h5ad(tmp_path / "other.h5ad")
    rules = {problem.rule for problem in check(tmp_path / "other.h5ad")}
    assert {"X-dense-float32", "spatial-centres", "uns-embedder", "obs-corners"} <= rules
