import dataclasses
import logging
from typing import Any

import numpy as np
import pytest

from embedder.patches.grid import PatchGrid, TilingError
from tissuumaps_sic.slidefile.pixels.source import nearest_finer_level


def plan(size: tuple[int, int] = (5000, 3000), **options: Any) -> PatchGrid:
    return PatchGrid.plan(size, **({"mpp_x": 0.25, "mpp_y": 0.25} | options))


def corners_by_counting(
    start: int, length: int, *, scale: float, patch_size: int, stride: int
) -> list[float]:
    """Step through target pixels until a patch no longer fits."""
    corners, target = [], 0
    while (target + patch_size) * scale <= length + 1e-6:
        corners.append(start + target * scale)
        target += stride
    return corners


@pytest.mark.parametrize("mpp", [0.25, 0.499, 0.2273, 0.5])
@pytest.mark.parametrize("overlap", [0, 0.5, 0.75])
@pytest.mark.parametrize("bounds", [None, (301, 77, 4001, 2222)])
def test_every_patch_that_fits_the_bounds_is_there_in_row_major_order(
    mpp: float, overlap: float, bounds: tuple[int, int, int, int] | None
) -> None:
    grid = plan(mpp_x=mpp, mpp_y=mpp, overlap=overlap, bounds=bounds)
    x, y, width, height = bounds or (0, 0, 5000, 3000)
    scale, stride = 0.5 / mpp, int(256 * (1 - overlap))
    xs = corners_by_counting(x, width, scale=scale, patch_size=256, stride=stride)
    ys = corners_by_counting(y, height, scale=scale, patch_size=256, stride=stride)
    expected = np.array([(cx, cy) for cy in ys for cx in xs])
    assert (grid.columns, grid.rows) == (len(xs), len(ys))
    assert len(grid) == len(expected)
    np.testing.assert_array_equal(np.stack([grid.x0, grid.y0], 1), np.rint(expected))
    np.testing.assert_allclose(grid.centres, expected + 128 * scale)
    assert grid.x0.dtype == grid.y0.dtype == np.int64
    assert grid.centres.dtype == np.float64


def test_a_patch_centre_lies_half_a_patch_from_its_corner() -> None:
    grid = plan(mpp_x=0.2273, mpp_y=0.2273)
    from_corner = grid.centres - np.stack([grid.x0, grid.y0], 1) - grid.patch_size0 / 2
    assert np.abs(from_corner).max() <= 0.5
    assert grid.patch_size0 == pytest.approx(256 * 0.5 / 0.2273)


def test_the_second_patch_is_to_the_right_of_the_first() -> None:
    grid = plan((5000, 3000))
    assert (grid.x0[:2].tolist(), grid.y0[:2].tolist()) == ([0, 256], [0, 0])
    assert (grid.x0[grid.columns], grid.y0[grid.columns]) == (0, 256)
    assert grid.columns > grid.rows


def test_a_slide_of_exactly_one_patch_has_one() -> None:
    # 512 px of 0.25 µm are 256 px of 0.5 µm; 0.1 / 0.3 is no exact binary number.
    assert len(plan((512, 512))) == 1
    assert len(plan((768, 768), mpp_x=0.1, mpp_y=0.1, target_mpp=0.3)) == 1


def test_a_slide_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(TilingError, match="511 x 600 px hold no patch of 256 px"):
        plan((511, 600))
    assert issubclass(TilingError, ValueError)


def test_selecting_keeps_places_and_order() -> None:
    grid = plan()
    keep = np.zeros(len(grid), bool)
    keep[[3, 5, 40]] = True
    chosen = grid.select(keep)
    assert len(chosen) == 3
    np.testing.assert_array_equal(chosen.x0, grid.x0[keep])
    np.testing.assert_array_equal(chosen.centres, grid.centres[keep])
    np.testing.assert_array_equal(chosen.select(np.array([False, True, True])).y0, grid.y0[[5, 40]])
    with pytest.raises(ValueError, match="bool of shape"):
        grid.select(np.array([3, 5, 40]))


def test_a_grid_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().overlap = 0.25  # type: ignore[misc]


