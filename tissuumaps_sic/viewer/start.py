"""The start page of a folder: its slides with pictures, how far each is, the way to the next; no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tissuumaps_sic.annotation.remarks import tell_time
from tissuumaps_sic.viewer.overview import tell_check
from tissuumaps_sic.viewer.passwords import nearest_auth
from tissuumaps_sic.viewer.thumbnails import Thumbnails
from tissuumaps_sic.viewer.worklist import Entry, Worklist, page

_TEMPLATE = Path(__file__).with_name("start.html.jinja")
_PER_PAGE = 24
_SHOWN_NOTES = 3

STATES = {
    "new": "not begun",
    "seeded": "seeded, not run",
    "labelled": "labelled",
    "changed": "changed since the run",
}
# What a person may look at alone: by its name in the address, its words, and which slides it is.
_FILTERS: dict[str, tuple[str, Callable[[Entry], bool]]] = {
    "all": ("All", lambda _: True),
    "unchecked": ("Not reviewed", lambda entry: not _is_checked(entry)),
    "checked": ("Reviewed", lambda entry: _is_checked(entry)),
    "new": ("Not begun", lambda entry: entry.state == "new"),
    "labelled": ("Labelled", lambda entry: entry.state in ("labelled", "changed")),
    "notes": ("With notes", lambda entry: bool(entry.notes)),
}


def _is_checked(entry: Entry) -> bool:
    return entry.checked is not None and entry.checked.is_current


class StartPage:
    """The start pages of a served folder and those below it; safe to use from many threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._worklist, self._thumbnails = Worklist(), Thumbnails()

    def entries(self, within: str) -> list[Entry]:
        """Return the slides of a folder below the served one that its own password opens, in order.

        Parameters
        ----------
        within : str

        Returns
        -------
        list of Entry
        """
        folder = (self._root / within).resolve()
        # A link to a folder elsewhere is not followed.
        if not folder.is_relative_to(self._root):
            return []
        return self._worklist.entries(folder, session=None, auth=nearest_auth(folder))

    def render(self, entries: Sequence[Entry], arguments: Any, *, within: str = "", root: str = "") -> str:
        """Return the page as HTML.

        Parameters
        ----------
        entries : sequence of Entry
        arguments : mapping
            Of the address: ``show``, a key of the filters, and ``page``, from 1.
        within : str, default=""
            The folder, as the address names it.
        root : str, default=""
            The path below which browsers find the server.

        Returns
        -------
        str
        """
        chosen = str(arguments.get("show", "all"))
        chosen = chosen if chosen in _FILTERS else "all"
        shown = [entry for entry in entries if _FILTERS[chosen][1](entry)]
        n_pages = max(1, -(-len(shown) // _PER_PAGE))
        given = str(arguments.get("page", "1"))
        number = min(max(int(given) if given.isdecimal() and len(given) < 7 else 1, 1), n_pages)
        following = next((entry for entry in entries if not _is_checked(entry) and not entry.problem), None)

        def link(**changes: Any) -> str:
            told = {"path": within, "show": chosen, **changes}
            return f"{root}/?{urlencode({key: value for key, value in told.items() if value})}"

        text: str = _template().render(
            n_slides=len(entries),
            n_checked=sum(map(_is_checked, entries)),
            filters=[
                (words, link(show=name), sum(map(holds, entries)), name == chosen)
                for name, (words, holds) in _FILTERS.items()
            ],
            following=following and (following.name, f"{root}{self.page_of(following)}"),
            cards=[self._card(each, root) for each in shown[(number - 1) * _PER_PAGE : number * _PER_PAGE]],
            number=number,
            n_pages=n_pages,
            before=link(page=number - 1) if number > 1 else "",
            after=link(page=number + 1) if number < n_pages else "",
        )
        return text

    def page_of(self, entry: Entry) -> str:
        """Return the address of a slide's page.

        Parameters
        ----------
        entry : Entry

        Returns
        -------
        str
        """
        return page(self._root, entry.h5ad.with_suffix(".tmap"))

    def _card(self, entry: Entry, root: str) -> dict[str, Any]:
        thumbnail = self._thumbnails.get(entry, self._root)
        relative = entry.h5ad.relative_to(self._root)
        reader = ", ".join(filter(None, (entry.reader, tell_time(entry.changed))))
        checked = entry.checked and (tell_check(entry.checked) or "changed since it was reviewed")
        return {
            "name": entry.name,
            "folder": "" if relative.parent == Path() else relative.parent.as_posix(),
            "page": f"{root}{self.page_of(entry)}",
            "thumbnail": thumbnail,
            "image": thumbnail.image and f"{root}{thumbnail.image}",
            "state": STATES[entry.state],
            "session": entry.session,
            "patches": entry.n_patches,
            "seeds": sum(entry.seeds.values()),
            "shares": thumbnail.shares,
            "knows_tissue": thumbnail.knows_tissue,
            "reader": reader,
            "is_checked": _is_checked(entry),
            "checked": checked,
            "notes": entry.notes[:_SHOWN_NOTES],
            "more_notes": max(0, len(entry.notes) - _SHOWN_NOTES),
            "problem": entry.problem,
        }


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
