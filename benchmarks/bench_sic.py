"""How fast a click is answered: seeded iterative clustering against the same with scikit-learn's KMeans.

    python benchmarks/bench_sic.py [--n PATCHES] [--d FEATURES]

Both label the same made-up slide in float32 in the same run. scikit-learn is given its best: rows already
scaled to unit length for its later fits, and float32 throughout. Labels are compared with those that it finds
in float64. Times are medians; one pass is the product of all embeddings with one vector. Memory is the most
that is held beyond the embeddings at any time, in a process of its own: by numpy (tracemalloc) and by the
system (private memory, sampled each millisecond).
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import f1_score
from sklearn.preprocessing import normalize

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.rows import Rows
from tissuumaps_sic.labelling.two_means import Part, two_means

SHARES = np.array([0.30, 0.22, 0.16, 0.12, 0.08, 0.06, 0.04, 0.02])
# The lumps of the tissue of interest: a sixth of the slide.
POSITIVE = (3, 6)


def embeddings(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Make float32 features that are never negative, in lumps that run into each other, and a truth."""
    rng = np.random.default_rng(0)
    lump = rng.choice(len(SHARES), n, p=SHARES)
    # A patch shows some of another tissue too; how much differs from patch to patch.
    other, mixed = rng.choice(len(SHARES), n, p=SHARES), rng.beta(1.0, 2.5, n)[:, None]
    means = rng.normal(size=(len(SHARES), 24))
    latent = (1 - mixed) * means[lump] + mixed * means[other] + 0.5 * rng.normal(size=(n, 24))
    weights = rng.normal(size=(24, d)).astype(np.float32) / np.sqrt(24)
    X = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, 4096):
        part = latent[start : start + 4096].astype(np.float32) @ weights
        part += 0.6 * rng.standard_normal(part.shape, dtype=np.float32)
        X[start : start + 4096] = np.maximum(part, 0)
    return X, np.isin(lump, POSITIVE).astype(np.int64)


def seeds(truth: np.ndarray, case: int) -> np.ndarray:
    """Seed five patches of each class."""
    rng = np.random.default_rng(case)
    y = np.full(len(truth), -1)
    for label in (0, 1):
        y[rng.choice(np.flatnonzero(truth == label), 5, replace=False)] = label
    return y


