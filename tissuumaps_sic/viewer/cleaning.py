"""What of a TissUUmaps project that comes from a file may reach the page.

A project may call any function of the page (`settings`), start any plugin, name any file, and is put into the
page as HTML. It may have come from anywhere, with the h5ad or without. So nothing of it is passed on but what
is listed here.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.names import address, escape_markup, path_of

# Properties of the page that a project may set, and to what; the first four are those that TissUUmaps offers.
_SETTINGS: dict[tuple[str, str], type[bool] | type[float] | tuple[str, ...]] = {
    ("dataUtils", "_autoLoadCSV"): bool,
    ("markerUtils", "_startMarkersOn"): bool,
    ("overlayUtils", "_linkMarkersToChannels"): bool,
    ("projectUtils", "_hideCSVImport"): bool,
    ("dataUtils", "_quadtreesEnabled"): bool,
    ("dataUtils", "_quadtreesMethod"): float,
    ("dataUtils", "_quadtreesMaxDepth"): float,
    ("glUtils", "_globalMarkerScale"): float,
    ("glUtils", "_markerScale"): float,
    ("glUtils", "_useMarkerScaleFix"): bool,
    ("glUtils", "_showColorbar"): bool,
    ("glUtils", "_showMarkerInfo"): bool,
    ("glUtils", "_resolutionScale"): float,
    ("glUtils", "_useInstancing"): bool,
    ("glUtils", "_showEdgesExperimental"): bool,
    ("glUtils", "_edgeThicknessRatio"): float,
    ("glUtils", "_regionOpacity"): float,
    ("glUtils", "_regionStrokeWidth"): float,
    ("glUtils", "_regionFillRule"): ("never", "nonzero", "oddeven"),
    ("glUtils", "_regionShowOnTop"): bool,
    ("glUtils", "_regionUsePivotSplit"): bool,
    ("glUtils", "_regionUseColorByID"): bool,
}
_BRACKETS = str.maketrans({each: escape_markup(each) for each in "<>"})
_COLOR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,30}|(rgb|hsl)a?\([0-9., %]{3,60}\)")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,60}")
_DEEPEST = 40
# What an address that is no path below the folder begins with.
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//|\\\\|data:|javascript:", re.IGNORECASE)

Clean = Callable[[Any], Any]


def clean_project(
    project: Mapping[str, Any], folder: Path, root: Path, plugins: Collection[str]
) -> dict[str, Any]:
    """Return of a project what may reach the page.

    Parameters
    ----------
    project : mapping
        As its file has it; of any version.
    folder : Path
        Of the project: its addresses begin there.
    root : Path
        The served folder, which they do not leave.
    plugins : collection of str
        Names of the plugins that a project may start.

    Returns
    -------
    dict of str to value
    """
    files = _Files(folder, root)
    settings = _Settings(plugins)
    known: dict[str, Clean] = {
        "schemaVersion": _plain,
        "filename": _text,
        "description": _description,
        "link": _link,
        "layers": _clean_each(
            _members(
                {
                    "name": _text,
                    "tileSource": files.image,
                    **dict.fromkeys(("x", "y", "rotation", "scale"), _number),
                    "flip": _flag,
                    "clip": _members(dict.fromkeys("xywh", _number)),
                    "transform_matrix": _clean_each(_number),
                },
                needs=("tileSource",),
            )
        ),
        **dict.fromkeys(("layerOpacities", "layerVisibilities", "layerFilters"), _by_number),
        "filters": _clean_each(_word),
        "compositeMode": _word,
        "collectionLayout": _plain,
        "mpp": _number,
        "boundingBox": _members(dict.fromkeys(("x", "y", "width", "height"), _number)),
        "rotate": _number,
        "markerFiles": _clean_each(_members(_marker_file(files, settings))),
        "regions": _by_word(_region),
        "regionFile": files.file,
        "regionFiles": _clean_each(
            _members(
                {
                    "title": _text,
                    "comment": _text,
                    "path": files.one_or_more,
                    "settings": settings.clean,
                    "autoLoad": _plain,
                    "hideSettings": _flag,
                },
                needs=("path",),
            )
        ),
        "plugins": settings.plugins,
        **dict.fromkeys(("hideTabs", "hideChannelRange", "hideNavigator", "collectionMode"), _flag),
        "backgroundColor": _color,
        "menuButtons": _clean_each(_members({"text": _texts, "url": _link}, needs=("text", "url"))),
        "settings": settings.clean,
    }
    found: dict[str, Any] = _members(known)(dict(project))
    found.setdefault("layers", [])
    return found


class _NothingError(Exception):
    """A value that does not reach the page."""


def _require(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise _NothingError
    return value


def _attempt(clean: Clean, value: Any) -> list[Any]:
    """Return what is left of a value, in a list; an empty one where nothing is."""
    try:
        return [clean(value)]
    except _NothingError:
        return []


def _members(known: Mapping[str, Clean], *, needs: Collection[str] = ()) -> Clean:
    def clean(value: Any) -> dict[str, Any]:
        _require(value, dict)
        members = {
            key: kept
            for key, clean_member in known.items()
            # What a model fills in where nothing is said stays nothing.
            if value.get(key) is not None
            for kept in _attempt(clean_member, value[key])
        }
        if not all(key in members for key in needs):
            raise _NothingError
        return members

    return clean


def _clean_each(clean: Clean) -> Clean:
    return lambda value: [kept for item in _require(value, list) for kept in _attempt(clean, item)]


def _by_word(clean: Clean) -> Clean:
    return lambda value: {
        word: kept
        for key, item in _require(value, dict).items()
        for word in _attempt(_plain_word, key)
        for kept in _attempt(clean, item)
    }


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value without markup in any of its texts, and without keys that JavaScript knows."""
    if depth > _DEEPEST:
        raise _NothingError
    if isinstance(value, str):
        return value.translate(_BRACKETS)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {
            _plain(key): _plain(item, depth + 1)
            for key, item in value.items()
            if isinstance(key, str) and key not in ("__proto__", "constructor", "prototype")
        }
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise _NothingError


