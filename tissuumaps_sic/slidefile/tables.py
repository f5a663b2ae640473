"""Tables that people make, as CSV or TSV: nothing is dropped or shifted in silence.

Spreadsheets write commas, semicolons or tabs, decimal points or commas, byte-order marks and empty columns;
people write headers in capitals, spaces behind names, and lines twice. What has one meaning is read, what has
two is refused by the number of its line.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.spelling import fold, join_names, strip

log = logging.getLogger(__name__)

_DELIMITERS = (",", ";", "\t")
_DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Longest first: UTF-32's mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A row for each of ten million patches takes less.
_MOST_BYTES = 1 << 30
_SEPARATOR = re.compile(r"sep=([,;\t])", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
# Three digits behind a mark may be thousands, unless no thousands could begin so.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
# What a spreadsheet takes for a formula, the full-width signs of East Asian ones too; or takes apart.
_COMPUTED = re.compile(r"[\s']*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")


class TableError(SicError):
    """A table cannot be used; the message names the file, the line, what is wrong and what to do."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    line : int
        The line of the file on which it begins, from 1.
    cells : mapping of str to str
        By the table's names of its columns, without white space around them.
    """

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes
    ----------
    path : Path
    columns : mapping of str to str
        The columns it has, from the names that were asked for to the header's own.
    others : mapping of str to str
        Its other columns, likewise.
    rows : tuple of Row
        Those that are not empty; one or more.
    delimiter : str
    decimal : "." or ","
        What stands before the decimals of its numbers.
    """

    path: Path
    columns: Mapping[str, str]
    others: Mapping[str, str]
    rows: tuple[Row, ...]
    delimiter: str
    decimal: str

    def error(self, row: Row, told: str) -> TableError:
        """Return the error that refuses a row.

        Parameters
        ----------
        row : Row
        told : str
            What is wrong and what to do.

        Returns
        -------
        TableError
        """
        return TableError(f"{self.path.name}, line {row.line}: {told}")

    def number(self, row: Row, column: str) -> float:
        """Return the finite number in a cell.

        Parameters
        ----------
        row : Row
        column : str

        Returns
        -------
        float

        Raises
        ------
        TableError
            When there is none.
        """
        text = row[column]
        if not _NUMBER.fullmatch(text) or "," in text.replace(self.decimal, "."):
            hint = ""
            if "," in text and self.delimiter == ",":
                hint = "; write decimals with a point where commas part the columns"
            raise self.error(row, f"{self.columns[column]} is {text!r}, which is no number{hint}")
        number = float(text.replace(self.decimal, "."))
        if number in (float("inf"), float("-inf")):
            raise self.error(row, f"{self.columns[column]} is {text!r}, which is too large")
        return number

    def tell_others(self) -> None:
        """Log which columns have no use."""
        if self.others:
            one = len(self.others) == 1
            log.warning(
                "%s: the column%s %s %s not used",
                self.path.name,
                "" if one else "s",
                join_names(self.others.values()),
                "is" if one else "are",
            )


def read_table(path: Path, columns: Collection[str], *, numbers: Collection[str] = ()) -> Table:
    """Read a table that a person or a program made.

    Parameters
    ----------
    path : Path
        Text in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark. Commas, semicolons or tabs part its
        columns, as its header tells; a first line ``sep=;``, as Excel knows it, tells it too. Cells may be
        quoted, and hold line breaks then. Where semicolons or tabs part the columns, numbers may have
        decimal commas. Lines may end as on any system; those without a value are passed over, as are columns
        at the end that have neither name nor value.
    columns : collection of str
        The names of columns that have a use, in small letters. A header's capitals, spaces, hyphens and
        underscores do not matter.
    numbers : collection of str
        Those of them that hold numbers, by which it is known what decimals stand behind.

    Returns
    -------
    Table
        It may lack some of `columns`.

    Raises
    ------
    TableError
        When the file cannot be read or has no row, two of its columns have one name, a row has more or fewer
        cells than the header, or its numbers can be understood in two ways.
    """
    text = _text(path)
    delimiter, records = _records(path, text, columns)
    header_line, header = records[0]
    while header and not header[-1]:
        header = header[:-1]
    names = _names(path, header_line, header)
    rows = []
    for line, cells in records[1:]:
        while len(cells) > len(names) and not cells[-1]:
            cells = cells[:-1]
        if len(cells) != len(names):
            raise TableError(_ragged(path, line, cells, names, delimiter))
        rows.append(Row(line, dict(zip(names, cells, strict=True))))
    if not rows:
        raise TableError(
            f"{path.name}: has a header ({join_names(header)}) and no row below it; add the rows"
        )
    known = {name: own for name, own in zip(names, header, strict=True) if name in columns}
    others = {
        name: own or f"{place} (without a name)"
        for place, (name, own) in enumerate(zip(names, header, strict=True), 1)
        if name not in columns and (own or any(row[name] for row in rows))
    }
    decimal = _decimal_mark(path, rows, [name for name in numbers if name in known], delimiter)
    return Table(path, known, others, tuple(rows), delimiter, decimal)


def as_text(text: str) -> str:
    """Return a text as it is written into a cell, so that a spreadsheet shows it and computes nothing.

    What would be a formula begins with an apostrophe, which `read_table` takes away; so does what could be
    taken for such a text. Numbers are to be written as they are.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> as_text("=1+1"), as_text("Tumor"), as_text("'=1+1")
    ("'=1+1", 'Tumor', "''=1+1")
    """
    return f"'{text}" if _COMPUTED.match(text) else text


