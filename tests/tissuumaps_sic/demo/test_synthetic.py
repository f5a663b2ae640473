"""The synthetic slide: the same for the same seed, readable, and true to its mask."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
import pytest
from PIL import Image

from tissuumaps_sic.demo import layout, painting, synthetic
from tissuumaps_sic.demo.synthetic import SyntheticSlide, write_synthetic_slide

SIZE = (1536, 1024)  # not square, so that exchanged axes show
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> SyntheticSlide:
    return write_synthetic_slide(tmp_path_factory.mktemp("slide") / "s.tif", size=SIZE, mpp=0.5, seed=1)


@pytest.fixture(scope="module")
def rendered() -> tuple[Pixels, Pixels]:
    return synthetic.render(SIZE, 0.5, 1)


def decoded(slide: SyntheticSlide) -> Pixels:
    with openslide.OpenSlide(slide.path) as opened:
        return np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("RGB"))


def truth(slide: SyntheticSlide) -> Pixels:
    return np.asarray(Image.open(slide.mask_path))


def per_mask_pixel(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Mean RGB of the 16 x 16 level-0 pixels under each mask pixel."""
    height, width, _ = pixels.shape
    return pixels.reshape(height // 16, 16, width // 16, 16, 3).mean(axis=(1, 3))


def looks_like_glass(colours: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return (colours.min(axis=-1) > 215) & (np.ptp(colours, axis=-1) < 12)


def test_the_same_seed_gives_the_same_pixels(slide: SyntheticSlide, tmp_path: Path) -> None:
    again = write_synthetic_slide(tmp_path / "again.tif", size=SIZE, mpp=0.5, seed=1)
    np.testing.assert_array_equal(decoded(again), decoded(slide))
    np.testing.assert_array_equal(truth(again), truth(slide))


def test_another_seed_gives_another_slide(rendered: tuple[Pixels, Pixels]) -> None:
    _, mask = synthetic.render(SIZE, 0.5, 2)
    assert (mask != rendered[1]).mean() > 0.05


def test_blocks_meet_without_a_seam(rendered: tuple[Pixels, Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_BLOCK", 256)
    pixels, mask = synthetic.render(SIZE, 0.5, 1)
    # The sensor's noise is drawn block by block, so it differs; a nucleus cut at an edge would differ more.
    assert np.abs(pixels.astype(int) - rendered[0]).max() < 16
    np.testing.assert_array_equal(mask, rendered[1])


def test_pixels_do_not_depend_on_the_number_of_threads(
    rendered: tuple[Pixels, Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic.os, "cpu_count", lambda: 1)
    pixels, mask = synthetic.render(SIZE, 0.5, 1)
    np.testing.assert_array_equal(pixels, rendered[0])
    np.testing.assert_array_equal(mask, rendered[1])


def test_openslide_reads_size_resolution_and_levels(slide: SyntheticSlide) -> None:
    with openslide.OpenSlide(slide.path) as opened:
        assert opened.dimensions == SIZE
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-4)
        assert float(opened.properties["openslide.mpp-y"]) == pytest.approx(0.5, rel=1e-4)
        assert opened.level_count >= 3
        assert opened.level_downsamples == pytest.approx([2.0**n for n in range(opened.level_count)])
        assert opened.properties["openslide.level[0].tile-width"] == "256"


def test_the_resolution_sets_the_size_of_the_cells(tmp_path: Path) -> None:
    coarse = write_synthetic_slide(tmp_path / "coarse.tif", size=(768, 768), mpp=1.0)
    with openslide.OpenSlide(coarse.path) as opened:
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(1.0, rel=1e-4)

    def nuclei(mpp: float) -> int:
        return len(layout.lay_out((1024, 1024), mpp, 0).nuclei.x)

    # The same number of pixels at half the resolution shows four times the area.
    assert nuclei(1.0) == pytest.approx(nuclei(0.5) * 4, rel=0.3)


def test_the_mask_is_a_sixteenth_and_holds_all_three_classes(slide: SyntheticSlide) -> None:
    mask = truth(slide)
    assert slide.mask_path.name == "s_mask.png"
    assert mask.shape == (SIZE[1] // 16, SIZE[0] // 16)
    assert sorted(np.unique(mask)) == [painting.GLASS, painting.NORMAL, painting.TUMOUR]


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("size", [(1000, 900), (1024, 2048)])
def test_a_quarter_to_a_third_of_the_tissue_is_tumour(seed: int, size: tuple[int, int]) -> None:
    section = layout.lay_out(size, 0.5, seed)
    tissue = section.tissue > 0
    assert 0.25 < (section.tumour > 0)[tissue].mean() < 0.35
    assert 0.3 < tissue.mean() < 0.7
    assert len(section.glands.x)


def test_glass_in_the_mask_is_glass_in_the_image(slide: SyntheticSlide) -> None:
    glass = truth(slide) == painting.GLASS
    clear = looks_like_glass(per_mask_pixel(decoded(slide)))
    # Dust lies on the glass, and some lumina fill a mask pixel.
    assert clear[glass].mean() > 0.95
    assert clear[~glass].mean() < 0.08

    def agreement(mask: npt.NDArray[np.bool_]) -> float:
        return float((mask == clear).mean())

    # Right where it lies: one mask pixel to any side, or turned about, it fits less well.
    moved = [np.roll(glass, step, axis) for axis in (0, 1) for step in (-1, 1)]
    turned = [glass[::-1], glass[:, ::-1], glass[::-1, ::-1], glass.T.reshape(glass.shape)]
    assert agreement(glass) > max(agreement(other) for other in moved + turned)


def test_tumour_is_darker_and_bluer_than_normal_tissue(slide: SyntheticSlide) -> None:
    mask, colours = truth(slide), per_mask_pixel(decoded(slide))
    normal, tumour = (colours[mask == label].mean(axis=0) for label in (painting.NORMAL, painting.TUMOUR))
    assert tumour.mean() < normal.mean() - 15
    assert tumour[2] - tumour[0] > normal[2] - normal[0] + 20  # blue over red

    red = colours[..., 0]
    bluish = red < (normal[0] + tumour[0]) / 2
    tissue = mask != painting.GLASS
    assert (bluish == (mask == painting.TUMOUR))[tissue].mean() > 0.75


def test_a_size_that_is_no_multiple_of_16_is_kept(tmp_path: Path) -> None:
    slide = write_synthetic_slide(tmp_path / "odd.tif", size=(1001, 903), seed=4)
    assert decoded(slide).shape == (903, 1001, 3)
    assert truth(slide).shape == (57, 63)
    assert slide.size == (1001, 903)


def test_nothing_but_the_two_files_is_left(tmp_path: Path) -> None:
    written = write_synthetic_slide(tmp_path / "demo.tif", size=(900, 900))
    assert sorted(tmp_path.iterdir()) == sorted([written.path, written.mask_path])


def test_a_failed_write_leaves_the_old_slide_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demo.tif"
    path.write_bytes(b"before")

    def fails(*args: object, **options: object) -> None:
        raise synthetic.pyvips.Error("no space left")

    monkeypatch.setattr(synthetic.pyvips.Image, "tiffsave", fails, raising=False)
    with pytest.raises(OSError, match="demo"):
        write_synthetic_slide(path, size=(900, 900))
    assert path.read_bytes() == b"before"
    assert {p.name for p in tmp_path.iterdir()} == {"demo.tif", "demo_mask.png"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (6144, 500)}, "6144 x 500; give at least 900 x 900"),
        ({"mpp": 5.0}, "mpp is 5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_synthetic_slide(tmp_path / "s.tif", **wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
