"""`verify`: how good the labels of a slide are, by patches that a reader judges without their labels."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.commands.options import add_file, add_json
from tissuumaps_sic.slidefile.console import as_wrong_use, read_count
from tissuumaps_sic.slidefile.errors import WrongUseError

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.session import Session
    from tissuumaps_sic.slides.slide import EmbeddedSlide
    from tissuumaps_sic.verification.check import Verification
    from tissuumaps_sic.verification.estimation import Interval

HELP = "how good the labels are, by randomly chosen patches that a reader judges blind"

_UNTELLABLE = "?"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "--session", default="", metavar="NAME", help="of the slide (default: the shared one, without a name)"
    )
    parser.add_argument(
        "--draw",
        type=read_count,
        metavar="N",
        help="choose N more patches at random and write them to -o, without their labels, to be judged",
    )
    parser.add_argument("--anew", action="store_true", help="with --draw: begin another check")
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="CSV",
        help=f'the table of --draw with the column "class" filled in; {_UNTELLABLE} is what one cannot tell',
    )
    parser.add_argument("--user", default="", metavar="NAME", help="of the reader, for --answers")
    parser.add_argument(
        "--compare", metavar="NAME", help="another session, whose answers are compared with these"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="CSV", help="the patches of --draw, or else the figures"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Draw patches, read answers, or tell how good the labels are."""
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import editing, load_session, session_path
    from tissuumaps_sic.slides.slide import open_slide_file

    _require_sense(options)
    slide = open_slide_file(options.file)
    with as_wrong_use(SessionError):
        path = session_path(options.file, options.session)
        other = None if options.compare is None else session_path(options.file, options.compare)
    if options.draw:
        with editing(options.file):
            _draw(slide, path, options)
        return 0
    if options.answers:
        with editing(options.file):
            _answer(slide, path, options)
    session = load_session(path, slide)
    _tell(slide, session, None if other is None else load_session(other, slide), options)
    return 0


def _require_sense(options: argparse.Namespace) -> None:
    if options.draw and not options.output:
        raise WrongUseError("--draw: needs -o, the table of patches to be judged")
    if options.draw and (options.answers or options.compare is not None or options.json):
        raise WrongUseError("--draw: is given alone; judge the patches first")
    if options.anew and not options.draw:
        raise WrongUseError("--anew: has no use without --draw")


def _draw(slide: EmbeddedSlide, path: Path, options: argparse.Namespace) -> None:
    """Write the next patches of the check sample, which is begun where there is none."""
    from tissuumaps_sic.annotation.runs import replay
    from tissuumaps_sic.annotation.store import load_session, save_session
    from tissuumaps_sic.verification.check import begin_check, list_questions

    session = load_session(path, slide)
    if session.sample is None or options.anew:
        session = begin_check(session, replay(slide, session).scores, user=options.user)
        save_session(path, session)
    rows = list_questions(slide, session, options.draw, ahead=options.draw)
    places = [[f"{place:.10g}" for place in slide.centres[row]] for row in rows]
    names = [str(slide.patch_names[row]) for row in rows]
    cells = [(name, *place, "") for name, place in zip(names, places, strict=True)]
    _write(options.output, [("patch", "x", "y", "class"), *cells])
    print(options.output)


def _answer(slide: EmbeddedSlide, path: Path, options: argparse.Namespace) -> None:
    """Keep the answers of a table in the session."""
    from tissuumaps_sic.annotation.store import load_session, save_session
    from tissuumaps_sic.slidefile.spelling import fold
    from tissuumaps_sic.slidefile.tables import TableError, read_table
    from tissuumaps_sic.verification.check import MOST_AHEAD, require_question

    session = load_session(path, slide)
    names = [each.name for each in session.classes]
    labels: dict[str, int | None] = {fold(name): label for label, name in enumerate(names)}
    labels[_UNTELLABLE] = None
    table = read_table(options.answers, ("patch", "class"))
    if len(table.columns) < 2:
        raise TableError(f"{table.path.name}: needs the columns patch and class; give that of --draw")
    ahead = max(MOST_AHEAD, len(table.rows))
    answers: list[tuple[str, int | None]] = []
    for row in table.rows:
        said, patch = row["class"], row["patch"]
        if said and fold(said) not in labels:
            known = ", ".join((*names, _UNTELLABLE))
            raise table.error(row, f"{said!r} is no class of the session; there are {known}")
        if patch not in slide.index:
            raise table.error(row, f"{patch!r} is no patch of the slide")
        if said:
            # All of them by what was asked before, in whichever order the table has them.
            require_question(slide, session, slide.index[patch], ahead=ahead)
            answers.append((patch, labels[fold(said)]))
    for patch, label in answers:
        session = session.answer(patch, label, user=options.user)
    save_session(path, session)


def _tell(slide: EmbeddedSlide, session: Session, other: Session | None, options: argparse.Namespace) -> None:
    from tissuumaps_sic.verification.check import compare_checks, list_rows, verify

    found = verify(slide, session)
    report: dict[str, Any] = {"slide": slide.name, "session": options.session, **asdict(found)}
    lines = _list_lines(found)
    if other is not None:
        agreement, names = compare_checks(slide, session, other)
        told = {"patches": agreement.n_patches, "names": list(names), "table": agreement.table.tolist()}
        for key in ("share", "kappa"):
            figure = getattr(agreement, key)
            told[key] = None if figure is None else asdict(figure)
        report["agreement"] = told
        lines.append(
            f"Both readers answered {agreement.n_patches} patches: the same for "
            f"{_percent(agreement.share)}, kappa {_figure(agreement.kappa)}"
        )
    if options.output:
        _write(options.output, list_rows(found))
    print(json.dumps(report) if options.json else "\n".join(lines))


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
