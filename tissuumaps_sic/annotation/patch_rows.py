"""Patches of one slide by row: a lasso around half a million is a few kilobytes, their names kept once.

A session says of what patches its rows are by a fingerprint (`EmbeddedSlide.fingerprint`), which hangs on
every name and on their order.
"""

from __future__ import annotations

import base64
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tissuumaps_sic.slides.slide import EmbeddedSlide


Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]

# So few are listed one by one, which people can read.
_FEW = 32
_WIDTH = 4  # bytes of a packed difference
# What the numbers of classes and rows are kept in.
_MOST_LABEL, _MOST_ROW = 127, 2**31 - 1


def pack(data: bytes, *, level: int = 6) -> str:
    """Return bytes as JSON can hold them: zlib of a `level`, base64.

    Parameters
    ----------
    data : bytes
    level : int, default=6

    Returns
    -------
    str
    """
    return base64.b64encode(zlib.compress(data, level)).decode("ascii")


def unpack(text: str, most: int) -> bytes:
    """Return the bytes of `pack`, as long as they are no more than `most`.

    Parameters
    ----------
    text : str
    most : int

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        When the text is damaged, or would be longer.
    """
    if most < 0:
        raise ValueError("is more than a session may hold")
    inflate = zlib.decompressobj()
    try:
        # One byte more than there may be tells what is too long, whatever the rest would be.
        data = inflate.decompress(base64.b64decode(text), most + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"is not a packed text ({error})") from error
    if len(data) > most:
        raise ValueError(f"unpacks to more than {most:,} bytes, the most that there can be")
    if not inflate.eof:
        raise ValueError("is cut off")
    return data


class _Names:
    """The names of a slide's patches, and the rows by name once somebody has asked."""

    def __init__(self, names: npt.NDArray[np.object_]) -> None:
        self.names = names
        self.by_name: dict[str, int] | None = None

    def rows_by_name(self) -> dict[str, int]:
        if self.by_name is None:
            self.by_name = {str(name): row for row, name in enumerate(self.names)}
        return self.by_name


# Of each fingerprint one, for as long as a session has it: of a large slide it has tens of megabytes.
_SHARED: WeakValueDictionary[str, _Names] = WeakValueDictionary()


class PatchIndex:
    """The names of a slide's patches by row, and their rows by name.

    Names that the slide has not get rows after its last, so that what was seeded on another file is told when
    it is used; safe to use from many threads.

    Parameters
    ----------
    names : ndarray of shape (n_patches,), object, optional
        None where they are not known, and only rows can be asked about.
    n_patches : int, default=0
        Where the names are not known.
    fingerprint : str, default=""
        Of the slide; "" where it is not known.
    """

    def __init__(
        self, names: npt.NDArray[np.object_] | None = None, *, n_patches: int = 0, fingerprint: str = ""
    ) -> None:
        self.fingerprint = fingerprint
        self.n_patches = n_patches if names is None else len(names)
        self._names = None if names is None else _Names(names)
        if self._names is not None and fingerprint:
            self._names = _SHARED.setdefault(fingerprint, self._names)
        self._more: dict[str, int] = {}
        self._more_names: list[str] = []
        self._lock = threading.Lock()

    @classmethod
    def of(cls, slide: EmbeddedSlide) -> PatchIndex:
        """Return the index of a slide; it does not keep the slide itself, nor its embeddings.

        Parameters
        ----------
        slide : EmbeddedSlide

        Returns
        -------
        PatchIndex
        """
        return cls(slide.patch_names, fingerprint=slide.fingerprint)

    @property
    def names(self) -> npt.NDArray[np.object_] | None:
        """The names of the slide's patches, (n_patches,) object; None where they are not known."""
        return None if self._names is None else self._names.names

    def __len__(self) -> int:
        return self.n_patches + len(self._more_names)

    def shares_rows(self, other: PatchIndex) -> bool:
        """Return whether rows mean the same patches in another index."""
        are_alike = bool(self.fingerprint) and self.fingerprint == other.fingerprint
        return self is other or (are_alike and not self._more_names and not other._more_names)

    def is_of(self, slide: EmbeddedSlide) -> bool:
        """Return whether rows are those of the slide's file.

        Parameters
        ----------
        slide : EmbeddedSlide

        Returns
        -------
        bool
        """
        return self.names is slide.patch_names or (
            bool(self.fingerprint) and self.fingerprint == slide.fingerprint
        )

    def rows_of(self, names: Iterable[str]) -> Rows:
        """Return the row of each name, (n,) int64.

        Parameters
        ----------
        names : iterable of str

        Returns
        -------
        ndarray of shape (n,), int64
        """
        known, names = self._names.rows_by_name() if self._names else {}, list(names)
        rows = [known.get(name, -1) for name in names]
        if -1 in rows:
            with self._lock:
                for place, (name, row) in enumerate(zip(names, rows, strict=True)):
                    if row < 0:
                        if name not in self._more:
                            self._more_names.append(name)
                            self._more[name] = len(self) - 1
                        rows[place] = self._more[name]
        return np.array(rows, dtype=np.int64)

    def names_of(self, rows: Rows) -> list[str]:
        """Return the name of each row."""
        known = self.names
        if known is None and self.n_patches:
            raise ValueError("the names of the patches are not known here")
        if known is not None and (not len(rows) or rows.max() < self.n_patches):
            # Most are `str` already, and then the same ones.
            return [str(name) for name in known[rows]]
        return [
            str(known[row])
            if known is not None and row < self.n_patches
            else self._more_names[row - self.n_patches]
            for row in rows.tolist()
        ]


