"""A slide that is damaged in places is read from its other levels there, and tells where."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import zarr
from making.damage import TILE, cut, spoil, tissue, write_front, write_pyramid
from making.slides import write_scn
from PIL import Image

from tissuumaps_sic.slidefile.pixels.complaints import Complaints
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.pixels.source import CorruptError, SlideError

PIXELS = tissue()
WIDTH, HEIGHT = 1200, 1000


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("whole") / "whole.tif", PIXELS)


@pytest.fixture
def path(whole, tmp_path):
    copy = tmp_path / "a.tif"
    copy.write_bytes(whole.read_bytes())
    return copy


def read_levels(path):
    with open_slide(path, mpp=0.5) as slide:
        return [slide.read(0, 0, *size, level=level) for level, size in enumerate(slide.level_sizes)]


def square(column, row):
    return np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


@pytest.mark.parametrize("half", [False, True])
def test_a_damaged_tile_is_that_of_the_next_level_and_the_others_are_the_same_to_the_last_bit(
    whole, path, half, caplog
):
    expected = read_levels(whole)
    spoil(path, (0, 3, 2), (0, 9, 7), half=half)
    with open_slide(path) as slide:
        assert slide.tell_damage(0).mended == frozenset()
        found = slide.read(0, 0, WIDTH, HEIGHT)
        damage = slide.tell_damage(0)
        again = slide.read(3 * TILE - 20, 2 * TILE - 10, 200, 100)
        parts = [slide.read(x, 0, 300, HEIGHT) for x in range(0, WIDTH, 300)]
    assert (damage.tile, damage.mended, damage.lost) == ((TILE, TILE), {(3, 2), (9, 7)}, frozenset())
    touched = np.zeros((HEIGHT, WIDTH), bool)
    for place in ((3, 2), (9, 7)):
        touched[square(*place)] = True
        off = np.abs(found[square(*place)].astype(int) - expected[0][square(*place)])
        assert 0 < off.mean() < 6  # noise of 8 grey levels in squares of 4 pixels stays, but for its edges
    assert np.array_equal(found[~touched], expected[0][~touched])
    # Whatever is asked for, a pixel is the same.
    assert np.array_equal(again, found[2 * TILE - 10 : 2 * TILE + 90, 3 * TILE - 20 : 3 * TILE + 180])
    assert np.array_equal(np.concatenate(parts, axis=1), found)
    assert caplog.text.count("'a.tif' is damaged: some of its tiles cannot be decoded, at level 0 first") == 1


def test_a_whole_level_is_made_of_the_next_finer_one(whole, path):
    expected = read_levels(whole)
    found = read_levels(spoil(path, (1, None, None)))
    for level in (0, 2, 3):
        assert np.array_equal(found[level], expected[level])
    assert 0 < np.abs(found[1].astype(int) - expected[1]).mean() < 4


def test_thumbnail_and_picture_are_mended_too(whole, path):
    with open_slide(whole) as slide:
        expected = slide.thumbnail(70), slide.picture(300, 200, 400, 300, (200, 150))
        coarsest = len(slide.level_sizes) - 1
    spoil(path, (coarsest, None, None), (1, None, None))
    with open_slide(path) as slide:
        found = slide.thumbnail(70), slide.picture(300, 200, 400, 300, (200, 150))
    for one, other in zip(found, expected, strict=True):
        assert 0 < np.abs(one.astype(int) - other).mean() < 4


def test_what_no_level_has_is_an_error_or_white_and_the_rest_is_read(whole, path):
    expected = read_levels(whole)[0]
    levels = [(level, 3 // 2**level, 2 // 2**level) for level in range(4)]
    spoil(path, *levels)
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match=r"its pixels at \(400, 260\) of level 0 cannot be read"):
                slide.read(400, 260, 100, 50)
        rest = slide.read_rest(0, 0, WIDTH, HEIGHT)
        assert slide.tell_damage(0).lost == {(3, 2)}
        assert np.array_equal(slide.read(0, 0, 3 * TILE, 900), expected[:900, : 3 * TILE])
        # A guess, by what lies beside it: white would be glass.
        assert slide.thumbnail(WIDTH)[square(3, 2)].mean() < 200
    assert (rest[square(3, 2)] == 255).all()
    rest[square(3, 2)] = expected[square(3, 2)]
    assert np.array_equal(rest, expected)


def test_a_picture_is_white_where_no_level_has_the_pixels_if_the_rest_is_asked_for(tmp_path):
    path = spoil(write_pyramid(tmp_path / "a.tif", PIXELS, pyramid=False), (0, 3, 2))
    whole = 0, 0, WIDTH, HEIGHT
    with open_slide(path) as slide:
        for size in ((WIDTH // 4, HEIGHT // 4), (WIDTH, HEIGHT)):
            with pytest.raises(SlideError, match="cannot be read"):
                slide.picture(*whole, size)
            found = slide.picture(*whole, size, rest=True)
            assert found[300 * size[1] // HEIGHT, 450 * size[0] // WIDTH].tolist() == [255] * 3
            assert found[: size[1] // 4].mean() < 200


def test_a_slide_of_which_nothing_can_be_decoded_is_refused(path):
    spoil(path, *((level, None, None) for level in range(4)))
    with pytest.raises(SlideError, match=r"'a\.tif' opens, but its pixels"):
        open_slide(path)


def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path):
    whole = read_levels(write_front(tmp_path / "whole.tif", PIXELS))
    path = cut(write_front(tmp_path / "a.tif", PIXELS), 0.9)
    with open_slide(path) as slide:
        # Known without a read that fails.
        behind = slide.tell_damage(0).mended
        assert 5 < len(behind) < 20
        found = slide.read(0, 0, WIDTH, HEIGHT)
        damaged = slide.tell_damage(0).mended
    assert behind <= damaged
    assert len(damaged) == len(behind)
    touched = np.zeros((HEIGHT, WIDTH), bool)
    for place in damaged:
        touched[square(*place)] = True
    assert np.array_equal(found[~touched], whole[0][~touched])
    assert 0 < np.abs(found.astype(int) - whole[0])[touched].mean() < 6
    with pytest.raises(SlideError, match="is cut short: 80 of the tiles or strips of its page 1"):
        open_slide(cut(write_front(tmp_path / "b.tif", PIXELS), 0.3))


def test_threads_that_meet_damage_get_what_one_alone_gets(path):
    tiles = [(0, column, row) for column in range(0, 9, 2) for row in range(0, 7, 3)]
    spoil(path, *tiles[::2])
    spoil(path, *tiles[1::2], half=True)
    places = [(x, y) for y in range(0, 900, 90) for x in range(0, 1100, 150)] * 2
    with open_slide(path) as slide:
        expected = slide.read(0, 0, WIDTH, HEIGHT)
    with open_slide(path) as slide, ThreadPoolExecutor(6) as pool:
        regions = list(pool.map(lambda place: slide.read(*place, 100, 90), places))
        assert slide.tell_damage(0).mended == {tile[1:] for tile in tiles}
        if (held := Path("/proc/self/fd")).is_dir():
            # One for OpenSlide, and one for libvips for each level: those that errors spoilt are closed.
            assert [each.resolve() for each in held.iterdir()].count(path) <= 12
    for (x, y), region in zip(places, regions, strict=True):
        assert np.array_equal(region, expected[y : y + 90, x : x + 100])


def test_what_openslide_alone_reads_is_mended(tmp_path):
    options = {"collection": (1400, 1200), "place": (100, 100)}
    path = write_scn(tmp_path / "a.scn", PIXELS, **options)
    expected = read_levels(path)[0]
    # Its pages are the macro image and two levels; the area begins 100 px into the slide.
    spoil(path, (1, 3, 2))
    with open_slide(path) as slide:
        found = slide.read(0, 0, *slide.size)
        damage = slide.tell_damage(0)
    off = np.abs(found.astype(int) - expected).max(axis=2) > 0
    rows, columns = np.nonzero(off)
    assert damage.mended
    assert not damage.lost
    # OpenSlide does not tell how large its tiles are: squares of 256 px that touch it.
    assert (rows.min() // 256, rows.max() // 256) == ((100 + 2 * TILE) // 256, (100 + 3 * TILE - 1) // 256)
    across = (100 + 3 * TILE) // 256, (100 + 4 * TILE - 1) // 256
    assert (columns.min() // 256, columns.max() // 256) == across
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_a_chunk_of_an_ome_zarr_is_mended(tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    scales = []
    for level in range(2):
        step = 2**level
        pixels = (
            PIXELS.reshape(HEIGHT // step, step, WIDTH // step, step, 3).mean(axis=(1, 3)).astype(np.uint8)
        )
        group.create_array(
            str(level),
            data=np.moveaxis(pixels, 2, 0),
            chunks=(3, TILE, TILE),
            chunk_key_encoding={"name": "v2"},
        )
        scale = {"type": "scale", "scale": [1, 0.5 * step, 0.5 * step]}
        scales.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": each, "type": "space", "unit": "micrometer"} for each in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": scales}]
    (chunk,) = [
        each for each in path.rglob("*2.3") if each.is_file() and each.parts[-2] in ("0", "0.0")
    ] or list((path / "0").glob("0.2.3"))
    chunk.write_bytes(b"nothing that was compressed")
    with open_slide(path) as slide:
        found = slide.read(0, 0, WIDTH, HEIGHT)
        assert slide.tell_damage(0).mended == {(3, 2)}
    off = np.abs(found.astype(int) - PIXELS)
    assert 0 < off[square(3, 2)].mean() < 6
    off[square(3, 2)] = 0
    assert not off.any()


def test_what_is_no_damage_stays_the_error_that_it_is(path, monkeypatch):
    spoil(path, (0, 3, 2))
    with open_slide(path) as slide:
        path.rename(path.with_name("b.tif"))
        with pytest.raises(SlideError, match="because the file is gone"):
            slide.read(3 * TILE, 2 * TILE, 50, 50)
        assert not slide.tell_damage(0).mended
        path.with_name("b.tif").rename(path)
        slide.read(3 * TILE, 2 * TILE, 50, 50)
        assert slide.tell_damage(0).mended == {(3, 2)}


def test_a_file_that_could_not_be_opened_anew_is_read_later(path, monkeypatch):
    spoil(path, (0, 3, 2))
    with open_slide(path) as slide:
        source, failures = slide._source.source, [None, OSError("no")]
        reopen = source.reopen

        def reopen_or_fail(path):
            failure = failures.pop(0) if failures else None
            return reopen(path) if failure is None else _raise(failure)

        monkeypatch.setattr(source, "reopen", reopen_or_fail)
        with pytest.raises(SlideError, match=r"cannot be read \(no\)"):
            slide.read(3 * TILE, 2 * TILE, 50, 50)
        slide.read(0, 0, 50, 50)
        slide.read(3 * TILE, 2 * TILE, 50, 50)
        assert slide.tell_damage(0).mended == {(3, 2)}


def test_what_libvips_said_puts_every_read_in_doubt_that_was_under_way():
    said = ["", "VipsJpeg: Corrupt JPEG data: bad Huffman code\n"]
    complaints = Complaints(lambda: said.pop() if said else "")
    with ExitStack() as reads:
        reads.enter_context(pytest.raises(CorruptError, match="bad Huffman code"))
        reads.enter_context(complaints.listen())
        # Another thread's read, which finds what was said of this one.
        with pytest.raises(CorruptError), complaints.listen():
            pass
    with complaints.listen():
        pass
    said.append("VipsJpeg: Corrupt JPEG data: 2 extraneous bytes before marker 0xd9\n")
    with complaints.listen():
        pass
    said.append("VipsJpeg: Corrupt JPEG data: 2 extraneous bytes before marker 0xd9\n")
    with pytest.raises(CorruptError), complaints.listen(allowed=0):
        pass


def test_who_reads_alone_waits_for_the_others_and_they_for_him():
    complaints = Complaints(lambda: "")
    order = []
    with ThreadPoolExecutor(1) as pool:
        with complaints.alone():

            def read():
                with complaints.listen():
                    order.append("other")

            waiting = pool.submit(read)
            with complaints.listen():
                order.append("alone")
        waiting.result()
    assert order == ["alone", "other"]


def test_what_was_said_is_taken_while_the_read_is_under_way_and_no_other_one_begins_or_ends():
    seen = []

    def is_free():
        free = complaints._change.acquire(blocking=False)
        if free:
            complaints._change.release()
        return free

    def take():
        seen.append((complaints._reading, pool.submit(is_free).result()))
        return ""

    complaints = Complaints(take)
    with ThreadPoolExecutor(1) as pool, complaints.listen():
        pass
    assert seen == [(1, False)]


def test_who_is_stopped_while_he_waits_to_be_alone_lets_the_others_read(monkeypatch):
    complaints = Complaints(lambda: "")
    with complaints.listen():
        monkeypatch.setattr(complaints._change, "wait", lambda *_: _raise(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt), complaints.alone():
            pass
    assert complaints._alone is None


def test_a_flat_picture_is_read_though_another_slide_was_heard(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", mpp=0.5) as slide:
        source, fail = slide._source.source, [CorruptError("Corrupt JPEG data: of another slide")]
        read = source.read
        monkeypatch.setattr(source, "read", lambda *place: read(*place) if not fail else _raise(fail.pop()))
        assert np.array_equal(slide.read(0, 0, WIDTH, HEIGHT), PIXELS)


def _raise(error):
    raise error
