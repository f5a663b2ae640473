"""How long a click takes with the refined method, and what a slide costs once.

python benchmarks/bench_refine.py [--n PATCHES] [--d FEATURES]
"""

import argparse
import time
import tracemalloc

import numpy as np

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared


def slide(n: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make float32 embeddings on a grid of patches, in blotches of six tissues, and the tissues."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(n)))
    x, y = (each.ravel()[:n] for each in np.meshgrid(np.arange(side), np.arange(side)))
    centres = rng.uniform(0, side, (60, 2))
    nearest = np.argmin([(x - a) ** 2 + (y - b) ** 2 for a, b in centres], axis=0)
    tissue = nearest % 6
    means = rng.normal(size=(6, d)).astype(np.float32)
    X = rng.normal(size=(n, d), scale=2.0).astype(np.float32)
    X += means[tissue]
    np.maximum(X, 0, out=X)
    return X, np.column_stack([x, y]) * 128.0, tissue


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="patches")
    parser.add_argument("--d", type=int, default=1280, help="features of a patch")
    arguments = parser.parse_args()
    X, coords, tissue = slide(arguments.n, arguments.d)
    vector = np.ones(arguments.d, dtype=np.float32)
    started = time.perf_counter()
    for _ in range(5):
        X @ vector
    one_pass = (time.perf_counter() - started) / 5
    print(f"{arguments.n} patches x {arguments.d}; one pass over X {one_pass * 1e3:.0f} ms")
    tracemalloc.start()
    started = time.perf_counter()
    prepared = Prepared(X, coords)
    estimator = SeededIterativeClustering(method="refine")
    rng = np.random.default_rng(1)
    for per_class in (1, 3, 10, 20, 100, 500):
        y = np.full(len(X), -1)
        for label in (0, 1):
            y[rng.choice(np.flatnonzero((tissue == 0) == label), per_class, replace=False)] = label
        if per_class == 1:
            estimator.fit(prepared, y)
            seconds = time.perf_counter() - started
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            print(f"first run, with what a slide needs once: {seconds:.1f} s, {peak / X.nbytes:.0%} of X")
        times = []
        for _ in range(3):
            started = time.perf_counter()
            estimator.fit(prepared, y)
            times.append(time.perf_counter() - started)
        seconds = float(np.median(times))
        right = (estimator.labels_ == (tissue == 0)).mean()
        started = time.perf_counter()
        estimator.suggest(5)
        suggesting = time.perf_counter() - started
        started = time.perf_counter()
        estimator.flips()
        flipping = time.perf_counter() - started
        print(
            f"{2 * per_class:5} seeds: {seconds:.3f} s, {seconds / one_pass:.1f} passes, {right:.1%} right; "
            f"suggest(5) {suggesting:.2f} s, flips() {flipping:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
