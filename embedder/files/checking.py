"""Files checked in a process of their own: a damaged one can kill the library that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from embedder.isolation.child import Child, LostError
from tissuumaps_sic.slidefile import contract
from tissuumaps_sic.slidefile.contract import Problem


def check_files(paths: Iterable[Path]) -> Iterator[tuple[Path, list[Problem]]]:
    """Check files one after the other in a child process, which a damaged one may kill.

    Parameters
    ----------
    paths : iterable of Path

    Yields
    ------
    (Path, list of Problem)
        As `contract.check` has them.
    """
    with Child() as child:
        for path in paths:
            try:
                yield path, child.run(contract.check, path)
            except LostError as error:
                fix = "copy it again, or embed the slide again"
                yield path, [Problem("file", f"it cannot be read as HDF5 ({error})", fix)]
