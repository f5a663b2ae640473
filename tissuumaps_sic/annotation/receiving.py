"""Sessions that come home from a reader elsewhere: found in what was sent, and merged by their names.

Nothing that lies beside the slide is ever lost: a session that went on takes the place of what it began with,
and where both sides went on, seeds that contradict nobody come to the one that is here, as steps that can be
undone, while the other is kept whole beside it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from zipfile import ZipFile

from tissuumaps_sic.annotation.actions import Action
from tissuumaps_sic.annotation.branches import bring_back
from tissuumaps_sic.annotation.classes import make_class, next_color
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import (
    SUFFIX,
    editing,
    is_session_name,
    load_session,
    save_session,
    session_names,
    session_path,
    sessions_among,
)
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.zips import ZIP_ERRORS

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

_MOST_BYTES, _MOST_SESSIONS = 2**28, 100
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Conflict:
    """A patch that two sessions of one name seed with two classes.

    Attributes
    ----------
    patch : str
        Its name.
    here, there : str
        Names of the classes: of the session that was here, and of the one that came.
    """

    patch: str
    here: str
    there: str


@dataclass(frozen=True)
class Received:
    """What became of a session that came home.

    Attributes
    ----------
    name : str
        Of the session.
    how : "new", "went on", "known" or "merged"
        It lay not here; it goes on from the one that did; there is nothing new in it; both went on.
    path : Path
        Of the session's file.
    n_seeds : int
        How many seeds came with it: all that a new one has.
    conflicts : tuple of Conflict
        Of one that was merged: the class that was here stays.
    kept : Path or None
        Where one is kept whole: that which came, of one that was merged or has other labels than all that is
        here; of one that went on, that which was here, where it has.
    """

    name: str
    how: str
    path: Path
    n_seeds: int
    conflicts: tuple[Conflict, ...] = ()
    kept: Path | None = None


def receive_sessions(slide: EmbeddedSlide, sent: Path | str, *, name: str | None = None) -> list[Received]:
    """Take the sessions of a slide out of what a reader sent, and put them beside the slide.

    Parameters
    ----------
    slide : EmbeddedSlide
    sent : Path
        A session's file, a zip of some (a bundle too), or a folder of some.
    name : str, optional
        What the session is called here, where it is one alone; by default as there, or, where it has no name
        there, as its reader.

    Returns
    -------
    list of Received
        What became of each session.

    Raises
    ------
    SessionError
        When there is none, or one is damaged or of another slide; nothing is then written.
    WrongUseError
        When it cannot be told what a session is to be called, or two would be called the same.
    OSError
        When the folder cannot be written.
    """
    sent = Path(sent)
    with _open_sent(sent) as (files, slides):
        found = [(file, load_session(file, slide)) for file in _choose(slide, files, slides)]
    if not found:
        raise SessionError(
            f"{sent}: holds no session ({SUFFIX}) of {slide.name}; name the slide that it belongs to, or the "
            "session itself"
        )
    if name is not None and len(found) > 1:
        told = ", ".join(file.name for file, _ in found)
        raise WrongUseError(f"--as {name}: there are several sessions ({told}); name one of these files")
    named = [(name or _name_of(slide, file, session), session) for file, session in found]
    twice = {each for each, _ in named if [other for other, _ in named].count(each) > 1}
    if twice:
        raise WrongUseError(
            f"{sent}: holds two sessions that would both be called {min(twice)}; give one of their files, "
            "and name it with --as"
        )
    for each, _ in named:
        session_path(slide.path, each)
    with editing(slide.path):
        return [_receive(slide, each, session) for each, session in named]


@contextmanager
def _open_sent(sent: Path) -> Iterator[tuple[list[Path], set[str]]]:
    """Yield the files of sessions in what was sent, and the names of the slides' that are beside them."""
    if sent.is_dir():
        yield (
            sorted(path for path in sent.iterdir() if path.name.endswith(SUFFIX)),
            {path.name for path in sent.glob("*.h5ad")},
        )
    elif sent.suffix.lower() == ".zip":
        with tempfile.TemporaryDirectory(prefix="tissuumaps-sic-") as folder:
            yield _unpack(sent, Path(folder))
    else:
        if not sent.exists():
            raise SessionError(
                f"{sent}: no such file; name the session ({SUFFIX}) that was sent, or a zip or folder"
            )
        yield [sent], set()


