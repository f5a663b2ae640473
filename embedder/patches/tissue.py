"""Tell tissue from glass on a thumbnail of the slide."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.areas.sums import Sums, area_in, sum_before
from tissuumaps_sic.slidefile.arrays import Mask, Singles
from tissuumaps_sic.slidefile.pixels.slide import Slide, require_resolution
from tissuumaps_sic.slidefile.pixels.source import Pixels

# A patch of 128 µm is 16 pixels of this size: fine enough for its share of tissue, and nuclei are
# blurred into their tissue.
_MPP = 8.0
# A field of a millimetre would be 125 such pixels; it gets more, as no thumbnail is ever enlarged.
_SIDES = (512, 4096)

# All saturations are of HSV, 0 to 1. Measured on the slides and fields in shared/data: clean glass
# has at most 0.02, pale colon submucosa about 0.05 to 0.12, and 95 in 100 pixels of fields that
# are all tissue more than 0.13.
_FLOOR = 0.04
_CEILING = 0.05
# A scanner's padding, or a slide's black edge, has no saturation worth the name. The darkest
# haematoxylin measured has 0.15 of full brightness in its brightest channel.
_BLACK = 0.10
# Glass that is tinted, by its mounting medium or a bad white balance: as bright as glass, and even.
_TINTS = (_FLOOR, 0.20)
_TINT_SPREAD = 0.04
_TINT_BRIGHTNESS = 0.78


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Where the tissue is.

    Attributes
    ----------
    mask : bool or float32 array of shape (rows, columns)
        Whether a pixel is tissue, or what share of it; its pixel (row, column) covers the level-0 square from
        (column x downsample, row x downsample) to one downsample further.
    downsample : float
        Level-0 pixels per pixel of the mask.
    method : str
        How it was made, for the provenance.
    parameters : mapping of str to float, str or bool
        What it was made with, for the provenance.
    """

    mask: Mask | Singles
    downsample: float
    method: str
    parameters: Mapping[str, float | str | bool] = field(default_factory=dict)

    def share(
        self,
        x0: npt.NDArray[np.integer | np.floating],
        y0: npt.NDArray[np.integer | np.floating],
        size0: float | tuple[float, float],
    ) -> Singles:
        """Give the share of each square that is tissue.

        Parameters
        ----------
        x0, y0 : arrays of shape (n,)
            The squares' top-left corners in level-0 pixels.
        size0 : float or (width, height)
            Their edge, or edges, in level-0 pixels.

        Returns
        -------
        float32 array of shape (n,)
            0 to 1; exact, pixels that a square cuts count by the part it holds. What lies outside
            the mask is no tissue.
        """
        left = np.asarray(x0, np.float64) / self.downsample
        top = np.asarray(y0, np.float64) / self.downsample
        width, height = np.broadcast_to(np.asarray(size0, np.float64), 2) / self.downsample
        area = area_in(self._sums, left, top, left + width, top + height)
        return np.asarray(np.clip(area / (width * height), 0, 1), np.float32)

    @cached_property
    def _sums(self) -> Sums:
        return sum_before(self.mask)


