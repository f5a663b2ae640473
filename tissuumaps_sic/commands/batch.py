"""Labels without the viewer: of one slide or a folder, from their own seeds or another slide's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tissuumaps_sic.annotation import runs
from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.lending import lend
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.annotation.seeds import SeedReading, Seeds, is_session
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import editing, load_session, save_session, session_path
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.labelling.progress import Progress
from tissuumaps_sic.slidefile.made import Stamp, stamp
from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file


@dataclass(frozen=True)
class Choices:
    """How to run; what is None is as in the session's last run, and as the viewer begins where there is none.

    Attributes
    ----------
    method : "sic" or "refine" or None
    embedding : str or None
    border : float or None
        0 to 1.
    """

    method: Method | None = None
    embedding: str | None = None
    border: float | None = None


@dataclass(frozen=True)
class Lender:
    """The slide whose seeds label others.

    Attributes
    ----------
    slide : EmbeddedSlide
    seeds : Seeds
    session : str
        Name of the session that they are from, where it is one of the slide's own.
    """

    slide: EmbeddedSlide
    seeds: Seeds
    session: str = ""


@dataclass(frozen=True)
class LenderFiles:
    """Where a lender is, for processes that each open it once.

    Attributes
    ----------
    h5ad : Path
    seeds : Path or None
    reading : SeedReading
    session : str
        As for `open_lender`.
    """

    h5ad: Path
    seeds: Path | None = None
    reading: SeedReading = field(default_factory=SeedReading)
    session: str = ""

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files that labels from it depend on."""
        return self.h5ad, self.seeds or session_path(self.h5ad, self.session)

    @lru_cache(maxsize=1)  # noqa: B019 -- one that is held is what is meant
    def open(self) -> Lender:
        """Return the lender; raises what `open_lender` raises."""
        return open_lender(self.h5ad, self.seeds, reading=self.reading, session=self.session)


@dataclass(frozen=True, eq=False)
class Labelling:
    """A slide that has been run on.

    Attributes
    ----------
    labelled : Labelled
    found : Session or None
        What lay beside the slide before.
    """

    labelled: Labelled
    found: Session | None

    @property
    def run(self) -> Run:
        """The run."""
        return self.labelled.run

    @property
    def counts(self) -> dict[str, int]:
        """Patches of each class, by the class's name."""
        classes = self.labelled.session.run_classes
        return {each.name: n for each, n in zip(classes, self.run.counts, strict=True)}


def start_session(slide: EmbeddedSlide, seeds: Seeds) -> Session:
    """Return a session of seeds that were read from elsewhere than a session of the slide."""
    session = Session.new(slide).model_copy(update={"initial_classes": seeds.classes})
    for label in range(len(seeds.classes)):
        patches = [patch for patch, each in seeds.patches.items() if each == label]
        if patches:
            session = session.seed(patches, label)
    return session


def borrow_seeds(slide: EmbeddedSlide, lender: Lender, session: Session, choices: Choices) -> Session:
    """Return a session that borrows the lender's seeds.

    Raises
    ------
    SessionError
        When they cannot be borrowed (`lend`), or fewer than two classes of the lender have seeds there.
    """
    try:
        runs.choose_seeded(lender.seeds.classes, np.array(list(lender.seeds.patches.values()), np.int64))
    except SessionError as error:
        raise SessionError(f"{lender.slide.name}: {error}") from error
    here = slide.with_embedding(choices.embedding or lender.seeds.embedding)
    loan = lend(lender.slide, lender.seeds.patches, here, session=lender.session)
    return session.borrow(loan, lender.seeds.classes)


def label(
    slide: EmbeddedSlide,
    session: Session,
    choices: Choices,
    *,
    like: Seeds | None = None,
    found: Session | None = None,
    progress: Progress | None = None,
) -> Labelling:
    """Run on a session's seeds, its own and those it borrows.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
    choices : Choices
    like : Seeds, optional
        Whose method, embedding and border count where the session has no run and the choices are silent.
    found : Session, optional
        What lay beside the slide.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Raises
    ------
    SessionError, SlideFileError
        When it cannot be run.
    """
    last = session.run
    method = last.method if last else like.method if like else DEFAULT_METHOD
    embedding = last.embedding if last else like.embedding if like else MAIN
    border = last.border if last else like.border if like else None
    here = slide.with_embedding(choices.embedding or embedding)
    # Only the refined method takes seeds of another slide, whatever the slide that lends was run by.
    chosen = choices.method or ("refine" if session.loans else method)
    labelled = runs.label(
        here,
        session,
        method=chosen,
        border=border if choices.border is None else choices.border,
        progress=progress,
    )
    return Labelling(labelled, found)


