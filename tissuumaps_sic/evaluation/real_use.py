"""How good labels became click by click, in a session that a person made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tissuumaps_sic.annotation.actions import ClearAction, SeedAction
from tissuumaps_sic.annotation.effort import sum_work
from tissuumaps_sic.annotation.lending import guests_of
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, labels_of
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.truth.classes import UNCOUNTED, TruthError
from tissuumaps_sic.truth.truth import Truth
from tissuumaps_sic.verification.check import verify

CHECK, TRUTH = "check", "truth"
# Up to so many clicks each is followed; then twelve between a number and its tenfold.
_EACH = 20
_A_DECADE = 12


@dataclass(frozen=True)
class Point:
    """How good the labels of one class were after some clicks.

    Attributes
    ----------
    clicks : int
        As `Effort.clicks` counts them, but for those that were undone.
    minutes : float
        Of work until then, all readers' together, pauses left out.
    seeds : int
        Patches that were seeds then.
    name : str
        The class.
    f1 : float
        Of the labels that these seeds give, 0 to 1.
    low, high : float or None
        By a check, the ends of the 95 % interval; None by a truth, which is known of every patch.
    by : "check" or "truth"
    """

    clicks: int
    minutes: float
    seeds: int
    name: str
    f1: float
    low: float | None
    high: float | None
    by: str


def follow_session(slide: EmbeddedSlide, session: Session, truth: Truth | None = None) -> list[Point]:
    """Return how good the labels were after each click of a session, or after some of many.

    The labels of the seeds that there were are made anew, by the method of the session's last run; borrowed
    seeds count from when they were borrowed. What was undone later is passed over.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
    truth : Truth, optional
        Of every patch, classes matched by name; without it the answers of the session's check tell.

    Returns
    -------
    list of Point
        From the click on from which two classes have seeds; empty where there is neither a truth nor a check
        with answers enough.

    Raises
    ------
    SessionError
        When labels cannot be made.
    TruthError
        When the truth has no class of the session.
    """
    if truth is not None:
        _require_classes(truth, session)
    elif verify(slide, session).state != "ready":
        return []
    method = session.run.method if session.run else DEFAULT_METHOD
    points: list[Point] = []
    for clicks, position in _choose_positions(session):
        then = session.restore(position)
        if len({*then.seeds.values(), *_lent(then)}) < 2:
            continue
        guests = guests_of(slide, then.loans)
        run, _ = cluster(slide, then.classes, then.seeds, method=method, guests=guests)
        then = then.with_run(run)
        figures = (
            _measure_by_truth(then, truth) if truth is not None else _measure_by_check(slide, session, then)
        )
        minutes = sum_work(_times_until(session, position)) / 60.0
        points += [Point(clicks, minutes, len(then.seeds), *each) for each in figures]
    return points


def _lent(session: Session) -> Iterator[int]:
    for loan in session.loans:
        yield from loan.seeds.values()


def _choose_positions(session: Session) -> list[tuple[int, int]]:
    """Return numbers of clicks, and after how many actions each was reached."""
    is_click = [isinstance(each, SeedAction | ClearAction) for each in session.actions[: session.position]]
    places = np.flatnonzero(is_click) + 1
    steps = np.unique(np.round(np.logspace(0, 6, 6 * _A_DECADE + 1))).astype(int)
    counts = {*range(1, min(_EACH, len(places)) + 1), *steps[steps <= len(places)].tolist(), len(places)}
    return [(count, int(places[count - 1])) for count in sorted(counts - {0})]


def _times_until(session: Session, position: int) -> list[str]:
    """Return when something was done until an action, what was undone since included."""
    last = session.actions[position - 1].time
    return sorted(each.time for each in session.every_action if each.time <= last)


Figure = tuple[str, float, float | None, float | None, str]


def _measure_by_check(slide: EmbeddedSlide, session: Session, then: Session) -> Iterator[Figure]:
    """Yield the figures of labels of before, by the answers to a check that was drawn later."""
    found = verify(slide, session.model_copy(update={"run": then.run}))
    for each in found.classes if found.state == "ready" else ():
        if each.f1 is not None:
            yield each.name, each.f1.value, each.f1.low, each.f1.high, CHECK


def _measure_by_truth(then: Session, truth: Truth) -> Iterator[Figure]:
    from sklearn.metrics import f1_score

    classes, labels = labels_of(then)
    # What the truth does not name is wrong wherever it is labelled.
    code = np.array([_find(truth.names, each.name) for each in classes])
    counted = truth.labels != UNCOUNTED
    scores = f1_score(
        truth.labels[counted],
        code[labels[counted]],
        labels=range(len(truth.names)),
        average=None,
        zero_division=0,
    )
    for name, score in zip(truth.names, scores, strict=True):
        yield name, float(score), None, None, TRUTH


def _find(names: Sequence[str], name: str) -> int:
    folded = [each.casefold() for each in names]
    return folded.index(name.casefold()) if name.casefold() in folded else len(names)


def _require_classes(truth: Truth, session: Session) -> None:
    named = {each.name.casefold() for each in session.classes}
    missing = [name for name in truth.names if name.casefold() not in named]
    if missing:
        known = ", ".join(each.name for each in session.classes)
        raise TruthError(
            f"the session has no class {missing[0]}; its classes are {known}; give those of the truth the "
            "same names (--class NAME=VALUE)"
        )
    if len(truth.labels) < session.n_patches:
        raise SessionError(
            "the session has patches that the slide does not have; give the h5ad that it was made on"
        )
