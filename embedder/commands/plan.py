"""`plan`: what embedding slides would take."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from embedder.commands.options import (
    add_embedding,
    add_json,
    add_limits,
    add_slides,
    print_report,
    read_limits,
    read_options,
    set_defaults,
)
from embedder.embedding.options import EmbedOptions

HELP = "measure what embedding slides would take, and write nothing"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_slides(parser)
    add_embedding(parser)
    add_limits(parser)
    add_json(parser)
    set_defaults(parser, EmbedOptions())


def run(options: argparse.Namespace) -> int:
    """Plan the slides; those that could not be embedded are named."""
    from embedder.embedding.plan import plan_slides
    from embedder.embedding.request import gather

    items, asked = gather(options.slides), read_options(EmbedOptions, options)
    plan = plan_slides(items, options.output, asked, limits=read_limits(options))
    if options.json:
        print_report(asdict(plan))
    else:
        for line in plan.lines():
            print(line)
    return 1 if any(slide.problem for slide in plan.slides) else 0
