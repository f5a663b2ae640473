"""Where patches lie in feature space, as coordinates and as colours: alike patches get alike colours."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

# UMAP's neighbours are sought among this many principal components: beyond, distances are mostly noise,
# and the search takes time in proportion.
_COMPONENTS = 50
_NEIGHBORS = 15
# With fewer patches a neighbourhood is the whole slide; principal components then show as much.
_FEWEST = 2 * _NEIGHBORS
# Along a component that differs by less, unit vectors of float32 differ by rounding alone; stretched to
# colours, that would be noise.
_ROUNDING = 1e-5
_CHUNK_ROWS = 8192


def project(X: Floats, *, random_state: int = 0, max_fit: int = 20_000) -> tuple[Floats, Floats]:
    """Lay patches out in two and three dimensions by UMAP.

    Embeddings are scaled to unit length, as the clustering does, and reduced to 50 principal components.
    Neighbours are sought once for both layouts. With fewer than 30 patches the first principal components
    are given instead.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float32
        May be a memory map.
    random_state : int, default=0
        The same seed gives the same coordinates, whatever was run before.
    max_fit : int, default=20_000
        UMAP is fitted on at most this many patches, chosen at random; the others are placed among them.

    Returns
    -------
    two : ndarray of shape (n, 2), float32
    three : ndarray of shape (n, 3), float32

    References
    ----------
    L. McInnes, J. Healy, J. Melville, "UMAP", arXiv:1802.03426; for the colours, E. Chelebian et al.,
    Cancers 13(19):4837, 2021.
    """
    n = X.shape[0]
    rng = np.random.default_rng(random_state)
    chosen = np.sort(rng.choice(n, max_fit, replace=False)) if n > max_fit else np.arange(n)
    mean, axes = _principal_axes(_unit_rows(X[chosen]))
    components = np.concatenate(
        [(_unit_rows(X[start : start + _CHUNK_ROWS]) - mean) @ axes for start in range(0, n, _CHUNK_ROWS)]
    )
    components[:, np.ptp(components, axis=0) < _ROUNDING] = 0
    if len(chosen) < _FEWEST or not components.any():
        return _first(components, 2), _first(components, 3)
    log.info("laying out %d patches by UMAP, fitted on %d", n, len(chosen))
    return _umap(components, chosen, random_state)


def srgb_hex(coordinates: Floats) -> list[str]:
    """Turn three coordinates into a colour each.

    Each axis is stretched between its 1st and 99th percentile, so that a few outliers do not grey the
    rest; an axis along which nothing differs is at half intensity.

    Parameters
    ----------
    coordinates : ndarray of shape (n, 3), float32

    Returns
    -------
    list of str
        ``#rrggbb``, sRGB.
    """
    low, high = np.percentile(coordinates, [1, 99], axis=0)
    extent = high - low
    flat = extent <= 0
    scaled = (coordinates - low) / np.where(flat, 1, extent)
    scaled[:, flat] = 0.5
    levels = np.rint(np.clip(scaled, 0, 1) * 255).astype(int)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in levels]


def _umap(components: Floats, chosen: npt.NDArray[np.intp], random_state: int) -> tuple[Floats, Floats]:
    import umap
    from umap.umap_ import nearest_neighbors

    fitted_on = np.ascontiguousarray(components[chosen])
    others = np.setdiff1d(np.arange(len(components)), chosen)
    neighbors = nearest_neighbors(
        fitted_on,
        n_neighbors=_NEIGHBORS,
        metric="euclidean",
        metric_kwds={},
        angular=False,
        random_state=np.random.RandomState(random_state),
        # In several threads the search finds other neighbours with each number of threads, seed or not.
        n_jobs=1,
    )
    layouts = []
    for dimensions in (2, 3):
        with warnings.catch_warnings():
            # A seed makes UMAP run in one thread, and it says so each time. Its other warnings are ours
            # to see, but not the user's.
            warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)
            model = umap.UMAP(
                n_components=dimensions,
                n_neighbors=_NEIGHBORS,
                random_state=random_state,
                precomputed_knn=neighbors,
            )
            layout = np.empty((len(components), dimensions), dtype=np.float32)
            layout[chosen] = model.fit_transform(fitted_on)
            if others.size:
                layout[others] = model.transform(components[others])
        layouts.append(layout)
    return layouts[0], layouts[1]


def _principal_axes(X: Floats) -> tuple[Floats, Floats]:
    """Return the mean, (n_features,), and the leading axes, (n_features, at most 50), signs fixed."""
    mean: npt.NDArray[np.float64] = X.mean(axis=0, dtype=np.float64)
    covariance: npt.NDArray[np.float64] = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, X.shape[0], _CHUNK_ROWS):
        centred = X[start : start + _CHUNK_ROWS].astype(np.float64) - mean
        covariance += centred.T @ centred
    _, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1][:, :_COMPONENTS]
    # An axis may point either way; the largest entry is made positive, so that machines agree.
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return mean.astype(np.float32), (axes * np.where(largest < 0, -1, 1)).astype(np.float32)


def _unit_rows(X: npt.NDArray[Any]) -> Floats:
    rows = np.asarray(X, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1
    unit: Floats = np.divide(rows, norms, dtype=np.float32)
    return unit


def _first(components: Floats, dimensions: int) -> Floats:
    """Return the first components, with zeros where there are fewer."""
    found = np.zeros((len(components), dimensions), dtype=np.float32)
    kept = components[:, :dimensions]
    found[:, : kept.shape[1]] = kept
    return found
