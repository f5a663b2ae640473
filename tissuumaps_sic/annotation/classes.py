"""The classes that patches are seeded with: a name and a colour each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from string import ascii_uppercase

from pydantic import Field, ValidationError, field_validator

from tissuumaps_sic.annotation.colors import choose_color
from tissuumaps_sic.annotation.records import Record, SessionError

FEWEST_CLASSES, MOST_CLASSES = 2, 64
# More colours than this nobody tells apart in every kind of sight (`colors`).
_TOLD_APART = 7


# Characters that are no text: control characters (a name has one line), halves of characters, and what turns
# the direction of all that follows, which may be a sentence that the name stands in.
_NO_TEXT = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_LONGEST_NAME = 60


class SeedClass(Record):
    """A class that patches are seeded with.

    Attributes
    ----------
    name : str
        1 to 60 characters of any script, on one line.
    color : str
        ``#rrggbb``, lower case.
    """

    name: str
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")

    @field_validator("name")
    @classmethod
    def _read_name(cls, name: str) -> str:
        name = " ".join(_NO_TEXT.sub("", name).split())
        if not name:
            raise ValueError("a class needs a name; type one letter or more")
        if len(name) > _LONGEST_NAME:
            raise ValueError(
                f"“{name[:20]}…” has {len(name)} characters, and the name of a class has {_LONGEST_NAME} at "
                f"most; shorten it by {len(name) - _LONGEST_NAME}"
            )
        return name


class NumberedClass(SeedClass):
    """A class with the number that it keeps, whatever comes and goes before it.

    Attributes
    ----------
    number : int
        From 0 on.
    """

    number: int = Field(ge=0)


# Class 1 is the positive one of the published algorithm. Amber and azure stand out on pink and purple,
# and are told apart by people who do not see red and green.
DEFAULT_CLASSES = (
    SeedClass(name="Other", color="#00a6fb"),
    SeedClass(name="Tumour", color="#ffb000"),
)


def make_class(name: str, color: str) -> SeedClass:
    """Return a class of what a person wrote.

    Parameters
    ----------
    name : str
    color : str
        ``#rrggbb``.

    Returns
    -------
    SeedClass

    Raises
    ------
    SessionError
        When the name or the colour cannot be used.
    """
    try:
        # As most programs write letters, so that one name is not two.
        return SeedClass(name=unicodedata.normalize("NFC", name), color=color)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("color",):
            raise SessionError(f"{color[:20]!r} is not a colour; write one as #rrggbb") from error
        raise SessionError(first["msg"].removeprefix("Value error, ")) from error


def next_color(classes: Iterable[SeedClass]) -> str:
    """Return the colour that is best told from those of all classes (`colors.choose_color`).

    Parameters
    ----------
    classes : iterable of SeedClass

    Returns
    -------
    str
    """
    return choose_color(each.color for each in classes)


def require_new_name(seed_class: SeedClass, others: Iterable[SeedClass]) -> None:
    """See that no other class has the name of one.

    Parameters
    ----------
    seed_class : SeedClass
    others : iterable of SeedClass

    Raises
    ------
    SessionError
        When one has.
    """
    if seed_class.name in {known.name for known in others}:
        raise SessionError(f"there is a class named {seed_class.name} already; choose another name")


def require_room(n_classes: int, source: str = "") -> None:
    """See that classes which come from elsewhere are not too many with those that there are.

    Parameters
    ----------
    n_classes : int
        How many there would be.
    source : str, default=""
        The file or slide that they come from, for the message.

    Raises
    ------
    SessionError
        When they are more than there can be.
    """
    if n_classes > MOST_CLASSES:
        raise SessionError(
            f"{source or 'the file'}: with its classes there would be {n_classes}, and {MOST_CLASSES} are "
            "the most; leave some out, or merge some of them"
        )


def order_classes(n_classes: int) -> list[int]:
    """Return labels in the order in which people see them: the positive class, 1, comes first.

    >>> order_classes(4)
    [1, 0, 2, 3]

    Parameters
    ----------
    n_classes : int

    Returns
    -------
    list of int
    """
    return [1, 0, *range(2, n_classes)][:n_classes] if n_classes > 1 else [0]


def sign_of(place: int) -> str:
    """Return the letter of a class by its place in that order; "" of those that everybody tells by colour.

    >>> [sign_of(place) for place in (0, 6, 7, 8, 33)]
    ['', '', 'A', 'B', 'A2']

    Parameters
    ----------
    place : int

    Returns
    -------
    str
    """
    if place < _TOLD_APART:
        return ""
    around, letter = divmod(place - _TOLD_APART, len(ascii_uppercase))
    return ascii_uppercase[letter] + (str(around + 1) if around else "")


def drop_repeated(classes: Iterable[SeedClass]) -> list[SeedClass]:
    """Return classes without those whose name came before.

    Parameters
    ----------
    classes : iterable of SeedClass

    Returns
    -------
    list of SeedClass
    """
    known: dict[str, SeedClass] = {}
    for each in classes:
        known.setdefault(each.name, each)
    return list(known.values())
