"""What is reckoned once a slide, before the first seed: rows ready for products, neighbours, components.

Everything is found when it is first asked for and kept, so that clicks after the first pay for nothing twice.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import eigh
from scipy.spatial import cKDTree

from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.two_means import Rows

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

# Principal components kept; 32 to 100 were tried and made no difference beyond noise.
N_COMPONENTS = 100
# Standard deviation of one step of spatial smoothing, in strides of the patch grid.
STEP = 0.7
# Neighbours further than this many strides would get less than 1 % of the weight.
_REACH = 2.05
# More neighbours than a regular grid has within reach (13), so that patches at one place fit too.
_MOST_NEIGHBOURS = 32
# Patches that are smoothed, or whose neighbours are looked for, at a time.
_BLOCK_PATCHES = 32768
# Patches whose neighbours' embeddings are averaged at a time; each has a dozen.
_BLOCK_AVERAGES = 512
# Lags, in strides, at which the correlation of a field is measured: beyond the pixels that patches with half
# overlap share.
LAGS = (2, 4)


class Prepared:
    """A slide's embeddings and places, with what every run on them needs.

    Safe to share between threads: what is found twice is found equal.

    Parameters
    ----------
    X : array-like of shape (n_patches, n_features)
        Embeddings; may be a memory map or a `two_means.RowReader`, float16, float32 or float64. It is not
        copied.
    coords : array-like of shape (n_patches, 2), optional
        Patch centres (x, y) in level-0 pixels; needed for `smooth`, `correlation` and `components`.
    normalize : bool, default=True
        Scale every embedding to unit length.
    stretch : Stretch, optional
        Is told how far the one pass over X is.

    Raises
    ------
    ValueError
        When X or coords cannot be used; the message says what to do.
    """

    def __init__(
        self,
        X: npt.ArrayLike,
        coords: npt.ArrayLike | None = None,
        *,
        normalize: bool = True,
        stretch: Stretch = SILENT,
    ) -> None:
        self.rows = Rows(X, normalize=normalize, stretch=stretch)
        self._coords = None if coords is None else _check_coords(coords, self.rows.n_patches)

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return self.rows.n_patches

    @property
    def coords(self) -> Doubles:
        """Patch centres (x, y), (n_patches, 2), float64, level-0 pixels.

        Raises
        ------
        ValueError
            When there are none.
        """
        if self._coords is None:
            raise ValueError("method 'refine' uses the places of the patches; give coords, (n_patches, 2)")
        return self._coords

    @property
    def is_ready(self) -> bool:
        """Whether all that method "refine" needs of the slide has been found."""
        return "components" in vars(self)

    def ready(self, stretch: Stretch) -> None:
        """Find all that method "refine" needs of the slide, so far as it has not been found yet.

        The parts are the same that are found when they are first asked for. Each is kept once it is whole, so
        that one who stops this by `stretch` loses the part that was under way.
        """
        # Shares of the time on 1,000,000 x 512 and 100,000 x 1280.
        parts = (
            ("_axes", self._find_axes, 0.50, "Finding what patches differ in"),
            ("_tree", self._find_tree, 0.52, "Finding neighbours"),
            ("stride", self._find_stride, 0.60, "Finding neighbours"),
            ("_walk", self._find_walk, 0.75, "Finding neighbours"),
            ("_pairs", self._find_pairs, 0.80, "Finding neighbours"),
            ("_smoothed", self._find_smoothed, 0.99, "Comparing neighbours"),
        )
        done = 0.0
        for name, find, until, stage in parts:
            part = stretch.part(done, until, stage)
            part.tell(0.0)
            if name not in vars(self):
                # Where `cached_property` keeps what it has found.
                vars(self)[name] = find(part)
            done = until
        _ = self.components
        stretch.tell(1.0)

    @cached_property
    def components(self) -> Singles:
        """Leading principal components, smoothed over the grid, (n_patches, n_components), float32.

        Scaled so that two patches drawn at random lie at a squared distance of 1 on average.
        """
        return self._smoothed / np.float32(self._scale)

    def place(self, embeddings: Doubles) -> Singles:
        """Return where embeddings of other slides lie among `components`.

        Parameters
        ----------
        embeddings : ndarray of shape (n, n_features), float64
            Scaled and smoothed as this slide's are; `neighbourhoods` of the other slide gives them so.

        Returns
        -------
        ndarray of shape (n, n_components), float32
        """
        mean, directions = self._axes
        return ((embeddings - mean) @ directions.T / self._scale).astype(np.float32)

    def neighbourhoods(self, patches: Index) -> Doubles:
        """Return the scaled embeddings of some patches, averaged over their neighbours as `smooth` does.

        Parameters
        ----------
        patches : ndarray of shape (n,), intp

        Returns
        -------
        ndarray of shape (n, n_features), float64
        """
        averages, walk = np.empty((len(patches), self.rows.n_features)), self._walk
        for begin in range(0, len(patches), _BLOCK_AVERAGES):
            block = patches[begin : begin + _BLOCK_AVERAGES]
            spans = [slice(*walk.indptr[patch : patch + 2]) for patch in block]
            # Neighbours have neighbours in common, and to read many rows at once takes no longer than a few.
            needed, places = np.unique(
                np.concatenate([walk.indices[span] for span in spans]), return_inverse=True
            )
            values, at = self.rows.at(needed.astype(np.intp)), 0
            for average, span in zip(averages[begin:], spans, strict=False):
                n = span.stop - span.start
                average[:] = walk.data[span] @ values[places[at : at + n]]
                at += n
        return averages

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
        for step in range(steps):
            part = stretch.part(step / steps, (step + 1) / steps)
            smoothed = np.empty(field.shape, dtype=np.result_type(self._walk.dtype, field.dtype))
            for block, strip in zip(_blocks(self.n_patches), self._strips, strict=True):
                smoothed[block] = strip @ field
                part.tell(block.stop / self.n_patches)
            field = smoothed
        return field

    def correlation(self, field: Doubles) -> list[float]:
        """Return the spatial correlation of a field, (n_patches, n_fields), at the strides `LAGS`.

        Fields are weighted by their variance. Zero where the slide has no two patches so far apart.
        """
        centred = field - field.mean(axis=0)
        variance = float(np.einsum("ij,ij->", centred, centred)) / self.n_patches
        found = []
        for one, other in self._pairs:
            if variance == 0 or not one.size:
                found.append(0.0)
                continue
            found.append(float(np.einsum("ij,ij->", centred[one], centred[other])) / one.size / variance)
        return found

    def at_one_place(self, patch: int) -> Index:
        """Return the patches whose place and embedding are those of `patch`, itself included."""
        here = np.sort(np.array(self._tree.query_ball_point(self.coords[patch], 0.0), dtype=np.intp))
        same = (self.rows.at(here) == self.rows.at(np.array([patch]))).all(axis=1)
        found: Index = here[same]
        return found

    @cached_property
    def stride(self) -> float:
        """Median distance from a place to the nearest other one, level-0 pixels; 1.0 for a single place."""
        return self._find_stride(SILENT)

    @cached_property
    def _tree(self) -> cKDTree:
        return self._find_tree(SILENT)

    @cached_property
    def _walk(self) -> sparse.csr_matrix:
        """Weights of a patch's neighbours: rows sum to one."""
        return self._find_walk(SILENT)

    @cached_property
    def _strips(self) -> list[sparse.csr_matrix]:
        """Views of the rows of `_walk`, some at a time."""
        walk, strips = self._walk, []
        for block in _blocks(self.n_patches):
            starts = walk.indptr[block.start : block.stop + 1]
            held = slice(starts[0], starts[-1])
            of_block = (walk.data[held], walk.indices[held], starts - starts[0])
            strips.append(sparse.csr_matrix(of_block, shape=(len(starts) - 1, self.n_patches)))
        return strips

    @cached_property
    def _pairs(self) -> list[tuple[Index, Index]]:
        """Patches that lie `LAGS` strides apart along an axis, as two arrays for each lag."""
        return self._find_pairs(SILENT)

    @cached_property
    def _smoothed(self) -> Singles:
        return self._find_smoothed(SILENT)

    @cached_property
    def _axes(self) -> tuple[Doubles, Doubles]:
        """Mean of the rows, and as rows the eigenvectors of their covariance with the largest eigenvalues."""
        return self._find_axes(SILENT)

    @cached_property
    def _scale(self) -> float:
        """The root of the mean squared distance between two patches drawn at random, unscaled."""
        total = float(np.einsum("ij,ij->", self._smoothed, self._smoothed, dtype=np.float64))
        return float(np.sqrt(2.0 * total / self.n_patches)) or 1.0

    def _find_tree(self, stretch: Stretch) -> cKDTree:
        tree = cKDTree(self.coords)
        stretch.tell(1.0)
        return tree

    def _find_stride(self, stretch: Stretch) -> float:
        # As np.unique(axis=0) gives them, which takes seconds for a million.
        places = self.coords[np.lexsort((self.coords[:, 1], self.coords[:, 0]))]
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

    def _find_walk(self, stretch: Stretch) -> sparse.csr_matrix:
        n = self.n_patches
        k = min(_MOST_NEIGHBOURS, n)
        weights, columns, counts = [], [], []
        for block in _blocks(n):
            distances, neighbours = self._tree.query(
                self.coords[block], k=k, distance_upper_bound=_REACH * self.stride, workers=-1
            )
            distances, neighbours = distances.reshape(-1, k), neighbours.reshape(-1, k)
            within = np.isfinite(distances)
            weights.append(np.exp(-0.5 * (distances[within] / (STEP * self.stride)) ** 2))
            columns.append(neighbours[within])
            counts.append(within.sum(axis=1))
            stretch.tell(block.stop / n)
        starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        walk = sparse.csr_matrix((np.concatenate(weights), np.concatenate(columns), starts), shape=(n, n))
        sums = np.asarray(walk.sum(axis=1)).ravel()
        return sparse.diags(1.0 / sums).dot(walk).tocsr().astype(np.float32)

    def _find_pairs(self, stretch: Stretch) -> list[tuple[Index, Index]]:
        shifts = [shift for lag in LAGS for shift in ((lag * self.stride, 0.0), (0.0, lag * self.stride))]
        found = []
        for place, shift in enumerate(shifts):
            ones, others = [], []
            for block in _blocks(self.n_patches):
                distances, nearest = self._tree.query(
                    self.coords[block] + shift, distance_upper_bound=0.3 * self.stride, workers=-1
                )
                there = np.isfinite(distances)
                ones.append(block.start + np.flatnonzero(there))
                others.append(nearest[there])
                stretch.tell((place + block.stop / self.n_patches) / len(shifts))
            found.append((np.concatenate(ones), np.concatenate(others)))
        # Of each lag along x, then along y.
        return [
            (np.concatenate([x[0], y[0]]), np.concatenate([x[1], y[1]]))
            for x, y in zip(found[::2], found[1::2], strict=True)
        ]

    def _find_smoothed(self, stretch: Stretch) -> Singles:
        principal = self._principal(stretch.part(0.0, 0.6))
        return self.smooth(principal, stretch=stretch.part(0.6, 1.0)).astype(np.float32, copy=False)

    def _principal(self, stretch: Stretch) -> Singles:
        """Project the centred rows on the axes."""
        rows = self.rows
        mean, directions = self._axes
        projected = np.empty((rows.n_patches, len(directions)), dtype=np.float32)
        centre = directions @ mean
        for where, values in rows.blocks(None, stretch):
            products_here = (values @ rows.narrow(directions.T)) * rows.scale(where)
            projected[where] = products_here - centre
        return projected

    def _find_axes(self, stretch: Stretch) -> tuple[Doubles, Doubles]:
        rows = self.rows
        mean = rows.total / rows.n_patches
        products = np.zeros((rows.n_features, rows.n_features))
        for where, values in rows.blocks(None, stretch):
            # About the origin the numbers are small, so that single precision loses nothing that matters.
            block = rows.narrow(values * rows.scale(where) - rows.origin)
            products += block.T @ block
        offset = mean - rows.origin
        covariance = products / rows.n_patches - np.outer(offset, offset)
        n_components = min(N_COMPONENTS, rows.n_features)
        _, axes = eigh(covariance, subset_by_index=(rows.n_features - n_components, rows.n_features - 1))
        return mean, np.ascontiguousarray(axes.T[::-1])


