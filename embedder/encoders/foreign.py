"""The door for encoders that are not in the table: of timm, the hub, a compiled file or a package.

Each tells its own facts (size, mean, standard deviation, pooling) where it has any, and a person may tell
others in their place. What neither tells is asked for and never guessed: a slide that was normalised wrongly
looks well, and its labels are worse.
"""

from __future__ import annotations

from pathlib import Path

from embedder.encoders.outside import Foreign
from embedder.encoders.packages import list_packages, open_package
from embedder.encoders.programs import open_program, recognise_program
from embedder.encoders.spec import UnknownEncoderError
from embedder.encoders.timm_models import HUB, TIMM, open_hub, open_timm
from embedder.encoders.told import Told


def open_foreign(name: str, weights: Path | None, told: Told, device: str = "cpu") -> Foreign | None:
    """Return an encoder from outside the table; None where the name is none of one.

    Parameters
    ----------
    name : str
        ``timm:NAME``, ``hf:OWNER/NAME``, the path of a TorchScript or ``torch.export`` file, or what an
        installed package calls its encoder.
    weights : Path or None
        A checkpoint in place of its own weights.
    told : Told
    device : str
        On which a compiled network is to run.

    Returns
    -------
    Foreign or None

    Raises
    ------
    EncoderError
        When it cannot be loaded, or does not tell what has to be known.
    """
    if name.startswith(TIMM):
        return open_timm(name, weights, told)
    if name.startswith(HUB):
        return open_hub(name, weights, told)
    offered = next((each for each in list_packages() if each.name == name), None)
    if offered is not None:
        return open_package(offered, weights, told)
    kind = recognise_program(Path(name))
    if kind is None:
        return None
    if weights is not None:
        raise UnknownEncoderError(f"{name} holds its weights already; leave out --weights {weights}")
    return open_program(Path(name), kind, told, device)
