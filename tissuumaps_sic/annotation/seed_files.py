"""Seeds that were made elsewhere: drawings, masks and tables, opened, and laid over a slide by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.classes import (
    DEFAULT_CLASSES,
    MOST_CLASSES,
    SeedClass,
    make_class,
    next_color,
    require_room,
)
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.seed_tables import class_names_in, patches_in, read_seed_table
from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Areas
from tissuumaps_sic.slidefile.areas.files import DRAWINGS, is_drawing, read_drawings
from tissuumaps_sic.slidefile.areas.masks import MASKS, N_VALUES, open_mask
from tissuumaps_sic.slidefile.areas.xml_values import color_of
from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.spelling import fold, join_names
from tissuumaps_sic.slidefile.tables import Table, TableError, read_table
from tissuumaps_sic.truth.claims import Claims, claim_by_areas, claim_by_raster
from tissuumaps_sic.truth.classes import OTHERS, TruthClasses, TruthError
from tissuumaps_sic.truth.rasters import open_mask_raster
from tissuumaps_sic.truth.squares import PatchSquares, patch_squares

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

# By its name, what a file of seeds may be.
TABLES = (".csv", ".tsv", ".txt")
SEED_FILES = TABLES + DRAWINGS + MASKS
# From which share of a patch on a drawing makes it a seed.
INSIDE = 0.5


@dataclass(frozen=True)
class FileClass:
    """A class as a file has it.

    Attributes
    ----------
    name : str
        "" is what has no class.
    also : tuple of str
        What it may be called besides: ``Tumor`` where the name is ``Tumor: Positive``.
    color : str or None
        ``#rrggbb``, where the file tells one.
    count : int
        Its drawings or rows; 0 where that says nothing, as of a mask's values.
    left_out : str
        Why nothing of it is taken unless it is asked for, in words; "" where it is.
    number : int or None
        Which of a session's first two classes a table means by it that has 0 and 1.
    """

    name: str
    also: tuple[str, ...] = ()
    color: str | None = None
    count: int = 0
    left_out: str = ""
    number: int | None = None

    @property
    def key(self) -> str:
        """What it is known by, however it is spelt."""
        return fold(self.name)


class SeedFile(Protocol):
    """A file of seeds that is open."""

    @property
    def name(self) -> str:
        """The file's name."""

    @property
    def classes(self) -> tuple[FileClass, ...]:
        """The classes that the file has."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What of it was left out when it was read, in words."""

    @property
    def from_bounds(self) -> bool | None:
        """Whether it counts from the corner of the slide's scanned part; None where that is the slide's."""

    def claim(self, labels: Mapping[str, int], inside: float) -> Claims:
        """Return which patches have which class.

        Parameters
        ----------
        labels : mapping of str to int
            The number of each class that is taken, by `FileClass.key`.
        inside : float
            From which share of a patch on a drawing or value makes it a seed, above 0 to 1.
        """


@dataclass(frozen=True)
class Listed:
    """What became of a class of a file.

    Attributes
    ----------
    of : FileClass
    target : str or None
        The class that its seeds have; None where it is left out.
    n_seeds : int
    """

    of: FileClass
    target: str | None
    n_seeds: int


@dataclass(frozen=True)
class Brought:
    """What a file of seeds gives a slide.

    Attributes
    ----------
    classes : tuple of SeedClass
        Those that were known before, then new ones.
    labels : ndarray of shape (n_patches,), int64
        Which of `classes` each patch has; -1 where it is no seed.
    listed : tuple of Listed
        The classes of the file.
    told : tuple of str
        What was left out, and why, a sentence each without a full stop.
    """

    classes: tuple[SeedClass, ...]
    labels: npt.NDArray[np.int64]
    listed: tuple[Listed, ...]
    told: tuple[str, ...]

    @property
    def counts(self) -> list[int]:
        """How many seeds each of `classes` has."""
        counts: list[int] = np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes)).tolist()
        return counts


