"""Slides as small pictures with their labels: what a browser lays over a tile of the slide's image."""

from __future__ import annotations

import base64
import io
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.colors import rgb_of
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.store import read_session, session_path
from tissuumaps_sic.slidefile.h5ad import SlideFileError, Stamp, open_h5ad, stamp_of
from tissuumaps_sic.slidefile.names import address
from tissuumaps_sic.slidefile.placing import find_image
from tissuumaps_sic.slides.regions import lattice_of, scale_in
from tissuumaps_sic.slides.slide import outline, spacing_of
from tissuumaps_sic.slides.umap import read_layout, read_tissue
from tissuumaps_sic.viewer.places import find_kept
from tissuumaps_sic.viewer.worklist import Entry

# The level of a pyramid of tiles, as DeepZoom counts them, that is one tile of 256 pixels at most.
_LEVEL = 8
_OPAQUE, _SEE_THROUGH = 255, 140
_MOST_KEPT = 1000
_MOST_PIXELS = 2**23


@dataclass(frozen=True)
class Thumbnail:
    """A slide's picture.

    Attributes
    ----------
    image : str
        Address of the slide's own picture, "" where there is none.
    labels : str
        Labels as a ``data:`` address; the patches' colours where there are neither labels nor a picture, and
        "" where nothing is to be drawn.
    box : (float, float, float, float)
        Where the labels lie on the picture: left, top, width and height in percent.
    ratio : float
        Width of the picture by its height.
    shares : tuple of (str, str, float)
        Name and colour of each class that the labels have, and its share, the largest first.
    knows_tissue : bool
        Whether these are shares of the tissue; else they are of the patches, glass counted.
    """

    image: str = ""
    labels: str = ""
    box: tuple[float, float, float, float] = (0.0, 0.0, 100.0, 100.0)
    ratio: float = 1.0
    shares: tuple[tuple[str, str, float], ...] = ()
    knows_tissue: bool = False


class Thumbnails:
    """The pictures of slides, made anew where their files have changed; safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str], tuple[tuple[Stamp | None, ...], Thumbnail]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, entry: Entry, root: Path) -> Thumbnail:
        """Return the picture of a slide below a served folder; an empty one where it cannot be drawn.

        Parameters
        ----------
        entry : Entry
        root : Path

        Returns
        -------
        Thumbnail
        """
        key = entry.h5ad, entry.session
        files = entry.h5ad, find_kept(session_path(*key)), entry.h5ad.with_suffix(".tmap")
        stamps = tuple(map(_stamp, files))
        with self._lock:
            known = self._kept.get(key)
        if known is not None and known[0] == stamps:
            return known[1]
        try:
            made = _make(entry, root)
        except (SlideFileError, SessionError, OSError, ValueError, KeyError):
            made = Thumbnail()
        with self._lock:
            self._kept[key] = stamps, made
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def _make(entry: Entry, root: Path) -> Thumbnail:
    known = outline(entry.h5ad).provenance["X"]
    with open_h5ad(entry.h5ad) as file:
        centres = np.asarray(file["obsm/spatial"][()], np.float64)
    image, size = _address(entry.h5ad, root), known.slide.known_size
    if size is None:
        image = ""
    shares: tuple[tuple[str, str, float], ...] = ()
    tissue = read_tissue(entry.h5ad)
    knows_tissue = tissue is not None and bool(tissue.any())
    if entry.state in ("labelled", "changed"):
        classes, labels = _read_labels(entry, len(centres))
        colors = np.array([rgb_of(each.color) for each in classes], np.uint8)[labels]
        shares = _measure_shares(classes, labels, tissue if knows_tissue else None)
    elif image and size is not None:
        return Thumbnail(image, ratio=size[0] / size[1])
    else:
        colors = read_layout(entry.h5ad).colors
    stride = scale_in(known, spacing_of(centres)).stride
    try:
        (left, top), place = lattice_of(centres, stride)
    except ValueError:
        # Pieces of tissue with grids of their own, as other programs have them, are not drawn.
        return Thumbnail(image, shares=shares, knows_tissue=knows_tissue)
    across, down = ((place.max(axis=0) + 1) * stride).tolist()
    box, width, height = (0.0, 0.0, 100.0, 100.0), across, down
    if image and size is not None:
        width, height = float(size[0]), float(size[1])
        box = (100 * left / width, 100 * top / height, 100 * across / width, 100 * down / height)
    drawn = _draw(place, colors, _SEE_THROUGH if image else _OPAQUE)
    return Thumbnail(image, drawn, box, width / height, shares, knows_tissue)


def _read_labels(entry: Entry, n_patches: int) -> tuple[Sequence[SeedClass], npt.NDArray[np.uint8]]:
    """Return the classes of a run, and the label of each patch, (n_patches,)."""
    session = read_session(find_kept(session_path(entry.h5ad, entry.session)), n_patches)
    assert session.run is not None
    return session.run_classes, session.run.unpack()


def _measure_shares(
    classes: Sequence[SeedClass], labels: npt.NDArray[np.uint8], tissue: npt.NDArray[np.float32] | None
) -> tuple[tuple[str, str, float], ...]:
    """Return `Thumbnail.shares`; where the file does not tell the tissue, patches count as full of it."""
    amounts: defaultdict[tuple[str, str], float] = defaultdict(float)
    weights = None if tissue is None else tissue.astype(np.float64)
    for each, amount in zip(classes, np.bincount(labels, weights, minlength=len(classes)), strict=False):
        # Classes that were merged since the run have one name.
        amounts[each.name, each.color] += float(amount)
    whole = sum(amounts.values()) or 1.0
    ordered = sorted(amounts.items(), key=lambda item: -item[1])
    return tuple((*named, amount / whole) for named, amount in ordered if amount)


def _address(h5ad: Path, root: Path) -> str:
    """Return the address of a tile that shows a slide's whole image, "" where it has none in the folder."""
    image = find_image(h5ad)
    if image is None or not image.is_relative_to(root):
        return ""
    return f"/{address(image.relative_to(root).as_posix())}_files/{_LEVEL}/0_0.jpeg"


def _draw(place: npt.NDArray[np.int64], colors: npt.NDArray[np.uint8], alpha: int) -> str:
    """Return patches as a PNG, a pixel each; "" where they lie so far apart that it would be too large.

    Parameters
    ----------
    place : ndarray of shape (n_patches, 2), int64
        Column and row.
    colors : ndarray of shape (n_patches, 3), uint8
    alpha : int
        How opaque they are, 0 to 255.
    """
    from PIL import Image

    columns, rows = (place.max(axis=0) + 1).tolist()
    if columns * rows > _MOST_PIXELS:
        return ""
    pixels = np.zeros((rows, columns, 4), np.uint8)
    pixels[place[:, 1], place[:, 0], :3] = colors
    pixels[place[:, 1], place[:, 0], 3] = alpha
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
