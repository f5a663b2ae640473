"""Which library reads a file's pixels, and what is refused: only what was decoded is believed."""

import io
import json
import os
import re

import h5py
import numpy as np
import openslide
import pytest
import zarr
from making.tiff import FLOAT, LONG, RATIONAL, SHORT, Page, encode, page, write_tiff
from PIL import Image

from tissuumaps_sic.slidefile.pixels import opening, probing, room
from tissuumaps_sic.slidefile.pixels.opening import open_source
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.source import PixelError, SlideError
from tissuumaps_sic.slidefile.pixels.tiff import read_tiff
from tissuumaps_sic.slidefile.pixels.vips import VipsSource
from tissuumaps_sic.slidefile.placing import open_image

WIDTH, HEIGHT = 300, 260


def picture(width=WIDTH, height=HEIGHT):
    """Return noise, redder to the right and greener downwards: nothing of it can be exchanged unseen."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    return np.stack([x * 200 // width + 20, y * 200 // height + 20, 120 + noise], axis=-1).astype(np.uint8)


PICTURE = picture()
WIDE = PICTURE.astype(np.uint16) * 257
APERIO = "Aperio Image Library v11.2.1 \r\n300x260 [0,0 300x260] (128x128) JPEG/RGB Q=70|AppMag = 20"
OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'


def ome_image(width, height, mpp):
    return (
        f'<Image><Pixels SizeX="{width}" SizeY="{height}" SizeZ="1" SizeC="3" SizeT="1" Type="uint8" '
        f'PhysicalSizeX="{mpp}" PhysicalSizeY="{mpp}"><Channel SamplesPerPixel="3"/></Pixels></Image>'
    )


def read_all(path):
    source = open_source(path)
    try:
        return source.read(0, 0, *source.level_sizes[0], 0)
    finally:
        source.close()


def refusal(path):
    with pytest.raises(SlideError) as caught:
        open_source(path).close()
    message = str(caught.value)
    assert repr(path.name) in message
    assert "\n" not in message
    return message


# Codecs


def with_codec(kind, compression):
    """Return pages of which a level has a compression that is not there."""
    odd = page(PICTURE, compression=compression)
    if kind == "plain":
        return [odd]
    if kind == "strips":
        return [page(PICTURE, compression=compression, tile=None)]
    if kind == "svs":
        odd.tags[270] = APERIO
        return [odd]
    if kind == "level":
        return [page(PICTURE), page(PICTURE[::2, ::2], compression=compression, tags={254: 1})]
    small = page(PICTURE[::2, ::2], compression=compression)
    text = OME.format(images=ome_image(WIDTH, HEIGHT, 0.5))
    if kind == "ome":
        return [page(PICTURE, compression=compression, tags={270: text})]
    return [page(PICTURE, tags={270: text}, sub=[small])]


@pytest.mark.parametrize("kind", ["plain", "strips", "svs", "level", "ome", "sub-image"])
@pytest.mark.parametrize(
    ("compression", "name"),
    [
        (34712, "JPEG 2000"),
        (50002, "JPEG XL"),
        (34925, "LZMA"),
        (22610, "JPEG XR"),
        (33007, "lossy JPEG"),
        (34887, "LERC"),
        (12345, "an unknown codec"),
        (0, "an unknown codec"),
    ],
)
def test_a_codec_that_is_not_there_is_named_and_never_called_damage(tmp_path, kind, compression, name):
    told = refusal(write_tiff(tmp_path / "a.tif", with_codec(kind, compression)))
    assert f"compressed with {name} (TIFF compression {compression}), which cannot be decoded here" in told
    assert "damaged" not in told
    assert "export it as a tiled pyramidal TIFF" in told


@pytest.mark.parametrize("kind", ["plain", "strips", "svs", "ome"])
def test_old_style_jpeg_is_refused_where_it_is_the_slide(tmp_path, kind):
    path = write_tiff(tmp_path / "a.tif", with_codec(kind, 6))
    assert "compressed with old-style JPEG (TIFF compression 6)" in refusal(path)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compression", [33003, 33005])
def test_jpeg_2000_is_refused_where_only_openslide_knows_it_and_does_not_open_the_file(
    tmp_path, big, compression
):
    path = write_tiff(tmp_path / "a.ome.tif", with_codec("ome", compression), big=big)
    assert f"(TIFF compression {compression})" in refusal(path)


@pytest.mark.parametrize("compression", [1, 7, 8, 32946])
@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize("big", [False, True])
def test_what_both_libraries_decode_is_read(tmp_path, compression, tile, big):
    path = write_tiff(tmp_path / "a.tif", page(PICTURE, compression=compression, tile=tile), big=big)
    found = read_all(path).astype(int)
    assert np.abs(found - PICTURE).max() <= (30 if compression == 7 else 0)


def test_an_ome_tiff_that_openslide_alone_decodes_is_read_without_its_levels(tmp_path, monkeypatch):
    text = OME.format(images=ome_image(WIDTH, HEIGHT, 0.5))
    small = page(PICTURE[::2, ::2])
    path = write_tiff(tmp_path / "a.ome.tif", page(PICTURE, tags={270: text}, sub=[small]))
    source = open_source(path)
    assert (type(source), len(source.level_sizes)) == (VipsSource, 2)
    source.close()
    monkeypatch.setattr(opening, "decodes", lambda source: False)
    source = open_source(path)
    assert (type(source), len(source.level_sizes)) == (OpenSlideSource, 1)
    assert np.array_equal(source.read(0, 0, WIDTH, HEIGHT, 0), PICTURE)
    source.close()


# Tiles that come back blank


def write_pyramid(path, **changes):
    pages = [page(PICTURE), page(PICTURE[::2, ::2], tags={254: 1})]
    for index, block in changes.items():
        pages[0].blocks[int(index.removeprefix("tile"))] = block
    return write_tiff(path, pages)


def test_a_tile_of_many_bytes_that_comes_back_in_one_colour_is_not_believed(tmp_path, monkeypatch):
    path = write_pyramid(tmp_path / "a.tif")
    fetch, read = VipsSource._fetch, OpenSlideSource._read

    def black(read):
        def blank(self, *place, **level):
            found = read(self, *place, **level).copy()
            found[:] = 0
            return found

        return blank

    # One library alone: the other is asked.
    source = open_source(path)
    assert isinstance(source, VipsSource)
    with monkeypatch.context() as patched:
        patched.setattr(VipsSource, "_fetch", black(fetch))
        assert np.array_equal(source.read(0, 0, WIDTH, HEIGHT, 0), PICTURE)
    source.close()
    # Both, while it is read, and when it is opened.
    source = open_source(path)
    monkeypatch.setattr(VipsSource, "_fetch", black(fetch))
    monkeypatch.setattr(OpenSlideSource, "_read", black(read))
    with pytest.raises(
        PixelError, match=r"tile \(0, 0\) has \d+ bytes and came back in one colour, \(0, 0, 0\)"
    ):
        source.read(0, 0, 128, 128, 0)
    source.close()
    assert "came back in one colour" in refusal(path)


def test_a_part_of_a_tile_may_have_one_colour(tmp_path):
    half = PICTURE[:256, :256].copy()
    half[:, :90] = 243
    path = write_tiff(tmp_path / "a.tif", page(half))
    source = open_source(path)
    assert (source.read(0, 0, 90, 200, 0) == 243).all()
    assert (source.read(3, 5, 80, 100, 0) == 243).all()
    source.close()


@pytest.mark.parametrize("colour", [0, 255, 128])
@pytest.mark.parametrize("compression", [1, 7, 8])
def test_tiles_of_one_colour_and_few_bytes_are_read(tmp_path, colour, compression):
    image = PICTURE[:256, :256].copy()
    image[:128] = colour
    path = write_tiff(tmp_path / "a.tif", page(image, compression=compression))
    assert np.abs(read_all(path)[:128].astype(int) - colour).max() <= 1


def test_a_black_tile_that_was_hardly_compressed_is_read(tmp_path):
    image = PICTURE[:256, :256].copy()
    image[:128, :128] = 0
    odd = page(image)
    import zlib

    odd.blocks[0] = zlib.compress(bytes(128 * 128 * 3), 0)
    path = write_tiff(tmp_path / "a.tif", odd)
    assert np.array_equal(read_all(path), image)


@pytest.mark.parametrize("kind", ["pyramid", "vips alone"])
def test_a_tile_that_was_left_out_is_white(tmp_path, kind):
    pages = [page(PICTURE), page(PICTURE[::2, ::2], tags={254: 1})]
    if kind == "vips alone":
        pages = [page(PICTURE, tags={270: OME.format(images=ome_image(WIDTH, HEIGHT, 0.5))}, sub=pages[1:])]
    pages[0].blocks[1] = b""
    source = open_source(write_tiff(tmp_path / "a.tif", pages))
    assert isinstance(source, VipsSource)
    expected = PICTURE.copy()
    expected[:128, 128:256] = 255
    for _ in range(2):
        assert np.array_equal(source.read(0, 0, WIDTH, HEIGHT, 0), expected)
        assert np.array_equal(source.read(100, 100, 90, 60, 0), expected[100:160, 100:190])
    assert np.array_equal(source.read(0, 0, 150, 130, 1), PICTURE[::2, ::2])
    source.close()


def test_damage_is_an_error_at_its_tile_and_nowhere_black(tmp_path):
    path = write_pyramid(tmp_path / "a.tif", tile2=b"no deflate at all" * 5)
    source = open_source(path)
    assert np.array_equal(source.read(0, 0, 128, 128, 0), PICTURE[:128, :128])
    for _ in range(2):
        with pytest.raises(probing.backend_errors()):
            source.read(256, 0, 40, 100, 0)
    source.close()


def test_a_file_that_is_cut_short_says_so_when_it_is_opened(tmp_path):
    path = write_pyramid(tmp_path / "a.tif")
    whole = path.read_bytes()
    tiff = read_tiff(path)
    # The list of pages is whole, but tiles of the first lie beyond the end.
    image = page(PICTURE)
    image.tags[324] = (LONG, [len(whole) * 2] * len(image.blocks))
    assert "is cut short: 9 of the tiles" in refusal(write_tiff(tmp_path / "b.tif", image))
    path.write_bytes(whole[: int(tiff.numbers(tiff.pages[0].places)[4])])
    assert re.search(r"is cut short: its page 1 would begin at byte \d+", refusal(path))


def test_a_tile_that_would_be_longer_than_the_file_is_refused_before_openslide_makes_room_for_it(tmp_path):
    """OpenSlide ends the process where it cannot have three terabytes."""
    for big in (False, True):
        last = page(PICTURE[::2, ::2], tags={254: 1})
        last.tags[325] = (17 if big else LONG, [2**41 if big else 2**31 + 5] * 4)
        path = write_tiff(tmp_path / "a.tif", [page(PICTURE), last], big=big)
        assert re.search(r"damaged: its page 2 tells of a tile or strip of \d+ bytes", refusal(path))


# Kinds of pixels


def test_an_orientation_that_viewers_turn_tiles_by_is_refused(tmp_path):
    for orientation in (2, 3, 4, 6, 7, 8):
        path = write_tiff(tmp_path / "a.tif", page(PICTURE, tags={274: orientation}))
        told = refusal(path)
        assert f"TIFF tag 274 is {orientation}" in told
        assert "tiffset -s 274 1" in told


@pytest.mark.parametrize(
    ("compression", "tile", "orientations"),
    [(8, (128, 128), (1, 5)), (7, (128, 128), (1, 3, 4, 6, 8)), (8, None, (1, 2, 3, 4, 5, 6, 7, 8))],
)
def test_pixels_are_as_stored_whatever_the_orientation(tmp_path, compression, tile, orientations):
    """JPEG tiles are turned by no viewer, and what TissUUmaps converts is converted as stored."""
    for orientation in orientations:
        odd = page(PICTURE, compression=compression, tile=tile, tags={274: orientation})
        path = write_tiff(tmp_path / "a.tif", odd)
        assert np.abs(read_all(path).astype(int) - PICTURE).max() <= (30 if compression == 7 else 0)
        if tile:
            viewer = openslide.OpenSlide(path).read_region((0, 0), 0, (WIDTH, HEIGHT))
            assert np.array_equal(np.asarray(viewer)[..., :3], read_all(path))


def test_a_photograph_is_read_as_stored_whatever_its_orientation(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", quality=95, subsampling=0, exif=exif.tobytes())
    assert np.abs(read_all(tmp_path / "a.jpg").astype(int) - PICTURE).mean() < 3


ALPHA = np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :].repeat(HEIGHT, axis=0)
MULTIPLIED = np.dstack([(PICTURE.astype(int) * ALPHA[..., None] // 255).astype(np.uint8), ALPHA])
COLORMAP = np.concatenate([np.arange(256), np.arange(256)[::-1], np.full(256, 7)]) * 257


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize(
    ("pixels", "options", "expected"),
    [
        (PICTURE[..., 0], {}, np.repeat(PICTURE[..., :1], 3, 2)),
        (255 - PICTURE[..., 0], {"photometric": 0}, np.repeat(PICTURE[..., :1], 3, 2)),
        (WIDE[..., 0], {}, np.repeat(PICTURE[..., :1], 3, 2)),
        (65535 - WIDE[..., 0], {"photometric": 0}, np.repeat(PICTURE[..., :1], 3, 2)),
        (WIDE, {}, PICTURE),
        (PICTURE, {"planar": True}, PICTURE),
        (
            PICTURE[..., 0],
            {"photometric": 3, "tags": {320: (SHORT, COLORMAP.tolist())}},
            np.stack([PICTURE[..., 0], 255 - PICTURE[..., 0], np.full((HEIGHT, WIDTH), 7, np.uint8)], -1),
        ),
        (
            np.dstack([PICTURE, ALPHA]),
            {"tags": {338: 2}},
            (PICTURE * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).round().astype(int),
        ),
        (MULTIPLIED, {"tags": {338: 1}}, MULTIPLIED[..., :3].astype(int) + 255 - ALPHA[..., None]),
    ],
    ids=[
        "grey",
        "white is 0",
        "grey 16",
        "white is 0, 16",
        "16",
        "planar",
        "palette",
        "alpha",
        "multiplied alpha",
    ],
)
def test_colours_are_what_their_tags_say(tmp_path, tile, pixels, options, expected):
    path = write_tiff(tmp_path / "a.tif", page(pixels, tile=tile, **options))
    assert np.abs(read_all(path).astype(int) - expected).max() <= (1 if 338 in options.get("tags", {}) else 0)


def test_one_bit_is_black_and_white(tmp_path):
    bits = PICTURE[:256, :256, 0] > 90
    odd = page(np.zeros((256, 256), np.uint8))
    odd.tags[258] = 1
    odd.blocks = [
        encode(np.packbits(bits[y : y + 128, x : x + 128], axis=1)) for y in (0, 128) for x in (0, 128)
    ]
    for photometric in (0, 1):
        odd.tags[262] = photometric
        found = read_all(write_tiff(tmp_path / "a.tif", odd))
        assert np.array_equal(found[..., 0] > 0, bits ^ (photometric == 0))


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize(
    ("pixels", "options", "says"),
    [
        (np.dstack([PICTURE, ALPHA]), {"tags": {338: 0}}, "a sample beside its colours.*tag 338 is 0"),
        (np.dstack([PICTURE, ALPHA]), {}, "a sample beside its colours.*tag 338 is missing"),
        (np.dstack([PICTURE[..., 0], ALPHA]), {"tags": {338: 0}}, "a sample beside its colours"),
        (np.dstack([PICTURE, ALPHA, ALPHA]), {"tags": {338: [0, 0]}}, "has 5 channels"),
        (np.dstack([PICTURE, ALPHA]), {"photometric": 5}, "colours that are CMYK"),
        (255 - PICTURE, {"photometric": 0}, r"has 3 channels \(where TIFF tag 262, 0, tells 1\)"),
        (PICTURE, {"photometric": 8}, "colours that are CIE L"),
        (PICTURE, {"photometric": 77}, "TIFF tag 262 is 77"),
        (PICTURE.astype(np.float32) / 255, {}, "32 bits a sample|32, 32, 32 bits"),
        (PICTURE.astype(np.uint32), {}, "32, 32, 32 bits a sample"),
        (PICTURE.astype(np.int16), {}, "signed numbers"),
        (PICTURE, {"tags": {258: 12}}, "12 bits a sample"),
        (PICTURE, {"tags": {258: [8, 8, 5]}}, "8, 8, 5 bits a sample"),
        (WIDE >> 4, {}, "16 bits, but the brightest .* no more than 12 of them"),
        (WIDE >> 2, {}, "16 bits, but the brightest .* no more than 14 of them"),
    ],
)
def test_pixels_that_no_library_reads_for_certain_are_refused(tmp_path, tile, pixels, options, says):
    told = refusal(write_tiff(tmp_path / "a.tif", page(pixels, tile=tile, **options)))
    assert re.search(says, told)
    assert "export it" in told


def test_ycbcr_without_jpeg_is_read_by_the_library_that_turns_it_into_colours(tmp_path):
    """The other one takes it for RGB; without OpenSlide nothing is known to be right."""
    coded = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
    options = {"photometric": 6, "tags": {530: [1, 1]}}
    found = read_all(write_tiff(tmp_path / "a.tif", page(coded, **options)))
    assert np.abs(found.astype(int) - PICTURE).max() <= 4
    assert "YCbCr" in refusal(write_tiff(tmp_path / "b.tif", page(coded, tile=None, **options)))


def test_a_cmyk_photograph_is_refused(tmp_path):
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "a.jpg")
    assert "CMYK" in refusal(tmp_path / "a.jpg")


def test_two_libraries_that_see_two_pictures_are_not_believed(tmp_path, monkeypatch):
    path = write_pyramid(tmp_path / "a.tif")
    fetch = VipsSource._fetch
    monkeypatch.setattr(VipsSource, "_fetch", lambda *place: 255 - fetch(*place))
    assert re.search(r"read in two ways: .* differ by \d+ of 255", refusal(path))


# Pages


def test_a_larger_page_behind_the_first_is_told_with_its_number_and_size(tmp_path):
    small = PICTURE[::2, ::2]
    macro = np.full((100, 200, 3), 200, np.uint8)
    text = OME.format(images=ome_image(200, 100, 8) + ome_image(WIDTH, HEIGHT, 0.5))
    cases = {
        "strips": [page(small, tile=None), page(PICTURE)],
        "tiled": [page(small), page(PICTURE)],
        "reduced": [page(small, tags={254: 1}), page(PICTURE)],
        "svs": [page(small, tags={270: APERIO}), page(PICTURE)],
        "ome": [page(macro, tags={270: text}), page(PICTURE)],
        "label": [page(macro, tile=None), page(macro[:50]), page(PICTURE)],
        "sub": [page(small, sub=[page(PICTURE)])],
    }
    for name, pages in cases.items():
        told = refusal(write_tiff(tmp_path / f"{name}.tif", pages))
        number = {"label": "3", "sub": "1.1"}.get(name, "2")
        assert f"its largest image, {WIDTH} x {HEIGHT} px, on page {number} of {len(pages)}" in told


def test_a_macro_behind_the_slide_is_no_level(tmp_path):
    macro = np.full((90, 200, 3), 200, np.uint8)
    path = write_tiff(
        tmp_path / "a.tif", [page(PICTURE), page(macro), page(PICTURE[::2, ::2], tags={254: 1})]
    )
    source = open_source(path)
    assert source.level_sizes == ((WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2))
    source.close()


@pytest.mark.parametrize("marked", [True, False])
def test_levels_in_any_order_are_levels(tmp_path, marked):
    tags = {254: 1} if marked else {}
    pages = [page(PICTURE[::step, ::step], tags=tags if step > 1 else {}) for step in (1, 4, 2)]
    source = open_source(write_tiff(tmp_path / "a.tif", pages))
    assert source.level_sizes == ((300, 260), (150, 130), (75, 65))
    for level, step in enumerate((1, 2, 4)):
        width, height = source.level_sizes[level]
        assert np.array_equal(source.read(0, 0, width, height, level), PICTURE[::step, ::step])
    source.close()


def test_a_level_of_another_shape_is_refused(tmp_path):
    pages = [page(PICTURE), page(PICTURE[:50, :200], tags={254: 1})]
    told = refusal(write_tiff(tmp_path / "a.tif", pages))
    assert "calls its page 2, 200 x 50 px, a smaller level of 300 x 260 px, but it has another shape" in told


@pytest.mark.parametrize("order", ["<", ">"])
def test_ome_xml_of_the_image_that_has_the_slides_size_counts(tmp_path, order):
    text = OME.format(images=ome_image(200, 100, 8) + ome_image(WIDTH, HEIGHT, 0.5))
    path = write_tiff(tmp_path / "a.ome.tif", page(PICTURE, tags={270: text}), order=order)
    source = open_source(path)
    assert source.tagged_mpp == (0.5, 0.5)
    source.close()


# Resolution


@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "", "half"])
def test_a_resolution_that_says_nothing_is_none(tmp_path, value):
    svs = page(PICTURE, compression=7, tags={270: f"{APERIO}|MPP = {value}"})
    source = open_source(write_tiff(tmp_path / "a.svs", svs))
    assert (source.tagged_mpp, source.objective_power) == (None, 20)
    source.close()
    text = OME.format(images=ome_image(WIDTH, HEIGHT, value))
    for tile in ((128, 128), None):
        source = open_source(write_tiff(tmp_path / "a.ome.tif", page(PICTURE, tile=tile, tags={270: text})))
        assert source.tagged_mpp is None
        source.close()


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize("value", [(RATIONAL, [0, 1]), (RATIONAL, [0, 0]), (RATIONAL, [1, 0])])
def test_a_resolution_tag_that_says_nothing_is_none(tmp_path, tile, value):
    path = write_tiff(tmp_path / "a.tif", page(PICTURE, tile=tile, tags={282: value, 283: value, 296: 3}))
    source = open_source(path)
    assert source.tagged_mpp is None
    source.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_resolution_that_is_no_number_is_none_or_refused_by_its_tag(tmp_path, value):
    tags = {282: (FLOAT, [value]), 283: (FLOAT, [value]), 296: 3}
    source = open_source(write_tiff(tmp_path / "a.tif", page(PICTURE, tags=tags)))
    assert source.tagged_mpp is None
    source.close()
    if value == float("inf"):
        return
    told = refusal(write_tiff(tmp_path / "b.tif", page(PICTURE, tile=None, tags=tags)))
    assert "XResolution" in told
    assert "one of its tags" in told
    assert "damaged" not in told


@pytest.mark.parametrize("power", ["0", "-20", "nan", "inf", "none"])
def test_an_objective_power_that_says_nothing_is_none(tmp_path, power):
    text = APERIO.replace("AppMag = 20", f"AppMag = {power}")
    source = open_source(write_tiff(tmp_path / "a.svs", page(PICTURE, compression=7, tags={270: text})))
    assert source.objective_power is None
    source.close()


# What is stored in one piece


def test_a_strip_is_not_decoded_where_there_is_no_room(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", page(PICTURE, tile=None))
    monkeypatch.setenv("VIPS_DISC_THRESHOLD", "1k")
    monkeypatch.setattr(room, "free_disk", lambda folder: 1000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    told = refusal(path)
    assert "takes 234 kB of temporary disk to decode, but 1 kB are free" in told
    assert f"TMPDIR, {tmp_path}" in told
    monkeypatch.setattr(room, "free_disk", lambda folder: None)
    assert "cannot be written to; set TMPDIR" in refusal(path)
    monkeypatch.undo()
    assert np.array_equal(read_all(path), PICTURE)


def test_a_huge_strip_a_tile_and_a_picture_are_refused_before_they_take_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 10**9)
    side = 40_000
    tags = {256: side, 257: side, 258: [8, 8, 8], 259: 8, 262: 2, 277: 3}
    strip = Page(tags | {278: side}, [encode(PICTURE)], tiled=False)
    told = refusal(write_tiff(tmp_path / "strip.tif", strip))
    assert "takes 4.8 GB of memory, but 1 GB are free" in told
    tile = Page(tags | {322: side, 323: side}, [encode(PICTURE)])
    assert "GB of memory, but 1 GB are free" in refusal(write_tiff(tmp_path / "tile.tif", tile))
    monkeypatch.setattr(room, "free_disk", lambda folder: 10**6)
    stream = io.BytesIO()
    Image.new("L", (side, 3000)).save(stream, "png")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    assert "takes 120 MB of temporary disk to decode, but 1 MB are free" in refusal(tmp_path / "a.png")


# Other files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.svs")
    assert "is no file" in refusal(tmp_path / "a.svs")


def test_the_local_half_reads_the_same_pixels_and_refuses_the_same(tmp_path):
    path = write_tiff(tmp_path / "a.tif", page(PICTURE, tile=None, tags={274: 3}))
    with open_image(path) as image:
        assert np.array_equal(image.picture(0, 0, WIDTH, HEIGHT, (WIDTH, HEIGHT)), PICTURE)
    write_tiff(path, with_codec("plain", 34925))
    with pytest.raises(SlideError, match=r"LZMA \(TIFF compression 34925\).*--image"):
        open_image(path)


def write_zarr(path, *, compressor="zlib"):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("0", shape=(3, 256, 256), chunks=(3, 128, 128), dtype="u1", fill_value=0)
    array[...] = PICTURE[:256, :256].transpose(2, 0, 1)
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return path


def test_a_chunk_that_is_missing_is_white_and_one_that_is_black_is_not(tmp_path, caplog):
    path = write_zarr(tmp_path / "a.zarr")
    (path / "0" / "0.0.1").unlink()
    expected = PICTURE[:256, :256].copy()
    expected[:128, 128:] = 255
    assert np.array_equal(read_all(path), expected)
    assert "lacks some of its chunks" in caplog.text
    black = zarr.open_group(path, mode="r+")["0"]
    black.store_path.store._read_only = False
    group = zarr.open_group(path, mode="r+", zarr_format=2)
    with zarr.config.set({"array.write_empty_chunks": True}):
        group["0"][:, :128, 128:] = 0
    expected[:128, 128:] = 0
    assert (path / "0" / "0.0.1").exists()
    assert np.array_equal(read_all(path), expected)


def test_a_codec_of_an_ome_zarr_that_is_not_there_is_told(tmp_path):
    path = write_zarr(tmp_path / "a.zarr")
    listing = json.loads((path / "0" / ".zarray").read_text())
    listing["compressor"] = {"id": "imagecodecs_jpegxl_of_the_future"}
    (path / "0" / ".zarray").write_text(json.dumps(listing))
    told = refusal(path)
    assert "imagecodecs_jpegxl_of_the_future" in told
    assert "cannot be decoded here" in told
    assert "damaged" not in told


def test_a_damaged_chunk_is_an_error(tmp_path):
    path = write_zarr(tmp_path / "a.zarr")
    (path / "0" / "0.0.1").write_bytes(b"nothing that was compressed")
    source = open_source(path)
    with pytest.raises(probing.backend_errors()):
        source.read(0, 0, 256, 256, 0)
    source.close()


def coloured(height=512, width=512):
    rng = np.random.default_rng(3)
    return rng.integers(60, 250, (height, width, 3), np.uint8)


@pytest.mark.parametrize("bits", [10, 12, 14, 15])
@pytest.mark.parametrize("hot", [False, True])
def test_fewer_bits_than_sixteen_are_refused_whatever_single_pixels_say(tmp_path, bits, hot):
    pixels = (coloured().astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    if hot:
        pixels[7, 9] = 65535
    write_tiff(tmp_path / "few.tif", page(pixels))
    with pytest.raises(SlideError, match="16 bits, but the brightest"):
        open_source(tmp_path / "few.tif").close()


def test_sixteen_bits_whose_glass_is_bright_but_for_noise_are_read(tmp_path):
    pixels = coloured().astype(np.uint16) * 257
    noise = np.random.default_rng(0).integers(65500, 65536, (128, 128, 3), np.uint16)
    pixels[128:256, 128:256] = noise
    write_tiff(tmp_path / "glass.tif", page(pixels))
    source = open_source(tmp_path / "glass.tif")
    assert (source.read(128, 128, 128, 128, 0) == 255).all()
    source.close()


def test_what_full_transparency_hides_is_white(tmp_path):
    pixels = np.dstack([coloured(), np.full((512, 512), 255, np.uint8)])
    pixels[128:256, 128:256, 3] = 0
    write_tiff(tmp_path / "hidden.tif", page(pixels, tags={338: 2}))
    source = open_source(tmp_path / "hidden.tif")
    assert (source.read(128, 128, 128, 128, 0) == 255).all()
    assert source.read(0, 0, 128, 128, 0).std() > 20
    source.close()


@pytest.mark.parametrize("samples", [1, 3])
def test_two_images_of_one_size_are_refused(tmp_path, samples):
    first, second = coloured(), coloured()[::-1].copy()
    pages = [page(each if samples == 3 else each[..., 0]) for each in (first, second)]
    write_tiff(tmp_path / "two.tif", pages)
    with pytest.raises(SlideError, match="2 images of 512 x 512 px"):
        open_source(tmp_path / "two.tif").close()


@pytest.mark.parametrize("compression", [1, 8])
def test_tiles_that_are_said_to_lie_in_the_header_are_damage(tmp_path, compression):
    odd = page(coloured(), compression=compression)
    path = write_tiff(tmp_path / "lost.tif", odd)
    places = read_tiff(path).numbers(read_tiff(path).pages[0].places)
    content = path.read_bytes()
    kept = np.asarray(places, "<u4").tobytes()
    assert content.count(kept) == 1
    path.write_bytes(content.replace(kept, bytes(4) + kept[4:]))
    with pytest.raises(SlideError, match="is damaged: 1 of the tiles"):
        open_source(path).close()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n", "Git LFS"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"", "empty"),
    ],
)
def test_what_is_no_slide_is_called_by_its_name(tmp_path, content, kind):
    path = tmp_path / "slide.svs"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=rf"'slide\.svs' is no slide; it is .*{kind}"):
        open_source(path)


def test_a_file_of_embeddings_is_no_slide_and_no_damaged_file(tmp_path):
    path = tmp_path / "slide.h5ad"
    with h5py.File(path, "w"):
        pass
    with pytest.raises(SlideError, match=r"'slide\.h5ad' is no slide; it is a file of embeddings; `.* serve"):
        open_source(path)
