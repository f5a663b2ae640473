"""`table`: the slides of a folder as one table, and as a contact sheet."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tissuumaps_sic.commands.options import add_files, add_json, pick_given
from tissuumaps_sic.slidefile.console import as_wrong_use, read_count
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.pool import count_processors

if TYPE_CHECKING:
    from tissuumaps_sic.export.slide_rows import SlideRow

log = logging.getLogger(__name__)

# A process takes seconds to begin, in which one reads so many slides.
_FEWEST = 16

HELP = "sum up the slides of a folder in one table, and on a page of pictures"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument(
        "--session",
        metavar="NAME",
        help='list only sessions of this name; "" is the shared one, without a name (default: all)',
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="TABLE",
        help="write the table into this .csv or .parquet, a row for each slide and session (default: print "
        "it as CSV)",
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="HTML",
        help="write a page with a picture of each slide, its labels and what to look at, to read or to print",
    )
    parser.add_argument(
        "--server",
        type=_read_server,
        metavar="URL",
        help="the address where the folder is served, for the links of --sheet (default: "
        "http://127.0.0.1:5100)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the folder that is served there, if it is one above (default: the folder of the slides)",
    )
    parser.add_argument(
        "--workers",
        type=read_count,
        metavar="N",
        help="how many slides to read at a time (default: as many as processors)",
    )
    add_json(parser)


def _read_server(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of a server; give http://NAME:PORT")
    return text


def run(options: argparse.Namespace) -> int:
    """Make the table; a slide that cannot be read is a line of it, and the others are told."""
    from tqdm import tqdm

    from tissuumaps_sic.export.folder import read_folder
    from tissuumaps_sic.slidefile.batch_command import find_h5ads

    _require_sense(options)
    files = [path for path, _ in find_h5ads(options.files)]
    _require_below(files, options.root)
    with tqdm(total=len(files), unit=" slides", desc="reading", disable=len(files) < 2) as bar:
        rows = read_folder(
            files,
            session=options.session,
            pictures=options.sheet is not None,
            workers=options.workers or _choose_workers(len(files)),
            advance=lambda n_done: bar.update(n_done - bar.n),
        )
    problems = [row.problem for row in rows if row.problem]
    for problem in problems:
        log.error("%s", problem)
    _write(rows, options)
    return 1 if problems else 0


def _require_sense(options: argparse.Namespace) -> None:
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import session_path
    from tissuumaps_sic.export.errors import ExportError
    from tissuumaps_sic.export.folder import require_writable

    with as_wrong_use(ExportError, SessionError):
        if options.output:
            require_writable(options.output)
        if options.session:
            # The name alone; it is of no slide.
            session_path(Path("slide.h5ad"), options.session)
    for option in ("server", "root"):
        if getattr(options, option) and not options.sheet:
            raise WrongUseError(f"--{option}: is for the links of --sheet; give --sheet, too")
    if options.sheet and options.sheet.suffix.lower() not in (".html", ".htm"):
        raise WrongUseError(f"--sheet {options.sheet}: is an HTML page; let its name end in .html")


def _require_below(files: Sequence[Path], root: Path | None) -> None:
    outside = (
        [] if root is None else [path for path in files if root.absolute() not in path.absolute().parents]
    )
    if outside:
        raise WrongUseError(f"--root {root}: does not hold {outside[0]}; name a folder above all slides")


def _write(rows: Sequence[SlideRow], options: argparse.Namespace) -> None:
    from tissuumaps_sic.export.contact_sheet import write_sheet
    from tissuumaps_sic.export.folder import to_json, write_table

    if options.output or not (options.json or options.sheet):
        write_table(rows, options.output)
    if options.sheet:
        one = options.files[0].absolute() if len(options.files) == 1 else None
        folder = one if one and one.is_dir() else None
        title = folder.name if folder else ""
        root = options.root or folder
        write_sheet(rows, options.sheet, title=title, root=root, **pick_given(options, "server"))
    if options.json:
        print(to_json(rows))
        return
    for written in filter(None, (options.output, options.sheet)):
        print(written)


def _choose_workers(n_slides: int) -> int:
    """Return how many processes read slides, as many as this one may use processors at most."""
    return max(1, min(count_processors(), n_slides // _FEWEST))
