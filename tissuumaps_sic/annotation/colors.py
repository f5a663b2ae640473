"""Colours for classes, chosen by how far people see them apart, those who do not see red, green or blue too.

References
----------
Sight without one kind of cones: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A physiologically-based
model for simulation of color vision deficiency", IEEE Transactions on Visualization and Computer Graphics
15(6), 2009; the matrices are those of its table for a severity of 1.0, and act on linear RGB. sRGB: IEC
61966-2-1. The difference is CIEDE2000: G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 color-difference
formula", Color Research and Application 30, 2005.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Linear RGB as it is seen: with all cones, and without those of long, middle and short waves.
SIGHTS = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ.sum(axis=1)

# What a label lies on: glass, stroma and nuclei in haematoxylin and eosin; and the dark line around a seed.
_TISSUE = ("#f5f2f5", "#e3a3c7", "#8c5a9e", "#111111")
# A label need not be as far from what it lies on as from other labels.
_TISSUE_WEIGHT = 1.3
_STEPS = ("00", "33", "66", "99", "cc", "ff")
# Nor is a colour chosen that is hardly one: greys are what readers agree on, the dark is a seed's own line.
_LEAST_CHROMA, _LIGHTNESS = 25.0, (22.0, 94.0)


def rgb_of(color: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a colour that is written ``#rrggbb``.

    >>> rgb_of("#ffb000")
    (255, 176, 0)

    Parameters
    ----------
    color : str

    Returns
    -------
    (int, int, int)
    """
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def to_lab(colors: Iterable[str], sight: str = "normal") -> Floats:
    """Return colours as CIE L*a*b* (D65) of how they are seen, (n, 3) float64.

    Parameters
    ----------
    colors : iterable of str
        ``#rrggbb``.
    sight : str, default="normal"
        A key of `SIGHTS`.
    """
    srgb = np.array([rgb_of(each) for each in colors], np.float64).reshape(-1, 3) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHTS[sight].T, 0.0, 1.0)
    ratio = seen @ _XYZ.T / _WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root.T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: Floats, other: Floats) -> Floats:
    """Return how far colours are apart as people see them (CIEDE2000).

    Parameters
    ----------
    one, other : ndarray of shape (..., 3), float64
        CIE L*a*b* (`to_lab`); broadcast.

    Returns
    -------
    ndarray of shape (...), float64
        Below 2 it is hardly seen.

    References
    ----------
    Sharma, Wu, Dalal 2005, as in this module.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    grey = 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    a1, a2 = a1 * (1 + grey), a2 * (1 + grey)
    chroma1, chroma2 = np.hypot(a1, b1), np.hypot(a2, b2)
    hue1, hue2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    has_hue = chroma1 * chroma2 > 0
    turn = np.where(has_hue, (hue2 - hue1 + 180) % 360 - 180, 0.0)
    # Half of a full turn has no direction; as published, it goes the way that the sum tells.
    turn = np.where(has_hue & (hue2 - hue1 == 180), 180.0, turn)
    total = hue1 + hue2
    far = np.abs(hue1 - hue2) > 180
    middle = np.where(far, np.where(total < 360, total + 360, total - 360), total) / 2
    hue = np.where(has_hue, middle, total)
    lightness, chroma = (l1 + l2) / 2, (chroma1 + chroma2) / 2
    d_hue = 2 * np.sqrt(chroma1 * chroma2) * np.sin(np.radians(turn) / 2)
    cosines = (-0.17, hue - 30), (0.24, 2 * hue), (0.32, 3 * hue + 6), (-0.20, 4 * hue - 63)
    weight = 1 + sum(share * np.cos(np.radians(angle)) for share, angle in cosines)
    of_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    of_c, of_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * weight
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation = rotation * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    steps = (l2 - l1) / of_l, (chroma2 - chroma1) / of_c, d_hue / of_h
    squares = steps[0] ** 2 + steps[1] ** 2 + steps[2] ** 2 + rotation * steps[1] * steps[2]
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def distances(one: Iterable[str], other: Iterable[str]) -> Floats:
    """Return how far each colour is from each of others, in the sight that parts them least.

    Parameters
    ----------
    one, other : iterable of str
        ``#rrggbb``.

    Returns
    -------
    ndarray of shape (n, m), float64
        CIEDE2000 (`difference`).
    """
    one, other = list(one), list(other)
    each = [difference(to_lab(one, sight)[:, None], to_lab(other, sight)[None]) for sight in SIGHTS]
    return np.asarray(np.min(each, axis=0))


def _list_candidates() -> tuple[str, ...]:
    every = [f"#{''.join(each)}" for each in product(_STEPS, repeat=3)]
    lightness, a, b = to_lab(every).T
    fits = (np.hypot(a, b) >= _LEAST_CHROMA) & (_LIGHTNESS[0] <= lightness) & (lightness <= _LIGHTNESS[1])
    return tuple(each for each, is_fit in zip(every, fits, strict=True) if is_fit)


_CANDIDATES = _list_candidates()
_FROM_TISSUE = distances(_CANDIDATES, _TISSUE).min(axis=1) * _TISSUE_WEIGHT


def choose_color(taken: Iterable[str]) -> str:
    """Return the colour that is farthest from all that are taken, and from tissue, in every sight.

    It is the same for the same colours, in whatever order they are.

    Parameters
    ----------
    taken : iterable of str

    Returns
    -------
    str
    """
    nearest = _FROM_TISSUE
    used = sorted(set(taken))
    if used:
        nearest = np.minimum(nearest, distances(_CANDIDATES, used).min(axis=1))
    return _CANDIDATES[int(nearest.argmax())]
