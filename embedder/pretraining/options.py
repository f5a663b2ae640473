"""How an encoder is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from embedder.encoders.spec import DEFAULT_ENCODER, PRECISIONS
from embedder.patches.options import PatchOptions
from embedder.pretraining.augment import AugmentOptions
from tissuumaps_sic.slidefile.errors import SicError

STARTS = ("weights", "random")


class PretrainError(SicError):
    """An encoder cannot be trained as asked; the message says what to change."""


@dataclass(frozen=True)
class PretrainOptions(PatchOptions):
    """How an encoder is trained; the patches are those of `PatchOptions`, by which one embeds afterwards.

    Attributes
    ----------
    encoder : str
        A convolutional encoder: a name of `encoders.ENCODERS`, or the path of a checkpoint.
    weights : Path or None
        Weights for a named encoder, in place of its own.
    start : "weights" or "random"
        Whether it starts from its weights, or from none.
    patches : int
        To draw from all slides together.
    epochs : int
        How often each is seen.
    batch_size : int
    learning_rate : float
        At its height; it rises over the first tenth of the steps and falls as a cosine.
    weight_decay : float
    temperature : float
        Of the loss; low ones tell similar patches apart.
    augment : AugmentOptions
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : "auto", "float32" or "bfloat16"
        "auto" is bfloat16 on CUDA where it has that, else float32.
    probe_patches : int
        Patches on which the encoder is compared with its start.
    truth : Path or None
        A folder of ``<slide>_mask.png``, of any scale, whose values the probes tell apart.
    seed : int
    overwrite : bool
        Whether to throw away what a folder holds of another training.
    """

    min_tissue: float = 0.5
    encoder: str = DEFAULT_ENCODER
    weights: Path | None = None
    start: str = "weights"
    patches: int = 20_000
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    temperature: float = 0.2
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    device: str = "auto"
    precision: str = "auto"
    probe_patches: int = 1000
    truth: Path | None = None
    seed: int = 0
    overwrite: bool = False

    def check(self) -> None:
        """Refuse values that cannot be used.

        Raises
        ------
        PretrainError
            It names the value, and what can be.
        """
        from embedder.encoders.table import ENCODERS

        for word, value, choices in (
            ("start", self.start, STARTS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in choices:
                raise PretrainError(f"there is no {word} {value!r}; choose one of {', '.join(choices)}")
        for word, number, least in (
            ("patches", self.patches, 2),
            ("epochs", self.epochs, 1),
            ("batch_size", self.batch_size, 2),
            ("probe_patches", self.probe_patches, 0),
            ("seed", self.seed, 0),
        ):
            if number < least:
                raise PretrainError(f"{word} is {number}; give {least} or more")
        for word, real in (("learning_rate", self.learning_rate), ("temperature", self.temperature)):
            if not (math.isfinite(real) and real > 0):
                raise PretrainError(f"{word} is {real:g}; give a number above 0")
        if self.start == "random" and self.weights is not None:
            raise PretrainError(f"{self.weights}: a random start takes no weights; leave out one of the two")
        if self.start == "random" and self.encoder not in ENCODERS:
            raise PretrainError(f"{self.encoder}: a random start takes an architecture's name; give resnet18")
