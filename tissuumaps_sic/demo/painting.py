"""Painting a section, from where everything lies to the pixels of one block, as densities of two stains."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tissuumaps_sic.demo.fields import MASK_SCALE, Ints, ramp, read_pixels
from tissuumaps_sic.demo.section import TEXTURE, Rings, Section, Stamps, measure_holes
from tissuumaps_sic.slidefile.arrays import Singles

GLASS, NORMAL, TUMOUR = 0, 1, 2

# Optical density (log10) of red, green and blue per unit of stain. Haematoxylin: Ruifrok and Johnston,
# Anal Quant Cytol Histol 23:291 (2001). Eosin: "H&E 2" of G. Landini's Colour Deconvolution for ImageJ, which
# uses their method; their own (0.072, 0.990, 0.105) has so little blue density that it comes out fuchsia.
_HAEMATOXYLIN = (0.650, 0.704, 0.286)
_EOSIN = (0.046, 0.842, 0.537)
_LAMP = (242.0, 241.0, 243.0)  # an empty slide, in 8-bit RGB

_Area = tuple[int, int, int, int]  # x, y, width, height in level-0 pixels


def paint_block(
    section: Section, x: int, y: int, width: int, height: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """RGB, (height, width, 3), and mask of one block, whose corner lies on the mask's grid.

    Parameters
    ----------
    section : Section
    x : int
        Left edge of the block, in level-0 pixels.
    y : int
        Its upper edge.
    width : int
        In level-0 pixels.
    height : int
        In level-0 pixels.
    rng : Generator

    Returns
    -------
    (ndarray of shape (height, width, 3), uint8, ndarray of shape (height / 16, width / 16), uint8)
        RGB, and the truth of the mask pixels.
    """
    px = section.px
    # A margin in which sprites and blur from outside the block are whole; even, for the half-scale nests.
    margin = 8
    area = (x - margin, y - margin, width + 2 * margin, height + 2 * margin)
    shape = (area[3], area[2])
    tissue = read_pixels(section.tissue, *area)
    rows = np.arange(area[1], area[1] + area[3]) % TEXTURE
    columns = np.arange(area[0], area[0] + area[2]) % TEXTURE
    waves, grain = section.waves[np.ix_(rows, columns)], section.grain[np.ix_(rows, columns)]

    cover = np.zeros(shape, np.float32)
    density = np.zeros((2, *shape), np.float32)  # haematoxylin, eosin
    if tissue.max() > -20 * px:
        cover = ramp(tissue + 2.2 * px * waves + 0.5 * px * grain, -0.8 * px, 0.8 * px)
        blue, pink = _paint_stroma(section, area, tissue, waves, grain)
        _paint_tumour(section, area, blue, pink, waves, grain)
        _paint_glands(section, area, blue, pink, grain)
        _paint_vessels(section, area, blue, pink)
        nuclei = _stamp(section, section.nuclei, area)
        red = _stamp(section, section.red_cells, area)
        pink = np.maximum(pink, red)
        # A nucleus displaces cytoplasm, but takes up some eosin of its own: none is pure blue.
        taken = ramp(nuclei, 0.05, 0.55)
        pink = np.maximum(pink, 0.16 * taken)
        density[0] = (blue * (1 - 0.6 * taken) + nuclei) * read_pixels(section.blueness, *area) * cover
        density[1] = pink * (1 - 0.25 * taken) * read_pixels(section.pinkness, *area) * cover
    dust = _stamp(section, section.dust, area)
    light = read_pixels(section.lamp, *area)
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
    mask = np.where(covered, np.where(section.tumour[part] > 0, TUMOUR, NORMAL), GLASS)
    return rgb, mask.astype(np.uint8)


def _paint_stroma(
    section: Section, area: _Area, tissue: Singles, waves: Singles, grain: Singles
) -> tuple[Singles, Singles]:
    """Densities of haematoxylin and eosin of collagen, (height, width) each."""
    px = section.px
    u, v = read_pixels(section.fibre_u, *area), read_pixels(section.fibre_v, *area)
    v = v + 2.2 * px * waves
    fibres = ndimage.map_coordinates(section.fibres, (v, u), order=1, mode="grid-wrap")
    pink = 0.25 + 0.07 * fibres + 0.02 * grain
    # Clefts between the bundles let the light through.
    pink *= 1 - 0.75 * ramp(-fibres, 1.3, 2.1)
    pink += 0.06 * np.exp(-np.maximum(tissue, 0) / (7 * px))  # edges of a section take more stain
    blue = 0.04 + 0.014 * fibres + 0.012 * grain
    return np.maximum(blue, 0.01).astype(np.float32), np.maximum(pink, 0.02).astype(np.float32)


def _paint_tumour(
    section: Section, area: _Area, blue: Singles, pink: Singles, waves: Singles, grain: Singles
) -> None:
    """Lay purple cytoplasm, lumina and debris over the stroma, in place."""
    px = section.px
    tumour = read_pixels(section.tumour, *area)
    if tumour.max() <= 0:
        return
    # Nests are found at half the scale: the search is the dearest step, and their outlines are smooth.
    u, v = (read_pixels(field, *area, step=2) for field in (section.nest_u, section.nest_v))
    within = tumour[::2, ::2] > 0
    half = np.zeros((3, *within.shape), np.float32)
    half[:2] = -100.0
    half[0, within], nest, _ = section.nests.depth(u[within], v[within])
    half[1, within] = np.maximum(half[0, within] - section.nests.wall[nest], -100)
    half[2, within] = section.nests.debris[nest]
    depth, past, debris = (_enlarge(a, tumour.shape) for a in half)
    depth = np.minimum(depth, tumour)

    cells = ramp(depth + 1.2 * px * waves, 1.6 * px, 3.0 * px)
    x = np.arange(area[0], area[0] + area[2])[None, :]
    y = np.arange(area[1], area[1] + area[3])[:, None]
    lumen = ramp(past + 3.0 * px * waves, -0.6 * px, 0.6 * px) * (depth > 6 * px)
    lumen = np.maximum(lumen, measure_holes(section, x, y, depth))
    _blend(blue, cells, 0.17 + 0.035 * grain + 0.02 * waves)
    _blend(pink, cells, 0.23 + 0.035 * grain)
    filled = debris * (0.6 + 0.4 * np.clip(waves, -1, 1))
    _blend(blue, lumen, 0.015 + 0.10 * filled * (1 + 0.5 * grain))
    _blend(pink, lumen, 0.02 + 0.30 * filled * (1 + 0.35 * grain))


def _paint_glands(section: Section, area: _Area, blue: Singles, pink: Singles, grain: Singles) -> None:
    """Lay the cells and lumina of the benign glands over the stroma, in place."""
    px = section.px
    glands = section.glands
    for i, window, x, y in _find_windows(glands, area):
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
        mucin = full * ramp(deep, 5.5 * px, 8.0 * px) * (1 - ramp(deep, tip - 2.2 * px, tip - 0.8 * px))
        inside = ramp(deep, -0.5 * px, 0.5 * px)
        g = grain[window]
        _blend(blue[window], inside, 0.13 + 0.025 * g - mucin * (0.075 - 0.05 * wall))
        _blend(pink[window], inside, 0.20 + 0.025 * g - mucin * (0.165 - 0.09 * wall))
        lumen = ramp(deep + 0.8 * px * g, tip - 0.4 * px, tip + 0.6 * px)
        _blend(blue[window], lumen, 0.02 + 0.01 * g)
        _blend(pink[window], lumen, 0.02 + 0.01 * g)
        # The sheath of collagen at the base.
        sheath = np.exp(-(((deep + 1.0 * px) / (0.8 * px)) ** 2))
        pink[window] += 0.12 * sheath


def _paint_vessels(section: Section, area: _Area, blue: Singles, pink: Singles) -> None:
    px = section.px
    for i, window, x, y in _find_windows(section.vessels, area):
        rho, _ = section.vessels.polar(i, x, y)
        deep = ((1 - rho) * section.vessels.radius[i]).astype(np.float32)
        pink[window] += 0.16 * np.exp(-(((deep + 1.5 * px) / (1.8 * px)) ** 2))
        lumen = ramp(deep, -0.5 * px, 0.5 * px)
        _blend(blue[window], lumen, 0.01)
        _blend(pink[window], lumen, 0.03)


def _find_windows(rings: Rings, area: _Area) -> list[tuple[int, tuple[slice, slice], Ints, Ints]]:
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


def _blend(plane: Singles, share: Any, value: Any) -> None:
    """Replace `share` of a plane by a value, in place."""
    plane += (share * (value - plane)).astype(np.float32)


def _enlarge(half: Singles, shape: tuple[int, ...]) -> Singles:
    """Enlarge a plane to twice its scale, without steps."""
    full = np.repeat(np.repeat(half, 2, 0), 2, 1)[: shape[0], : shape[1]]
    return np.asarray(ndimage.uniform_filter(full, 3), np.float32)


def _stamp(section: Section, stamps: Stamps, area: _Area) -> Singles:
    """Densities of the sprites over an area, (height, width)."""
    x0, y0, width, height = area
    edge = section.sprites.shape[1]
    reach = edge // 2
    # Room for whole sprites beyond the area's edges spares the loop all clipping.
    plane = np.zeros((height + 2 * edge, width + 2 * edge), np.float32)
    chosen = stamps.within(*area, reach)
    left, top = stamps.x[chosen] - x0 - reach + edge, stamps.y[chosen] - y0 - reach + edge
    for x, y, sprite in zip(left.tolist(), top.tolist(), stamps.sprite[chosen].tolist(), strict=True):
        under = plane[y : y + edge, x : x + edge]
        over = section.sprites[sprite]
        # Bodies on top of each other darken, by less than their sum: a section is thinner than two nuclei.
        both = np.minimum(under, over)
        np.maximum(under, over, out=under)
        under += 0.3 * both
    return plane[edge : edge + height, edge : edge + width]
