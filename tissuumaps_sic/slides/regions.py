"""Labels of patches as regions: polygons with holes, their areas and their shares.

Each patch owns the cell of one stride around its centre: cells tile the slide without gaps where patches
overlap, too. The regions of all classes are one coverage: neighbours share their borders, before and after
they are simplified, so that areas add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from tissuumaps_sic.slidefile.provenance import Provenance, read_provenance
from tissuumaps_sic.slides.slide import EmbeddedSlide


@dataclass(frozen=True)
class Scale:
    """How a slide's patches lie on it.

    Attributes
    ----------
    stride : (float, float)
        From one patch to the next, in x and in y, level-0 pixels.
    mpp : (float, float) or None
        Micrometres per level-0 pixel in x and in y, where the file tells.
    origin : (float, float)
        Corner of the part of the slide that was scanned, level-0 pixels: where QuPath counts from.
    """

    stride: tuple[float, float]
    mpp: tuple[float, float] | None = None
    origin: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Region:
    """All that has one label.

    Attributes
    ----------
    label : int
    shape : MultiPolygon
        Level-0 pixels, (x, y).
    area : float or None
        Of its patches, mm², where the resolution is known.
    share : float
        Of the tissue in all regions together, 0 to 1; where that is not known, of their area.
    tissue : float or None
        How much of `area` is tissue and no glass, mm², where the file tells it of each patch.
    """

    label: int
    shape: shapely.MultiPolygon
    area: float | None
    share: float
    tissue: float | None = None


def scale_of(slide: EmbeddedSlide) -> Scale:
    """Return how a slide's patches lie, as the file tells it, or from its centres where it does not.

    Parameters
    ----------
    slide : EmbeddedSlide

    Returns
    -------
    Scale
        Stride and origin in level-0 pixels, and µm per level-0 pixel.

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    return scale_in(read_provenance(slide.path), slide.spacing)


def scale_in(known: Provenance, spacing: float) -> Scale:
    """Return how patches lie as their provenance tells it, or by their spacing.

    Parameters
    ----------
    known : Provenance
    spacing : float
        Distance of neighbouring centres in level-0 pixels, for a provenance that tells no stride.

    Returns
    -------
    Scale
    """
    grid, bounds = known.grid, known.slide.bounds or (0, 0)
    stride = (spacing, spacing)
    if grid.patch0 and grid.stride and grid.patch_size and min(grid.stride, grid.patch_size) > 0:
        width, height = grid.patch0
        stride = (width * grid.stride / grid.patch_size, height * grid.stride / grid.patch_size)
    return Scale(stride, known.slide.mpp, (float(bounds[0]), float(bounds[1])))


def regions_of(
    centres: npt.NDArray[np.float64],
    labels: npt.NDArray[np.integer[Any]],
    scale: Scale,
    *,
    simplify: float = 0.0,
    tissue: npt.NDArray[np.floating[Any]] | None = None,
) -> list[Region]:
    """Return the region of each label that a patch has, by label.

    Parameters
    ----------
    centres : float64 array of shape (n_patches, 2)
        (x, y), level-0 pixels.
    labels : integer array of shape (n_patches,)
    scale : Scale
    simplify : float, default=0.0
        How far, in level-0 pixels, borders may move to have fewer corners (`shapely.coverage_simplify`: about
        the edge of a triangle whose corner may go). 0 keeps the cells' own.
    tissue : floating array of shape (n_patches,), optional
        Share of each patch that is tissue, 0 to 1. A patch's own cell is taken to have as much of it.

    Returns
    -------
    list of Region

    Raises
    ------
    ValueError
        When `simplify` is negative, or two patches own one cell.
    """
    if not simplify >= 0:
        raise ValueError(f"simplify is {simplify:g}; give 0 or more")
    cells = cells_of(centres, scale.stride)
    known = np.unique(labels)
    shapes = [shapely.coverage_union_all(cells[labels == label]) for label in known]
    # The union keeps the corners of every cell along a straight border; those go in any case. Nothing else
    # moves, so that no topology is at stake, whose care takes ten times as long.
    if not simplify:
        shapes = [shapely.simplify(each, 0, preserve_topology=False) for each in shapes]
    if simplify:
        shapes = list(shapely.coverage_simplify(np.array(shapes), simplify))
    areas = np.array([each.area for each in shapes])
    counted = areas
    if tissue is not None and tissue.any():
        counted = areas * [float(tissue[labels == label].mean()) for label in known]
    pixel = None if scale.mpp is None else scale.mpp[0] * scale.mpp[1] * 1e-6
    return [
        Region(
            int(label),
            each if isinstance(each, shapely.MultiPolygon) else shapely.MultiPolygon([each]),
            None if pixel is None else float(areas[place] * pixel),
            float(counted[place] / counted.sum()),
            None if pixel is None or counted is areas else float(counted[place] * pixel),
        )
        for place, (label, each) in enumerate(zip(known, shapes, strict=True))
    ]


def cells_of(centres: npt.NDArray[np.float64], stride: tuple[float, float]) -> npt.NDArray[np.object_]:
    """Return the cell that each patch owns; neighbours share corners exactly.

    Parameters
    ----------
    centres : float64 array of shape (n_patches, 2)
        (x, y), level-0 pixels.
    stride : (float, float)
        Size of a cell, level-0 pixels.

    Returns
    -------
    ndarray of shape (n_patches,), object
        Polygons in level-0 pixels.

    Raises
    ------
    ValueError
        When two patches own one cell.
    """
    corner, place = lattice_of(centres, stride)
    left, top = (corner[axis] + place[:, axis] * stride[axis] for axis in (0, 1))
    # Not left + stride: the same edge of two neighbours would differ by rounding.
    right, bottom = (corner[axis] + (place[:, axis] + 1) * stride[axis] for axis in (0, 1))
    cells: npt.NDArray[np.object_] = shapely.box(left, top, right, bottom)
    return cells


def lattice_of(
    centres: npt.NDArray[np.float64], stride: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the lattice of cells that patches own.

    Parameters
    ----------
    centres : float64 array of shape (n_patches, 2)
        (x, y), level-0 pixels.
    stride : (float, float)
        Size of a cell, level-0 pixels.

    Returns
    -------
    corner : float64 array of shape (2,)
        Upper left corner (x, y) of the first cell, level-0 pixels.
    place : int64 array of shape (n_patches, 2)
        (column, row) of each patch's cell, from 0.

    Raises
    ------
    ValueError
        When two patches own one cell.
    """
    low = centres.min(axis=0)
    # Centres are rounded to level-0 pixels, the lattice is not: edges come of places in the lattice.
    place = np.rint((centres - low) / stride).astype(np.int64)
    if len(np.unique(place, axis=0)) < len(place):
        raise ValueError(
            f"patches lie closer than their stride of {stride[0]:g} x {stride[1]:g} level-0 pixels, so that "
            "they are on no grid; embed the slide again"
        )
    return low - np.array(stride) / 2, place


def slide_size_of(slide: EmbeddedSlide) -> tuple[int, int] | None:
    """Return the (width, height) of the slide in level-0 pixels, where the file tells it.

    Parameters
    ----------
    slide : EmbeddedSlide

    Returns
    -------
    (int, int) or None

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    return read_provenance(slide.path).slide.known_size