def _text(value: Any) -> str:
    return escape_markup(str(_require(value, str, int, float)))


def _texts(value: Any) -> Any:
    return [_text(item) for item in value] if isinstance(value, list) else _text(value)


def _description(value: Any) -> str:
    """Return the text of a description, which may be written in HTML."""
    parser = _Texts()
    parser.feed(_require(value, str))
    parser.close()
    return escape_markup("".join(parser.texts)).strip()


class _Texts(HTMLParser):
    """What of HTML is text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _word(value: Any) -> str:
    if not _WORD.fullmatch(_require(value, str)):
        raise _NothingError
    return str(value)


def _plain_word(value: Any) -> str:
    """Return what names an element of the page, which others find by it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", _require(value, str))[:60]


def _color(value: Any) -> str:
    color = str(_require(value, str).strip())
    if not _COLOR.fullmatch(color):
        raise _NothingError
    return color


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise _NothingError
    if isinstance(value, str):
        # Fields of the page are texts.
        try:
            value = float(value)
        except ValueError:
            raise _NothingError from None
    if not _is_finite(_require(value, int, float)):
        raise _NothingError
    return value


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        # JSON has whole numbers of any length.
        return False


def _flag(value: Any) -> Any:
    return _require(value, bool, int)


def _link(value: Any) -> str:
    """Return an address that a person may follow: of the web, or of this server."""
    if set(_require(value, str)) & set("<>\"'\\") or any(ord(letter) < 33 for letter in value):
        raise _NothingError
    if not re.match(r"https?://|[^:]*([/?#]|$)", value, re.IGNORECASE):
        raise _NothingError
    return str(value)


