"""Endpoints that look for patches like one: around it, on its slide, and on other slides of the folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.lending import comparable, spaces_of
from tissuumaps_sic.labelling.progress import Progress
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.matrix import Matrix
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slides.image import OtherImageError, open_own_image
from tissuumaps_sic.slides.slide import EmbeddedSlide, outline
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.facts import find_field
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.overview import page_of
from tissuumaps_sic.viewer.requests import (
    AlikeRequest,
    ElsewhereRequest,
    LikenessRequest,
    PictureRequest,
    RequestError,
    require_patch,
)
from tissuumaps_sic.viewer.worklist import Entry

_BLOCK_ROWS = 8192
# From a patch to the farthest that the likeness wand reaches, in patches.
_NEIGHBOURHOOD = 24
# Of two patches that share more of their area than this one is as good as the other; with what half an
# overlap of whole pixels may be over the half.
_MOST_SHARED = 0.51
_JPEG_QUALITY = 85


def find_alike(shared: Shared, reach: Reach, request: AlikeRequest) -> Answer:
    """Return how alike the patches around one are to it, by cosine similarity.

    A drag on the page chooses from them. Two arrays: rows, (n,) uint32, the patch itself among them, and
    similarities, (n,) float32.
    """
    slide = _slide_with(shared, reach, request)
    away = np.abs(slide.centres - slide.centres[request.patch]).max(axis=1)
    rows = np.flatnonzero(away <= (_NEIGHBOURHOOD + 0.5) * slide.spacing)
    similarities = cosines(slide.X[request.patch], slide.X, rows)
    header = {"n": len(rows), "patch": request.patch}
    return header, rows.astype("<u4"), np.nan_to_num(similarities, nan=-1.0).astype("<f4")


def send_likeness(shared: Shared, reach: Reach, request: LikenessRequest) -> Answer:
    """Return how alike every patch of the slide is to one, (n_patches,) float32, by cosine similarity.

    -1 where a row holds NaN or infinity.
    """
    slide = _slide_with(shared, reach, request)
    with shared.turns.job(reach.h5ad, request.job) as progress:
        similarities = _likeness(slide.X[request.patch], slide.X, progress, "Comparing the patches")
    return {"n_patches": slide.n_patches, "patch": request.patch}, similarities


def find_elsewhere(shared: Shared, reach: Reach, request: ElsewhereRequest) -> Header:
    """Return the patches of the folder's other slides that are most like one, by cosine similarity.

    Those slides are asked that the same password opens and whose embeddings lie in the same space
    (`comparable`). ``patches`` lists ``h5ad``, ``slide``, ``page``, ``patch`` (its row), ``embedding`` and
    ``similarity``, the most alike first, no two of them much over each other; ``slides`` is how many were
    looked through, ``other`` how many were embedded otherwise, and ``problems`` says which could not be
    read, and why.
    """
    slide = _slide_with(shared, reach, request)
    one = np.asarray(slide.X[request.patch], np.float64)
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    with shared.turns.job(reach.h5ad, request.job) as progress:
        entries = [
            entry
            for entry in shared.worklist.entries(reach.root, session=request.session, auth=reach.auth)
            if entry.h5ad != reach.h5ad and reach.admits(entry.h5ad)
        ]
        spaces = spaces_of(outline(reach.h5ad))
        readable = [entry for entry in entries if entry.n_patches is not None]
        problems += [f"{each.h5ad.name}: {each.problem}" for each in entries if each.n_patches is None]
        kin = [entry for entry in readable if not spaces.isdisjoint(entry.spaces)]
        n_looked = 0
        for place, entry in enumerate(kin):
            tell = _part_of(progress, place, len(kin), entry.name)
            try:
                found += _best_of(shared, reach, entry, slide, one, request.n, tell)
                n_looked += 1
            except (SicError, OSError) as error:
                # What stops the whole search is no fault of a slide.
                problems.append(str(error))
            found = sorted(found, key=lambda each: -each["similarity"])[: request.n]
    return {
        "patches": found,
        "slides": n_looked,
        "other": len(readable) - len(kin),
        "problems": problems,
    }


def _part_of(progress: Progress, place: int, n: int, name: str) -> Progress:
    """Return the progress of one of n slides, told as a part of all."""

    def tell(_stage: str, share: float) -> None:
        progress(f"Looking through {name}, {place + 1} of {n}", (place + share) / n)

    return tell


def _best_of(
    shared: Shared,
    reach: Reach,
    entry: Entry,
    slide: EmbeddedSlide,
    one: npt.NDArray[np.float64],
    n: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return the n patches of another slide that are most like a row of X, as `find_elsewhere` tells them."""
    opener = shared.opened.glance
    source = comparable(opener(entry.h5ad), slide, opener=opener)
    similarities = _likeness(one, source.X, progress, "")
    field = find_field(read_provenance(source.path), source.embedding) or [source.spacing] * 2
    told = {
        "h5ad": entry.h5ad.relative_to(reach.root).as_posix(),
        "slide": entry.name,
        "page": page_of(reach, entry),
        "embedding": source.embedding,
    }
    rows = _choose_apart(similarities, source.centres, np.array(field), n)
    return [{**told, "patch": row, "similarity": float(similarities[row])} for row in rows]


