"""`open`: embed one's own slides and serve them, or unpack a bundle and serve that."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from tissuumaps_sic.commands.serve import add_address, serve_folder
from tissuumaps_sic.slidefile.errors import WrongUseError

log = logging.getLogger(__name__)

HELP = "embed slides of yours, or unpack a bundle, and open them in the browser"
_FOLDER = Path("annotations")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser; those that it does not know are `embedder embed`'s."""
    parser.epilog = "All options of `embedder embed` are taken as well, for example --slide-mpp 0.25."
    parser.add_argument(
        "slides",
        type=Path,
        nargs="+",
        metavar="SLIDE",
        help="the file of a slide, or one bundle that `tissuumaps-sic bundle` made",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help=f"the folder that the files go into (default: {_FOLDER}; for a bundle, a folder of its name "
        "beside it)",
    )
    add_address(parser)
    parser.set_defaults(takes_rest=True)


def run(options: argparse.Namespace) -> int:
    """Embed the slides, and serve those that could be; of a bundle, serve what is in it."""
    from tissuumaps_sic.export.bundle import is_bundle

    if any(is_bundle(path) for path in options.slides):
        return _open_bundle(options)
    return _embed(options)


def _open_bundle(options: argparse.Namespace) -> int:
    from tissuumaps_sic.export.bundle import name_folder, unpack_bundle
    from tissuumaps_sic.labelling.progress import bar

    if len(options.slides) > 1 or options.rest:
        what = options.rest[0] if options.rest else options.slides[1]
        raise WrongUseError(f"{what}: cannot be given with a bundle, which is opened by itself; leave it out")
    (bundle,) = options.slides
    with bar() as progress:
        unpacked = unpack_bundle(bundle, options.output or name_folder(bundle), progress=progress)
    for name in unpacked.kept:
        log.info("%s: is there already and is kept; the bundle's own was not unpacked", name)
    return serve_folder(unpacked.folder, options, first=unpacked.slide)


def _embed(options: argparse.Namespace) -> int:
    from tissuumaps_sic.demo.folder import EmbedError, embed

    folder = options.output or _FOLDER
    try:
        embed(options.slides, folder, options=options.rest)
    except EmbedError as error:
        if len(options.slides) == 1:
            raise
        log.error("%s; the others are opened", error)  # noqa: TRY400 -- a message for a person
    return serve_folder(folder, options, first=options.slides[0].stem)
