"""Pictures of the patches of a class, to train on."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.names import safe_names
from tissuumaps_sic.slidefile.pixels.reduced import find_size
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import placing_folder
from tissuumaps_sic.slides.image import open_own_image
from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

PatchFormat = Literal["png", "jpg"]
MANIFEST = "manifest.csv"
_JPEG_QUALITY = 92
# Reading and compressing let go of Python's lock.
_THREADS = 4
_AHEAD = 64
# Of a manifest, what it says of a patch.
PATCH_COLUMNS = ("patch", "x0", "y0", "class", "score", "seed")


@dataclass(frozen=True)
class PatchWindow:
    """How large the patches of a slide are.

    Attributes
    ----------
    size0 : (width, height)
        Level-0 pixels.
    pixels : int
        Edge of the picture that was embedded.
    """

    size0: tuple[float, float]
    pixels: int


def write_patches(
    labelled: Labelled,
    folder: Path,
    classes: Sequence[str],
    *,
    image: Path | None = None,
    min_score: float = 0.0,
    most: int | None = None,
    format_: PatchFormat = "png",
    replace: bool = False,
) -> Path:
    """Write a picture of each patch of some classes, as it was embedded, and a CSV that lists them.

    The pictures are ``<folder>/<slide>/<class>/<patch>.png``; the CSV, ``manifest.csv`` beside the classes'
    folders, has the columns file, patch, x0, y0, class, score and seed. Nothing is there until all is.

    Parameters
    ----------
    labelled : Labelled
    folder : Path
    classes : sequence of str
        By name.
    image : Path, optional
        The slide's image; by default that of the project beside the h5ad.
    min_score : float, default=0.0
        The least score of the patch's own label, 0 to 1.
    most : int, optional
        How many of each class: those with the highest scores; of equal ones those that come first in the
        file.
    format_ : "png" or "jpg", default="png"
    replace : bool, default=False
        Whether the slide's folder is replaced where it is there already.

    Returns
    -------
    Path
        The slide's folder.

    Raises
    ------
    ExportError, OSError
        When there is no such class, no image or one of another size, the file does not tell how
        large its patches are, the slide's folder is there already, or it cannot be written.
    """
    slide = labelled.slide
    known = [each.name for each in labelled.classes]
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise ExportError(
            f"{slide.path.name}: has no class {', '.join(map(repr, unknown))}; give one of {', '.join(known)}"
        )
    require_choice(min_score, most)
    window = window_of(slide)
    target = folder / safe_names([slide.name])[0]
    if target.exists() and not replace:
        raise ExportError(
            f"{target}: is there already, and patches of two runs must not mix; move it away, or give "
            "another -o, or --overwrite"
        )
    wanted = [name for name in known if name in classes]
    rows = {name: choose_rows(labelled, name, min_score=min_score, most=most) for name in wanted}
    with open_picture(slide, image) as picture, placing_folder(target) as temporary:
        _write(labelled, picture, window, rows, temporary, format_)
    return target


def require_choice(min_score: float, most: int | None) -> None:
    """See that patches can be chosen by what was asked for.

    Parameters
    ----------
    min_score : float
    most : int or None

    Raises
    ------
    ExportError
        When they cannot.
    """
    if not 0 <= min_score <= 1:
        raise ExportError(f"--min-score: {min_score:g} is not a score; give 0 to 1")
    if most is not None and most < 1:
        raise ExportError(f"--most: {most} is not a number of patches; give 1 or more")


def choose_rows(
    labelled: Labelled, name: str, *, min_score: float = 0.0, most: int | None = None
) -> npt.NDArray[np.intp]:
    """Return the patches of a class as `write_patches` chooses them.

    Parameters
    ----------
    labelled : Labelled
    name : str
        The class.
    min_score, most
        As for `write_patches`.

    Returns
    -------
    ndarray of shape (n,), intp
        Rows, in the file's order.
    """
    scores = labelled.scores
    label = [each.name for each in labelled.classes].index(name)
    # As float32: 0.9 as a float64 is above the 0.9 of a score.
    rows = np.flatnonzero((labelled.labels == label) & (scores >= np.float32(min_score)))
    if most is not None and len(rows) > most:
        rows = np.sort(rows[np.argsort(-scores[rows], kind="stable")[:most]])
    return rows


def window_of(slide: EmbeddedSlide) -> PatchWindow:
    """Return how large a slide's patches are.

    Parameters
    ----------
    slide : EmbeddedSlide

    Returns
    -------
    PatchWindow

    Raises
    ------
    ExportError
        When the file does not tell.
    SlideFileError
        When it cannot be read.
    """
    grid = read_provenance(slide.path).grid
    if grid.patch0 is None or grid.patch_size is None or not grid.patch_size > 0:
        raise ExportError(
            f"{slide.path.name}: does not say how large its patches are (uns['embedder'], grid), so their "
            "pictures cannot be cut; embed the slide again, or convert the file (embedder convert)"
        )
    return PatchWindow(grid.patch0, round(grid.patch_size))


@contextmanager
def open_picture(slide: EmbeddedSlide, path: Path | None) -> Iterator[Slide]:
    """Open the image of a slide, with its colours as they were embedded.

    Parameters
    ----------
    slide : EmbeddedSlide
    path : Path or None
        The image; None is that of the project beside the h5ad.

    Yields
    ------
    Slide

    Raises
    ------
    ExportError
        When there is no image, it cannot be read or is of another slide, or it was made smaller than the
        patches are.
    """
    try:
        image = open_own_image(slide, path)
        if image is None:
            raise ExportError(f"{slide.path.name}: its image is not beside it; name it with --image SLIDE")
        with image:
            _require_pixels(slide, image)
            if read_provenance(slide.path).encoder.icc:
                image.convert_colours()
            yield image
    except SlideError as error:
        raise ExportError(str(error)) from error


def _require_pixels(slide: EmbeddedSlide, image: Slide) -> None:
    """Refuse a picture that was made smaller for a bundle, where it has fewer pixels than the patches."""
    if find_size(image.path) is None:
        return
    window = window_of(slide)
    if image.level_downsamples[1] > min(window.size0) / window.pixels * 1.001:
        raise ExportError(
            f"{image.path.name}: was made smaller for a bundle, and has fewer pixels than the patches of "
            f"{slide.path.name}; name the slide itself with --image"
        )


def _write(
    labelled: Labelled,
    image: Slide,
    window: PatchWindow,
    rows: Mapping[str, npt.NDArray[np.intp]],
    folder: Path,
    format_: PatchFormat,
) -> None:
    slide = labelled.slide
    files: dict[int, str] = {}
    for name, place in zip(rows, safe_names(list(rows)), strict=True):
        (folder / place).mkdir()
        patches = [str(slide.patch_names[row]) for row in rows[name]]
        files |= {
            int(row): f"{place}/{file}.{format_}"
            for row, file in zip(rows[name], safe_names(patches), strict=True)
        }
    for row, picture in read_pictures(slide, image, window, list(files), format_):
        (folder / files[row]).write_bytes(picture)
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as manifest:
        writer = csv.writer(manifest)
        writer.writerow(["file", *PATCH_COLUMNS])
        for row, told in zip(files, tell_patches(labelled, window, list(files)), strict=True):
            writer.writerow([as_path(files[row]), *told])


def read_pictures(
    slide: EmbeddedSlide, image: Slide, window: PatchWindow, rows: Sequence[int], format_: PatchFormat
) -> Iterator[tuple[int, bytes]]:
    """Yield the row and the picture of each of some patches, in their order.

    Parameters
    ----------
    slide : EmbeddedSlide
    image : Slide
        The slide's own image.
    window : PatchWindow
    rows : sequence of int
    format_ : "png" or "jpg"

    Yields
    ------
    row : int
    picture : bytes
        A whole file.
    """
    from tqdm import tqdm

    corners = slide.centres - np.array(window.size0) / 2
    options: dict[str, Any] = {"quality": _JPEG_QUALITY, "subsampling": 0} if format_ == "jpg" else {}

    def read(row: int) -> bytes:
        x, y = corners[row].tolist()
        pixels = image.picture(x, y, *window.size0, (window.pixels, window.pixels))
        picture = io.BytesIO()
        Image.fromarray(pixels).save(picture, "JPEG" if format_ == "jpg" else "PNG", **options)
        return picture.getvalue()

    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(total=len(rows), desc=slide.name, unit=" patches", disable=None) as bar,
    ):
        # A few at a time, so that the first failure, or Ctrl-C, ends it.
        for start in range(0, len(rows), _AHEAD):
            some = rows[start : start + _AHEAD]
            for row, picture in zip(some, pool.map(read, some), strict=True):
                yield row, picture
                bar.update()


def tell_patches(labelled: Labelled, window: PatchWindow, rows: Sequence[int]) -> Iterator[list[str]]:
    """Yield what a manifest says of some patches, by `PATCH_COLUMNS`; the place is the top-left corner.

    Parameters
    ----------
    labelled : Labelled
    window : PatchWindow
    rows : sequence of int

    Yields
    ------
    list of str
    """
    slide, scores = labelled.slide, labelled.scores
    corners = np.rint(slide.centres - np.array(window.size0) / 2).astype(int)
    # The last one is that of -1: no seed.
    names = [*(as_text(each.name) for each in labelled.classes), ""]
    for row in rows:
        x0, y0 = corners[row].tolist()
        patch, own, seed = (
            as_text(str(slide.patch_names[row])),
            names[labelled.labels[row]],
            labelled.seeds[row],
        )
        yield [patch, str(x0), str(y0), own, f"{scores[row]:.6f}", names[seed]]


def as_path(file: str) -> str:
    """Return a path as a cell: it must open as it is written, which it does not behind an apostrophe.

    Parameters
    ----------
    file : str

    Returns
    -------
    str
    """
    return file if as_text(file) == file else f"./{file}"
