"""A made-up H&E slide with known truth, for the demo and for tests.

Benign glands in fibrous stroma, and an irregular tumour of crowded, dark nuclei in back-to-back glands. First
it is settled where everything lies, for the whole slide and in micrometres; pixels are then painted block by
block, as optical densities of two stains. It looks like a section; it is no model of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from tissuumaps_sic.slidefile.writing import replacing

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GLASS, NORMAL, TUMOUR = 0, 1, 2
MASK_SCALE = 16  # level-0 pixels along an edge of a mask pixel; the coarse fields share its grid

# Optical density (log10) of red, green and blue per unit of stain. Haematoxylin: Ruifrok and Johnston,
# Anal Quant Cytol Histol 23:291 (2001). Eosin: "H&E 2" of G. Landini's Colour Deconvolution for ImageJ, which
# uses their method; their own (0.072, 0.990, 0.105) has so little blue density that it comes out fuchsia.
_HAEMATOXYLIN = (0.650, 0.704, 0.286)
_EOSIN = (0.046, 0.842, 0.537)
_LAMP = (242.0, 241.0, 243.0)  # an empty slide, in 8-bit RGB

_BLOCK = 1024  # a multiple of MASK_SCALE, so that no mask pixel lies in two blocks
_TEXTURE = 1024  # edge of a periodic texture, in pixels
_ANGLES = 24  # orientations of a sprite over half a turn
_SMALLEST = 450  # micrometres along the shorter side: room for a tumour and for glands beside it
_TUMOUR_SHARE = 0.30


@dataclass(frozen=True)
class SyntheticSlide:
    """A synthetic slide and its truth.

    Attributes
    ----------
    path : Path
        Tiled pyramidal TIFF.
    mask_path : Path
        PNG at 1/16 of the slide's scale: 0 glass, 1 normal, 2 tumour. Its pixel (column i, row j) covers the
        level-0 pixels [16 i, 16 i + 16) x [16 j, 16 j + 16).
    size : (int, int)
        Width and height in level-0 pixels.
    mpp : float
        Micrometres per level-0 pixel.
    """

    path: Path
    mask_path: Path
    size: tuple[int, int]
    mpp: float


def write_synthetic_slide(
    path: Path, *, size: tuple[int, int] = (6144, 4608), mpp: float = 0.5, seed: int = 0
) -> SyntheticSlide:
    """Write a synthetic H&E slide, and beside it `<stem>_mask.png`, its truth.

    The same arguments and versions of numpy, scipy and libvips give the same pixels. Each file is written
    whole or not at all, the mask first.

    Parameters
    ----------
    path : Path
        The slide to write, a TIFF; its folder must exist.
    size : (int, int)
        Width and height in level-0 pixels, each at least 450 µm.
    mpp : float
        Micrometres per level-0 pixel, 0.2 to 1. It sets the size of cells and glands in pixels.
    seed : int
        Not negative.

    Returns
    -------
    SyntheticSlide

    Raises
    ------
    ValueError
        When `size`, `mpp` or `seed` is out of range.
    OSError
        When a file cannot be written.
    """
    if not 0.2 <= mpp <= 1.0:
        raise ValueError(f"mpp is {mpp}; give 0.2 to 1 µm per pixel")
    if min(size) * mpp < _SMALLEST:
        least = int(np.ceil(_SMALLEST / mpp))
        raise ValueError(
            f"size is {size[0]} x {size[1]}; give at least {least} x {least} pixels at {mpp} µm/px"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; give 0 or more")
    pixels, mask = render(size, mpp, seed)
    mask_path = path.with_name(f"{path.stem}_mask.png")
    with replacing(mask_path) as temporary:
        Image.fromarray(mask).save(temporary, format="PNG")
    with replacing(path) as temporary:
        _write_pyramid(pixels, temporary, mpp)
    return SyntheticSlide(path=path, mask_path=mask_path, size=size, mpp=mpp)


def render(
    size: tuple[int, int], mpp: float, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Paint a slide.

    Returns
    -------
    pixels : uint8, (height, width, 3)
        RGB.
    mask : uint8, (ceil(height / 16), ceil(width / 16))
        GLASS, NORMAL or TUMOUR.
    """
    width, height = size
    plan = _lay_out(size, mpp, seed)
    # Whole mask pixels are painted; what lies beyond the slide is cut off at the end.
    rows, columns = plan.tissue.shape
    pixels = np.empty((rows * MASK_SCALE, columns * MASK_SCALE, 3), np.uint8)
    mask = np.empty((rows, columns), np.uint8)

    def paint(corner: tuple[int, int]) -> None:
        x, y = corner
        w, h = min(_BLOCK, pixels.shape[1] - x), min(_BLOCK, pixels.shape[0] - y)
        rgb, labels = _paint_block(plan, x, y, w, h, np.random.default_rng([seed, x, y]))
        pixels[y : y + h, x : x + w] = rgb
        s = MASK_SCALE
        mask[y // s : (y + h) // s, x // s : (x + w) // s] = labels

    corners = [(x, y) for y in range(0, pixels.shape[0], _BLOCK) for x in range(0, pixels.shape[1], _BLOCK)]
    # numpy and scipy let go of the interpreter in most of the work; a block depends on its corner alone.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(paint, corners))
    return np.ascontiguousarray(pixels[:height, :width]), mask


def _write_pyramid(pixels: npt.NDArray[np.uint8], path: Path, mpp: float) -> None:
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, "uchar")
    try:
        image.copy(interpretation="srgb").tiffsave(
            str(path),
            tile=True,
            tile_width=256,
            tile_height=256,
            pyramid=True,
            compression="jpeg",
            Q=88,
            resunit="cm",
            # libvips takes pixels per millimetre, whatever the unit that it writes.
            xres=1000 / mpp,
            yres=1000 / mpp,
        )
    except pyvips.Error as error:
        raise OSError(f"{path.name} could not be written: {str(error).strip()}; is the disk full?") from error


