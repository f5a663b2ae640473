"""`effort`: what annotations cost, and how good they are where that was checked."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tissuumaps_sic.commands.options import add_files, add_json
from tissuumaps_sic.slidefile.console import report_error
from tissuumaps_sic.slidefile.errors import SicError

HELP = "clicks, corrections and minutes of work, by slide, session and reader"

COLUMNS = (
    *("slide", "session", "reader", "clicks", "patches", "corrections", "minutes", "first", "last"),
    *("class", "f1", "f1_low", "f1_high", "answers"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="CSV", help="a table (default: print it)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Tell what each session took; one that cannot be read is named, and the others are told."""
    from tissuumaps_sic.commands.batch import find_h5ads

    files = list(find_h5ads(options.files))
    rows: list[dict[str, Any]] = []
    failed = False
    for path, _ in files:
        try:
            rows += _measure(path)
        except (SicError, OSError) as error:
            if len(files) == 1:
                raise
            report_error(error)
            failed = True
    if options.json:
        print(json.dumps(rows))
    if options.output or not options.json:
        _write(rows, options.output)
    return 1 if failed else 0


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


def _write(rows: list[dict[str, Any]], target: Path | None) -> None:
    from tissuumaps_sic.slidefile.tables import as_text
    from tissuumaps_sic.slidefile.writing import replacing

    lines = [
        {key: as_text(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in rows
    ]
    if target is None:
        table = csv.DictWriter(sys.stdout, COLUMNS)
        table.writeheader()
        table.writerows(lines)
        return
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(lines)
