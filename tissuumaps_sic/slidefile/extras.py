"""How to install an extra of pyproject.toml, which depends on where this program came from."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any
from urllib.parse import unquote

_PROJECT = "tissuumaps-sic"


def tell_install(*extras: str) -> str:
    """Return what a person runs to install extras beside what is installed.

    Parameters
    ----------
    *extras : str
        Names of pyproject.toml, such as "cluster".

    Returns
    -------
    str
        A command, such as ``pip install "tissuumaps-sic[cluster]"``, with the place that it is to be taken
        from or run in. It names no folder of this machine,
        since messages reach the pages of a server too.

    Notes
    -----
    By ``direct_url.json``, in which installers write what was not found by its name: the specification is
    packaging.python.org, "Recording the Direct URL Origin of installed distributions".
    """
    names = ",".join(extras)
    origin = _read_origin()
    url = origin.get("url")
    if not isinstance(url, str):
        # From an index, or a folder of wheels that pip was told of: that is not recorded.
        return f'pip install "{_PROJECT}[{names}]" from where you installed it'
    folder, control = origin.get("dir_info"), origin.get("vcs_info")
    if isinstance(folder, dict):
        editable = "-e " if folder.get("editable") is True else ""
        return f'pip install {editable}".[{names}]" in your clone of {_PROJECT}'
    if url.startswith("file:"):
        if isinstance(control, dict):
            return f'pip install ".[{names}]" in your clone of {_PROJECT}'
        return f'pip install "{unquote(url.rpartition("/")[2])}[{names}]" in the folder of that file'
    if isinstance(control, dict):
        return f'pip install "{_PROJECT}[{names}] @ {control.get("vcs")}+{url}"'
    return f'pip install "{_PROJECT}[{names}] @ {url}"'


def _read_origin() -> dict[str, Any]:
    """Return what is recorded of where this program came from; nothing where it was found by its name."""
    try:
        known = json.loads(distribution(_PROJECT).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
