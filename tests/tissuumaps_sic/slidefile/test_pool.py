"""Work in several processes: all of it is done, whatever becomes of one of them."""

import sys
import threading
from contextlib import suppress

import pytest
from making.pool import DEADLY, FAILING, double_unless_deadly, double_while_told_to_end

from tissuumaps_sic.slidefile.pool import map_in_processes


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_what_ends_a_process_takes_nothing_else_with_it():
    found = dict(map_in_processes(double_unless_deadly, range(9), 2))
    assert found == {number: None if number == DEADLY else 2 * number for number in range(9)}


def test_one_worker_is_this_process_and_nothing_is_nothing():
    assert list(map_in_processes(lambda text: text.upper(), iter("ab"), 1)) == [(0, "A"), (1, "B")]
    assert list(map_in_processes(str.upper, [], 2)) == []


def test_what_work_raises_is_raised():
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_processes(int, ["1", "no number"], 2))


@pytest.mark.parametrize("things", [["1", "2"], ["1", "no number"]])
def test_no_thread_of_the_pool_is_left(things):
    """One that ends while Python does may make it complain of a closed pipe."""
    with suppress(ValueError):
        list(map_in_processes(int, things, 2))
    assert not [each for each in threading.enumerate() if "Executor" in type(each).__name__]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_who_is_told_to_end_where_python_ignores_errors_ends_after_the_work():
    """Else a process whose parent was killed could wait for more work for ever."""
    found = dict(map_in_processes(double_while_told_to_end, range(9), 2))
    assert found == {number: None if number in (DEADLY, FAILING) else 2 * number for number in range(9)}
