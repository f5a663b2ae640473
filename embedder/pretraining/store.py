"""The patches of a training in one file of their own: each is read from its slide once."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from embedder.patches.damage import Tally
from embedder.patches.reading import iter_patches
from embedder.pretraining.samples import Failure, Sample, digest, drop_rows, leave_out
from tissuumaps_sic.slidefile.arrays import Integers, Mask
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.writing import replacing

log = logging.getLogger(__name__)

_READ_AT_ONCE = 64


class PatchStore:
    """Patches in a file of their own, as they will be asked for again and again.

    Attributes
    ----------
    patches : uint8 array of shape (n, size, size, 3)
        Mapped, read-only.
    samples : list of Sample
        Where they are from, row by row.
    failures : list of (slide, message)
        Slides of which nothing could be read.
    """

    def __init__(self, file: Path, samples: list[Sample], failures: list[Failure]) -> None:
        self._file = file
        self.samples = samples
        self.failures = failures
        n, size = sum(len(sample.grid) for sample in samples), samples[0].grid.patch_size
        self.patches: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, mode="r", shape=(n, size, size, 3))

    @classmethod
    def open(cls, file: Path, samples: Sequence[Sample], *, damage_limit: float = 0.01) -> PatchStore:
        """Read patches into a file, unless they are in it; a slide that fails is told and left out.

        Patches where a slide is damaged are those of another level, or left out where none has them; a slide
        of which they are a larger share than `damage_limit` is left out.

        Parameters
        ----------
        file : Path
        samples : sequence of Sample
        damage_limit : float, default=0.01

        Returns
        -------
        PatchStore

        Raises
        ------
        SlideError
            No slide could be read.
        OSError
            The disk is full, say.
        """
        state = file.with_name(f"{file.name}.json")
        asked = digest(samples)
        known = _read_state(state)
        if known is None or known["asked"] != asked or not file.is_file() or _is_due(known, damage_limit):
            state.unlink(missing_ok=True)
            failed: dict[int, str] = {}
            lost: dict[int, list[int]] = {}
            with replacing(file) as temporary:
                _fill(temporary, samples, failed, lost, damage_limit)
            known = {
                "asked": asked,
                "limit": damage_limit,
                "failed": [[place, why] for place, why in failed.items()],
                "lost": [[place, rows] for place, rows in lost.items()],
            }
            with replacing(state) as temporary:
                temporary.write_text(json.dumps(known), encoding="utf-8")
        out = {int(place): str(why) for place, why in known["failed"]}
        lost = {int(place): rows for place, rows in known.get("lost", [])}
        kept = [
            drop_rows(each, lost[place]) if place in lost else each
            for place, each in enumerate(samples)
            if place not in out
        ]
        if not kept:
            raise SlideError(f"no slide could be read: {next(iter(out.values()), 'none was given')}")
        return cls(file, kept, [(str(samples[place].item.path), why) for place, why in out.items()])

    def slides(self) -> Integers:
        """Return which of the slides in `samples` each patch is of, (n,).

        Returns
        -------
        int64 array of shape (n,)
        """
        return np.repeat(np.arange(len(self.samples)), [len(sample.grid) for sample in self.samples])

    def places(self) -> Integers:
        """Return each patch's column and row in its slide's grid, (n, 2).

        Returns
        -------
        int64 array of shape (n, 2)
        """
        return np.concatenate([np.stack([sample.grid.column, sample.grid.row], 1) for sample in self.samples])

    def labels(self) -> Integers | None:
        """Return each patch's value in the truth, (n,), where there is one.

        Returns
        -------
        int64 array of shape (n,), or None
        """
        labels = [sample.labels for sample in self.samples if sample.labels is not None]
        return np.concatenate(labels) if labels else None

    def close(self) -> None:
        """Let go of the file, which Windows else would not remove."""
        self.patches = np.empty((0, 0, 0, 3), np.uint8)

    def remove(self) -> None:
        """Delete the file."""
        self.close()
        for path in (self._file, self._file.with_name(f"{self._file.name}.json")):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _fill(
    file: Path,
    samples: Sequence[Sample],
    failed: dict[int, str],
    lost: dict[int, list[int]],
    damage_limit: float,
) -> None:
    """Write the patches of one slide after the other; note slides that fail, and patches that none has."""
    from tqdm import tqdm

    total = sum(len(sample.grid) for sample in samples)
    # Not through a memory map: where the disk is full, that ends the process without a word.
    with file.open("w+b") as out, tqdm(total=total, desc="reading", unit=" patches") as bar:
        for place, sample in enumerate(samples):
            begin = out.tell()
            try:
                with open_slide(sample.item.path, icc=sample.profile is not None) as slide:
                    tally = Tally(slide, sample.grid, damage_limit)
                    for indices, patches in iter_patches(slide, sample.grid, batch_size=_READ_AT_ONCE):
                        tally.look_at(indices)
                        for index, patch in zip(indices, patches, strict=True):
                            # A wide slide comes in bands of columns: sample patch goes to its own row.
                            out.seek(begin + int(index) * patch.nbytes)
                            out.write(patch.data)
                        bar.update(len(indices))
                if tally.lost.any():
                    lost[place] = np.flatnonzero(tally.lost).tolist()
                    _close_gaps(out, begin, tally.lost, sample.grid.patch_size)
                if told := tally.tell():
                    log.warning("%s%s", sample.item.path, told)
                out.seek(0, os.SEEK_END)
            except SlideError as error:
                failed[place] = leave_out(sample.item, error)
                out.seek(begin)
                out.truncate()


def _close_gaps(out: BinaryIO, begin: int, lost: Mask, size: int) -> None:
    """Move the patches of a slide, which begin somewhere in a file, over those that are lost."""
    n_bytes = 3 * size**2
    kept = np.flatnonzero(~lost)
    for to, row in enumerate(kept.tolist()):
        out.seek(begin + row * n_bytes)
        patch = out.read(n_bytes)
        out.seek(begin + to * n_bytes)
        out.write(patch)
    out.truncate(begin + len(kept) * n_bytes)


def _is_due(known: dict[str, Any], damage_limit: float) -> bool:
    """Tell whether more slides, or fewer, may do now, because other damage is allowed."""
    limit = known.get("limit", 1.0)
    return damage_limit < limit or (bool(known["failed"]) and damage_limit > limit)


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return known if isinstance(known["failed"], list) and known["asked"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
