"""`share`: copies that tell nothing of whose slides they are."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from embedder.commands.options import add_json, print_report
from tissuumaps_sic.slidefile.console import as_wrong_use, report_error
from tissuumaps_sic.slidefile.errors import SicError, WrongUseError

HELP = "copy files without anything that tells whose slide it is"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the copies go")
    parser.add_argument("--rename", action="store_true", help="name each slide by a keyed hash of its name")
    parser.add_argument("--shift", action="store_true", help="move coordinates by a keyed number of pixels")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="the secret of --rename and --shift; made if it is not there"
    )
    parser.add_argument("--compress", action="store_true", help="gzip the embeddings")
    parser.add_argument(
        "--fine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep what tells cells smaller than a patch apart; it tells more of the picture than the rest",
    )
    parser.add_argument(
        "--keep", action="append", default=[], metavar="PLACE", help="keep this too, such as obs/stage"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="WORD",
        help="a word of the slide's name, or a person's, that may be in what stays, such as in a class",
    )
    add_json(parser, "print what was removed for machines")


def run(options: argparse.Namespace) -> int:
    """Share the files; one that cannot be is named, and the others are done."""
    from embedder.files.proof import ShareError
    from embedder.files.share import share
    from embedder.files.sharing_key import read_key

    with as_wrong_use(ShareError):
        key = read_key(options.key, shared=options.output) if options.key else None
    copies, failed = [], False
    for path in options.files:
        try:
            copy = share(
                path,
                options.output,
                key=key,
                rename=options.rename,
                shift=options.shift,
                compress=options.compress,
                fine=options.fine,
                keep=options.keep,
                allow=options.allow,
            )
        except WrongUseError:
            raise
        except (SicError, OSError) as error:
            report_error(error, options.output)
            failed = True
            continue
        copies.append(copy)
        if not options.json:
            print(f"{path} -> {copy.path}")
            for change in copy.changes:
                print(f"  {change.place}: {change.what} ({change.why})")
    if options.json:
        print_report([asdict(copy) for copy in copies])
    return 1 if failed else 0
