"""Which texts are paths of some machine, and which addresses lead out of a folder: a file holds neither."""

from __future__ import annotations

import re
from urllib.parse import unquote

# Names are not paths: "~tilde", "/x" and "H/E" are names, and so is "C:x". A path of the machine is a drive,
# a share or two folders deep at least, wherever in a text it stands; places of an h5ad look the same.
_PATH = re.compile(
    r"(?<![\w/.)\]%-])/(?!(?:obs|obsm|obsp|var|varm|varp|uns|layers|raw|X)(?:[/;]|$))[^/\s]+/[^\s]"
    r"|(?<![:\w/])//[^/\s]+/"
    r"|(?<![\w\\])\\\\[^\\\s]+\\"
    r"|(?<![A-Za-z0-9])[A-Za-z]:(?:\\|/(?!/))"
    r"|(?<!\w)~(?:[A-Za-z_][\w.-]*)?[/\\]"
    r"|(?<![\w.])\.\.[/\\]"
    r"|\bfile:[/\\]",
    re.IGNORECASE,
)
# Where a program will look for a file, a single slash in front is enough.
_ADDRESS = re.compile(r"[/\\]|~[/\\]|[A-Za-z]:[/\\]|file:|\.\.(?:[/\\]|$)", re.IGNORECASE)


def holds_path(text: str) -> bool:
    r"""Whether a text holds a path of some machine, at its start or anywhere in it.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool

    Examples
    --------
    >>> holds_path("weights from /home/ann/w.pth"), holds_path(r"C:\ann\w.pth"), holds_path("../w.pth")
    (True, True, True)
    >>> holds_path("~tilde.tif"), holds_path("/x"), holds_path("H/E"), holds_path("/obsm/spatial;0")
    (False, False, False, False)
    """
    return _PATH.search(text) is not None


def leads_away(address: str) -> bool:
    r"""Whether an address of a TissUUmaps project leads out of the project's folder.

    What is percent-encoded belongs to a name, but for slashes and dots, which servers decode.

    Parameters
    ----------
    address : str

    Returns
    -------
    bool

    Examples
    --------
    >>> leads_away("/x.tif.dzi"), leads_away("%2Fx.tif.dzi"), leads_away("below/../../x.tif.dzi")
    (True, True, True)
    >>> leads_away("~tilde.tif.dzi"), leads_away("C%3A%5Cx.tif.dzi"), leads_away("below/x..tif.dzi")
    (False, False, False)
    """
    decoded = unquote(address)
    return _ADDRESS.match(address) is not None or decoded.startswith("/") or ".." in decoded.split("/")
