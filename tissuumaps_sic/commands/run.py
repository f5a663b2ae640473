"""`run`: labels from seeds, without the viewer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.commands.options import FORMATS, NO_SESSION, add_files, add_json, is_single, pick_given
from tissuumaps_sic.labelling.methods import METHODS, Method
from tissuumaps_sic.labelling.progress import Progress, bar
from tissuumaps_sic.slidefile.batch import BatchItem, LeftOut, Outcome, Worked, make_absolute
from tissuumaps_sic.slidefile.batch_command import (
    CLUSTERING,
    find_h5ads,
    prepare_processes,
    print_one,
    run_batch,
)
from tissuumaps_sic.slidefile.console import as_wrong_use, read_share, read_within
from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_overwrite, add_processes, read_machines

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.seeds import SeedReading
    from tissuumaps_sic.commands.batch import Labelling, LenderFiles

HELP = "label slides from seeds, without the browser"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    _add_seeds(parser)
    _add_output(parser)
    parser.add_argument(
        "--session",
        default="",
        metavar="NAME",
        help="name of the session beside the slide (default: the shared one, without a name)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="H5AD",
        help="another slide, whose seeds label FILE; in a folder they label the slides that lack seeds of a "
        "class",
    )
    _add_choices(parser)
    add_processes(parser)
    add_overwrite(parser)
    add_json(parser)


def _add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=Path,
        help="the seeds: a session (.json); a CSV with the columns patch,class or x,y,class; drawings of "
        "QuPath (.geojson), ASAP or ImageScope (.xml) or NDP.view (.ndpa); a mask (.png, .tif); or a folder "
        "with a file for each slide, named like it (default: the session beside the slide)",
    )
    parser.add_argument(
        "--positive", metavar="CLASS", help="which of two classes with names is the positive one"
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="CSV",
        help="a table with the columns from,to: a class in the file of seeds, and the class that it becomes; "
        "an empty cell in to leaves it out",
    )
    parser.add_argument(
        "--inside",
        type=read_within(float, lambda number: 0 < number <= 1, "a number above 0, up to 1"),
        metavar="SHARE",
        help="a patch becomes a seed if at least this share of it lies in a drawing (default: 0.5)",
    )
    parser.add_argument(
        "--from-bounds",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the coordinates of drawings count from the corner of the scanned part (default: only "
        "QuPath's do)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="the file to write: a .csv, .h5ad, .geojson, .tif (mask), .tmap, .html or .pdf, or for several "
        "slides the folder (default: <slide>.labels.csv in the present folder)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="what to write, as for `tissuumaps-sic export` (default: by the ending of OUT, else csv)",
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="keep the labels in the session beside the slide, where the viewer finds them; a file is then "
        "written only with -o or --format",
    )


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="the algorithm as published (sic), or the refined one (default: that of the session's last run, "
        "else refine)",
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
        help="the score, 0 to 1, from which a patch belongs to the positive class (default: that of the "
        "session's last run, else where the score is the highest)",
    )


def run(options: argparse.Namespace) -> int:
    """Label the slides; of several, one that fails is named, and the others are done."""
    files = list(find_h5ads(options.files))
    one = is_single(files)
    _check(options, one=one)
    paths = [path for path, _ in files]
    format_ = _format(options, one=one)
    from tissuumaps_sic.export.formats import FORMATS

    prepare_processes(paths, options, "tissuumaps_sic.commands.batch", CLUSTERING, FORMATS[format_].module)
    if read_machines(options).elsewhere:
        # As the slides' own, which `work_through` sees to.
        for name in ("seeds", "source"):
            if getattr(options, name):
                setattr(options, name, make_absolute(getattr(options, name)))
    labeller = _Labeller(
        options.method, options.embedding, options.border,
        None if options.source else options.seeds, _reading(options),
        options.session, _find_lender(options), format_, options.save,
    )  # fmt: skip
    if labeller.lender:
        own = labeller.lender.h5ad.resolve()
        files = [(path, in_folder) for path, in_folder in files if not in_folder or path.resolve() != own]
    items = [
        labeller.plan(path, _output(path, options, format_, one=one), in_folder=in_folder)
        for path, in_folder in files
    ]
    if one and not read_machines(options).elsewhere:
        with bar() as progress:
            worked = labeller(items[0], progress)
        return print_one(items[0], worked, _tell, as_json=options.json)
    chosen = (*labeller.recipe, str(options.source))
    # Labels that are kept in sessions alone leave nothing here.
    nowhere = options.output is None and options.format is None and options.save
    folder = items[0].path.parent if nowhere and items else options.output
    return run_batch(
        items,
        labeller,
        folder=folder,
        recipe=chosen,
        tell=_tell,
        options=options,
    )


def _reading(options: argparse.Namespace) -> SeedReading:
    from tissuumaps_sic.annotation.bringing import read_renaming
    from tissuumaps_sic.annotation.seeds import SeedReading

    renaming = read_renaming(options.classes) if options.classes else {}
    given = pick_given(options, "positive", "inside", "from_bounds")
    return SeedReading(renaming=tuple(renaming.items()), **given)


def _find_lender(options: argparse.Namespace) -> LenderFiles | None:
    """Return the slide that lends, after a look whether it can."""
    from tissuumaps_sic.commands.batch import LenderFiles

    if not options.source:
        return None
    lender = LenderFiles(options.source, options.seeds, _reading(options), options.session)
    lender.open()
    return lender


def _check(options: argparse.Namespace, *, one: bool) -> None:
    """Refuse what cannot be meant together; `one` is whether one slide was named, and no folder."""
    if options.source and options.method == "sic":
        raise WrongUseError(
            "--from: seeds of another slide need --method refine; give that, or leave --method out"
        )
    is_folder = options.seeds is not None and options.seeds.is_dir()
    if options.seeds and not options.source and not one and not is_folder:
        raise WrongUseError(
            "--seeds: one file holds the seeds of one slide; name that slide alone, give it with --from, or "
            "give a folder with a file for each slide"
        )
    if options.source and is_folder:
        raise WrongUseError(
            "--seeds: is a folder, but --from names one slide; give the file of that slide's seeds"
        )
    for option in ("positive", "classes", "inside", "from_bounds"):
        if getattr(options, option) is not None and not options.seeds:
            raise WrongUseError(
                f"--{option.replace('_', '-')}: says how a file of seeds is read; give the file, too "
                "(--seeds)"
            )


def _format(options: argparse.Namespace, *, one: bool) -> str:
    """Return the format to write: the one that was asked for, else by the ending of the file to write."""
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import session_path
    from tissuumaps_sic.export.formats import FORMATS

    with as_wrong_use(SessionError):
        session_path(options.files[0], options.session)
    if options.format or options.output is None or not one or options.output.is_dir():
        return options.format or "csv"
    for name, row in FORMATS.items():
        if row.suffix and options.output.name.endswith(f".{row.suffix}"):
            return name
    known = ", ".join(row.suffix for row in FORMATS.values() if row.suffix)
    raise WrongUseError(f"{options.output}: its ending names no format; end it in {known}, or give --format")


def _output(path: Path, options: argparse.Namespace, format_: str, *, one: bool) -> Path | None:
    """Return where the labels of a slide go; nowhere where they are only saved."""
    from tissuumaps_sic.export.formats import FORMATS

    if options.output is None and options.format is None and options.save:
        return None
    output: Path | None = options.output
    return FORMATS[format_].place_output(output, path.stem, one=one)


@dataclass(frozen=True)
class _Labeller:
    """Labels a slide and writes what was asked for; goes to other processes, with what it needs to know."""

    method: Method | None
    embedding: str | None
    border: float | None
    seeds: Path | None
    reading: SeedReading
    session: str
    lender: LenderFiles | None
    format_: str
    save: bool

    @property
    def recipe(self) -> tuple[Any, ...]:
        """What the same slide gives another result by."""
        return "run", self.method, self.embedding, self.border, self.reading, self.format_, self.save

    def plan(self, path: Path, output: Path | None, *, in_folder: bool) -> BatchItem:
        """Return what is to be done of a slide: what it depends on, and what is made."""
        from tissuumaps_sic.annotation.records import SessionError
        from tissuumaps_sic.annotation.store import session_path
        from tissuumaps_sic.export.formats import FORMATS

        try:
            session = session_path(path, self.session)
        except SessionError:
            # A slide of that name is there: told when its turn comes, of this slide alone.
            return BatchItem(path, in_folder=in_folder)
        seeds = self._find_seeds(path)
        inputs = [path, session, *([] if seeds is None else [seeds])]
        inputs += FORMATS[self.format_].list_inputs(path)
        outputs = ([] if output is None else [output]) + ([session] if self.save else [])
        inputs += self.lender.paths if self.lender else []
        return BatchItem(path, tuple(inputs), tuple(outputs), in_folder)

    def _find_seeds(self, h5ad: Path) -> Path | None:
        """Return the file of a slide's seeds, where one was named or there is one in the folder that was."""
        from tissuumaps_sic.annotation.seeds import find_seeds
        from tissuumaps_sic.slidefile.provenance import read_provenance

        if self.seeds is None or not self.seeds.is_dir():
            return self.seeds
        names = [h5ad.stem]
        # A file that cannot be read is told when its turn comes.
        with suppress(SicError, OSError):
            names.append(read_provenance(h5ad).slide.name or h5ad.stem)
        return find_seeds(self.seeds, names)

    def __call__(self, item: BatchItem, progress: Progress | None = None) -> Worked | LeftOut:
        from tissuumaps_sic.annotation.records import SessionError
        from tissuumaps_sic.annotation.store import session_path
        from tissuumaps_sic.commands.batch import Choices, keep, label_file, label_named
        from tissuumaps_sic.export.formats import FORMATS

        choices = Choices(self.method, self.embedding, self.border)
        lender = self.lender.open() if self.lender else None
        seeds = self._find_seeds(item.path)
        if self.seeds is not None and seeds is None:
            if not item.in_folder:
                raise SessionError(
                    f"{self.seeds}: holds no seeds of {item.path.stem}; call their file "
                    f"{item.path.stem}.geojson, {item.path.stem}.xml or {item.path.stem}.csv, or name it "
                    "yourself"
                )
            return LeftOut(f"has no seeds in {self.seeds.name}")
        outcome = (
            label_file(item.path, choices, session=self.session, lender=lender, progress=progress)
            if item.in_folder and seeds is None
            else label_named(
                item.path,
                choices,
                seeds=seeds,
                reading=self.reading,
                session=self.session,
                lender=lender,
                keeping=self.save,
                progress=progress,
            )
        )
        if outcome is None:
            return LeftOut(NO_SESSION)
        output = item.outputs[0] if len(item.outputs) > self.save else None
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            FORMATS[self.format_].write(outcome.labelled, output)
        session = session_path(item.path, self.session)
        stamps = {session: keep(outcome, session=self.session)} if self.save else {}
        return Worked(_report(outcome, output, session), stamps)


def _report(outcome: Labelling, output: Path | None, session: Path) -> dict[str, Any]:
    """Return what `--json` prints of a slide."""
    labelled, run = outcome.labelled, outcome.run
    report = {
        "slide": labelled.slide.name,
        "labels": outcome.counts,
        "method": run.method,
        "embedding": run.embedding,
        "n_iter": run.n_iter,
        "output": output and str(output),
        "session": session.name,
    }
    if labelled.unlike is not None:
        report["unlike"] = int(labelled.unlike.sum())
        report["seeds_of"] = [loan.slide for loan in run.loans]
    return report


def _tell(outcome: Outcome) -> Iterator[str]:
    """Yield the lines that tell people of a slide."""
    report = outcome.report
    counts = ", ".join(f"{n} {name}" for name, n in report["labels"].items())
    yield f"{report['output'] or report['session']}: {counts}"
    if "unlike" in report:
        total = sum(report["labels"].values())
        yield f"{report['unlike']} of {total} patches are unlike any seed, so their labels are guesses"
