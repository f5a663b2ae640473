"""The slides that were opened last, kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tissuumaps_sic.slidefile.h5ad import SlideFileError, stamp_of
from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file


class SlideCache:
    """The slides opened last, reopened when their file changes; safe to share between threads.

    Parameters
    ----------
    size : int
        How many slides are kept at most, each embedding of a file for one.
    patches : int
        How many patches all of them may have together; the slide that was asked for last is kept however
        large it is. What is kept of a patch comes to about a kilobyte, where it has been run on.
    """

    def __init__(self, size: int = 8, patches: int = 2_000_000) -> None:
        self._size, self._patches = size, patches
        self._slides: OrderedDict[tuple[Path, str], EmbeddedSlide] = OrderedDict()
        self._lock = threading.Lock()
        # A lock a path, with how many hold it or wait for it, so that none is kept for nobody.
        self._openings: dict[Path, tuple[threading.Lock, int]] = {}

    def get(self, path: Path, embedding: str = MAIN) -> EmbeddedSlide:
        """Return an embedding of a slide, from memory where its file is still the same.

        Who asks for a slide waits for others to open that one, and for no other.

        Parameters
        ----------
        path : Path
            The h5ad.
        embedding : str, default="X"

        Returns
        -------
        EmbeddedSlide

        Raises
        ------
        SlideFileError
            As `open_slide_file`.
        """
        with self._opening(path):
            try:
                stamp = stamp_of(path)
            except OSError as error:
                self.forget(path)
                raise SlideFileError(f"{path.name}: no such file; embed the slide first") from error
            with self._lock:
                slide = self._slides.pop((path, embedding), None)
            if slide is None or slide.stamp != stamp:
                slide = open_slide_file(path, embedding)
            with self._lock:
                self._slides[path, embedding] = slide
                while len(self._slides) > 1 and (
                    len(self._slides) > self._size
                    or sum(each.n_patches for each in self._slides.values()) > self._patches
                ):
                    self._slides.popitem(last=False)
            return slide

    @contextmanager
    def _opening(self, path: Path) -> Iterator[None]:
        with self._lock:
            lock, n_users = self._openings.get(path, (threading.Lock(), 0))
            self._openings[path] = lock, n_users + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, n_users = self._openings.pop(path)
                if n_users > 1:
                    self._openings[path] = lock, n_users - 1

    def forget(self, path: Path) -> None:
        """Let go of a slide, so that its file can be replaced on systems that lock open files.

        Parameters
        ----------
        path : Path
        """
        with self._lock:
            for key in [key for key in self._slides if key[0] == path]:
                del self._slides[key]
