"""What a shared file must not hold: every string and every attribute of it is looked through."""

from __future__ import annotations

import getpass
import re
import socket
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any

import h5py
import numpy as np

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.paths import holds_path

# The attributes by which anndata knows what it wrote.
ATTRIBUTES = ("encoding-type", "encoding-version", "_index", "column-order", "ordered")
# Of the parts of a slide's name these tell what is on a slide, and not whose it is.
_COMMON = {
    *("tumor", "tumour", "normal", "benign", "malignant", "stroma", "stromal", "tissue", "necrosis", "other"),
    *("background", "immune", "lymphocyte", "lymphocytes", "gland", "epithelium", "cancer", "carcinoma"),
    *("positive", "negative", "test", "train", "slide", "image", "biopsy", "resection", "section", "healthy"),
    *("lung", "breast", "colon", "liver", "skin", "kidney", "prostate", "lymph", "node", "ovary", "brain"),
}
# Classes are named in their column as well as in uns/sic, whose other words are on the list.
_MADE = {
    *("/", "X", "obs", "var", "obsm", "uns", "obs/_index", "var/_index", "obs/library_id/categories"),
    *("obs/x0", "obs/y0", "obs/umap_rgb", "obs/library_id", "obs/tissue", "obs/damaged"),
    *("obs/sic_label", "obs/sic_score", "obs/sic_seed", "obsm/spatial", "obsm/X_umap", "obsm/X_umap_3d"),
    *("obsm/fine", "obsm/fine_tissue"),
    *("uns/sic", "uns/sic_label_colors", "uns/tmap"),
}


class ShareError(SicError):
    """A file cannot be shared; the message says why, and nothing was written."""


def prove_attributes(file: h5py.File) -> None:
    """See that no attribute says anything but what kind of thing it is of.

    Parameters
    ----------
    file : h5py.File

    Raises
    ------
    ShareError
        One does.
    """
    items: list[tuple[str, Any]] = [("/", file)]
    file.visititems(lambda name, item: items.append((name, item)))
    for name, item in items:
        for key, value in item.attrs.items():
            known = {
                "encoding-type": isinstance(value, str) and re.fullmatch(r"[a-z_-]{0,30}", value),
                "encoding-version": isinstance(value, str) and re.fullmatch(r"[0-9.]{0,9}", value),
                "_index": value == "_index" if isinstance(value, str) else False,
                "column-order": isinstance(item, h5py.Group)
                and {str(each) for each in np.ravel(value)} <= set(item),
                "shape": isinstance(value, np.ndarray) and value.dtype.kind in "iu",
                "ordered": isinstance(value, bool | np.bool_),
            }
            if not known.get(key):
                raise ShareError(
                    f"the copy would still hold the attribute {name}@{key}, so it was not written"
                )


def prove_strings(file: h5py.File, *, name: str, original: str | None, allow: Collection[str]) -> None:
    """Look through every string of a file for what must not be there.

    Parameters
    ----------
    file : h5py.File
    name : str
        Of the slide in the copy, which may be anywhere.
    original : str or None
        The slide's true name, where it was given another.
    allow : collection of str
        Words that may be in what stays.

    Raises
    ------
    ShareError
        Something is.
    """
    allowed = {each.casefold() for each in allow}
    names = {"this machine's name": socket.gethostname(), "a user's name": _user()}
    # Names of three letters are found in anything.
    wanted = {why: name for why, name in names.items() if len(name) > 3}
    if original is not None and len(original) > 3:
        wanted["the slide's name"] = original
    patterns = {
        why: re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
        for why, name in wanted.items()
        if name.casefold() not in allowed
    }
    parts = set() if original is None else words_of(original) - allowed - _COMMON
    for place, text in _strings_of(file):
        found = next((why for why, pattern in patterns.items() if pattern.search(text)), None)
        if found is None and holds_path(text.replace(name, "")):
            found = "a path"
        if found is None and parts and _is_free(place, text):
            word = next((each for each in sorted(parts) if _has_word(text, each)), None)
            if word is not None:
                raise ShareError(
                    f"the copy would still hold {word!r}, a word of the slide's name, in {place} "
                    f"({text[:60]!r}), so it was not written; rename it there, or give --allow {word} if it "
                    "tells nothing"
                )
        if found is not None:
            raise ShareError(
                f"the copy would still hold {found} in {place} ({text[:60]!r}), so it was not written; leave "
                "that out of --keep, or rename the class"
            )


