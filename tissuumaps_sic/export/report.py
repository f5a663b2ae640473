"""What a report of a slide tells, whichever file it goes into."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tissuumaps_sic.annotation.cells import sharpen_labels
from tissuumaps_sic.annotation.classes import sign_of
from tissuumaps_sic.annotation.effort import measure_effort, tell_effort
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.export.picture import Picture, draw
from tissuumaps_sic.export.review import tell_review
from tissuumaps_sic.labelling.methods import METHOD_TITLES
from tissuumaps_sic.slidefile.arrays import Doubles
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.outlines import measure_cells
from tissuumaps_sic.slides.regions import Scale, scale_of, slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.slides.umap import read_tissue
from tissuumaps_sic.verification.check import Verification, verify
from tissuumaps_sic.verification.estimation import Interval

log = logging.getLogger(__name__)

# Enough for a page of paper at 250 dots per inch, with two pictures side by side.
_MOST_PIXELS = 1000


@dataclass(frozen=True)
class ClassRow:
    """A row of the table.

    Attributes
    ----------
    name, color : str
    patches, seeds : int
    area : float or None
        Of the patches, mm², where the resolution is known.
    tissue : float or None
        How much of it is tissue and no glass, mm², where the file tells that, too.
    share : float
        Of the tissue in all patches, 0 to 1; where that is not known, of the patches.
    score : float or None
        Mean over its patches; None where it has none.
    place : int
        In the list of classes, from 0 on; by it goes how it is told from others of alike colours.
    """

    name: str
    color: str
    patches: int
    seeds: int
    area: float | None
    tissue: float | None
    share: float
    score: float | None
    place: int = 0

    @property
    def sign(self) -> str:
        """Its letter, "" where its colour tells it."""
        return sign_of(self.place)

    @property
    def is_used(self) -> bool:
        """Whether the slide has any of it; a class without seeds has no patches."""
        return bool(self.patches or self.seeds)


@dataclass(frozen=True, eq=False)
class Report:
    """One slide's labels on a page.

    Attributes
    ----------
    slide : str
        Name.
    rows : tuple of ClassRow
        In the order in which people see classes.
    facts : tuple of (str, str)
        Where the labels come from, each with what it is.
    notes : tuple of str
        What a reader must know.
    picture : Picture
    written : str
        When.
    quality : Verification, optional
        How good the labels are, where a reader has checked some.
    """

    slide: str
    rows: tuple[ClassRow, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    picture: Picture
    written: str
    quality: Verification | None = None

    @property
    def patches(self) -> int:
        """How many there are."""
        return sum(row.patches for row in self.rows)

    @property
    def seeds(self) -> int:
        """How many there are."""
        return sum(row.seeds for row in self.rows)

    @property
    def area(self) -> float | None:
        """Of all patches together, mm²."""
        return _add([row.area for row in self.rows])

    @property
    def measured(self) -> str:
        """What the areas and shares are of."""
        if self.tissue is None:
            return "The share is that of the patches that were embedded."
        return "Tissue is the patches without the glass in them; the share is that of the tissue."

    @property
    def tissue(self) -> float | None:
        """Of all patches together, mm²."""
        return _add([row.tissue for row in self.rows])


def _add(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def make_report(
    labelled: Labelled, *, image: Path | None = None, session_name: str = "", blocks: bool = False
) -> Report:
    """Return what a report tells of labels.

    Parameters
    ----------
    labelled : Labelled
    image : Path, optional
        The slide's image; by default that of the project beside the h5ad, where it is there.
    session_name : str
        "" is the one without a name.
    blocks : bool, default=False
        Whether picture and areas are of whole patches, and not of their cells.

    Raises
    ------
    ExportError
        When `image` is not that of the slide, or the patches do not lie on a grid.
    """
    labelled = labelled.arrange()
    slide, session = labelled.slide, labelled.session
    scale = scale_of(slide)
    scores = labelled.scores.astype(np.float64)
    pixel = scale.mpp[0] * scale.mpp[1] * 1e-6 if scale.mpp else None
    areas, tissue = _measure(labelled, blocks=blocks)
    counted = areas if tissue is None else tissue
    rows = []
    for place, each in enumerate(labelled.classes):
        mine = labelled.labels == place
        n = int(mine.sum())
        rows.append(
            ClassRow(
                each.name,
                each.color,
                n,
                int((labelled.seeds == place).sum()),
                None if pixel is None else float(areas[place] * pixel),
                None if pixel is None or tissue is None else float(tissue[place] * pixel),
                float(counted[place] / max(counted.sum(), 1e-9)),
                float(scores[mine].mean()) if n else None,
                place,
            )
        )
    picture = draw(labelled, most_pixels=_MOST_PIXELS, image=image, blocks=blocks)
    if picture.lack:
        log.warning("%s; the labels are drawn without the slide", picture.lack)
    notes = []
    # Seeds that were read from a file, and not clicked, are none of the session's own.
    if session.is_stale and session.actions:
        notes.append("The seeds have changed since this run; the labels are those of the run.")
    if pixel is None:
        notes.append("The file does not say its µm per pixel, so areas are not known.")
    return Report(
        slide.name,
        tuple(rows),
        tuple(_facts(labelled, scale, session_name)),
        tuple(notes),
        picture,
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        _check(labelled),
    )


def _check(labelled: Labelled) -> Verification | None:
    """Return what a check tells, and that one tells nothing any more; None where there is nothing to tell."""
    found = verify(labelled.slide, labelled.session)
    return found if found.state in ("ready", "void") else None


def tell_figure(figure: Interval | None, *, percent: bool = False, digits: int = 2) -> str:
    """Return a figure with its range, as reports have it; "-" where there is none.

    Parameters
    ----------
    figure : Interval or None
    percent : bool, default=False
    digits : int, default=2

    Returns
    -------
    str
    """
    if figure is None:
        return "-"
    scale, decimals, unit = (100.0, 0, " %") if percent else (1.0, digits, "")
    value, low, high = (f"{scale * each:.{decimals}f}" for each in (figure.value, figure.low, figure.high))
    return f"{value}{unit} ({low} to {high})"


def _measure(labelled: Labelled, *, blocks: bool) -> tuple[Doubles, Doubles | None]:
    """Return the area of each class, and of the tissue in it where the file tells; level-0 pixels."""
    slide, n_classes = labelled.slide, len(labelled.classes)
    if not blocks:
        found = sharpen_labels(labelled)
        return measure_cells(found.cells, found.labels, n_classes)
    stride = scale_of(slide).stride
    square = stride[0] * stride[1]
    areas: Doubles = np.bincount(labelled.labels, minlength=n_classes).astype(np.float64) * square
    shares = read_tissue(slide.path)
    if shares is None or not shares.any():
        return areas, None
    tissue: Doubles = np.bincount(labelled.labels, shares, minlength=n_classes).astype(np.float64)
    return areas, tissue * square


def _facts(labelled: Labelled, scale: Scale, session_name: str) -> list[tuple[str, str]]:
    slide, session, run = labelled.slide, labelled.session, labelled.run
    users = dict.fromkeys(action.user for action in session.actions[: session.position] if action.user)
    titles = {each.name: each.title for each in slide.embeddings}
    size = slide_size_of(slide)
    told = [
        ("Session", session_name or "(shared)"),
        ("Annotated by", ", ".join(users) or "not known"),
        ("Labelled", _time(run.time)),
        ("Method", METHOD_TITLES[run.method]),
        ("Embedding", titles.get(run.embedding, run.embedding)),
        ("Border", _border(session)),
        ("Seeds", f"{int((labelled.seeds >= 0).sum()):,}"),
        ("Patches", _patches(slide, scale)),
    ]
    if size is not None:
        resolution = f", {_mpp(scale)} µm/px" if scale.mpp else ""
        told.append(("Slide", f"{size[0]:,} x {size[1]:,} px{resolution}"))
    if work := tell_effort(measure_effort(session)):
        told.append(("Work", work))
    told += tell_review(labelled)
    if labelled.unlike is not None:
        n = int(labelled.unlike.sum())
        told.append(("Unlike any seed", f"{n:,} {'patch' if n == 1 else 'patches'}"))
    return [
        *told,
        ("Version", f"tissuumaps-sic {run.version}"),
        ("Fingerprint", session.fingerprint),
    ]


def _border(session: Session) -> str:
    run = session.run
    assert run is not None
    if run.border is None:
        return "auto (the highest score)"
    return f"{session.run_classes[1].name} from a score of {run.border:.2f}"


def _patches(slide: EmbeddedSlide, scale: Scale) -> str:
    grid = read_provenance(slide.path).grid
    told = f"{slide.n_patches:,}"
    if grid.patch_size is not None and grid.target_mpp is not None:
        told += f" of {grid.patch_size:g} px at {grid.target_mpp:.3g} µm/px"
    if scale.mpp:
        told += f", every {scale.stride[0] * scale.mpp[0]:.3g} µm"
    return told


def _mpp(scale: Scale) -> str:
    assert scale.mpp is not None
    x, y = scale.mpp
    return f"{x:.4g}" if abs(x - y) <= 0.01 * x else f"{x:.4g} x {y:.4g}"


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return text


def write_report(
    labelled: Labelled,
    target: Path,
    render: Callable[[Report], bytes],
    *,
    image: Path | None = None,
    session_name: str = "",
    blocks: bool = False,
) -> None:
    """Write a report by a function that makes a file's bytes of it; all else as for `make_report`.

    Parameters
    ----------
    labelled : Labelled
    target : Path
    render : callable
    image : Path, optional
    session_name : str, default=""
    blocks : bool, default=False

    Raises
    ------
    ExportError, OSError
        As `make_report`, or when the file cannot be written.
    """
    content = render(make_report(labelled, image=image, session_name=session_name, blocks=blocks))
    with replacing(target) as temporary:
        temporary.write_bytes(content)
