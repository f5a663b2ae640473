"""`receive`: a reader's session comes home."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tissuumaps_sic.commands.options import add_file, add_json
from tissuumaps_sic.slidefile.spelling import say_count

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.receiving import Received

HELP = "take in the session that a reader of a bundle sends back"
_SHOWN = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "sent",
        type=Path,
        nargs="+",
        metavar="SESSION",
        help="what was sent: a session (.sic.json), or a zip or a folder that holds some",
    )
    parser.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        help="name of the session here, where one of that name is merged with it (default: its name there, "
        "or that of its reader)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Put the sessions beside the slide."""
    from tissuumaps_sic.annotation.receiving import receive_sessions
    from tissuumaps_sic.slidefile.errors import WrongUseError
    from tissuumaps_sic.slides.slide import open_slide_file

    if options.name is not None and len(options.sent) > 1:
        raise WrongUseError("--as: names one session; give one file at a time")
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
        "new": f"{each.path}: new, with {say_count(each.n_seeds, 'seed')}",
        "went on": f"{each.path}: continued there, with {say_count(each.n_seeds, 'more seed')}",
        "known": f"{each.path}: nothing new in what was sent",
        "merged": f"{each.path}: changed here and there; it adds {say_count(each.n_seeds, 'seed')}, "
        "which can be undone",
    }[each.how]
    if each.kept is not None:
        whose = "was here" if each.how == "went on" else "was sent"
        yield f"  {each.kept}: the session that {whose}, as it was; compare the two in the viewer"
    if each.conflicts:
        n = len(each.conflicts)
        patches = "1 patch has" if n == 1 else f"{n:,} patches have"
        yield f"  {patches} another class there, and the class of here is kept:"
    for conflict in each.conflicts[:_SHOWN]:
        yield f"    {conflict.patch}: {conflict.here} here, {conflict.there} there"
    if len(each.conflicts) > _SHOWN:
        yield f"    and {len(each.conflicts) - _SHOWN} more (--json lists all)"
