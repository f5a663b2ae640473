"""What a file has to show of its patches: the UMAP, its colours, the share of tissue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.h5ad import SlideFileError, names_in, open_h5ad, require_held

# Share of a patch below which there is not much to tell its class by.
_LITTLE_TISSUE = 0.5


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

    Parameters
    ----------
    path : Path
        The h5ad.

    Returns
    -------
    Layout

    Raises
    ------
    SlideFileError
        When the file cannot be read, or has no ``obsm['X_umap']`` of finite numbers.
    """
    with open_h5ad(path) as file:
        n = len(names_in(file["obs"], f"{path.name}: obs"))
        umap = _read_held(path, file.get("obsm/X_umap"), (n, 2))
        colors = _column(path, file, "umap_rgb", n)
        tissue = _column(path, file, "tissue", n)
    umap = None if umap is None or umap.dtype.kind not in "iuf" else np.asarray(umap, np.float32)
    if umap is None or not np.isfinite(umap).all():
        raise SlideFileError(
            f"{path.name}: has no UMAP of two dimensions (obsm['X_umap']); embed the slide again, "
            "without --no-umap"
        )
    extent = np.ptp(umap, axis=0)
    side = extent.max() or 1
    umap = (umap - umap.min(axis=0)) / side + (1 - extent / side) / 2
    shares = _shares(tissue)
    return Layout(
        np.ascontiguousarray(umap, np.float32),
        _bytes(colors, n),
        np.full(n, np.nan, np.float32) if shares is None else np.asarray(shares, np.float32),
    )


def _read_held(path: Path, item: Any, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """Read what has the shape that it should have, once the file is known to hold it."""
    if not isinstance(item, h5py.Dataset) or item.shape != shape:
        return None
    require_held(item, f"{path.name}: {item.name}")
    found: npt.NDArray[Any] = item[()]
    return found


def read_tissue(path: Path) -> npt.NDArray[np.float32] | None:
    """Return the share of each patch that is tissue.

    Parameters
    ----------
    path : Path
        The h5ad.

    Returns
    -------
    ndarray of shape (n_patches,), float32, or None
        0 to 1; None where the file does not tell.

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    with open_h5ad(path) as file:
        n = len(names_in(file["obs"], f"{path.name}: obs"))
        shares = _shares(_column(path, file, "tissue", n))
    return None if shares is None or not np.isfinite(shares).all() else np.asarray(shares, np.float32)


def find_thin(path: Path, n_patches: int) -> npt.NDArray[np.bool_]:
    """Return which patches hold too little tissue to tell a class by: less than half of a patch.

    Parameters
    ----------
    path : Path
        The h5ad.
    n_patches : int

    Returns
    -------
    ndarray of shape (n_patches,), bool
        None of them where the file does not tell, or where all would be: there is nothing better on that
        slide.

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    tissue = read_tissue(path)
    if tissue is None or (tissue < _LITTLE_TISSUE).all():
        return np.zeros(n_patches, dtype=bool)
    return tissue < _LITTLE_TISSUE


def _shares(tissue: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
    return None if tissue is None or tissue.dtype.kind != "f" else np.clip(tissue, 0, 1)


def _column(path: Path, file: h5py.File, name: str, n: int) -> npt.NDArray[Any] | None:
    column = file["obs"].get(name)
    parts = list(column.values()) if isinstance(column, h5py.Group) else [column]
    # Of a category that are its codes, of a nullable column its values.
    if not any(isinstance(part, h5py.Dataset) and part.shape == (n,) for part in parts):
        return None
    for part in parts:
        if isinstance(part, h5py.Dataset):
            require_held(part, f"{path.name}: obs['{name}']")
    from anndata.io import read_elem  # takes a second to load, and not every file has such a column

    return np.asarray(read_elem(column))


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
