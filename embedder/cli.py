"""The command line of the remote half: every command is a few lines over a public function."""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder import __version__
from tissuumaps_sic.slidefile.console import escape_output

if TYPE_CHECKING:
    from embedder.embedding.options import EmbedOptions
    from embedder.embedding.request import SlideInput
    from embedder.embedding.results import SlideResult
    from embedder.isolation.child import Limits

Command = Callable[[argparse.Namespace], int]

# The extra of pyproject.toml that brings a package; "embed" brings all others.
_EXTRAS = {"distributed": "cluster", "dask": "cluster", "dask_jobqueue": "cluster", "lightly": "pretrain"}
_EXTRAS |= dict.fromkeys(("pyarrow", "shapely"), "convert")

# Heavy imports stay inside the commands: --help must answer at once.

log = logging.getLogger("embedder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 all well, 1 some slides failed, 2 wrong use."""
    escape_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is _embed:
        _check_workers(parser, options)
    log.setLevel(logging.DEBUG if options.verbose else logging.INFO)
    try:
        status: int = options.command(options)
    except KeyboardInterrupt:
        log.error("stopped; the same command goes on where it was")  # noqa: TRY400
        return 130
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0], "embed")
        log.error('%s is not installed; run pip install "tissuumaps-sic[%s]"', error.name, extra)  # noqa: TRY400
        return 1
    except OSError as error:
        from tissuumaps_sic.slidefile.failure import os_reason

        log.error("%s", os_reason(error, options.__dict__.get("output")))  # noqa: TRY400
        return 1
    except _expected_errors() as error:
        log.error("%s", error)  # noqa: TRY400 -- a message for a person, not a trace
        return 1
    except Exception as error:
        log.debug("failed", exc_info=True)
        told = " ".join(f"{type(error).__name__}: {error}".split())
        log.error("%s (unexpected; embedder --verbose shows where)", told)  # noqa: TRY400
        return 1
    return status


