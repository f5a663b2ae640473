"""What happened in a session, in words: for undo to say what it undoes, and to go back to any point of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tissuumaps_sic.annotation.actions import (
    REMARKS,
    Action,
    AddClassAction,
    BorrowAction,
    BringAction,
    CheckAction,
    ClearAction,
    EditClassAction,
    NoteAction,
    RemoveClassAction,
    ReturnAction,
    SeedAction,
    SkipAction,
    VerifyAnswerAction,
    VerifyStartAction,
    do,
)
from tissuumaps_sic.annotation.classes import SeedClass, order_classes
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.state import State

# Letters of a note that a step tells.
_LONGEST_TOLD = 40


@dataclass(frozen=True)
class Step:
    """One action, as a person reads of it.

    Attributes
    ----------
    branch : int or None
        The branch that it is on; None is the trunk.
    position : int
        How many actions there are on its line with it: where `Session.restore` goes to.
    text : str
        What was done.
    time : str
        When, as the session notes it.
    user : str
        By whom; "" where that is not known.
    n : int
        Of how many patches, where several steps are told as one; else 0.
    together : str
        What several such steps are called after their number, "" where each is told by itself.
    """

    branch: int | None
    position: int
    text: str
    time: str
    user: str
    n: int = 0
    together: str = ""


def list_steps(session: Session) -> list[Step]:
    """Return every step of a session: those of the trunk from the first on, then those of each branch.

    Parameters
    ----------
    session : Session

    Returns
    -------
    list of Step
    """
    names = _Names(session.initial_classes)
    at: dict[tuple[int | None, int], _Names] = {}
    # Branches leave a line somewhere on it: its classes there are kept for them.
    leaving = {(each.on, each.at) for each in session.branches}
    steps = []
    for branch, start, actions in _walk(session):
        if branch is not None:
            on = next(each.on for each in session.branches if each.number == branch)
            names = at[on, start].copy()
        if (branch, start) in leaving:
            at[branch, start] = names.copy()
        for position, action in enumerate(actions, start + 1):
            told = names.tell(action), action.time, action.user
            steps.append(Step(branch, position, *told, *_tell_together(action, names.classes)))
            if (branch, position) in leaving:
                at[branch, position] = names.copy()
    return steps


def _walk(session: Session) -> Iterator[tuple[int | None, int, Sequence[Action]]]:
    """Yield the trunk and each branch after the line that it leaves: number, start and actions."""
    yield None, 0, session.actions
    # A branch begins further on than the one that it leaves.
    for each in sorted(session.branches, key=lambda branch: branch.at):
        yield each.number, each.at, each.actions


def tell_undo(session: Session) -> Step | None:
    """Return the step that undo would take back; None where there is nothing to undo.

    Parameters
    ----------
    session : Session

    Returns
    -------
    Step or None
    """
    if not session.can_undo:
        return None
    return _tell(session, session.position - 1)


def tell_redo(session: Session) -> Step | None:
    """Return the step that redo would do again; None where there is nothing to do again.

    Parameters
    ----------
    session : Session

    Returns
    -------
    Step or None
    """
    if not session.can_redo:
        return None
    return _tell(session, session.position)


def _tell(session: Session, place: int) -> Step:
    action = session.actions[place]
    # Seeds change no class, so that the present ones tell their names, whatever came before.
    if isinstance(action, SeedAction):
        text = _tell_seeds(action, session.classes)
    else:
        names = _Names(session.initial_classes)
        for each in session.actions[:place]:
            names.follow(each)
        text = names.tell(action)
    return Step(None, place + 1, text, action.time, action.user)


def tell_restoring(session: Session, restored: Session) -> str:
    """Return in words what going to a point of the history changes.

    Parameters
    ----------
    session : Session
    restored : Session

    Returns
    -------
    str
    """
    before, after = _seeds_by_name(session), _seeds_by_name(restored)
    changes = []
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            changes.append(f"class “{name}” is removed, with {_count(before[name], 'seed')}")
        elif name not in before:
            changes.append(f"class “{name}” comes back, with {_count(after[name], 'seed')}")
        elif before[name] != after[name]:
            changes.append(f"{name}: {before[name]:,} → {_count(after[name], 'seed')}")
    moved = _count_moved(session, restored)
    if not changes and moved:
        changes.append(f"other classes for {_count(moved, 'seeded patch', 'seeded patches')}")
    if [each.path for each in session.loans] != [each.path for each in restored.loans]:
        changes.append("other seeds are borrowed from other slides")
    told = "; ".join(changes) if changes else "the same seeds and classes as now"
    return f"{told}. What is there now stays in this list, and the labels stay until the next run."


def _seeds_by_name(session: Session) -> dict[str, int]:
    classes, counts = session.classes, session.seed_counts
    return {classes[label].name: counts[label] for label in order_classes(len(classes))}


def _count_moved(session: Session, restored: Session) -> int:
    one, other = session.state.labels, restored.state.labels
    n = min(len(one), len(other))
    return int(np.count_nonzero(one[:n] != other[:n]))


@dataclass
class _Names:
    """The classes at a point of a line, without the seeds: a walk through a long history is quick."""

    initial: Sequence[SeedClass]
    _state: State = field(init=False)

    def __post_init__(self) -> None:
        self._state = State.start(self.initial, 0)

    @property
    def classes(self) -> Sequence[SeedClass]:
        """As they are at this point."""
        return self._state.classes

    def copy(self) -> _Names:
        copied = _Names(self.initial)
        copied._state = self._state.copy()
        return copied

    def follow(self, action: Action) -> None:
        if isinstance(action, BringAction):
            self._state.take_classes(action.added, replaces=action.replaces)
        elif not isinstance(action, (SeedAction, ClearAction, *REMARKS)):
            do(self._state, action)

    def tell(self, action: Action) -> str:
        """Follow an action, and return what it does in words."""
        before = list(self._state.classes)
        lenders = {path: loan.slide for path, loan in self._state.loans.items()}
        self.follow(action)
        return _describe(action, before, lenders)


def _describe(action: Action, classes: Sequence[SeedClass], lenders: dict[str, str]) -> str:
    """Return what an action does to these classes, in words; `lenders` are slides by their paths."""
    match action:
        case SeedAction():
            return _tell_seeds(action, classes)
        case ClearAction():
            return "all seeds cleared"
        case AddClassAction():
            return f"class “{action.name}” added"
        case EditClassAction():
            before = classes[action.label].name
            renamed = f"“{before}” renamed to “{action.name}”"
            return renamed if before != action.name else f"“{before}” in another colour"
        case RemoveClassAction(into=None):
            return f"class “{classes[action.label].name}” removed"
        case RemoveClassAction():
            assert action.into is not None
            return f"“{classes[action.label].name}” merged into “{classes[action.into].name}”"
        case BringAction():
            return f"{_count(action.n_patches, 'seed')} from {action.source or 'a file'}"
        case BorrowAction():
            return f"{_count(len(action.loan.seeds), 'seed')} of {action.loan.slide} borrowed"
        case ReturnAction():
            return f"the seeds of {lenders.get(action.path, action.path)} dropped"
        case _:
            return _describe_remark(action)


def _describe_remark(action: Action) -> str:
    """Return what somebody said beside the seeds, in words."""
    match action:
        case SkipAction():
            return f"{_count(len(action.patches), 'patch', 'patches')} that one cannot tell"
        case NoteAction():
            return f"note “{_shorten(action.text)}”" if action.text else "a note removed"
        case CheckAction():
            return "the slide reviewed" if action.checked else "no longer reviewed"
        case VerifyStartAction():
            return "a check sample drawn"
        case VerifyAnswerAction():
            return "an answer to the check sample"
        case _:
            return "a change"


def _tell_together(action: Action, classes: Sequence[SeedClass]) -> tuple[int, str]:
    """Return `Step.n` and `Step.together` of an action."""
    match action:
        case SeedAction(label=None):
            return len(action.patches), "seeds taken back"
        case SeedAction():
            assert action.label is not None
            return len(action.patches), f"seeds of {classes[action.label].name}"
        case SkipAction():
            return len(action.patches), "patches that one cannot tell"
        case VerifyAnswerAction():
            return 1, "answers to the check sample"
        case _:
            return 0, ""


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TOLD else f"{line[: _LONGEST_TOLD - 1]}…"


def _tell_seeds(action: SeedAction, classes: Sequence[SeedClass]) -> str:
    n = len(action.patches)
    if action.label is None:
        return f"{_count(n, 'seed')} taken back"
    return f"{_count(n, 'seed')} of {classes[action.label].name}"


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
