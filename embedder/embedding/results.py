"""What became of the slides of a run, and how that is said."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from embedder.embedding.request import SlideInput, find_clashes
from tissuumaps_sic.slidefile.names import refusal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlideResult:
    """What became of one slide.

    Attributes
    ----------
    slide : str
        The path as it was given.
    status : "done", "skipped" or "failed"
    message : str
        What happened, on one line.
    h5ad : str or None
        The file, where there is one.
    n_patches : int
    seconds : dict of str to float
        Time that each stage took; "embed" includes what earlier, interrupted runs took.
    """

    slide: str
    status: Literal["done", "skipped", "failed"]
    message: str
    h5ad: str | None = None
    n_patches: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def refuse_names(items: Sequence[SlideInput]) -> dict[int, SlideResult]:
    """Return the failure of each slide, by its place, whose name cannot be, or is that of one before it.

    Parameters
    ----------
    items : sequence of SlideInput

    Returns
    -------
    dict of int to SlideResult
    """
    refused = {
        place: SlideResult(str(item.path), "failed", f"{item.path}: {why}")
        for place, item in enumerate(items)
        if (why := refusal(item.path.name)) is not None
    }
    return refused | {
        place: SlideResult(
            str(items[place].path),
            "failed",
            f"{items[place].path}: {other} has the same name and is embedded as {items[place].name}.h5ad; "
            "rename one, or give another -o",
        )
        for place, other in find_clashes(items).items()
    }


def log_result(result: SlideResult) -> None:
    """Log a result's message.

    Parameters
    ----------
    result : SlideResult
    """
    log.log(logging.ERROR if result.status == "failed" else logging.INFO, "%s", result.message)