def _blocks(n: int) -> list[slice]:
    """Return slices of some patches each, of n."""
    return [slice(start, min(start + _BLOCK_PATCHES, n)) for start in range(0, n, _BLOCK_PATCHES)]


def prepare(
    X: npt.ArrayLike | Rows | Prepared,
    coords: npt.ArrayLike | None = None,
    *,
    normalize: bool = True,
    stretch: Stretch = SILENT,
) -> Prepared:
    """Return X as a `Prepared`; one that is prepared already is returned as it is.

    Raises
    ------
    ValueError
        As `Prepared`; and when what is prepared was not prepared so.
    """
    if isinstance(X, Prepared):
        if X.rows.normalized != normalize:
            raise ValueError(
                f"X was prepared with normalize={X.rows.normalized} and the estimator has "
                f"normalize={normalize}; give both the same"
            )
        return X
    if isinstance(X, Rows):
        raise TypeError("give Prepared(X, coords) in place of Rows(X)")
    return Prepared(X, coords, normalize=normalize, stretch=stretch)


def _check_coords(coords: npt.ArrayLike, n_patches: int) -> Doubles:
    given = np.asarray(coords, dtype=np.float64)
    if given.shape != (n_patches, 2):
        raise ValueError(
            f"coords has shape {given.shape} and X has {n_patches} patches; give one (x, y) for each patch"
        )
    if not np.isfinite(given).all():
        raise ValueError("coords holds NaN or infinity; give the centre of every patch")
    return given
