"""The JSON of a session's file: read within bounds, told what is wrong with it and where, and written.

It is one object:

``schema``
    "tissuumaps-sic/session/3", ".../4" where something is packed as told below, or ".../5" where there is
    something that only this version knows (``branches``, ``readers``, ``seen``; actions that are
    ``REMARKS``, or "bring"). 1 and 2 are read as well.
``slide``, ``fingerprint``
    The slide's name, and the fingerprint of its patches, `EmbeddedSlide.fingerprint`.
``classes``
    What the session began with: objects of ``name`` and ``color`` (#rrggbb). Labels are places in the list of
    classes as it is at an action.
``actions``
    What was done, in order, each with ``time``, ``user`` and ``kind``: "seed" (``label``, null where seeds
    are taken back, and ``patches``), "bring" (``source``, a file's name, ``parts``, seed actions, and the
    classes that came with them), "clear", "add-class", "edit-class", "remove-class", "borrow", "return",
    "skip" (``patches``, always named), "note" (``number``, ``text``, ``patch``, ``box``, ``outline``),
    "check" (``checked``), "verify-start" (``sample``, an object as `check_sample.CheckSample` tells: what
    the patches to be asked about follow from), "verify-answer" (``patch``, its name, and ``number``, that
    which the class keeps, or null where the reader cannot tell); their members are those of the classes in
    `actions`.
``position``, ``revision``
    How many actions count, the others having been undone; how many changes there were.
``branches``
    Only where something was undone and then replaced: objects of ``number``,
    ``on`` (the branch that it left, null the ``actions``), ``at`` (how many actions, of those in ``history``
    too, come before its own) and ``actions``.
``readers``
    Only of a consensus: the names of the sessions that it was made of.
``seen``
    Only where there is some: which patches were looked at closely, a bit a patch, the first the highest of a
    byte, a text for ``np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8))``.
``run``
    The last run, members as those of `last_run.Run`, or null.

So the file of a session with few seeds names them. A larger one has rows of the h5ad, 0 the first, which hold
for the patches of the fingerprint alone:

- A seed action has ``rows`` in place of ``patches``: a list, or a text for
  ``np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i4"))``.
- ``run["seeds"]`` is a list of objects of ``label`` and ``rows``; ``seeds`` of what is borrowed is one of
  ``label`` and ``patches``, a text for ``json.loads(zlib.decompress(base64.b64decode(text)))``.
- ``history`` holds the actions before those in ``actions``, from the first on: each item is an action, or a
  text for several, as ``json.loads(zlib.decompress(base64.b64decode(text)))``.
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

from tissuumaps_sic.annotation.actions import REMARKS, BringAction, name_place
from tissuumaps_sic.annotation.branches import Branch
from tissuumaps_sic.annotation.patch_rows import PatchIndex, SeedMap, pack, unpack
from tissuumaps_sic.annotation.records import MOST_UNPACKED, Reading
from tissuumaps_sic.annotation.session import NEWEST, NEWEST_SCHEMA, PACKED_SCHEMA, SCHEMA, Session
from tissuumaps_sic.slidefile.errors import SicError

# Seeded patches of all actions together that are named in the file.
_MOST_NAMED = 1000
# A lasso around half of the largest slides takes a few megabytes in files of 0.1.
_MOST_BYTES = 512 * 2**20
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


def read_document(path: Path) -> dict[str, Any]:
    """Read the JSON of a session.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to value

    Raises
    ------
    DocumentError
        When it cannot be read, is no JSON, or none of a session.
    """
    document = _parse(_decode(path))
    if not isinstance(document, dict):
        _refuse(f"it holds {_KINDS.get(type(document), 'something else')}, where a session is an object")
    schema = document.get("schema")
    known = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if known is None:
        given = "it has no “schema”" if schema is None else f"its schema is {str(schema)[:60]!r}"
        _refuse(f"{given}, where a session has “tissuumaps-sic/session/{NEWEST}”")
    if len(known[1]) > 4 or int(known[1]) > NEWEST:
        raise DocumentError(
            f"was made by a newer version of tissuumaps-sic (session/{known[1][:20]}; this one knows up to "
            f"session/{NEWEST}); update tissuumaps-sic, or move the file away to start anew"
        )
    if "history" in document and known[1] in ("1", "2", "3"):
        _refuse(f"history: session/{known[1]} has none")
    return document


def to_session(document: dict[str, Any], index: PatchIndex) -> Session:
    """Return the session that a document is, with the patches of its slide.

    Parameters
    ----------
    document : dict of str to value
    index : PatchIndex

    Returns
    -------
    Session

    Raises
    ------
    DocumentError
        When it is none.
    """
    content, n_packed = dict(document), 0
    if "history" in content:
        packed_actions = _unpack_history(content.pop("history"))
        recent = content.get("actions", [])
        if not isinstance(recent, list):
            _refuse("actions: is not a list")
        content["actions"], n_packed = packed_actions + recent, len(packed_actions)
    try:
        return Session.model_validate(content, context=Reading(index, n_packed=n_packed))
    except ValidationError as error:
        _refuse(_explain(error, n_packed=n_packed))


def _decode(path: Path) -> str:
    data = _read(path)
    if not data.strip():
        _refuse("it is empty")
    # UTF-16 and a byte-order mark are what Windows' editors write.
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        _refuse(f"its byte {error.start} is not text in {encoding.upper()}; save it as UTF-8")


def _read(path: Path) -> bytes:
    """Return the bytes of a regular file; of a pipe or a device nothing is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            kind = os.fstat(descriptor)
            if not stat.S_ISREG(kind.st_mode):
                _refuse(f"it is {_kind(kind.st_mode)}, not a file")
            if kind.st_size > _MOST_BYTES:
                _refuse(f"it has {kind.st_size / 2**20:,.0f} MB, and {_MOST_BYTES // 2**20} MB are the most")
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


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_read_number)
    except json.JSONDecodeError as error:
        around = text[max(error.pos - _SHOWN, 0) : error.pos + _SHOWN].split()
        _refuse(f"line {error.lineno}, column {error.colno}: {error.msg}, near {' '.join(around)!r}")
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError as error:
        # A number of thousands of digits, or NaN.
        _refuse(str(error).partition(";")[0])


