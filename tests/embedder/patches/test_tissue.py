from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from embedder.patches.tissue import TissueMask, tissue_mask
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError

GLASS = (243, 243, 242)
STAINED = (200, 120, 180)


def mask_of(image: np.ndarray, path: Path, *, mpp: float = 4.0) -> TissueMask:
    pyvips.Image.new_from_array(image).write_to_file(str(path))
    with open_slide(path, mpp=mpp) as slide:
        return tissue_mask(slide)


def noisy(colour: tuple[int, int, int], shape: tuple[int, int] = (600, 800)) -> np.ndarray:
    """One colour with the noise of a camera."""
    noise = np.random.default_rng(0).normal(0, 2, (*shape, 3))
    return np.clip(np.rint(np.array(colour) + noise), 0, 255).astype(np.uint8)


def test_the_share_of_a_square_is_exact() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((30, 40)) < 0.4
    tissue = TissueMask(mask, downsample=5.0, method="test")
    x0, y0 = rng.integers(-30, 210, 200), rng.integers(-30, 160, 200)
    # The reference counts level-0 pixels one by one on the mask made large.
    large = np.zeros((400, 500), bool)
    large[100:250, 100:300] = mask.repeat(5, 0).repeat(5, 1)
    expected = [large[y + 100 : y + 137, x + 100 : x + 137].mean() for x, y in zip(x0, y0, strict=True)]
    share = tissue.share(x0, y0, 37)
    assert share.dtype == np.float32
    np.testing.assert_allclose(share, expected, atol=1e-6)


def test_squares_at_fractions_of_a_pixel_count_by_area() -> None:
    mask = np.array([[True, False], [False, False]])
    tissue = TissueMask(mask, downsample=10.0, method="test")
    share = tissue.share(np.array([5.0, 2.5]), np.array([0.0, 7.5]), 10.0)
    np.testing.assert_allclose(share, [0.5, 0.75 * 0.25], rtol=1e-6)


def test_tissue_lies_where_the_stain_is(tmp_path: Path) -> None:
    image = noisy(GLASS)
    image[100:300, 500:700] = noisy(STAINED, (200, 200))
    tissue = mask_of(image, tmp_path / "slide.png")
    squares = tissue.share(np.array([510, 100, 500]), np.array([110, 500, 200]), 180)
    np.testing.assert_allclose(squares, [1, 0, 100 / 180], atol=0.02)


@pytest.mark.parametrize(
    "colour",
    [(255, 255, 255), GLASS, (235, 232, 228), (240, 225, 210), (220, 230, 222), (0, 0, 0), (9, 4, 2)],
)
def test_an_empty_slide_has_no_tissue(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    assert not mask_of(noisy(colour), tmp_path / "noisy.png").mask.any()
    even = np.full((600, 800, 3), colour, np.uint8)
    assert not mask_of(even, tmp_path / "even.png").mask.any()


def test_tissue_on_tinted_glass_is_told_from_it(tmp_path: Path) -> None:
    image = noisy((240, 225, 210))
    image[100:300, 500:700] = noisy(STAINED, (200, 200))
    tissue = mask_of(image, tmp_path / "slide.png")
    assert tissue.mask.mean() == pytest.approx(200 * 200 / (600 * 800), rel=0.05)


def test_black_padding_is_no_tissue(tmp_path: Path) -> None:
    image = noisy(GLASS)
    image[:, :300] = noisy((6, 2, 3), (600, 300))
    image[100:300, 500:700] = noisy(STAINED, (200, 200))
    tissue = mask_of(image, tmp_path / "slide.png")
    assert tissue.mask.mean() == pytest.approx(200 * 200 / (600 * 800), rel=0.05)
    assert tissue.share(np.array([0]), np.array([0]), 290)[0] == 0


def test_specks_and_pinholes_go_by_their_area(tmp_path: Path) -> None:
    # At 4 µm/px a square of 20 px has 6,400 µm² and one of 40 px has 25,600 µm².
    image = noisy(GLASS)
    image[50:450, 50:450] = noisy(STAINED, (400, 400))
    image[100:120, 100:120] = GLASS
    image[200:250, 200:250] = GLASS
    image[500:520, 600:620] = STAINED
    image[500:540, 700:740] = STAINED
    tissue = mask_of(image, tmp_path / "slide.png")
    corners = np.array([(100, 100), (205, 205), (600, 500), (700, 500)])
    shares = tissue.share(corners[:, 0], corners[:, 1], 20)
    np.testing.assert_allclose(shares, [1, 0, 0, 1], atol=0.1)


def test_outside_the_bounds_is_no_tissue(tmp_path: Path) -> None:
    path = tmp_path / "slide.png"
    pyvips.Image.new_from_array(noisy(STAINED)).write_to_file(str(path))
    with open_slide(path, mpp=4.0) as slide:
        slide.bounds = (200, 100, 300, 400)
        mask = tissue_mask(slide).mask
    expected = np.zeros_like(mask)
    s = 800 / mask.shape[1]
    expected[round(100 / s) : round(500 / s), round(200 / s) : round(500 / s)] = True
    assert (mask != expected).mean() < 0.01


def test_a_slide_without_a_resolution_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slide.png"
    pyvips.Image.new_from_array(noisy(STAINED)).write_to_file(str(path))
    with open_slide(path) as slide, pytest.raises(SlideError, match="--slide-mpp"):
        tissue_mask(slide)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_glass_around_real_tissue_is_found(shared_data: Path, number: int) -> None:
    folder = shared_data / "mosaics"
    truth = np.asarray(Image.open(folder / f"mosaic_{number}_mask.png")) > 0
    with open_slide(folder / f"mosaic_{number}.tif") as slide:
        tissue = tissue_mask(slide)
    y, x = np.indices(truth.shape).reshape(2, -1) * 16
    found = tissue.share(x, y, 16).reshape(truth.shape) > 0.5
    assert (found & ~truth).sum() < 0.02 * (~truth).sum()
    assert (~found & truth).sum() < 0.01 * truth.sum()


@pytest.mark.parametrize("name", ["test10", "test100", "test102", "test104", "test106"])
def test_a_field_that_is_all_tissue_keeps_all_of_it(shared_data: Path, name: str) -> None:
    with open_slide(shared_data / "prostate" / f"{name}.jpg", mpp=0.5) as slide:
        assert tissue_mask(slide).mask.mean() > 0.98


def test_pale_submucosa_is_tissue_and_the_glass_beside_it_is_not(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "colon_section1.tif") as slide:
        tissue = tissue_mask(slide)
    # Read off the picture: pale mucosa at the upper right, submucosa lower down, glass.
    x, y = np.array([11_800, 5_650, 1_000, 13_000]), np.array([2_200, 20_250, 22_000, 25_000])
    np.testing.assert_array_equal(tissue.share(x, y, 400) > 0.9, [True, True, False, False])
    assert 0.39 < tissue.mask.mean() < 0.45


def test_the_mask_says_how_it_was_made(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        tissue = tissue_mask(slide, min_tissue_um2=5000)
        assert tissue.mask.shape == slide.thumbnail(max(tissue.mask.shape)).shape[:2]
        assert tissue.downsample == pytest.approx(max(slide.size) / max(tissue.mask.shape))
    assert tissue.method == "otsu-saturation"
    assert tissue.parameters["min_tissue_um2"] == 5000
    assert 0.04 <= tissue.parameters["threshold"] <= 0.05
