"""How fast slides are embedded: against LazySlide, and against the bare network.

    python benchmarks/bench_embed.py [SLIDE...] [--lazyslide PYTHON] [--rounds 2]
    python benchmarks/bench_embed.py [SLIDE...] --no-fine [--rounds 5]
    python benchmarks/bench_embed.py [SLIDE...] --command [--rounds 5]

ResNet-18 with fixed weights, 256 px at 0.5 µm/px without overlap, batches of 32, on the processor.
LazySlide runs by its own Python (`pip install lazyslide==0.13.0` in an environment of its own) over the
same patches with the same transform; without one that half is left out. Rounds alternate and the best of
each counts, since the machine may be busy with other things. "Bare" is the same encoder on patches that lie
in memory already.

With --no-fine: what the cells smaller than a patch cost. EfficientNet-Lite0 in float32 at the default
geometry, 128 patches of each slide, with cells and without in turns; processor time, which other programs
disturb less.

With --command: the same by `embedder embed` and `embedder embed --no-fine` themselves, on whole slides, each
in a process of its own; its processor time and its largest resident set. On a busy machine set
OMP_NUM_THREADS=1, since threads that wait for each other count as time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision

from embedder.embedding.options import EmbedOptions
from embedder.embedding.partial import Partial
from embedder.encoders.fine import CellPlan
from embedder.encoders.load import load_encoder
from embedder.encoders.network import Encoder
from embedder.patches.grid import PatchGrid
from embedder.patches.reading import iter_patches
from embedder.patches.selection import measure_cells, plan_grid
from embedder.patches.tissue import tissue_mask
from tissuumaps_sic.slidefile.pixels.slide import open_slide, require_resolution

DATA = Path(__file__).parents[2] / "shared" / "data"
DEFAULT = [DATA / "slides" / "colon_section1.tif", DATA / "mosaics" / "mosaic_3.tif"]
BATCH = 32


def whole_grid(path: Path) -> PatchGrid:
    """Plan every patch of a slide, without overlap."""
    with open_slide(path) as slide:
        resolution = require_resolution(slide)
        return PatchGrid.plan(
            slide.size,
            mpp_x=resolution.mpp_x,
            mpp_y=resolution.mpp_y,
            overlap=0,
            bounds=slide.bounds,
            level_downsamples=slide.level_downsamples,
        )


def pipeline(path: Path, grid: PatchGrid, encoder: Encoder, folder: Path) -> tuple[float, np.ndarray]:
    """Read, embed and write all patches; return the seconds and the embeddings."""
    partial = Partial.open(folder, request={}, shape=(len(grid), encoder.dimension))
    with open_slide(path) as slide:
        started = time.perf_counter()
        for indices, patches in iter_patches(slide, grid, batch_size=BATCH):
            partial.write(indices, encoder.encode(patches))
        partial.save()
        seconds = time.perf_counter() - started
    features = np.array(partial.array())
    partial.remove()
    return seconds, features


def bare(path: Path, grid: PatchGrid, encoder: Encoder, batches: int) -> float:
    """Return patches/s of the encoder on some batches that lie in memory."""
    with open_slide(path) as slide:
        reader = iter_patches(slide, grid, batch_size=BATCH)
        held = [patches for _, patches in (next(reader) for _ in range(batches))]
        reader.close()  # type: ignore[attr-defined]
    started = time.perf_counter()
    for patches in held:
        encoder.encode(patches)
    return sum(map(len, held)) / (time.perf_counter() - started)


def compare_fine(path: Path, folder: Path, rounds: int) -> None:
    """Time some patches of a slide with their cells and without, in turns, and print."""
    encoder = load_encoder("efficientnet-lite0", precision="float32")
    with open_slide(path) as slide:
        mask = tissue_mask(slide)
        grid, _ = plan_grid(slide, mask, EmbedOptions(min_tissue=0))
        some = np.zeros(len(grid), bool)
        some[len(grid) // 3 :][: 4 * BATCH] = True
        grid = grid.select(some)
        both = encoder.plan_cells(grid.patch_size, grid.stride)
        seconds: dict[CellPlan | None, list[float]] = {both: [], None: []}
        for k in range(rounds + 1):
            for cells in seconds if k % 2 else reversed(seconds):
                width = 0 if cells is None else cells.width
                shape = len(grid), encoder.dimension
                partial = Partial.open(folder / "partial", request={}, shape=shape, fine=width)
                started = time.process_time()
                for indices, patches in iter_patches(slide, grid, batch_size=BATCH):
                    features = encoder.fetch(encoder.start(patches, cells=cells))
                    partial.write(indices, features.pooled, features.fine)
                partial.save()
                if cells is not None:
                    measure_cells(grid, mask, cells.side)
                if k:  # the first round makes the networks
                    seconds[cells].append(time.process_time() - started)
                partial.remove()
    ratios = np.divide(seconds[both], seconds[None])
    print(f"\n{path.name}: {len(grid)} patches, {torch.get_num_threads()} threads, {rounds} rounds")
    for name, cells in (("with cells", both), ("without", None)):
        times = seconds[cells]
        print(f"{name:12} {np.median(times):6.2f} s of processor time (best {min(times):.2f})")
    print(f"with / without: median {np.median(ratios):.3f}, {ratios.min():.3f} to {ratios.max():.3f}")


def run_command(path: Path, folder: Path, *options: str) -> tuple[float, float]:
    """Embed a slide by the command; return its processor time, s, and its largest resident set, MB."""
    program = Path(sys.executable).with_name("embedder")
    plain = ("embed", path, "-o", folder, "--no-umap", "--precision", "float32", "--overwrite")
    command = subprocess.Popen([program, *plain, *options], stderr=subprocess.DEVNULL)
    # What it started and waited for is counted with it; of the resident sets, the largest.
    _, status, used = os.wait4(command.pid, 0)
    if status:
        raise SystemExit(f"{path.name}: embedder embed failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def compare_commands(path: Path, folder: Path, rounds: int) -> None:
    """Embed a slide with its cells and without, in turns, and print."""
    ways: dict[str, tuple[str, ...]] = {"with cells": (), "without": ("--no-fine",)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for k in range(rounds):
        for name in ways if k % 2 else reversed(ways):
            found[name].append(run_command(path, folder, *ways[name]))
            print(f"{path.name}, {name}: {found[name][-1][0]:.1f} s, {found[name][-1][1]:.0f} MB", flush=True)
    both, none = (np.array(each) for each in found.values())
    for told, column, unit in (("processor time", 0, "s"), ("largest resident set", 1, "MB")):
        ratios = both[:, column] / none[:, column]
        medians = [np.median(each[:, column]) for each in (both, none)]
        print(f"{told}: {medians[0]:.1f} {unit} with cells, {medians[1]:.1f} without")
        print(f"with / without: median {np.median(ratios):.3f}, {ratios.min():.3f} to {ratios.max():.3f}")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of one with the same row of the other."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def main() -> int:
    """Time all of it and print rates, ratios and cosines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slides", nargs="*", type=Path, default=DEFAULT)
    parser.add_argument("--lazyslide", metavar="PYTHON", help="a Python that has LazySlide")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-fine", action="store_true", help="time cells smaller than a patch against none")
    parser.add_argument("--command", action="store_true", help="the same by the command, on whole slides")
    arguments = parser.parse_args()
    if arguments.no_fine or arguments.command:
        compared = compare_commands if arguments.command else compare_fine
        with tempfile.TemporaryDirectory() as name:
            for path in arguments.slides:
                compared(path, Path(name), arguments.rounds)
        return 0
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "resnet18.pth"
        torch.save(torchvision.models.resnet18().state_dict(), checkpoint)
        encoders = {
            precision: load_encoder("resnet18", weights=checkpoint, precision=precision)
            for precision in ("float32", "bfloat16")
        }
        for path in arguments.slides:
            if not path.is_file():
                print(f"no slide at {path}", file=sys.stderr)
                return 2
            compare(path, encoders, checkpoint, folder, arguments)
    return 0


