"""TissUUmaps' pages, answered by us: projects, and one that is made for every h5ad that comes without.

Of a project no more is trusted than `cleaning` leaves: it can call functions of the page, and may have come
from anywhere.
"""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.names import address, escape_markup, page_at
from tissuumaps_sic.viewer import ranges
from tissuumaps_sic.viewer.access import MAKES_PAGES, find_below, folder_of, plugins_of, require_writable
from tissuumaps_sic.viewer.made_project import make_project
from tissuumaps_sic.viewer.moved import move_template
from tissuumaps_sic.viewer.projects import ProjectError, read_project, save_project, upgrade_project
from tissuumaps_sic.viewer.requests import MOST_BYTES
from tissuumaps_sic.viewer.start import StartPage

NONCE_KEY = "tissuumaps_sic.nonce"
WORKER = "/static/js/utils/h5Utils_worker.js"


def with_pages(app: Any, folder: Path, *, first: str | None = None) -> Pages:
    """Return a WSGI application that answers TissUUmaps' pages: projects, made ones, images, its own dialogs.

    Parameters
    ----------
    app : Flask
        TissUUmaps' application, which answers everything else.
    folder : Path
        The served folder.
    first : str, optional
        The address that the bare one leads to, where there are not several slides: these have a start page.

    Returns
    -------
    Pages
    """
    app.config[MAKES_PAGES] = True
    return Pages(app, folder, first)


class Pages:
    """TissUUmaps' pages, of which no project's own word is trusted; see `with_pages`.

    Attributes
    ----------
    flask : Flask
        TissUUmaps' application.
    """

    def __init__(self, app: Any, folder: Path, first: str | None) -> None:
        self.flask = app
        self._folder, self._first = folder.resolve(), first
        self._start = StartPage(self._folder)

    def page(self, request: Any, endpoint: str, values: dict[str, Any]) -> Any:
        """Return the answer to a request of one of TissUUmaps' pages, which whoever asks may see.

        Parameters
        ----------
        request : werkzeug.wrappers.Request
        endpoint : str
            TissUUmaps' name of the page.
        values : dict
            What its route takes from the address.

        Returns
        -------
        object
        """
        within = _within(request, self._folder)
        if endpoint == "index":
            return self._index(request)
        if endpoint == "get_file_tree":
            return self._listing(request)
        if _names_no_folder(request, within) and not _is_of_worker(request):
            # TissUUmaps' own dialogs lead here, and its page would then look for files at "//".
            return _lead(request, _without_folder(request))
        if endpoint == "get_tree":
            return self._template(request, "filetree.html")
        if endpoint == "tmapFile_old":
            at = posixpath.join(values["path"], values["filename"])
            is_there = find_below(self._folder, f"{at}.tmap", suffix=".tmap") or find_below(
                self._folder, f"{at}.h5ad"
            )
            return _lead(request, page_at(*posixpath.split(f"{at}.tmap"))) if is_there else _missing()
        if endpoint == "slide":
            return self._image(request, within, values["filename"])
        if endpoint in ("h5ad", "h5adFile_old"):
            within = values.get("path", within)
            name = f"{values['filename']}.{values['ext']}"
            path = self._folder / within / name
            if _is_of_worker(request):
                is_here = find_below(self._folder, posixpath.join(within, name), suffix=path.suffix)
                return ranges.answer(request, path) if is_here is not None else _missing()
            return self._make_page(request, posixpath.join(within, name), columns=True)
        stem = values["filename"]
        if request.method == "POST":
            return self._save(request, self._folder / within / f"{stem}.tmap")
        return self._project(request, within, stem)

    def _listing(self, request: Any) -> Any:
        """Answer with what TissUUmaps' dialogs show of a folder: what it can open, and folders.

        TissUUmaps' own listing opens whatever lies there, and waits for ever at a pipe.
        """
        from tissuumaps.views import _dfilter, _fnfilter
        from werkzeug.wrappers import Response

        folder = self._folder / request.args.get("root", "").lstrip("/")
        try:
            entries = [] if self.flask.config["READ_ONLY"] else sorted(folder.iterdir())
        except (OSError, ValueError):
            return _missing()
        listed = []
        for path in entries:
            if path.name.startswith("."):
                continue
            icon, more = "jstree-file", {}
            if path.is_dir():
                icon, more = "jstree-folder", {"state": {"opened": False}, "children": True}
            if _dfilter(str(path)) if more else (path.is_file() and _fnfilter(str(path))):
                listed.append({"text": path.name, "icon": icon, "data": {"isdirectory": bool(more)}, **more})
        return Response(json.dumps(listed), mimetype="application/json")

    def _index(self, request: Any) -> Any:
        from werkzeug.wrappers import Response

        within = _within(request, self._folder)
        entries = self._start.entries(within)
        if len(entries) > 1:
            text = self._start.render(entries, request.args, within=within, root=request.script_root)
            return Response(text, mimetype="text/html", headers={"Cache-Control": "no-store"})
        if within and entries:
            return _lead(request, self._start.page_of(entries[0]))
        if self._first is not None:
            return _lead(request, self._first)
        default = self.flask.config["DEFAULT_PROJECT"]
        if default and (self._folder / default).is_file():
            return _lead(request, page_at(*posixpath.split(default)))
        return self._viewer(request, {}, None)

    def _project(self, request: Any, within: str, stem: str) -> Any:
        """Answer with the project of a name, or else with the one that is made for the h5ad of that name."""
        saved = find_below(self._folder, posixpath.join(within, f"{stem}.tmap"), suffix=".tmap")
        if saved is not None:
            # By the folder that the address names: a project may be a link, whose files lie beside the link.
            own = self._folder / within / f"{stem}.tmap"
            project, problem = read_project(own, self._folder, plugins_of(self.flask))
            return self._viewer(request, project, problem)
        return self._make_page(request, posixpath.join(within, f"{stem}.h5ad"))

    def _make_page(self, request: Any, relative: str, *, columns: bool = False) -> Any:
        h5ad = find_below(self._folder, relative)
        if h5ad is None:
            return _missing()
        try:
            return self._viewer(request, upgrade_project(make_project(h5ad, columns=columns)), None)
        except SlideFileError as error:
            return self._viewer(request, {}, str(error), status=422)

    def _image(self, request: Any, within: str, name: str) -> Any:
        path = posixpath.join(within, name)
        if not (self._folder / path).is_file() and not (self._folder / f"{path}.dzi").is_file():
            return _missing()
        layer = {"name": escape_markup(posixpath.basename(path)), "tileSource": f"{address(name)}.dzi"}
        return self._viewer(request, {"layers": [layer], "plugins": []}, None)

    def _save(self, request: Any, target: Path) -> Any:
        from werkzeug.wrappers import Response

        try:
            project = _receive_project(request, read_only=bool(self.flask.config["READ_ONLY"]))
            saved = save_project(target, project, self._folder, plugins_of(self.flask))
        except SicError as error:
            return Response(json.dumps({"error": str(error)}), error.status, mimetype="application/json")
        return Response(json.dumps(saved), mimetype="application/json")

    def _viewer(
        self, request: Any, project: dict[str, Any], problem: str | None, *, status: int = 200
    ) -> Any:
        config = self.flask.config
        return self._template(
            request,
            "tissuumaps.html",
            status=status,
            # Plugins that are not the project's own choice are offered in the menu.
            plugins=[] if "plugins" in project or problem else plugins_of(self.flask),
            jsonProject=project,
            projectList=self._list(request) if config["PROJECT_LIST"] else [],
            # It becomes part of a string in a script.
            message=problem and escape_markup(problem).replace("\\", "/"),
        )

    def _list(self, request: Any) -> list[dict[str, Any]]:
        """Return the projects beside the one that is shown, for TissUUmaps' menu."""
        within = _within(request, self._folder)
        here = request.path.removeprefix("/")
        return [
            {
                "name": path.stem,
                "path": f"{request.script_root}{page_at(within, path.name)}".removeprefix("/"),
                "selected": path.name == here,
            }
            for path in sorted((self._folder / within).glob("*.tmap"))
            if path.is_file() and not path.name.startswith(".")
        ]

    def _template(self, request: Any, name: str, *, status: int = 200, **values: Any) -> Any:
        """Return a page of TissUUmaps, whose own script runs by this answer's nonce."""
        from flask import render_template
        from tissuumaps_schema import current
        from werkzeug.wrappers import Response

        config = self.flask.config
        with self.flask.request_context(request.environ):
            text = render_template(
                name,
                isStandalone=config["isStandalone"],
                readOnly=config["READ_ONLY"],
                version=config["VERSION"],
                schema_version=current.VERSION,
                **values,
            )
        # A project that the address names would be read past us, and any site may lead here by a link.
        text = text.replace("urlParams.get('tmap')", "null")
        text = move_template(name, text, request.script_root)
        nonce = request.environ.get(NONCE_KEY)
        if nonce:
            text = text.replace("<script>", f'<script nonce="{nonce}">')
        return Response(text, status, mimetype="text/html")


