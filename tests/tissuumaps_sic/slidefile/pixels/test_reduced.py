"""Pictures that were made smaller and keep their slide's coordinates: the same places, the same tissue."""

import io
import json
import shutil

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from making.damage import spoil, tissue, write_pyramid
from PIL import Image

from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.reduced_image import reduced_size, write_reduced
from tissuumaps_sic.labelling.progress import Cancelled, Stretch
from tissuumaps_sic.slidefile.pixels.reduced import describe_reduced, find_size, read_described
from tissuumaps_sic.slidefile.pixels.slide import open_pixels, open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.viewer import pictures
from tissuumaps_sic.viewer.serve import make_app

SIZE = (2051, 1533)  # no multiple of anything


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A slide of smooth shapes, so that a place is known by its colour."""
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    pixels = np.stack(
        [127 + 120 * np.sin(x / 60), 127 + 120 * np.cos(y / 45), 127 + 120 * np.sin((x + y) / 90)], axis=-1
    ).astype(np.uint8)
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb").copy(xres=2000, yres=2000)
    image.set_type(pyvips.GValue.gstr_type, "image-description", "/home/ann/S21 Smith.svs, scanned by Ann")
    image.tiffsave(str(path), tile=True, pyramid=True, compression="deflate", resunit="cm")
    return path


@pytest.fixture(params=[2, 2.6, 7.3], scope="module")
def reduced(slide, request, tmp_path_factory):
    path = tmp_path_factory.mktemp("reduced") / "small.tif"
    with open_slide(slide) as whole:
        write_reduced(whole, path, reduced_size(SIZE, (0.5, 0.5), 0.5 * request.param), mpp=(0.5, 0.5))
    return path


def test_it_is_read_as_the_slide_that_it_is_of(slide, reduced):
    with open_slide(slide) as whole, open_pixels(reduced) as small:
        assert small.size == whole.size == SIZE
        assert small.resolution.mpp == pytest.approx(0.5, rel=1e-4)
        assert small.level_downsamples[0] == 1
        assert small.level_sizes[1] < small.level_sizes[0]
        for x, y, side, size in (
            (700, 500, 256, 64),
            (0, 0, 256, 256),
            (1800, 1300, 400, 40),
            (333, 77, 90, 120),
        ):
            one, other = (each.picture(x, y, side, side, (size, size)).astype(int) for each in (whole, small))
            assert abs(one - other).mean() < 6
        one, other = (each.thumbnail(300).astype(int) for each in (whole, small))
        assert one.shape == other.shape
        assert abs(one - other).mean() < 4
        # No part of it is made otherwise than the whole.
        area = small.read(300, 200, 400, 300)
        part = small.read(370, 290, 100, 80).astype(int)
        assert abs(part - area[90:170, 70:170]).max() <= 1


def test_it_is_a_plain_pyramid_for_all_others_and_tells_nothing_else(reduced):
    with openslide.OpenSlide(reduced) as other:
        width = other.dimensions[0]
        with open_pixels(reduced) as opened:
            assert opened.level_sizes[1] == other.dimensions
        assert not other.associated_images
        told = {key: value for key, value in other.properties.items() if key.startswith("tiff.")}
    down = SIZE[0] / width
    assert float(told.pop("tiff.XResolution")) == pytest.approx(1e4 / (0.5 * down), rel=1e-3)
    assert set(told) <= {"tiff.ImageDescription", "tiff.ResolutionUnit", "tiff.YResolution"}
    assert "Ann" not in reduced.read_bytes().decode("latin-1")
    with tifffile.TiffFile(reduced) as file:
        page = file.pages[0]
        assert page.is_tiled
        assert page.compression == 7
        assert {tag.name for tag in page.tags} <= {
            *("ImageWidth", "ImageLength", "BitsPerSample", "Compression", "PhotometricInterpretation"),
            *("ImageDescription", "Orientation", "SamplesPerPixel", "XResolution", "YResolution"),
            *("PlanarConfiguration", "ResolutionUnit", "TileWidth", "TileLength", "TileOffsets"),
            *("TileByteCounts", "SampleFormat", "JPEGTables", "YCbCrSubSampling", "ReferenceBlackWhite"),
            *("NewSubfileType", "SubfileType"),
        }


def test_the_viewer_shows_it_as_the_slide(slide, reduced, tmp_path):
    """Tiles of every level, the finest included, are those of the slide."""
    shutil.copy(slide, tmp_path / "slide.tif")
    shutil.copy(reduced, tmp_path / "small.tif")
    (tmp_path / "any.tmap").write_text("{}")
    client = make_app(tmp_path.resolve()).test_client()
    dzi = [client.get(f"/{name}.tif.dzi") for name in ("slide", "small")]
    assert dzi[0].data == dzi[1].data
    for level, column, row in (
        *((12, 3, 2), (12, 7, 5), (12, 0, 0)),
        *((11, 1, 1), (10, 1, 1), (9, 1, 0), (8, 0, 0), (5, 0, 0)),
    ):
        address = f"{level}/{column}_{row}.jpeg"
        answers = [client.get(f"/{name}.tif_files/{address}") for name in ("slide", "small")]
        one, other = (np.asarray(Image.open(io.BytesIO(each.data))).astype(int) for each in answers)
        # Pillow's thumbnails keep their shape, and may so lack a line; the page stretches them.
        assert np.abs(np.subtract(one.shape, other.shape)).max() <= 1, address
        rows, columns = np.minimum(one.shape, other.shape)[:2]
        assert abs(one[:rows, :columns] - other[:rows, :columns]).mean() < 8, address


def test_a_picture_without_pixels_to_spare_is_the_slide_as_it_is(slide, tmp_path):
    with open_slide(slide) as whole:
        size = reduced_size(SIZE, (0.5, 0.5), 0.25)
        assert size == SIZE
        write_reduced(whole, tmp_path / "whole.tif", size, mpp=(0.5, 0.5))
    assert find_size(tmp_path / "whole.tif") is None
    with open_pixels(tmp_path / "whole.tif") as same:
        assert same.size == SIZE


def test_it_is_not_embedded(reduced):
    with pytest.raises(SlideError, match="made smaller for a bundle"):
        open_slide(reduced)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "x", "{}", "[]", describe_reduced((2000, 1500))[:-3],
        describe_reduced((500, 375)), describe_reduced((400, 300)), describe_reduced((64500, 48375)),
        describe_reduced((2000, 100)), json.dumps({"schema": "tissuumaps-sic/reduced/1", "size": [1e3, 750]}),
        describe_reduced((2000, 1500)) + " " * 2000, describe_reduced((-2000, -1500)),
        describe_reduced((2000, 1500)).replace("reduced/1", "reduced/12"),
        '{"schema": "tissuumaps-sic/reduced/1"}',
    ],
)  # fmt: skip
def test_what_is_no_description_counts_for_nothing(text):
    assert read_described(text, (500, 375)) is None
    assert read_described(describe_reduced((2000, 1500)), (500, 375)) == (2000, 1500)


def test_too_coarse_a_picture_is_refused():
    with pytest.raises(ExportError, match="too coarse"):
        reduced_size((6000, 4000), (0.25, 0.25), 100)
    assert reduced_size((6001, 4001), (0.5, 0.25), 1.0) == (1501, 1001)


def test_it_can_be_stopped_and_what_cannot_be_read_is_told(slide, tmp_path, monkeypatch):
    def stop(stage, share):
        raise Cancelled

    with open_slide(slide) as whole, pytest.raises(Cancelled):
        write_reduced(whole, tmp_path / "x.tif", (500, 374), mpp=None, stretch=Stretch(stop))
    with pytest.raises(SlideError, match="closed"):
        write_reduced(whole, tmp_path / "x.tif", (500, 374), mpp=None)


def test_one_tile_that_is_lost_is_white_and_the_rest_is_written(tmp_path):
    path = spoil(write_pyramid(tmp_path / "slide.tif", tissue(), pyramid=False), (0, 3, 2))
    with open_slide(path) as whole:
        write_reduced(whole, tmp_path / "x.tif", (600, 500), mpp=None)
    with openslide.OpenSlide(tmp_path / "x.tif") as other:
        found = np.asarray(other.read_region((0, 0), 0, (600, 500)).convert("RGB"))
    assert found[150, 224].min() > 240
    assert found[:120].mean() < 200


def test_a_large_slide_is_written_in_little_memory(tmp_path, slide):
    """Rows are asked for one strip after the other, and none twice."""
    asked = []

    class Watched:
        name, size = "watched", (20_000, 12_000)

        def picture(self, x, y, width, height, size, *, rest):
            asked.append((y, height, size))
            return np.full((size[1], size[0], 3), 200, np.uint8)

    write_reduced(Watched(), tmp_path / "large.tif", (5000, 3000), mpp=None)
    assert [round(y) for y, _, _ in asked] == list(range(0, 12_000, 512))
    assert max(size[1] for _, _, size in asked) == 128
    assert sum(height for _, height, _ in asked) == pytest.approx(12_000)


def test_pictures_that_were_enlarged_are_kept(reduced, tmp_path):
    shutil.copy(reduced, tmp_path / "small.tif")
    (tmp_path / "any.tmap").write_text("{}")
    app = make_app(tmp_path.resolve())
    import tissuumaps.views

    with app.app_context():
        first = pictures.open_picture(tissuumaps.views, "small.tif")
        assert pictures.open_picture(tissuumaps.views, "small.tif") is first
    assert first.mpp == pytest.approx(0.5, rel=1e-3)
