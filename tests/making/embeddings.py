"""A slide whose every pixel is known, and an encoder whose embeddings are."""

import itertools
import json
from types import SimpleNamespace

import h5py
import numpy as np
import pyvips

from embedder.encoders.fine import CellPlan
from embedder.encoders.network import Features
from embedder.encoders.precision import Choice
from embedder.encoders.spec import FineLayer


class MeanEncoder:
    """Embeds a patch as the mean red, green and blue of its left, right, upper and lower half.

    A cell is embedded as its mean red, green and blue.
    """

    name, dimension, weights_sha256, transform = "means", 12, "0" * 64, "none"
    device, precision = "cpu", "float32"
    spec = SimpleNamespace(
        name="means", source="arithmetic", licence="none", advice=lambda patch_size, mpp: None
    )

    def __init__(self):
        self.choice = Choice("float32", "auto")
        self.encoded = 0

    def plan_cells(self, patch_size, stride):
        side = max(1, round(stride / 32))
        return CellPlan(FineLayer("means", 3, 1, "none"), patch_size, stride, side, 3)

    def choose_precision(self, patches, *, cells=None):
        return self.choice

    def start(self, patches, *, precision=None, cells=None):
        self.encoded += len(patches)
        return Features(self.embed(patches), None if cells is None else self.embed_cells(patches, cells))

    def embed(self, patches):
        half = patches.shape[1] // 2
        parts = [patches[:, :, :half], patches[:, :, half:], patches[:, :half], patches[:, half:]]
        return np.concatenate([part.mean(axis=(1, 2)) for part in parts], axis=1).astype(np.float32)

    def embed_cells(self, patches, cells):
        margin = (cells.patch_size - cells.stride) / 2
        edges = np.rint(margin + np.arange(cells.side + 1) * cells.cell).astype(int)
        spans = [slice(*pair) for pair in itertools.pairwise(edges)]
        means = [patches[:, rows, columns].mean(axis=(1, 2)) for rows in spans for columns in spans]
        return np.concatenate(means, axis=1).astype(np.float16)

    def fetch(self, started):
        return started

    def encode(self, patches):
        return self.fetch(self.start(patches)).pooled


def write_ramp(path, *, width=1400, height=1100, mpp=0.5, glass=0):
    """A slide whose red grows with x and green with y, with `glass` columns of white on the right."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 250 / width, y * 250 / height, np.full_like(x, 20)], axis=-1).astype(np.uint8)
    if glass:
        pixels[:, -glass:] = 250
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb", xres=1000 / mpp, yres=1000 / mpp)
    image.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, pyramid=True, resunit="cm")
    return path


def file_contents(path):
    """Every data set and attribute of a slide's file, by its name, and the provenance without the times."""
    found = {}

    def visit(name, item):
        found[name] = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] |= {
                "type": str(item.dtype),
                "shape": item.shape,
                "values": np.asarray(item[()]).tolist(),
            }

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        known = json.loads(file["uns/embedder"].asstr()[()])
    assert known.pop("seconds")
    found["uns/embedder"]["values"] = known
    return found
