"""Seeds from files: a session, or a CSV that a person or a script wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tissuumaps_sic.session import (
    DEFAULT_CLASSES,
    DEFAULT_METHOD,
    FEWEST_CLASSES,
    MOST_CLASSES,
    Method,
    SeedClass,
    SessionError,
    load_session,
    make_class,
    next_color,
)
from tissuumaps_sic.slides import MAIN, EmbeddedSlide, SlideFileError


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
        A session (``.json``), whose present seeds are taken; or a CSV with a column ``class`` and either
        ``patch`` (names as in ``obs``) or ``x`` and ``y`` (a point inside the patch, level-0 pixels). The
        classes of a CSV are 0 and 1, or names.
    slide : EmbeddedSlide
    positive : str, optional
        Which of two class names in a CSV is the positive class; not needed for 0 and 1, or for
        three or more.

    Raises
    ------
    SessionError
        When the file cannot be read or does not fit the slide.
    """
    if path.suffix == ".json":
        session = load_session(path, slide)
        if session.run is None:
            return Seeds(session.classes, session.seeds)
        last = session.run
        return Seeds(session.classes, session.seeds, last.method, last.embedding, last.border)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SessionError(f"{path.name}: cannot be read as seeds ({error})") from error
    if "class" not in table or not ({"patch"} <= set(table) or {"x", "y"} <= set(table)):
        raise SessionError(
            f"{path.name}: has the columns {', '.join(table.columns)}; "
            "seeds need the columns patch,class or x,y,class"
        )
    classes = _classes(path, sorted(set(table["class"])), positive)
    label_of = {seed_class.name: label for label, seed_class in enumerate(classes)}
    if classes == DEFAULT_CLASSES:
        label_of |= {"0": 0, "1": 1}
    if "patch" in table:
        names = list(table["patch"])
    else:
        names = [_patch_at(path, slide, x, y) for x, y in zip(table["x"], table["y"], strict=True)]
    return Seeds(classes, dict(zip(names, (label_of[name] for name in table["class"]), strict=True)))


def _classes(path: Path, names: list[str], positive: str | None) -> tuple[SeedClass, ...]:
    if set(names) <= {"0", "1"}:
        return DEFAULT_CLASSES
    if len(names) < FEWEST_CLASSES or len(names) > MOST_CLASSES:
        raise SessionError(
            f"{path.name}: has {len(names)} classes ({', '.join(names)[:100]}); give seeds of two or more, "
            f"{MOST_CLASSES} at most"
        )
    if len(names) > FEWEST_CLASSES:
        classes: tuple[SeedClass, ...] = ()
        for name in names:
            color = DEFAULT_CLASSES[len(classes)].color if len(classes) < 2 else next_color(classes)
            classes += (make_class(name, color),)
        return classes
    if positive not in names:
        raise SessionError(
            f"{path.name}: say which of the classes {' and '.join(names)} is the positive one "
            f"(--positive {names[0]!r})"
        )
    other = next(name for name in names if name != positive)
    return tuple(
        make_class(name, known.color) for name, known in zip((other, positive), DEFAULT_CLASSES, strict=True)
    )


def _patch_at(path: Path, slide: EmbeddedSlide, x: str, y: str) -> str:
    try:
        return str(slide.patch_names[slide.nearest(float(x), float(y))])
    except (ValueError, SlideFileError) as error:
        raise SessionError(f"{path.name}: {error}") from error
