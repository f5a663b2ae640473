"""What a folder of slides costs by one process and by as many as there are processors, in pairs.

Makes seeded slides, labels them by `tissuumaps-sic run FOLDER` with one worker on one processor and with all,
alternating, and prints the seconds, their ratio, and the memory of the largest process that worked.

    python benchmarks/bench_batch.py --slides 60 --patches 20000 --pairs 3
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import anndata
import numpy as np

from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file


def make_slides(folder: Path, count: int, patches: int, features: int) -> None:
    """Write slides of two tissues, each with ten seeds of both."""
    columns = int(np.sqrt(patches))
    x, y = (each.ravel() for each in np.meshgrid(np.arange(columns), np.arange(patches // columns)))
    rng = np.random.default_rng(0)
    means = rng.normal(size=(2, features)).astype(np.float32)
    for number in range(count):
        truth = (x + 9 * np.sin(y / 7 + number) > columns / 2).astype(int)
        X = means[truth] + 2 * rng.standard_normal((len(x), features), dtype=np.float32)
        adata = anndata.AnnData(X)
        adata.obs_names = [f"s{number}_{a}_{b}" for a, b in zip(128 * x, 128 * y, strict=True)]
        adata.obsm["spatial"] = np.column_stack([x, y]) * 128.0 + 128
        path = folder / f"s{number:03}.h5ad"
        adata.write_h5ad(path, convert_strings_to_categoricals=False)
        slide = open_slide_file(path)
        session = Session.new(slide)
        for label in (0, 1):
            rows = rng.choice(np.flatnonzero(truth == label), 10, replace=False)
            session = session.seed([str(slide.patch_names[row]) for row in rows], label)
        save_session(session_path(path), session)


def watch(process: subprocess.Popen[bytes], peaks: list[float]) -> None:
    """Note the most memory that one process of a command's has had for itself, MB."""
    import psutil

    while process.poll() is None:
        try:
            main = psutil.Process(process.pid)
            of_all = [each.memory_info() for each in (main, *main.children(recursive=True))]
            peaks[0] = max(peaks[0], *((each.rss - each.shared) / 1e6 for each in of_all))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.1)


def label(folder: Path, workers: int, processors: set[int]) -> tuple[float, float]:
    """Return the seconds that a folder takes, and the memory of the largest process."""
    out = Path(tempfile.mkdtemp(dir=folder.parent))
    command = [sys.executable, "-m", "tissuumaps_sic", "run", str(folder), "-o", str(out)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )
    peaks = [0.0]
    watcher = threading.Thread(target=watch, args=(process, peaks))
    watcher.start()
    if process.wait():
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    watcher.join()
    shutil.rmtree(out)
    return seconds, peaks[0]


def main() -> None:
    """Print a line a pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slides", type=int, default=60)
    parser.add_argument("--patches", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    processors = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "slides"
        folder.mkdir()
        make_slides(folder, options.slides, options.patches, options.features)
        print(f"{options.slides} slides of {options.patches} x {options.features}")
        for _ in range(options.pairs):
            one, memory = label(folder, 1, {min(processors)})
            all_, memory_each = label(folder, len(processors), processors)
            print(
                f"one process {one:.1f} s ({memory:.0f} MB), {len(processors)} processes {all_:.1f} s "
                f"({memory_each:.0f} MB the largest): {one / all_:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
