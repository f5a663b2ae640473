import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
from PIL import Image

from embedder.patches.grid import PatchGrid
from embedder.patches.reading import iter_patches
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows with x and green with y, a step every eight pixels; (height, width, 3)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)[None, :] // 8
    image[..., 1] = np.arange(height)[:, None] // 8
    return image


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def save_pyramid(image: np.ndarray, path: Path, *, tile: int = 128) -> Path:
    pyvips.Image.new_from_array(image).tiffsave(
        str(path), tile=True, tile_width=tile, tile_height=tile, pyramid=True, compression="deflate"
    )
    return path


def plan(slide: Slide, mpp: float, **options: Any) -> PatchGrid:
    options = {"level_downsamples": slide.level_downsamples} | options
    return PatchGrid.plan(slide.size, mpp_x=mpp, mpp_y=mpp, **options)


def scattered(grid: PatchGrid, *, share: float = 0.1) -> PatchGrid:
    """Some patches here and there, and a solid block of them."""
    keep = np.random.default_rng(1).random(len(grid)) < share
    keep |= (abs(grid.column - grid.columns // 2) < 4) & (abs(grid.row - grid.rows // 2) < 4)
    return grid.select(keep)


def collect(batches: Iterator[tuple[np.ndarray, np.ndarray]], grid: PatchGrid) -> np.ndarray:
    """All patches in the grid's order; fails where one is missing or comes twice."""
    found = np.zeros((len(grid), grid.patch_size, grid.patch_size, 3), np.uint8)
    seen = np.zeros(len(grid), int)
    for indices, patches in batches:
        assert indices.dtype == np.int64
        assert patches.dtype == np.uint8
        assert patches.shape == (len(indices), grid.patch_size, grid.patch_size, 3)
        found[indices] = patches
        np.add.at(seen, indices, 1)
    np.testing.assert_array_equal(seen, 1)
    return found


def read_alone(path: Path, grid: PatchGrid, index: int) -> np.ndarray:
    """One patch through OpenSlide and Pillow: its square with a margin, made to size."""
    side0 = grid.patch_size * grid.scale
    corner = grid.centres[index] - side0 / 2
    downsample = grid.level_downsample
    with openslide.OpenSlide(path) as slide:
        margin = 16
        # Beyond the slide there is nothing that a filter could mix in.
        size = slide.level_dimensions[grid.level]
        left, top = (max(int(np.floor(c / downsample)) - margin, 0) for c in corner)
        right, bottom = (
            min(int(np.ceil((c + side0) / downsample)) + margin, end)
            for c, end in zip(corner, size, strict=True)
        )
        region = slide.read_region(
            (round(left * downsample), round(top * downsample)), grid.level, (right - left, bottom - top)
        )
    white = Image.new("RGB", region.size, (255, 255, 255))
    white.paste(region, mask=region)
    x, y = corner[0] / downsample - left, corner[1] / downsample - top
    span = side0 / downsample
    return np.asarray(
        white.resize(
            (grid.patch_size, grid.patch_size),
            Image.Resampling.BILINEAR,
            box=(x, y, x + span, y + span),
        )
    )


def test_patches_of_a_level_at_the_target_are_the_files_own_pixels(shared_data: Path) -> None:
    path = shared_data / "slides" / "colon_section1.tif"
    with open_slide(path) as slide:
        grid = plan(slide, 0.25)
        assert (grid.level, grid.level_scale) == (1, (1, 1))
        grid = grid.select((abs(grid.row - 40) < 4) & (abs(grid.column - 25) < 9))
        found = collect(iter_patches(slide, grid, batch_size=32), grid)
    with openslide.OpenSlide(path) as reference:
        for k in np.random.default_rng(0).choice(len(grid), 12, replace=False):
            alone = reference.read_region((grid.x0[k], grid.y0[k]), 1, (256, 256))
            np.testing.assert_array_equal(found[k], np.asarray(alone)[..., :3])


@pytest.mark.parametrize(
    ("name", "mpp", "options", "tolerance"),
    [
        ("CMU-1-Small-Region.svs", 0.499, {}, 0.05),
        ("CMU-1-Small-Region.svs", 0.2273, {}, 0.05),
        ("CMU-1-Small-Region.svs", 0.8, {}, 0.05),
        ("CMU-1-Small-Region.svs", 0.31, {"bounds": (333, 401, 1700, 2345)}, 0.05),
        ("colon_section1.tif", 0.21, {"bounds": (3001, 12001, 4000, 5000)}, 0.05),
        # This file's level 1 is 2.0005 times smaller: OpenSlide itself interpolates, differently
        # for each read.
        ("tcga-cr-7395-01a-01-ts1.svs", 0.25, {}, 8),
    ],
)
def test_a_patch_from_strips_equals_the_patch_read_alone(
    shared_data: Path, name: str, mpp: float, options: dict[str, Any], tolerance: float
) -> None:
    path = shared_data / "slides" / name
    with open_slide(path) as slide:
        grid = scattered(plan(slide, mpp, patch_size=128, **options))
        found = collect(iter_patches(slide, grid, batch_size=50), grid)
    for k in np.random.default_rng(0).choice(len(grid), 15, replace=False):
        difference = np.abs(found[k].astype(int) - read_alone(path, grid, k))
        assert difference.mean() < tolerance
        if tolerance < 1:
            # Pillow rounds its weights, and its pixels between the two directions.
            assert difference.max() <= 2


@pytest.mark.parametrize("mpp", [0.25, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("bounds", [None, (203, 101, 1500, 999)])
def test_colours_say_that_every_patch_lies_at_its_place(
    tmp_path: Path, mpp: float, bounds: tuple[int, int, int, int] | None
) -> None:
    path = save_pyramid(gradient(1900, 1300), tmp_path / "gradient.tif")
    with open_slide(path) as slide:
        grid = plan(slide, mpp, patch_size=64, bounds=bounds)
        found = collect(iter_patches(slide, grid, batch_size=100), grid)
    x, y = grid.centres.T
    # The mean of a run of steps of eight pixels around x is (x - 4) / 8, plus or minus rounding.
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), (x - 4) / 8, atol=0.6)
    np.testing.assert_allclose(found[..., 1].mean((1, 2)), (y - 4) / 8, atol=0.6)
    # Inside a patch red grows along its columns and green along its rows.
    step = 32 * grid.scale / 8
    halves = found[:, :, 32:, 0].mean((1, 2)) - found[:, :, :32, 0].mean((1, 2))
    np.testing.assert_allclose(halves, step, atol=0.6)
    halves = found[:, 32:, :, 1].mean((1, 2)) - found[:, :32, :, 1].mean((1, 2))
    np.testing.assert_allclose(halves, step, atol=0.6)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_flat_images_are_cut_pixel_by_pixel(tmp_path: Path, suffix: str) -> None:
    image = noise(900, 700)
    path = tmp_path / f"flat{suffix}"
    pyvips.Image.new_from_array(image).write_to_file(str(path))
    with open_slide(path) as slide:
        grid = plan(slide, 0.5, patch_size=100, overlap=0.3)
        found = collect(iter_patches(slide, grid, batch_size=7), grid)
    for patch, x, y in zip(found, grid.x0, grid.y0, strict=True):
        np.testing.assert_array_equal(patch, image[y : y + 100, x : x + 100])


@pytest.mark.parametrize("overlap", [0, 0.5, 0.9])
@pytest.mark.parametrize("mpp", [0.5, 0.37])
def test_bands_of_a_wide_slide_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpp: float, overlap: float
) -> None:
    path = save_pyramid(noise(1500, 600), tmp_path / "noise.tif")
    with open_slide(path) as slide:
        grid = scattered(plan(slide, mpp, patch_size=64, overlap=overlap), share=0.3)
        whole = collect(iter_patches(slide, grid, batch_size=50), grid)
        monkeypatch.setattr("embedder.patches.reading._BAND_PIXELS", 300)
        banded = collect(iter_patches(slide, grid, batch_size=50), grid)
    # Pillow's fixed-point weights, and its rounding between the two directions, differ by where a box begins.
    difference = np.abs(whole.astype(int) - banded)
    assert difference.max() <= (0 if mpp == 0.5 else 2)
    assert difference.mean() < 0.05


def test_tile_rows_of_any_height_do(tmp_path: Path) -> None:
    image = noise(1000, 800)
    for tile in (16, 48, 512):
        with open_slide(save_pyramid(image, tmp_path / f"{tile}.tif", tile=tile)) as slide:
            grid = scattered(plan(slide, 0.5, patch_size=72, overlap=0.25))
            found = collect(iter_patches(slide, grid, batch_size=9), grid)
        for patch, x, y in zip(found, grid.x0, grid.y0, strict=True):
            np.testing.assert_array_equal(patch, image[y : y + 72, x : x + 72])


def test_the_last_patch_may_end_after_a_level_whose_size_was_rounded(tmp_path: Path) -> None:
    # OpenSlide's downsample is the mean of 903 / 451 and 601 / 300: by it the slide ends 0.08 pixels
    # below its level 1, and 2 x 150 target pixels fit exactly.
    path = save_pyramid(gradient(903, 601), tmp_path / "rounded.tif")
    with open_slide(path) as slide:
        assert slide.level_sizes[1] == (451, 300)
        grid = plan(slide, 0.5 * 300 / 601, patch_size=150, overlap=0)
        assert (grid.level, grid.columns, grid.rows) == (1, 3, 2)
        assert grid.level_scale[1] * 300 > 300.05
        found = collect(iter_patches(slide, grid, batch_size=4), grid)
    x, y = grid.centres.T
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), (x - 4) / 8, atol=0.6)
    np.testing.assert_allclose(found[..., 1].mean((1, 2)), (y - 4) / 8, atol=0.6)


