"""Where the sessions of a slide lie, beside its h5ad, and how they are read, written and kept from others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tissuumaps_sic.annotation.document import DocumentError, read_document, to_session, to_text
from tissuumaps_sic.annotation.patch_rows import PatchIndex
from tissuumaps_sic.annotation.records import SessionError, SessionFileError
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.slidefile.h5ad import Stamp, stamp_of
from tissuumaps_sic.slidefile.locking import hold_lock
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

SUFFIX = ".sic.json"


def session_path(h5ad: Path, name: str = "") -> Path:
    """Return where a session of an h5ad lies: beside it, ``<slide>.sic.json`` or ``<slide>.<name>.sic.json``.

    Parameters
    ----------
    h5ad : Path
    name : str, default=""

    Returns
    -------
    Path

    Raises
    ------
    SessionError
        When the name is not of letters, digits, spaces, "_" and "-", 40 at most, or is another slide's.
    """
    if not name:
        return h5ad.with_suffix(SUFFIX)
    if not is_session_name(name):
        raise SessionError(
            f"{name[:60]!r}: cannot be a session's name, which has letters, digits, spaces, _ and -, 40 at "
            "most; choose another one"
        )
    if h5ad.with_name(f"{h5ad.stem}.{name}.h5ad").exists():
        raise SessionError(f"{name}: there is a slide {h5ad.stem}.{name}; give the session another name")
    return h5ad.with_name(f"{h5ad.stem}.{name}{SUFFIX}")


def session_names(h5ad: Path) -> list[str]:
    """Return the names of the sessions that lie beside an h5ad, "" the one without a name.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    list of str
    """
    return sessions_among({path.name for path in h5ad.parent.iterdir()}).get(h5ad.stem, [])


def sessions_among(files: Set[str]) -> dict[str, list[str]]:
    """Return the names of the sessions of each slide, by the slide's name, from the files of their folder.

    Parameters
    ----------
    files : Set[str]

    Returns
    -------
    dict of str to list of str
    """
    sessions: dict[str, list[str]] = {}
    for file in sorted(files):
        if not file.endswith(SUFFIX):
            continue
        slide, name = file.removesuffix(SUFFIX), ""
        # A slide "a" has no session "b" where there is a slide "a.b": that is its own, without a name.
        if f"{slide}.h5ad" not in files and "." in slide:
            slide, _, name = slide.rpartition(".")
        if not name or is_session_name(name):
            sessions.setdefault(slide, []).append(name)
    return {slide: sorted(names) for slide, names in sessions.items()}


def is_session_name(name: str) -> bool:
    """Return whether a session can be called so: letters, digits, spaces, "_" and "-", 40 at most.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return bool(re.fullmatch(r"[^\W][\w -]{0,39}", name)) and name == name.strip()


def load_session(path: Path | str, slide: EmbeddedSlide) -> Session:
    """Read a session and see that it belongs to the slide.

    Parameters
    ----------
    path : Path
        A session's file, ``<slide>.sic.json``.
    slide : EmbeddedSlide
        With any embedding of its file.

    Returns
    -------
    Session

    Raises
    ------
    SessionFileError
        When the file is damaged, or was made on other patches.
    """
    path = Path(path)
    try:
        document = read_document(path)
        # Rows that are of other patches tell nothing, so this comes first.
        is_other = document.get("fingerprint", slide.fingerprint) != slide.fingerprint
        session = None if is_other else to_session(document, PatchIndex.of(slide))
    except DocumentError as error:
        raise SessionFileError(f"{path.name}: {error}") from error
    if session is None:
        raise SessionFileError(
            f"{path.name}: was made on other patches than {slide.path.name} holds now; "
            "move it away to start anew, or put the h5ad that it was made on back"
        )
    try:
        session.seen_patches(slide.n_patches)
    except ValueError as error:
        raise SessionFileError(
            f"{path.name}: seen: {error}; take it out, or move the file away to start anew"
        ) from error
    if session.run is not None:
        # Before they are unpacked, since damage may unpack to gigabytes.
        labels = np.empty(0, dtype=np.uint8)
        if sum(session.run.counts) == slide.n_patches:
            with suppress(ValueError):
                labels = session.run.unpack()
        n_classes = len(session.run_classes)
        if labels.shape != (slide.n_patches,) or not np.array_equal(
            np.bincount(labels, minlength=n_classes), session.run.counts
        ):
            raise SessionFileError(
                f"{path.name}: the labels of its last run are damaged; move it away to start anew, or take "
                "the run out of it"
            )
    return session


def read_session(path: Path, n_patches: int) -> Session:
    """Read a session without its slide, which has `n_patches`: what can be counted, and no names of patches.

    Parameters
    ----------
    path : Path
    n_patches : int

    Returns
    -------
    Session

    Raises
    ------
    SessionFileError
        When the file is damaged.
    """
    try:
        return to_session(read_document(path), PatchIndex(n_patches=n_patches))
    except DocumentError as error:
        raise SessionFileError(f"{path.name}: {error}") from error


@contextmanager
def editing(h5ad: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Keep other processes from writing any session of an h5ad while the block reads, changes and writes one.

    `waiting` is called several times a second while another one keeps this one; what it raises ends the wait.

    Parameters
    ----------
    h5ad : Path
    waiting : callable, optional

    Raises
    ------
    BusyError
        When another process keeps this one from it for two minutes.
    OSError
        When the folder cannot be written.
    """
    with hold_lock(h5ad.with_name(f".{h5ad.stem}.sic.lock"), waiting):
        yield


def save_session(path: Path, session: Session) -> Stamp | None:
    """Write a session, so that a reader sees either the old or the new one; to be called while `editing`.

    Parameters
    ----------
    path : Path
    session : Session

    Returns
    -------
    tuple of int or None
        `stamp_of` the file that was written; None where another one lies there now.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    text = to_text(session)
    remove_left_behind(path, follow_links=False)
    with replacing(path, follow_links=False) as temporary:
        temporary.write_text(text, encoding="utf-8")
        written = stamp_of(temporary)
    stamp = stamp_of(path)
    # The last of them, when it was renamed, is another one now.
    return stamp if stamp[:-1] == written[:-1] else None
