"""Options that several commands share, and what the commands do with those that were given."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Rows of a table that is too heavy to be asked for --help; a test keeps them the same.
FORMATS = (
    "csv",
    "parquet",
    "geojson",
    "geojson.gz",
    "geoparquet",
    "asap",
    "dsa",
    "dicom",
    "mask",
    "spatialdata",
    "lazyslide",
    "tmap",
    "html",
    "pdf",
    "h5ad",
)


# Why a slide of a folder is left out by commands that are about sessions.
NO_SESSION = "has no session yet"


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the slides that a command goes over."""
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="the h5ad of an embedded slide, or a folder of such files",
    )


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the one slide that a command is of."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the h5ad of the slide")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the report for machines."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON, for other programs")


def is_single(files: Sequence[tuple[Path, bool]]) -> bool:
    """Tell whether a command was given one slide and no folder: what `-o` names is then a file.

    Parameters
    ----------
    files : sequence of (Path, bool)
        What `batch_command.find_h5ads` yields.
    """
    return len(files) == 1 and not files[0][1]


def pick_given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the options that were given, by name: for all others the functions' own defaults hold."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
