"""Patches for training, drawn from the tissue of many slides; nothing is read yet."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.embedding.request import SlideInput
from embedder.patches.drawn import read_tissue
from embedder.patches.grid import PatchGrid, TilingError
from embedder.patches.options import PatchOptions
from embedder.patches.selection import find_tissue, plan_grid
from tissuumaps_sic.slidefile.areas.area import AreaError
from tissuumaps_sic.slidefile.areas.masks import open_mask
from tissuumaps_sic.slidefile.arrays import Integers
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError

log = logging.getLogger(__name__)

Failure = tuple[str, str]

# The least share of a patch that one value of a truth covers, for the patch to have that label.
_LABELLED = 0.5
# Each of a thousand slides would give the probe one patch, which has no neighbours.
_MOST_PROBED = 20


@dataclass(frozen=True, eq=False)
class Sample:
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
    profile : str or None
        sha256 of the colour profile by which they are converted to sRGB; None where they are not.
    """

    item: SlideInput
    content: str
    grid: PatchGrid
    labels: Integers | None = None
    profile: str | None = None


@dataclass(frozen=True, eq=False)
class Candidates:
    """What can be drawn of one slide.

    Attributes
    ----------
    place : int
        Of the slide in the sequence that was given; what is drawn depends on it.
    training, probing : Sample
        All patches for training; and, laid side by side, for probing.
    """

    place: int
    training: Sample
    probing: Sample


def find_candidates(
    items: Sequence[SlideInput], *, options: PatchOptions, truth: Path | None = None
) -> tuple[list[Candidates], list[Failure]]:
    """Find the patches of slides, without reading them.

    Parameters
    ----------
    items : sequence of SlideInput
    options : PatchOptions
        How patches are laid and what tissue is.
    truth : Path, optional
        A folder of ``<slide>_mask.png``: only patches that one value covers by half are for probing.

    Returns
    -------
    candidates : list of Candidates
        In the order of the slides.
    failures : list of (slide, message)
        Slides that cannot be used; they are told, too.
    """
    candidates, failures = [], []
    for place, item in enumerate(items):
        try:
            with open_slide(item.path, mpp=item.mpp or options.slide_mpp, icc=options.icc) as slide:
                mask = find_tissue(slide, options)
                content, profile = slide.fast_hash(), slide.profile
                converted = profile.sha256 if profile is not None and slide.is_converted else None
                training = Sample(item, content, plan_grid(slide, mask, options)[0], profile=converted)
                # Half of a patch is tissue in some place at half overlap, but side by side it may be nowhere.
                try:
                    apart = plan_grid(slide, mask, replace(options, overlap=0.0))[0]
                    probing = replace(training, grid=apart)
                except SlideError:
                    probing = _keep_only(training, np.empty(0, np.int64))
                if truth is not None:
                    probing = _label(probing, slide, truth / f"{item.name}_mask.png")
        except (SlideError, TilingError, OSError) as error:
            failures.append((str(item.path), leave_out(item, error)))
        else:
            candidates.append(Candidates(place, training, probing))
    return candidates, failures


def draw(candidates: Sequence[Candidates], n_patches: int, *, seed: int) -> list[Sample]:
    """Draw `n_patches` for training: an equal share of every slide, anywhere in its tissue.

    What a slide lacks the others give; where all lack some there are fewer.

    Parameters
    ----------
    candidates : sequence of Candidates
    n_patches : int
    seed : int

    Returns
    -------
    list of Sample
    """
    shares = share_equally([len(slide.training.grid) for slide in candidates], n_patches)
    drawn = []
    for slide, share in zip(candidates, shares, strict=True):
        random = np.random.default_rng([seed, slide.place])
        chosen = random.choice(len(slide.training.grid), share, replace=False)
        drawn.append(_keep_only(slide.training, chosen))
    return [sample for sample in drawn if len(sample.grid)]


