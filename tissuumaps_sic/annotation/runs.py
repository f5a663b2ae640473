"""What runs the clustering: a session and its slide become labels, here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.actions import now
from tissuumaps_sic.annotation.classes import FEWEST_CLASSES, SeedClass, drop_repeated, order_classes
from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.lending import Guest, Opener, flag_unlike, guests_of, join_guests, open_lent
from tissuumaps_sic.annotation.patch_rows import SeedMap, pack
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.session import Session, seed_vector
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file

if TYPE_CHECKING:
    from tissuumaps_sic.labelling.clustering import SeededIterativeClustering

# Share of a slide's first run that is the reading of its embeddings.
_READING = 0.15
# The share of patches whose labels may differ by rounding before a run counts as another one.
_MOST_ROUNDED = 0.001


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of one slide, with all that is told of them; what every writer of `export` is given.

    Attributes
    ----------
    slide : EmbeddedSlide
        With the embedding that was run on.
    session : Session
        With the run.
    classes : tuple of SeedClass
        Each name once: classes that were merged after the run are one.
    labels : ndarray of shape (n_patches,), uint8
        Place in `classes` of each patch's class.
    every : ndarray of shape (n_patches, n_classes), float32
        Score of each patch for each of `classes`; rows sum to 1.
    seeds : ndarray of shape (n_patches,), int16
        Place in `classes` of the seed that the run had there; -1 where a patch was none.
    unlike : ndarray of shape (n_patches,), bool, or None
        Which patches are unlike any seed, where that was asked for and some are borrowed.
    """

    slide: EmbeddedSlide
    session: Session
    classes: tuple[SeedClass, ...]
    labels: npt.NDArray[np.uint8]
    every: npt.NDArray[np.float32]
    seeds: npt.NDArray[np.int16]
    unlike: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls,
        slide: EmbeddedSlide,
        session: Session,
        scores: npt.NDArray[np.float32],
        *,
        unlike: npt.NDArray[np.bool_] | None = None,
    ) -> Labelled:
        """Return the labels of a session's last run.

        `unlike` is as in the attributes; `scores` are those of the run for each of its classes, (n_patches,
        n_run_classes).

        Parameters
        ----------
        slide : EmbeddedSlide
        session : Session
        scores : ndarray of shape (n_patches, n_run_classes), float32
        unlike : ndarray of shape (n_patches,), bool, optional

        Returns
        -------
        Labelled

        Raises
        ------
        SessionError
            When a seeded patch is not in the slide's file.
        """
        assert session.run is not None
        classes, labels = labels_of(session)
        code = _code(session.run_classes, classes)
        seeds = code[seed_vector(slide, session.run.seeds)]
        every = np.zeros((len(labels), len(classes)), np.float32)
        for number, place in enumerate(code[:-1]):
            every[:, place] += scores[:, number]
        return cls(slide, session, tuple(classes), labels, every, seeds, unlike)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Score of each patch's own label, 0 to 1; (n_patches,)."""
        return own_scores(self.every, self.labels)

    @property
    def run(self) -> Run:
        """The run that gave the labels."""
        assert self.session.run is not None
        return self.session.run

    def arrange(self) -> Labelled:
        """Return the same with classes in the order in which people see them, the positive one first.

        Returns
        -------
        Labelled
        """
        known = self.session.run_classes
        classes = drop_repeated(known[label] for label in order_classes(len(known)))
        code = _code(self.classes, classes)
        labels = code[self.labels].astype(np.uint8)
        every = self.every[:, np.argsort(code[:-1], kind="stable")]
        return replace(self, classes=tuple(classes), labels=labels, seeds=code[self.seeds], every=every)


def labels_of(session: Session) -> tuple[list[SeedClass], npt.NDArray[np.uint8]]:
    """Return `Labelled.classes` and `Labelled.labels` of a session's last run.

    Parameters
    ----------
    session : Session

    Returns
    -------
    (list of SeedClass, ndarray of shape (n_patches,), uint8)
    """
    assert session.run is not None
    classes = drop_repeated(session.run_classes)
    code = _code(session.run_classes, classes)
    return classes, code[session.run.unpack()].astype(np.uint8)


