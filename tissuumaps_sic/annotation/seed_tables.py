"""Seeds as tables: a row a patch, by its name or a place in it, and the class that it is given."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slidefile.spelling import fold, join_names, strip
from tissuumaps_sic.slidefile.tables import Row, Table, TableError, read_table

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

_COLUMNS = ("class", "patch", "x", "y")
# What `suggest` writes beside them, for people.
_TOLD = ("why",)
# Corners and centres of patches are rounded to whole pixels.
_ROUNDED = 1.0


def read_seed_table(path: Path) -> Table:
    """Read a table with a column ``class`` and either ``patch``, or ``x`` and ``y`` in level-0 pixels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Table

    Raises
    ------
    TableError
        When it cannot be read, or has not these columns.
    """
    table = read_table(path, (*_COLUMNS, *_TOLD), numbers=("x", "y"))
    _check_columns(table)
    table.tell_others()
    return table


# What R and spreadsheets write where there is nothing.
_MISSING = ("NA", "N/A", "<NA>", "#N/A")


def _check_columns(table: Table) -> None:
    known = set(table.columns)
    if "class" not in known or not ("patch" in known or {"x", "y"} <= known):
        has = [*table.columns.values(), *table.others.values()]
        raise TableError(
            f"{table.path.name}: its first line has {join_names(has)}; it must name the columns, and seeds "
            "need patch,class or x,y,class"
        )


def class_names_in(table: Table) -> list[str]:
    """Return the class of each row as its first row spells it; two spellings of one are refused.

    Parameters
    ----------
    table : Table

    Returns
    -------
    list of str
    """
    first: dict[str, tuple[Row, str]] = {}
    names = []
    for row in table.rows:
        # Programs that keep numbers as floats write 1.0.
        name = re.sub(r"^(\d+)\.0*$", r"\1", row["class"])
        if not name or name.casefold() == "nan" or name in _MISSING:
            raise table.error(row, f"has no class ({row['class']!r}); give one, or leave the line out")
        if re.fullmatch(r"-\d+(\.0*)?", name):
            raise table.error(row, f"{name} is not a class; leave out patches that are not seeds")
        known, spelling = first.setdefault(fold(name), (row, name))
        if spelling != name:
            raise table.error(
                row,
                f"the class is spelt {name!r}, and {spelling!r} in line {known.line}; spell it the same way",
            )
        names.append(name)
    return names


def patches_in(table: Table, slide: EmbeddedSlide, labels: Sequence[int | None]) -> list[str | None]:
    """Return the patch of each row that has a label; what contradicts an earlier row is refused.

    Parameters
    ----------
    table : Table
    slide : EmbeddedSlide
    labels : sequence of int or None

    Returns
    -------
    list of str or None
    """
    finder = _PatchFinder(table, slide)
    seeded: dict[str, tuple[Row, int]] = {}
    patches: list[str | None] = []
    repeated = 0
    for row, label in zip(table.rows, labels, strict=True):
        if label is None:
            patches.append(None)
            continue
        patch = finder.find(row)
        patches.append(patch)
        if patch not in seeded:
            seeded[patch] = row, label
            continue
        known, its_label = seeded[patch]
        if its_label != label:
            raise table.error(
                row,
                f"gives patch {patch} the class {row['class']}, and line {known.line} {known['class']}; "
                "keep one",
            )
        repeated += 1
    if repeated:
        lines = "1 line repeats" if repeated == 1 else f"{repeated:,} lines repeat"
        log.warning("%s: %s the seed of an earlier line", table.path.name, lines)
    return patches


class _PatchFinder:
    """Finds the patch of a row: by its name where the table has a column for names, else by its place."""

    def __init__(self, table: Table, slide: EmbeddedSlide) -> None:
        self._table, self._slide = table, slide
        self._has_places = {"x", "y"} <= set(table.columns)
        self._edges = read_provenance(slide.path).grid.patch0 if self._has_places else None
        self._by_name = {strip(name): name for name in slide.index}

    def find(self, row: Row) -> str:
        """Return the name of a row's patch; a row that fits none is a `TableError`."""
        return self._find_by_name(row) if "patch" in self._table.columns else self._find_by_place(row)

    def _find_by_name(self, row: Row) -> str:
        slide, given = self._slide, row["patch"]
        name = given if given in slide.index else self._by_name.get(strip(given))
        if name is None:
            what = f"no patch named {given}" if given else "no patch without a name"
            raise self._table.error(
                row, f"{slide.path.name} has {what}; give the file that the seeds were made on"
            )
        if self._has_places and (row["x"] or row["y"]):
            at = self._place(row)
            if not self._is_in(slide.index[name], at, self._edges or (slide.spacing, slide.spacing)):
                raise self._table.error(
                    row,
                    f"patch {name} is not at x {at[0]:g}, y {at[1]:g}; correct one, or leave the columns x "
                    "and y out",
                )
        return name

    def _find_by_place(self, row: Row) -> str:
        slide, at = self._slide, self._place(row)
        try:
            patch = slide.nearest(*at)
        except SlideFileError as error:
            raise self._table.error(row, str(error)) from error
        width, height = self._edges or (slide.spacing, slide.spacing)
        if not self._is_in(patch, at, (width / 2, height / 2)):
            if self._edges:
                raise self._table.error(
                    row,
                    f"{slide.path.name}: no patch at x {at[0]:g}, y {at[1]:g}, only beside it; give a place "
                    "inside a patch, in level-0 pixels",
                )
            log.warning(
                "%s, line %d: x %g, y %g may lie beside patch %s, which is the nearest; %s does not say how "
                "large its patches are",
                self._table.path.name,
                row.line,
                *at,
                slide.patch_names[patch],
                slide.path.name,
            )
        return str(slide.patch_names[patch])

    def _place(self, row: Row) -> tuple[float, float]:
        x, y = self._table.number(row, "x"), self._table.number(row, "y")
        if x < 0 or y < 0:
            raise self._table.error(
                row, f"x {x:g}, y {y:g} lies outside the slide; level-0 pixels count from 0"
            )
        return x, y

    def _is_in(self, patch: int, at: tuple[float, float], reach: tuple[float, float]) -> bool:
        across, down = np.abs(self._slide.centres[patch] - at).tolist()
        return bool(across <= reach[0] + _ROUNDED and down <= reach[1] + _ROUNDED)
