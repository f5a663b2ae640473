"""`receive`: a reader's session comes home."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tissuumaps_sic.commands.options import add_file, add_json

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.receiving import Received

HELP = "take home the session of a reader who had a bundle, merged by its name"
_SHOWN = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "sent",
        type=Path,
        nargs="+",
        metavar="SESSION",
        help="what came: a session (.sic.json), or a zip or a folder with some",
    )
    parser.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        help="what the session is called here (default: as there; one without a name as its reader)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Put the sessions beside the slide."""
    from tissuumaps_sic.annotation.receiving import receive_sessions
    from tissuumaps_sic.slidefile.errors import WrongUseError
    from tissuumaps_sic.slides.slide import open_slide_file

    if options.name is not None and len(options.sent) > 1:
        raise WrongUseError("--as: is the name of one session; give one file at a time")
    slide = open_slide_file(options.file)
    received = [each for sent in options.sent for each in receive_sessions(slide, sent, name=options.name)]
    if options.json:
        print(json.dumps([asdict(each) for each in received], default=str, ensure_ascii=False))
        return 0
    for each in received:
        for line in _tell(each):
            print(line)
    return 0


def _tell(each: Received) -> Iterator[str]:
    """Yield the lines that tell people what became of a session."""
    yield {
        "new": f"{each.path}: is new, with {each.n_seeds} seeds",
        "went on": f"{each.path}: went on, with {each.n_seeds} seeds more",
        "known": f"{each.path}: has all of it already",
        "merged": f"{each.path}: both went on; {each.n_seeds} seeds were added, which one can undo",
    }[each.how]
    if each.kept is not None:
        whose = "was here" if each.how == "went on" else "came"
        yield f"  {each.kept}: the one that {whose}, whole; compare the two in the viewer"
    if each.conflicts:
        yield f"  {len(each.conflicts)} patches have two classes; those that were here stay:"
    for conflict in each.conflicts[:_SHOWN]:
        yield f"    {conflict.patch}: {conflict.here} here, {conflict.there} there"
    if len(each.conflicts) > _SHOWN:
        yield f"    and {len(each.conflicts) - _SHOWN} more (--json lists all)"
