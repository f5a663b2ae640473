"""How well a few seeds label a slide: the paper's experiment, and a simulated annotator, on one's own slides.

Both start from seeds that are drawn inside each class of a ground truth, and compare the labels of all other
patches with that truth. What is drawn depends on the slide, the number of seeds, the repeat and the random
state alone: encoders, methods and strategies get the same draws, and so do one worker and many.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tissuumaps_sic.evaluation.classes import UNCOUNTED, TruthClasses, TruthError
from tissuumaps_sic.evaluation.pixels import PixelTruth, label_ways, measure_pixels, sample_truth
from tissuumaps_sic.evaluation.simulation import (
    STRATEGIES,
    Engine,
    EvaluationError,
    Follower,
    Grid,
    draw_seeds,
    measure,
    simulate,
)
from tissuumaps_sic.evaluation.truth import (
    Truth,
    TruthRaster,
    find_truth,
    measure_truth,
    open_truth,
    patch_squares,
)
from tissuumaps_sic.labelling.clustering import UNLABELLED, SeededIterativeClustering
from tissuumaps_sic.labelling.methods import METHODS
from tissuumaps_sic.slidefile.arrays import Labels
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.provenance import MAIN, read_provenance
from tissuumaps_sic.slides.cells import open_cells
from tissuumaps_sic.slides.slide import EmbeddedSlide, embeddings, open_slide_file

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.intp]
Pair = tuple[Path, Path]

# Among names of embeddings: every one that the file holds.
ALL = "all"


@dataclass(frozen=True)
class Design:
    """What is done with every slide; the parameters of `evaluate`."""

    classes: TruthClasses
    methods: tuple[str, ...]
    seeds_per_class: tuple[int, ...]
    repeats: int
    clicks: int
    strategies: tuple[str, ...]
    random_state: int
    slide_size: tuple[int, int] | None
    embeddings: tuple[str, ...] = (MAIN,)
    pixels: bool = True


@dataclass(frozen=True)
class Failure:
    """A slide, or an embedding of it, that took no part: the name of the h5ad, and why."""

    file: str
    message: str


@dataclass(frozen=True)
class Evaluation:
    """What came out, in the order of the files.

    Attributes
    ----------
    design : Design
    slides : DataFrame
        One row a slide and encoder: ``slide``, ``encoder``, ``file``, ``embedding`` (of the file),
        ``truth``, ``n_patches``, ``n_counted`` (patches that have a class in the truth) and
        ``share_<class>`` of those.
    runs : DataFrame
        One row a run: ``slide``, ``encoder``, ``method``, ``n_seeds`` (asked for, for each class),
        ``n_seeds_drawn`` (in all), ``repeat``, and over the counted patches ``f1``, ``macro_f1``,
        ``precision``, ``recall``, ``balanced_accuracy``. F1, precision and recall are of the positive
        class, and of three or more classes the mean over the classes.
    clicks : DataFrame
        One row a number of clicks: ``slide``, ``encoder``, ``method``, ``strategy``, ``repeat``,
        ``clicks`` (in all), ``f1``; and where pixels are compared ``pixel_f1_<way>`` for each of
        `pixels.WAYS`.
    failures : tuple of Failure
    pixels : DataFrame
        One row a run and way of drawing its labels (``way``, of `pixels.WAYS`): ``slide``, ``encoder``,
        ``method``, ``n_seeds``, ``repeat``, and what `pixels.measure_pixels` returns. Empty where pixels
        are not compared.
    """

    design: Design
    slides: pd.DataFrame
    runs: pd.DataFrame
    clicks: pd.DataFrame
    failures: tuple[Failure, ...]
    pixels: pd.DataFrame = field(default_factory=pd.DataFrame)

    def per_slide(self) -> pd.DataFrame:
        """Return the mean and the best F1 of the repeats, one row a slide, encoder, method and n_seeds."""
        keys = ["slide", "encoder", "method", "n_seeds"]
        grouped = self.runs.groupby(keys, sort=False)["f1"]
        return grouped.agg(mean_f1="mean", best_f1="max").reset_index()

    def summary(self) -> pd.DataFrame:
        """Return mean and standard deviation over the slides of both, one row an encoder, method, n_seeds.

        The best of the repeats is what the paper reports, to stand for an expert's choice of seeds; the
        mean is what a random choice gives.
        """
        grouped = self.per_slide().groupby(["encoder", "method", "n_seeds"], sort=False)
        return grouped.agg(
            slides=("slide", "nunique"),
            mean_f1=("mean_f1", "mean"),
            mean_f1_sd=("mean_f1", "std"),
            best_f1=("best_f1", "mean"),
            best_f1_sd=("best_f1", "std"),
        ).reset_index()

    def pixels_summary(self) -> pd.DataFrame:
        """Return means over the slides, of the means of the repeats, by encoder, method, n_seeds and way."""
        if self.pixels.empty:
            return self.pixels
        keys = ["encoder", "method", "n_seeds", "way"]
        figures = ["pixel_f1", "pixel_macro_f1", "iou", "boundary_f1"]
        by_slide = self.pixels.groupby(["slide", *keys], sort=False)[figures].mean().reset_index()
        return by_slide.groupby(keys, sort=False)[figures].mean().reset_index()

    def clicks_summary(self) -> pd.DataFrame:
        """Return mean and standard deviation over the slides of F1 (the mean of the repeats) by clicks."""
        keys = ["encoder", "method", "strategy", "clicks"]
        by_slide = self.clicks.groupby(["slide", *keys], sort=False)["f1"].mean().reset_index()
        grouped = by_slide.groupby(keys, sort=False)
        return grouped.agg(slides=("slide", "nunique"), f1=("f1", "mean"), f1_sd=("f1", "std")).reset_index()


def evaluate(
    pairs: Sequence[Pair],
    *,
    classes: TruthClasses,
    embeddings: Sequence[str] = (MAIN,),
    methods: Sequence[str] = METHODS,
    seeds_per_class: Sequence[int] = (1, 3, 5, 10),
    repeats: int = 5,
    clicks: int = 20,
    strategies: Sequence[str] = ("largest-error", "random"),
    slide_size: tuple[int, int] | None = None,
    pixels: bool = True,
    workers: int = 1,
    random_state: int = 0,
) -> Evaluation:
    """Label slides from simulated seeds and compare with their ground truth.

    Parameters
    ----------
    pairs : sequence of (h5ad, truth)
        Embedded slides, each with its truth: a file, or the folder in which `find_truth` looks for it.
        The same slide may come once for every encoder.
    classes : TruthClasses
        Which values of the truth make which class.
    embeddings : sequence of str, default=("X",)
        Which embeddings of each file, as `open_slide_file` names them; `ALL` among them stands for all that
        a file holds. Each counts as an encoder: that of ``X`` by its encoder's name, others by their own.
    methods : sequence of str
        Methods of `SeededIterativeClustering`.
    seeds_per_class : sequence of int, default=(1, 3, 5, 10)
        How many seeds are drawn in each class; all of a class that has fewer.
    repeats : int, default=5
        Draws for each number of seeds, as in the paper; and simulated annotators.
    clicks : int, default=20
        Clicks of a simulated annotator in all, the first seed of each class included; 0 simulates none.
    strategies : sequence of str, default=("largest-error", "random")
        How the annotator chooses, names in `STRATEGIES`.
    slide_size : (width, height), optional
        Level-0 pixels, for h5ad files that do not tell.
    pixels : bool, default=True
        Whether labels are compared with the truth finer than a patch, too, on slides whose patches lie on a
        grid.
    workers : int, default=1
        Slides at a time, each in a process of its own.
    random_state : int, default=0

    Returns
    -------
    Evaluation
        Slides that fail are among its `failures`, and the others are done.

    Raises
    ------
    EvaluationError
        When a parameter cannot be used, or a slide comes twice with the same encoder.

    Notes
    -----
    With `workers` above 1, a script must keep the call under ``if __name__ == "__main__":``, because new
    processes import it. One thread computes each slide whatever the number of workers: sums that are split
    over threads differ in their last digits, and now and then in a label.
    """
    design = Design(
        classes,
        tuple(methods),
        tuple(seeds_per_class),
        repeats,
        clicks,
        tuple(strategies),
        random_state,
        slide_size,
        tuple(embeddings),
        pixels,
    )
    _check_design(design, workers)
    jobs, failures = _jobs(pairs, design.embeddings)
    results = list(_run(jobs, design, min(workers, len(jobs))))
    done = [result for result in results if isinstance(result, _SlideResult)]
    failures += [result for result in results if isinstance(result, Failure)]
    return Evaluation(
        design,
        pd.DataFrame([result.slide for result in done]),
        pd.DataFrame([row for result in done for row in result.runs]),
        pd.DataFrame([row for result in done for row in result.clicks]),
        tuple(failures),
        pd.DataFrame([row for result in done for row in result.pixels]),
    )


def _check_design(design: Design, workers: int) -> None:
    for word, known, given in (
        ("method", METHODS, design.methods),
        ("strategy", tuple(STRATEGIES), design.strategies),
    ):
        wrong = [name for name in given if name not in known]
        if wrong:
            raise EvaluationError(f"{wrong[0]!r} is no {word}; there are {', '.join(known)}")
    if not design.methods or not design.seeds_per_class or not design.embeddings:
        raise EvaluationError("give at least one method, one number of seeds and one embedding")
    for word, values, least in (
        ("number of seeds", design.seeds_per_class, 1),
        ("number of repeats", (design.repeats,), 1),
        ("number of workers", (workers,), 1),
        ("random state", (design.random_state,), 0),
    ):
        for value in values:
            if value < least:
                raise EvaluationError(f"the {word} is {value}; give {least} or more")
    n_classes = len(design.classes.names)
    if design.clicks and design.clicks < n_classes:
        raise EvaluationError(
            f"{design.clicks} clicks are too few to seed {n_classes} classes; give {n_classes} or more, or 0 "
            "for no simulated annotator"
        )
    if design.clicks and not design.strategies:
        raise EvaluationError(f"give a strategy ({', '.join(STRATEGIES)}), or 0 clicks")


# -------------------------------------------------------------------------------------- slides and jobs


@dataclass(frozen=True)
class _Job:
    """One slide with one encoder."""

    h5ad: Path
    truth: Path
    slide: str
    encoder: str
    embedding: str


@dataclass(frozen=True)
class _SlideResult:
    """The rows that a slide adds to each table of `Evaluation`."""

    slide: dict[str, Any]
    runs: list[dict[str, Any]]
    clicks: list[dict[str, Any]]
    pixels: list[dict[str, Any]]


def pair_up(files: Sequence[Path], truths: Sequence[Path]) -> list[Pair]:
    """Return each embedded slide with its truth.

    Parameters
    ----------
    files : sequence of Path
    truths : sequence of Path
        One for each file, in the same order; or one folder that holds the truth of all.

    Raises
    ------
    EvaluationError
        When it is neither.
    """
    if len(truths) == 1 and truths[0].is_dir():
        return [(file, truths[0]) for file in files]
    if len(truths) != len(files):
        raise EvaluationError(
            f"there are {len(files)} slides and {len(truths)} truths; give one truth for each slide, in the "
            "same order, or the one folder that holds them all"
        )
    return list(zip(files, truths, strict=True))


def _jobs(pairs: Sequence[Pair], wanted: Sequence[str]) -> tuple[list[_Job], list[Failure]]:
    jobs: list[_Job] = []
    failures: list[Failure] = []
    for h5ad, truth in pairs:
        try:
            slide, encoders = slide_and_encoders(h5ad)
        except SlideFileError as error:
            failures.append(Failure(h5ad.name, str(error)))
            continue
        chosen = [name for each in wanted for name in (encoders if each == ALL else [each])]
        for embedding in dict.fromkeys(chosen):
            if embedding not in encoders:
                there = ", ".join(encoders)
                told = f"{h5ad.name}: has no embedding {embedding!r}; there is {there}"
                failures.append(Failure(h5ad.name, told))
                continue
            job = _Job(h5ad, truth, slide, encoders[embedding], embedding)
            twin = next((each for each in jobs if (each.slide, each.encoder) == (slide, job.encoder)), None)
            if twin:
                raise EvaluationError(
                    f"{twin.h5ad} and {h5ad} are the same slide ({slide}) with the same encoder "
                    f"({job.encoder}); give one of the two"
                )
            jobs.append(job)
    return jobs, failures


def slide_and_encoders(h5ad: Path) -> tuple[str, dict[str, str]]:
    """Return the name of an h5ad's slide, and what each of its embeddings goes by as an encoder.

    They are what the embedder recorded; else the file's name, and for ``X`` what the features' names begin
    with. Other embeddings go by their own names.

    Raises
    ------
    SlideFileError
        When there is no such file, or it cannot be read.
    """
    listed = embeddings(h5ad)
    main = listed[0].encoder or "unknown"
    # Of two that go by one name, put there by hand, the second is called as in the file.
    others = {each.name: f"X_{each.name}" if each.name == main else each.name for each in listed[1:]}
    return read_provenance(h5ad).slide.name or h5ad.stem, {MAIN: main} | others


def _run(jobs: Sequence[_Job], design: Design, workers: int) -> Iterator[_SlideResult | Failure]:
    """Yield each job's result, in the order of the jobs; tell progress on stderr."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        # What is told of a slide must not stand on the bar's line.
        logging_redirect_tqdm(),
        tqdm(total=len(jobs), unit=" slides", desc="evaluating", dynamic_ncols=True) as progress,
    ):
        if workers <= 1:
            for job in jobs:
                yield _try_job(job, design)
                progress.update()
            return
        # New processes rather than forked ones: HDF5, OpenMP and libvips do not survive a fork.
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            futures = [pool.submit(_try_job, job, design) for job in jobs]
            waiting = set(futures)
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                progress.update(len(finished))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    for job, future in zip(jobs, futures, strict=True):
        yield _result(job, future)


