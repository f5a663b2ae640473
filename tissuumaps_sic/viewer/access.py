"""Who may see what: the whole policy, on one page.

TissUUmaps' routes run in our process, so what they may do is ours. `ROUTES` lists all of them and what each
may answer; one that is not listed is refused, as a newer TissUUmaps may bring some. Before a route is asked,

1. the request must be for this server by one of its names (`Host`): a web site whose name is pointed at this
   machine gets nothing;
2. what its address, ``path`` and ``root`` name must lie in the served folder;
3. pages of other sites get nothing but pages, by a link that a person follows, and change nothing;
4. the nearest ``auth`` file of each of these paths must be satisfied (`passwords`);
5. every answer says what the browser may do with it (`_Policy`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import posixpath
import re
import secrets
import socket
from base64 import b64encode
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tissuumaps_sic.slidefile.names import path_of
from tissuumaps_sic.viewer.passwords import (
    Patience,
    auths_below,
    auths_met,
    auths_of,
    is_granted,
    nearest_auth,
)

log = logging.getLogger(__name__)

# What runs in TissUUmaps' page: its own files, and the one script of the page itself, by its nonce. Nothing
# comes from other hosts or goes there. Its menus set styles everywhere; it draws from data: and blob:.
_PAGE = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-hashes' {handlers}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {framed}"
)
# Its reader of HDF5 makes functions from text; it is a worker, sees no page, and speaks to this server only.
_WORKER = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; connect-src 'self'; "
    "frame-ancestors 'none'"
)
_DATA = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors {framed}"
# TissUUmaps' scripts write one handler into the windows that they open, and these are their names.
_WINDOWS = (
    *("messagebox", "default", "loading", "editJSON"),
    *("scale_messagebox", "move_messagebox", "dilate_messagebox"),
)
WORKER = "/static/js/utils/h5Utils_worker.js"

Kind = Literal["page", "file", "picture", "software", "plugin", "list"]


@dataclass(frozen=True)
class Route:
    """What one of TissUUmaps' routes may answer.

    Attributes
    ----------
    kind : str
        "page" is answered by `pages` and never by TissUUmaps, as is "list", the names of a folder's files;
        "file" and "picture" are files of the folder by their address; "software" is TissUUmaps' own; "plugin"
        are calls.
    changes : bool
        Whether a POST is taken.
    framed : bool
        Whether our own page shows it in a frame.
    """

    kind: Kind
    changes: bool = False
    framed: bool = False


# None is refused whoever asks: pages that lie in a folder ``web`` would be ours to the browser, and nothing
# needs the pictures on a slide's label as tiles.
ROUTES: dict[str, Route | None] = {
    "static": Route("software"),
    "favicon": Route("software"),
    "ping": Route("software"),
    "runPlugin": Route("software"),
    "index": Route("page"),
    "slide": Route("page"),
    "tmapFile": Route("page", changes=True),
    "tmapFile_old": Route("page"),
    "h5ad": Route("page"),
    "h5adFile_old": Route("page"),
    "get_tree": Route("page", framed=True),
    "get_file_tree": Route("list"),
    "csvFile": Route("file"),
    "jsonFile": Route("file"),
    "dzi": Route("picture"),
    "dzi_asso": Route("picture", framed=True),
    "tile": Route("picture"),
    "tile_asso": None,
    "base_static": None,
    "base_static_redirect": None,
    "pluginJS": Route("plugin", changes=True),
}
_TILES = ("jpeg", "jpg", "png")

# Set in the environment of a request that was let in: TissUUmaps then need not ask again, in its own way.
_GRANTED = object()
_GRANTED_KEY = "tissuumaps_sic.granted"
NONCE_KEY = "tissuumaps_sic.nonce"
_COOKIE = "tissuumaps_sic"


def guarded(
    app: Any, auth: Path, *, host: str = "127.0.0.1", names: Collection[str] = (), first: str | None = None
) -> Any:
    """Return a WSGI application that lets pass what the policy allows, and answers TissUUmaps' pages itself.

    Parameters
    ----------
    app : Flask or WSGI application of `with_pages`
    auth : Path
        The ``auth`` file of the served folder, whether it is there or not.
    host : str
        The address that is listened on.
    names : collection of str
        Further names of this server, as browsers know it.
    first : str, optional
        The address that the bare one leads to.
    """
    from tissuumaps_sic.viewer.pages import with_pages

    folder = Path(os.path.abspath(auth.parent))  # noqa: PTH100 -- where it is named, not where it leads
    if not hasattr(app, "flask"):
        app = with_pages(app, folder, first=first)
    _let_us_ask(app.flask)
    # Those that are there now guard until the end.
    auths_below(folder)
    return _Guard(app, folder, _Hosts(host, names))


class _Guard:
    def __init__(self, app: Any, folder: Path, hosts: _Hosts) -> None:
        self._app = app
        self._folder, self._real = folder, Path(os.path.realpath(folder))
        self._hosts = hosts
        self._patience = Patience()
        self._secret = secrets.token_bytes(32)
        self._policy = _Policy(app.flask)

    def __call__(self, environ: Any, start: Any) -> Any:
        from werkzeug.wrappers import Request

        request = Request(environ)
        nonce = secrets.token_urlsafe(16)
        environ[NONCE_KEY] = nonce
        answer, route, cookie = self._answer(request)

        def told(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers = [*headers, *self._policy.headers(request, route, nonce, headers)]
            if cookie:
                headers.append(("Set-Cookie", cookie))
            return start(status, headers, *more)

        return answer(environ, told)

    def _answer(self, request: Any) -> tuple[Any, Route | None, str | None]:
        """Return what answers a request, by which route, and a cookie for who has just come in."""
        from werkzeug.wrappers import Response

        if not self._hosts.know(request.environ.get("HTTP_HOST")):
            return Response(self._hosts.refusal(request.environ["HTTP_HOST"]), 421), None, None
        endpoint, values, problem = _matched(self._app.flask, request)
        route = ROUTES.get(endpoint or "")
        paths = list(_paths(request, route, values, self._folder))
        if _leads_out(request.path) or not all(_stays_within(each) for each in paths):
            return Response("There is no such address.", 404), None, None
        if (refused := _of_another_site(request, route)) is not None:
            return Response(refused, 403), None, None
        # Only pictures are linked from elsewhere: where the scanner put them.
        if route is not None and route.kind in ("file", "list") and not all(map(self._lies_here, paths)):
            return Response("There is no such address.", 404), None, None
        refused, cookie = self._unasked(request, route, paths)
        if refused is not None:
            return refused, None, None
        if problem is not None:
            return problem, None, cookie
        if route is not None and route.kind == "page" and "dl" in request.args:
            text = "This server packs no projects with their files; copy them from its folder."
            return Response(text, 403), None, cookie
        # By ``tmap`` the page would read a project past us.
        past_us = "tmap" in request.args
        if route is None or past_us or not _is_allowed(self._app.flask, endpoint or "", values):
            return Response("There is no such address.", 404), None, cookie
        allowed = ("GET", "HEAD", "POST") if route.changes else ("GET", "HEAD")
        if request.method not in allowed:
            headers = {"Allow": ", ".join(allowed)}
            return Response("This address does not answer that.", 405, headers), None, cookie
        request.environ[_GRANTED_KEY] = _GRANTED
        if route.kind in ("page", "list"):
            return self._app.page(request, endpoint, values), route, cookie
        return self._app.flask, route, cookie

    def _unasked(self, request: Any, route: Route | None, paths: list[str]) -> tuple[Any, str | None]:
        """Return the refusal of who has not given the passwords, and a cookie for who has."""
        from werkzeug.wrappers import Response

        if route is not None and route.kind in ("software", "plugin"):
            # These name no file: the password of any folder here will do. The plugin asks again, by its file.
            asked = auths_of(self._real)
            enough = any
            if not asked and route.kind == "plugin":
                return self._slowed(request)
        else:
            asked = list(self._auths(paths))
            enough = all
        if not asked:
            return None, None
        given, address = request.authorization, request.remote_addr or ""
        known = self._is_known(request, asked)
        wait = 0.0 if known or given is None else self._patience.seconds_left(address)
        if wait:
            return _too_many(wait), None
        if enough(is_granted(each, given) for each in asked):
            return None, None if known else self._cookie(asked)
        if given is not None:
            self._patience.note_failure(address)
        return (
            Response(
                "This folder needs a user name and a password.",
                401,
                {"WWW-Authenticate": 'Basic realm="Login Required"'},
            ),
            None,
        )

    def _slowed(self, request: Any) -> tuple[Any, str | None]:
        """Return the refusal of who guesses the passwords of folders below by calls to the plugin."""
        given, address = request.authorization, request.remote_addr or ""
        asked = auths_met(self._real)
        if given is None or not asked:
            return None, None
        if self._is_known(request, asked):
            return None, None
        if wait := self._patience.seconds_left(address):
            return _too_many(wait), None
        if any(is_granted(each, given) for each in asked):
            return None, self._cookie(asked)
        self._patience.note_failure(address)
        return None, None

    def _lies_here(self, path: str) -> bool:
        named = os.path.realpath(os.path.join(self._folder, path))  # noqa: PTH118
        return Path(named).is_relative_to(self._real)

    def _auths(self, paths: list[str]) -> set[Path]:
        """Return the nearest ``auth`` files of paths, by where they are named and by where links lead."""
        found = set()
        for each in paths:
            named = os.path.normpath(os.path.join(self._folder, each))  # noqa: PTH118 -- links stay links
            found.add(nearest_auth(_folder_at(named)))
            real = os.path.realpath(named)
            if real != named and Path(real).is_relative_to(self._real):
                found.add(nearest_auth(_folder_at(real)))
        found.discard(None)
        return found  # type: ignore[return-value]

    def _is_known(self, request: Any, asked: Collection[Path]) -> bool:
        """Return whether a browser came in before, so that an attacker at its address cannot keep it out."""
        return hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._token(asked).encode())

    def _token(self, asked: Collection[Path]) -> str:
        text = "\0".join(sorted(map(str, asked)))
        return hmac.new(self._secret, os.fsencode(text), "sha256").hexdigest()

    def _cookie(self, asked: Collection[Path]) -> str:
        return f"{_COOKIE}={self._token(asked)}; HttpOnly; SameSite=Strict; Path=/"


def _too_many(wait: float) -> Any:
    from werkzeug.wrappers import Response

    text = "There were many wrong passwords from your address; try again in a few seconds."
    return Response(text, 429, {"Retry-After": str(int(wait) + 1)})


class _Hosts:
    """The names that browsers know this server by.

    An address of numbers cannot be pointed elsewhere, a name can; so where others may connect all of the
    first are taken, and of the second those that are known.
    """

    def __init__(self, host: str, names: Collection[str]) -> None:
        self._on_loopback = is_own_machine(host)
        known = {"localhost", "127.0.0.1", "::1", host, *names}
        if not self._on_loopback:
            own = {socket.gethostname(), socket.getfqdn()}
            known |= own | {f"{name.partition('.')[0]}.local" for name in own}
            known |= {name.partition(".")[0] for name in own}
        self._names = {name.strip("[]").rstrip(".").casefold() for name in known if name}

    def know(self, host: str | None) -> bool:
        # Browsers always send one; who does not is none, and cannot be led here by a web site.
        if not host:
            return True
        name = _host_name(host)
        if name is None:
            return False
        return name in self._names or (not self._on_loopback and _is_address(name))

    def refusal(self, host: str) -> str:
        name = _host_name(host)
        if name is None:
            return "This server is not called that."
        return (
            f"This server is not called {name}. If that is its name, start it with --allowed-host {name}; "
            "if you came here by a link, the site that it was on tried to reach your slides."
        )


def _host_name(host: str) -> str | None:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", host.strip())
    return match[1].strip("[]").rstrip(".").casefold() if match else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_machine(host: str) -> bool:
    """Return whether an address is of this machine alone; a name that is no address counts as public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _matched(flask: Any, request: Any) -> tuple[str | None, dict[str, Any], Any]:
    """Return which of TissUUmaps' routes a request is for, with what of its address, or else the answer."""
    from werkzeug.exceptions import HTTPException, MethodNotAllowed
    from werkzeug.routing import RequestRedirect
    from werkzeug.wrappers import Response

    adapter = flask.url_map.bind_to_environ(request.environ)
    method = "GET" if request.method == "HEAD" else request.method
    try:
        endpoint, values = adapter.match(method=method)
    except RequestRedirect as redirect:
        return None, {}, redirect.get_response(request.environ)
    except MethodNotAllowed as error:
        text = "This address does not answer that."
        return None, {}, Response(text, 405, {"Allow": ", ".join(error.valid_methods or ())})
    except HTTPException:
        return None, {}, Response("There is no such address.", 404)
    return endpoint, values, None


