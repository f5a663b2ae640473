"""`open`: embed one's own slides and serve them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tissuumaps_sic.commands.serve import add_address, serve_folder

log = logging.getLogger(__name__)

HELP = "embed your own slides and serve them"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser; those that it does not know are `embedder embed`'s."""
    parser.epilog = "Further options are those of `embedder embed`, for example --slide-mpp 0.25."
    parser.add_argument("slides", type=Path, nargs="+", metavar="SLIDE")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("annotations"), metavar="DIR", help="default: annotations"
    )
    add_address(parser)
    parser.set_defaults(takes_rest=True)


def run(options: argparse.Namespace) -> int:
    """Embed the slides, and serve those that could be."""
    from tissuumaps_sic.demo.folder import EmbedError, embed

    try:
        embed(options.slides, options.output, options=options.rest)
    except EmbedError as error:
        if len(options.slides) == 1:
            raise
        log.error("%s; the others are served", error)  # noqa: TRY400 -- a message for a person
    return serve_folder(options.output, options, first=options.slides[0].stem)
