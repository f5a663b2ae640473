"""The LazySlide half of bench_embed.py, run by a Python that has LazySlide: features of a whole slide's grid.

    python lazyslide_features.py SLIDE CHECKPOINT OUT.npz [--mpp 0.5] [--patch-size 256] [--batch-size 32]

Writes the top-left corners, the features and the seconds of tiling and of extraction. The network is
ResNet-18 from the checkpoint; patches are normalised by ImageNet's mean and deviation, and not resized.
"""

import argparse
import time

import lazyslide as zs
import numpy as np
import torch
import torchvision
from torchvision.transforms import v2
from wsidata import open_wsi


def main() -> None:
    """Tile, extract, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide")
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--mpp", type=float, default=0.5)
    parser.add_argument("--patch-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--amp", action="store_true", help="LazySlide's own bfloat16 autocast")
    arguments = parser.parse_args()
    network = torchvision.models.resnet18()
    network.load_state_dict(torch.load(arguments.checkpoint, weights_only=True))
    network.fc = torch.nn.Identity()
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    slide = open_wsi(arguments.slide)
    started = time.perf_counter()
    size = arguments.patch_size
    zs.pp.tile_tissues(slide, size, stride_px=size, mpp=arguments.mpp, background_filter=False)
    tiled = time.perf_counter()
    low_precision = {"amp": True, "autocast_dtype": torch.bfloat16} if arguments.amp else {}
    zs.tl.feature_extraction(
        slide,
        network.eval(),
        model_name="resnet18",
        transform=transform,
        device="cpu",
        batch_size=arguments.batch_size,
        pbar=False,
        **low_precision,
    )
    done = time.perf_counter()
    corners = slide.shapes["tiles"].bounds[["minx", "miny"]].to_numpy()
    features = np.asarray(slide.tables["resnet18_tiles"].X, dtype=np.float32)
    np.savez(
        arguments.out, corners=corners, features=features, tiling=tiled - started, extraction=done - tiled
    )


if __name__ == "__main__":
    main()
