"""What a person did to one slide: classes, seeds in order, undo and redo, and the labels of the last run.

A session is a value: every change returns a new one. On disk it is one JSON object in a file beside the h5ad:

``schema``
    "tissuumaps-sic/session/3", or ".../4" where something is packed as told below. 1 and 2 are read as well.
``slide``, ``fingerprint``
    The slide's name, and the fingerprint of its patches, `EmbeddedSlide.fingerprint`.
``classes``
    What the session began with: objects of ``name`` and ``color`` (#rrggbb). Labels are places in the list of
    classes as it is at an action.
``actions``
    What was done, in order, each with ``time``, ``user`` and ``kind``: "seed" (``label``, null where seeds
    are taken back, and ``patches``), "clear", "add-class", "edit-class", "remove-class", "borrow", "return";
    their members are those of the classes below.
``position``, ``revision``
    How many actions count, the others having been undone; how many changes there were.
``run``
    The last run, members as those of `Run`, or null.

So the file of a session with few seeds names them. A larger one has rows of the h5ad, 0 the first, which hold
for the patches of the fingerprint alone:

- A seed action has ``rows`` in place of ``patches``: a list, or a text for
  ``np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i4"))``.
- ``run["seeds"]`` is a list of objects of ``label`` and ``rows``; ``seeds`` of what is borrowed is one of
  ``label`` and ``patches``, a text for ``json.loads(zlib.decompress(base64.b64decode(text)))``.
- ``history`` holds the actions before those in ``actions``, from the first on: each item is an action, or a
  text for several, as ``json.loads(zlib.decompress(base64.b64decode(text)))``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import to_json

from tissuumaps_sic.annotation.patch_rows import Labels, PatchIndex, PatchRows, SeedMap, packed, unpacked
from tissuumaps_sic.annotation.store import (
    MOST_UNPACKED,
    DocumentError,
    action_place,
    pack_history,
    read_document,
    refusal_of,
    told,
    unpack_history,
)
from tissuumaps_sic.labelling.clustering import UNLABELLED, SeededIterativeClustering
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.labelling.refine import Guests
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.locking import locked
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing
from tissuumaps_sic.slides.slide import MAIN, EmbeddedSlide, Stamp, stamp_of

SUFFIX = ".sic.json"

Method = Literal["sic", "refine"]
# What the viewer and `run` use unless told otherwise: measured to be better (benchmarks/README.md).
DEFAULT_METHOD: Method = "refine"

SCHEMA: Literal["tissuumaps-sic/session/3"] = "tissuumaps-sic/session/3"
# The first schema had two classes that could not be added to, the second no seeds of other slides; nothing
# else differs. The fourth packs what is large, and is written where that is worth it: what needs no packing
# older versions can open too.
_OTHER_SCHEMAS = ("tissuumaps-sic/session/1", "tissuumaps-sic/session/2", "tissuumaps-sic/session/4")
_PACKED_SCHEMA, _NEWEST = "tissuumaps-sic/session/4", 4
# Seeded patches of all actions together that are named in the file.
_MOST_NAMED = 1000
# Whole numbers of JavaScript are exact up to 2**53, so that no page could send a larger revision back.
_REVISIONS = 2**53 - 1
# What is worth keeping between two kept states of a session: microseconds of doing actions.
_SPACING, _MOST_STATES = 30_000, 12
# Share of a slide's first run that is the reading of its embeddings.
_READING = 0.15
FEWEST_CLASSES, MOST_CLASSES = 2, 64


class SessionError(SicError):
    """A session cannot be read, or does not fit its slide; the message says what to do."""


class SessionFileError(SessionError):
    """The file of a session is damaged, or of other patches than the slide's."""

    status = 409


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class _Reading:
    """What a file is read with: the patches that it is of, and how much may still be unpacked."""

    index: PatchIndex
    room: int = MOST_UNPACKED
    # How many of the actions stand in the history.
    n_packed: int = 0

    @classmethod
    def of(cls, info: ValidationInfo) -> _Reading | None:
        return info.context if isinstance(info.context, cls) else None

    def unpack(self, text: str) -> bytes:
        data = unpacked(text, self.room)
        self.room -= len(data)
        return data


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what was found of this one is not of the copy."""
        copied = super().model_copy(update=update, deep=deep)
        for key in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[key]
        return copied


class SeedClass(_Frozen):
    """A class that patches are seeded with."""

    name: str = Field(min_length=1, max_length=60)
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        name = name.strip()
        if not name or re.search(r"[\x00-\x1f<>\"'&]", name):
            raise ValueError("a class name is printable text without quotes, < > or &")
        return name


class _Action(_Frozen):
    time: str = Field(default_factory=_now)
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


def _read_patches(given: Any, info: ValidationInfo) -> PatchRows:
    if not isinstance(given, list | tuple | PatchRows) or not given:
        raise ValueError("is no list of one patch or more")
    if isinstance(given, PatchRows):
        return given
    wrong = next((place for place, name in enumerate(given) if not isinstance(name, str)), None)
    if wrong is not None:
        raise ValueError(f"[{wrong}] is {str(given[wrong])[:60]!r}, and no name of a patch")
    try:
        "".join(given).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds {error.object[error.start]!a}, which is no character") from error
    reading = _Reading.of(info)
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
    def _by_row(cls, data: Any, info: ValidationInfo) -> Any:
        reading = _Reading.of(info)
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
        return _line({**self.model_dump(exclude={"patches"}), "rows": self.patches.kept})


class ClearAction(_Action):
    """All seeds of this slide were removed."""

    kind: Literal["clear"] = "clear"


class AddClassAction(_Action):
    """A class was added after the others."""

    kind: Literal["add-class"] = "add-class"
    # Never that of another class, one that was undone included: an earlier run may still have labels of it.
    number: int = Field(ge=0)
    name: str
    color: str


class EditClassAction(_Action):
    """A class was renamed or recoloured."""

    kind: Literal["edit-class"] = "edit-class"
    label: int = Field(ge=0)
    name: str
    color: str


class RemoveClassAction(_Action):
    """A class was removed; its seeds went to the class `into`, or (None) with it."""

    kind: Literal["remove-class"] = "remove-class"
    label: int = Field(ge=0)
    into: int | None = Field(default=None, ge=0)


class Loan(_Frozen):
    """Seeds of another slide, as they were when they were borrowed.

    They belong to its patches, and so to none of its embeddings: a run takes the one that is like its own.

    Attributes
    ----------
    slide : str
        Name of the slide that lends.
    path : str
        From the folder of the h5ad that borrows to that of the one that lends, with forward slashes.
    session : str
        Name of the session that the seeds are from, "" the one without a name.
    fingerprint : str
        That of the lender's patches (`EmbeddedSlide.fingerprint`).
    seeds : dict of str to int
        Class of each seeded patch by the patch's name, as the borrowing session numbers classes.
    """

    slide: str
    path: str = Field(min_length=1, max_length=4096)
    session: str = Field(default="", max_length=40)
    fingerprint: str
    seeds: dict[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _unpacked(cls, data: Any, info: ValidationInfo) -> Any:
        reading = _Reading.of(info)
        if not isinstance(data, dict) or not isinstance(data.get("seeds"), list) or reading is None:
            return data
        seeds: dict[str, int] = {}
        for place, each in enumerate(data["seeds"]):
            if not isinstance(each, dict) or each.keys() != {"label", "patches"}:
                raise ValueError(f"seeds[{place}]: is no label with its patches")
            try:
                seeds |= dict.fromkeys(json.loads(reading.unpack(each["patches"])), each["label"])
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(f"seeds[{place}].patches: {str(error)[:200]}") from error
        return data | {"seeds": seeds}

    def packed(self) -> dict[str, Any]:
        """Return itself as a file holds it where it is large."""
        by_class: dict[int, list[str]] = {}
        for patch, label in self.seeds.items():
            by_class.setdefault(label, []).append(patch)
        seeds = [
            {"label": label, "patches": packed(json.dumps(patches, ensure_ascii=False).encode())}
            for label, patches in by_class.items()
        ]
        return {**self.model_dump(exclude={"seeds"}), "seeds": seeds}

    @field_validator("path")
    @classmethod
    def _relative(cls, path: str) -> str:
        if path.startswith("/") or re.search(r"[\x00\\]|^[A-Za-z]:", path) or not path.endswith(".h5ad"):
            raise ValueError("the path of a slide that lends is relative, and that of an h5ad")
        return path


class UsedLoan(Loan):
    """Borrowed seeds as a run took them.

    Attributes
    ----------
    embedding, sample : str
        Which embedding of the lender it took, and `EmbeddedSlide.sample` of it.
    """

    embedding: str = Field(min_length=1, max_length=200)
    sample: str


class NumberedClass(SeedClass):
    """A class with the number that it keeps."""

    number: int = Field(ge=0)


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
        return _line({**self.model_dump(exclude={"loan"}), "loan": self.loan.packed()})


class ReturnAction(_Action):
    """What was borrowed from a slide was dropped."""

    kind: Literal["return"] = "return"
    path: str


Action = Annotated[
    SeedAction
    | ClearAction
    | AddClassAction
    | EditClassAction
    | RemoveClassAction
    | BorrowAction
    | ReturnAction,
    Field(discriminator="kind"),
]


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


@dataclass
class _Folded:
    """What the actions of a session come to."""

    classes: list[SeedClass]
    # A class keeps its number whatever comes and goes before it in the list.
    numbers: list[int]
    # Class of each row, -1 where there is no seed, and when it was seeded, counted in seeds.
    labels: Labels
    order: npt.NDArray[np.int64]
    n_seeded: int
    # What is borrowed, by the path of the slide that lends.
    loans: dict[str, Loan]
    # Every class there was, by number, as it was last named, and which of them went into which.
    known: dict[int, SeedClass]
    merged: dict[int, int]
    # What all of it took, in microseconds of a slow computer.
    cost: float = 0.0

    @classmethod
    def begun(cls, classes: Sequence[SeedClass], n_patches: int) -> _Folded:
        """Return what no action comes to."""
        numbers = range(len(classes))
        return cls(
            list(classes),
            list(numbers),
            np.full(n_patches, -1, np.int8),
            np.zeros(n_patches, np.int64),
            0,
            {},
            dict(zip(numbers, classes, strict=True)),
            {},
        )

    def copy(self) -> _Folded:
        """Return another one, for more to be done to it."""
        return replace(
            self,
            classes=list(self.classes),
            numbers=list(self.numbers),
            labels=self.labels.copy(),
            order=self.order.copy(),
            loans=dict(self.loans),
            known=dict(self.known),
            merged=dict(self.merged),
        )

    @property
    def has_seeds(self) -> bool:
        """Whether any patch of this slide is seeded."""
        return bool((self.labels >= 0).any())

    def do(self, action: Action) -> None:
        """Do one more action.

        Raises
        ------
        LookupError
            When it is of a class that there is not, makes one that there is, or leaves fewer than two.
        """
        for label in (getattr(action, "label", None), getattr(action, "into", None)):
            if label is not None and label >= len(self.classes):
                raise LookupError(f"no class {label}")
        self.cost += 10.0 + 0.02 * action.n_patches
        match action:
            case ClearAction():
                self.labels.fill(-1)
            case SeedAction(label=label, patches=patches):
                rows = patches.rows
                self._make_room(len(patches.slide_index))
                self.labels[rows] = -1 if label is None else label
                # Of a patch that is named twice the second place counts, as of assignments.
                self.order[rows] = np.arange(self.n_seeded, self.n_seeded + len(rows))
                self.n_seeded += len(rows)
            case AddClassAction(number=number, name=name, color=color):
                self._add(number, SeedClass(name=name, color=color))
            case EditClassAction(label=label, name=name, color=color):
                self.classes[label] = SeedClass(name=name, color=color)
                self.known[self.numbers[label]] = self.classes[label]
            case RemoveClassAction(label=label, into=into):
                self._remove(label, into)
            case BorrowAction():
                self._borrow(action)
            case ReturnAction(path=path):
                if self.loans.pop(path, None) is None:
                    raise LookupError(f"nothing is borrowed from {path}")

    def _make_room(self, n: int) -> None:
        """Count patches that the slide has not, which come to light with their action."""
        more = n - len(self.labels)
        if more > 0:
            self.labels = np.concatenate([self.labels, np.full(more, -1, np.int8)])
            self.order = np.concatenate([self.order, np.zeros(more, np.int64)])

    def _add(self, number: int, seed_class: SeedClass) -> None:
        if number in self.known:
            raise LookupError(f"class number {number} is taken")
        self.classes.append(seed_class)
        self.numbers.append(number)
        self.known[number] = seed_class

    def _borrow(self, action: BorrowAction) -> None:
        if action.replaces:
            if self.has_seeds or self.loans:
                raise LookupError("classes that have seeds cannot be replaced")
            self.classes.clear()
            self.numbers.clear()
        for each in action.added:
            self._add(each.number, SeedClass(name=each.name, color=each.color))
        if not FEWEST_CLASSES <= len(self.classes) <= MOST_CLASSES:
            raise LookupError(f"there cannot be {len(self.classes)} classes")
        if max(action.loan.seeds.values()) >= len(self.classes):
            raise LookupError(f"no class {max(action.loan.seeds.values())}")
        # At the end, so that the order does not tell how often it was borrowed.
        self.loans.pop(action.loan.path, None)
        self.loans[action.loan.path] = action.loan

    def _remove(self, label: int, into: int | None) -> None:
        if len(self.classes) <= FEWEST_CLASSES or into == label:
            raise LookupError(f"class {label} cannot be removed")
        if into is not None:
            self.merged[self.numbers[label]] = self.numbers[into]
        # In the order of the list on the page, which a removal must not shuffle.
        kept = [each for each in listed(len(self.classes)) if each != label]
        order = [kept[each] for each in listed(len(kept))]
        new = {old: place for place, old in enumerate(order)}
        if into is not None:
            new[label] = new[into]
        moved = np.array([*(new.get(each, -1) for each in range(len(self.classes))), -1], np.int8)
        self.labels = moved[self.labels]
        kept_loans = {}
        for path, loan in self.loans.items():
            seeds = {patch: new[each] for patch, each in loan.seeds.items() if each in new}
            if seeds:
                kept_loans[path] = loan.model_copy(update={"seeds": seeds})
        self.loans = kept_loans
        self.classes = [self.classes[each] for each in order]
        self.numbers = [self.numbers[each] for each in order]

    def called(self, number: int, otherwise: SeedClass) -> SeedClass:
        """Return the class of a number as it is called now; `otherwise` where its making was undone."""
        while number in self.merged:
            number = self.merged[number]
        return self.known.get(number, otherwise)


def listed(n_classes: int) -> list[int]:
    """Return labels in the order in which people see them: the positive class, 1, comes first.

    >>> listed(4)
    [1, 0, 2, 3]
    """
    return [1, 0, *range(2, n_classes)][:n_classes] if n_classes > 1 else [0]


_Seeds = TypeAdapter(dict[str, int])


def _read_seeds(given: Any, info: ValidationInfo) -> Mapping[str, int]:
    if isinstance(given, SeedMap):
        return given
    reading = _Reading.of(info)
    if reading is None:
        return _Seeds.validate_python(given)
    if not isinstance(given, list):
        return SeedMap.of(reading.index, _Seeds.validate_python(given))
    labels = np.full(reading.index.n_patches, -1, np.int8)
    for place, each in enumerate(given):
        if not isinstance(each, dict) or each.keys() != {"label", "rows"}:
            raise ValueError(f"[{place}] is no label with its rows")
        if type(each["label"]) is not int or not 0 <= each["label"] < MOST_CLASSES:
            raise ValueError(f"[{place}].label: is no number of a class")
        try:
            labels[PatchRows.read(reading.index, each["rows"]).rows] = each["label"]
        except ValueError as error:
            raise ValueError(f"[{place}].rows: {error}") from error
    return SeedMap(reading.index, labels)


class Run(_Frozen):
    """One run of the clustering: what went in, and the labels that came out.

    Attributes
    ----------
    seeds : dict of str to int
        The seeds that it ran on; the session's own go on changing.
    labels : str
        One byte a patch, in the order of the file, zlib-compressed, base64.
    embedding : str
        Which embedding of the file it ran on, as `open_slide_file` names them; runs of before there was a
        choice were on "X".
    border : float or None
        The score from which a patch is of class 1; None is where that is the highest of its scores.
    sample : str
        `EmbeddedSlide.sample` of what it ran on, so that other embeddings of the same patches are noticed;
        empty in runs of before it was noted, and in those from seeds of another slide.
    classes : tuple of SeedClass
        What its labels meant when it ran; empty in runs of before classes could come and go.
    class_numbers : tuple of int
        The same classes as the session numbers them.
    loans : tuple of UsedLoan
        The seeds of other slides that it ran on as well, in the order in which it took them.
    """

    time: str
    seeds: Annotated[Mapping[str, int], PlainValidator(_read_seeds), PlainSerializer(dict)]
    embedding: str = Field(default=MAIN, min_length=1, max_length=200)
    method: Method
    parameters: dict[str, Any]
    version: str
    border: float | None = Field(default=None, ge=0, le=1)
    sample: str = ""
    n_iter: int
    counts: tuple[int, ...]
    labels: str
    classes: tuple[SeedClass, ...] = ()
    class_numbers: tuple[int, ...] = ()
    loans: tuple[UsedLoan, ...] = ()

    @field_validator("parameters")
    @classmethod
    def _can_be_kept(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Refuse what could be read and never be written again: what is nested without end, no characters."""
        try:
            to_json(parameters)
        except ValueError as error:
            raise ValueError(f"cannot be kept as JSON ({str(error)[:100]})") from error
        return parameters

    @property
    def can_replay(self) -> bool:
        """Whether it tells which seeds it ran on; runs of before loans were noted may not."""
        return bool(self.seeds or self.loans)

    def unpack(self) -> npt.NDArray[np.uint8]:
        """Return the labels, shape (n_patches,), uint8.

        Raises
        ------
        ValueError
            When they are damaged, or more than `counts` says.
        """
        return np.frombuffer(unpacked(self.labels, sum(self.counts)), dtype=np.uint8)

    @property
    def n_seeds(self) -> int:
        """How many seeds it ran on, borrowed ones too."""
        return len(self.seeds) + sum(len(loan.seeds) for loan in self.loans)

    @cached_property
    def packed_line(self) -> str:
        """Itself as JSON, seeds by their rows."""
        assert isinstance(self.seeds, SeedMap)
        return _line(
            {
                **self.model_dump(exclude={"seeds", "loans"}),
                "seeds": [{"label": label, "rows": each.kept} for label, each in self.seeds.by_class()],
                "loans": [loan.packed() for loan in self.loans],
            }
        )

    @cached_property
    def identity(self) -> str:
        """What tells it from every other run."""
        digest = hashlib.sha256(self.model_dump_json(exclude={"seeds", "loans"}).encode())
        if isinstance(self.seeds, SeedMap):
            digest.update(self.seeds.labels.tobytes())
        else:
            digest.update(_line(dict(self.seeds)).encode())
        for loan in self.loans:
            digest.update(loan.model_dump_json().encode())
        return digest.hexdigest()


