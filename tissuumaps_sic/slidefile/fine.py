"""The cells smaller than a patch that a slide's file may have, read: ``obsm['fine']`` and its tissue.

Each patch has side x side cells. They part its middle, the square of one stride about its centre that no
other patch's middle covers, so that the cells of all patches tile the tissue once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.h5ad import SlideFileError, open_h5ad, require_held
from tissuumaps_sic.slidefile.matrix import Matrix, open_matrix
from tissuumaps_sic.slidefile.provenance import FINE, FINE_TISSUE, Provenance, provenance_in


class Cells:
    """The cells' embeddings, float16, of which patches are read when they are asked for.

    Used as an array: patches are taken by a number, a slice or an array of numbers, and ``np.asarray`` reads
    all. It is no memory map, for the reason that `matrix` gives.

    Attributes
    ----------
    shape : (n_patches, side, side, channels)
    dtype : dtype
    """

    ndim = 4

    def __init__(self, matrix: Matrix, side: int, channels: int) -> None:
        self._matrix = matrix
        self.shape = (len(matrix), side, side, channels)
        self.dtype = matrix.dtype

    def __len__(self) -> int:
        """Return the number of patches."""
        return self.shape[0]

    def __getitem__(self, rows: int | slice | npt.ArrayLike) -> npt.NDArray[np.float16]:
        """Read some patches' cells; errors are those of `Matrix`."""
        read: npt.NDArray[Any] = self._matrix[rows]
        return read.reshape(*read.shape[:-1], *self.shape[1:])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read all patches' cells."""
        return np.asarray(self._matrix, dtype=dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Fine:
    """The cells smaller than a patch of a slide's file.

    Attributes
    ----------
    values : Cells of shape (n_patches, side, side, channels), float16
        An embedding for each cell: patch, row of cells, column of cells, channel.
    tissue : uint8 array of shape (n_patches, side, side)
        Percent of each cell that is tissue.
    side, channels : int
    cell0 : (width, height) or None
        Of a cell in level-0 pixels, where the file tells it. A patch's first cell begins at its centre minus
        side / 2 of them.
    """

    values: Cells
    tissue: npt.NDArray[np.uint8]
    side: int
    channels: int
    cell0: tuple[float, float] | None


def read_fine(path: Path) -> Fine | None:
    """Return the cells smaller than a patch of an h5ad; None where it has none.

    The cells' embeddings stay on disk until they are asked for.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Fine or None

    Raises
    ------
    SlideFileError
        When the file cannot be read, or its cells are not what it says of them.
    """
    with open_h5ad(path) as file:
        try:
            known = provenance_in(file)
        except ValueError:
            return None
        if known.fine is None:
            return None  # what else lies there is of another program
        n_patches, shape = int(file["X"].shape[0]), known.fine.shape
        if shape is None:
            raise _unlike(path, "it does not tell how many there are")
        side, channels = shape
        matrix = _find(path, file, FINE, (n_patches, side**2 * channels), np.float16)
        tissue = _find(path, file, FINE_TISSUE, (n_patches, side**2), np.uint8)[()]
        return Fine(
            values=Cells(open_matrix(path, matrix), side, channels),
            tissue=tissue.reshape(n_patches, side, side),
            side=side,
            channels=channels,
            cell0=_cell0(known, side),
        )


def _find(
    path: Path, file: h5py.File, key: str, shape: tuple[int, int], dtype: npt.DTypeLike
) -> h5py.Dataset:
    item = file.get(f"obsm/{key}")
    if not isinstance(item, h5py.Dataset) or item.shape != shape or item.dtype != dtype:
        raise _unlike(path, f"obsm[{key!r}] is not {np.dtype(dtype)} of shape {shape}")
    require_held(item, f"{path.name}: obsm[{key!r}]")
    return item


def _unlike(path: Path, why: str) -> SlideFileError:
    return SlideFileError(
        f"{path.name}: its cells smaller than a patch are not what it says of them ({why}); embed the slide "
        "again (embedder embed)"
    )


def _cell0(known: Provenance, side: int) -> tuple[float, float] | None:
    patch0, stride, edge = known.grid.patch0, known.grid.stride, known.grid.patch_size
    if patch0 is None or not stride or not edge:
        return None
    width, height = (length / edge * stride / side for length in patch0)
    return width, height
