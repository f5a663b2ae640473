"""How often the intervals of `verify` hold the truth, and how wide they are, beside other forms of them.

Simulated slides of 1,500 to 15,000 patches, labelled by maps of ten kinds (`tests/making/maps.py`), each
with a sample of its own. Told are, of class 1, the share of intervals of F1 and of area that hold the truth
(in brackets that of the worst kind of map), and their mean width, areas as multiples of the true one. Also
what the check of a slide of 100,000 patches costs.

    .venv/bin/python benchmarks/bench_verify.py [--slides 2000] [--classes 2] [--answers 30 60]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from making.maps import KINDS, draw_mixture, measure

from tissuumaps_sic.verification.estimation import Tally, answers_to_halve, estimate, tally
from tissuumaps_sic.verification.sampling import order_patches, stratify

SHARES = (0.02, 0.1, 0.3)
DRAWS = 800


def find_normal(counts: Tally) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the intervals of F1 and area of class 1 by the delta method (Olofsson et al. 2014)."""
    n = np.maximum(counts.answers.sum(axis=1), 1)
    shares = counts.answers / n[:, None]
    true = float(counts.sizes @ shares[:, 1])
    is_mine = counts.labels == 1
    right = float((counts.sizes * is_mine) @ shares[:, 1])
    both = true + counts.sizes[is_mine].sum()
    f1 = 2 * right / max(both, 1e-9)
    spread = counts.sizes**2 * (1 - n / counts.sizes) / np.maximum(n - 1, 1)
    variance = shares[:, 1] * (1 - shares[:, 1])
    of_area = float(np.sqrt(spread @ variance))
    # What one patch more of class 1 changes F1 by, where it is labelled so and where it is not.
    slopes = np.where(is_mine, 2 - f1, -f1) / max(both, 1e-9)
    of_f1 = float(np.sqrt(spread @ (slopes**2 * variance)))
    return (f1 - 1.96 * of_f1, f1 + 1.96 * of_f1), (true - 1.96 * of_area, true + 1.96 * of_area)


def find_jeffreys(counts: Tally, randomness: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the same from a posterior by stratum with Jeffreys' prior, equal tails."""
    rng = np.random.default_rng(randomness)
    alpha = counts.answers + 0.5
    drawn = rng.standard_gamma(np.broadcast_to(alpha, (DRAWS, *alpha.shape)))
    rest = counts.sizes - counts.answers.sum(axis=1)
    numbers = drawn / drawn.sum(axis=2, keepdims=True) * rest[:, None] + counts.answers
    is_mine = counts.labels == 1
    true, right = numbers[:, :, 1].sum(axis=1), numbers[:, is_mine, 1].sum(axis=1)
    f1 = 2 * right / (true + counts.sizes[is_mine].sum())
    found = [tuple(np.quantile(each, [0.025, 0.975])) for each in (f1, true)]
    return found[0], found[1]


def find_ours(counts: Tally, randomness: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the same as `estimate` has it."""
    told = estimate(counts, draws=DRAWS, randomness=randomness)
    assert told.f1[1] is not None
    return (told.f1[1].low, told.f1[1].high), (told.area[1].low, told.area[1].high)


def simulate(share: float, n_classes: int, n_answers: int, n_slides: int) -> dict[str, Any]:
    """Return by form what each slide says: (n_slides, 4), F1 and area held, their widths."""
    rng = np.random.default_rng(round(1000 * share) + n_answers)
    told = defaultdict(list)
    for number, made in enumerate(draw_mixture(rng, n_slides, shares=(share,), n_classes=n_classes)):
        design = stratify(made.labels, made.scores)
        rows = order_patches(design, number, n_answers)
        areas = np.ones(len(made.labels))
        answers = made.truth[rows]
        counts = tally(
            design.strata, made.labels, areas, rows, answers, shares=design.shares, n_classes=n_classes
        )
        f1, sizes = measure(made, n_classes)
        forms = {
            "normal": find_normal(counts),
            "Jeffreys": find_jeffreys(counts, number),
            "verify": find_ours(counts, number),
        }
        for name, (of_f1, of_area) in forms.items():
            held = of_f1[0] <= f1[1] <= of_f1[1], of_area[0] <= sizes[1] <= of_area[1]
            told[name].append((*held, of_f1[1] - of_f1[0], (of_area[1] - of_area[0]) / sizes[1]))
    return {name: np.array(each, float) for name, each in told.items()}


def time_large() -> None:
    """Print what the check of a large slide costs a processor, in milliseconds."""
    rng = np.random.default_rng(0)
    n = 100_000
    truth = (rng.random(n) < 0.02).astype(np.uint8)
    labels = np.where(rng.random(n) < 0.02, 1 - truth, truth).astype(np.uint8)
    scores = np.where(labels == truth, 0.9, 0.6).astype(np.float32)
    least: dict[str, float] = {}

    def clock(name: str, call: Any) -> Any:
        started = time.process_time()
        found = call()
        least[name] = min(least.get(name, np.inf), 1000 * (time.process_time() - started))
        return found

    for _ in range(5):
        design = clock("draw", lambda: stratify(labels, scores))
        rows = clock("order", lambda design=design: order_patches(design, 1, 60))
        counts = clock(
            "count",
            lambda design=design, rows=rows: tally(
                design.strata, labels, np.ones(n), rows, truth[rows], shares=design.shares, n_classes=2
            ),
        )
        clock("estimate", lambda counts=counts: estimate(counts))
        clock("halve", lambda counts=counts: answers_to_halve(counts, 1))
    print("100,000 patches:", ", ".join(f"{name} {ms:.0f} ms" for name, ms in least.items()))


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slides", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--answers", type=int, nargs="+", default=[30, 60])
    options = parser.parse_args()
    time_large()
    print("| class 1 | answers | form | F1 held (least) | width | area held (least) | width |")
    for n_answers in options.answers:
        for share in SHARES:
            for name, told in simulate(share, options.classes, n_answers, options.slides).items():
                whole = told[: len(told) // len(KINDS) * len(KINDS)].reshape(-1, len(KINDS), 4)
                least = whole.mean(axis=0).min(axis=0)
                f1, area, f1_width, area_width = told.mean(axis=0)
                print(
                    f"| {share:.0%} | {n_answers} | {name} | {f1:.3f} ({least[0]:.2f}) | {f1_width:.2f} | "
                    f"{area:.3f} ({least[1]:.2f}) | {area_width:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