# Class 1 is the positive one of the published algorithm. Amber and azure stand out on pink and purple,
# and are told apart by people who do not see red and green.
DEFAULT_CLASSES = (
    SeedClass(name="Other", color="#00a6fb"),
    SeedClass(name="Tumour", color="#ffb000"),
)


class Session(_Frozen):
    """The seeds of one slide and how they came about.

    Attributes
    ----------
    slide, fingerprint : str
        The slide's name, and the fingerprint of the patches that the seeds belong to.
    initial_classes : tuple of SeedClass
        What it began with.
    actions : tuple of Action
        In order; those from `position` on have been undone and can be done again.
    position : int
        How many actions count.
    revision : int
        Grows by one with every change, so that two open pages never overwrite each other unseen.
    run : Run or None
        The last run.
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

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    _index: PatchIndex = PrivateAttr(default_factory=PatchIndex)
    # What the first so many actions come to, of some numbers of actions; never changed once it is here.
    _states: dict[int, _Folded] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_other(cls, data: Any) -> Any:
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
    def _holds_together(self, info: ValidationInfo) -> Session:
        reading = _Reading.of(info)
        if reading is not None:
            self._index = reading.index
        if self.position > len(self.actions):
            raise ValueError(f"position {self.position} lies beyond its {len(self.actions)} actions")
        # Actions that were read without a slide have each their own index.
        seeded = [each.patches for each in self.actions if isinstance(each, SeedAction)]
        if any(each.slide_index is not self._index for each in seeded):
            self.__dict__["actions"] = tuple(map(self._indexed, self.actions))
        if self._mixes_names_and_rows:
            raise ValueError("some of its patches are named and others are rows; open it with its slide")
        # All of them, since those that were undone can be done again.
        self._state_at(len(self.actions), n_packed=reading.n_packed if reading else 0)
        if self.run is not None and len(self.run.classes) != len(self.run.class_numbers):
            raise ValueError("the run has not one number for each of its classes")
        return self

    @property
    def _mixes_names_and_rows(self) -> bool:
        """Whether it cannot be told which of its patches are the same: the slide's names are not known."""
        index = self._index
        if index.names is not None or not len(index) > index.n_patches > 0:
            return False
        by_row = [each.patches.is_known for each in self.actions if isinstance(each, SeedAction)]
        if self.run is not None and isinstance(self.run.seeds, SeedMap):
            by_row.append(bool((self.run.seeds.labels[: index.n_patches] >= 0).any()))
        return any(by_row)

    def _indexed(self, action: Action) -> Action:
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
        """Return a copy, with what its actions come to only where these are the same."""
        copied = super().model_copy(update=update, deep=deep)
        changes = update is not None and bool({"actions", "initial_classes"} & update.keys())
        copied._states = {} if changes else dict(self._states)
        return copied

    @classmethod
    def new(cls, slide: EmbeddedSlide) -> Session:
        """Start a session on a slide."""
        # The name of a file need not be text, and that of a session must.
        name = slide.name.encode("utf-8", "replace").decode()
        session = cls(slide=name, fingerprint=slide.fingerprint)
        session._index = PatchIndex.of(slide)
        return session

    def anew(self, classes: Sequence[SeedClass]) -> Session:
        """Start another session on the same patches, with other classes."""
        session = Session(slide=self.slide, fingerprint=self.fingerprint, classes=tuple(classes))
        session._index = self._index
        return session

    @property
    def n_patches(self) -> int:
        """How many patches the slide has, where it is known, and otherwise how many were ever seeded."""
        return len(self._index)

    @property
    def classes(self) -> tuple[SeedClass, ...]:
        """The classes as they are now; class 1 is the positive one."""
        return tuple(self._folded().classes)

    @property
    def seeds(self) -> SeedMap:
        """Class of each seeded patch by the patch's name, in the order they were seeded."""
        folded = self._folded()
        return SeedMap(self._index, folded.labels, folded.order)

    @property
    def seed_counts(self) -> list[int]:
        """How many patches of this slide are seeds of each class."""
        labels = self._folded().labels
        counts: list[int] = np.bincount(labels[labels >= 0], minlength=len(self.classes)).tolist()
        return counts

    @property
    def loans(self) -> tuple[Loan, ...]:
        """What is borrowed from other slides, one loan a slide, as classes are numbered now."""
        return tuple(self._folded().loans.values())

    @property
    def run_classes(self) -> tuple[SeedClass, ...]:
        """The classes that the labels of the last run mean, under their present names."""
        folded = self._folded()
        if self.run is None:
            return tuple(folded.classes)
        return tuple(
            folded.called(number, otherwise)
            for number, otherwise in zip(
                self._run_numbers, self.run.classes or self.initial_classes, strict=True
            )
        )

    @property
    def is_stale(self) -> bool:
        """Whether seeds, borrowed ones too, or classes have changed since the last run."""
        folded = self._folded()
        return self.run is not None and (
            self.run.seeds != self.seeds
            or self._run_numbers != tuple(folded.numbers)
            or _lent(self.run.loans) != _lent(folded.loans.values())
        )

    @property
    def _run_numbers(self) -> tuple[int, ...]:
        """The classes of the last run by number; those it began with in runs of before they were noted."""
        noted = self.run.class_numbers if self.run else ()
        return noted or tuple(range(len(self.initial_classes)))

    def _folded(self) -> _Folded:
        """Return what the actions that count come to, which whoever asks must not change."""
        return self._state_at(self.position)

    def _state_at(self, position: int, *, n_packed: int = 0) -> _Folded:
        """Return what the first so many actions come to, from the nearest number that is known.

        Raises
        ------
        ValueError
            When one of them cannot have been.
        """
        known = self._states
        if position in known:
            return known[position]
        start = max((each for each in known if each < position), default=0)
        begun = known.get(start)
        state = begun.copy() if begun else _Folded.begun(self.initial_classes, len(self._index))
        found = dict(known)
        noted = state.cost
        for number in range(start, position):
            try:
                state.do(self.actions[number])
            except (LookupError, ValidationError) as error:
                place = action_place(number, n_packed)
                raise ValueError(
                    f"{place}: an action is of a class that there was not ({error!r})"
                ) from error
            if state.cost - noted >= _SPACING and number + 1 < position:
                found[number + 1], noted = state.copy(), state.cost
        found[position] = state
        self._states = _thinned(found, position)
        return state

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to take back."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to do again."""
        return self.position < len(self.actions)

    def seed(self, patches: Iterable[str], label: int | None, *, user: str = "") -> Session:
        """Give patches a class, or take it from them (`label` None); what had been undone is dropped."""
        return self.seed_rows(self._index.rows_of(patches), label, user=user)

    def seed_rows(self, rows: npt.NDArray[np.integer[Any]], label: int | None, *, user: str = "") -> Session:
        """Give patches a class by their rows in the slide's file, (n,) integer, as `seed` does by names."""
        if label is not None:
            self._require(label)
        return self._act(SeedAction(label=label, patches=PatchRows(self._index, rows), user=user))

    def clear(self, *, user: str = "") -> Session:
        """Remove all seeds of this slide, and not those that are borrowed; can be undone."""
        return self._act(ClearAction(user=user))

    def undo(self) -> Session:
        """Take the last action back."""
        if not self.can_undo:
            raise SessionError("there is nothing to undo")
        return self._changed(position=self.position - 1)

    def redo(self) -> Session:
        """Do again what was undone last."""
        if not self.can_redo:
            raise SessionError("there is nothing to redo")
        return self._changed(position=self.position + 1)

    def with_class(self, label: int, seed_class: SeedClass, *, user: str = "") -> Session:
        """Rename or recolour a class; can be undone."""
        self._require(label)
        others = [each for place, each in enumerate(self.classes) if place != label]
        _require_new(seed_class, others)
        return self._act(EditClassAction(label=label, user=user, **seed_class.model_dump()))

    def add_class(self, seed_class: SeedClass, *, user: str = "") -> Session:
        """Add a class after the others; can be undone."""
        classes = self.classes
        _require_new(seed_class, classes)
        if len(classes) >= MOST_CLASSES:
            raise SessionError(f"there are {MOST_CLASSES} classes, the most there can be; merge some of them")
        return self._act(AddClassAction(number=self._next_number, user=user, **seed_class.model_dump()))

    def remove_class(self, label: int, *, into: int | None = None, user: str = "") -> Session:
        """Remove a class, with its seeds or (`into`) by giving them to another one; can be undone."""
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

        Raises
        ------
        SessionError
            When there would be too many classes.
        """
        folded = self._folded()
        replaces = self._is_blank(folded)
        known = [] if replaces else list(folded.classes)
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
        if len(known) > MOST_CLASSES:
            raise SessionError(
                f"{loan.slide}: with its classes there would be {len(known)}, and {MOST_CLASSES} are the "
                "most; merge some of them"
            )
        seeds = {patch: label_of[classes[label].name] for patch, label in loan.seeds.items()}
        loan = loan.model_copy(update={"seeds": seeds})
        return self._act(BorrowAction(loan=loan, added=tuple(added), replaces=replaces, user=user))

    def give_back(self, path: str, *, user: str = "") -> Session:
        """Drop what is borrowed from the slide at a path, as its loan has it; can be undone."""
        if path not in self._folded().loans:
            raise SessionError(f"nothing is borrowed from {path[:200]}")
        return self._act(ReturnAction(path=path, user=user))

    def _is_blank(self, folded: _Folded) -> bool:
        """Whether nothing has been done with the classes that the session began with."""
        begun = bool(self.run or folded.has_seeds or folded.loans)
        return not begun and tuple(folded.classes) == DEFAULT_CLASSES

    @property
    def _next_number(self) -> int:
        """A number that no class has had yet, one that was undone included."""
        added = [each.number for each in self.actions if isinstance(each, AddClassAction)]
        for action in self.actions:
            if isinstance(action, BorrowAction):
                added += [each.number for each in action.added]
        return 1 + max(*added, *self._run_numbers, len(self.initial_classes) - 1)

    def with_run(self, run: Run) -> Session:
        """Keep the outcome of a run on the present seeds."""
        folded = self._folded()
        meant: dict[str, Any] = {"classes": tuple(folded.classes), "class_numbers": tuple(folded.numbers)}
        if not isinstance(run.seeds, SeedMap) or run.seeds.index is not self._index:
            # Where they can be: those of a run from elsewhere need not be of classes.
            with suppress(ValueError):
                meant["seeds"] = SeedMap.of(self._index, run.seeds)
        return self._changed(run=run.model_copy(update=meant))

    def _require(self, label: int) -> None:
        n_classes = len(self.classes)
        if label >= n_classes:
            raise SessionError(f"there is no class {label}; there are {n_classes}, from 0")

    def _act(self, action: Action) -> Session:
        state = self._folded().copy()
        state.do(action)
        actions = (*self.actions[: self.position], action)
        changed = self._changed(actions=actions, position=len(actions))
        kept = {place: each for place, each in self._states.items() if place <= self.position}
        changed._states = _thinned(kept | {len(actions): state}, len(actions))
        return changed

    def _changed(self, **changes: Any) -> Session:
        return self.model_copy(update={**changes, "revision": self.revision + 1})

    def document(self) -> str:
        """Return the text of its file."""
        n_patches = sum(each.n_patches for each in self.actions) + (self.run.n_seeds if self.run else 0)
        is_large = n_patches > _MOST_NAMED or len(self.actions) > _MOST_NAMED
        by_row = is_large and self._has_rows
        items: list[str] = []
        n_packed = 0
        lines = [each.packed_line if by_row else each.line for each in self.actions]
        if is_large:
            items, n_packed = pack_history(lines)
        run = "null" if self.run is None else self.run.packed_line if by_row else self.run.model_dump_json()
        members = {
            "schema": json.dumps(_PACKED_SCHEMA if by_row or n_packed else SCHEMA),
            "slide": json.dumps(self.slide, ensure_ascii=False),
            "fingerprint": json.dumps(self.fingerprint),
            "classes": _lines([each.model_dump_json() for each in self.initial_classes]),
            **({"history": _lines(items)} if n_packed else {}),
            "actions": _lines(lines[n_packed:]),
            "position": str(self.position),
            "revision": str(self.revision),
            "run": run,
        }
        return "{\n" + ",\n".join(f' "{key}": {value}' for key, value in members.items()) + "\n}\n"

    @property
    def _has_rows(self) -> bool:
        """Whether every seeded patch is one of a slide's that is known here."""
        seeds = self.run.seeds if self.run else None
        n_patches = self._index.n_patches
        return (
            n_patches > 0
            and all(each.patches.is_known for each in self.actions if isinstance(each, SeedAction))
            and (seeds is None or (isinstance(seeds, SeedMap) and not (seeds.labels[n_patches:] >= 0).any()))
        )


