"""A report as one page of A4 in PDF."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.hatching import direction_of
from tissuumaps_sic.export.picture import encode, scale_bar
from tissuumaps_sic.export.report import ClassRow, Report, tell_figure, write_report

if TYPE_CHECKING:
    from fpdf import FPDF

log = logging.getLogger(__name__)

# All lengths are in mm, from the page's upper left corner.
_WIDTH, _HEIGHT, _MARGIN = 210.0, 297.0, 15.0
_GAP = 5.0
_INK, _QUIET, _LINE = "#1c2430", "#5d6877", "#c3cad3"
_ROW, _FACT = 6.2, 4.7
# Where columns of the table end (numbers) or begin (the bar of the share).
_ENDS = {
    "Patches": 79.0,
    "Patches, mm²": 103.0,
    "Tissue, mm²": 124.0,
    "Share": 140.0,
    "Mean score": 178.0,
    "Seeds": 195.0,
}
_BAR, _BAR_WIDTH = 142.0, 16.0
# Where columns of the check's table end, a row's height, and how many classes it has room for.
_CHECKED = {"Precision": 92.0, "Recall": 126.0, "F1": 158.0, "Tissue of it, mm²": 195.0}
_CHECKED_ROW, _MOST_CHECKED = 4.4, 8
_MEASURES = (
    "Precision: of what is labelled so, the share that is right; recall: of what is so, the share found."
)
_TITLE, _NAME, _VALUE = 125.0, 44.0, 62.0
_LONG = 60
_NONE = "-"
# Fonts that are looked at last where a letter is looked for: it should be plain.
_FANCY = re.compile("black|bold|condensed|heavy|italic|light|mono|oblique|serif|thin", re.IGNORECASE)


def write_pdf(
    labelled: Labelled,
    target: Path,
    *,
    image: Path | None = None,
    session_name: str = "",
    blocks: bool = False,
) -> None:
    """Write the report as PDF; parameters and errors are those of `report.write_report`."""
    write_report(labelled, target, to_pdf, image=image, session_name=session_name, blocks=blocks)


def to_pdf(report: Report) -> bytes:
    """Return a report as a PDF of one page.

    Letters that matplotlib's DejaVu lacks are printed in fonts of this computer; where none of these has
    them either, a question mark stands for each, and the page and the log say so.
    """
    page = _Page(f"{report.slide}: labels")
    known = [report.slide, *(row.name for row in report.rows), *(told for _, told in report.facts)]
    lacking = page.find_letters("".join(known))
    notes = list(report.notes)
    if lacking:
        told = f"No font on this computer has the letters ({', '.join(lacking)}) that ? stands for"
        notes.append(f"{told}; the HTML report shows them.")
        log.warning("%s: %s; install a font that has them, or write the report as HTML", report.slide, told)
    below = len(report.facts) / 2 * _FACT + 34 + 7 * len(notes) + _quality_height(report)
    # What the pictures leave is the table's, whose rows become narrower where there are many.
    row = min(_ROW, (_HEIGHT - 2 * _MARGIN - below - 70) / (len(report.rows) + 2))
    room = _HEIGHT - 2 * _MARGIN - below - row * (len(report.rows) + 2)
    at = _head(page, report)
    at = _pictures(page, report, at, min(room, 150.0))
    at = _notes(page, notes, at)
    at = _table(page, report, at, row)
    at = _quality(page, report, at)
    _provenance(page, report, at)
    return bytes(page.pdf.output())


class _Page:
    """A page to draw on, in mm from its upper left corner."""

    pdf: FPDF

    def __init__(self, title: str) -> None:
        import matplotlib as mpl
        from fpdf import FPDF

        self.pdf = FPDF(format="A4")
        self.pdf.set_title(title)
        self.pdf.set_auto_page_break(auto=False)
        self.pdf.c_margin = 0
        self.pdf.add_page()
        fonts = Path(mpl.get_data_path(), "fonts", "ttf")
        self.pdf.add_font("plain", fname=fonts / "DejaVuSans.ttf")
        self.pdf.add_font("plain", "B", fname=fonts / "DejaVuSans-Bold.ttf")
        self.pdf.add_font("mono", fname=fonts / "DejaVuSansMono.ttf")
        # Joins the letters of Arabic, and writes from right to left what is read so.
        self.pdf.set_text_shaping(True)
        self._table: dict[int, str] = {}

    def find_letters(self, told: str) -> list[str]:
        """Look for fonts of this computer for letters that the page's own lacks; return whose there are none.

        Returns
        -------
        list of str
            Scripts, as Unicode calls them: ``CJK``, ``THAI``.
        """
        from matplotlib.font_manager import findSystemFonts
        from matplotlib.ft2font import FT2Font

        # What is written nowhere, as marks of direction, needs no font.
        needed = {ord(each) for each in told if unicodedata.category(each) not in ("Cc", "Cf")}
        needed -= self.pdf.fonts["plain"].cmap.keys()  # type: ignore[union-attr]
        fallbacks: list[str] = []
        for path in sorted(findSystemFonts(), key=lambda path: (bool(_FANCY.search(path)), path)) * bool(
            needed
        ):
            try:
                font = FT2Font(path)
            except (OSError, RuntimeError):
                continue
            # Pictures of letters cannot be set at every size.
            if font.units_per_EM and needed & font.get_charmap().keys():
                needed -= font.get_charmap().keys()
                fallbacks.append(f"font{len(fallbacks)}")
                self.pdf.add_font(fallbacks[-1], fname=path)
        self.pdf.set_fallback_fonts(fallbacks, exact_match=False)
        self._table = dict.fromkeys(needed, "?") | dict.fromkeys(range(32), " ")
        return sorted({unicodedata.name(chr(each), "unknown").split()[0].split("-")[0] for each in needed})

    def text(
        self,
        x: float,
        y: float,
        told: str,
        *,
        size: float = 9,
        color: str = _INK,
        bold: bool = False,
        mono: bool = False,
        right: bool = False,
        within: float = _WIDTH,
    ) -> None:
        """Write a line with its middle at `y`, from `x` on or up to it, cut to what `within` has room for."""
        self.pdf.set_font("mono" if mono else "plain", "B" if bold else "", size)
        self.pdf.set_text_color(color)
        told = self.cut(told.translate(self._table), within)
        height = self.pdf.font_size
        self.pdf.set_xy(0 if right else x, y - height / 2)
        self.pdf.cell(x if right else _WIDTH - x, height, told, align="R" if right else "L")

    def cut(self, told: str, within: float) -> str:
        """Return as much of a text as there is room for in the font that is set."""
        width = self.pdf.get_string_width(told)
        if width <= within:
            return told
        kept = int(len(told) * within / width)
        while kept and self.pdf.get_string_width(told[:kept] + "…") > within:
            kept -= 1
        return told[:kept] + "…"

    def box(self, x: float, y: float, width: float, height: float, color: str, *, edge: str = "") -> None:
        self.pdf.set_fill_color(color)
        if edge:
            self._draw_with(edge, 0.2)
        self.pdf.rect(x, y, width, height, style="DF" if edge else "F")

    def chip(self, x: float, y: float, side: float, row: ClassRow) -> None:
        """Draw a class's colour, with its lines where it has some."""
        self.box(x, y, side, side, row.color, edge="#555555")
        direction = direction_of(row.place)
        if direction is None:
            return
        across, down = (0.5 * side * each for each in direction)
        middle = x + side / 2, y + side / 2
        # Lines are at right angles to what they are across.
        for shift in (-0.45, 0.0, 0.45):
            at = middle[0] + shift * across, middle[1] + shift * down
            reach = 1.0 if 0 in direction else 1 - abs(shift)
            ends = [(at[0] + turn * reach * down, at[1] - turn * reach * across) for turn in (-1, 1)]
            self.path([each[0] for each in ends], [each[1] for each in ends], color="#ffffff", width=0.4)

    def line(self, y: float, *, color: str = _LINE, width: float = 0.2) -> None:
        self.path([_MARGIN, _WIDTH - _MARGIN], [y, y], color=color, width=width)

    def path(self, x: list[float], y: list[float], *, color: str = _INK, width: float = 0.35) -> None:
        self._draw_with(color, width)
        self.pdf.polyline(list(zip(x, y, strict=True)))

    def image(self, content: bytes, x: float, y: float, width: float, height: float) -> None:
        self._draw_with(_LINE, 0.2)
        self.pdf.image(io.BytesIO(content), x, y, width, height)
        self.pdf.rect(x, y, width, height)

    def _draw_with(self, color: str, width: float) -> None:
        self.pdf.set_draw_color(color)
        self.pdf.set_line_width(width)


