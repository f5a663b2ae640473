"""What is written, and what opens it."""

import json
import tracemalloc

import anndata
import h5py
import numpy as np
import pytest
from making.slides import slide_arguments

from embedder.embedding.writing import write_slide
from tissuumaps_sic.slidefile.contract import ContractError, check


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
    assert json.loads(adata.uns["embedder"]) == given["provenance"].document


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


def test_what_breaks_the_contract_is_not_written(tmp_path):
    given = slide_arguments()
    given["provenance"].document["slide"]["folder"] = "/home/ann/slides"
    with pytest.raises(ContractError, match=r"no-paths.*/home/ann/slides"):
        write_slide(tmp_path / "a.h5ad", **given)
    given = slide_arguments()
    given["centres"] = given["centres"][:, ::-1]
    with pytest.raises(ContractError, match="spatial-centres"):
        write_slide(tmp_path / "a.h5ad", **given)
    assert list(tmp_path.iterdir()) == []


def test_embeddings_are_written_without_a_copy_in_memory(tmp_path):
    n = 8000
    X = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(n, 2048))
    X[:] = 1
    given = slide_arguments()
    for key in ("tissue", "umap2", "umap3", "colors"):
        given[key] = np.resize(given[key], (n, *np.shape(given[key])[1:]))
    given["x0"], given["y0"] = np.arange(n), np.zeros(n, np.int64)
    given["centres"] = np.column_stack([given["x0"], given["y0"]]) + 125.0
    write_slide(tmp_path / "a.h5ad", **slide_arguments())  # what is imported counts for nothing
    tracemalloc.start()
    write_slide(tmp_path / "m.h5ad", **(given | {"X": X}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4
