"""What is read for the map of the feature space."""

import anndata
import numpy as np
import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slides.umap import read_layout


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "small.h5ad"
    write_small_h5ad(path)
    data = anndata.read_h5ad(path)
    rng = np.random.default_rng(0)
    data.obsm["X_umap"] = (rng.normal(size=(data.n_obs, 2)) * (3, 9) + 100).astype(np.float32)
    data.obs["umap_rgb"] = np.array(["#ff0080", "#01fe7f"])[rng.integers(2, size=data.n_obs)]
    data.obs["tissue"] = rng.random(data.n_obs).astype(np.float32)
    data.write_h5ad(path)
    return path, data


def test_the_umap_keeps_its_shape_in_the_middle_of_the_unit_square(slide):
    path, data = slide
    umap = data.obsm["X_umap"]
    found = read_layout(path).umap
    assert found.dtype == np.float32
    assert (found.min(axis=0) + found.max(axis=0)).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert np.ptp(found, axis=0)[1] == pytest.approx(1)
    moved = umap - umap.min(axis=0)
    assert np.allclose((found - found.min(axis=0)) * np.ptp(umap, axis=0).max(), moved, atol=1e-4)


def test_colours_and_tissue_are_those_of_the_file(slide):
    path, data = slide
    found = read_layout(path)
    colors = ["#" + bytes(each).hex() for each in found.colors]
    assert colors == data.obs["umap_rgb"].tolist()
    assert np.array_equal(found.tissue, data.obs["tissue"])


def test_a_file_without_colours_or_tissue_has_a_map_in_grey(slide):
    path, data = slide
    del data.obs["umap_rgb"], data.obs["tissue"]
    data.write_h5ad(path)
    found = read_layout(path)
    assert (found.colors == 128).all()
    assert np.isnan(found.tissue).all()


def test_a_file_without_a_umap_is_told(slide):
    path, data = slide
    del data.obsm["X_umap"]
    data.write_h5ad(path)
    with pytest.raises(SlideFileError, match="UMAP"):
        read_layout(path)
