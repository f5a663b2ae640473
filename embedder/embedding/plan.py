"""What a run would do: patches, bytes and minutes for each slide, before any of it is done."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedder.embedding.children import get_encoder, prepare
from embedder.embedding.encoding import choose_batch_size, log_encoder, make_encoder, plan_cells
from embedder.embedding.options import EmbedOptions
from embedder.embedding.request import SlideInput
from embedder.embedding.results import refuse_names
from embedder.embedding.slide import count_bytes, count_bytes_beside
from embedder.encoders.network import Encoder
from embedder.encoders.spec import EncoderError
from embedder.isolation.child import Child, Limits, LostError
from embedder.isolation.program import tell_stage
from embedder.patches.damage import Tally
from embedder.patches.grid import PatchGrid, TilingError
from embedder.patches.reading import iter_patches
from embedder.patches.selection import find_tissue, plan_grid
from tissuumaps_sic.slidefile.failure import os_reason
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError

log = logging.getLogger(__name__)

# How long the speed is measured, once it is warm.
_MEASURED_SECONDS = 5.0
# Of a slide's stages after the embedding, per patch; measured by benchmarks/bench_umap.py on two cores.
_UMAP_SECONDS = 1.5e-3


@dataclass(frozen=True)
class SlidePlan:
    """What embedding one slide would take.

    Attributes
    ----------
    slide : str
        The path as it was given.
    problem : str or None
        Why it would fail; the other numbers are 0 then.
    n_patches : int
    n_bytes : int
        Of the file, about; as much again is used beside it while it is made.
    minutes : float
        About.
    """

    slide: str
    problem: str | None
    n_patches: int = 0
    n_bytes: int = 0
    minutes: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    slides : tuple of SlidePlan
        In the order given.
    patches_per_second : float
        As measured, reading and embedding together; 0 where no slide can be read.
    precision : str
        What the encoder would compute in.
    free_bytes : int
        Left on the disk of the output folder.
    """

    slides: tuple[SlidePlan, ...]
    patches_per_second: float
    precision: str
    free_bytes: int

    def lines(self) -> list[str]:
        """Return the plan as a table for people.

        Returns
        -------
        list of str
            A heading, a line a slide, the problems, and a sum.
        """
        width = min(60, max(5, *(len(Path(plan.slide).name) for plan in self.slides)))
        lines = [f"{'slide':{width}}  {'patches':>10}  {'MB':>8}  {'minutes':>8}"]
        lines += [
            f"{Path(plan.slide).name:{width}}  {plan.n_patches:>10,}  {plan.n_bytes / 1e6:>8,.0f}  "
            f"{plan.minutes:>8.1f}"
            for plan in self.slides
            if plan.problem is None
        ]
        lines += [plan.problem for plan in self.slides if plan.problem is not None]
        if self.slides and all(plan.problem is not None for plan in self.slides):
            return [*lines, "none of these slides can be embedded as asked"]
        n_bytes = sum(plan.n_bytes for plan in self.slides)
        minutes = sum(plan.minutes for plan in self.slides)
        lines.append(
            f"{sum(plan.n_patches for plan in self.slides):,} patches, {n_bytes / 1e6:,.0f} MB of "
            f"{self.free_bytes / 1e6:,.0f} MB free, {minutes:,.1f} minutes at "
            f"{self.patches_per_second:,.0f} patches/s ({self.precision})"
        )
        # The embeddings of the slide that is being made lie beside its file.
        if n_bytes + max((plan.n_bytes for plan in self.slides), default=0) > self.free_bytes:
            lines.append(
                "this does not fit on the disk of the output folder; --storage float16 or --no-fine take "
                "less, or choose another -o"
            )
        return lines


@dataclass(frozen=True)
class _Measured:
    """What was found of one slide; the encoder's facts, bytes for a patch too, are the same for all."""

    n_patches: int
    speed: float
    width: int
    precision: str


