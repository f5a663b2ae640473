"""The door of the server: every request is asked about (`access`), every answer says what it is for."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from tissuumaps_sic.viewer.access import ROUTES, Access, AccessError, Hosts, Route
from tissuumaps_sic.viewer.endpoints import ENDPOINTS
from tissuumaps_sic.viewer.moved import is_moved, moved_script
from tissuumaps_sic.viewer.pages import NONCE_KEY, WORKER, Pages, with_pages

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

# Set in the environment of a request that was let in: TissUUmaps then need not ask again, in its own way.
_GRANTED = object()
_GRANTED_KEY = "tissuumaps_sic.granted"


def guard_app(
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

    Returns
    -------
    WSGI application
    """
    folder = Path(os.path.abspath(auth.parent))  # noqa: PTH100 -- where it is named, not where it leads
    pages = app if isinstance(app, Pages) else with_pages(app, folder, first=first)
    _let_us_ask(pages.flask)
    return _Guard(pages, Access(pages.flask, folder, Hosts(host, names), ENDPOINTS))


class _Guard:
    """The WSGI application of `guard_app`."""

    def __init__(self, pages: Pages, access: Access) -> None:
        self._pages, self._access = pages, access
        self._headers = _Headers(pages.flask)

    def __call__(self, environ: Any, start: Any) -> Any:
        from werkzeug.wrappers import Request

        request = Request(environ)
        nonce = secrets.token_urlsafe(16)
        environ[NONCE_KEY] = nonce
        answer, route, cookie = self._answer(request)

        def start_with_ours(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers = [*headers, *self._headers.missing(request, route, nonce, headers)]
            if cookie:
                headers.append(("Set-Cookie", cookie))
            return start(status, headers, *more)

        return answer(environ, start_with_ours)

    def _answer(self, request: Any) -> tuple[Any, Route | None, str | None]:
        """Return what answers a request, by which route, and a cookie for who has just come in."""
        from werkzeug.wrappers import Response

        cookie = None
        try:
            self._access.require_host(request)
            endpoint, values, problem = _match(self._pages.flask, request)
            route = ROUTES.get(endpoint or "")
            cookie = self._access.let_in(request, route, values)
            if problem is not None:
                return problem, None, cookie
            self._access.require_allowed(request, route, endpoint, values)
        except AccessError as error:
            return Response(str(error), error.status, error.headers), None, cookie
        request.environ[_GRANTED_KEY] = _GRANTED
        if route is not None and route.kind in ("page", "list"):
            return self._pages.page(request, endpoint or "", values), route, cookie
        if is_moved(request.path, request.script_root):
            return moved_script(self._pages.flask, request.path, request.script_root), route, cookie
        return self._pages.flask, route, cookie


def _match(flask: Any, request: Any) -> tuple[str | None, dict[str, Any], Any]:
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


def _let_us_ask(flask: Any) -> None:
    """Spare TissUUmaps its own look at ``auth`` where the guard has asked.

    It asks in the folder that the Referer names, and fails where a password holds a semicolon.
    """
    from flask import request

    def ask_once(theirs: Any) -> Any:
        def view(*args: Any, **values: Any) -> Any:
            was_asked = request.environ.get(_GRANTED_KEY) is _GRANTED
            return (theirs.__wrapped__ if was_asked else theirs)(*args, **values)

        view.is_ours = True  # type: ignore[attr-defined]
        return view

    for endpoint, view in flask.view_functions.items():
        if hasattr(view, "__wrapped__") and not getattr(view, "is_ours", False):
            flask.view_functions[endpoint] = ask_once(view)


class _Headers:
    """What browsers may do with our answers."""

    def __init__(self, flask: Any) -> None:
        self._handlers = " ".join(_hash_handlers(Path(flask.root_path, flask.template_folder)))

    def missing(
        self, request: Any, route: Route | None, nonce: str, given: list[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        """Return the headers that say so, but for those that an answer has."""
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
def _hash_handlers(templates: Path) -> list[str]:
    """Return the hashes of the handlers that TissUUmaps' page and windows bring in attributes.

    They are read from its own files, never from an answer, in which a name of a file could bring one, too.
    """
    handlers = {f"$('#{name}_modal').modal('hide');;" for name in _WINDOWS}
    for template in sorted(templates.glob("*.html")):
        handlers |= set(re.findall(r'\son[a-z]+="([^"{}]*)"', template.read_text(encoding="utf-8")))
    return [
        f"'sha256-{b64encode(hashlib.sha256(handler.encode()).digest()).decode()}'"
        for handler in sorted(handlers)
    ]
