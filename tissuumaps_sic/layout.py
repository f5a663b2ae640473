"""What a file has to show of its patches: the UMAP, its colours, the share of tissue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slides import SlideFileError, opened


@dataclass(frozen=True, eq=False)
class Layout:
    """Patches as a picture of their feature space.

    Attributes
    ----------
    umap : ndarray of shape (n_patches, 2), float32
        In the middle of the unit square, whose side is its longer one.
    colors : ndarray of shape (n_patches, 3), uint8
        Red, green, blue of ``obs['umap_rgb']``; grey where there is none.
    tissue : ndarray of shape (n_patches,), float32
        Share of the patch that is tissue, 0 to 1; NaN where the file does not tell.
    """

    umap: npt.NDArray[np.float32]
    colors: npt.NDArray[np.uint8]
    tissue: npt.NDArray[np.float32]


def read_layout(path: Path) -> Layout:
    """Read the layout that a file holds.

    Raises
    ------
    SlideFileError
        When the file cannot be read, or has no ``obsm['X_umap']`` of finite numbers.
    """
    with opened(path) as file:
        n = len(file["obs"][file["obs"].attrs["_index"]])
        umap = np.asarray(file["obsm"]["X_umap"], np.float32) if "X_umap" in file["obsm"] else None
        colors = _column(file, "umap_rgb")
        tissue = _column(file, "tissue")
    if umap is None or umap.shape != (n, 2) or not np.isfinite(umap).all():
        raise SlideFileError(
            f"{path.name}: has no UMAP of two dimensions (obsm['X_umap']); embed the slide again, "
            "without --no-umap"
        )
    extent = np.ptp(umap, axis=0)
    side = extent.max() or 1
    umap = (umap - umap.min(axis=0)) / side + (1 - extent / side) / 2
    shares = None if tissue is None or tissue.dtype.kind != "f" else np.clip(tissue, 0, 1)
    return Layout(
        np.ascontiguousarray(umap, np.float32),
        _bytes(colors, n),
        np.full(n, np.nan, np.float32) if shares is None else np.asarray(shares, np.float32),
    )


def _column(file: Any, name: str) -> npt.NDArray[Any] | None:
    return np.asarray(anndata.io.read_elem(file["obs"][name])) if name in file["obs"] else None


def _bytes(colors: npt.NDArray[Any] | None, n: int) -> npt.NDArray[np.uint8]:
    grey = np.full((n, 3), 128, np.uint8)
    if colors is None:
        return grey
    # Each colour once: there are fewer than patches, where they are a category.
    known, place = np.unique(colors.astype(str), return_inverse=True)
    try:
        table = [[int(each[at : at + 2], 16) for at in (1, 3, 5)] for each in known]
    except ValueError:
        return grey
    return np.asarray(table, np.uint8)[place].reshape(n, 3)