class PatchRows(Sequence[str]):
    """Some patches in the order in which they were chosen: a sequence of their names, kept as rows.

    Parameters
    ----------
    index : PatchIndex
    rows : ndarray of shape (n,), integer
    """

    __slots__ = ("_kept", "_length", "slide_index")

    def __init__(self, index: PatchIndex, rows: npt.NDArray[np.integer[Any]]) -> None:
        self.slide_index = index
        self._length = len(rows)
        self._kept: list[int] | str | Rows
        # What is read back must be no longer than the slide, and of its patches.
        if len(rows) <= _FEW:
            self._kept = rows.tolist()
        elif len(rows) <= index.n_patches and rows.max() < index.n_patches:
            steps = np.diff(rows.astype(np.int64), prepend=0)
            self._kept = pack(steps.astype("<i4").tobytes())
        else:
            self._kept = rows.astype(np.int64)

    @classmethod
    def read(cls, index: PatchIndex, kept: Any) -> PatchRows:
        """Return the patches that `kept` tells of.

        Parameters
        ----------
        index : PatchIndex
        kept : object

        Returns
        -------
        PatchRows

        Raises
        ------
        ValueError
            When it is damaged, or of patches that there are not.
        """
        patches = object.__new__(cls)
        patches.slide_index, patches._kept = index, kept
        if isinstance(kept, str):
            data = unpack(kept, _WIDTH * index.n_patches)
            if len(data) % _WIDTH:
                raise ValueError("is cut off")
            patches._length = len(data) // _WIDTH
        elif isinstance(kept, list) and all(type(row) is int and abs(row) <= _MOST_ROW for row in kept):
            patches._length = len(kept)
        else:
            raise ValueError("is neither a list of rows nor a packed one")
        rows = patches.rows
        if not len(rows):
            raise ValueError("holds no patch")
        if rows.min() < 0 or rows.max() >= index.n_patches:
            wrong = rows[(rows < 0) | (rows >= index.n_patches)][0]
            raise ValueError(f"there is no patch {wrong}; the slide has {index.n_patches}, counted from 0")
        return patches

    @property
    def rows(self) -> Rows:
        """The rows, (n,) int64."""
        if not isinstance(self._kept, str):
            return np.asarray(self._kept, dtype=np.int64)
        data = unpack(self._kept, _WIDTH * self._length)
        return np.cumsum(np.frombuffer(data, "<i4"), dtype=np.int64)

    @property
    def kept(self) -> list[int] | str:
        """The rows as a file holds them: a list, or of many the differences from each to the next, packed."""
        return self._kept.tolist() if isinstance(self._kept, np.ndarray) else self._kept

    @property
    def is_known(self) -> bool:
        """Whether all of them are patches of the slide."""
        return isinstance(self._kept, str) or max(self._kept) < self.slide_index.n_patches

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        return iter(self.slide_index.names_of(self.rows))

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        return tuple(self)[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PatchRows) and self.slide_index.shares_rows(other.slide_index):
            return len(self) == len(other) and np.array_equal(self.rows, other.rows)
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._length)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3])) if self.slide_index.names is not None else "…"
        return f"PatchRows({len(self)}: {shown})"


