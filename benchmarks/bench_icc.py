"""What --icc costs: processor time of reading patches as they are, and converted by the slide's profile.

    python benchmarks/bench_icc.py SLIDE [--slide-mpp MPP] [--patches 400] [--repeats 3]

The slide must have a colour profile. Both ways read the same patches (256 px at 0.5 µm/px, half overlap),
open the slide anew, and take turns; the least of the repeats is printed.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from embedder.patches.options import PatchOptions
from embedder.patches.reading import iter_patches
from embedder.patches.selection import find_tissue, plan_grid
from tissuumaps_sic.slidefile.pixels.slide import open_slide


def read_patches(path: Path, mpp: float | None, most: int, *, icc: bool) -> float:
    """Read patches, and return the milliseconds of processor time that each took."""
    options = PatchOptions(min_tissue=0)
    with open_slide(path, mpp=mpp, icc=icc) as slide:
        if icc and not slide.is_converted:
            raise SystemExit("the slide has no colour profile")
        grid, _ = plan_grid(slide, find_tissue(slide, options), options)
        grid = grid.select(np.arange(len(grid)) < most)
        started = time.process_time()
        read = sum(len(indices) for indices, _ in iter_patches(slide, grid, batch_size=32))
        return 1000 * (time.process_time() - started) / read


def main() -> None:
    """Read both ways in turn, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--slide-mpp", type=float)
    parser.add_argument("--patches", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(given.repeats):
        for icc, took in found.items():
            took.append(read_patches(given.slide, given.slide_mpp, given.patches, icc=icc))
    plain, converted = min(found[False]), min(found[True])
    print(
        f"as they are {plain:.2f} ms a patch, converted {converted:.2f} ms: {converted - plain:.2f} ms more"
    )


if __name__ == "__main__":
    main()
