"""What DICOM calls the classes: a table of codes that a person can extend."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.slidefile.spelling import fold
from tissuumaps_sic.slidefile.tables import TableError, read_table

TABLE = Path(__file__).with_name("codes.csv")
_PARTS = ("scheme", "value", "meaning")
_COLUMNS = ("class", *(f"{what}_{part}" for what in ("category", "type") for part in _PARTS))
# Of codes of one's own DICOM asks that they begin with 99.
_OWN_SCHEME = "99SIC"
# What DICOM has room for.
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64


@dataclass(frozen=True)
class DicomCode:
    """A code of a terminology, such as SNOMED CT.

    Attributes
    ----------
    scheme : str
        Such as "SCT"; up to 16 characters, as `value`.
    value : str
    meaning : str
        In words, up to 64 characters.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class ClassCodes:
    """What a class is, in DICOM's words.

    Attributes
    ----------
    category, type : DicomCode
        Of the annotated property.
    """

    category: DicomCode
    type: DicomCode


_TISSUE = DicomCode("SCT", "85756007", "Tissue")


def read_codes(path: Path | None = None) -> dict[str, ClassCodes]:
    """Return the codes of classes, by their folded names: those of `TABLE`, and of a table of one's own.

    Parameters
    ----------
    path : Path, optional
        A CSV with the columns class, category_scheme, category_value, category_meaning, type_scheme,
        type_value and type_meaning. Its rows go before those of `TABLE`.

    Returns
    -------
    dict of str to ClassCodes

    Raises
    ------
    ExportError
        When the table cannot be read, or a cell is empty or longer than DICOM has room for.
    """
    codes: dict[str, ClassCodes] = {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for cells in csv.DictReader(file):
            codes[fold(cells["class"])] = _codes(cells)
    if path is None:
        return codes
    # As tables that people make have them.
    keys = {name: name.replace("_", "") for name in _COLUMNS}
    try:
        table = read_table(path, keys.values())
    except TableError as error:
        raise ExportError(str(error)) from error
    missing = [name for name in _COLUMNS if keys[name] not in table.columns]
    if missing:
        raise ExportError(
            f"{path.name}: has no column {', '.join(missing)}; give the columns {', '.join(_COLUMNS)}"
        )
    for row in table.rows:
        cells = {name: row[key] for name, key in keys.items()}
        for name, cell in cells.items():
            most = _LONGEST_VALUE if name.endswith(("scheme", "value")) else _LONGEST_MEANING
            if not cell or len(cell) > most or "\\" in cell:
                raise ExportError(
                    f"{path.name}, line {row.line}: {name} is {cell!r}; give 1 to {most} characters other "
                    "than \\"
                )
        codes[fold(cells["class"])] = _codes(cells)
    return codes


def codes_of(name: str, known: dict[str, ClassCodes]) -> ClassCodes:
    """Return the codes of a class; one that is in no table has a code of our own, the same on every slide.

    Parameters
    ----------
    name : str
    known : dict of str to ClassCodes

    Returns
    -------
    ClassCodes
    """
    if (codes := known.get(fold(name))) is not None:
        return codes
    digest = hashlib.sha256(fold(name).encode()).hexdigest()[:10].upper()
    return ClassCodes(_TISSUE, DicomCode(_OWN_SCHEME, f"SIC{digest}", plain(name)))


def plain(text: str) -> str:
    r"""Return a text as DICOM's short strings take it: ``\`` would part it into several.

    >>> plain("in situ\\invasive")
    'in situ/invasive'

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return text.replace("\\", "/")[:_LONGEST_MEANING]


def _codes(cells: dict[str, str]) -> ClassCodes:
    category, kind = (
        DicomCode(*(cells[f"{what}_{part}"] for part in _PARTS)) for what in ("category", "type")
    )
    return ClassCodes(category, kind)
