"""Which patches are taken of a slide, and at what scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PatchOptions:
    """How patches are laid over slides, and which of them are taken.

    Attributes
    ----------
    mpp : float
        µm per pixel of a patch.
    slide_mpp : float or None
        µm per level-0 pixel, in place of what the slides say.
    patch_size : int
        Edge of a patch in its own pixels.
    overlap : float
        Share of a patch that its neighbour covers too.
    tissue : Path or None
        A mask image or GeoJSON polygons, or a folder of them, in place of finding the tissue.
    tissue_classes : tuple of str
        Which polygons, by the name of their class, or which values of the mask; empty for all (but 0).
    tissue_from_bounds : bool
        Whether polygons count from the corner of the slide's scanned part, as QuPath's do.
    min_tissue : float
        The least share of a patch that is tissue, for it to be taken.
    icc : bool
        Whether colours are converted to sRGB by each slide's own profile, where it has one; the tissue is
        found on the same pixels.
    damage_limit : float
        The largest share of a slide's patches that may lie where it is damaged; above it the slide is
        refused.
    """

    mpp: float = 0.5
    slide_mpp: float | None = None
    patch_size: int = 256
    overlap: float = 0.5
    tissue: Path | None = None
    tissue_classes: tuple[str, ...] = ()
    tissue_from_bounds: bool = False
    min_tissue: float = 0.25
    icc: bool = False
    damage_limit: float = 0.01
