"""`embed`: slides to files of embeddings, on this machine or on many."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from embedder.commands.options import (
    add_embedding,
    add_json,
    add_limits,
    add_slides,
    print_report,
    read_limits,
    read_options,
    set_defaults,
)
from embedder.embedding.options import EmbedOptions
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_machines, read_machines
from tissuumaps_sic.slidefile.machines.spread import Machines

if TYPE_CHECKING:
    from embedder.embedding.request import SlideInput
    from embedder.embedding.results import SlideResult

log = logging.getLogger(__name__)

HELP = "embed slides: patches of tissue to one AnnData file a slide"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_slides(parser)
    add_embedding(parser)
    parser.add_argument(
        "--thumbnail", action="store_true", help="keep a small picture of the slide in the file"
    )
    parser.add_argument("--overwrite", action="store_true", help="embed anew what is there already")
    add_limits(parser)
    _add_machines(parser)
    add_json(parser)
    set_defaults(parser, EmbedOptions())


def _add_machines(parser: argparse.ArgumentParser) -> None:
    where = add_machines(
        parser,
        "many machines, or several GPUs",
        "A worker embeds one slide at a time.",
        "how many workers to start, here or by SLURM",
    )
    where.add_argument(
        "--devices",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="cuda:0,cuda:1",
        help="devices of this machine, a worker for each",
    )


def run(options: argparse.Namespace) -> int:
    """Embed the slides; one that fails is named, and the others are done."""
    from embedder.embedding.pipeline import embed_slides
    from embedder.embedding.request import gather

    if options.workers and options.devices:
        raise WrongUseError(
            "--workers says how many workers to start, and each of --devices gets one; give one of the two"
        )
    machines = read_machines(options)
    items, asked = gather(options.slides), read_options(EmbedOptions, options)
    if machines != Machines() or options.devices:
        results = _embed_on_cluster(items, asked, options, machines)
    else:
        results = embed_slides(items, options.output, asked, limits=read_limits(options))
    if len(results) > 1:
        _log_summary(results)
    if options.json:
        print_report([asdict(result) for result in results])
    return 1 if any(result.status == "failed" for result in results) else 0


def _embed_on_cluster(
    items: list[SlideInput], asked: EmbedOptions, options: argparse.Namespace, machines: Machines
) -> list[SlideResult]:
    from embedder.cluster.client import embed_on_cluster

    return embed_on_cluster(
        items,
        options.output,
        asked,
        scheduler=machines.scheduler,
        slurm=machines.slurm,
        workers=machines.workers,
        devices=options.devices,
    )


def _log_summary(results: Sequence[SlideResult]) -> None:
    """Log a table of what became of the slides; failures last, where eyes are."""
    order = {"done": 0, "skipped": 1, "failed": 2}
    width = min(60, max(len(Path(result.slide).name) for result in results))
    log.info("%-*s  %-7s  %9s  %9s  %9s", width, "slide", "status", "patches", "seconds", "patches/s")
    for result in sorted(results, key=lambda result: order[result.status]):
        seconds = sum(result.seconds.values())
        embedding = result.seconds.get("embed", 0)
        log.info(
            "%-*s  %-7s  %9s  %9s  %9s",
            width,
            Path(result.slide).name,
            result.status,
            f"{result.n_patches:,}" if result.n_patches else "",
            f"{seconds:,.0f}" if seconds else "",
            f"{result.n_patches / embedding:,.0f}" if embedding else "",
        )
    count = {status: sum(result.status == status for result in results) for status in order}
    log.info("%d done, %d skipped, %d failed", count["done"], count["skipped"], count["failed"])
