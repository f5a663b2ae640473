"""How long UMAP coordinates and colours take, how much memory, and how true they are.

    python benchmarks/bench_umap.py [--patches 100000] [--features 1280] [--umap]

The embeddings are synthetic (thirty clouds along curved sheets) and lie in a file that is mapped.
Trustworthiness (scikit-learn's, of 15 neighbours; 1 is best) is of 3,000 patches that UMAP was fitted on,
and of 3,000 that were placed among them. With --umap the same is done by UMAP's own search for neighbours
and its own `transform`.
"""

import argparse
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.manifold import trustworthiness

from embedder.embedding import umap


def write_embeddings(path: Path, n: int, features: int) -> np.ndarray:
    """Write clouds that are bent in many dimensions, block by block; return the map."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, features)).astype(np.float32)
    bends = rng.normal(size=(30, 6, features)).astype(np.float32)
    X = np.memmap(path, np.float32, "w+", shape=(n, features))
    for start in range(0, n, 10_000):
        rows = min(10_000, n - start)
        which = rng.integers(0, 30, rows)
        u = rng.uniform(-2, 2, (rows, 3)).astype(np.float32)
        curve = np.concatenate([u, np.sin(2 * u)], axis=1)
        X[start : start + rows] = (
            centres[which]
            + 0.3 * np.einsum("ij,ijk->ik", curve, bends[which])
            + 0.2 * rng.normal(size=(rows, features)).astype(np.float32)
        )
    X.flush()
    return np.memmap(path, np.float32, "r", shape=(n, features))


def by_umap(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay out as `umap.fit_umap` does, with UMAP's own search and transform."""
    import umap
    from umap.umap_ import nearest_neighbors

    chosen = np.sort(np.random.default_rng(0).choice(len(X), min(len(X), 20_000), replace=False))
    others = np.setdiff1d(np.arange(len(X)), chosen)
    mean, axes = umap._principal_axes(X, chosen)
    components = np.concatenate(
        [(umap._unit_rows(X[k : k + 8192]) - mean) @ axes for k in range(0, len(X), 8192)]
    )
    random = np.random.RandomState(0)
    known = nearest_neighbors(components[chosen], 15, "euclidean", {}, False, random, n_jobs=1)
    layouts = []
    for dimensions in (2, 3):
        model = umap.UMAP(n_components=dimensions, random_state=0, precomputed_knn=known)
        layout = np.empty((len(X), dimensions), np.float32)
        layout[chosen] = model.fit_transform(components[chosen])
        if len(others):
            layout[others] = model.transform(components[others])
        layouts.append(layout)
    return layouts[0], layouts[1]


def truth(X: np.ndarray, layout: np.ndarray, rows: np.ndarray) -> float:
    """Return the trustworthiness of some rows."""
    return float(trustworthiness(umap._unit_rows(X[rows]), layout[rows], n_neighbors=15))


def own_memory() -> int:
    """Return what this process has for itself, in KiB; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])
    except (OSError, IndexError):
        return 0


def main() -> int:
    """Time it and print."""
    warnings.filterwarnings("ignore", category=UserWarning)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=1280)
    parser.add_argument("--umap", action="store_true", help="UMAP's own search and transform, for comparison")
    arguments = parser.parse_args()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, own_memory())
            time.sleep(0.05)

    with tempfile.TemporaryDirectory() as folder:
        X = write_embeddings(Path(folder) / "X", arguments.patches, arguments.features)
        before = own_memory()
        threading.Thread(target=watch, daemon=True).start()
        chosen = np.sort(np.random.default_rng(0).choice(len(X), min(len(X), 20_000), replace=False))
        placed = np.setdiff1d(np.arange(len(X)), chosen)
        for name, project in [("ours", umap.fit_umap), *([("UMAP's", by_umap)] if arguments.umap else [])]:
            peak, started = before, time.perf_counter()
            two, three = project(X)
            seconds = time.perf_counter() - started
            quality = [
                f"{dimensions} {truth(X, layout, rows[:: max(1, len(rows) // 3000)][:3000]):.3f}"
                for dimensions, layout in (("2-D", two), ("3-D", three))
                for rows in (chosen, placed)
                if len(rows)
            ]
            print(
                f"{name:7} {len(X)} x {X.shape[1]}: {seconds:6.1f} s, {(peak - before) / 1024:6.0f} MB "
                f"beside X; trustworthiness, fitted and placed: {', '.join(quality)}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
