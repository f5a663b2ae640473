"""How slides are embedded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedder.encoders.spec import DEFAULT_ENCODER
from embedder.patches.options import PatchOptions


@dataclass(frozen=True)
class EmbedOptions(PatchOptions):
    """How slides are embedded; beside what is of `PatchOptions`.

    Attributes
    ----------
    encoder : str
        A name of `encoders.ENCODERS`, the path of a checkpoint, or an encoder from outside
        (`encoders.load.load_encoder`).
    weights : Path or None
        Weights for a named encoder, in place of its own.
    input_size, mean, std, interpolation, pool
        Of an encoder from outside, as `encoders.told.Told` has them.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : str
        "auto" (what a short measurement finds worth it), "float32" or "bfloat16".
    batch_size : int or None
        Patches in one pass of the encoder; None for what suits the device.
    storage : str
        "float32" or "float16", of the embeddings in the file.
    umap : bool
        Whether to make 2-D and 3-D UMAP and the colours; without them colours are grey.
    thumbnail : bool
        Whether to keep a small picture of the slide in the file, as scanpy does.
    fine : bool
        Whether to keep embeddings of cells smaller than a patch, where the encoder can tell them.
    overwrite : bool
        Whether to embed a slide anew whose file is there.
    """

    encoder: str = DEFAULT_ENCODER
    weights: Path | None = None
    input_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    pool: str | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    storage: str = "float32"
    umap: bool = True
    thumbnail: bool = False
    fine: bool = True
    overwrite: bool = False
