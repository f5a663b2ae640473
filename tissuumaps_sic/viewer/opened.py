"""Slides, sessions and scores that stay in memory between requests, and what a page is told of them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.classes import order_classes
from tissuumaps_sic.annotation.history import Step, tell_redo, tell_undo
from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.lending import Guest, guests_of, is_admitted, lender_of
from tissuumaps_sic.annotation.loans import Loan
from tissuumaps_sic.annotation.records import SessionError, SessionFileError
from tissuumaps_sic.annotation.runs import Labelled, find_runner_up, own_scores, replay
from tissuumaps_sic.annotation.scheme import Scheme, find_scheme, read_scheme
from tissuumaps_sic.annotation.session import Session, seed_vector
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.slidefile.h5ad import SlideFileError, Stamp, stamp_of
from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.answers import Arrays, SeedLists
from tissuumaps_sic.viewer.places import locate_session, place_session, session_names
from tissuumaps_sic.viewer.remarks import tell_remarks
from tissuumaps_sic.viewer.requests import OpenRequest, RequestError, SeenRequest, naming
from tissuumaps_sic.viewer.turns import Turns
from tissuumaps_sic.viewer.worklist import Worklist

# Slides of a folder that is looked through, and of which single patches are shown.
_MOST_GLANCED = 4


class Opened:
    """The slides and sessions of all pages; safe to use from many threads."""

    def __init__(self) -> None:
        self._slides = SlideCache()
        self._glanced = SlideCache(_MOST_GLANCED)
        self._sessions = _Sessions()

    def slide(self, h5ad: Path, embedding: str = MAIN) -> EmbeddedSlide:
        """Return a slide with one of its embeddings; errors are those of `SlideCache.get`.

        Parameters
        ----------
        h5ad : Path
        embedding : str, optional

        Returns
        -------
        EmbeddedSlide
        """
        return self._slides.get(h5ad, embedding)

    def glance(self, h5ad: Path, embedding: str = MAIN) -> EmbeddedSlide:
        """Return a slide that nobody annotates now; those that people are at work on stay in memory.

        Parameters
        ----------
        h5ad : Path
        embedding : str, optional

        Returns
        -------
        EmbeddedSlide
        """
        return self._glanced.get(h5ad, embedding)

    def let_go(self, h5ad: Path) -> None:
        """Close a file: systems that lock open files would not let it be replaced.

        Parameters
        ----------
        h5ad : Path
        """
        self._slides.forget(h5ad)
        self._glanced.forget(h5ad)

    def session(self, slide: EmbeddedSlide, name: str) -> Session:
        """Return a session of a slide; a new one, of the folder's classes, where there is none yet.

        Parameters
        ----------
        slide : EmbeddedSlide
        name : str

        Returns
        -------
        Session
        """
        path = locate_session(slide.path, name)
        if os.path.lexists(path):
            return self._sessions.get(path, slide)
        scheme, _ = look_for_scheme(slide.path)
        return scheme.start(slide) if scheme else Session.new(slide)

    def seen_session(self, slide: EmbeddedSlide, request: SeenRequest) -> Session:
        """Return the session that a page asks about.

        Parameters
        ----------
        slide : EmbeddedSlide
        request : SeenRequest

        Returns
        -------
        Session

        Raises
        ------
        RequestError
            When it has changed since the page has seen it.
        """
        session = self.session(slide, request.session)
        if session.revision != request.revision:
            raise RequestError(
                409, "this slide was changed in another window; its seeds have been loaded again"
            )
        return session

    def guests(self, slide: EmbeddedSlide, loans: Iterable[Loan]) -> tuple[Guest, ...]:
        """Return borrowed seeds as a run takes them, from slides that stay open.

        Parameters
        ----------
        slide : EmbeddedSlide
        loans : iterable of Loan

        Returns
        -------
        tuple of Guest
        """
        try:
            return guests_of(slide, loans, opener=self.slide)
        except SlideFileError as error:
            raise SessionError(f"{error}; or drop the seeds that are borrowed from it") from error

    def save(self, h5ad: Path, session: Session, name: str) -> None:
        """Write a session beside its slide, or with the server where that cannot be.

        Parameters
        ----------
        h5ad : Path
        session : Session
        name : str
        """
        with naming(session_path(h5ad, name)):
            path = place_session(h5ad, name)
            stamp = save_session(path, session)
        self._sessions.put(path, session, stamp)

    def state(self, slide: EmbeddedSlide, session: Session, request: OpenRequest) -> dict[str, Any]:
        """Return what a page shows of a session; patches are rows of the file.

        Parameters
        ----------
        slide : EmbeddedSlide
        session : Session
        request : OpenRequest

        Returns
        -------
        dict of str to value
        """
        seeds = read_seeds(slide, session)
        rows, n_classes = np.flatnonzero(seeds >= 0), len(session.classes)
        return {
            "slide": slide.name,
            "session": request.session,
            "sessions": session_names(slide.path),
            "n_patches": slide.n_patches,
            "embeddings": [{"name": each.name, "title": each.title} for each in slide.embeddings],
            "classes": [seed_class.model_dump() for seed_class in session.classes],
            "listed": order_classes(n_classes),
            "seeds": SeedLists(rows, seeds[rows]),
            "borrowed": [_loan_state(loan, n_classes) for loan in session.loans],
            "revision": session.revision,
            "can_undo": session.can_undo,
            "can_redo": session.can_redo,
            "undo": _step_state(tell_undo(session)),
            "redo": _step_state(tell_redo(session)),
            "n_steps": len(session.actions) + sum(len(each.actions) for each in session.branches),
            "readers": list(session.readers),
            "scheme": _scheme_state(slide, session),
            **tell_remarks(slide, session),
            "run": session.run and self._run_state(slide, session, session.run),
        }

    def _run_state(self, slide: EmbeddedSlide, session: Session, run: Run) -> dict[str, Any]:
        outdated = bool(run.sample) and self._is_outdated(slide, run)
        return {
            "time": run.time,
            "method": run.method,
            "embedding": run.embedding,
            "border": run.border,
            "scored": run.can_replay,
            "n_iter": run.n_iter,
            "classes": [seed_class.model_dump() for seed_class in session.run_classes],
            "counts": list(run.counts),
            "stale": session.is_stale or outdated,
            "outdated": outdated,
        }

    def _is_outdated(self, slide: EmbeddedSlide, run: Run) -> bool:
        """Return whether the embeddings of a run are no longer those of its files."""
        # An embedding that the file has no longer is told of when the labels are to be written.
        with suppress(SlideFileError):
            if self.slide(slide.path, run.embedding).sample != run.sample:
                return True
        # Nor is one that a slide that lends has no longer, which is told of at the next run.
        with suppress(SlideFileError, SessionError):
            return any(
                self.slide(lender_of(slide.path, loan), loan.embedding).sample != loan.sample
                for loan in run.loans
            )
        return False


def read_seeds(slide: EmbeddedSlide, session: Session) -> npt.NDArray[np.int64]:
    """Return the seeds of a session as `seed_vector`; it is the session's fault where that cannot be.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session

    Returns
    -------
    ndarray of shape (n_patches,), int64
    """
    try:
        return seed_vector(slide, session.seeds)
    except SessionError as error:
        raise SessionFileError(str(error)) from error


def _loan_state(loan: Loan, n_classes: int) -> dict[str, Any]:
    counts = np.bincount(list(loan.seeds.values()), minlength=n_classes)
    return {"slide": loan.slide, "path": loan.path, "session": loan.session, "counts": counts.tolist()}


def look_for_scheme(h5ad: Path) -> tuple[Scheme | None, str]:
    """Return the class list of a slide's folder, or None; and what is wrong with it, else "".

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    (Scheme or None, str)
    """
    path = find_scheme(h5ad.parent, is_admitted)
    if path is None:
        return None, ""
    try:
        return read_scheme(path), ""
    except SessionError as error:
        return None, str(error)


def _scheme_state(slide: EmbeddedSlide, session: Session) -> dict[str, Any] | None:
    """Return what a page is told of the folder's class list: names, those missing here, a problem."""
    scheme, problem = look_for_scheme(slide.path)
    if scheme is None:
        return {"names": [], "missing": [], "problem": problem} if problem else None
    names = [scheme.classes[label].name for label in order_classes(len(scheme.classes))]
    known = {each.name for each in session.classes}
    return {"names": names, "missing": [name for name in names if name not in known], "problem": ""}