def _choose_apart(
    similarities: npt.NDArray[np.float32],
    centres: npt.NDArray[np.float64],
    field: npt.NDArray[np.float64],
    n: int,
) -> list[int]:
    """Return the rows of the n highest similarities, the highest first, but none that lies over one before.

    `field` is the (width, height) of a patch, in the unit of the centres.
    """
    chosen: list[int] = []
    for row in _descending(similarities):
        if similarities[row] < 0 or len(chosen) == n:
            break
        shares = np.clip(1 - np.abs(centres[chosen] - centres[row]) / field, 0, 1).prod(axis=1)
        if not (shares > _MOST_SHARED).any():
            chosen.append(row)
    return chosen


def _descending(values: npt.NDArray[np.float32]) -> Iterator[int]:
    yield from np.argsort(-values, kind="stable").tolist()


def send_picture(shared: Shared, reach: Reach, request: PictureRequest) -> Answer:
    """Return what the network saw of the slide for a patch, as a JPEG, (length,) uint8.

    Its colours are the file's, also where they were converted to embed it (``--icc``): so the viewer shows
    the slide beside it. ``length`` is 0 where there is no image of the slide, or none that is its own.

    Raises
    ------
    RequestError
        When there is no such patch, or the image cannot be read.
    """
    slide = shared.opened.glance(reach.h5ad, request.embedding)
    require_patch(request.patch, slide.n_patches)
    field = find_field(read_provenance(slide.path), slide.embedding) or [slide.spacing] * 2
    width, height = field
    x, y = (slide.centres[request.patch] - np.array(field) / 2).tolist()
    try:
        image = open_own_image(slide)
        if image is None:
            return {"length": 0}, np.zeros(0, np.uint8)
        with image:
            pixels = image.picture(x, y, width, height, (request.side, request.side))
    except OtherImageError:
        return {"length": 0}, np.zeros(0, np.uint8)
    except SlideError as error:
        # Not the message itself, which tells paths of the server.
        raise RequestError(404, f"{slide.name}: the pixels of its image cannot be read") from error
    packed = _pack(pixels)
    return {"length": len(packed)}, packed


def _pack(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture, (height, width, 3), as a JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_JPEG_QUALITY)
    return np.frombuffer(file.getvalue(), np.uint8)


def _slide_with(shared: Shared, reach: Reach, request: AlikeRequest) -> EmbeddedSlide:
    """Return the slide that a request is about, which has the patch that it names."""
    slide = shared.opened.slide(reach.h5ad, request.embedding)
    require_patch(request.patch, slide.n_patches)
    return slide


def _likeness(row: npt.NDArray[Any], X: Matrix, progress: Progress, stage: str) -> npt.NDArray[np.float32]:
    """Return the cosine of a row with each row of X, (n,) float32; -1 where one holds NaN or infinity."""
    found = np.empty(len(X), "<f4")
    for start in range(0, len(X), _BLOCK_ROWS):
        progress(stage, start / len(X))
        stop = min(start + _BLOCK_ROWS, len(X))
        found[start:stop] = np.nan_to_num(_cosines_with(row, X[start:stop]), nan=-1.0)
    return found


def cosines(row: npt.NDArray[Any], X: Matrix, others: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the cosine of a row with each of some rows of X, float64; 0 with a row of zeros.

    NaN where either row holds NaN or infinity.

    Parameters
    ----------
    row : ndarray of shape (dim,)
    X : matrix of shape (n_patches, dim)
    others : ndarray of shape (n,), intp

    Returns
    -------
    ndarray of shape (n,), float64
    """
    found = np.empty(len(others))
    # Seeds may be half of a slide, whose embeddings in double precision are gigabytes.
    for start in range(0, len(others), _BLOCK_ROWS):
        found[start : start + _BLOCK_ROWS] = _cosines_with(row, X[others[start : start + _BLOCK_ROWS]])
    return found


def _cosines_with(row: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    one, block = np.asarray(row, np.float64), np.asarray(rows, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        # `np.linalg.norm` of rows takes ten times as long.
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block)) * np.linalg.norm(one)
        product: npt.NDArray[np.float64] = block @ one / np.where(lengths == 0, 1, lengths)
    return product
