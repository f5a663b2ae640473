"""What annotating a slide cost each reader: clicks, corrections and minutes of work, by a session's times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from tissuumaps_sic.annotation.actions import Action, ClearAction, SeedAction, do
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.state import State

# A pause that is longer is not work on this slide.
IDLE = timedelta(minutes=2)


@dataclass(frozen=True)
class Effort:
    """What one reader did in a session.

    Attributes
    ----------
    reader : str
        "" is who gave no name.
    clicks : int
        How often patches were given a class or lost it: by a click, a key, a stroke or a lasso, those that
        were undone later included.
    patches : int
        How many patches these were, each time anew.
    corrections : int
        Clicks that changed or took back the class of a patch that had one, or were undone.
    seconds : float
        From each thing that was done to the next one, where they are no more than two minutes apart. Before
        the first one, and after the last, nobody knows.
    first, last : str
        When something was done first and last.
    """

    reader: str
    clicks: int
    patches: int
    corrections: int
    seconds: float
    first: str
    last: str

    @property
    def minutes(self) -> float:
        """Minutes of work: `seconds` / 60."""
        return self.seconds / 60.0


def measure_effort(session: Session) -> tuple[Effort, ...]:
    """Return what each reader did in a session; borrowed seeds are others' work.

    Parameters
    ----------
    session : Session

    Returns
    -------
    tuple of Effort
        In the order in which the readers began.
    """
    corrected = _find_corrections(session)
    by_reader: dict[str, list[Action]] = {}
    for action in sorted(session.every_action, key=lambda each: each.time):
        by_reader.setdefault(action.user, []).append(action)
    efforts = []
    for reader, actions in by_reader.items():
        clicks = [each for each in actions if isinstance(each, SeedAction | ClearAction)]
        efforts.append(
            Effort(
                reader,
                len(clicks),
                sum(each.n_patches for each in clicks),
                sum(id(each) in corrected for each in clicks),
                sum_work([each.time for each in actions]),
                actions[0].time,
                actions[-1].time,
            )
        )
    return tuple(efforts)


def _find_corrections(session: Session) -> set[int]:
    """Return which actions, by `id`, changed what was said before or were undone."""
    corrected = {id(action) for action in session.actions[session.position :]}
    corrected |= {id(action) for branch in session.branches for action in branch.actions}
    state = State.start(session.initial_classes, session.n_patches)
    for action in session.actions[: session.position]:
        if _changes_seeds(state, action):
            corrected.add(id(action))
        do(state, action)
    return corrected


def _changes_seeds(state: State, action: Action) -> bool:
    if isinstance(action, ClearAction):
        return bool((state.labels >= 0).any())
    if not isinstance(action, SeedAction):
        return False
    rows = action.patches.rows
    before = state.labels[rows[rows < len(state.labels)]]
    label = -1 if action.label is None else action.label
    return bool(((before >= 0) & (before != label)).any())


def sum_work(times: list[str]) -> float:
    """Return the seconds between times, in order, but for pauses; a time that is none counts as a pause.

    Parameters
    ----------
    times : list of str

    Returns
    -------
    float
    """
    moments = list(_read_times(times))
    pauses = [(after - before).total_seconds() for before, after in pairwise(moments)]
    return float(sum(pause for pause in pauses if 0 <= pause <= IDLE.total_seconds()))


def _read_times(times: list[str]) -> Iterator[datetime]:
    for time in times:
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            continue
        yield moment if moment.tzinfo else moment.astimezone()


def tell_effort(efforts: tuple[Effort, ...]) -> str:
    """Return what was done, for people; "" where it was nothing.

    Parameters
    ----------
    efforts : tuple of Effort

    Returns
    -------
    str
    """
    told = [each for each in efforts if each.clicks]
    if not told:
        return ""
    clicks, corrections = (sum(getattr(each, name) for each in told) for name in ("clicks", "corrections"))
    minutes = sum(each.minutes for each in efforts)
    clicked = "1 click" if clicks == 1 else f"{clicks:,} clicks"
    worked = f"{minutes:,.0f} minutes" if minutes >= 1.5 else "a minute or less"
    return f"{clicked}, of which {corrections:,} corrected something; {worked} of work"