def _expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors whose message says all; asked for only once something was raised."""
    from embedder.cluster.machines import ClusterError
    from embedder.embedding.rehearsal import RehearsalError
    from embedder.embedding.request import InputError
    from embedder.encoders.spec import EncoderError
    from embedder.files.combine import CombineError
    from embedder.files.convert import ConvertError
    from embedder.files.share import ShareError
    from embedder.isolation.child import ChildError
    from embedder.pretraining.options import PretrainError
    from tissuumaps_sic.slidefile.contract import ContractError
    from tissuumaps_sic.slidefile.pixels.slide import SlideError

    return (
        ChildError,
        ClusterError,
        CombineError,
        ContractError,
        ConvertError,
        EncoderError,
        InputError,
        PretrainError,
        RehearsalError,
        ShareError,
        SlideError,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embedder",
        description="Cut slides into patches, embed them, and write one AnnData file a slide.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="tell more, and where a failure happened")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    embed = _command(commands, "embed", "embed slides", _embed)
    _add_slides(embed)
    _add_embedding(embed)
    embed.add_argument(
        "--thumbnail", action="store_true", help="keep a small picture of the slide in the file"
    )
    embed.add_argument("--overwrite", action="store_true", help="embed anew what is there already")
    _add_limits(embed)
    many = embed.add_argument_group("many machines, or several GPUs", "A worker embeds one slide at a time.")
    where = many.add_mutually_exclusive_group()
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="use the workers of a Dask scheduler; without TLS, its ports let anybody run programs as you",
    )
    where.add_argument("--slurm", action="store_true", help="start workers as SLURM jobs (examples/slurm.md)")
    where.add_argument(
        "--devices",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="cuda:0,cuda:1",
        help="start a worker on this machine for each",
    )
    many.add_argument("--workers", type=int, metavar="N", help="how many to start, here or by SLURM")
    many.add_argument(
        "--slurm-options",
        nargs="+",
        default=(),
        metavar="NAME=VALUE",
        help="such as queue=gpu gpus=1 memory=32GB walltime=08:00:00",
    )
    embed.add_argument("--json", action="store_true", help="print a report for machines")

    plan = _command(commands, "plan", "measure what embedding slides would take, and write nothing", _plan)
    _add_slides(plan)
    _add_embedding(plan)
    _add_limits(plan)
    plan.add_argument("--json", action="store_true", help="print a report for machines")

    encoders = _command(commands, "encoders", "list the encoders and what each needs here", _encoders)
    encoders.add_argument("--json", action="store_true", help="print them for machines")

    check = _command(commands, "check", "name every rule of the file contract that a file breaks", _check)
    check.add_argument("files", type=Path, nargs="+", metavar="FILE")

    pretrain = _command(commands, "pretrain", "train an encoder on your own slides (SimCLR)", _pretrain)
    _add_slides(pretrain)
    _add_patches(pretrain, min_tissue=0.5)
    pretrain.add_argument(
        "--start",
        choices=("weights", "random"),
        default="weights",
        help="begin with the encoder's weights, or none",
    )
    pretrain.add_argument("--patches", type=int, default=20_000, help="to draw from all slides together")
    pretrain.add_argument("--epochs", type=int, default=20, help="how often each patch is seen")
    pretrain.add_argument("--batch-size", type=int, default=128)
    pretrain.add_argument("--learning-rate", type=float, default=3e-4, help="at its height")
    pretrain.add_argument("--temperature", type=float, default=0.2, help="of the NT-Xent loss")
    pretrain.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    pretrain.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    pretrain.add_argument(
        "--truth", type=Path, metavar="DIR", help="<slide>_mask.png, whose values the probes tell apart"
    )
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument(
        "--overwrite", action="store_true", help="throw away another training in the folder"
    )
    pretrain.add_argument("--json", action="store_true", help="print a report for machines")

    convert = _command(commands, "convert", "import embeddings that other programs made", _convert)
    convert.add_argument(
        "source", type=Path, metavar="SOURCE", help="TRIDENT's or CLAM's .h5, LazySlide's .zarr, or any .h5ad"
    )
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the h5ad to write")
    convert.add_argument("--mpp", type=float, help="µm per level-0 pixel")
    convert.add_argument("--patch-size0", type=float, help="edge of a patch in level-0 pixels")
    convert.add_argument(
        "--unit", type=float, default=1.0, help="level-0 pixels in a unit of the coordinates"
    )
    convert.add_argument(
        "--corners", action="store_true", help="places in an h5ad are top-left corners, not centres"
    )
    convert.add_argument("--name", help="of the slide")
    convert.add_argument("--table", help="which table of a LazySlide store")
    convert.add_argument(
        "--umap",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make UMAP coordinates and colours",
    )

    convert.add_argument(
        "--drop-nan",
        action="store_true",
        help="leave patches out whose embedding or place holds NaN or infinity",
    )

    share = _command(commands, "share", "copy files without anything that tells whose slide it is", _share)
    share.add_argument("files", type=Path, nargs="+", metavar="FILE")
    share.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the copies go")
    share.add_argument("--rename", action="store_true", help="name each slide by a keyed hash of its name")
    share.add_argument("--shift", action="store_true", help="move coordinates by a keyed number of pixels")
    share.add_argument(
        "--key", type=Path, metavar="FILE", help="the secret of --rename and --shift; made if it is not there"
    )
    share.add_argument("--compress", action="store_true", help="gzip the embeddings")
    share.add_argument(
        "--keep", action="append", default=[], metavar="PLACE", help="keep this too, such as obs/stage"
    )
    share.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="WORD",
        help="a word of the slide's name, or a person's, that may be in what stays, such as in a class",
    )
    share.add_argument("--json", action="store_true", help="print what was removed for machines")

    add = _command(commands, "add", "put another embedding of the same slide into a file", _add)
    add.add_argument("base", type=Path, metavar="BASE", help="the h5ad that gets it")
    add.add_argument("other", type=Path, metavar="OTHER", help="the h5ad of another encoder or scale")
    add.add_argument("--name", help="of the embedding; the encoder's, if not given")
    add.add_argument("--replace", action="store_true", help="replace an embedding of that name")
    return parser


def _command(commands: Any, name: str, told: str, function: Command) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=told, description=told[0].upper() + told[1:] + ".", formatter_class=_Formatter
    )
    parser.set_defaults(command=function)
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but not that there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, ()):
            return action.help
        return super()._get_help_string(action)


def _add_slides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "slides",
        nargs="+",
        metavar="SLIDE",
        help="a slide, a folder of slides, a pattern, or a CSV with the columns slide and (if wanted) mpp",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the files go")


def _add_patches(parser: argparse.ArgumentParser, *, min_tissue: float) -> None:
    """Add what says by what, and which patches of slides are embedded."""
    parser.add_argument(
        "--encoder", default="efficientnet-lite0", help="a name (`embedder encoders`) or a checkpoint's path"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights for a named encoder")
    parser.add_argument("--mpp", type=float, default=0.5, help="µm per pixel of a patch")
    parser.add_argument("--slide-mpp", type=float, help="µm per pixel of the slides, in place of their own")
    parser.add_argument("--patch-size", type=int, default=256, help="edge of a patch in its own pixels")
    parser.add_argument(
        "--overlap", type=float, default=0.5, help="share of a patch that its neighbour covers too"
    )
    parser.add_argument(
        "--tissue",
        type=Path,
        metavar="FILE",
        help="where the tissue is: a mask image, GeoJSON or ASAP's XML, or a folder with one for each slide",
    )
    parser.add_argument(
        "--tissue-class",
        dest="tissue_classes",
        action="append",
        default=[],
        metavar="NAME",
        help="class of the polygons, or value of the mask, to take; may be given several times",
    )
    parser.add_argument(
        "--tissue-from-bounds",
        action="store_true",
        help="the polygons count from the corner of the scanned part, as QuPath's do on slides with bounds",
    )
    parser.add_argument(
        "--min-tissue", type=float, default=min_tissue, help="least share of tissue in a patch; 0 takes all"
    )


def _add_embedding(parser: argparse.ArgumentParser) -> None:
    """Add what says how slides are embedded: the fields of EmbedOptions, by their names."""
    _add_patches(parser, min_tissue=0.25)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the encoder; auto measures whether bfloat16 is worth it",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="patches in one pass of the encoder")
    parser.add_argument(
        "--storage", choices=("float32", "float16"), default="float32", help="of the embeddings in the file"
    )
    parser.add_argument(
        "--umap",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make UMAP coordinates and colours",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what a slide may take: it is read in a process of its own."""
    parser.add_argument(
        "--patience",
        type=_not_negative,
        default=30,
        metavar="MINUTES",
        help="give a slide up when nothing comes of it for so long; 0 waits for ever",
    )
    parser.add_argument(
        "--memory",
        type=_not_negative,
        metavar="GB",
        help="give a slide up that takes more than this (default: when the machine's is nearly full)",
    )


