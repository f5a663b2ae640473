"""The classes that patches are seeded with: a name and a colour each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import Field, ValidationError, field_validator

from tissuumaps_sic.annotation.records import Record, SessionError

FEWEST_CLASSES, MOST_CLASSES = 2, 64


class SeedClass(Record):
    """A class that patches are seeded with."""

    name: str = Field(min_length=1, max_length=60)
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")

    @field_validator("name")
    @classmethod
    def _require_printable(cls, name: str) -> str:
        name = name.strip()
        if not name or re.search(r"[\x00-\x1f<>\"'&]", name):
            raise ValueError("a class name is printable text without quotes, < > or &")
        return name


class NumberedClass(SeedClass):
    """A class with the number that it keeps."""

    number: int = Field(ge=0)


# Class 1 is the positive one of the published algorithm. Amber and azure stand out on pink and purple,
# and are told apart by people who do not see red and green.
DEFAULT_CLASSES = (
    SeedClass(name="Other", color="#00a6fb"),
    SeedClass(name="Tumour", color="#ffb000"),
)

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
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SessionError(f"{name[:60]!r} cannot be a class: {reason}") from error


def next_color(classes: Sequence[SeedClass]) -> str:
    """Return a colour that no class has yet; beyond 16 further classes they come again."""
    taken = {each.color for each in classes}
    return next((color for color in _COLORS if color not in taken), _COLORS[len(classes) % len(_COLORS)])


def require_new_name(seed_class: SeedClass, others: Iterable[SeedClass]) -> None:
    """See that no other class has the name of one.

    Raises
    ------
    SessionError
        When one has.
    """
    if seed_class.name in {known.name for known in others}:
        raise SessionError(f"there is a class named {seed_class.name} already; choose another name")


def order_classes(n_classes: int) -> list[int]:
    """Return labels in the order in which people see them: the positive class, 1, comes first.

    >>> order_classes(4)
    [1, 0, 2, 3]
    """
    return [1, 0, *range(2, n_classes)][:n_classes] if n_classes > 1 else [0]


def drop_repeated(classes: Iterable[SeedClass]) -> list[SeedClass]:
    """Return classes without those whose name came before."""
    known: dict[str, SeedClass] = {}
    for each in classes:
        known.setdefault(each.name, each)
    return list(known.values())
