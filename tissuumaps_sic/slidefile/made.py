"""What a command has made of which files, so that the same command leaves alone what is up to date."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# What a file is known again by: its time of change in ns and its size; None where it is no file.
Stamp = tuple[int, int] | None


def stamp(path: Path) -> Stamp:
    """Return what a file is known again by, or a folder, by what is directly in it; of nothing None.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (int, int) or None
        Time of change in ns, and bytes.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, 0 if stat.S_ISDIR(found.st_mode) else found.st_size


def describe_recipe(*parts: Any) -> str:
    """Return a short text that is another for other options; of what `repr` tells all of.

    Parameters
    ----------
    *parts : object

    Returns
    -------
    str
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class MadeFiles:
    """A list of what was made, kept in a hidden file of a folder: a line a thing, the last of each holds.

    Parameters
    ----------
    folder : Path
        Where it is kept. Where that cannot be written nothing is remembered, and all is made anew each time.
    recipe : str
        Of the command and its options, by `describe_recipe`: what was made by others is not up to date.
    anew : bool, default=False
        Whether nothing counts as up to date.
    """

    NAME = ".tissuumaps-sic-made.jsonl"

    def __init__(self, folder: Path, recipe: str, *, anew: bool = False) -> None:
        self._path = folder / self.NAME
        self._recipe = recipe
        self._known = {} if anew else self._read()

    def find(self, subject: Path, part: str, inputs: Sequence[Path]) -> dict[str, Any] | None:
        """Return the report of what was made, where all that it was made of and into is as it was then.

        Parameters
        ----------
        subject : Path
            What it goes by.
        part : str
            Which of the things that are made of it; "" for the only one.
        inputs : sequence of Path
            Those which are not there count, too: a session that comes later changes what is made.

        Returns
        -------
        dict or None
        """
        line = self._known.get(f"{self._name(subject)} {part}")
        if line is None or line["recipe"] != self._recipe or line["inputs"] != self._tell(inputs):
            return None
        made = {name: _as_list(stamp(self._path.parent / name)) for name in line["outputs"]}
        if made != line["outputs"] or None in made.values():
            return None
        report: dict[str, Any] = line["report"]
        return report

    def note(
        self,
        subject: Path,
        part: str,
        inputs: Mapping[Path, Stamp],
        outputs: Sequence[Path],
        report: dict[str, Any],
    ) -> None:
        """Remember that something was made.

        Parameters
        ----------
        subject : Path
        part : str
        inputs : dict of Path to Stamp
            What each was when the work began.
        outputs : sequence of Path
            As they are now.
        report : dict
            What JSON can say of it.
        """
        key = f"{self._name(subject)} {part}"
        line = {
            "key": key,
            "recipe": self._recipe,
            "inputs": {self._name(path): _as_list(each) for path, each in inputs.items()},
            "outputs": self._tell(outputs),
            "report": report,
        }
        text = json.dumps(line, default=_as_plain)
        self._known[key] = json.loads(text)
        try:
            # One write at the end of the file: two commands may be at it, and a torn line is no line.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"\n" + text.encode() + b"\n")
        except OSError as error:
            log.debug("%s cannot be kept: %s", self._path, error)

    def _read(self) -> dict[str, Any]:
        known: dict[str, Any] = {}
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return known
        for each in lines:
            try:
                line = json.loads(each)
                known[line["key"]] = {name: line[name] for name in ("recipe", "inputs", "outputs", "report")}
            except (ValueError, TypeError, KeyError):
                continue  # torn by what ended the command, or by hand
        return known

    def _name(self, path: Path) -> str:
        # From the folder: the list moves with it, and tells nothing of what lies above.
        try:
            return os.path.relpath(path, self._path.parent)
        except ValueError:  # another drive of Windows
            return str(path)

    def _tell(self, paths: Sequence[Path]) -> dict[str, list[int] | None]:
        return {self._name(path): _as_list(stamp(path)) for path in paths}


def _as_list(each: Stamp) -> list[int] | None:
    return None if each is None else list(each)


def _as_plain(number: Any) -> Any:
    """Return a number of numpy as one of Python; what is none cannot be kept, and is a mistake of ours."""
    return number.item()
