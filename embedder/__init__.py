"""The remote half: cut slides into patches, embed and colour them, and write one AnnData file a slide.

Examples
--------
>>> from embedder import PatchGrid
>>> grid = PatchGrid.plan((2000, 1000), mpp_x=0.25, mpp_y=0.25)
>>> len(grid.cells)  # patches of 512 level-0 pixels, every 256
12
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("tissuumaps-sic")

# Where each name lies: it is imported when it is first asked for, so that nothing heavy is for the others.
_HOMES = {
    "EmbedOptions": "embedder.embedding.options",
    "OwnEncoder": "embedder.encoders.own",
    "PatchGrid": "embedder.patches.grid",
    "PretrainOptions": "embedder.pretraining.options",
    "SicError": "tissuumaps_sic.slidefile.errors",
    "add_embedding": "embedder.files.combine",
    "check": "tissuumaps_sic.slidefile.contract",
    "convert": "embedder.files.convert",
    "embed_slides": "embedder.embedding.pipeline",
    "pretrain": "embedder.pretraining.pipeline",
    "share": "embedder.files.share",
}
__all__ = [
    "EmbedOptions",
    "OwnEncoder",
    "PatchGrid",
    "PretrainOptions",
    "SicError",
    "add_embedding",
    "check",
    "convert",
    "embed_slides",
    "pretrain",
    "share",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
