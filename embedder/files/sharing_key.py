"""The secret by which shared slides are named and moved: what is taken for one, and what is not."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import secrets
import stat
from collections import Counter
from pathlib import Path

from embedder.files.proof import ShareError

log = logging.getLogger(__name__)

_LEAST_KEY_BYTES, _MOST_KEY_BYTES = 16, 4096
# Of what the bytes of a key could be, by how often each of them is in it.
_LEAST_KEY_BITS = 48
_GUESSED = re.compile(
    rb"password|passwort|secret|letmein|qwerty|changeme|admin|0123456789|123456789?0?", re.I
)


def read_key(path: Path, *, shared: Path | None = None) -> bytes:
    """Read the secret that names and shifts are made with; one is made where the file is not there.

    Parameters
    ----------
    path : Path
    shared : Path, optional
        The folder that the copies go into: the secret must not lie in it.

    Returns
    -------
    bytes

    Raises
    ------
    ShareError
        The file is none that holds a secret, one that can be guessed, or lies where it would be shared.
    OSError
        It cannot be read or made.
    """
    if shared is not None and any(
        each.is_relative_to(folder)
        for each in (Path(os.path.abspath(path)), path.resolve())  # noqa: PTH100 -- a link stays one
        for folder in (Path(os.path.abspath(shared)), shared.resolve())  # noqa: PTH100
    ):
        raise ShareError(
            f"{path}: the secret would lie in the folder that is shared, and undo all; keep it elsewhere"
        )
    try:
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _existing_key(path)
    with os.fdopen(made, "w", encoding="ascii") as file:
        key = secrets.token_hex(32)
        file.write(f"{key}\n")
    log.info("%s: a new secret; keep it, since the same one gives the same names and shifts again", path)
    return key.encode()


def _existing_key(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_KEY_BYTES:
        raise ShareError(f"{path}: is no file of a secret; name one that is not there yet, and it is made")
    key = path.read_bytes().strip()
    check_key(key, f"{path}: ")
    if os.name == "posix" and status.st_mode & 0o077:
        log.warning("%s: can be read by others; chmod 600 keeps the secret yours", path)
    return key


def check_key(key: bytes, where: str) -> None:
    """See that a key is a secret.

    Parameters
    ----------
    key : bytes
    where : str
        What the message begins with, and a space or colon after it.

    Raises
    ------
    ShareError
        It is short, can be guessed, or is a text that something else is for.
    """
    advice = "name a file that is not there yet, and one is made"
    if len(key) < _LEAST_KEY_BYTES:
        raise ShareError(f"{where}has {len(key)} bytes; a secret has at least {_LEAST_KEY_BYTES}: {advice}")
    if b"\n" in key and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in key):
        raise ShareError(f"{where}is a text of several lines, no secret: {advice}")
    period = next(n for n in range(1, len(key) + 1) if key[n:] == key[:-n])
    unguessed = _GUESSED.sub(b"", key[:period])
    steps = {(b - a) % 256 for a, b in itertools.pairwise(key)}
    counts = Counter(key).values()
    bits = -sum(count * math.log2(count / len(key)) for count in counts)
    if len(unguessed) < 12 or len(steps) < 4 or bits < _LEAST_KEY_BITS:
        raise ShareError(f"{where}holds a secret that is easily guessed: {advice}")
