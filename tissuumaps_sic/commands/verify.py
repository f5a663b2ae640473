"""`verify`: how good the labels of a slide are, by patches that a reader judges without their labels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.commands.options import NO_SESSION, add_files, add_json, is_single
from tissuumaps_sic.slidefile.batch import BatchItem, LeftOut, Outcome, Worked
from tissuumaps_sic.slidefile.batch_command import (
    CLUSTERING,
    find_h5ads,
    prepare_processes,
    print_one,
    run_batch,
)
from tissuumaps_sic.slidefile.console import as_wrong_use, read_count
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_overwrite, add_processes, read_machines

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.session import Session
    from tissuumaps_sic.slides.slide import EmbeddedSlide
    from tissuumaps_sic.verification.check import Verification
    from tissuumaps_sic.verification.estimation import Interval

HELP = "estimate how good the labels are, by randomly chosen patches that a reader judges blind"

_UNTELLABLE = "?"
# What follows a slide's name in the name of its table, where there are several.
_TABLE = "check.csv"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument(
        "--session",
        default="",
        metavar="NAME",
        help="name of the session beside the slide (default: the shared one, without a name)",
    )
    parser.add_argument(
        "--draw",
        type=read_count,
        metavar="N",
        help="choose N more patches at random, and write them to -o without their labels, for a reader to "
        "judge",
    )
    parser.add_argument(
        "--anew", action="store_true", help="with --draw: begin another check in place of the present one"
    )
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="CSV",
        help=f"the table of --draw with its column class filled in, {_UNTELLABLE} where the reader cannot "
        "tell; for several slides the folder of the tables",
    )
    parser.add_argument("--user", default="", metavar="NAME", help="name of the reader, for --answers")
    parser.add_argument(
        "--compare", metavar="NAME", help="name of another session, whose answers are compared with these"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="CSV",
        help="with --draw, write the patches into this file (for several slides, a file each into this "
        "folder); else write the figures into it",
    )
    add_processes(parser)
    add_overwrite(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Draw patches, read answers, or tell how good the labels are; a slide that fails is told."""
    _require_sense(options)
    files = list(find_h5ads(options.files))
    prepare_processes([path for path, _ in files], options, "tissuumaps_sic.verification.check", CLUSTERING)
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import session_path

    one = is_single(files)
    with as_wrong_use(SessionError):
        # The names alone; they are of no slide.
        session_path(Path("slide.h5ad"), options.session)
        session_path(Path("slide.h5ad"), options.compare or "")
    verifier = _Verifier(
        options.session, options.compare, options.draw, options.anew, options.user, options.overwrite
    )
    items = [verifier.plan(path, options, one=one, in_folder=in_folder) for path, in_folder in files]

    def write(outcomes: Sequence[Outcome]) -> None:
        rows = [] if options.draw else _gather_rows(outcomes, one=one)
        if options.output and rows:
            _write(options.output, rows)

    if one and not read_machines(options).elsewhere:
        worked = verifier(items[0])
        write([Outcome(items[0], "done", report=worked.report)] if isinstance(worked, Worked) else [])
        return print_one(items[0], worked, _tell, as_json=options.json)
    recipe = ("verifying", options.session, options.compare, options.draw, options.anew, options.user)
    folder = options.output if options.draw else files[0][0].parent
    return run_batch(items, verifier, folder=folder, recipe=recipe, tell=_tell, options=options, finish=write)


