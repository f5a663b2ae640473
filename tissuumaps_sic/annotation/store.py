"""The JSON of a session's file: read within bounds, and told what is wrong with it and where.

What stands in it is in the docstring of `session`.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from tissuumaps_sic.annotation.patch_rows import packed, unpacked
from tissuumaps_sic.slidefile.errors import SicError

# A lasso around half of the largest slides takes a few megabytes in files of 0.1.
_MOST_BYTES = 512 * 2**20
# Of what is packed: more than half a million clicks, or borrowed seeds.
MOST_UNPACKED = 64 * 2**20
_MOST_PACKED_PIECE = 2**20

# So many actions stay as they are, the last ones; the ones before are packed so many at a time.
PLAIN, _PIECE = 256, 256
# What is longer is a packed list of patches already.
_LONG = 2048

_SHOWN = 30  # characters around a mistake
_SCHEMA = re.compile(r"tissuumaps-sic/session/(\d+)")
_ADVICE = "mend it, or move it away to start anew"


class DocumentError(SicError):
    """A file is no session; the message says what is wrong with it, where and what to do, not its name."""


def read_document(path: Path, *, newest: int) -> dict[str, Any]:
    """Read the JSON of a session, its packed history unpacked.

    Parameters
    ----------
    path : Path
    newest : int
        Number of the last schema that is known here.

    Raises
    ------
    DocumentError
        When it cannot be read, is no JSON, or none of a session.
    """
    document = _parsed(_text(path))
    if not isinstance(document, dict):
        _refuse(f"it holds {_KINDS.get(type(document), 'something else')}, where a session is an object")
    schema = document.get("schema")
    found = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if found is None:
        given = "it has no “schema”" if schema is None else f"its schema is {str(schema)[:60]!r}"
        _refuse(f"{given}, where a session has “tissuumaps-sic/session/{newest}”")
    if len(found[1]) > 4 or int(found[1]) > newest:
        raise DocumentError(
            f"was made by a newer version of tissuumaps-sic (session/{found[1][:20]}; this one knows up to "
            f"session/{newest}); update tissuumaps-sic, or move the file away to start anew"
        )
    if "history" in document and found[1] in ("1", "2", "3"):
        _refuse(f"history: there is none in session/{found[1]}")
    return document


def _text(path: Path) -> str:
    data = _content(path)
    if not data.strip():
        _refuse("it is empty")
    # UTF-16 and a byte-order mark are what Windows' editors write.
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start} of it is no text in {encoding.upper()}; save it as UTF-8")


def _content(path: Path) -> bytes:
    """Return the bytes of a regular file; of a pipe or a device nothing is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            kind = os.fstat(descriptor)
            if not stat.S_ISREG(kind.st_mode):
                _refuse(f"it is {_kind(kind.st_mode)}, and no file")
            if kind.st_size > _MOST_BYTES:
                _refuse(f"it has {kind.st_size / 2**20:,.0f} MB, and {_MOST_BYTES // 2**20} are the most")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(kind.st_size + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DocumentError(f"cannot be read ({error.strerror or error}); {_ADVICE}") from error


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


_KINDS: dict[type, str] = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        around = text[max(error.pos - _SHOWN, 0) : error.pos + _SHOWN].split()
        _refuse(f"line {error.lineno}, column {error.colno}: {error.msg}, near {' '.join(around)!r}")
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError as error:
        # A number of thousands of digits, or NaN.
        _refuse(str(error).partition(";")[0])


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(number: str) -> float:
    found = float(number)
    if not math.isfinite(found):
        raise ValueError(f"{number[:20]} is beyond all numbers")
    return found


def _refuse(reason: str) -> NoReturn:
    raise DocumentError(f"not a session ({reason}); {_ADVICE}")


def unpack_history(pieces: Any) -> list[Any]:
    """Return the actions of a ``history``.

    Raises
    ------
    DocumentError
        When a piece of it is damaged.
    """
    if not isinstance(pieces, list):
        _refuse("history: is no list")
    actions: list[Any] = []
    room = MOST_UNPACKED
    for number, piece in enumerate(pieces):
        if not isinstance(piece, str):
            actions.append(piece)
            continue
        try:
            data = unpacked(piece, min(_MOST_PACKED_PIECE, room))
            room -= len(data)
            more = json.loads(data, parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            _refuse(f"history[{number}]: {str(error)[:200]}")
        if not isinstance(more, list):
            _refuse(f"history[{number}]: is no list of actions")
        actions += more
    return actions


def pack_history(lines: Sequence[str]) -> tuple[list[str], int]:
    """Return the JSON of the items of ``history`` that the oldest actions go into, and how many these are.

    What was packed once is packed so again whatever comes after it, and is therefore kept.

    Parameters
    ----------
    lines : sequence of str
        Each action as JSON.
    """
    n_packed = max(len(lines) - PLAIN, 0) // _PIECE * _PIECE
    items: list[str] = []
    room = MOST_UNPACKED
    for start in range(0, n_packed, _PIECE):
        short: list[str] = []
        for line in lines[start : start + _PIECE]:
            if len(line) <= _LONG and room > 0:
                short.append(line)
                room -= 4 * len(line)  # as UTF-8 at its longest
                continue
            items += _packed_lines(short)
            items.append(line)
            short = []
        items += _packed_lines(short)
    return items, n_packed


def _packed_lines(lines: list[str]) -> list[str]:
    return [_packed_text(f"[{','.join(lines)}]")] if lines else []


@lru_cache(maxsize=256)
def _packed_text(text: str) -> str:
    return json.dumps(packed(text.encode()))


def told(error: ValidationError, *, n_packed: int = 0) -> str:
    """Return where a session is wrong and why, of the first thing that is.

    Parameters
    ----------
    error : ValidationError
    n_packed : int, default=0
        How many of its actions stand in the history.
    """
    every = error.errors(include_url=False, include_context=False, include_input=False)
    first = every[0]
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    where = _place(first["loc"], n_packed)
    more = f", and {len(every) - 1} more" if len(every) > 1 else ""
    return f"{where}: {reason}{more}" if where else f"{reason}{more}"


def _place(parts: tuple[int | str, ...], n_packed: int) -> str:
    """Return a place in the file as people write it, such as ``actions[3].patches``."""
    place = ""
    before: int | str = ""
    for depth, part in enumerate(parts):
        if isinstance(part, int):
            if depth == 1 and before == "actions":
                place = action_place(part, n_packed)
            else:
                place += f"[{part}]"
        # After the number of an action its kind is named, which is no key.
        elif not (isinstance(before, int) and depth == 2 and parts[0] == "actions"):
            place += f".{part}" if place else part
        before = part
    return place[:200]


def action_place(number: int, n_packed: int) -> str:
    """Return where the action of a number stands."""
    return f"action {number} of the history" if number < n_packed else f"actions[{number - n_packed}]"


def refusal_of(reason: str) -> DocumentError:
    """Return the error of a file that is JSON, and no session."""
    return DocumentError(f"not a session ({reason}); {_ADVICE}")
