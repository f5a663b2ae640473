"""Arrays that are worth keeping while there is room for them: so many bytes, whoever they are of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from tissuumaps_sic.slidefile.arrays import Singles


@dataclass(eq=False)
class _Entry:
    n_bytes: int
    last: int
    n_users: int
    array: Singles | None = None


class Held:
    """One array for each of some owners, those that were asked for last; safe to use from many threads.

    An array goes with its owner. All of them together, those that are being made or used counted with them,
    take no more than a number of bytes.

    Parameters
    ----------
    most : int
        Bytes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._entries: WeakKeyDictionary[object, _Entry] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._turn = 0

    @property
    def n_bytes(self) -> int:
        """What all arrays take."""
        return sum(entry.n_bytes for entry in list(self._entries.values()))

    @contextmanager
    def lend(self, owner: object, n_bytes: int, make: Callable[[], Singles]) -> Iterator[Singles | None]:
        """Lend the array of an owner, which stays while the block runs.

        Parameters
        ----------
        owner : object
            Compared by identity.
        n_bytes : int
            What the array takes.
        make : callable
            Makes it, where it is not there.

        Yields
        ------
        ndarray or None
            None where there is no room, or another thread is making it: who is lent none does without.
        """
        entry = self._enter(owner, n_bytes)
        try:
            if entry is not None and entry.array is None:
                entry.array = make()
            yield None if entry is None else entry.array
        finally:
            with self._lock:
                if entry is not None:
                    entry.n_users -= 1
                    if entry.array is None:  # it could not be made
                        self._entries.pop(owner, None)

    def _enter(self, owner: object, n_bytes: int) -> _Entry | None:
        """Return the entry of an owner, with one user more; None where it can have none now."""
        with self._lock:
            self._turn += 1
            entry = self._entries.get(owner)
            if entry is None:
                if not self._make_room(n_bytes):
                    return None
                entry = self._entries[owner] = _Entry(n_bytes, self._turn, 0)
            elif entry.array is None:
                return None
            entry.last = self._turn
            entry.n_users += 1
            return entry

    def _make_room(self, n_bytes: int) -> bool:
        """Let go of what nobody uses, longest unused first, until so much fits; return whether it does."""
        used = sum(entry.n_bytes for entry in self._entries.values() if entry.n_users)
        if used + n_bytes > self.most:
            return False
        idle = sorted(
            ((entry.last, owner) for owner, entry in self._entries.items() if not entry.n_users),
            key=lambda each: each[0],
        )
        for _, owner in idle:
            if self.n_bytes + n_bytes <= self.most:
                break
            del self._entries[owner]
        return True
