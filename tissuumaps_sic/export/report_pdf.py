"""A report as one page of A4 in PDF."""

from __future__ import annotations

import io
import textwrap
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.picture import scale_bar
from tissuumaps_sic.export.report import Report, write_report
from tissuumaps_sic.slidefile.pixels.source import Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# All lengths are in mm, from the page's upper left corner.
_WIDTH, _HEIGHT, _MARGIN = 210.0, 297.0, 15.0
_INCH = 25.4
_SHORT_TITLE, _LONGEST_TITLE = 34, 60
_GAP = 5.0
_INK, _QUIET, _LINE = "#1c2430", "#5d6877", "#c3cad3"
_ROW, _FACT = 6.2, 4.7
# Where columns of the table end (numbers) or begin (the bar of the share).
_ENDS = {"Patches": 100.0, "Area, mm²": 122.0, "Share of tissue": 147.0, "Mean score": 182.0, "Seeds": 195.0}
_BAR, _BAR_WIDTH = 149.0, 16.0
_LONGEST_NAME, _LONGEST_FACT = 40, 44
_LONG = 60
_NONE = "-"
# Settings of matplotlib, and warnings, are those of all threads.
_DRAWING = threading.Lock()


def write_pdf(labelled: Labelled, target: Path, *, image: Path | None = None, session_name: str = "") -> None:
    """Write the report as PDF; parameters and errors are those of `report.write_report`."""
    write_report(labelled, target, to_pdf, image=image, session_name=session_name)


