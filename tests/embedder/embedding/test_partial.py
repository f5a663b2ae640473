"""What a run leaves behind for the one that goes on."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest

from embedder.embedding import partial
from embedder.embedding.partial import Partial, remove_partial
from tissuumaps_sic.slidefile.leases import Lock, LostError, hold_lock

REQUEST = {"slide": "x", "patches": 10}


OTHER = {"slide": "x", "patches": 10, "overlap": 0.75}


def begin(folder, request=REQUEST, dtype="float32", **others):
    return Partial.open(folder / ".x.partial", request=request, shape=(10, 3), dtype=dtype, **others)


def take(folder, token, ended=()):
    """The lock of a run, which it holds until the next one takes it."""
    holder = {"host": "h", "pid": 1, "started": "now", "process_started": 0, "token": token}
    (folder / ".x.lock").write_text(json.dumps(holder))
    return Lock(folder / ".x.lock", token, frozenset(ended))


def rows(first, last):
    return np.arange(30, dtype=np.float32).reshape(10, 3)[first:last]


def test_what_was_saved_is_there_for_the_next_run(tmp_path):
    one = begin(tmp_path)
    one.note(choice={"precision": "float32"})
    one.write(np.arange(0, 4), rows(0, 4))
    one.save()
    one.write(np.arange(4, 6), rows(4, 6))  # not saved: the run is killed here
    two = begin(tmp_path)
    assert (two.done, two.notes) == (4, {"choice": {"precision": "float32"}})
    two.write(np.arange(4, 10), rows(4, 10))
    two.save()
    assert np.array_equal(two.array(), rows(0, 10))
    two.remove()
    assert list(tmp_path.iterdir()) == []


def test_rows_go_to_their_place_in_any_order(tmp_path):
    one = begin(tmp_path)
    order = np.array([7, 8, 0, 2, 1, 9, 3, 4, 5, 6])
    one.write(order[:5], rows(0, 10)[order[:5]])
    one.write(order[5:], rows(0, 10)[order[5:]])
    assert np.array_equal(one.array(), rows(0, 10))


@pytest.mark.parametrize("other", [{"slide": "y", "patches": 10}, {"slide": "x"}])
def test_another_request_begins_anew(tmp_path, other):
    one = begin(tmp_path)
    one.write(np.arange(10), rows(0, 10))
    one.save()
    assert begin(tmp_path, other).done == 0


def test_what_is_damaged_begins_anew(tmp_path):
    one = begin(tmp_path)
    one.write(np.arange(10), rows(0, 10))
    one.save()
    with (tmp_path / ".x.partial" / "X").open("rb+") as file:
        file.truncate(50)
    assert begin(tmp_path).done == 0
    (tmp_path / ".x.partial" / "state.json").write_text('{"done": 3')
    assert begin(tmp_path).done == 0


def test_float16_is_stored_as_float16(tmp_path):
    one = begin(tmp_path, dtype="float16")
    one.write(np.arange(10), rows(0, 10) / 7)
    assert one.array().dtype == np.float16
    assert np.array_equal(one.array(), (rows(0, 10) / 7).astype(np.float16))


def test_a_full_disk_is_an_error_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(partial.os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        begin(tmp_path)


def test_a_file_system_that_cannot_promise_room_is_written_all_the_same(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(partial.os, "posix_fallocate", unsupported, raising=False)
    one = begin(tmp_path)
    one.write(np.arange(10), rows(0, 10))
    assert np.array_equal(one.array(), rows(0, 10))


@pytest.mark.parametrize("request_of_two", [REQUEST, OTHER])
def test_two_runs_at_one_folder_never_mix_their_rows(tmp_path, request_of_two):
    """One has lost the lock, and does not know: it slept, or its lock was deleted by hand."""
    one = begin(tmp_path)
    one.write(np.arange(4), np.full((4, 3), 1.0))
    one.save()
    two = begin(tmp_path, request_of_two)
    saved = two.done
    one.write(np.arange(4, 7), np.full((3, 3), 1.0))
    two.write(np.arange(saved, 8), np.full((8 - saved, 3), 2.0))
    one.write(np.arange(7, 10), np.full((3, 3), 1.0))
    one.save()
    two.write(np.arange(8, 10), np.full((2, 3), 2.0))
    assert (np.array(two.array())[saved:] == 2).all()
    assert (np.array(one.array()) == 1).all()
    # The state is that of one, and the rows are those of two: nobody goes on from that.
    assert begin(tmp_path).done == 0


def test_a_run_that_lost_its_lock_stops_at_its_next_checkpoint(tmp_path, monkeypatch):
    one = begin(tmp_path, lock=take(tmp_path, "one"))
    one.write(np.arange(4), np.full((4, 3), 1.0))
    one.save()
    two = begin(tmp_path, OTHER, lock=take(tmp_path, "two"))
    two.write(np.arange(6), np.full((6, 3), 2.0))
    two.save()
    monkeypatch.setattr(partial, "_CHECKPOINT_SECONDS", 0)
    for go_on in (
        lambda: one.write(np.arange(4, 8), np.full((4, 3), 1.0)),
        one.save,
        one.finish,
        lambda: one.note(choice=1),
        lambda: begin(tmp_path, lock=one._lock),
    ):
        with pytest.raises(LostError, match="another run took this slide"):
            go_on()
    one.remove()
    three = begin(tmp_path, OTHER, lock=take(tmp_path, "three"))
    assert three.done == 6
    assert (np.array(three.array())[:6] == 2).all()


def test_rows_are_copied_unless_the_run_before_has_ended(tmp_path):
    def number():
        return (tmp_path / ".x.partial" / "X").stat().st_ino

    one = begin(tmp_path, lock=take(tmp_path, "one"))
    one.note(choice={"precision": "float32"})
    one.write(np.arange(4), rows(0, 4))
    one.save()
    first = number()
    two = begin(tmp_path, lock=take(tmp_path, "two"))  # by its lease
    assert (two.done, two.notes) == (4, {"choice": {"precision": "float32"}})
    assert number() != first
    second = number()
    three = begin(tmp_path, lock=take(tmp_path, "three", ended=["two"]))  # killed, on this machine
    assert number() == second
    three.write(np.arange(4, 6), rows(4, 6))
    three.finish()
    four = begin(tmp_path, lock=take(tmp_path, "four"))  # after Ctrl-C
    assert number() == second
    four.write(np.arange(6, 10), rows(6, 10))
    four.save()
    assert np.array_equal(four.array(), rows(0, 10))
    assert sorted(path.name for path in (tmp_path / ".x.partial").iterdir()) == ["X", "state.json"]


def test_what_a_killed_takeover_left_is_removed(tmp_path):
    one = begin(tmp_path)
    one.write(np.arange(4), rows(0, 4))
    one.save()
    (tmp_path / ".x.partial" / "X-0123").write_bytes(b"half a copy")
    assert begin(tmp_path).done == 4
    assert sorted(path.name for path in (tmp_path / ".x.partial").iterdir()) == ["X", "state.json"]


@pytest.mark.parametrize(
    "state",
    [b"", b"[]", b"\xff", b"[" * 5000, *({"done": each} for each in (-1, 11, 1.5, "3", True, None)),
     {"notes": []}, {"seconds": "1"}, {"name": "0" * 32}, {"name": 3}, {"writer": 3}, {"request": None}],
)  # fmt: skip
def test_a_state_that_cannot_be_begins_anew(tmp_path, state):
    one = begin(tmp_path)
    one.write(np.arange(3), rows(0, 3))
    one.save()
    path = tmp_path / ".x.partial" / "state.json"
    if isinstance(state, dict):
        state = json.dumps(json.loads(path.read_text()) | state).encode()
    path.write_bytes(state)
    assert begin(tmp_path).done == 0


def test_what_was_left_behind_is_removed_under_the_lock(tmp_path):
    folder = tmp_path / ".x.partial"
    with hold_lock(tmp_path / ".x.lock") as lock:
        begin(tmp_path, lock=lock).save()
        remove_partial(folder)
        assert not folder.exists()
        remove_partial(folder)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "X").write_text("somebody else's")
        folder.symlink_to(tmp_path / "elsewhere")
        begin(tmp_path, lock=replace(lock)).remove()
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert (tmp_path / "elsewhere" / "X").read_text() == "somebody else's"


def cells(first, last):
    return np.arange(50, dtype=np.float16).reshape(10, 5)[first:last]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_cells_of_each_patch_are_kept_with_its_embedding(tmp_path, dtype):
    one = begin(tmp_path, dtype=dtype, fine=5, lock=take(tmp_path, "one"))
    order = np.array([7, 8, 0, 2, 1])
    one.write(order, rows(0, 10)[order], cells(0, 10)[order])
    one.save()
    one.write(np.array([3, 4]), rows(3, 5), cells(3, 5))  # not saved: the run is killed here
    two = begin(tmp_path, dtype=dtype, fine=5, lock=take(tmp_path, "two"))  # with a copy of it
    assert two.done == 5
    rest = np.array([3, 4, 5, 6, 9])
    two.write(rest, rows(0, 10)[rest], cells(0, 10)[rest])
    two.save()
    assert np.array_equal(two.array(), rows(0, 10))
    assert two.fine().dtype == np.float16
    assert np.array_equal(two.fine(), cells(0, 10))
    with pytest.raises(ValueError, match="5 numbers of the cells"):
        two.write(np.array([3]), rows(3, 4))


def test_without_cells_there_is_no_array_of_them(tmp_path):
    one = begin(tmp_path)
    assert one.fine() is None
    with pytest.raises(ValueError, match="0 numbers of the cells"):
        one.write(np.arange(2), rows(0, 2), cells(0, 2))