def _paths(request: Any, route: Route | None, values: dict[str, Any], folder: Path) -> Iterator[str]:
    """Yield every path below the folder that a request names, in whatever way."""
    if route is not None and route.kind in ("software", "plugin"):
        return
    own = request.path.lstrip("/")
    given = [folder_of(each, folder) for each in request.args.getlist("path")]
    named = [own]
    if route is not None and route.kind == "picture":
        # The file whose pixels they are may be a link.
        named.append(values["path"])
    elif own.endswith(".tmap"):
        named.append(f"{own.removesuffix('.tmap')}.h5ad")
    if route is not None and route.kind == "page" and given:
        yield from (posixpath.join(within, each) for within in given for each in named)
    elif route is None or route.kind != "list":
        yield from named
    yield from given
    yield from (each.lstrip("/") for each in request.args.getlist("root"))


def folder_of(given: str, folder: Path) -> str:
    """Return the folder that ``path`` names: an address, so that TissUUmaps can join it to others."""
    # Its page says "null" where it has none.
    if given == "null" and not (folder / given).is_dir():
        return ""
    return path_of(given, folder)


def _folder_at(path: str) -> Path:
    # In strings, since it is asked at each request.
    return Path(path if os.path.isdir(path) else os.path.dirname(path))  # noqa: PTH112, PTH120


