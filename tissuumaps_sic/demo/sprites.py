"""Nuclei and other small bodies, drawn once each, in stain densities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tissuumaps_sic.demo.fields import make_noise, ramp
from tissuumaps_sic.slidefile.arrays import Singles

ANGLES = 24  # orientations of a sprite over half a turn


@dataclass(frozen=True)
class Kind:
    """What the sprites of a kind look like; lengths are half-axes in micrometres."""

    long: tuple[float, float]
    short: tuple[float, float]
    density: tuple[float, float]
    rim: float  # extra density at the membrane
    clumps: float  # unevenness of the chromatin
    wobble: float  # irregularity of the outline
    nucleolus: float = 0.0
    shapes: int = 12


KINDS = {
    "gland": Kind((2.9, 4.0), (1.6, 2.2), (0.42, 0.62), 0.12, 0.16, 0.04),
    "spindle": Kind((4.5, 7.5), (0.8, 1.4), (0.45, 0.70), 0.0, 0.10, 0.05),
    "lymphocyte": Kind((2.5, 3.1), (2.4, 2.9), (0.62, 0.82), 0.05, 0.22, 0.03),
    "dark": Kind((4.0, 6.6), (2.5, 3.9), (0.55, 0.85), 0.06, 0.18, 0.10, shapes=24),
    "open": Kind((4.2, 6.4), (3.0, 4.6), (0.30, 0.44), 0.24, 0.15, 0.08, nucleolus=0.5, shapes=24),
    "fragment": Kind((0.5, 1.6), (0.5, 1.1), (0.7, 1.1), 0.0, 0.10, 0.10),
    "red cell": Kind((2.8, 3.4), (2.3, 3.0), (0.34, 0.46), 0.08, 0.03, 0.05),
    "dust": Kind((0.8, 6.0), (0.6, 2.0), (0.15, 0.55), 0.0, 0.30, 0.15),
}


def draw_sprites(rng: np.random.Generator, px: float) -> tuple[Singles, dict[str, int]]:
    """All sprites, (n, edge, edge), and each kind's first row; a shape's orientations follow one another.

    Parameters
    ----------
    rng : Generator
    px : float
        Level-0 pixels in a micrometre.

    Returns
    -------
    (ndarray of shape (n, edge, edge), float32, dict of str to int)
    """
    edge = 2 * int(np.ceil(9.5 * px)) + 1
    chromatin = make_noise(rng, (4 * edge, 4 * edge), 0.55 * px)
    sprites: list[Singles] = []
    first: dict[str, int] = {}
    for name, kind in KINDS.items():
        first[name] = len(sprites)
        for _ in range(kind.shapes):
            sprites.extend(_draw_shape(rng, kind, edge, px, chromatin))
    return np.stack(sprites), first


def _draw_shape(
    rng: np.random.Generator, kind: Kind, edge: int, px: float, chromatin: Singles
) -> list[Singles]:
    """One shape in all its orientations, each with a chromatin of its own."""
    v, u = (np.mgrid[:edge, :edge] - edge // 2 + rng.uniform(-0.5, 0.5, (2, 1, 1))).astype(np.float32)
    a, b = rng.uniform(*kind.long) * px, rng.uniform(*kind.short) * px
    density = rng.uniform(*kind.density)
    waves = [(k, rng.normal(0, kind.wobble * 1.8 / k), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    bend = rng.normal(0, 0.12)
    nucleolus = rng.uniform(-0.3, 0.3, 2) if kind.nucleolus and rng.random() < 0.6 else None
    drawn = []
    for turn in range(ANGLES):
        cos, sin = np.cos(np.pi * turn / ANGLES), np.sin(np.pi * turn / ANGLES)
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
        drawn.append(np.asarray(body.clip(0.1) * ramp(inside, -0.35 * px, 0.45 * px), np.float32))
    return drawn
