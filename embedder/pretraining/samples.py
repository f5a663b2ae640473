"""Patches for training, drawn from the tissue of many slides and kept in one file: each is read once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.embedding.pipeline import EmbedOptions, find_tissue, plan_grid
from embedder.embedding.request import SlideInput
from embedder.patches.drawn import read_tissue
from embedder.patches.grid import PatchGrid, TilingError
from embedder.patches.reading import iter_patches
from tissuumaps_sic.slidefile.areas.area import AreaError
from tissuumaps_sic.slidefile.areas.masks import open_mask
from tissuumaps_sic.slidefile.pixels.slide import Slide, SlideError, open_slide
from tissuumaps_sic.slidefile.writing import replacing

log = logging.getLogger(__name__)

Integers = npt.NDArray[np.int64]
Failure = tuple[str, str]

_READ_AT_ONCE = 64
# The least share of a patch that one value of a truth covers, for the patch to have that label.
_LABELLED = 0.5
# Each of a thousand slides would give the probe one patch, which has no neighbours.
_MOST_PROBED = 20


@dataclass(frozen=True, eq=False)
class Drawn:
    """The patches that were drawn of one slide.

    Attributes
    ----------
    item : SlideInput
    content : str
        The slide's fast hash.
    grid : PatchGrid
        With these patches alone.
    labels : int64 array of shape (n_patches,) or None
        Their values in a truth, where there is one.
    """

    item: SlideInput
    content: str
    grid: PatchGrid
    labels: Integers | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """What can be drawn of one slide.

    Attributes
    ----------
    place : int
        Of the slide in the sequence that was given; what is drawn depends on it.
    training, probing : Drawn
        All patches for training; and, laid side by side, for probing.
    """

    place: int
    training: Drawn
    probing: Drawn


def plan_slides(
    items: Sequence[SlideInput], *, options: EmbedOptions, truth: Path | None = None
) -> tuple[list[Plan], list[Failure]]:
    """Find the patches of slides, without reading them.

    Parameters
    ----------
    items : sequence of SlideInput
    options : EmbedOptions
        How patches are laid and what tissue is.
    truth : Path, optional
        A folder of ``<slide>_mask.png``: only patches that one value covers by half are for probing.

    Returns
    -------
    plans : list of Plan
        In the order of the slides.
    failures : list of (slide, message)
        Slides that cannot be used; they are told, too.
    """
    plans, failures = [], []
    for place, item in enumerate(items):
        try:
            with open_slide(item.path, mpp=item.mpp or options.slide_mpp) as slide:
                mask = find_tissue(slide, options)
                content = slide.fast_hash()
                training = Drawn(item, content, plan_grid(slide, mask, options)[0])
                # Half of a patch is tissue in some place at half overlap, but side by side it may be nowhere.
                try:
                    probing = Drawn(item, content, plan_grid(slide, mask, replace(options, overlap=0.0))[0])
                except SlideError:
                    probing = _only(training, np.empty(0, np.int64))
                if truth is not None:
                    probing = _labelled(probing, slide, truth / f"{item.name}_mask.png")
        except (SlideError, TilingError, OSError) as error:
            failures.append((str(item.path), _left_out(item, error)))
        else:
            plans.append(Plan(place, training, probing))
    return plans, failures


def draw(plans: Sequence[Plan], n_patches: int, *, seed: int) -> list[Drawn]:
    """Draw `n_patches` for training: an equal share of every slide, anywhere in its tissue.

    What a slide lacks the others give; where all lack some there are fewer.
    """
    shares = equal_shares([len(each.training.grid) for each in plans], n_patches)
    drawn = []
    for plan, share in zip(plans, shares, strict=True):
        random = np.random.default_rng([seed, plan.place])
        drawn.append(_only(plan.training, random.choice(len(plan.training.grid), share, replace=False)))
    return [each for each in drawn if len(each.grid)]


def draw_probes(plans: Sequence[Plan], n_patches: int, *, seed: int) -> list[Drawn]:
    """Draw patches for comparing encoders, no two of which share a pixel, from at most 20 slides.

    With a truth they are drawn anywhere; without, each slide's lie around one of them, so that they have
    neighbours.
    """
    usable = [each for each in plans if len(each.probing.grid)]
    if len(usable) > _MOST_PROBED:
        some = np.random.default_rng([seed, 0]).choice(len(usable), _MOST_PROBED, replace=False)
        usable = [usable[each] for each in sorted(some)]
    shares = equal_shares([len(each.probing.grid) for each in usable], n_patches)
    drawn = []
    for plan, share in zip(usable, shares, strict=True):
        random = np.random.default_rng([seed, plan.place, 1])
        grid = plan.probing.grid
        if plan.probing.labels is not None:
            chosen = random.choice(len(grid), share, replace=False)
        else:
            middle = random.integers(len(grid))
            far = (grid.column - grid.column[middle]) ** 2 + (grid.row - grid.row[middle]) ** 2
            chosen = np.argsort(far, kind="stable")[:share]
        drawn.append(_only(plan.probing, chosen))
    return [each for each in drawn if len(each.grid)]


def equal_shares(available: Sequence[int], total: int) -> list[int]:
    """Return how many each gives, so that all give `total` and none more than another that still has some.

    >>> equal_shares([5, 100, 100], 45)
    [5, 20, 20]
    """
    shares = [0] * len(available)
    left = total
    # The poorest first: what they lack falls to the others.
    for done, place in enumerate(sorted(range(len(available)), key=lambda each: available[each])):
        shares[place] = min(available[place], left // (len(available) - done))
        left -= shares[place]
    return shares


def digest(drawn: Sequence[Drawn]) -> str:
    """Return a sha256 of which patches of which slides these are, without a name."""
    found = hashlib.sha256()
    for each in drawn:
        grid = each.grid
        facts = (each.content, grid.mpp_x, grid.mpp_y, grid.target_mpp, grid.patch_size, grid.overlap)
        found.update(repr(facts).encode())
        found.update(grid.cells.tobytes())
    return found.hexdigest()


class PatchStore:
    """Patches in a file of their own, as they will be asked for again and again.

    Attributes
    ----------
    patches : uint8 array of shape (n, size, size, 3)
        Mapped, read-only.
    drawn : list of Drawn
        Where they are from, row by row.
    failures : list of (slide, message)
        Slides of which nothing could be read.
    """

    def __init__(self, file: Path, drawn: list[Drawn], failures: list[Failure]) -> None:
        self._file = file
        self.drawn = drawn
        self.failures = failures
        n, size = sum(len(each.grid) for each in drawn), drawn[0].grid.patch_size
        self.patches: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, mode="r", shape=(n, size, size, 3))

    @classmethod
    def open(cls, file: Path, drawn: Sequence[Drawn]) -> PatchStore:
        """Read patches into a file, unless they are in it; a slide that fails is told and left out.

        Raises
        ------
        SlideError
            No slide could be read.
        OSError
            The disk is full, say.
        """
        state = file.with_name(f"{file.name}.json")
        asked = digest(drawn)
        known = _read_state(state)
        if known is None or known["asked"] != asked or not file.is_file():
            state.unlink(missing_ok=True)
            failed: dict[int, str] = {}
            with replacing(file) as temporary:
                _fill(temporary, drawn, failed)
            known = {"asked": asked, "failed": [[place, told] for place, told in failed.items()]}
            with replacing(state) as temporary:
                temporary.write_text(json.dumps(known), encoding="utf-8")
        lost = {int(place): str(told) for place, told in known["failed"]}
        kept = [each for place, each in enumerate(drawn) if place not in lost]
        if not kept:
            raise SlideError(f"no slide could be read: {next(iter(lost.values()), 'none was given')}")
        return cls(file, kept, [(str(drawn[place].item.path), told) for place, told in lost.items()])

    def slides(self) -> Integers:
        """Return which of the slides in `drawn` each patch is of, (n,)."""
        return np.repeat(np.arange(len(self.drawn)), [len(each.grid) for each in self.drawn])

    def places(self) -> Integers:
        """Return each patch's column and row in its slide's grid, (n, 2)."""
        return np.concatenate([np.stack([each.grid.column, each.grid.row], 1) for each in self.drawn])

    def labels(self) -> Integers | None:
        """Return each patch's value in the truth, (n,), where there is one."""
        found = [each.labels for each in self.drawn if each.labels is not None]
        return np.concatenate(found) if found else None

    def close(self) -> None:
        """Let go of the file, which Windows else would not remove."""
        self.patches = np.empty((0, 0, 0, 3), np.uint8)

    def remove(self) -> None:
        """Delete the file."""
        self.close()
        for each in (self._file, self._file.with_name(f"{self._file.name}.json")):
            with suppress(OSError):
                each.unlink(missing_ok=True)


