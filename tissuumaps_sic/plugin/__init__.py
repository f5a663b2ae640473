"""The plugin's face to TissUUmaps: Flask requests in, Flask responses out.

TissUUmaps executes ``SIC.py`` anew at every request, so all state lives here and below.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.viewer.access import MAKES_PAGES, AccessError, reach_of, require_call, require_password
from tissuumaps_sic.viewer.answers import as_json, pack
from tissuumaps_sic.viewer.endpoints import ENDPOINTS, Server
from tissuumaps_sic.viewer.requests import MOST_BYTES, RequestError

log = logging.getLogger(__name__)

_SERVER = Server()


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
            read_only = bool(app.config.get("READ_ONLY"))
            require_call(request, writes=ENDPOINTS[name].writes, read_only=read_only)
            _read_body()
        except SicError as error:
            abort(_refuse(error))
        return lambda content: _answer(app, name, content)


def _answer(app: Flask, name: str, content: Any) -> Response:
    try:
        # The folder is set by TissUUmaps.
        root = Path(app.basedir)  # type: ignore[attr-defined]
        reach = reach_of(
            root,
            content,
            makes_pages=bool(app.config.get(MAKES_PAGES)),
            read_only=bool(app.config.get("READ_ONLY")),
        )
        require_password(reach, request.authorization)
        answer = _SERVER.ask(name, reach, content)
    except SicError as error:
        return _refuse(error)
    except Exception:
        # The person at the page must see something better than a blank error page.
        log.exception("%s failed", name)
        told = f"something went wrong in the server (at “{name}”); try again, or look into its window or log"
        response = jsonify(error=told)
        response.status_code = 500
        return response
    if isinstance(answer, tuple):
        return Response(pack(*answer), mimetype="application/octet-stream")
    return Response(as_json(answer), mimetype="application/json")


def _refuse(error: SicError) -> Response:
    """Return an error as an answer: the one place where it becomes a status."""
    # HDF5 tells in several lines.
    response = jsonify(error=" ".join(str(error).split()))
    response.status_code = error.status
    if isinstance(error, AccessError):
        response.headers.update(error.headers)
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