def _head(page: _Page, report: Report) -> float:
    at = _MARGIN + 4
    # Long names are set smaller, down to where they can still be read.
    page.pdf.set_font("plain", "B", 16)
    size = min(16.0, max(9.0, 16 * _TITLE / page.pdf.get_string_width(report.slide)))
    page.text(_MARGIN, at, report.slide, size=size, bold=True, within=_TITLE)
    told = f"Labels of {report.patches:,} {'patch' if report.patches == 1 else 'patches'}"
    page.text(_WIDTH - _MARGIN, at + 1, told, color=_QUIET, right=True)
    page.line(at + 6, color=_INK, width=0.5)
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
        page.image(encode(pixels, photo=picture.slide is not None), x, y, width, height)
        page.text(x, y + height + 3, told, size=8, color=_QUIET)
        if picture.width_um is not None:
            length, named = scale_bar(picture.width_um)
            begin, end = x + width - length / picture.width_um * width, x + width
            tick = y + height + 1.2
            page.path([begin, begin, end, end], [tick, tick + 1.6, tick + 1.6, tick])
            page.text(end, tick + 4, named, size=8, right=True)
    return float(at + down * (height + caption))


def _notes(page: _Page, notes: list[str], at: float) -> float:
    for note in notes:
        page.box(_MARGIN, at, _WIDTH - 2 * _MARGIN, 6, "#fff6e0")
        page.box(_MARGIN, at, 1.2, 6, "#d98e00")
        page.text(_MARGIN + 4, at + 3, note, size=8, within=_WIDTH - 2 * _MARGIN - 6)
        at += 7
    return at


