"""Small embedded slides, made in a moment and without torch."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd


def write_small_h5ad(
    path: Path, *, columns: int = 12, rows: int = 8, stride: int = 128, seed: int = 0
) -> Path:
    """Write a grid of patches in row-major order; patches right of the middle have other embeddings."""
    rng = np.random.default_rng(seed)
    y0, x0 = (each.ravel() * stride for each in np.mgrid[0:rows, 0:columns])
    right = x0 >= columns * stride / 2
    X = rng.normal(size=(rows * columns, 16)).astype(np.float32) + 4 * right[:, None].astype(np.float32)
    X[:, 0] += 6
    names = np.array([f"{path.stem}_{x}_{y}" for x, y in zip(x0, y0, strict=True)], dtype=object)
    adata = anndata.AnnData(
        X=X,
        obs=pd.DataFrame(
            {"x0": x0.astype(np.int64), "y0": y0.astype(np.int64)}, index=pd.Index(names, dtype=object)
        ),
        obsm={"spatial": np.column_stack([x0, y0]) + float(stride)},
    )
    adata.write_h5ad(path)
    return path