def from_text(cell: str) -> str:
    """Return the text of a cell that `as_text` may have made."""
    return cell[1:] if cell.startswith("'") and _COMPUTED.match(cell) else cell


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise TableError(f"{path}: no such file; give a table as CSV or TSV")
        if path.stat().st_size > _MOST_BYTES:
            raise TableError(
                f"{path.name}: is larger than {_MOST_BYTES >> 30} GiB, which no such table is; give a CSV "
                "or TSV"
            )
        content = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path.name}: cannot be read ({error.strerror or error})") from error
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None and content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise TableError(f"{path.name}: is a spreadsheet's own file; save it as CSV (UTF-8)")
    if encoding is None and b"\0" in content:
        raise TableError(
            f"{path.name}: is no text, or UTF-16 without a byte-order mark; save it as CSV (UTF-8)"
        )
    try:
        text = content.decode(encoding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", content[: error.start])) + 1
        where = f", line {line}" if encoding in (None, "utf-8") else ""
        # Which of the many encodings it is, nobody can tell: to guess would change names in silence.
        raise TableError(f"{path.name}{where}: is not in UTF-8; save it as CSV (UTF-8)") from error
    if "\0" in text:
        raise TableError(f"{path.name}: is no text; save it as CSV (UTF-8)")
    return text


def _records(path: Path, text: str, columns: Collection[str]) -> tuple[str, list[tuple[int, list[str]]]]:
    """Return what parts the columns, and the lines that hold something, each with its number."""
    first, skipped = text, 0
    told = _SEPARATOR.fullmatch(strip(re.split(r"\r|\n", text, maxsplit=1)[0].strip(" \"'")))
    separator = told[1] if told else None
    if told is None and re.match(r"\"?sep=\t", text, re.IGNORECASE):
        separator = "\t"
    if separator:
        first, skipped = re.sub(r"^[^\r\n]*(\r\n|\r|\n)?", "", text, count=1), 1
    tried = {each: _header(first, each) for each in ([separator] if separator else _DELIMITERS)}
    if not all(tried.values()):
        raise TableError(f"{path.name}: is empty; write a header and a row below it")
    known = set(columns)

    def fit(delimiter: str) -> tuple[int, int]:
        header = tried[delimiter]
        return sum(_key(each) in known for each in header), len(header)

    # A table of one column has the same header by each: the first then, which is the comma.
    delimiter = max(tried, key=fit)
    return delimiter, list(_parse(path, first, delimiter, skipped))


def _header(text: str, delimiter: str) -> list[str]:
    """Return the first line's cells as a delimiter parts them, the wrong one too; none in an empty file."""
    try:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        return next(
            (cells for cells in ([_cell(each) for each in record] for record in records) if any(cells)), []
        )
    except csv.Error:
        return [text]


def _parse(path: Path, text: str, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    # Strict, because else a quote that is never closed makes one cell of all the rest.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    while True:
        line = reader.line_num + skipped + 1
        try:
            cells = [_cell(each) for each in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            told = "a quote is opened and not closed as it should be" if "expected" in str(error) else error
            if "end of data" in str(error):
                told = "a quote is opened and never closed"
            raise TableError(f"{path.name}, line {line}: cannot be read ({told})") from error
        if any(cells):
            yield line, cells


def _cell(text: str) -> str:
    text = strip(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = strip(text[1:-1])
    return from_text(text)


def _key(header: str) -> str:
    return re.sub(r"[\s_-]", "", fold(header))


def _names(path: Path, line: int, header: Sequence[str]) -> list[str]:
    names: list[str] = []
    for place, own in enumerate(header):
        name = _key(own) or f" {place}"  # no header's own
        if name in names:
            raise TableError(
                f"{path.name}, line {line}: the columns {header[names.index(name)]!r} and {own!r} have one "
                "name; keep one of them"
            )
        names.append(name)
    return names


def _ragged(path: Path, line: int, cells: Sequence[str], names: Sequence[str], delimiter: str) -> str:
    told = f"{path.name}, line {line}: has {len(cells)} cells, and the header {len(names)}"
    if len(cells) > len(names):
        what = "a cell or number that holds a comma" if delimiter == "," else "such a cell"
        return f"{told}; put {what} into quotes, or name the column"
    other = next(
        (each for each in _DELIMITERS if each != delimiter and any(each in cell for cell in cells)), ""
    )
    if other:
        return (
            f"{told}; the header's are parted by {_DELIMITER_NAMES[delimiter]} and these by "
            f"{_DELIMITER_NAMES[other]}"
        )
    return f"{told}; a cell without a value needs its {_DELIMITER_NAMES[delimiter][:-1]} too"


def _decimal_mark(path: Path, rows: Sequence[Row], columns: Sequence[str], delimiter: str) -> str:
    """Return what decimals stand behind, refused where it cannot be told from what parts thousands."""
    if delimiter == ",":
        return "."
    sure: dict[str, Row] = {}
    unsure: dict[str, tuple[Row, str]] = {}
    for row in rows:
        for column in columns:
            text = row[column]
            mark = next((each for each in ".," if each in text), None)
            if mark is None or not _NUMBER.fullmatch(text):
                continue
            # Where tabs part the columns a point is no sign of a country.
            if _THOUSANDS.fullmatch(text) and not (mark == "." and delimiter == "\t"):
                unsure.setdefault(mark, (row, text))
            else:
                sure.setdefault(mark, row)
    if len(sure) == 2:
        raise TableError(
            f"{path.name}: line {sure['.'].line} has a decimal point and line {sure[','].line} a decimal "
            "comma; write all numbers in one way"
        )
    for mark, (row, text) in unsure.items():
        if mark not in sure:
            raise TableError(
                f"{path.name}, line {row.line}: {text} may be {text.replace(',', '.')} or "
                f"{re.sub('[.,]', '', text)}; write it without a mark of thousands, or with other decimals"
            )
    return next(iter(sure), ".")
