"""A command over many files: on all processors or machines; one that fails is a line, what is done stays."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.failure import os_reason
from tissuumaps_sic.slidefile.machines.spread import Machines, spread
from tissuumaps_sic.slidefile.made import MadeFiles, Stamp, stamp
from tissuumaps_sic.slidefile.pool import count_processors

log = logging.getLogger(__name__)

Status = Literal["done", "up to date", "left out", "failed"]

# What one process labels in the two or three seconds that another takes to begin.
_WORTH_A_PROCESS = 50_000_000

_ENDED = "was ended from outside while it was worked on, usually for want of memory; give fewer --workers"


@dataclass(frozen=True)
class BatchItem:
    """One file to work on.

    Attributes
    ----------
    path : Path
        As it was given.
    inputs : tuple of Path
        What the result depends on, whether it is there or not.
    outputs : tuple of Path
        What is made.
    in_folder : bool
        Whether its folder was named, and not the file.
    part : str
        Which of the things that are made of the file, where there are several.
    """

    path: Path
    inputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    in_folder: bool = False
    part: str = ""

    @property
    def subject(self) -> Path:
        """What it goes by among all that a folder remembers: what is made, else what it is made of."""
        return (self.outputs or (self.path,))[0]

    def make_absolute(self) -> Self:
        """Return the item with paths that mean the same in every folder.

        Returns
        -------
        Self
        """
        inputs, outputs = (tuple(map(make_absolute, each)) for each in (self.inputs, self.outputs))
        return replace(self, path=make_absolute(self.path), inputs=inputs, outputs=outputs)


@dataclass(frozen=True)
class Worked:
    """What became of a file.

    Attributes
    ----------
    report : dict
        For ``--json``, and what is told is made of it.
    stamps : dict of Path to Stamp
        Of inputs that the work has itself written: what they are after it.
    outputs : tuple of Path or None
        What was made, where it was not known before.
    """

    report: dict[str, Any]
    stamps: Mapping[Path, Stamp] = field(default_factory=dict)
    outputs: tuple[Path, ...] | None = None


@dataclass(frozen=True)
class LeftOut:
    """Why there was nothing to do of a file."""

    why: str


@dataclass(frozen=True)
class Outcome:
    """A file and what became of it.

    Attributes
    ----------
    item : BatchItem
    status : str
    message : str
        Why it failed, or was left out.
    report : dict
        Empty where there is none.
    seconds : float
    """

    item: BatchItem
    status: Status
    message: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Tried:
    """What comes back from another process."""

    status: Status | Literal["wrong use"]
    message: str
    worked: Worked | None
    stamps: Mapping[Path, Stamp]
    seconds: float
    logged: tuple[tuple[str, int, str], ...]


Task = TypeVar("Task", bound=BatchItem)
Work = Callable[[Task], Worked | LeftOut]


def make_absolute(path: Path) -> Path:
    """Return a path that means the same in every folder; links stay what they are.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path
    """
    # Not resolved: /home/lab may be a link to another place on each machine.
    return Path(os.path.abspath(path))  # noqa: PTH100


def work_through(
    items: Sequence[Task],
    work: Work[Task],
    *,
    folder: Path,
    machines: Machines | None = None,
    made: MadeFiles | None = None,
    title: str = "",
) -> Iterator[Outcome]:
    """Yield what became of each file, in their order; show how far it is on stderr.

    Parameters
    ----------
    items : sequence of BatchItem
    work : callable
        Takes an item; an instance of a class of this package where several processes do it. A `SicError` or
        OSError that it raises is a failure of that file alone, and so is any other exception.
    folder : Path
        Where jobs of SLURM leave their logs.
    machines : Machines, optional
    made : MadeFiles, optional
        What was made before: what is up to date is left alone, and what is made now is noted at once.
    title : str, default=""
        Of the bar.

    Yields
    ------
    Outcome

    Raises
    ------
    WrongUseError
        As `work` raises it: then all would fail.
    ClusterError
        The machines cannot be used, or are lost; what was made by then is made.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    outcomes: dict[int, Outcome] = {}
    waiting: list[int] = []
    for place, item in enumerate(items):
        report = None if made is None else made.find(item.subject, item.part, item.inputs)
        if report is None:
            waiting.append(place)
        else:
            outcomes[place] = Outcome(item, "up to date", report=report)
    n_told = 0
    with (
        # What is told of a file must not stand on the bar's line.
        logging_redirect_tqdm(),
        tqdm(total=len(items), unit=" files", desc=title, dynamic_ncols=True, disable=len(items) < 2) as bar,
    ):
        bar.update(len(outcomes))
        machines = machines or Machines()
        todo = [items[place] for place in waiting]
        if machines.elsewhere:
            todo = [item.make_absolute() for item in todo]
        elif machines.workers is None:
            machines = Machines(choose_workers([item.path for item in todo]))
        tries = spread(partial(try_one, work), todo, machines, folder=make_absolute(folder))
        for number, tried in tries:
            place = waiting[number]
            outcomes[place] = _conclude(items[place], tried, made)
            bar.update()
            while n_told in outcomes:
                yield outcomes.pop(n_told)
                n_told += 1
        while n_told in outcomes:
            yield outcomes.pop(n_told)
            n_told += 1