def open_seed_file(
    path: Path, slide: EmbeddedSlide, *, from_bounds: bool | None = None, most_pixels: int | None = None
) -> SeedFile:
    """Open what another program made of a slide.

    Parameters
    ----------
    path : Path
        Drawings (`read_drawings`), a mask (`open_mask`), or a table (`read_seed_table`).
    slide : EmbeddedSlide
    from_bounds : bool, optional
        Whether drawings count from the corner of the slide's scanned part; by default as the program does
        that writes such files: QuPath does, others do not.
    most_pixels : int, optional
        A mask of more is refused.

    Returns
    -------
    SeedFile

    Raises
    ------
    SessionError
        When it cannot be read, or does not fit the slide.
    """
    try:
        if is_drawing(path):
            return _open_drawings(path, slide, from_bounds)
        if path.suffix.lower() in MASKS:
            return _open_mask(path, slide, most_pixels)
        if path.suffix.lower() == ".h5ad":
            raise SessionError(
                f"{path.name}: is not a file of seeds; give drawings, a mask, a session (.json), or a CSV "
                "with the columns patch,class or x,y,class"
            )
        table = read_seed_table(path)
        return _SeedTable(table, tuple(class_names_in(table)), slide)
    except (AreaError, TruthError, TableError) as error:
        raise SessionError(str(error)) from error


def read_renaming(path: Path) -> dict[str, str | None]:
    """Read which class each class of a file becomes, by `fold` of its name; None is left out.

    Parameters
    ----------
    path : Path
        A table with the columns ``from`` and ``to``. An empty ``from`` is what has no class, an empty ``to``
        leaves the class out.

    Returns
    -------
    dict of str to str or None

    Raises
    ------
    SessionError
        When it cannot be read, or names a class twice.
    """
    try:
        table = read_table(path, ("from", "to"))
        _require_renaming(table)
        renaming: dict[str, str | None] = {}
        for row in table.rows:
            if fold(row["from"]) in renaming:
                raise table.error(row, f"{row['from'] or 'no class'} is in an earlier line already; keep one")
            renaming[fold(row["from"])] = row["to"] or None
    except TableError as error:
        raise SessionError(str(error)) from error
    return renaming


def _require_renaming(table: Table) -> None:
    if {"from", "to"} - set(table.columns):
        raise TableError(
            f"{table.path.name}: needs the columns from,to in its first line: a class of the file, and the "
            "class that it becomes"
        )


def bring_seeds(
    file: SeedFile,
    known: Sequence[SeedClass],
    *,
    renaming: Mapping[str, str | None] | None = None,
    inside: float = INSIDE,
) -> Brought:
    """Lay a file of seeds over its slide.

    A class of the file is the known one of that name, however it is spelt, and else a new one in the file's
    colour. What has no class, what QuPath itself ignores (names that end in ``*``) and a mask's 0 are left
    out.

    Parameters
    ----------
    file : SeedFile
    known : sequence of SeedClass
        The classes there are.
    renaming : mapping of str to (str or None), optional
        Which class those of the file become, by `fold` of their names; None leaves one out.
    inside : float, default=0.5
        From which share of a patch on a drawing or a value makes it a seed, above 0 to 1.

    Returns
    -------
    Brought

    Raises
    ------
    SessionError
        When the file does not fit the slide, or a name cannot be that of a class.
    """
    targets = [_find_target(each, known, renaming or {}) for each in file.classes]
    classes = _with_new(file, known, targets)
    number_of = {fold(each.name): number for number, each in enumerate(classes)}
    taken = {
        each.key: number_of[fold(target)]
        for each, target in zip(file.classes, targets, strict=True)
        if target is not None
    }
    try:
        claims = file.claim(taken, inside)
        alone = _count_alone(file, claims, taken, inside)
    except (AreaError, TruthError, TableError) as error:
        raise SessionError(str(error)) from error
    listed = tuple(
        Listed(
            each,
            None if target is None else classes[number_of[fold(target)]].name,
            alone.get(each.key, 0),
        )
        for each, target in zip(file.classes, targets, strict=True)
    )
    told = (
        *file.notes,
        *_tell_left_out(listed),
        *_tell_claims(claims, inside),
        *_tell_unknown(file, renaming or {}),
    )
    return Brought(classes, claims.labels, listed, told)


def _count_alone(
    file: SeedFile, claims: Claims, taken: Mapping[str, int], inside: float
) -> Mapping[str, int]:
    """Return how many seeds each class of the file has by itself, where several become one."""
    if claims.alone is not None:
        return claims.alone
    if len(set(taken.values())) < len(taken):
        taken = dict(zip(taken, range(len(taken)), strict=True))
        claims = file.claim(taken, inside)
    return {key: int((claims.labels == label).sum()) for key, label in taken.items()}


def _find_target(
    each: FileClass, known: Sequence[SeedClass], renaming: Mapping[str, str | None]
) -> str | None:
    names = [fold(name) for name in (each.name, *each.also)]
    renamed = next((name for name in names if name in renaming), None)
    if renamed is not None:
        return renaming[renamed]
    if each.left_out:
        return None
    if each.number is not None:
        return (known or DEFAULT_CLASSES)[each.number].name
    named = {fold(one.name): one.name for one in reversed(known)}
    return next((named[name] for name in names if name in named), each.name)