def with_sklearn(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Label rows of unit length by the published algorithm; return the iterations of each division too."""
    iterations = []

    def seeded(X: np.ndarray, y: np.ndarray) -> np.ndarray:
        means = np.stack([X[y == label].mean(axis=0) for label in (0, 1)])
        fitted = KMeans(2, init=means, n_init=1).fit(X)
        iterations.append(fitted.n_iter_)
        return fitted.labels_

    labels, best = seeded(X, y), 0.0
    while True:
        rows = np.flatnonzero(labels == 1)
        inside = y[rows]
        if 1 not in inside or len(rows) < 2:
            return labels, iterations
        if 0 in inside:
            part = seeded(X[rows], inside)
        else:
            fitted = KMeans(2, n_init=10, random_state=0).fit(X[rows])
            iterations.append(fitted.n_iter_)
            found = [(np.sum(inside[fitted.labels_ == k] == 1), np.sum(fitted.labels_ == k)) for k in (0, 1)]
            part = (fitted.labels_ == int(found[1] > found[0])).astype(int)
        candidate = np.zeros_like(labels)
        candidate[rows] = part
        score = f1_score(y[y >= 0], candidate[y >= 0], zero_division=0)
        if score <= best:
            return labels, iterations
        labels, best = candidate, score


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def private_bytes() -> int:
    """Return the process's resident memory that is not of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def peak(function: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a call holds at its peak, as numpy and as the system counts them."""
    highest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            highest[0] = max(highest[0], private_bytes())

    before = private_bytes()
    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    tracemalloc.start()
    function()
    numpy_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return numpy_peak, highest[0] - before


def measure_memory(path: Path) -> None:
    """Print, for a first fit of the matrix at `path` and for a k-means division of it, both peaks."""
    X, y = np.load(path), np.load(path.with_suffix(".seeds.npy"))
    # The products' own buffers are made once for a process, whatever the size of X; make them now.
    small = np.random.default_rng(0).random((4000, X.shape[1])).astype(X.dtype)
    two_means(Part.whole(Rows(small)), max_iter=3, tol=0, random_state=0)
    fit = peak(lambda: SeededIterativeClustering().fit(X, y))
    division = peak(lambda: two_means(Part.whole(Rows(X)), max_iter=300, tol=1e-4, random_state=0))
    print(*fit, *division)


def memory(X: np.ndarray, y: np.ndarray) -> list[float]:
    """Return `measure_memory`'s figures from a fresh process, as shares of X."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, X)
        np.save(path.with_suffix(".seeds.npy"), y)
        command = [sys.executable, __file__, "--memory-of", str(path)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(figure) / X.nbytes for figure in printed.split()]


def compare_fits(X: np.ndarray, truth: np.ndarray, one_pass: float) -> None:
    """Time and compare the whole algorithm."""
    print(f"\n{'fit':24}{'scikit-learn':>14}{'here':>10}{'passes':>9}{'faster':>9}   differing patches")
    unit, prepared = normalize(X), Prepared(X)
    for case in range(3):
        y = seeds(truth, case)
        start = time.perf_counter()
        labels32, iterations = with_sklearn(unit, y)
        theirs = time.perf_counter() - start
        ours = seconds(lambda y=y: SeededIterativeClustering().fit(prepared, y), 3)
        found = SeededIterativeClustering().fit(prepared, y).labels_
        labels64, _ = with_sklearn(normalize(X.astype(np.float64)), y)
        differing = f"{np.sum(found != labels64)} (float32 scikit-learn {np.sum(labels32 != labels64)})"
        row(f"later fit, seeds {case}", theirs, ours, one_pass, differing)
        print(f"{'':24}iterations {iterations}, {found.sum()} positive, F1 {f1_score(truth, found):.2f}")
        if case == 0:
            del unit
            start = time.perf_counter()
            with_sklearn(normalize(X), y)
            theirs = time.perf_counter() - start
            ours = seconds(lambda y=y: SeededIterativeClustering().fit(X, y), 3)
            row("first fit, seeds 0", theirs, ours, one_pass, "")
            unit = normalize(X)


def compare_divisions(X: np.ndarray, one_pass: float) -> None:
    """Time and compare conventional two-means of everything."""
    unit, rows = normalize(X), Rows(X)
    start = time.perf_counter()
    theirs_labels = KMeans(2, n_init=10, random_state=0).fit(unit).labels_
    theirs = time.perf_counter() - start
    del unit
    divide = lambda: two_means(Part.whole(rows), max_iter=300, tol=1e-4, random_state=0)  # noqa: E731
    ours = seconds(divide, 3)
    labels = divide().labels
    wide = KMeans(2, n_init=10, random_state=0).fit(normalize(X.astype(np.float64))).labels_
    differing = [min(np.sum(found != wide), np.sum(found == wide)) for found in (labels, theirs_labels)]
    row("k-means, 10 starts", theirs, ours, one_pass, f"{differing[0]} (float32 scikit-learn {differing[1]})")


def row(name: str, theirs: float, ours: float, one_pass: float, differing: str) -> None:
    """Print a line of the table."""
    print(
        f"{name:24}{theirs:12.2f} s{ours:8.3f} s{ours / one_pass:9.1f}{theirs / ours:8.1f}x   {differing}",
        flush=True,
    )


def main() -> int:
    """Time, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="patches")
    parser.add_argument("--d", type=int, default=1280, help="features of a patch")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        measure_memory(arguments.memory_of)
        return 0
    X, truth = embeddings(arguments.n, arguments.d)
    vector = np.random.default_rng(1).random(arguments.d, dtype=np.float32)
    one_pass = seconds(lambda: X @ vector, 15)
    print(f"{arguments.n} patches x {arguments.d}, float32, {X.nbytes / 2**20:.0f} MiB")
    print(
        f"one pass {one_pass * 1e3:.1f} ms; building Rows {seconds(lambda: Rows(X), 3) / one_pass:.1f} passes"
    )
    compare_fits(X, truth, one_pass)
    compare_divisions(X, one_pass)
    print(f"\n{'memory beyond X':24}{'numpy':>14}{'system':>10}")
    for dtype in (np.float32, np.float16):
        shares = memory(X.astype(dtype), seeds(truth, 0))
        print(f"{'first fit, ' + dtype.__name__:24}{shares[0]:14.1%}{shares[1]:10.1%}")
        print(f"{'k-means, ' + dtype.__name__:24}{shares[2]:14.1%}{shares[3]:10.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
