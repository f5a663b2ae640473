"""`evaluate`: labels from simulated seeds against ground truth."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from tissuumaps_sic import __version__
from tissuumaps_sic.commands.options import add_json, pick_given
from tissuumaps_sic.slidefile.console import as_wrong_use, read_count, read_whole
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_overwrite, add_processes, read_machines
from tissuumaps_sic.slidefile.machines.spread import Machines
from tissuumaps_sic.slidefile.made import MadeFiles, describe_recipe
from tissuumaps_sic.slidefile.pool import count_processors

log = logging.getLogger(__name__)

HELP = "compare labels from simulated seeds with a ground truth"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser; what none is given of is as `evaluate` has it."""
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="the h5ad of each slide, with each encoder"
    )
    _add_truth(parser)
    parser.add_argument(
        "--embedding",
        dest="embeddings",
        nargs="+",
        metavar="NAME",
        help="which embeddings of each FILE to compare, each as an encoder of its own: X, NAME of "
        "obsm['X_NAME'], or all (default: X)",
    )
    _add_draws(parser)
    parser.add_argument(
        "--slide-size",
        type=_numbers,
        metavar="WIDTH,HEIGHT",
        help="size of the slide in level-0 pixels, where the h5ad does not say it",
    )
    parser.add_argument(
        "--no-pixels",
        dest="pixels",
        action="store_false",
        default=None,
        help="compare the labels of patches alone, and not borders finer than a patch",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="the folder that tables and figures go into (default: evaluation)",
    )
    add_processes(parser)
    add_overwrite(parser)
    add_json(parser)


def _add_draws(parser: argparse.ArgumentParser) -> None:
    """Add what the labels are made by: methods, seeds that are drawn, and a simulated annotator's clicks."""
    parser.add_argument(
        "--methods",
        type=_names,
        metavar="NAME[,NAME]",
        help="methods to label with (default: sic,refine)",
    )
    parser.add_argument(
        "--seeds",
        dest="seeds_per_class",
        type=_numbers,
        metavar="N[,N]",
        help="how many seeds to draw in each class (default: 1,3,5,10)",
    )
    parser.add_argument(
        "--repeats", type=read_count, metavar="N", help="how often to draw each number of seeds (default: 5)"
    )
    parser.add_argument(
        "--clicks",
        type=read_whole,
        metavar="N",
        help="clicks of a simulated annotator; 0 for no annotator (default: 20)",
    )
    parser.add_argument(
        "--strategies",
        type=_names,
        metavar="NAME[,NAME]",
        help="how the annotator chooses: largest-error, random, suggest, border, or without a first seed "
        "cold, as the viewer suggests, and cold-random (default: largest-error,random)",
    )
    parser.add_argument(
        "--random-state",
        type=read_whole,
        metavar="N",
        help="another number draws other seeds (default: 0)",
    )


def _add_truth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--truth",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="the ground truth: a mask (.png, .tif), QuPath's GeoJSON or ASAP's XML for each FILE, or one "
        "folder that holds <slide>_mask.png, <slide>.geojson, <slide>.xml ...",
    )
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument(
        "--positive",
        metavar="VALUE[,VALUE]",
        help="values of the positive class in the truth; all others are the other class",
    )
    of.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="NAME=VALUE[,VALUE]",
        help="a class and its values in the truth; repeat it for each class, of two the positive one last (* "
        "is all other values, which are not counted unless a class has it)",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"give whole numbers with commas between them, such as 1,3, not {text!r}"
        ) from error


def run(options: argparse.Namespace) -> int:
    """Evaluate the slides; those that fail are named, and the others are done."""
    from tissuumaps_sic.evaluation.evaluate import evaluate
    from tissuumaps_sic.evaluation.jobs import pair_up
    from tissuumaps_sic.evaluation.report import report, write_report
    from tissuumaps_sic.evaluation.simulation import EvaluationError
    from tissuumaps_sic.truth.classes import TruthClasses, TruthError

    if options.slide_size and len(options.slide_size) != 2:
        raise WrongUseError("--slide-size: takes two numbers; give WIDTH,HEIGHT in level-0 pixels")
    with as_wrong_use(EvaluationError, TruthError):
        pairs = pair_up(options.files, options.truth)
        classes = (
            TruthClasses.binary(options.positive) if options.positive else TruthClasses.parse(options.classes)
        )
    chosen = pick_given(
        options,
        *("embeddings", "methods", "seeds_per_class", "repeats", "clicks", "strategies"),
        *("slide_size", "pixels", "random_state"),
    )
    machines = read_machines(options)
    if machines == Machines():
        # A slide takes minutes, and a process seconds to begin.
        machines = Machines(count_processors())
    recipe = describe_recipe(__version__, "evaluate", classes, chosen)
    made = MadeFiles(options.output, recipe, anew=options.overwrite)
    with as_wrong_use(EvaluationError):
        # A slide that cannot be evaluated is among the failures.
        evaluation = evaluate(
            pairs, classes=classes, machines=machines, made=made, folder=options.output, **chosen
        )
    for failure in evaluation.failures:
        log.error("%s", failure.message)
    files = write_report(evaluation, options.output)
    if options.json:
        print(json.dumps(report(evaluation)))
    else:
        print(evaluation.summary().to_string(index=False, float_format="%.2f"))
        print(f"{options.output}: {', '.join(file.name for file in files)}")
    return 1 if evaluation.failures else 0
