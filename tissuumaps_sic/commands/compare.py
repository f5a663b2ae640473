"""`compare`: how far two readers of a slide agree, and where they do not."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from tissuumaps_sic.commands.options import add_file, add_json
from tissuumaps_sic.slidefile.console import as_wrong_use

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tissuumaps_sic.slides.slide import EmbeddedSlide

HELP = "tell how far two sessions of a slide agree (Cohen's kappa), and where they do not"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "--sessions",
        nargs=2,
        required=True,
        metavar="NAME",
        help='the names of the two sessions; "" is the shared one',
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="CSV",
        help="write the patches on which they differ into this file",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Compare the two sessions."""
    from tissuumaps_sic.annotation.agreement import compare
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import load_session, session_path
    from tissuumaps_sic.slides.slide import open_slide_file

    slide = open_slide_file(options.file)
    with as_wrong_use(SessionError):
        paths = [session_path(options.file, name) for name in options.sessions]
    first, second = (load_session(path, slide) for path in paths)
    agreement = compare(slide, first, second)
    if options.output:
        _write_patches(options.output, slide, agreement.disputed)
    n_disputed = int(agreement.disputed.sum())
    if options.json:
        report = {
            "slide": slide.name,
            "sessions": options.sessions,
            "kappa": None if math.isnan(agreement.kappa) else agreement.kappa,
            "agreement": agreement.word,
            "share": agreement.share,
            "disputed": n_disputed,
            "table": agreement.table.to_dict(),
        }
        print(json.dumps(report))
    else:
        word = f" ({agreement.word}; Landis and Koch 1977)" if agreement.word else ""
        print(f"kappa {agreement.kappa:.3f}{word}; {n_disputed} of {slide.n_patches} patches are disputed")
        print(agreement.table.to_string())
    return 0


def _write_patches(path: Path, slide: EmbeddedSlide, chosen: npt.NDArray[np.bool_]) -> None:
    """Write the names and centres of chosen patches, (n_patches,), as a CSV."""
    import csv

    from tissuumaps_sic.slidefile.tables import as_text
    from tissuumaps_sic.slidefile.writing import replacing

    rows = [
        (as_text(str(slide.patch_names[row])), *(f"{place:.10g}" for place in slide.centres[row]))
        for row in chosen.nonzero()[0]
    ]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("patch", "x", "y"), *rows])
