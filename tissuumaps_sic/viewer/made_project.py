"""The project that is made for an h5ad: its patches on its image, and the plugin started.

Nothing of a project that lies in the h5ad is trusted but the name of its image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.h5ad import SlideFileError, open_h5ad
from tissuumaps_sic.slidefile.names import escape_markup, path_of
from tissuumaps_sic.slidefile.project import Canvas, empty_canvas, image_layer, marker_layer, marker_scale
from tissuumaps_sic.slides.regions import scale_in
from tissuumaps_sic.slides.slide import outline, spacing_of


def make_project(h5ad: Path, *, columns: bool = False) -> dict[str, Any]:
    """Return a TissUUmaps project that shows a slide's patches and starts the plugin.

    The slide's own image is shown where ``uns['tmap']`` names one that lies beside the file.

    Parameters
    ----------
    h5ad : Path
    columns : bool, default=False
        Whether to offer the columns of ``obs`` to colour the patches by, as TissUUmaps does for any h5ad, in
        place of showing the patches and starting the plugin: both are then chosen from the menus.

    Returns
    -------
    dict of str to value

    Raises
    ------
    SlideFileError
        When the file cannot be read, or is no embedded slide.
    """
    known = outline(h5ad).provenance["X"]
    with open_h5ad(h5ad) as file:
        centres = np.asarray(file["obsm/spatial"][()], np.float64)
        colored = "umap_rgb" in file["obs"]
        image = _image(file, h5ad.parent)
        menus = _columns(file["obs"]) if columns else {}
    if not len(centres) or not np.isfinite(centres).all():
        raise SlideFileError(
            f"{h5ad.name}: has no patch, or one whose place is not a number; embed the slide again"
        )
    scale = scale_in(known, spacing_of(centres))
    size = known.slide.known_size
    if image is not None and size is not None:
        layers, canvas = [image_layer(h5ad.stem, image)], Canvas(float(size[0]))
    else:
        layers, canvas = [], empty_canvas(centres)
    factor = marker_scale(scale.stride[0] * canvas.zoom, width=canvas.width)
    markers = _markers(h5ad.name, round(factor, 6), colored=colored)
    project: dict[str, Any] = {
        "schemaVersion": "1.3",
        "filename": escape_markup(h5ad.stem),
        "layers": layers,
        "markerFiles": [
            {**markers, "autoLoad": not columns},
            *(_menu(markers, title, options) for title, options in menus.items() if options),
        ],
        "plugins": ["SIC"],
        "settings": []
        if columns
        else [{"module": "pluginUtils", "function": "startPlugin", "value": ["SIC", [], True]}],
    }
    if scale.mpp:
        project["mpp"] = sum(scale.mpp) / 2
    return project


def _markers(h5ad: str, scale_factor: float, *, colored: bool) -> dict[str, Any]:
    """Return the layer of a file's patches: squares in the colours of their UMAP where there are any."""
    header = {
        "X": "/obsm/spatial;0",
        "Y": "/obsm/spatial;1",
        "shape_fixed": "square",
        "scale_factor": scale_factor,
        "opacity": 0.75,
    }
    if colored:
        header |= {"cb_col": "/obs/umap_rgb", "cb_cmap": ""}
    else:
        header |= {"gb_col": "", "cb_gr_dict": json.dumps({"All": "#8a8fa3"})}
    return marker_layer(
        h5ad,
        title="Patches",
        name="UMAP colours" if colored else "Patches",
        uid="patches",
        header=header,
        on=("cb_col",) if colored else ("cb_gr", "cb_gr_dict"),
    )


def _columns(obs: h5py.Group) -> dict[str, list[str]]:
    """Return the names of the columns of numbers and of the others, by the titles of their menus."""
    menus: dict[str, list[str]] = {"Numerical observations": [], "Categorical observations": []}
    for name, column in obs.items():
        is_number = isinstance(column, h5py.Dataset) and column.dtype.kind in "iuf"
        if name != obs.attrs.get("_index") and escape_markup(name) == name:
            menus["Numerical observations" if is_number else "Categorical observations"].append(name)
    return menus


def _menu(markers: dict[str, Any], title: str, columns: list[str]) -> dict[str, Any]:
    """Return a menu of columns, each of which colours the patches in a layer of its own."""
    numbers = title.startswith("Numerical")
    options = [
        {
            "optionName": name,
            "name": name,
            "expectedHeader.cb_col": f"/obs/{name}" if numbers else "",
            "expectedHeader.cb_cmap": "interpolateViridis" if numbers else "",
            "expectedHeader.gb_col": "" if numbers else f"/obs/{name}",
            "expectedHeader.cb_gr_dict": "",
            "expectedRadios.cb_col": numbers,
            "expectedRadios.cb_gr": not numbers,
            "expectedRadios.cb_gr_dict": False,
            "expectedRadios.cb_gr_key": not numbers,
        }
        for name in columns
    ]
    return {
        **markers,
        "title": title,
        "name": title,
        "uid": f"columns{int(numbers)}",
        "autoLoad": False,
        "dropdownOptions": options,
    }


def _image(file: h5py.File, folder: Path) -> str | None:
    """Return the name of the image in a file's own project, where it lies in the file's folder."""
    try:
        layers = parse_json(file["uns/tmap"].asstr()[()])["layers"]
        source = str(layers[0]["tileSource"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    name = path_of(source.removesuffix(".dzi"), folder)
    plain = name and not set(name) & set("/\0") and not name.startswith(".")
    return name if plain and source.endswith(".dzi") and (folder / name).is_file() else None
