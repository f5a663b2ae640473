"""What is reckoned once a slide, before the first seed: rows ready for products, neighbours, components.

Everything is found when it is first asked for and kept, so that clicks after the first pay for nothing twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from tissuumaps_sic.labelling.places import Places
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.rows import Rows
from tissuumaps_sic.slidefile.arrays import Doubles, Index, Singles

# Principal components kept; 32 to 100 were tried and made no difference beyond noise.
N_COMPONENTS = 100
# Patches whose neighbours' embeddings are averaged at a time; each has a dozen.
_BLOCK_AVERAGES = 512


class Prepared:
    """A slide's embeddings and places, with what every run on them needs.

    Safe to share between threads: what is found twice is found equal.

    Parameters
    ----------
    X : array-like of shape (n_patches, n_features)
        Embeddings; may be a memory map or a `rows.RowReader`, float16, float32 or float64. It is not copied.
    coords : array-like of shape (n_patches, 2), optional
        Patch centres (x, y) in level-0 pixels; needed for `places` and what is found by them.
    normalize : bool, default=True
        Scale every embedding to unit length.
    stretch : Stretch, optional
        Is told how far the one pass over X is.

    Attributes
    ----------
    rows : Rows

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
        self._places = None if coords is None else Places(_check_coords(coords, self.rows.n_patches))
        self._axes: tuple[Doubles, Doubles] | None = None
        self._components: tuple[Singles, float] | None = None

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return self.rows.n_patches

    @property
    def places(self) -> Places:
        """Where the patches lie.

        Raises
        ------
        ValueError
            When that was not told.
        """
        if self._places is None:
            raise ValueError("method 'refine' uses the places of the patches; give coords, (n_patches, 2)")
        return self._places

    @property
    def is_ready(self) -> bool:
        """Whether all that method "refine" needs of the slide has been found."""
        return self._components is not None

    def ready(self, stretch: Stretch) -> None:
        """Find all that method "refine" needs of the slide, so far as it has not been found yet.

        The parts are the same that are found when they are first asked for. Each is kept once it is whole, so
        that one who stops this by `stretch` loses the part that was under way.

        Parameters
        ----------
        stretch : Stretch
        """
        places = self.places
        begin = 0.0
        # Shares of the time on 1,000,000 x 512 and 100,000 x 1280.
        for find, end, stage in (
            (self._find_axes, 0.50, "Finding what patches differ in"),
            (places.find_tree, 0.52, "Finding neighbours"),
            (places.find_stride, 0.60, "Finding neighbours"),
            (places.find_walk, 0.75, "Finding neighbours"),
            (places.find_pairs, 0.80, "Finding neighbours"),
            (self._find_components, 0.99, "Comparing neighbours"),
        ):
            part = stretch.part(begin, end, stage)
            part.tell(0.0)
            find(part)
            begin = end
        stretch.tell(1.0)

    @property
    def components(self) -> Singles:
        """Leading principal components, smoothed over the grid, (n_patches, n_components), float32.

        Scaled so that two patches drawn at random lie at a squared distance of 1 on average.
        """
        return self._find_components()[0]

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
        mean, directions = self._find_axes()
        _, scale = self._find_components()
        return ((embeddings - mean) @ directions.T / scale).astype(np.float32)

    def neighbourhoods(self, patches: Index) -> Doubles:
        """Return the scaled embeddings of some patches, averaged over their neighbours as components are.

        Parameters
        ----------
        patches : ndarray of shape (n,), intp

        Returns
        -------
        ndarray of shape (n, n_features), float64
        """
        averages, walk = np.empty((len(patches), self.rows.n_features)), self.places.find_walk()
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

    def find_doubles(self, patch: int) -> Index:
        """Return the patches whose place and embedding are those of `patch`, itself included.

        Parameters
        ----------
        patch : int

        Returns
        -------
        ndarray of shape (n,), intp
        """
        places = self.places
        near = places.find_tree().query_ball_point(places.coords[patch], 0.0)
        here = np.sort(np.array(near, dtype=np.intp))
        same = (self.rows.at(here) == self.rows.at(np.array([patch]))).all(axis=1)
        doubles: Index = here[same]
        return doubles

    def _find_axes(self, stretch: Stretch = SILENT) -> tuple[Doubles, Doubles]:
        """Return the mean of the rows, and the leading eigenvectors of their covariance as rows."""
        if self._axes is None:
            self._axes = _principal_axes(self.rows, stretch)
        return self._axes

    def _find_components(self, stretch: Stretch = SILENT) -> tuple[Singles, float]:
        """Return `components`, and the root of the mean squared distance by which they were divided."""
        if self._components is None:
            projected = _project(self.rows, *self._find_axes(), stretch.part(0.0, 0.6))
            smoothed = self.places.smooth(projected, stretch=stretch.part(0.6, 1.0))
            smoothed = smoothed.astype(np.float32, copy=False)
            total = float(np.einsum("ij,ij->", smoothed, smoothed, dtype=np.float64))
            scale = float(np.sqrt(2.0 * total / self.n_patches)) or 1.0
            smoothed /= np.float32(scale)
            self._components = smoothed, scale
        return self._components


def prepare(
    X: npt.ArrayLike | Prepared,
    coords: npt.ArrayLike | None = None,
    *,
    normalize: bool = True,
    stretch: Stretch = SILENT,
) -> Prepared:
    """Return X as a `Prepared`; one that is prepared already is returned as it is.

    Parameters
    ----------
    X, coords, normalize, stretch
        As for `Prepared`.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        As `Prepared`; and when what is prepared was prepared with another `normalize`.
    """
    if not isinstance(X, Prepared):
        return Prepared(X, coords, normalize=normalize, stretch=stretch)
    if X.rows.normalized != normalize:
        raise ValueError(
            f"X was prepared with normalize={X.rows.normalized} and the estimator has "
            f"normalize={normalize}; give both the same"
        )
    return X


def _principal_axes(rows: Rows, stretch: Stretch) -> tuple[Doubles, Doubles]:
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


def _project(rows: Rows, mean: Doubles, directions: Doubles, stretch: Stretch) -> Singles:
    """Project the centred rows on the axes."""
    projected = np.empty((rows.n_patches, len(directions)), dtype=np.float32)
    centre = directions @ mean
    for where, values in rows.blocks(None, stretch):
        projected[where] = (values @ rows.narrow(directions.T)) * rows.scale(where) - centre
    return projected


def _check_coords(coords: npt.ArrayLike, n_patches: int) -> Doubles:
    given = np.asarray(coords, dtype=np.float64)
    if given.shape != (n_patches, 2):
        raise ValueError(
            f"coords has shape {given.shape} and X has {n_patches} patches; give one (x, y) for each patch"
        )
    if not np.isfinite(given).all():
        raise ValueError("coords holds NaN or infinity; give the centre of every patch")
    return given
