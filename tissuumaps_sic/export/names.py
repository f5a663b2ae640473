"""Names of files and folders that every system takes, out of what people call things."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_LONGEST = 80
# What Windows keeps for devices, whatever the ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_names(names: Sequence[str]) -> list[str]:
    """Return a name of a file or folder for each of some names, no two of them alike.

    Letters and digits of all scripts, spaces, ``.``, ``_``, ``-`` and ``+`` stay; all else becomes ``_``.
    What would be alike, on systems that know no capitals too, is numbered.

    >>> safe_names(["Tumour", "in situ: low/high", "tumour", ".."])
    ['Tumour', 'in situ_ low_high', 'tumour-2', '_']

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    list of str
    """
    taken: set[str] = set()
    safe = []
    for name in names:
        plain = unicodedata.normalize("NFC", name)
        plain = re.sub(r"[^\w .+-]", "_", plain).strip(" .")[:_LONGEST].strip(" .") or "_"
        plain = f"_{plain}" if _DEVICES.fullmatch(plain) else plain
        number, one = 2, plain
        while one.casefold() in taken:
            number, one = number + 1, f"{plain}-{number}"
        taken.add(one.casefold())
        safe.append(one)
    return safe
