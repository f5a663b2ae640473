"""What a cluster cannot do, and how it is said."""

from __future__ import annotations

from tissuumaps_sic.slidefile.errors import SicError


class ClusterError(SicError):
    """Slides cannot be embedded on these machines; the message says what to change."""


def one_line(error: object) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
