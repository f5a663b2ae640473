"""How often labels are wrong where a second model differs, beside where they are least sure and anywhere.

Embeds the prostate fields (patches of 128 px) and the mosaics of ../shared/data into a folder that is kept,
draws seeds of each class, and looks at 20 patches of each kind, three strides apart. Prints means over the
draws: the share of them that is labelled wrong, and the F1 once all 20 are told their true class. Then the
time on a made-up slide of 100,000 patches.

    python benchmarks/bench_second_opinion.py --draws 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from bench_sharpen import FIELDS, MOSAICS, embed, f1, read_mask, true_labels

from tissuumaps_sic import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.slides.slide import open_slide_file

LOOKS, APART = 20, 3.0
SETS = (("fields, 128 px", FIELDS, 128), ("mosaics, 256 px", MOSAICS, 256))


def spread(order: np.ndarray, coords: np.ndarray, stride: float) -> np.ndarray:
    """Return the first patches of an order that lie apart."""
    chosen: list[int] = []
    for row in order:
        if all(np.abs(coords[row] - coords[other]).max() >= APART * stride for other in chosen):
            chosen.append(int(row))
        if len(chosen) == LOOKS:
            break
    return np.array(chosen, dtype=np.intp)


def choose_all(model, prepared: Prepared, y: np.ndarray, known: np.ndarray, rng) -> dict[str, np.ndarray]:
    """Return the patches that each way of looking looks at."""
    free = (y < 0) & known
    top = np.sort(model.scores_, axis=1)
    unsure = np.argsort(top[:, -1] - top[:, -2], kind="stable")
    places = prepared.places
    differing = model.second_opinion(LOOKS, candidates=known)
    rows = np.concatenate([each.patches for each in differing]) if differing else np.empty(0, np.intp)
    telling = model.suggest(3 * LOOKS)
    return {
        "second opinion": rows[:LOOKS],
        "least sure": spread(unsure[free[unsure]], places.coords, places.find_stride()),
        "suggested": telling[known[telling]][:LOOKS],
        "by chance": rng.choice(np.flatnonzero(free), min(LOOKS, int(free.sum())), replace=False),
    }


def compare(names: tuple[str, ...], patch_size: int, folder: Path, draws: int) -> None:
    """Print a table of one set of slides."""
    print(f"{'seeds a class':>14}  {'looked at':<15} {'wrong':>6} {'F1':>6}   (before {'F1)':>5}")
    for n_seeds in (3, 5, 10):
        wrong: dict[str, list[float]] = {}
        after: dict[str, list[float]] = {}
        before = []
        for name in names:
            slide = open_slide_file(embed(name, patch_size, folder))
            mask, step = read_mask(name)
            truth = true_labels(slide, 2 * float(slide.centres.min()), mask, step)
            if min((truth == label).sum() for label in (0, 1)) < 2 * n_seeds:
                continue
            prepared = Prepared(slide.X[:], slide.centres)
            for draw in range(draws):
                rng = np.random.default_rng(draw)
                y = np.full(len(truth), -1)
                for label in (0, 1):
                    y[rng.choice(np.flatnonzero(truth == label), n_seeds, replace=False)] = label
                model = SeededIterativeClustering(method="refine").fit(prepared, y)
                before.append(f1(truth, model.labels_))
                for kind, rows in choose_all(model, prepared, y, truth >= 0, rng).items():
                    told = y.copy()
                    told[rows] = truth[rows]
                    again = SeededIterativeClustering(method="refine").fit(prepared, told)
                    if rows.size:
                        wrong.setdefault(kind, []).append(float((model.labels_ != truth)[rows].mean()))
                    after.setdefault(kind, []).append(f1(truth, again.labels_))
        for kind in after:
            figures = f"{np.mean(wrong[kind]):6.3f} {np.mean(after[kind]):6.3f}"
            print(f"{n_seeds:>14}  {kind:<15} {figures}   ({np.mean(before):.3f})", flush=True)


def time_it(n: int = 100_000, n_features: int = 512) -> None:
    """Print how long the second opinion takes beside a run, on made-up embeddings."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(n)))
    coords = np.stack(np.divmod(np.arange(n), side), axis=1) * 128.0
    kinds = ((coords // 128 // 20).sum(axis=1) % 4).astype(int)
    X = (rng.normal(size=(4, n_features))[kinds] + rng.normal(size=(n, n_features)) * 2).astype(np.float16)
    y = np.full(n, -1)
    for label in range(4):
        y[rng.choice(np.flatnonzero(kinds == label), 10, replace=False)] = label
    prepared = Prepared(X, coords)
    SeededIterativeClustering(method="refine").fit(prepared, y)
    begun = time.perf_counter()
    model = SeededIterativeClustering(method="refine").fit(prepared, y)
    fitted = time.perf_counter()
    model.second_opinion(LOOKS)
    asked = time.perf_counter()
    model.judge_seeds()
    judged = time.perf_counter()
    print(
        f"{n} patches: a run {fitted - begun:.2f} s, the second opinion {asked - fitted:.2f} s more, "
        f"judging 40 seeds {judged - asked:.3f} s"
    )
    many = np.flatnonzero(rng.random(n) < 0.04)
    y[many] = kinds[many]
    begun = time.perf_counter()
    model = SeededIterativeClustering(method="refine").fit(prepared, y)
    fitted = time.perf_counter()
    model.judge_seeds()
    judged = time.perf_counter()
    model.second_opinion(LOOKS)
    asked = time.perf_counter()
    print(
        f"with {(y >= 0).sum()} seeds: a run {fitted - begun:.2f} s, "
        f"judging them {judged - fitted:.2f} s more, the second opinion {asked - judged:.2f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument(
        "--folder", type=Path, default=Path("bench-sharpen"), help="where h5ad files are kept"
    )
    options = parser.parse_args()
    for title, names, size in SETS:
        print(title)
        compare(names, size, options.folder, options.draws)
    time_it()
