"""What a person can do to a session, and how the actions of a history come to its present state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from tissuumaps_sic.annotation.check_sample import CheckSample
from tissuumaps_sic.annotation.classes import NumberedClass, SeedClass
from tissuumaps_sic.annotation.loans import Loan
from tissuumaps_sic.annotation.patch_rows import PatchIndex, PatchRows
from tissuumaps_sic.annotation.records import Reading, Record, to_line
from tissuumaps_sic.annotation.remarks import LONGEST_NOTE, Check, Note, Outline, StoredBox
from tissuumaps_sic.annotation.state import State

# What is worth keeping between two kept states of a session: microseconds of doing actions.
_SPACING, _MOST_STATES = 30_000, 12


def now() -> str:
    """Return the time as sessions note it.

    Returns
    -------
    str
    """
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Action(Record):
    time: str = Field(default_factory=now)
    # Who did it, where that is known.
    user: str = Field(default="", max_length=60)

    @property
    def n_patches(self) -> int:
        """How many patches it names."""
        return 0

    @property
    def line(self) -> str:
        """Itself as JSON, patches by their names."""
        return self.model_dump_json()

    @cached_property
    def packed_line(self) -> str:
        """Itself as JSON, what may be large packed."""
        return self.line

    def _apply(self, state: State) -> None:
        raise NotImplementedError


def _read_patches(given: Any, info: ValidationInfo) -> PatchRows:
    if not isinstance(given, list | tuple | PatchRows) or not given:
        raise ValueError("is not a list of one patch or more")
    if isinstance(given, PatchRows):
        return given
    wrong = next((place for place, name in enumerate(given) if not isinstance(name, str)), None)
    if wrong is not None:
        raise ValueError(f"[{wrong}] is {str(given[wrong])[:60]!r}, not the name of a patch")
    try:
        "".join(given).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds {error.object[error.start]!a}, which is not a character") from error
    reading = Reading.of(info)
    index = reading.index if reading else PatchIndex()
    return PatchRows(index, index.rows_of(given))


class SeedAction(_Action):
    """Patches were given a class, or (`label` None) lost theirs."""

    kind: Literal["seed"] = "seed"
    label: int | None = Field(ge=0)
    patches: Annotated[PatchRows, PlainValidator(_read_patches), PlainSerializer(list)]

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _read_rows(cls, data: Any, info: ValidationInfo) -> Any:
        reading = Reading.of(info)
        if not isinstance(data, dict) or "rows" not in data or "patches" in data or reading is None:
            return data
        try:
            patches = PatchRows.read(reading.index, data["rows"])
        except ValueError as error:
            raise ValueError(f"rows: {error}") from error
        return {key: value for key, value in data.items() if key != "rows"} | {"patches": patches}

    @property
    def n_patches(self) -> int:
        """How many patches it names."""
        return len(self.patches)

    @cached_property
    def packed_line(self) -> str:
        """Itself as JSON, patches by their rows."""
        return to_line({**self.model_dump(exclude={"patches"}), "rows": self.patches.kept})

    def _apply(self, state: State) -> None:
        state.seed(self.patches, self.label)


class BringAction(_Action):
    """Seeds of several classes were taken from a file, and the classes that it needed with them.

    Versions before 0.2 do not know it.
    """

    kind: Literal["bring"] = "bring"
    # The file's name.
    source: str = Field(default="", max_length=300)
    parts: tuple[SeedAction, ...] = Field(min_length=1)
    # Classes that the session had not.
    added: tuple[NumberedClass, ...] = ()
    # Whether they took the place of the classes that a session begins with, none of which was used.
    replaces: bool = False

    @property
    def n_patches(self) -> int:
        """How many patches it names."""
        return sum(each.n_patches for each in self.parts)

    @cached_property
    def packed_line(self) -> str:
        """Itself as JSON, patches by their rows."""
        parts = [{**each.model_dump(exclude={"patches"}), "rows": each.patches.kept} for each in self.parts]
        return to_line({**self.model_dump(exclude={"parts"}), "parts": parts})

    def _apply(self, state: State) -> None:
        state.take_classes(self.added, replaces=self.replaces)
        for each in self.parts:
            state.seed(each.patches, each.label)


class ClearAction(_Action):
    """All seeds of this slide were removed."""

    kind: Literal["clear"] = "clear"

    def _apply(self, state: State) -> None:
        state.clear()


class AddClassAction(_Action):
    """A class was added after the others."""

    kind: Literal["add-class"] = "add-class"
    # Never that of another class, one that was undone included: an earlier run may still have labels of it.
    number: int = Field(ge=0)
    name: str
    color: str

    def _apply(self, state: State) -> None:
        state.add_class(self.number, SeedClass(name=self.name, color=self.color))


class EditClassAction(_Action):
    """A class was renamed or recoloured."""

    kind: Literal["edit-class"] = "edit-class"
    label: int = Field(ge=0)
    name: str
    color: str

    def _apply(self, state: State) -> None:
        state.edit_class(self.label, SeedClass(name=self.name, color=self.color))


class RemoveClassAction(_Action):
    """A class was removed; its seeds went to the class `into`, or (None) with it."""

    kind: Literal["remove-class"] = "remove-class"
    label: int = Field(ge=0)
    into: int | None = Field(default=None, ge=0)

    def _apply(self, state: State) -> None:
        state.remove_class(self.label, self.into)


class BorrowAction(_Action):
    """Seeds of another slide were taken over, in place of what was borrowed from it before."""

    kind: Literal["borrow"] = "borrow"
    loan: Loan
    # Classes that this session had not.
    added: tuple[NumberedClass, ...] = ()
    # Whether they took the place of the classes that a session begins with, none of which was used.
    replaces: bool = False

    @property
    def n_patches(self) -> int:
        """How many patches it names."""
        return len(self.loan.seeds)

    @cached_property
    def packed_line(self) -> str:
        """Itself as JSON, what is borrowed packed."""
        return to_line({**self.model_dump(exclude={"loan"}), "loan": self.loan.pack()})

    def _apply(self, state: State) -> None:
        state.borrow(self.loan, self.added, replaces=self.replaces)


class ReturnAction(_Action):
    """What was borrowed from a slide was dropped."""

    kind: Literal["return"] = "return"
    path: str

    def _apply(self, state: State) -> None:
        state.give_back(self.path)


class SkipAction(_Action):
    """A reader could not tell which class some patches are of; they are not asked about again."""

    kind: Literal["skip"] = "skip"
    patches: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(min_length=1)

    @property
    def n_patches(self) -> int:
        """How many patches it names."""
        return len(self.patches)

    def _apply(self, state: State) -> None:
        state.skipped |= frozenset(self.patches)


class NoteAction(_Action):
    """A note was written, written anew, or (`text` "") removed; members are those of `Note`."""

    kind: Literal["note"] = "note"
    number: int = Field(ge=0)
    text: str = Field(max_length=LONGEST_NOTE)
    patch: str = Field(default="", max_length=1000)
    box: StoredBox | None = None
    outline: Outline | None = None

    def _apply(self, state: State) -> None:
        if self.text:
            state.notes[self.number] = Note(**self.model_dump(exclude={"kind"}))
        elif state.notes.pop(self.number, None) is None:
            raise LookupError(f"no note {self.number}")


class CheckAction(_Action):
    """A reader said that the slide is done, or (`checked` false) that it is not."""

    kind: Literal["check"] = "check"
    checked: bool = True

    def _apply(self, state: State) -> None:
        state.checked = Check(time=self.time, user=self.user) if self.checked else None


class VerifyStartAction(_Action):
    """A check sample was drawn, in place of any before it; members are those of `CheckSample`."""

    kind: Literal["verify-start"] = "verify-start"
    sample: CheckSample

    def _apply(self, state: State) -> None:
        state.draw(self.sample)


class VerifyAnswerAction(_Action):
    """A reader said, without seeing its label, which class a patch of the check sample is of.

    `number` is that which the class keeps; None where the reader cannot tell.
    """

    kind: Literal["verify-answer"] = "verify-answer"
    patch: str = Field(max_length=1000)
    number: int | None = Field(ge=0)

    @property
    def n_patches(self) -> int:
        """How many patches it names."""
        return 1

    def _apply(self, state: State) -> None:
        state.answer(self.patch, self.number)


# What says something of a slide and changes nothing of its labels; versions before 0.2 do not know them.
REMARKS = (SkipAction, NoteAction, CheckAction, VerifyStartAction, VerifyAnswerAction)

Action = Annotated[
    SeedAction
    | BringAction
    | ClearAction
    | AddClassAction
    | EditClassAction
    | RemoveClassAction
    | BorrowAction
    | ReturnAction
    | SkipAction
    | NoteAction
    | CheckAction
    | VerifyStartAction
    | VerifyAnswerAction,
    Field(discriminator="kind"),
]


def do(state: State, action: Action) -> None:
    """Do one more action to a state; what cannot be done is a `LookupError`.

    Parameters
    ----------
    state : State
    action : Action
    """
    state.cost += 10.0 + 0.02 * action.n_patches
    action._apply(state)
    if not isinstance(action, REMARKS):
        state.outdate_check()


def fold(
    states: Mapping[int, State],
    actions: Sequence[Action],
    position: int,
    *,
    classes: Sequence[SeedClass],
    n_patches: int,
    n_packed: int = 0,
) -> dict[int, State]:
    """Return what some numbers of actions come to, `position` among them, from the nearest that is known.

    A session began with `classes` on a slide of `n_patches`; `n_packed` of its actions stand in the history
    of its file. Nobody may change a state that is kept here.

    Parameters
    ----------
    states : mapping of int to State
    actions : sequence of Action
    position : int
    classes : sequence of SeedClass
    n_patches : int
    n_packed : int, default=0

    Returns
    -------
    dict of int to State

    Raises
    ------
    ValueError
        When one of the actions cannot have been.
    """
    start = max((number for number in states if number < position), default=0)
    state = states[start].copy() if start in states else State.start(classes, n_patches)
    kept = dict(states)
    noted = state.cost
    for number in range(start, position):
        try:
            do(state, actions[number])
        except (LookupError, ValidationError) as error:
            place = name_place(number, n_packed)
            raise ValueError(f"{place}: names a class that did not exist then ({error!r})") from error
        if state.cost - noted >= _SPACING and number + 1 < position:
            kept[number + 1], noted = state.copy(), state.cost
    kept[position] = state
    return _thin(kept, position)


def act(states: Mapping[int, State], position: int, action: Action) -> dict[int, State]:
    """Return states, as `fold` does, after one action that takes the place of those beyond `position`.

    Parameters
    ----------
    states : mapping of int to State
    position : int
    action : Action

    Returns
    -------
    dict of int to State
    """
    state = states[position].copy()
    do(state, action)
    kept = {number: known for number, known in states.items() if number <= position}
    return _thin({**kept, position + 1: state}, position + 1)


def _thin(states: dict[int, State], now: int) -> dict[int, State]:
    """Return those of some states that are worth their memory, that after `now` actions in any case."""
    total = max(each.cost for each in states.values())
    spacing = max(_SPACING, total / _MOST_STATES)
    kept, last = {}, 0.0
    for place in sorted(states):
        if place == now:
            kept[place] = states[place]
        elif states[place].cost >= last + spacing:
            kept[place], last = states[place], states[place].cost
    return kept


def name_place(number: int, n_packed: int) -> str:
    """Return where in a file the action of a number stands.

    Parameters
    ----------
    number : int
    n_packed : int

    Returns
    -------
    str
    """
    return f"action {number} of the history" if number < n_packed else f"actions[{number - n_packed}]"
