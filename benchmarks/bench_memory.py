"""How much memory embedding takes, for a small slide and for large ones.

    python benchmarks/bench_memory.py [--patches 1600 12000 200000]

Each slide is synthetic (noise, 64 px patches with half overlap, so that many fit) and is embedded in a
process of its own, UMAP and writing included, by a network of random weights with 1280 features that is
small enough to wait for. "Peak" is the largest resident set, which counts pages of mapped files that the
system may drop at any moment; "own" is the largest sum of what it may not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_STRIDE, _PATCH = 32, 64

_CHILD = """
import json, resource, sys, threading, time
from dataclasses import replace
from pathlib import Path

import torch

import embedder.embedding.pipeline
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.encoders.table import ENCODERS
from embedder.encoders.network import Encoder
from embedder.encoders.spec import FineLayer

own = 0
def watch():
    global own
    while True:
        status = Path("/proc/self/status").read_text()
        own = max(own, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 32, 8, stride=8), torch.nn.BatchNorm2d(32), torch.nn.ReLU(),
    torch.nn.Conv2d(32, 1280, 2, stride=2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
)
layer = FineLayer("0", channels=32, stride=8, padding="none")
encoder = Encoder(
    replace(ENCODERS["efficientnet-lite0"], fine=layer), network,
    name="random", weights_sha256="0", device="cpu", precision="float32",
)
embedder.embedding.pipeline.make_encoder = lambda options: encoder
options = EmbedOptions(patch_size=64, min_tissue=0, umap=sys.argv[3] == "umap")
started = time.perf_counter()
(result,) = embed_slides([Path(sys.argv[1])], Path(sys.argv[2]), options)
assert result.status == "done", result.message
print(json.dumps({
    "patches": result.n_patches,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "own": own / 1024,
    "seconds": time.perf_counter() - started,
    "stages": result.seconds,
}))
"""


def write_slide(path: Path, patches: int) -> None:
    """Write a square slide of noise that holds about so many patches."""
    import pyvips

    side = _PATCH + _STRIDE * (round(patches**0.5) - 1)
    tile = np.random.default_rng(0).integers(60, 220, (512, 512, 3), dtype=np.uint8)
    across = -(-side // 512)
    image = pyvips.Image.new_from_array(tile).replicate(across, across).crop(0, 0, side, side)
    image = image.copy(interpretation="srgb", xres=2000, yres=2000)
    image.tiffsave(str(path), tile=True, compression="jpeg", Q=80, bigtiff=True, resunit="cm")


def main() -> int:
    """Embed slides of each size, with and without UMAP, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, nargs="+", default=[1_600, 12_000, 200_000])
    arguments = parser.parse_args()
    print("patches   umap  peak MB   own MB  seconds  of which")
    for umap in ("no", "umap"):
        for patches in arguments.patches:
            with tempfile.TemporaryDirectory() as name:
                slide = Path(name) / "noise.tif"
                write_slide(slide, patches)
                started = time.perf_counter()
                command = [sys.executable, "-c", _CHILD, slide, Path(name) / "out", umap]
                ran = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(ran.stdout)
            stages = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in found["stages"].items())
            print(
                f"{found['patches']:7}  {umap:>5}  {found['peak']:7.0f}  {found['own']:7.0f}  "
                f"{time.perf_counter() - started:7.0f}  {stages}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
