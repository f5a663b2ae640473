"""Mask images: values as they are stored in any kind of file, refused in words where they are none."""

import struct
import zlib

import numpy as np
import pytest
import pyvips
from PIL import Image

from tissuumaps_sic.slidefile.areas import masks
from tissuumaps_sic.slidefile.areas.area import AreaError
from tissuumaps_sic.slidefile.areas.masks import open_mask, place_mask

VALUES = np.random.default_rng(0).integers(0, 4, (60, 80)).astype(np.uint8)


def pil(array, mode=None, **options):
    def write(path):
        image = Image.fromarray(array)
        (image.convert(mode) if mode else image).save(path, **options)

    return write


def palette(path):
    image = Image.fromarray(VALUES)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 7, 7, 7])
    image.save(path)


def grey_palette(path):
    """Its colours are grey levels, which are not its values."""
    image = Image.fromarray(VALUES)
    image.putpalette([each for grey in (7, 3, 2, 0) for each in (grey, grey, grey)])
    image.save(path)


def vips(**options):
    return lambda path: pyvips.Image.new_from_array(VALUES).tiffsave(str(path), **options)


def vips_bits(path):
    pyvips.Image.new_from_array((VALUES * 85).astype(np.uint8)).write_to_file(str(path), bitdepth=2)


def signed(path):
    pyvips.Image.new_from_array(VALUES.astype(np.int32)).tiffsave(str(path))