def _leads_out(path: str) -> bool:
    """Return whether a path has a step that leaves its folder, or a letter that no file's name has."""
    return "\0" in path or ".." in path.split("/") or (os.sep == "\\" and bool(set(path) & set("\\:")))


def _stays_within(path: str) -> bool:
    """Return whether a path stays below the folder and names nothing hidden; links in it may lead out."""
    if _leads_out(path) or path.startswith("/"):
        return False
    # What begins with a dot is being written, or a lock, or TissUUmaps' own; `auth` holds a password.
    return not any(
        (part.startswith(".") and part != ".") or part.casefold() in ("auth", "auth.dzi", "auth_files")
        for part in path.split("/")
    )


def _of_another_site(request: Any, route: Route | None) -> str | None:
    """Return why a request that a page of another site makes is refused, None for those of our own."""
    refused = "Requests from other sites are refused."
    # What a browser says of who asks; "none" is a person who typed the address.
    site = request.headers.get("Sec-Fetch-Site")
    is_own = site in (None, "same-origin", "none") and _is_of(request.headers.get("Origin"), request.host)
    if request.method not in ("GET", "HEAD"):
        return None if is_own else refused
    if route is not None and route.kind == "page":
        # A link that a person follows shows the page, and to nobody else.
        kind = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
        return None if is_own or kind == ("navigate", "document") else refused
    if site is None and not _is_of(request.headers.get("Referer"), request.host):
        return refused
    return None if is_own else refused


