"""Labels as columns of the slide's h5ad."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.annotation.store import editing
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.slidefile.h5ad import open_h5ad, require_own, stamp_of
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file, patch_names_of

if TYPE_CHECKING:
    import pandas as pd

# More than the HDF5 library takes for the structure around a few columns.
_ROOM_BYTES = 2**19


def write_labels(labelled: Labelled, target: Path) -> None:
    """Write a copy of the slide's h5ad with the labels in it; `target` may be that h5ad itself.

    ``obs['sic_label']`` and ``obs['sic_seed']`` are categorical, ``obs['sic_score']`` float32 (the score
    of the patch's own label), ``uns['sic_label_colors']`` the classes' colours, ``uns['sic']`` JSON text
    that says how the labels were made; where some seeds are borrowed, ``obs['sic_unlike']`` tells which
    patches are unlike any seed.

    What a process that was killed here left beside the slide's own file is removed.

    Parameters
    ----------
    labelled : Labelled
    target : Path

    Raises
    ------
    ExportError, SlideFileError, OSError
        When the file was changed since the labels were made, or cannot be read or written.
    BusyError
        When other processes keep this one from the slide's own file.
    """
    from anndata.io import write_elem

    slide = labelled.slide
    made = tell_run(labelled)
    # Before a gigabyte is copied.
    with open_h5ad(slide.path):
        pass
    with ExitStack() as held:
        if target.resolve() == slide.path.resolve():
            held.enter_context(editing(target.resolve()))
            _sweep(target)
        temporary = held.enter_context(replacing(target))
        before = stamp_of(slide.path)
        try:
            shutil.copyfile(slide.path, temporary)
            _reserve(temporary, 32 * slide.n_patches + 2 * len(made) + _ROOM_BYTES)
        except OSError as error:
            # A write that fails tells no name.
            raise OSError(error.errno, error.strerror, str(target)) from error
        with _as_os_error(target), h5py.File(temporary, "r+", locking=False) as file:
            require_own(file, slide.path.name)
            if not np.array_equal(patch_names_of(file), slide.patch_names):
                raise ExportError(
                    f"{slide.path.name}: holds other patches than when the labels were made; run the "
                    "clustering again"
                )
            _put_columns(file["obs"], label_columns(labelled))
            uns = file.require_group("uns")
            colors = np.array([each.color for each in labelled.classes], dtype=object)
            write_elem(uns, "sic_label_colors", colors)
            write_elem(uns, "sic", made)
        if slide.stamp not in (None, before) and _has_other_embeddings(slide):
            raise ExportError(
                f"{slide.path.name}: another program has changed its embeddings since it was opened; nothing "
                "was written; run the clustering again"
            )
        if stamp_of(slide.path) != before:
            raise ExportError(
                f"{slide.path.name}: another program has just changed it; nothing was written; write the "
                "labels again"
            )


def tell_run(labelled: Labelled) -> str:
    """Return how labels were made, as JSON.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    str
    """
    session = labelled.session
    return json.dumps(
        {
            "slide": session.slide,
            "fingerprint": session.fingerprint,
            "classes": [each.model_dump() for each in session.run_classes],
            # Where a slide that lent seeds lies is nobody's business who gets the file.
            "run": labelled.run.model_dump(exclude={"labels": True, "loans": {"__all__": {"path"}}}),
        }
    )


def label_columns(labelled: Labelled) -> pd.DataFrame:
    """Return labels as columns of ``obs``.

    Parameters
    ----------
    labelled : Labelled

    Returns
    -------
    DataFrame of n_patches rows
        ``sic_label`` and ``sic_seed``, categorical over the classes' names, ``sic_score``, float32, and
        ``sic_unlike``, bool, where seeds are borrowed.
    """
    import pandas as pd

    names = pd.Index([each.name for each in labelled.classes], dtype=object)
    columns = pd.DataFrame(
        {
            "sic_label": pd.Categorical.from_codes(labelled.labels.astype(np.int64), categories=names),
            "sic_score": labelled.scores,
            "sic_seed": pd.Categorical.from_codes(labelled.seeds.astype(np.int64), categories=names),
        }
    )
    if labelled.unlike is not None:
        columns["sic_unlike"] = labelled.unlike
    return columns


def _has_other_embeddings(slide: EmbeddedSlide) -> bool:
    """Whether the slide's file holds others now than those that the slide was opened with."""
    return open_slide_file(slide.path, slide.embedding).sample != slide.sample


def _sweep(h5ad: Path) -> None:
    """Remove copies that killed writers of a slide's labels left; to be called while `editing`."""
    real = h5ad.resolve()
    # The embedder writes beside its file, too, and holds a lock of its own meanwhile.
    if not real.with_name(f".{real.stem}.lock").exists():
        remove_left_behind(real)


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
def _as_os_error(target: Path) -> Iterator[None]:
    """Tell the HDF5 library's failures to write as what they are."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EIO, "the HDF5 library could not write it", str(target)) from error


def _put_columns(obs: Any, columns: pd.DataFrame) -> None:
    """Add columns to the obs of an open h5ad, in place of older ones of the same names."""
    import pandas as pd
    from anndata.io import write_elem

    order = [name for name in obs.attrs["column-order"] if name not in columns]
    for name in columns:
        if name in obs:
            del obs[name]
        values = columns[name]
        categorical = isinstance(values.dtype, pd.CategoricalDtype)
        write_elem(obs, name, values.array if categorical else values.to_numpy())
    obs.attrs["column-order"] = np.array([*order, *columns], dtype=h5py.string_dtype())
