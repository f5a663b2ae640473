"""Polygons without holes, for formats that have none: cut through, so that they cover what they covered."""

from __future__ import annotations

import numpy as np
import shapely

from tissuumaps_sic.slides.regions import Region


def pieces_of(region: Region) -> list[shapely.Polygon]:
    """Return polygons without holes that together are a region, and overlap nowhere.

    A polygon with holes is cut along vertical lines through them. The outline alone would cover what lies in
    a hole, which is of another class, and a slit that leads into the hole makes a polygon that touches
    itself, which many readers refuse.

    Parameters
    ----------
    region : Region

    Returns
    -------
    list of Polygon
    """
    return [piece for polygon in region.shape.geoms for piece in _cut(polygon)]


def _cut(polygon: shapely.Polygon) -> list[shapely.Polygon]:
    waiting, pieces = [polygon], []
    while waiting:
        whole = waiting.pop()
        if not len(whole.interiors):
            pieces.append(whole)
            continue
        # Through the middle hole: each cut halves how many there are on a side.
        holes = shapely.bounds(list(whole.interiors))
        x = float(np.sort((holes[:, 0] + holes[:, 2]) / 2)[len(holes) // 2])
        left, top, right, bottom = whole.bounds
        for box in (shapely.box(left, top, x, bottom), shapely.box(x, top, right, bottom)):
            parts = shapely.get_parts(shapely.intersection(whole, box))
            # Where the cut runs along a border the intersection has lines, too.
            waiting += [part for part in parts if isinstance(part, shapely.Polygon) and part.area > 0]
    return pieces
