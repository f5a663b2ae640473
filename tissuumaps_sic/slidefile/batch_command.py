"""How a command goes over the files that it is given: a line each, a table, a report for machines."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tissuumaps_sic import __version__
from tissuumaps_sic.slidefile.batch import (
    BatchItem,
    LeftOut,
    Outcome,
    Task,
    Work,
    Worked,
    choose_workers,
    make_absolute,
    work_through,
)
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import read_machines
from tissuumaps_sic.slidefile.made import MadeFiles, describe_recipe
from tissuumaps_sic.slidefile.pool import load_early

log = logging.getLogger(__name__)

# The module that runs load when they are at it, and which takes a process seconds.
CLUSTERING = "tissuumaps_sic.labelling.clustering"
# Yields the lines that are printed of a file that has a report.
Tell = Callable[[Outcome], Iterator[str]]


def find_h5ads(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield each h5ad that is named, and those of each folder that is, once; and whether it is of a folder.

    Parameters
    ----------
    paths : sequence of Path
        Files, and folders of them.

    Yields
    ------
    path : Path
    is_of_folder : bool

    Raises
    ------
    WrongUseError
        When a folder holds none.
    """
    seen: set[Path] = set()
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.glob("*.h5ad") if not file.name.startswith("."))
            if not inside:
                raise WrongUseError(f"{path}: holds no h5ad; embed slides into it first (embedder embed)")
        for file in inside:
            whole = make_absolute(file)
            if whole not in seen:
                seen.add(whole)
                yield file, inside != [path]


def refuse_twins(items: Sequence[BatchItem]) -> None:
    """See that nothing is made of two files: one would take the place of the other's, or mix with it.

    Parameters
    ----------
    items : sequence of BatchItem

    Raises
    ------
    WrongUseError
        Something is.
    """
    seen: dict[tuple[Path, str], Path] = {}
    for item in items:
        for output in item.outputs:
            twin = seen.setdefault((make_absolute(output), item.part), item.path)
            if twin != item.path:
                raise WrongUseError(
                    f"{twin} and {item.path} are of one name, and so would be what is made of them, in "
                    f"{output}; rename one, or give them one after the other with another -o"
                )


def prepare_processes(paths: Sequence[Path], options: argparse.Namespace, *modules: str) -> None:
    """Begin to load what the processes of `run_batch` need, where it will have several; see `load_early`.

    Where this process does the work, it loads all of it before: libraries that are loaded while a slide is
    worked on would not be held to one thread there.

    Parameters
    ----------
    paths : sequence of Path
        That will be worked on.
    options : Namespace
        As `read_machines` takes them.
    *modules : str
        Names of what the work imports.
    """
    machines = read_machines(options)
    if machines.elsewhere:
        return
    if min(len(paths), machines.workers or choose_workers(paths)) > 1:
        load_early(*modules)
    else:
        for name in modules:
            import_module(name)


def print_one(item: Task, worked: Worked | LeftOut, tell: Tell, *, as_json: bool) -> int:
    """Print what became of the only file of a command; return the exit status.

    Parameters
    ----------
    item : BatchItem
    worked : Worked or LeftOut
    tell : callable
        Yields the lines of an `Outcome`.
    as_json : bool

    Returns
    -------
    int
    """
    if isinstance(worked, LeftOut):
        log.info("%s: %s; left out", item.path.name, worked.why)
        return 0
    text = (
        json.dumps(worked.report) if as_json else "\n".join(tell(Outcome(item, "done", report=worked.report)))
    )
    sys.stdout.write(text + "\n")
    return 0


def run_batch(
    items: Sequence[Task],
    work: Work[Task],
    *,
    folder: Path | None,
    recipe: tuple[Any, ...],
    tell: Tell,
    options: argparse.Namespace,
    finish: Callable[[Sequence[Outcome]], None] = lambda _: None,
) -> int:
    """Work through several files as a command does: a line each, a table at the end; return the exit status.

    Parameters
    ----------
    items : sequence of BatchItem
    work : callable
        As for `work_through`.
    folder : Path or None
        Where it is remembered what was made, and jobs leave their logs; here by default.
    recipe : tuple
        The command and those of its options by which the same slide gives another result.
    tell : callable
        What is printed of a file.
    options : Namespace
        Of the command: `machines.options.add_processes`, `overwrite` and `json` are read.
    finish : callable, optional
        Is given what became of all, before the table is shown.

    Returns
    -------
    int
        1 where a file failed, else 0.

    Raises
    ------
    WrongUseError, ClusterError
        As `work_through`; and when two files would be written to one place.
    """
    from tqdm import tqdm

    refuse_twins(items)
    folder = folder or Path()
    made = MadeFiles(folder, describe_recipe(__version__, *recipe), anew=options.overwrite)
    outcomes = []
    for outcome in work_through(
        items, work, folder=folder, machines=read_machines(options), made=made, title=str(recipe[0])
    ):
        outcomes.append(outcome)
        if outcome.status == "failed":
            log.error("%s", outcome.message)
        elif outcome.status == "left out":
            log.info("%s: %s; left out", outcome.item.path.name, outcome.message)
        elif outcome.report and not options.json:
            # By it lines and the bar keep out of each other's way.
            tqdm.write("\n".join(tell(outcome)))
    finish(outcomes)
    if len(outcomes) > 1:
        _log_table([(each, each.message or _sum_up(tell(each))) for each in outcomes])
    if options.json:
        sys.stdout.write(json.dumps([_as_row(each) for each in outcomes]) + "\n")
    return 1 if any(each.status == "failed" for each in outcomes) else 0


def _sum_up(lines: Iterator[str]) -> str:
    """Return what the first line says of a slide, without the file that it begins with."""
    return next(lines, "").partition(": ")[2]


def _as_row(outcome: Outcome) -> dict[str, Any]:
    """Return what `--json` prints of a slide among several."""
    told = {"error": outcome.message} if outcome.status == "failed" else {}
    return (outcome.report or {"slide": outcome.item.path.stem}) | {"status": outcome.status} | told


def _log_table(outcomes: Sequence[tuple[Outcome, str]]) -> None:
    """Log a table of what became of files, with a word on each; failures last, where eyes are."""
    order: dict[str, int] = {"done": 0, "up to date": 1, "left out": 2, "failed": 3}
    width = min(60, max(len(outcome.item.path.name) for outcome, _ in outcomes))
    for outcome, told in sorted(outcomes, key=lambda each: order[each[0].status]):
        seconds = f"{outcome.seconds:,.1f} s" if outcome.status == "done" else ""
        line = f"{outcome.item.path.name:<{width}}  {outcome.status:<10}  {seconds:>9}  {told}"
        log.info("%s", line.rstrip())
    counts = {status: sum(outcome.status == status for outcome, _ in outcomes) for status in order}
    log.info("%s", ", ".join(f"{count} {status}" for status, count in counts.items() if count))
