"""How much finer than a patch labels are right: pixel F1 of squares, interpolated scores and cells.

Embeds the prostate fields (patches of 128 and of 256 px) and the mosaics of ../shared/data into a folder that
is kept, draws seeds, and compares with the masks, over what the patches' middles cover. Prints means over the
draws; then the time and the memory on made-up slides.

    python benchmarks/bench_sharpen.py --draws 6
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from PIL import Image

from embedder import EmbedOptions, embed_slides
from embedder.embedding.request import SlideInput
from tissuumaps_sic import SeededIterativeClustering
from tissuumaps_sic.labelling.sharpen import CellGrid, sharpen
from tissuumaps_sic.slidefile.fine import read_fine
from tissuumaps_sic.slides.regions import lattice_of, scale_of
from tissuumaps_sic.slides.slide import open_slide_file

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FIELDS = ("test10", "test100", "test102", "test104", "test106")
MOSAICS = tuple(f"mosaic_{number}" for number in (1, 2, 3, 4))
# Level-0 pixels of a pixel that is compared: 2 µm of the fields, the mask's own of the mosaics.
STEP = {"field": 4, "mosaic": 16}
SETS = (
    ("fields, 128 px", FIELDS, 128, (3, 5, 10, 20, 40)),
    ("fields, 256 px", FIELDS, 256, (3, 5, 10)),
    ("mosaics, 256 px", MOSAICS, 256, (3, 5, 10)),
)


def read_mask(name: str) -> tuple[np.ndarray, int]:
    """Return the class of each pixel that is compared, -1 for none, and its edge in level-0 pixels."""
    Image.MAX_IMAGE_PIXELS = None
    if name in MOSAICS:
        mask = np.asarray(Image.open(DATA / "mosaics" / f"{name}_mask.png"))
        return np.where(mask == 0, -1, mask == 2).astype(int), STEP["mosaic"]
    mask = np.asarray(Image.open(DATA / "prostate" / f"{name}_mask.png").convert("L"))
    step = STEP["field"]
    return (mask < 2).astype(int)[step // 2 :: step, step // 2 :: step], step


def embed(name: str, patch_size: int, folder: Path) -> Path:
    """Return the h5ad of a field or a mosaic, embedded unless it is there."""
    image = DATA / ("mosaics" if name in MOSAICS else "prostate") / name
    image = image.with_suffix(".tif" if name in MOSAICS else ".jpg")
    options = EmbedOptions(patch_size=patch_size, umap=False, precision="float32", min_tissue=0.0)
    target = folder / str(patch_size)
    (result,) = embed_slides([SlideInput(image, mpp=0.5)], target, options)
    assert result.h5ad is not None, result.message
    return Path(result.h5ad)


def true_labels(slide, size0: float, truth: np.ndarray, step: int) -> np.ndarray:
    """Return each patch's class: 1 where that covers half of it; -1 where half is in no class."""
    labels = []
    for x, y in slide.centres:
        rows, columns = (
            slice(round((at - size0 / 2) / step), round((at + size0 / 2) / step)) for at in (y, x)
        )
        square = truth[rows, columns]
        labels.append(-1 if (square >= 0).mean() < 0.5 else int((square == 1).mean() >= 0.5))
    return np.array(labels)


def f1(truth: np.ndarray, found: np.ndarray) -> float:
    """Return the mean F1 of both classes over the pixels that have one."""
    counted = truth >= 0
    truth, found = truth[counted], found[counted]
    both = [
        2 * ((truth == c) & (found == c)).sum() / max(1, (truth == c).sum() + (found == c).sum())
        for c in (0, 1)
    ]
    return float(np.mean(both))


