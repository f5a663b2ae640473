"""The paper's experiment on slides of one's own, beside what the paper found: a table, and its Figure 2.

    make paper DATA=folder POSITIVE=1        # or: python benchmarks/paper.py FOLDER --positive 1

FOLDER holds the h5ad of each slide, and of each encoder in folders below it, with the truth of each slide:
``<slide>_mask.png``, ``<slide>.geojson`` and the like. As in the paper (its section 3.2) the published
algorithm labels each slide from 1, 3 and 5 patches of each class, drawn at random inside the truth, five
times over; the F1 of the best of the five stands for the seeds that an expert would choose. A patch is
positive when at least half of it is.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.evaluation.report import write_report
from tissuumaps_sic.evaluation.results import Evaluation
from tissuumaps_sic.evaluation.simulation import EvaluationError
from tissuumaps_sic.slidefile.pool import count_processors
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.truth.classes import TruthClasses, TruthError

SEEDS = (1, 3, 5)
REPEATS = 5
# What stands for the best of all numbers of seeds.
ANY = "any"


class Published(NamedTuple):
    """The F1 of an encoder in section 3.3: mean and standard deviation over the images."""

    mean: float
    sd: float


PUBLISHED = {
    "ResNet-18, ImageNet": Published(0.57, 0.22),
    "ResNet-50, ImageNet": Published(0.54, 0.21),
    "ResNet-18, SimCLR on the same data": Published(0.74, 0.23),
    "ResNet-18, HistoSSL": Published(0.68, 0.22),
}
OF_THE_PAPER = (
    "The paper's slides are other ones (250 images of DigestPath), and it does not say of how many seeds its "
    "figures are: they stand under no column."
)
# Darker with more seeds, of Okabe and Ito's blue; the published figures in grey.
_BLUES = ("#9ecae9", "#4a9bd1", "#0072b2")
_GREY = "0.45"


def run_protocol(
    files: Sequence[Path],
    truth: Path,
    positive: str,
    *,
    embeddings: Sequence[str] = ("X",),
    methods: Sequence[str] = ("sic",),
    random_state: int = 0,
    workers: int = 1,
) -> Evaluation:
    """Label slides as the paper does; parameters and errors are those of `evaluate`.

    `truth` is the folder that holds the truth of every slide, `positive` the values of its cancer.
    """
    return evaluate(
        [(file, truth) for file in files],
        classes=TruthClasses.binary(positive),
        embeddings=embeddings,
        methods=methods,
        seeds_per_class=SEEDS,
        repeats=REPEATS,
        clicks=0,
        pixels=False,
        workers=workers,
        random_state=random_state,
    )


def best_runs(evaluation: Evaluation) -> pd.DataFrame:
    """Return the F1 of the best draw of each slide: columns slide, series, n_seeds (or `ANY`), best_f1."""
    best = evaluation.per_slide()
    several = len(evaluation.design.methods) > 1
    best["series"] = best["encoder"] + (", " + best["method"] if several else "")
    best["n_seeds"] = best["n_seeds"].astype(object)
    of_all = best.groupby(["slide", "series"], sort=False)["best_f1"].max().reset_index()
    columns = ["slide", "series", "n_seeds", "best_f1"]
    return pd.concat([best[columns], of_all.assign(n_seeds=ANY)[columns]], ignore_index=True)


def make_table(best: pd.DataFrame) -> str:
    """Return mean ± standard deviation over the slides, by encoder and number of seeds, and the published."""
    columns = [*SEEDS, ANY]
    lines = [["seeds per class", "slides", *map(str, columns)]]
    for name, rows in best.groupby("series", sort=False):
        by_seeds = rows.groupby("n_seeds")["best_f1"]
        told = [_tell(by_seeds.mean()[number], by_seeds.std()[number]) for number in columns]
        lines.append([str(name), str(rows["slide"].nunique()), *told])
    lines += [[f"paper: {name}", "250", _tell(*of)] for name, of in PUBLISHED.items()]
    widths = [max(len(line[place]) for line in lines if place < len(line)) for place in range(len(lines[0]))]
    rows = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*rows, "", OF_THE_PAPER])


def _tell(mean: float, sd: float) -> str:
    # Of a single slide there is no deviation.
    return f"{mean:.2f}" if pd.isna(sd) else f"{mean:.2f} ± {sd:.2f}"


def draw_figure(best: pd.DataFrame) -> Figure:
    """Draw the F1 of every slide by encoder and number of seeds, and beside them what the paper tells."""
    names = list(dict.fromkeys(best["series"]))
    width = 0.26
    count = len(names) + len(PUBLISHED)
    figure = Figure(figsize=(2.6 + 1.25 * count, 4.6), dpi=160, layout="constrained")
    panel = figure.subplots()
    for place, name in enumerate(names):
        for turn, number in enumerate(SEEDS):
            rows = best[(best["series"] == name) & (best["n_seeds"] == number)]
            _box(panel, place + (turn - 1) * width, rows["best_f1"].tolist(), width * 0.85, _BLUES[turn])
    for turn, number in enumerate(SEEDS):
        label = f"{number} seed{'s' * (number > 1)} per class"
        panel.plot([], [], "s", markersize=9, color=_BLUES[turn], label=label)
    for place, of in enumerate(PUBLISHED.values(), start=len(names)):
        panel.errorbar(place, of.mean, of.sd, fmt="D", color=_GREY, capsize=5, markersize=7)
    panel.errorbar([], [], [], fmt="D", color=_GREY, capsize=5, label="the paper, mean and SD")
    panel.axvline(len(names) - 0.5, color="0.8", linewidth=0.8)
    labels = [each.replace(", ", ",\n", 1).replace(" on ", "\non ") for each in (*names, *PUBLISHED)]
    panel.set_xticks(range(count), labels, fontsize=8.5)
    panel.set_xlim(-0.6, count - 0.4)
    panel.set_ylim(0, 1)
    panel.set_ylabel(f"F1 of the best of {REPEATS} draws")
    panel.grid(axis="y", color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    slides = best["slide"].nunique()
    note = f"a dot is a slide ({slides} in all); a box spans their middle half, its line is the median"
    legend = figure.legend(
        loc="outside lower center", ncols=4, frameon=False, fontsize=9, title=note, title_fontsize=9
    )
    legend.get_title().set_color("0.35")
    return figure


def _box(panel: Axes, place: float, values: Sequence[float], width: float, color: str) -> None:
    panel.boxplot(
        values,
        positions=[place],
        widths=width,
        whis=(0, 100),
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": color, "alpha": 0.4, "edgecolor": color},
        whiskerprops={"color": color},
        medianprops={"color": color, "linewidth": 2.5},
    )
    # Side by side and not at random: the same figure every time.
    step = width / 2 / max(1, len(values) - 1)
    places = [place + (turn - (len(values) - 1) / 2) * step for turn in range(len(values))]
    panel.plot(places, values, "o", color=color, markersize=4.5, markeredgecolor="white", markeredgewidth=0.5)


def find_files(folder: Path) -> list[Path]:
    """Return the h5ad files in a folder and those below it."""
    return sorted(folder.rglob("*.h5ad"))


def write_figure(figure: Figure, folder: Path) -> list[Path]:
    """Write a figure as ``figure_2.png`` and ``figure_2.svg``."""
    written = []
    for kind in ("png", "svg"):
        path = folder / f"figure_2.{kind}"
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind)
        written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; 1 where slides failed, 2 where nothing can be done as asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="h5ad files, and their truth")
    parser.add_argument("--truth", type=Path, metavar="DIR", help="where the truth lies, if elsewhere")
    parser.add_argument("--positive", required=True, metavar="VALUE[,VALUE]", help="what is cancer in it")
    parser.add_argument(
        "--embedding", nargs="+", default=["X"], metavar="NAME", help="of each file, or all (default: X)"
    )
    parser.add_argument(
        "--methods", default="sic", help="sic is the paper's (default); sic,refine for ours beside it"
    )
    parser.add_argument("--random-state", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--workers", type=int, default=count_processors(), metavar="N")
    parser.add_argument("-o", "--output", type=Path, default=Path("paper"), metavar="DIR")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    files = find_files(options.folder)
    if not files:
        parser.error(f"{options.folder}: holds no h5ad; embed the slides first (embedder embed)")
    try:
        evaluation = run_protocol(
            files,
            options.truth or options.folder,
            options.positive,
            embeddings=options.embedding,
            methods=options.methods.split(","),
            random_state=options.random_state,
            workers=options.workers,
        )
    except (EvaluationError, TruthError) as error:
        parser.error(str(error))
    for failure in evaluation.failures:
        print(f"{failure.file}: {failure.message}", file=sys.stderr)
    if evaluation.runs.empty:
        return 1
    best = best_runs(evaluation)
    print(make_table(best))
    written = write_report(evaluation, options.output)
    written += write_figure(draw_figure(best), options.output)
    print(f"{options.output}: {', '.join(path.name for path in written)}")
    return 1 if evaluation.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
