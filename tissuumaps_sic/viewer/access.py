"""Who may see what: the whole policy, on one page.

TissUUmaps' routes run in our process, so what they may do is ours. `ROUTES` lists all of them and what each
may answer; one that is not listed is refused, as a newer TissUUmaps may bring some. Of each request, in this
order (`guard` asks, `Access` decides):

1. it must be for this server by one of its names (`Hosts`): a web site whose name is pointed at this machine
   gets nothing;
2. what its address, ``path`` and ``root`` name must lie in the served folder, and be neither hidden nor a
   password (`stays_within`); only pictures are followed by links out of it;
3. pages of other sites get nothing but pages, by a link that a person follows, and change nothing;
4. the nearest ``auth`` file of each of these paths must be satisfied, where it is named and where links lead
   (`passwords` reads these files and slows who guesses);
5. the route must be listed, and take the method; of TissUUmaps' plugins only ours and the user's own run.

The plugin is asked once more, since it runs in a plain TissUUmaps, too: `require_call` is who may call it and
what a read-only server refuses, `Reach` is which slides a call may read, those that its sessions name
included. What is written goes to no link (`require_no_link`, `require_place`).
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import posixpath
import re
import secrets
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.names import path_of
from tissuumaps_sic.viewer.passwords import (
    Given,
    Patience,
    auths_below,
    auths_met,
    auths_of,
    is_granted,
    nearest_auth,
)

# The plugin's folder, and what TissUUmaps needs of it.
FOLDER = Path(__file__).parents[1] / "plugin"
FILES = (
    *("SIC.py", "SIC.js", "SIC.yml"),
    *(path.relative_to(FOLDER).as_posix() for path in sorted((FOLDER / "SIC_page").rglob("*.js"))),
)

# Set in the application's configuration by a server that has a page for every h5ad.
MAKES_PAGES = "SIC_MAKES_PAGES"
_LONGEST_PATH = 4096

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
_COOKIE = "tissuumaps_sic"
_ASKS = {"WWW-Authenticate": 'Basic realm="Login Required"'}


class AccessError(SicError):
    """Whoever asks may not have this; `status` and `headers` are of the HTTP answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def _no_such_address() -> AccessError:
    return AccessError(404, "There is no such address.")


