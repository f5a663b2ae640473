"""Write one slide's AnnData file, whole or not at all, as `contract` has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from embedder.embedding.mapped import forget_pages
from tissuumaps_sic.slidefile.arrays import Integers, Mask, Singles
from tissuumaps_sic.slidefile.contract import ContractError, check
from tissuumaps_sic.slidefile.failure import as_os_errors
from tissuumaps_sic.slidefile.provenance import DAMAGED, FINE, FINE_TISSUE, Provenance, provenance_in
from tissuumaps_sic.slidefile.writing import replacing

if TYPE_CHECKING:
    import pandas as pd

# Written at once.
_BLOCK_BYTES = 4 * 2**20


def write_slide(
    path: Path,
    *,
    X: npt.NDArray[Any],
    x0: Integers,
    y0: Integers,
    centres: npt.NDArray[np.float64],
    tissue: Singles,
    umap2: Singles | None,
    umap3: Singles | None,
    colors: Sequence[str],
    slide_name: str,
    encoder_name: str,
    provenance: Provenance,
    tmap: dict[str, Any],
    thumbnail: npt.NDArray[np.uint8] | None = None,
    fine: tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]] | None = None,
    damaged: Mask | None = None,
) -> None:
    """Write one slide's file, atomically.

    Parameters
    ----------
    path : Path
    X : ndarray of shape (n, n_features), float32 or float16
        Embeddings; a memory map is written through without being loaded whole.
    x0, y0 : ndarray of shape (n,), int64
        Top-left corner of each patch, level-0 pixels.
    centres : ndarray of shape (n, 2), float64
        Centre (x, y) of each patch, level-0 pixels of the whole slide.
    tissue : ndarray of shape (n,), float32
        Share of each patch that is tissue.
    umap2, umap3 : ndarray of shape (n, 2) and (n, 3), float32, or None
    colors : sequence of n str
        ``#rrggbb``.
    slide_name, encoder_name : str
    provenance : Provenance
        Holds no path and no name of a person or machine.
    tmap : dict
        The TissUUmaps project, as `tmap_project` makes it.
    thumbnail : ndarray of shape (rows, columns, 3), uint8, optional
        Kept as scanpy keeps it; the project is then left out of the file, because TissUUmaps would
        place the patches by the thumbnail's scale.
    fine : ndarrays of shape (n, side * side * channels), float16, and (n, side * side), uint8, optional
        Embeddings of the cells of each patch's middle, which may be a memory map as `X`, and the percent of
        each cell that is tissue; the provenance tells the side and the channels.
    damaged : ndarray of shape (n,), bool, optional
        Whether a part of a patch was read from another level, because the slide is damaged there.

    Raises
    ------
    ContractError
        When what was written breaks a rule; nothing is left behind.
    OSError
        When the file cannot be written; a file that was there stays as it was.
    """
    import anndata
    import pandas as pd
    from anndata.io import write_elem

    obs = _describe_patches(slide_name, x0, y0, tissue, colors, damaged)
    features = np.array([f"{encoder_name}_{i:04d}" for i in range(X.shape[1])], dtype=object)
    obsm: dict[str, npt.NDArray[Any]] = {"spatial": np.asarray(centres, dtype=np.float64)}
    if umap2 is not None and umap3 is not None:
        obsm |= {"X_umap": umap2, "X_umap_3d": umap3}
    uns: dict[str, Any] = {"embedder": provenance.to_json()}
    if thumbnail is None:
        uns["tmap"] = json.dumps(tmap)
    else:
        uns["spatial"] = {slide_name: _describe_thumbnail(thumbnail, provenance)}
    var = pd.DataFrame(index=pd.Index(features, dtype=object))
    adata = anndata.AnnData(obs=obs, var=var, obsm=obsm, uns=uns)
    with replacing(path) as temporary:
        # Not by `write_h5ad`, which locks the file: not every disk has locks, and it is nobody else's.
        with as_os_errors(path), h5py.File(temporary, "w", locking=False) as file:
            write_elem(file, "/", adata)
            write_matrix(file, "X", X)
            for key, matrix in zip((FINE, FINE_TISSUE), fine or (), strict=False):
                write_matrix(file, f"obsm/{key}", matrix)
        problems = check(temporary)
        if problems:
            broken = "; ".join(f"{problem.rule}: {problem.what}" for problem in problems)
            raise ContractError(f"{path.name} would break the file contract ({broken}); nothing was written")


def _describe_patches(
    slide_name: str,
    x0: Integers,
    y0: Integers,
    tissue: Singles,
    colors: Sequence[str],
    damaged: Mask | None,
) -> pd.DataFrame:
    """Return the table of patches; parameters are those of `write_slide`."""
    import pandas as pd

    # pandas 3 makes strings of its own kind of whatever it is not told to leave alone, and they are
    # written in a form that breaks readers: index, columns and categories say `object` each.
    names = pd.Index([f"{slide_name}_{x}_{y}" for x, y in zip(x0, y0, strict=True)], dtype=object)
    library = pd.Categorical.from_codes(
        np.zeros(len(names), dtype=np.int8), categories=pd.Index([slide_name], dtype=object)
    )
    columns = {
        "x0": np.asarray(x0, dtype=np.int64),
        "y0": np.asarray(y0, dtype=np.int64),
        "umap_rgb": pd.Series(list(colors), index=names, dtype=object),
        "library_id": library,
        "tissue": np.asarray(tissue, dtype=np.float32),
    }
    if damaged is not None:
        columns[DAMAGED] = np.asarray(damaged, dtype=np.bool_)
    return pd.DataFrame(columns, index=names)


def _describe_thumbnail(thumbnail: npt.NDArray[np.uint8], provenance: Provenance) -> dict[str, Any]:
    """Return a slide's picture as scanpy and squidpy look for it."""
    assert provenance.slide.size is not None
    scales = {
        "tissue_hires_scalef": thumbnail.shape[1] / provenance.slide.size[0],
        "spot_diameter_fullres": provenance.grid.patch_size0,
    }
    return {"images": {"hires": thumbnail}, "scalefactors": scales}


