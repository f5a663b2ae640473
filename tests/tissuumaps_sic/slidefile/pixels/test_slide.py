import logging
import os
import threading
from pathlib import Path

import numpy as np
import openslide
import pytest
import pyvips
from making.tiff import LONG, SHORT, Page, encode, page, write_tiff
from PIL import Image

from tissuumaps_sic.slidefile.pixels.resolution import Resolution
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide, require_resolution
from tissuumaps_sic.slidefile.pixels.source import SlideError


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows with x and green with y, one step every four pixels; (height, width, 3)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)[None, :] // 4
    image[..., 1] = np.arange(height)[:, None] // 4
    return image


def save(image: np.ndarray, path: Path, **options: object) -> Path:
    pyvips.Image.new_from_array(image).write_to_file(str(path), **options)
    return path


def save_pyramid(image: np.ndarray, path: Path, **options: object) -> Path:
    tiles = {"tile": True, "tile_width": 64, "tile_height": 64, "pyramid": True}
    return save(image, path, compression="deflate", **tiles, **options)


class Source:
    """A backend that answers from an array."""

    def __init__(self, image: np.ndarray, bounds: tuple[int, int, int, int] | None = None) -> None:
        self.image = image
        self.level_sizes = ((image.shape[1], image.shape[0]),)
        self.level_downsamples = (1.0,)
        self.tile_sizes = (None,)
        self.bounds = bounds
        self.tagged_mpp = None
        self.objective_power = None
        self.quick_hash = None
        self.overview_pixels = None
        self.profile = None

    def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        return self.image[y : y + height, x : x + width]

    def reopen(self, path: Path) -> "Source":
        return self

    def close(self) -> None:
        self.image = np.empty(0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.svs", "No such file"),
        ("broken.svs", "is no slide; it is a text that begins"),
        ("osp_unreadable.svs", "pixels at"),
        ("pathml_small_dicom.dcm", "Couldn't get image flavor"),
        (".", "is a folder"),
    ],
)
def test_what_cannot_be_read_gives_one_clear_line(
    shared_data: Path, capfd: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    path = (shared_data / "slides" / name).resolve()
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    message = str(caught.value)
    assert says in message
    assert repr(path.name) in message
    assert str(path.parent) not in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".svs", ".tif", ".jpg", ".png"])
@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_files_that_are_no_images_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=f"'file{suffix}'"):
        open_slide(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_flat_image_that_is_cut_short_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    path = save(noise, tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SlideError, match="cut"):
        open_slide(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "level", "x", "y"),
    [
        ("CMU-1-Small-Region.svs", 0, 1000, 700),
        ("colon_section1.tif", 0, 2000, 5000),
        ("colon_section1.tif", 2, 900, 400),
        ("tcga-cr-7395-01a-01-ts1.svs", 0, 2000, 1500),  # JPEG 2000
    ],
)
def test_pixels_are_those_that_openslide_reads(
    shared_data: Path, name: str, level: int, x: int, y: int
) -> None:
    path = shared_data / "slides" / name
    with open_slide(path) as slide, openslide.OpenSlide(path) as reference:
        downsample = int(reference.level_downsamples[level])
        expected = reference.read_region((x * downsample, y * downsample), level, (300, 200))
        region = slide.read(x, y, 300, 200, level=level)
        assert region.shape == (200, 300, 3)
        assert region.dtype == np.uint8
        np.testing.assert_array_equal(region, np.asarray(expected)[..., :3])


@pytest.mark.parametrize("kind", ["openslide pyramid", "sub-images", "png", "strips"])
def test_x_runs_along_columns_and_y_along_rows(tmp_path: Path, kind: str) -> None:
    image = gradient(600, 400)
    if kind == "openslide pyramid":
        path = save_pyramid(image, tmp_path / "slide.tif")
    elif kind == "sub-images":
        path = save_pyramid(image, tmp_path / "slide.tif", subifd=True)
    else:
        path = save(image, tmp_path / ("slide.png" if kind == "png" else "slide.tif"))
    with open_slide(path) as slide:
        assert slide.size == (600, 400)
        np.testing.assert_array_equal(slide.read(310, 90, 50, 20), image[90:110, 310:360])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_what_lies_outside_the_slide_is_white(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    path = tmp_path / f"black{suffix}"
    (save_pyramid if suffix == ".tif" else save)(image, path)
    with open_slide(path) as slide:
        region = slide.read(-10, 70, 120, 30)
        expected = np.full((30, 120, 3), 255, np.uint8)
        expected[:10, 10:110] = 0
        np.testing.assert_array_equal(region, expected)
        assert (slide.read(500, 500, 4, 3) == 255).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_transparent_pixels_lie_on_white(tmp_path: Path, bits: int) -> None:
    colour = np.zeros((40, 60, 4), np.uint8)
    colour[:, 30:] = (200, 100, 50, 255)
    image = pyvips.Image.new_from_array(colour).copy(interpretation="srgb")
    if bits == 16:
        image = (image * 257).cast("ushort").copy(interpretation="rgb16")
    image.write_to_file(str(tmp_path / "alpha.png"))
    with open_slide(tmp_path / "alpha.png") as slide:
        assert (slide.read(0, 0, 30, 40) == 255).all()
        assert (slide.read(30, 0, 30, 40) == (200, 100, 50)).all()


def test_grey_and_sixteen_bit_images_come_as_eight_bit_rgb(tmp_path: Path) -> None:
    grey = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
    save(grey, tmp_path / "grey.png")
    deep = pyvips.Image.new_from_array(gradient(120, 80).astype(np.uint16) * 257)
    deep.copy(interpretation="rgb16").tiffsave(str(tmp_path / "deep.tif"))
    with open_slide(tmp_path / "grey.png") as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 20, 12), np.dstack([grey] * 3))
    with open_slide(tmp_path / "deep.tif") as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 120, 80), gradient(120, 80))


