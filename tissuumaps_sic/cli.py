"""The command line of the local half: the table of its commands."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from tissuumaps_sic import __version__
from tissuumaps_sic.commands import (
    bundle,
    compare,
    demo,
    effort,
    evaluate,
    export,
    install_plugin,
    merge,
    open_,
    receive,
    run,
    serve,
    suggest,
    table,
    verify,
)
from tissuumaps_sic.slidefile.console import escape_output, run_command

# Heavy imports stay inside the commands' functions: --help must answer at once.
COMMANDS = {
    "demo": demo,
    "open": open_,
    "serve": serve,
    "install-plugin": install_plugin,
    "suggest": suggest,
    "run": run,
    "export": export,
    "compare": compare,
    "merge": merge,
    "bundle": bundle,
    "receive": receive,
    "verify": verify,
    "effort": effort,
    "table": table,
    "evaluate": evaluate,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 all well, 1 some slides failed, 2 wrong use."""
    escape_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tissuumaps_sic").setLevel(logging.INFO)
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.takes_rest:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    options.rest = rest
    return run_command(lambda: options.run(options))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="tissuumaps-sic",
        description="Annotate a whole histology slide with a few clicks, in TissUUmaps.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        added = commands.add_parser(name, help=command.HELP)
        added.set_defaults(run=command.run, takes_rest=False)
        command.add_options(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