def _with_new(
    file: SeedFile, known: Sequence[SeedClass], targets: Sequence[str | None]
) -> tuple[SeedClass, ...]:
    """Return the known classes, and those of the targets that are none yet."""
    classes = list(known)
    for each, target in zip(file.classes, targets, strict=True):
        if target is None or fold(target) in {fold(one.name) for one in classes}:
            continue
        color = each.color
        if each.number is not None:
            color = DEFAULT_CLASSES[each.number].color
        if color is None or color in {one.color for one in classes}:
            color = next_color(classes)
        try:
            classes.append(make_class(target, color))
        except SessionError as error:
            raise SessionError(f"{file.name}: {error}") from error
    require_room(len(classes), file.name)
    return tuple(classes)


def _tell_left_out(listed: Sequence[Listed]) -> list[str]:
    told = []
    for each in listed:
        what = f"class {each.of.name}" if each.of.name else "what has no class"
        if each.of.count:
            drawn = f"{each.of.count} drawing{'s' if each.of.count > 1 else ''}"
            what = f"{drawn} of class {each.of.name}" if each.of.name else f"{drawn} without a class"
        if each.target is None:
            why = f" ({each.of.left_out})" if each.of.left_out and each.of.name else ""
            told.append(f"left out {what}{why}")
        elif not each.n_seeds:
            told.append(f"no seed from {what}")
    return told


def _tell_claims(claims: Claims, inside: float) -> list[str]:
    def patches(n: int) -> str:
        return f"{n:,} patch{'es' if n > 1 else ''}"

    told = []
    if claims.n_off:
        told.append(f"{claims.n_off:,} drawing{'s lie' if claims.n_off > 1 else ' lies'} on no patch")
    if claims.n_partial:
        told.append(f"left out {patches(claims.n_partial)} less than {100 * inside:g}% inside a drawing")
    if claims.n_nested:
        told.append(f"for {patches(claims.n_nested)} in drawings of two classes, the smaller drawing counts")
    if claims.n_left_out:
        told.append(f"left out {patches(claims.n_left_out)} in drawings that are left out")
    if claims.n_tied:
        told.append(f"left out {patches(claims.n_tied)} that two classes cover alike")
    return told


def _tell_unknown(file: SeedFile, renaming: Mapping[str, str | None]) -> list[str]:
    there = {fold(name) for each in file.classes for name in (each.name, *each.also)}
    unknown = [name for name in renaming if name not in there]
    names = join_names(each.name for each in file.classes if each.name)
    return [f"has no class {join_names(unknown)} to rename; its classes are {names}"] if unknown else []


# ---------------------------------------------------------------------------------------------- drawings


