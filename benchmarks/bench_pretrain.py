"""Whether an encoder that was trained on one's own slides labels others better than the one it started from.

    python benchmarks/bench_pretrain.py [--epochs 4] [--patches 1600] [--encoder NAME] [-o DIR]

Trains on three of the prostate fields and two of the mosaics of ../shared/data, without their truth, and
evaluates both encoders on the other two of each with the same seeds: mean F1 of the refined method, stroma
positive in the fields and adenocarcinoma in the mosaics. Minutes of training on a processor are far from what
SimCLR wants, which is hours on a GPU; the figures say so.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import pandas as pd

from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.request import SlideInput
from embedder.pretraining.options import PretrainOptions
from embedder.pretraining.pipeline import pretrain
from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.truth.classes import TruthClasses

DATA = Path(__file__).parents[2] / "shared" / "data"
# Fields have no resolution in the file.
TRAINED_ON = [
    *(SlideInput(DATA / "prostate" / f"{name}.jpg", mpp=0.5) for name in ("test10", "test100", "test102")),
    *(SlideInput(DATA / "mosaics" / f"mosaic_{number}.tif") for number in (1, 2)),
]
# By kind: slides, overlap, positive values of the truth, folder of the truth.
HELD_OUT = {
    "prostate": (
        [SlideInput(DATA / "prostate" / f"{name}.jpg", mpp=0.5) for name in ("test104", "test106")],
        0.5,
        "4",
    ),
    "mosaics": ([SlideInput(DATA / "mosaics" / f"mosaic_{number}.tif") for number in (3, 4)], 0.0, "2"),
}
SEEDS = (1, 3, 5, 10)


def f1(kind: str, encoders: dict[str, str], folder: Path, *, patch_size: int, repeats: int) -> pd.DataFrame:
    """Return mean F1 over slides and repeats, a row an encoder and a column a number of seeds."""
    items, overlap, positive = HELD_OUT[kind]
    pairs = []
    for label, encoder in encoders.items():
        options = EmbedOptions(
            encoder=encoder, patch_size=patch_size, overlap=overlap, umap=False, precision="float32"
        )
        for result in embed_slides(items, folder / kind / label, options):
            if result.h5ad is None:
                raise SystemExit(result.message)
            pairs.append((Path(result.h5ad), DATA / kind))
    evaluation = evaluate(
        pairs,
        classes=TruthClasses.binary(positive),
        methods=("refine",),
        seeds_per_class=SEEDS,
        repeats=repeats,
        clicks=0,
    )
    for failure in evaluation.failures:
        raise SystemExit(failure.message)
    return evaluation.summary().pivot_table(index="encoder", columns="n_seeds", values="mean_f1")


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="efficientnet-lite0", help="what to start from")
    parser.add_argument("--patches", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--patch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16, of the training")
    parser.add_argument("--repeats", type=int, default=10, help="draws of seeds")
    parser.add_argument("-o", "--output", type=Path, help="keep the training and the embeddings here")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is not there: this benchmark needs its slides")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        options = PretrainOptions(
            encoder=arguments.encoder,
            patches=arguments.patches,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            patch_size=arguments.patch_size,
            learning_rate=arguments.learning_rate,
            precision=arguments.precision,
        )
        started = time.perf_counter()
        trained = pretrain(TRAINED_ON, folder / "training", options)
        seconds = time.perf_counter() - started
        print(
            f"{trained.steps} steps of {arguments.batch_size} on {trained.n_patches} patches of "
            f"{trained.n_slides} slides, {seconds:.0f} s; "
            f"loss {trained.loss[0]:.2f} to {trained.loss[-1]:.2f}"
        )
        for name, probe in trained.probes.items():
            print(f"{name}: {probe.start:.3f}, trained {probe.trained:.3f} (chance {probe.chance:.3f})")
        encoders = {"start": arguments.encoder, "trained": str(trained.encoder)}
        for kind in HELD_OUT:
            table = f1(kind, encoders, folder, patch_size=arguments.patch_size, repeats=arguments.repeats)
            table.loc["difference"] = table.loc["simclr"] - table.drop(index="simclr").iloc[0]
            print(f"\n{kind}, held out: mean F1 by seeds per class\n{table.round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
