"""Where patches lie in feature space, as coordinates and as colours: alike patches get alike colours."""

from __future__ import annotations

import atexit
import functools
import logging
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from embedder.embedding.mapped import forget_pages
from tissuumaps_sic.slidefile.arrays import Singles
from tissuumaps_sic.slidefile.temporary import hold_folder

log = logging.getLogger(__name__)


# UMAP's neighbours are sought among this many principal components: beyond, distances are mostly noise,
# and the search takes time in proportion.
_COMPONENTS = 50
_NEIGHBORS = 15
# With fewer patches a neighbourhood is the whole slide; principal components then show as much.
_FEWEST = 2 * _NEIGHBORS
# Along a component that differs by less, unit vectors of float32 differ by rounding alone; stretched to
# colours, that would be noise.
_ROUNDING = 1e-5
_CHUNK_ROWS = 2048


def fit_umap(X: npt.NDArray[Any], *, random_state: int = 0, max_fit: int = 20_000) -> tuple[Singles, Singles]:
    """Lay patches out in two and three dimensions by UMAP.

    Embeddings are scaled to unit length, as the clustering does, and reduced to 50 principal components.
    Neighbours are sought once for both layouts. With fewer than 30 patches the first principal components
    are given instead.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float32 or float16
        May be a memory map, which is read a block at a time.
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
    # On some processors sums of several threads are rounded otherwise, and UMAP makes another layout of that.
    with threadpool_limits(1, user_api="blas"):
        mean, axes = _find_principal_axes(X, chosen)
        components = np.empty((n, axes.shape[1]), dtype=np.float32)
        for start in range(0, n, _CHUNK_ROWS):
            unit = unit_rows(X[start : start + _CHUNK_ROWS])
            components[start : start + _CHUNK_ROWS] = (unit - mean) @ axes
            forget_pages(X)
    components[:, np.ptp(components, axis=0) < _ROUNDING] = 0
    if len(chosen) < _FEWEST or not components.any():
        return _take_first(components, 2), _take_first(components, 3)
    log.info("laying out %d patches by UMAP, fitted on %d", n, len(chosen))
    return _umap(components, chosen, random_state)


def rehearse() -> None:
    """Lay a few points out, as `fit_umap` lays patches: all that UMAP needs is then known to be there."""
    points = np.random.default_rng(0).normal(size=(_FEWEST, 8)).astype(np.float32)
    _umap(points, np.arange(len(points)), 0)


def srgb_hex(coordinates: Singles) -> list[str]:
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


def _umap(components: Singles, chosen: npt.NDArray[np.intp], random_state: int) -> tuple[Singles, Singles]:
    _keep_compiled()
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    fitted_on = np.ascontiguousarray(components[chosen])
    others = np.setdiff1d(np.arange(len(components)), chosen)
    neighbors, distances = _find_neighbors(fitted_on, fitted_on, _NEIGHBORS + 1)
    neighbors, distances = _put_self_first(neighbors, distances)
    placing = None
    if others.size:
        # Where UMAP's own transform begins: at the mean of the neighbours, by their membership. The epochs
        # that it adds make no truer layout of it (benchmarks/bench_umap.py).
        near, far = _find_neighbors(components[others], fitted_on, _NEIGHBORS)
        sigmas, rhos = smooth_knn_dist(far, float(_NEIGHBORS), local_connectivity=0.0)
        _, _, strengths, _ = compute_membership_strengths(near, far, sigmas, rhos, bipartite=True)
        weights = strengths.reshape(near.shape)
        placing = near, weights / weights.sum(axis=1, keepdims=True)
    layouts = []
    for dimensions in (2, 3):
        fitted = _fit_layout(fitted_on, (neighbors, distances), dimensions, random_state)
        layout = np.empty((len(components), dimensions), dtype=np.float32)
        layout[chosen] = fitted
        if placing is not None:
            near, weights = placing
            for start in range(0, len(others), _CHUNK_ROWS):
                part = slice(start, start + _CHUNK_ROWS)
                layout[others[part]] = np.einsum("ik,ikd->id", weights[part], fitted[near[part]])
        layouts.append(layout)
    return layouts[0], layouts[1]


@functools.cache
def _keep_compiled() -> None:
    """Let numba, which compiles UMAP, keep what it compiled, for the processes that come later.

    UMAP asks for that for a part of its functions alone. To compile the others, named here, took six of the
    nine seconds that the first layout of a process took.
    """
    _find_cache()
    from umap import layouts, umap_

    for module, name in (
        (umap_, "smooth_knn_dist"),
        (umap_, "compute_membership_strengths"),
        (layouts, "_nb_optimize_layout_euclidean_single_epoch"),
    ):
        # What is not there, or not compiled, needs nothing kept.
        getattr(getattr(module, name, None), "enable_caching", lambda: None)()


@functools.cache
def _find_cache() -> None:
    """Give numba a place to keep what it compiled, where it would find none.

    It looks beside UMAP's own files and then in the user's home, and refuses to work where neither can be
    written. The place is nobody else's, since what is found there is executed, and goes with this process, or
    when a later one finds that it was killed.
    """
    import importlib.util

    import numba

    spec = importlib.util.find_spec("umap")
    settings: Any = numba.config
    if settings.CACHE_DIR or spec is None or spec.origin is None:
        return

    def probe() -> None:
        """Be kept by numba where a function of UMAP's would be."""

    probe.__code__ = probe.__code__.replace(co_filename=spec.origin)
    try:
        # Without a home, numba would make a folder called ~.
        Path.home()
        numba.njit(cache=True)(probe)
    except RuntimeError:
        held = ExitStack()
        settings.CACHE_DIR = str(held.enter_context(hold_folder("embedder-numba-")))
        atexit.register(held.close)


