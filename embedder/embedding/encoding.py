"""The encoder of a run, and the patches of a slide embedded by it as they stream by."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from embedder.embedding.options import EmbedOptions
from embedder.embedding.partial import Partial
from embedder.encoders.fine import CellPlan
from embedder.encoders.load import load_encoder
from embedder.encoders.network import Encoder, choose_device
from embedder.encoders.precision import Choice
from embedder.encoders.told import Told
from embedder.isolation.program import Progress
from embedder.patches.damage import Tally
from embedder.patches.grid import PatchGrid, stride_of
from embedder.patches.reading import iter_patches
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.arrays import Integers
from tissuumaps_sic.slidefile.pixels.slide import Slide

log = logging.getLogger(__name__)

# On the processor larger batches gain nothing. On a GPU, where each pass begins with work of Python's, 128 is
# 1.4 to 2 times as fast as 32 (benchmarks/README.md); what its memory does not hold is run in parts.
_BATCH_SIZE = 32
_BATCH_SIZE_OF_GPU = 128
_PIXELS_OF_GPU = 128 * 256**2


def make_encoder(options: EmbedOptions) -> Encoder:
    """Load the encoder that the options name, on their device.

    Raises
    ------
    EncoderError
        When it cannot be loaded.
    """
    return load_encoder(
        options.encoder,
        weights=options.weights,
        told=Told(options.input_size, options.mean, options.std, options.interpolation, options.pool),
        device=choose_device(options.device),
        precision=options.precision,
    )


def choose_batch_size(encoder: Encoder, options: EmbedOptions) -> int:
    """Return how many patches go through the encoder in one pass."""
    if options.batch_size is not None:
        return options.batch_size
    # Measured on CUDA alone, and only there is a batch that memory does not hold run in parts.
    if encoder.device.partition(":")[0] != "cuda":
        return _BATCH_SIZE
    # Of larger patches fewer, so that what waits in memory stays the same.
    return int(np.clip(_PIXELS_OF_GPU // options.patch_size**2, _BATCH_SIZE, _BATCH_SIZE_OF_GPU))


def log_advice(encoder: Encoder, options: EmbedOptions) -> None:
    """Say what patches the encoder is meant for, where the options ask for others, and what it cannot do."""
    advice = encoder.spec.advice(options.patch_size, options.mpp)
    if advice:
        log.info("%s", advice)
    if options.fine and plan_cells(encoder, options) is None:
        log.info("%s tells nothing smaller than a patch apart: its files have no fine cells", encoder.name)


def plan_cells(encoder: Encoder, options: EmbedOptions) -> CellPlan | None:
    """Return the cells smaller than a patch that files get; None where they are not wanted, or cannot be."""
    if not options.fine:
        return None
    return encoder.plan_cells(options.patch_size, stride_of(options.patch_size, options.overlap))


def _note_damage(tally: Tally, indices: Integers, partial: Partial) -> None:
    """Look where some patches lie, and note what is damaged: it is saved with them, never after them."""
    tally.look_at(indices)
    if tally.damaged.any():
        partial.notes["damage"] = tally.to_notes()


def _note_memory(encoder: Encoder, partial: Partial) -> None:
    """Keep how many patches the device's memory was found to hold."""
    if encoder.at_once != partial.notes.get("at_once"):
        partial.note(at_once=encoder.at_once)


def embed_patches(
    slide: Slide,
    grid: PatchGrid,
    encoder: Encoder,
    partial: Partial,
    tally: Tally,
    *,
    cells: CellPlan | None,
    batch_size: int,
    progress: Progress,
) -> Choice:
    """Embed the patches that are not done; return the precision that all of them have.

    Those where the slide is damaged are added to the tally, which `partial` keeps for a run that goes on.

    Raises
    ------
    SlideError
        The slide's pixels cannot be read, or are damaged in too many places.
    """
    choice = None
    if "choice" in partial.notes:
        # Measuring anew might choose otherwise. This slide's choice binds no later one of the run.
        choice = Choice(**partial.notes["choice"])
    if partial.done:
        log.info("%s: going on after %d patches of an earlier run", slide.name, partial.done)
    progress(partial.done, len(grid))
    # As it was for what is done, and of this slide alone: memory that was full may be free for the next.
    encoder.at_once = partial.notes.get("at_once")

    def save(indices: Integers, started: Any) -> None:
        features = encoder.fetch(started)
        _note_damage(tally, indices, partial)
        partial.write(indices, features.pooled, features.fine)
        progress(partial.written, len(grid))

    batches = iter_patches(slide, grid, batch_size=batch_size, start=partial.done)
    waiting: tuple[Integers, Any] | None = None
    try:
        for indices, patches in batches:
            if choice is None:
                choice = encoder.choose_precision(patches, cells=cells)
                partial.note(choice=asdict(choice))
            started = encoder.start(patches, precision=choice.precision, cells=cells)
            _note_memory(encoder, partial)
            # A GPU works on this batch while the one before it is written.
            if waiting is not None:
                save(*waiting)
            waiting = (indices, started)
        if waiting is not None:
            save(*waiting)
    except BaseException:
        # What was done before a failure, or Ctrl-C, need not be done again.
        with suppress(OSError, leases.LostError):
            partial.finish()
        if partial.done == 0:
            partial.remove()
        raise
    with suppress(OSError):
        partial.finish()
    assert choice is not None  # a grid has patches
    return choice
