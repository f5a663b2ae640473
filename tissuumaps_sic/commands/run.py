"""`run`: labels from seeds, without the viewer."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.commands.options import FORMATS, add_files, add_json
from tissuumaps_sic.labelling.methods import METHODS
from tissuumaps_sic.slidefile.console import as_wrong_use, read_share, report_error
from tissuumaps_sic.slidefile.errors import SicError, WrongUseError

if TYPE_CHECKING:
    from tissuumaps_sic.commands.batch import Lender, Outcome

log = logging.getLogger(__name__)

HELP = "label slides from seeds, without the viewer"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument(
        "--seeds",
        type=Path,
        help="a session (.json), or a CSV with the columns patch,class or x,y,class (default: the session "
        "beside the slide)",
    )
    parser.add_argument("--positive", metavar="CLASS", help="the positive one of two class names in a CSV")
    _add_output(parser)
    parser.add_argument(
        "--session",
        default="",
        metavar="NAME",
        help="which session beside the slide (default: the shared one)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="H5AD",
        help="the slide that the seeds were made on, where that is another one; in a folder it labels the "
        "slides that have no seeds of every class",
    )
    _add_choices(parser)
    add_json(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a .csv, .h5ad, .geojson, .tif (mask), .tmap, .html or .pdf, or of several slides a folder "
        "(default: <slide>.labels.csv here)",
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="as for `export` (default: by the ending of OUT, else csv)"
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="keep the labels in the session beside the slide too, where the viewer finds them; without -o "
        "and --format only there",
    )


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="as published, or refined (default: that of the session's last run, else refine)",
    )
    parser.add_argument(
        "--embedding",
        metavar="NAME",
        help="which embedding of the file: X, or NAME of obsm['X_NAME'] (default: that of the session's last "
        "run, else X)",
    )
    parser.add_argument(
        "--border",
        type=read_share,
        metavar="SCORE",
        help="from which score on a patch is of the positive class, 0 to 1 (default: that of the session's "
        "last run, else where it is the highest)",
    )


def run(options: argparse.Namespace) -> int:
    """Label the slides; of several, one that fails is named, and the others are done."""
    from tissuumaps_sic.commands.batch import find_h5ads, open_lender

    files = list(find_h5ads(options.files))
    one = len(files) == 1 and not files[0][1]
    _check(options, one=one)
    format_ = _format(options, one=one)
    lender = None
    if options.source:
        lender = open_lender(
            options.source, options.seeds, positive=options.positive, session=options.session
        )
        own = options.source.resolve()
        files = [(path, in_folder) for path, in_folder in files if not in_folder or path.resolve() != own]
    reports, failed = [], False
    for number, (path, in_folder) in enumerate(files, start=1):
        if len(files) > 1:
            log.info("%d of %d: %s", number, len(files), path.name)
        output = _output(path, options, format_, one=one)
        try:
            report = _label(path, options, output, format_, lender, in_folder=in_folder)
        except (SicError, OSError) as error:
            if one:
                raise
            # One bad slide never ends the run.
            report_error(error)
            report, failed = {"slide": path.stem, "error": str(error)}, True
        if report:
            reports.append(report)
    if options.json:
        print(json.dumps(reports[0] if one else reports))
    return 1 if failed else 0


def _check(options: argparse.Namespace, *, one: bool) -> None:
    """Refuse what cannot be meant together; `one` is whether one slide was named, and no folder."""
    if options.source and options.method == "sic":
        raise WrongUseError("--from: seeds of another slide need --method refine")
    if options.seeds and not options.source and not one:
        raise WrongUseError("--seeds: are of one slide; name that slide alone, or give it as --from")


def _format(options: argparse.Namespace, *, one: bool) -> str:
    """Return the format to write: the one that was asked for, else by the ending of the file to write."""
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import session_path
    from tissuumaps_sic.export import FORMATS

    with as_wrong_use(SessionError):
        session_path(options.files[0], options.session)
    if options.format or options.output is None or not one or options.output.is_dir():
        return options.format or "csv"
    for name, row in FORMATS.items():
        if row.suffix and options.output.name.endswith(f".{row.suffix}"):
            return name
    known = ", ".join(row.suffix for row in FORMATS.values() if row.suffix)
    raise WrongUseError(f"{options.output}: the ending must be one of {known}")


def _output(path: Path, options: argparse.Namespace, format_: str, *, one: bool) -> Path | None:
    """Return where the labels of a slide go; nowhere where they are only saved."""
    from tissuumaps_sic.export import FORMATS

    if options.output is None and options.format is None and options.save:
        return None
    output: Path | None = options.output
    return FORMATS[format_].place_output(output, path.stem, one=one)


def _label(
    path: Path,
    options: argparse.Namespace,
    output: Path | None,
    format_: str,
    lender: Lender | None,
    *,
    in_folder: bool,
) -> dict[str, Any] | None:
    """Label one slide; return what is reported, None where it was left out."""
    from tissuumaps_sic.commands.batch import Choices, keep, label_file, label_named
    from tissuumaps_sic.export import FORMATS
    from tissuumaps_sic.labelling.progress import bar

    choices = Choices(options.method, options.embedding, options.border)
    with bar() as progress:
        outcome = (
            label_file(path, choices, session=options.session, lender=lender, progress=progress)
            if in_folder
            else label_named(
                path,
                choices,
                seeds=None if lender else options.seeds,
                positive=options.positive,
                session=options.session,
                lender=lender,
                keeping=options.save,
                progress=progress,
            )
        )
    if outcome is None:
        log.info("%s: has no session yet; left out", path.name)
        return None
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        FORMATS[format_].write(outcome.labelled, output)
    if options.save:
        keep(outcome, session=options.session)
    return _report(outcome, options, output)


def _report(outcome: Outcome, options: argparse.Namespace, output: Path | None) -> dict[str, Any]:
    """Return what `--json` prints of a slide; without it print what people read."""
    from tissuumaps_sic.annotation.store import session_path

    labelled, run = outcome.labelled, outcome.run
    slide = labelled.slide
    report = {
        "slide": slide.name,
        "labels": outcome.counts,
        "method": run.method,
        "embedding": run.embedding,
        "n_iter": run.n_iter,
        "output": output and str(output),
    }
    if labelled.unlike is not None:
        report["unlike"] = int(labelled.unlike.sum())
        report["seeds_of"] = [loan.slide for loan in run.loans]
    if not options.json:
        counts = ", ".join(f"{n} {name}" for name, n in outcome.counts.items())
        print(f"{output or session_path(slide.path, options.session).name}: {counts}")
        if labelled.unlike is not None:
            print(f"{report['unlike']} of {slide.n_patches} patches are unlike any seed; look at them first")
    return report
