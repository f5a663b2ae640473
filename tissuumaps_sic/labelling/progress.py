"""Telling how far something long is, and stopping it.

Whoever waits gives a function, which is called often with what is being done and how much of all is done. It
may raise `Cancelled`, or anything else, to stop the work there: what was kept by then is whole, and the same
work started anew gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with the stage in words and the share of all that is done, 0..1, which never falls and ends at 1.
Progress = Callable[[str, float], object]


class Cancelled(Exception):  # noqa: N818 -- nothing went wrong
    """Somebody who follows the progress of something has stopped it."""


class Stretch:
    """A part of the way from 0 to 1, told of by those who go it.

    Parameters
    ----------
    progress : Progress or None
        Whom to tell; None tells nobody.
    start, stop : float, default=0.0, 1.0
        Where on the whole way this part lies.
    stage : str, default=""
        What is done on it, in words for people.

    Examples
    --------
    >>> way = Stretch(lambda stage, share: print(f"{stage} {share:.2f}"), stage="Walking")
    >>> way.part(0.5, 1.0, "Running").tell(0.5)
    Running 0.75
    """

    def __init__(
        self, progress: Progress | None, start: float = 0.0, stop: float = 1.0, stage: str = ""
    ) -> None:
        self._progress, self._start, self._stop, self._stage = progress, start, stop, stage

    @classmethod
    def whole(cls, progress: Progress | None) -> Stretch:
        """Return the whole way; what rounding would take back on it is not told.

        Parameters
        ----------
        progress : callable or None

        Returns
        -------
        Stretch
        """
        if progress is None:
            return SILENT
        furthest = 0.0

        def rising(stage: str, share: float) -> None:
            nonlocal furthest
            furthest = max(furthest, share)
            progress(stage, furthest)

        return cls(rising)

    def tell(self, share: float) -> None:
        """Tell that a share of this part, 0..1, is done; raises what the listener raises.

        Parameters
        ----------
        share : float
        """
        if self._progress is not None:
            self._progress(self._stage, self._start + (self._stop - self._start) * share)

    def follow(self, stage: str, share: float) -> None:
        """Tell what is told of this part by somebody who names stages of their own: a `Progress`.

        Parameters
        ----------
        stage : str
        share : float
        """
        self.part(0.0, 1.0, stage).tell(share)

    def part(self, start: float, stop: float, stage: str | None = None) -> Stretch:
        """Return the part of this part from `start` to `stop`, 0..1, of the same stage unless named.

        Parameters
        ----------
        start : float
        stop : float
        stage : str, optional

        Returns
        -------
        Stretch
        """
        if self._progress is None:
            return self
        width = self._stop - self._start
        name = self._stage if stage is None else stage
        return Stretch(self._progress, self._start + width * start, self._start + width * stop, name)

    def round(self, number: int, shrink: float) -> Stretch:
        """Return the part for a round, 0, 1, ..., of a loop whose end is not known.

        Each takes `shrink`, 0..1, of what the rounds before it have left.

        Parameters
        ----------
        number : int
        shrink : float

        Returns
        -------
        Stretch
        """
        return self.part(1.0 - (1.0 - shrink) ** number, 1.0 - (1.0 - shrink) ** (number + 1))


SILENT = Stretch(None)


@contextmanager
def bar(*, delay: float = 1.0) -> Iterator[Progress]:
    """Show how far something is as a bar on stderr, once it has taken longer than `delay` seconds.

    Parameters
    ----------
    delay : float, default=1.0

    Yields
    ------
    Progress
        To be given to what takes long.
    """
    from tqdm import tqdm

    layout = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, delay=delay, bar_format=layout, dynamic_ncols=True) as shown:

        def follow(stage: str, share: float) -> None:
            shown.set_description_str(stage, refresh=False)
            shown.update(share - shown.n)

        yield follow
