"""Slides with their truth and their encoders, and how many are worked through at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tissuumaps_sic.evaluation.results import Failure
from tissuumaps_sic.evaluation.simulation import EvaluationError
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.pool import map_in_processes
from tissuumaps_sic.slidefile.provenance import MAIN, read_provenance
from tissuumaps_sic.slides.slide import embeddings

Pair = tuple[Path, Path]
Result = TypeVar("Result")

# Among names of embeddings: every one that the file holds.
ALL = "all"


@dataclass(frozen=True)
class Job:
    """One slide with one encoder."""

    h5ad: Path
    truth: Path
    slide: str
    encoder: str
    embedding: str


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


def find_jobs(pairs: Sequence[Pair], wanted: Sequence[str]) -> tuple[list[Job], list[Failure]]:
    """Return a job for each slide and each of its embeddings that is wanted, and what cannot be one.

    Raises
    ------
    EvaluationError
        When a slide comes twice with the same encoder.
    """
    jobs: list[Job] = []
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
            job = Job(h5ad, truth, slide, encoders[embedding], embedding)
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


def run_jobs(
    jobs: Sequence[Job], work: Callable[[Job], Result | Failure], workers: int
) -> Iterator[Result | Failure]:
    """Yield what `work` returns of each job, in the order of the jobs; tell progress on stderr.

    With more than one worker, `work` goes to other processes and must be what pickle can take there.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        # What is told of a slide must not stand on the bar's line.
        logging_redirect_tqdm(),
        tqdm(total=len(jobs), unit=" slides", desc="evaluating", dynamic_ncols=True) as progress,
    ):
        results: dict[int, Result | Failure] = {}
        n_told = 0
        for place, result in map_in_processes(work, jobs, workers):
            progress.update()
            results[place] = _tell_ended(jobs[place]) if result is None else result
            while n_told in results:
                yield results.pop(n_told)
                n_told += 1


def _tell_ended(job: Job) -> Failure:
    return Failure(
        job.h5ad.name,
        f"{job.h5ad.name}: a process was ended from outside, usually for want of memory; "
        "run again with fewer workers",
    )
