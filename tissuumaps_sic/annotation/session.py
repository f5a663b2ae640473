"""What a person did to one slide: classes, seeds in order, undo and redo, and the labels of the last run.

A session is a value: every change returns a new one. What its file holds is told in `document`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from tissuumaps_sic.annotation.actions import (
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
    act,
    fold,
    now,
)
from tissuumaps_sic.annotation.branches import Branch, bring_back, cut, require_whole
from tissuumaps_sic.annotation.check_sample import CheckSample, require_sample
from tissuumaps_sic.annotation.classes import (
    DEFAULT_CLASSES,
    FEWEST_CLASSES,
    MOST_CLASSES,
    NumberedClass,
    SeedClass,
    next_color,
    require_new_name,
    require_room,
)
from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.loans import Loan, seeds_by_path
from tissuumaps_sic.annotation.patch_rows import PatchIndex, PatchRows, SeedMap, pack, unpack
from tissuumaps_sic.annotation.records import Reading, Record, SessionError
from tissuumaps_sic.annotation.remarks import Box, Check, Note
from tissuumaps_sic.annotation.state import State

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide

SCHEMA: Literal["tissuumaps-sic/session/3"] = "tissuumaps-sic/session/3"
# The first schema had two classes that could not be added to, the second no seeds of other slides; nothing
# else differs. The fourth packs what is large, and is written where that is worth it: what needs no packing
# older versions can open too. The fifth has branches, readers, skipped patches, notes, checks, check
# samples and what was seen, and is written where there are some: older versions, which would lose them,
# refuse it.
PACKED_SCHEMA, NEWEST_SCHEMA, NEWEST = "tissuumaps-sic/session/4", "tissuumaps-sic/session/5", 5
_OTHER_SCHEMAS = ("tissuumaps-sic/session/1", "tissuumaps-sic/session/2", PACKED_SCHEMA, NEWEST_SCHEMA)
# Names of sessions are no longer than this.
_ReaderName = Annotated[str, Field(max_length=40)]
# Whole numbers of JavaScript are exact up to 2**53, so that no page could send a larger revision back.
_REVISIONS = 2**53 - 1


class Session(Record):
    """The seeds of one slide and how they came about.

    A session is begun by `new` or read by `store.load_session`, and run by `runs.label`. Methods that change
    something return another session; patches go by their names in the h5ad's ``obs``, or by their rows.

    Attributes
    ----------
    schema_ : str
        "tissuumaps-sic/session/3", whichever version the file was of; ``schema`` in the file.
    slide, fingerprint : str
        The slide's name, and the fingerprint of the patches that the seeds belong to.
    initial_classes : tuple of SeedClass
        What it began with; ``classes`` in the file.
    actions : tuple of Action
        In order; those from `position` on have been undone and can be done again.
    position : int
        How many actions count.
    revision : int
        Grows by one with every change, so that two open pages never overwrite each other unseen.
    run : Run or None
        The last run.
    branches : tuple of Branch
        What was undone and then replaced by something else.
    readers : tuple of str
        Names of the sessions that this one is the consensus of; empty where it is none.
    seen : str
        Which patches were looked at closely: a bit a patch, `np.packbits`, as `pack` has it; "" is none.
    """

    schema_: Literal["tissuumaps-sic/session/3"] = Field(default=SCHEMA, alias="schema")
    slide: str
    fingerprint: str
    initial_classes: tuple[SeedClass, ...] = Field(
        default=DEFAULT_CLASSES, min_length=2, max_length=MOST_CLASSES, alias="classes"
    )
    actions: tuple[Action, ...] = ()
    position: int = Field(default=0, ge=0)
    revision: int = Field(default=0, ge=0)
    run: Run | None = None
    branches: tuple[Branch, ...] = ()
    readers: tuple[_ReaderName, ...] = ()
    seen: str = ""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    _index: PatchIndex = PrivateAttr(default_factory=PatchIndex)
    # What the first so many actions come to, of some numbers of actions; never changed once it is here.
    _states: dict[int, State] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("schema") in _OTHER_SCHEMAS:
            data = data | {"schema": SCHEMA}
        revision = data.get("revision")
        if isinstance(revision, int) and revision >= _REVISIONS:
            # Two pages are told apart by it, and no page has ever had such a one.
            data = data | {"revision": revision % _REVISIONS}
        return data

    @model_validator(mode="after")
    def _require_whole(self, info: ValidationInfo) -> Session:
        reading = Reading.of(info)
        if reading is not None:
            self._index = reading.index
        if self.position > len(self.actions):
            raise ValueError(f"position {self.position} lies beyond its {len(self.actions)} actions")
        # Actions that were read without a slide have each their own index.
        seeded = [each.patches for each in self.every_seeding]
        if any(each.slide_index is not self._index for each in seeded):
            self.__dict__["branches"] = tuple(
                each.model_copy(update={"actions": tuple(map(self._give_index, each.actions))})
                for each in self.branches
            )
            self.__dict__["actions"] = tuple(map(self._give_index, self.actions))
        require_whole(self.branches, len(self.actions))
        if self._mixes_names_and_rows:
            raise ValueError("some of its patches are named and others are rows; open it with its slide")
        # All of them, since those that were undone can be done again.
        self._state_at(len(self.actions), n_packed=reading.n_packed if reading else 0)
        if self.run is not None and len(self.run.classes) != len(self.run.class_numbers):
            raise ValueError("the run does not have one number for each of its classes")
        return self

    @property
    def _mixes_names_and_rows(self) -> bool:
        """Whether it cannot be told which of its patches are the same: the slide's names are not known."""
        index = self._index
        if index.names is not None or not len(index) > index.n_patches > 0:
            return False
        by_row = [each.patches.is_known for each in self.every_seeding]
        if self.run is not None and isinstance(self.run.seeds, SeedMap):
            by_row.append(bool((self.run.seeds.labels[: index.n_patches] >= 0).any()))
        return any(by_row)

    def _give_index(self, action: Action) -> Action:
        if isinstance(action, BringAction):
            parts = tuple(map(self._give_index, action.parts))
            return action.model_copy(update={"parts": parts})
        if not isinstance(action, SeedAction):
            return action
        return action.model_copy(
            update={"patches": PatchRows(self._index, self._index.rows_of(action.patches))}
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Session) and all(
            getattr(self, name) == getattr(other, name) for name in type(self).model_fields
        )

    __hash__ = None  # type: ignore[assignment]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with what its actions come to only where these are the same.

        Parameters
        ----------
        update : mapping of str to value, optional
            Attributes that the copy has other values of; they are not checked.
        deep : bool, default=False
            Whether values are copied, too.

        Returns
        -------
        Session
        """
        copied = super().model_copy(update=update, deep=deep)
        changes = update is not None and bool({"actions", "initial_classes"} & update.keys())
        copied._states = {} if changes else dict(self._states)
        return copied

    @classmethod
    def new(cls, slide: EmbeddedSlide) -> Session:
        """Start a session on a slide, without seeds.

        Parameters
        ----------
        slide : EmbeddedSlide

        Returns
        -------
        Session
            With two classes, "Other" and "Tumour".
        """
        # The name of a file need not be text, and that of a session must.
        name = slide.name.encode("utf-8", "replace").decode()
        session = cls(slide=name, fingerprint=slide.fingerprint)
        session._index = PatchIndex.of(slide)
        return session

    def anew(self, classes: Sequence[SeedClass]) -> Session:
        """Start another session on the same patches, with other classes.

        Parameters
        ----------
        classes : sequence of SeedClass
            Two or more; class 1 is the positive one.

        Returns
        -------
        Session
        """
        session = Session(slide=self.slide, fingerprint=self.fingerprint, classes=tuple(classes))
        session._index = self._index
        return session

    @property
    def every_action(self) -> Iterator[Action]:
        """All that was ever done: the trunk's actions, then those of each branch."""
        yield from self.actions
        for branch in self.branches:
            yield from branch.actions

    @property
    def every_seeding(self) -> Iterator[SeedAction]:
        """Whatever gave patches a class or took it, those that were brought from files part by part."""
        for action in self.every_action:
            if isinstance(action, BringAction):
                yield from action.parts
            elif isinstance(action, SeedAction):
                yield action

    def rows_of(self, patches: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return the rows of patches by their names.

        Parameters
        ----------
        patches : iterable of str

        Returns
        -------
        ndarray of shape (n,), int64
            Rows of the h5ad; beyond its last for names that the slide does not have.
        """
        return self._index.rows_of(patches)

    @property
    def n_patches(self) -> int:
        """How many patches the slide has, where it is known, and otherwise how many were ever seeded."""
        return len(self._index)

    @property
    def classes(self) -> tuple[SeedClass, ...]:
        """The classes as they are now; class 1 is the positive one."""
        return tuple(self.state.classes)

    @property
    def seeds(self) -> SeedMap:
        """Class of each seeded patch by the patch's name, in the order they were seeded."""
        state = self.state
        return SeedMap(self._index, state.labels, state.order)

    @property
    def seed_counts(self) -> list[int]:
        """How many patches of this slide are seeds of each class."""
        labels = self.state.labels
        counts: list[int] = np.bincount(labels[labels >= 0], minlength=len(self.classes)).tolist()
        return counts

    @property
    def loans(self) -> tuple[Loan, ...]:
        """What is borrowed from other slides, one loan a slide, as classes are numbered now."""
        return tuple(self.state.loans.values())

    @property
    def run_classes(self) -> tuple[SeedClass, ...]:
        """The classes that the labels of the last run mean, under their present names."""
        state = self.state
        if self.run is None:
            return tuple(state.classes)
        return tuple(
            state.name_class(number, otherwise)
            for number, otherwise in zip(
                self._run_numbers, self.run.classes or self.initial_classes, strict=True
            )
        )

    @property
    def skipped(self) -> frozenset[str]:
        """Names of the patches that a reader could not tell the class of, and that are not seeded since."""
        if not self.state.skipped:
            return frozenset()
        seeds = self.seeds
        return frozenset(name for name in self.state.skipped if name not in seeds)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes, in the order in which they were begun."""
        notes = self.state.notes
        return tuple(notes[number] for number in sorted(notes))

    @property
    def checked(self) -> Check | None:
        """Who has said that the slide is done, and whether that is of the seeds and labels that there are."""
        check = self.state.checked
        if check is None or self.run is None or self.run.time <= check.time:
            return check
        return check.model_copy(update={"is_current": False})

    @property
    def sample(self) -> CheckSample | None:
        """The check sample that was drawn last."""
        return self.state.sample

    @property
    def answers(self) -> Mapping[str, int | None]:
        """What a reader says of patches of the check sample, by their names.

        The number of a class, that which it was merged into included; None where the reader cannot tell.
        """
        state = self.state
        return {
            patch: None if number is None else state.follow_merges(number)
            for patch, number in state.answers.items()
        }

    @property
    def last_action(self) -> Action | None:
        """What was done last, of what counts."""
        return self.actions[self.position - 1] if self.position else None

    def seen_patches(self, n_patches: int) -> npt.NDArray[np.bool_]:
        """Return which patches were looked at closely.

        Parameters
        ----------
        n_patches : int
            How many the slide has.

        Returns
        -------
        ndarray of shape (n_patches,), bool

        Raises
        ------
        ValueError
            When what is kept of it is damaged, or of another number of patches.
        """
        if not self.seen:
            return np.zeros(n_patches, bool)
        n_bytes = -(-n_patches // 8)
        data = unpack(self.seen, n_bytes)
        if len(data) != n_bytes:
            raise ValueError(f"is of about {8 * len(data)} patches, not of {n_patches}")
        return np.unpackbits(np.frombuffer(data, np.uint8), count=n_patches).astype(bool)

    @property
    def is_stale(self) -> bool:
        """Whether seeds, borrowed ones too, or classes have changed since the last run."""
        state = self.state
        return self.run is not None and (
            self.run.seeds != self.seeds
            or self._run_numbers != tuple(state.numbers)
            or seeds_by_path(self.run.loans) != seeds_by_path(state.loans.values())
        )

    @property
    def _run_numbers(self) -> tuple[int, ...]:
        """The classes of the last run by number; those it began with in runs of before they were noted."""
        noted = self.run.class_numbers if self.run else ()
        return noted or tuple(range(len(self.initial_classes)))

    @property
    def state(self) -> State:
        """What the actions that count come to, worked out once; whoever asks must not change it."""
        return self._state_at(self.position)

    def _state_at(self, position: int, *, n_packed: int = 0) -> State:
        if position not in self._states:
            self._states = fold(
                self._states,
                self.actions,
                position,
                classes=self.initial_classes,
                n_patches=len(self._index),
                n_packed=n_packed,
            )
        return self._states[position]

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to take back."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to do again."""
        return self.position < len(self.actions)

    def seed(self, patches: Iterable[str], label: int | None, *, user: str = "") -> Session:
        """Give patches a class, or take it from them; what was undone becomes a branch. Can be undone.

        Parameters
        ----------
        patches : iterable of str
            Names of one patch or more.
        label : int or None
            The class, by its place in `classes`; None takes the patches' seeds away.
        user : str, default=""
            Name of the reader.

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no such class.
        """
        return self.seed_rows(self._index.rows_of(patches), label, user=user)

    def seed_rows(self, rows: npt.NDArray[np.integer[Any]], label: int | None, *, user: str = "") -> Session:
        """Give patches a class by their rows, as `seed` does by their names.

        Parameters
        ----------
        rows : integer array of shape (n,)
            Rows of the h5ad.
        label : int or None
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no such class.
        """
        if label is not None:
            self._require(label)
        return self._act(SeedAction(label=label, patches=PatchRows(self._index, rows), user=user))

    def clear(self, *, user: str = "") -> Session:
        """Remove all seeds of this slide, and not those that are borrowed; can be undone.

        Parameters
        ----------
        user : str, default=""

        Returns
        -------
        Session
        """
        return self._act(ClearAction(user=user))

    def undo(self) -> Session:
        """Take the last action back.

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is none.
        """
        if not self.can_undo:
            raise SessionError("there is nothing to undo")
        return self._change(position=self.position - 1)

    def redo(self) -> Session:
        """Do again what was undone last.

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is nothing.
        """
        if not self.can_redo:
            raise SessionError("there is nothing to redo")
        return self._change(position=self.position + 1)

    def restore(self, position: int, *, branch: int | None = None) -> Session:
        """Go to any point of the history. What counted until now stays in it, and a run stays the last one.

        Parameters
        ----------
        position : int
            How many actions of the line count there.
        branch : int, optional
            Number of the branch whose line is meant; the trunk by default.

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no such point, or what it holds cannot have been.
        """
        line = self
        try:
            if branch is not None:
                actions, branches = bring_back(self.actions, self.branches, branch)
                line = self.model_copy(update={"actions": actions, "branches": branches})
            # All of it, since it can be done again from there.
            line._state_at(len(line.actions))
        except (LookupError, ValueError) as error:
            raise SessionError(f"there is no such point in the history ({error}); open it again") from error
        if position > len(line.actions):
            raise SessionError(f"there is no such point in the history: it has {len(line.actions)} steps")
        return line._change(position=position)

    def with_class(self, label: int, seed_class: SeedClass, *, user: str = "") -> Session:
        """Rename or recolour a class; can be undone.

        Parameters
        ----------
        label : int
            Its place in `classes`.
        seed_class : SeedClass
            What it becomes.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no such class, or another one has that name.
        """
        self._require(label)
        others = [each for place, each in enumerate(self.classes) if place != label]
        require_new_name(seed_class, others)
        return self._act(EditClassAction(label=label, user=user, **seed_class.model_dump()))

    def add_class(self, seed_class: SeedClass, *, user: str = "") -> Session:
        """Add a class after the others; can be undone.

        Parameters
        ----------
        seed_class : SeedClass
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When another class has that name, or there are as many as there can be.
        """
        classes = self.classes
        require_new_name(seed_class, classes)
        if len(classes) >= MOST_CLASSES:
            raise SessionError(f"there are {MOST_CLASSES} classes, the most there can be; merge some of them")
        return self._act(AddClassAction(number=self._next_number, user=user, **seed_class.model_dump()))

    def remove_class(self, label: int, *, into: int | None = None, user: str = "") -> Session:
        """Remove a class; can be undone.

        Parameters
        ----------
        label : int
            Its place in `classes`.
        into : int, optional
            The class that its seeds go to; by default they are removed with it.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no such class, or there are only two.
        """
        self._require(label)
        if into is not None:
            self._require(into)
        if len(self.classes) <= FEWEST_CLASSES:
            raise SessionError("there must be two classes; add another one first")
        if into == label:
            raise SessionError("a class cannot be merged with itself; choose another one")
        return self._act(RemoveClassAction(label=label, into=into, user=user))

    def borrow(self, loan: Loan, classes: Sequence[SeedClass], *, user: str = "") -> Session:
        """Take over seeds of another slide; can be undone.

        Classes are matched by their names, and those that this session has not are added. The classes that a
        session begins with give way to the other's while none of them has been used.

        Parameters
        ----------
        loan : Loan
            Its seeds as the other session numbers classes. It takes the place of what was borrowed from the
            same path before.
        classes : sequence of SeedClass
            Those of the other session.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there would be too many classes.
        """
        state = self.state
        replaces = self._is_blank(state)
        known = [] if replaces else list(state.classes)
        # A session that begins with another's classes has them all, in their order: 1 is the positive one.
        wanted = range(len(classes)) if replaces else sorted(set(loan.seeds.values()))
        added: list[NumberedClass] = []
        label_of = {each.name: label for label, each in enumerate(known)}
        for label in wanted:
            name, color = classes[label].name, classes[label].color
            if name in label_of:
                continue
            if color in {each.color for each in known}:
                color = next_color(known)
            label_of[name] = len(known)
            known.append(SeedClass(name=name, color=color))
            added.append(NumberedClass(name=name, color=color, number=self._next_number + len(added)))
        require_room(len(known), loan.slide)
        seeds = {patch: label_of[classes[label].name] for patch, label in loan.seeds.items()}
        loan = loan.model_copy(update={"seeds": seeds})
        return self._act(BorrowAction(loan=loan, added=tuple(added), replaces=replaces, user=user))

    def bring(
        self,
        labels: npt.NDArray[np.integer[Any]],
        classes: Sequence[SeedClass],
        *,
        source: str = "",
        user: str = "",
    ) -> Session:
        """Take seeds from a file, with the classes that they need; can be undone as one step.

        Patches that were seeds before have the class that the file gives them. The classes that a session
        begins with give way to others while none of them has been used.

        Parameters
        ----------
        labels : integer array of shape (n_patches,)
            Which of `classes` each patch of the slide has; -1 where it is none of the seeds.
        classes : sequence of SeedClass
            This session's, and then others.
        source : str, default=""
            The file's name.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there are no seeds, or would be too many classes.
        """
        state = self.state
        used = np.unique(labels[labels >= 0]).tolist()
        if not used:
            raise SessionError("the file gives this slide no seed; nothing was added")
        known = {each.name for each in state.classes}
        new = [number for number in used if classes[number].name not in known]
        # Only where all that is brought is of other classes, and there are enough of them.
        replaces = self._is_blank(state) and len(new) == len(used) >= FEWEST_CLASSES
        kept = [] if replaces else [each.name for each in state.classes]
        require_room(len(kept) + len(new), source)
        added = tuple(
            NumberedClass(**classes[number].model_dump(), number=self._next_number + place)
            for place, number in enumerate(new)
        )
        label_of = {name: label for label, name in enumerate([*kept, *(each.name for each in added)])}
        parts = tuple(
            SeedAction(
                label=label_of[classes[number].name],
                patches=PatchRows(self._index, np.flatnonzero(labels == number)),
                user=user,
            )
            for number in used
        )
        return self._act(
            BringAction(source=source[:300], parts=parts, added=added, replaces=replaces, user=user)
        )

    def give_back(self, path: str, *, user: str = "") -> Session:
        """Drop what is borrowed from a slide; can be undone.

        Parameters
        ----------
        path : str
            Of the slide that lends, as its `Loan` has it.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When nothing is borrowed from it.
        """
        if path not in self.state.loans:
            raise SessionError(f"nothing is borrowed from {path[:200]}; load the page again")
        return self._act(ReturnAction(path=path, user=user))

    def _is_blank(self, state: State) -> bool:
        """Whether nothing has been done with the classes that the session began with."""
        is_used = bool(self.run or state.has_seeds or state.loans)
        return not is_used and tuple(state.classes) == DEFAULT_CLASSES

    @property
    def _next_number(self) -> int:
        """A number that no class has had yet, one that was undone included."""
        added: list[int] = []
        for action in self.every_action:
            if isinstance(action, AddClassAction):
                added.append(action.number)
            elif isinstance(action, BorrowAction | BringAction):
                added += [each.number for each in action.added]
        return 1 + max(*added, *self._run_numbers, len(self.initial_classes) - 1)

    def skip(self, patches: Sequence[str], *, user: str = "") -> Session:
        """Note that a reader cannot tell the class of some patches; can be undone.

        Parameters
        ----------
        patches : sequence of str
            Names of one patch or more.
        user : str, default=""

        Returns
        -------
        Session
        """
        return self._act(SkipAction(patches=tuple(patches), user=user))

    def note(
        self,
        text: str,
        *,
        number: int | None = None,
        patch: str = "",
        box: Box | None = None,
        outline: Sequence[tuple[float, float]] | None = None,
        user: str = "",
    ) -> Session:
        """Write a note, of a new number by default; an empty one removes it. Can be undone.

        Parameters
        ----------
        text : str
        number : int, optional
            That of a note that is there, which stays where it is.
        patch : str, default=""
        box : (float, float, float, float), optional
        outline : sequence of (float, float), optional
            As those of `Note`.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no note of that number, or a new one is empty.
        """
        known = None if number is None else self.state.notes.get(number)
        if number is not None and known is None:
            raise SessionError("this note is no longer there")
        if known is not None:
            place = known.model_dump(exclude={"text", "time", "user"})
            return self._act(NoteAction(**place, text=text, user=user))
        if not text:
            raise SessionError("the note is empty; write something first")
        given = [each.number for each in self.every_action if isinstance(each, NoteAction)]
        corners = None if outline is None else tuple(outline)
        number = max(given, default=-1) + 1
        return self._act(
            NoteAction(number=number, text=text, patch=patch, box=box, outline=corners, user=user)
        )

    def check(self, *, checked: bool = True, user: str = "") -> Session:
        """Note that a reader says the slide is done, or not; can be undone.

        Parameters
        ----------
        checked : bool, default=True
        user : str, default=""

        Returns
        -------
        Session
        """
        return self._act(CheckAction(checked=checked, user=user))

    def draw_sample(
        self,
        strata: npt.NDArray[np.uint8],
        shares: Sequence[float],
        *,
        randomness: int,
        run: str,
        user: str = "",
    ) -> Session:
        """Begin a check sample, in place of any before it; can be undone.

        Parameters
        ----------
        strata : ndarray of shape (n_patches,), uint8
            Stratum of each patch.
        shares : sequence of float
            Which share of the questions is of each stratum; 1 together.
        randomness : int
        run : str
            As those of `CheckSample`.
        user : str, default=""

        Returns
        -------
        Session
        """
        sample = CheckSample(
            randomness=randomness,
            strata=pack(strata.tobytes()),
            shares=tuple(shares),
            run=run,
            time=now(),
            user=user,
        )
        return self._act(VerifyStartAction(sample=sample, user=user))

    def answer(self, patch: str, label: int | None, *, user: str = "") -> Session:
        """Keep which class a reader says that a patch of the check sample is of.

        It is no seed, and is never used to label. Can be undone.

        Parameters
        ----------
        patch : str
            Its name.
        label : int or None
            The class, by its place in `classes`; None where the reader cannot tell.
        user : str, default=""

        Returns
        -------
        Session

        Raises
        ------
        SessionError
            When there is no such class, or no check sample.
        """
        require_sample(self.sample)
        if label is not None:
            self._require(label)
        number = None if label is None else self.state.numbers[label]
        return self._act(VerifyAnswerAction(patch=patch, number=number, user=user))

    def with_seen(self, seen: npt.NDArray[np.bool_]) -> Session:
        """Keep which patches were looked at closely, which is no change that pages see.

        Parameters
        ----------
        seen : ndarray of shape (n_patches,), bool

        Returns
        -------
        Session
        """
        return self.model_copy(update={"seen": pack(np.packbits(seen).tobytes())})

    def with_run(self, run: Run) -> Session:
        """Keep the outcome of a run on the present seeds.

        Parameters
        ----------
        run : Run

        Returns
        -------
        Session
        """
        state = self.state
        meant: dict[str, Any] = {"classes": tuple(state.classes), "class_numbers": tuple(state.numbers)}
        if not isinstance(run.seeds, SeedMap) or run.seeds.index is not self._index:
            # Where they can be: those of a run from elsewhere need not be of classes.
            with suppress(ValueError):
                meant["seeds"] = SeedMap.of(self._index, run.seeds)
        return self._change(run=run.model_copy(update=meant))

    def _require(self, label: int) -> None:
        n_classes = len(self.classes)
        if label >= n_classes:
            raise SessionError(f"there is no class {label}; there are {n_classes}, counted from 0")

    def _act(self, action: Action) -> Session:
        self._state_at(self.position)
        states = act(self._states, self.position, action)
        changed = self._change(
            actions=(*self.actions[: self.position], action),
            position=self.position + 1,
            branches=cut(self.actions, self.position, self.branches),
        )
        changed._states = states
        return changed

    def _change(self, **changes: Any) -> Session:
        return self.model_copy(update={**changes, "revision": self.revision + 1})


def seed_vector(slide: EmbeddedSlide, seeds: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Return seeds by patch name as an estimator takes them.

    Parameters
    ----------
    slide : EmbeddedSlide
    seeds : mapping of str to int
        Class of each seeded patch by the patch's name.

    Returns
    -------
    ndarray of shape (n_patches,), int64
        -1 where a patch has no seed.

    Raises
    ------
    SessionError
        When a seeded patch is not in the slide's file.
    """
    if isinstance(seeds, SeedMap) and seeds.index.is_of(slide):
        more = np.flatnonzero(seeds.labels[slide.n_patches :] >= 0)
        if not more.size:
            return seeds.vector(slide.n_patches).astype(np.int64)
    y = np.full(slide.n_patches, -1, dtype=np.int64)
    for patch, label in seeds.items():
        if patch not in slide.index:
            raise SessionError(
                f"{slide.path.name}: has no patch named {patch}; open the file that the seeds were made on"
            )
        y[slide.index[patch]] = label
    return y