def _is_of(address: str | None, host: str) -> bool:
    """Return whether an address is of a host; where there is none it may be."""
    if not address:
        return True
    try:
        return urlsplit(address).netloc.casefold() == host.casefold()
    except ValueError:
        return False


def plugins_of(flask: Any) -> list[str]:
    """Return the names of the plugins that may be called: ours, and those of the user's own folder."""
    own = Path(flask.config["PLUGIN_FOLDER"])
    named = (str(each["module"]) for each in flask.config["PLUGINS"])
    return ["SIC", *(name for name in named if name != "SIC" and (own / f"{name}.py").is_file())]


def _is_allowed(flask: Any, endpoint: str, values: dict[str, Any]) -> bool:
    """Return whether a route may be asked for just this."""
    from tissuumaps_sic.plugin import ENDPOINTS, FILES

    if endpoint == "runPlugin":
        name = values["pluginName"]
        return f"{name}.js" in FILES or name in plugins_of(flask)
    if endpoint == "pluginJS":
        name, method = values["pluginName"], values["method"]
        if name == "SIC":
            return method in ENDPOINTS
        return name in plugins_of(flask) and method.isidentifier() and not method.startswith("_")
    if endpoint == "tile":
        # A folder of tiles may hold files of any kind, and a script among them would be one of this site.
        return str(values["format"]).lower() in _TILES
    return True


