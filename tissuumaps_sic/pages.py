"""A page for every h5ad: the TissUUmaps project of those that come without one, made when it is asked for.

Nothing is written into the folder, and nothing of a project that lies in the h5ad is trusted but the name of
its image: a project can call functions of the page, and the file may have come from anywhere.
"""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.plugin import MAKES_PAGES, is_granted
from tissuumaps_sic.regions import scale_in
from tissuumaps_sic.slides import SlideFileError, opened, outline, spacing_of
from tissuumaps_sic.worklist import find_below, nearest_auth

# From the edge of a square in image widths to TissUUmaps' scale factor, as measured on its screenshots: it
# draws a square over 0.643 of a cell of its sheet of shapes (glUtils.js: draw, updateMarkerScale).
_SCALE_PER_WIDTH = 900 / (4 * 0.8 / 0.7 * 0.643)
# What TissUUmaps makes of coordinates that it draws on an empty canvas (dataUtils.js, updateViewOptions).
_LEAST_EXTENT, _STRETCHED, _BORDER = 500, 5000, 1.06

# Every choice of a marker layer must be given, since TissUUmaps fills in what is missing with its own.
_OFF = (
    *("cb_gr_rand", "cb_gr_key", "pie_check", "scale_check", "shape_col", "shape_gr", "shape_gr_rand"),
    *("shape_gr_dict", "opacity_check", "no_fill", "collectionItem_col"),
    *("sortby_check", "sortby_desc_check", "edges_check"),
)


def make_project(h5ad: Path) -> dict[str, Any]:
    """Return a TissUUmaps project that shows a slide's patches and starts the plugin.

    The slide's own image is shown where ``uns['tmap']`` names one that lies beside the file.

    Raises
    ------
    SlideFileError
        When the file cannot be read, or is no embedded slide.
    """
    told = outline(h5ad)
    known = told.provenance["X"]
    with opened(h5ad) as file:
        centres = np.asarray(file["obsm/spatial"][()], np.float64)
        colored = "umap_rgb" in file["obs"]
        image = _image(file, h5ad.parent)
    if not len(centres) or not np.isfinite(centres).all():
        raise SlideFileError(
            f"{h5ad.name}: has no patch, or one whose place is no number; embed the slide again"
        )
    scale = scale_in(known, spacing_of(centres))
    size = known["slide"].get("size") if isinstance(known.get("slide"), dict) else None
    if image is not None and isinstance(size, list) and size and size[0]:
        width, edge = float(size[0]), scale.stride[0]
    else:
        image = None
        width, edge = _empty_canvas(centres, scale.stride[0])
    header = {
        "X": "/obsm/spatial;0",
        "Y": "/obsm/spatial;1",
        "shape_fixed": "square",
        "scale_factor": round(edge / width * _SCALE_PER_WIDTH, 6),
        "opacity": 0.75,
    }
    if colored:
        header |= {"cb_col": "/obs/umap_rgb", "cb_cmap": ""}
    else:
        header |= {"gb_col": "", "cb_gr_dict": json.dumps({"All": "#8a8fa3"})}
    markers = {
        "path": h5ad.name,
        "title": "Patches",
        "name": "UMAP colours" if colored else "Patches",
        "comment": "",
        "uid": "patches",
        "autoLoad": True,
        "hideSettings": True,
        "expectedHeader": header,
        "expectedRadios": {
            **dict.fromkeys(_OFF, False),
            "cb_col": colored,
            "cb_gr": not colored,
            "cb_gr_dict": not colored,
            "shape_fixed": True,
            "_no_outline": True,
            "collectionItem_fixed": True,
        },
    }
    project: dict[str, Any] = {
        "schemaVersion": "1.3",
        "filename": h5ad.stem,
        "layers": [] if image is None else [{"name": h5ad.stem, "tileSource": f"{image}.dzi"}],
        "markerFiles": [markers],
        "plugins": ["SIC"],
        "settings": [{"module": "pluginUtils", "function": "startPlugin", "value": ["SIC", [], True]}],
    }
    if scale.mpp:
        project["mpp"] = sum(scale.mpp) / 2
    return project