def plan_slides(
    items: Sequence[SlideInput],
    folder: Path,
    options: EmbedOptions | None = None,
    *,
    limits: Limits | None = None,
) -> Plan:
    """Measure and reckon what embedding slides would take; nothing is written.

    Parameters
    ----------
    items : sequence of SlideInput
    folder : Path
        Where the files would go; need not exist.
    options : EmbedOptions, optional
    limits : Limits, optional
        Look at each slide in a child process, as `embed_slides` does.

    Returns
    -------
    Plan

    Raises
    ------
    EncoderError
        When the encoder cannot be loaded.
    ChildError
        No child process can be started.
    """
    options = options or EmbedOptions()
    refused = refuse_names(items)
    counts: list[tuple[SlideInput, int, str | None]] = []
    speed, width, precision = 0.0, 0, "not measured"
    with _open_measuring(options, limits) as measure:
        for place, item in enumerate(items):
            measured = refused[place].message if place in refused else measure(item, speed == 0)
            if isinstance(measured, str):
                counts.append((item, 0, measured))
                continue
            speed = speed or measured.speed
            width, precision = measured.width, measured.precision
            counts.append((item, measured.n_patches, None))
    seconds = (1 / speed if speed else 0.0) + (_UMAP_SECONDS if options.umap else 0.0)
    return Plan(
        slides=tuple(
            SlidePlan(str(item.path), problem, count, count * width, count * seconds / 60)
            for item, count, problem in counts
        ),
        patches_per_second=speed,
        precision=precision,
        free_bytes=shutil.disk_usage(_find_existing(folder)).free,
    )


@contextmanager
def _open_measuring(
    options: EmbedOptions, limits: Limits | None
) -> Iterator[Callable[[SlideInput, bool], _Measured | str]]:
    """Yield what measures a slide, with its speed or without, or tells why it would fail."""
    if limits is None:
        encoder = make_encoder(options)
        log_encoder(encoder, options)
        yield lambda item, timed: _measure(item, encoder, options, timed=timed)
        return

    with Child(limits) as child:

        def measure(item: SlideInput, timed: bool) -> _Measured | str:
            try:
                measured: _Measured | str = child.run(_measure_here, item, options, timed)
            except LostError as error:
                return f"{item.path}: {error}"
            return measured

        prepare(child, options)
        yield measure


def _measure_here(item: SlideInput, options: EmbedOptions, timed: bool) -> _Measured | str:
    """Measure a slide in this process, which is somebody's child."""
    return _measure(item, get_encoder(options), options, timed=timed)


def _measure(item: SlideInput, encoder: Encoder, options: EmbedOptions, *, timed: bool) -> _Measured | str:
    try:
        tell_stage("the slide was opened")
        with open_slide(item.path, mpp=item.mpp or options.slide_mpp, icc=options.icc) as slide:
            tell_stage("its tissue was looked for")
            grid, _ = plan_grid(slide, find_tissue(slide, options), options)
            tally = Tally(slide, grid, options.damage_limit)
            tell_stage("its patches were read and embedded")
            speed = _speed(slide, grid, encoder, options) if timed else 0.0
            tally.look_at(np.arange(len(grid)))
        cells = plan_cells(encoder, options)
        width = count_bytes(encoder.dimension, cells, options) + count_bytes_beside(cells)
        return _Measured(len(grid), speed, width, encoder.precision)
    except (SlideError, TilingError, EncoderError) as error:
        return " ".join(str(error).split())
    except OSError as error:
        return os_reason(error, item.path)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        log.debug("%s failed", item.path, exc_info=True)
        return " ".join(
            f"{item.path}: {type(error).__name__}: {error} (unexpected; --verbose shows where)".split()
        )


def _speed(slide: Slide, grid: PatchGrid, encoder: Encoder, options: EmbedOptions) -> float:
    """Measure patches/s of reading and embedding, after a warm-up of one batch."""
    # From the middle on: a slide's first rows may be its easiest.
    some = np.zeros(len(grid), bool)
    some[len(grid) // 3 :] = True
    batches = iter_patches(slide, grid.select(some), batch_size=choose_batch_size(encoder, options))
    first: npt.NDArray[np.uint8] | None = None
    done, started, cells = 0, 0.0, plan_cells(encoder, options)
    for _, patches in batches:
        encoder.fetch(encoder.start(patches, cells=cells))
        if first is None:
            first, started = patches, time.perf_counter()
            continue
        done += len(patches)
        if time.perf_counter() - started > _MEASURED_SECONDS:
            break
    if done == 0 and first is not None:  # a slide of one batch: it is warm now, so once more
        encoder.fetch(encoder.start(first, cells=cells))
        done = len(first)
    return done / (time.perf_counter() - started)


def _find_existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
