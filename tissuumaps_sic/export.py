"""Labels out of a session: a CSV, or columns of an h5ad."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata.io import write_elem

from tissuumaps_sic.files import replacing
from tissuumaps_sic.geojson import write_geojson
from tissuumaps_sic.regions import Region, regions_of, scale_of
from tissuumaps_sic.session import SeedClass, Session, cluster, load_session, seed_vector, session_path
from tissuumaps_sic.slides import EmbeddedSlide, open_slide_file, patch_names_of, stamp_of
from tissuumaps_sic.transfer import guests_of

# The share of patches whose labels may differ by rounding before a run counts as another one.
_MOST_ROUNDED = 0.001


# More than the HDF5 library takes for the structure around a few columns.
_ROOM_BYTES = 2**19


class ExportError(Exception):
    """Labels cannot be exported; the message says what to do."""


def replay(slide: EmbeddedSlide, session: Session) -> pd.DataFrame:
    """Return the labels of the session's last run, with scores from running it again on the same seeds.

    It runs on the embedding that the run was on, whichever `slide` was opened with. Labels are those of the
    session. Another processor rounds differently, and a patch that lies on the border
    itself may then fall to the other side.

    Returns
    -------
    DataFrame of n_patches rows
        ``sic_label`` and ``sic_seed`` categorical over the classes' names, ``sic_score`` float32, the
        score of the patch's own label, 0 to 1.

    Raises
    ------
    ExportError
        When the session has no run, or the labels are not those that it holds.
    SessionError
        When its seeds do not fit the slide, or a slide that lent seeds is not as it was.
    SlideFileError
        When the file has no longer the embedding that the run was on.
    """
    if session.run is None:
        raise ExportError(f"{slide.name}: the session has no labels yet; run the clustering first")
    if not session.run.can_replay:
        raise ExportError(f"{slide.name}: its labels came from the seeds of another slide; run them again")
    slide = slide.with_embedding(session.run.embedding)
    run, scores = cluster(
        slide,
        session.run_classes,
        session.run.seeds,
        method=session.run.method,
        border=session.run.border,
        guests=guests_of(slide, session.run.loans),
    )
    labels = session.run.unpack().astype(np.int64)
    if len(labels) != slide.n_patches or (run.unpack() != labels).mean() > _MOST_ROUNDED:
        raise ExportError(
            f"{slide.name}: the labels in the session (version {session.run.version}) are not those that "
            f"its seeds give here (version {run.version}); run the clustering again"
        )
    return columns_of(slide, session, scores, seed_vector(slide, run.seeds))


def columns_of(
    slide: EmbeddedSlide,
    session: Session,
    scores: npt.NDArray[np.float32],
    seeds: npt.NDArray[np.int64],
    unlike: npt.NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Return the labels of the session's last run as `replay` does.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        With a run.
    scores : ndarray of shape (n_patches, n_classes), float32
    seeds : ndarray of shape (n_patches,), int64
        -1 where a patch has none.
    unlike : ndarray of shape (n_patches,), bool, optional
        A further column, ``sic_unlike``: which patches are unlike any seed.
    """
    assert session.run is not None
    # Classes that were merged after the run have one name, and are one category.
    classes = distinct(session.run_classes)
    names = pd.Index([seed_class.name for seed_class in classes], dtype=object)
    code = np.array([*(names.get_loc(each.name) for each in session.run_classes), -1])
    labels = session.run.unpack().astype(np.int64)
    columns = pd.DataFrame(
        {
            "sic_label": pd.Categorical.from_codes(code[labels], categories=names),
            "sic_score": scores[np.arange(slide.n_patches), labels],
            "sic_seed": pd.Categorical.from_codes(code[seeds], categories=names),
        }
    )
    if unlike is not None:
        columns["sic_unlike"] = unlike
    return columns


def distinct(classes: Sequence[SeedClass]) -> list[SeedClass]:
    """Return classes without those whose name came before."""
    known: dict[str, SeedClass] = {}
    for each in classes:
        known.setdefault(each.name, each)
    return list(known.values())


def write_csv(
    slide: EmbeddedSlide, session: Session, target: Path, columns: pd.DataFrame | None = None
) -> None:
    """Write one row a patch: name, centre in level-0 pixels, label, score and seed.

    The score is that of the patch's own label, in 0.5..1. Labels are the session's, replayed, unless
    `columns` gives them (`columns_of`).

    Raises
    ------
    ExportError, SessionError, OSError
        When there are no labels, they cannot be replayed, or the file cannot be written.
    """
    columns = replay(slide, session) if columns is None else columns
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        flagged = "sic_unlike" in columns
        writer.writerow(["patch", "x", "y", "label", "score", "seed", *(["unlike"] if flagged else [])])
        unlike = columns["sic_unlike"].tolist() if flagged else [False] * slide.n_patches
        for name, (x, y), label, score, seed, far in zip(
            slide.patch_names,
            slide.centres.tolist(),
            columns["sic_label"],
            columns["sic_score"].tolist(),
            columns["sic_seed"].astype(object).fillna(""),
            unlike,
            strict=True,
        ):
            row = [name, f"{x:g}", f"{y:g}", label, f"{score:.6f}", seed]
            writer.writerow([*row, int(far)] if flagged else row)


