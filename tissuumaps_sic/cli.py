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

DESCRIPTION = "Label every part of a histology slide from a few clicks, in TissUUmaps or without it."
# What the program says when it is given no command, and below its list of commands.
BEGINNING = """\
To begin with:
  tissuumaps-sic demo                  a synthetic slide in your browser, to try everything on
  tissuumaps-sic open SLIDE            a slide of yours: embed it, and annotate it in your browser
  tissuumaps-sic run FILE --seeds CSV  label an embedded slide from seeds in a file
  tissuumaps-sic export FILE -o OUT    write the labels for a spreadsheet, QuPath and others (--format)

The guide is in the folder docs of the repository; first-slide.md there takes ten minutes.
"""

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
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those that the program was started with.

    Returns
    -------
    int
        The exit status: 0 all well, 1 some slides failed, 2 wrong use, 130 stopped.
    """
    escape_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tissuumaps_sic").setLevel(logging.INFO)
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.takes_rest:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    if options.run is None:
        more = "tissuumaps-sic --help lists all commands, tissuumaps-sic COMMAND --help the options of one."
        sys.stderr.write(f"{DESCRIPTION}\n\n{BEGINNING}{more}\n")
        return 2
    options.rest = rest
    return run_command(lambda: options.run(options))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands.

    Returns
    -------
    ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog="tissuumaps-sic",
        description=DESCRIPTION,
        epilog=BEGINNING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(run=None, takes_rest=False)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = f"{command.HELP[0].upper()}{command.HELP[1:]}."
        added = commands.add_parser(name, help=command.HELP, description=description)
        added.set_defaults(run=command.run)
        command.add_options(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
