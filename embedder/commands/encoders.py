"""`encoders`: which there are, and what each needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from textwrap import fill
from typing import Any

from embedder.commands.options import add_json, print_report

HELP = "list the encoders and what each needs here"

# An address stays in one piece.
_WRAPPED: dict[str, Any] = {"width": 100, "break_long_words": False, "break_on_hyphens": False}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "--details", metavar="NAME", help="tell all that is known of one, and what could not be read"
    )
    add_json(parser, "print the list as JSON")


def run(options: argparse.Namespace) -> int:
    """List the encoders."""
    from embedder.encoders.load import available_encoders, describe_encoder, format_table

    if options.details is not None:
        facts = describe_encoder(options.details)
        width = max(len(what) for what, _ in facts)
        if options.json:
            print_report(dict(facts))
        else:
            for what, which in facts:
                print(fill(f"{what.ljust(width)}  {which}", subsequent_indent=" " * (width + 2), **_WRAPPED))
        return 0
    statuses = available_encoders()
    if options.json:
        print_report([asdict(status) for status in statuses])
    else:
        print("\n".join(format_table(statuses)))
    return 0
