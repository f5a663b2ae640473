"""Answers as a page reads them: JSON, with arrays behind it as bytes where there are any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt

# Of numbers in a text (`join_numbers`), beyond which each is written by itself.
_MOST_TABLES = 64

Header = dict[str, Any]
Arrays = tuple[npt.NDArray[Any], ...]
# What an endpoint returns: a header, or one with arrays.
Answer = Header | tuple[Header, *Arrays]


class SeedLists(Mapping[str, list[int]]):
    """What a page is told of seeds: rows in ascending order, ``patches``, and the class of each, ``labels``.

    They may be half of a large slide, and become lists or JSON only when somebody wants them.
    """

    def __init__(self, rows: npt.NDArray[np.intp], labels: npt.NDArray[np.integer[Any]]) -> None:
        self._arrays = {"patches": rows, "labels": labels}

    def __getitem__(self, key: str) -> list[int]:
        return cast("list[int]", self._arrays[key].tolist())

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def as_json(self) -> str:
        """Return both as JSON.

        Returns
        -------
        str
        """
        rows, labels = (join_numbers(self._arrays[key]) for key in ("patches", "labels"))
        return f'{{"patches": [{rows}], "labels": [{labels}]}}'


def join_numbers(numbers: npt.NDArray[np.integer[Any]]) -> str:
    """Return numbers from 0 to 2**32 - 1 with commas between them, (n,) integer; quick where they ascend."""
    values = numbers.astype(np.uint32)
    widths = np.searchsorted(10 ** np.arange(1, 10), values, side="right") + 1
    pieces = []
    # Numbers of as many digits that follow each other are a table, a line a number.
    starts = np.flatnonzero(np.diff(widths, prepend=0))
    if len(starts) > _MOST_TABLES:
        return ",".join(map(str, values.tolist()))
    for start, end in pairwise([*starts.tolist(), len(values)]):
        rest, width = values[start:end], int(widths[start])
        table = np.full((end - start, width + 1), ord(","), np.uint8)
        for place in range(width - 1, -1, -1):
            higher = rest // 10
            table[:, place] = rest - higher * 10 + ord("0")
            rest = higher
        pieces.append(table.tobytes())
    return b"".join(pieces).decode("ascii").removesuffix(",")


def as_json(header: Header) -> str:
    """Return an answer without arrays as JSON.

    Parameters
    ----------
    header : Header

    Returns
    -------
    str
    """
    seeds = header.get("seeds")
    if not isinstance(seeds, SeedLists):
        return json.dumps(header)
    others = json.dumps({key: value for key, value in header.items() if key != "seeds"})
    return f'{{"seeds": {seeds.as_json()}, {others[1:]}'


def pack(header: Header, *arrays: npt.NDArray[Any]) -> bytes:
    """Return an answer with arrays as bytes: length of the header (uint32, little-endian), header, arrays.

    Parameters
    ----------
    header : Header

    Returns
    -------
    bytes
    """
    text = as_json(header).encode()
    return len(text).to_bytes(4, "little") + text + b"".join(array.tobytes() for array in arrays)
