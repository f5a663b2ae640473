"""The check of a slide's labels: drawn, asked and told, from a session and its slide."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from tissuumaps_sic.annotation.check_sample import MOST_RANDOM, CheckSample, require_sample
from tissuumaps_sic.annotation.classes import order_classes
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import labels_of
from tissuumaps_sic.annotation.session import Session, seed_vector
from tissuumaps_sic.slidefile.arrays import Doubles, Integers, Singles
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.slides.tissue import measure_patches
from tissuumaps_sic.verification.estimation import (
    Estimates,
    Interval,
    Tally,
    answers_to_halve,
    estimate,
    tally,
)
from tissuumaps_sic.verification.readers import ReaderAgreement, compare_answers
from tissuumaps_sic.verification.sampling import Design, order_patches, stratify

# Fewer tell next to nothing.
FEWEST_ANSWERS = 10
# How many answers a reader should aim for.
WANTED_ANSWERS = 40
# So far beyond the last question that was answered pages may ask ahead.
MOST_AHEAD = 50

# Patches whose order is found together.
_AT_ONCE = 200

State = Literal["none", "few", "void", "ready"]


@dataclass(frozen=True)
class ClassQuality:
    """How good the labels of one class are; None where there is nothing that a figure is of.

    Attributes
    ----------
    name, color : str
        "" is the colour of a class that the labels have not.
    patches : int
        How many are labelled so.
    answers : int
        How many of the patches that were asked about a reader says to be of it.
    precision, recall, f1 : Interval or None
        Which share of the patches that are labelled so are of it; which share of those that are of it are
        labelled so; both in one.
    area : Interval or None
        Of the tissue that is of it, mm², by whole patches; None where the resolution is not known.
    share : Interval
        Of all tissue, or where that is not told of all patches, 0 to 1.
    labelled_area : float or None
        Of what is labelled so, likewise, mm².
    """

    name: str
    color: str
    patches: int
    answers: int
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None
    area: Interval | None
    share: Interval
    labelled_area: float | None


@dataclass(frozen=True)
class Verification:
    """How good a slide's labels are, by the answers of a reader who did not see them.

    Attributes
    ----------
    state : "none", "few", "void" or "ready"
        Whether there is a check sample, whether it has `FEWEST_ANSWERS`, whether it holds for the labels that
        there are; only where it is "ready" there are figures.
    told : str
        The same for people, in a sentence.
    answers, unclear : int
        Patches that a reader told the class of; patches that were passed over or that nobody can tell, which
        are left out.
    accuracy : Interval or None
        Share of the patches whose label is right.
    classes : tuple of ClassQuality
        In the order in which people see them, the positive one first.
    halving : int or None
        About how many more answers would halve the interval of the F1 of `halved`.
    halved : str
        Name of a class: the positive one, or that with the widest interval where it has none.
    is_reweighted : bool
        Whether the labels are not those that the patches were drawn by.
    drawn, readers : str
        When the patches were drawn, and who answered.
    """

    state: State
    told: str
    answers: int = 0
    unclear: int = 0
    accuracy: Interval | None = None
    classes: tuple[ClassQuality, ...] = ()
    halving: int | None = None
    halved: str = ""
    is_reweighted: bool = False
    drawn: str = ""
    readers: str = ""


def begin_check(
    session: Session, scores: Singles, *, randomness: int | None = None, user: str = ""
) -> Session:
    """Draw a check sample of the labels of a session's last run, in place of any before it.

    Seeded patches are drawn like all others: of a lasso's patches nobody has looked at each, and the figures
    are of the whole slide. A few clicks change nothing either way.

    Parameters
    ----------
    session : Session
        With a run.
    scores : ndarray of shape (n_patches,), float32
        Of each patch's own label (`Labelled.scores`).
    randomness : int, optional
        What the order of the patches is made of, 0 to 2**53 - 1; by default the system's own.
    user : str, default=""
        Name of the reader.

    Returns
    -------
    Session
        The given one with the sample; `list_questions` tells which patches it asks about.

    Raises
    ------
    SessionError
        When there are no labels.

    References
    ----------
    As in `sampling.stratify`: strata by Dalenius and Hodges (1959), shares by Neyman (1934).
    """
    if session.run is None:
        raise SessionError("there are no labels to check; seed and run first")
    design = stratify(labels_of(session)[1], scores)
    drawn = secrets.randbelow(MOST_RANDOM + 1) if randomness is None else randomness
    return session.draw_sample(
        design.strata, design.shares.tolist(), randomness=drawn, run=session.run.identity, user=user
    )


def join_check(session: Session, other: Session, *, user: str = "") -> Session:
    """Begin the check sample of another reader's session, so that both are asked about the same patches.

    Parameters
    ----------
    session : Session
        The one that the sample is begun in.
    other : Session
        That of the other reader, which has one.
    user : str, default=""

    Returns
    -------
    Session

    Raises
    ------
    SessionError
        When the other has none, or is of another slide.
    """
    sample = other.sample
    if sample is None:
        raise SessionError("the other session has no check sample; begin one there first")
    if other.fingerprint != session.fingerprint:
        raise SessionError("the other session belongs to other patches; choose a session of this slide")
    strata = sample.unpack(session.seeds.index.n_patches)
    return session.draw_sample(strata, sample.shares, randomness=sample.randomness, run=sample.run, user=user)


def list_questions(
    slide: EmbeddedSlide, session: Session, n: int = 1, *, ahead: int = MOST_AHEAD
) -> list[int]:
    """Return the rows of the next patches that a reader is asked about, in order.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        With a check sample (`begin_check`).
    n : int, default=1
        How many at most.
    ahead : int, default=50
        How many questions beyond the last answered one may be asked.

    Returns
    -------
    list of int
        Rows of the slide; empty when all its patches were answered.

    Raises
    ------
    SessionError
        When there is no check sample.
    """
    rows, n_past = _open_questions(slide, session, ahead)
    return rows[n_past:][:n]


def require_question(slide: EmbeddedSlide, session: Session, row: int, *, ahead: int = MOST_AHEAD) -> str:
    """Return the name of a patch that is asked about, or was: parameters are those of `list_questions`.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
    row : int
    ahead : int, optional

    Returns
    -------
    str

    Raises
    ------
    SessionError
        When it is another one: answers to patches that somebody chose tell nothing of the slide.
    """
    if row not in _open_questions(slide, session, ahead)[0]:
        raise SessionError(
            f"patch {row} is not one of those that were chosen at random; answer those that are asked about"
        )
    return str(slide.patch_names[row])


def _open_questions(slide: EmbeddedSlide, session: Session, ahead: int) -> tuple[list[int], int]:
    """Return the patches that may be answered, and after how many of them the last is that was."""
    sample = require_sample(session.sample)
    answered = {slide.index[patch] for patch in session.answers if patch in slide.index}
    # What was passed over is answered later or never, so that the last may lie far behind.
    rows: list[int] = []
    n_past, n = 0, len(answered) + ahead
    while len(rows) < min(n_past + ahead, slide.n_patches):
        rows = _order_enough(slide, sample, n).tolist()
        n_past = max((place for place, row in enumerate(rows, 1) if row in answered), default=0)
        n += ahead
    return rows[: n_past + ahead], n_past


def verify(slide: EmbeddedSlide, session: Session) -> Verification:
    """Return how good the labels of a session's last run are, by the answers to its check sample.

    Nothing is run again, and the answers are compared with the labels of whole patches. Labels that have
    changed since the patches were drawn are judged by the same answers: the strata are those of the drawing,
    whatever is labelled now (Stehman 2014). Where a patch that was answered has become a seed of the labels
    they are no longer independent of the answers, and the check is void.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session

    Returns
    -------
    Verification
        Precision, recall and F1 of each class and the share of right labels, 0 to 1, and areas in mm², each
        with its 95 % interval, where there are `FEWEST_ANSWERS` or more.

    Raises
    ------
    SessionError
        When what is kept of the sample is damaged.

    References
    ----------
    As in `estimation`: Olofsson et al. 2014 and Stehman 2014 for the figures, Ericson 1969 for the intervals.
    """
    sample, run = session.sample, session.run
    if sample is None or run is None:
        return Verification("none", "The labels have not been checked.")
    rows, numbers = _read_answers(slide, session)
    is_told = numbers >= 0
    known: dict[str, Any] = {
        "answers": int(is_told.sum()),
        "unclear": int((~is_told).sum()),
        "drawn": sample.time,
        "readers": _name_readers(session),
        "is_reweighted": sample.run != run.identity,
    }
    void = _tell_void(slide, session, rows)
    if void:
        return Verification("void", void, **known)
    if known["answers"] < FEWEST_ANSWERS:
        told = f"{_patches(known['answers'])} answered; figures need at least {FEWEST_ANSWERS}."
        return Verification("few", told, **known)
    classes = _Classes.of(session)
    answers = np.array([classes.place(number) for number in numbers[is_told].tolist()])
    patches = measure_patches(slide)
    areas, mm2 = patches.shares, patches.mm2
    counts = tally(
        sample.unpack(slide.n_patches),
        classes.labels,
        areas,
        rows[is_told],
        answers,
        shares=np.array(sample.shares),
        n_classes=len(classes.names),
    )
    found = estimate(counts)
    label = _choose_halved(classes, found)
    return Verification(
        "ready",
        _tell(known),
        accuracy=found.accuracy,
        classes=_list_classes(classes, counts, found, areas, mm2),
        halving=answers_to_halve(counts, label),
        halved=classes.names[label],
        **known,
    )


def compare_checks(
    slide: EmbeddedSlide, session: Session, other: Session
) -> tuple[ReaderAgreement, tuple[str, ...]]:
    """Compare two readers' answers on the patches that both told the class of.

    Parameters
    ----------
    slide : EmbeddedSlide
    session, other : Session
        Of this slide.

    Returns
    -------
    agreement : ReaderAgreement
    names : tuple of str
        Of its classes; those of two sessions are the same when their names are.
    """
    first, second = (_name_answers(each) for each in (session, other))
    both = [patch for patch in first if patch in second and patch in slide.index]
    said = [[each[patch] for patch in both] for each in (first, second)]
    names = tuple(dict.fromkeys([*(each.name for each in session.classes), *said[0], *said[1]]))
    coded = [np.array([names.index(name) for name in each], np.int64) for each in said]
    return compare_answers(coded[0], coded[1], len(names)), names


def _name_answers(session: Session) -> dict[str, str]:
    known = session.state.known
    return {patch: known[each].name for patch, each in session.answers.items() if each is not None}


@dataclass(frozen=True, eq=False)
class _Classes:
    """The classes that labels and answers are of, and the labels by their places among them."""

    names: list[str]
    colors: list[str]
    labels: Integers
    positive: int
    by_number: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> _Classes:
        classes, labels = labels_of(session)
        names, colors = [each.name for each in classes], [each.color for each in classes]
        by_number: dict[int, int] = {}
        for number in session.answers.values():
            if number is None or number in by_number:
                continue
            # What the labels have not is still what a reader says: none of it was labelled so.
            seed_class = session.state.known[number]
            if seed_class.name not in names:
                names.append(seed_class.name)
                colors.append(seed_class.color)
            by_number[number] = names.index(seed_class.name)
        positive = names.index(session.run_classes[1].name)
        return cls(names, colors, labels.astype(np.int64), positive, by_number)

    def place(self, number: int) -> int:
        return self.by_number[number]


@lru_cache(maxsize=8)
def _order(sample: CheckSample, n_patches: int, n: int) -> Integers:
    design = Design(sample.unpack(n_patches), np.array(sample.shares))
    return order_patches(design, sample.randomness, n)


def _order_enough(slide: EmbeddedSlide, sample: CheckSample, n: int) -> Integers:
    """Return the first patches that are asked about, `n` or more: found once for many answers."""
    return _order(sample, slide.n_patches, -(-n // _AT_ONCE) * _AT_ONCE)


def _read_answers(slide: EmbeddedSlide, session: Session) -> tuple[Integers, Integers]:
    """Return the patches that were asked about and the numbers of their classes, -1 where nobody can tell.

    Patches that were passed over count as such: what comes after them was asked about, and they were too.
    Answers to others than were drawn, in a file that somebody changed, are left out.
    """
    rows, n_past = _open_questions(slide, session, MOST_AHEAD)
    given = session.answers
    said = [given.get(str(slide.patch_names[row])) for row in rows[:n_past]]
    numbers = np.array([-1 if each is None else each for each in said], np.int64)
    return np.array(rows[:n_past], np.int64), numbers


def _tell_void(slide: EmbeddedSlide, session: Session, rows: Integers) -> str:
    """Return why a check says nothing of the labels, in words; "" where it does.

    What counts is the seeds that the labels come of, and whether they were there when the patches were drawn.
    """
    state, run = session.state, session.run
    assert run is not None
    assert state.drawn_labels is not None
    now = seed_vector(slide, run.seeds)[rows]
    before = np.full(slide.n_patches, -1, np.int64)
    n_kept = min(slide.n_patches, len(state.drawn_labels))
    before[:n_kept] = state.drawn_labels[:n_kept]
    numbers = np.array([*(run.class_numbers or range(len(session.initial_classes))), -1])
    drawn = np.array([*state.drawn_numbers, -1])
    n_used = int(((now >= 0) & (numbers[now] != drawn[before[rows]])).sum())
    if not n_used:
        return ""
    were = "is a seed" if n_used == 1 else "are seeds"
    return (
        f"Void: {n_used} of the patches that were asked about {were} of the present labels, which are "
        "therefore better there than elsewhere. Begin another check."
    )


def _name_readers(session: Session) -> str:
    answered = session.actions[: session.position]
    users = dict.fromkeys(each.user for each in answered if each.kind == "verify-answer" and each.user)
    return ", ".join(users)


def _choose_halved(classes: _Classes, found: Estimates) -> int:
    if found.f1[classes.positive] is not None:
        return classes.positive
    widths = [-1.0 if each is None else each.width for each in found.f1]
    return int(np.argmax(widths))


def _list_classes(
    classes: _Classes, counts: Tally, found: Estimates, areas: Doubles, mm2: float | None
) -> tuple[ClassQuality, ...]:
    n_patches = np.bincount(classes.labels, minlength=len(classes.names))
    labelled = np.bincount(classes.labels, areas, minlength=len(classes.names))
    answers, total = counts.answers.sum(axis=0), max(float(areas.sum()), 1e-9)
    rows = []
    for label in _sort_labels(classes):
        if not n_patches[label] and not answers[label]:
            continue
        area = found.area[label]
        rows.append(
            ClassQuality(
                classes.names[label],
                classes.colors[label],
                int(n_patches[label]),
                int(answers[label]),
                found.precision[label],
                found.recall[label],
                found.f1[label],
                None if mm2 is None else area.scale(mm2),
                area.scale(1 / total),
                None if mm2 is None else float(labelled[label]) * mm2,
            )
        )
    return tuple(rows)


def _sort_labels(classes: _Classes) -> Sequence[int]:
    listed = order_classes(len(classes.names))
    return sorted(listed, key=lambda label: label != classes.positive)


def _tell(known: dict[str, Any]) -> str:
    """Return what figures rest on, for people."""
    told = (
        f"By {_patches(known['answers'])} chosen at random and judged without seeing the labels; the ranges "
        "hold the true figure 95 times in 100."
    )
    if known["unclear"]:
        n = known["unclear"]
        told += f" {n} more could not be told and {'is' if n == 1 else 'are'} left out."
    if known["is_reweighted"]:
        told += (
            " The labels have changed since the patches were chosen; the answers hold for the new ones too, "
            "since none of those patches became a seed."
        )
    return told


def _patches(n: int) -> str:
    return f"{n:,} patch" if n == 1 else f"{n:,} patches"


def list_rows(found: Verification) -> list[tuple[str, ...]]:
    """Return the figures as a table: a row for each class and measure.

    Parameters
    ----------
    found : Verification

    Returns
    -------
    list of tuple of str
        The header first: class, measure (precision, recall, f1, mm2, accuracy), value, low, high, answers,
        state.
    """
    rows: list[tuple[str, ...]] = [("class", "measure", "value", "low", "high", "answers", "state")]
    for each in found.classes:
        figures = {"precision": each.precision, "recall": each.recall, "f1": each.f1, "mm2": each.area}
        rows += [
            _row(each.name, name, figure, found) for name, figure in figures.items() if figure is not None
        ]
    if found.accuracy is not None:
        rows.append(_row("", "accuracy", found.accuracy, found))
    return rows


def _row(name: str, measure: str, figure: Interval, found: Verification) -> tuple[str, ...]:
    numbers = (f"{each:.6g}" for each in (figure.value, figure.low, figure.high))
    return (name, measure, *numbers, str(found.answers), found.state)