class Places:
    """Which cell each pixel of the mask lies in."""

    def __init__(self, slide, shape: tuple[int, int], step: int) -> None:
        self.stride = scale_of(slide).stride
        corner, self.lattice = lattice_of(slide.centres, self.stride)
        size = self.lattice.max(axis=0) + 1
        self.row_of = np.full((size[1], size[0]), -1)
        self.row_of[self.lattice[:, 1], self.lattice[:, 0]] = np.arange(slide.n_patches)
        x, y = ((np.arange(n) + 0.5) * step for n in (shape[1], shape[0]))
        self.x, self.y = (x - corner[0]) / self.stride[0], (y - corner[1]) / self.stride[1]

    def spread(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the label of each pixel of the mask, and which lie in the middle of any patch."""
        side = cells.shape[1]
        column, row = np.floor(self.x).astype(int), np.floor(self.y).astype(int)
        inside = ((row >= 0) & (row < self.row_of.shape[0]))[:, None] & (
            (column >= 0) & (column < self.row_of.shape[1])
        )
        row, column = np.clip(row, 0, self.row_of.shape[0] - 1), np.clip(column, 0, self.row_of.shape[1] - 1)
        patch = self.row_of[np.ix_(row, column)]
        within = [np.clip(((at - np.floor(at)) * side).astype(int), 0, side - 1) for at in (self.y, self.x)]
        return cells[patch, within[0][:, None], within[1][None]], inside & (patch >= 0)


def compare(h5ad: Path, seeds: tuple[int, ...], draws: int) -> dict[int, np.ndarray]:
    """Return the F1 of squares, interpolated scores and cells for each number of seeds; means over draws."""
    slide = open_slide_file(h5ad)
    truth, step = read_mask(slide.name)
    places = Places(slide, truth.shape, step)
    fine = read_fine(h5ad)
    assert fine is not None
    grid = CellGrid(places.lattice, fine.values, fine.tissue)
    plain = CellGrid(places.lattice, side=8)
    size0 = 2.0 * float(slide.centres.min())
    labels = true_labels(slide, size0, truth, step)
    found = {}
    for n_seeds in seeds:
        drawn = []
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            y = np.full(slide.n_patches, -1)
            for each in (0, 1):
                inside = np.flatnonzero(labels == each)
                y[rng.choice(inside, min(n_seeds, len(inside)), replace=False)] = each
            scores = SeededIterativeClustering(method="refine").fit(slide.prepared, y).scores_
            reach = slide.prepared.places.find_reach(scores.astype(np.float64))
            ways = (
                scores[:, None, None],
                sharpen(scores, plain, reach=reach),
                sharpen(scores, grid, reach=reach, seeds=y),
            )
            told = []
            for way in ways:
                picture, covered = places.spread(way.argmax(axis=3))
                told.append(f1(truth[covered], picture[covered]))
            drawn.append(told)
        found[n_seeds] = np.mean(drawn, axis=0)
    return found


def time_it() -> None:
    """Print how long made-up slides take."""
    for n_patches in (20_000, 100_000):
        columns = int(n_patches**0.5)
        lattice = np.stack([np.arange(n_patches) % columns, np.arange(n_patches) // columns], axis=1)
        rng = np.random.default_rng(0)
        values = rng.standard_normal((n_patches, 4, 4, 40), dtype=np.float32).astype(np.float16)
        scores = rng.dirichlet(np.ones(2), n_patches).astype(np.float32)
        grid = CellGrid(lattice, values, np.full((n_patches, 4, 4), 100, np.uint8))
        for call in ("first", "second"):
            started, used = time.perf_counter(), time.process_time()
            sharpen(scores, grid, reach=3.0)
            wall, cpu = time.perf_counter() - started, time.process_time() - used
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{n_patches:,} patches, {call} call: {wall:.2f} s, {cpu:.2f} s of a processor, "
                f"peak {peak:.0f} MB"
            )


def main() -> None:
    """Compare, and time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path("bench-sharpen"))
    options = parser.parse_args()
    for title, names, patch_size, seeds in SETS:
        results = [compare(embed(name, patch_size, options.folder), seeds, options.draws) for name in names]
        print(
            f"{title}: pixel F1 of squares / interpolated / cells; gain over the better, least of a slide's"
        )
        for n_seeds in seeds:
            table = np.array([each[n_seeds] for each in results])
            gain = table[:, 2] - table[:, :2].max(axis=1)
            figures = " / ".join(f"{value:.3f}" for value in table.mean(axis=0))
            print(
                f"  {n_seeds:3d} seeds a class: {figures}   {gain.mean():+.3f} ({gain.min():+.3f})",
                flush=True,
            )
    time_it()


if __name__ == "__main__":
    main()
