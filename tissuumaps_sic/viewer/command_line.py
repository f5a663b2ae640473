"""The line of the command line that gives again what a page shows: labels, an export, what to look at next.

A line names files by their paths below the served folder, and is to be run there: the machine's own folders
are nobody's business, and a reader who has a copy of the folder runs the same line in it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import session_path
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.labelling.methods import Method
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.places import locate_session
from tissuumaps_sic.viewer.requests import CommandRequest

_PROGRAM = "tissuumaps-sic"


class _NoLineError(Exception):
    """No line gives what is shown; the message says why, and what to do."""


def send_command(shared: Shared, reach: Reach, request: CommandRequest) -> Header:
    """Return the ``line`` that gives what is asked about, for a shell in the served folder.

    Where none gives exactly that, it is empty, and ``why`` tells the person so.
    """
    h5ad, opened = reach.h5ad, shared.opened
    slide = opened.slide(h5ad)
    session = opened.seen_session(slide, request)
    within = reach.root
    try:
        _require_beside(h5ad, request.session)
        if request.what == "run":
            outdated = bool(session.run) and bool(opened.state(slide, session, request)["run"]["outdated"])
            line = tell_run(h5ad, within, session, request.session, is_outdated=outdated)
        elif request.what == "export":
            line = tell_export(h5ad, within, session, request.session, request.format)
        else:
            slide = opened.slide(h5ad, request.embedding)
            shown = [str(slide.patch_names[row]) for row in request.shown if row < slide.n_patches]
            line = tell_suggest(
                slide,
                within,
                request.session,
                n=request.n,
                method=request.method,
                without=shown,
                is_opinion=request.what == "opinion",
            )
    except _NoLineError as error:
        return {"line": "", "why": str(error)}
    return {"line": line, "why": ""}


def tell_run(h5ad: Path, within: Path, session: Session, name: str, *, is_outdated: bool = False) -> str:
    """Return the line that gives the labels of a session's last run from its seeds.

    Parameters
    ----------
    h5ad : Path
    within : Path
        The folder where the line is to be run.
    session : Session
    name : str
        Of the session.
    is_outdated : bool, default=False
        Whether the embeddings are no longer those of the run.

    Returns
    -------
    str
    """
    run = session.run
    if run is None:
        raise _NoLineError("There are no labels yet: run first, and then there is a command that gives them")
    if session.is_stale:
        raise _NoLineError(
            "Seeds or classes have changed since these labels were made, and a command would give those of "
            "the present seeds: run again, and copy then (an export of the old labels has its own command)"
        )
    if is_outdated:
        raise _NoLineError(
            "The embeddings have changed since these labels were made, so that no command gives them: run "
            "again, and copy then"
        )
    _require_same_program(run)
    options = [*_session(name), "--method", run.method, *_valued("--embedding", run.embedding)]
    if run.border is not None:
        options += ["--border", repr(run.border)]
    return _join("run", _path(h5ad, within), options, _output(h5ad, name, "csv"))


def tell_export(h5ad: Path, within: Path, session: Session, name: str, format_: str) -> str:
    """Return the line that gives the labels of a session's last run as a file, as the panel's export does.

    Parameters are those of `tell_run`, and the format's name.
    """
    if session.run is None:
        raise _NoLineError(
            "There are no labels yet: run first, and then there is a command that exports them"
        )
    if not session.run.can_replay:
        raise _NoLineError("These labels came from the seeds of another slide: run again, and copy then")
    return join_export(h5ad, within, name, format_)


def join_export(h5ad: Path, within: Path, name: str, format_: str) -> str:
    """Return the line that exports a session's labels, as `tell_export` does.

    Parameters
    ----------
    h5ad : Path
    within : Path
    name : str
    format_ : str

    Returns
    -------
    str
    """
    of = ["--session", _path(session_path(h5ad, name), within)] if name else []
    return _join("export", _path(h5ad, within), ["--format", format_, *of], _output(h5ad, name, format_))


def tell_suggest(
    slide: EmbeddedSlide,
    within: Path,
    name: str,
    *,
    n: int,
    method: Method,
    without: Sequence[str] = (),
    is_opinion: bool = False,
) -> str:
    """Return the line that lists the patches which a page shows next, or where a second opinion differs.

    Parameters
    ----------
    slide : EmbeddedSlide
        With the embedding that was asked about.
    within : Path
    name : str
        As for `tell_run`.
    n : int
        How many were asked for.
    method : "sic" or "refine"
    without : sequence of str, default=()
        Names of the patches that were shown before.
    is_opinion : bool, default=False
    """
    options = ["-n", str(n), *(["--second-opinion"] if is_opinion else []), *_session(name)]
    options += ["--method", method, *_valued("--embedding", slide.embedding)]
    for each in without:
        options += _valued("--without", each)
    return _join("suggest", _path(slide.path, within), options)


def _require_beside(h5ad: Path, name: str) -> None:
    """Refuse a session that the command would not find."""
    beside, place = session_path(h5ad, name), locate_session(h5ad, name)
    if place != beside:
        raise _NoLineError(
            "The folder cannot be written, so that the session is with the server, where no command finds "
            "it: save it as a file, put it beside the slide, and open that"
        )
    if name and not beside.exists():
        raise _NoLineError("Nothing is saved in this session yet: seed a patch first")


def _require_same_program(run: Run) -> None:
    if run.version != __version__ or not run.leaves_one_out:
        raise _NoLineError(
            f"These labels were made by version {run.version}, and a command of this one ({__version__}) may "
            "give others: run again, and copy then (an export has its own command, which gives these)"
        )


def _join(command: str, path: str, options: Iterable[str], output: Iterable[str] = ()) -> str:
    return shlex.join([_PROGRAM, command, path, *options, *output])


def _session(name: str) -> list[str]:
    return ["--session", name] if name else []


def _output(h5ad: Path, name: str, format_: str) -> list[str]:
    """Return where the line writes to: what the panel's export is called, in the folder where one is."""
    suffix = f".{name}" if name else ""
    return ["-o", _plain(f"{h5ad.stem}{suffix}.{FORMATS[format_].ending}")]


def _valued(option: str, value: str) -> list[str]:
    """Return an option with a value that may begin like an option."""
    return [f"{option}={value}"] if value.startswith("-") else [option, value]


def _path(path: Path, within: Path) -> str:
    """Return a path as the commands take it in the served folder; what is not below it has none."""
    return _plain(path.relative_to(within).as_posix())


def _plain(path: str) -> str:
    """Return a path that is no option."""
    return f"./{path}" if path.startswith("-") else path
