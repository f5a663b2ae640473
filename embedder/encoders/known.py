"""Encoders that are known and that this program cannot load by itself: why, and what to do instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownEncoder:
    """What is known of an encoder whose network cannot be built here.

    Attributes
    ----------
    name : str
        As it would be given to ``--encoder``, and as a package may offer it.
    dimension, input_size : int
        Length of an embedding; edge, in pixels, of what the network takes.
    mpp : float
        µm per pixel at which it is best used.
    source, licence : str
        Of the weights.
    facts : tuple of (str, str)
        Whatever else could be read, as pairs of what and which.
    reason : str
        Why it is not loaded.
    remedy : str
        What to do instead.
    """

    name: str
    dimension: int
    input_size: int
    mpp: float
    source: str
    licence: str
    facts: tuple[tuple[str, str], ...]
    reason: str
    remedy: str

    @property
    def state(self) -> str:
        """What the list says of it."""
        return f"known, not loaded here: --details {self.name} says what to do"

    @property
    def explanation(self) -> str:
        """Why it is not loaded and what to do, in one line."""
        return f"{self.name} is known but cannot be loaded here: {self.reason}; {self.remedy}"


def _rudolfv(letter: str, width: int, repository: str) -> KnownEncoder:
    # slide2vec (network, transform, pooling, resolutions) and lazyslide-models (licence, access). That
    # questions and keys are normalised and turned by place could be read; by what angles could not.
    return KnownEncoder(
        name=f"rudolfv-2-{letter}",
        dimension=2 * width,
        input_size=224,
        mpp=0.5,
        source=f"Aignostics, ViT-{letter.upper()}/8 with 8 registers, 2026; huggingface {repository}",
        licence="CC-BY-NC-ND-4.0 with supplementary terms",
        facts=(
            ("what is done to a patch", "resized to 224 px (bicubic)"),
            ("mean", "0.7072, 0.5787, 0.7036"),
            ("standard deviation", "0.2119, 0.2301, 0.1775"),
            ("pooling", "class token beside the mean of the patches' tokens, which come after 8 registers"),
            ("trained at", "0.25, 0.5, 1 and 2 µm/px"),
            ("weights", "on request"),
        ),
        reason="its network is code that lies beside the weights, and by what angles that turns tokens could "
        "not be read; a guess would give embeddings, and wrong ones",
        remedy="load it as its authors do (transformers, AutoModel, trust_remote_code) in a package of your "
        f"own that offers it as rudolfv-2-{letter} by the entry-point group tissuumaps_sic.encoders "
        "(embedder.OwnEncoder), or export it to a torch.export file for --encoder FILE.pt2",
    )


KNOWN = {
    each.name: each
    for each in (
        _rudolfv("s", 384, "Aignostics/RudolfV-2-S"),
        _rudolfv("b", 768, "Aignostics/RudolfV-2-B"),
    )
}
