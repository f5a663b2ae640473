"""What libvips says of tiles that it gives although it could decode a part of them only.

Of a JPEG whose data are damaged in their midst it gives the beginning and then grey, and no error; but it
says so in the text in which it keeps its errors, one for all threads. So that text is looked at after each
read. Who finds something there cannot tell whose it is: all reads that were under way are then in doubt, and
whoever doubts one reads again while nobody else does (`alone`).
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tissuumaps_sic.slidefile.pixels.source import CorruptError

_CORRUPT = re.compile(r"corrupt jpeg data|premature end of jpeg", re.IGNORECASE)
# Some programs fill each picture up with a few bytes, which costs no pixel.
_BESIDE = re.compile(r"corrupt jpeg data: (\d+) extraneous bytes", re.IGNORECASE)
_FEW_BESIDE = 4
# Texts that are kept for reads that are under way.
_MOST_KEPT = 256


class Complaints:
    """Listens while libvips reads, in any number of threads.

    Parameters
    ----------
    take : callable
        Returns libvips' text and empties it.
    """

    def __init__(self, take: Callable[[], str]) -> None:
        self._take = take
        self._change = threading.Condition()
        self._reading = 0
        self._alone: int | None = None
        self._heard = 0
        self._texts: deque[str] = deque(maxlen=_MOST_KEPT)

    @contextmanager
    def listen(self, *, allowed: int = _FEW_BESIDE) -> Iterator[None]:
        """Run a block that reads; so many bytes may be left over behind a picture.

        Parameters
        ----------
        allowed : int, default=4
            Bytes.

        Raises
        ------
        CorruptError
            Something was said meanwhile, of this read or of another thread's.
        """
        with self._change:
            self._change.wait_for(lambda: self._alone in (None, threading.get_ident()))
            self._reading += 1
            before = self._heard
        try:
            yield
        except BaseException:
            # What became an error is no longer in the text, nor is what was said of other reads.
            self._note("corrupt JPEG data: another tile could not be decoded meanwhile")
            raise
        finally:
            # One step: a read that ended between taking and noting would hear of nothing, and who waits to be
            # alone would find what was said of this one.
            with self._change:
                said = self._take()
                if is_corrupt(said, allowed=0):
                    self._note(said)
                texts = list(self._texts)[-(self._heard - before) :] if self._heard != before else []
                self._reading -= 1
                self._change.notify_all()
        for text in texts:
            if is_corrupt(text, allowed=allowed):
                raise CorruptError(" ".join(text.split()))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run a block in which no other thread reads: what is said then is said of its reads."""
        with self._change:
            self._change.wait_for(lambda: self._alone is None)
            self._alone = threading.get_ident()
        try:
            with self._change:
                self._change.wait_for(lambda: self._reading == 0)
            yield
        finally:
            with self._change:
                self._alone = None
                self._change.notify_all()

    def _note(self, said: str) -> None:
        with self._change:
            self._heard += 1
            self._texts.append(said)


def is_corrupt(text: str, *, allowed: int = _FEW_BESIDE) -> bool:
    """Tell whether libvips says of a tile that its data are damaged.

    >>> is_corrupt("VipsJpeg: Corrupt JPEG data: premature end of data segment")
    True
    >>> is_corrupt("VipsJpeg: Corrupt JPEG data: 2 extraneous bytes before marker 0xd9")
    False
    >>> is_corrupt("VipsJpeg: Corrupt JPEG data: 2 extraneous bytes before marker 0xd9", allowed=0)
    True
    """
    for line in text.splitlines():
        beside = _BESIDE.search(line)
        if _CORRUPT.search(line) and (beside is None or int(beside[1]) > allowed):
            return True
    return False
