"""Laying out a section: tissue and tumour, glands, vessels and nests, and each of their nuclei."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from tissuumaps_sic.demo.fields import (
    MASK_SCALE,
    Doubles,
    Ints,
    make_noise,
    make_warp,
    measure_distance,
    read_points,
)
from tissuumaps_sic.demo.section import NOTHING, TEXTURE, Nests, Rings, Section, Stamps, measure_holes
from tissuumaps_sic.demo.sprites import ANGLES, KINDS, draw_sprites
from tissuumaps_sic.slidefile.arrays import Singles

_TUMOUR_SHARE = 0.30
_Lay = Callable[..., None]


def lay_out(size: tuple[int, int], mpp: float, seed: int) -> Section:
    """Lay a section out.

    Parameters
    ----------
    size : (int, int)
        Width and height in level-0 pixels.
    mpp : float
        Micrometres per level-0 pixel.
    seed : int

    Returns
    -------
    Section
    """
    rng = np.random.default_rng(seed)
    px = 1 / mpp
    shape = (-(-size[1] // MASK_SCALE), -(-size[0] // MASK_SCALE))
    cell = MASK_SCALE * mpp  # micrometres along a coarse cell
    tissue, tumour = _draw_regions(rng, shape)
    tissue = tissue + make_warp(rng, shape, cell, 7, 32) + make_warp(rng, shape, cell, 3, 13)
    tumour = tumour + make_warp(rng, shape, cell, 22, 42) + make_warp(rng, shape, cell, 8, 16)
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
        a + make_warp(rng, shape, cell, 30, 60)
        for a in (x * np.cos(lie) + y * np.sin(lie), y * np.cos(lie) - x * np.sin(lie) + 1.6 * round_glands)
    )
    nest_u, nest_v = (
        a + make_warp(rng, shape, cell, 18, 36) + make_warp(rng, shape, cell, 5, 13) for a in (x, y)
    )
    nests = _place_nests(rng, size, px)
    sprites, kinds = draw_sprites(rng, px)
    section = Section(
        px=px,
        tissue=tissue,
        tumour=tumour,
        blueness=1 + 0.07 * make_noise(rng, shape, 150 / cell),
        pinkness=1 + 0.13 * make_noise(rng, shape, 90 / cell),
        lamp=1 + 0.006 * make_noise(rng, shape, 600 / cell),
        fibre_u=fibre_u.astype(np.float32),
        fibre_v=fibre_v.astype(np.float32),
        nest_u=nest_u.astype(np.float32),
        nest_v=nest_v.astype(np.float32),
        glands=glands,
        vessels=vessels,
        nests=nests,
        sprites=sprites,
        nuclei=NOTHING,
        red_cells=NOTHING,
        dust=NOTHING,
        fibres=_draw_fibres(rng, px),
        grain=make_noise(rng, (TEXTURE, TEXTURE), 0.7 * px),
        waves=make_noise(rng, (TEXTURE, TEXTURE), 6 * px),
    )
    return _populate(section, rng, size, kinds)


def _draw_regions(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Singles, Singles]:
    """Signed distances of two pieces of tissue, and of the tumour in the larger one."""
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    x, y = (x + 0.5) / columns, (y + 0.5) / rows
    edge = min(shape)
    x = x + 0.035 * make_noise(rng, shape, 0.13 * edge)
    y = y + 0.035 * make_noise(rng, shape, 0.13 * edge)
    rough = 0.13 * make_noise(rng, shape, 0.055 * edge) + 0.035 * make_noise(rng, shape, 0.018 * edge)
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
    height += 0.19 * make_noise(rng, shape, 0.075 * edge) + 0.08 * make_noise(rng, shape, 0.03 * edge)
    share = min(_TUMOUR_SHARE * tissue.sum() / main.sum(), 0.6)  # all of it lies in the larger piece
    tumour = main & (height > np.quantile(height[main], 1 - share))
    parts, _ = ndimage.label(tumour)
    areas = np.bincount(parts.ravel())[1:]
    tumour = ndimage.binary_fill_holes(np.isin(parts, 1 + np.flatnonzero(areas > 0.03 * areas.sum())))
    return measure_distance(tissue), measure_distance(tumour)


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
    rng: np.random.Generator, size: tuple[int, int], px: float, tissue: Singles, tumour: Singles
) -> tuple[Rings, Rings]:
    """Benign glands, regularly spaced, with a vessel here and there in the place of one."""
    cell = MASK_SCALE / px
    x, y = _scatter(rng, size, 75 * px, 0.18)
    x, y = (a + read_points(make_warp(rng, tissue.shape, cell, 26, 130), x, y) for a in (x, y))
    n = len(x)
    # The cut runs across the glands here and aslant there; some stretches of stroma bear none.
    slant = np.clip(0.28 * read_points(make_noise(rng, tissue.shape, 180 / cell), x, y), 0, 0.6)
    ratio = 1 + slant + np.abs(rng.normal(0, 0.12, n))
    angle = 1.2 * read_points(make_noise(rng, tissue.shape, 200 / cell), x, y) + rng.normal(0, 0.4, n)
    is_bare = read_points(make_noise(rng, tissue.shape, 110 / cell), x, y) > 1.15
    is_vessel = rng.random(n) < np.where(is_bare, 0.15, 0.05)
    room = cKDTree(np.column_stack([x, y])).query(np.column_stack([x, y]), k=2)[0][:, 1]
    radius = np.minimum(rng.uniform(27, 40, n) * px, (room - 5 * px) / 2) / np.sqrt(ratio)
    radius[is_vessel] *= rng.uniform(0.25, 0.75, int(is_vessel.sum()))
    rings = Rings(
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
    fits = (read_points(tissue, x, y) > 0.75 * radius) & (read_points(tumour, x, y) < -rings.reach - 5 * px)
    fits &= is_vessel | (radius > 13 * px)
    return rings.select(fits & ~is_vessel & ~is_bare), rings.select(fits & is_vessel)


def _place_nests(rng: np.random.Generator, size: tuple[int, int], px: float) -> Nests:
    x, y = _scatter(rng, size, 66 * px, 0.42)
    n = len(x)
    centres = np.column_stack([x, y])
    wall = rng.uniform(15, 24, n) * px
    wall[rng.random(n) < 0.4] = np.inf
    debris = np.where(rng.random(n) < 0.45, rng.uniform(0.3, 1, n), 0)
    pale = rng.uniform(0.15, 0.75, n)
    return Nests(cKDTree(centres), centres, *(a.astype(np.float32) for a in (wall, debris, pale)))


def _draw_fibres(rng: np.random.Generator, px: float) -> Singles:
    """Long thin streaks along the columns' axis, in two widths."""
    total = np.zeros((TEXTURE, TEXTURE), np.float32)
    for share, thick, long in ((0.75, 0.55, 11), (0.65, 1.6, 26)):
        streak = rng.standard_normal((TEXTURE, TEXTURE), dtype=np.float32)
        streak = ndimage.gaussian_filter(streak, (thick * px, long * px), mode="wrap")
        total += np.float32(share) * streak / streak.std()
    return np.asarray(total / total.std(), np.float32)


