"""Seeds of other programs' files brought into a session: classes mapped, and what is left out told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.classes import (
    DEFAULT_CLASSES,
    SeedClass,
    make_class,
    next_color,
    require_room,
)
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.seed_files import INSIDE, FileClass, SeedFile
from tissuumaps_sic.slidefile.areas.area import AreaError
from tissuumaps_sic.slidefile.spelling import fold, join_names
from tissuumaps_sic.slidefile.tables import Table, TableError, read_table
from tissuumaps_sic.truth.claims import Claims
from tissuumaps_sic.truth.classes import TruthError


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
