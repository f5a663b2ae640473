"""One slide evaluated: seeds drawn in its truth, or clicks simulated, and labels compared with it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tissuumaps_sic.evaluation.jobs import Job
from tissuumaps_sic.evaluation.pixels import PixelTruth, Points, label_ways, measure_pixels, sample_truth
from tissuumaps_sic.evaluation.results import Design
from tissuumaps_sic.evaluation.simulation import (
    COLD,
    Engine,
    EvaluationError,
    Follower,
    Grid,
    draw_seeds,
    measure,
    simulate,
)
from tissuumaps_sic.labelling.calibration import SLOPE, temper
from tissuumaps_sic.labelling.clustering import UNLABELLED, SeededIterativeClustering
from tissuumaps_sic.slidefile.arrays import Labels
from tissuumaps_sic.slidefile.batch import Worked
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slides.cells import open_cells
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file
from tissuumaps_sic.truth.classes import UNCOUNTED
from tissuumaps_sic.truth.rasters import TruthRaster
from tissuumaps_sic.truth.squares import patch_squares
from tissuumaps_sic.truth.truth import Truth, find_truth, measure_truth, open_truth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlideResult:
    """The rows that a slide adds to each table of `Evaluation`.

    Attributes
    ----------
    slide : dict
    runs, clicks, pixels : list of dict
        By the columns of `Evaluation.slides`, `runs`, `clicks` and `pixels`.
    """

    slide: dict[str, Any]
    runs: list[dict[str, Any]]
    clicks: list[dict[str, Any]]
    pixels: list[dict[str, Any]]


@dataclass(frozen=True)
class Evaluator:
    """Evaluates one slide: what `batch.work_through` takes to other processes.

    Attributes
    ----------
    design : Design
    """

    design: Design

    def __call__(self, job: Job) -> Worked:
        """Return the rows of a slide as a report.

        Raises
        ------
        EvaluationError, SlideFileError, TruthError
            It cannot be evaluated.
        """
        return Worked(asdict(_evaluate_slide(job, self.design)))


def _evaluate_slide(job: Job, design: Design) -> SlideResult:
    slide = open_slide_file(job.path, job.embedding)
    path = find_truth(job.truth, [job.slide, job.path.stem]) if job.truth.is_dir() else job.truth
    squares = patch_squares(slide, slide_size=design.slide_size)
    raster = open_truth(path, squares, design.classes)
    truth = measure_truth(raster, squares, design.classes)
    _check_truth(path, truth)
    finer = _sample(slide, raster, design) if design.pixels else None
    counted = truth.labels != UNCOUNTED
    shares = np.bincount(truth.labels[counted], minlength=len(truth.names)) / counted.sum()
    key = {"slide": job.slide, "encoder": job.encoder}
    row = key | {
        "file": job.path.name,
        "embedding": job.embedding,
        "truth": path.name,
        "n_patches": slide.n_patches,
        "n_counted": int(counted.sum()),
        **{f"share_{name}": float(share) for name, share in zip(truth.names, shares, strict=True)},
    }
    runs: list[dict[str, Any]] = []
    clicks: list[dict[str, Any]] = []
    pixels: list[dict[str, Any]] = []
    for method in design.methods:
        engine = _engine(slide, method, design.random_state)
        named = key | {"method": method}
        for run, fitted, y in _seed_runs(engine, truth, job.slide, design):
            runs.append(named | run)
            if finer is not None:
                drawn = named | {each: run[each] for each in ("n_seeds", "repeat")}
                pixels += [drawn | row for row in _measure_ways(slide, finer, fitted, y)]
        if design.clicks:
            # A point a cell: there are hundreds of clicks.
            coarse = _sample(slide, raster, design, most_along=1) if design.pixels else None
            follow = partial(_follow_ways, slide, coarse)
            clicks += [named | row for row in _click_runs(engine, job, slide, truth, design, follow)]
    return SlideResult(row, runs, clicks, pixels)


def _sample(slide: EmbeddedSlide, raster: TruthRaster, design: Design, **how: int) -> PixelTruth | None:
    """Return the truth at points; None, with a word, where the patches lie on no grid."""
    try:
        cells = open_cells(slide)
    except SlideFileError as error:
        log.warning("%s; its labels are compared by patch alone", error)
        return None
    mpp = read_provenance(slide.path).slide.mpp
    return sample_truth(raster, cells, len(design.classes.names), mpp, **how)


def _measure_ways(
    slide: EmbeddedSlide, finer: PixelTruth, fitted: SeededIterativeClustering, y: Labels
) -> Iterator[dict[str, Any]]:
    ways = _label_ways(slide, finer, fitted, y)
    for way, found in ways.items():
        yield {"way": way, **measure_pixels(finer, found)}


def _label_ways(
    slide: EmbeddedSlide, finer: PixelTruth, fitted: SeededIterativeClustering, y: Labels
) -> dict[str, Points]:
    scores = temper(fitted.scores_, SLOPE / fitted.slope_)
    return label_ways(finer, scores, fitted.labels_, y, slide.prepared.places)


def _follow_ways(
    slide: EmbeddedSlide, finer: PixelTruth | None, fitted: SeededIterativeClustering, y: Labels
) -> dict[str, float]:
    if finer is None:
        return {}
    ways = _label_ways(slide, finer, fitted, y)
    return {
        f"pixel_f1_{way}": measure_pixels(finer, found, borders=False)["pixel_f1"]
        for way, found in ways.items()
    }


def _check_truth(path: Path, truth: Truth) -> None:
    for number, name in enumerate(truth.names):
        if not (truth.labels == number).any():
            found = ", ".join(truth.found) or "none"
            raise EvaluationError(
                f"{path.name}: no patch is {name}; its values are {found}; name others (--positive, "
                "--class), or leave the slide out"
            )


def _engine(slide: EmbeddedSlide, method: str, random_state: int) -> Engine:
    """Return what fits a slide from seeds, shape (n_patches,)."""

    def fit(y: Labels) -> SeededIterativeClustering:
        return SeededIterativeClustering(method=method, random_state=random_state).fit(slide.prepared, y)

    return fit


def generator(random_state: int, *names: str | int) -> np.random.Generator:
    """Return a random generator that depends on its arguments alone, on any machine and in any process.

    Parameters
    ----------
    random_state : int
        0 or more.
    *names : str or int
        What the draws are for, such as a slide and a repeat.

    Returns
    -------
    Generator
    """
    digest = hashlib.sha256("\n".join(map(str, names)).encode()).digest()
    return np.random.default_rng(
        np.random.SeedSequence([random_state, *np.frombuffer(digest, "<u4").tolist()])
    )


def _seed_runs(
    engine: Engine, truth: Truth, slide: str, design: Design
) -> Iterator[tuple[dict[str, Any], SeededIterativeClustering, Labels]]:
    """Yield the row of each run, what was fitted, and its seeds."""
    for n_seeds in design.seeds_per_class:
        for repeat in range(design.repeats):
            y = draw_seeds(truth.labels, n_seeds, generator(design.random_state, slide, n_seeds, repeat))
            fitted = engine(y)
            row = {
                "n_seeds": n_seeds,
                "n_seeds_drawn": int((y != UNLABELLED).sum()),
                "repeat": repeat,
                **measure(truth.labels, fitted.labels_, len(truth.names)),
            }
            yield row, fitted, y


def _click_runs(
    engine: Engine, job: Job, slide: EmbeddedSlide, truth: Truth, design: Design, follow: Follower
) -> Iterator[dict[str, Any]]:
    grid = Grid.of(slide)
    for repeat in range(design.repeats):
        first = draw_seeds(truth.labels, 1, generator(design.random_state, job.slide, 1, repeat))
        for strategy in design.strategies:
            rng = generator(design.random_state, job.slide, "annotator", repeat)
            told: dict[str, Any] = {"strategy": strategy, "repeat": repeat}
            seeds = np.full_like(first, UNLABELLED) if strategy in COLD else first
            curve = simulate(
                engine,
                slide.prepared,
                truth,
                grid,
                seeds,
                strategy=strategy,
                clicks=design.clicks,
                rng=rng,
                follow=follow,
            )
            for clicks, figures in enumerate(curve, start=max(1, int((seeds != UNLABELLED).sum()))):
                yield told | {"clicks": clicks} | figures