def _image(file: h5py.File, folder: Path) -> str | None:
    """Return the name of the image in a file's own project, where it lies in the file's folder."""
    try:
        layers = json.loads(file["uns/tmap"].asstr()[()])["layers"]
        source = str(layers[0]["tileSource"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    name = source.removesuffix(".dzi")
    plain = name and not set(name) & set("/\\\0") and not name.startswith(".")
    return name if plain and source.endswith(".dzi") and (folder / name).is_file() else None


def _empty_canvas(centres: npt.NDArray[np.float64], edge: float) -> tuple[float, float]:
    """Return the width of TissUUmaps' canvas without an image, and a square's edge on it."""
    low, high = centres.min(axis=0), centres.max(axis=0)
    if (low < 0).any() or (high < _LEAST_EXTENT).any():
        stretch = _STRETCHED / max(float((high - low).max()), 1.0)
        return max(float((high - low)[0]) * stretch * _BORDER, 1.0), edge * stretch
    return float(high[0]) * _BORDER, edge


def with_pages(app: Any, folder: Path, *, first: str | None = None) -> Any:
    """Return a WSGI application that answers ``<slide>.tmap`` for slides without such a file.

    Parameters
    ----------
    app : Flask
        TissUUmaps' application, which answers everything else.
    folder : Path
        The served folder.
    first : str, optional
        The address that the bare one leads to.
    """
    from werkzeug.utils import redirect
    from werkzeug.wrappers import Request, Response

    app.config[MAKES_PAGES] = True

    def paged(environ: Any, start: Any) -> Any:
        request = Request(environ)
        if request.method not in ("GET", "HEAD"):
            return app(environ, start)
        if first is not None and request.path == "/":
            return redirect(first)(environ, start)
        h5ad = _asked_for(folder, request)
        if h5ad is None:
            return app(environ, start)
        auth = nearest_auth(h5ad.parent)
        if auth is not None and not is_granted(auth, request.authorization):
            refused = Response(
                "This folder needs a user name and a password.",
                status=401,
                headers={"WWW-Authenticate": 'Basic realm="Login Required"'},
            )
            return refused(environ, start)
        status = 200
        try:
            project, message = make_project(h5ad), None
        except SlideFileError as error:
            project, message, status = {}, str(error), 422
        with app.request_context(environ):
            text = _render(app, project, message)
        return Response(text, status=status, mimetype="text/html")(environ, start)

    return paged


def _asked_for(folder: Path, request: Any) -> Path | None:
    """Return the h5ad whose project is asked for, where there is no such file."""
    name = request.path.removeprefix("/")
    if "/" in name or not name.endswith(".tmap") or "dl" in request.args:
        return None
    path = posixpath.join(request.args.get("path") or "", name)
    if find_below(folder, path, suffix=".tmap") is not None:
        return None
    return find_below(folder, f"{path.removesuffix('.tmap')}.h5ad")


def _render(app: Any, project: dict[str, Any], message: str | None) -> str:
    """Return TissUUmaps' own page with a project, as its own address for projects does."""
    from flask import render_template
    from markupsafe import escape
    from tissuumaps_schema import current
    from tissuumaps_schema.utils import MAJOR_SCHEMA_VERSION_MODULES, get_major_version

    if project:
        module = MAJOR_SCHEMA_VERSION_MODULES[get_major_version(project["schemaVersion"])]
        upgraded = current.Project.upgrade(module.Project.model_validate(project))
        project = upgraded.model_dump(by_alias=True)
    return render_template(
        "tissuumaps.html",
        plugins=[],
        jsonProject=project,
        isStandalone=app.config["isStandalone"],
        readOnly=app.config["READ_ONLY"],
        projectList=[],
        version=app.config["VERSION"],
        schema_version=current.VERSION,
        # It becomes part of a string in a script.
        message=message and str(escape(message)).replace("\\", "/").replace("\n", " "),
    )
