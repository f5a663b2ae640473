"""An evaluation as files: its tables, its parameters with the versions, and its figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from tissuumaps_sic.evaluation.results import Evaluation
from tissuumaps_sic.evaluation.simulation import EvaluationError
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import replacing


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write an evaluation's tables, parameters and figures into a folder.

    Parameters
    ----------
    evaluation : Evaluation
    folder : Path
        Made where there is none; files of an earlier evaluation are replaced.

    Returns
    -------
    list of Path
        ``evaluation.csv``, ``evaluation.json``, ``f1_by_seeds.png``; ``pixels.csv`` where pixels were
        compared; and with a simulated annotator ``clicks.csv``, ``f1_by_clicks.png``.

    Raises
    ------
    EvaluationError
        When no slide could be evaluated.
    OSError
        When the folder cannot be written.
    """
    from tissuumaps_sic.evaluation.figures import f1_by_clicks, f1_by_seeds

    if evaluation.runs.empty:
        raise EvaluationError(
            "no slide could be evaluated, so there is nothing to write; mend what is told of each"
        )
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, Callable[[Path], Any]] = {
        "evaluation.csv": partial(_as_texts(evaluation.runs).to_csv, index=False),
        "evaluation.json": lambda path: path.write_text(json.dumps(report(evaluation), indent=2) + "\n"),
        "f1_by_seeds.png": f1_by_seeds(
            evaluation.per_slide(), repeats=evaluation.design.repeats, pixels=evaluation.pixels_summary()
        ).savefig,
    }
    if not evaluation.pixels.empty:
        writers["pixels.csv"] = partial(_as_texts(evaluation.pixels).to_csv, index=False)
    if not evaluation.clicks.empty:
        writers |= {
            "clicks.csv": partial(_as_texts(evaluation.clicks).to_csv, index=False),
            "f1_by_clicks.png": f1_by_clicks(evaluation.clicks).savefig,
        }
    for name, write in writers.items():
        with replacing(folder / name) as temporary:
            write(temporary)
    return [folder / name for name in writers]


def _as_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet computes."""
    return table.rename(columns=as_text).map(lambda cell: as_text(cell) if isinstance(cell, str) else cell)


def report(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation's parameters, versions, slides, summaries and failures, ready for JSON.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    dict of str to value
    """
    plan = evaluation.design
    others = plan.classes.others
    done = not evaluation.runs.empty
    clicked = not evaluation.clicks.empty
    return {
        "schema": "tissuumaps-sic/evaluation/1",
        "parameters": {
            "classes": [
                {
                    "name": name,
                    "values": [value for value, of in plan.classes.values.items() if of == number]
                    + ["*"] * (others == number),
                }
                for number, name in enumerate(plan.classes.names)
            ],
            "embeddings": list(plan.embeddings),
            "methods": list(plan.methods),
            "seeds_per_class": list(plan.seeds_per_class),
            "repeats": plan.repeats,
            "clicks": plan.clicks,
            "strategies": list(plan.strategies) if plan.clicks else [],
            "random_state": plan.random_state,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("tissuumaps-sic", "numpy", "scipy", "scikit-learn")},
        },
        "slides": _records(evaluation.slides),
        "summary": _records(evaluation.summary()) if done else [],
        "pixels_summary": _records(evaluation.pixels_summary()),
        "clicks_summary": _records(evaluation.clicks_summary()) if clicked else [],
        "failures": [{"file": failure.file, "message": failure.message} for failure in evaluation.failures],
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows; what is missing is null, which JSON has, and not NaN, which it has not."""
    rows: Iterable[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(key): value for key, value in row.items()} for row in rows]