@dataclass(frozen=True)
class _Verifier:
    """Does of one slide what was asked for; goes to other processes, with what it needs to know.

    Attributes
    ----------
    session : str
    compare : str or None
    draw : int or None
    anew : bool
    user : str
    replaces : bool
        Whether a table that is there, and has answers in it, is written over.
    """

    session: str
    compare: str | None
    draw: int | None
    anew: bool
    user: str
    replaces: bool

    def plan(self, path: Path, options: argparse.Namespace, *, one: bool, in_folder: bool) -> BatchItem:
        """Return what is to be done of a slide: what it depends on, and what is made."""
        from tissuumaps_sic.annotation.records import SessionError
        from tissuumaps_sic.annotation.store import session_path

        try:
            inputs = [path, session_path(path, self.session)]
            if self.compare is not None:
                inputs.append(session_path(path, self.compare))
        except SessionError:
            # A slide of that name is there: told when its turn comes, of this slide alone.
            return BatchItem(path, in_folder=in_folder)
        table = Path(f"{path.stem}.{_TABLE}")
        outputs: tuple[Path, ...] = ()
        if options.draw:
            outputs = (options.output if one else options.output / table,)
        if options.answers:
            inputs.append(options.answers if one else options.answers / table)
        # What is told depends on all that was asked; tables that are drawn are a thing of their own.
        part = "answers" if options.answers else "draw" if options.draw else "check"
        return BatchItem(path, tuple(inputs), outputs, in_folder, part)

    def __call__(self, item: BatchItem) -> Worked | LeftOut:
        from tissuumaps_sic.annotation.records import SessionError
        from tissuumaps_sic.annotation.store import editing, load_session, session_path
        from tissuumaps_sic.slidefile.made import stamp
        from tissuumaps_sic.slides.slide import open_slide_file

        path = session_path(item.path, self.session)
        if item.in_folder and not path.exists():
            return LeftOut(NO_SESSION)
        slide = open_slide_file(item.path)
        if item.outputs and not self.replaces and _holds_answers(item.outputs[0], load_session(path, slide)):
            problem = f"{item.outputs[0]} holds answers; read them with --answers, or give --overwrite"
            if item.in_folder:
                return LeftOut(problem)
            raise SessionError(problem)
        if self.draw:
            with editing(item.path):
                _draw(slide, path, item.outputs[0], self)
                return Worked({"slide": slide.name, "output": str(item.outputs[0])}, {path: stamp(path)})
        stamps = {}
        if item.part == "answers":
            if item.in_folder and not item.inputs[-1].exists():
                return LeftOut(f"has no {item.inputs[-1]}")
            with editing(item.path):
                _answer(slide, path, item.inputs[-1], self.user)
                stamps = {path: stamp(path)}
        session = load_session(path, slide)
        other = None if self.compare is None else load_session(item.inputs[2], slide)
        return Worked(
            {"slide": slide.name, "session": self.session} | _measure(slide, session, other), stamps
        )


def _holds_answers(table: Path, session: Session) -> bool:
    """Tell whether there are answers in a table that are not in the session, or it is another table."""
    from tissuumaps_sic.slidefile.tables import TableError, read_table

    if not table.exists():
        return False
    try:
        rows = read_table(table, ("patch", "class")).rows
        return any(row["class"] and row["patch"] not in session.answers for row in rows)
    except (TableError, KeyError):
        return True


def _require_sense(options: argparse.Namespace) -> None:
    if options.draw and not options.output:
        raise WrongUseError("--draw: needs a file for the patches; give it with -o")
    if options.draw and (options.answers or options.compare is not None or options.json):
        raise WrongUseError(
            "--draw: cannot be given with --answers, --compare or --json; have the patches judged first"
        )
    if options.anew and not options.draw:
        raise WrongUseError("--anew: has no effect without --draw; give --draw, or leave --anew out")


def _draw(slide: EmbeddedSlide, path: Path, output: Path, asked: _Verifier) -> None:
    """Write the next patches of the check sample, which is begun where there is none."""
    from tissuumaps_sic.annotation.runs import replay
    from tissuumaps_sic.annotation.store import load_session, save_session
    from tissuumaps_sic.verification.check import begin_check, list_questions

    session = load_session(path, slide)
    if session.sample is None or asked.anew:
        session = begin_check(session, replay(slide, session).scores, user=asked.user)
        save_session(path, session)
    n_asked = asked.draw or 0
    rows = list_questions(slide, session, n_asked, ahead=n_asked)
    places = [[f"{place:.10g}" for place in slide.centres[row]] for row in rows]
    names = [str(slide.patch_names[row]) for row in rows]
    cells = [(name, *place, "") for name, place in zip(names, places, strict=True)]
    output.parent.mkdir(parents=True, exist_ok=True)
    _write(output, [("patch", "x", "y", "class"), *cells])


