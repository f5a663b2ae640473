"""Seeds that were made elsewhere: drawings, masks and tables, opened, and laid over a slide by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tissuumaps_sic.annotation.classes import MOST_CLASSES
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.seed_tables import class_names_in, patches_in, read_seed_table
from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Areas
from tissuumaps_sic.slidefile.areas.files import DRAWINGS, is_drawing, read_drawings
from tissuumaps_sic.slidefile.areas.masks import MASKS, N_VALUES, open_mask
from tissuumaps_sic.slidefile.areas.xml_values import color_of
from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.spelling import fold
from tissuumaps_sic.slidefile.tables import Table, TableError
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

        Returns
        -------
        Claims
        """


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
