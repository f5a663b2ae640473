"""`add`: another embedding of the same slide beside those of a file."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "put another embedding of the same slide into a file"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("base", type=Path, metavar="BASE", help="the h5ad that the embedding is put into")
    parser.add_argument(
        "other",
        type=Path,
        metavar="OTHER",
        help="the h5ad of the same slide by another encoder or scale",
    )
    parser.add_argument("--name", metavar="NAME", help="name of the embedding (default: its encoder's)")
    parser.add_argument("--replace", action="store_true", help="replace the embedding that has this name")


def run(options: argparse.Namespace) -> int:
    """Add the embedding."""
    from embedder.files.combine import add_embedding

    added = add_embedding(options.base, options.other, name=options.name, replace=options.replace)
    held = f"{added.n_features} features of {added.n_patches:,} patches"
    print(f"{added.path}: obsm['X_{added.name}'] holds {held}")
    return 0