def tissue_mask(slide: Slide, *, min_tissue_um2: float = 10_000, min_hole_um2: float = 20_000) -> TissueMask:
    """Find the tissue by its colour: Otsu's threshold on the saturation of a thumbnail.

    Parameters
    ----------
    slide : Slide
        Its resolution must be known.
    min_tissue_um2 : float, default=10_000
        Smaller pieces, in µm², are dirt.
    min_hole_um2 : float, default=20_000
        Smaller holes, in µm², are part of the tissue (lumina, fat, cracks).

    Returns
    -------
    TissueMask
        Of the whole slide; False outside its bounds. All False where the slide is empty.

    Raises
    ------
    SlideError
        The resolution is unknown or implausible, or pixels cannot be read.

    Notes
    -----
    Otsu always splits in two, also what is all tissue or all glass. Its threshold is therefore kept
    between 0.04, above which no clean glass was seen, and 0.05, which also pale submucosa exceeds.
    Glass that is evenly tinted is measured from its own tint. Pen marks count as tissue. Grey
    tissue without any stain does not.
    """
    resolution = require_resolution(slide)
    extent = max(slide.size)
    thumbnail = slide.thumbnail(round(min(max(extent * resolution.mpp / _MPP, _SIDES[0]), _SIDES[1])))
    downsample = extent / max(thumbnail.shape[:2])
    mpp = resolution.mpp * downsample
    # The same blur on a field as on a slide, in µm: half a pixel of the thumbnail of a slide.
    saturation, brightness = _measure_saturation(thumbnail, sigma=_MPP / 2 / mpp)
    usable = (brightness >= _BLACK) & _find_inside(slide.bounds, downsample, thumbnail.shape[:2])
    threshold = _find_threshold(saturation[usable], brightness[usable])
    mask = _remove_small(
        usable & (saturation > threshold),
        min_true=min_tissue_um2 / mpp**2,
        min_false=min_hole_um2 / mpp**2,
    )
    return TissueMask(
        mask=mask,
        downsample=downsample,
        method="otsu-saturation",
        parameters={
            "mask_mpp": mpp,
            "threshold": threshold,
            "floor": _FLOOR,
            "ceiling": _CEILING,
            "min_tissue_um2": min_tissue_um2,
            "min_hole_um2": min_hole_um2,
        },
    )


def _measure_saturation(image: Pixels, *, sigma: float) -> tuple[Singles, Singles]:
    """Give the saturation and brightness (S and V of HSV) of a blurred image, 0 to 1."""
    from skimage import filters

    gaussian: Any = filters.gaussian  # scikit-image is typed in part only
    colour = image.astype(np.float32) / 255
    if sigma > 0.5:
        colour = gaussian(colour, sigma, channel_axis=2)
    high, low = colour.max(axis=2), colour.min(axis=2)
    return (high - low) / np.maximum(high, 1e-6), high


def _find_inside(bounds: tuple[int, int, int, int], downsample: float, shape: tuple[int, ...]) -> Mask:
    """Give the mask's pixels whose centre lies in the bounds."""
    x, y, width, height = bounds
    columns = (np.arange(shape[1]) + 0.5) * downsample
    rows = (np.arange(shape[0]) + 0.5) * downsample
    inside_x = (columns >= x) & (columns < x + width)
    inside_y = (rows >= y) & (rows < y + height)
    return inside_y[:, None] & inside_x[None, :]


def _find_threshold(saturation: Singles, brightness: Singles) -> float:
    """Give the saturation above which a pixel is tissue."""
    from skimage import filters

    threshold_otsu: Any = filters.threshold_otsu
    if saturation.size == 0:
        return _CEILING
    otsu = float(threshold_otsu(saturation))
    lower = saturation <= otsu
    quarter, tint, three_quarters = np.percentile(saturation[lower], (25, 50, 75))
    if (
        _TINTS[0] < tint < _TINTS[1]
        and three_quarters - quarter < _TINT_SPREAD
        and np.median(brightness[lower]) > _TINT_BRIGHTNESS
    ):
        # At least a floor above the tint, so that empty tinted glass is not split by its noise.
        return max(otsu, float(tint) + _FLOOR)
    return min(max(otsu, _FLOOR), _CEILING)


def _remove_small(mask: Mask, *, min_true: float, min_false: float) -> Mask:
    """Fill the holes, then drop the specks, that are smaller than these many pixels."""
    return _drop_small(~_drop_small(~mask, min_false), min_true)


def _drop_small(mask: Mask, pixels: float) -> Mask:
    # Not skimage's remove_small_objects: its parameter changed name and meaning in 0.26.
    from skimage import measure

    label: Any = measure.label
    pieces = label(mask, connectivity=1)
    large = np.bincount(pieces.ravel()) >= math.ceil(pixels)
    large[0] = False
    return np.asarray(large[pieces])
