"""The labels that a session's last run gave, as columns; every export begins here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tissuumaps_sic.annotation.lending import guests_of
from tissuumaps_sic.annotation.session import SeedClass, Session, cluster, listed, seed_vector
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import EmbeddedSlide

# The share of patches whose labels may differ by rounding before a run counts as another one.
_MOST_ROUNDED = 0.001


class ExportError(SicError):
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


def in_order(session: Session) -> tuple[list[SeedClass], npt.NDArray[np.uint8]]:
    """Return the classes of the last run in the order in which people see them, the positive one first.

    Returns
    -------
    classes : list of SeedClass
        Each name once: classes that were merged after the run are one.
    place : ndarray of shape (n_classes of the run,), uint8
        Where in that list the class of each label is.
    """
    known = session.run_classes
    classes = distinct([known[label] for label in listed(len(known))])
    names = [each.name for each in classes]
    return classes, np.array([names.index(each.name) for each in known], dtype=np.uint8)
