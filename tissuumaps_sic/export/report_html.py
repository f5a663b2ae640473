"""A report as one HTML file that needs nothing else: no script, no other host."""

from __future__ import annotations

import base64
from pathlib import Path

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.hatching import css_of
from tissuumaps_sic.export.picture import encode, scale_bar
from tissuumaps_sic.export.report import Report, tell_figure, write_report
from tissuumaps_sic.slidefile.pixels.source import Pixels

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
# Wider pictures go one above the other, where the table leaves room.
_WIDE, _FEW = 1.45, 16


def write_html(
    labelled: Labelled,
    target: Path,
    *,
    image: Path | None = None,
    session_name: str = "",
    blocks: bool = False,
) -> None:
    """Write the report as HTML; parameters and errors are those of `report.write_report`."""
    write_report(labelled, target, to_html, image=image, session_name=session_name, blocks=blocks)


def to_html(report: Report) -> bytes:
    """Return a report as HTML, one page of A4 when it is printed.

    Parameters
    ----------
    report : Report

    Returns
    -------
    bytes
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    picture = report.picture
    pictures = [("Labels", _data_uri(picture.labels, photo=picture.slide is not None))]
    if picture.slide is not None:
        pictures.append(("Slide", _data_uri(picture.slide, photo=True)))
    rows, columns = picture.labels.shape[:2]
    bar = None
    if picture.width_um is not None:
        length, told = scale_bar(picture.width_um)
        bar = {"percent": 100 * length / picture.width_um, "told": told}
    n_rows = len(report.rows)
    if report.quality is not None:
        # Its heading and sentence, and a table of its own.
        n_rows += 4 + len(report.quality.classes)
    wide = columns > _WIDE * rows and len(pictures) > 1 and n_rows <= _FEW
    tallest = _tallest(n_rows, stacked=wide)
    return template.render(
        report=report,
        css_of=css_of,
        tell=tell_figure,
        pictures=pictures,
        bar=bar,
        wide=wide,
        ratio=columns / rows,
        tallest=tallest,
    ).encode()


def _tallest(n_classes: int, *, stacked: bool) -> int:
    """Return how high a picture may be so that all is one page when it is printed, in CSS pixels."""
    room = 560 if n_classes <= 3 else max(200, 560 - 34 * (n_classes - 3))
    return room // 2 if stacked else room


def _data_uri(pixels: Pixels, *, photo: bool) -> str:
    """Return an image as what a page holds itself."""
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(encode(pixels, photo=photo)).decode()}"