def _not_negative(text: str) -> float:
    number = float(text)
    if not (number >= 0 and math.isfinite(number)):
        raise ValueError
    return number


_not_negative.__name__ = "number"  # what argparse calls it


def _limits(options: argparse.Namespace) -> Limits:
    from embedder.isolation.child import Limits

    return Limits(
        silent_seconds=60 * options.patience or None,
        memory=None if not options.memory else round(options.memory * 1e9),
    )


def _embed(options: argparse.Namespace) -> int:
    from embedder.embedding.request import gather

    items, asked = gather(options.slides), _embed_options(options)
    with _stopped_by_terminate():
        if options.scheduler or options.slurm or options.devices or options.workers:
            results = _embed_on_cluster(items, asked, options)
        else:
            from embedder.embedding.pipeline import embed_slides

            results = embed_slides(items, options.output, asked, limits=_limits(options))
    if len(results) > 1:
        _log_summary(results)
    if options.json:
        print(json.dumps([asdict(each) for each in results], indent=1))
    return 1 if any(each.status == "failed" for each in results) else 0


def _check_workers(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}; give 1 or more")
    if options.workers and (options.scheduler or options.devices):
        parser.error(
            "--workers says how many to start; a scheduler has its own, and each of --devices gets one"
        )
    if options.slurm and not options.workers:
        parser.error("--slurm needs --workers, how many jobs to ask for")
    if options.slurm_options and not options.slurm:
        parser.error("--slurm-options needs --slurm")


def _embed_on_cluster(
    items: list[SlideInput], asked: EmbedOptions, options: argparse.Namespace
) -> list[SlideResult]:
    from embedder.cluster.client import embed_on_cluster
    from embedder.cluster.machines import SlurmOptions

    return embed_on_cluster(
        items,
        options.output,
        asked,
        scheduler=options.scheduler,
        slurm=SlurmOptions.from_words(options.slurm_options) if options.slurm else None,
        workers=options.workers,
        devices=options.devices,
    )


