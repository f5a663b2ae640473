"""What is shared tells nothing of whose slide it is, and is as useful as before."""

import json
import socket
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from making_embeddings import MeanEncoder, write_ramp
from making_slides import slide_arguments

import embedder.embed
from embedder import combine
from embedder import share as share_module
from embedder.anndata_io import write_slide
from embedder.cli import main
from embedder.contract import check
from embedder.embed import EmbedOptions, embed_slides
from embedder.share import ShareError, read_key, share
from tissuumaps_sic import cli as sic
from tissuumaps_sic.clustering import SeededIterativeClustering
from tissuumaps_sic.slidefile.h5ad import StoredMatrix
from tissuumaps_sic.slides import open_slide_file

KEY = b"a secret of enough bytes"
NAME = "Patient-Miller-0815"


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """An embedded, labelled and crowded file: columns, layers and pixels that others put there."""
    monkeypatch.setattr(embedder.embed, "load_encoder", lambda *args, **kwargs: MeanEncoder())
    slide = write_ramp(tmp_path / f"{NAME}.tif", width=1900)
    options = EmbedOptions(umap=False, min_tissue=0)
    embed_slides([slide], tmp_path / "made", options)
    path = tmp_path / "made" / f"{NAME}.h5ad"
    (tmp_path / "other").mkdir()
    other = embed_slides([slide], tmp_path / "other", options)[0].h5ad
    combine.add_embedding(path, Path(other), name="again")
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("x,y,class\n200,200,1\n300,300,1\n1500,800,0\n1600,900,0\n")
    assert sic.main(["run", str(path), "--seeds", str(seeds), "-o", str(tmp_path / "labelled.h5ad")]) == 0
    adata = anndata.read_h5ad(tmp_path / "labelled.h5ad")
    adata.obs["patient"] = "Miller"
    adata.obs["stage"] = np.arange(adata.n_obs) % 3
    adata.var["note"] = "from the Miller study"
    adata.layers["raw"] = adata.X.copy()
    adata.obsm["X_private"] = np.ones((adata.n_obs, 3), np.float32)
    adata.uns["scanner"] = {"serial": "SS1234"}
    adata.obsp["near"] = np.eye(adata.n_obs)
    adata.write_h5ad(path, convert_strings_to_categoricals=False)
    return path


def all_bytes(path):
    return path.read_bytes() + path.with_suffix(".tmap").read_bytes()


