"""What was undone and then replaced: branches of a history, none of which is ever thrown away.

The line that counts, with what was undone last behind it, is the trunk: the ``actions`` of a session. Where
somebody undoes steps and goes on otherwise, the undone ones leave the trunk as a branch.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tissuumaps_sic.annotation.actions import Action
from tissuumaps_sic.annotation.records import Record


class Branch(Record):
    """Actions that once followed the first `at` actions of a line: the trunk, or another branch.

    Attributes
    ----------
    number : int
        What tells it from the others of its session.
    on : int or None
        The branch that it left; None is the trunk.
    at : int
        How many actions come before its own, counted from the beginning of the session.
    actions : tuple of Action
    """

    number: int = Field(ge=0)
    on: int | None = Field(default=None, ge=0)
    at: int = Field(ge=0)
    actions: tuple[Action, ...] = Field(min_length=1)

    @property
    def end(self) -> int:
        """How many actions there are with all of its own."""
        return self.at + len(self.actions)


Branches = tuple[Branch, ...]


def require_whole(branches: Sequence[Branch], n_actions: int) -> None:
    """See that every branch leaves a line that there is, at a place that it has.

    Parameters
    ----------
    branches : sequence of Branch
    n_actions : int

    Raises
    ------
    ValueError
        When one does not.
    """
    known = {each.number: each for each in branches}
    if len(known) < len(branches):
        raise ValueError("two branches have the same number")
    for each in branches:
        on = None if each.on is None else known.get(each.on)
        if each.on is not None and on is None:
            raise ValueError(f"branch {each.number} leaves branch {each.on}, which does not exist")
        first, last = (0, n_actions) if on is None else (on.at, on.end)
        # After its parent's first action at the earliest, else it would leave what the parent leaves: so no
        # branch can leave itself, by whatever way.
        if not (0 if on is None else first + 1) <= each.at <= last:
            raise ValueError(
                f"branch {each.number} leaves its line after {each.at} actions, which that line does not have"
            )


def cut(actions: Sequence[Action], position: int, branches: Branches) -> Branches:
    """Return the branches when the actions from `position` on leave the trunk.

    Parameters
    ----------
    actions : sequence of Action
    position : int
    branches : Branches

    Returns
    -------
    Branches
    """
    if position >= len(actions):
        return branches
    number = 1 + max((each.number for each in branches), default=-1)
    moved = tuple(_move(each, None, number, beyond=position) for each in branches)
    return (*moved, Branch(number=number, at=position, actions=tuple(actions[position:])))


def bring_back(
    actions: Sequence[Action], branches: Branches, number: int
) -> tuple[tuple[Action, ...], Branches]:
    """Return the trunk with a branch as its end, and the branches, which what gave way to it is one of.

    Parameters
    ----------
    actions : sequence of Action
    branches : Branches
    number : int

    Returns
    -------
    (tuple of Action, Branches)

    Raises
    ------
    LookupError
        When there is no such branch.
    """
    known = {each.number: each for each in branches}
    if number not in known:
        raise LookupError(f"no branch {number}")
    line = [known[number]]
    while line[-1].on is not None:
        line.append(known[line[-1].on])
    trunk = tuple(actions)
    # From the trunk outwards: each of them is then one that leaves the trunk.
    for each in reversed(line):
        trunk, branches = _exchange(trunk, branches, each.number)
    return trunk, branches


def _exchange(
    trunk: tuple[Action, ...], branches: Branches, number: int
) -> tuple[tuple[Action, ...], Branches]:
    """Let a branch that leaves the trunk, and what follows there on the trunk, change places."""
    chosen = next(each for each in branches if each.number == number)
    rest = trunk[chosen.at :]
    others = []
    for each in branches:
        if each.number == number:
            if rest:
                others.append(each.model_copy(update={"on": None, "actions": rest}))
        elif each.on == number:
            others.append(each.model_copy(update={"on": None}))
        else:
            others.append(_move(each, None, number, beyond=chosen.at))
    return trunk[: chosen.at] + chosen.actions, tuple(others)


def _move(branch: Branch, on: int | None, to: int, *, beyond: int) -> Branch:
    """Return a branch on another line, where it left one line beyond a place of it."""
    moves = branch.on == on and branch.at > beyond
    return branch.model_copy(update={"on": to}) if moves else branch
