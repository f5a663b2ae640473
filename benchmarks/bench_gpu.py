"""How fast a GPU is fed: reading alone, the network alone, and both as `embedder embed` runs them.

    python benchmarks/bench_gpu.py SLIDE [--encoders efficientnet-lite0 uni] [--batch-sizes 32 128]
        [--seconds 15] [--times 8x8]

Weights are made up where they are not installed: they cost the same. "Network" is given batches that lie in
memory already; "embedded" reads, embeds and writes each patch, with the cells that files have, and is the
loop of `embed` itself. Each is stopped after some seconds. "Of what is possible" compares that loop with the
slower of the other two. A small slide is laid out again and again (`--times`).
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pyvips
import torch

from embedder.embedding.encoding import embed_patches
from embedder.embedding.partial import Partial
from embedder.encoders.build import build
from embedder.encoders.fine import CellPlan
from embedder.encoders.load import load_encoder
from embedder.encoders.network import Encoder, choose_device
from embedder.encoders.table import ENCODERS
from embedder.patches.damage import Tally
from embedder.patches.grid import PatchGrid
from embedder.patches.reading import iter_patches
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide, require_resolution


class TimeIsUpError(Exception):
    """The seconds of a measurement are over."""


def make_weights(name: str, folder: Path) -> Path | None:
    """Write made-up weights of an encoder; None where its own are installed."""
    spec = ENCODERS[name]
    if spec.name == "efficientnet-lite0":
        return None
    torch.manual_seed(0)
    network = build(spec).to_empty(device="cpu")
    with torch.no_grad():
        for each, value in network.state_dict().items():
            if value.is_floating_point():
                value.fill_(1.0) if "norm" in each and each.endswith("weight") else value.normal_(0, 0.02)
    path = folder / f"{name}.pth"
    torch.save(network.state_dict(), path)
    return path


def lay_out(path: Path, times: tuple[int, int], folder: Path) -> Path:
    """Write a larger slide of copies of a small one."""
    small = pyvips.Image.new_from_file(str(path)).extract_band(0, n=3)
    out = folder / "large.tif"
    small.replicate(*times).copy(xres=2000, yres=2000).tiffsave(
        str(out),
        tile=True,
        tile_width=256,
        tile_height=256,
        pyramid=True,
        compression="jpeg",
        Q=85,
        bigtiff=True,
    )
    return out


def plan(slide: Slide) -> PatchGrid:
    """Plan every patch of a slide at the default geometry, without overlap."""
    resolution = require_resolution(slide)
    return PatchGrid.plan(
        slide.size,
        mpp_x=resolution.mpp_x,
        mpp_y=resolution.mpp_y,
        overlap=0,
        bounds=slide.bounds,
        level_downsamples=slide.level_downsamples,
    )


def rate_of_reading(slide: Slide, grid: PatchGrid, batch: int, seconds: float) -> float:
    """Return patches/s that are read."""
    started, count = time.perf_counter(), 0
    for indices, _ in iter_patches(slide, grid, batch_size=batch):
        count += len(indices)
        if time.perf_counter() - started > seconds:
            break
    return count / (time.perf_counter() - started)


def rate_of_network(encoder: Encoder, patches: np.ndarray, cells: CellPlan | None, seconds: float) -> float:
    """Return patches/s of the encoder on a batch in memory, two batches under way at a time as in `embed`."""
    precision = encoder.choose_precision(patches, cells=cells).precision
    waiting = encoder.start(patches, precision=precision, cells=cells)
    encoder.fetch(waiting)
    started, count, waiting = time.perf_counter(), 0, encoder.start(patches, precision=precision, cells=cells)
    while count == 0 or time.perf_counter() - started < seconds:
        following = encoder.start(patches, precision=precision, cells=cells)
        encoder.fetch(waiting)
        waiting, count = following, count + len(patches)
    return count / (time.perf_counter() - started)


def rate_of_both(
    slide: Slide, grid: PatchGrid, encoder: Encoder, cells: CellPlan | None, batch: int, seconds: float
) -> float:
    """Return patches/s of `embed`'s own loop, from the second batch on."""
    marks: list[tuple[float, int]] = []

    def progress(done: int, _total: int) -> None:
        marks.append((time.perf_counter(), done))
        if len(marks) > 2 and marks[-1][0] - marks[2][0] > seconds:
            raise TimeIsUpError

    with tempfile.TemporaryDirectory() as name:
        width = 0 if cells is None else cells.width
        partial = Partial.open(Path(name) / "p", request={}, shape=(len(grid), encoder.dimension), fine=width)
        with contextlib.suppress(TimeIsUpError):
            embed_patches(
                *(slide, grid, encoder, partial, Tally(slide, grid, 1.0)),
                cells=cells,
                batch_size=batch,
                progress=progress,
            )
    (first, before), (last, after) = marks[2], marks[-1]
    return (after - before) / (last - first)


def main() -> int:
    """Time all of it and print rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--encoders", nargs="+", default=["efficientnet-lite0", "uni"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--times", default="1x1", help="COLUMNSxROWS copies of the slide")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    columns, rows = map(int, arguments.times.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = arguments.slide if columns * rows == 1 else lay_out(arguments.slide, (columns, rows), folder)
        told = torch.cuda.get_device_name() if device.startswith("cuda") else device
        for encoder_name in arguments.encoders:
            weights = make_weights(encoder_name, folder)
            with open_slide(path) as slide:
                grid = plan(slide)
                for batch in arguments.batch_sizes:
                    encoder = load_encoder(
                        encoder_name, weights=weights, device=device, precision=arguments.precision
                    )
                    cells = encoder.plan_cells(grid.patch_size, grid.stride)
                    reading = rate_of_reading(slide, grid, batch, arguments.seconds)
                    patches = next(iter_patches(slide, grid, batch_size=batch))[1]
                    network = rate_of_network(encoder, patches, cells, arguments.seconds)
                    both = rate_of_both(slide, grid, encoder, cells, batch, arguments.seconds)
                    share = both / min(reading, network)
                    print(
                        f"{encoder_name:20} {told}, {encoder.precision}, batches of {batch:3}: "
                        f"reading {reading:7.0f}, network {network:7.0f}, embedded {both:7.0f} patches/s, "
                        f"{share:.2f} of what is possible; {encoder.choice}",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