def _unpack(sent: Path, folder: Path) -> tuple[list[Path], set[str]]:
    """Unpack the sessions of a zip, wherever in it they lie, under their own names alone; list its slides."""
    found = []
    try:
        with ZipFile(sent) as archive:
            slides = {PurePosixPath(each).name for each in archive.namelist() if each.endswith(".h5ad")}
            # What a Mac puts beside each file is none.
            members = [
                each
                for each in archive.infolist()
                if each.filename.endswith(SUFFIX) and not PurePosixPath(each.filename).name.startswith(".")
            ]
            if len(members) > _MOST_SESSIONS or sum(each.file_size for each in members) > _MOST_BYTES:
                raise SessionError(
                    f"{sent.name}: its sessions are too many or too large to be right; have the one of "
                    "this slide sent alone"
                )
            for number, member in enumerate(members):
                # A folder each: two may have one name.
                place = folder / str(number) / PurePosixPath(member.filename.replace("\\", "/")).name
                place.parent.mkdir()
                with archive.open(member) as packed:
                    place.write_bytes(packed.read(member.file_size))
                found.append(place)
    except (*ZIP_ERRORS, ValueError) as error:
        raise SessionError(f"{sent.name}: is not a whole zip ({error}); have it sent again") from error
    return found, slides


def _choose(slide: EmbeddedSlide, files: list[Path], slides: set[str]) -> list[Path]:
    """Return the files that are to be read: of several those that are named after the slide, and no other."""
    if len(files) == 1:
        return files
    slides = slides | {path.name for path in slide.path.parent.glob("*.h5ad")}
    return [
        file
        for file in files
        if file.name.startswith(f"{slide.name}.")
        and next(iter(sessions_among({file.name, *slides})), slide.name) == slide.name
    ]


def _name_of(slide: EmbeddedSlide, file: Path, session: Session) -> str:
    """Return what a session is called: as there, else as the only person who worked on it."""
    base = file.name.removesuffix(SUFFIX).removesuffix(".json")
    given = base.removeprefix(slide.name).removeprefix(".") if base.startswith(slide.name) else ""
    if not given and "." in base and base != slide.name:
        given = base.rpartition(".")[2]
    if given and is_session_name(given):
        return given
    users = {action.user for action in session.every_action if action.user}
    reader = re.sub(r"[^\w -]", " ", min(users)).strip()[:_LONGEST_NAME].strip() if len(users) == 1 else ""
    if reader and is_session_name(reader):
        return reader
    raise WrongUseError(
        f"{file.name}: does not say what the session is called, nor names one person who made it; give it a "
        "name with --as NAME"
    )


def _receive(slide: EmbeddedSlide, name: str, sent: Session) -> Received:
    path = session_path(slide.path, name)
    others = [(each, load_session(session_path(slide.path, each), slide)) for each in _copies(slide, name)]
    if not path.exists():
        save_session(path, sent)
        return Received(name, "new", path, len(sent.seeds))
    here = load_session(path, slide)
    kept_before = [other for _, other in others]
    if any(_holds(each, sent) for each in (here, *kept_before)):
        # Its labels may be new all the same: of another run on these seeds.
        copy = _keep_run(slide, name, sent, (here, *kept_before))
        return Received(name, "known", path, 0, kept=copy)
    if _holds(sent, here):
        copy = _keep_run(slide, name, here, (sent, *kept_before))
        save_session(path, _go_on(slide, here, sent))
        new = sum(patch not in here.seeds for patch in sent.seeds)
        return Received(name, "went on", path, new, kept=copy)
    merged, n_seeds, conflicts = merge_seeds(here, sent, user=name)
    kept = _place_copy(slide, name)
    save_session(kept, sent)
    save_session(path, merged)
    return Received(name, "merged", path, n_seeds, conflicts, kept)


