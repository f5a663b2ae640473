"""How far a slide is, told to whoever asked, or drawn as a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from embedder.isolation.child import Progress


@contextmanager
def show_progress(
    progress: Progress | None, name: str, total: int, done: int
) -> Iterator[Callable[[int], None]]:
    """Yield what is called with the number of patches that were embedded since."""
    with Bar(name) as bar:
        show = progress or bar
        show(done, total)

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(done, total)

        yield advance


class Bar:
    """A bar on stderr, from the first time that it is told of progress until all is done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        """Show that so many patches are done, of all."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc=self._name, unit=" patches", dynamic_ncols=True)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()
