"""Round things as polygons."""

from __future__ import annotations

import math

# So fine that no more than a thousandth of an ellipse is cut off.
_CORNERS = 90


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> list[list[float]]:
    """Return points around an ellipse, [x, y] each.

    Parameters
    ----------
    centre : (x, y)
    radii : (float, float)
        Along x and along y.

    Returns
    -------
    list of [x, y]
    """
    angles = (2 * math.pi * place / _CORNERS for place in range(_CORNERS))
    return [
        [centre[0] + radii[0] * math.cos(angle), centre[1] + radii[1] * math.sin(angle)] for angle in angles
    ]
