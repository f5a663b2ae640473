"""Where the sessions of slides lie: beside the slide, or with the server where nothing can be written."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.store import session_path, sessions_among
from tissuumaps_sic.viewer.access import require_no_link


def is_writable(h5ad: Path) -> bool:
    """Return whether sessions of a slide can be saved beside it.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    bool
    """
    return os.access(h5ad.parent, os.W_OK)


def locate_session(h5ad: Path, name: str) -> Path:
    """Return where a session lies, or would; its name cannot leave the h5ad's folder, or the server's own.

    Parameters
    ----------
    h5ad : Path
    name : str

    Returns
    -------
    Path

    Raises
    ------
    SessionError
        When no session can be called that.
    AccessError
        When it is a link.
    """
    return find_kept(_place_beside(h5ad, name))


def place_session(h5ad: Path, name: str) -> Path:
    """Return where a session is to be written; errors are those of `locate_session`.

    Parameters
    ----------
    h5ad : Path
    name : str

    Returns
    -------
    Path

    Raises
    ------
    OSError
        When the server cannot have a folder of its own.
    """
    beside = _place_beside(h5ad, name)
    if is_writable(h5ad):
        return beside
    own = _OWN.make_for(beside.parent)
    return own / beside.name


def find_kept(beside: Path) -> Path:
    """Return where a session file lies, by its path beside the slide.

    In a folder that cannot be written what the server keeps is newer; in one that can, what lies there.

    Parameters
    ----------
    beside : Path

    Returns
    -------
    Path
    """
    folder = _OWN.find_for(beside.parent)
    if folder is None:
        return beside
    own = folder / beside.name
    wanted = (beside, own) if os.access(beside.parent, os.W_OK) else (own, beside)
    return next((path for path in wanted if os.path.lexists(path)), beside)


def kept_files(folder: Path) -> frozenset[str]:
    """Return the names of the session files of a folder that the server keeps.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    frozenset of str
    """
    own = _OWN.find_for(folder)
    if own is None:
        return frozenset()
    # Others are being written.
    return frozenset(path.name for path in own.iterdir() if not path.name.startswith("."))


def session_names(h5ad: Path) -> list[str]:
    """Return the names of the sessions of an h5ad, "" the one without a name.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    list of str
    """
    names = {path.name for path in h5ad.parent.iterdir()} | kept_files(h5ad.parent)
    return sessions_among(names).get(h5ad.stem, [])


def _place_beside(h5ad: Path, name: str) -> Path:
    try:
        path = session_path(h5ad, name)
        require_no_link(path)
    except OSError as error:
        # With the slide's the name can be longer than the file system's names.
        raise SessionError(f"{name}: {error.strerror}; give it another name") from error
    return path


class _Own:
    """A folder of this process, for its own user alone, which is made when it is needed and goes with it.

    Within it each served folder has one; safe to use from many threads.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._known: dict[Path, Path] = {}
        self._lock = threading.Lock()

    def find_for(self, folder: Path) -> Path | None:
        """Return the folder for sessions of another one, or None."""
        return self._known.get(folder)

    def make_for(self, folder: Path) -> Path:
        """Return the folder for sessions of another one, made where there is none."""
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(
                    prefix="tissuumaps-sic-", ignore_cleanup_errors=True
                )
            if folder not in self._known:
                self._known[folder] = Path(tempfile.mkdtemp(dir=self._folder.name))
            return self._known[folder]


_OWN = _Own()