def write_labels(
    slide: EmbeddedSlide, session: Session, target: Path, columns: pd.DataFrame | None = None
) -> None:
    """Write a copy of the slide's h5ad with the labels in it; `target` may be that h5ad itself.

    ``obs['sic_label']`` and ``obs['sic_seed']`` are categorical, ``obs['sic_score']`` float32 (the score
    of the patch's own label), ``uns['sic_label_colors']`` the classes' colours, ``uns['sic']`` JSON text
    that says how the labels were made. Labels are the session's, replayed, unless `columns` gives them.

    Raises
    ------
    ExportError, SessionError, OSError
        When there are no labels, they cannot be replayed, or the file cannot be written.
    """
    columns = replay(slide, session) if columns is None else columns
    assert session.run is not None
    provenance = {
        "slide": session.slide,
        "fingerprint": session.fingerprint,
        "classes": [seed_class.model_dump() for seed_class in session.run_classes],
        # Where a slide that lent seeds lies is nobody's business who gets the file.
        "run": session.run.model_dump(exclude={"labels": True, "loans": {"__all__": {"path"}}}),
    }
    with replacing(target) as temporary:
        before = stamp_of(slide.path)
        shutil.copyfile(slide.path, temporary)
        told = json.dumps(provenance)
        _reserve(temporary, 32 * slide.n_patches + 2 * len(told) + _ROOM_BYTES)
        with _told_as_os_error(), h5py.File(temporary, "r+", locking=False) as file:
            if not np.array_equal(patch_names_of(file), slide.patch_names):
                raise ExportError(f"{slide.path.name}: holds other patches than it did; run them again")
            _put_columns(file["obs"], columns)
            uns = file.require_group("uns")
            colors = np.array(
                [seed_class.color for seed_class in distinct(session.run_classes)], dtype=object
            )
            write_elem(uns, "sic_label_colors", colors)
            write_elem(uns, "sic", told)
        if stamp_of(slide.path) != before:
            raise ExportError(
                f"{slide.path.name}: another program has changed it at this moment; nothing was written, "
                "write the labels again"
            )


def write_regions(
    slide: EmbeddedSlide,
    session: Session,
    target: Path,
    columns: pd.DataFrame | None = None,
    *,
    simplify: float = 0.0,
) -> None:
    """Write the region of each class as GeoJSON for QuPath, compressed where the name ends in ``.gz``.

    Parameters
    ----------
    slide, session, target, columns
        As for `write_csv`.
    simplify : float, default=0.0
        How far, in µm, borders may move to have fewer corners (`regions.regions_of`); level-0 pixels where
        the file does not tell its resolution.

    Raises
    ------
    ExportError, SessionError, OSError
        When there are no labels, they cannot be replayed, or the file cannot be written.
    """
    if columns is None:
        # Regions need no scores, but what cannot be replayed is no result.
        replay(slide, session)
    found, classes = regions_in(slide, session, simplify=simplify)
    write_geojson(found, classes, scale_of(slide), target)


def regions_in(
    slide: EmbeddedSlide, session: Session, *, simplify: float = 0.0
) -> tuple[list[Region], list[SeedClass]]:
    """Return the regions of the session's last run, and the classes that their labels mean.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        With a run.
    simplify : float, default=0.0
        As for `write_regions`.

    Raises
    ------
    ExportError
        When the patches do not lie on a grid.
    """
    assert session.run is not None
    classes = distinct(session.run_classes)
    names = [each.name for each in classes]
    code = np.array([names.index(each.name) for each in session.run_classes])
    scale = scale_of(slide)
    reach = simplify / (sum(scale.mpp) / 2) if scale.mpp else simplify
    try:
        return regions_of(slide.centres, code[session.run.unpack()], scale, simplify=reach), classes
    except ValueError as error:
        raise ExportError(f"{slide.path.name}: {error}") from error


def _reserve(path: Path, n_bytes: int) -> None:
    """Lengthen an h5ad that labels go into; what they do not need is cut off at the end.

    A disk that is full is found here: the HDF5 library would find it when it closes the file, and then
    neither close it nor let go of it.
    """
    with path.open("ab") as file:
        file.write(bytes(n_bytes))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _told_as_os_error() -> Iterator[None]:
    """Tell the HDF5 library's failures to write as what they are."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EIO, "the HDF5 library could not write it") from error


def _put_columns(obs: Any, columns: pd.DataFrame) -> None:
    """Add columns to the obs of an open h5ad, in place of older ones of the same names."""
    order = [name for name in obs.attrs["column-order"] if name not in columns]
    for name in columns:
        if name in obs:
            del obs[name]
        values = columns[name]
        categorical = isinstance(values.dtype, pd.CategoricalDtype)
        write_elem(obs, name, values.array if categorical else values.to_numpy())
    obs.attrs["column-order"] = np.array([*order, *columns], dtype=h5py.string_dtype())


FORMATS: dict[str, Callable[[EmbeddedSlide, Session, Path, pd.DataFrame | None], None]] = {
    "csv": write_csv,
    "h5ad": write_labels,
    "geojson": write_regions,
    "geojson.gz": write_regions,
}


def export_slide(
    h5ad: Path, target: Path, *, format_: str, session: Path | None = None, simplify: float = 0.0
) -> None:
    """Write the labels of one slide's session in one of `FORMATS`.

    Parameters
    ----------
    h5ad, target : Path
    format_ : str
        A key of `FORMATS`.
    session : Path, optional
        The one without a name, beside the h5ad, where none is given.
    simplify : float, default=0.0
        As for `write_regions`; other formats have no borders.

    Raises
    ------
    ExportError, SessionError, SlideFileError, OSError
        When something cannot be read, replayed or written.
    """
    slide = open_slide_file(h5ad)
    loaded = load_session(session or session_path(h5ad), slide)
    if FORMATS[format_] is write_regions:
        write_regions(slide, loaded, target, simplify=simplify)
    else:
        FORMATS[format_](slide, loaded, target, None)
