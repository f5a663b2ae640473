"""Every broken rule of the file contract is named, with its fix."""

import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from making.slides import slide_arguments, with_fine

from embedder.embedding.writing import write_slide
from tissuumaps_sic.slidefile.contract import check, foresee
from tissuumaps_sic.slidefile.paths import holds_path
from tissuumaps_sic.slidefile.provenance import EncoderRecord, Provenance, SlideRecord


@pytest.fixture
def h5ad(tmp_path):
    path = tmp_path / "A b.h5ad"
    write_slide(path, **slide_arguments())
    return path


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


def _rewrite(change, **options):
    def spoil(path):
        # Without this pandas 3 makes other strings of all of them, and breaks more rules than one.
        with pd.option_context("future.infer_string", False):
            adata = anndata.read_h5ad(path)
            change(adata)
            with anndata.settings.override(allow_write_nullable_strings=True):
                adata.write_h5ad(path, convert_strings_to_categoricals=False, **options)

    return spoil


def _write_gzip(path):
    """Write a file anew, its texts as the contract's fixes say: pandas 3 reads them as nullable strings."""
    adata = anndata.read_h5ad(path)
    for frame in (adata.obs, adata.var):
        frame.index = frame.index.astype(object)
        for name in frame.select_dtypes("string"):
            frame[name] = frame[name].astype(object)
    adata.write_h5ad(path, compression="gzip", convert_strings_to_categoricals=False)


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


def _project(change):
    def spoil(adata):
        made = json.loads(adata.uns["tmap"])
        change(made)
        adata.uns["tmap"] = json.dumps(made)

    return _rewrite(spoil)


def _chunked(path):
    with h5py.File(path, "r+") as file:
        X, attributes = file["X"][()], dict(file["X"].attrs)
        del file["X"]
        file.create_dataset("X", data=X, chunks=(4, 5)).attrs.update(attributes)


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (_rewrite(_sparse), {"X-dense-float32"}),
        (_replace("X", lambda X: X.astype(np.float64)), {"X-dense-float32"}),
        (_edit(lambda file: file.__delitem__("X")), {"X-dense-float32"}),
        (_rewrite(lambda adata: None, compression="lzf"), {"gzip-only"}),
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
        (_chunked, {"X-contiguous"}),
        (_edit(lambda file: file["var"].move("_index", "b")), {"var-index"}),
        (_replace("obs/_index", np.arange(12)), {"obs-index"}),
        (_replace("obs/tissue", np.zeros(11, np.float32)), {"lengths"}),
        (_replace("obsm/X_umap", np.zeros((11, 2), np.float32)), {"lengths"}),
        (_replace("X", lambda X: X[:, :4]), {"lengths"}),
        (_replace("obs/library_id/codes", np.zeros(12)), {"obs-library_id"}),
        (_project(lambda made: made["layers"][0].update(tileSource="/data/ann/x.svs.dzi")), {"no-paths"}),
        (_project(lambda made: made["layers"][0].update(tileSource="../ann/x.svs.dzi")), {"no-paths"}),
        (_project(lambda made: made["markerFiles"][0].update(path="C:\\ann\\x.h5ad")), {"no-paths"}),
        (_rewrite(lambda a: a.uns.__setitem__("sic", '{"from": "/home/ann/x"}')), {"no-paths"}),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), {"file"}),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), {"file"}),
        (lambda path: path.write_bytes(b""), {"file"}),
        (lambda path: (path.unlink(), path.mkdir()), {"file"}),
        (lambda path: path.write_text("nothing"), {"file"}),
        (lambda path: path.unlink(), {"file"}),
    ],
)  # fmt: skip
def test_each_broken_rule_is_named_with_its_fix(h5ad, spoil, rules):
    spoil(h5ad)
    problems = check(h5ad)
    assert {problem.rule for problem in problems} == rules
    assert all(problem.what and problem.fix and "\n" not in problem.what for problem in problems)


@pytest.fixture
def with_cells(tmp_path):
    path = tmp_path / "A b.h5ad"
    write_slide(path, **with_fine(slide_arguments()))
    return path


def test_a_file_may_have_cells_smaller_than_a_patch(with_cells):
    assert check(with_cells) == []
    _write_gzip(with_cells)
    assert check(with_cells) == []