def _table(page: _Page, report: Report, at: float, row: float) -> float:
    size = min(9.0, row * 1.5)
    at += row / 2
    page.text(_MARGIN, at, "Class", size=size - 0.8, color=_QUIET)
    for told, end in _ENDS.items():
        page.text(end, at, told, size=size - 0.8, color=_QUIET, right=True)
    page.line(at + row / 2)
    for each in report.rows:
        at += row
        chip = min(3.4, row * 0.6)
        page.chip(_MARGIN + 0.3, at - chip / 2, chip, each)
        name = f"{each.sign} {each.name}".strip() + ("" if each.is_used else " (not used on this slide)")
        # Long names are set smaller, down to where they can still be read.
        page.pdf.set_font("plain", "", size)
        fits = size * _NAME / max(page.pdf.get_string_width(name), _NAME)
        page.text(_MARGIN + 6, at, name, size=max(fits, 5.0), within=_NAME)
        score = _NONE if each.score is None else f"{each.score:.2f}"
        cells = (
            f"{each.patches:,}",
            _mm2(each.area),
            _mm2(each.tissue),
            f"{100 * each.share:.1f} %",
            score,
            f"{each.seeds:,}",
        )
        _numbers(page, at, cells, size=size)
        page.box(_BAR, at - row * 0.2, _BAR_WIDTH, row * 0.4, "#eef1f4")
        page.box(_BAR, at - row * 0.2, _BAR_WIDTH * each.share, row * 0.4, each.color)
    page.line(at + row / 2)
    at += row
    page.text(_MARGIN, at, "All", size=size, bold=True)
    sums = (f"{report.patches:,}", _mm2(report.area), _mm2(report.tissue), "100.0 %", "", f"{report.seeds:,}")
    _numbers(page, at, sums, size=size, bold=True)
    return at + row


