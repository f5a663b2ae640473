"""`convert`: embeddings that other programs made."""

from __future__ import annotations

import argparse
from pathlib import Path

from embedder.commands.options import add_umap
from tissuumaps_sic.slidefile.console import read_positive

HELP = "import embeddings that other programs made"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="TRIDENT's or CLAM's .h5, LazySlide's .zarr, or any .h5ad"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the h5ad to write")
    parser.add_argument(
        "--mpp", type=read_positive, metavar="UM", help="µm per level-0 pixel, in place of what SOURCE says"
    )
    parser.add_argument(
        "--patch-size0",
        type=read_positive,
        metavar="PX",
        help="edge of a patch in level-0 pixels, in place of what SOURCE says",
    )
    parser.add_argument(
        "--unit",
        type=read_positive,
        default=1.0,
        metavar="PX",
        help="level-0 pixels in one unit of the coordinates: the downsample of the level that they are of",
    )
    parser.add_argument(
        "--corners", action="store_true", help="places in an h5ad are top-left corners, not centres"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the slide (default: that of SOURCE)")
    parser.add_argument(
        "--table", metavar="NAME", help="table of features, where a LazySlide store has several"
    )
    add_umap(parser)
    parser.add_argument(
        "--drop-nan",
        action="store_true",
        help="leave patches out whose embedding or place holds NaN or infinity",
    )


def run(options: argparse.Namespace) -> int:
    """Convert the file."""
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
    held = f"{made.n_features} features of {made.n_patches:,} patches"
    print(f"{options.source} ({made.kind}): {held} -> {made.path}")
    return 0
