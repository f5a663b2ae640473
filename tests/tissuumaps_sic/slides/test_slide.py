import os
import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from making.files import write_small_h5ad
from scipy import sparse

from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.matrix import StoredMatrix
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import open_slide_file, outline


def test_embeddings_are_read_where_they_lie_and_equal_what_anndata_reads(small_h5ad):
    slide = open_slide_file(small_h5ad)
    adata = anndata.read_h5ad(small_h5ad)
    assert isinstance(slide.X, StoredMatrix)
    assert np.array_equal(slide.X, adata.X)
    assert list(slide.patch_names) == list(adata.obs_names)
    assert np.array_equal(slide.centres, adata.obsm["spatial"])
    assert slide.spacing == 128


def test_a_compressed_file_gives_the_same_embeddings(small_h5ad, tmp_path):
    adata = anndata.read_h5ad(small_h5ad)
    adata.write_h5ad(tmp_path / "packed.h5ad", compression="gzip")
    assert np.array_equal(open_slide_file(tmp_path / "packed.h5ad").X, adata.X)


def test_names_that_pandas_3_wrote_are_read(small_h5ad, tmp_path):
    adata = anndata.read_h5ad(small_h5ad)
    expected = list(adata.obs_names)
    adata.obs.index = pd.Index(expected, dtype="string")
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(tmp_path / "nullable.h5ad")
    with h5py.File(tmp_path / "nullable.h5ad") as file:
        assert isinstance(file["obs/_index"], h5py.Group)
    assert list(open_slide_file(tmp_path / "nullable.h5ad").patch_names) == expected


def test_the_nearest_patch_is_the_one_around_the_point_in_x_and_y(small_h5ad):
    slide = open_slide_file(small_h5ad)
    # Patches of 256 every 128 pixels: the third column and second row has its centre at (384, 256).
    assert slide.patch_names[slide.nearest(400.0, 230.0)] == "small_256_128"
    with pytest.raises(SlideFileError, match="no patch at x -500"):
        slide.nearest(-500.0, 0.0)


def _sparse(path):
    anndata.AnnData(X=sparse.csr_matrix(np.eye(4, dtype=np.float32))).write_h5ad(path)


def _truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _no_centres(path):
    with h5py.File(path, "r+") as file:
        del file["obsm/spatial"]


def _wrong_centres(path):
    with h5py.File(path, "r+") as file:
        del file["obsm/spatial"]
        file["obsm/spatial"] = np.zeros((3, 2))


def _lost(path):
    adata = anndata.read_h5ad(path)
    adata.obsm["spatial"][[7, 9, 10, 90], [0, 1, 0, 0]] = [np.nan, np.inf, np.nan, -np.inf]
    adata.write_h5ad(path)


def _put_together(path):
    adata = anndata.read_h5ad(path)
    anndata.concat([adata, adata]).write_h5ad(path)


def _one_name_twice(path):
    adata = anndata.read_h5ad(path)
    names = list(adata.obs_names)
    adata.obs_names = [*names[:-1], names[3]]
    adata.write_h5ad(path)


def _two_slides(path):
    adata = anndata.read_h5ad(path)
    adata.obs["library_id"] = pd.Categorical(["b"] * 50 + ["a"] * 46, categories=["a", "b", "c"])
    adata.write_h5ad(path)


def _no_patches(path):
    anndata.read_h5ad(path)[:0].copy().write_h5ad(path)


def _places_in_words(path):
    with h5py.File(path, "r+") as file:
        del file["obsm/spatial"]
        file.create_dataset("obsm/spatial", data=np.full((96, 2), "1", dtype=object))


def _old_frame(path):
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file["obs"] = np.zeros(96, [("index", "S4"), ("x0", "i8")])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_text("patch,x,y"), "not a readable h5ad"),
        (_truncated, "not a readable h5ad"),
        (_sparse, r"has no obsm/spatial|not a dense matrix"),
        (_no_centres, "has no obsm/spatial"),
        (_wrong_centres, "not one"),
        (_places_in_words, "not one"),
        (_lost, r"spatial'\] holds NaN or infinity in 4 of 96 patches, first in rows 7, 9, 10; leave those"),
        (_put_together, r"not unique: 'small_0_0' is that of rows 0 and 96.*obs_names_make_unique\(\)"),
        (_one_name_twice, r"not unique: 'small_384_0' is that of rows 3 and 95"),
        (_two_slides, r"patches of 2 slides \(a, b\), as obs\['library_id'\] says; write each into a file"),
        (_no_patches, "has no patches; embed the slide again"),
        (_old_frame, "obs is no data frame with an index of names"),
    ],
)
def test_a_spoilt_file_is_told_in_one_line(small_h5ad, spoil, message):
    spoil(small_h5ad)
    with pytest.raises(SlideFileError, match=message) as caught:
        open_slide_file(small_h5ad)
    assert small_h5ad.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_cache_keeps_slides_and_sees_a_replaced_file(small_h5ad, tmp_path):
    cache = SlideCache(size=1)
    first = cache.get(small_h5ad)
    assert cache.get(small_h5ad) is first
    other = write_small_h5ad(tmp_path / "other.h5ad", columns=6)
    shutil.copy(other, tmp_path / "new.h5ad")
    os.utime(tmp_path / "new.h5ad", ns=(1, 1))
    (tmp_path / "new.h5ad").replace(small_h5ad)
    assert cache.get(small_h5ad).n_patches == 48
    cache.get(other)
    assert cache.get(small_h5ad) is not first


def test_the_fingerprint_knows_the_order_of_the_patches(small_h5ad, tmp_path):
    adata = anndata.read_h5ad(small_h5ad)
    adata[::-1].copy().write_h5ad(tmp_path / "turned.h5ad")
    assert open_slide_file(tmp_path / "turned.h5ad").fingerprint != open_slide_file(small_h5ad).fingerprint


@pytest.mark.parametrize("library", [["a"] * 96, ["a"] * 95 + [None]])
def test_a_slide_that_is_named_opens(small_h5ad, library):
    adata = anndata.read_h5ad(small_h5ad)
    adata.obs["library_id"] = pd.Categorical(library, categories=["a", "b"])
    adata.write_h5ad(small_h5ad)
    assert open_slide_file(small_h5ad).n_patches == 96


@pytest.mark.parametrize(
    "value",
    [
        {"group": 1},
        3.5,
        np.void(b"\x00\xff"),
        np.array(["{}", "{}"], dtype=object),
        "{",
        "[" * 100_000,
        b"\xff",
    ],
    ids=["group", "number", "bytes", "array", "cut", "deep", "not text"],
)
def test_a_provenance_that_is_no_text_is_told_by_who_needs_it_and_the_slide_opens(small_h5ad, value):
    with h5py.File(small_h5ad, "r+") as file:
        uns = file.require_group("uns")
        if isinstance(value, dict):
            uns.create_group("embedder")["group"] = 1
        else:
            uns["embedder"] = value
    assert open_slide_file(small_h5ad).embeddings[0].encoder is None
    assert not outline(small_h5ad).provenance["X"].is_told
    with pytest.raises(SlideFileError, match=r"small\.h5ad: uns\['embedder'\], .* cannot be read") as caught:
        read_provenance(small_h5ad)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
