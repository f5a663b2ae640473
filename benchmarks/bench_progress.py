"""How soon a long run can be stopped, and what it costs that it can.

A run is stopped where it next tells how far it is, so the longest silence between two tellings is the longest
that a person waits after Stop. What the tellings cost is the time of as many calls as there are.

    .venv/bin/python benchmarks/bench_progress.py [--patches 1000000] [--features 256]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.progress import Stretch
from tissuumaps_sic.viewer.jobs import _Job


class Listener:
    """Notes when it is told what."""

    def __init__(self) -> None:
        self.told = [(time.perf_counter(), "before the first telling")]

    def __call__(self, stage: str, _share: float) -> None:
        """Be told."""
        self.told.append((time.perf_counter(), stage))

    def report(self, what: str) -> None:
        """Print the longest silences, each with the stage that it ended in."""
        times = np.array([each for each, _ in self.told])
        silences = np.diff(times)
        longest = [f"{silences[at]:.2f} s ({self.told[at + 1][1]})" for at in np.argsort(-silences)[:3]]
        print(f"{what}: {times[-1] - times[0]:.1f} s, {len(silences)} tellings; longest silences", *longest)


def made(n_patches: int, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return embeddings of four kinds of patches on a grid, their places, and ten seeds of two classes."""
    rng = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(n_patches)))
    x, y = np.arange(n_patches) % columns, np.arange(n_patches) // columns
    kind = (x > columns / 2) * 2 + (y > columns / 2)
    X = np.empty((n_patches, n_features), dtype=np.float32)
    means = 0.3 * rng.normal(size=(4, n_features)).astype(np.float32)
    for start in range(0, n_patches, 65536):
        block = kind[start : start + 65536]
        X[start : start + 65536] = (
            rng.standard_normal((len(block), n_features), dtype=np.float32) + means[block]
        )
    seeds = np.full(n_patches, -1)
    for label in (0, 1):
        seeds[rng.choice(np.flatnonzero(kind % 2 == label), 10, replace=False)] = label
    return X, np.column_stack([x, y]) * 256.0, seeds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=256)
    options = parser.parse_args()
    X, coords, seeds = made(options.patches, options.features)
    print(f"{options.patches} x {options.features} float32")
    listener = Listener()
    prepared = Prepared(X, coords, stretch=Stretch(listener, stage="Reading the embeddings"))
    listener.report("reading")
    estimators = []
    for what, method in (("first refine", "refine"), ("next refine", "refine"), ("sic", "sic")):
        listener = Listener()
        estimators.append(SeededIterativeClustering(method=method).fit(prepared, seeds, progress=listener))
        listener.report(what)
    listener = Listener()
    estimators[1].flips(3, progress=listener)
    listener.report("flips(3)")
    listener = Listener()
    estimators[1].suggest(5, progress=listener)
    listener.report("suggest(5)")
    tell = Stretch.whole(_Job().tell).part(0.1, 0.9, "Telling").part(0.2, 0.8).tell
    started = time.perf_counter()
    for _ in range(100_000):
        tell(0.5)
    print(f"a telling: {(time.perf_counter() - started) * 10:.1f} µs")


if __name__ == "__main__":
    main()
