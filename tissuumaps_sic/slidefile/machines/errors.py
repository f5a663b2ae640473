"""What a cluster cannot do, and how it is said."""

from __future__ import annotations

from tissuumaps_sic.slidefile.errors import SicError


class ClusterError(SicError):
    """These machines cannot be used; the message says what to change."""


def one_line(error: object) -> str:
    """Return what an error says, in one line.

    Parameters
    ----------
    error : object

    Returns
    -------
    str
    """
    return " ".join(str(error).split()) or type(error).__name__
