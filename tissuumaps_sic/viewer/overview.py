"""Endpoints that need no session: the slides of the folder, and a slide's map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tissuumaps_sic.annotation.remarks import Check, tell_time
from tissuumaps_sic.slides.umap import read_layout
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import OpenRequest
from tissuumaps_sic.viewer.worklist import Entry, page


def list_slides(shared: Shared, reach: Reach, request: OpenRequest) -> Header:
    """Return all slides below the served folder that the same password opens, by path.

    Their sessions are those of the name of the page's.
    """
    entries = shared.worklist.entries(reach.root, session=request.session, auth=reach.auth)
    spaces = next((entry.spaces for entry in entries if entry.h5ad == reach.h5ad), frozenset())
    slides = []
    for entry in entries:
        lends = bool(entry.seeds) and entry.h5ad != reach.h5ad and not spaces.isdisjoint(entry.spaces)
        slides.append({**_row(reach, entry), "lends": lends})
    return {"here": reach.h5ad.relative_to(reach.root).as_posix(), "slides": slides}


def tell_check(check: Check) -> str:
    """Return who has reviewed a slide and when, for people; "" where that is no longer what there is.

    Parameters
    ----------
    check : Check

    Returns
    -------
    str
    """
    return f"{check.user or 'somebody'}, {tell_time(check.time)}" if check.is_current else ""


def page_of(reach: Reach, entry: Entry) -> str:
    """Return the address of a slide's page, from the server's root.

    Parameters
    ----------
    reach : Reach
    entry : Entry

    Returns
    -------
    str
    """
    has_page = entry.has_project or reach.makes_pages
    return page(reach.root, entry.h5ad.with_suffix(".tmap") if has_page else entry.h5ad)


def _row(reach: Reach, entry: Entry) -> dict[str, Any]:
    relative = entry.h5ad.relative_to(reach.root)
    return {
        "h5ad": relative.as_posix(),
        "name": entry.name,
        "folder": "" if relative.parent == Path() else relative.parent.as_posix(),
        "page": page_of(reach, entry),
        "n_patches": entry.n_patches,
        "sessions": list(entry.sessions),
        "seeds": entry.seeds,
        "borrowed": entry.borrowed,
        "state": entry.state,
        "problem": entry.problem,
        "checked": entry.checked and tell_check(entry.checked),
        "notes": len(entry.notes),
    }


def send_map(shared: Shared, reach: Reach, request: OpenRequest) -> Answer:  # noqa: ARG001 -- of the table
    """Return the slide's UMAP.

    Three arrays: x and y, (n_patches, 2) float32; the share of tissue, (n_patches,) float32; and the
    colours, (n_patches, 3) uint8.
    """
    layout = read_layout(reach.h5ad)
    tissue = bool(np.isfinite(layout.tissue).all())
    header = {"n_patches": len(layout.umap), "tissue": tissue}
    return header, layout.umap.astype("<f4"), layout.tissue.astype("<f4"), layout.colors
