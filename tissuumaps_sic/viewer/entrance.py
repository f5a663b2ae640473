"""Where browsers find this server: below a path, or behind a reverse proxy that tells who asks for what.

The path is told in one of two ways. `sub_path` is for proxies that pass addresses on as they are: each then
begins with it. A proxy that takes it off says so by ``X-Forwarded-Prefix``, where no `sub_path` is given.
What is said by that header, and by ``X-Forwarded-For``, ``-Proto`` and ``-Host``, counts only where it comes
from an address that is named as a proxy's; anybody else may write into his request what he likes, and it is
passed over. WSGI's ``SCRIPT_NAME`` then tells the path to all that answers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Any

from tissuumaps_sic.slidefile.errors import WrongUseError

_PATH = re.compile(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Entrance:
    """A WSGI application that passes requests on as browsers made them; safe to use from many threads.

    Parameters
    ----------
    app : WSGI application
    sub_path : str, default=""
        The path below which browsers find the server, such as ``/slides``, where a proxy leaves it there.
    proxies : collection of str
        Addresses, or networks, of the proxies whose word counts.

    Raises
    ------
    WrongUseError
        When the path or an address cannot be one.
    """

    def __init__(self, app: Any, *, sub_path: str = "", proxies: Collection[str] = ()) -> None:
        self._app, self._sub_path = app, clean_path(sub_path)
        self._networks = [_read_network(each) for each in proxies]

    def __call__(self, environ: Any, start: Any) -> Any:
        """Answer a request as the browser made it."""
        told = _take_word(environ) if self._believes(environ.get("REMOTE_ADDR")) else None
        # Proxies that leave the path in addresses pass this header on from anybody.
        if told is None or self._sub_path:
            problem = self._step_below(environ)
        else:
            problem = None if _is_path(told) else "X-Forwarded-Prefix is not a path."
            environ["SCRIPT_NAME"] = told.rstrip("/")
        if problem is None and environ.get("SCRIPT_NAME") and not environ.get("PATH_INFO"):
            # A page names what it needs from the folder that it is in.
            return _lead(f"{environ['SCRIPT_NAME']}/", environ)(environ, start)
        return (self._app if problem is None else _refusal(problem))(environ, start)

    def _believes(self, peer: str | None) -> bool:
        try:
            address = ipaddress.ip_address((peer or "").partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def _step_below(self, environ: Any) -> str | None:
        """Take the configured path off a request's address; return what is wrong where it is not there."""
        if not self._sub_path:
            return None
        path: str = environ.get("PATH_INFO", "")
        if path != self._sub_path and not path.startswith(f"{self._sub_path}/"):
            return f"There is no such address; this server's begin with {self._sub_path}/."
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = self._sub_path, path[len(self._sub_path) :]
        return None


def _take_word(environ: Any) -> str | None:
    """Put what a proxy tells in place of what is known of its own connection; return its prefix, if any.

    Of several values the last is that of the proxy which speaks to us.
    """

    def told(name: str) -> str | None:
        value: str | None = environ.get(f"HTTP_X_FORWARDED_{name}")
        return None if value is None else value.rpartition(",")[2].strip()

    address, scheme, host = told("FOR"), told("PROTO"), told("HOST")
    if address and _is_address(address):
        environ["REMOTE_ADDR"] = address
    if scheme in ("http", "https"):
        environ["wsgi.url_scheme"] = scheme
    if host:
        # The name is asked about behind this door, as every one is (`access`).
        environ["HTTP_HOST"] = host
    return told("PREFIX")


def _lead(to: str, environ: Any) -> Any:
    from werkzeug.utils import redirect

    query = environ.get("QUERY_STRING")
    return redirect(f"{to}?{query}" if query else to, 308)


def _refusal(text: str) -> Any:
    from werkzeug.wrappers import Response

    return Response(text, 404)


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text.rstrip("/")) is not None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def clean_path(text: str) -> str:
    """Return a sub-path as it stands before addresses: "" or a stroke and what follows, none at its end.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Raises
    ------
    WrongUseError
        When it can be none.
    """
    path = f"/{text.strip('/')}" if text.strip("/") else ""
    if not _is_path(path):
        raise WrongUseError(
            f"{text}: is not a sub-path; give one such as /slides, of letters, digits and ._~-"
        )
    return path


def _read_network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise WrongUseError(
            f"{text}: is not the address of a proxy; give one such as 127.0.0.1, or a network such as "
            "10.89.0.0/24"
        ) from error
