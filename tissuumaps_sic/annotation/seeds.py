"""Seeds from files: a session, or a CSV that a person or a script wrote."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tissuumaps_sic.annotation.classes import (
    DEFAULT_CLASSES,
    FEWEST_CLASSES,
    MOST_CLASSES,
    SeedClass,
    make_class,
    next_color,
)
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.store import load_session
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.provenance import MAIN, read_provenance
from tissuumaps_sic.slidefile.spelling import fold, join_names, strip
from tissuumaps_sic.slidefile.tables import Row, Table, TableError, read_table
from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

_COLUMNS = ("class", "patch", "x", "y")
# What `suggest` writes beside them, for people.
_TOLD = ("why",)
# Corners and centres of patches are rounded to whole pixels.
_ROUNDED = 1.0


@dataclass(frozen=True)
class Seeds:
    """Seeded patches of one slide.

    Attributes
    ----------
    classes : tuple of SeedClass
        Class 1 is the positive one.
    patches : mapping of str to int
        Class of each seeded patch by the patch's name.
    method : "sic" or "refine"
        That of a session's last run; the default one where there was none.
    embedding : str
        That of a session's last run; "X" where there was none.
    border : float or None
        That of a session's last run.
    """

    classes: tuple[SeedClass, ...]
    patches: Mapping[str, int]
    method: Method = DEFAULT_METHOD
    embedding: str = MAIN
    border: float | None = None


def read_seeds(path: Path, slide: EmbeddedSlide, *, positive: str | None = None) -> Seeds:
    """Read seeds of a slide.

    Parameters
    ----------
    path : Path
        A session (``.json``), whose present seeds are taken; or a CSV (`read_table`) with a column ``class``
        and either ``patch`` (names as in ``obs``) or ``x`` and ``y`` (a point inside the patch, level-0
        pixels). The classes of a CSV are 0 and 1, or names.
    slide : EmbeddedSlide
    positive : str, optional
        Which of two class names in a CSV is the positive class; not needed for 0 and 1, or for
        three or more.

    Raises
    ------
    SessionError
        When the file cannot be read or does not fit the slide. Of a CSV, a line is refused that names no
        patch of the slide, or gives a patch another class than an earlier line does.
    """
    if path.suffix.lower() == ".json":
        return _of_session(path, slide, positive)
    if path.name.lower().endswith((".geojson", ".geojson.gz", ".h5ad")):
        raise SessionError(
            f"{path.name}: seeds are a session (.json), or a CSV with the columns patch,class or x,y,class"
        )
    try:
        table = read_table(path, (*_COLUMNS, *_TOLD), numbers=("x", "y"))
        _check_columns(table)
        table.tell_others()
        names = _class_names(table)
        classes = _classes(path, sorted(set(names)), positive)
        labels = {fold(each.name): label for label, each in enumerate(classes)}
        if classes == DEFAULT_CLASSES:
            labels |= {"0": 0, "1": 1}
        return Seeds(classes, _patches(table, slide, [labels[fold(name)] for name in names]))
    except TableError as error:
        raise SessionError(str(error)) from error


def _of_session(path: Path, slide: EmbeddedSlide, positive: str | None) -> Seeds:
    session = load_session(path, slide)
    if positive is not None and fold(positive) != fold(session.classes[1].name):
        raise SessionError(
            f"{path.name}: the positive class of a session is its own, {session.classes[1].name}; leave "
            "--positive out"
        )
    if session.run is None:
        return Seeds(session.classes, session.seeds)
    last = session.run
    return Seeds(session.classes, session.seeds, last.method, last.embedding, last.border)


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


def _class_names(table: Table) -> list[str]:
    """Return the class of each row as its first row spells it; two spellings of one are refused."""
    first: dict[str, tuple[Row, str]] = {}
    names = []
    for row in table.rows:
        # Programs that keep numbers as floats write 1.0.
        name = re.sub(r"^(\d+)\.0*$", r"\1", row["class"])
        if not name or name.casefold() == "nan" or name in _MISSING:
            raise table.error(row, f"has no class ({row['class']!r}); give one, or leave the line out")
        if re.fullmatch(r"-\d+(\.0*)?", name):
            raise table.error(row, f"{name} is no class; leave out patches that are no seeds")
        known, spelling = first.setdefault(fold(name), (row, name))
        if spelling != name:
            raise table.error(
                row,
                f"the class is spelt {name!r}, and {spelling!r} in line {known.line}; spell it in one way",
            )
        names.append(name)
    return names


def _class_of(path: Path, name: str, color: str) -> SeedClass:
    try:
        return make_class(name, color)
    except SessionError as error:
        raise SessionError(f"{path.name}: {error}") from error


def _classes(path: Path, names: Sequence[str], positive: str | None) -> tuple[SeedClass, ...]:
    # How the file spells the class that is asked for.
    wanted = next((name for name in names if positive is not None and fold(name) == fold(positive)), None)
    if set(names) <= {"0", "1"}:
        if positive is not None and fold(positive) not in ("1", fold(DEFAULT_CLASSES[1].name)):
            raise SessionError(
                f"{path.name}: its classes are 0 and 1, of which 1 is the positive one; leave --positive "
                f"{positive!r} out, or exchange the two"
            )
        return DEFAULT_CLASSES
    if positive is not None and wanted is None:
        raise SessionError(
            f"{path.name}: has no class {strip(positive)!r} (--positive); its classes are {join_names(names)}"
        )
    if len(names) < FEWEST_CLASSES or len(names) > MOST_CLASSES:
        raise SessionError(
            f"{path.name}: has {len(names)} classes ({', '.join(names)[:100]}); give seeds of two or more, "
            f"{MOST_CLASSES} at most"
        )
    if len(names) > FEWEST_CLASSES:
        classes: tuple[SeedClass, ...] = ()
        for name in names:
            color = DEFAULT_CLASSES[len(classes)].color if len(classes) < 2 else next_color(classes)
            classes += (_class_of(path, name, color),)
        return classes
    if wanted is None:
        raise SessionError(
            f"{path.name}: say which of the classes {' and '.join(names)} is the positive one "
            f"(--positive {names[0]!r})"
        )
    other = next(name for name in names if name != wanted)
    return tuple(
        _class_of(path, name, known.color)
        for name, known in zip((other, wanted), DEFAULT_CLASSES, strict=True)
    )


def _patches(table: Table, slide: EmbeddedSlide, labels: Sequence[int]) -> dict[str, int]:
    """Return the class of each patch that a row names; what contradicts an earlier row is refused."""
    finder = _PatchFinder(table, slide)
    seeded: dict[str, tuple[Row, int]] = {}
    repeated = 0
    for row, label in zip(table.rows, labels, strict=True):
        patch = finder.find(row)
        if patch not in seeded:
            seeded[patch] = row, label
            continue
        known, its_label = seeded[patch]
        if its_label != label:
            raise table.error(
                row,
                f"gives patch {patch} the class {row['class']}, and line {known.line} {known['class']}; "
                "leave one",
            )
        repeated += 1
    if repeated:
        log.warning("%s: %d lines are of a patch that an earlier one seeds alike", table.path.name, repeated)
    return {patch: label for patch, (_, label) in seeded.items()}


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
            what = f"no patch named {given}" if given else "no patch of an empty name"
            raise self._table.error(row, f"{slide.path.name} has {what}; the seeds were made on another file")
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
                    row, f"{slide.path.name}: no patch at x {at[0]:g}, y {at[1]:g}, only beside it"
                )
            log.warning(
                "%s, line %d: x %g, y %g may lie beside patch %s, which is the nearest; %s tells no size of "
                "a patch",
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
