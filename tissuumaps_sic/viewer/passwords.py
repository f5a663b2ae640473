"""What ``auth`` files say: who may see the folder that they lie in, and all below it."""

from __future__ import annotations

import hmac
import os
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from tissuumaps_sic.slidefile.errors import SicError

# A name and a password; what is longer is another file of that name.
_MOST_BYTES = 4096
# So many wrong passwords are answered at once, and then one in so many seconds.
_FREE_FAILURES, _SECONDS_A_FAILURE = 10, 1.0
_MOST_ADDRESSES = 10_000


class AuthFileError(SicError):
    """An ``auth`` file says not who may come in; the message says what to write."""


class Given(Protocol):
    """What a request gives of a person, as werkzeug reads it from its header."""

    @property
    def username(self) -> str | None:
        """The user's name."""

    @property
    def password(self) -> str | None:
        """The password."""


@dataclass(frozen=True)
class Credentials:
    """What an ``auth`` file says, in UTF-8."""

    user: bytes
    password: bytes

    def are(self, given: Given | None) -> bool:
        """Return whether these are given; it takes as long whatever is wrong with them."""
        if given is None:
            return False
        user = hmac.compare_digest(_bytes(given.username), self.user)
        return hmac.compare_digest(_bytes(given.password), self.password) and user


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")


def read_auth(path: Path) -> Credentials:
    """Read an ``auth`` file: one line ``user;password``, where the password may hold a semicolon, too.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Credentials

    Raises
    ------
    AuthFileError
        When it is not one such line in UTF-8.
    OSError
        When it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    try:
        # Notepad begins a text with a byte-order mark.
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise AuthFileError(f"{path}: is not UTF-8 text; save it as such, one line user;password") from error
    if len(lines) != 1 or len(content) > _MOST_BYTES:
        raise AuthFileError(
            f"{path}: has {len(lines)} lines, so that nobody could come in; write one line user;password"
        )
    user, _, password = (part.strip() for part in lines[0].partition(";"))
    if ":" in user:
        raise AuthFileError(
            f"{path}: has a colon in the user name, which browsers cannot send, so that nobody could come in"
        )
    if not password:
        raise AuthFileError(f"{path}: has no password, so that nobody could come in; write user;password")
    return Credentials(user.encode(), password.encode())


class _Seen:
    """The ``auth`` files that this process has met: what one of them guarded once it guards until the end."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, ...], Credentials | None]] = {}
        self._lock = threading.Lock()

    def credentials(self, path: str) -> Credentials | None:
        """Return what an ``auth`` file says; None where it is gone or cannot be understood."""
        try:
            stat = os.stat(path)  # noqa: PTH116 -- asked of each folder at each request
        except OSError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        with self._lock:
            known = self._read.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            found = read_auth(Path(path)) if S_ISREG(stat.st_mode) else None
        except (AuthFileError, OSError):
            found = None
        with self._lock:
            self._read[path] = stamp, found
        return found

    def guards(self, path: str) -> bool:
        """Return whether a file of this path is an ``auth`` file, or was one."""
        try:
            there = S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
        except (OSError, ValueError):
            there = False
        with self._lock:
            if there:
                self._read.setdefault(path, ((), None))
            return there or path in self._read

    def below(self, folder: Path) -> list[Path]:
        """Return those that were met below a folder."""
        within = f"{folder}{os.sep}"
        with self._lock:
            return [Path(path) for path in self._read if path.startswith(within)]


_SEEN = _Seen()


def nearest_auth(folder: Path) -> Path | None:
    """Return the ``auth`` file that guards a folder: its own, or that of the nearest folder above.

    One that was there when this process looked first, and is gone, guards it still: an editor that renames,
    or a share that fails, opens nothing.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path or None
    """
    at = str(folder)
    while True:
        path = f"{at.rstrip('/')}/auth" if os.sep == "/" else os.path.join(at, "auth")  # noqa: PTH118
        if _SEEN.guards(path):
            return Path(path)
        above = os.path.dirname(at)  # noqa: PTH120
        if above == at:
            return None
        at = above


def auths_of(folder: Path) -> list[Path]:
    """Return the ``auth`` file of a folder and those below it that were met; none where none guards it.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
    """
    nearest = nearest_auth(folder)
    return [] if nearest is None else [nearest, *(each for each in _SEEN.below(folder) if each != nearest)]


def auths_met(folder: Path) -> list[Path]:
    """Return the ``auth`` files below a folder that this process has met.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
    """
    return sorted(_SEEN.below(folder))


def auths_below(folder: Path) -> list[Path]:
    """Find every ``auth`` file in a folder and below it, so that each guards from now on.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
    """
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if "auth" in names and nearest_auth(Path(at)) == Path(at, "auth"):
            found.append(Path(at, "auth"))
    return sorted(found)


def is_granted(auth: Path, given: Given | None) -> bool:
    """Return whether a request gives the user and password of an ``auth`` file.

    A file that is gone, has no password, or cannot be understood lets nobody in, not everybody.

    Parameters
    ----------
    auth : Path
    given : Given or None

    Returns
    -------
    bool
    """
    credentials = _SEEN.credentials(str(auth))
    return credentials is not None and credentials.are(given)


class Patience:
    """How many wrong passwords an address may try: ten at once, then one a second.

    Others are not held up by it; who is behind one address with an attacker is, until the next second, unless
    they came in before (`access`).
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def seconds_left(self, address: str) -> float:
        """Return how long an address must wait before its next try, 0 where it need not.

        Parameters
        ----------
        address : str

        Returns
        -------
        float
        """
        with self._lock:
            # Each failure pushes the time on; as many as are free may lie ahead.
            ahead = self._until.get(_network(address), 0.0) - time.monotonic()
        return max(0.0, ahead - (_FREE_FAILURES - 1) * _SECONDS_A_FAILURE)

    def note_failure(self, address: str) -> None:
        """Remember that an address gave a wrong password.

        Parameters
        ----------
        address : str
        """
        now, key = time.monotonic(), _network(address)
        with self._lock:
            until = max(self._until.pop(key, now), now) + _SECONDS_A_FAILURE
            if len(self._until) >= _MOST_ADDRESSES:
                del self._until[next(iter(self._until))]
            self._until[key] = until


def _network(address: str) -> str:
    """Return what stands for one machine: of an IPv6 address the half that its owner does not choose."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(known) if known.version == 4 else known.exploded[:19]
