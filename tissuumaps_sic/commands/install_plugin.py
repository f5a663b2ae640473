"""`install-plugin`: the plugin in one's own TissUUmaps."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from tissuumaps_sic.slidefile.errors import WrongUseError

HELP = "add the plugin to a TissUUmaps of your own"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="the folder of TissUUmaps' plugins (default: ~/.tissuumaps/plugins)",
    )


def run(options: argparse.Namespace) -> int:
    """Copy the plugin's files to where TissUUmaps looks for plugins."""
    from tissuumaps_sic.viewer.access import FILES, FOLDER

    to = options.to or _home() / ".tissuumaps" / "plugins"
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (to / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(FOLDER / name, to / name)
    print(f"the plugin is in {to}; start TissUUmaps again to see it")
    return 0


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise WrongUseError(
            "--to: you have no home folder; name the folder of TissUUmaps' plugins"
        ) from error
