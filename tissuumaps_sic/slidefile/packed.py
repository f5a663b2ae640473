"""What gzip packed, unpacked within bounds."""

from __future__ import annotations

import zlib
from gzip import BadGzipFile, GzipFile
from io import BytesIO

GZIP = b"\x1f\x8b"
_PIECE_BYTES = 2**20


def unpack(content: bytes, most: int) -> bytes:
    """Return what gzip packed: all of it, where other programs (bgzip, pigz) packed it in parts.

    Parameters
    ----------
    content : bytes
        Begins with `GZIP`.
    most : int
        Of what is more than so many bytes only some more are returned.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        When it is damaged or cut short: the end of a sentence that begins with the file's name.
    """
    unpacked = BytesIO()
    try:
        # By pieces, since a reader that is asked for all takes the memory of all that is allowed.
        with GzipFile(fileobj=BytesIO(content)) as file:
            while unpacked.tell() <= most and (piece := file.read(_PIECE_BYTES)):
                unpacked.write(piece)
    except EOFError as error:
        raise ValueError(f"is cut short ({len(content)} bytes packed)") from error
    except (BadGzipFile, zlib.error) as error:
        raise ValueError(f"cannot be unpacked ({error})") from error
    return unpacked.getvalue()