def to_pdf(report: Report) -> bytes:
    """Return a report as a PDF of one page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH / _INCH, _HEIGHT / _INCH))
    FigureCanvasPdf(figure)
    page = _Page(figure)
    below = len(report.facts) / 2 * _FACT + 34 + 7 * len(report.notes)
    # What the pictures leave is the table's, whose rows become narrower where there are many.
    row = min(_ROW, (_HEIGHT - 2 * _MARGIN - below - 70) / (len(report.rows) + 2))
    room = _HEIGHT - 2 * _MARGIN - below - row * (len(report.rows) + 2)
    at = _head(page, report)
    at = _pictures(page, report, at, min(room, 150.0))
    at = _notes(page, report, at)
    at = _table(page, report, at, row)
    _provenance(page, report, at)
    buffer = io.BytesIO()
    # Text that can be found and copied; and letters that the font lacks are told by their box.
    with _DRAWING, mpl.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="pdf", metadata={"Title": f"{report.slide}: labels"})
    return buffer.getvalue()


class _Page:
    """A page to draw on, in mm from its upper left corner."""

    def __init__(self, figure: Figure) -> None:
        self._figure = figure

    def text(self, x: float, y: float, told: str, *, size: float = 9, color: str = _INK, **more: Any) -> None:
        # A class may be called "$x$".
        self._figure.text(
            x / _WIDTH, 1 - y / _HEIGHT, told, fontsize=size, color=color, parse_math=False,
            **{"va": "center", **more},
        )  # fmt: skip

    def box(self, x: float, y: float, width: float, height: float, color: str, *, edge: str = "none") -> None:
        from matplotlib.patches import Rectangle

        self._figure.add_artist(
            Rectangle(
                (x / _WIDTH, 1 - (y + height) / _HEIGHT), width / _WIDTH, height / _HEIGHT,
                facecolor=color, edgecolor=edge, linewidth=0.6, transform=self._figure.transFigure,
            )
        )  # fmt: skip

    def line(self, y: float, *, color: str = _LINE, width: float = 0.6) -> None:
        self.path([_MARGIN, _WIDTH - _MARGIN], [y, y], color=color, width=width)

    def path(self, x: list[float], y: list[float], *, color: str = _INK, width: float = 1.0) -> None:
        from matplotlib.lines import Line2D

        self._figure.add_artist(
            Line2D(
                [each / _WIDTH for each in x], [1 - each / _HEIGHT for each in y],
                color=color, linewidth=width, transform=self._figure.transFigure, solid_capstyle="butt",
            )
        )  # fmt: skip

    def image(self, pixels: Pixels, x: float, y: float, width: float, height: float) -> None:
        axes = self._figure.add_axes(
            (x / _WIDTH, 1 - (y + height) / _HEIGHT, width / _WIDTH, height / _HEIGHT)
        )
        axes.imshow(pixels, aspect="auto", interpolation="none")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=_LINE, linewidth=0.6)


def _head(page: _Page, report: Report) -> float:
    at = _MARGIN + 4
    # Long names are set smaller, down to where they can still be read.
    size = min(16.0, max(9.0, 16 * _SHORT_TITLE / len(report.slide)))
    page.text(_MARGIN, at, _cut(report.slide, _LONGEST_TITLE), size=size, weight="bold")
    told = f"Labels of {report.patches:,} patches"
    page.text(_WIDTH - _MARGIN, at + 1, told, color=_QUIET, ha="right")
    page.line(at + 6, color=_INK, width=1.4)
    return at + 11


def _pictures(page: _Page, report: Report, at: float, room: float) -> float:
    """Draw the pictures side by side, or wide ones below each other; return where they end."""
    picture = report.picture
    shown = [("Labels; dots are seeds" if report.seeds else "Labels", picture.labels)]
    if picture.slide is not None:
        shown.append(("Slide", picture.slide))
    rows, columns = picture.labels.shape[:2]
    ratio = columns / rows
    caption = 9.0
    # Side by side or one above the other, as they are larger.
    choices = []
    for across in range(1, len(shown) + 1):
        beside = (_WIDTH - 2 * _MARGIN - _GAP * (across - 1)) / across
        choices.append((min(beside, (room / (len(shown) // across) - caption) * ratio), across))
    width, across = max(choices)
    down = len(shown) // across
    height = width / ratio
    left = (_WIDTH - across * width - (across - 1) * _GAP) / 2
    for place, (told, pixels) in enumerate(shown):
        x = left + (place % across) * (width + _GAP)
        y = at + (place // across) * (height + caption)
        page.image(pixels, x, y, width, height)
        page.text(x, y + height + 3, told, size=8, color=_QUIET)
        if picture.width_um is not None:
            length, named = scale_bar(picture.width_um)
            begin, end = x + width - length / picture.width_um * width, x + width
            tick = y + height + 1.2
            page.path([begin, begin, end, end], [tick, tick + 1.6, tick + 1.6, tick])
            page.text(end, tick + 4, named, size=8, ha="right")
    return float(at + down * (height + caption))


def _notes(page: _Page, report: Report, at: float) -> float:
    for note in report.notes:
        page.box(_MARGIN, at, _WIDTH - 2 * _MARGIN, 6, "#fff6e0")
        page.box(_MARGIN, at, 1.2, 6, "#d98e00")
        page.text(_MARGIN + 4, at + 3, note, size=8.5)
        at += 7
    return at


def _table(page: _Page, report: Report, at: float, row: float) -> float:
    size = min(9.0, row * 1.5)
    at += row / 2
    page.text(_MARGIN, at, "Class", size=size - 0.8, color=_QUIET)
    for told, end in _ENDS.items():
        page.text(end, at, told, size=size - 0.8, color=_QUIET, ha="right")
    page.line(at + row / 2)
    for each in report.rows:
        at += row
        chip = min(3.4, row * 0.6)
        page.box(_MARGIN + 0.3, at - chip / 2, chip, chip, each.color, edge="#555555")
        page.text(_MARGIN + 6, at, _cut(each.name, _LONGEST_NAME), size=size)
        area = _NONE if each.area is None else f"{each.area:.3f}"
        score = _NONE if each.score is None else f"{each.score:.2f}"
        cells = (f"{each.patches:,}", area, f"{100 * each.share:.1f} %", score, f"{each.seeds:,}")
        _numbers(page, at, cells, size=size)
        page.box(_BAR, at - row * 0.2, _BAR_WIDTH, row * 0.4, "#eef1f4")
        page.box(_BAR, at - row * 0.2, _BAR_WIDTH * each.share, row * 0.4, each.color)
    page.line(at + row / 2)
    at += row
    page.text(_MARGIN, at, "All", size=size, weight="bold")
    area = _NONE if report.area is None else f"{report.area:.3f}"
    _numbers(
        page, at, (f"{report.patches:,}", area, "100.0 %", "", f"{report.seeds:,}"), size=size, weight="bold"
    )
    return at + row


def _numbers(page: _Page, at: float, cells: tuple[str, ...], **how: Any) -> None:
    for told, end in zip(cells, _ENDS.values(), strict=True):
        page.text(end, at, told, ha="right", **how)


def _provenance(page: _Page, report: Report, at: float) -> None:
    at += 3
    page.text(_MARGIN, at, "How the labels were made", size=10, weight="bold")
    at += 6
    short = [fact for fact in report.facts if len(fact[1]) <= _LONG]
    middle = _WIDTH / 2 + 2
    for place, (name, told) in enumerate(short):
        x, y = (middle if place % 2 else _MARGIN), at + place // 2 * _FACT
        page.text(x, y, name, size=8, color=_QUIET)
        page.text(x + 28, y, _cut(told, _LONGEST_FACT), size=8)
    at += (len(short) + 1) // 2 * _FACT
    for name, told in report.facts:
        if len(told) > _LONG:
            page.text(_MARGIN, at, name, size=8, color=_QUIET)
            page.text(_MARGIN + 28, at, _cut(told, 90), size=7, family="monospace")
            at += _FACT
    closing = (
        f"Written {report.written}. The share is that of the patches that were embedded. "
        "The score of a patch is that of its own class, 0 to 1. For research; not a diagnosis."
    )
    page.text(_MARGIN, at + 2, "\n".join(textwrap.wrap(closing, 125)), size=7, color=_QUIET, va="top")


def _cut(told: str, most: int) -> str:
    return told if len(told) <= most else f"{told[: most - 1]}…"