KINDS = {
    "grey.png": pil(VALUES),
    "grey.tif": pil(VALUES),
    "grey.bmp": pil(VALUES),
    "sixteen.png": pil(VALUES.astype(np.uint16)),
    "sixteen.tif": pil(VALUES.astype(np.uint16)),
    "thirtytwo.tif": signed,
    "two_bits.png": vips_bits,
    "two_bits.tif": vips_bits,
    "palette.png": palette,
    "palette.tif": palette,
    "palette.bmp": palette,
    "grey_palette.png": grey_palette,
    "grey_palette.tif": grey_palette,
    "rgb.png": pil(np.stack([VALUES] * 3, -1)),
    "rgb.tif": pil(np.stack([VALUES] * 3, -1)),
    "alpha.png": pil(np.stack([VALUES, np.full_like(VALUES, 255)], -1)),
    "alpha.tif": pil(np.stack([VALUES] * 3 + [np.full_like(VALUES, 9)], -1)),
    "tiled.tif": vips(tile=True, tile_width=16, tile_height=16, compression="deflate"),
    "pyramid.tif": vips(tile=True, tile_width=16, tile_height=16, pyramid=True, compression="lzw"),
    "big.tif": vips(bigtiff=True),
    "interlaced.png": lambda path: pyvips.Image.new_from_array(VALUES).pngsave(str(path), interlace=True),
    "named_wrongly.tif": lambda path: Image.fromarray(VALUES).save(path, format="png"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("access", ["random", "sequential"])
def test_values_are_those_that_are_stored(tmp_path, kind, access, monkeypatch):
    monkeypatch.setattr(masks, "_STRIP_PIXELS", 1000)
    path = tmp_path / kind
    KINDS[kind](path)
    mask = open_mask(path, access=access)
    assert mask.size == (80, 60)
    strips = list(mask.strips(multiple=7))
    assert {len(each) % 7 for each in strips[:-1]} == {0}
    assert len(strips) > 2
    assert np.array_equal(np.concatenate(strips), VALUES)
    assert strips[0].dtype == np.uint16
    if access == "random":
        assert np.array_equal(mask.read(11, 7, 30, 40), VALUES[7:47, 11:41])
        assert np.array_equal(mask.read(0, 0, 5, 5), VALUES[:5, :5])


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_one_bit_is_0_and_1(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(VALUES > 1).save(path)
    assert np.array_equal(open_mask(path).read(0, 0, 80, 60), VALUES > 1)


def test_what_is_transparent_is_0(tmp_path):
    drawn = np.stack([np.full_like(VALUES, 7)] * 3 + [VALUES], -1)
    Image.fromarray(drawn).save(tmp_path / "a.png")
    assert np.array_equal(open_mask(tmp_path / "a.png").read(0, 0, 80, 60), np.where(VALUES > 0, 7, 0))


# ------------------------------------------------------------------------------------------------ refused


def stack(path):
    pages = [Image.fromarray(VALUES), Image.fromarray(VALUES)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def overview_first(path):
    small = Image.fromarray(VALUES[::2, ::2].copy())
    small.save(path, save_all=True, append_images=[Image.fromarray(VALUES)])


def text(content):
    return lambda path: path.write_bytes(content)


def cut(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:9000])


COLOURED = np.eye(60, 80, dtype=np.uint8)[..., None] * np.uint8([1, 2, 3])


@pytest.mark.parametrize(
    ("name", "write", "told"),
    [
        ("a.png", text(b"not an image"), "no PNG, TIFF or BMP"),
        ("a.png", text(b""), "no PNG, TIFF or BMP"),
        ("a.tif", text(b"II*\0nothing"), "cannot be read as a mask"),
        ("a.bmp", text(b"BMnothing"), "cannot be read as a mask"),
        ("a.png", cut, "cannot be read as a mask"),
        ("a.jpg", pil(VALUES, format="jpeg"), "is a JPEG, which changes a mask's values"),
        ("a.png", pil(VALUES, format="jpeg"), "is a JPEG, which changes a mask's values"),
        ("a.tif", vips(compression="jpeg"), "compressed as JPEG"),
        ("a.tif", vips(compression="jpeg", tile=True), "compressed as JPEG"),
        ("a.tif", pil(VALUES.astype(np.float32)), "kind float; .* 8 or 16 bits"),
        (
            "a.tif",
            lambda path: pyvips.Image.new_from_array(VALUES - 9.0).cast("int").tiffsave(str(path)),
            "from -9",
        ),
        (
            "a.tif",
            lambda path: pyvips.Image.new_from_array(VALUES + 7e4).cast("uint").tiffsave(str(path)),
            "70003",
        ),
        ("a.png", pil(COLOURED), "is a coloured picture"),
        ("a.tif", pil(COLOURED), "is a coloured picture"),
        ("a.bmp", pil(COLOURED), "is a coloured picture"),
        ("a.tif", stack, "page 2 of its 2 is 80 x 60 px and the first 80 x 60; save one page"),
        ("a.tif", overview_first, "page 2 of its 2 is 80 x 60 px and the first 40 x 30"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(tmp_path, name, write, told):
    write(tmp_path / name)
    with pytest.raises(AreaError, match=rf"^{name}: .*{told}") as error:
        list(open_mask(tmp_path / name).strips())
    assert "\n" not in str(error.value)


def test_colours_are_values_where_they_are_asked_for_and_a_photograph_has_too_many(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(COLOURED).save(path)
    mask = open_mask(path, colours="values")
    assert np.array_equal(mask.read(0, 0, 80, 60), np.eye(60, 80))
    assert mask.is_coloured
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)).save(path)
    with pytest.raises(AreaError, match="more than 256 colours, as a picture has"):
        open_mask(path, colours="values").read(0, 0, 80, 60)


def test_an_orientation_is_not_applied_and_told(tmp_path, caplog):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(VALUES).save(tmp_path / "a.tif", exif=exif)
    mask = open_mask(tmp_path / "a.tif")
    assert np.array_equal(mask.read(0, 0, 80, 60), VALUES)
    assert caplog.messages == [
        "a.tif: tells an orientation (6), which is not applied: its pixels are taken as they are stored"
    ]


# -------------------------------------------------------------------------------------------------- large


def write_blank_png(path, width, height):
    """A grey PNG of any size in a few KB, by hand."""
    packing = zlib.compressobj(1)
    row = bytes(width + 1)
    data = b"".join(packing.compress(row) for _ in range(height)) + packing.flush()

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_mask_that_pillow_would_call_an_attack_is_read(tmp_path):
    write_blank_png(tmp_path / "a.png", 14_000, 13_000)
    assert 2 * Image.MAX_IMAGE_PIXELS < 14_000 * 13_000
    mask = open_mask(tmp_path / "a.png", access="sequential")
    assert sum(len(strip) for strip in mask.strips() if not strip.any()) == 13_000


@pytest.mark.parametrize("kind", ["grey.png", "grey.tif", "palette.png", "palette.tif", "grey.bmp"])
def test_the_limit_of_what_is_unpacked_at_once_is_told_with_the_way_out(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(masks, "_MOST_PIXELS", 4000)
    monkeypatch.setattr(masks, "_MOST_IN_MEMORY", 4000)
    KINDS[kind](tmp_path / kind)
    with pytest.raises(AreaError, match=rf"^{kind}: is 80 x 60 px, more than the 0 Mpx .*save it smaller"):
        open_mask(tmp_path / kind)


def test_a_tiled_mask_has_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "_MOST_PIXELS", 4000)
    KINDS["tiled.tif"](tmp_path / "a.tif")
    assert np.array_equal(open_mask(tmp_path / "a.tif").read(0, 0, 80, 60), VALUES)


# ------------------------------------------------------------------------------------------------ placing


@pytest.mark.parametrize("size", [(100, 75), (101, 75), (97, 73), (1601, 1200), (1600, 1200)])
def test_a_mask_whose_sides_were_rounded_covers_the_slide(size):
    assert place_mask("a.png", size, (1600, 1200)) == ((0, 0), (1600 / size[0], 1200 / size[1]))


@pytest.mark.parametrize("size", [(1200, 1600), (400, 310), (160, 114), (75, 100)])
def test_a_mask_of_another_shape_is_refused_with_both_sizes(size):
    told = rf"^a\.png: is {size[0]} x {size[1]} pixels, .*the slide, 1600 x 1200"
    with pytest.raises(AreaError, match=told):
        place_mask("a.png", size, (1600, 1200), (0, 0, 1600, 1200))


def test_a_mask_of_the_bounds_lies_on_them_and_one_that_fits_both_is_told(caplog):
    assert place_mask("a.png", (40, 10), (256, 256), (100, 50, 80, 20)) == ((100, 50), (2, 2))
    assert not caplog.records
    assert place_mask("a.png", (40, 40), (256, 256), (100, 50, 80, 80)) == ((0, 0), (6.4, 6.4))
    assert "taken to cover the whole slide" in caplog.text