def test_an_image_with_more_channels_than_colours_is_refused(tmp_path: Path) -> None:
    image = np.zeros((50, 50, 7), np.uint8)
    path = save(image, tmp_path / "stains.tif")
    with pytest.raises(SlideError, match="7 channels"):
        open_slide(path)


def test_flat_photographs_agree_with_another_decoder(shared_data: Path) -> None:
    for path in (
        shared_data / "prostate" / "test10.jpg",
        shared_data / "slides" / "kidney-48-5_ihc.tif",
    ):
        expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
        with open_slide(path) as slide:
            assert slide.size == (expected.shape[1], expected.shape[0])
            region = slide.read(300, 200, 500, 400).astype(int)
        assert np.abs(region - expected[200:600, 300:800]).max() <= 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_flat_image_is_decoded_once_when_it_is_opened(tmp_path: Path, suffix: str) -> None:
    path = save(gradient(600, 400), tmp_path / f"flat{suffix}")
    with open_slide(path) as slide:
        before = slide.read(100, 300, 200, 50)
        path.write_bytes(bytes(path.stat().st_size))
        np.testing.assert_array_equal(slide.read(100, 300, 200, 50), before)
        assert slide.read(0, 0, 600, 400).any()


def test_levels_kept_as_sub_images_are_found(tmp_path: Path) -> None:
    path = save_pyramid(gradient(600, 400), tmp_path / "ome.tif", subifd=True)
    with open_slide(path) as slide:
        assert slide.level_sizes[:3] == ((600, 400), (300, 200), (150, 100))
        assert slide.level_downsamples[:3] == (1.0, 2.0, 4.0)
        assert slide.tile_sizes[0] == (64, 64)
        half = slide.read(200, 60, 40, 40, level=1)
        np.testing.assert_allclose(half[..., 0].mean(), (400 + 40) / 4, atol=1)
        np.testing.assert_allclose(half[..., 1].mean(), (120 + 40) / 4, atol=1)