@pytest.mark.parametrize(
    ("downsamples", "scale", "level"),
    [
        ((1.0, 2.0, 4.0), 2.0, 1),
        ((1.0, 2.0, 4.0), 3.9, 1),
        ((1.0, 4.0, 16.0), 2.0, 0),
        ((1.0, 2.0005055), 2.0, 1),
        ((1.0, 2.01), 2.0, 0),
        ((1.0, 4.0), 0.7, 0),
        ((1.0, 2.0, 4.0), 100.0, 2),
    ],
)
def test_the_nearest_finer_level_is_read(downsamples: tuple[float, ...], scale: float, level: int) -> None:
    assert nearest_finer_level(downsamples, scale) == level
    grid = plan(
        (60_000, 60_000),
        mpp_x=1 / scale,
        mpp_y=1 / scale,
        target_mpp=1.0,
        level_downsamples=downsamples,
    )
    assert (grid.level, grid.level_downsample) == (level, downsamples[level])
    assert grid.level_scale == pytest.approx((scale / downsamples[level],) * 2)


def test_level_pixels_are_copied_where_they_are_target_pixels() -> None:
    grid = plan(level_downsamples=(1.0, 2.0), bounds=(301, 77, 4001, 2222))
    assert grid.level_scale == (1, 1)
    # Whole pixels, at most half a pixel from 150.5 and 38.5.
    assert grid.level_origin == (150, 38)
    other = plan(mpp_x=0.3, mpp_y=0.3, level_downsamples=(1.0,), bounds=(301, 77, 4001, 2222))
    assert other.level_origin == (301, 77)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"overlap": 1}, "overlap"),
        ({"overlap": -0.1}, "overlap"),
        ({"overlap": float("nan")}, "overlap"),
        ({"patch_size": 0}, "patch_size"),
        ({"patch_size": 25.5}, "patch_size"),
        ({"target_mpp": 0}, "target_mpp"),
        ({"target_mpp": float("nan")}, "target_mpp"),
        ({"mpp_x": -1}, "mpp_x"),
        ({"mpp_x": 0.1, "mpp_y": 0.41}, "4 times the other.*--slide-mpp"),
        ({"bounds": (4000, 0, 2000, 2000)}, "bounds"),
        ({"overlap": 0.999, "target_mpp": 0.2}, "apart"),
    ],
)
def test_impossible_grids_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TilingError, match=says) as caught:
        plan(**options)
    assert "\n" not in str(caught.value)


def test_pixels_that_are_nearly_square_use_the_mean() -> None:
    grid = plan(mpp_x=0.25, mpp_y=0.2524)
    assert (grid.scale_x, grid.scale_y) == pytest.approx((0.5 / 0.2512,) * 2)
    assert grid.patch_width0 == grid.patch_height0 == grid.patch_size0


def test_pixels_that_are_not_square_have_a_scale_for_each_direction() -> None:
    grid = PatchGrid.plan(
        (4000, 1500),
        mpp_x=0.25,
        mpp_y=0.5,
        target_mpp=1.0,
        patch_size=100,
        overlap=0.5,
        bounds=(80, 20, 3000, 1200),
    )
    # A patch is 100 µm: 400 px wide and 200 high; the next is 200 px on, and 100 down.
    assert (grid.patch_width0, grid.patch_height0) == pytest.approx((400, 200))
    assert (grid.columns, grid.rows) == (14, 11)
    assert (grid.x0[:3].tolist(), grid.y0[:3].tolist()) == ([80, 280, 480], [20, 20, 20])
    assert grid.y0[14] == 120
    assert grid.centres[15].tolist() == [80 + 200 + 200, 20 + 100 + 100]


def test_enlarging_is_noted_then_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "embedder"):
        plan(mpp_x=0.504, mpp_y=0.504)
        assert not caplog.records
        plan(mpp_x=1.0, mpp_y=1.0)
        assert "enlarged 2.00 times" in caplog.text
    with pytest.raises(TilingError, match=r"enlarged 2\.20 times"):
        plan(mpp_x=1.1, mpp_y=1.1)
