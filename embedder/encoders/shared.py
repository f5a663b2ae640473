"""Numbers and settings that several encoders of the table share."""

from __future__ import annotations

from embedder.encoders.spec import FineLayer

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
HALF = (127.5, 127.5, 127.5)
# OpenAI's CLIP, to the digit.
CLIP_MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
CLIP_STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)
BIOPTIMUS_MEAN = (0.707223 * 255, 0.578729 * 255, 0.703617 * 255)
BIOPTIMUS_STD = (0.211883 * 255, 0.230117 * 255, 0.177517 * 255)

ANY_MPP = (0.0, float("inf"))
# The gated unit of DINOv2's large networks, as timm has it.
SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}


def read_tokens(channels: int, edge: int, module: str = "norm") -> FineLayer:
    """Return the last layer of a vision transformer, whose patches have an edge of so many pixels.

    Parameters
    ----------
    channels : int
        Numbers of a token.
    edge : int
        Of a patch of the network, pixels.
    module : str, default="norm"
        The layer's name in the network.

    Returns
    -------
    FineLayer
    """
    return FineLayer(module, channels, edge, padding="none", tokens=True)