def _keep_run(slide: EmbeddedSlide, name: str, session: Session, others: Sequence[Session]) -> Path | None:
    """Keep a session that gives way to others where its last run is none of theirs; return where."""
    if session.run is None or any(
        each.run is not None and each.run.identity == session.run.identity for each in others
    ):
        return None
    kept = _place_copy(slide, name)
    save_session(kept, session)
    return kept


def merge_seeds(here: Session, sent: Session, *, user: str = "") -> tuple[Session, int, tuple[Conflict, ...]]:
    """Return a session with the seeds of another one that contradict none of its own, class by class by name.

    Parameters
    ----------
    here, sent : Session
        Of the same patches.
    user : str, default=""
        Who has made the steps that this takes.

    Returns
    -------
    merged : Session
    n_seeds : int
        How many came.
    conflicts : tuple of Conflict
        Where the other says another class, by the patch's name.

    Raises
    ------
    SessionError
        When there would be too many classes.
    """
    own, names = here.seeds, [each.name for each in here.classes]
    new: dict[str, list[str]] = {}
    conflicts = []
    for patch, label in sent.seeds.items():
        name = sent.classes[label].name
        if patch not in own:
            new.setdefault(name, []).append(patch)
        elif names[own[patch]] != name:
            conflicts.append(Conflict(patch, names[own[patch]], name))
    merged = here
    for name, patches in new.items():
        known = [each.name for each in merged.classes]
        if name not in known:
            taken = {each.color for each in merged.classes}
            wanted = next(each.color for each in sent.classes if each.name == name)
            color = next_color(merged.classes) if wanted in taken else wanted
            merged = merged.add_class(make_class(name, color), user=user)
            known.append(name)
        merged = merged.seed(patches, known.index(name), user=user)
    n_seeds = sum(len(patches) for patches in new.values())
    return merged, n_seeds, tuple(sorted(conflicts, key=lambda each: each.patch))


def _holds(one: Session, other: Session) -> bool:
    """Return whether one session goes on from another: all that was done there is in it, undone or not."""
    if one.initial_classes != other.initial_classes or (other.run is not None and one.run is None):
        return False
    own, others = _list_lines(one), _list_lines(other)
    # Where both have the same, the one that was changed later is where somebody went to.
    return _are_in(others, own) and (not _are_in(own, others) or one.revision >= other.revision)


def _list_lines(session: Session) -> list[tuple[Action, ...]]:
    """Return every line of actions that there ever was: the one that counts, and that of each branch."""
    actions, branches = session.actions, session.branches
    return [actions, *(bring_back(actions, branches, branch.number)[0] for branch in branches)]


def _are_in(some: list[tuple[Action, ...]], others: list[tuple[Action, ...]]) -> bool:
    """Return whether each of some lines is the beginning of one of others."""
    return all(any(line[: len(each)] == each for line in others) for each in some)


def _go_on(slide: EmbeddedSlide, here: Session, sent: Session) -> Session:
    """Return the session that came, as pages that have seen the other one notice it."""
    seen = here.seen_patches(slide.n_patches) | sent.seen_patches(slide.n_patches)
    revision = max(here.revision, sent.revision) + 1
    return (sent.with_seen(seen) if seen.any() else sent).model_copy(update={"revision": revision})


def _copies(slide: EmbeddedSlide, name: str) -> list[str]:
    """Return the names of the sessions that were kept whole of one that was merged."""
    copy = re.compile(rf"{re.escape(_shorten(name))} \d{{1,3}}")
    return [each for each in session_names(slide.path) if copy.fullmatch(each)]


def _place_copy(slide: EmbeddedSlide, name: str) -> Path:
    taken, beginning = set(_copies(slide, name)), _shorten(name)
    number = next(number for number in range(2, 1000) if f"{beginning} {number}" not in taken)
    return session_path(slide.path, f"{beginning} {number}")


def _shorten(name: str) -> str:
    """Return what the names of a session's copies begin with: a number has its place after it."""
    return name[: _LONGEST_NAME - 4].strip()
