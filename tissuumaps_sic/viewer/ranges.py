"""Bytes of a file as the page's reader of HDF5 asks for them: by ranges, of which a piece is in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_PIECE = 2**20


def answer(request: Any, path: Path) -> Any:
    """Return the answer to a request for a file or for one range of its bytes (RFC 9110, section 14).

    What asks for several ranges, or for another unit, gets the whole file, as one that asks for none.

    Parameters
    ----------
    request : werkzeug.wrappers.Request
    path : Path

    Returns
    -------
    werkzeug.wrappers.Response
    """
    from werkzeug.wrappers import Response

    file = path.open("rb")
    size = os.fstat(file.fileno()).st_size
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
    start, stop, status = 0, size, 200
    asked = _range_of(request.headers.get("Range", "")) if request.method == "GET" else None
    if asked is not None:
        start, stop = _within(asked, size)
        if start >= stop:
            file.close()
            return Response("There are no such bytes.", 416, {**headers, "Content-Range": f"bytes */{size}"})
        headers["Content-Range"], status = f"bytes {start}-{stop - 1}/{size}", 206
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        file.close()
        return Response(None, status, headers, mimetype="application/octet-stream")
    return Response(
        _Pieces(file, start, stop),
        status,
        headers,
        mimetype="application/octet-stream",
        direct_passthrough=True,
    )


class _Pieces:
    """A range of an open file, piece by piece; it is closed when the answer is sent or given up."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._left = file, stop - start
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        while self._left > 0:
            piece = self._file.read(min(_PIECE, self._left))
            if not piece:
                # Cut by another program since: the answer is too short, and whoever asked sees that.
                return
            self._left -= len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()


def _range_of(header: str) -> tuple[int | None, int | None] | None:
    """Return the first and the last byte that a header asks for, either None where it does not say."""
    match = re.fullmatch(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = (int(each) if each else None for each in match.groups())
    if first is not None and last is not None and first > last:
        return None
    return first, last


def _within(asked: tuple[int | None, int | None], size: int) -> tuple[int, int]:
    first, last = asked
    if first is None:
        return max(size - (last or 0), 0), size
    return first, size if last is None else min(last + 1, size)