@contextmanager
def _stopped_by_terminate() -> Iterator[None]:
    """Treat SIGTERM, by which batch systems end a job, like Ctrl-C: what was done is saved."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _embed_options(options: argparse.Namespace) -> EmbedOptions:
    from embedder.embedding.options import EmbedOptions

    given = {each.name: getattr(options, each.name) for each in fields(EmbedOptions) if each.name in options}
    return EmbedOptions(**given | {"tissue_classes": tuple(options.tissue_classes)})


def _log_summary(results: Sequence[SlideResult]) -> None:
    """Log a table of what became of the slides; failures last, where eyes are."""
    order = {"done": 0, "skipped": 1, "failed": 2}
    width = min(60, max(len(Path(each.slide).name) for each in results))
    log.info("%-*s  %-7s  %9s  %9s  %9s", width, "slide", "status", "patches", "seconds", "patches/s")
    for each in sorted(results, key=lambda each: order[each.status]):
        seconds = sum(each.seconds.values())
        embedding = each.seconds.get("embed", 0)
        log.info(
            "%-*s  %-7s  %9s  %9s  %9s",
            width,
            Path(each.slide).name,
            each.status,
            f"{each.n_patches:,}" if each.n_patches else "",
            f"{seconds:,.0f}" if seconds else "",
            f"{each.n_patches / embedding:,.0f}" if embedding else "",
        )
    count = {status: sum(each.status == status for each in results) for status in order}
    log.info("%d done, %d skipped, %d failed", count["done"], count["skipped"], count["failed"])


def _plan(options: argparse.Namespace) -> int:
    from embedder.embedding.plan import plan_slides
    from embedder.embedding.request import gather

    items, asked = gather(options.slides), _embed_options(options)
    with _stopped_by_terminate():
        plan = plan_slides(items, options.output, asked, limits=_limits(options))
    if options.json:
        print(json.dumps(asdict(plan), indent=1))
    else:
        for line in plan.lines():
            print(line)
    return 1 if any(each.problem for each in plan.slides) else 0


def _pretrain(options: argparse.Namespace) -> int:
    from embedder.embedding.request import gather
    from embedder.pretraining.options import PretrainOptions
    from embedder.pretraining.pipeline import pretrain

    given = {
        each.name: getattr(options, each.name) for each in fields(PretrainOptions) if each.name in options
    }
    asked = PretrainOptions(**given | {"tissue_classes": tuple(options.tissue_classes)})
    with _stopped_by_terminate():
        result = pretrain(gather(options.slides), options.output, asked)
    for _, message in result.failures:
        log.error("%s", message)
    log.info("%d steps on %d patches of %d slides", result.steps, result.n_patches, result.n_slides)
    for name, probe in result.probes.items():
        log.info(
            "%s: %.3f at the start, %.3f now (%.3f by chance)", name, probe.start, probe.trained, probe.chance
        )
    if options.json:
        print(json.dumps(asdict(result), indent=1, default=str))
    else:
        print(f"embedder embed SLIDE -o DIR --encoder {result.encoder} --patch-size {options.patch_size}")
    return 1 if result.failures else 0


def _convert(options: argparse.Namespace) -> int:
    from embedder.files.convert import convert

    made = convert(
        options.source,
        options.output,
        mpp=options.mpp,
        patch_size0=options.patch_size0,
        unit=options.unit,
        corners=options.corners,
        name=options.name,
        table=options.table,
        umap=options.umap,
        drop_nan=options.drop_nan,
    )
    print(f"{options.source} ({made.kind}): {made.n_patches:,} x {made.n_features} -> {made.path}")
    return 0


def _share(options: argparse.Namespace) -> int:
    from embedder.files.share import ShareError, read_key, share
    from tissuumaps_sic.slidefile.contract import ContractError
    from tissuumaps_sic.slidefile.failure import os_reason

    key = read_key(options.key, shared=options.output) if options.key else None
    shared, failed = [], False
    for path in options.files:
        try:
            one = share(
                path,
                options.output,
                key=key,
                rename=options.rename,
                shift=options.shift,
                compress=options.compress,
                keep=options.keep,
                allow=options.allow,
            )
        except (ContractError, ShareError, OSError) as error:
            told = os_reason(error, options.output) if isinstance(error, OSError) else str(error)
            log.error("%s", told)  # noqa: TRY400 -- a message for a person, not a trace
            failed = True
            continue
        shared.append(one)
        if not options.json:
            print(f"{path} -> {one.path}")
            for change in one.changes:
                print(f"  {change.place}: {change.what} ({change.why})")
    if options.json:
        print(json.dumps([asdict(each) for each in shared], indent=1, default=str))
    return 1 if failed else 0


def _add(options: argparse.Namespace) -> int:
    from embedder.files.combine import add_embedding

    added = add_embedding(options.base, options.other, name=options.name, replace=options.replace)
    held = f"{added.n_features} features of {added.n_patches:,} patches"
    print(f"{added.path}: obsm['X_{added.name}'] holds {held}")
    return 0


def _encoders(options: argparse.Namespace) -> int:
    from embedder.encoders.load import available_encoders, format_table

    statuses = available_encoders()
    if options.json:
        print(json.dumps([asdict(each) for each in statuses], indent=1))
    else:
        print("\n".join(format_table(statuses)))
    return 0


def _check(options: argparse.Namespace) -> int:
    from tissuumaps_sic.slidefile.contract import check_files

    broken = False
    for path, problems in check_files(options.files):
        broken = broken or bool(problems)
        if not problems:
            print(f"{path}: follows the contract")
        for problem in problems:
            print(f"{path}: {problem.rule}: {problem.what}; {problem.fix}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