def _lines(items: Sequence[str]) -> str:
    """Return JSON of a list, a line an item."""
    return "[\n" + ",\n".join(f"  {each}" for each in items) + "\n ]" if items else "[]"


def _thinned(states: dict[int, _Folded], now: int) -> dict[int, _Folded]:
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


def _lent(loans: Iterable[Loan]) -> dict[str, tuple[str, dict[str, int]]]:
    """Return what of loans decides labels, by path."""
    return {each.path: (each.fingerprint, each.seeds) for each in loans}


# Told apart by people who do not see red and green as well (Okabe and Ito 2008, Tol 2021), and not pink.
_COLORS = (
    *("#009e73", "#d55e00", "#f0e442", "#332288", "#56b4e9", "#882255", "#bbcc33", "#0072b2"),
    *("#ee8866", "#44bb99", "#aa3377", "#ccbb44", "#117733", "#e69f00", "#77aadd", "#000000"),
)


def make_class(name: str, color: str) -> SeedClass:
    """Return a class of what a person wrote.

    Raises
    ------
    SessionError
        When the name or the colour cannot be used.
    """
    try:
        return SeedClass(name=name, color=color)
    except ValidationError as error:
        told = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SessionError(f"{name[:60]!r} cannot be a class: {told}") from error


def next_color(classes: Sequence[SeedClass]) -> str:
    """Return a colour that no class has yet; beyond 16 further classes they come again."""
    taken = {each.color for each in classes}
    return next((color for color in _COLORS if color not in taken), _COLORS[len(classes) % len(_COLORS)])


