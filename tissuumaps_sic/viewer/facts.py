"""What a page is told once of a slide's file: how large things are in it, and whether work can be kept."""

from __future__ import annotations

from typing import Any

from tissuumaps_sic.slidefile.provenance import Provenance, read_provenance
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.places import is_writable


def page_facts(slide: EmbeddedSlide, reach: Reach) -> dict[str, Any]:
    """Return what does not change while a slide is open.

    Parameters
    ----------
    slide : EmbeddedSlide
    reach : Reach

    Returns
    -------
    facts : dict
        ``mpp``, µm per level-0 pixel in x, or None; ``fields``, for each embedding what its network saw of
        the slide around a patch's centre, [width, height] in level-0 pixels, or None; ``unwritable``, why
        no session can be saved on disk, "" where one can; and ``is_kept``, whether the server keeps it then.

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    known = read_provenance(slide.path)
    return {
        "mpp": known.slide.mpp[0] if known.slide.mpp else None,
        "fields": {each.name: find_field(known, each.name) for each in slide.embeddings},
        "unwritable": explain_unwritable(reach),
        "is_kept": not reach.read_only,
    }


def find_field(known: Provenance, embedding: str) -> list[float] | None:
    """Return the [width, height] in level-0 pixels of the patches that were embedded; None where not told.

    Parameters
    ----------
    known : Provenance
    embedding : str

    Returns
    -------
    list of float, or None
    """
    grid = known.of_embedding(embedding).grid
    if grid.patch0:
        return list(grid.patch0)
    # Of an embedding beside the first only its own pixels are told.
    if grid.patch_size and grid.target_mpp and known.slide.mpp:
        return [grid.patch_size * grid.target_mpp / mpp for mpp in known.slide.mpp]
    return None


def explain_unwritable(reach: Reach) -> str:
    """Return why sessions of a slide cannot be saved on disk, "" where they can."""
    if reach.read_only:
        return "this server is read-only"
    if not is_writable(reach.h5ad):
        return f"the folder of {reach.h5ad.name} may not be written to"
    return ""
