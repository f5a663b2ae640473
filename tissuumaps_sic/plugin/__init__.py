"""The plugin's face to TissUUmaps: Flask requests in, Flask responses out, and who may ask for what.

TissUUmaps executes ``SIC.py`` anew at every request, so all state lives here and below.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from tissuumaps_sic.annotation.lending import only_from
from tissuumaps_sic.viewer.endpoints import Annotator, RequestError, as_json, pack, resolve
from tissuumaps_sic.viewer.passwords import is_granted, nearest_auth

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
# What TissUUmaps needs of this folder.
FILES = (
    *("SIC.py", "SIC.js", "SIC.yml"),
    *(path.relative_to(FOLDER).as_posix() for path in sorted((FOLDER / "SIC_page").rglob("*.js"))),
)

# A lasso around a million patches, eight bytes for each, twice over.
MOST_BYTES = 16 * 2**20

# Set in the application's configuration by a server that has a page for every h5ad.
MAKES_PAGES = "SIC_MAKES_PAGES"

_ANNOTATOR = Annotator()
# The endpoints, and whether they write.
ENDPOINTS = {
    "open": False,
    "labels": False,
    "suggest": False,
    "why": False,
    "scores": False,
    "map": False,
    "regions": False,
    "compare": False,
    "export": False,
    "unlike": False,
    "worklist": False,
    "progress": False,
    "cancel": False,
    "change": True,
    "merge": True,
    "run": True,
    "write": True,
}


class Plugin:
    """What TissUUmaps calls: ``Plugin(app).<endpoint>(content)``, for any name that a client sends."""

    def __init__(self, app: Flask) -> None:
        object.__setattr__(self, "_app", app)

    def __getattribute__(self, name: str) -> Callable[[Any], Response]:
        # TissUUmaps looks up whatever name is in the address; nothing but the endpoints may be found.
        if name not in ENDPOINTS:
            abort(404)
        app = object.__getattribute__(self, "_app")
        # Now, because the next thing that TissUUmaps does is to read the body.
        try:
            _admit(app, name)
            _read_body()
        except RequestError as error:
            abort(_refusal(error))
        return lambda content: _answer(app, name, content)


def _answer(app: Flask, endpoint: str, content: Any) -> Response:
    try:
        root = Path(app.basedir)  # type: ignore[attr-defined]  # set by TissUUmaps
        auth = _authorize(root, content)
        # What a session names is read only where the same password opens it.
        with only_from(
            lambda path: path.is_relative_to(root.resolve()) and nearest_auth(path.parent) == auth
        ):
            if endpoint == "worklist":
                found = _ANNOTATOR.worklist(root, content, makes_pages=bool(app.config.get(MAKES_PAGES)))
            else:
                found = getattr(_ANNOTATOR, endpoint)(root, content)
    except RequestError as error:
        return _refusal(error)
    except MemoryError:
        log.exception("%s failed", endpoint)
        return _refusal(RequestError(507, "there is too little memory for this; close other programs"))
    except Exception:
        # The person at the page must see something better than a blank error page.
        log.exception("%s failed", endpoint)
        response = jsonify(error=f"the server failed at “{endpoint}”; its log tells more")
        response.status_code = 500
        return response
    if isinstance(found, tuple):
        return Response(pack(*found), mimetype="application/octet-stream")
    return Response(as_json(found), mimetype="application/json")


def _refusal(error: RequestError) -> Response:
    response = jsonify(error=str(error))
    response.status_code = error.status
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Login Required"'
    return response


def _read_body() -> None:
    """Read the request's JSON, which TissUUmaps then finds read, so far as it is of a sensible size."""
    too_large = RequestError(
        413, f"a request may have {MOST_BYTES // 2**20} MB; choose fewer patches at a time"
    )
    if (request.content_length or 0) > MOST_BYTES:
        raise too_large
    # Of requests that do not tell their length.
    request.max_content_length = MOST_BYTES
    try:
        request.get_json()
    except RequestEntityTooLarge as error:
        raise too_large from error
    except RecursionError as error:
        raise RequestError(400, "the request is not understood: it is nested too deeply") from error


def _admit(app: Flask, endpoint: str) -> None:
    """Refuse what may change something without having been asked for by our own page."""
    if request.method != "POST":
        raise RequestError(405, "this address answers POST requests of the SIC plugin only")
    origin = request.headers.get("Origin")
    try:
        is_own = not origin or urlsplit(origin).netloc == request.host
    except ValueError:
        is_own = False
    if not is_own:
        raise RequestError(403, "requests from other sites are refused")
    if app.config.get("READ_ONLY") and ENDPOINTS[endpoint]:
        raise RequestError(403, "this server is read-only: seeds and labels cannot be changed on it")


def _authorize(root: Path, content: Any) -> Path | None:
    """Honour the nearest ``auth`` file, as TissUUmaps' own routes do; its plugin route does not.

    Returns that file, or None where there is none.
    """
    if not isinstance(content, dict) or not isinstance(content.get("h5ad"), str):
        raise RequestError(422, "the request is not understood: h5ad is missing")
    # The folder that counts is the h5ad's; a path that leaves the served folder is refused here.
    auth = nearest_auth(resolve(root, content["h5ad"]).parent)
    if auth is not None and not is_granted(auth, request.authorization):
        raise RequestError(401, "this folder needs a user name and a password; load the page again")
    return auth
