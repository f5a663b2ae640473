"""What is kept while there is room: last used stays, what is in use is never let go of."""

import numpy as np
import pytest

from tissuumaps_sic.labelling.held import Held


class Owner:
    """Whose array it is."""


def lend(held, owner, n_bytes=40):
    """Lend for a moment; return the array, and whether it had to be made."""
    made = []

    def make():
        made.append(owner)
        return np.zeros(n_bytes // 4, np.float32)

    with held.lend(owner, n_bytes, make) as array:
        return array, bool(made)


def test_what_was_used_longest_ago_goes_first():
    held, (a, b, c) = Held(80), (Owner(), Owner(), Owner())
    assert all(lend(held, owner)[1] for owner in (a, b))
    assert not lend(held, a)[1]
    assert lend(held, c)[1]
    assert not lend(held, a)[1]
    assert lend(held, b)[1]
    assert held.n_bytes == 80


def test_what_is_in_use_stays_and_others_do_without():
    held, a, b = Held(40), Owner(), Owner()
    with held.lend(a, 40, lambda: np.ones(10, np.float32)) as array:
        assert lend(held, b) == (None, False)
        assert lend(held, a)[0] is array
        assert held.n_bytes == 40
    assert lend(held, b)[1]


def test_what_is_being_made_is_waited_for_by_nobody():
    held, a = Held(80), Owner()

    def make():
        assert lend(held, a) == (None, False)
        return np.zeros(10, np.float32)

    with held.lend(a, 40, make) as array:
        assert array is not None


def test_what_is_larger_than_all_room_is_not_kept_and_nothing_goes_for_it():
    held, a, b = Held(80), Owner(), Owner()
    lend(held, a)
    assert lend(held, b, 84) == (None, False)
    assert not lend(held, a)[1]


def test_what_could_not_be_made_is_made_again():
    held, a = Held(80), Owner()

    def fail():
        raise OSError

    with pytest.raises(OSError), held.lend(a, 40, fail):  # noqa: PT011 -- any
        pass
    assert held.n_bytes == 0
    assert lend(held, a)[1]
