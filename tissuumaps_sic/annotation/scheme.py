"""The class list of a folder, ``classes.json``: what new slides and new sessions of it begin with.

It is one object: ``schema``, "tissuumaps-sic/classes/1", and ``classes``, objects of ``name`` and ``color``
(#rrggbb; one that is left out is chosen) in the order in which people see them: the first is the positive.
"""

from __future__ import annotations

import json
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.annotation.classes import (
    FEWEST_CLASSES,
    MOST_CLASSES,
    SeedClass,
    make_class,
    next_color,
    order_classes,
    require_new_name,
)
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.slidefile.writing import replacing

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

FILE, SCHEMA = "classes.json", "tissuumaps-sic/classes/1"
_MOST_BYTES = 2**16


@dataclass(frozen=True)
class Scheme:
    """A class list.

    Attributes
    ----------
    classes : tuple of SeedClass
        As a session numbers them: class 1 is the positive one.
    """

    classes: tuple[SeedClass, ...]

    @property
    def revision(self) -> int:
        """What a new session with these classes begins to count its changes with.

        A page that has seen another list asks about another revision, and never seeds what it did not show.
        """
        return zlib.crc32(_to_text(self.classes).encode())

    def start(self, slide: EmbeddedSlide) -> Session:
        """Return a new session on a slide, with these classes.

        Parameters
        ----------
        slide : EmbeddedSlide

        Returns
        -------
        Session
        """
        return Session.new(slide).anew(self.classes).model_copy(update={"revision": self.revision})


def find_scheme(folder: Path, admits: Callable[[Path], bool]) -> Path | None:
    """Return the nearest class list, of a folder or one above it that `admits` admits, or None.

    Parameters
    ----------
    folder : Path
    admits : callable

    Returns
    -------
    Path or None
    """
    for each in (folder, *folder.parents):
        path = each / FILE
        if not admits(path):
            return None
        if path.is_file() and not path.is_symlink():
            return path
    return None


def read_scheme(path: Path) -> Scheme:
    """Read a class list.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Scheme

    Raises
    ------
    SessionError
        When it is none; the message says what to do.
    """
    try:
        return Scheme(_read_classes(_read_list(path)))
    except OSError as error:
        raise SessionError(
            f"{path.name}: cannot be read ({error.strerror or error}); mend that, or remove it"
        ) from error
    except (ValueError, RecursionError, SessionError) as error:
        raise SessionError(f"{path.name}: is not a class list ({error}); mend it, or remove it") from error


def _read_list(path: Path) -> Any:
    information = path.lstat()
    if not stat.S_ISREG(information.st_mode) or information.st_size > _MOST_BYTES:
        raise ValueError("it is not a small file")
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f"it has no “schema”: “{SCHEMA}”")
    return content.get("classes")


def _read_classes(given: Any) -> tuple[SeedClass, ...]:
    if not isinstance(given, list) or not FEWEST_CLASSES <= len(given) <= MOST_CLASSES:
        raise ValueError(f"“classes” must be a list of {FEWEST_CLASSES} to {MOST_CLASSES} classes")
    classes: list[SeedClass] = []
    for place, each in enumerate(given, 1):
        name = str(each.get("name") or "") if isinstance(each, dict) else ""
        if not name:
            raise ValueError(f"class {place} has no name")
        made = make_class(name, str(each.get("color") or next_color(classes)).lower())
        require_new_name(made, classes)
        classes.append(made)
    return tuple(classes[place] for place in order_classes(len(classes)))


def write_scheme(path: Path, classes: Sequence[SeedClass]) -> None:
    """Write a class list; `classes` are as a session numbers them.

    Parameters
    ----------
    path : Path
    classes : sequence of SeedClass

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    with replacing(path, follow_links=False) as temporary:
        temporary.write_text(_to_text(classes), encoding="utf-8")


def _to_text(classes: Sequence[SeedClass]) -> str:
    listed = [classes[label].model_dump() for label in order_classes(len(classes))]
    return json.dumps({"schema": SCHEMA, "classes": listed}, ensure_ascii=False, indent=1) + "\n"
