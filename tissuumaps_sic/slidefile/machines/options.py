"""The options by which a command is told who does its work."""

from __future__ import annotations

import argparse
from typing import Any

from tissuumaps_sic.slidefile.console import as_wrong_use, read_count
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.errors import ClusterError
from tissuumaps_sic.slidefile.machines.slurm import SlurmOptions
from tissuumaps_sic.slidefile.machines.spread import Machines


def add_machines(parser: argparse.ArgumentParser, title: str, description: str, workers: str) -> Any:
    """Add what says who does the work; return the group of which one alone may be given.

    Parameters
    ----------
    parser : ArgumentParser
    title, description : str
        Of the options, in --help.
    workers : str
        What ``--workers`` says of itself.

    Returns
    -------
    object
    """
    many = parser.add_argument_group(title, description)
    where = many.add_mutually_exclusive_group()
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="use the workers of a Dask scheduler; without TLS its ports let anybody run programs as you",
    )
    where.add_argument("--slurm", action="store_true", help="start workers as SLURM jobs (examples/slurm.md)")
    many.add_argument("--workers", type=read_count, metavar="N", help=workers)
    many.add_argument(
        "--slurm-options",
        nargs="+",
        default=(),
        metavar="NAME=VALUE",
        help="what to ask SLURM for, such as queue=gpu gpus=1 memory=32GB walltime=08:00:00",
    )
    return where


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add who works on several files, for commands to which a processor is enough.

    Parameters
    ----------
    parser : ArgumentParser
    """
    add_machines(
        parser,
        "several slides",
        "Each is worked on by itself: one that fails is named, and the others are done.",
        "how many slides at a time, here or by SLURM (default: as many as processors)",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add that what is up to date is made anew all the same.

    Parameters
    ----------
    parser : ArgumentParser
    """
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make anew what is up to date, too, where there are several slides",
    )


def read_machines(options: argparse.Namespace) -> Machines:
    """Return what `add_machines` was given.

    Parameters
    ----------
    options : Namespace

    Returns
    -------
    Machines

    Raises
    ------
    WrongUseError
        Options cannot be meant together, or one of SLURM is none.
    """
    if options.workers and options.scheduler:
        raise WrongUseError(
            "--workers says how many to start, and a scheduler has its own; give one of the two"
        )
    if options.slurm and not options.workers:
        raise WrongUseError("--slurm needs --workers N, the number of jobs to ask for")
    if options.slurm_options and not options.slurm:
        raise WrongUseError("--slurm-options are for --slurm; give that too, or leave them out")
    with as_wrong_use(ClusterError):
        slurm = SlurmOptions.from_words(options.slurm_options) if options.slurm else None
    return Machines(options.workers, options.scheduler, slurm)