def _result(job: _Job, future: Future[_SlideResult | Failure]) -> _SlideResult | Failure:
    try:
        return future.result()
    except BrokenProcessPool:
        return Failure(
            job.h5ad.name,
            f"{job.h5ad.name}: a process was ended from outside, usually for want of memory; "
            "run again with fewer workers",
        )


def _try_job(job: _Job, design: Design) -> _SlideResult | Failure:
    """Evaluate one slide; whatever goes wrong becomes a failure of this slide alone."""
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1):
            return _evaluate_slide(job, design)
    except (EvaluationError, SlideFileError, TruthError) as error:
        return Failure(job.h5ad.name, str(error))
    except Exception as error:  # noqa: BLE001 -- no slide may end the others' run, for no reason at all
        return Failure(job.h5ad.name, f"{job.h5ad.name}: {type(error).__name__}: {error}")


def _evaluate_slide(job: _Job, design: Design) -> _SlideResult:
    slide = open_slide_file(job.h5ad, job.embedding)
    path = find_truth(job.truth, [job.slide, job.h5ad.stem]) if job.truth.is_dir() else job.truth
    squares = patch_squares(slide, slide_size=design.slide_size)
    raster = open_truth(path, squares, design.classes)
    truth = measure_truth(raster, squares, design.classes)
    _check_truth(path, truth)
    finer = _sample(slide, raster, design) if design.pixels else None
    counted = truth.labels != UNCOUNTED
    shares = np.bincount(truth.labels[counted], minlength=len(truth.names)) / counted.sum()
    key = {"slide": job.slide, "encoder": job.encoder}
    row = key | {
        "file": job.h5ad.name,
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
            grid = Grid.of(slide)
            # A point a cell: there are hundreds of clicks.
            coarse = _sample(slide, raster, design, most_along=1) if design.pixels else None
            follow = partial(_follow_ways, slide, coarse)
            clicks += [named | row for row in _click_runs(engine, truth, grid, job.slide, design, follow)]
    return _SlideResult(row, runs, clicks, pixels)


def _sample(slide: EmbeddedSlide, raster: TruthRaster, design: Design, **how: int) -> PixelTruth | None:
    """Return the truth at points; None, with a word, where the patches lie on no grid."""
    try:
        cells = open_cells(slide)
    except SlideFileError as error:
        log.warning("%s; its pixels are not compared", error)
        return None
    mpp = read_provenance(slide.path).slide.mpp
    return sample_truth(raster, cells, len(design.classes.names), mpp, **how)


def _measure_ways(
    slide: EmbeddedSlide, finer: PixelTruth, fitted: SeededIterativeClustering, y: Labels
) -> Iterator[dict[str, Any]]:
    ways = label_ways(finer, fitted.scores_, fitted.labels_, y, slide.prepared.places)
    for way, found in ways.items():
        yield {"way": way, **measure_pixels(finer, found)}


def _follow_ways(
    slide: EmbeddedSlide, finer: PixelTruth | None, fitted: SeededIterativeClustering, y: Labels
) -> dict[str, float]:
    if finer is None:
        return {}
    ways = label_ways(finer, fitted.scores_, fitted.labels_, y, slide.prepared.places)
    return {
        f"pixel_f1_{way}": measure_pixels(finer, found, borders=False)["pixel_f1"]
        for way, found in ways.items()
    }


def _check_truth(path: Path, truth: Truth) -> None:
    for number, name in enumerate(truth.names):
        if not (truth.labels == number).any():
            found = ", ".join(truth.found) or "none"
            raise EvaluationError(
                f"{path.name}: no patch is {name}; its values are {found}. Name others (--positive, "
                "--class), or leave the slide out"
            )


def _engine(slide: EmbeddedSlide, method: str, random_state: int) -> Engine:
    """Return what fits a slide from seeds, shape (n_patches,)."""

    def fit(y: Labels) -> SeededIterativeClustering:
        return SeededIterativeClustering(method=method, random_state=random_state).fit(slide.prepared, y)

    return fit


def generator(random_state: int, *names: str | int) -> np.random.Generator:
    """Return a random generator that depends on its arguments alone, on any machine and in any process."""
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
    engine: Engine, truth: Truth, grid: Grid, slide: str, design: Design, follow: Follower
) -> Iterator[dict[str, Any]]:
    for repeat in range(design.repeats):
        first = draw_seeds(truth.labels, 1, generator(design.random_state, slide, 1, repeat))
        for strategy in design.strategies:
            rng = generator(design.random_state, slide, "annotator", repeat)
            told: dict[str, Any] = {"strategy": strategy, "repeat": repeat}
            curve = simulate(
                engine, truth, grid, first, strategy=strategy, clicks=design.clicks, rng=rng, follow=follow
            )
            for clicks, figures in enumerate(curve, start=len(truth.names)):
                yield told | {"clicks": clicks} | figures