def write_matrix(
    file: h5py.File, key: str, matrix: npt.NDArray[Any] | h5py.Dataset, *, compress: bool = False
) -> None:
    """Write a dense matrix as anndata does, block by block: it is never in memory whole.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    key : str
        Such as "X" or "obsm/X_resnet18"; replaced where it is there.
    matrix : ndarray or dataset of shape (n, n_features)
        May be a memory map.
    compress : bool, default=False
        Whether to store it by gzip; else it is contiguous, and can be mapped.
    """
    if key in file:
        del file[key]
    storage = {"compression": "gzip", "chunks": True} if compress else {}
    dataset = file.create_dataset(key, shape=matrix.shape, dtype=matrix.dtype, **storage)
    dataset.attrs["encoding-type"], dataset.attrs["encoding-version"] = "array", "0.2.0"
    rows = max(1, _BLOCK_BYTES // max(1, matrix.shape[1] * matrix.dtype.itemsize))
    for start in range(0, matrix.shape[0], rows):
        dataset[start : start + rows] = matrix[start : start + rows]
        forget_pages(matrix)


def read_places(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """Return the centre of each patch of a file, (n, 2), and its grid's stride; level-0 pixels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    centres : float64 array of shape (n, 2)
        (x, y) in level-0 pixels.
    stride0 : float
        Level-0 pixels from a patch to the next.

    Raises
    ------
    ContractError
        The file does not tell its stride.
    OSError
        It cannot be read.
    """
    with h5py.File(path, "r", locking=False) as file:
        stride0 = provenance_in(file).grid.stride0
        if stride0 is None:
            raise ContractError(f"{path.name} does not tell how far its patches lie apart; embed it again")
        return file["obsm/spatial"][()], stride0


def count_patches(path: Path) -> int:
    """Return how many patches a file has, without loading it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
    """
    with h5py.File(path, "r", locking=False) as file:
        return int(file["X"].shape[0])
