"""Seeds from files: a session, or what a person, a script or another program made."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tissuumaps_sic.annotation.bringing import Brought, bring_seeds
from tissuumaps_sic.annotation.classes import (
    DEFAULT_CLASSES,
    FEWEST_CLASSES,
    MOST_CLASSES,
    SeedClass,
)
from tissuumaps_sic.annotation.colors import choose_color
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.seed_files import INSIDE, TABLES, open_seed_file
from tissuumaps_sic.annotation.store import load_session
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.slidefile.spelling import fold, join_names, strip

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

# How seeds are called after their slide's name, in the order of looking; a bare image is often the slide.
_ENDINGS = (
    *(".geojson", ".geojson.gz", ".json", ".json.gz", ".xml", ".ndpa", ".ndpi.ndpa", ".csv", ".tsv"),
    *("_mask.png", "_mask.tif", "_mask.tiff"),
)
# By what a GeoJSON is told from a session, in so much of its beginning.
_LOOKED_AT = 1 << 16
_SESSION = re.compile(rb'"schema"\s*:\s*"tissuumaps-sic/')
_GEOJSON = re.compile(rb'"type"\s*:\s*"(Feature|FeatureCollection|GeometryCollection|(Multi)?P[a-z]+)"')
_DEFAULT_NAMES = (None, *(each.name for each in DEFAULT_CLASSES))


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


def read_seeds(
    path: Path | str,
    slide: EmbeddedSlide,
    *,
    positive: str | None = None,
    renaming: Mapping[str, str | None] | None = None,
    inside: float = INSIDE,
    from_bounds: bool | None = None,
) -> Seeds:
    """Read seeds of a slide.

    Parameters
    ----------
    path : Path
        One of

        - a session (``.json``), whose present seeds are taken;
        - a CSV (`read_table`) with a column ``class`` and either ``patch`` (names as in ``obs``) or ``x`` and
          ``y`` (a point inside the patch, level-0 pixels); its classes are 0 and 1, or names;
        - drawings: QuPath's GeoJSON, the XML of ASAP or ImageScope, or NDP.view's ``.ndpa``. A patch is a
          seed of the class that covers `inside` of it, of drawings over each other the smaller; and of the
          class of a point in its cell;
        - a mask (PNG, TIFF, BMP), whose values are classes, 0 none.
    slide : EmbeddedSlide
    positive : str, optional
        Which of two class names is the positive class; not needed for 0 and 1, or for three or more.
    renaming : mapping of str to (str or None), optional
        As for `bring_seeds`; not for a session.
    inside : float, default=0.5
        From which share of a patch on a drawing makes it a seed.
    from_bounds : bool, optional
        Whether drawings count from the corner of the slide's scanned part; by default QuPath's do.

    Returns
    -------
    Seeds
        The classes, and the class of each seeded patch by the patch's name.

    Raises
    ------
    SessionError
        When the file cannot be read or does not fit the slide. Of a CSV, a line is refused that names no
        patch of the slide, or gives a patch another class than an earlier line does.
    """
    path = Path(path)
    if is_session(path):
        if renaming:
            raise SessionError(f"{path.name}: is a session, whose classes are its own; leave --classes out")
        return _of_session(path, slide, positive)
    file = open_seed_file(path, slide, from_bounds=from_bounds)
    brought = bring_seeds(file, (), renaming=renaming, inside=inside)
    tell_brought(path.name, brought)
    return _of_brought(path, slide, brought, positive)


@dataclass(frozen=True)
class SeedReading:
    """How files of seeds are read; goes to other processes.

    Attributes
    ----------
    positive, inside, from_bounds
        As for `read_seeds`.
    renaming : tuple of (str, str or None)
        As for `read_seeds`, as pairs.
    """

    positive: str | None = None
    renaming: tuple[tuple[str, str | None], ...] = ()
    inside: float = INSIDE
    from_bounds: bool | None = None

    def read(self, path: Path, slide: EmbeddedSlide) -> Seeds:
        """Return the seeds in a file; raises what `read_seeds` raises.

        Parameters
        ----------
        path : Path
        slide : EmbeddedSlide

        Returns
        -------
        Seeds
        """
        return read_seeds(
            path,
            slide,
            positive=self.positive,
            renaming=dict(self.renaming),
            inside=self.inside,
            from_bounds=self.from_bounds,
        )


def is_session(path: Path) -> bool:
    """Tell whether a file is to be read as a session: a ``.json`` that is no GeoJSON.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    if path.suffix.lower() != ".json":
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(_LOOKED_AT)
    except OSError:
        return True
    # A session may hold anything in a note, and tells its schema before.
    return bool(_SESSION.search(begin)) or not _GEOJSON.search(begin)