# Coarse fields: one float32 a mask pixel, read between their nodes by linear interpolation.


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Gaussian noise of unit variance, smooth over `sigma` cells, that wraps round at its edges."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    noise -= noise.mean()
    return np.asarray(noise / noise.std(), np.float32)


def _warp(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, amplitude: float, sigma: float
) -> Floats:
    """Smooth displacements in level-0 pixels; `amplitude` and `sigma` in micrometres, as is `cell`."""
    return _smooth_noise(rng, shape, sigma / cell) * np.float32(amplitude * MASK_SCALE / cell)


def _at_points(field: Floats, x: Doubles, y: Doubles) -> Floats:
    """Read a coarse field at level-0 coordinates."""
    where = ((y + 0.5) / MASK_SCALE - 0.5, (x + 0.5) / MASK_SCALE - 0.5)
    return np.asarray(ndimage.map_coordinates(field, where, order=1, mode="nearest"), np.float32)


def _at_pixels(field: Floats, x: int, y: int, width: int, height: int, step: int = 1) -> Floats:
    """Read a coarse field at every `step`-th pixel of a block, as `_at_points` would."""
    result = field
    for axis, (start, length) in enumerate(((y, height), (x, width))):
        place = (np.arange(start, start + length, step) + 0.5) / MASK_SCALE - 0.5
        place = np.clip(place, 0, field.shape[axis] - 1)
        low = np.minimum(place.astype(np.int64), field.shape[axis] - 2)
        share = (place - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        result = np.take(result, low, axis) * (1 - share) + np.take(result, low + 1, axis) * share
    return result


def _signed_distance(region: npt.NDArray[np.bool_]) -> Floats:
    """Level-0 pixels to the region's outline, positive inside."""
    inside = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    distance = (inside - ndimage.distance_transform_edt(~region)) * MASK_SCALE
    # The steps of the coarse grid would show as corners in the outline.
    return np.asarray(ndimage.gaussian_filter(distance, 1.2, mode="nearest"), np.float32)


def _ramp(value: Floats, start: float, stop: float) -> Floats:
    """0 up to `start`, 1 from `stop`, smooth between."""
    t = np.clip((value - start) / (stop - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


# The plan: where everything is, in level-0 pixels.


@dataclass(frozen=True)
class _Rings:
    """Ovals with wobbling outlines: benign glands, or vessels. Arrays of (n,) but where it says otherwise."""

    x: Doubles
    y: Doubles
    radius: Doubles
    ratio: Doubles
    angle: Doubles
    wobble: Doubles  # (n, 4, 2) amplitude and phase of the outline's harmonics 2 to 5
    lumen: Doubles  # share of the radius that is lumen
    count: Ints  # cells round the ring; even, so that none is cut in two where the angle jumps
    mucin: Floats  # (n, 64) how full of mucin each cell is, 0 to 1

    @property
    def reach(self) -> Doubles:
        """No part of a ring is farther than this from its centre."""
        return self.radius * self.ratio * 1.3 + 4

    def polar(self, i: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """Radius, 1 at the outline, and angle of points as seen from ring `i` (an index, or one a point)."""
        dx, dy = x - self.x[i], y - self.y[i]
        cos, sin = np.cos(self.angle[i]), np.sin(self.angle[i])
        u, v = (dx * cos + dy * sin) / self.ratio[i], dy * cos - dx * sin
        theta = np.arctan2(v, u)
        return np.hypot(u, v) / (self.radius[i] * self.outline(i, theta)), theta

    def outline(self, i: Any, theta: Any) -> Any:
        """Factor on the radius at an angle."""
        return 1 + sum(
            self.wobble[i, k, 0] * np.cos((k + 2) * theta + self.wobble[i, k, 1]) for k in range(4)
        )

    def point(self, i: Any, rho: Any, theta: Any) -> tuple[Any, Any]:
        """Invert `polar`."""
        r = rho * self.radius[i] * self.outline(i, theta)
        u, v = r * np.cos(theta) * self.ratio[i], r * np.sin(theta)
        cos, sin = np.cos(self.angle[i]), np.sin(self.angle[i])
        return self.x[i] + u * cos - v * sin, self.y[i] + u * sin + v * cos

    def select(self, keep: npt.NDArray[np.bool_]) -> _Rings:
        """Keep the rings where `keep`."""
        return _Rings(**{name: value[keep] for name, value in vars(self).items()})

    def nearest_rho(self, x: Doubles, y: Doubles) -> Doubles:
        """Radius of points as seen from the nearest ring, (n,); infinite where there are no rings."""
        if not len(self.x):
            return np.full(x.shape, np.inf)
        nearest = cKDTree(np.column_stack([self.x, self.y])).query(np.column_stack([x, y]))[1]
        return np.asarray(self.polar(nearest, x, y)[0])


@dataclass(frozen=True)
class _Nests:
    """Tumour glands: the cells of a Voronoi diagram, in coordinates that are themselves warped."""

    tree: cKDTree
    centres: Doubles  # (n, 2)
    wall: Floats  # (n,) pixels of epithelium between the rim and the lumen; infinite in solid nests
    debris: Floats  # (n,) how full of necrotic debris the lumen is, 0 to 1
    pale: Floats  # (n,) share of nuclei with open chromatin: nests differ as wholes, as clones do

    def depth(self, u: Any, v: Any) -> tuple[Any, Any, Any]:
        """Pixels to the border with the next nest, the nest's index, and the angle across that border."""
        (near, far), (i, j) = (np.moveaxis(a, -1, 0) for a in self.tree.query(np.stack([u, v], axis=-1), k=2))
        dx, dy = np.moveaxis(self.centres[j] - self.centres[i], -1, 0)
        return (far**2 - near**2) / (2 * np.hypot(dx, dy)), i, np.arctan2(dy, dx)


@dataclass(frozen=True)
class _Stamps:
    """Where to put which sprite: x, y of the centres, (n,), and rows of `_Plan.sprites`, (n,)."""

    x: Ints
    y: Ints
    sprite: Ints

    def within(self, x: int, y: int, width: int, height: int, reach: int) -> npt.NDArray[np.intp]:
        """Those that touch a block, in the order in which they were laid."""
        touches = (self.x >= x - reach) & (self.x < x + width + reach)
        return np.flatnonzero(touches & (self.y >= y - reach) & (self.y < y + height + reach))


@dataclass(frozen=True)
class _Plan:
    """All that painting a block needs. Coarse fields are (rows, columns) of mask pixels."""

    px: float  # level-0 pixels in a micrometre
    tissue: Floats  # signed distances, in pixels
    tumour: Floats
    blueness: Floats  # factors on either stain: sections are never evenly thick, nor evenly stained
    pinkness: Floats
    lamp: Floats  # factor on the light
    fibre_u: Floats  # coordinates along and across the collagen
    fibre_v: Floats
    nest_u: Floats  # the nests' warped coordinates
    nest_v: Floats
    glands: _Rings
    vessels: _Rings
    nests: _Nests
    sprites: Floats  # (n, edge, edge)
    nuclei: _Stamps
    red_cells: _Stamps
    dust: _Stamps
    fibres: Floats  # periodic textures, (1024, 1024), unit variance
    grain: Floats
    waves: Floats


def _lay_out(size: tuple[int, int], mpp: float, seed: int) -> _Plan:
    rng = np.random.default_rng(seed)
    px = 1 / mpp
    shape = (-(-size[1] // MASK_SCALE), -(-size[0] // MASK_SCALE))
    cell = MASK_SCALE * mpp  # micrometres along a coarse cell
    tissue, tumour = _regions(rng, shape)
    tissue = tissue + _warp(rng, shape, cell, 7, 32) + _warp(rng, shape, cell, 3, 13)
    tumour = tumour + _warp(rng, shape, cell, 22, 42) + _warp(rng, shape, cell, 8, 16)
    # A quantile, so that any seed and size has its share of tumour.
    tumour = tumour - np.quantile(tumour[tissue > 0], 1 - _TUMOUR_SHARE).astype(np.float32)
    x, y = (
        a.astype(np.float64) for a in np.meshgrid(*(np.arange(n) * MASK_SCALE + 7.5 for n in shape[::-1]))
    )

    glands, vessels = _place_rings(rng, size, px, tissue, tumour)

    # Collagen runs one way on the large scale, swirls, and bends round the glands.
    lie = rng.uniform(0, np.pi)
    round_glands = np.zeros(shape)
    rings = np.column_stack([glands.x, glands.y])
    if len(rings):
        near, which = cKDTree(rings).query(np.stack([x, y], axis=-1))
        round_glands = np.clip(near - glands.radius[which], -10 * px, 22 * px)
        round_glands = ndimage.gaussian_filter(round_glands, 0.8)
    fibre_u, fibre_v = (
        a + _warp(rng, shape, cell, 30, 60)
        for a in (x * np.cos(lie) + y * np.sin(lie), y * np.cos(lie) - x * np.sin(lie) + 1.6 * round_glands)
    )
    nest_u, nest_v = (a + _warp(rng, shape, cell, 18, 36) + _warp(rng, shape, cell, 5, 13) for a in (x, y))
    nests = _place_nests(rng, size, px)
    sprites, kinds = _draw_sprites(rng, px)
    plan = _Plan(
        px=px,
        tissue=tissue,
        tumour=tumour,
        blueness=1 + 0.07 * _smooth_noise(rng, shape, 150 / cell),
        pinkness=1 + 0.13 * _smooth_noise(rng, shape, 90 / cell),
        lamp=1 + 0.006 * _smooth_noise(rng, shape, 600 / cell),
        fibre_u=fibre_u.astype(np.float32),
        fibre_v=fibre_v.astype(np.float32),
        nest_u=nest_u.astype(np.float32),
        nest_v=nest_v.astype(np.float32),
        glands=glands,
        vessels=vessels,
        nests=nests,
        sprites=sprites,
        nuclei=_NOTHING,
        red_cells=_NOTHING,
        dust=_NOTHING,
        fibres=_draw_fibres(rng, px),
        grain=_smooth_noise(rng, (_TEXTURE, _TEXTURE), 0.7 * px),
        waves=_smooth_noise(rng, (_TEXTURE, _TEXTURE), 6 * px),
    )
    return _populate(plan, rng, size, kinds)


_NOTHING = _Stamps(*(np.empty(0, np.int64) for _ in range(3)))


def _regions(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Signed distances of two pieces of tissue, and of the tumour in the larger one."""
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    x, y = (x + 0.5) / columns, (y + 0.5) / rows
    edge = min(shape)
    x = x + 0.035 * _smooth_noise(rng, shape, 0.13 * edge)
    y = y + 0.035 * _smooth_noise(rng, shape, 0.13 * edge)
    rough = 0.13 * _smooth_noise(rng, shape, 0.055 * edge) + 0.035 * _smooth_noise(rng, shape, 0.018 * edge)
    centres = (0.38 + rng.uniform(-0.02, 0.02), 0.5), (0.84, 0.47 + rng.uniform(-0.05, 0.05))
    halves = (0.30, 0.385), (0.095, 0.33)
    height = np.full(shape, -np.inf)
    for (cx, cy), (a, b) in zip(centres, halves, strict=True):
        height = np.maximum(height, 1 - np.hypot((x - cx) / a, (y - cy) / b))
    tissue = height + rough > 0
    tissue[[0, -1]] = tissue[:, [0, -1]] = False
    parts, _ = ndimage.label(tissue)
    areas = np.bincount(parts.ravel())[1:]
    main = parts == 1 + int(areas.argmax())
    tissue = ndimage.binary_fill_holes(np.isin(parts, 1 + np.flatnonzero(areas > 0.03 * areas.sum())))

    away = rng.uniform(0, 2 * np.pi)
    cx, cy = centres[0][0] + 0.10 * np.cos(away), centres[0][1] + 0.13 * np.sin(away)
    height = 1 - np.hypot((x - cx) / halves[0][0], (y - cy) / halves[0][1])
    height += 0.19 * _smooth_noise(rng, shape, 0.075 * edge) + 0.08 * _smooth_noise(rng, shape, 0.03 * edge)
    share = min(_TUMOUR_SHARE * tissue.sum() / main.sum(), 0.6)  # all of it lies in the larger piece
    tumour = main & (height > np.quantile(height[main], 1 - share))
    parts, _ = ndimage.label(tumour)
    areas = np.bincount(parts.ravel())[1:]
    tumour = ndimage.binary_fill_holes(np.isin(parts, 1 + np.flatnonzero(areas > 0.03 * areas.sum())))
    return _signed_distance(tissue), _signed_distance(tumour)


def _scatter(
    rng: np.random.Generator, size: tuple[int, int], spacing: float, jitter: float
) -> tuple[Doubles, Doubles]:
    """Points over the slide on a triangular lattice of `spacing`, each moved by up to `jitter` spacings."""
    rows, columns = int(size[1] / (spacing * 0.866)) + 2, int(size[0] / spacing) + 2
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    x = (x + 0.5 * (y % 2)) * spacing
    y = y * spacing * 0.866
    x += rng.uniform(-jitter, jitter, x.shape) * spacing
    y += rng.uniform(-jitter, jitter, y.shape) * spacing
    return x.ravel(), y.ravel()


def _place_rings(
    rng: np.random.Generator, size: tuple[int, int], px: float, tissue: Floats, tumour: Floats
) -> tuple[_Rings, _Rings]:
    """Benign glands, regularly spaced, with a vessel here and there in the place of one."""
    cell = MASK_SCALE / px
    x, y = _scatter(rng, size, 75 * px, 0.18)
    x, y = (a + _at_points(_warp(rng, tissue.shape, cell, 26, 130), x, y) for a in (x, y))
    n = len(x)
    # The cut runs across the glands here and aslant there; some stretches of stroma bear none.
    slant = np.clip(0.28 * _at_points(_smooth_noise(rng, tissue.shape, 180 / cell), x, y), 0, 0.6)
    ratio = 1 + slant + np.abs(rng.normal(0, 0.12, n))
    angle = 1.2 * _at_points(_smooth_noise(rng, tissue.shape, 200 / cell), x, y) + rng.normal(0, 0.4, n)
    is_bare = _at_points(_smooth_noise(rng, tissue.shape, 110 / cell), x, y) > 1.15
    is_vessel = rng.random(n) < np.where(is_bare, 0.15, 0.05)
    room = cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), k=2)[0][:, 1]
    radius = np.minimum(rng.uniform(27, 40, n) * px, (room - 5 * px) / 2) / np.sqrt(ratio)
    radius[is_vessel] *= rng.uniform(0.25, 0.75, int(is_vessel.sum()))
    rings = _Rings(
        x=x,
        y=y,
        radius=radius,
        ratio=ratio,
        angle=angle,
        wobble=np.stack(
            [
                rng.normal(0, 1, (n, 4)).clip(-2, 2) * [0.05, 0.04, 0.022, 0.015],
                rng.uniform(0, 2 * np.pi, (n, 4)),
            ],
            -1,
        ),
        lumen=rng.uniform(0.14, 0.36, n),
        count=2 * np.rint(np.pi * radius * np.sqrt(ratio) / (4.8 * px)).astype(np.int64),
        mucin=rng.beta(2.2, 0.8, (n, 64)).astype(np.float32),
    )
    fits = (_at_points(tissue, x, y) > 0.75 * radius) & (_at_points(tumour, x, y) < -rings.reach - 5 * px)
    fits &= is_vessel | (radius > 13 * px)
    return rings.select(fits & ~is_vessel & ~is_bare), rings.select(fits & is_vessel)


def _place_nests(rng: np.random.Generator, size: tuple[int, int], px: float) -> _Nests:
    x, y = _scatter(rng, size, 66 * px, 0.42)
    n = len(x)
    centres = np.column_stack([x, y])
    wall = rng.uniform(15, 24, n) * px
    wall[rng.random(n) < 0.4] = np.inf
    debris = np.where(rng.random(n) < 0.45, rng.uniform(0.3, 1, n), 0)
    pale = rng.uniform(0.15, 0.75, n)
    return _Nests(cKDTree(centres), centres, *(a.astype(np.float32) for a in (wall, debris, pale)))


def _draw_fibres(rng: np.random.Generator, px: float) -> Floats:
    """Long thin streaks along the columns' axis, in two widths."""
    total = np.zeros((_TEXTURE, _TEXTURE), np.float32)
    for share, thick, long in ((0.75, 0.55, 11), (0.65, 1.6, 26)):
        streak = rng.standard_normal((_TEXTURE, _TEXTURE), dtype=np.float32)
        streak = ndimage.gaussian_filter(streak, (thick * px, long * px), mode="wrap")
        total += np.float32(share) * streak / streak.std()
    return np.asarray(total / total.std(), np.float32)


# Sprites: nuclei and other small bodies, drawn once each, in stain densities.


@dataclass(frozen=True)
class _Kind:
    """What the sprites of a kind look like; lengths are half-axes in micrometres."""

    long: tuple[float, float]
    short: tuple[float, float]
    density: tuple[float, float]
    rim: float  # extra density at the membrane
    clumps: float  # unevenness of the chromatin
    wobble: float  # irregularity of the outline
    nucleolus: float = 0.0
    shapes: int = 12


_KINDS = {
    "gland": _Kind((2.9, 4.0), (1.6, 2.2), (0.42, 0.62), 0.12, 0.16, 0.04),
    "spindle": _Kind((4.5, 7.5), (0.8, 1.4), (0.45, 0.70), 0.0, 0.10, 0.05),
    "lymphocyte": _Kind((2.5, 3.1), (2.4, 2.9), (0.62, 0.82), 0.05, 0.22, 0.03),
    "dark": _Kind((4.0, 6.6), (2.5, 3.9), (0.55, 0.85), 0.06, 0.18, 0.10, shapes=24),
    "open": _Kind((4.2, 6.4), (3.0, 4.6), (0.30, 0.44), 0.24, 0.15, 0.08, nucleolus=0.5, shapes=24),
    "fragment": _Kind((0.5, 1.6), (0.5, 1.1), (0.7, 1.1), 0.0, 0.10, 0.10),
    "red cell": _Kind((2.8, 3.4), (2.3, 3.0), (0.34, 0.46), 0.08, 0.03, 0.05),
    "dust": _Kind((0.8, 6.0), (0.6, 2.0), (0.15, 0.55), 0.0, 0.30, 0.15),
}


def _draw_sprites(rng: np.random.Generator, px: float) -> tuple[Floats, dict[str, int]]:
    """All sprites, (n, edge, edge), and each kind's first row; a shape's orientations follow one another."""
    edge = 2 * int(np.ceil(9.5 * px)) + 1
    chromatin = _smooth_noise(rng, (4 * edge, 4 * edge), 0.55 * px)
    sprites: list[Floats] = []
    first: dict[str, int] = {}
    for name, kind in _KINDS.items():
        first[name] = len(sprites)
        for _ in range(kind.shapes):
            sprites.extend(_draw_shape(rng, kind, edge, px, chromatin))
    return np.stack(sprites), first


def _draw_shape(
    rng: np.random.Generator, kind: _Kind, edge: int, px: float, chromatin: Floats
) -> list[Floats]:
    """One shape in all its orientations, each with a chromatin of its own."""
    v, u = (np.mgrid[:edge, :edge] - edge // 2 + rng.uniform(-0.5, 0.5, (2, 1, 1))).astype(np.float32)
    a, b = rng.uniform(*kind.long) * px, rng.uniform(*kind.short) * px
    density = rng.uniform(*kind.density)
    waves = [(k, rng.normal(0, kind.wobble * 1.8 / k), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    bend = rng.normal(0, 0.12)
    nucleolus = rng.uniform(-0.3, 0.3, 2) if kind.nucleolus and rng.random() < 0.6 else None
    drawn = []
    for turn in range(_ANGLES):
        cos, sin = np.cos(np.pi * turn / _ANGLES), np.sin(np.pi * turn / _ANGLES)
        s, t = (u * cos + v * sin) / a, (v * cos - u * sin) / b
        t = t + bend * s**2
        theta = np.arctan2(t, s)
        outline = 1 + sum(size * np.cos(k * theta + phase) for k, size, phase in waves)
        inside = (1 - np.hypot(s, t) / outline) * b  # roughly in pixels
        top, left = rng.integers(3 * edge, size=2)
        body = density + kind.clumps * chromatin[top : top + edge, left : left + edge]
        body = body + kind.rim * np.exp(-(((inside - 0.5 * px) / (0.4 * px)) ** 2))
        if nucleolus is not None:
            spot = np.hypot((s - nucleolus[0]) * a, (t - nucleolus[1]) * b) / (0.75 * px)
            body = body + kind.nucleolus * np.exp(-(spot**2))
        drawn.append(np.asarray(body.clip(0.1) * _ramp(inside, -0.35 * px, 0.45 * px), np.float32))
    return drawn


def _populate(plan: _Plan, rng: np.random.Generator, size: tuple[int, int], first: dict[str, int]) -> _Plan:
    """Put nuclei, red cells and dust where the tissue wants them."""
    px = plan.px
    laid: list[tuple[Doubles, Doubles, Ints]] = []

    def lay(kind: str, x: Doubles, y: Doubles, angle: Doubles | None = None) -> None:
        if angle is None:
            angle = rng.uniform(0, np.pi, len(x))
        shape = rng.integers(_KINDS[kind].shapes, size=len(x))
        turn = np.rint(angle / np.pi * _ANGLES).astype(np.int64) % _ANGLES
        laid.append((x, y, first[kind] + shape * _ANGLES + turn))

    def gather() -> _Stamps:
        x, y, sprite = (np.concatenate(part) for part in zip(*laid, strict=True))
        laid.clear()
        return _Stamps(np.rint(x).astype(np.int64), np.rint(y).astype(np.int64), sprite.astype(np.int64))

    _lay_gland_nuclei(plan, rng, lay)
    _lay_tumour_nuclei(plan, rng, size, lay)
    _lay_stroma_nuclei(plan, rng, size, lay)
    nuclei = gather()

    for i in range(len(plan.vessels.x)):
        n = int(rng.uniform(0.2, 0.9) * (plan.vessels.radius[i] / (2.9 * px)) ** 2)
        rho, theta = 0.85 * np.sqrt(rng.random(n)), rng.uniform(-np.pi, np.pi, n)
        lay("red cell", *plan.vessels.point(i, rho, theta))
    x, y = (rng.uniform(0, side, max(4, size[0] * size[1] // 250_000)) for side in size)
    bled = (_at_points(plan.tissue, x, y) > 12 * px) & (plan.glands.nearest_rho(x, y) > 1.2)
    lay("red cell", x[bled], y[bled])
    red_cells = gather()

    x, y = (rng.uniform(0, side, max(6, size[0] * size[1] // 350_000)) for side in size)
    lay("dust", x, y)
    return _Plan(**{**vars(plan), "nuclei": nuclei, "red_cells": red_cells, "dust": gather()})


_Lay = Callable[..., None]


def _lay_gland_nuclei(plan: _Plan, rng: np.random.Generator, lay: _Lay) -> None:
    """One row of nuclei at the base of each gland's cells, and flat ones round the vessels."""
    px = plan.px
    for i in range(len(plan.glands.x)):
        glands = plan.glands
        cell = np.arange(glands.count[i]) - glands.count[i] // 2
        n = len(cell)
        theta = (cell + 0.5 + rng.uniform(-0.3, 0.3, n)) * 2 * np.pi / n
        base = 1 - (3.4 * px + np.abs(rng.normal(0, 0.9 * px, n))) / glands.radius[i]
        x, y = glands.point(i, base, theta)
        # Upright where the cell is a plain column, flattened where mucin presses on it.
        full = glands.mucin[i, cell % 64]
        upright = np.arctan2(y - glands.y[i], x - glands.x[i])
        angle = upright + np.where(full > 0.75, np.pi / 2, 0) + rng.normal(0, 0.25, n)
        keep = (_at_points(plan.tissue, x, y) > 4 * px) & (rng.random(n) < 0.93)
        lay("gland", x[keep], y[keep], angle[keep])
    for i in range(len(plan.vessels.x)):
        vessels = plan.vessels
        n = int(2 * np.pi * vessels.radius[i] / (13 * px))
        theta = rng.uniform(-np.pi, np.pi, n)
        x, y = vessels.point(i, 1.0, theta)
        lay("spindle", x, y, np.arctan2(y - vessels.y[i], x - vessels.x[i]) + np.pi / 2)


def _lay_tumour_nuclei(plan: _Plan, rng: np.random.Generator, size: tuple[int, int], lay: _Lay) -> None:
    """Crowded nuclei, across the rim in nests that have a lumen, anyhow in solid ones."""
    px = plan.px
    x, y = _scatter(rng, size, 8.0 * px, 0.36)
    keep = (_at_points(plan.tumour, x, y) > 3 * px) & (_at_points(plan.tissue, x, y) > 5 * px)
    keep &= rng.random(len(x)) < 0.93
    x, y = x[keep], y[keep]
    depth, nest, across = plan.nests.depth(_at_points(plan.nest_u, x, y), _at_points(plan.nest_v, x, y))
    depth = np.minimum(depth, _at_points(plan.tumour, x, y))
    past = depth - plan.nests.wall[nest]
    keep = (depth > 4.5 * px) & (past < -4.5 * px) & (_holes(plan, x, y, depth, clear=0.4) == 0)
    solid = np.isinf(plan.nests.wall[nest])
    angle = np.where(solid, rng.uniform(0, np.pi, len(x)), across + rng.normal(0, 0.35, len(x)))
    is_open = rng.random(len(x)) < plan.nests.pale[nest]
    for kind, chosen in (("dark", keep & ~is_open), ("open", keep & is_open)):
        lay(kind, x[chosen], y[chosen], angle[chosen])

    x, y = _scatter(rng, size, 5.5 * px, 0.5)
    keep = (_at_points(plan.tumour, x, y) > 3 * px) & (_at_points(plan.tissue, x, y) > 5 * px)
    x, y = x[keep], y[keep]
    depth, nest, _ = plan.nests.depth(_at_points(plan.nest_u, x, y), _at_points(plan.nest_v, x, y))
    in_lumen = depth - plan.nests.wall[nest] > 2 * px
    keep = in_lumen & (rng.random(len(x)) < 0.55 * plan.nests.debris[nest])
    lay("fragment", x[keep], y[keep])


def _lay_stroma_nuclei(plan: _Plan, rng: np.random.Generator, size: tuple[int, int], lay: _Lay) -> None:
    """Spindle nuclei that follow the collagen, and lymphocytes in crowds, most at the tumour's border."""
    px = plan.px
    x, y = _scatter(rng, size, 9.0 * px, 0.5)
    inside = _at_points(plan.tissue, x, y) > 5 * px
    x, y = x[inside], y[inside]
    to_tumour = _at_points(plan.tumour, x, y)
    depth, _, _ = plan.nests.depth(_at_points(plan.nest_u, x, y), _at_points(plan.nest_v, x, y))
    depth = np.minimum(depth, to_tumour)
    free = plan.glands.nearest_rho(x, y) > 1.09
    free &= plan.vessels.nearest_rho(x, y) > 1.15
    free &= depth < 2.5 * px
    crowd = _at_points(_smooth_noise(rng, plan.tissue.shape, 45 / (MASK_SCALE / px)), x, y)
    chance = (
        0.05 + 0.16 * np.clip(crowd - 0.4, 0, 2) + 0.4 * np.exp(-(((to_tumour + 25 * px) / (28 * px)) ** 2))
    )
    dice = rng.random(len(x))
    is_lymphocyte = free & (dice < chance)
    is_spindle = free & ~is_lymphocyte & (dice > 0.72)
    down, right = (np.gradient(plan.fibre_v, axis=axis) for axis in (0, 1))
    along = np.arctan2(-_at_points(right, x, y), _at_points(down, x, y))
    along = along + rng.normal(0, 0.15, len(x))
    lay("spindle", x[is_spindle], y[is_spindle], along[is_spindle])
    lay("lymphocyte", x[is_lymphocyte], y[is_lymphocyte])


def _holes(plan: _Plan, x: Any, y: Any, depth: Any, *, clear: float = 0.0) -> Any:
    """Small round lumina deep in nests, 0 to 1, at level-0 coordinates; the larger by more of `clear`."""
    rows, columns = np.asarray(y).astype(np.int64) % _TEXTURE, np.asarray(x).astype(np.int64) % _TEXTURE
    return _ramp(plan.waves[rows, columns], 1.75 - clear, 2.0 - clear) * _ramp(
        depth, 9 * plan.px, 12 * plan.px
    )


# Painting: from the plan to the pixels of one block.


def _paint_block(
    plan: _Plan, x: int, y: int, width: int, height: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """RGB, (height, width, 3), and mask of one block, whose corner lies on the mask's grid."""
    px = plan.px
    # A margin in which sprites and blur from outside the block are whole; even, for the half-scale nests.
    margin = 8
    area = (x - margin, y - margin, width + 2 * margin, height + 2 * margin)
    shape = (area[3], area[2])
    tissue = _at_pixels(plan.tissue, *area)
    rows = np.arange(area[1], area[1] + area[3]) % _TEXTURE
    columns = np.arange(area[0], area[0] + area[2]) % _TEXTURE
    waves, grain = plan.waves[np.ix_(rows, columns)], plan.grain[np.ix_(rows, columns)]

    cover = np.zeros(shape, np.float32)
    density = np.zeros((2, *shape), np.float32)  # haematoxylin, eosin
    if tissue.max() > -20 * px:
        cover = _ramp(tissue + 2.2 * px * waves + 0.5 * px * grain, -0.8 * px, 0.8 * px)
        blue, pink = _paint_stroma(plan, area, tissue, waves, grain)
        _paint_tumour(plan, area, blue, pink, waves, grain)
        _paint_glands(plan, area, blue, pink, grain)
        _paint_vessels(plan, area, blue, pink)
        nuclei = _stamp(plan, plan.nuclei, area)
        red = _stamp(plan, plan.red_cells, area)
        pink = np.maximum(pink, red)
        # A nucleus displaces cytoplasm, but takes up some eosin of its own: none is pure blue.
        taken = _ramp(nuclei, 0.05, 0.55)
        pink = np.maximum(pink, 0.16 * taken)
        density[0] = (blue * (1 - 0.6 * taken) + nuclei) * _at_pixels(plan.blueness, *area) * cover
        density[1] = pink * (1 - 0.25 * taken) * _at_pixels(plan.pinkness, *area) * cover
    dust = _stamp(plan, plan.dust, area)
    light = _at_pixels(plan.lamp, *area)
    inner = np.s_[margin : margin + height, margin : margin + width]
    rgb = np.empty((height, width, 3), np.uint8)
    noise = rng.normal(0, 1.1, (height, width)).astype(np.float32)
    for band, (h, e, lamp) in enumerate(zip(_HAEMATOXYLIN, _EOSIN, _LAMP, strict=True)):
        od = density[0] * np.float32(h) + density[1] * np.float32(e) + dust
        seen = np.exp(od * np.float32(-np.log(10)))
        # The optics blur light, not density. 0.35 µm is about what a 20x lens leaves.
        seen = ndimage.gaussian_filter(seen, 0.35 * px, truncate=3) * light * np.float32(lamp)
        seen = seen[inner] + noise + rng.normal(0, 0.9, (height, width)).astype(np.float32)
        rgb[..., band] = np.clip(np.rint(seen), 0, 255)

    s = MASK_SCALE
    covered = cover[inner].reshape(height // s, s, width // s, s).mean(axis=(1, 3)) > 0.5
    part = np.s_[y // s : (y + height) // s, x // s : (x + width) // s]
    mask = np.where(covered, np.where(plan.tumour[part] > 0, TUMOUR, NORMAL), GLASS)
    return rgb, mask.astype(np.uint8)


_Area = tuple[int, int, int, int]  # x, y, width, height in level-0 pixels


def _paint_stroma(
    plan: _Plan, area: _Area, tissue: Floats, waves: Floats, grain: Floats
) -> tuple[Floats, Floats]:
    """Densities of haematoxylin and eosin of collagen, (height, width) each."""
    px = plan.px
    u, v = _at_pixels(plan.fibre_u, *area), _at_pixels(plan.fibre_v, *area)
    v = v + 2.2 * px * waves
    fibres = ndimage.map_coordinates(plan.fibres, (v, u), order=1, mode="grid-wrap")
    pink = 0.25 + 0.07 * fibres + 0.02 * grain
    # Clefts between the bundles let the light through.
    pink *= 1 - 0.75 * _ramp(-fibres, 1.3, 2.1)
    pink += 0.06 * np.exp(-np.maximum(tissue, 0) / (7 * px))  # edges of a section take more stain
    blue = 0.04 + 0.014 * fibres + 0.012 * grain
    return np.maximum(blue, 0.01).astype(np.float32), np.maximum(pink, 0.02).astype(np.float32)


def _paint_tumour(plan: _Plan, area: _Area, blue: Floats, pink: Floats, waves: Floats, grain: Floats) -> None:
    """Lay purple cytoplasm, lumina and debris over the stroma, in place."""
    px = plan.px
    tumour = _at_pixels(plan.tumour, *area)
    if tumour.max() <= 0:
        return
    # Nests are found at half the scale: the search is the dearest step, and their outlines are smooth.
    u, v = (_at_pixels(field, *area, step=2) for field in (plan.nest_u, plan.nest_v))
    within = tumour[::2, ::2] > 0
    half = np.zeros((3, *within.shape), np.float32)
    half[:2] = -100.0
    half[0, within], nest, _ = plan.nests.depth(u[within], v[within])
    half[1, within] = np.maximum(half[0, within] - plan.nests.wall[nest], -100)
    half[2, within] = plan.nests.debris[nest]
    depth, past, debris = (_double(a, tumour.shape) for a in half)
    depth = np.minimum(depth, tumour)

    cells = _ramp(depth + 1.2 * px * waves, 1.6 * px, 3.0 * px)
    x = np.arange(area[0], area[0] + area[2])[None, :]
    y = np.arange(area[1], area[1] + area[3])[:, None]
    lumen = _ramp(past + 3.0 * px * waves, -0.6 * px, 0.6 * px) * (depth > 6 * px)
    lumen = np.maximum(lumen, _holes(plan, x, y, depth))
    _blend(blue, cells, 0.17 + 0.035 * grain + 0.02 * waves)
    _blend(pink, cells, 0.23 + 0.035 * grain)
    filled = debris * (0.6 + 0.4 * np.clip(waves, -1, 1))
    _blend(blue, lumen, 0.015 + 0.10 * filled * (1 + 0.5 * grain))
    _blend(pink, lumen, 0.02 + 0.30 * filled * (1 + 0.35 * grain))


def _paint_glands(plan: _Plan, area: _Area, blue: Floats, pink: Floats, grain: Floats) -> None:
    """Lay the cells and lumina of the benign glands over the stroma, in place."""
    px = plan.px
    glands = plan.glands
    for i, window, x, y in _windows(glands, area):
        rho, theta = glands.polar(i, x, y)
        radius = glands.radius[i]
        deep = ((1 - rho) * radius).astype(np.float32)  # pixels from the base, roughly
        n = glands.count[i]
        place = theta / (2 * np.pi) * n + 0.3 * np.sin(5 * theta + glands.angle[i]) + 0.1 * grain[window]
        wall_px = (np.abs(place - np.rint(place)) * 2 * np.pi * rho * radius / n).astype(np.float32)
        full = glands.mucin[i, np.floor(place).astype(np.int64) % 64]
        wall = np.exp(-((wall_px / (0.45 * px)) ** 2))
        # Mucin fills a cell between its nucleus and its tip.
        tip = radius * (1 - glands.lumen[i])
        mucin = full * _ramp(deep, 5.5 * px, 8.0 * px) * (1 - _ramp(deep, tip - 2.2 * px, tip - 0.8 * px))
        inside = _ramp(deep, -0.5 * px, 0.5 * px)
        g = grain[window]
        _blend(blue[window], inside, 0.13 + 0.025 * g - mucin * (0.075 - 0.05 * wall))
        _blend(pink[window], inside, 0.20 + 0.025 * g - mucin * (0.165 - 0.09 * wall))
        lumen = _ramp(deep + 0.8 * px * g, tip - 0.4 * px, tip + 0.6 * px)
        _blend(blue[window], lumen, 0.02 + 0.01 * g)
        _blend(pink[window], lumen, 0.02 + 0.01 * g)
        # The sheath of collagen at the base.
        sheath = np.exp(-(((deep + 1.0 * px) / (0.8 * px)) ** 2))
        pink[window] += 0.12 * sheath


def _paint_vessels(plan: _Plan, area: _Area, blue: Floats, pink: Floats) -> None:
    px = plan.px
    for i, window, x, y in _windows(plan.vessels, area):
        rho, _ = plan.vessels.polar(i, x, y)
        deep = ((1 - rho) * plan.vessels.radius[i]).astype(np.float32)
        pink[window] += 0.16 * np.exp(-(((deep + 1.5 * px) / (1.8 * px)) ** 2))
        lumen = _ramp(deep, -0.5 * px, 0.5 * px)
        _blend(blue[window], lumen, 0.01)
        _blend(pink[window], lumen, 0.03)


def _windows(rings: _Rings, area: _Area) -> list[tuple[int, tuple[slice, slice], Ints, Ints]]:
    """Find the rings that touch an area: index, their part of it, and that part's coordinates."""
    x0, y0, width, height = area
    found = []
    for i, reach in enumerate(rings.reach):
        left, right = (int(np.clip(rings.x[i] + d - x0, 0, width)) for d in (-reach, reach))
        top, bottom = (int(np.clip(rings.y[i] + d - y0, 0, height)) for d in (-reach, reach))
        if left < right and top < bottom:
            x = np.arange(x0 + left, x0 + right)[None, :]
            y = np.arange(y0 + top, y0 + bottom)[:, None]
            found.append((i, (slice(top, bottom), slice(left, right)), x, y))
    return found


def _blend(plane: Floats, share: Any, value: Any) -> None:
    """Replace `share` of a plane by a value, in place."""
    plane += (share * (value - plane)).astype(np.float32)


def _double(half: Floats, shape: tuple[int, ...]) -> Floats:
    """Enlarge a plane to twice its scale, without steps."""
    full = np.repeat(np.repeat(half, 2, 0), 2, 1)[: shape[0], : shape[1]]
    return np.asarray(ndimage.uniform_filter(full, 3), np.float32)


def _stamp(plan: _Plan, stamps: _Stamps, area: _Area) -> Floats:
    """Densities of the sprites over an area, (height, width)."""
    x0, y0, width, height = area
    edge = plan.sprites.shape[1]
    reach = edge // 2
    # Room for whole sprites beyond the area's edges spares the loop all clipping.
    plane = np.zeros((height + 2 * edge, width + 2 * edge), np.float32)
    chosen = stamps.within(*area, reach)
    left, top = stamps.x[chosen] - x0 - reach + edge, stamps.y[chosen] - y0 - reach + edge
    for x, y, sprite in zip(left.tolist(), top.tolist(), stamps.sprite[chosen].tolist(), strict=True):
        under = plane[y : y + edge, x : x + edge]
        over = plan.sprites[sprite]
        # Bodies on top of each other darken, by less than their sum: a section is thinner than two nuclei.
        both = np.minimum(under, over)
        np.maximum(under, over, out=under)
        under += 0.3 * both
    return plane[edge : edge + height, edge : edge + width]
