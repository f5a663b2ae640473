"""`effort`: what annotations cost, and how good they are, or became click by click, where that is known."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.commands.options import add_files, add_json
from tissuumaps_sic.slidefile.console import as_wrong_use, report_error
from tissuumaps_sic.slidefile.errors import SicError, WrongUseError

if TYPE_CHECKING:
    from tissuumaps_sic.truth.classes import TruthClasses

log = logging.getLogger(__name__)

HELP = "list clicks, corrections and minutes of work, by slide, session and reader"

COLUMNS = (
    *("slide", "session", "reader", "clicks", "patches", "corrections", "minutes", "first", "last"),
    *("class", "f1", "f1_low", "f1_high", "answers"),
)
PICTURES = (".png", ".svg", ".pdf")
_DIGITS = {"minutes": 1, "f1": 4, "low": 4, "high": 4}
_CURVE_NAMES = {"name": "class", "low": "f1_low", "high": "f1_high"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="CSV", help="write the table into this file (default: print it)"
    )
    parser.add_argument(
        "--curve",
        type=Path,
        metavar="FILE",
        help="write F1 after each click, by the answers of each session's check or by --truth, as a table "
        "(.csv) or a picture (.png, .svg, .pdf)",
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="PATH",
        help="the ground truth, for --curve: a mask (.png, .tif), QuPath's GeoJSON or ASAP's XML, or a "
        "folder that holds <slide>_mask.png, <slide>.geojson, <slide>.xml ...; needs --class",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="NAME=VALUE[,VALUE]",
        help="a class of the sessions and its values in the truth (* is all other values); repeat it for "
        "each class",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Tell what each session took; one that cannot be read is named, and the others are told."""
    from tissuumaps_sic.slidefile.batch_command import find_h5ads

    if (options.truth is None) != (options.classes is None) or (options.truth and not options.curve):
        raise WrongUseError("--truth, --class NAME=VALUE and --curve belong together; give all three")
    if options.curve and options.curve.suffix.lower() not in (".csv", *PICTURES):
        raise WrongUseError(
            f"--curve {options.curve}: is neither a table nor a picture; end it in .csv, "
            f"{', '.join(PICTURES)}"
        )
    classes = _parse_classes(options.classes)
    files = list(find_h5ads(options.files))
    rows: list[dict[str, Any]] = []
    curve: list[dict[str, Any]] = []
    failed = False
    for path, _ in files:
        try:
            rows += _measure(path)
            if options.curve:
                curve += _follow(path, options.truth, classes)
        except (SicError, OSError) as error:
            if len(files) == 1:
                raise
            report_error(error)
            failed = True
    if options.json:
        print(json.dumps(rows))
    if options.output or not options.json:
        _write(rows, COLUMNS, options.output)
    if options.curve:
        _keep_curve(curve, options.curve)
    return 1 if failed else 0


def _parse_classes(texts: list[str] | None) -> TruthClasses | None:
    from tissuumaps_sic.truth.classes import TruthClasses, TruthError

    with as_wrong_use(TruthError):
        return None if texts is None else TruthClasses.parse(texts)


def _measure(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each reader of each session of a slide, with the figures of the session's check."""
    from tissuumaps_sic.annotation.effort import measure_effort
    from tissuumaps_sic.annotation.store import load_session, session_names, session_path
    from tissuumaps_sic.slides.slide import open_slide_file
    from tissuumaps_sic.verification.check import verify

    slide = open_slide_file(path)
    for name in session_names(path):
        session = load_session(session_path(path, name), slide)
        checked: dict[str, Any] = {}
        found = verify(slide, session)
        if found.state == "ready":
            halved = next(each for each in found.classes if each.name == found.halved)
            if halved.f1 is not None:
                f1 = (round(each, 4) for each in (halved.f1.value, halved.f1.low, halved.f1.high))
                checked = dict(zip(COLUMNS[-5:], (halved.name, *f1, found.answers), strict=True))
        for each in measure_effort(session):
            told = (each.reader, each.clicks, each.patches, each.corrections, round(each.minutes, 1))
            row = dict(zip(COLUMNS, (slide.name, name, *told, each.first, each.last), strict=False))
            yield row | checked


def _follow(path: Path, truth: Path | None, classes: TruthClasses | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each class and each number of clicks of each session of a slide."""
    from tissuumaps_sic.annotation.store import load_session, session_names, session_path
    from tissuumaps_sic.evaluation.real_use import follow_session
    from tissuumaps_sic.slides.slide import open_slide_file
    from tissuumaps_sic.truth.squares import patch_squares
    from tissuumaps_sic.truth.truth import find_truth, read_truth

    slide, known = open_slide_file(path), None
    if truth is not None and classes is not None:
        file = find_truth(truth, [slide.name, path.stem]) if truth.is_dir() else truth
        known = read_truth(file, patch_squares(slide), classes)
    for name in session_names(path):
        for point in follow_session(slide, load_session(session_path(path, name), slide), known):
            row = {"slide": slide.name, "session": name}
            for key, value in asdict(point).items():
                rounded = round(value, _DIGITS[key]) if key in _DIGITS and value is not None else value
                row[_CURVE_NAMES.get(key, key)] = rounded
            yield row


def _keep_curve(curve: list[dict[str, Any]], target: Path) -> None:
    if not curve:
        log.warning(
            "%s: not written, since no session has a check with enough answers; answer a check (C in the "
            "viewer), or give --truth",
            target,
        )
    elif target.suffix.lower() == ".csv":
        _write(curve, tuple(curve[0]), target)
    else:
        from tissuumaps_sic.evaluation.figures import f1_of_sessions
        from tissuumaps_sic.slidefile.writing import replacing

        with replacing(target) as temporary:
            f1_of_sessions(curve).savefig(temporary, format=target.suffix[1:].lower())


def _write(rows: list[dict[str, Any]], columns: tuple[str, ...], target: Path | None) -> None:
    from tissuumaps_sic.slidefile.tables import as_text
    from tissuumaps_sic.slidefile.writing import replacing

    lines = [
        {key: as_text(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in rows
    ]
    if target is None:
        table = csv.DictWriter(sys.stdout, columns)
        table.writeheader()
        table.writerows(lines)
        return
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(lines)
