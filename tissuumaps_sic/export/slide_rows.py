"""What the table of a folder and its contact sheet tell of a slide: a row for each of its sessions.

Nothing is run: labels and their counts are those of a session's last run. Only how much is unlike any seed,
where seeds are borrowed, is found anew. Areas are of whole patches, as those of a check.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from tissuumaps_sic.annotation.classes import drop_repeated, order_classes
from tissuumaps_sic.annotation.effort import measure_effort
from tissuumaps_sic.annotation.lending import flag_unlike, guests_of, lender_of
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import Labelled, labels_of
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.picture import draw, draw_patches, encode
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.failure import os_reason
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.placing import find_image, image_name, layers_of
from tissuumaps_sic.slidefile.provenance import MAIN, Provenance, read_provenance
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file
from tissuumaps_sic.slides.tissue import PatchTissue, measure_patches
from tissuumaps_sic.slides.umap import read_layout
from tissuumaps_sic.verification.check import Verification, verify
from tissuumaps_sic.verification.estimation import Interval

log = logging.getLogger(__name__)

# Of a picture's longer side; a card of the sheet is as wide on a screen.
_PICTURE = 280
_GREY = 128

Read = TypeVar("Read")
RowState = Literal["", "new", "seeded", "labelled", "changed"]


@dataclass(frozen=True)
class ClassFigures:
    """One class of a slide; what is None is not known.

    Attributes
    ----------
    name, color : str
    seeds : int
        That the session has now, without borrowed ones.
    patches : int or None
        How many are labelled so; None where there are no labels, or none that know the class.
    area : float or None
        Of the tissue in them, mm².
    share : float or None
        Of all tissue, 0 to 1.
    checked_area, checked_share : Interval or None
        The same as the answers of the session's check have it.
    place : int
        In the list of classes, from 0 on, as `export.report.ClassRow.place`.
    """

    name: str
    color: str
    seeds: int = 0
    patches: int | None = None
    area: float | None = None
    share: float | None = None
    checked_area: Interval | None = None
    checked_share: Interval | None = None
    place: int = 0


@dataclass(frozen=True)
class SlideRow:
    """A slide, with one of its sessions.

    Attributes
    ----------
    h5ad : Path
    session : str
        Its name; "" is the one without a name, or none.
    state : "", "new", "seeded", "labelled" or "changed"
        No seeds; seeds and no labels; labels; labels of other seeds or classes than there are now. "" where
        there is a problem.
    problem : str
        Why nothing can be told; "" where all is well.
    warnings : tuple of str
        What a reader of the figures must know.
    patches : int or None
    area : float or None
        Of the tissue in all patches, mm²; of the patches, where the file does not tell the tissue.
    classes : tuple of ClassFigures
        In the order in which people see them.
    borrowed : int
        Seeds of other slides.
    readers : tuple of str
    clicks : int
    minutes : float
        Of work (`effort.Effort`).
    checked_by : str
        Who said that it is done.
    notes : int
    check : str
        `Verification.state`.
    answers : int
    accuracy : Interval or None
    unlike : float or None
        Share of the patches that are unlike any seed, where some are borrowed.
    method, encoder, labelled, version : str
        Of the last run: when it was, and by which version of this package.
    embedder_version : str
        Of the version that embedded the slide.
    picture : str
        As a ``data:`` address; "" where none was asked for or none can be drawn.
    """

    h5ad: Path
    session: str = ""
    state: RowState = ""
    problem: str = ""
    warnings: tuple[str, ...] = ()
    patches: int | None = None
    area: float | None = None
    classes: tuple[ClassFigures, ...] = ()
    borrowed: int = 0
    readers: tuple[str, ...] = ()
    clicks: int = 0
    minutes: float = 0.0
    checked_by: str = ""
    notes: int = 0
    check: str = "none"
    answers: int = 0
    accuracy: Interval | None = None
    unlike: float | None = None
    method: str = ""
    encoder: str = ""
    labelled: str = ""
    version: str = ""
    embedder_version: str = ""
    picture: str = ""

    @property
    def slide(self) -> str:
        """Name of the slide."""
        return self.h5ad.stem

    @property
    def seeds(self) -> int:
        """How many the session has now, without borrowed ones."""
        return sum(each.seeds for each in self.classes)


@dataclass(frozen=True)
class RowsWanted:
    """Of which slide rows are wanted.

    Attributes
    ----------
    h5ad : Path
    sessions : tuple of str
        Names of its sessions; where there are none, the slide has a row all the same.
    pictures : bool
    """

    h5ad: Path
    sessions: tuple[str, ...] = ()
    pictures: bool = False


def read_rows(wanted: RowsWanted) -> list[SlideRow]:
    """Return the rows of a slide; what is wrong with it is told in them and never raised.

    Parameters
    ----------
    wanted : RowsWanted

    Returns
    -------
    list of SlideRow
        One for each session, or one where there is none.
    """
    facts = _try(wanted.h5ad, "", partial(_Facts.of, wanted.h5ad))
    if isinstance(facts, SlideRow):
        return [facts]
    return [
        _try(wanted.h5ad, name or "", partial(_read_row, facts, name, pictures=wanted.pictures))
        for name in wanted.sessions or (None,)
    ]


def _try(h5ad: Path, session: str, read: Callable[[], Read]) -> Read | SlideRow:
    """Return what is read, or the row that says why it cannot be."""
    try:
        return read()
    except OSError as error:
        told = os_reason(error, h5ad.name)
    except SicError as error:
        told = str(error)
    except Exception as error:
        # One bad slide never ends the table.
        log.debug("failed", exc_info=True)
        told = " ".join(f"{h5ad.name}: {type(error).__name__}: {error} (unexpected)".split())
    return SlideRow(h5ad, session, problem=told)


@dataclass(frozen=True, eq=False)
class _Facts:
    """What the rows of a slide have in common."""

    slide: EmbeddedSlide
    provenance: Provenance
    tissue: PatchTissue
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, h5ad: Path) -> _Facts:
        slide = open_slide_file(h5ad)
        tissue = measure_patches(slide)
        warnings = []
        if tissue.mm2 is None:
            warnings.append("the file does not say its µm per pixel, so areas are not known")
        if not tissue.is_told:
            warnings.append("the file does not say what is glass, so areas and shares are of whole patches")
        if find_image(slide.path) is None:
            named = [image_name(layer, slide.path.parent) for layer in layers_of(slide.path)]
            warnings += [f"the slide's image {name} is missing" for name in named[:1]]
        return cls(slide, read_provenance(h5ad), tissue, tuple(warnings))

    @property
    def area(self) -> float | None:
        return None if self.tissue.mm2 is None else float(self.tissue.shares.sum()) * self.tissue.mm2


def _read_row(facts: _Facts, name: str | None, *, pictures: bool) -> SlideRow:
    """Return the row of a session, or of the slide without one where there is no name."""
    slide = facts.slide
    session = Session.new(slide) if name is None else load_session(session_path(slide.path, name), slide)
    run = session.run
    check = verify(slide, session)
    borrowed = sum(len(loan.seeds) for loan in session.loans)
    efforts = measure_effort(session)
    unlike, more = _measure_unlike(slide, session)
    picture, lack = _draw(slide, session) if pictures else ("", "")
    warnings = [*facts.warnings, *_warn(session, check, borrowed), *more, *filter(None, [lack])]
    state: RowState = "seeded" if any(session.seed_counts) or borrowed else "new"
    if run is not None:
        state = "changed" if session.is_stale else "labelled"
    embedding = run.embedding if run else MAIN
    titles = {each.name: each.label for each in slide.embeddings}
    versions = facts.provenance.versions or {}
    return SlideRow(
        slide.path,
        name or "",
        state,
        warnings=tuple(dict.fromkeys(warnings)),
        patches=slide.n_patches,
        area=facts.area,
        classes=_list_classes(facts, session, check),
        borrowed=borrowed,
        readers=tuple(each.reader for each in efforts if each.reader),
        clicks=sum(each.clicks for each in efforts),
        minutes=sum(each.minutes for each in efforts),
        checked_by=(session.checked.user or "somebody") if session.checked else "",
        notes=len(session.notes),
        check=check.state,
        answers=check.answers,
        accuracy=check.accuracy,
        unlike=unlike,
        method=run.method if run else "",
        encoder=titles.get(embedding, embedding),
        labelled=run.time if run else "",
        version=run.version if run else "",
        embedder_version=str(versions.get("tissuumaps-sic", "")),
        picture=picture,
    )


def _warn(session: Session, check: Verification, borrowed: int) -> Iterator[str]:
    """Yield what of a session a reader of its figures must know."""
    # Seeds that were read from a file, and not clicked, are none of the session's own.
    if session.is_stale and session.actions:
        yield "seeds or classes have changed since the labels were made; run the clustering again"
    if session.run is None and (any(session.seed_counts) or borrowed):
        yield "it has seeds and no labels; run the clustering"
    if check.state == "void":
        yield f"the check is {check.told[:1].lower()}{check.told[1:]}"
    if check.state == "few":
        yield f"the check is not finished: {check.told}"
    if session.checked is not None and not session.checked.is_current:
        yield f"it has changed since {session.checked.user or 'somebody'} reviewed it"


def _list_classes(facts: _Facts, session: Session, check: Verification) -> tuple[ClassFigures, ...]:
    """Return the classes of the labels, then those that only the session or its check has."""
    known = session.run_classes if session.run else ()
    listed = [known[label] for label in order_classes(len(known))] if known else []
    listed += [session.classes[label] for label in order_classes(len(session.classes))]
    seeds: dict[str, int] = {}
    for each, count in zip(session.classes, session.seed_counts, strict=True):
        seeds[each.name] = seeds.get(each.name, 0) + count
    patches, tissue = _count(facts, session)
    total = max(float(facts.tissue.shares.sum()), 1e-9)
    checked = {each.name: each for each in check.classes}
    names = {each.name: each.color for each in drop_repeated(listed)}
    # What a reader saw and no class has any more has no colour of its own.
    names |= {each.name: each.color or "#888888" for each in check.classes if each.name not in names}
    figures = []
    for place, (name, color) in enumerate(names.items()):
        mine, quality = tissue.get(name), checked.get(name)
        mm2 = facts.tissue.mm2
        figures.append(
            ClassFigures(
                name,
                color,
                seeds.get(name, 0),
                patches.get(name),
                None if mine is None or mm2 is None else mine * mm2,
                None if mine is None else mine / total,
                quality.area if quality else None,
                quality.share if quality else None,
                place,
            )
        )
    return tuple(figures)


def _count(facts: _Facts, session: Session) -> tuple[dict[str, int], dict[str, float]]:
    """Return patches of each class by its name, and the tissue in them in patches; nothing without labels."""
    if session.run is None:
        return {}, {}
    classes, labels = labels_of(session)
    names = [each.name for each in classes]
    patches = np.bincount(labels, minlength=len(names)).tolist()
    tissue = np.bincount(labels, facts.tissue.shares, minlength=len(names)).tolist()
    return dict(zip(names, patches, strict=True)), dict(zip(names, tissue, strict=True))


@cache
def _lenders() -> SlideCache:
    """Return the slides that lend to others, of which a folder has one or few."""
    return SlideCache(size=2)


def _measure_unlike(slide: EmbeddedSlide, session: Session) -> tuple[float | None, list[str]]:
    """Return which share of the patches is unlike any seed of the last run, and warnings."""
    run = session.run
    if run is None:
        warnings = []
        for loan in session.loans:
            try:
                lender_of(slide.path, loan)
            except SessionError as error:
                warnings.append(str(error))
        return None, warnings
    try:
        here = slide.with_embedding(run.embedding)
        if run.sample and run.sample != here.sample:
            return None, [
                "the embeddings are not those that the labels were made from; run the clustering again"
            ]
        guests = guests_of(here, run.loans, opener=_lenders().get)
        flagged = flag_unlike(here, run.seeds, guests)
    except (SessionError, SlideFileError) as error:
        return None, [str(error)]
    return (None if flagged is None else float(flagged.mean())), []


def _draw(slide: EmbeddedSlide, session: Session) -> tuple[str, str]:
    """Return a slide's picture with its labels, and why something of it is missing."""
    try:
        if session.run is None:
            picture = draw_patches(slide, _patch_colors(slide), most_pixels=_PICTURE)
        else:
            # Scores decide nothing where whole patches are drawn, and to know them is to run again.
            scores = np.zeros((slide.n_patches, len(session.run_classes)), np.float32)
            labelled = Labelled.of(slide, session, scores).arrange()
            picture = draw(labelled, most_pixels=_PICTURE, blocks=True)
    except (ExportError, SessionError) as error:
        return "", f"no picture: {error}"
    photo = picture.slide is not None
    content = base64.b64encode(encode(picture.labels, photo=photo)).decode()
    return f"data:image/{'jpeg' if photo else 'png'};base64,{content}", picture.lack


def _patch_colors(slide: EmbeddedSlide) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the colour of each patch, (n_patches, 3): grey where the file has none."""
    try:
        return read_layout(slide.path).colors
    except SlideFileError:
        return np.full((slide.n_patches, 3), _GREY, np.uint8)
