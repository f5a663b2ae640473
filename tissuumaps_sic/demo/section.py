"""A made-up section of tissue: where everything lies on the slide, in level-0 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from tissuumaps_sic.demo.fields import Doubles, Ints, ramp
from tissuumaps_sic.slidefile.arrays import Singles

TEXTURE = 1024  # edge of a periodic texture, in pixels


@dataclass(frozen=True)
class Rings:
    """Ovals with wobbling outlines: benign glands, or vessels. Arrays of (n,) but where it says otherwise."""

    x: Doubles
    y: Doubles
    radius: Doubles
    ratio: Doubles
    angle: Doubles
    wobble: Doubles  # (n, 4, 2) amplitude and phase of the outline's harmonics 2 to 5
    lumen: Doubles  # share of the radius that is lumen
    count: Ints  # cells round the ring; even, so that none is cut in two where the angle jumps
    mucin: Singles  # (n, 64) how full of mucin each cell is, 0 to 1

    @property
    def reach(self) -> Doubles:
        """No part of a ring is farther than this from its centre."""
        return self.radius * self.ratio * 1.3 + 4

    def polar(self, i: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """Radius, 1 at the outline, and angle of points as seen from ring `i` (an index, or one a point).

        Parameters
        ----------
        i : int or ndarray of shape (n,), int64
        x : ndarray of shape (n,), float64
            Level-0 pixels.
        y : ndarray of shape (n,), float64

        Returns
        -------
        (ndarray of shape (n,), ndarray of shape (n,)), float64
        """
        dx, dy = x - self.x[i], y - self.y[i]
        cos, sin = np.cos(self.angle[i]), np.sin(self.angle[i])
        u, v = (dx * cos + dy * sin) / self.ratio[i], dy * cos - dx * sin
        theta = np.arctan2(v, u)
        return np.hypot(u, v) / (self.radius[i] * self.outline(i, theta)), theta

    def outline(self, i: Any, theta: Any) -> Any:
        """Factor on the radius at an angle.

        Parameters
        ----------
        i : int or ndarray of shape (n,), int64
        theta : ndarray of shape (n,), float64
            In radians.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        return 1 + sum(
            self.wobble[i, k, 0] * np.cos((k + 2) * theta + self.wobble[i, k, 1]) for k in range(4)
        )

    def point(self, i: Any, rho: Any, theta: Any) -> tuple[Any, Any]:
        """Invert `polar`.

        Parameters
        ----------
        i : int or ndarray of shape (n,), int64
        rho : ndarray of shape (n,), float64
            1 at the outline.
        theta : ndarray of shape (n,), float64
            In radians.

        Returns
        -------
        (ndarray of shape (n,), ndarray of shape (n,)), float64
            x and y in level-0 pixels.
        """
        r = rho * self.radius[i] * self.outline(i, theta)
        u, v = r * np.cos(theta) * self.ratio[i], r * np.sin(theta)
        cos, sin = np.cos(self.angle[i]), np.sin(self.angle[i])
        return self.x[i] + u * cos - v * sin, self.y[i] + u * sin + v * cos

    def select(self, keep: npt.NDArray[np.bool_]) -> Rings:
        """Keep the rings where `keep`.

        Parameters
        ----------
        keep : ndarray of shape (n,), bool

        Returns
        -------
        Rings
        """
        return Rings(**{name: value[keep] for name, value in vars(self).items()})

    def nearest_rho(self, x: Doubles, y: Doubles) -> Doubles:
        """Radius of points as seen from the nearest ring, (n,); infinite where there are no rings.

        Parameters
        ----------
        x : ndarray of shape (m,), float64
            Level-0 pixels.
        y : ndarray of shape (m,), float64

        Returns
        -------
        ndarray of shape (m,), float64
        """
        if not len(self.x):
            return np.full(x.shape, np.inf)
        nearest = cKDTree(np.column_stack([self.x, self.y])).query(np.column_stack([x, y]))[1]
        return np.asarray(self.polar(nearest, x, y)[0])


