"""Labels without the viewer: of one slide or a folder, from their own seeds or another slide's."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tissuumaps_sic import __version__
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
from tissuumaps_sic.slidefile.batch import BatchItem, Outcome, Work, log_table, work_through
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import read_machines
from tissuumaps_sic.slidefile.made import MadeFiles, Stamp, describe_recipe, stamp
from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file

log = logging.getLogger(__name__)


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


def find_h5ads(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield each h5ad that is named, and those of each folder that is; and whether it is of a folder.

    Raises
    ------
    WrongUseError
        When a folder holds none.
    """
    for path in paths:
        if not path.is_dir():
            yield path, False
            continue
        inside = sorted(file for file in path.glob("*.h5ad") if not file.name.startswith("."))
        if not inside:
            raise WrongUseError(f"{path}: holds no h5ad; embed slides into it first (embedder embed)")
        for file in inside:
            yield file, True


def run_batch(
    items: Sequence[BatchItem],
    work: Work,
    *,
    folder: Path | None,
    recipe: tuple[Any, ...],
    tell: Callable[[dict[str, Any]], Iterator[str]],
    options: argparse.Namespace,
) -> int:
    """Work through several slides as a command does: a line each, a table at the end; return the exit status.

    Parameters
    ----------
    items : sequence of BatchItem
    work : callable
        As for `work_through`.
    folder : Path or None
        Where what is made goes, and what was made is remembered; here by default.
    recipe : tuple
        The command and those of its options by which the same slide gives another result.
    tell : callable
        Yields the lines that are printed of a report.
    options : Namespace
        Of the command: `machines.options.add_processes`, `overwrite` and `json` are read.

    Raises
    ------
    WrongUseError, ClusterError
        As `work_through`.
    """
    from tqdm import tqdm

    folder = folder or Path()
    if any(item.outputs for item in items):
        folder.mkdir(parents=True, exist_ok=True)
    made = MadeFiles(folder, describe_recipe(__version__, *recipe), anew=options.overwrite)
    outcomes = []
    for outcome in work_through(
        items, work, folder=folder, machines=read_machines(options), made=made, title=str(recipe[0])
    ):
        outcomes.append(outcome)
        if outcome.status == "failed":
            log.error("%s", outcome.message)
        elif outcome.status == "left out":
            log.info("%s: %s; left out", outcome.item.path.name, outcome.message)
        elif outcome.report and not options.json:
            # By it lines and the bar keep out of each other's way.
            tqdm.write("\n".join(tell(outcome.report)))
    if len(outcomes) > 1:
        log_table([(each, each.message or _sum_up(tell(each.report))) for each in outcomes])
    if options.json:
        print(json.dumps([_as_row(each) for each in outcomes]))
    return 1 if any(each.status == "failed" for each in outcomes) else 0


def _sum_up(lines: Iterator[str]) -> str:
    """Return what the first line says of a slide, without the file that it begins with."""
    return next(lines, "").partition(": ")[2]


def _as_row(outcome: Outcome) -> dict[str, Any]:
    """Return what `--json` prints of a slide among several."""
    told = {"error": outcome.message} if outcome.status == "failed" else {}
    return {"slide": outcome.item.path.stem, **outcome.report, "status": outcome.status, **told}