def _receive_project(request: Any, *, read_only: bool) -> Any:
    """Return the project that a request brings.

    Raises
    ------
    ProjectError, AccessError
        When it brings none, or this server takes none.
    """
    from werkzeug.exceptions import HTTPException

    too_large = ProjectError(413, f"a project may have {MOST_BYTES // 2**20} MB at most; nothing was saved")
    require_writable("projects cannot be saved", read_only=read_only)
    if request.mimetype != "application/json":
        raise ProjectError(415, "a project is sent as JSON; nothing was saved")
    if (request.content_length or 0) > MOST_BYTES:
        raise too_large
    # Of requests that do not tell their length.
    request.max_content_length = MOST_BYTES
    try:
        return parse_json(request.get_data())
    except HTTPException as error:
        raise too_large from error
    except ValueError as error:
        raise ProjectError(400, "what was sent is not JSON; nothing was saved") from error


def _within(request: Any, folder: Path) -> str:
    """Return the folder that a page's ``path`` names."""
    return folder_of(request.args.get("path") or "", folder)


def _names_no_folder(request: Any, within: str) -> bool:
    return request.method in ("GET", "HEAD") and "path" in request.args and not within


def _without_folder(request: Any) -> str:
    """Return the address of a request without the folder, which it names by nothing."""
    more = urlencode([each for each in request.args.items(multi=True) if each[0] != "path"])
    return f"{quote(request.path)}{'?' if more else ''}{more}"


def _is_of_worker(request: Any) -> bool:
    """Return whether TissUUmaps' reader of HDF5 asks, which wants bytes; a person wants a page."""
    return "Range" in request.headers or WORKER in (request.headers.get("Referer") or "")


def _lead(request: Any, to: str) -> Any:
    """Lead on to an address, told from the server's root."""
    from werkzeug.utils import redirect

    return redirect(f"{request.script_root}{to}")


def _missing() -> Any:
    from werkzeug.wrappers import Response

    return Response("There is no such file.", 404)