def _labelled(plan: Drawn, slide: Slide, mask: Path) -> Drawn:
    """Return the patches that have a label; none where there is no truth."""
    if not mask.is_file():
        return _only(replace(plan, labels=np.zeros(len(plan.grid), np.int64)), np.empty(0, np.int64))
    try:
        values = np.unique(np.concatenate([np.unique(each) for each in open_mask(mask).strips()]))
    except AreaError as error:
        raise SlideError(str(error)) from error
    grid = plan.grid
    size = grid.patch_width0, grid.patch_height0
    shares = [
        read_tissue(slide, mask, classes=(str(value),)).share(grid.x0, grid.y0, size) for value in values
    ]
    keep = np.max(shares, axis=0) >= _LABELLED
    labels = values[np.argmax(shares, axis=0)].astype(np.int64)
    return replace(plan, grid=grid.select(keep), labels=labels[keep])


def _only(plan: Drawn, chosen: npt.NDArray[np.integer]) -> Drawn:
    keep = np.zeros(len(plan.grid), np.bool_)
    keep[chosen] = True
    labels = None if plan.labels is None else plan.labels[keep]
    return replace(plan, grid=plan.grid.select(keep), labels=labels)


def _fill(file: Path, drawn: Sequence[Drawn], failed: dict[int, str]) -> None:
    """Write the patches of one slide after the other, and note those that fail."""
    from tqdm import tqdm

    total = sum(len(each.grid) for each in drawn)
    # Not through a memory map: where the disk is full, that ends the process without a word.
    with file.open("wb") as out, tqdm(total=total, desc="reading", unit=" patches") as bar:
        for place, each in enumerate(drawn):
            begin = out.tell()
            try:
                with open_slide(each.item.path) as slide:
                    for indices, patches in iter_patches(slide, each.grid, batch_size=_READ_AT_ONCE):
                        for index, patch in zip(indices, patches, strict=True):
                            # A wide slide comes in bands of columns: each patch goes to its own row.
                            out.seek(begin + int(index) * patch.nbytes)
                            out.write(patch.data)
                        bar.update(len(indices))
                out.seek(0, os.SEEK_END)
            except SlideError as error:
                failed[place] = _left_out(each.item, error)
                out.seek(begin)
                out.truncate()


def _left_out(item: SlideInput, error: Exception) -> str:
    told = " ".join(str(error).split())
    told = told if item.path.name in told else f"{item.path}: {told}"
    log.warning("%s; this slide is left out", told)
    return told


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return known if isinstance(known["failed"], list) and known["asked"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
