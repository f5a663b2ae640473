"""Pictures as the server shows them: flat ones converted once and whole, tiles without a pyramid bounded."""

import io
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pyvips
from making.damage import spoil, tissue, write_pyramid
from PIL import Image
from werkzeug.test import Client

from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.viewer import pictures
from tissuumaps_sic.viewer.guard import guard_app
from tissuumaps_sic.viewer.serve import make_app


def client_of(folder):
    return Client(guard_app(make_app(folder), folder / "auth"))


def write_flat(path, color, *, size=1500):
    pixels = np.full((size, size, 3), color, np.uint8)
    # TissUUmaps stretches what it converts from its darkest to its brightest.
    pixels[-1, -2:] = [[0, 0, 0], [255, 255, 255]]
    Image.fromarray(pixels).save(path)


def tile(client, name, level="8", place="0_0"):
    answer = client.get(f"/{name}_files/{level}/{place}.jpeg")
    assert answer.status_code == 200
    return np.asarray(Image.open(io.BytesIO(answer.data)).convert("RGB")).astype(float)


@pytest.fixture
def conversions(monkeypatch):
    """What was converted, from the first viewer on."""
    from tissuumaps import views

    found, convert = [], views.ImageConverter.convert

    def counted(self):
        found.append(self.inputImage)
        return convert(self)

    monkeypatch.setattr(views.ImageConverter, "convert", counted)
    return found


def test_six_first_viewers_make_one_picture(tmp_path, conversions):
    write_flat(tmp_path / "img.jpg", (200, 100, 50))
    client = client_of(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client_of(tmp_path).get("/img.jpg.dzi").status_code, range(4)))
    assert answers == [200] * 4
    assert len(conversions) == 1
    assert tile(client, "img.jpg").mean(axis=(0, 1)) == pytest.approx([200, 100, 50], abs=5)
    left = sorted(path.name for path in (tmp_path / ".tissuumaps").iterdir())
    assert left == ["img.jpg.whole.tif", "img.jpg.whole.tif.lock"]


def test_who_comes_when_many_wait_is_told_so_at_once(tmp_path, monkeypatch):
    write_flat(tmp_path / "img.jpg", (1, 2, 3))
    client = client_of(tmp_path)
    begun, release = threading.Event(), threading.Event()

    def slow(*_):
        begun.set()
        release.wait()
        raise OSError("no")

    monkeypatch.setattr(pictures, "hold_lock", slow)
    with ThreadPoolExecutor(pictures._MOST_WAITING + 2) as pool:
        waiting = [pool.submit(client.get, "/img.jpg.dzi") for _ in range(pictures._MOST_WAITING + 1)]
        begun.wait()
        while sum(pictures._TURNS._waiting.values()) <= pictures._MOST_WAITING:
            time.sleep(0.01)
        refused = client.get("/img.jpg.dzi")
        release.set()
        assert [each.result().status_code for each in waiting] == [404] * len(waiting)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0


@pytest.mark.parametrize("left", ["img.tif", "img.jpg.whole.tif"])
def test_a_damaged_left_over_is_made_again(tmp_path, left):
    write_flat(tmp_path / "img.jpg", (200, 100, 50))
    hidden = tmp_path / ".tissuumaps"
    hidden.mkdir()
    (hidden / left).write_bytes(b"II*\0 what a killed conversion left")
    (hidden / ".img.jpg.whole-12345678.tif").write_bytes(b"half")
    times = (tmp_path / "img.jpg").stat()
    os.utime(hidden / left, ns=(times.st_atime_ns, times.st_mtime_ns))
    client = client_of(tmp_path)
    assert client.get("/img.jpg.dzi").status_code == 200
    assert tile(client, "img.jpg").mean() == pytest.approx(117, abs=5)
    assert not (hidden / ".img.jpg.whole-12345678.tif").exists()


def test_a_picture_that_was_replaced_is_converted_again(tmp_path):
    write_flat(tmp_path / "img.jpg", (200, 100, 50))
    client = client_of(tmp_path)
    assert tile(client, "img.jpg").mean() == pytest.approx(117, abs=5)
    write_flat(tmp_path / "img.jpg", (10, 10, 10))
    os.utime(tmp_path / "img.jpg", (1, 1))
    assert tile(client, "img.jpg").mean() == pytest.approx(10, abs=4)


def test_two_pictures_of_one_stem_are_two(tmp_path):
    write_flat(tmp_path / "img.jpg", (200, 100, 50))
    write_flat(tmp_path / "img.png", (20, 220, 20))
    client = client_of(tmp_path)
    assert client.get("/img.jpg.dzi").status_code == client.get("/img.png.dzi").status_code == 200
    assert (
        tile(client, "img.png").mean(axis=(0, 1))[1]
        > 200
        > 120
        > tile(client, "img.jpg").mean(axis=(0, 1))[1]
    )


