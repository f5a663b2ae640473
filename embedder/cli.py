"""The command line of the remote half: every command is a few lines over a public function."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from embedder import __version__

# Heavy imports stay inside the commands: --help must answer at once.

log = logging.getLogger("embedder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 all well, 1 some slides failed, 2 wrong use."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    log.setLevel(logging.DEBUG if options.verbose else logging.INFO)
    try:
        status: int = options.command(options)
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="embedder",
        description="Cut slides into patches, embed them, and write one AnnData file a slide.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="tell more, and where a failure happened")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    embed = commands.add_parser(
        "embed", help="embed slides", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    embed.add_argument("slides", type=Path, nargs="+", metavar="SLIDE")
    embed.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the files go")
    embed.add_argument(
        "--encoder", default="efficientnet-lite0", help="a name (`embedder encoders`) or a checkpoint's path"
    )
    embed.add_argument("--weights", type=Path, metavar="FILE", help="weights for a named encoder")
    embed.add_argument("--mpp", type=float, default=0.5, help="µm per pixel of a patch")
    embed.add_argument("--slide-mpp", type=float, help="µm per pixel of the slides, in place of their own")
    embed.add_argument("--patch-size", type=int, default=256, help="edge of a patch in its own pixels")
    embed.add_argument(
        "--overlap", type=float, default=0.5, help="share of a patch that its neighbour covers too"
    )
    embed.add_argument(
        "--min-tissue", type=float, default=0.25, help="least share of tissue in a patch; 0 embeds all"
    )
    embed.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    embed.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of the encoder"
    )
    embed.add_argument("--batch-size", type=int, default=32, help="patches in one pass of the encoder")
    embed.add_argument(
        "--umap",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make UMAP coordinates and colours",
    )
    embed.add_argument(
        "--thumbnail", action="store_true", help="keep a small picture of the slide in the file"
    )
    embed.add_argument("--overwrite", action="store_true", help="embed anew what is there already")
    embed.add_argument("--json", action="store_true", help="print a report for machines")
    embed.set_defaults(command=_embed)

    encoders = commands.add_parser("encoders", help="list the encoders and what each needs")
    encoders.set_defaults(command=_encoders)

    check = commands.add_parser("check", help="name every rule of the file contract that a file breaks")
    check.add_argument("files", type=Path, nargs="+", metavar="FILE")
    check.set_defaults(command=_check)
    return parser


def _embed(options: argparse.Namespace) -> int:
    from dataclasses import asdict, fields

    try:
        from embedder.embed import EmbedOptions, embed_slides
        from embedder.encoders import EncoderError

        chosen = {each.name: getattr(options, each.name) for each in fields(EmbedOptions)}
        try:
            results = embed_slides(options.slides, options.output, EmbedOptions(**chosen))
        except EncoderError as error:
            log.error("%s", error)  # noqa: TRY400 -- a message for a person, not a trace
            return 1
        except OSError as error:
            log.error("%s: %s", error.filename or options.output, error.strerror or error)  # noqa: TRY400
            return 1
    except ModuleNotFoundError as error:
        log.error('%s is not installed; run pip install "tissuumaps-sic[embed]"', error.name)  # noqa: TRY400
        return 1
    failed = [each for each in results if each.status == "failed"]
    if len(results) > 1:
        done = sum(each.status == "done" for each in results)
        log.info("%d done, %d skipped, %d failed", done, len(results) - done - len(failed), len(failed))
    if options.json:
        print(json.dumps([asdict(each) for each in results], indent=1))
    return 1 if failed else 0


def _encoders(_: argparse.Namespace) -> int:
    from embedder.encoders import available_encoders

    for row in available_encoders():
        print(row)
    return 0


def _check(options: argparse.Namespace) -> int:
    from embedder.contract import check

    broken = False
    for path in options.files:
        problems = check(path)
        broken = broken or bool(problems)
        if not problems:
            print(f"{path}: follows the contract")
        for problem in problems:
            print(f"{path}: {problem.rule}: {problem.what}; {problem.fix}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
