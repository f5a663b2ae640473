"""What a TIFF's own tags say, of files that are odd or wrong, too."""

import struct

import numpy as np
import pytest
from making.tiff import LONG, page, write_tiff

from tissuumaps_sic.slidefile.pixels.blocks import Blocks
from tissuumaps_sic.slidefile.pixels.source import SlideError, has_same_shape
from tissuumaps_sic.slidefile.pixels.tiff import read_tiff

PICTURE = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_and_sub_images_are_told_as_they_are(tmp_path, big, order):
    first = page(PICTURE, tags={274: 3}, sub=[page(PICTURE[::2, ::2]), page(PICTURE[::4, ::4], tile=None)])
    second = page(PICTURE[:50, :60, 0].astype(np.uint16), compression=1, planar=True)
    path = write_tiff(tmp_path / "a.tif", [first, second], big=big, order=order)
    tiff = read_tiff(path)
    assert [each.number for each in tiff.images] == ["1", "1.1", "1.2", "2"]
    assert [each.size for each in tiff.images] == [(300, 200), (150, 100), (75, 50), (60, 50)]
    one, _, strips, two = tiff.images
    assert (one.tile, one.orientation, one.compression, one.bits) == ((128, 128), 3, 8, (8, 8, 8))
    assert (strips.tile, strips.block) == (None, (75, 50))
    assert (two.bits, two.samples, two.photometric) == ((16,), 1, 1)
    assert tiff.numbers(one.counts).tolist() == [len(block) for block in first.blocks]
    assert tiff.bytes == path.stat().st_size


def test_blocks_with_most_bytes_and_none(tmp_path):
    odd = page(PICTURE)
    odd.blocks[4] += bytes(50_000)
    odd.blocks[1] = b""
    tiff = read_tiff(write_tiff(tmp_path / "a.tif", odd))
    blocks = Blocks(tiff, tiff.pages[0])
    assert blocks.has_gaps
    assert blocks.largest(1) == [(128, 128, 128, 72)]
    assert len(blocks.largest(99)) == 6
    assert blocks.list_present(0, 0, 128, 128) is None
    assert blocks.list_present(100, 0, 100, 128) == [(slice(0, 128), slice(0, 28))]
    assert blocks.beyond_the_end() == 0


@pytest.mark.parametrize(
    "content", [b"", b"II", b"II*\0", b"MM\0*\0\0\0\0", b"II*\0\0\0\0\0", b"\x89PNG\r\n\x1a\n" * 9]
)
def test_what_is_no_tiff_is_none(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    assert read_tiff(tmp_path / "a.tif") is None


def test_pages_that_lead_in_a_circle_end(tmp_path):
    path = write_tiff(tmp_path / "a.tif", [page(PICTURE), page(PICTURE[::2, ::2])])
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    data[-4:] = struct.pack("<I", first)
    path.write_bytes(data)
    assert len(read_tiff(path).pages) == 2


def test_a_list_of_pages_that_leads_beyond_the_end_is_cut_short(tmp_path):
    path = write_tiff(tmp_path / "a.tif", page(PICTURE))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(
        SlideError, match=r"'a\.tif' is cut short: its page 1 would begin at byte \d+, but it has 5000"
    ):
        read_tiff(path)


def test_tags_that_tell_of_more_than_there_is_are_no_trouble(tmp_path):
    odd = page(PICTURE)
    odd.tags[325] = (LONG, [1, 2, 3])
    odd.tags[258] = (99, b"abcdefgh" * 4)
    path = write_tiff(tmp_path / "a.tif", odd, big=True)
    # Where the tiles lie is told beyond any file.
    data = bytearray(path.read_bytes())
    (place,) = struct.unpack_from("<Q", data, 8)
    for entry in range(place + 8, len(data) - 8, 20):
        if struct.unpack_from("<H", data, entry) == (324,):
            struct.pack_into("<Q", data, entry + 12, 2**64 - 8)
    path.write_bytes(data)
    tiff = read_tiff(path)
    assert len(tiff.numbers(tiff.pages[0].places)) == 0
    blocks = Blocks(tiff, tiff.pages[0])
    assert len(blocks.counts) == 0
    assert blocks.largest(3) == []
    assert blocks.beyond_the_end() == 0


@pytest.mark.parametrize(
    ("small", "size", "same"),
    [
        ((300, 200), (600, 400), True),
        ((37, 187), (600, 3000), True),  # 37.5 and 187.5, of a slide that is long and narrow
        ((2, 12), (600, 3000), True),
        ((4, 1), (100_000, 30_000), True),
        ((300, 100), (600, 400), False),
        ((200, 50), (300, 260), False),
        ((90, 90), (600, 400), False),
        ((387, 463), (2220, 2967), False),  # a label
    ],
)
def test_a_level_has_the_shape_of_the_slide_but_for_rounding(small, size, same):
    assert has_same_shape(small, size) == same
