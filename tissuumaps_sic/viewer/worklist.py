"""The slides of a folder and how far each is annotated.

A folder may hold a thousand slides. Of each no more is read than its row tells, and that once for as long as
its file stays the same.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tissuumaps_sic.annotation.lending import spaces_of
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.remarks import Check
from tissuumaps_sic.annotation.store import SUFFIX, is_session_name, read_session, sessions_among
from tissuumaps_sic.slidefile.h5ad import SlideFileError, Stamp, stamp_of
from tissuumaps_sic.slidefile.names import page_at
from tissuumaps_sic.slides.slide import outline
from tissuumaps_sic.viewer.access import AccessError, find_below, require_no_link
from tissuumaps_sic.viewer.passwords import nearest_auth
from tissuumaps_sic.viewer.places import find_kept, kept_files

# Of a slide that cannot be read, to read its session all the same.
_MOST_PATCHES = 2**24

State = Literal["new", "seeded", "labelled", "changed"]


@dataclass(frozen=True)
class Entry:
    """One slide of a worklist.

    Attributes
    ----------
    h5ad : Path
        The file, with all links followed.
    name : str
        Of the slide.
    n_patches : int or None
        None where the file cannot be read.
    sessions : tuple of str
        Names of the sessions beside it, "" the one without a name.
    seeds : dict of str to int
        How many seeds each class has, by the class's name, in the session that was asked for.
    borrowed : int
        How many seeds that session borrows from other slides.
    state : "new", "seeded", "labelled" or "changed"
        No seeds; seeds and no labels; labels; labels of other seeds or classes than there are now.
    problem : str
        What is wrong with the file or the session, "" where nothing is.
    spaces : frozenset of str
        As `spaces_of`.
    has_project : bool
        Whether a ``.tmap`` of the same name lies beside it.
    session : str
        Name of the session that all this is told of.
    checked : Check or None
        Who has said that it is done.
    notes : tuple of str
        What is noted of it.
    reader, changed : str
        Who did something last, and when.
    """

    h5ad: Path
    name: str
    n_patches: int | None = None
    sessions: tuple[str, ...] = ()
    seeds: dict[str, int] = field(default_factory=dict)
    borrowed: int = 0
    state: State = "new"
    problem: str = ""
    spaces: frozenset[str] = frozenset()
    has_project: bool = False
    session: str = ""
    checked: Check | None = None
    notes: tuple[str, ...] = ()
    reader: str = ""
    changed: str = ""


class Worklist:
    """The worklists of folders; safe to share between threads.

    What was read of a file is kept for as long as the file is found unchanged (`stamp_of`).
    """

    def __init__(self) -> None:
        self._slides = _Kept(_read_slide)
        self._sessions = _Kept(_read_session)

    def entries(self, root: Path, *, session: str | None = "", auth: Path | None = None) -> list[Entry]:
        """Return the slides below a folder, in the order of their paths.

        Parameters
        ----------
        root : Path
        session : str or None, default=""
            Name of the session that is asked for; None is the one of each slide that was written last.
        auth : Path, optional
            Slides whose `nearest_auth` is another file are left out: who asks has not shown that file's
            password.

        Returns
        -------
        list of Entry

        Raises
        ------
        OSError
            When the folder cannot be read.
        """
        base = root.resolve()
        read = []
        for folder, names in _folders(base):
            if nearest_auth(folder) != auth:
                continue
            names |= kept_files(folder)
            sessions = sessions_among(names)
            for path in _slides_in(base, folder, names):
                wanted = _newest(path, sessions) if session is None else session
                read.append(self._entry(path, wanted, names, sessions))
        self._slides.keep(base, [each.h5ad for each in read])
        self._sessions.keep(
            base, [find_kept(each.h5ad.with_name(_session_file(each.h5ad, each.session))) for each in read]
        )
        return read

    def _entry(
        self, path: Path, session: str, names: frozenset[str], sessions: dict[str, list[str]]
    ) -> Entry:
        known: dict[str, Any] = {
            "sessions": tuple(sessions.get(path.stem, ())),
            "has_project": f"{path.stem}.tmap" in names,
            "session": session,
        }
        told = self._slides.get(path)
        known |= {"problem": told} if isinstance(told, str) else {"n_patches": told[0], "spaces": told[1]}
        if session in known["sessions"]:
            n_patches = _MOST_PATCHES if isinstance(told, str) else told[0]
            found = self._sessions.get(find_kept(path.with_name(_session_file(path, session))), n_patches)
            if isinstance(found, str):
                known["problem"] = known.get("problem", found)
            elif "n_patches" in known and found.n_labels not in (None, known["n_patches"]):
                known["problem"] = "its session was made on other patches"
            else:
                known |= {name: getattr(found, name) for name in _TOLD}
        return Entry(path, path.stem, **known)


@dataclass(frozen=True)
class _Progress:
    seeds: dict[str, int]
    borrowed: int
    state: State
    n_labels: int | None
    checked: Check | None
    notes: tuple[str, ...]
    reader: str
    changed: str


# Of a session's progress, what an entry tells as it stands.
_TOLD = ("seeds", "borrowed", "state", "checked", "notes", "reader", "changed")


class _Kept:
    """What was read of files, each again only when it has changed."""

    def __init__(self, read: Callable[..., Any]) -> None:
        self._read = read
        self._known: dict[Path, tuple[Stamp, Any]] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, *more: Any) -> Any:
        """Return what `read` finds in a file, given `more` as well, or a text that says what is wrong."""
        try:
            stamp = stamp_of(path)
        except OSError as error:
            return error.strerror or "cannot be read"
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        found = self._read(path, *more)
        with self._lock:
            self._known[path] = stamp, found
        return found

    def keep(self, base: Path, paths: list[Path]) -> None:
        """Forget files below a folder that are no more, so that memory does not grow with the years."""
        there = set(paths)
        with self._lock:
            for path in [path for path in self._known if path.is_relative_to(base) and path not in there]:
                # Sessions of other names are read again when they are asked for.
                del self._known[path]


def _read_slide(path: Path) -> tuple[int, frozenset[str]] | str:
    try:
        told = outline(path)
        return told.n_patches, spaces_of(told)
    except SlideFileError as error:
        return str(error).removeprefix(f"{path.name}: ")


def _read_session(path: Path, n_patches: int) -> _Progress | str:
    try:
        require_no_link(path)
        session = read_session(path, n_patches)
    except (AccessError, SessionError) as error:
        return str(error).replace(f"{path.name}: not a session", f"{path.name} is not a session")
    seeds: Counter[str] = Counter()
    for each, count in zip(session.classes, session.seed_counts, strict=True):
        seeds[each.name] += count
    run, borrowed = session.run, sum(len(loan.seeds) for loan in session.loans)
    state: State = "seeded" if seeds.total() or borrowed else "new"
    if run is not None:
        state = "changed" if session.is_stale else "labelled"
    last = session.last_action
    return _Progress(
        seeds=dict(+seeds),
        borrowed=borrowed,
        state=state,
        n_labels=sum(run.counts) if run else None,
        checked=session.checked,
        notes=tuple(each.text for each in session.notes),
        reader=last.user if last else "",
        changed=last.time if last else "",
    )


def _newest(h5ad: Path, sessions: dict[str, list[str]]) -> str:
    """Return the name of the session of a slide that was written last."""

    def written(name: str) -> float:
        try:
            return find_kept(h5ad.with_name(_session_file(h5ad, name))).stat().st_mtime
        except OSError:
            return 0.0

    return max(sessions.get(h5ad.stem, ()), key=written, default="")


def _session_file(h5ad: Path, session: str) -> str:
    named = f".{session}" if session and is_session_name(session) else ""
    return f"{h5ad.stem}{named}{SUFFIX}"


def slides_below(root: Path) -> Iterator[Path]:
    """Yield every h5ad below a folder, in order; those that a link leads to only where they lie.

    Parameters
    ----------
    root : Path

    Yields
    ------
    Path
    """
    base = root.resolve()
    for folder, names in _folders(base):
        yield from _slides_in(base, folder, names)


def _slides_in(base: Path, folder: Path, names: frozenset[str]) -> Iterator[Path]:
    for name in sorted(name for name in names if name.endswith(".h5ad")):
        path = find_below(base, (folder / name).relative_to(base).as_posix())
        # A link to a slide of the folder is not another slide.
        if path == folder / name:
            yield path


def _folders(base: Path) -> Iterator[tuple[Path, frozenset[str]]]:
    """Yield each folder in order with the names of its files; not hidden ones, nor links to folders."""
    for folder, below, names in os.walk(base):
        # Those whose names begin with a dot are TissUUmaps' own, and files that are being written.
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(folder), frozenset(name for name in names if not name.startswith("."))


def page(folder: Path, project: Path) -> str:
    """Return the address of a project's page, from the server's root.

    Parameters
    ----------
    folder : Path
    project : Path

    Returns
    -------
    str
    """
    within = project.relative_to(folder).parent
    return page_at("" if within == Path() else within.as_posix(), project.name)
