"""TissUUmaps' own server on a folder of slides, with the SIC plugin loaded, behind waitress."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.temporary import hold_folder
from tissuumaps_sic.slidefile.writing import remove_unfinished
from tissuumaps_sic.viewer import pictures
from tissuumaps_sic.viewer.access import FOLDER, MAKES_PAGES, find_below, is_open_to_all
from tissuumaps_sic.viewer.entrance import Entrance, clean_path
from tissuumaps_sic.viewer.guard import guard_app
from tissuumaps_sic.viewer.passwords import AuthFileError, auths_below, nearest_auth, read_auth
from tissuumaps_sic.viewer.requests import MOST_BYTES
from tissuumaps_sic.viewer.worklist import page, slides_below

log = logging.getLogger(__name__)


class ServeError(SicError):
    """The folder cannot be served; the message says what to do."""


class NothingToServeError(WrongUseError, ServeError):
    """The folder holds no slide, so another was meant, or slides come first."""


@dataclass(frozen=True)
class Service:
    """A folder as it is served.

    Attributes
    ----------
    application : WSGI application
    pages : list of str
        The addresses of its slides, from the server's root.
    """

    application: Any
    pages: list[str]


def make_service(
    folder: Path,
    *,
    host: str,
    names: Collection[str] = (),
    first: str | None = None,
    public: bool = False,
    sub_path: str = "",
    proxies: Collection[str] = (),
    read_only: bool = False,
) -> Service:
    """Return what serves a folder, whatever server it runs in; `serve` tells the parameters.

    Parameters
    ----------
    folder : Path
    host : str
    names : collection of str, optional
    first : str, optional
    public : bool, default=False
    sub_path : str, default=""
    proxies : collection of str, optional
    read_only : bool, default=False

    Returns
    -------
    Service

    Raises
    ------
    ServeError, WrongUseError
        When the folder cannot be served, or not so.
    """
    # What a proxy reaches its users do.
    behind = proxies or clean_path(sub_path)
    if not public and is_open_to_all(folder, "" if behind else host):
        raise ServeError(
            f"{'a proxy' if behind else host}: other machines would see and change the slides in {folder} "
            f"without a password; put a line user;password into {folder / 'auth'}, or give --public as well "
            "if everyone may"
        )
    folder = folder.resolve()
    _understand_passwords(folder)
    projects = _list_projects(folder, first)
    made = not projects[0].is_file()
    app = make_app(folder, default=None if made else projects[0])
    app.config["READ_ONLY"] = read_only or app.config["READ_ONLY"]
    first_page = page(folder, projects[0]) if made else None
    guarded = guard_app(app, folder / "auth", host=host, names=names, first=first_page)
    return Service(
        Entrance(guarded, sub_path=sub_path, proxies=proxies), [page(folder, each) for each in projects]
    )


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5100,
    browser: bool = True,
    first: str | None = None,
    public: bool = False,
    names: Collection[str] = (),
    sub_path: str = "",
    proxies: Collection[str] = (),
    read_only: bool = False,
    announce: Callable[[list[str]], None],
) -> None:
    """Serve a folder of h5ad and tmap files until interrupted; an h5ad without a tmap has a page too.

    Parameters
    ----------
    folder : Path
    host : str
        Address to listen on.
    port : int
        0 takes any free port.
    browser : bool
        Open the start page, or the slide that comes first where it is the only one or `first`, in the default
        browser.
    first : str, optional
        Name of the slide to come first; by default they go by the alphabet.
    public : bool
        Let other machines in although the folder has no ``auth`` file.
    names : collection of str
        Further names of this server, as browsers know it; a request that gives another is refused.
    sub_path, proxies
        As `Entrance` takes them.
    read_only : bool
        Take no change.
    announce : callable
        Called with the addresses of the slides once connections are accepted.

    Raises
    ------
    ServeError
        When the folder or the port cannot be used.
    """
    from waitress.server import create_server

    service = make_service(
        folder,
        host=host,
        names=names,
        first=first,
        public=public,
        sub_path=sub_path,
        proxies=proxies,
        read_only=read_only,
    )
    allow_files()
    try:
        server = create_server(
            service.application,
            host=host,
            port=port,
            ident=None,
            # Whose they are is asked by `Entrance`.
            clear_untrusted_proxy_headers=not proxies,
            **_LIMITS,
        )
    except OSError as error:
        raise ServeError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another port with --port"
        ) from error
    base = f"http://{f'[{host}]' if ':' in host else host}:{server.effective_port}{clean_path(sub_path)}"
    addresses = [base + each for each in service.pages]
    announce(addresses)
    if browser:
        # Of several slides the start page, unless one was asked for.
        wanted = addresses[0] if first is not None or len(addresses) == 1 else f"{base}/"
        threading.Timer(0.5, webbrowser.open, args=[wanted]).start()
    with folder_for_temporary_files():
        try:
            # Ends at Ctrl-C, and at SIGTERM as the command line hears it; requests under way have 5 seconds.
            server.run()
        finally:
            server.close()
            pictures.remove_temporary()
            remove_unfinished()


def _list_projects(folder: Path, first: str | None) -> list[Path]:
    """Return the projects below a folder, those that are made for its h5ads included, in order.

    Raises
    ------
    NothingToServeError
        When there are none.
    """
    if not folder.is_dir():
        told = "is a file; give the folder that it is in" if folder.exists() else "there is no such folder"
        raise NothingToServeError(f"{folder}: {told}")
    # What a link leads out of the folder is not shown.
    projects = {
        path
        for path in folder.rglob("*.tmap")
        if find_below(folder, path.relative_to(folder).as_posix(), suffix=".tmap")
    }
    projects |= {path.with_suffix(".tmap") for path in slides_below(folder)}
    if not projects:
        raise NothingToServeError(
            f"{folder}: holds no h5ad and no .tmap project; embed a slide into it first "
            f"(embedder embed SLIDE -o {folder})"
        )
    # Without the ending: a.tmap, which is annotated, comes before a.labels.tmap, the result.
    return sorted(projects, key=lambda path: (path.stem != first, path.with_suffix("")))


# Tiles come in bursts of dozens; more threads than cores, since most wait for the disk, some for their turn
# to cluster, who must be told and stopped meanwhile, and some for another program's lock (`plugin`).
_LIMITS: dict[str, Any] = {
    "threads": 32,
    # Before the password is asked, since a body comes before its answer.
    "max_request_body_size": MOST_BYTES,
    # Who connects and says nothing shuts nobody out.
    "connection_limit": 1000,
    "channel_timeout": 20,
    "cleanup_interval": 5,
    "asyncore_use_poll": True,
    # A lasso of half a million patches needs no room in the temporary folder, nor does any answer: of one
    # that grows, 16 MB lie in memory until they are sent, and it waits.
    "inbuf_overflow": 4 * 2**20,
    "outbuf_overflow": 2**40,
}


@contextmanager
def folder_for_temporary_files() -> Iterator[None]:
    """Keep what this server puts into the temporary folder in one of its own, which goes with it.

    Threads that are at work when it ends do not come to clean up.
    """
    before = tempfile.tempdir
    with ExitStack() as held:
        try:
            tempfile.tempdir = str(held.enter_context(hold_folder("tissuumaps-sic-")))
        except OSError as error:
            log.warning(
                "the temporary folder takes no file (%s), and exports will fail; set TMPDIR to a folder that "
                "can be written",
                error.strerror or error,
            )
        try:
            yield
        finally:
            tempfile.tempdir = before


def allow_files() -> None:
    """Let the process have as many open files as it may have connections."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _understand_passwords(folder: Path) -> None:
    """Refuse to serve a folder whose ``auth`` files let nobody in, which is nobody's intention.

    Raises
    ------
    ServeError
        When one says not who may come in.
    """
    above = nearest_auth(folder)
    for path in dict.fromkeys([*([above] if above else []), *auths_below(folder)]):
        try:
            read_auth(path)
        except AuthFileError as error:
            raise ServeError(str(error)) from error
        except OSError as error:
            raise ServeError(f"{path}: cannot be read ({error.strerror or error})") from error


