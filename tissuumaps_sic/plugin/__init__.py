"""The plugin's face to TissUUmaps: Flask requests in, Flask responses out, and who may ask for what.

TissUUmaps executes ``SIC.py`` anew at every request, so all state lives here and below.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, request
from werkzeug.datastructures import Authorization

from tissuumaps_sic.server import Annotator, RequestError, pack, resolve

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
# What TissUUmaps needs of this folder.
FILES = (
    *("SIC.py", "SIC.js", "SIC.yml"),
    *(f"SIC_page/{path.name}" for path in sorted((FOLDER / "SIC_page").glob("*.js"))),
)

_ANNOTATOR = Annotator()
# The endpoints, and whether they write.
_ENDPOINTS = {
    "open": False,
    "labels": False,
    "suggest": False,
    "why": False,
    "change": True,
    "run": True,
    "write": True,
}


class Plugin:
    """What TissUUmaps calls: ``Plugin(app).<endpoint>(content)``, for any name that a client sends."""

    def __init__(self, app: Flask) -> None:
        object.__setattr__(self, "_app", app)

    def __getattribute__(self, name: str) -> Callable[[Any], Response]:
        # TissUUmaps looks up whatever name is in the address; nothing but the endpoints may be found.
        if name not in _ENDPOINTS:
            abort(404)
        app = object.__getattribute__(self, "_app")
        return lambda content: _answer(app, name, content)


def _answer(app: Flask, endpoint: str, content: Any) -> Response:
    try:
        _admit(app, endpoint)
        root = Path(app.basedir)  # type: ignore[attr-defined]  # set by TissUUmaps
        _authorize(root, content)
        found = getattr(_ANNOTATOR, endpoint)(root, content)
    except RequestError as error:
        response = jsonify(error=str(error))
        response.status_code = error.status
        if error.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="Login Required"'
        return response
    except Exception:
        # The person at the page must see something better than a blank error page.
        log.exception("%s failed", endpoint)
        response = jsonify(error=f"the server failed at “{endpoint}”; its log tells more")
        response.status_code = 500
        return response
    if isinstance(found, tuple):
        return Response(pack(*found), mimetype="application/octet-stream")
    return jsonify(found)


def _admit(app: Flask, endpoint: str) -> None:
    """Refuse what may change something without having been asked for by our own page."""
    if request.method != "POST":
        raise RequestError(405, "this address answers POST requests of the SIC plugin only")
    origin = request.headers.get("Origin")
    if origin and urlsplit(origin).netloc != request.host:
        raise RequestError(403, "requests from other sites are refused")
    if app.config.get("READ_ONLY") and _ENDPOINTS[endpoint]:
        raise RequestError(403, "this server is read-only: seeds and labels cannot be changed on it")


def _authorize(root: Path, content: Any) -> None:
    """Honour the nearest ``auth`` file, as TissUUmaps' own routes do; its plugin route does not."""
    if not isinstance(content, dict) or not isinstance(content.get("h5ad"), str):
        raise RequestError(422, "the request is not understood: h5ad is missing")
    # The folder that counts is the h5ad's; a path that leaves the served folder is refused here.
    folder = resolve(root, content["h5ad"]).parent
    for parent in (folder, *folder.parents):
        auth = parent / "auth"
        if auth.is_file():
            if not is_granted(auth, request.authorization):
                raise RequestError(401, "this folder needs a user name and a password; load the page again")
            return


def is_granted(auth: Path, given: Authorization | None) -> bool:
    """Return whether a request gives the user and password of an ``auth`` file (``user;password``)."""
    user, _, password = auth.read_text().replace("\n", "").partition(";")
    return (
        given is not None
        and hmac.compare_digest((given.username or "").encode(), user.strip().encode())
        and hmac.compare_digest((given.password or "").encode(), password.strip().encode())
    )