@pytest.mark.parametrize(("mpp_x", "mpp_y"), [(0.25, 0.5), (0.5, 0.2), (0.3, 0.37), (0.5, 1.0)])
def test_patches_of_pixels_that_are_not_square_are_not_distorted(
    tmp_path: Path, mpp_x: float, mpp_y: float
) -> None:
    path = save_pyramid(gradient(1900, 1300), tmp_path / "gradient.tif")
    with open_slide(path) as slide:
        grid = PatchGrid.plan(
            slide.size,
            mpp_x=mpp_x,
            mpp_y=mpp_y,
            patch_size=64,
            bounds=(203, 101, 1500, 999),
            level_downsamples=slide.level_downsamples,
        )
        found = collect(iter_patches(slide, grid, batch_size=100), grid)
    x, y = grid.centres.T
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), (x - 4) / 8, atol=0.6)
    np.testing.assert_allclose(found[..., 1].mean((1, 2)), (y - 4) / 8, atol=0.6)
    # Half a patch is 16 µm, whatever the direction.
    halves = found[:, :, 32:, 0].mean((1, 2)) - found[:, :, :32, 0].mean((1, 2))
    np.testing.assert_allclose(halves, 16 / mpp_x / 8, atol=0.6)
    halves = found[:, 32:, :, 1].mean((1, 2)) - found[:, :32, :, 1].mean((1, 2))
    np.testing.assert_allclose(halves, 16 / mpp_y / 8, atol=0.6)


