"""Every broken rule of the file contract is named, with its fix."""

import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from making_slides import slide_arguments

from embedder.anndata_io import write_slide
from embedder.contract import check


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
