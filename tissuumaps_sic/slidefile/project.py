"""The TissUUmaps project of a slide: its image, its patches as a mosaic of colours, and the SIC plugin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.names import address, escape_markup
from tissuumaps_sic.slidefile.writing import replacing

# TissUUmaps draws a square marker of scale factor f with this many screen pixels to a side, at its
# default marker size of 100: f x (100 / 25) x (canvas height / 900) / (viewport height) x (0.8 / 0.7) x
# the share of what is drawn of its cell that the square fills in TissUUmaps' sheet of shapes (glUtils.js:
# draw, updateMarkerScale and the vertex shader). An image pixel is canvas height / viewport height / image
# width screen pixels. The height of the canvas and the zoom cancel, so squares that meet do so at every
# zoom and window size. The share was measured on screenshots; the sheet itself (misc/markershapes.png, 132
# of 0.8 x 256 texels) says 0.646, and 0.643 is what makes glUtils' own "one pixel" of absolute size true.
_SQUARE_SHARE = 0.643
_SCALE_PER_WIDTH = 900 / (4 * 0.8 / 0.7 * _SQUARE_SHARE)

# Every choice of a marker layer must be given, since TissUUmaps fills in what is missing with its own.
_RADIOS = (
    *("cb_gr", "cb_gr_rand", "cb_gr_dict", "cb_gr_key", "pie_check", "scale_check", "shape_col", "shape_gr"),
    *("shape_gr_rand", "shape_gr_dict", "opacity_check", "no_fill", "collectionItem_col"),
    *("sortby_check", "sortby_desc_check", "edges_check", "cb_col"),
)
_SQUARES = ("shape_fixed", "_no_outline", "collectionItem_fixed")
# What TissUUmaps makes of coordinates that it draws on an empty canvas; see `empty_canvas`.
_LEAST, _STRETCHED, _BORDER = 500, 5000, 1.06


def tmap_project(
    *,
    h5ad_name: str,
    slide_name: str,
    image: str | None,
    slide_size: tuple[int, int],
    centres: npt.NDArray[np.float64],
    stride0: float,
    mpp: float,
) -> dict[str, Any]:
    """Return a TissUUmaps project that shows a slide with its patches, and starts the SIC plugin.

    Parameters
    ----------
    h5ad_name : str
        Name of the h5ad in the project's folder.
    slide_name : str
    image : str or None
        The slide's path from the project's folder, with forward slashes; None for patches alone.
    slide_size : (width, height)
        Level-0 pixels.
    centres : ndarray of shape (n, 2), float64
        Level-0 pixels.
    stride0 : float
        From a patch to the next, level-0 pixels: the edge of the squares that are drawn.
    mpp : float
        µm per level-0 pixel, for the scale bar.

    Returns
    -------
    dict
    """
    width, spacing = float(slide_size[0]), float(stride0)
    if image is None:
        canvas = empty_canvas(centres)
        width, spacing = canvas.width, spacing * canvas.zoom
    header = {
        "X": "/obsm/spatial;0",
        "Y": "/obsm/spatial;1",
        "cb_col": "/obs/umap_rgb",
        "cb_cmap": "",
        "shape_fixed": "square",
        "scale_factor": round(marker_scale(spacing, width=width), 6),
        "opacity": 0.75,
    }
    return {
        "schemaVersion": "1.3",
        "filename": escape_markup(slide_name),
        "mpp": mpp,
        "layers": [] if image is None else [image_layer(slide_name, image)],
        "markerFiles": [
            marker_layer(
                h5ad_name, title="Patches", name="UMAP colours", uid="patches", header=header, on=("cb_col",)
            )
        ],
        "plugins": ["SIC"],
        # `plugins` puts the plugin into the menu; this opens it.
        "settings": [{"module": "pluginUtils", "function": "startPlugin", "value": ["SIC", [], True]}],
    }


def image_layer(name: str, image: str) -> dict[str, str]:
    """Return the layer of an image, by its path from the project's folder, with forward slashes.

    Parameters
    ----------
    name : str
        As the viewer shows it.
    image : str

    Returns
    -------
    dict of str to str
    """
    return {"name": escape_markup(name), "tileSource": f"{address(image)}.dzi"}


def marker_layer(
    path: str, *, title: str, name: str, uid: str, header: Mapping[str, Any], on: Sequence[str]
) -> dict[str, Any]:
    """Return a layer of markers that are squares without outlines.

    Parameters
    ----------
    path : str
        Of the h5ad or CSV, from the project's folder.
    title, name, uid : str
        Of its tab, of the layer, and what tells it from others.
    header : mapping
        TissUUmaps' choices with their values.
    on : sequence of str
        Which of the choices between them are taken, beside those of squares.

    Returns
    -------
    dict
    """
    return {
        "path": address(path),
        "title": title,
        "name": name,
        "comment": "",
        "uid": uid,
        "autoLoad": True,
        "hideSettings": True,
        "expectedHeader": dict(header),
        "expectedRadios": dict.fromkeys(_RADIOS, False) | dict.fromkeys((*on, *_SQUARES), True),
    }


def marker_scale(edge: float, *, width: float) -> float:
    """Return the scale factor that makes TissUUmaps draw a square of a given edge.

    It holds at every zoom and in every window, at TissUUmaps' own marker size of 100, for the first image
    layer, and as long as a marker has between 1 and about 1000 pixels on the screen, to which TissUUmaps
    limits it.

    Parameters
    ----------
    edge : float
        Edge of the square, level-0 pixels.
    width : float
        Width of the image, level-0 pixels: TissUUmaps measures markers by it.

    Returns
    -------
    float
    """
    return edge / width * _SCALE_PER_WIDTH


def write_tmap(path: Path, project: dict[str, Any]) -> None:
    """Write a TissUUmaps project, atomically.

    Parameters
    ----------
    path : Path
    project : dict

    Raises
    ------
    OSError
        When it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(project, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Canvas:
    """What TissUUmaps draws markers on where there is no image.

    Attributes
    ----------
    width : float
        In its own pixels.
    zoom : float
        Of those for a level-0 pixel.
    origin : float64 array of shape (2,), or None
        The level-0 pixel (x, y) that is drawn at its corner, where it is not (0, 0).
    """

    width: float
    zoom: float = 1.0
    origin: npt.NDArray[np.float64] | None = None


def empty_canvas(centres: npt.NDArray[np.float64]) -> Canvas:
    """Return the canvas of patches with these centres, (n, 2), level-0 pixels.

    TissUUmaps stretches coordinates that end below 500 or begin below 0, and adds 6 % (dataUtils.js,
    updateViewOptions).

    Parameters
    ----------
    centres : float64 array of shape (n, 2)
        (x, y), level-0 pixels.

    Returns
    -------
    Canvas
    """
    low, high = centres.min(axis=0), centres.max(axis=0)
    if (low >= 0).all() and (high >= _LEAST).all():
        return Canvas(float(high[0]) * _BORDER)
    zoom = _STRETCHED / max(float((high - low).max()), 1.0)
    return Canvas(max(float((high - low)[0]) * zoom * _BORDER, 1.0), zoom, low)
