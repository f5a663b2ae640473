"""Which values of a ground truth make which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.spelling import fold

UNCOUNTED = -1
# What stands for every value that no class names, and for what lies in no polygon.
OTHERS = "*"


class TruthError(SicError):
    """A ground truth cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class TruthClasses:
    """Which values of a truth make which class.

    Attributes
    ----------
    names : tuple of str
        Names of the classes 0, 1, ...; of two classes, 1 is the positive one.
    values : mapping of str to int
        Class of each value: a mask's number as text, or an annotation's class name, as `fold` gives it.
    others : int
        Class of every other value, and of what lies in no polygon; -1 counts it in no class.
    """

    names: tuple[str, ...]
    values: Mapping[str, int]
    others: int = UNCOUNTED

    @classmethod
    def binary(cls, positive: str) -> TruthClasses:
        """Return two classes: the values of the positive one, and everything else.

        Parameters
        ----------
        positive : str
            Values of the truth, with commas between them.

        Returns
        -------
        TruthClasses
            Class 0 is "Other", class 1 "Positive".

        Raises
        ------
        TruthError
            When a value is empty, is ``*`` or occurs twice.
        """
        if OTHERS in positive:
            raise TruthError(
                f"--positive {positive}: takes values of the truth; for {OTHERS}, name the classes with "
                "--class"
            )
        return cls.parse(["Other=*", f"Positive={positive}"])

    @classmethod
    def parse(cls, texts: Sequence[str]) -> TruthClasses:
        """Return classes from texts ``NAME=VALUE[,VALUE...]``, in the order of their numbers.

        A value ``*`` stands for all that no class names, what lies in no polygon included. Without it, that
        is counted in no class.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        TruthClasses

        Raises
        ------
        TruthError
            When a text is not of that form, there are fewer than two, or a name or value occurs twice.

        Examples
        --------
        >>> TruthClasses.parse(["Stroma=4", "Gland=0,1,3"]).values
        {'4': 0, '0': 1, '1': 1, '3': 1}
        """
        names: list[str] = []
        values: dict[str, int] = {}
        for number, text in enumerate(texts):
            name, equals, listed = (part.strip() for part in text.partition("="))
            given = [value.strip() for value in listed.split(",")]
            if not (name and equals and all(given)):
                raise TruthError(
                    f"--class {text!r}: must be NAME=VALUE[,VALUE...], for example Tumour=1,2 or Other=*"
                )
            if name in names:
                raise TruthError(f"--class {text!r}: there is a class {name} already; list its values there")
            names.append(name)
            for value in given:
                if fold(value) in values:
                    raise TruthError(f"--class {text!r}: {value} is in a class already; keep one of the two")
                values[fold(value)] = number
        if len(names) < 2:
            raise TruthError(
                f"--class: {len(names)} class is named; name at least two, for example --class Other=* "
                "--class Tumour=1, or the positive values alone: --positive 1"
            )
        others = values.pop(OTHERS, UNCOUNTED)
        return cls(tuple(names), values, others)

    def find_class(self, values: Sequence[str]) -> int | None:
        """Return the class of the first of some values that a class names.

        Parameters
        ----------
        values : sequence of str
            Spelt in any way that `fold` takes for the same.

        Returns
        -------
        int or None
            None where no class names any of them.
        """
        numbers = (self.values.get(fold(value)) for value in values)
        return next((number for number in numbers if number is not None), None)
