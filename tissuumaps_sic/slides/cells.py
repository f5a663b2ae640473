"""The cells of a slide: where they lie, what they embed, and what of them is tissue."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.calibration import SLOPE, temper
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.labelling.sharpen import PLAIN_SIDE, CellGrid, sharpen
from tissuumaps_sic.slidefile.arrays import Integers, Labels, Singles
from tissuumaps_sic.slidefile.fine import read_fine
from tissuumaps_sic.slidefile.h5ad import SlideFileError, Stamp, stamp_of
from tissuumaps_sic.slides.regions import lattice_of, scale_of
from tissuumaps_sic.slides.slide import EmbeddedSlide

# A cell with less of it, in percent, is glass: it is shown and counted nowhere.
LEAST_TISSUE = 50
# How far a patch may lie off its place on the grid: in strides, and in level-0 pixels, to which centres are
# rounded.
_MOST_OFF, _ROUNDING = 0.1, 1.0
# Those of a slide as long as it is open, whichever of its embeddings it was opened with.
_KEPT: WeakKeyDictionary[EmbeddedSlide, SlideCells] = WeakKeyDictionary()
_OF_FILES: WeakValueDictionary[tuple[Path, Stamp], SlideCells] = WeakValueDictionary()
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class SlideCells:
    """The cells that the middles of a slide's patches are parted into.

    Attributes
    ----------
    grid : CellGrid
    corner : (float, float)
        Upper left corner (x, y) of the first patch's middle on the grid of patches, level-0 pixels.
    place : ndarray of shape (n_patches, 2), int64
        (column, row) of each patch on that grid.
    size : (float, float)
        Width and height of a cell, level-0 pixels.
    tissue : ndarray of shape (n_patches, side, side), uint8, or None
        Percent of each cell that is tissue; None where the file does not tell.
    """

    grid: CellGrid
    corner: tuple[float, float]
    place: Integers
    size: tuple[float, float]
    tissue: npt.NDArray[np.uint8] | None

    @property
    def side(self) -> int:
        """Cells along the edge of a patch's middle."""
        return self.grid.side

    @property
    def is_glass(self) -> npt.NDArray[np.bool_]:
        """Which cells are, (n_patches, side, side)."""
        if self.tissue is None:
            return np.zeros((self.grid.n_patches, self.side, self.side), bool)
        return np.asarray(self.tissue < LEAST_TISSUE)


@dataclass(frozen=True, eq=False)
class CellLabels:
    """The label of each cell of a slide.

    Attributes
    ----------
    cells : SlideCells
        Where they lie, and what of them is tissue.
    labels : ndarray of shape (n_patches, side, side), uint8
        Place in the classes that the scores are of.
    every : ndarray of shape (n_patches, side, side, n_classes), float32
        Score of each cell for each class; those of a cell sum to 1.
    """

    cells: SlideCells
    labels: npt.NDArray[np.uint8]
    every: Singles

    @property
    def scores(self) -> Singles:
        """Score of each cell's own label, 0 to 1; (n_patches, side, side)."""
        own = np.take_along_axis(self.every, self.labels[..., None].astype(np.intp), axis=3)
        return np.asarray(own[..., 0])


def sharpen_slide(
    slide: EmbeddedSlide,
    scores: Singles,
    seeds: Labels | None = None,
    *,
    slope: float = SLOPE,
    stretch: Stretch = SILENT,
) -> CellLabels:
    """Return labels finer than a patch, from the scores of a slide's patches.

    Where the file has no embeddings of cells, borders follow the scores between the patches' centres.

    Parameters
    ----------
    slide : EmbeddedSlide
    scores : ndarray of shape (n_patches, n_classes), float32
        As `SeededIterativeClustering.scores_`.
    seeds : ndarray of shape (n_patches,), int64, optional
        The class of each seeded patch, whose middle cells are of it; -1 where a patch is no seed.
    slope : float, default=4.0
        Of the scores: `SeededIterativeClustering.slope_`.
    stretch : Stretch, optional
        Is told how far it is.

    Returns
    -------
    CellLabels
        A label and scores for each of the ``side`` x ``side`` cells of each patch's middle.

    Raises
    ------
    SlideFileError
        When the file cannot be read, or its patches lie on no grid.

    References
    ----------
    As in `labelling.sharpen`: a linear discriminant (Fisher 1936) learnt from the slide's own labels; the
    weights were tuned as ``benchmarks/README.md`` tells.
    """
    cells = open_cells(slide)
    # What patches and cells tell is weighed on one scale, on which a border was tuned, whatever the slide's.
    even = temper(scores, SLOPE / slope)
    reach = slide.prepared.places.find_reach(even.astype(np.float64))
    found = sharpen(even, cells.grid, reach=reach, seeds=seeds, stretch=stretch)
    found = temper(found, slope / SLOPE)
    return CellLabels(cells, found.argmax(axis=3).astype(np.uint8), found)


def open_cells(slide: EmbeddedSlide) -> SlideCells:
    """Return the cells of a slide, found once for its file and kept; without embeddings where that has none.

    Safe to use from many threads.

    Parameters
    ----------
    slide : EmbeddedSlide

    Returns
    -------
    SlideCells

    Raises
    ------
    SlideFileError
        When the file cannot be read, or its patches lie on no grid.
    """
    file = None if slide.stamp is None else (slide.path, slide.stamp)
    with _LOCK:
        cells = _KEPT.get(slide) or (file and _OF_FILES.get(file))
    if not cells:
        cells = _open(slide)
        if file and not _is_same(*file):
            file = None  # which of the two files was read nobody knows
    with _LOCK:
        # Another thread may have found them meanwhile: all are given the same.
        if file:
            cells = _OF_FILES.setdefault(file, cells)
        return _KEPT.setdefault(slide, cells)


def _is_same(path: Path, stamp: Stamp) -> bool:
    try:
        return stamp_of(path) == stamp
    except OSError:
        return False


def require_grid(slide: EmbeddedSlide) -> None:
    """See that each patch of a slide lies where its cells are drawn.

    Parameters
    ----------
    slide : EmbeddedSlide

    Raises
    ------
    SlideFileError
        When some lies off its place by more than a tenth of a stride: pieces of tissue have grids of their
        own, or the stride is not what the file tells.
    """
    cells = open_cells(slide)
    stride = np.array(cells.size) * cells.side
    off = np.abs(slide.centres - cells.corner - (cells.place + 0.5) * stride)
    n_off = int((off > np.maximum(_MOST_OFF * stride, _ROUNDING)).any(axis=1).sum())
    if n_off:
        furthest = (off / stride).max()
        raise SlideFileError(
            f"{slide.path.name}: {n_off} of {slide.n_patches} patches do not lie on one grid (by up to "
            f"{furthest:.2f} strides), so that no picture is drawn of their cells"
        )


def _open(slide: EmbeddedSlide) -> SlideCells:
    stride = scale_of(slide).stride
    try:
        corner, place = lattice_of(slide.centres, stride)
        fine = read_fine(slide.path)
        if fine is None:
            grid, tissue = CellGrid(place, side=PLAIN_SIDE), None
        else:
            grid, tissue = CellGrid(place, fine.values, fine.tissue), fine.tissue
    except ValueError as error:
        raise SlideFileError(f"{slide.path.name}: {error}") from error
    size = stride[0] / grid.side, stride[1] / grid.side
    return SlideCells(grid, (float(corner[0]), float(corner[1])), place, size, tissue)
