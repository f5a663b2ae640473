"""Dask workers whose encoder is arithmetic, and which wait or die where a test wants it.

What is patched here is patched in the workers' processes, in those too that come in place of a killed one.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pyvips
from distributed import WorkerPlugin
from making.embeddings import MeanEncoder

# The blue of a slide tells what happens when it is embedded; any other colour: nothing.
WAITS, KILLS = 110, 160


class Encoder(MeanEncoder):
    """Waits and dies by the colour of the patches."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def start(self, patches, *, precision=None, cells=None):
        features = super().start(patches, cells=cells)
        blue = round(float(np.median(patches[..., 2])))
        if blue == KILLS and patches[..., 0].max() > 60:
            os.kill(os.getpid(), signal.SIGKILL)
        if blue == WAITS and patches[..., 0].max() > 60:
            (self.folder / "waiting").write_text(str(os.getpid()))
            while not (self.folder / "go").exists():
                time.sleep(0.02)
        return features


class Patched(WorkerPlugin):
    """Gives workers that encoder."""

    name = "patched"

    def __init__(self, folder):
        self.folder = Path(folder)

    def setup(self, worker):
        import embedder.cluster.worker
        from embedder.encoders.spec import EncoderError

        embed_slide = embedder.cluster.worker.embed_slide

        def load(run, options, threads):
            if options.encoder != "means":
                raise EncoderError(f"there is no encoder {options.encoder!r}")
            return Encoder(self.folder)

        def embed(item, *arguments, **named):
            result = embed_slide(item, *arguments, **named)
            died = self.folder / "died"
            if item.name.startswith("unreported") and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        embedder.cluster.worker._load = load
        embedder.cluster.worker.embed_slide = embed


def write_slide(path, *, blue=20, width=1400, height=700):
    """A slide of 0.5 µm per pixel whose red grows with x and green with y."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 250 / width, y * 250 / height, np.full_like(x, blue)], axis=-1).astype(np.uint8)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb", xres=2000, yres=2000)
    image.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, resunit="cm")
    return path


def dask_setup(worker):
    """Patch a worker that is started with ``--preload making.workers``."""
    Patched(os.environ["MAKING_WORKERS_FOLDER"]).setup(worker)