def test_a_label_beside_a_flat_image_is_no_level(tmp_path: Path) -> None:
    pages = [Image.fromarray(gradient(*size)) for size in ((600, 400), (300, 200), (90, 90))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with open_slide(tmp_path / "pages.tif") as slide:
        assert slide.level_sizes == ((600, 400), (300, 200))


@pytest.mark.parametrize(("name", "mpp"), [("CMU-1-Small-Region.svs", 0.499), ("colon_section1.tif", 0.25)])
def test_the_files_resolution_is_taken_from_its_tag(shared_data: Path, name: str, mpp: float) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        assert require_resolution(slide) == Resolution(mpp, mpp, "tag")


def test_the_two_directions_keep_their_own_resolution(tmp_path: Path) -> None:
    path = tmp_path / "flat.tif"
    # pixels per millimetre
    save(gradient(90, 60), path, xres=2000, yres=4000, resunit="cm")
    with open_slide(path) as slide:
        assert slide.resolution is not None
        assert slide.resolution.source == "tag"
        assert (slide.resolution.mpp_x, slide.resolution.mpp_y) == pytest.approx((0.5, 0.25))
        assert slide.resolution.mpp == pytest.approx(0.375)


@pytest.mark.parametrize("name", ["tcga-cr-7395-01a-01-ts1.svs", "kidney-48-5_ihc.tif"])
def test_a_file_without_a_resolution_asks_for_it(shared_data: Path, name: str) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        assert slide.resolution is None
        with pytest.raises(SlideError, match=r"does not say its resolution.*--slide-mpp"):
            require_resolution(slide)


@pytest.mark.parametrize("name", ["slides/osp_boxes.tiff", "prostate/test10.jpg"])
def test_a_nonsense_resolution_is_refused_with_its_value(shared_data: Path, name: str) -> None:
    with (
        open_slide(shared_data / name) as slide,
        pytest.raises(SlideError, match=r"352\.8 µm/px \(72 dpi\).*--slide-mpp"),
    ):
        require_resolution(slide)


@pytest.mark.parametrize("mpp", [0.25, 30.0])
def test_the_users_resolution_overrides_the_file(shared_data: Path, mpp: float) -> None:
    with open_slide(shared_data / "slides" / "osp_boxes.tiff", mpp=mpp) as slide:
        assert require_resolution(slide) == Resolution(mpp, mpp, "user")


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf")])
def test_a_users_resolution_must_be_positive(shared_data: Path, mpp: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        open_slide(shared_data / "slides" / "osp_boxes.tiff", mpp=mpp)


def test_objective_power_gives_an_estimate_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = pyvips.Image.new_from_array(gradient(300, 200))
    image.set_type(pyvips.GValue.gstr_type, "image-description", "Aperio Image Library v11\r\nx|AppMag = 40")
    path = tmp_path / "powered.svs"
    options = {"tile": True, "tile_width": 128, "tile_height": 128, "compression": "jpeg"}
    image.tiffsave(str(path), **options)
    with caplog.at_level(logging.WARNING, "embedder"), open_slide(path) as slide:
        assert require_resolution(slide) == Resolution(0.25, 0.25, "objective power")
    assert "40x" in caplog.text
    assert "estimate" in caplog.text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, (0, 0, 60, 40)),
        ((10, 5, 20, 30), (10, 5, 20, 30)),
        ((50, -5, 20, 30), (50, 0, 10, 25)),
        ((100, 100, 20, 30), (0, 0, 60, 40)),
    ],
)
def test_bounds_are_the_scanned_part_of_the_slide(
    said: tuple[int, int, int, int] | None, expected: tuple[int, int, int, int]
) -> None:
    slide = Slide(Path("x.tif"), Source(gradient(60, 40), said), resolution=None)
    assert slide.bounds == expected


@pytest.mark.parametrize("max_side", [512, 100, 77])
def test_a_thumbnail_is_the_slide_made_small(shared_data: Path, max_side: int) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide:
        small = slide.thumbnail(max_side)
        whole = Image.fromarray(slide.read(0, 0, *slide.size))
    scale = 2967 / max_side
    columns = int(np.ceil(2220 / scale))
    assert small.shape == (max_side, columns, 3)
    white = Image.new("RGB", (int(np.ceil(columns * scale)), 2967), (255, 255, 255))
    white.paste(whole)
    expected = white.resize((columns, max_side), Image.Resampling.BOX, box=(0, 0, columns * scale, 2967))
    difference = small.astype(int) - np.asarray(expected)
    assert np.abs(difference).mean() < 5
    for axis in (0, 1):  # a shift by one pixel is far worse
        shifted = small.astype(int) - np.roll(expected, 1, axis)
        assert np.abs(shifted).mean() > 1.5 * np.abs(difference).mean()


def test_a_thumbnail_keeps_places_across_the_blocks_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tissuumaps_sic.slidefile.pixels.slide._BLOCK_PIXELS", 64)
    image = gradient(1000, 700)
    with open_slide(save(image, tmp_path / "flat.png")) as slide:
        small = slide.thumbnail(300)
    assert small.shape == (210, 300, 3)
    s = 1000 / 300
    np.testing.assert_allclose(small[5, :, 0], (np.arange(300) + 0.5) * s / 4 - 0.5, atol=1.5)
    np.testing.assert_allclose(small[:, 5, 1], (np.arange(210) + 0.5) * s / 4 - 0.5, atol=1.5)


def test_a_thumbnail_is_never_larger_than_the_slide(tmp_path: Path) -> None:
    image = gradient(90, 60)
    with open_slide(save(image, tmp_path / "flat.png")) as slide:
        np.testing.assert_array_equal(slide.thumbnail(4000), image)


def test_a_hash_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    image = gradient(90, 60)
    paths = [save(image, tmp_path / "a.png"), save(image, tmp_path / "b.png")]
    image[30, 40] = 255
    paths.append(save(image, tmp_path / "c.png"))
    hashes = []
    for path in paths:
        with open_slide(path) as slide:
            hashes.append(slide.fast_hash())
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[0].startswith("sha256-size-head-tail:")


def test_openslides_own_hash_is_used_where_there_is_one(shared_data: Path) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, openslide.OpenSlide(path) as reference:
        quick = reference.properties["openslide.quickhash-1"]
        assert slide.fast_hash() == f"openslide-quickhash-1:{quick}"