def _populate(
    section: Section, rng: np.random.Generator, size: tuple[int, int], first: dict[str, int]
) -> Section:
    """Put nuclei, red cells and dust where the tissue wants them."""
    px = section.px
    laid: list[tuple[Doubles, Doubles, Ints]] = []

    def lay(kind: str, x: Doubles, y: Doubles, angle: Doubles | None = None) -> None:
        if angle is None:
            angle = rng.uniform(0, np.pi, len(x))
        shape = rng.integers(KINDS[kind].shapes, size=len(x))
        turn = np.rint(angle / np.pi * ANGLES).astype(np.int64) % ANGLES
        laid.append((x, y, first[kind] + shape * ANGLES + turn))

    def gather() -> Stamps:
        x, y, sprite = (np.concatenate(part) for part in zip(*laid, strict=True))
        laid.clear()
        return Stamps(np.rint(x).astype(np.int64), np.rint(y).astype(np.int64), sprite.astype(np.int64))

    _lay_gland_nuclei(section, rng, lay)
    _lay_tumour_nuclei(section, rng, size, lay)
    _lay_stroma_nuclei(section, rng, size, lay)
    nuclei = gather()

    for i in range(len(section.vessels.x)):
        n = int(rng.uniform(0.2, 0.9) * (section.vessels.radius[i] / (2.9 * px)) ** 2)
        rho, theta = 0.85 * np.sqrt(rng.random(n)), rng.uniform(-np.pi, np.pi, n)
        lay("red cell", *section.vessels.point(i, rho, theta))
    x, y = (rng.uniform(0, side, max(4, size[0] * size[1] // 250_000)) for side in size)
    bled = (read_points(section.tissue, x, y) > 12 * px) & (section.glands.nearest_rho(x, y) > 1.2)
    lay("red cell", x[bled], y[bled])
    red_cells = gather()

    x, y = (rng.uniform(0, side, max(6, size[0] * size[1] // 350_000)) for side in size)
    lay("dust", x, y)
    return Section(**{**vars(section), "nuclei": nuclei, "red_cells": red_cells, "dust": gather()})


def _lay_gland_nuclei(section: Section, rng: np.random.Generator, lay: _Lay) -> None:
    """One row of nuclei at the base of each gland's cells, and flat ones round the vessels."""
    px = section.px
    for i in range(len(section.glands.x)):
        glands = section.glands
        cell = np.arange(glands.count[i]) - glands.count[i] // 2
        n = len(cell)
        theta = (cell + 0.5 + rng.uniform(-0.3, 0.3, n)) * 2 * np.pi / n
        base = 1 - (3.4 * px + np.abs(rng.normal(0, 0.9 * px, n))) / glands.radius[i]
        x, y = glands.point(i, base, theta)
        # Upright where the cell is a plain column, flattened where mucin presses on it.
        full = glands.mucin[i, cell % 64]
        upright = np.arctan2(y - glands.y[i], x - glands.x[i])
        angle = upright + np.where(full > 0.75, np.pi / 2, 0) + rng.normal(0, 0.25, n)
        keep = (read_points(section.tissue, x, y) > 4 * px) & (rng.random(n) < 0.93)
        lay("gland", x[keep], y[keep], angle[keep])
    for i in range(len(section.vessels.x)):
        vessels = section.vessels
        n = int(2 * np.pi * vessels.radius[i] / (13 * px))
        theta = rng.uniform(-np.pi, np.pi, n)
        x, y = vessels.point(i, 1.0, theta)
        lay("spindle", x, y, np.arctan2(y - vessels.y[i], x - vessels.x[i]) + np.pi / 2)


def _lay_tumour_nuclei(section: Section, rng: np.random.Generator, size: tuple[int, int], lay: _Lay) -> None:
    """Crowded nuclei, across the rim in nests that have a lumen, anyhow in solid ones."""
    px = section.px
    x, y = _scatter(rng, size, 8.0 * px, 0.36)
    keep = (read_points(section.tumour, x, y) > 3 * px) & (read_points(section.tissue, x, y) > 5 * px)
    keep &= rng.random(len(x)) < 0.93
    x, y = x[keep], y[keep]
    depth, nest, across = section.nests.depth(
        read_points(section.nest_u, x, y), read_points(section.nest_v, x, y)
    )
    depth = np.minimum(depth, read_points(section.tumour, x, y))
    past = depth - section.nests.wall[nest]
    keep = (depth > 4.5 * px) & (past < -4.5 * px) & (measure_holes(section, x, y, depth, clear=0.4) == 0)
    solid = np.isinf(section.nests.wall[nest])
    angle = np.where(solid, rng.uniform(0, np.pi, len(x)), across + rng.normal(0, 0.35, len(x)))
    is_open = rng.random(len(x)) < section.nests.pale[nest]
    for kind, chosen in (("dark", keep & ~is_open), ("open", keep & is_open)):
        lay(kind, x[chosen], y[chosen], angle[chosen])

    x, y = _scatter(rng, size, 5.5 * px, 0.5)
    keep = (read_points(section.tumour, x, y) > 3 * px) & (read_points(section.tissue, x, y) > 5 * px)
    x, y = x[keep], y[keep]
    depth, nest, _ = section.nests.depth(read_points(section.nest_u, x, y), read_points(section.nest_v, x, y))
    in_lumen = depth - section.nests.wall[nest] > 2 * px
    keep = in_lumen & (rng.random(len(x)) < 0.55 * section.nests.debris[nest])
    lay("fragment", x[keep], y[keep])


def _lay_stroma_nuclei(section: Section, rng: np.random.Generator, size: tuple[int, int], lay: _Lay) -> None:
    """Spindle nuclei that follow the collagen, and lymphocytes in crowds, most at the tumour's border."""
    px = section.px
    x, y = _scatter(rng, size, 9.0 * px, 0.5)
    inside = read_points(section.tissue, x, y) > 5 * px
    x, y = x[inside], y[inside]
    to_tumour = read_points(section.tumour, x, y)
    depth, _, _ = section.nests.depth(read_points(section.nest_u, x, y), read_points(section.nest_v, x, y))
    depth = np.minimum(depth, to_tumour)
    free = section.glands.nearest_rho(x, y) > 1.09
    free &= section.vessels.nearest_rho(x, y) > 1.15
    free &= depth < 2.5 * px
    crowd = read_points(make_noise(rng, section.tissue.shape, 45 / (MASK_SCALE / px)), x, y)
    chance = (
        0.05 + 0.16 * np.clip(crowd - 0.4, 0, 2) + 0.4 * np.exp(-(((to_tumour + 25 * px) / (28 * px)) ** 2))
    )
    dice = rng.random(len(x))
    is_lymphocyte = free & (dice < chance)
    is_spindle = free & ~is_lymphocyte & (dice > 0.72)
    down, right = (np.gradient(section.fibre_v, axis=axis) for axis in (0, 1))
    along = np.arctan2(-read_points(right, x, y), read_points(down, x, y))
    along = along + rng.normal(0, 0.15, len(x))
    lay("spindle", x[is_spindle], y[is_spindle], along[is_spindle])
    lay("lymphocyte", x[is_lymphocyte], y[is_lymphocyte])
