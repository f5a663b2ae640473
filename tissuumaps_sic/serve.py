"""TissUUmaps' own server on a folder of slides, with the SIC plugin loaded, behind waitress."""

from __future__ import annotations

import ipaddress
import logging
import os
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tissuumaps_sic.pages import with_pages
from tissuumaps_sic.plugin import FOLDER, MAKES_PAGES, is_granted
from tissuumaps_sic.worklist import page, slides_below

__all__ = ["ServeError", "guarded", "make_app", "page", "serve"]

log = logging.getLogger(__name__)


class ServeError(Exception):
    """The folder cannot be served; the message says what to do."""


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5100,
    browser: bool = True,
    first: str | None = None,
    public: bool = False,
    announce: Callable[[list[str]], None],
) -> None:
    """Serve a folder of h5ad and tmap files until interrupted; an h5ad without a tmap has a page too.

    Parameters
    ----------
    folder : Path
    host : str
        Address to listen on.
    port : int
        0 takes any free port.
    browser : bool
        Open the first slide in the default browser.
    first : str, optional
        Name of the slide to come first; by default they go by the alphabet.
    public : bool
        Listen on an address that other machines reach although the folder has no ``auth`` file.
    announce : callable
        Called with the addresses of the slides once connections are accepted.

    Raises
    ------
    ServeError
        When the folder or the port cannot be used.
    """
    from waitress.server import create_server

    if not public and not _is_own_machine(host) and not (folder / "auth").is_file():
        raise ServeError(
            f"{host}: other machines would see and change the slides in {folder} without a password; put a "
            f"line user;password into {folder / 'auth'}, or give --public as well if everyone may"
        )
    folder = folder.resolve()
    projects = [path for path in folder.rglob("*.tmap") if path.is_file()] if folder.is_dir() else []
    if folder.is_dir():
        there = set(projects)
        alone = (path.with_suffix(".tmap") for path in slides_below(folder))
        projects += [path for path in alone if path not in there]
    # Without the ending: a.tmap, which is annotated, comes before a.labels.tmap, the result.
    projects.sort(key=lambda path: (path.stem != first, path.with_suffix("")))
    if not projects:
        raise ServeError(
            f"{folder}: holds no h5ad and no .tmap project; embed a slide into it first "
            f"(embedder embed SLIDE -o {folder})"
        )
    made = not projects[0].is_file()
    app = make_app(folder, default=None if made else projects[0])
    answering = with_pages(app, folder, first=page(folder, projects[0]) if made else None)
    try:
        # Tiles come in bursts of dozens; more threads than cores, since most wait for the disk, and some for
        # their turn to cluster, who must be told and stopped meanwhile.
        server = create_server(
            guarded(answering, folder / "auth"), host=host, port=port, threads=24, ident=None
        )
    except OSError as error:
        raise ServeError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another port with --port"
        ) from error
    base = f"http://{host}:{server.effective_port}"
    addresses = [base + page(folder, project) for project in projects]
    announce(addresses)
    if browser:
        threading.Timer(0.5, webbrowser.open, args=[addresses[0]]).start()
    try:
        server.run()
    finally:
        server.close()


def guarded(app: Any, auth: Path) -> Any:
    """Return a WSGI application that lets nobody past without the password of `auth`, where there is one.

    TissUUmaps asks by itself, but in the folder that the request says it came from: who names another folder
    in ``path`` or in the Referer is not asked. Nor does it keep ``..`` from leaving the folder, for files to
    read, projects to write and plugins to execute; nobody gets past with that either.
    """
    from werkzeug.wrappers import Request, Response

    def guard(environ: Any, start: Any) -> Any:
        request = Request(environ)
        asked = (request.path.lstrip("/"), *request.args.getlist("path"), *request.args.getlist("root"))
        if not all(_stays_within(auth.parent, each) for each in asked):
            return Response("There is no such address.", status=404)(environ, start)
        if auth.is_file() and not is_granted(auth, request.authorization):
            refused = Response(
                "This server needs a user name and a password.",
                status=401,
                headers={"WWW-Authenticate": 'Basic realm="Login Required"'},
            )
            return refused(environ, start)
        return app(environ, start)

    return guard


def _stays_within(folder: Path, asked: str) -> bool:
    """Return whether what an address names lies in the folder; links that lie in it may lead out of it."""
    if "\0" in asked or "\\" in asked or ".." in asked.split("/"):
        return False
    # Not `resolve`: an image may be a link to where the scanner put it.
    base = os.path.abspath(folder)  # noqa: PTH100
    named = os.path.abspath(os.path.join(base, asked))  # noqa: PTH100, PTH118
    return Path(named).is_relative_to(base)


def _is_own_machine(host: str) -> bool:
    """Return whether an address is of this machine alone; a name that is no address counts as public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_app(folder: Path, *, default: Path | None = None) -> Any:
    """Return TissUUmaps' Flask application, set to serve `folder` with the plugin.

    Parameters
    ----------
    folder : Path
    default : Path, optional
        The project that the bare address shows.
    """
    # TissUUmaps turns the root logger to INFO when it is imported, and libvips then reports every call.
    level = logging.getLogger().level
    import tissuumaps
    import tissuumaps.views

    logging.getLogger().setLevel(level)
    for noisy in ("pyvips", "waitress.queue"):
        logging.getLogger(noisy).setLevel(logging.ERROR)

    app = tissuumaps.app
    theirs = app.config["PLUGIN_FOLDER_USER"]
    # TissUUmaps looks in two folders; ours takes the first place and the user's own plugins the second.
    app.config["PLUGIN_FOLDER_USER"] = str(FOLDER)
    if Path(theirs).resolve() != FOLDER.resolve():
        app.config["PLUGIN_FOLDER"] = theirs
    tissuumaps.getPluginInFolder(str(FOLDER))
    # Patch coordinates are those of the whole slide, so the image must not be cropped to its bounds.
    app.config["DEEPZOOM_LIMIT_BOUNDS"] = False
    app.config["SLIDE_DIR"] = f"{folder}/"
    app.config[MAKES_PAGES] = False
    if default is not None:
        app.config["DEFAULT_PROJECT"] = default.relative_to(folder).as_posix()
        app.config["PROJECT_LIST"] = len(list(folder.glob("*.tmap"))) > 1
    tissuumaps.views.setup(app)
    return app
