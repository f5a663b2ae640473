"""The command line of the local half: every command is a few lines over a public function."""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tissuumaps_sic import __version__
from tissuumaps_sic.slidefile.console import escape_output

if TYPE_CHECKING:
    from tissuumaps_sic.commands.batch import Choices, Lender

# Heavy imports stay inside the commands: --help must answer at once.

log = logging.getLogger("tissuumaps_sic")

# The rows of `export.FORMATS`, which is too heavy to be asked for --help; a test keeps the two the same.
_FORMATS = ("csv", "geojson", "geojson.gz", "mask", "tmap", "html", "pdf", "h5ad")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 all well, 1 failed, 2 wrong use."""
    escape_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command is not _open:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    options.rest = rest
    from tissuumaps_sic.annotation.session import SessionError
    from tissuumaps_sic.demo.folder import EmbedError
    from tissuumaps_sic.evaluation.simulation import EvaluationError
    from tissuumaps_sic.evaluation.truth import TruthError
    from tissuumaps_sic.export import ExportError
    from tissuumaps_sic.slidefile.locking import BusyError
    from tissuumaps_sic.slides.slide import SlideFileError
    from tissuumaps_sic.viewer.serve import ServeError

    try:
        with _stopped_by_terminate():
            options.command(options)
    except EmbedError as error:
        log.error("%s", error)  # noqa: TRY400 -- a message for a person, not a trace
        return error.exit_code
    except (
        BusyError, EvaluationError, ExportError, ServeError, SessionError, SlideFileError, TruthError
    ) as error:  # fmt: skip
        log.error("%s", error)  # noqa: TRY400
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        log.error("%s%s", where, error.strerror or error)  # noqa: TRY400
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _stopped_by_terminate() -> Iterator[None]:
    """Treat SIGTERM, by which service managers and batch systems end a job, like Ctrl-C: it ends cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tissuumaps-sic",
        description="Annotate a whole histology slide with a few clicks, in TissUUmaps.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="make, embed and serve a synthetic slide")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    demo.add_argument("--no-serve", action="store_true", help="only make the files")
    _add_address(demo)
    demo.set_defaults(command=_demo)

    opens = commands.add_parser(
        "open",
        help="embed your own slides and serve them",
        epilog="Further options are those of `embedder embed`, for example --slide-mpp 0.25.",
    )
    opens.add_argument("slides", type=Path, nargs="+", metavar="SLIDE")
    opens.add_argument(
        "-o", "--output", type=Path, default=Path("annotations"), metavar="DIR", help="default: annotations"
    )
    _add_address(opens)
    opens.set_defaults(command=_open)

    serve = commands.add_parser("serve", help="serve a folder of embedded slides in TissUUmaps")
    serve.add_argument("folder", type=Path, metavar="DIR")
    _add_address(serve)
    serve.set_defaults(command=_serve)

    install = commands.add_parser("install-plugin", help="add the plugin to your own TissUUmaps")
    install.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="default: ~/.tissuumaps/plugins",
    )
    install.set_defaults(command=_install_plugin)

    run = commands.add_parser("run", help="label slides from seeds, without the viewer")
    run.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="h5ad of a slide, or a folder of them"
    )
    run.add_argument(
        "--seeds",
        type=Path,
        help="a session (.json), or a CSV with the columns patch,class or x,y,class (default: the session "
        "beside the slide)",
    )
    run.add_argument("--positive", metavar="CLASS", help="the positive one of two class names in a CSV")
    run.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a .csv, .h5ad, .geojson, .tif (mask), .tmap, .html or .pdf, or of several slides a folder "
        "(default: <slide>.labels.csv here)",
    )
    run.add_argument(
        "--format", choices=_FORMATS, help="as for `export` (default: by the ending of OUT, else csv)"
    )
    run.add_argument(
        "--save",
        action="store_true",
        help="keep the labels in the session beside the slide too, where the viewer finds them; without -o "
        "and --format only there",
    )
    run.add_argument(
        "--session",
        default="",
        metavar="NAME",
        help="which session beside the slide (default: the shared one)",
    )
    run.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="H5AD",
        help="the slide that the seeds were made on, where that is another one; in a folder it labels the "
        "slides that have no seeds of every class",
    )
    run.add_argument(
        "--method",
        choices=("sic", "refine"),
        help="as published, or refined (default: that of the session's last run, else refine)",
    )
    run.add_argument(
        "--embedding",
        metavar="NAME",
        help="which embedding of the file: X, or NAME of obsm['X_NAME'] (default: that of the session's last "
        "run, else X)",
    )
    run.add_argument(
        "--border",
        type=float,
        metavar="SCORE",
        help="from which score on a patch is of the positive class, 0 to 1 (default: that of the session's "
        "last run, else where it is the highest)",
    )
    run.add_argument("--json", action="store_true", help="print a report for machines")
    run.set_defaults(command=_run)

    export = commands.add_parser("export", help="write the labels of sessions to files")
    export.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="h5ad of a slide, or a folder of them"
    )
    export.add_argument(
        "--format",
        # The table itself is too heavy for --help; a test keeps them equal.
        choices=_FORMATS,
        help="a row a patch; regions as QuPath reads them; a label mask (pyramidal TIFF); a TissUUmaps "
        "project that needs no plugin; a one-page report; the h5ad with the labels (default: csv)",
    )
    export.add_argument(
        "--patches",
        nargs="+",
        metavar="CLASS",
        help="instead: pictures of the patches of these classes, to train on (give it after FILE)",
    )
    export.add_argument(
        "--session", type=Path, metavar="JSON", help="default: <slide>.sic.json beside the h5ad"
    )
    export.add_argument(
        "--simplify",
        type=float,
        metavar="UM",
        help="how far the borders of regions may move to have fewer corners (default: 0)",
    )
    resolution = export.add_mutually_exclusive_group()
    resolution.add_argument(
        "--mpp",
        type=float,
        metavar="UM",
        help="of a mask's pixels (default: an eighth of the distance between patches; 8 where they are 256 "
        "px at 0.5 and overlap by half)",
    )
    resolution.add_argument(
        "--downsample",
        type=float,
        metavar="N",
        help="slide pixels per pixel of a mask, where the file does not tell its µm per pixel",
    )
    export.add_argument(
        "--image",
        type=Path,
        metavar="SLIDE",
        help="the slide, for patches and reports, where it is not beside the h5ad",
    )
    export.add_argument(
        "--min-score", type=float, metavar="SCORE", help="of patches: the least, 0 to 1 (default: 0)"
    )
    export.add_argument(
        "--most",
        type=int,
        metavar="N",
        help="of patches: how many of each class, those with the highest scores (default: all)",
    )
    export.add_argument("--patch-format", choices=("png", "jpg"), help="of patches (default: png)")
    export.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a file, or of several slides a folder (default: <slide>.labels.<format>, .mask.tif or "
        ".report.<format> here); of patches always a folder (default: patches)",
    )
    export.set_defaults(command=_export)

    compares = commands.add_parser(
        "compare", help="how far two sessions of a slide agree (Cohen's kappa), and where they do not"
    )
    compares.add_argument("file", type=Path, metavar="FILE", help="h5ad of the slide")
    compares.add_argument(
        "--sessions", nargs=2, required=True, metavar="NAME", help='two names; "" is the shared session'
    )
    compares.add_argument("-o", "--output", type=Path, metavar="CSV", help="the disputed patches")
    compares.add_argument("--json", action="store_true", help="print a report for machines")
    compares.set_defaults(command=_compare)

    merges = commands.add_parser(
        "merge", help="a new session of the seeds that no reader of a slide disputes"
    )
    merges.add_argument("file", type=Path, metavar="FILE", help="h5ad of the slide")
    merges.add_argument(
        "--sessions", nargs="+", required=True, metavar="NAME", help='two or more; "" is the shared session'
    )
    merges.add_argument(
        "--into", default="consensus", metavar="NAME", help="of the new session (default: consensus)"
    )
    merges.set_defaults(command=_merge)

    evaluates = commands.add_parser(
        "evaluate", help="measure labels from simulated seeds against ground truth"
    )
    evaluates.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="h5ad of each slide and encoder"
    )
    evaluates.add_argument(
        "--truth",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="a mask (.png, .tif), QuPath's GeoJSON or ASAP's XML for each FILE, or one folder that holds "
        "<slide>_mask.png, <slide>.geojson, <slide>.xml ...",
    )
    of = evaluates.add_mutually_exclusive_group(required=True)
    of.add_argument(
        "--positive", metavar="VALUE[,VALUE]", help="values of the positive class; all else is class 0"
    )
    of.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="NAME=VALUE[,VALUE]",
        help="a class and its values; repeat it for class 0, 1, ... (* is all other values; without it they "
        "are not counted)",
    )
    evaluates.add_argument(
        "--embedding",
        dest="embeddings",
        nargs="+",
        default=("X",),
        metavar="NAME",
        help="which embeddings of each FILE, each as an encoder of its own: X, NAME of obsm['X_NAME'], or "
        "all (default: X)",
    )
    evaluates.add_argument(
        "--methods", type=_names, default=("sic", "refine"), help="comma-separated (default: sic,refine)"
    )
    evaluates.add_argument(
        "--seeds", type=_numbers, default=(1, 3, 5, 10), metavar="N[,N]", help="per class (default: 1,3,5,10)"
    )
    evaluates.add_argument("--repeats", type=int, default=5, metavar="N", help="draws of seeds (default: 5)")
    evaluates.add_argument(
        "--clicks",
        type=int,
        default=20,
        metavar="N",
        help="of a simulated annotator; 0 for none (default: 20)",
    )
    evaluates.add_argument(
        "--strategies",
        type=_names,
        default=("largest-error", "random"),
        help="of the annotator: largest-error, random, suggest, border (default: largest-error,random)",
    )
    evaluates.add_argument(
        "--slide-size",
        type=_numbers,
        metavar="WIDTH,HEIGHT",
        help="level-0 pixels, where the h5ad does not tell",
    )
    evaluates.add_argument(
        "--workers", type=int, default=1, metavar="N", help="slides at a time (default: 1)"
    )
    evaluates.add_argument("--random-state", type=int, default=0, metavar="N", help="default: 0")
    evaluates.add_argument(
        "-o", "--output", type=Path, default=Path("evaluation"), metavar="DIR", help="default: evaluation"
    )
    evaluates.add_argument("--json", action="store_true", help="print a report for machines")
    evaluates.set_defaults(command=_evaluate)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=5100, help="0 takes any free one (default: 5100)")
    parser.add_argument(
        "--public", action="store_true", help="let other machines in although DIR has no auth file"
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        dest="names",
        metavar="NAME",
        help="a further name that browsers know this server by, such as a proxy's; repeat it for more",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _demo(options: argparse.Namespace) -> None:
    from tissuumaps_sic.demo.folder import make_demo

    log.info("making the synthetic slide and its embeddings in %s ...", options.output)
    make_demo(options.output)
    if not options.no_serve:
        _serve_folder(options.output, options, first="demo")


def _open(options: argparse.Namespace) -> None:
    from tissuumaps_sic.demo.folder import EmbedError, embed

    try:
        embed(options.slides, options.output, options=options.rest)
    except EmbedError as error:
        if len(options.slides) == 1:
            raise
        log.error("%s; the others are served", error)  # noqa: TRY400 -- a message for a person
    _serve_folder(options.output, options, first=options.slides[0].stem)


def _serve(options: argparse.Namespace) -> None:
    _serve_folder(options.folder, options)


def _serve_folder(folder: Path, options: argparse.Namespace, *, first: str | None = None) -> None:
    from tissuumaps_sic.viewer.serve import serve

    def announce(addresses: list[str]) -> None:
        print("Open in a browser (stop with Ctrl-C):", flush=True)
        for address in addresses:
            print(f"  {address}", flush=True)

    serve(
        folder,
        host=options.host,
        port=options.port,
        browser=not options.no_browser,
        first=first,
        public=options.public,
        names=options.names,
        announce=announce,
    )


def _install_plugin(options: argparse.Namespace) -> None:
    from tissuumaps_sic.plugin import FILES, FOLDER

    to = options.to or _home() / ".tissuumaps" / "plugins"
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (to / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(FOLDER / name, to / name)
    print(f"the plugin is in {to}; start TissUUmaps again to see it")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise SystemExit("--to: this user has no home folder; name the folder of the plugins") from error


def _run(options: argparse.Namespace) -> None:
    from tissuumaps_sic.annotation.session import SessionError
    from tissuumaps_sic.commands.batch import Choices, h5ads_of, open_lender
    from tissuumaps_sic.export import ExportError
    from tissuumaps_sic.slidefile.locking import BusyError
    from tissuumaps_sic.slides.slide import SlideFileError

    if options.border is not None and not 0 <= options.border <= 1:
        raise SystemExit(f"--border: {options.border:g} is no score; give 0 to 1")
    if options.source and options.method == "sic":
        raise SystemExit("--from: seeds of another slide need --method refine")
    files = list(h5ads_of(options.files))
    one = len(files) == 1 and not files[0][1]
    if options.seeds and not options.source and not one:
        raise SystemExit("--seeds: are of one slide; name that slide alone, or give it as --from")
    choices = Choices(options.method, options.embedding, options.border)
    lender = None
    if options.source:
        lender = open_lender(
            options.source, options.seeds, positive=options.positive, session=options.session
        )
        own = options.source.resolve()
        files = [each for each in files if not each[1] or each[0].resolve() != own]
    reports, failed = [], False
    for number, (path, in_folder) in enumerate(files, start=1):
        if len(files) > 1:
            log.info("%d of %d: %s", number, len(files), path.name)
        try:
            report = _run_one(path, options, choices, lender, in_folder=in_folder, one=one)
        except (BusyError, ExportError, SessionError, SlideFileError, OSError) as error:
            if one:
                raise
            # One bad slide never ends the run.
            log.error("%s", error)  # noqa: TRY400 -- a message for a person
            report, failed = {"slide": path.stem, "error": str(error)}, True
        if report:
            reports.append(report)
    if options.json:
        print(json.dumps(reports[0] if one else reports))
    if failed:
        raise SystemExit(1)


def _run_one(
    path: Path,
    options: argparse.Namespace,
    choices: Choices,
    lender: Lender | None,
    *,
    in_folder: bool,
    one: bool,
) -> dict[str, object] | None:
    """Label one slide as `run` was told to; return what is reported, None where it was left out."""
    from tissuumaps_sic.annotation.seeds import read_seeds
    from tissuumaps_sic.annotation.session import SessionError, load_session, session_path
    from tissuumaps_sic.commands.batch import begun, keep, label, label_file, label_from, write
    from tissuumaps_sic.labelling.progress import bar
    from tissuumaps_sic.slides.slide import open_slide_file

    output, format_ = _output_of(path, options, one=one)
    beside = session_path(path, options.session)
    if in_folder:
        with bar() as progress:
            labelled = label_file(path, choices, session=options.session, lender=lender, progress=progress)
        if labelled is None:
            log.info("%s: has no session yet; left out", path.name)
            return None
    else:
        slide = open_slide_file(path)
        found = load_session(beside, slide) if options.save and beside.exists() else None
        if lender:
            if found and (found.seeds or found.loans):
                raise SessionError(
                    f"{beside.name}: has seeds of its own; run it without --from, or leave --save out"
                )
            with bar() as progress:
                labelled = label_from(slide, lender, choices, found=found, progress=progress)
        elif options.seeds is None:
            if not beside.exists():
                raise SessionError(
                    f"{path.name}: has no session {beside.name}; seed it first, or give --seeds"
                )
            found = load_session(beside, slide)
            with bar() as progress:
                labelled = label(slide, found, choices, found=found, progress=progress)
        else:
            seeds = read_seeds(options.seeds, slide, positive=options.positive)
            session = begun(slide, seeds)
            if options.seeds.suffix == ".json":
                session = load_session(options.seeds, slide)
            if found and (found.seeds, found.classes, found.loans) != (
                session.seeds, session.classes, session.loans
            ):  # fmt: skip
                raise SessionError(
                    f"{beside.name}: holds other seeds than {options.seeds.name}; leave --save out, or move "
                    "it away"
                )
            with bar() as progress:
                labelled = label(slide, found or session, choices, like=seeds, found=found, progress=progress)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(labelled, output, format_=format_)
    if options.save:
        keep(labelled, session=options.session)
    run, n_patches = labelled.run, labelled.slide.n_patches
    report = {
        "slide": labelled.slide.name,
        "labels": labelled.counts,
        "method": run.method,
        "embedding": run.embedding,
        "n_iter": run.n_iter,
        "output": output and str(output),
    }
    if labelled.unlike is not None:
        report["unlike"] = int(labelled.unlike.sum())
        report["seeds_of"] = [loan.slide for loan in run.loans]
    if not options.json:
        counts = ", ".join(f"{n} {name}" for name, n in labelled.counts.items())
        print(f"{output or beside.name}: {counts}")
        if labelled.unlike is not None:
            print(f"{report['unlike']} of {n_patches} patches are unlike any seed; look at them first")
    return report


def _output_of(path: Path, options: argparse.Namespace, *, one: bool) -> tuple[Path | None, str]:
    """Return where the labels of a slide go, and in which format; nowhere where they are only saved."""
    from tissuumaps_sic.export import FORMATS

    if options.output is None and options.format is None and options.save:
        return None, "csv"
    name = options.format or "csv"
    file = Path(f"{path.stem}.{FORMATS[name].ending}")
    if options.output is None:
        return file, name
    if not one or options.output.is_dir():
        return options.output / file, name
    name = options.format or next(
        (each for each, row in FORMATS.items() if options.output.name.endswith(f".{row.suffix}")), None
    )
    if name is None:
        known = ", ".join(each.suffix for each in FORMATS.values())
        raise SystemExit(f"{options.output}: the ending must be one of {known}")
    return options.output, name


def _export(options: argparse.Namespace) -> None:
    from tissuumaps_sic.annotation.session import SessionError, session_path
    from tissuumaps_sic.export import ExportError
    from tissuumaps_sic.slides.slide import SlideFileError

    one = len(options.files) == 1 and not options.files[0].is_dir()
    for option in ("session", "image"):
        if getattr(options, option) and not one:
            raise SystemExit(f"--{option}: is of one slide; name that slide alone")
    write = _patches_export(options) if options.patches else _format_export(options, one)
    files: list[Path] = []
    for path in options.files:
        found = sorted(path.glob("*.h5ad")) if path.is_dir() else [path]
        if not found:
            raise SystemExit(f"{path}: holds no h5ad")
        for each in found:
            if path.is_dir() and not session_path(each).exists():
                log.info("%s: has no session yet; left out", each.name)
            else:
                files.append(each)
    failed = False
    for place, path in enumerate(files, 1):
        if len(files) > 1:
            log.info("%d of %d: %s", place, len(files), path.name)
        try:
            print(write(path), flush=True)
        except (ExportError, SessionError, SlideFileError) as error:
            # One bad slide never ends the run.
            log.error("%s", error)  # noqa: TRY400 -- a message for a person
            failed = True
        except OSError as error:
            log.error("%s: %s", error.filename or path.name, error.strerror or error)  # noqa: TRY400
            failed = True
    if failed:
        raise SystemExit(1)


# Options of `export` that only some formats know.
_OF_FORMATS = ("simplify", "mpp", "downsample", "image")
_OF_PATCHES = {"image": "image", "min_score": "min_score", "most": "most", "patch_format": "format_"}


def _refuse(options: argparse.Namespace, known: Sequence[str], what: str) -> None:
    for option in dict.fromkeys([*_OF_FORMATS, *_OF_PATCHES]):
        if option not in known and getattr(options, option) is not None:
            raise SystemExit(f"--{option.replace('_', '-')}: has no use with {what}")


def _format_export(options: argparse.Namespace, one: bool) -> Callable[[Path], Path]:
    """Return what writes a slide's labels in the format that the options ask for, and tells the file."""
    from tissuumaps_sic.export import FORMATS, ExportOptions, export_slide, session_name_of

    format_ = FORMATS[options.format or "csv"]
    _refuse(options, format_.options, f"--format {format_.name}")
    given = {name: getattr(options, name) for name in _OF_FORMATS if getattr(options, name) is not None}

    def write(path: Path) -> Path:
        output = Path(f"{path.stem}.{format_.ending}")
        if options.output:
            output = options.output if one and not options.output.is_dir() else options.output / output
        output.parent.mkdir(parents=True, exist_ok=True)
        asked = ExportOptions(**given, session_name=session_name_of(path, options.session))
        export_slide(path, output, format_=format_.name, session=options.session, options=asked)
        return output

    return write


def _patches_export(options: argparse.Namespace) -> Callable[[Path], Path]:
    """Return what writes pictures of a slide's patches, as the options ask for, and tells the folder."""
    from tissuumaps_sic.export import labelled_slide, write_patches

    if options.format:
        raise SystemExit("--patches: is no --format; give one of them at a time")
    _refuse(options, tuple(_OF_PATCHES), "--patches")
    folder = options.output or Path("patches")
    given = {
        name: getattr(options, option)
        for option, name in _OF_PATCHES.items()
        if getattr(options, option) is not None
    }

    def write(path: Path) -> Path:
        slide, session = labelled_slide(path, options.session)
        return write_patches(slide, session, folder, options.patches, **given)

    return write


def _compare(options: argparse.Namespace) -> None:
    import csv

    from tissuumaps_sic.annotation.agreement import compare
    from tissuumaps_sic.annotation.session import load_session, session_path
    from tissuumaps_sic.slidefile.tables import as_text
    from tissuumaps_sic.slidefile.writing import replacing
    from tissuumaps_sic.slides.slide import open_slide_file

    slide = open_slide_file(options.file)
    first, second = (load_session(session_path(options.file, name), slide) for name in options.sessions)
    found = compare(slide, first, second)
    if options.output:
        with (
            replacing(options.output) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = [
                (as_text(str(slide.patch_names[row])), *(f"{each:.10g}" for each in slide.centres[row]))
                for row in found.disputed.nonzero()[0]
            ]
            csv.writer(file).writerows([("patch", "x", "y"), *rows])
    n_disputed = int(found.disputed.sum())
    if options.json:
        report = {
            "slide": slide.name,
            "sessions": options.sessions,
            "kappa": None if math.isnan(found.kappa) else found.kappa,
            "share": found.share,
            "disputed": n_disputed,
            "table": found.table.to_dict(),
        }
        print(json.dumps(report))
    else:
        print(f"kappa {found.kappa:.3f}; {n_disputed} of {slide.n_patches} patches are disputed")
        print(found.table.to_string())


def _merge(options: argparse.Namespace) -> None:
    from tissuumaps_sic.annotation.agreement import consensus
    from tissuumaps_sic.annotation.session import editing, load_session, save_session, session_path
    from tissuumaps_sic.slides.slide import open_slide_file

    slide = open_slide_file(options.file)
    target = session_path(options.file, options.into)
    with editing(options.file):
        if target.exists():
            raise SystemExit(f"{target}: is there already; give another --into, or move it away")
        sessions = {name: load_session(session_path(options.file, name), slide) for name in options.sessions}
        merged, disputed = consensus(sessions)
        save_session(target, merged)
    print(f"{target}: {len(merged.seeds)} seeds; {len(disputed)} patches are disputed and left out")
    for patch in disputed:
        print(f"  {patch}")


def _evaluate(options: argparse.Namespace) -> None:
    from tissuumaps_sic.evaluation.evaluate import evaluate, pair_up
    from tissuumaps_sic.evaluation.report import report, write_report
    from tissuumaps_sic.evaluation.truth import TruthClasses

    if options.slide_size and len(options.slide_size) != 2:
        raise SystemExit("--slide-size: give WIDTH,HEIGHT")
    evaluation = evaluate(
        pair_up(options.files, options.truth),
        classes=TruthClasses.binary(options.positive)
        if options.positive
        else TruthClasses.parse(options.classes),
        embeddings=options.embeddings,
        methods=options.methods,
        seeds_per_class=options.seeds,
        repeats=options.repeats,
        clicks=options.clicks,
        strategies=options.strategies,
        slide_size=options.slide_size,
        workers=options.workers,
        random_state=options.random_state,
    )
    for failure in evaluation.failures:
        log.error("%s", failure.message)
    files = write_report(evaluation, options.output)
    if options.json:
        print(json.dumps(report(evaluation)))
    else:
        print(evaluation.summary().to_string(index=False, float_format="%.2f"))
        print(f"{options.output}: {', '.join(file.name for file in files)}")
    if evaluation.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
