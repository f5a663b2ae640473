"""A failed read has more than one reason, and each its own advice."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from making.tiff import page, write_tiff

from tissuumaps_sic.slidefile.pixels import failure, room
from tissuumaps_sic.slidefile.pixels.failure import Stamp, explain
from tissuumaps_sic.slidefile.pixels.room import Cost, amount, check_room, cost_of
from tissuumaps_sic.slidefile.pixels.source import PixelError, SlideError
from tissuumaps_sic.slidefile.pixels.tiff import read_tiff


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "a.tif").write_bytes(bytes(10_000))
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError("Premature end of JPEG file"), "damaged or cut short: copy or export it again"),
        (OSError("tiff2vips: LZMA compression support is not configured"), "cannot be decoded here, though"),
        (OSError("jp2k: libvips built without JPEG2000 support"), "cannot be decoded here, though"),
        (OSError("Unsupported JPEG process: SOF type 0xc3"), "cannot be decoded here, though"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "there is no room to decode it in the temporary folder",
        ),
        (OSError("unable to create temporary file"), "set TMPDIR to a folder with room"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is not enough memory"),
        (MemoryError(), "there is not enough memory"),
        (PixelError("tile (0, 0) came back in one colour"), "it was not decoded"),
    ],
)
def test_each_reason_has_its_own_advice(file, error, says):
    told = explain(file, error)
    assert says in told
    assert "\n" not in told
    assert ("damaged or cut short" in told) == ("damaged" in says)


def test_a_file_that_is_gone_or_forbidden_or_on_a_failing_disk_is_told_as_such(file, monkeypatch):
    error = OSError("TIFFReadDirectory failed")
    assert "the file is gone: it was moved or deleted" in explain(file.with_name("b.tif"), error)
    for number, says in (
        (errno.EACCES, "this user has no right to (Permission denied)"),
        (errno.ESTALE, "its disk is no longer there"),
        (errno.EIO, "its disk fails to give them (Input/output error)"),
    ):

        def fail(*args, number=number, **kwargs):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", fail)
            told = explain(file, error)
        assert says in told
        assert "damaged" not in told


def test_a_file_that_has_been_changed_since_is_told_as_such(file):
    stamp = Stamp.of(file)
    assert "damaged" in explain(file, OSError("x"), stamp=stamp)
    file.write_bytes(bytes(20_000))
    assert "changed since it was opened (10000 bytes then, 20000 now)" in explain(
        file, OSError("x"), stamp=stamp
    )


def test_amounts_are_as_people_read_them():
    assert [amount(each) for each in (1500, 147_000_000, 4_800_000_000, 3 * 10**12)] == [
        "1.5 kB",
        "147 MB",
        "4.8 GB",
        "3 TB",
    ]


def test_the_cost_is_memory_below_libvips_threshold_and_disk_above(tmp_path, monkeypatch):
    strip = read_tiff(write_tiff(tmp_path / "a.tif", page(np.zeros((50, 40, 3), np.uint8), tile=None))).pages[
        0
    ]
    assert cost_of(40, 50, 3) == Cost(6000, 0)
    assert cost_of(40, 50, 3, strip) == Cost(12_000, 0)
    monkeypatch.setenv("VIPS_DISC_THRESHOLD", "5k")
    assert cost_of(40, 50, 3) == Cost(0, 6000)
    assert cost_of(40, 50, 3, strip) == Cost(6000, 6000)
    monkeypatch.setenv("VIPS_DISC_THRESHOLD", "nonsense")
    assert cost_of(40, 50, 3) == Cost(6000, 0)


def test_much_room_is_told_and_too_much_refused(file, monkeypatch, caplog):
    monkeypatch.setattr(room, "free_memory", lambda: 10 * 10**9)
    monkeypatch.setattr(room, "free_disk", lambda folder: 10 * 10**9)
    check_room(file, Cost(10**8, 10**8))
    assert not caplog.text
    check_room(file, Cost(0, 3 * 10**9))
    assert "'a.tif' is stored in one piece, so opening it takes 3 GB of temporary disk;" in caplog.text
    with pytest.raises(SlideError, match=r"takes 11 GB of memory, but 10 GB are free"):
        check_room(file, Cost(11 * 10**9, 0))
    with pytest.raises(SlideError, match=r"takes 11 GB of temporary disk to decode, but 10 GB are free"):
        check_room(file, Cost(0, 11 * 10**9))


def test_a_temporary_folder_that_is_not_there_is_not_replaced_by_another(monkeypatch, tmp_path):
    """Python's own choice would be /tmp, where libvips does not write."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert room.temporary_folder() == tmp_path / "none"
    assert room.free_disk(room.temporary_folder()) is None
    assert room.free_disk(tmp_path) > 0


def test_free_memory_is_what_the_narrowest_limit_leaves(monkeypatch):
    monkeypatch.setattr(room, "_available", lambda: 500)
    monkeypatch.setattr(room, "_group_rest", lambda: None)
    monkeypatch.setattr(room, "_limit_rest", lambda: 300)
    assert room.free_memory() == 300
    monkeypatch.setattr(room, "_group_rest", lambda: -5)
    assert room.free_memory() == 0
    for name in ("_available", "_group_rest", "_limit_rest"):
        monkeypatch.setattr(room, name, lambda: None)
    assert room.free_memory() is None


def test_libraries_names_for_a_missing_codec_are_known():
    assert failure.names_missing_codec("Unsupported TIFF compression: 34712")
    assert failure.names_missing_codec("UnknownCodecError: codec not available: 'jpegxl'")
    assert not failure.names_missing_codec("Bogus marker length")