def label_file(
    h5ad: Path,
    choices: Choices,
    *,
    session: str = "",
    lender: Lender | None = None,
    progress: Progress | None = None,
) -> Labelling | None:
    """Label a slide of a folder: from its own session where that can be run, else from the lender's seeds.

    Seeds of a session that lacks some of a class count together with the lender's.

    Parameters
    ----------
    h5ad : Path
    choices : Choices
    session : str, default=""
        Name of the session.
    lender : Lender, optional
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    Labelling or None
        None where there is no session, and nobody who lends.

    Raises
    ------
    SessionError, SlideFileError
        When something cannot be read or run.
    """
    path = session_path(h5ad, session)
    if not path.exists() and lender is None:
        return None
    slide = open_slide_file(h5ad)
    found = load_session(path, slide) if path.exists() else None
    own = found or Session.new(slide)
    if lender is None or _is_seeded(own):
        return label(slide, own, choices, found=found, progress=progress)
    return label_from(slide, lender, choices, found=found, progress=progress)


def label_from(
    slide: EmbeddedSlide,
    lender: Lender,
    choices: Choices,
    *,
    found: Session | None = None,
    progress: Progress | None = None,
) -> Labelling:
    """Label a slide from the seeds of another one, and those of the session `found`, where there is one.

    Raises
    ------
    SessionError, SlideFileError
        As `label_file`.
    """
    session = borrow_seeds(slide, lender, found or Session.new(slide), choices)
    # The border is one of the lender's own scores.
    like = replace(lender.seeds, border=None)
    return label(slide, session, choices, like=like, found=found, progress=progress)


def label_named(
    h5ad: Path,
    choices: Choices,
    *,
    seeds: Path | None = None,
    reading: SeedReading = SeedReading(),  # noqa: B008 -- a value
    session: str = "",
    lender: Lender | None = None,
    keeping: bool = False,
    progress: Progress | None = None,
) -> Labelling:
    """Label a slide from seeds of a file, or the lender's; where neither is given, from its session.

    Parameters
    ----------
    h5ad : Path
    choices : Choices
    seeds : Path, optional
    reading : SeedReading, optional
    session : str, default=""
        Name of the session.
    lender : Lender, optional
    keeping : bool, default=False
        Whether the run will be kept in the session, which then may hold no other seeds.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Raises
    ------
    SessionError, SlideFileError
        When something cannot be read or run, or the session holds other seeds.
    """
    path = session_path(h5ad, session)
    slide = open_slide_file(h5ad)
    found = load_session(path, slide) if keeping and path.exists() else None
    if lender:
        if found and (found.seeds or found.loans):
            raise SessionError(
                f"{path.name}: has seeds of its own; run it without --from, or leave --save out"
            )
        return label_from(slide, lender, choices, found=found, progress=progress)
    if seeds is None:
        if not path.exists():
            raise SessionError(f"{h5ad.name}: has no session {path.name}; seed it first, or give --seeds")
        found = load_session(path, slide)
        return label(slide, found, choices, found=found, progress=progress)
    read = reading.read(seeds, slide)
    own = load_session(seeds, slide) if is_session(seeds) else start_session(slide, read)
    if found and (found.seeds, found.classes, found.loans) != (own.seeds, own.classes, own.loans):
        raise SessionError(
            f"{path.name}: holds other seeds than {seeds.name}; leave --save out, or move it away"
        )
    return label(slide, found or own, choices, like=read, found=found, progress=progress)


def _is_seeded(session: Session) -> bool:
    """Whether every class of a session has seeds, of its own or borrowed."""
    seeded = {*session.seeds.values(), *(each for loan in session.loans for each in loan.seeds.values())}
    return seeded == set(range(len(session.classes)))


def open_lender(
    h5ad: Path,
    seeds: Path | None,
    *,
    reading: SeedReading = SeedReading(),  # noqa: B008 -- a value
    session: str = "",
) -> Lender:
    """Open a slide that lends its seeds.

    Parameters
    ----------
    h5ad : Path
    seeds : Path, optional
        As for `seeds.read_seeds`; the slide's session of the name `session` where none is given.
    reading : SeedReading, optional
    session : str, default=""

    Raises
    ------
    SessionError, SlideFileError
        When something cannot be read.
    """
    slide = open_slide_file(h5ad)
    found = reading.read(seeds or session_path(h5ad, session), slide)
    return Lender(slide, found, "" if seeds else session)


def keep(outcome: Labelling, *, session: str = "") -> Stamp:
    """Keep a run in the slide's session, so that the viewer shows it; return what that is known again by.

    Raises
    ------
    SessionError
        When there is another session than was found, one that was changed meanwhile included.
    BusyError, OSError
        When it cannot be written.
    """
    labelled = outcome.labelled
    h5ad = labelled.slide.path
    path = session_path(h5ad, session)
    with editing(h5ad):
        there = load_session(path, labelled.slide) if path.exists() else None
        if there != outcome.found:
            raise SessionError(
                f"{path.name}: holds other seeds than were run on; leave --save out, or move it away"
            )
        save_session(path, labelled.session)
        # Before anybody else may write.
        return stamp(path)
