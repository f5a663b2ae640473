"""Options that several commands share, and the values that are made of them."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from embedder.encoders.spec import PRECISIONS
from embedder.encoders.told import INTERPOLATIONS, POOLS
from embedder.isolation.child import Limits
from tissuumaps_sic.slidefile.console import (
    read_count,
    read_not_negative,
    read_positive,
    read_share,
    read_within,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")


_OVERLAP = read_within(float, lambda number: 0 <= number < 1, "a number from 0 to below 1")


def add_slides(parser: argparse.ArgumentParser) -> None:
    """Add the slides, and where the files go that are made of them."""
    parser.add_argument(
        "slides",
        nargs="+",
        metavar="SLIDE",
        help="a slide, a folder of slides, a pattern, or a CSV with the columns slide and (if wanted) mpp",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the files")


def add_patches(parser: argparse.ArgumentParser) -> None:
    """Add what says by what, and which patches of slides are embedded."""
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        help="a name (`embedder encoders`), timm:NAME, hf:OWNER/NAME, or the path of a checkpoint or network",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="file of weights for a named encoder")
    parser.add_argument("--mpp", type=read_positive, metavar="UM", help="µm per pixel of a patch")
    parser.add_argument(
        "--slide-mpp",
        type=read_positive,
        metavar="UM",
        help="µm per level-0 pixel, in place of what the slides say",
    )
    parser.add_argument(
        "--patch-size", type=read_count, metavar="PX", help="edge of a patch in its own pixels"
    )
    parser.add_argument(
        "--overlap", type=_OVERLAP, metavar="SHARE", help="share of a patch that its neighbour covers too"
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
        metavar="NAME",
        help="class of polygons, or value of the mask, that is tissue; may be given several times (default: "
        "all, of a mask all but 0)",
    )
    parser.add_argument(
        "--tissue-from-bounds",
        action="store_true",
        help="polygons count from the corner of the scanned part, as QuPath's do on slides with bounds",
    )
    parser.add_argument(
        "--min-tissue",
        type=read_share,
        metavar="SHARE",
        help="least share of a patch that is tissue; 0 takes all",
    )
    parser.add_argument(
        "--icc",
        action="store_true",
        help="convert colours to sRGB by each slide's own ICC profile; a slide without one stays as it is",
    )
    parser.add_argument(
        "--damage-limit",
        type=read_share,
        metavar="SHARE",
        help="largest share of patches that may lie where the slide is damaged, and are read from another "
        "level; with more the slide is refused",
    )


def add_device(parser: argparse.ArgumentParser, *, precision: str) -> None:
    """Add where the encoder runs, and how precisely; `precision` is what the help says of that."""
    parser.add_argument(
        "--device", metavar="DEVICE", help="where the encoder runs: auto, cpu, cuda, cuda:1 or mps"
    )
    parser.add_argument("--precision", choices=PRECISIONS, help=precision)


def add_embedding(parser: argparse.ArgumentParser) -> None:
    """Add what says how slides are embedded: the fields of `EmbedOptions`, by their names."""
    add_patches(parser)
    add_device(parser, precision="what the encoder computes in; auto measures whether bfloat16 is worth it")
    add_told(parser)
    parser.add_argument(
        "--batch-size",
        type=read_count,
        metavar="N",
        help="patches in one pass of the encoder (default: 32; with CUDA up to 128)",
    )
    parser.add_argument("--storage", choices=("float32", "float16"), help="type of the embeddings on disk")
    add_umap(parser)
    parser.add_argument(
        "--fine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep embeddings of cells smaller than a patch, for borders that follow the tissue",
    )


def add_told(parser: argparse.ArgumentParser) -> None:
    """Add what a person may tell of an encoder from outside: the fields of `Told`, by their names."""
    outside = parser.add_argument_group(
        "encoders from outside",
        "What timm:NAME, hf:OWNER/NAME or a network's own file does not say, or what to use in its place.",
    )
    outside.add_argument("--input-size", type=read_count, metavar="PX", help="edge of the network's input")
    for name, words in (
        ("--mean", "mean that is subtracted from pixels"),
        ("--std", "standard deviation that they are divided by"),
    ):
        outside.add_argument(
            name, type=_read_triple, metavar="R,G,B", help=f"{words}: red, green, blue, each 0 to 1"
        )
    outside.add_argument("--interpolation", choices=INTERPOLATIONS, help="how patches are resized to that")
    outside.add_argument("--pool", choices=POOLS, help="how the network's tokens become one embedding")


def _read_triple(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(each) for each in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"give R,G,B such as 0.485,0.456,0.406, not {text!r}") from None
    if not all(0 <= each <= 1 for each in (red, green, blue)):
        raise argparse.ArgumentTypeError(f"give numbers from 0 to 1, not {text!r}: divide by 255")
    return red, green, blue


def add_umap(parser: argparse.ArgumentParser) -> None:
    """Add whether the file gets UMAP coordinates and colours."""
    parser.add_argument(
        "--umap",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make UMAP coordinates and colours",
    )


def add_json(parser: argparse.ArgumentParser, what: str = "print a report as JSON") -> None:
    """Add the report for machines."""
    parser.add_argument("--json", action="store_true", help=what)


def set_defaults(parser: argparse.ArgumentParser, options: DataclassInstance) -> None:
    """Give the options of a parser the values that a dataclass has under their names."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    # A list, since what is given is appended to it.
    parser.set_defaults(**values | {"tissue_classes": []})


def read_options(kind: type[Options], options: argparse.Namespace) -> Options:
    """Return a dataclass of the options that have its fields' names."""
    given = {field.name: getattr(options, field.name) for field in fields(kind) if field.name in options}
    return kind(**given | {"tissue_classes": tuple(options.tissue_classes)})


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what a slide may take: it is read in a process of its own."""
    parser.add_argument(
        "--patience",
        type=read_not_negative,
        default=_minutes(Limits().silent_seconds),
        metavar="MINUTES",
        help="give a slide up that makes no progress for so long; 0 waits for ever",
    )
    parser.add_argument(
        "--memory",
        type=read_not_negative,
        metavar="GB",
        help="give a slide up that takes more memory (default: when the machine's is nearly full)",
    )


def _minutes(seconds: float | None) -> int:
    return round((seconds or 0) / 60)


def read_limits(options: argparse.Namespace) -> Limits:
    """Return what `add_limits` was given."""
    return Limits(
        silent_seconds=60 * options.patience or None,
        memory=None if not options.memory else round(options.memory * 1e9),
    )


def print_report(report: Any) -> None:
    """Print a report for machines."""
    print(json.dumps(report, indent=1, default=str))