def choose_workers(paths: Sequence[Path]) -> int:
    """Return how many processes are worth it: each takes as long to begin as so many bytes are worked on.

    Parameters
    ----------
    paths : sequence of Path

    Returns
    -------
    int
        At least 1.
    """
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return max(1, min(count_processors(), len(paths), size // _WORTH_A_PROCESS))


def try_one(work: Work[Task], item: Task) -> _Tried:
    """Work on one file; whatever goes wrong becomes a failure of this file alone."""
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    stamps = {path: stamp(path) for path in item.inputs}
    worked = None
    with _keep_logged() as logged:
        try:
            # One thread, however many work: sums that are split over threads differ in their last digits.
            with threadpool_limits(1):
                result = work(item)
        except WrongUseError as error:
            status, message = "wrong use", str(error)
        except SicError as error:
            status, message = "failed", str(error)
        except OSError as error:
            status, message = "failed", os_reason(error, item.path)
        except Exception as error:
            status, message = "failed", f"{item.path.name}: {type(error).__name__}: {error} (unexpected)"
            log.debug("%s", message, exc_info=True)
        else:
            if isinstance(result, LeftOut):
                status, message = "left out", result.why
            else:
                status, message, worked = "done", "", result
    return _Tried(status, message, worked, stamps, time.perf_counter() - began, tuple(logged))  # type: ignore[arg-type]


def _conclude(item: BatchItem, tried: _Tried | None, made: MadeFiles | None) -> Outcome:
    """Tell what a file's work logged, remember what it made, and return what became of it."""
    if tried is None:
        return Outcome(item, "failed", f"{item.path.name}: {_ENDED}")
    for name, level, message in tried.logged:
        logging.getLogger(name).log(level, "%s", message)
    if tried.status == "wrong use":
        raise WrongUseError(tried.message)
    if tried.worked is None:
        return Outcome(item, tried.status, tried.message, seconds=tried.seconds)
    if made is not None:
        outputs = item.outputs if tried.worked.outputs is None else tried.worked.outputs
        stamps = {**tried.stamps, **tried.worked.stamps}
        made.note(item.subject, item.part, stamps, outputs, tried.worked.report)
    return Outcome(item, "done", report=tried.worked.report, seconds=tried.seconds)


@contextmanager
def _keep_logged() -> Iterator[list[tuple[str, int, str]]]:
    """Yield a list of what is logged in the block, which may be in a process whose words nobody sees."""
    kept: list[tuple[str, int, str]] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append((record.name, record.levelno, record.getMessage()))

    packages = [logging.getLogger(name) for name in ("tissuumaps_sic", "embedder")]
    before = [(each, each.propagate, each.level) for each in packages]
    keeper = Keeper(logging.INFO)
    for each in packages:
        each.addHandler(keeper)
        each.propagate = False
        each.setLevel(min(each.level or logging.INFO, logging.INFO))
    try:
        yield kept
    finally:
        for each, propagate, level in before:
            each.removeHandler(keeper)
            each.propagate = propagate
            each.setLevel(level)