def _refuse_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


def _read_number(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is too large a number")
    return value


def _refuse(reason: str) -> NoReturn:
    raise DocumentError(f"not a session ({reason}); {_ADVICE}")


def _unpack_history(pieces: Any) -> list[Any]:
    """Return the actions of a ``history``."""
    if not isinstance(pieces, list):
        _refuse("history: is not a list")
    actions: list[Any] = []
    room = MOST_UNPACKED
    for number, piece in enumerate(pieces):
        if not isinstance(piece, str):
            actions.append(piece)
            continue
        try:
            data = unpack(piece, min(_MOST_PACKED_PIECE, room))
            room -= len(data)
            more = json.loads(data, parse_constant=_refuse_number, parse_float=_read_number)
        except (ValueError, RecursionError) as error:
            _refuse(f"history[{number}]: {str(error)[:200]}")
        if not isinstance(more, list):
            _refuse(f"history[{number}]: is not a list of actions")
        actions += more
    return actions


def _pack_history(lines: Sequence[str]) -> tuple[list[str], int]:
    """Return the items of ``history`` that the oldest actions, a line each, go into, and how many these are.

    What was packed once is packed so again whatever comes after it, and is therefore kept.
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
            items += _pack_lines(short)
            items.append(line)
            short = []
        items += _pack_lines(short)
    return items, n_packed


def _pack_lines(lines: list[str]) -> list[str]:
    return [_pack_text(f"[{','.join(lines)}]")] if lines else []


@lru_cache(maxsize=256)
def _pack_text(text: str) -> str:
    return json.dumps(pack(text.encode()))


def _explain(error: ValidationError, *, n_packed: int) -> str:
    """Return where a session, `n_packed` of whose actions stand in the history, is wrong first, and why."""
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
                place = name_place(part, n_packed)
            else:
                place += f"[{part}]"
        # After the number of an action its kind is named, which is no key.
        elif not (isinstance(before, int) and depth == 2 and parts[0] == "actions"):
            place += f".{part}" if place else part
        before = part
    return place[:200]


def to_text(session: Session) -> str:
    """Return the text of a session's file.

    Parameters
    ----------
    session : Session

    Returns
    -------
    str
    """
    run = session.run
    n_patches = sum(each.n_patches for each in session.every_action) + (run.n_seeds if run else 0)
    is_large = n_patches > _MOST_NAMED or len(session.actions) > _MOST_NAMED
    by_row = is_large and _has_rows(session)
    items: list[str] = []
    n_packed = 0
    lines = [each.packed_line if by_row else each.line for each in session.actions]
    if is_large:
        items, n_packed = _pack_history(lines)
    branches = [_write_branch(each, by_row=by_row) for each in session.branches]
    has_remarks = any(isinstance(each, (*REMARKS, BringAction)) for each in session.actions)
    is_newest = bool(branches or session.readers or session.seen) or has_remarks
    older = PACKED_SCHEMA if by_row or n_packed else SCHEMA
    members = {
        "schema": json.dumps(NEWEST_SCHEMA if is_newest else older),
        "slide": json.dumps(session.slide, ensure_ascii=False),
        "fingerprint": json.dumps(session.fingerprint),
        "classes": _lines([each.model_dump_json() for each in session.initial_classes]),
        **({"history": _lines(items)} if n_packed else {}),
        "actions": _lines(lines[n_packed:]),
        "position": str(session.position),
        "revision": str(session.revision),
        **({"branches": _lines(branches)} if branches else {}),
        **({"readers": json.dumps(session.readers, ensure_ascii=False)} if session.readers else {}),
        **({"seen": json.dumps(session.seen)} if session.seen else {}),
        "run": "null" if run is None else run.packed_line if by_row else run.model_dump_json(),
    }
    return "{\n" + ",\n".join(f' "{key}": {value}' for key, value in members.items()) + "\n}\n"


def _write_branch(branch: Branch, *, by_row: bool) -> str:
    """Return JSON of a branch, an action a line."""
    lines = [each.packed_line if by_row else each.line for each in branch.actions]
    on = "null" if branch.on is None else branch.on
    actions = ",\n   ".join(lines)
    return f'{{"number": {branch.number}, "on": {on}, "at": {branch.at}, "actions": [\n   {actions}]}}'


def _has_rows(session: Session) -> bool:
    """Whether every seeded patch is one of a slide's that is known here."""
    seeds = session.run.seeds if session.run else None
    n_patches = session.seeds.index.n_patches
    return (
        n_patches > 0
        and all(each.patches.is_known for each in session.every_seeding)
        and (seeds is None or (isinstance(seeds, SeedMap) and not (seeds.labels[n_patches:] >= 0).any()))
    )


def _lines(items: Sequence[str]) -> str:
    """Return JSON of a list, a line an item."""
    return "[\n" + ",\n".join(f"  {each}" for each in items) + "\n ]" if items else "[]"