def _chunked_cells(path):
    with h5py.File(path, "r+") as file:
        values, attributes = file["obsm/fine"][()], dict(file["obsm/fine"].attrs)
        del file["obsm/fine"]
        file.create_dataset("obsm/fine", data=values, chunks=(4, 12)).attrs.update(attributes)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_edit(lambda file: file["obsm"].__delitem__("fine")), "there is only obsm['fine_tissue']"),
        (_edit(lambda file: file["obsm"].__delitem__("fine_tissue")), "there is only obsm['fine']"),
        (_provenance(lambda known: known.pop("fine")), "only obsm['fine'] and obsm['fine_tissue']"),
        (_provenance(lambda known: known.update(fine=3)), "does not tell the cells' side"),
        (_provenance(lambda known: known["fine"].update(side=0)), "does not tell the cells' side"),
        (_provenance(lambda known: known["fine"].update(side=4)), "not float16 of 48 columns"),
        (_provenance(lambda known: known["fine"].update(channels=2)), "not float16 of 8 columns"),
        (_provenance(lambda known: known["fine"].update(cell=16)), "are not the stride of 250 px"),
        (_provenance(lambda known: known["fine"].pop("cell")), "are not the stride of 250 px"),
        (_replace("obsm/fine", lambda values: values.astype(np.float32)), "is float32 of shape"),
        (_replace("obsm/fine", lambda values: values.reshape(12, 2, 2, 3)), "of shape (12, 2, 2, 3)"),
        (_replace("obsm/fine", lambda values: np.full_like(values, np.inf)), "NaN or infinity"),
        (_replace("obsm/fine_tissue", lambda values: values.astype(np.int64)), "is int64 of shape"),
        (_replace("obsm/fine_tissue", lambda values: values + np.uint8(60)), "more than 100 percent"),
        (_chunked_cells, "stored in chunks"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_cells_is_named(with_cells, spoil, told):
    spoil(with_cells)
    problems = check(with_cells)
    assert {problem.rule for problem in problems} == {"fine"}
    assert told in " ".join(problem.what for problem in problems)


def test_a_file_of_another_tool_is_checked_without_a_crash(tmp_path):
    anndata.AnnData(np.eye(3)).write_h5ad(tmp_path / "other.h5ad")
    rules = {problem.rule for problem in check(tmp_path / "other.h5ad")}
    assert {"X-dense-float32", "spatial-centres", "uns-embedder", "obs-corners"} <= rules


def test_a_file_compressed_with_gzip_follows_the_contract(h5ad):
    _write_gzip(h5ad)
    assert check(h5ad) == []


ODD = {
    "nothing": None,
    "empty group": {},
    "no value": h5py.Empty("f4"),
    "number": 3,
    "text": "x",
    "JSON of another kind": '{"grid": 3, "slide": [], "layers": 1, "markerFiles": {"a": 1}}',
    "words": np.array(["a", "b"], object),
    "bytes": np.array([b"\xff\xfe"] * 12),
    "not numbers": np.full(12, np.nan),
    "cube": np.zeros((12, 2, 2)),
    "records": np.zeros(12, dtype=[("a", "i4")]),
    "broken link": h5py.SoftLink("/nowhere"),
}


@pytest.mark.parametrize("odd", ODD)
def test_whatever_stands_in_a_place_of_the_contract_is_named_and_never_raises(h5ad, odd):
    places = ["X", "obs", "obs/_index", "obs/x0", "obs/y0", "obs/umap_rgb", "obs/library_id", "obs/tissue"]
    places += ["var", "var/_index", "obsm", "obsm/spatial", "obsm/X_umap", "obsm/X_umap_3d"]
    places += ["uns", "uns/embedder", "uns/tmap", "obsm/fine", "obsm/fine_tissue"]
    write_slide(h5ad, **with_fine(slide_arguments()))
    good = h5ad.read_bytes()
    for place in places:
        h5ad.write_bytes(good)
        with h5py.File(h5ad, "r+") as file:
            attributes = dict(file[place].attrs)
            del file[place]
            if odd == "empty group":
                file.create_group(place)
            elif odd != "nothing":
                file[place] = ODD[odd]
            if odd not in ("nothing", "broken link"):
                file[place].attrs.update(attributes)
        problems = check(h5ad)
        assert problems, place
        assert all(problem.fix and "\n" not in problem.what for problem in problems)


PATHS = [
    *("/home/ann/w.pth", "from /home/ann/w.pth", "weights=/data/x/y", "path:/home/ann/x", "'/mnt/lab/x'"),
    *(r"\\server\share\x", "//server/share/x", r"see D:\x", "x,d:/y", "file:///x", "see file:/etc/passwd"),
    *("~/slides", "~ann/slides", r"~\slides", "x ../y", r"..\y", "/Volumes/LAB 1/x", "\u00a0/home/ann"),
]
NAMES = [
    *("~tilde.tif", "/x", "a/b", "C:x", "colon:x", "H/E", "https://example.org/a/b", "s3://bucket/key/x"),
    *(
        "/obsm/spatial;0",
        "RGB 0..255, minus (1, 2)",
        "12/03/2020",
        "~5/6",
        "tumor /stroma",
        "/",
        "..",
        "a..b",
    ),
]


def test_paths_are_found_wherever_they_stand_and_names_are_none():
    assert [each for each in PATHS if not holds_path(each)] == []
    assert [each for each in NAMES if holds_path(each)] == []


@pytest.mark.parametrize(
    "name", ["~tilde", "/x", "C:x", r"C:\x", "..x", "a..b", "file x", "x%2Fy", "S21 #2 A1"]
)
def test_slides_and_classes_are_called_what_people_call_them(h5ad, name):
    with h5py.File(h5ad, "r+") as file:
        known, project = (json.loads(file[f"uns/{key}"].asstr()[()]) for key in ("embedder", "tmap"))
        known["slide"]["name"] = name
        project["filename"] = name
        project["layers"][0] = {"name": name, "tileSource": "below/~tilde.tif.dzi"}
        project["markerFiles"][0] |= {"title": name, "path": "below/~tilde.h5ad"}
        for key, value in (("embedder", known), ("tmap", project)):
            file[f"uns/{key}"][()] = json.dumps(value)
        sic = {"classes": [{"name": name}], "run": {"classes": [{"name": name}], "user": name}}
        anndata.io.write_elem(file["uns"], "sic", json.dumps(sic))
    assert check(h5ad) == []


AWAY = [
    "/x.dzi",
    "%2Fx.dzi",
    "//server/x",
    r"\x",
    "~/x",
    "C:/x",
    r"C:\x",
    "file:x",
    "../x",
    "a/%2E%2e/x",
    "a/..",
]
BESIDE = [
    "~tilde.tif.dzi",
    "C%3A%5Cx.dzi",
    "file%3Ax.dzi",
    "colon:x.dzi",
    "a/b.dzi",
    "a..b/x..dzi",
    "x%252F..y",
]


@pytest.mark.parametrize(("entries", "key"), [("layers", "tileSource"), ("markerFiles", "path")])
def test_addresses_that_lead_away_are_foreseen_and_others_are_not(entries, key):
    told = [each for each in AWAY + BESIDE if foresee(Provenance(), {entries: [{key: each}]})]
    assert told == AWAY
    assert [each.rule for each in foresee(Provenance(), {entries: [{key: ["x.dzi", "/x.dzi"]}]})] == [
        "no-paths"
    ]


def test_what_would_be_refused_at_the_end_is_known_before():
    assert foresee(Provenance(slide=SlideRecord(name="~tilde")), {}) == []
    assert foresee(Provenance(encoder=EncoderRecord(source="from /home/ann/w.pth")), {})[0].rule == "no-paths"
    assert foresee(Provenance(slide=SlideRecord(name="scan\udce9")), {})[0].rule == "names"


@pytest.mark.parametrize("place", ["X", "obs/y0", "obs/_index", "obsm/spatial"])
def test_what_a_file_only_declares_is_never_read(h5ad, place):
    with h5py.File(h5ad, "r+") as file:
        kind, shape, attributes = file[place].dtype, file[place].shape, dict(file[place].attrs)
        del file[place]
        shape = (10**12, *shape[1:])
        file.create_dataset(place, shape, kind, chunks=(64, *shape[1:]), compression="gzip")
        file[place].attrs.update(attributes)
    assert [each.rule for each in check(h5ad)] == ["sizes"]


def test_a_file_that_anndata_wrote_again_is_told_how_to_be_written(h5ad):
    adata = anndata.read_h5ad(h5ad)
    adata.obs["umap_rgb"] = "#808080"  # of texts that are all different it makes none
    adata.write_h5ad(h5ad)
    (problem,) = [each for each in check(h5ad) if each.rule == "obs-umap_rgb"]
    assert "categorical, which AnnData makes of texts" in problem.what
    # And doing what it says mends it.
    adata = anndata.read_h5ad(h5ad)
    adata.obs["umap_rgb"] = adata.obs["umap_rgb"].astype(object)
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    assert not [each for each in check(h5ad) if each.rule == "obs-umap_rgb"]