def test_a_closed_slide_says_so(shared_data: Path) -> None:
    for name in ("slides/CMU-1-Small-Region.svs", "prostate/test10.jpg"):
        slide = open_slide(shared_data / name)
        slide.close()
        slide.close()
        with pytest.raises(SlideError, match="is closed"):
            slide.read(0, 0, 10, 10)


def test_closing_waits_for_a_read_that_is_under_way() -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow(Source):
        def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
            reading.set()
            assert go_on.wait(10)
            return super().read(x, y, width, height, level)

    slide = Slide(Path("x.tif"), Slow(gradient(60, 40)), resolution=None)
    regions: list[np.ndarray] = []
    reader = threading.Thread(target=lambda: regions.append(slide.read(8, 4, 20, 10)))
    reader.start()
    assert reading.wait(10)
    closer = threading.Thread(target=slide.close)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    go_on.set()
    reader.join(10)
    closer.join(10)
    np.testing.assert_array_equal(regions[0], gradient(60, 40)[4:14, 8:28])


@pytest.mark.parametrize(("level", "width"), [(3, 10), (-1, 10), (0, 0)])
def test_a_region_that_cannot_exist_is_wrong_use(level: int, width: int) -> None:
    slide = Slide(Path("x.tif"), Source(gradient(60, 40)), resolution=None)
    with pytest.raises(ValueError, match=r"level|pixels"):
        slide.read(0, 0, width, 10, level=level)


def unending(path: Path, side: int, tile: int = 2048) -> Path:
    """Write a slide without levels of which every tile is the same few bytes."""
    tiles = (-(-side // tile)) ** 2
    block = encode(np.full((tile, tile, 3), (214, 150, 190), np.uint8))
    tags = {256: side, 257: side, 258: [8, 8, 8], 259: 8, 262: 2, 277: 3, 322: tile, 323: tile}
    tags |= {282: 20000.0, 283: 20000.0, 296: 3, 324: (LONG, [8] * tiles), 325: (LONG, [len(block)] * tiles)}
    return write_tiff(path, Page(tags, [block]))


def test_a_slide_without_levels_is_told_and_never_searched_for_tissue_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(unending(tmp_path / "a.tif", 1_000_000)) as slide:
        assert "'a.tif' has no pyramid of levels: TissUUmaps will need 8000.0 GB" in caplog.text
        with pytest.raises(
            SlideError, match=r"1000000 x 1000000 px, 1000 billion pixels, would have to be dec"
        ):
            slide.thumbnail(2000)
    caplog.clear()
    monkeypatch.setattr("tissuumaps_sic.slidefile.pixels.slide._WORTH_A_WORD", 1000)
    monkeypatch.setattr("tissuumaps_sic.slidefile.pixels.slide._SECONDS_TO_JUDGE", 0.0)
    with open_slide(unending(tmp_path / "b.tif", 4096)) as slide:
        assert "no pyramid" not in caplog.text
        slide.thumbnail(200)
    assert caplog.text.count("are decoded to find its tissue, which takes about 1 min") == 1


def test_a_pyramid_is_not_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_pyramid(gradient(600, 400), tmp_path / "a.tif")
    open_slide(tmp_path / "a.tif").close()
    assert not caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.svs")
    with pytest.raises(SlideError, match=r"'a\.svs' is no file but a named pipe"):
        open_slide(tmp_path / "a.svs")
    (tmp_path / "dicom").mkdir()
    os.mkfifo(tmp_path / "dicom" / "a.dcm")
    with pytest.raises(SlideError, match="no slide that OpenSlide reads"):
        open_slide(tmp_path / "dicom")


def test_a_file_that_goes_while_it_is_read_is_not_called_damaged(tmp_path: Path) -> None:
    slide = open_slide(save_pyramid(gradient(600, 400), tmp_path / "a.tif"))

    def read(*place: int) -> np.ndarray:
        raise OSError("read error")

    slide._source.read = read  # type: ignore[union-attr, method-assign]
    with pytest.raises(SlideError, match=r"level 0 cannot be read \(read error\); the file is damaged"):
        slide.read(0, 0, 10, 10)
    slide.path.unlink()
    with pytest.raises(SlideError, match="cannot be read because the file is gone"):
        slide.read(0, 0, 10, 10)
    slide.close()


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({282: 20_000.0, 283: 1000.0}, "0.5 µm/px across and 10 down"),
        (
            {270: "Aperio Image x|AppMag = 1000000"},
            "only its objective power, 1e\\+06x, which would be 1e-05 µm/px",
        ),
    ],
)
def test_a_resolution_that_no_slide_has_is_refused_with_what_the_file_says(
    tmp_path: Path, tags: dict[int, object], says: str
) -> None:
    image = page(gradient(256, 256), compression=7, tags=tags | {296: (SHORT, [3])})
    with open_slide(write_tiff(tmp_path / "a.svs", image)) as slide, pytest.raises(SlideError, match=says):
        require_resolution(slide)
