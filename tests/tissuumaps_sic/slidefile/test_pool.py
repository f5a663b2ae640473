"""Work in several processes: all of it is done, whatever becomes of one of them."""

import sys

import pytest
from making.pool import DEADLY, double_unless_deadly

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