@dataclass(frozen=True)
class Nests:
    """Tumour glands: the cells of a Voronoi diagram, in coordinates that are themselves warped."""

    tree: cKDTree
    centres: Doubles  # (n, 2)
    wall: Singles  # (n,) pixels of epithelium between the rim and the lumen; infinite in solid nests
    debris: Singles  # (n,) how full of necrotic debris the lumen is, 0 to 1
    pale: Singles  # (n,) share of nuclei with open chromatin: nests differ as wholes, as clones do

    def depth(self, u: Any, v: Any) -> tuple[Any, Any, Any]:
        """Pixels to the border with the next nest, the nest's index, and the angle across that border.

        Parameters
        ----------
        u : ndarray of any shape
            The nests' warped coordinates, in level-0 pixels.
        v : ndarray of the same shape

        Returns
        -------
        (ndarray, ndarray, ndarray), each of the same shape
        """
        (near, far), (i, j) = (np.moveaxis(a, -1, 0) for a in self.tree.query(np.stack([u, v], axis=-1), k=2))
        dx, dy = np.moveaxis(self.centres[j] - self.centres[i], -1, 0)
        return (far**2 - near**2) / (2 * np.hypot(dx, dy)), i, np.arctan2(dy, dx)


@dataclass(frozen=True)
class Stamps:
    """Where to put which sprite: x, y of the centres, (n,), and rows of `Section.sprites`, (n,)."""

    x: Ints
    y: Ints
    sprite: Ints

    def within(self, x: int, y: int, width: int, height: int, reach: int) -> npt.NDArray[np.intp]:
        """Those that touch a block, in the order in which they were laid.

        Parameters
        ----------
        x : int
            Left edge of the block, in level-0 pixels.
        y : int
            Its upper edge.
        width : int
            In level-0 pixels.
        height : int
            In level-0 pixels.
        reach : int
            Level-0 pixels from a sprite's centre to its edge.

        Returns
        -------
        ndarray of shape (m,), intp
            Places in the arrays.
        """
        touches = (self.x >= x - reach) & (self.x < x + width + reach)
        return np.flatnonzero(touches & (self.y >= y - reach) & (self.y < y + height + reach))


NOTHING = Stamps(*(np.empty(0, np.int64) for _ in range(3)))


@dataclass(frozen=True)
class Section:
    """All that painting a block needs. Coarse fields are (rows, columns) of mask pixels."""

    px: float  # level-0 pixels in a micrometre
    tissue: Singles  # signed distances, in pixels
    tumour: Singles
    blueness: Singles  # factors on either stain: sections are never evenly thick, nor evenly stained
    pinkness: Singles
    lamp: Singles  # factor on the light
    fibre_u: Singles  # coordinates along and across the collagen
    fibre_v: Singles
    nest_u: Singles  # the nests' warped coordinates
    nest_v: Singles
    glands: Rings
    vessels: Rings
    nests: Nests
    sprites: Singles  # (n, edge, edge)
    nuclei: Stamps
    red_cells: Stamps
    dust: Stamps
    fibres: Singles  # periodic textures, (1024, 1024), unit variance
    grain: Singles
    waves: Singles


def measure_holes(section: Section, x: Any, y: Any, depth: Any, *, clear: float = 0.0) -> Any:
    """Small round lumina deep in nests, 0 to 1, at level-0 coordinates; the larger by more of `clear`.

    Parameters
    ----------
    section : Section
    x : ndarray of any shape
    y : ndarray of the same shape
    depth : ndarray of the same shape
        Pixels inside a nest's border.
    clear : float, default=0.0

    Returns
    -------
    ndarray of the same shape, float32
    """
    rows, columns = np.asarray(y).astype(np.int64) % TEXTURE, np.asarray(x).astype(np.int64) % TEXTURE
    return ramp(section.waves[rows, columns], 1.75 - clear, 2.0 - clear) * ramp(
        depth, 9 * section.px, 12 * section.px
    )