def _require_new(seed_class: SeedClass, others: Iterable[SeedClass]) -> None:
    if seed_class.name in {known.name for known in others}:
        raise SessionError(f"there is a class named {seed_class.name} already; choose another name")


def seed_vector(slide: EmbeddedSlide, seeds: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Return seeds by patch name as y, shape (n_patches,), int64, -1 where a patch has none.

    Raises
    ------
    SessionError
        When a seeded patch is not in the slide's file.
    """
    if isinstance(seeds, SeedMap) and seeds.index.is_of(slide):
        more = np.flatnonzero(seeds.labels[slide.n_patches :] >= 0)
        if not more.size:
            return seeds.vector(slide.n_patches).astype(np.int64)
    y = np.full(slide.n_patches, UNLABELLED, dtype=np.int64)
    for patch, label in seeds.items():
        if patch not in slide.index:
            raise SessionError(
                f"{slide.path.name}: has no patch named {patch}; the seeds were made on another file"
            )
        y[slide.index[patch]] = label
    return y


@dataclass(frozen=True)
class Guest:
    """Seeds of another slide, with their embeddings.

    Attributes
    ----------
    loan : UsedLoan
        Whose they are.
    seeds : Guests
        What the clustering takes.
    """

    loan: UsedLoan
    seeds: Guests


def cluster(
    slide: EmbeddedSlide,
    classes: Sequence[SeedClass],
    seeds: Mapping[str, int],
    *,
    method: Method = DEFAULT_METHOD,
    border: float | None = None,
    guests: Sequence[Guest] = (),
    progress: Progress | None = None,
) -> tuple[Run, npt.NDArray[np.float32]]:
    """Run the clustering on seeds by patch name.

    Parameters
    ----------
    slide : EmbeddedSlide
    classes : sequence of SeedClass
    seeds : mapping of str to int
    method : "sic" or "refine", default="refine"
        As in `SeededIterativeClustering`.
    border : float, optional
        The score, 0 to 1, from which a patch is of class 1, seeded ones apart; where it is the highest of its
        scores by default.
    guests : sequence of Guest, default=()
        Seeds of other slides (`transfer.guests_of` opens them), for "refine".
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    run : Run
        The labels and how they were made.
    scores : ndarray of shape (n_patches, n_classes), float32
        As `SeededIterativeClustering.scores_`.

    Raises
    ------
    SessionError
        When a class has no seeds, the method takes no guests, or the embeddings cannot be clustered.
    """
    estimator = fit(slide, classes, seeds, method=method, guests=guests, progress=progress)
    run = make_run(estimator, seeds, len(classes), embedding=slide.embedding)
    known: dict[str, Any] = {"sample": slide.sample, "loans": tuple(each.loan for each in guests)}
    if border is not None:
        labels = bordered(estimator.scores_, estimator.labels_, seed_vector(slide, seeds) >= 0, border)
        known |= {"border": border, **_packed(labels, len(classes))}
    return run.model_copy(update=known), estimator.scores_


def bordered(
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer[Any]],
    seeded: npt.NDArray[np.bool_],
    border: float,
) -> npt.NDArray[np.uint8]:
    """Return the labels where a patch is of class 1 from a score of `border` on.

    Parameters
    ----------
    scores : ndarray of shape (n_patches, n_classes), float32
    labels : integer ndarray of shape (n_patches,)
        Those without a border, which seeded patches keep.
    seeded : ndarray of shape (n_patches,), bool
    border : float
        0 to 1.

    Returns
    -------
    ndarray of shape (n_patches,), uint8
        A patch below the border is of the best of the other classes.
    """
    moved = np.where(scores[:, 1] >= np.float32(border), 1, runner_up(scores))
    return np.where(seeded, labels, moved).astype(np.uint8)


def runner_up(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the best class of each patch but for class 1, (n_patches,) uint8."""
    others = np.delete(np.arange(scores.shape[1]), 1)
    return np.asarray(others[scores[:, others].argmax(axis=1)], dtype=np.uint8)


def fit(
    slide: EmbeddedSlide,
    classes: Sequence[SeedClass],
    seeds: Mapping[str, int],
    *,
    method: Method = DEFAULT_METHOD,
    guests: Sequence[Guest] = (),
    progress: Progress | None = None,
) -> SeededIterativeClustering:
    """Return the estimator fitted to seeds by patch name; parameters and errors are those of `cluster`."""
    y = seed_vector(slide, seeds)
    if guests and method != "refine":
        raise SessionError(
            "seeds of another slide need the refined method; choose it, or drop the borrowed seeds"
        )
    together = joined(guests)
    there = set(y.tolist()) | (set() if together is None else set(together.labels.tolist()))
    for label, seed_class in enumerate(classes):
        if label not in there:
            raise SessionError(
                f"“{seed_class.name}” has no seeds yet; choose it and click at least one patch of it"
            )
    estimator = SeededIterativeClustering(method=method)
    stretch = Stretch.whole(progress)
    read_by = 0.0 if slide.is_prepared else _READING
    try:
        prepared = slide.prepare(stretch.part(0.0, read_by))
        return estimator.fit(prepared, y, guests=together, progress=stretch.part(read_by, 1.0).follow)
    except ValueError as error:
        raise SessionError(f"{slide.path.name}: {error}") from error


def joined(guests: Sequence[Guest]) -> Guests | None:
    """Return the seeds of all guests in order, as one; None where there are none."""
    if not guests:
        return None
    return Guests(
        np.concatenate([each.seeds.embeddings for each in guests]),
        np.concatenate([each.seeds.labels for each in guests]),
    )


def make_run(
    estimator: SeededIterativeClustering, seeds: Mapping[str, int], n_classes: int, *, embedding: str = MAIN
) -> Run:
    """Return the outcome of a fitted estimator as it is kept.

    Parameters
    ----------
    estimator : SeededIterativeClustering
        Fitted.
    seeds : mapping of str to int
        What it was fitted on, by patch name.
    n_classes : int
    embedding : str, default="X"
        Name of the embedding that it was fitted on.
    """
    from tissuumaps_sic import __version__

    return Run(
        time=_now(),
        seeds=SeedMap(seeds.index, seeds.labels) if isinstance(seeds, SeedMap) else dict(seeds),
        embedding=embedding,
        method=cast("Method", estimator.method),
        parameters=estimator.get_params(),
        version=__version__,
        n_iter=estimator.n_iter_,
        **_packed(estimator.labels_.astype(np.uint8), n_classes),
    )


def _packed(labels: npt.NDArray[np.uint8], n_classes: int) -> dict[str, Any]:
    """Return labels as a run keeps them."""
    return {
        "counts": tuple(np.bincount(labels, minlength=n_classes).tolist()),
        "labels": packed(labels.tobytes(), level=9),
    }


def session_path(h5ad: Path, name: str = "") -> Path:
    """Return where a session of an h5ad lies: beside it, ``<slide>.sic.json`` or ``<slide>.<name>.sic.json``.

    Raises
    ------
    SessionError
        When the name is not of letters, digits, spaces, "_" and "-", 40 at most, or is another slide's.
    """
    if not name:
        return h5ad.with_suffix(SUFFIX)
    if not is_session_name(name):
        raise SessionError(
            f"{name[:60]!r}: a session's name is of letters, digits, spaces, _ and -, 40 at most"
        )
    if h5ad.with_name(f"{h5ad.stem}.{name}.h5ad").exists():
        raise SessionError(f"{name}: there is a slide {h5ad.stem}.{name}; give the session another name")
    return h5ad.with_name(f"{h5ad.stem}.{name}{SUFFIX}")


def session_names(h5ad: Path) -> list[str]:
    """Return the names of the sessions that lie beside an h5ad, "" the one without a name."""
    return sessions_among({path.name for path in h5ad.parent.iterdir()}).get(h5ad.stem, [])


def sessions_among(files: Set[str]) -> dict[str, list[str]]:
    """Return the names of the sessions of each slide, by the slide's name, from the files of their folder."""
    found: dict[str, list[str]] = {}
    for file in sorted(files):
        if not file.endswith(SUFFIX):
            continue
        slide, name = file.removesuffix(SUFFIX), ""
        # A slide "a" has no session "b" where there is a slide "a.b": that is its own, without a name.
        if f"{slide}.h5ad" not in files and "." in slide:
            slide, _, name = slide.rpartition(".")
        if not name or is_session_name(name):
            found.setdefault(slide, []).append(name)
    return {slide: sorted(names) for slide, names in found.items()}


def is_session_name(name: str) -> bool:
    """Return whether a session can be called so: letters, digits, spaces, "_" and "-", 40 at most."""
    return bool(re.fullmatch(r"[^\W][\w -]{0,39}", name)) and name == name.strip()


def load_session(path: Path, slide: EmbeddedSlide) -> Session:
    """Read a session and see that it belongs to the slide.

    Raises
    ------
    SessionFileError
        When the file is damaged, or was made on other patches.
    """
    try:
        document = read_document(path, newest=_NEWEST)
        # Rows that are of other patches tell nothing, so this comes first.
        is_other = document.get("fingerprint", slide.fingerprint) != slide.fingerprint
        session = None if is_other else _session_of(document, PatchIndex.of(slide))
    except DocumentError as error:
        raise SessionFileError(f"{path.name}: {error}") from error
    if session is None:
        raise SessionFileError(
            f"{path.name}: was made on other patches than {slide.path.name} holds now; "
            "move it away to start anew, or put the h5ad that it was made on back"
        )
    if session.run is not None:
        # Before they are unpacked, since damage may unpack to gigabytes.
        labels = np.empty(0, dtype=np.uint8)
        if sum(session.run.counts) == slide.n_patches:
            with suppress(ValueError):
                labels = session.run.unpack()
        n_classes = len(session.run_classes)
        if labels.shape != (slide.n_patches,) or not np.array_equal(
            np.bincount(labels, minlength=n_classes), session.run.counts
        ):
            raise SessionFileError(
                f"{path.name}: the labels of its last run are damaged; move it away to start anew, or take "
                "the run out of it"
            )
    return session


def read_session(path: Path, n_patches: int) -> Session:
    """Read a session without its slide: what can be counted of it, and no names of patches.

    Parameters
    ----------
    path : Path
    n_patches : int
        Of the slide.

    Raises
    ------
    SessionFileError
        When the file is damaged.
    """
    try:
        return _session_of(read_document(path, newest=_NEWEST), PatchIndex(n_patches=n_patches))
    except DocumentError as error:
        raise SessionFileError(f"{path.name}: {error}") from error


def _session_of(document: dict[str, Any], index: PatchIndex) -> Session:
    """Return the session that a file holds.

    Raises
    ------
    DocumentError
        When it holds none.
    """
    content, n_packed = dict(document), 0
    if "history" in content:
        packed_actions = unpack_history(content.pop("history"))
        recent = content.get("actions", [])
        if not isinstance(recent, list):
            raise refusal_of("actions: is no list")
        content["actions"], n_packed = packed_actions + recent, len(packed_actions)
    try:
        return Session.model_validate(content, context=_Reading(index, n_packed=n_packed))
    except ValidationError as error:
        raise refusal_of(told(error, n_packed=n_packed)) from error


@contextmanager
def editing(h5ad: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Keep other processes from writing any session of an h5ad while the block reads, changes and writes one.

    `waiting` is called several times a second while another one keeps this one; what it raises ends the wait.

    Raises
    ------
    BusyError
        When another process keeps this one from it for two minutes.
    OSError
        When the folder cannot be written.
    """
    with locked(h5ad.with_name(f".{h5ad.stem}.sic.lock"), waiting):
        yield


def save_session(path: Path, session: Session) -> Stamp | None:
    """Write a session, so that a reader sees either the old or the new one; to be called while `editing`.

    Returns
    -------
    tuple of int or None
        `stamp_of` the file that was written; None where another one lies there now.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    text = session.document()
    remove_left_behind(path, follow_links=False)
    with replacing(path, follow_links=False) as temporary:
        temporary.write_text(text, encoding="utf-8")
        written = stamp_of(temporary)
    stamp = stamp_of(path)
    # The last of them, when it was renamed, is another one now.
    return stamp if stamp[:-1] == written[:-1] else None
