"""Which slides are meant: files, folders, patterns, and tables that give a slide its own resolution."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.pixels.slide import is_slide
from tissuumaps_sic.slidefile.spelling import fold, say_count
from tissuumaps_sic.slidefile.tables import Row, Table, TableError, read_table

log = logging.getLogger(__name__)

_TABLES = (".csv", ".tsv")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_SLIDE_COLUMNS = ("slide", "path", "filename")
# What people call a resolution, in one word or as a part of one.
_RESOLUTION_WORDS = {
    *("um", "μm", "nm", "res", "resolution", "mag", "magnification", "objective", "power", "zoom", "scale"),
    *("dpi", "ppi", "spacing", "micron", "microns", "appmag", "lens", "objektiv", "μ"),
}
_RESOLUTION_PARTS = (
    *("mpp", "micron", "micromet", "pixelsize", "pxsize", "physicalsize", "resolution", "magnif"),
    *("umper", "μmper", "umpx", "μmpx", "auflösung", "vergrößerung", "pixelgröße", "倍率"),
)


class InputError(SicError):
    """What was given names no slides; the message says what was looked for."""


class NoSlidesError(InputError, WrongUseError):
    """A folder or a pattern has none."""


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


def as_inputs(slides: Sequence[SlideInput | Path]) -> list[SlideInput]:
    """Return slides, some of which may be given by their path alone.

    Parameters
    ----------
    slides : sequence of SlideInput or Path

    Returns
    -------
    list of SlideInput
    """
    return [slide if isinstance(slide, SlideInput) else SlideInput(slide) for slide in slides]


@dataclass(frozen=True)
class _Given:
    """A slide, and the line of the table that lists it where one does: "slides.csv, line 3"."""

    item: SlideInput
    line: str | None = None


def gather(given: Sequence[str | Path]) -> list[SlideInput]:
    """Find the slides that files, folders, patterns and tables name.

    Parameters
    ----------
    given : sequence of str or Path
        Each is a slide; a folder, whose slides are taken in the order of their names; a pattern such as
        ``"scans/**/*.svs"``; or a CSV or TSV table (`read_table`) with a column ``slide`` (or ``path``,
        ``filename``; from the table's folder where it is not absolute) and, if wanted, a column ``mpp`` (µm
        per level-0 pixel; empty for what the slide says).

    Returns
    -------
    list of SlideInput
        In the order given, each slide once. What a table says of a slide holds for it however else it is
        named. A file that is not there is kept: embedding it tells so, and the others are done.

    Raises
    ------
    NoSlidesError
        A folder or a pattern has none.
    InputError
        A table cannot be read, or tables list a slide with two resolutions.
    """
    slides: dict[Path, _Given] = {}
    repeated = 0
    for word in given:
        for new in _expand(str(word)):
            # Folders by their true names; not the file, because a link to a slide may have a name of its own.
            key = new.item.path.parent.resolve() / new.item.path.name
            known = slides.setdefault(key, new)
            if known is new or new.line is None:
                continue
            if known.line is None:
                slides[key] = new
            elif known.item.mpp != new.item.mpp:
                raise InputError(
                    f"{new.line}: lists {new.item.path.name} with {_describe(new.item.mpp)}, and "
                    f"{known.line} with {_describe(known.item.mpp)}; keep one of them"
                )
            else:
                repeated += 1
    if repeated:
        log.warning(
            "%s of the tables repeated a slide with the same mpp; each slide is done once",
            say_count(repeated, "line"),
        )
    return [known.item for known in slides.values()]


def _describe(mpp: float | None) -> str:
    return "no mpp" if mpp is None else f"mpp {mpp:g}"


def find_clashes(items: Sequence[SlideInput]) -> dict[int, Path]:
    """Tell which slides have the name of one before them, and so would write the same files.

    Parameters
    ----------
    items : sequence of SlideInput

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


def _expand(given: str) -> Iterator[_Given]:
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix in _TABLES and path.is_file():
        yield from _read_listed(path)
    elif suffix in _SPREADSHEETS and path.is_file():
        raise InputError(f"{path}: is a spreadsheet's own file; save it as CSV (UTF-8) and give that")
    elif path.is_dir() and not is_slide(path):
        inside = sorted(file for file in path.iterdir() if not file.name.startswith(".") and is_slide(file))
        if not inside:
            raise NoSlidesError(
                f"{path}: there is no slide in this folder; name the files, or a pattern such as "
                f'"{path}/**/*.svs"'
            )
        yield from (_Given(SlideInput(slide)) for slide in inside)
    elif not path.exists() and glob.has_magic(given):
        matching = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 -- a pattern may be absolute
        if not matching:
            raise NoSlidesError(f"{given}: no file fits this pattern; correct it, or name the files")
        yield from (_Given(SlideInput(Path(slide))) for slide in matching)
    else:
        yield _Given(SlideInput(path))


def _read_listed(path: Path) -> Iterator[_Given]:
    try:
        table = read_table(path, (*_SLIDE_COLUMNS, "mpp"), numbers=("mpp",))
        column = _slide_column(table)
        _refuse_resolutions(table)
        table.tell_others()
        for row in table.rows:
            name = row[column]
            if not name:
                raise table.error(row, "names no slide; give its path, or leave the line out")
            yield _Given(
                SlideInput(_path_in(path.parent, name), _mpp(table, row)), f"{path}, line {row.line}"
            )
    except TableError as error:
        raise InputError(str(error)) from error


def _slide_column(table: Table) -> str:
    columns = [name for name in _SLIDE_COLUMNS if name in table.columns]
    if not columns:
        others = [*table.columns.values(), *table.others.values()]
        raise TableError(
            f"{table.path.name}: has no column {' or '.join(_SLIDE_COLUMNS)}; its first line has "
            f"{', '.join(others)}, and must name the columns"
        )
    if len(columns) > 1:
        raise TableError(
            f"{table.path.name}: has the columns {' and '.join(columns)}, which both may name the slide; "
            "keep one of them"
        )
    return columns[0]


def _refuse_resolutions(table: Table) -> None:
    """Refuse a column that was meant to be ``mpp``: to pass over it would embed at another scale."""
    for name, own in table.others.items():
        if not _is_resolution(own):
            continue
        for row in table.rows:
            if row[name] and not row.cells.get("mpp"):
                raise TableError(
                    f"{table.path.name}: the column {own!r} looks like a resolution; call it mpp where it is "
                    "µm per level-0 pixel, and else give that, or take the column out"
                )


def _is_resolution(header: str) -> bool:
    words = re.split(r"[\W_\d]+", fold(header))
    joined = "".join(words)
    if re.fullmatch(r"\d+\s*[x\u00d7]", fold(header)):  # 40x
        return True
    return not _RESOLUTION_WORDS.isdisjoint(words) or any(part in joined for part in _RESOLUTION_PARTS)


def _path_in(folder: Path, name: str) -> Path:
    """Return the path that a table in a folder names; Windows' own and that of a home are understood."""
    path = folder / name
    if path.exists():
        return path
    if name.startswith("~/"):
        return Path(name).expanduser()
    turned = folder / name.replace("\\", "/")
    return turned if turned.exists() else path


def _mpp(table: Table, row: Row) -> float | None:
    text = row.cells.get("mpp")
    if not text:
        return None
    try:
        mpp = table.number(row, "mpp")
    except TableError as error:
        raise TableError(f"{error}; give µm per pixel, such as 0.5, or nothing") from error
    if mpp <= 0:
        raise table.error(row, f"mpp is {text!r}; give µm per pixel, such as 0.5, or nothing")
    return mpp
