"""Names as people write them: which spellings are of one name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# What `str.strip` leaves and nobody sees: zero-width spaces and joiners, marks of direction, of byte order.
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_AROUND = re.compile(rf"^[\s{_UNSEEN}]+|[\s{_UNSEEN}]+$")


def strip(text: str) -> str:
    """Return a text without the white space around it, no-break and zero-width spaces included.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return _AROUND.sub("", text)


def fold(text: str) -> str:
    """Return what is the same for all spellings of a name: capitals, white space and forms of letters aside.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> fold(" Tumor  X ") == fold("tumor x")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", strip(text)).casefold().split())


def join_names(names: Iterable[str], *, most: int = 20) -> str:
    """Return names for a message, the first of them where there are many; "none" where there is none.

    Parameters
    ----------
    names : iterable of str
    most : int, default=20
        Names that are listed.

    Returns
    -------
    str
    """
    names = list(names)
    rest = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *rest]) or "none"


def say_count(number: int, what: str) -> str:
    """Return how many there are of something, for a message.

    Parameters
    ----------
    number : int
    what : str
        One of them, by a noun whose plural ends in s.

    Returns
    -------
    str

    Examples
    --------
    >>> say_count(1, "slide"), say_count(1200, "slide")
    ('1 slide', '1,200 slides')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
