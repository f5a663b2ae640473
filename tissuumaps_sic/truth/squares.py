"""Where the patches of a slide lie, for what was drawn on it to be laid over them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from tissuumaps_sic.slidefile.areas.area import Areas, Stage
from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.placing import find_image
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.truth.classes import TruthError

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

# What is annotated by places on the glass slide.
_ON_STAGE = (".ndpi", ".vms", ".vmu")


@dataclass(frozen=True)
class PatchSquares:
    """Where the patches of a slide lie.

    Attributes
    ----------
    centres : ndarray of shape (n_patches, 2), float64
        (x, y) in level-0 pixels of the full slide.
    size0 : float
        Edge of a patch in level-0 pixels.
    slide_size : (width, height) or None
        Of the full slide in level-0 pixels, where it is known.
    bounds : (x, y, width, height) or None
        What the scanner filled of it, in level-0 pixels; OpenSlide's bounds, or the whole slide.
    stage : Stage or None
        Where the scan lies on the glass slide, where it is known.
    """

    centres: Doubles
    size0: float
    slide_size: tuple[int, int] | None = None
    bounds: tuple[int, int, int, int] | None = None
    stage: Stage | None = None

    def place_origin(self, drawn: Areas, offset: tuple[float, float] | None = None) -> tuple[float, float]:
        """Return where the (0, 0) of drawings lies, (x, y) in level-0 pixels.

        Parameters
        ----------
        drawn : Areas
        offset : (x, y), optional
            What was asked for; by default the corner of the slide's bounds for programs that count from it,
            as QuPath does.

        Returns
        -------
        (float, float)
        """
        if offset is not None:
            return offset
        corner = self.bounds[:2] if self.bounds and drawn.from_bounds else (0, 0)
        return float(corner[0]), float(corner[1])


def patch_squares(slide: EmbeddedSlide, *, slide_size: tuple[int, int] | None = None) -> PatchSquares:
    """Return where the patches of an embedded slide lie.

    Parameters
    ----------
    slide : EmbeddedSlide
    slide_size : (width, height), optional
        Of the full slide in level-0 pixels; by default what the provenance tells.

    Returns
    -------
    PatchSquares

    Raises
    ------
    TruthError
        When the file tells no edge of a patch, or patches lie outside a slide of that size.
    """
    known = read_provenance(slide.path)
    size0 = known.grid.patch_size0 or _edge_by_corners(slide)
    size = slide_size or known.slide.size
    if size is not None and (slide.centres.max(axis=0) > size).any():
        x, y = slide.centres.max(axis=0)
        raise TruthError(
            f"{slide.path.name}: has a patch at x {x:.0f}, y {y:.0f}, outside a slide of "
            f"{size[0]} x {size[1]} level-0 pixels; give the size of level 0 (--slide-size WIDTH,HEIGHT)"
        )
    stage = Stage.of(known.slide.stage) or _ask_image(slide)
    return PatchSquares(slide.centres, float(size0), size, known.slide.bounds, stage)


def _ask_image(slide: EmbeddedSlide) -> Stage | None:
    """Ask the image beside a file that does not tell where the scan lies on the glass slide."""
    image = find_image(slide.path)
    if image is None or image.suffix.lower() not in _ON_STAGE:
        return None
    from tissuumaps_sic.slidefile.pixels.slide import open_pixels

    try:
        with open_pixels(image) as opened:
            return Stage.of(opened.stage)
    except (SlideError, OSError) as error:
        log.warning("%s: does not say where the scan lies on the glass slide (%s)", image.name, error)
        return None


def _edge_by_corners(slide: EmbeddedSlide) -> float:
    """Return a patch's edge from its corner and centre, for files without provenance."""
    with h5py.File(slide.path, "r", locking=False) as file:
        corners = [file[f"obs/{key}"][()] for key in ("x0", "y0") if f"obs/{key}" in file]
    if len(corners) == 2:
        # Corners are rounded to whole pixels; the median over the patches evens that out.
        edge = 2 * float(np.median(slide.centres - np.column_stack(corners)))
        if edge > 0:
            return edge
    raise TruthError(
        f"{slide.path.name}: does not say how large its patches are (in uns['embedder'], or by obs['x0'] and "
        "obs['y0']), so that nothing can be laid over them, neither a mask nor a drawing; embed the slide "
        "again, or convert the file (embedder convert)"
    )
