"""What an export is refused with."""

from __future__ import annotations

from tissuumaps_sic.slidefile.errors import SicError


class ExportError(SicError):
    """Labels cannot be exported; the message says what to do."""
