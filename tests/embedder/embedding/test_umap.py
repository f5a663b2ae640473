from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from embedder.embedding import umap
from embedder.embedding.umap import fit_umap, srgb_hex

pytest.importorskip("umap")


def clouds(n, seed=0):
    """Three clouds in 40 dimensions, and which each point belongs to."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 3, n)
    return (rng.normal(size=(3, 40))[which] * 3 + rng.normal(size=(n, 40))).astype(np.float32), which


def neighbours_alike(layout, which):
    """Share of points whose nearest other point is of their own cloud."""
    distances = ((layout[:, None] - layout[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return (which[distances.argmin(1)] == which).mean()


@pytest.fixture(scope="module")
def layouts():
    X, which = clouds(400)
    return X, which, fit_umap(X)


def test_neighbours_in_feature_space_stay_neighbours(layouts):
    _, which, (two, three) = layouts
    assert two.shape == (400, 2)
    assert three.shape == (400, 3)
    assert two.dtype == three.dtype == np.float32
    assert neighbours_alike(two, which) > 0.97
    assert neighbours_alike(three, which) > 0.97


def test_the_layout_does_not_depend_on_what_ran_before(layouts):
    X, _, (two, three) = layouts
    np.random.seed(99)  # noqa: NPY002 -- the global generator is what must not matter
    again = fit_umap(X.copy())
    assert np.array_equal(again[0], two)
    assert np.array_equal(again[1], three)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_layout_does_not_depend_on_the_number_of_threads(layouts, threads):
    X, _, (two, three) = layouts
    with threadpool_limits(threads):
        again = fit_umap(X)
    assert np.array_equal(again[0], two)
    assert np.array_equal(again[1], three)


def test_neighbours_are_the_nearest_and_a_patch_is_its_own_first():
    X = clouds(300)[0]
    X[40:60] = X[0]  # more equals than neighbours
    indices, distances = umap._put_self_first(*umap._find_neighbors(X, X, 16))
    assert indices.shape == distances.shape == (300, 15)
    assert np.array_equal(indices[:, 0], np.arange(300))
    exact = np.linalg.norm(X[:, None].astype(np.float64) - X[None], axis=-1)
    assert np.allclose(distances, np.sort(exact, axis=1)[:, :15], atol=1e-4)
    assert np.allclose(distances, np.take_along_axis(exact, indices, axis=1), atol=1e-4)
    assert all(len(set(row)) == 15 for row in indices.tolist())


def test_embeddings_of_half_precision_and_of_a_mapped_file_do(layouts, tmp_path):
    X, which, _ = layouts
    mapped = np.memmap(tmp_path / "X", np.float16, "w+", shape=X.shape)
    mapped[:] = X
    mapped.flush()
    two, _ = fit_umap(np.memmap(tmp_path / "X", np.float16, "r", shape=X.shape))
    assert neighbours_alike(two, which) > 0.97


def test_beyond_the_limit_patches_are_placed_among_the_fitted_ones():
    X, which = clouds(300)
    two, three = fit_umap(X, max_fit=150)
    assert np.isfinite(two).all()
    assert neighbours_alike(two, which) > 0.95
    assert neighbours_alike(three, which) > 0.95
    assert np.array_equal(fit_umap(X, max_fit=150)[1], three)


@pytest.mark.parametrize("n", [1, 2, 3, 29])
def test_a_handful_of_patches_gets_a_layout_too(n):
    X, _ = clouds(n)
    two, three = fit_umap(X)
    assert two.shape == (n, 2)
    assert three.shape == (n, 3)
    assert np.isfinite(two).all()
    assert len(srgb_hex(three)) == n


def test_rounding_gets_no_colour():
    """Two patches differ along one axis; along the others lies only what float32 rounds."""
    two, three = fit_umap(np.random.default_rng(3).normal(size=(2, 64)).astype(np.float32))
    assert two[0, 0] != two[1, 0]
    assert not three[:, 1:].any()
    almost = 1 + 1e-7 * np.random.default_rng(4).normal(size=(60, 40))
    assert set(srgb_hex(fit_umap(almost.astype(np.float32))[1])) == {"#808080"}


def test_lengths_of_embeddings_do_not_matter():
    X, _ = clouds(60)
    longer = X * np.linspace(0.5, 20, 60, dtype=np.float32)[:, None]
    shorter = X * np.float32(4)  # a power of two changes no digit
    assert np.array_equal(fit_umap(shorter)[0], fit_umap(X)[0])
    assert neighbours_alike(fit_umap(longer)[0], clouds(60)[1]) > 0.9


def test_equal_patches_are_grey_and_nothing_is_nan():
    two, three = fit_umap(np.ones((60, 40), dtype=np.float32))
    assert np.isfinite(two).all()
    assert set(srgb_hex(three)) == {"#808080"}


def test_colours_follow_the_axes_red_green_blue():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)
    zero = np.zeros_like(ramp)
    assert srgb_hex(np.column_stack([ramp, zero, zero]))[-1] == "#ff8080"
    assert srgb_hex(np.column_stack([zero, ramp, zero]))[-1] == "#80ff80"
    assert srgb_hex(np.column_stack([zero, zero, ramp]))[0] == "#808000"


def test_an_outlier_does_not_grey_the_rest():
    values = np.column_stack([np.linspace(0, 1, 500)] * 3).astype(np.float32)
    values[0] = 1000
    assert len(set(srgb_hex(values))) > 200


def test_what_is_compiled_for_umap_is_kept_for_later_processes(layouts):
    from umap import layouts as compiled
    from umap import umap_

    assert layouts
    for function in (
        umap_.smooth_knn_dist,
        umap_.compute_membership_strengths,
        compiled._nb_optimize_layout_euclidean_single_epoch,
    ):
        # Read from where an earlier process left it, or left there by this one.
        assert list(Path(function.stats.cache_path).glob(f"*{function.py_func.__name__}*.nbc"))


@pytest.mark.parametrize("n", [33, 60, 99])
def test_the_axes_of_few_patches_are_those_of_the_covariance(n):
    """Fewer rows than features are taken another way."""
    X = np.random.default_rng(n).normal(size=(n, 100)) * np.linspace(3, 0.1, 100)
    X = X.astype(np.float32)
    chosen = np.arange(n)
    mean = umap.unit_rows(X).mean(axis=0, dtype=np.float64)
    few, many = umap._find_axes_of_few(X, chosen, mean), umap._find_axes_of_many(X, chosen, mean)
    assert few.shape == (100, min(n - 1, 50))
    # Each points as the other does, one way or the other.
    assert np.allclose(np.abs((few * many[:, : few.shape[1]]).sum(axis=0)), 1, atol=1e-6)


def test_equal_patches_have_no_axes():
    X = np.tile(np.arange(1, 101, dtype=np.float32), (40, 1))
    two, three = fit_umap(X)
    assert not two.any()
    assert not three.any()
