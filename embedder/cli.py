"""The command line of the remote half: the table of its commands."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from embedder import __version__
from embedder.commands import add, check, convert, embed, encoders, plan, pretrain, share
from tissuumaps_sic.slidefile.console import escape_output, run_command
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.extras import tell_install

# Heavy imports stay inside the commands' functions: --help must answer at once.
COMMANDS = {
    "embed": embed,
    "plan": plan,
    "encoders": encoders,
    "check": check,
    "pretrain": pretrain,
    "convert": convert,
    "share": share,
    "add": add,
}
# The extra of pyproject.toml that brings a package; "embed" brings all others.
_EXTRAS = {"lightly": "pretrain"}
_EXTRAS |= dict.fromkeys(("dask", "dask_jobqueue", "distributed", "tornado", "cryptography"), "cluster")
_EXTRAS |= dict.fromkeys(("pyarrow", "shapely"), "convert")
# Commands that keep what they did until they are given again; the others begin anew.
_GO_ON = ("embed", "pretrain")
_DESCRIPTION = "Cut slides into patches, embed them, and write one AnnData file a slide."
_OVERVIEW = f"""{_DESCRIPTION}

Begin with one of these:

  embedder encoders              list the networks, and what each needs here
  embedder plan SLIDES -o DIR    tell the patches, MB and minutes that it would take; writes nothing
  embedder embed SLIDES -o DIR   embed them; what was stopped goes on where it was

SLIDES are files, a folder, or a table. Then open DIR in the viewer: tissuumaps-sic serve DIR

embedder --help lists all commands, and embedder embed --help the options of one.
The guide is the folder docs of the repository; begin with docs/first-slide.md.
"""

log = logging.getLogger("embedder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``embedder``; by default those that the process was given.

    Returns
    -------
    int
        The exit status: 0 all well, 1 some slides failed, 2 wrong use, 130 stopped.
    """
    escape_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    options = make_parser().parse_args(arguments)
    if "run" not in options:
        sys.stderr.write(_OVERVIEW)
        return 2
    # Of the ground floor too: the table that ends `share` of a folder, say, is logged there.
    for name in ("embedder", "tissuumaps_sic"):
        logging.getLogger(name).setLevel(logging.DEBUG if options.verbose else logging.INFO)
    return run_command(
        lambda: _run(options),
        output=vars(options).get("output"),
        stopped=options.stopped,
    )


def _run(options: argparse.Namespace) -> int:
    """Run a command; tell in one line of what is not installed, and of what nobody expected."""
    try:
        status: int = options.run(options)
    except (SicError, OSError):
        raise
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0], "embed")
        log.error("%s is not installed; run %s", error.name, tell_install(extra))  # noqa: TRY400
        return 1
    except Exception as error:
        log.debug("failed", exc_info=True)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        log.error("%s (unexpected; embedder --verbose shows where)", reason)  # noqa: TRY400
        return 1
    return status


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands.

    Returns
    -------
    ArgumentParser
        What it parses has no `run` where no command was given.
    """
    parser = argparse.ArgumentParser(
        prog="embedder",
        description=_DESCRIPTION,
        epilog="It ends with 0 when all went well, 1 when some slides failed (the others are done), 2 for "
        "wrong use, and 130 when it was stopped. The guide is the folder docs of the repository.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="log more, and where a failure happened")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = f"{command.HELP[0].upper()}{command.HELP[1:]}."
        added = commands.add_parser(
            name, help=command.HELP, description=description, formatter_class=_Formatter
        )
        goes_on = name in _GO_ON
        added.set_defaults(
            run=command.run,
            stopped="stopped; the same command goes on where it was" if goes_on else "stopped",
        )
        command.add_options(added)
    return parser


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but not that there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, (), []):
            return action.help
        if action.default is True:
            return f"{action.help} (default: yes)"
        return super()._get_help_string(action)


if __name__ == "__main__":
    sys.exit(main())
