"""`check`: whether files follow the file contract."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "name every rule of the file contract that a file breaks"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="an h5ad, or a folder of them")


def run(options: argparse.Namespace) -> int:
    """Check the files."""
    from embedder.files.checking import check_files
    from tissuumaps_sic.slidefile.batch_command import find_h5ads

    broken = False
    for path, problems in check_files([path for path, _ in find_h5ads(options.files)]):
        broken = broken or bool(problems)
        if not problems:
            print(f"{path}: follows the contract")
        for problem in problems:
            print(f"{path}: {problem.rule}: {problem.what}; {problem.fix}")
    return 1 if broken else 0