def _answer(slide: EmbeddedSlide, path: Path, answers_in: Path, user: str) -> None:
    """Keep the answers of a table in the session."""
    from tissuumaps_sic.annotation.store import load_session, save_session
    from tissuumaps_sic.slidefile.spelling import fold
    from tissuumaps_sic.slidefile.tables import TableError, read_table
    from tissuumaps_sic.verification.check import MOST_AHEAD, require_question

    session = load_session(path, slide)
    names = [each.name for each in session.classes]
    labels: dict[str, int | None] = {fold(name): label for label, name in enumerate(names)}
    labels[_UNTELLABLE] = None
    table = read_table(answers_in, ("patch", "class"))
    if len(table.columns) < 2:
        raise TableError(
            f"{table.path.name}: needs the columns patch and class; give the table that --draw wrote"
        )
    ahead = max(MOST_AHEAD, len(table.rows))
    answers: list[tuple[str, int | None]] = []
    for row in table.rows:
        said, patch = row["class"], row["patch"]
        if said and fold(said) not in labels:
            known = ", ".join((*names, _UNTELLABLE))
            raise table.error(row, f"{said!r} is not a class of the session; give one of {known}")
        if patch not in slide.index:
            raise table.error(
                row, f"{patch!r} is not a patch of the slide; give the table that --draw wrote for it"
            )
        if said:
            # All of them by what was asked before, in whichever order the table has them.
            require_question(slide, session, slide.index[patch], ahead=ahead)
            answers.append((patch, labels[fold(said)]))
    for patch, label in answers:
        session = session.answer(patch, label, user=user)
    save_session(path, session)


def _measure(slide: EmbeddedSlide, session: Session, other: Session | None) -> dict[str, Any]:
    """Return how good the labels are, as a report; with the lines and rows that tell of it."""
    from tissuumaps_sic.verification.check import compare_checks, list_rows, verify

    found = verify(slide, session)
    report: dict[str, Any] = asdict(found)
    lines = _list_lines(found)
    if other is not None:
        agreement, names = compare_checks(slide, session, other)
        told = {"patches": agreement.n_patches, "names": list(names), "table": agreement.table.tolist()}
        for key in ("share", "kappa"):
            figure = getattr(agreement, key)
            told[key] = None if figure is None else asdict(figure)
        report["agreement"] = told
        lines.append(
            f"Both readers answered {agreement.n_patches} patches: they agree on "
            f"{_percent(agreement.share)}, kappa {_figure(agreement.kappa)}"
        )
    return report | {"lines": lines, "rows": [list(row) for row in list_rows(found)]}


def _tell(outcome: Outcome) -> Iterator[str]:
    """Yield the lines that tell people of a slide."""
    if "output" in outcome.report:
        yield outcome.report["output"]
        return
    if outcome.item.in_folder:
        yield f"{outcome.item.path.name}: {outcome.report['lines'][0]}"
    yield from outcome.report["lines"][outcome.item.in_folder :]


def _gather_rows(outcomes: Sequence[Outcome], *, one: bool) -> list[tuple[Any, ...]]:
    """Return the rows of a table of figures; of several slides each begins with the slide's name."""
    tables = [(each.report["slide"], each.report["rows"]) for each in outcomes if each.report]
    if one:
        return [tuple(row) for _, rows in tables for row in rows]
    head = [("slide", *rows[0]) for _, rows in tables[:1]]
    return head + [(slide, *row) for slide, rows in tables for row in rows[1:]]


def _list_lines(found: Verification) -> list[str]:
    lines = [found.told]
    if found.state != "ready":
        return lines
    rows = [["class", "precision", "recall", "F1", "mm2"]]
    for each in found.classes:
        area = "-" if each.area is None else _figure(each.area, 3)
        rows.append([each.name, *map(_percent, (each.precision, each.recall)), _figure(each.f1), area])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    lines += [each.rstrip() for each in padded]
    lines.append(f"Right labels: {_percent(found.accuracy)}")
    if found.halving is not None:
        lines.append(f"About {found.halving} more answers would halve the range of F1 of {found.halved}.")
    return lines


def _figure(figure: Interval | None, digits: int = 2) -> str:
    if figure is None:
        return "-"
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _percent(figure: Interval | None) -> str:
    if figure is None:
        return "-"
    return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f})"


def _write(path: Path, rows: list[tuple[Any, ...]]) -> None:
    import csv

    from tissuumaps_sic.slidefile.tables import as_text
    from tissuumaps_sic.slidefile.writing import replacing

    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[as_text(str(cell)) for cell in row] for row in rows])
