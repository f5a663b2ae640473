"""The hunt in small, and that it can fail: planted faults are found."""

import os
import random
import signal
import sys
import time

import pytest

if sys.platform == "win32":
    pytest.skip("the hunt forks, which Windows cannot", allow_module_level=True)

from hostile.doors import find_blank, open_as_user
from hostile.hunt import hunt, is_wrong
from hostile.mutations import mutate
from hostile.originals import KINDS, SLIDE_KINDS, TILE, original, picture, suffix
from hostile.sandbox import Verdict, attempt

FILES = 300


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return hunt(FILES, seed=1, keep=tmp_path_factory.mktemp("hunt"))


def test_no_damaged_file_crashes_hangs_or_passes_in_silence(found):
    assert len(found) == FILES
    wrong = [each for each in found if is_wrong(each["of"], each["kind"])]
    assert not wrong, "\n".join(
        f"{each['number']} {each['of']}: {each['what']}: {each['text']}" for each in wrong
    )


def test_the_hunt_reaches_what_it_is_for(found):
    """Of every kind some files are still read: where all are refused, nothing behind the door is tried."""
    refused = {each["of"] for each in found if each["kind"] == "refused"}
    assert refused == set(KINDS) - {"project"}
    fine = {each["of"] for each in found if each["kind"] == "fine"}
    # Every byte of a PNG is guarded by a sum.
    assert fine >= set(KINDS) - {"png", "mask"}


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_are_fine(tmp_path, kind):
    path = tmp_path / f"sound{suffix(kind)}"
    path.write_bytes(original(kind))
    assert open_as_user(kind, path) is None


def test_the_files_are_the_same_each_time():
    def some():
        return [
            mutate(kind, random.Random(f"0:{number}"))
            for number in range(3)
            for kind in KINDS
            if kind != "h5ad"
        ]

    assert some() == some()


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def hang():
    time.sleep(60)


def compute():
    while True:
        pass


def fill():
    return str(len(bytearray(2**33)))


def trip():
    return {}["X"]


@pytest.mark.parametrize(
    ("work", "kind", "says"),
    [
        (crash, "killed", "SIGSEGV"),
        (hang, "fault", "hangs"),
        (compute, "fault", "hangs"),
        (fill, "fault", "memory"),
        (trip, "fault", "KeyError"),
        (lambda: "all black", "fault", "all black"),
        (lambda: os._exit(3), "fault", "no word"),
        (lambda: None, "fine", ""),
    ],
)
def test_whatever_happens_in_the_child_is_told(work, kind, says):
    verdict = attempt(work, named="a.tif", seconds=1.0)
    assert verdict.kind == kind
    assert says in verdict.text


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("a.tif: is cut short; copy it again", "refused"),
        ("it is cut short", "fault"),
        ("a.tif: is\ncut short", "fault"),
        ("a.tif " + "x" * 2000, "fault"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_file(message, kind):
    from tissuumaps_sic.slidefile.pixels.source import SlideError

    def refuse():
        raise SlideError(message)

    assert attempt(refuse, named="a.tif").kind == kind


@pytest.mark.parametrize("value", [0, 128, 200])
def test_a_blank_tile_is_found(value):
    pixels = picture().copy()
    assert find_blank(pixels) is None
    pixels[TILE : 2 * TILE, TILE : 2 * TILE] = value
    assert f"({TILE}, {TILE})" in find_blank(pixels)


def test_a_tile_that_was_left_out_is_glass():
    pixels = picture().copy()
    pixels[TILE : 2 * TILE, TILE : 2 * TILE] = 255
    assert find_blank(pixels) is None


def test_only_a_decoder_of_slides_may_be_killed():
    assert not is_wrong("svs", "killed")
    assert is_wrong("h5ad", "killed")
    assert all(is_wrong(kind, "fault") for kind in SLIDE_KINDS)
    assert Verdict("fine").text == ""
