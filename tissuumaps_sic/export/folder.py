"""The slides of a folder as one table: a row for each slide and session, the same columns whatever is in it.

The table is wide, since it is opened in a spreadsheet and joined with others by slide: each class has columns
of its own, whose names are a measure, a space and the class's name. No other column's name has a space. Where
a slide does not know a class that others have, its cell is empty; 0 is a class that was looked for.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tissuumaps_sic.annotation.store import sessions_among
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.slide_rows import ClassFigures, RowsWanted, SlideRow, read_rows
from tissuumaps_sic.slidefile.extras import tell_install
from tissuumaps_sic.slidefile.pool import map_in_processes
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.verification.estimation import Interval

if TYPE_CHECKING:
    import pandas as pd

Cell = str | int | float | None
Column = tuple[str, type, Callable[[SlideRow], Cell]]
_Measure = tuple[str, type, Callable[[ClassFigures], Cell]]


def read_folder(
    h5ads: Iterable[Path],
    *,
    session: str | None = None,
    pictures: bool = False,
    workers: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> list[SlideRow]:
    """Return the rows of slides, by name; a slide of which nothing can be told has a row that says why.

    Parameters
    ----------
    h5ads : iterable of Path
    session : str, optional
        Name of the session; all of each slide by default.
    pictures : bool, default=False
        Whether their pictures are drawn, for `contact_sheet.write_sheet`.
    workers : int, default=1
        Processes.
    advance : callable, optional
        Called with how many slides are done, each time that more are.

    Returns
    -------
    list of SlideRow
    """
    listed = list(h5ads)
    # Each folder is listed once: there may be thousands of slides in it.
    there = {each: _find_sessions(each) for each in {h5ad.parent for h5ad in listed}}
    wanted = [
        RowsWanted(
            h5ad,
            tuple(name for name in there[h5ad.parent].get(h5ad.stem, ()) if session in (None, name)),
            pictures,
        )
        for h5ad in listed
    ]
    rows: list[SlideRow] = []
    found = map_in_processes(read_rows, wanted, min(workers, len(wanted)))
    for n_done, (place, read) in enumerate(found, start=1):
        h5ad = wanted[place].h5ad
        ended = "the process that read it was killed, mostly since memory ran out; try --workers 1"
        rows += [SlideRow(h5ad, problem=f"{h5ad.name}: {ended}")] if read is None else read
        advance(n_done)
    return sorted(rows, key=lambda row: (row.slide.casefold(), str(row.h5ad), row.session))


def _find_sessions(folder: Path) -> dict[str, list[str]]:
    """Return the names of the sessions of each slide of a folder; of one that is not there none."""
    try:
        return sessions_among({path.name for path in folder.iterdir()})
    except OSError:
        return {}


def folder_table(
    h5ads: Iterable[Path | str], *, session: str | None = None, workers: int = 1
) -> pd.DataFrame:
    """Return a table of slides: a row for each slide and session, columns as `list_columns` has them.

    Parameters
    ----------
    h5ads : iterable of Path
    session : str, optional
        Only the sessions of this name, "" the shared one; all of each slide by default.
    workers : int, default=1
        Processes that read the slides. In a script more than one needs ``if __name__ == "__main__":``.

    Returns
    -------
    DataFrame
        Areas in mm², shares from 0 to 1, times of work in minutes. A slide that cannot be read is a row whose
        ``problem`` says why; nothing is raised for it.
    """
    import pandas as pd

    rows = read_folder(map(Path, h5ads), session=session, workers=workers)
    kinds = {str: "object", int: "Int64", float: "float64"}
    return pd.DataFrame(
        {
            name: pd.Series([read(row) for row in rows], dtype=kinds[kind])
            for name, kind, read in list_columns(rows)
        }
    )


def list_columns(rows: Sequence[SlideRow]) -> list[Column]:
    """Return the columns of a table: the name of each, the type of its cells, and what reads one of a row."""
    names = list(dict.fromkeys(each.name for row in rows for each in row.classes))
    return [
        *_HEAD,
        *(_of_class(measure, name) for measure in _MAIN_MEASURES for name in names),
        *_TAIL,
        *(_of_class(measure, name) for measure in _MORE_MEASURES for name in names),
    ]


def _of_class(measure: _Measure, name: str) -> Column:
    title, kind, read = measure

    def find(row: SlideRow) -> Cell:
        mine = next((each for each in row.classes if each.name == name), None)
        return None if mine is None else read(mine)

    return f"{title} {name}", kind, find


def _ends(interval: Interval | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if interval is None else (interval.value, interval.low, interval.high)


_HEAD: tuple[Column, ...] = (
    ("slide", str, lambda row: row.slide),
    ("session", str, lambda row: row.session),
    ("state", str, lambda row: row.state),
    ("problem", str, lambda row: row.problem),
    ("warnings", str, lambda row: "; ".join(row.warnings)),
    ("patches", int, lambda row: row.patches),
    ("mm2", float, lambda row: row.area),
)
_MAIN_MEASURES: tuple[_Measure, ...] = (
    ("share", float, lambda each: each.share),
    ("mm2", float, lambda each: each.area),
)
_TAIL: tuple[Column, ...] = (
    ("seeds", int, lambda row: None if row.problem else row.seeds),
    ("borrowed", int, lambda row: None if row.problem else row.borrowed),
    ("readers", str, lambda row: ", ".join(row.readers)),
    ("clicks", int, lambda row: None if row.problem else row.clicks),
    ("minutes", float, lambda row: None if row.problem else round(row.minutes, 1)),
    ("unlike_share", float, lambda row: row.unlike),
    ("check", str, lambda row: "" if row.problem else row.check),
    ("answers", int, lambda row: None if row.problem else row.answers),
    ("accuracy", float, lambda row: _ends(row.accuracy)[0]),
    ("accuracy_low", float, lambda row: _ends(row.accuracy)[1]),
    ("accuracy_high", float, lambda row: _ends(row.accuracy)[2]),
    ("done_by", str, lambda row: row.checked_by),
    ("notes", int, lambda row: None if row.problem else row.notes),
    ("method", str, lambda row: row.method),
    ("encoder", str, lambda row: row.encoder),
    ("labelled", str, lambda row: row.labelled),
    ("version", str, lambda row: row.version),
    ("embedder_version", str, lambda row: row.embedder_version),
    ("file", str, lambda row: row.h5ad.name),
)
_MORE_MEASURES: tuple[_Measure, ...] = (
    ("patches", int, lambda each: each.patches),
    ("seeds", int, lambda each: each.seeds),
    ("checked_share", float, lambda each: _ends(each.checked_share)[0]),
    ("checked_share_low", float, lambda each: _ends(each.checked_share)[1]),
    ("checked_share_high", float, lambda each: _ends(each.checked_share)[2]),
    ("checked_mm2", float, lambda each: _ends(each.checked_area)[0]),
    ("checked_mm2_low", float, lambda each: _ends(each.checked_area)[1]),
    ("checked_mm2_high", float, lambda each: _ends(each.checked_area)[2]),
)


def write_table(rows: Sequence[SlideRow], target: Path | None) -> None:
    """Write a table as CSV or Parquet, by the ending of its name; as CSV to stdout where there is no target.

    Parameters
    ----------
    rows : sequence of SlideRow
    target : Path or None

    Raises
    ------
    ExportError
        When the ending is another one, or what writes Parquet is not installed.
    OSError
        When it cannot be written.
    """
    if target is None:
        _write_csv(rows, sys.stdout)
        return
    require_writable(target)
    with replacing(target) as temporary:
        if target.suffix.lower() == ".parquet":
            _write_parquet(rows, temporary)
            return
        with temporary.open("w", newline="", encoding="utf-8") as file:
            _write_csv(rows, file)


def require_writable(target: Path) -> None:
    """See that a table can be written by this name, before it is made.

    Parameters
    ----------
    target : Path

    Raises
    ------
    ExportError
        As `write_table`.
    """
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise ExportError(
            f"{target.name}: a table is written as .csv or .parquet; let its name end in one of them"
        )
    if target.suffix.lower() == ".parquet":
        try:
            import pyarrow as _  # noqa: F401, ICN001 -- only whether it is there
        except ModuleNotFoundError as error:
            raise ExportError(
                f"{target.name}: Parquet needs pyarrow; run {tell_install('parquet')}, or name the table .csv"
            ) from error


def _write_csv(rows: Sequence[SlideRow], file: IO[str]) -> None:
    columns = list_columns(rows)
    table = csv.writer(file)
    table.writerow([as_text(name) for name, _, _ in columns])
    table.writerows([_cell(read(row)) for _, _, read in columns] for row in rows)


def _cell(value: Cell) -> Cell:
    if isinstance(value, str):
        return as_text(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_parquet(rows: Sequence[SlideRow], target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Not by what is in them, since a column of a folder may be empty.
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    columns = list_columns(rows)
    schema = pa.schema([(name, kinds[kind]) for name, kind, _ in columns])
    arrays = [pa.array([read(row) for row in rows], kinds[kind]) for _, kind, read in columns]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), target)


def to_json(rows: Sequence[SlideRow]) -> str:
    """Return rows for machines: a list of objects, whose classes are lists of objects.

    Parameters
    ----------
    rows : sequence of SlideRow

    Returns
    -------
    str
    """
    return json.dumps(list(_list_objects(rows)), ensure_ascii=False)


def _list_objects(rows: Sequence[SlideRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        told: dict[str, Any] = {name: read(row) for name, _, read in (*_HEAD, *_TAIL)}
        told |= {"warnings": list(row.warnings), "readers": list(row.readers)}
        measures = (*_MAIN_MEASURES, *_MORE_MEASURES)
        told["classes"] = [
            {"name": each.name, "color": each.color} | {title: read(each) for title, _, read in measures}
            for each in row.classes
        ]
        yield told