@dataclass(frozen=True)
class _Drawings:
    """Polygons and points over a slide."""

    drawn: Areas
    squares: PatchSquares
    offset: tuple[float, float]
    cell: float
    classes: tuple[FileClass, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.drawn.name

    @property
    def from_bounds(self) -> bool | None:
        bounds = self.squares.bounds
        return self.drawn.from_bounds if bounds and any(bounds[:2]) else None

    def claim(self, labels: Mapping[str, int], inside: float) -> Claims:
        areas: list[tuple[int, Area]] = []
        left_out: list[Area] = []
        for area in self.drawn.areas:
            key = fold(area.values[0] if area.values else "")
            if key in labels:
                areas.append((labels[key], area))
            elif area.classed:
                # Dead tissue within a tumour is none of the tumour's; what has no class says nothing.
                left_out.append(area)
        return claim_by_areas(
            self.name,
            areas,
            self.squares,
            left_out=left_out,
            offset=self.offset,
            inside=inside,
            cell=self.cell,
        )


def _open_drawings(path: Path, slide: EmbeddedSlide, from_bounds: bool | None) -> _Drawings:
    squares = patch_squares(slide)
    drawn = read_drawings(path, stage=squares.stage)
    if from_bounds is not None:
        drawn = replace(drawn, from_bounds=from_bounds)
    offset = squares.place_origin(drawn)
    n_outside = drawn.check_place(squares.slide_size, offset) if squares.slide_size else 0
    notes = [f"left out {drawn.left_out}"] if drawn.left_out else []
    if n_outside:
        notes.append(f"{n_outside:,} drawing{'s lie' if n_outside > 1 else ' lies'} outside the slide")
    return _Drawings(drawn, squares, offset, slide.spacing, _classes_of(drawn), tuple(notes))


def _classes_of(drawn: Areas) -> tuple[FileClass, ...]:
    found: dict[str, FileClass] = {}
    for area in drawn.areas:
        name, also = (area.values[0], area.values[1:]) if area.values else ("", ())
        why = "" if area.classed else "it is a name, not a class"
        if name.endswith(OTHERS):
            why = f"QuPath ignores names that end in {OTHERS}"
        known = found.get(fold(name), FileClass(name, also, left_out=why))
        found[fold(name)] = FileClass(
            known.name,
            known.also,
            known.color or area.color,
            known.count + len(area.polygons) + len(area.points),
            # Named as others are classed, it is one of that class.
            known.left_out and why,
        )
    return tuple(sorted(found.values(), key=lambda each: each.name))


# ------------------------------------------------------------------------------------------------- masks


@dataclass(frozen=True)
class _Mask:
    """A mask over a slide."""

    path: Path
    squares: PatchSquares
    classes: tuple[FileClass, ...]
    values: Mapping[str, int]
    notes: tuple[str, ...] = ()
    from_bounds: None = None

    @property
    def name(self) -> str:
        return self.path.name

    def claim(self, labels: Mapping[str, int], inside: float) -> Claims:
        n_classes = max(labels.values(), default=-1) + 1
        of_values = {str(self.values[key]): label for key, label in labels.items()}
        named = TruthClasses(tuple(map(str, range(n_classes))), of_values)
        return claim_by_raster(
            open_mask_raster(self.path, self.squares, named), self.squares, n_classes, inside=inside
        )


def _open_mask(path: Path, slide: EmbeddedSlide, most_pixels: int | None) -> _Mask:
    squares = patch_squares(slide)
    image = open_mask(path, most=most_pixels)
    if squares.slide_size is None:
        raise SessionError(
            f"{path.name}: the slide's h5ad does not say the size of level 0, so that a mask cannot be laid "
            "over it; embed the slide again"
        )
    met = np.zeros(N_VALUES, bool)
    for strip in image.strips():
        met[strip] = True
    values = np.flatnonzero(met).tolist()
    if len(values) > MOST_CLASSES + 1:
        raise SessionError(
            f"{path.name}: has {len(values)} values, and a mask of classes has {MOST_CLASSES} at most; give "
            "one whose values are classes, and not cells or glands by number"
        )
    named = _names_of_values(image.description)
    classes = {
        value: FileClass(
            named.get(value, (str(value), None))[0],
            color=named.get(value, ("", None))[1],
            left_out="the background" if value == 0 else "",
        )
        for value in values
    }
    if len({each.key for each in classes.values()}) < len(classes):
        classes = {value: replace(each, name=str(value)) for value, each in classes.items()}
    return _Mask(path, squares, tuple(classes.values()), {each.key: value for value, each in classes.items()})


def _names_of_values(description: str) -> dict[int, tuple[str, str | None]]:
    """Return name and colour of the values of a mask that `export` wrote; of others nothing is known."""
    try:
        told = parse_json(description)
        values, colors = told["values"], told["colors"]
        return {
            int(value): (str(name), color_of(str(colors.get(value))))
            for value, name in values.items()
            if int(value)
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


# ------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class _SeedTable:
    """A table over a slide."""

    table: Table
    names: tuple[str, ...]
    slide: EmbeddedSlide
    notes: tuple[str, ...] = ()
    from_bounds: None = None

    @property
    def name(self) -> str:
        return self.table.path.name

    @property
    def classes(self) -> tuple[FileClass, ...]:
        there = sorted(set(self.names))
        is_binary = set(there) <= {"0", "1"}
        return tuple(FileClass(each, number=int(each) if is_binary else None) for each in there)

    def claim(self, labels: Mapping[str, int], inside: float) -> Claims:  # noqa: ARG002 -- rows are whole patches
        found = np.full(self.slide.n_patches, -1, np.int64)
        keys = [fold(name) for name in self.names]
        patches = patches_in(self.table, self.slide, [labels.get(key) for key in keys])
        # A patch that two rows give one class is one seed of it.
        seeds = {(key, patch) for key, patch in zip(keys, patches, strict=True) if patch is not None}
        for key, patch in seeds:
            found[self.slide.index[patch]] = labels[key]
        return Claims(found, alone=Counter(key for key, _ in seeds))