def words_of(name: str) -> set[str]:
    """Return the words of a slide's name that could tell whose it is, in small letters and without accents.

    Words of three letters on, and numbers of four digits on: shorter ones are in anything.

    Examples
    --------
    >>> sorted(words_of("Patient-Müller-0815_HE 3"))
    ['0815', 'muller', 'patient']
    >>> sorted(words_of("KimLee4711b"))
    ['4711', 'kim', 'kimlee', 'lee']
    """
    return {each for each in _words(name) if len(each) >= (4 if each.isdigit() else 3)}


def _words(text: str) -> list[str]:
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    runs = re.findall(r"\d+|[^\W\d_]+", plain)
    camel = [part for run in runs for part in re.findall(r"[A-Z]?[^A-Z]+|[A-Z]+(?![^A-Z])", run)]
    return [each.casefold() for each in (*runs, *camel)]


def _has_word(text: str, word: str) -> bool:
    if word in _words(text):
        return True
    # Longer ones are found inside of others as well: "Millers", "millergroup", "no08151".
    return len(word) >= (4 if word.isdigit() else 5) and any(word in each for each in _words(text))


def _is_free(place: str, text: str) -> bool:
    """Whether people could have written a text: not what was made by rule, from the slide's new name, too."""
    place, _, attribute = place.partition("@")
    if (
        attribute in ATTRIBUTES
        or place in _MADE
        or (place.endswith(("/codes", "/categories")) and (text in ("codes", "categories")))
    ):
        return False
    # What is of the provenance is on a list, but for numbers of versions, which have room for one.
    return place != "uns/embedder" or re.fullmatch(r"\d+(\.\w+)*(\+.*)?", text) is not None


def _strings_of(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Give every string of an HDF5 file with its place: names, attributes and contents, JSON taken apart."""
    items: list[tuple[str, Any]] = [("/", file)]
    file.visititems(lambda name, item: items.append((name, item)))
    for name, item in items:
        yield name, name.rpartition("/")[2]
        for key, value in item.attrs.items():
            for text in np.atleast_1d(np.asarray(value, dtype=object)).ravel():
                if isinstance(text, str):
                    yield f"{name}@{key}", text
        if isinstance(item, h5py.Dataset):
            yield from ((name, each) for text in _texts_in(item) for each in _taken_apart(text))


def _texts_in(item: h5py.Dataset) -> Iterator[str]:
    """Give the texts of a dataset, those in the fields of records included."""
    if h5py.check_string_dtype(item.dtype) is not None:
        yield from map(str, np.atleast_1d(item.asstr(errors="replace")[()]).ravel())
    elif item.dtype.names or item.dtype.kind in "OSU":
        for value in np.atleast_1d(item[()]).ravel().tolist():
            for each in value if isinstance(value, tuple | list) else (value,):
                yield each.decode(errors="replace") if isinstance(each, bytes) else str(each)


def _taken_apart(text: str, depth: int = 0) -> Iterator[str]:
    """Give a text and, where it is JSON, what is in it, JSON within JSON too."""
    yield text
    if depth > 8 or text.lstrip()[:1] not in ("{", "[", '"'):
        return
    try:
        value = parse_json(text)
    except ValueError:
        return
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from map(str, value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            yield from _taken_apart(value, depth + 1)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""  # a container's number without a name
