"""`encoders`: which there are, and what each needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from embedder.commands.options import add_json, print_report

HELP = "list the encoders and what each needs here"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_json(parser, "print them for machines")


def run(options: argparse.Namespace) -> int:
    """List the encoders."""
    from embedder.encoders.load import available_encoders, format_table

    statuses = available_encoders()
    if options.json:
        print_report([asdict(status) for status in statuses])
    else:
        print("\n".join(format_table(statuses)))
    return 0