def test_a_folder_that_takes_no_files_shows_its_pictures(tmp_path, monkeypatch):
    write_flat(tmp_path / "img.jpg", (200, 100, 50))
    monkeypatch.setattr(pictures.os, "access", lambda *_: False)
    client = client_of(tmp_path)
    assert client.get("/img.jpg.dzi").status_code == 200
    assert tile(client, "img.jpg").mean() == pytest.approx(117, abs=5)
    assert not list((tmp_path / ".tissuumaps").iterdir())
    (elsewhere,) = pictures._ELSEWHERE
    pictures.remove_temporary()
    assert not elsewhere.exists()


def test_what_is_no_picture_is_not_there(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    client = client_of(tmp_path)
    for name in ("notes.txt", "half.jpg", "missing.jpg"):
        assert client.get(f"/{name}.dzi").status_code == 404
    assert not list(tmp_path.rglob("*.tif"))


def test_a_tile_of_a_slide_without_a_pyramid_is_read_in_pieces_and_not_beyond_a_bound(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (4, 5, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((3000, 2400), Image.Resampling.BICUBIC))
    picture = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    picture.tiffsave(str(tmp_path / "flat.tif"), tile=True, compression="deflate")
    client = client_of(tmp_path)
    levels = {level: tile(client, "flat.tif", level) for level in ("9", "8")}
    monkeypatch.setattr(pictures, "_MOST_AT_ONCE", 2**18)
    monkeypatch.setattr(pictures, "_PIECE_ROWS", 100)
    for level, whole in levels.items():
        bounded = tile(client, "flat.tif", level)
        # TissUUmaps' own may lack a column, by rounding.
        height, width = whole.shape[:2]
        assert bounded.shape[0] - height in (0, 1)
        assert bounded.shape[1] - width in (0, 1)
        assert np.abs(bounded[:height, :width] - whole).mean() < 3
    monkeypatch.setattr(pictures, "_MOST_PIXELS", 2**20)
    assert client.get("/flat.tif_files/8/0_0.jpeg").status_code == 404
    assert client.get("/flat.tif_files/12/0_0.jpeg").status_code == 200


def test_properties_tell_no_folder_of_the_machine(tmp_path):
    write_flat(tmp_path / "img.jpg", (200, 100, 50))
    client = client_of(tmp_path)
    text = client.get("/img.jpg.dzi/info").text
    assert "img.jpg" in text
    assert str(tmp_path) not in text


def test_tiles_of_a_damaged_slide_are_shown_as_it_is_embedded(tmp_path):
    write_pyramid(tmp_path / "whole.tif", tissue(1600, 1280))
    shutil.copy(tmp_path / "whole.tif", tmp_path / "a.tif")
    spoil(tmp_path / "a.tif", (0, 5, 4))
    client = client_of(tmp_path)
    # The level of full size, in tiles of 256 pixels and their rim.
    for place in ("2_2", "0_0", "2_2", "5_3"):
        found, expected = (tile(client, name, level="11", place=place) for name in ("a.tif", "whole.tif"))
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < (6 if place == "2_2" else 1)


def test_what_no_level_has_is_white_and_the_rest_of_its_tiles_is_there(tmp_path):
    write_pyramid(tmp_path / "flat.tif", tissue(1600, 1280), pyramid=False)
    spoil(tmp_path / "flat.tif", (0, 5, 4))
    write_pyramid(tmp_path / "a.tif", tissue(1600, 1280))
    spoil(tmp_path / "a.tif", *((level, 5 // 2**level, 4 // 2**level) for level in range(5)))
    client = client_of(tmp_path)
    assert (tile(client, "a.tif", level="11", place="2_2")[10:110, 140:240] > 240).all()
    assert tile(client, "a.tif", level="11", place="0_0").std() > 5
    # Of the whole slide, 200 x 160 pixels: the damaged 128 of 1600 are 16 of them.
    small = tile(client, "flat.tif", level="8", place="0_0")
    assert (small[66:78, 82:94] > 240).all()
    assert small[:60].mean() < 200


def test_a_damaged_slide_that_is_refused_is_not_opened_for_every_tile(tmp_path, monkeypatch):
    write_pyramid(tmp_path / "a.tif", tissue(1600, 1280))
    spoil(tmp_path / "a.tif", (0, 5, 4))
    asked, opened = [], pictures.open_pixels

    def refuse(path):
        asked.append(path)
        raise SlideError("no")

    monkeypatch.setattr(pictures, "open_pixels", refuse)
    client = client_of(tmp_path)
    for place in ("2_2", "0_0", "2_2"):
        assert client.get(f"/a.tif_files/11/{place}.jpeg").status_code == 404
    assert len(asked) == 1
    # Another file may not be.
    os.utime(tmp_path / "a.tif", (1, 1))
    monkeypatch.setattr(pictures, "open_pixels", opened)
    assert client.get("/a.tif_files/11/2_2.jpeg").status_code == 200
