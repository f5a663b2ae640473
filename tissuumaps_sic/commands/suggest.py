"""`suggest`: which patches to look at next."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tissuumaps_sic.commands.options import add_file, add_json, pick_given
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, METHODS
from tissuumaps_sic.slidefile.console import as_wrong_use, read_count
from tissuumaps_sic.slidefile.errors import WrongUseError

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.session import Session
    from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

HELP = "list the patches of a slide to look at next, or to begin with"
_TYPICAL, _IN_DOUBT = "typical", "in doubt"
# A row, and why it is to be looked at.
_Reasoned = tuple[int, str]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "-n", type=read_count, default=10, metavar="N", help="how many patches to list (default: 10)"
    )
    parser.add_argument(
        "--second-opinion",
        action="store_true",
        help="list patches where another kind of model, from the same seeds, says another class than the "
        "labels, N of each pair of classes: errors are more common there",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="CSV",
        help="write the list into this file; with its column class filled in, `run --seeds` reads it "
        "(default: print it)",
    )
    parser.add_argument(
        "--session",
        default="",
        metavar="NAME",
        help="name of the session whose seeds count (default: the shared one, without a name, if there is "
        "one)",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=DEFAULT_METHOD,
        help="the method of the labels, as for `run` (default: %(default)s)",
    )
    parser.add_argument(
        "--embedding",
        metavar="NAME",
        help="which embedding of the file: X, or NAME of obsm['X_NAME'] (default: X)",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PATCH",
        help="a patch to leave out, by its name in obs, such as one that was listed before; repeat it for "
        "more",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Suggest patches of the slide."""
    from tissuumaps_sic.annotation.lending import guests_of
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.session import Session
    from tissuumaps_sic.annotation.store import load_session, session_path
    from tissuumaps_sic.slides.slide import open_slide_file

    slide = open_slide_file(options.file, **pick_given(options, "embedding"))
    with as_wrong_use(SessionError):
        path = session_path(options.file, options.session)
    is_new = not options.session and not path.exists()
    session = Session.new(slide) if is_new else load_session(path, slide)
    skipped = session.rows_of(session.skipped)
    asked = {
        "method": options.method,
        "guests": guests_of(slide, session.loans),
        "left_out": {*_rows_of(slide, options.without), *skipped[skipped < slide.n_patches].tolist()},
    }
    choose = _choose_differing if options.second_opinion else _choose_next
    found = choose(slide, session, options.n, asked)
    if options.json:
        names = [str(slide.patch_names[row]) for row, _ in found]
        print(json.dumps({"slide": slide.name, "patches": names, "why": [why for _, why in found]}))
        if not options.output:
            return 0
    _write(slide, found, options.output)
    return 0


def _rows_of(slide: EmbeddedSlide, patches: Sequence[str]) -> list[int]:
    unknown = [each for each in patches if each not in slide.index]
    if unknown:
        raise WrongUseError(
            f"--without: {slide.path.name} has no patch named {unknown[0][:200]}; give names of its obs"
        )
    return [slide.index[each] for each in patches]


def _choose_next(slide: EmbeddedSlide, session: Session, n: int, asked: dict[str, Any]) -> list[_Reasoned]:
    from tissuumaps_sic.annotation.next_patches import suggest_next
    from tissuumaps_sic.labelling.progress import bar

    with bar() as progress:
        found = suggest_next(slide, session, n, progress=progress, **asked)
    if len(found.patches) < n:
        n = len(found.patches)
        log.warning(
            "%s: only %s left to suggest", slide.name, "1 patch is" if n == 1 else f"{n:,} patches are"
        )
    why = _TYPICAL if found.is_cold else _IN_DOUBT
    return [(int(row), why) for row in found.patches]


def _choose_differing(
    slide: EmbeddedSlide, session: Session, n: int, asked: dict[str, Any]
) -> list[_Reasoned]:
    from tissuumaps_sic.annotation.second_opinion import ask_second_opinion
    from tissuumaps_sic.labelling.progress import bar

    with bar() as progress:
        pairs = ask_second_opinion(slide, session, n, progress=progress, **asked)
    if not pairs:
        log.warning("%s: the second opinion agrees with the labels everywhere", slide.name)
    names = [each.name for each in session.classes]
    return [
        (int(row), f"{names[rare]} or {names[common]}?")
        for each in pairs
        for rare, common in [each.classes]
        for row in each.patches
    ]


def _write(slide: EmbeddedSlide, found: list[_Reasoned], target: Path | None) -> None:
    """Write name and centre of each patch, why it is suggested and room for its class, as a CSV."""
    from tissuumaps_sic.slidefile.writing import replacing

    if target is None:
        _write_rows(slide, found, sys.stdout)
        return
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        _write_rows(slide, found, file)


def _write_rows(slide: EmbeddedSlide, found: list[_Reasoned], file: TextIO) -> None:
    import csv

    from tissuumaps_sic.slidefile.tables import as_text

    writer = csv.writer(file)
    writer.writerow(("patch", "x", "y", "why", "class"))
    for row, why in found:
        x, y = slide.centres[row]
        writer.writerow((as_text(str(slide.patch_names[row])), f"{x:.10g}", f"{y:.10g}", as_text(why), ""))