def _code(known: Sequence[SeedClass], classes: Sequence[SeedClass]) -> npt.NDArray[np.int16]:
    """Return where the class of each label is among others of the same names; -1 of -1."""
    names = [each.name for each in classes]
    return np.array([*(names.index(each.name) for each in known), -1], np.int16)


def own_scores(scores: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the score of each patch's own label, (n_patches,), of scores of shape (n_patches, n_classes).

    Parameters
    ----------
    scores : ndarray of shape (n_patches, n_classes), float32
    labels : ndarray of shape (n_patches,), uint8

    Returns
    -------
    ndarray of shape (n_patches,), float32
    """
    return np.asarray(scores[np.arange(len(labels)), labels], np.float32)


def label(
    slide: EmbeddedSlide,
    session: Session,
    *,
    method: Method = DEFAULT_METHOD,
    border: float | None = None,
    opener: Opener = open_slide_file,
    progress: Progress | None = None,
) -> Labelled:
    """Label every patch of a slide from a session's present seeds, its own and those that it borrows.

    Parameters
    ----------
    slide : EmbeddedSlide
        With the embedding that is to be clustered.
    session : Session
        Two of its classes or more have seeds.
    method : "sic" or "refine", default="refine"
        As in `SeededIterativeClustering`, where their sources are; borrowed seeds need "refine".
    border : float, optional
        The score, 0 to 1, from which a patch is of class 1, seeded ones apart; by default where that is the
        highest of its scores.
    opener : callable, default=open_slide_file
        Opens an embedding of the h5ad of a slide that lends seeds.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    Labelled
        Labels, (n_patches,) uint8, and scores, (n_patches, n_classes) float32; its session is the given one
        with the new run.

    Raises
    ------
    SessionError
        When fewer than two classes have seeds, the embeddings cannot be clustered, the method takes no
        borrowed seeds, or a slide that lends is not as it was.
    SlideFileError
        When the file of a slide that lends cannot be read.
    """
    guests = guests_of(slide, session.loans, opener=opener)
    run, scores = cluster(
        slide, session.classes, session.seeds, method=method, border=border, guests=guests, progress=progress
    )
    return Labelled.of(
        slide,
        session.with_run(run),
        scores,
        unlike=flag_unlike(slide, session.seeds, guests),
    )


def replay(
    slide: EmbeddedSlide,
    session: Session,
    *,
    scores: npt.NDArray[np.float32] | None = None,
    opener: Opener = open_slide_file,
) -> Labelled:
    """Return the labels of the session's last run, with scores from running it again on the same seeds.

    It runs on the embedding that the run was on, whichever `slide` was opened with. Labels are those of the
    session. Another processor rounds differently, and a patch that lies on the border itself may then fall to
    the other side.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
    scores : ndarray of shape (n_patches, n_run_classes), float32, optional
        Those of the run, where they are still known: nothing is then run again while the embeddings are those
        that it was on.
    opener : callable, default=open_slide_file
        Opens an embedding of an h5ad.

    Returns
    -------
    Labelled

    Raises
    ------
    SessionError
        When the session has no run, the labels are not those that it holds, its seeds do not fit the slide,
        or a slide that lent seeds is not as it was.
    SlideFileError
        When the file has no longer the embedding that the run was on.
    """
    run = session.run
    if run is None:
        raise SessionError(f"{slide.name}: the session has no labels yet; run the clustering first")
    if not run.can_replay:
        raise SessionError(
            f"{slide.name}: its labels came from seeds of another slide, which its session does not name; "
            "run the clustering again"
        )
    if run.embedding != slide.embedding:
        slide = opener(slide.path, run.embedding)
    if scores is not None and run.sample == slide.sample:
        for loan in run.loans:
            open_lent(slide, loan, opener=opener)
        return Labelled.of(slide, session, scores)
    again, every = cluster(
        slide,
        session.run_classes,
        run.seeds,
        method=run.method,
        border=run.border,
        guests=guests_of(slide, run.loans, opener=opener),
        leave_one_out=run.leaves_one_out,
    )
    if not agree(run, again):
        raise SessionError(
            f"{slide.name}: the labels in the session (version {run.version}) are not those that "
            f"its seeds give here (version {again.version}); run the clustering again"
        )
    return Labelled.of(slide, session, every)


def agree(run: Run, again: Run) -> bool:
    """Return whether two runs gave the same labels, but for what another processor rounds differently.

    Parameters
    ----------
    run : Run
    again : Run

    Returns
    -------
    bool
    """
    labels, others = run.unpack(), again.unpack()
    return len(labels) == len(others) and bool((labels != others).mean() <= _MOST_ROUNDED)


def cluster(
    slide: EmbeddedSlide,
    classes: Sequence[SeedClass],
    seeds: Mapping[str, int],
    *,
    method: Method = DEFAULT_METHOD,
    border: float | None = None,
    guests: Sequence[Guest] = (),
    leave_one_out: bool = True,
    progress: Progress | None = None,
) -> tuple[Run, npt.NDArray[np.float32]]:
    """Run the clustering on seeds by patch name.

    Parameters
    ----------
    slide : EmbeddedSlide
    classes : sequence of SeedClass
    seeds : mapping of str to int
    method : "sic" or "refine", default="refine"
        As in `SeededIterativeClustering`.
    border : float, optional
        The score, 0 to 1, from which a patch is of class 1, seeded ones apart; where it is the highest of its
        scores by default.
    guests : sequence of Guest, default=()
        Seeds of other slides (`lending.guests_of` opens them), for "refine".
    leave_one_out : bool, default=True
        As in `SeededIterativeClustering`; False for runs of before there was a choice.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    run : Run
        The labels and how they were made.
    scores : ndarray of shape (n_patches, n_classes), float32
        As `SeededIterativeClustering.scores_`; 0 of classes that have no seeds.

    Raises
    ------
    SessionError
        When fewer than two classes have seeds, the method takes no guests, or the embeddings cannot be
        clustered.
    """
    from tissuumaps_sic import __version__

    estimator, used = fit(
        slide,
        classes,
        seeds,
        method=method,
        guests=guests,
        leave_one_out=leave_one_out,
        progress=progress,
    )
    labels = np.array(used, np.uint8)[estimator.labels_]
    # A class without seeds is not used on this slide: no patch has a score of it.
    scores = np.zeros((len(labels), len(classes)), np.float32)
    scores[:, used] = estimator.scores_
    if border is not None and 1 in used:
        labels = apply_border(scores, labels, seed_vector(slide, seeds) >= 0, border)
    run = Run(
        time=now(),
        seeds=SeedMap(seeds.index, seeds.labels) if isinstance(seeds, SeedMap) else dict(seeds),
        embedding=slide.embedding,
        method=method,
        parameters={**estimator.get_params(), "slope": estimator.slope_},
        version=__version__,
        border=border,
        sample=slide.sample,
        n_iter=estimator.n_iter_,
        counts=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
        labels=pack(labels.tobytes(), level=9),
        loans=tuple(each.loan for each in guests),
    )
    return run, scores


def apply_border(
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer[Any]],
    seeded: npt.NDArray[np.bool_],
    border: float,
    *,
    positive: int = 1,
) -> npt.NDArray[np.uint8]:
    """Return the labels where a patch, or a cell, is of the positive class from a score of `border` on.

    Parameters
    ----------
    scores : ndarray of shape (n_patches, n_classes), float32
    labels : integer ndarray of shape (n_patches,)
        Those without a border, which seeded patches keep.
    seeded : ndarray of shape (n_patches,), bool
    border : float
        0 to 1.
    positive : int, default=1

    Returns
    -------
    ndarray of shape (n_patches,), uint8
        A patch below the border is of the best of the other classes.
    """
    moved = np.where(scores[:, positive] >= np.float32(border), positive, find_runner_up(scores, positive))
    return np.where(seeded, labels, moved).astype(np.uint8)


def find_runner_up(scores: npt.NDArray[np.float32], positive: int = 1) -> npt.NDArray[np.uint8]:
    """Return the best class of each patch but for the positive one, (n_patches,) uint8.

    Parameters
    ----------
    scores : ndarray of shape (n_patches, n_classes), float32
    positive : int, default=1

    Returns
    -------
    ndarray of shape (n_patches,), uint8
    """
    others = np.delete(np.arange(scores.shape[1]), positive)
    if not len(others):  # all classes of the run have become one
        return np.full(len(scores), positive, np.uint8)
    return np.asarray(others[scores[:, others].argmax(axis=1)], dtype=np.uint8)


def fit(
    slide: EmbeddedSlide,
    classes: Sequence[SeedClass],
    seeds: Mapping[str, int],
    *,
    method: Method = DEFAULT_METHOD,
    guests: Sequence[Guest] = (),
    leave_one_out: bool = True,
    progress: Progress | None = None,
) -> tuple[SeededIterativeClustering, list[int]]:
    """Return the estimator fitted to the classes that have seeds, and what each of its labels means.

    Parameters and errors are those of `cluster`.

    Parameters
    ----------
    slide : EmbeddedSlide
    classes : sequence of SeedClass
    seeds : mapping of str to int
    method : "sic" or "refine", default="refine"
    guests : sequence of Guest, optional
    leave_one_out : bool, default=True
    progress : callable, optional

    Returns
    -------
    (SeededIterativeClustering, list of int)
    """
    # Not above: scikit-learn takes a second and a half, that a server is not to start later by.
    from tissuumaps_sic.labelling.clustering import SeededIterativeClustering

    y = seed_vector(slide, seeds)
    if guests and method != "refine":
        raise SessionError(
            "seeds of another slide need the refined method; choose it, or drop the borrowed seeds"
        )
    together = join_guests(guests)
    every = y if together is None else np.concatenate([y, together.labels])
    used = choose_seeded(classes, every)
    code = np.full(len(classes) + 1, -1, np.int64)
    code[used] = np.arange(len(used))
    if together is not None:
        together = replace(together, labels=code[together.labels])
    estimator = SeededIterativeClustering(method=method, leave_one_out=leave_one_out)
    stretch = Stretch.whole(progress)
    read_by = 0.0 if slide.is_prepared else _READING
    try:
        prepared = slide.prepare(stretch.part(0.0, read_by))
        fitted = estimator.fit(prepared, code[y], guests=together, progress=stretch.part(read_by, 1.0).follow)
    except ValueError as error:
        raise SessionError(f"{slide.path.name}: {error}") from error
    return fitted, used


def choose_seeded(classes: Sequence[SeedClass], y: npt.NDArray[np.integer[Any]]) -> list[int]:
    """Return the classes that have seeds, in the order in which a run takes them: the positive one is its 1.

    Where class 1 has none, the first of the others in the order of people (`order_classes`) is it.

    Parameters
    ----------
    classes : sequence of SeedClass
    y : integer ndarray of shape (n_seeds,)
        The class of each seed; -1 is none.

    Returns
    -------
    list of int

    Raises
    ------
    SessionError
        When fewer than two have.
    """
    counts = np.bincount(y[y >= 0], minlength=len(classes))
    listed = order_classes(len(classes))
    seeded = [label for label in listed if counts[label]]
    if len(seeded) < FEWEST_CLASSES:
        told = ", ".join(f"{classes[label].name} {counts[label]}" for label in listed)
        some = "Each class needs a seed" if len(classes) == FEWEST_CLASSES else "Two classes need a seed each"
        raise SessionError(f"{some}: {told}; choose a class and click a patch of it")
    return [seeded[place] for place in order_classes(len(seeded))]