def find_seeds(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the seeds of a slide in a folder: the first file of one of its names; None without any.

    Parameters
    ----------
    folder : Path
    names : sequence of str

    Returns
    -------
    Path or None
    """
    paths = (folder / f"{name}{ending}" for name in names for ending in _ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def tell_brought(name: str, brought: Brought) -> None:
    """Log how many seeds a file gave each class, and what of it was left out."""
    counts = [f"{n:,} of {each.name}" for each, n in zip(brought.classes, brought.counts, strict=True)]
    # Who has written a table has counted its rows.
    if not name.lower().endswith(TABLES):
        log.info("%s: seeds: %s", name, join_names(counts))
    for told in brought.told:
        log.warning("%s: %s", name, told)


def _of_brought(path: Path, slide: EmbeddedSlide, brought: Brought, positive: str | None) -> Seeds:
    """Return seeds with the classes in the order that a run has: by name, of two the positive one second."""
    if all(each.of.number is not None and each.target in _DEFAULT_NAMES for each in brought.listed):
        if positive is not None and fold(positive) not in ("1", fold(DEFAULT_CLASSES[1].name)):
            raise SessionError(
                f"{path.name}: its classes are 0 and 1, of which 1 is the positive one; leave --positive "
                f"{positive!r} out, or exchange the two"
            )
        classes: tuple[SeedClass, ...] = DEFAULT_CLASSES
    else:
        seeded = [each for each, n in zip(brought.classes, brought.counts, strict=True) if n]
        colored = {each.target for each in brought.listed if each.of.color is not None}
        classes = _order(path, sorted(seeded, key=lambda each: each.name), positive, colored)
    label_of = {each.name: label for label, each in enumerate(classes)}
    return Seeds(
        classes,
        {
            str(slide.patch_names[row]): label_of[brought.classes[brought.labels[row]].name]
            for row in np.flatnonzero(brought.labels >= 0).tolist()
        },
    )


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


def _order(
    path: Path, seeded: Sequence[SeedClass], positive: str | None, colored: Collection[str | None]
) -> tuple[SeedClass, ...]:
    """Return classes in their order; those that are not `colored` by the file have the usual colours."""
    names = [each.name for each in seeded]
    # How the file spells the class that is asked for.
    wanted = next((name for name in names if positive is not None and fold(name) == fold(positive)), None)
    if positive is not None and wanted is None:
        raise SessionError(
            f"{path.name}: has no class {strip(positive)!r} (--positive); its classes are {join_names(names)}"
        )
    if not FEWEST_CLASSES <= len(names) <= MOST_CLASSES:
        n_classes = "1 class" if len(names) == 1 else f"{len(names)} classes"
        raise SessionError(
            f"{path.name}: has seeds of {n_classes} ({', '.join(names)[:100]}); give seeds of "
            f"{FEWEST_CLASSES} to {MOST_CLASSES} classes"
        )
    if len(names) == FEWEST_CLASSES:
        if wanted is None:
            raise SessionError(
                f"{path.name}: say which of the classes {' and '.join(names)} is the positive one "
                f"(--positive {names[0]!r})"
            )
        seeded = sorted(seeded, key=lambda each: each.name == wanted)
    classes: list[SeedClass] = []
    taken = {each.color for each in seeded if each.name in colored}
    for place, each in enumerate(seeded):
        usual = DEFAULT_CLASSES[place].color if place < len(DEFAULT_CLASSES) else ""
        if each.name in colored:
            classes.append(each)
            continue
        others = [*taken, *(one.color for one in classes)]
        color = usual if usual not in ("", *others) else choose_color(others)
        classes.append(SeedClass(name=each.name, color=color))
    return tuple(classes)
