"""What a run leaves behind for the one that goes on."""

import errno

import numpy as np
import pytest

from embedder import partial
from embedder.partial import Partial

REQUEST = {"slide": "x", "patches": 10}


def begin(folder, request=REQUEST, dtype="float32"):
    return Partial.open(folder / ".x.partial", request=request, shape=(10, 3), dtype=dtype)


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
