"""The libraries that people have open the files as they are."""

import anndata
import numpy as np
import pytest
from making.slides import slide_arguments

from embedder.embedding.writing import write_slide
from embedder.files.convert import convert
from embedder.files.share import share


@pytest.fixture(params=["embedded", "shared", "converted"])
def path(request, tmp_path):
    embedded = tmp_path / "A b.h5ad"
    given = slide_arguments()
    given["provenance"].document["slide"] |= {"mpp_x": 0.5, "mpp_y": 0.5}
    given["provenance"].document["grid"] |= {"stride": 64, "scale": 125 / 64}
    write_slide(embedded, **given)
    if request.param == "shared":
        key = b"a secret of enough bytes"
        return share(embedded, tmp_path / "shared", key=key, rename=True, shift=True).path
    if request.param == "converted":
        made = anndata.AnnData(X=slide_arguments()["X"])
        made.obsm["spatial"] = slide_arguments()["centres"]
        made.write_h5ad(tmp_path / "theirs.h5ad")
        target = tmp_path / "converted.h5ad"
        return convert(tmp_path / "theirs.h5ad", target, mpp=0.5, patch_size0=250, umap=False).path
    return embedded


def test_scanpy_computes_on_it(path):
    import scanpy  # takes seconds, which every process would spend that only collects the tests

    adata = scanpy.read_h5ad(path)
    assert np.array_equal(adata.X, slide_arguments()["X"])
    scanpy.pp.neighbors(adata, n_neighbors=5, use_rep="X")
    assert (adata.obsp["distances"].getnnz(axis=1) == 4).all()


def test_squidpy_finds_the_neighbours_on_the_slide(path):
    import squidpy

    adata = anndata.read_h5ad(path)
    squidpy.gr.spatial_neighbors(adata, coord_type="generic", n_neighs=4)
    near = adata.obsp["spatial_distances"].toarray()
    centres = adata.obsm["spatial"]
    assert near[near > 0].min() == pytest.approx(
        min(np.linalg.norm(centres[i] - centres[j]) for i in range(12) for j in range(i))
    )


def test_spatialdata_takes_it_for_a_table(path):
    from spatialdata.models import TableModel

    adata = anndata.read_h5ad(path)
    adata.obs["instance"] = np.arange(adata.n_obs)
    library = str(adata.obs["library_id"].iloc[0])
    table = TableModel.parse(adata, region=library, region_key="library_id", instance_key="instance")
    TableModel().validate(table)
