"""`bundle`: a slide as one file for a reader elsewhere."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
from pathlib import Path

from tissuumaps_sic.commands.options import add_file, add_json, pick_given
from tissuumaps_sic.slidefile.console import as_wrong_use, read_positive
from tissuumaps_sic.slidefile.errors import WrongUseError

log = logging.getLogger(__name__)

HELP = "pack a slide into one file for a reader elsewhere, who opens it with `tissuumaps-sic open`"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "--mpp",
        type=read_positive,
        metavar="UM",
        help="µm per pixel of the picture that goes along; finer makes a larger file (default: 1)",
    )
    parser.add_argument(
        "--session",
        metavar="NAME",
        help='a session that goes along; "" is the shared one (default: none, so that the reader sees nobody '
        "else's seeds and labels)",
    )
    parser.add_argument(
        "--image",
        type=Path,
        metavar="SLIDE",
        help="the slide's image (default: the one that the .tmap beside the h5ad names)",
    )
    parser.add_argument("--no-image", action="store_true", help="pack the patches alone, without a picture")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="ZIP",
        help="the file to write (default: <slide>.bundle.zip in the present folder)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write the bundle."""
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import session_path
    from tissuumaps_sic.export.bundle import ENDING, holds_labels, write_bundle
    from tissuumaps_sic.labelling.progress import bar

    if options.no_image and (options.image or options.mpp):
        raise WrongUseError(
            "--no-image: leaves out the picture that --image and --mpp are about; give either it or those"
        )
    if options.session is not None:
        with as_wrong_use(SessionError):
            path = session_path(options.file, options.session)
        if not path.exists():
            raise WrongUseError(
                f"--session {options.session!r}: there is no {path.name} beside the slide; name a session "
                "that is there, or leave --session out"
            )
    target = options.output or Path(f"{options.file.stem}{ENDING}")
    given = pick_given(options, "mpp", "image", "session")
    with bar() as progress:
        manifest = write_bundle(
            options.file, target, with_image=not options.no_image, progress=progress, **given
        )
    if holds_labels(options.file):
        log.warning(
            "%s: has labels written into it, which the reader will see; if the reader is to judge without "
            "them, bundle a copy of the file without labels",
            options.file.name,
        )
    if options.json:
        report = {"output": str(target), **manifest.model_dump(by_alias=True)}
        print(json.dumps(report, ensure_ascii=False))
    else:
        size = target.stat().st_size
        image = f"a picture at {manifest.image_mpp:g} µm/px" if manifest.image_mpp else "no picture"
        print(f"{target}: {size / 2**20:.1f} MB, with {image}; the reader opens it with")
        print(f"  {shlex.join(['tissuumaps-sic', 'open', target.name])}")
    return 0