def _mm2(area: float | None) -> str:
    return _NONE if area is None else f"{area:.3f}"


def _numbers(page: _Page, at: float, cells: tuple[str, ...], **how: Any) -> None:
    for told, end in zip(cells, _ENDS.values(), strict=True):
        page.text(end, at, told, right=True, **how)


def _quality_height(report: Report) -> float:
    """Return how much room the check takes."""
    if report.quality is None:
        return 0.0
    n_rows = min(len(report.quality.classes), _MOST_CHECKED)
    return 17.0 + (_CHECKED_ROW * (n_rows + 3) if n_rows else 0.0)


def _quality(page: _Page, report: Report, at: float) -> float:
    """Write how good the labels are; return where that ends."""
    quality = report.quality
    if quality is None:
        return at
    page.text(_MARGIN, at + 3, "How good is it", size=10, bold=True)
    page.pdf.set_font("plain", "", 8)
    page.pdf.set_text_color(_INK)
    page.pdf.set_xy(_MARGIN, at + 6.5)
    page.pdf.multi_cell(_WIDTH - 2 * _MARGIN, 3.4, quality.told, align="L")
    at = float(page.pdf.get_y()) + 2.5
    if not quality.classes:
        return at
    page.text(_MARGIN, at, "Class", size=8, color=_QUIET)
    for told, end in _CHECKED.items():
        page.text(end, at, told, size=8, color=_QUIET, right=True)
    page.line(at + _CHECKED_ROW / 2)
    for each in quality.classes[:_MOST_CHECKED]:
        at += _CHECKED_ROW
        page.text(_MARGIN, at, each.name, size=8, within=_NAME)
        cells = (
            tell_figure(each.precision, percent=True),
            tell_figure(each.recall, percent=True),
            tell_figure(each.f1),
            tell_figure(each.area, digits=3),
        )
        for told, end in zip(cells, _CHECKED.values(), strict=True):
            page.text(end, at, told, size=8, right=True)
    at += _CHECKED_ROW
    right = f"Right labels: {tell_figure(quality.accuracy, percent=True)} of all patches."
    page.text(_MARGIN, at + 1, right, size=8)
    page.text(_MARGIN, at + 1 + _CHECKED_ROW, _MEASURES, size=7, color=_QUIET)
    return at + 2 * _CHECKED_ROW


def _provenance(page: _Page, report: Report, at: float) -> None:
    at += 3
    page.text(_MARGIN, at, "How the labels were made", size=10, bold=True)
    at += 6
    short = [fact for fact in report.facts if len(fact[1]) <= _LONG]
    middle = _WIDTH / 2 + 2
    for place, (name, told) in enumerate(short):
        x, y = (middle if place % 2 else _MARGIN), at + place // 2 * _FACT
        page.text(x, y, name, size=8, color=_QUIET)
        page.text(x + 28, y, told, size=8, within=_VALUE)
    at += (len(short) + 1) // 2 * _FACT
    for name, told in report.facts:
        if len(told) > _LONG:
            page.text(_MARGIN, at, name, size=8, color=_QUIET)
            page.text(_MARGIN + 28, at, told, size=7, mono=True, within=_WIDTH - 2 * _MARGIN - 28)
            at += _FACT
    closing = (
        f"Written {report.written}. {report.measured} "
        "The score of a patch is that of its own class, 0 to 1. For research; not a diagnosis."
    )
    page.pdf.set_font("plain", "", 7)
    page.pdf.set_text_color(_QUIET)
    page.pdf.set_xy(_MARGIN, at + 2)
    page.pdf.multi_cell(_WIDTH - 2 * _MARGIN, 3, closing, align="L")