def _step_state(step: Step | None) -> dict[str, Any] | None:
    return {"text": step.text, "time": step.time, "user": step.user} if step else None


class _Sessions:
    """The sessions read or written last, as long as their files stay as they were.

    What their actions come to is kept with them, so that a click costs the same whatever came before it.
    Safe to use from many threads.
    """

    _MOST = 16
    # Of all of them together; some ten bytes a patch, for each of a few states of the session.
    _MOST_PATCHES = 2_000_000

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[Stamp, Session, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, slide: EmbeddedSlide) -> Session:
        """Return the session of a slide that lies at a path.

        Raises
        ------
        SessionFileError
            As `load_session`.
        """
        try:
            stamp = stamp_of(path)
        except OSError:
            return load_session(path, slide)
        with self._lock:
            known = self._kept.get(path)
            if known is not None and known[0] == stamp and known[1].fingerprint == slide.fingerprint:
                self._kept.move_to_end(path)
                return known[1]
        session = load_session(path, slide)
        # Of a file that was replaced meanwhile nobody knows which of the two was read.
        if stamp_of(path) == stamp:
            self.put(path, session, stamp)
        return session

    def put(self, path: Path, session: Session, stamp: Stamp | None) -> None:
        """Keep a session; `stamp` is that of its file, None where another one lies there."""
        if stamp is None:
            return
        with self._lock:
            self._kept.pop(path, None)
            self._kept[path] = stamp, session, session.n_patches
            while len(self._kept) > 1 and (
                len(self._kept) > self._MOST
                or sum(n_patches for _, _, n_patches in self._kept.values()) > self._MOST_PATCHES
            ):
                self._kept.popitem(last=False)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The scores of a run, what pages ask for of them, and whether they are of its own labels."""

    every: npt.NDArray[np.float32]
    arrays: Arrays
    agrees: bool


class Scores:
    """The scores of the last few runs; safe to use from many threads."""

    _MOST = 4

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str, str], _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, h5ad: Path, session: str, run: Run) -> Arrays | None:
        """Return what `put` returned of a run.

        Parameters
        ----------
        h5ad : Path
        session : str
        run : Run

        Returns
        -------
        Arrays or None
        """
        with self._lock:
            kept = self._kept.get((h5ad, session, run.identity))
        return None if kept is None else kept.arrays

    def every(self, h5ad: Path, session: str, run: Run) -> npt.NDArray[np.float32] | None:
        """Return all scores of a run, (n_patches, n_classes), where they are of its own labels.

        Parameters
        ----------
        h5ad : Path
        session : str
        run : Run

        Returns
        -------
        ndarray of shape (n_patches, n_classes), float32, or None
        """
        with self._lock:
            kept = self._kept.get((h5ad, session, run.identity))
        return kept.every if kept and kept.agrees else None

    def put(
        self, h5ad: Path, session: str, run: Run, scores: npt.NDArray[np.float32], *, agrees: bool = True
    ) -> Arrays:
        """Keep the scores of a run, (n_patches, n_classes) float32.

        `agrees` tells whether a run that was made again gave the labels that are kept of it.

        Parameters
        ----------
        h5ad : Path
        session : str
        run : Run
        scores : ndarray of shape (n_patches, n_classes), float32
        agrees : bool, default=True

        Returns
        -------
        own, positive : ndarray of shape (n_patches,), float32
            The score of each patch's own label and that of class 1.
        rest : ndarray of shape (n_patches,), uint8
            The best class but for class 1.
        """
        own = own_scores(scores, run.unpack())
        arrays = own.astype("<f4"), scores[:, 1].astype("<f4"), find_runner_up(scores)
        with self._lock:
            self._kept[h5ad, session, run.identity] = _Kept(scores, arrays, agrees)
            while len(self._kept) > self._MOST:
                self._kept.popitem(last=False)
        return arrays


@dataclass(frozen=True)
class Shared:
    """What all pages of one server share; each part is safe to use from many threads."""

    opened: Opened = field(default_factory=Opened)
    scores: Scores = field(default_factory=Scores)
    turns: Turns = field(default_factory=Turns)
    worklist: Worklist = field(default_factory=Worklist)

    def label(self, slide: EmbeddedSlide, session: Session, request: SeenRequest) -> Labelled:
        """Return the labels of the last run, which runs again only where its scores are not known here.

        Parameters
        ----------
        slide : EmbeddedSlide
        session : Session
        request : SeenRequest

        Returns
        -------
        Labelled
        """
        run = session.run
        scores = None if run is None else self.scores.every(slide.path, request.session, run)
        return replay(slide, session, scores=scores, opener=self.opened.slide)