def compare(
    path: Path,
    encoders: dict[str, Encoder],
    checkpoint: Path,
    folder: Path,
    arguments: argparse.Namespace,
) -> None:
    """Time one slide, in rounds, and print."""
    grid = whole_grid(path)
    best: dict[str, float] = {}
    features: dict[str, np.ndarray] = {}
    order = np.lexsort((grid.y0, grid.x0))
    for _ in range(arguments.rounds):
        if arguments.lazyslide:
            out = folder / "lazyslide.npz"
            script = Path(__file__).with_name("lazyslide_features.py")
            subprocess.run(
                [arguments.lazyslide, script, path, checkpoint, out], check=True, capture_output=True
            )
            theirs = np.load(out)
            their_order = np.lexsort((theirs["corners"][:, 1], theirs["corners"][:, 0]))
            corners = np.stack([grid.x0, grid.y0], axis=1)[order]
            if not np.array_equal(theirs["corners"][their_order], corners):
                raise SystemExit(f"{path.name}: LazySlide laid other patches")
            features["LazySlide"] = theirs["features"][their_order]
            rate = len(grid) / float(theirs["extraction"])
            best["LazySlide"] = max(best.get("LazySlide", 0), rate)
        for precision, encoder in encoders.items():
            bare_rate = bare(path, grid, encoder, 6)
            seconds, found = pipeline(path, grid, encoder, folder / "partial")
            features[precision] = found[order]
            best[precision] = max(best.get(precision, 0), len(grid) / seconds)
            best[f"{precision} bare"] = max(
                best.get(f"{precision} bare", 0), bare_rate, bare(path, grid, encoder, 6)
            )
    print(f"\n{path.name}: {len(grid)} patches, {torch.get_num_threads()} threads")
    reference = features.get("LazySlide", features["float32"])
    for name, rate in best.items():
        told = f"{name:14} {rate:7.1f} patches/s"
        if "LazySlide" in best and name in encoders:
            told += f"   {rate / best['LazySlide']:5.2f} x LazySlide"
        if name in encoders:
            told += f"   {rate / best[f'{name} bare']:5.2f} of bare"
            told += f"   least cosine {cosines(features[name], reference).min():.6f}"
        print(told)


if __name__ == "__main__":
    raise SystemExit(main())
