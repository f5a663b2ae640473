"""`demo`: make, embed and serve a synthetic slide."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tissuumaps_sic.commands.serve import add_address, serve_folder

log = logging.getLogger(__name__)

HELP = "make and embed a synthetic slide, and open it in the browser"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="the folder that its files go into (default: demo)",
    )
    parser.add_argument("--no-serve", action="store_true", help="make the files, and do not open them")
    add_address(parser)


def run(options: argparse.Namespace) -> int:
    """Make the demo where it is not made yet, and serve it."""
    from tissuumaps_sic.demo.folder import make_demo

    log.info("making the synthetic slide and its embeddings in %s ...", options.output)
    make_demo(options.output)
    return 0 if options.no_serve else serve_folder(options.output, options, first="demo")