def _fit_layout(
    X: Singles, neighbors: tuple[npt.NDArray[np.int32], Singles], dimensions: int, random_state: int
) -> Singles:
    _keep_compiled()
    import umap

    with warnings.catch_warnings():
        # A seed makes UMAP run in one thread, and neighbours that are given make it unable to place others:
        # it says so each time. Its other warnings are ours to see, but not the user's.
        warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)
        warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)
        model = umap.UMAP(
            n_components=dimensions,
            n_neighbors=_NEIGHBORS,
            random_state=random_state,
            precomputed_knn=(*neighbors, None),
        )
        layout: Singles = model.fit_transform(X)
    return layout


def _find_neighbors(queries: Singles, among: Singles, k: int) -> tuple[npt.NDArray[np.int32], Singles]:
    """Return the k nearest rows of `among` to each query, nearest first: indices and distances, (n, k).

    By comparing each with each. UMAP's own approximate search takes longer to be compiled, in each new
    process, than this takes for 20,000 patches, and what it finds depends on the number of threads.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among)
    distances, indices = search.kneighbors(queries)
    return indices.astype(np.int32), distances.astype(np.float32)


def _put_self_first(
    indices: npt.NDArray[np.int32], distances: Singles
) -> tuple[npt.NDArray[np.int32], Singles]:
    """Make each patch its own first neighbour, as UMAP wants it, also where others are equal to it."""
    own = np.arange(len(indices), dtype=np.int32)[:, None]
    # A stable sort keeps the others in their order, and moves the patch itself to the front.
    order = np.argsort(indices != own, axis=1, kind="stable")[:, :_NEIGHBORS]
    indices = np.take_along_axis(indices, order, axis=1)
    distances = np.take_along_axis(distances, order, axis=1)
    # Among more than k equals it may not be found at all.
    missing = indices[:, :1] != own
    indices[:, 1:] = np.where(missing, indices[:, :-1], indices[:, 1:])
    indices[:, 0] = own[:, 0]
    distances[:, 0] = 0
    return indices, distances


def _find_principal_axes(X: npt.NDArray[Any], chosen: npt.NDArray[np.intp]) -> tuple[Singles, Singles]:
    """Return the mean and the leading axes, (n_features, at most 50), of unit rows, signs fixed."""
    n_features = X.shape[1]
    total: npt.NDArray[np.float64] = np.zeros(n_features)
    for start in range(0, len(chosen), _CHUNK_ROWS):
        total += unit_rows(X[chosen[start : start + _CHUNK_ROWS]]).sum(axis=0, dtype=np.float64)
        forget_pages(X)
    mean = total / len(chosen)
    find = _find_axes_of_few if len(chosen) < n_features else _find_axes_of_many
    axes = find(X, chosen, mean)
    # An axis may point either way; the largest entry is made positive, so that machines agree.
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return mean.astype(np.float32), (axes * np.where(largest < 0, -1, 1)).astype(np.float32)


def _find_axes_of_many(
    X: npt.NDArray[Any], chosen: npt.NDArray[np.intp], mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the leading axes from the covariance of the features, read a block of rows at a time."""
    covariance: npt.NDArray[np.float64] = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(chosen), _CHUNK_ROWS):
        centred = unit_rows(X[chosen[start : start + _CHUNK_ROWS]]) - mean
        covariance += centred.T @ centred
        forget_pages(X)
    _, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1][:, :_COMPONENTS]


def _find_axes_of_few(
    X: npt.NDArray[Any], chosen: npt.NDArray[np.intp], mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the same axes, of fewer rows than features, from the products of the rows.

    Of 50 patches with 1,280 features this takes milliseconds, where the covariance takes half a second.
    """
    centred = unit_rows(X[chosen]) - mean
    forget_pages(X)
    squares, vectors = np.linalg.eigh(centred @ centred.T)
    squares, vectors = squares[::-1][:_COMPONENTS], vectors[:, ::-1][:, :_COMPONENTS]
    # Along what is rounding alone there is no axis.
    found = squares > squares[0] * np.finfo(np.float32).eps ** 2
    axes: npt.NDArray[np.float64] = centred.T @ vectors[:, found] / np.sqrt(squares[found])
    return axes


def unit_rows(X: npt.NDArray[Any]) -> Singles:
    """Return rows of unit length, (n, n_features); a row of zeros stays one.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)

    Returns
    -------
    float32 array of shape (n, n_features)
    """
    rows = np.asarray(X, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1
    unit: Singles = np.divide(rows, norms, dtype=np.float32)
    return unit


def _take_first(components: Singles, dimensions: int) -> Singles:
    """Return the first components, with zeros where there are fewer."""
    first = np.zeros((len(components), dimensions), dtype=np.float32)
    kept = components[:, :dimensions]
    first[:, : kept.shape[1]] = kept
    return first
