"""`merge`: a session of the seeds that no reader of a slide disputes."""

from __future__ import annotations

import argparse

from tissuumaps_sic.commands.options import add_file
from tissuumaps_sic.slidefile.console import as_wrong_use
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.spelling import say_count

HELP = "make a new session of the seeds that no reader of a slide disputes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_file(parser)
    parser.add_argument(
        "--sessions",
        nargs="+",
        required=True,
        metavar="NAME",
        help='the names of two or more sessions; "" is the shared one',
    )
    parser.add_argument(
        "--into", default="consensus", metavar="NAME", help="name of the new session (default: consensus)"
    )


def run(options: argparse.Namespace) -> int:
    """Merge the sessions into a new one."""
    from tissuumaps_sic.annotation.agreement import consensus
    from tissuumaps_sic.annotation.records import SessionError
    from tissuumaps_sic.annotation.store import editing, load_session, save_session, session_path
    from tissuumaps_sic.slides.slide import open_slide_file

    slide = open_slide_file(options.file)
    with as_wrong_use(SessionError):
        target = session_path(options.file, options.into)
        paths = {name: session_path(options.file, name) for name in options.sessions}
    if len(paths) < 2:
        raise WrongUseError("--sessions: a consensus needs two sessions or more; name another one")
    with editing(options.file):
        if target.exists():
            raise WrongUseError(f"{target}: is there already; give another name with --into, or move it away")
        merged, disputed = consensus({name: load_session(path, slide) for name, path in paths.items()})
        save_session(target, merged)
    print(
        f"{target}: {say_count(len(merged.seeds), 'seed')}; {len(disputed)} left out, where another reader's "
        "seeds or labels differ; open the session in the viewer to decide these"
    )
    for patch in disputed:
        print(f"  {patch}")
    return 0
