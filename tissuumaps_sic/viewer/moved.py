"""TissUUmaps below a path: addresses that its own files begin at the root of a server begin below it.

Its pages name nearly everything from where they are. What they do not is here, word by word as it stands in
TissUUmaps 3.2, which is the version that is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# By the file's address: what stands in it, {root} where the path belongs.
_SCRIPTS: dict[str, tuple[str, ...]] = {
    "/static/js/flask.js": ('url: "{root}/" + filename', "src='{root}/filetree"),
    "/static/js/utils/pluginUtils.js": ('url: "{root}/plugins/"',),
}
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "tissuumaps.html": ('"{root}/static/misc/', '"{root}/static/js/'),
    "filetree.html": ('"{root}/get_file_tree?root="', 'window.parent.location = "{root}/"'),
}


def move_template(name: str, text: str, root: str) -> str:
    """Return a page of TissUUmaps for a server below the path `root`; "" is none.

    Parameters
    ----------
    name : str
    text : str
    root : str

    Returns
    -------
    str
    """
    return _move(text, _TEMPLATES[name], root) if root else text


def is_moved(path: str, root: str) -> bool:
    """Return whether a file of TissUUmaps, by its address, is another one below the path `root`.

    Parameters
    ----------
    path : str
    root : str

    Returns
    -------
    bool
    """
    return bool(root) and path in _SCRIPTS


def moved_script(flask: Any, path: str, root: str) -> Any:
    """Answer with a script of TissUUmaps for a server below the path `root`.

    Parameters
    ----------
    flask : Flask
    path : str
    root : str

    Returns
    -------
    werkzeug.wrappers.Response
    """
    from werkzeug.wrappers import Response

    text = Path(flask.root_path, path.lstrip("/")).read_text(encoding="utf-8")
    headers = {"Cache-Control": "no-cache"}
    return Response(_move(text, _SCRIPTS[path], root), mimetype="text/javascript", headers=headers)


def _move(text: str, places: tuple[str, ...], root: str) -> str:
    for place in places:
        text = text.replace(place.format(root=""), place.format(root=root))
    return text