def make_app(folder: Path, *, default: Path | None = None) -> Any:
    """Return TissUUmaps' Flask application, set to serve `folder` with the plugin.

    Parameters
    ----------
    folder : Path
    default : Path, optional
        The project that the bare address shows.
    """
    # TissUUmaps turns the root logger to INFO when it is imported, and libvips then reports every call.
    level = logging.getLogger().level
    _have_a_home()
    import tissuumaps
    import tissuumaps.views

    logging.getLogger().setLevel(level)
    for noisy in ("pyvips", "waitress.queue"):
        logging.getLogger(noisy).setLevel(logging.ERROR)

    app = tissuumaps.app
    theirs = app.config["PLUGIN_FOLDER_USER"]
    # TissUUmaps looks in two folders; ours takes the first place and the user's own plugins the second.
    app.config["PLUGIN_FOLDER_USER"] = str(FOLDER)
    if Path(theirs).resolve() != FOLDER.resolve():
        app.config["PLUGIN_FOLDER"] = theirs
    tissuumaps.getPluginInFolder(str(FOLDER))
    # Patch coordinates are those of the whole slide, so the image must not be cropped to its bounds.
    app.config["DEEPZOOM_LIMIT_BOUNDS"] = False
    app.config["SLIDE_DIR"] = f"{folder}/"
    app.config[MAKES_PAGES] = False
    # There is one application a process, whatever it served before.
    app.config["DEFAULT_PROJECT"] = None if default is None else default.relative_to(folder).as_posix()
    app.config["PROJECT_LIST"] = default is not None and len(list(folder.glob("*.tmap"))) > 1
    tissuumaps.views.setup(app)
    pictures.install(tissuumaps.views)
    return app


def _have_a_home() -> None:
    """Name a home where the user has none: TissUUmaps would look for programs in a folder called "~" here."""
    if os.path.expanduser("~") == "~":  # noqa: PTH111 -- pathlib's raises
        os.environ["HOME"] = os.devnull
