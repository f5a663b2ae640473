"""How much tissue there is in each patch, and in all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.slides.regions import scale_of
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.slides.umap import read_tissue


@dataclass(frozen=True, eq=False)
class PatchTissue:
    """The tissue of a slide by whole patches, each of which owns a square of one stride.

    Attributes
    ----------
    shares : ndarray of shape (n_patches,), float64
        Of each patch, 0 to 1; 1 where the file does not tell.
    mm2 : float or None
        Area of what one patch owns, where the resolution is known.
    is_told : bool
        Whether the file tells the shares.
    """

    shares: Doubles
    mm2: float | None
    is_told: bool


def measure_patches(slide: EmbeddedSlide) -> PatchTissue:
    """Return the tissue of each patch of a slide.

    Parameters
    ----------
    slide : EmbeddedSlide

    Returns
    -------
    PatchTissue

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    tissue, scale = read_tissue(slide.path), scale_of(slide)
    is_told = tissue is not None and bool(tissue.any())
    shares = np.ones(slide.n_patches) if tissue is None or not is_told else tissue.astype(np.float64)
    mm2 = None
    if scale.mpp is not None:
        mm2 = scale.stride[0] * scale.stride[1] * scale.mpp[0] * scale.mpp[1] * 1e-6
    return PatchTissue(shares, mm2, is_told)
