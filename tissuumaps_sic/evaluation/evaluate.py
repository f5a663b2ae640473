"""How well a few seeds label a slide: the paper's experiment, and a simulated annotator, on one's own slides.

Both start from seeds that are drawn inside each class of a ground truth, and compare the labels of all other
patches with that truth. What is drawn depends on the slide, the number of seeds, the repeat and the random
state alone: encoders, methods and strategies get the same draws, and so do one worker and many.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tissuumaps_sic.evaluation.jobs import Pair, find_jobs
from tissuumaps_sic.evaluation.results import Design, Evaluation, Failure
from tissuumaps_sic.evaluation.simulation import STRATEGIES, EvaluationError
from tissuumaps_sic.evaluation.slide_runs import Evaluator, SlideResult
from tissuumaps_sic.labelling.methods import METHODS
from tissuumaps_sic.slidefile.batch import work_through
from tissuumaps_sic.slidefile.machines.spread import Machines
from tissuumaps_sic.slidefile.made import MadeFiles
from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.truth.classes import TruthClasses


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
    machines: Machines | None = None,
    made: MadeFiles | None = None,
    folder: Path = Path(),
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
        Which embeddings of each file, as `open_slide_file` names them; `jobs.ALL` among them stands for
        all that a file holds. Each counts as an encoder: that of ``X`` by its encoder's name, others by their
        own.
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
    machines : Machines, optional
        Who does the work, in place of `workers`.
    made : MadeFiles, optional
        What was evaluated before, by the same design; what is evaluated now is noted slide by slide.
    folder : Path
        Where jobs of SLURM leave their logs.

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
    jobs, failures = find_jobs(pairs, design.embeddings)
    machines = Machines(workers) if machines is None else machines
    outcomes = list(
        work_through(jobs, Evaluator(design), folder=folder, machines=machines, made=made, title="evaluating")
    )
    done = [SlideResult(**each.report) for each in outcomes if each.report]
    failures += [Failure(each.item.path.name, each.message) for each in outcomes if each.message]
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
            raise EvaluationError(f"{wrong[0]!r} is not a {word}; give one of {', '.join(known)}")
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
            f"clicks: {design.clicks} is too few to seed {n_classes} classes; give {n_classes} or more, or "
            "0 for no simulated annotator"
        )
    if design.clicks and not design.strategies:
        raise EvaluationError(f"no strategy is given; give one of {', '.join(STRATEGIES)}, or 0 clicks")
