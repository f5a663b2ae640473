"""Where the patches of a slide lie, and what that makes of them: neighbours, averages, correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.arrays import Doubles, Floats, Index

# Standard deviation of one step of spatial smoothing, in strides of the patch grid.
STEP = 0.7
# Neighbours further than this many strides would get less than 1 % of the weight.
_REACH = 2.05
# More neighbours than a regular grid has within reach (13), so that patches at one place fit too.
_MOST_NEIGHBOURS = 32
# Patches that are smoothed, or whose neighbours are looked for, at a time.
_BLOCK_PATCHES = 32768
# Lags, in strides, at which the correlation of a field is measured: beyond the pixels that patches with half
# overlap share.
LAGS = (2, 4)


class Places:
    """Where patches lie.

    Each thing is found when it is first asked for, and kept once it is whole. Safe to share between threads:
    what is found twice is found equal.

    Parameters
    ----------
    coords : ndarray of shape (n_patches, 2), float64
        Patch centres (x, y) in level-0 pixels.
    """

    def __init__(self, coords: Doubles) -> None:
        self.coords = coords
        self._tree: cKDTree | None = None
        self._stride: float | None = None
        self._walk: sparse.csr_matrix | None = None
        self._pairs: list[tuple[Index, Index]] | None = None

    def smooth(self, field: npt.NDArray[Any], steps: int = 1, stretch: Stretch = SILENT) -> npt.NDArray[Any]:
        """Average a field over each patch's neighbours, with Gaussian weights.

        Parameters
        ----------
        field : ndarray of shape (n_patches,) or (n_patches, n_fields)
        steps : int, default=1
            Each step has a standard deviation of `STEP` strides; n steps together have `STEP` x sqrt(n).
        stretch : Stretch, optional

        Returns
        -------
        ndarray of the same shape
        """
        n, walk = len(self.coords), self.find_walk()
        for step in range(steps):
            part = stretch.part(step / steps, (step + 1) / steps)
            smoothed = np.empty(field.shape, dtype=np.result_type(walk.dtype, field.dtype))
            for block in _blocks(n):
                starts = walk.indptr[block.start : block.stop + 1]
                held = slice(starts[0], starts[-1])
                # A view of some rows: given when it is made, scipy would copy them.
                rows = sparse.csr_matrix((len(starts) - 1, n), dtype=walk.dtype)
                rows.data, rows.indices, rows.indptr = walk.data[held], walk.indices[held], starts - starts[0]
                smoothed[block] = rows @ field
                part.tell(block.stop / n)
            field = smoothed
        return field

    def correlate(self, field: Floats) -> list[float]:
        """Return the spatial correlation of a field, (n_patches, n_fields), at the strides `LAGS`.

        Fields are weighted by their variance. Zero where the slide has no two patches so far apart.
        """
        centred = field - field.mean(axis=0)
        variance = float(np.einsum("ij,ij->", centred, centred)) / len(field)
        correlations = []
        for one, other in self.find_pairs():
            if variance == 0 or not one.size:
                correlations.append(0.0)
                continue
            product = float(np.einsum("ij,ij->", centred[one], centred[other]))
            correlations.append(product / one.size / variance)
        return correlations

    def find_reach(self, field: Floats) -> float:
        """Return how far a field, (n_patches, n_fields), stays alike, in strides of the patch grid.

        The distance over which an exponential through its correlations at `LAGS` falls to 1 / e; at most that
        of a field which hardly falls off between the two.

        Parameters
        ----------
        field : ndarray of shape (n_patches, n_fields), floating

        Returns
        -------
        float
        """
        near, far = self.correlate(field)
        near, far = np.clip(near, 0.01, 0.99), max(far, 0.005)
        return float((LAGS[1] - LAGS[0]) / np.log(near / min(far, 0.98 * near)))

    def find_tree(self, stretch: Stretch = SILENT) -> cKDTree:
        """Return what finds the patches nearest to a place.

        Parameters
        ----------
        stretch : Stretch, optional

        Returns
        -------
        cKDTree
        """
        if self._tree is None:
            self._tree = cKDTree(self.coords)
            stretch.tell(1.0)
        return self._tree

    def find_stride(self, stretch: Stretch = SILENT) -> float:
        """Return the median distance from a place to the nearest other one, level-0 pixels.

        1.0 for a single place.

        Parameters
        ----------
        stretch : Stretch, optional

        Returns
        -------
        float
        """
        if self._stride is None:
            self._stride = _measure_stride(self.coords, stretch)
        return self._stride

    def find_walk(self, stretch: Stretch = SILENT) -> sparse.csr_matrix:
        """Return the weights of each patch's neighbours, (n_patches, n_patches); rows sum to one.

        Parameters
        ----------
        stretch : Stretch, optional

        Returns
        -------
        csr_matrix
        """
        if self._walk is None:
            self._walk = _weigh_neighbours(self.coords, self.find_tree(), self.find_stride(), stretch)
        return self._walk

    def find_pairs(self, stretch: Stretch = SILENT) -> list[tuple[Index, Index]]:
        """Return the patches that lie `LAGS` strides apart along an axis, as two arrays for each lag.

        Parameters
        ----------
        stretch : Stretch, optional

        Returns
        -------
        list of (ndarray of shape (n_pairs,), ndarray of shape (n_pairs,)), intp
            Rows of the patches, a pair for each lag.
        """
        if self._pairs is None:
            self._pairs = _find_pairs(self.coords, self.find_tree(), self.find_stride(), stretch)
        return self._pairs


def _measure_stride(coords: Doubles, stretch: Stretch) -> float:
    # As np.unique(axis=0) gives them, which takes seconds for a million.
    places = coords[np.lexsort((coords[:, 1], coords[:, 0]))]
    places = places[np.append(True, (places[1:] != places[:-1]).any(axis=1))]
    stretch.tell(0.2)
    if len(places) < 2:
        return 1.0
    # Made in half the time; how it is balanced does not matter to distances.
    tree = cKDTree(places, balanced_tree=False, compact_nodes=False)
    stretch.tell(0.4)
    distances = np.empty(len(places))
    for block in _blocks(len(places)):
        distances[block] = tree.query(places[block], k=2, workers=-1)[0][:, 1]
        stretch.tell(0.4 + 0.6 * block.stop / len(places))
    return float(np.median(distances))


def _weigh_neighbours(coords: Doubles, tree: cKDTree, stride: float, stretch: Stretch) -> sparse.csr_matrix:
    n = len(coords)
    k = min(_MOST_NEIGHBOURS, n)
    weights, columns, counts = [], [], []
    for block in _blocks(n):
        distances, neighbours = tree.query(
            coords[block], k=k, distance_upper_bound=_REACH * stride, workers=-1
        )
        distances, neighbours = distances.reshape(-1, k), neighbours.reshape(-1, k)
        within = np.isfinite(distances)
        weights.append(np.exp(-0.5 * (distances[within] / (STEP * stride)) ** 2))
        columns.append(neighbours[within])
        counts.append(within.sum(axis=1))
        stretch.tell(block.stop / n)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    walk = sparse.csr_matrix((np.concatenate(weights), np.concatenate(columns), starts), shape=(n, n))
    sums = np.asarray(walk.sum(axis=1)).ravel()
    return sparse.diags(1.0 / sums).dot(walk).tocsr().astype(np.float32)


def _find_pairs(coords: Doubles, tree: cKDTree, stride: float, stretch: Stretch) -> list[tuple[Index, Index]]:
    shifts = [shift for lag in LAGS for shift in ((lag * stride, 0.0), (0.0, lag * stride))]
    pairs = []
    for place, shift in enumerate(shifts):
        ones, others = [], []
        for block in _blocks(len(coords)):
            distances, nearest = tree.query(
                coords[block] + shift, distance_upper_bound=0.3 * stride, workers=-1
            )
            there = np.isfinite(distances)
            ones.append(block.start + np.flatnonzero(there))
            others.append(nearest[there])
            stretch.tell((place + block.stop / len(coords)) / len(shifts))
        pairs.append((np.concatenate(ones), np.concatenate(others)))
    # Of each lag along x, then along y.
    return [
        (np.concatenate([x[0], y[0]]), np.concatenate([x[1], y[1]]))
        for x, y in zip(pairs[::2], pairs[1::2], strict=True)
    ]


def _blocks(n: int) -> list[slice]:
    """Return slices of some patches each, of n."""
    return [slice(start, min(start + _BLOCK_PATCHES, n)) for start in range(0, n, _BLOCK_PATCHES)]