def test_nothing_identifying_is_left_and_all_that_went_is_listed(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    content = all_bytes(shared.path)
    for told in (NAME, "Miller", "SS1234", "private", str(tmp_path), socket.gethostname(), ".tif"):
        assert told.lower().encode() not in content.lower(), told
    known = json.loads(anndata.read_h5ad(shared.path).uns["embedder"])
    assert known["slide"]["hash"] is None
    places = {change.place for change in shared.changes}
    assert {"obs/patient", "obs/stage", "var/note", "layers", "obsp", "obsm/X_private"} <= places
    assert {"uns/scanner", "uns/embedder: slide.hash", "obs index", "obs/library_id"} <= places
    assert any(place.startswith("uns/sic: ") and "run.time" in place for place in places)
    assert check(shared.path) == []


def test_what_is_useful_is_all_there(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    a, b = anndata.read_h5ad(labelled), anndata.read_h5ad(shared.path)
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.obsm["X_again"], b.obsm["X_again"])
    assert np.array_equal(a.obsm["spatial"], b.obsm["spatial"])
    for column in ("x0", "y0", "umap_rgb", "tissue", "sic_label", "sic_score", "sic_seed"):
        assert a.obs[column].tolist() == b.obs[column].tolist(), column
    before, after = (json.loads(each.uns["embedder"]) for each in (a, b))
    for part in ("grid", "encoder", "versions", "seconds"):
        assert before[part] == after[part]
    assert json.loads(b.uns["sic"])["run"]["method"] == "refine"
    classes = (json.loads(each.uns["sic"])["classes"] for each in (a, b))
    first, second = ([each["name"] for each in some] for some in classes)
    assert first == second
    slide = open_slide_file(shared.path)
    assert isinstance(slide.X, StoredMatrix)
    y = np.full(len(slide.X), -1)
    y[:2], y[-2:] = 1, 0
    SeededIterativeClustering(method="refine").fit(slide.X, y, slide.centres)


def test_a_name_is_the_same_for_the_same_key_and_another_for_another(labelled, tmp_path):
    names = [
        share(labelled, tmp_path / str(k), key=key, rename=True).name
        for k, key in enumerate([KEY, KEY, b"another secret of 16 bytes"])
    ]
    assert names[0] == names[1] != names[2]
    assert all(len(name) == 16 for name in names)
    shared = anndata.read_h5ad(tmp_path / "0" / f"{names[0]}.h5ad")
    assert all(name.startswith(f"{names[0]}_") for name in shared.obs_names)


def test_a_shift_moves_everything_alike_and_hides_the_size(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, shift=True)
    a, b = anndata.read_h5ad(labelled), anndata.read_h5ad(shared.path)
    moved = b.obsm["spatial"] - a.obsm["spatial"]
    assert (moved == moved[0]).all()
    assert (moved[0] != 0).all()
    assert (moved[0] == np.rint(moved[0])).all()
    assert (b.obs["x0"] - a.obs["x0"].to_numpy() == moved[0, 0]).all()
    assert (b.obs["y0"] - a.obs["y0"].to_numpy() == moved[0, 1]).all()
    assert (b.obs[["x0", "y0"]].to_numpy() >= 0).all()
    assert b.obs_names[0] == f"{NAME}_{b.obs['x0'].iloc[0]}_{b.obs['y0'].iloc[0]}"
    slide = json.loads(b.uns["embedder"])["slide"]
    edge = json.loads(b.uns["embedder"])["grid"]["patch_size0"]
    assert slide["size"] == (b.obs[["x0", "y0"]].max().to_numpy() + edge).tolist()
    assert slide["bounds"] == [0, 0, *slide["size"]]
    assert check(shared.path) == []
    other = share(labelled, tmp_path / "other", key=b"another secret of 16 bytes", shift=True)
    assert not np.array_equal(anndata.read_h5ad(other.path).obsm["spatial"], b.obsm["spatial"])


def test_the_project_shows_the_patches_without_the_image(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    project = json.loads(shared.path.with_suffix(".tmap").read_text())
    assert project["layers"] == []
    assert project["markerFiles"][0]["path"] == shared.path.name
    assert project == json.loads(anndata.read_h5ad(shared.path).uns["tmap"])


def test_pixels_are_never_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.embed, "load_encoder", lambda *args, **kwargs: MeanEncoder())
    slide = write_ramp(tmp_path / "ramp.tif")
    embed_slides([slide], tmp_path / "made", EmbedOptions(umap=False, min_tissue=0, thumbnail=True))
    shared = share(tmp_path / "made" / "ramp.h5ad", tmp_path / "shared")
    with h5py.File(shared.path) as file:
        assert "spatial" not in file["uns"]
    assert ("uns/spatial", "removed") in {(each.place, each.what) for each in shared.changes}
    assert check(shared.path) == []


def test_what_is_asked_for_is_kept(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", keep=["obs/stage"])
    found, expected = (anndata.read_h5ad(each).obs["stage"] for each in (shared.path, labelled))
    assert found.tolist() == expected.tolist()


def test_the_proof_finds_what_was_kept_by_mistake(labelled, tmp_path):
    adata = anndata.read_h5ad(labelled)
    adata.obs["file"] = [f"scan of {NAME.lower()}"] * adata.n_obs
    adata.obs["where"] = ["/home/ann/slides"] * adata.n_obs
    adata.write_h5ad(labelled, convert_strings_to_categoricals=False)
    for keep, told in (("obs/file", "the slide's name"), ("obs/where", "a path")):
        with pytest.raises(ShareError, match=f"would still hold {told} in {keep}"):
            share(labelled, tmp_path / "shared", key=KEY, rename=True, keep=[keep])
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.parametrize("who", ["gethostname", "user"])
def test_the_proof_finds_the_machine_and_the_user(labelled, tmp_path, monkeypatch, who):
    adata = anndata.read_h5ad(labelled)
    adata.obs["by"] = ["made by annmiller on labpc"] * adata.n_obs
    adata.write_h5ad(labelled, convert_strings_to_categoricals=False)
    if who == "user":
        monkeypatch.setattr(share_module, "_user", lambda: "annmiller")
    else:
        monkeypatch.setattr(share_module.socket, "gethostname", lambda: "labpc")
    with pytest.raises(ShareError, match=r"name in obs/by"):
        share(labelled, tmp_path / "shared", keep=["obs/by"])


def test_compressed_embeddings_are_the_same_and_pass_the_check(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", compress=True)
    with h5py.File(shared.path) as file:
        assert file["X"].compression == "gzip"
    assert np.array_equal(anndata.read_h5ad(shared.path).X, anndata.read_h5ad(labelled).X)
    assert check(shared.path) == []


def test_a_file_is_never_written_over_itself(labelled):
    before = labelled.read_bytes()
    with pytest.raises(ShareError, match="over itself"):
        share(labelled, labelled.parent)
    assert labelled.read_bytes() == before


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "key"
    key = read_key(path)
    assert len(key) >= 32
    assert read_key(path) == key
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("short")
    with pytest.raises(ShareError, match="at least 16"):
        read_key(path)


def test_the_command_shares_what_it_can_and_lists_it(labelled, tmp_path, capsys):
    bad = tmp_path / "bad.h5ad"
    bad.write_text("nothing")
    arguments = ["share", str(bad), str(labelled), "-o", str(tmp_path / "shared")]
    assert main([*arguments, "--rename", "--shift", "--key", str(tmp_path / "key")]) == 1
    told = capsys.readouterr().out
    assert "obs/patient: removed" in told
    assert len(list((tmp_path / "shared").glob("*.h5ad"))) == 1
    assert main(["share", str(labelled), "-o", str(tmp_path / "again"), "--rename"]) == 1
    assert main(["share", str(labelled), "-o", str(tmp_path / "plain"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == NAME


def test_a_file_that_does_not_say_how_it_lies_is_told(tmp_path):
    write_slide(tmp_path / "A b.h5ad", **slide_arguments())
    with pytest.raises(ShareError, match=r"has no 'stride'"):
        share(tmp_path / "A b.h5ad", tmp_path / "shared")
    assert not (tmp_path / "shared").exists()