def _let_us_ask(flask: Any) -> None:
    """Spare TissUUmaps its own look at ``auth`` where the guard has asked.

    It asks in the folder that the Referer names, and fails where a password holds a semicolon.
    """
    from flask import request

    def asked_by_us(theirs: Any) -> Any:
        def view(*args: Any, **values: Any) -> Any:
            was_asked = request.environ.get(_GRANTED_KEY) is _GRANTED
            return (theirs.__wrapped__ if was_asked else theirs)(*args, **values)

        view.is_ours = True  # type: ignore[attr-defined]
        return view

    for endpoint, view in flask.view_functions.items():
        if hasattr(view, "__wrapped__") and not getattr(view, "is_ours", False):
            flask.view_functions[endpoint] = asked_by_us(view)


class _Policy:
    """What browsers may do with our answers."""

    def __init__(self, flask: Any) -> None:
        self._handlers = " ".join(_handlers(Path(flask.root_path, flask.template_folder)))

    def headers(
        self, request: Any, route: Route | None, nonce: str, given: list[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        framed = route is not None and route.framed
        ancestors = "'self'" if framed else "'none'"
        if route is not None and route.kind == "page":
            policy = _PAGE.format(nonce=nonce, handlers=self._handlers, framed=ancestors)
        elif request.path == WORKER:
            policy = _WORKER
        else:
            policy = _DATA.format(framed=ancestors)
        ours = {
            "Content-Security-Policy": policy,
            "X-Frame-Options": "SAMEORIGIN" if framed else "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        there = {name.lower() for name, _ in given}
        return [(name, value) for name, value in ours.items() if name.lower() not in there]


@cache
def _handlers(templates: Path) -> list[str]:
    """Return the hashes of the handlers that TissUUmaps' page and windows bring in attributes.

    They are read from its own files, never from an answer, in which a name of a file could bring one, too.
    """
    found = {f"$('#{name}_modal').modal('hide');;" for name in _WINDOWS}
    for template in sorted(templates.glob("*.html")):
        found |= set(re.findall(r'\son[a-z]+="([^"{}]*)"', template.read_text(encoding="utf-8")))
    return [
        f"'sha256-{b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in sorted(found)
    ]
