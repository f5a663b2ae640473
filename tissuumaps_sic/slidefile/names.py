"""Names of files: as addresses in projects and pages and back, as text on a page, and those that cannot be.

A name may hold every letter that a file system takes. In an address a ``#`` begins a fragment, a ``?`` a
query, ``%41`` is an A, ``a:`` a scheme; and TissUUmaps puts the names that a project gives into its page as
HTML. So a name is written into a project in one of two ways, both made here: by `address`, or by
`escape_markup`.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePath
from urllib.parse import quote, unquote_to_bytes

# What would be markup, or end an attribute of it, and the same in full width.
_MARKUP = {ord(each): chr(ord(each) + 0xFEE0) for each in "<>&\"'"}
# What file systems take for one name, in bytes, and what is put around a slide's: the lock of its session.
_LONGEST_NAME, _AROUND = 255, len("." + ".sic.lock")


def address(path: str) -> str:
    """Return the address of a path below a folder, for `tileSource` and `path` of a project.

    Parameters
    ----------
    path : str
        With forward slashes.

    Returns
    -------
    str

    Examples
    --------
    >>> address("S21 #2/p%41b.tif")
    'S21%20%232/p%2541b.tif'
    """
    # A tilde begins a home folder, and nothing of a project may look like a path of a machine.
    encoded = quote(os.fsencode(path), safe="/").replace("~", "%7E")
    # TissUUmaps takes what begins so for the address of another server.
    return f"%68{encoded[1:]}" if encoded.startswith("http") else encoded


def page_at(within: str, name: str) -> str:
    """Return the address of the page of a file's name in a folder below the served one.

    ``path`` is an address itself, since TissUUmaps joins it with those of the project's files.

    Parameters
    ----------
    within : str
        Path of the folder below the served one, with forward slashes.
    name : str

    Returns
    -------
    str
    """
    query = f"?path={quote(address(within), safe='')}" if within.strip("./") else ""
    return f"/{address(name)}{query}"


def path_of(given: str, folder: Path | None = None) -> str:
    """Return the path that an address names, with forward slashes.

    Parameters
    ----------
    given : str
        An address; of projects that are older or were written by hand perhaps the plain path.
    folder : Path, optional
        Where the path begins: a plain path that looks like an address is known by the file that is there.

    Returns
    -------
    str

    Examples
    --------
    >>> path_of("S21%20%232/p%2541b.tif")
    'S21 #2/p%41b.tif'
    >>> path_of("S21 #2/50%.tif")
    'S21 #2/50%.tif'
    """
    decoded = os.fsdecode(unquote_to_bytes(given))
    if folder is not None and decoded != given and _exists(folder / given) and not _exists(folder / decoded):
        return given
    return decoded


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def escape_markup(text: str) -> str:
    """Return a text as it may be put into a page that takes it for HTML: markup becomes full-width letters.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> escape_markup("<b>A&B</b>")
    '＜b＞A＆B＜/b＞'
    """
    readable = "".join(" " if _is_control(each) else each for each in text)
    return readable.encode("utf-8", "replace").decode().translate(_MARKUP)


def refusal(name: str) -> str | None:
    """Return why a slide of this name could not be shown in the viewer, and what to do; None where it can.

    Parameters
    ----------
    name : str
        Of the file or folder, with its ending.

    Returns
    -------
    str or None
    """
    if name.startswith("."):
        return "its name begins with a dot, and the viewer shows no hidden files; rename it"
    try:
        length = len(PurePath(name).stem.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8, so that it has no address in the viewer; rename it"
    if any(_is_control(each) for each in name):
        return "its name holds a line break or another control character; rename it"
    if length > _LONGEST_NAME - _AROUND:
        return (
            f"its name is too long ({length} bytes; {_LONGEST_NAME - _AROUND} leave room for the files "
            "beside it); rename it"
        )
    return None


def _is_control(letter: str) -> bool:
    # Controls, and the separators of lines and paragraphs; joiners and marks of direction belong to names.
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp")
