"""The server for WSGI servers of one's own choice, set by the environment.

``gunicorn --workers 1 --threads 16 'tissuumaps_sic.viewer.wsgi:make_application()'``, or
``waitress-serve --threads 32 --asyncore-use-poll --no-clear-untrusted-proxy-headers --call
tissuumaps_sic.viewer.wsgi:make_application`` (it takes proxies' headers off otherwise), with

- ``TISSUUMAPS_SIC_FOLDER``: the folder of slides; its ``auth`` file holds the password
- ``TISSUUMAPS_SIC_ALLOWED_HOSTS``: names that browsers know the server by, with commas
- ``TISSUUMAPS_SIC_SUB_PATH``, ``TISSUUMAPS_SIC_BEHIND_PROXY`` (addresses, with commas): see `Entrance`
- ``TISSUUMAPS_SIC_READ_ONLY``, ``TISSUUMAPS_SIC_PUBLIC``: 1 or 0

One process serves a folder, with many threads: it holds what runs, and the sessions of folders that cannot be
written.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.writing import remove_unfinished
from tissuumaps_sic.viewer import pictures
from tissuumaps_sic.viewer.serve import allow_files, folder_for_temporary_files, make_service

log = logging.getLogger(__name__)

_BEGINNING = "TISSUUMAPS_SIC_"
_KNOWN = ("FOLDER", "ALLOWED_HOSTS", "SUB_PATH", "BEHIND_PROXY", "READ_ONLY", "PUBLIC")
# What the WSGI server listens on is not known here; so others may connect.
_ANYWHERE = "0.0.0.0"  # noqa: S104 -- compared, and not listened on


class SettingError(WrongUseError):
    """A setting in the environment that cannot be meant."""


def make_application(environment: Mapping[str, str] = os.environ) -> Any:
    """Return the WSGI application of the folder that the environment names.

    Parameters
    ----------
    environment : mapping of str to str
        The settings; the module's own text lists them.

    Raises
    ------
    ServeError, WrongUseError
        When the folder cannot be served, or not so.
    """
    settings = _read_settings(environment)
    service = make_service(
        Path(settings["FOLDER"]),
        host=_ANYWHERE,
        names=_split(settings["ALLOWED_HOSTS"]),
        sub_path=settings["SUB_PATH"],
        proxies=_split(settings["BEHIND_PROXY"]),
        read_only=_is_on("READ_ONLY", settings),
        public=_is_on("PUBLIC", settings),
    )
    allow_files()
    held = ExitStack()
    held.enter_context(folder_for_temporary_files())
    held.callback(remove_unfinished)
    held.callback(pictures.remove_temporary)
    atexit.register(held.close)
    return _OneProcess(service.application)


class _OneProcess:
    """A WSGI application that serves nothing from one of several processes."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._is_told = False

    def __call__(self, environ: Any, start: Any) -> Any:
        from werkzeug.wrappers import Response

        if environ.get("wsgi.multiprocess"):
            text = (
                "This server was started with several processes, which would not know of each other's runs "
                "and sessions. Start it with one and many threads: gunicorn --workers 1 --threads 16 ..."
            )
            log.error(text)
            return Response(text, 500)(environ, start)
        if not environ.get("wsgi.multithread") and not self._is_told:
            self._is_told = True
            log.warning("with one thread a run makes all others wait, tiles too; give --threads 16")
        return self._app(environ, start)


def _read_settings(environment: Mapping[str, str]) -> dict[str, str]:
    given = {
        name.removeprefix(_BEGINNING): value
        for name, value in environment.items()
        if name.startswith(_BEGINNING)
    }
    # One that is not known would be a server that is open where it was meant to be read-only.
    if unknown := sorted(given.keys() - set(_KNOWN)):
        known = ", ".join(f"{_BEGINNING}{name}" for name in _KNOWN)
        raise SettingError(f"{_BEGINNING}{unknown[0]}: is not a setting; there are {known}")
    if not given.get("FOLDER"):
        raise SettingError(f"{_BEGINNING}FOLDER: is not set; name the folder of the slides in it")
    return {name: given.get(name, "") for name in _KNOWN}


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _is_on(name: str, settings: Mapping[str, str]) -> bool:
    if settings[name] not in ("", "0", "1"):
        raise SettingError(f"{_BEGINNING}{name}: is {settings[name]}; give 1 or 0")
    return settings[name] == "1"