def draw_probes(candidates: Sequence[Candidates], n_patches: int, *, seed: int) -> list[Sample]:
    """Draw patches for comparing encoders, no two of which share a pixel, from at most 20 slides.

    With a truth they are drawn anywhere; without, each slide's lie around one of them, so that they have
    neighbours.

    Parameters
    ----------
    candidates : sequence of Candidates
    n_patches : int
    seed : int

    Returns
    -------
    list of Sample
    """
    usable = [slide for slide in candidates if len(slide.probing.grid)]
    if len(usable) > _MOST_PROBED:
        some = np.random.default_rng([seed, 0]).choice(len(usable), _MOST_PROBED, replace=False)
        usable = [usable[place] for place in sorted(some)]
    shares = share_equally([len(slide.probing.grid) for slide in usable], n_patches)
    drawn = []
    for slide, share in zip(usable, shares, strict=True):
        random = np.random.default_rng([seed, slide.place, 1])
        grid = slide.probing.grid
        if slide.probing.labels is not None:
            chosen = random.choice(len(grid), share, replace=False)
        else:
            middle = random.integers(len(grid))
            far = (grid.column - grid.column[middle]) ** 2 + (grid.row - grid.row[middle]) ** 2
            chosen = np.argsort(far, kind="stable")[:share]
        drawn.append(_keep_only(slide.probing, chosen))
    return [sample for sample in drawn if len(sample.grid)]


def share_equally(available: Sequence[int], total: int) -> list[int]:
    """Return how many each gives, so that all give `total` and none more than another that still has some.

    >>> share_equally([5, 100, 100], 45)
    [5, 20, 20]
    """
    shares = [0] * len(available)
    left = total
    # The poorest first: what they lack falls to the others.
    for done, place in enumerate(sorted(range(len(available)), key=lambda each: available[each])):
        shares[place] = min(available[place], left // (len(available) - done))
        left -= shares[place]
    return shares


def digest(samples: Sequence[Sample]) -> str:
    """Return a sha256 of which patches of which slides these are, without a name.

    Parameters
    ----------
    samples : sequence of Sample

    Returns
    -------
    str
    """
    hashed = hashlib.sha256()
    for sample in samples:
        grid = sample.grid
        facts = (sample.content, grid.mpp_x, grid.mpp_y, grid.target_mpp, grid.patch_size, grid.overlap)
        # What is taken as it is has the digest that it had before there were profiles.
        hashed.update(repr(facts if sample.profile is None else (*facts, sample.profile)).encode())
        hashed.update(grid.cells.tobytes())
    return hashed.hexdigest()


def _label(sample: Sample, slide: Slide, mask: Path) -> Sample:
    """Return the patches that have a label; none where there is no truth."""
    if not mask.is_file():
        return _keep_only(replace(sample, labels=np.zeros(len(sample.grid), np.int64)), np.empty(0, np.int64))
    try:
        values = np.unique(np.concatenate([np.unique(strip) for strip in open_mask(mask).strips()]))
    except AreaError as error:
        raise SlideError(str(error)) from error
    grid = sample.grid
    size = grid.patch_width0, grid.patch_height0
    shares = [
        read_tissue(slide, mask, classes=(str(value),)).share(grid.x0, grid.y0, size) for value in values
    ]
    keep = np.max(shares, axis=0) >= _LABELLED
    labels = values[np.argmax(shares, axis=0)].astype(np.int64)
    return replace(sample, grid=grid.select(keep), labels=labels[keep])


def _keep_only(sample: Sample, chosen: npt.NDArray[np.integer]) -> Sample:
    keep = np.zeros(len(sample.grid), np.bool_)
    keep[chosen] = True
    labels = None if sample.labels is None else sample.labels[keep]
    return replace(sample, grid=sample.grid.select(keep), labels=labels)


def drop_rows(sample: Sample, rows: Sequence[int]) -> Sample:
    """Return a sample without some of its patches.

    Parameters
    ----------
    sample : Sample
    rows : sequence of int
        Of the sample's patches.

    Returns
    -------
    Sample
    """
    return _keep_only(sample, np.setdiff1d(np.arange(len(sample.grid)), rows))


def leave_out(item: SlideInput, error: Exception) -> str:
    """Say that a slide is left out; return why, on one line that names it.

    Parameters
    ----------
    item : SlideInput
    error : Exception

    Returns
    -------
    str
    """
    reason = " ".join(str(error).split())
    reason = reason if item.path.name in reason else f"{item.path}: {reason}"
    log.warning("%s; this slide is left out", reason)
    return reason
