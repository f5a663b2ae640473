"""What the actions of a session come to: its classes, its seeds, and what it borrows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.check_sample import CheckSample
from tissuumaps_sic.annotation.classes import (
    FEWEST_CLASSES,
    MOST_CLASSES,
    NumberedClass,
    SeedClass,
    order_classes,
)
from tissuumaps_sic.annotation.loans import Loan
from tissuumaps_sic.annotation.patch_rows import Labels, PatchRows
from tissuumaps_sic.annotation.remarks import Check, Note


@dataclass
class State:
    """What some actions come to. Its methods change it, and raise `LookupError` where that cannot be."""

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
    # Names of patches that a reader cannot tell the class of, the notes by number, who has checked all this.
    skipped: frozenset[str] = frozenset()
    notes: dict[int, Note] = field(default_factory=dict)
    checked: Check | None = None
    # The check sample; the answers to it by patch, as numbers of classes; the seeds at its drawing.
    sample: CheckSample | None = None
    answers: dict[str, int | None] = field(default_factory=dict)
    drawn_labels: Labels | None = None
    drawn_numbers: tuple[int, ...] = ()

    @classmethod
    def start(cls, classes: Sequence[SeedClass], n_patches: int) -> State:
        """Return what no action comes to.

        Parameters
        ----------
        classes : sequence of SeedClass
        n_patches : int

        Returns
        -------
        State
        """
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

    def copy(self) -> State:
        """Return another one, for more to be done to it.

        Returns
        -------
        State
        """
        return replace(
            self,
            classes=list(self.classes),
            numbers=list(self.numbers),
            labels=self.labels.copy(),
            order=self.order.copy(),
            loans=dict(self.loans),
            known=dict(self.known),
            merged=dict(self.merged),
            notes=dict(self.notes),
            answers=dict(self.answers),
        )

    @property
    def has_seeds(self) -> bool:
        """Whether any patch of this slide is seeded."""
        return bool((self.labels >= 0).any())

    def _require(self, label: int | None) -> None:
        if label is not None and label >= len(self.classes):
            raise LookupError(f"no class {label}")

    def seed(self, patches: PatchRows, label: int | None) -> None:
        """Give patches a class, or take it from them.

        Parameters
        ----------
        patches : PatchRows
        label : int or None
        """
        self._require(label)
        rows = patches.rows
        more = len(patches.slide_index) - len(self.labels)
        if more > 0:
            # Patches that the slide has not come to light with their action.
            self.labels = np.concatenate([self.labels, np.full(more, -1, np.int8)])
            self.order = np.concatenate([self.order, np.zeros(more, np.int64)])
        self.labels[rows] = -1 if label is None else label
        # Of a patch that is named twice the second place counts, as of assignments.
        self.order[rows] = np.arange(self.n_seeded, self.n_seeded + len(rows))
        self.n_seeded += len(rows)

    def clear(self) -> None:
        """Take all seeds of this slide away."""
        self.labels.fill(-1)

    def add_class(self, number: int, seed_class: SeedClass) -> None:
        """Add a class after the others.

        Parameters
        ----------
        number : int
        seed_class : SeedClass
        """
        if number in self.known:
            raise LookupError(f"class number {number} is taken")
        self.classes.append(seed_class)
        self.numbers.append(number)
        self.known[number] = seed_class

    def edit_class(self, label: int, seed_class: SeedClass) -> None:
        """Rename or recolour a class.

        Parameters
        ----------
        label : int
        seed_class : SeedClass
        """
        self._require(label)
        self.classes[label] = self.known[self.numbers[label]] = seed_class

    def remove_class(self, label: int, into: int | None) -> None:
        """Remove a class, with its seeds or (`into`) by giving them to another one.

        Parameters
        ----------
        label : int
        into : int or None
        """
        self._require(label)
        self._require(into)
        if len(self.classes) <= FEWEST_CLASSES or into == label:
            raise LookupError(f"class {label} cannot be removed")
        if into is not None:
            self.merged[self.numbers[label]] = self.numbers[into]
        # In the order of the list on the page, which a removal must not shuffle.
        kept = [each for each in order_classes(len(self.classes)) if each != label]
        order = [kept[each] for each in order_classes(len(kept))]
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

    def take_classes(self, added: Sequence[NumberedClass], *, replaces: bool) -> None:
        """Add the classes that come with seeds from elsewhere, in place of those that are there or not.

        Parameters
        ----------
        added : sequence of NumberedClass
        replaces : bool
        """
        if replaces:
            if self.has_seeds or self.loans:
                raise LookupError("classes that have seeds cannot be replaced")
            self.classes.clear()
            self.numbers.clear()
        for each in added:
            self.add_class(each.number, SeedClass(name=each.name, color=each.color))
        if not FEWEST_CLASSES <= len(self.classes) <= MOST_CLASSES:
            raise LookupError(f"there cannot be {len(self.classes)} classes")

    def borrow(self, loan: Loan, added: Sequence[NumberedClass], *, replaces: bool) -> None:
        """Take over seeds of another slide, after the classes that came with them.

        Parameters
        ----------
        loan : Loan
        added : sequence of NumberedClass
        replaces : bool
        """
        self.take_classes(added, replaces=replaces)
        self._require(max(loan.seeds.values()))
        # At the end, so that the order does not tell how often it was borrowed.
        self.loans.pop(loan.path, None)
        self.loans[loan.path] = loan

    def give_back(self, path: str) -> None:
        """Drop what is borrowed from a slide.

        Parameters
        ----------
        path : str
        """
        if self.loans.pop(path, None) is None:
            raise LookupError(f"nothing is borrowed from {path}")

    def draw(self, sample: CheckSample) -> None:
        """Begin a check sample, in place of any before it.

        Parameters
        ----------
        sample : CheckSample
        """
        self.sample, self.answers = sample, {}
        self.drawn_labels, self.drawn_numbers = self.labels.copy(), tuple(self.numbers)

    def answer(self, patch: str, number: int | None) -> None:
        """Keep what a reader says of a patch of the check sample; the last answer counts.

        Parameters
        ----------
        patch : str
        number : int or None
        """
        if self.sample is None:
            raise LookupError("no check sample")
        if number is not None and number not in self.known:
            raise LookupError(f"no class number {number}")
        self.answers[patch] = number

    def outdate_check(self) -> None:
        """Note that what was checked is no longer what there is."""
        if self.checked is not None:
            self.checked = self.checked.model_copy(update={"is_current": False})

    def name_class(self, number: int, otherwise: SeedClass) -> SeedClass:
        """Return the class of a number as it is called now; `otherwise` where its making was undone.

        Parameters
        ----------
        number : int
        otherwise : SeedClass

        Returns
        -------
        SeedClass
        """
        return self.known.get(self.follow_merges(number), otherwise)

    def follow_merges(self, number: int) -> int:
        """Return the number of the class that one was merged into; its own where it was into none.

        Parameters
        ----------
        number : int

        Returns
        -------
        int
        """
        while number in self.merged:
            number = self.merged[number]
        return number
