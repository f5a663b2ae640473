"""Which slides are meant: files, folders, patterns, and tables that give a slide its own resolution."""

from __future__ import annotations

import csv
import glob
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedder.slide import is_slide

_TABLES = {".csv": ",", ".tsv": "\t"}
_SLIDE_COLUMNS = ("slide", "path", "filename")


class InputError(Exception):
    """What was given names no slides; the message says what was looked for."""


@dataclass(frozen=True)
class SlideInput:
    """A slide to embed.

    Attributes
    ----------
    path : Path
        A file, or a folder for the formats that are one.
    mpp : float or None
        µm per level-0 pixel, in place of what the slide and the options say.
    """

    path: Path
    mpp: float | None = None

    @property
    def name(self) -> str:
        """Name of the slide, and of the files that are made of it."""
        return self.path.name.removesuffix(".zarr") if self.path.is_dir() else self.path.stem


def gather(given: Sequence[str | Path]) -> list[SlideInput]:
    """Find the slides that files, folders, patterns and tables name.

    Parameters
    ----------
    given : sequence of str or Path
        Each is a slide; a folder, whose slides are taken in the order of their names; a pattern such as
        ``"scans/**/*.svs"``; or a CSV or TSV table with a column ``slide`` (or ``path``, ``filename``; from
        the table's folder where it is not absolute) and, if wanted, a column ``mpp`` (µm per level-0 pixel;
        empty for what the slide says).

    Returns
    -------
    list of SlideInput
        In the order given, each slide once. A file that is not there is kept: embedding it tells so, and the
        others are done.

    Raises
    ------
    InputError
        A folder or a pattern has no slide, or a table cannot be read.
    """
    found: dict[Path, SlideInput] = {}
    for each in given:
        for item in _expand(str(each)):
            found.setdefault(item.path.absolute(), item)
    return list(found.values())


def clashes(items: Sequence[SlideInput]) -> dict[int, Path]:
    """Tell which slides have the name of one before them, and so would write the same files.

    Returns
    -------
    dict of int to Path
        From a slide's place in the sequence to the slide that has its name already.
    """
    first: dict[str, Path] = {}
    clashing = {}
    for place, item in enumerate(items):
        # Some file systems tell no capitals from small letters.
        if first.setdefault(item.name.casefold(), item.path) != item.path:
            clashing[place] = first[item.name.casefold()]
    return clashing


def _expand(given: str) -> Iterator[SlideInput]:
    path = Path(given)
    if path.suffix.lower() in _TABLES and path.is_file():
        yield from _read_table(path)
    elif path.is_dir() and not is_slide(path):
        inside = sorted(each for each in path.iterdir() if not each.name.startswith(".") and is_slide(each))
        if not inside:
            raise InputError(
                f"{path}: there is no slide in this folder; name the files, or a pattern such as "
                f'"{path}/**/*.svs"'
            )
        yield from map(SlideInput, inside)
    elif not path.exists() and glob.has_magic(given):
        matching = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 -- a pattern may be absolute
        if not matching:
            raise InputError(f"{given}: no file fits this pattern")
        yield from (SlideInput(Path(each)) for each in matching)
    else:
        yield SlideInput(path)


def _read_table(table: Path) -> Iterator[SlideInput]:
    try:
        # Excel begins a CSV with a byte-order mark.
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, delimiter=_TABLES[table.suffix.lower()]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read as a table ({error})") from error
    columns = rows[0].keys() if rows else ()
    column = next((each for each in _SLIDE_COLUMNS if each in columns), None)
    if column is None:
        raise InputError(
            f"{table}: has no column {' or '.join(_SLIDE_COLUMNS)}, or no row; "
            f"its columns are {', '.join(map(str, columns)) or 'none'}"
        )
    for number, row in enumerate(rows, start=2):
        path = (row[column] or "").strip()
        if path:
            yield SlideInput(table.parent / path, _mpp(row.get("mpp"), f"{table}, line {number}"))


def _mpp(text: str | None, place: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        mpp = float(text)
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        raise InputError(f"{place}: mpp is {text!r}; give µm per pixel, such as 0.5, or nothing")
    return mpp
