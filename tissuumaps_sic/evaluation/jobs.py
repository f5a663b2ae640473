"""Slides with their truth and their encoders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tissuumaps_sic.evaluation.results import Failure
from tissuumaps_sic.evaluation.simulation import EvaluationError
from tissuumaps_sic.slidefile.batch import BatchItem, make_absolute
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.provenance import MAIN, read_provenance
from tissuumaps_sic.slidefile.spelling import say_count
from tissuumaps_sic.slides.slide import embeddings
from tissuumaps_sic.truth.classes import TruthError
from tissuumaps_sic.truth.truth import find_truth

Pair = tuple[Path, Path]

# Among names of embeddings: every one that the file holds.
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Job(BatchItem):
    """One slide with one encoder; `path` is the h5ad.

    Attributes
    ----------
    truth : Path
        Its truth, or the folder that holds it.
    slide, encoder, embedding : str
        Their names.
    """

    truth: Path
    slide: str
    encoder: str
    embedding: str

    @classmethod
    def of(cls, h5ad: Path, truth: Path, slide: str, encoder: str, embedding: str) -> Job:
        """Return the job of a slide; `truth` is a file, or the folder that holds it.

        Parameters
        ----------
        h5ad : Path
        truth : Path
        slide : str
        encoder : str
        embedding : str

        Returns
        -------
        Job
        """
        found = truth
        if truth.is_dir():
            # That there is none is told when the job is done, of this slide alone.
            with suppress(TruthError):
                found = find_truth(truth, [slide, h5ad.stem])
        part = f"{encoder} {embedding}"
        return cls(
            path=h5ad, inputs=(h5ad, found), part=part,
            truth=truth, slide=slide, encoder=encoder, embedding=embedding,
        )  # fmt: skip

    def make_absolute(self) -> Self:
        """Return the job with paths that mean the same in every folder.

        Returns
        -------
        Self
        """
        return replace(super().make_absolute(), truth=make_absolute(self.truth))


def pair_up(files: Sequence[Path], truths: Sequence[Path]) -> list[Pair]:
    """Return each embedded slide with its truth.

    Parameters
    ----------
    files : sequence of Path
    truths : sequence of Path
        One for each file, in the same order; or one folder that holds the truth of all.

    Returns
    -------
    list of Pair

    Raises
    ------
    EvaluationError
        When it is neither.
    """
    if len(truths) == 1 and truths[0].is_dir():
        return [(file, truths[0]) for file in files]
    if len(truths) != len(files):
        raise EvaluationError(
            f"there are {say_count(len(files), 'slide')} and {say_count(len(truths), 'truth')}; give one "
            "truth for each slide, in the same order, or the one folder that holds them all"
        )
    return list(zip(files, truths, strict=True))


def find_jobs(pairs: Sequence[Pair], wanted: Sequence[str]) -> tuple[list[Job], list[Failure]]:
    """Return a job for each slide and each of its embeddings that is wanted, and what cannot be one.

    Parameters
    ----------
    pairs : sequence of (h5ad, truth)
    wanted : sequence of str
        Names of embeddings; `ALL` is every one of a file.

    Returns
    -------
    jobs : list of Job
    failures : list of Failure

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
                told = f"{h5ad.name}: has no embedding {embedding!r}; choose one of {there}"
                failures.append(Failure(h5ad.name, told))
                continue
            job = Job.of(h5ad, truth, slide, encoders[embedding], embedding)
            twin = next((each for each in jobs if (each.slide, each.encoder) == (slide, job.encoder)), None)
            if twin:
                raise EvaluationError(
                    f"{twin.path} and {h5ad} are the same slide ({slide}) with the same encoder "
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
