"""`pretrain`: an encoder of one's own slides."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

from embedder.commands.options import (
    add_device,
    add_json,
    add_patches,
    add_slides,
    print_report,
    read_options,
    set_defaults,
)
from embedder.pretraining.options import STARTS, PretrainError, PretrainOptions
from tissuumaps_sic.slidefile.console import as_wrong_use

log = logging.getLogger(__name__)

HELP = "train an encoder on your own slides (SimCLR)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_slides(parser)
    add_patches(parser)
    parser.add_argument("--start", choices=STARTS, help="begin with the encoder's weights, or random ones")
    parser.add_argument(
        "--patches", type=int, metavar="N", help="how many patches to draw, from all slides together"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="how often each patch is seen")
    parser.add_argument("--batch-size", type=int, metavar="N", help="patches in one step")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="learning rate at its height, after the warm-up"
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="temperature of the loss (NT-Xent)")
    add_device(parser, precision="what a step computes in; auto is bfloat16 on CUDA, else float32")
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="DIR",
        help="folder of <slide>_mask.png, by whose values the encoder is compared with its start",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the same seed draws the same patches and views"
    )
    parser.add_argument("--overwrite", action="store_true", help="throw away another training in the folder")
    add_json(parser)
    set_defaults(parser, PretrainOptions())


def run(options: argparse.Namespace) -> int:
    """Train the encoder, and print how to embed with it."""
    from embedder.embedding.request import gather
    from embedder.pretraining.pipeline import pretrain

    asked = read_options(PretrainOptions, options)
    with as_wrong_use(PretrainError):
        asked.check()
    result = pretrain(gather(options.slides), options.output, asked)
    for _, message in result.failures:
        log.error("%s", message)
    for name, probe in result.probes.items():
        log.info(
            "%s: %.3f at the start, %.3f now (%.3f by chance)", name, probe.start, probe.trained, probe.chance
        )
    if options.json:
        print_report(asdict(result))
    else:
        given = f"--patch-size {options.patch_size}{' --icc' if options.icc else ''}"
        print(f"embedder embed SLIDE -o DIR --encoder {result.encoder} {given}")
    return 1 if result.failures else 0
