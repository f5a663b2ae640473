"""What the reading of a zip that somebody sent may raise."""

from __future__ import annotations

import lzma
import zlib
from zipfile import BadZipFile

# A damaged member, a compression that is not known here, an end before the end, a password.
ZIP_ERRORS = (BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error, lzma.LZMAError)
