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
from tissuumaps_sic.slidefile.spelling import say_count

log = logging.getLogger(__name__)

# On the processor larger batches gain nothing. On a GPU, where each pass begins with work of Python's, 128 is
# 1.4 to 2 times as fast as 32 (benchmarks/README.md); what its memory does not hold is run in parts.
_BATCH_SIZE = 32
_BATCH_SIZE_OF_GPU = 128
_PIXELS_OF_GPU = 128 * 256**2


def make_encoder(options: EmbedOptions) -> Encoder:
    """Load the encoder that the options name, on their device.

    Parameters
    ----------
    options : EmbedOptions

    Returns
    -------
    Encoder

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
    """Return how many patches go through the encoder in one pass.

    Parameters
    ----------
    encoder : Encoder
    options : EmbedOptions

    Returns
    -------
    int
    """
    if options.batch_size is not None:
        return options.batch_size
    # Measured on CUDA alone, and only there is a batch that memory does not hold run in parts.
    if encoder.device.partition(":")[0] != "cuda":
        return _BATCH_SIZE
    # Of larger patches fewer, so that what waits in memory stays the same.
    return int(np.clip(_PIXELS_OF_GPU // options.patch_size**2, _BATCH_SIZE, _BATCH_SIZE_OF_GPU))


def log_encoder(encoder: Encoder, options: EmbedOptions) -> None:
    """Log where the encoder runs and how precisely, and whether it suits what the options ask for.

    Parameters
    ----------
    encoder : Encoder
    options : EmbedOptions
    """
    log.info("encoder %s on %s", encoder.name, describe_place(encoder))
    advice = encoder.spec.advice(options.patch_size, options.mpp)
    if advice:
        log.info("%s", advice)
    if options.fine and plan_cells(encoder, options) is None:
        log.info("%s cannot tell cells smaller than a patch apart, so the files have none", encoder.name)


def describe_place(encoder: Encoder) -> str:
    """Return where an encoder runs, and how precisely, as a person looks for it in a log.

    Parameters
    ----------
    encoder : Encoder

    Returns
    -------
    str
        Such as "cuda:0 (NVIDIA H100 80GB HBM3), bfloat16" or "the processor (2 threads), float32".
    """
    import torch

    device = torch.device(encoder.device)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        place = f"cuda:{index} ({torch.cuda.get_device_name(index)})"
    elif device.type == "cpu":
        place = f"the processor ({say_count(torch.get_num_threads(), 'thread')})"
    else:
        place = encoder.device
    measured = "float32 or bfloat16, as a short measurement finds"
    return f"{place}, {measured if encoder.precision == 'auto' else encoder.precision}"


def plan_cells(encoder: Encoder, options: EmbedOptions) -> CellPlan | None:
    """Return the cells smaller than a patch that files get.

    Parameters
    ----------
    encoder : Encoder
    options : EmbedOptions

    Returns
    -------
    CellPlan or None
        None where they are not wanted, or the encoder cannot tell them apart.
    """
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

    Parameters
    ----------
    slide : Slide
    grid : PatchGrid
        Of the patches to embed.
    encoder : Encoder
    partial : Partial
        Where the embeddings go; what is done in it is not done again.
    tally : Tally
    cells : CellPlan or None
        Cells to be embedded as well.
    batch_size : int
        Patches in one pass.
    progress : callable
        Given (patches done, patches in all) after each batch.

    Returns
    -------
    Choice

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