def test_tiles_as_large_as_the_slide_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(1400, 1000)
    monkeypatch.setattr("embedder.patches.reading._STRIP_PIXELS", 1024 * 300)
    with open_slide(save_pyramid(image, tmp_path / "large.tif", tile=1024)) as slide:
        grid = scattered(plan(slide, 0.5, patch_size=64), share=0.4)
        reads = counted_reads(slide, monkeypatch)
        found = collect(iter_patches(slide, grid, batch_size=30), grid)
    for patch, x, y in zip(found, grid.x0, grid.y0, strict=True):
        np.testing.assert_array_equal(patch, image[y : y + 64, x : x + 64])
    assert max(width * height for _, _, width, height in reads) <= 1024**2


def counted_reads(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    reads: list[tuple[int, int, int, int]] = []
    read = slide.read_rest

    def counting(x: int, y: int, width: int, height: int, *, level: int = 0) -> np.ndarray:
        reads.append((x, y, width, height))
        return read(x, y, width, height, level=level)

    monkeypatch.setattr(slide, "read_rest", counting)
    return reads


@pytest.mark.parametrize(("name", "mpp"), [("colon_section1.tif", 0.25), ("colon_section1.tif", 0.4)])
def test_each_tile_with_tissue_is_decoded_once_and_no_other(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, mpp: float
) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        grid = plan(slide, mpp, bounds=(0, 4000, 14_592, 6000))
        grid = scattered(grid, share=0.02)
        reads = counted_reads(slide, monkeypatch)
        collect(iter_patches(slide, grid, batch_size=64), grid)
        width, height = slide.level_sizes[grid.level]
        tile = slide.tile_sizes[grid.level]
    assert tile == (256, 256)
    # By brute force: the tiles of the level that a selected patch touches.
    touched = np.zeros((height, width), bool)
    side = grid.patch_size0 / grid.level_downsample
    for x, y in (grid.centres - grid.patch_size0 / 2) / grid.level_downsample:
        # The filter that resamples reaches three pixels further.
        reach = 0 if grid.level_scale == (1, 1) else 3
        left, right = int(max(x - reach, 0)) // 256 * 256, -(int(x + side + reach) // -256) * 256
        top, bottom = int(max(y - reach, 0)) // 256 * 256, -(int(y + side + reach) // -256) * 256
        touched[top:bottom, left:right] = True
    assert 0.1 < touched.sum() / (width * 6000 / grid.level_downsample) < 0.9
    assert sum(w * h for _, _, w, h in reads) <= 1.1 * touched.sum()
    times = np.zeros((height, width), np.uint8)
    for x, y, w, h in reads:
        times[y : y + h, x : x + w] += 1
    assert times.max() == 1


@pytest.mark.parametrize(("tile", "bound"), [(256, 100e6), (4096, 500e6)])
def test_memory_does_not_grow_with_the_slide(tile: int, bound: float) -> None:
    largest = 0

    class Endless:
        """A slide of 200,000 x 150,000 pixels that makes its pixels when asked."""

        path = Path("endless.tif")
        size = (200_000, 150_000)
        level_sizes = ((200_000, 150_000),)
        tile_sizes = ((tile, tile),)

        def read_rest(self, x: int, y: int, width: int, height: int, *, level: int) -> np.ndarray:
            nonlocal largest
            largest = max(largest, width * height)
            return np.full((height, width, 3), (x // 4096, y // 4096, 7), np.uint8)

    slide: Any = Endless()
    grid = PatchGrid.plan(slide.size, mpp_x=0.5, mpp_y=0.5)
    # One row of patches across the whole slide, and one column from top to bottom.
    grid = grid.select((grid.row == 300) | (grid.column == 700))
    if tile > 256:  # so many pixels in a tile take their time
        grid = grid.select((grid.column < 800) & (grid.row > 250) & (grid.row < 400))
    grid = grid.select(np.arange(len(grid)) % 3 == 0)
    peak, batches = 0, 0
    import tracemalloc

    tracemalloc.start()
    for _, patches in iter_patches(slide, grid, batch_size=16):
        assert (patches[..., 2] == 7).all()
        batches += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert batches == -(len(grid) // -16)
    assert largest <= max(16_384 * 256, tile**2)
    assert peak < bound


def test_the_order_is_the_same_each_time(tmp_path: Path) -> None:
    with open_slide(save_pyramid(noise(900, 700), tmp_path / "noise.tif")) as slide:
        grid = scattered(plan(slide, 0.5, patch_size=64))
        orders = [
            np.concatenate([indices for indices, _ in iter_patches(slide, grid, batch_size=size)])
            for size in (1, 7, 7, 1000)
        ]
    for order in orders:
        np.testing.assert_array_equal(order, np.arange(len(grid)))


@pytest.mark.parametrize("band", [16_384, 700])
@pytest.mark.parametrize("mpp", [0.5, 0.83])
def test_a_start_gives_the_batches_that_come_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band: int, mpp: float
) -> None:
    monkeypatch.setattr("embedder.patches.reading._BAND_PIXELS", band)
    with open_slide(save_pyramid(noise(1500, 1300), tmp_path / "noise.tif")) as slide:
        grid = scattered(plan(slide, mpp, patch_size=64, overlap=0.5), share=0.5)
        whole = list(iter_patches(slide, grid, batch_size=16))
        assert len(whole) > 8
        for batches in (0, 1, 5, len(whole) - 1, len(whole)):
            start = min(batches * 16, len(grid))
            rest = list(iter_patches(slide, grid, batch_size=16, start=start))
            assert len(rest) == len(whole) - batches
            for (indices, patches), (expected, pixels) in zip(rest, whole[batches:], strict=True):
                assert np.array_equal(indices, expected)
                assert np.array_equal(patches, pixels)
        with pytest.raises(ValueError, match="no multiple"):
            iter_patches(slide, grid, batch_size=16, start=17)


def test_batches_are_the_consumers_own(tmp_path: Path) -> None:
    image = noise(900, 700)
    with open_slide(save_pyramid(image, tmp_path / "noise.tif")) as slide:
        grid = plan(slide, 0.5, patch_size=64)
        kept = list(iter_patches(slide, grid, batch_size=20))
    assert [len(indices) for indices, _ in kept][:-1] == [20] * (len(kept) - 1)
    for indices, patches in kept:
        for k, patch in zip(indices, patches, strict=True):
            x, y = grid.x0[k], grid.y0[k]
            np.testing.assert_array_equal(patch, image[y : y + 64, x : x + 64])
        patches[:] = 0


def test_a_grid_without_patches_gives_nothing(tmp_path: Path) -> None:
    with open_slide(save_pyramid(noise(300, 300), tmp_path / "noise.tif")) as slide:
        grid = plan(slide, 0.5, patch_size=64)
        assert list(iter_patches(slide, grid.select(np.zeros(len(grid), bool)), batch_size=4)) == []


def reading_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("patch-")]


def fail_on_the_first(batches: Iterator[Any]) -> None:
    for _ in batches:
        raise RuntimeError("the encoder failed")


@pytest.mark.parametrize("way", ["close", "break", "raise"])
def test_a_consumer_that_stops_early_leaves_no_thread(tmp_path: Path, way: str) -> None:
    with open_slide(save_pyramid(noise(1500, 1500), tmp_path / "noise.tif")) as slide:
        grid = plan(slide, 0.5, patch_size=64, overlap=0.5)
        batches = iter_patches(slide, grid, batch_size=8)
        next(batches)
        assert reading_threads()
        if way == "close":
            batches.close()  # type: ignore[attr-defined]
        elif way == "break":
            for _ in batches:
                break
        else:
            with pytest.raises(RuntimeError, match="encoder"):
                fail_on_the_first(batches)
        del batches
        gc.collect()
        assert not reading_threads()


def test_a_read_that_fails_reaches_the_consumer_after_the_batches_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(save_pyramid(noise(600, 3000), tmp_path / "noise.tif")) as slide:
        grid = plan(slide, 0.5, patch_size=64)
        read = slide.read_rest

        def failing(x: int, y: int, width: int, height: int, *, level: int = 0) -> np.ndarray:
            if y > 2000:
                raise SlideError("the disk is gone")
            return read(x, y, width, height, level=level)

        monkeypatch.setattr(slide, "read_rest", failing)
        seen: list[int] = []
        with pytest.raises(SlideError, match="the disk is gone"):
            seen.extend(len(indices) for indices, _ in iter_patches(slide, grid, batch_size=16))
        assert sum(seen) > 500
        assert not reading_threads()


def test_a_slide_closed_too_early_is_an_error_and_no_crash(tmp_path: Path) -> None:
    with open_slide(save_pyramid(noise(1500, 1500), tmp_path / "noise.tif")) as slide:
        batches = iter_patches(slide, plan(slide, 0.5, patch_size=64), batch_size=8)
        next(batches)
    with pytest.raises(SlideError, match="is closed"):
        for _ in batches:
            pass


def test_a_grid_of_another_slide_is_refused_at_once(tmp_path: Path) -> None:
    with open_slide(save_pyramid(noise(600, 500), tmp_path / "noise.tif")) as slide:
        other = PatchGrid.plan((700, 500), mpp_x=0.5, mpp_y=0.5, patch_size=64)
        with pytest.raises(ValueError, match=r"700 x 500.*600 x 500"):
            iter_patches(slide, other, batch_size=8)
        with pytest.raises(ValueError, match="batch_size"):
            iter_patches(slide, plan(slide, 0.5, patch_size=64), batch_size=0)