def _by_number(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    items = _require(value, dict).items()
    return {str(key): _plain(item) for key, item in items if re.fullmatch(r"\d{1,6}", str(key))}


_REGION: dict[str, Clean] = {
    "id": _plain_word,
    "regionName": _text,
    "regionClass": _text,
    "polycolor": _color,
}


def _region(value: Any) -> Any:
    _require(value, dict)
    others = _plain({key: item for key, item in value.items() if key not in _REGION})
    return {**others, **_members(_REGION)(value)}


def _marker_file(files: _Files, settings: _Settings) -> dict[str, Clean]:
    return {
        **dict.fromkeys(("title", "comment", "name"), _text),
        "path": files.one_or_more,
        "uid": _plain_word,
        "autoLoad": _plain,
        "hideSettings": _flag,
        "expectedHeader": _plain,
        "expectedRadios": _plain,
        "dropdownOptions": _clean_each(_dropdown(files)),
        "settings": settings.clean,
    }


def _dropdown(files: _Files) -> Clean:
    known: dict[str, Clean] = {
        **dict.fromkeys(("optionName", "name", "title", "comment"), _text),
        "path": files.one_or_more,
    }

    def clean(value: Any) -> dict[str, Any]:
        expected = {
            key: _plain
            for key in _require(value, dict)
            if re.fullmatch(r"expected(Header|Radios)\.\w{1,40}", str(key))
        }
        return {
            key: kept
            for key, clean_member in {**known, **expected}.items()
            if key in value
            for kept in _attempt(clean_member, value[key])
        }

    return clean


class _Files:
    """Addresses of files below the served folder, as they are from the project's own."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._within = folder.relative_to(root).as_posix()

    def file(self, value: Any) -> str:
        if not isinstance(value, str) or _ELSEWHERE.match(value):
            raise _NothingError
        path = path_of(value, self._folder)
        if not path or "\0" in path or path.startswith("/"):
            raise _NothingError
        if posixpath.normpath(posixpath.join(self._within, path)).split("/")[0] == "..":
            raise _NothingError
        return address(posixpath.normpath(path))

    def image(self, value: Any) -> str:
        if not isinstance(value, str) or not value.endswith(".dzi"):
            raise _NothingError
        # TissUUmaps' own dialog leaves a slash before the names of layers in folders.
        return self.file(value.removesuffix(".dzi").removeprefix("/")) + ".dzi"

    def one_or_more(self, value: Any) -> Any:
        if not isinstance(value, list):
            return self.file(value)
        found = _clean_each(self.file)(value)
        if not found:
            raise _NothingError
        return found


class _Settings:
    def __init__(self, plugins: Collection[str]) -> None:
        self._plugins = plugins

    def plugins(self, value: Any) -> list[str]:
        return [each for each in _clean_each(_word)(value) if each in self._plugins]

    def clean(self, value: Any) -> list[dict[str, Any]]:
        return [
            each
            for each in (value if isinstance(value, list) else ())
            if isinstance(each, dict) and self._is_harmless(each)
        ]

    def _is_harmless(self, setting: dict[str, Any]) -> bool:
        called, value = (setting.get("module"), setting.get("function")), setting.get("value")
        if setting.keys() != {"module", "function", "value"} or not all(isinstance(x, str) for x in called):
            return False
        if called == ("pluginUtils", "startPlugin"):
            return self._is_start(value)
        kind = _SETTINGS.get(called)  # type: ignore[arg-type]
        if kind is bool:
            return isinstance(value, bool)
        if kind is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
        return isinstance(kind, tuple) and value in kind

    def _is_start(self, value: Any) -> bool:
        """Return whether a plugin is started that is ours to start, with values for fields of its own."""
        if not isinstance(value, list) or not 1 <= len(value) <= 3 or not isinstance(value[0], str):
            return False
        options = value[1] if len(value) > 1 else []
        return (
            value[0] in self._plugins
            and isinstance(options, list)
            and all(
                isinstance(each, dict)
                and each.keys() == {"name", "value"}
                and isinstance(each["name"], str)
                and re.fullmatch(r"_?[A-Za-z][A-Za-z0-9_]{0,40}", each["name"]) is not None
                and each["name"] not in ("constructor", "init", "set", "get", "api", "inputTrigger")
                and (
                    isinstance(each["value"], bool | int | float)
                    or (isinstance(each["value"], str) and not set(each["value"]) & set("<>"))
                )
                for each in options
            )
            and all(isinstance(each, bool) for each in value[2:])
        )