class SeedMap(Mapping[str, int]):
    """The class of each seeded patch by the patch's name, kept by row.

    Parameters
    ----------
    index : PatchIndex
    labels : ndarray of shape (n,), int8
        Class of each row of the index, or of its first ones; -1 where a patch has no seed.
    order : ndarray of shape (n,), integer, optional
        What seeded patches are sorted by where they are listed; their rows by default.
    """

    def __init__(
        self, index: PatchIndex, labels: Labels, order: npt.NDArray[np.integer[Any]] | None = None
    ) -> None:
        self.index = index
        self.labels = labels
        self._order = order
        self._dict: dict[str, int] | None = None

    @classmethod
    def of(cls, index: PatchIndex, seeds: Mapping[str, int]) -> SeedMap:
        """Return seeds by name as seeds by row.

        Parameters
        ----------
        index : PatchIndex
        seeds : mapping of str to int

        Returns
        -------
        SeedMap

        Raises
        ------
        ValueError
            When a label is no number of a class.
        """
        if isinstance(seeds, SeedMap) and seeds.index.shares_rows(index):
            return cls(index, seeds.labels)
        rows, given = index.rows_of(seeds), list(seeds.values())
        if given and not 0 <= min(given) <= max(given) <= _MOST_LABEL:
            raise ValueError(f"{min(given) if min(given) < 0 else max(given)} is not the number of a class")
        labels = np.full(len(index), -1, np.int8)
        labels[rows] = given
        return cls(index, labels)

    def by_class(self) -> Iterator[tuple[int, PatchRows]]:
        """Yield each class that has seeds, with its patches.

        Yields
        ------
        (int, PatchRows)
        """
        for label in np.unique(self.labels[self.labels >= 0]).tolist():
            yield label, PatchRows(self.index, np.flatnonzero(self.labels == label))

    def vector(self, n: int) -> Labels:
        """Return the class of each of `n` rows, -1 where a patch has no seed; those beyond are left out.

        Parameters
        ----------
        n : int

        Returns
        -------
        ndarray of shape (n,), int8
        """
        vector = np.full(n, -1, np.int8)
        shared = min(n, len(self.labels))
        vector[:shared] = self.labels[:shared]
        return vector

    @property
    def rows(self) -> Rows:
        """The seeded rows in the order in which they are listed, (n,) int64."""
        rows = np.flatnonzero(self.labels >= 0)
        return rows if self._order is None else rows[np.argsort(self._order[rows], kind="stable")]

    def _as_dict(self) -> dict[str, int]:
        if self._dict is None:
            rows = self.rows
            self._dict = dict(zip(self.index.names_of(rows), self.labels[rows].tolist(), strict=True))
        return self._dict

    def __getitem__(self, name: str) -> int:
        return self._as_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._as_dict())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.labels >= 0))

    def values(self) -> Any:
        """Return the classes, in the order of the patches.

        Returns
        -------
        object
        """
        return self.labels[self.rows].tolist()

    def items(self) -> Any:
        """Return names with classes, in the order of the patches.

        Returns
        -------
        object
        """
        return self._as_dict().items()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SeedMap) and self.index.shares_rows(other.index):
            n = max(len(self.labels), len(other.labels))
            return np.array_equal(self.vector(n), other.vector(n))
        return isinstance(other, Mapping) and self._as_dict() == dict(other)

    __hash__ = None  # type: ignore[assignment]  # as that of a dict

    def __repr__(self) -> str:
        return f"SeedMap({self._as_dict()!r})" if len(self) <= _FEW else f"SeedMap({len(self)} patches)"