class Access:
    """The policy of one served folder; safe to use from many threads.

    Parameters
    ----------
    flask : Flask
        TissUUmaps' application.
    folder : Path
        As it is named: links stay links.
    hosts : Hosts
    calls : collection of str
        What our plugin answers.
    """

    def __init__(self, flask: Any, folder: Path, hosts: Hosts, calls: Collection[str]) -> None:
        self._flask, self._hosts, self._calls = flask, hosts, calls
        self._folder, self._real = folder, Path(os.path.realpath(folder))
        self._patience = Patience()
        self._secret = secrets.token_bytes(32)
        # Those that are there now guard until the end.
        auths_below(folder)

    def require_host(self, request: Any) -> None:
        """Refuse what is meant for a server of another name.

        Parameters
        ----------
        request : werkzeug.wrappers.Request
        """
        self._hosts.require(request.environ.get("HTTP_HOST"))

    def let_in(self, request: Any, route: Route | None, values: Mapping[str, Any]) -> str | None:
        """Refuse who may not see what a request names; return a cookie for who has just come in.

        Parameters
        ----------
        request : werkzeug.wrappers.Request
        route : Route or None
        values : mapping of str to value

        Returns
        -------
        str or None
        """
        paths = list(self._paths(request, route, values))
        if leads_out(request.path) or not all(map(stays_within, paths)):
            raise _no_such_address()
        _require_own_site(request, route)
        # Only pictures are linked from elsewhere: where the scanner put them.
        if route is not None and route.kind in ("file", "list") and not all(map(self._lies_here, paths)):
            raise _no_such_address()
        if route is None or route.kind not in ("software", "plugin"):
            return self._require_password(request, self._auths(paths), enough=all)
        # These name no file: the password of any folder here will do. The plugin asks again, by its file.
        asked = auths_of(self._real)
        if not asked and route.kind == "plugin":
            return self._slow_guesses(request)
        return self._require_password(request, asked, enough=any)

    def require_allowed(
        self, request: Any, route: Route | None, endpoint: str | None, values: Mapping[str, Any]
    ) -> None:
        """Refuse what nobody may ask for.

        Parameters
        ----------
        request : werkzeug.wrappers.Request
        route : Route or None
        endpoint : str or None
        values : mapping of str to value
        """
        if route is not None and route.kind == "page" and "dl" in request.args:
            raise AccessError(
                403, "This server packs no projects with their files; copy them from its folder."
            )
        # By ``tmap`` the page would read a project past us.
        if route is None or "tmap" in request.args or not self._is_allowed(endpoint, values):
            raise _no_such_address()
        allowed = ("GET", "HEAD", "POST") if route.changes else ("GET", "HEAD")
        if request.method not in allowed:
            raise AccessError(405, "This address does not answer that.", {"Allow": ", ".join(allowed)})

    def _is_allowed(self, endpoint: str | None, values: Mapping[str, Any]) -> bool:
        """Return whether a route may be asked for just this."""
        name = values.get("pluginName")
        if endpoint == "runPlugin":
            return f"{name}.js" in FILES or name in plugins_of(self._flask)
        if endpoint == "pluginJS":
            method = values["method"]
            if name == "SIC":
                return method in self._calls
            return name in plugins_of(self._flask) and method.isidentifier() and not method.startswith("_")
        # A folder of tiles may hold files of any kind, and a script among them would be one of this site.
        return endpoint != "tile" or str(values["format"]).lower() in _TILES

    def _paths(self, request: Any, route: Route | None, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield every path below the folder that a request names, in whatever way."""
        if route is not None and route.kind in ("software", "plugin"):
            return
        own = request.path.lstrip("/")
        given = [folder_of(path, self._folder) for path in request.args.getlist("path")]
        named = [own]
        if route is not None and route.kind == "picture":
            # The file whose pixels they are may be a link.
            named.append(values["path"])
        elif own.endswith(".tmap"):
            named.append(f"{own.removesuffix('.tmap')}.h5ad")
        if route is not None and route.kind == "page" and given:
            yield from (posixpath.join(within, name) for within in given for name in named)
        elif route is None or route.kind != "list":
            yield from named
        yield from given
        yield from (root.lstrip("/") for root in request.args.getlist("root"))

    def _lies_here(self, path: str) -> bool:
        named = os.path.realpath(os.path.join(self._folder, path))  # noqa: PTH118
        return Path(named).is_relative_to(self._real)

    def _auths(self, paths: list[str]) -> list[Path]:
        """Return the nearest ``auth`` files of paths, by where they are named and by where links lead."""
        places = set()
        for path in paths:
            named = os.path.normpath(os.path.join(self._folder, path))  # noqa: PTH118 -- links stay links
            places.add(named)
            real = os.path.realpath(named)
            if Path(real).is_relative_to(self._real):
                places.add(real)
        return list({auth for place in places if (auth := nearest_auth(_folder_at(place))) is not None})

    def _require_password(self, request: Any, asked: Collection[Path], *, enough: Any) -> str | None:
        """Refuse who has not given the passwords, all or any of them; return a cookie for who has."""
        if not asked:
            return None
        given, address = request.authorization, request.remote_addr or ""
        known = self._is_known(request, asked)
        if given is not None and not known:
            self._require_patience(address)
        if enough(is_granted(auth, given) for auth in asked):
            return None if known else self._cookie(request, asked)
        if given is not None:
            self._patience.note_failure(address)
        raise AccessError(401, "This folder needs a user name and a password.", _ASKS)

    def _slow_guesses(self, request: Any) -> str | None:
        """Refuse who guesses the passwords of folders below by calls to the plugin."""
        given, address = request.authorization, request.remote_addr or ""
        asked = auths_met(self._real)
        if given is None or not asked or self._is_known(request, asked):
            return None
        self._require_patience(address)
        if any(is_granted(auth, given) for auth in asked):
            return self._cookie(request, asked)
        self._patience.note_failure(address)
        return None

    def _require_patience(self, address: str) -> None:
        if wait := self._patience.seconds_left(address):
            raise AccessError(
                429,
                "There were many wrong passwords from your address; try again in a few seconds.",
                {"Retry-After": str(int(wait) + 1)},
            )

    def _is_known(self, request: Any, asked: Collection[Path]) -> bool:
        """Return whether a browser came in before, so that an attacker at its address cannot keep it out."""
        return hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._token(asked).encode())

    def _token(self, asked: Collection[Path]) -> str:
        text = "\0".join(sorted(map(str, asked)))
        return hmac.new(self._secret, os.fsencode(text), "sha256").hexdigest()

    def _cookie(self, request: Any, asked: Collection[Path]) -> str:
        secure = "; Secure" if request.is_secure else ""
        place = f"{request.script_root}/"
        return f"{_COOKIE}={self._token(asked)}; HttpOnly; SameSite=Strict; Path={place}{secure}"


# Names of the server, and other sites


class Hosts:
    """The names that browsers know this server by.

    An address of numbers cannot be pointed elsewhere, a name can; so where others may connect all of the
    first are taken, and of the second those that are known.

    Parameters
    ----------
    host : str
        The address that is listened on.
    names : collection of str
        Further names of this server, as browsers know it.
    """

    def __init__(self, host: str, names: Collection[str]) -> None:
        self._on_loopback = is_own_machine(host)
        known = {"localhost", "127.0.0.1", "::1", host, *names}
        if not self._on_loopback:
            own = {socket.gethostname(), socket.getfqdn()}
            known |= own | {f"{name.partition('.')[0]}.local" for name in own}
            known |= {name.partition(".")[0] for name in own}
        self._names = {name.strip("[]").rstrip(".").casefold() for name in known if name}

    def require(self, host: str | None) -> None:
        """Refuse a name that is not this server's.

        Parameters
        ----------
        host : str or None

        Raises
        ------
        AccessError
            421; the message says how to make it one.
        """
        # Browsers always send one; who does not is none, and cannot be led here by a web site.
        if not host:
            return
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", host.strip())
        if match is None:
            raise AccessError(421, "This server does not go by that name.")
        name = match[1].strip("[]").rstrip(".").casefold()
        if name not in self._names and (self._on_loopback or not _is_address(name)):
            raise AccessError(
                421,
                f"This server is not called {name}. If that is its name, start it with --allowed-host "
                f"{name}; if you came here by a link, the site that it was on tried to reach your slides.",
            )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_machine(host: str) -> bool:
    """Return whether an address is of this machine alone; a name that is no address counts as public."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_open_to_all(folder: Path, host: str) -> bool:
    """Return whether other machines would see a folder without a password.

    Parameters
    ----------
    folder : Path
    host : str

    Returns
    -------
    bool
    """
    return not is_own_machine(host) and not (folder / "auth").is_file()


def _require_own_site(request: Any, route: Route | None) -> None:
    """Refuse what a page of another site asks for."""
    # What a browser says of who asks; "none" is a person who typed the address.
    site = request.headers.get("Sec-Fetch-Site")
    is_own = site in (None, "same-origin", "none") and _is_of(request.headers.get("Origin"), request.host)
    if request.method in ("GET", "HEAD"):
        kind = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
        if route is not None and route.kind == "page":
            # A link that a person follows shows the page, and to nobody else.
            is_own = is_own or kind == ("navigate", "document")
        elif site is None and not _is_of(request.headers.get("Referer"), request.host):
            is_own = False
    if not is_own:
        raise AccessError(403, "Requests from other sites are refused.")


def _is_of(address: str | None, host: str) -> bool:
    """Return whether an address is of a host; where there is none it may be."""
    if not address:
        return True
    try:
        return urlsplit(address).netloc.casefold() == host.casefold()
    except ValueError:
        return False


# Calls of the plugin


@dataclass(frozen=True)
class Reach:
    """Which slides one call of the plugin may read: its own, and those that the same password opens.

    Attributes
    ----------
    root : Path
        The served folder, with all links followed.
    h5ad : Path
        The slide that the call is about, with all links followed.
    auth : Path or None
        The ``auth`` file that guards it.
    makes_pages : bool
        Whether the server has a page for every h5ad, that without a project included.
    read_only : bool
        Whether the server takes no change.
    """

    root: Path
    h5ad: Path
    auth: Path | None
    makes_pages: bool = False
    read_only: bool = False

    def admits(self, path: Path) -> bool:
        """Return whether a file may be read, with all links followed.

        Parameters
        ----------
        path : Path

        Returns
        -------
        bool
        """
        return path.is_relative_to(self.root) and nearest_auth(path.parent) == self.auth

    def find(self, relative: str) -> Path:
        """Return another slide by its path below the served folder.

        Parameters
        ----------
        relative : str

        Returns
        -------
        Path

        Raises
        ------
        AccessError
            When there is none, or none that may be read.
        """
        path = find_below(self.root, relative)
        if path is None or not self.admits(path):
            raise _no_such_slide(relative)
        return path


def reach_of(root: Path, content: Any, *, makes_pages: bool = False, read_only: bool = False) -> Reach:
    """Return what a call may reach: that is told by the slide that its content names.

    Parameters
    ----------
    root : Path
    content : object
        The request's JSON.
    makes_pages : bool, default=False
    read_only : bool, default=False

    Returns
    -------
    Reach

    Raises
    ------
    AccessError
        When it names none, or one that is not in the served folder, by whatever path.
    """
    if not isinstance(content, dict) or not isinstance(content.get("h5ad"), str):
        raise AccessError(422, "the request is not understood: h5ad is missing")
    h5ad = find_below(root, content["h5ad"])
    if h5ad is None:
        raise _no_such_slide(content["h5ad"])
    # The folder that counts is the one in which it lies, whatever leads there.
    return Reach(root.resolve(), h5ad, nearest_auth(h5ad.parent), makes_pages, read_only)


def _no_such_slide(relative: str) -> AccessError:
    return AccessError(404, f"no h5ad of that name in the served folder: {relative[:200]!r}")


def require_password(reach: Reach, given: Given | None) -> None:
    """Refuse who has not given the password of a slide: TissUUmaps' own route to plugins asks nobody.

    Parameters
    ----------
    reach : Reach
    given : Given or None

    Raises
    ------
    AccessError
        401.
    """
    if reach.auth is not None and not is_granted(reach.auth, given):
        raise AccessError(401, "this folder needs a user name and a password; load the page again", _ASKS)


def require_call(request: Any, *, writes: bool, read_only: bool) -> None:
    """Refuse a call of the plugin that our own page did not make, or that a read-only server does not take.

    Parameters
    ----------
    request : werkzeug.wrappers.Request
    writes : bool
    read_only : bool

    Raises
    ------
    AccessError
        405 or 403.
    """
    if request.method != "POST":
        raise AccessError(405, "this address answers POST requests of the SIC plugin only")
    if not _is_of(request.headers.get("Origin"), request.host):
        raise AccessError(403, "requests from other sites are refused")
    if writes:
        require_writable("seeds and labels cannot be changed", read_only=read_only)


def require_writable(refused: str, *, read_only: bool) -> None:
    """Refuse to write on a server that is read-only; `refused` is what then cannot be done.

    Parameters
    ----------
    refused : str
        What then cannot be done.
    read_only : bool

    Raises
    ------
    AccessError
        403.
    """
    if read_only:
        raise AccessError(403, f"this server is read-only: {refused} on it")


def plugins_of(flask: Any) -> list[str]:
    """Return the names of the plugins that may be called: ours, and those of the user's own folder.

    Parameters
    ----------
    flask : Flask

    Returns
    -------
    list of str
    """
    own = Path(flask.config["PLUGIN_FOLDER"])
    named = (str(plugin["module"]) for plugin in flask.config["PLUGINS"])
    return ["SIC", *(name for name in named if name != "SIC" and (own / f"{name}.py").is_file())]


# Paths and links


def folder_of(given: str, folder: Path) -> str:
    """Return the folder that ``path`` names: an address, so that TissUUmaps can join it to others.

    Parameters
    ----------
    given : str
    folder : Path

    Returns
    -------
    str
    """
    # Its page says "null" where it has none.
    if given == "null" and not (folder / given).is_dir():
        return ""
    return path_of(given, folder)


def _folder_at(path: str) -> Path:
    # In strings, since it is asked at each request.
    return Path(path if os.path.isdir(path) else os.path.dirname(path))  # noqa: PTH112, PTH120


def leads_out(path: str) -> bool:
    """Return whether a path has a step that leaves its folder, or a letter that no file's name has."""
    return "\0" in path or ".." in path.split("/") or (os.sep == "\\" and bool(set(path) & set("\\:")))


def stays_within(path: str) -> bool:
    """Return whether a path stays below the folder and names nothing hidden; links in it may lead out."""
    if leads_out(path) or path.startswith("/"):
        return False
    # What begins with a dot is being written, or a lock, or TissUUmaps' own; `auth` holds a password.
    return not any(
        (part.startswith(".") and part != ".") or part.casefold() in ("auth", "auth.dzi", "auth_files")
        for part in path.split("/")
    )


def find_below(root: Path, relative: str, *, suffix: str = ".h5ad") -> Path | None:
    """Return the file at a path below a folder, with all links followed; None where there is none.

    None as well where the path, or a link in it, leaves the folder, and where the file has another ending.

    Parameters
    ----------
    root : Path
    relative : str
    suffix : str, default=".h5ad"

    Returns
    -------
    Path or None
    """
    if len(relative) > _LONGEST_PATH or "\0" in relative or (os.sep == "\\" and "\\" in relative):
        return None
    base = root.resolve()
    try:
        path = (base / relative).resolve()
        is_there = path.is_relative_to(base) and path.suffix == suffix and path.is_file()
    except (OSError, ValueError, RuntimeError):
        is_there = False
    return path if is_there else None


def find_picture(root: Path, relative: str) -> Path | None:
    """Return the picture at a path below a folder; a link may lead out of it, to where a scanner put it.

    Parameters
    ----------
    root : Path
    relative : str

    Returns
    -------
    Path or None
    """
    base = os.path.abspath(root)  # noqa: PTH100 -- links stay links
    path = Path(os.path.abspath(os.path.join(base, relative)))  # noqa: PTH100, PTH118
    return path if path.is_relative_to(base) and path.is_file() else None


def require_no_link(path: Path) -> None:
    """Refuse a session that is a link: it would be read, and written, elsewhere.

    Parameters
    ----------
    path : Path

    Raises
    ------
    AccessError
        422.
    """
    if path.is_symlink():
        raise AccessError(422, f"{path.name}: is a link to another place; put the session itself there")


def require_place(target: Path, root: Path) -> None:
    """Refuse to save a project anywhere but as a file in a folder below the served one.

    Parameters
    ----------
    target : Path
    root : Path

    Raises
    ------
    AccessError
        404 or 403.
    """
    if not target.parent.is_dir() or not target.parent.resolve().is_relative_to(root.resolve()):
        raise AccessError(404, "there is no such folder")
    if target.is_symlink():
        raise AccessError(403, f"{target.name}: is a link to another place; save under another name")
    if target.exists() and not target.is_file():
        raise AccessError(403, f"{target.name}: is not a file; save under another name")
