"""What all pages of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from tissuumaps_sic.viewer.opened import Opened, Scores
from tissuumaps_sic.viewer.turns import Turns
from tissuumaps_sic.viewer.worklist import Worklist


@dataclass(frozen=True)
class Shared:
    """What the endpoints of one server work with; each part is safe to use from many threads."""

    opened: Opened = field(default_factory=Opened)
    scores: Scores = field(default_factory=Scores)
    turns: Turns = field(default_factory=Turns)
    worklist: Worklist = field(default_factory=Worklist)
