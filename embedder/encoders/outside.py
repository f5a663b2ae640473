"""What encoders from outside the table have in common: facts that are asked for, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedder.encoders.spec import EncoderError, EncoderSpec, UnknownEncoderError

if TYPE_CHECKING:
    import torch

Triple = tuple[float, float, float]
# Nothing outside tells at which resolution it is best used.
ANY_MPP = (0.0, float("inf"))
_EXAMPLES = {"--input-size": "224", "--mean": "0.485,0.456,0.406", "--std": "0.229,0.224,0.225"}


@dataclass(frozen=True, eq=False)
class Foreign:
    """An encoder from outside the table.

    Attributes
    ----------
    spec : EncoderSpec
    network : torch.nn.Module
        With its weights.
    weights_sha256 : str
    is_fixed : bool
        Whether it is a program as somebody compiled it, which is run in float32 and as it is.
    """

    spec: EncoderSpec
    network: torch.nn.Module
    weights_sha256: str
    is_fixed: bool = False


@dataclass(frozen=True)
class Facts:
    """What a model, or else a person, tells of its input; "" and None are what neither does.

    Attributes
    ----------
    input_size : int or None
    mean, std : tuple of float, or None
        As for pixels of 0 to 1.
    interpolation : str
    """

    input_size: int | None
    mean: Triple | None
    std: Triple | None
    interpolation: str

    def require(self, name: str) -> dict[str, Any]:
        """Return them as `EncoderSpec` has them.

        Parameters
        ----------
        name : str
            Of the encoder, for the message.

        Returns
        -------
        dict

        Raises
        ------
        UnknownEncoderError
            Where one is not told: it is asked for, and never guessed.
        """
        told = {
            "--input-size": self.input_size,
            "--mean": self.mean,
            "--std": self.std,
            "--interpolation": self.interpolation,
        }
        lacking = [
            f"{option} {_EXAMPLES.get(option, 'bicubic')}" for option, value in told.items() if not value
        ]
        if lacking:
            raise UnknownEncoderError(
                f"{name} does not say how patches become its input; ask its authors, and give, for example, "
                f"{' '.join(lacking)}"
            )
        assert self.mean is not None
        assert self.std is not None
        return {
            "input_size": self.input_size,
            "mean": tuple(255 * value for value in self.mean),
            "std": tuple(255 * value for value in self.std),
            "interpolation": self.interpolation,
        }


def measure_dimension(spec: EncoderSpec, network: Any, device: str) -> int:
    """Return the length of an embedding, by a pass over two patches of nothing.

    Parameters
    ----------
    spec : EncoderSpec
    network : torch.nn.Module
    device : str

    Returns
    -------
    int

    Raises
    ------
    EncoderError
        When the network cannot be run so, or gives no embedding of each.
    """
    import torch

    size = spec.input_size or 224
    try:
        with torch.inference_mode():
            found = network(torch.zeros((2, 3, size, size), device=device))
            found = found if spec.pool is None else spec.pool(found)
    except Exception as error:
        raise EncoderError(
            f"{spec.name} cannot be run on 2 patches of {size} px ({tell(error)}); give another "
            "--input-size, and see that what was traced or exported takes any number of patches"
        ) from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != 2:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise EncoderError(
            f"{spec.name} gives {shape} for 2 patches and not an embedding of each; --pool makes one"
        )
    return int(found.shape[1])


def tell(error: object) -> str:
    """Return an error of others in one line.

    Parameters
    ----------
    error : object

    Returns
    -------
    str
        At most 200 letters.
    """
    return " ".join(str(error).split())[:200]
