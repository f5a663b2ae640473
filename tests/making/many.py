"""Several small slides of one embedding, without images, as a folder of shared embeddings has them."""

import json

import anndata
import numpy as np

PROVENANCE = {
    "encoder": {"name": "net", "weights_sha256": "aa", "transform": "none"},
    "grid": {"target_mpp": 0.5, "patch_size": 256},
}
_MEANS = np.random.default_rng(99).normal(size=(3, 24)) * 2
COLUMNS, ROWS, STRIDE = 24, 16, 128


def write_mosaic(
    folder, name, *, seed=0, strange=False, known=PROVENANCE, compress=False, colors=True, columns=COLUMNS,
    rows=ROWS,
):  # fmt: skip
    """Write a slide of two tissues, left (0) and right (1); `strange` ones have a third one (2) below.

    Returns the path and which tissue each patch is, row by row.
    """
    rng = np.random.default_rng(seed)
    x, y = (each.ravel() for each in np.meshgrid(np.arange(columns), np.arange(rows)))
    truth = (x + 3 * np.sin(y / 2 + seed) >= columns / 2).astype(int)
    if strange:
        truth[y >= rows - 4] = 2
    X = (_MEANS[truth] + rng.normal(size=(len(x), 24))).astype(np.float32)
    adata = anndata.AnnData(X)
    adata.obs_names = [f"{name}_{a * STRIDE}_{b * STRIDE}" for a, b in zip(x, y, strict=True)]
    adata.obsm["spatial"] = np.column_stack([x, y]) * float(STRIDE) + STRIDE
    adata.obsm["X_umap"] = (X @ np.random.default_rng(5).normal(size=(24, 2))).astype(np.float32)
    if colors:
        shown = (255 * (X[:, :3] - X[:, :3].min(0)) / np.ptp(X[:, :3], axis=0)).astype(int)
        adata.obs["umap_rgb"] = ["#{:02x}{:02x}{:02x}".format(*each) for each in shown]
    if known:
        adata.uns["embedder"] = json.dumps(known)
    path = folder / f"{name}.h5ad"
    adata.write_h5ad(path, convert_strings_to_categoricals=False, compression="gzip" if compress else None)
    return path, truth


def seeds_of(path, truth, *, per_class=4, classes=(0, 1), seed=1):
    """Return the class of some patches by their names."""
    rng = np.random.default_rng(seed)
    names = anndata.read_h5ad(path, backed="r").obs_names
    return {
        str(names[row]): label
        for label in classes
        for row in rng.choice(np.flatnonzero(truth == label), per_class, replace=False)
    }
