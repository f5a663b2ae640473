"""Ground truth of a slide, from a mask or drawn polygons, to the share of each class in every patch.

Whatever the form, the truth becomes a raster that is read block by block, and a patch's shares are means over
its square. Level-0 pixels count from the slide's top-left corner; pixel k covers k to k + 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.area import Area, AreaError, Areas
from tissuumaps_sic.slidefile.areas.files import DRAWINGS, is_drawing, read_areas
from tissuumaps_sic.slidefile.areas.masks import MASKS
from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.slidefile.spelling import fold, join_names
from tissuumaps_sic.truth.classes import OTHERS, UNCOUNTED, TruthClasses, TruthError
from tissuumaps_sic.truth.overlaps import tell_overlaps
from tissuumaps_sic.truth.rasters import (
    DrawingRaster,
    Pair,
    TruthRaster,
    draw_areas,
    measure_shares,
    open_mask_raster,
)
from tissuumaps_sic.truth.squares import PatchSquares

log = logging.getLogger(__name__)

# How a truth is called after its slide's name, in the order of looking. Images under the bare name come
# last: they are often the slide itself.
ENDINGS = (
    *("_mask.png", "_mask.tif", "_mask.tiff", ".geojson", ".geojson.gz", ".json", ".json.gz", ".xml"),
    *(".ndpa", ".ndpi.ndpa", ".png", ".tif", ".tiff"),
)
# A share is compared with one half up to the rounding of its sums.
_HALF = 0.5 - 1e-6


@dataclass(frozen=True)
class Truth:
    """The truth of every patch.

    Attributes
    ----------
    names : tuple of str
        Names of the classes 0, 1, ...
    labels : ndarray of shape (n_patches,), int64
        Class of each patch, or -1 where it is not counted.
    shares : ndarray of shape (n_patches, n_classes), float32
        Share of the patch's area that each class covers; the rest is in no class.
    found : tuple of str
        The values in the file: of a mask those under the patches, of polygons all.
    """

    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]
    found: tuple[str, ...]


def find_truth(folder: Path, names: Sequence[str]) -> Path:
    """Return the truth of a slide in a folder: the slide's name and one of `ENDINGS`, the first there is.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        What the slide is called: its own name, that of its h5ad.

    Returns
    -------
    Path

    Raises
    ------
    TruthError
        When there is none.
    """
    for name in names:
        for ending in ENDINGS:
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    raise TruthError(
        f"{folder}: holds no truth of {names[0]}; call it {names[0]}_mask.png, {names[0]}.geojson or "
        f"{names[0]}.xml, or name the file itself"
    )


def read_truth(
    path: Path, squares: PatchSquares, classes: TruthClasses, *, offset: Pair | None = None
) -> Truth:
    """Read the truth of a slide and compare it with the slide's patches.

    A patch has the class that covers at least half of it. Of two classes, a patch that is not positive is
    negative, as in the paper. A patch is not counted when less than half of it is in any class, or when none
    of three or more classes covers half.

    Parameters
    ----------
    path : Path
        One of

        - a mask (``.png``, ``.tif``, ``.tiff``, ``.bmp``): grey or palette of 8 or 16 bits, whose values are
          classes. It covers the slide, or else its bounds, at any scale; a pyramid is read at its finest
          level;
        - GeoJSON (``.geojson``, ``.json``, also with ``.gz``), as QuPath writes it;
        - the XML of ASAP (``.xml``), whose splines are taken as the polygon through their points, or of
          Aperio ImageScope (``.xml``), or the annotations of Hamamatsu's NDP.view (``.ndpa``).

        Classes that `classes` names lie over those it does not name, whatever the order in the file; of two
        that it names, the one that comes later lies over the other. How much they overlap is told.
        Annotations without a class, and those that QuPath itself ignores because their class ends in ``*``,
        are left out unless `classes` names them.
    squares : PatchSquares
        The patches, as `patch_squares` gives them.
    classes : TruthClasses
    offset : (x, y), optional
        Where GeoJSON's (0, 0) lies, in level-0 pixels; by default the corner of the slide's bounds, because
        QuPath crops a slide to them. ASAP does not.

    Returns
    -------
    Truth

    Raises
    ------
    TruthError
        When the file cannot be read, or does not fit the slide or the classes.

    Notes
    -----
    Shares are exact for a mask: pixels that a patch's edge cuts count by the part inside. Polygons are drawn
    at 64 pixels to the edge of a patch, a pixel belonging to a polygon by its centre, so that a share is
    within 0.3 % of the patch for outlines that are smooth at that scale (usually within 0.1 %).
    """
    return measure_truth(open_truth(path, squares, classes, offset=offset), squares, classes)


def open_truth(
    path: Path, squares: PatchSquares, classes: TruthClasses, *, offset: Pair | None = None
) -> TruthRaster:
    """Return the truth of a slide as a raster of classes.

    Parameters
    ----------
    path, squares, classes, offset
        As for `read_truth`.

    Returns
    -------
    TruthRaster

    Raises
    ------
    TruthError
        When the file cannot be read, or does not fit the slide or the classes.
    """
    if not path.is_file():
        raise TruthError(f"{path}: no such file; give the slide's mask, GeoJSON or XML")
    try:
        if is_drawing(path):
            return _read_drawing(path, squares, classes, offset)
        if path.suffix.lower() in MASKS:
            return open_mask_raster(path, squares, classes)
    except AreaError as error:
        raise TruthError(str(error)) from error
    raise TruthError(
        f"{path.name}: is not a file of a truth, which ends in {', '.join(sorted(DRAWINGS + MASKS))}; "
        "convert the file, or rename it"
    )


def measure_truth(raster: TruthRaster, squares: PatchSquares, classes: TruthClasses) -> Truth:
    """Return the truth of every patch, of a raster of classes.

    Parameters
    ----------
    raster : TruthRaster
    squares : PatchSquares
    classes : TruthClasses

    Returns
    -------
    Truth

    Raises
    ------
    TruthError
        When the mask cannot be read.
    """
    try:
        shares = measure_shares(raster, squares, len(classes.names))
    except AreaError as error:
        raise TruthError(str(error)) from error
    return Truth(classes.names, _labels(shares), shares.astype(np.float32), raster.found)


def _labels(shares: Doubles) -> npt.NDArray[np.int64]:
    most = shares.argmax(axis=1)
    if shares.shape[1] == 2:
        # A tie at one half is positive.
        most = (shares[:, 1] >= _HALF).astype(np.int64)
        counted = shares.sum(axis=1) >= _HALF
    else:
        counted = shares.max(axis=1) >= _HALF
    return np.where(counted, most, UNCOUNTED).astype(np.int64)


def _read_drawing(
    path: Path, squares: PatchSquares, classes: TruthClasses, offset: Pair | None
) -> DrawingRaster:
    drawn = read_areas(path, stage=squares.stage)
    offset = squares.place_origin(drawn, offset)
    if squares.slide_size is not None:
        drawn.check_place(squares.slide_size, offset)
    named, others = _chosen(drawn, classes)
    tell_overlaps(path.name, named, others, classes)
    # What is named lies over the rest.
    areas = [*((classes.others, area) for area in others), *named]
    return draw_areas(
        path.name, areas, squares, offset=offset, background=classes.others, found=drawn.classes
    )


def _chosen(drawn: Areas, classes: TruthClasses) -> tuple[list[tuple[int, Area]], list[Area]]:
    """Return the areas of named classes, each with its class, and those of classes that no option names.

    Raises
    ------
    TruthError
        When a named class has no area.
    """
    named: list[tuple[int, Area]] = []
    others: list[Area] = []
    nameless = 0
    for area in drawn.areas:
        number = classes.find_class(area.values)
        if number is not None:
            named.append((number, area))
        elif not area.classed:
            nameless += 1
        elif not area.values[0].endswith(OTHERS):
            others.append(area)
    there = {fold(value) for _, area in named for value in area.values}
    missing = [value for value in classes.values if value not in there]
    what = f"its classes are {join_names(drawn.classes)}"
    if nameless:
        what += f"; {nameless} annotation{'s have' if nameless > 1 else ' has'} no class"
    for number, name in enumerate(classes.names):
        values = [value for value, of in classes.values.items() if of == number]
        if number != classes.others and not set(values) - set(missing):
            raise TruthError(
                f"{drawn.name}: nothing in it is of class {name} ({', '.join(values)}); {what}"
                f"{'; name one of its classes' if drawn.classes else '; give its annotations classes'}"
            )
    if missing:
        log.warning("%s: nothing in it is %s; %s", drawn.name, " or ".join(missing), what)
    elif nameless:
        log.warning(
            "%s: left out %d annotation%s without a class", drawn.name, nameless, "s" if nameless > 1 else ""
        )
    return named, others
