"""The slides of a folder on one sheet: a picture of each with its labels, their shares, what to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tissuumaps_sic.annotation.classes import sign_of
from tissuumaps_sic.export.hatching import css_of
from tissuumaps_sic.export.slide_rows import ClassFigures, SlideRow
from tissuumaps_sic.slidefile.names import page_at
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.verification.estimation import Interval

_TEMPLATE = Path(__file__).with_name("contact_sheet.html.jinja")

# Where `serve` listens unless it is told otherwise.
SERVER = "http://127.0.0.1:5100"
STATES = {
    "new": "not begun",
    "seeded": "seeded, not run",
    "labelled": "labelled",
    "changed": "changed since the run",
}


def write_sheet(
    rows: Sequence[SlideRow], target: Path, *, title: str = "", server: str = SERVER, root: Path | None = None
) -> None:
    """Write a contact sheet: one HTML file that needs nothing else, for a screen or paper.

    Parameters
    ----------
    rows : sequence of SlideRow
        With pictures (`folder.read_folder`).
    target : Path
    title : str, default=""
    server : str
        Address of the viewer that serves the slides; each picture leads to its slide's page there.
    root : Path, optional
        The folder that it serves; by default the one that holds all slides.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    text = to_html(rows, title=title, server=server, root=root)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_html(
    rows: Sequence[SlideRow], *, title: str = "", server: str = SERVER, root: Path | None = None
) -> str:
    """Return a contact sheet; parameters are those of `write_sheet`.

    Parameters
    ----------
    rows : sequence of SlideRow
    title : str, default=""
    server : str, optional
    root : Path, optional

    Returns
    -------
    str
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    if root is None and rows:
        root = Path(os.path.commonpath([row.h5ad.absolute().parent for row in rows]))
    cards = [
        _lay_out(row, f"{server.rstrip('/')}{_page(row.h5ad, root or Path())}", f"slide-{number}")
        for number, row in enumerate(rows, start=1)
    ]
    return template.render(
        title=title or "Slides",
        cards=cards,
        n_slides=len({row.h5ad for row in rows}),
        n_labelled=len({row.h5ad for row in rows if row.state in ("labelled", "changed")}),
        flagged=[card for card in cards if card["row"].problem or card["row"].warnings],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _page(h5ad: Path, root: Path) -> str:
    """Return the address of a slide's page, from the server's root."""
    within = h5ad.absolute().parent.relative_to(root.absolute())
    return page_at("" if within == Path() else within.as_posix(), f"{h5ad.stem}.tmap")


def _lay_out(row: SlideRow, page: str, anchor: str) -> dict[str, Any]:
    """Return what a card tells of a row."""
    worked = f"{row.minutes:.0f} min of work" if row.minutes >= 0.5 else ""
    told = [
        STATES.get(row.state, ""),
        f"session {row.session}" if row.session else "",
        f"{row.area:.2f} mm²" if row.area is not None else "",
        f"{row.seeds:,} {'seed' if row.seeds == 1 else 'seeds'}" if row.seeds else "",
        f"{row.borrowed:,} borrowed" if row.borrowed else "",
        ", ".join(row.readers),
        worked,
        f"reviewed by {row.checked_by}" if row.checked_by else "",
        f"{row.notes} {'note' if row.notes == 1 else 'notes'}" if row.notes else "",
    ]
    facts = []
    if row.accuracy is not None:
        answers = "1 answer" if row.answers == 1 else f"{row.answers:,} answers"
        facts.append(f"Right labels: {_tell(row.accuracy)}, by {answers}")
    if row.unlike is not None:
        facts.append(f"Unlike any seed: {_percent(row.unlike)} of the patches")
    return {
        "row": row,
        "page": page,
        "anchor": anchor,
        "told": ", ".join(filter(None, told)),
        "facts": facts,
        "shares": [_share(each) for each in row.classes if each.share is not None and _is_used(each)],
    }


def _is_used(figures: ClassFigures) -> bool:
    return bool(figures.patches or figures.seeds or figures.checked_share)


def _share(figures: ClassFigures) -> dict[str, Any]:
    share = figures.share or 0.0
    checked = "" if figures.checked_share is None else f"by the check {_tell(figures.checked_share)}"
    area = "" if figures.area is None else f"{figures.area:.2f} mm²"
    return {
        "name": figures.name,
        "sign": sign_of(figures.place),
        "css": css_of(figures.color, figures.place),
        "width": f"{100 * share:.2f}%",
        "told": ", ".join(filter(None, (_percent(share), area))),
        "checked": checked,
    }


def _percent(share: float) -> str:
    """Return a share for people: what is there and less than half a percent is not none."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _tell(interval: Interval) -> str:
    return f"{100 * interval.value:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
