"""A network with its weights, run as fast as the machine allows without changing what it says."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.encoders.fine import CellPlan, plan_cells
from embedder.encoders.forward import fetch, freeze, is_out_of_memory, keep_float32_exact, wrap
from embedder.encoders.precision import WARM_UP_PATCHES, Choice, compare, take_first_look
from embedder.encoders.spec import EncoderError, EncoderSpec
from tissuumaps_sic.slidefile.arrays import Singles

if TYPE_CHECKING:
    import torch

    from embedder.encoders.forward import Forward, Started

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Features:
    """What one pass of an encoder says of some patches.

    Attributes
    ----------
    pooled : ndarray of shape (n, dimension), float32
        An embedding of each patch.
    fine : ndarray of shape (n, width), float16, or None
        Embeddings of the cells of each patch's middle, as a `CellPlan` has them: rows of cells first; None
        where they were not asked for.
    """

    pooled: Singles
    fine: npt.NDArray[np.float16] | None = None


def choose_device(name: str) -> str:
    """Return the device of a name; of "auto", the fastest that is here.

    Parameters
    ----------
    name : str
        "auto", or as torch has it, such as "cuda:1".

    Returns
    -------
    str
    """
    if name != "auto":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class Encoder:
    """A network with its weights, on a device; made by `encoders.load_encoder`.

    Attributes
    ----------
    spec : EncoderSpec
    network : torch.nn.Module
        Gives features for normalised patches, in float32; its classifier is gone.
    name : str
        Of the architecture, or of the checkpoint's file where one was given by its path.
    dimension : int
    weights_sha256 : str
    transform : str
        What is done to a patch before the network, in words.
    device : str
    choice : Choice or None
        The precision, once it is settled: at once where it was asked for, else by `choose_precision` or by
        the first `encode`.
    at_once : int or None
        The most patches that the device's memory was found to hold at once; None while any number did. It can
        change the last bit, so that who goes on with a slide sets what it had.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        network: torch.nn.Module,
        *,
        name: str,
        weights_sha256: str,
        device: str,
        precision: str,
    ) -> None:
        import torch

        self.spec = spec
        self.name = name
        self.dimension = spec.dimension
        self.weights_sha256 = weights_sha256
        self.transform = spec.transform
        self.device = device
        self.choice = None if precision == "auto" else Choice(precision, precision)
        try:
            self.network: torch.nn.Module = network.eval().to(  # type: ignore[call-overload]
                device, memory_format=torch.channels_last
            )
        except (RuntimeError, AssertionError) as error:
            raise EncoderError(
                f"device {device!r} cannot be used ({str(error).splitlines()[0]}); choose cpu, cuda or mps"
            ) from error
        # By precision, by the size of a patch and by its cells: a frozen network is made for one.
        self._forwards: dict[tuple[str, int, int, CellPlan | None], Forward] = {}
        self.at_once: int | None = None

    @property
    def precision(self) -> str:
        """What the network computes in: "float32" or "bfloat16"; "auto" until that is settled."""
        return "auto" if self.choice is None else self.choice.precision

    def plan_cells(self, patch_size: int, stride: int) -> CellPlan | None:
        """Return the cells smaller than a patch that this network can tell; None where it cannot.

        Parameters
        ----------
        patch_size : int
            Edge of a patch in target pixels.
        stride : int
            Target pixels from a patch to the next.

        Returns
        -------
        CellPlan or None
        """
        layer = self.spec.fine
        # What authors' own packages build may be another network than the one that is known.
        if layer is None or layer.module not in dict(self.network.named_modules()):
            return None
        return plan_cells(self.spec, patch_size, stride)

    def choose_precision(self, patches: npt.NDArray[np.uint8], *, cells: CellPlan | None = None) -> Choice:
        """Settle the precision, if it is open, by timing both on a few patches.

        Parameters
        ----------
        patches : ndarray of shape (n, rows, columns, 3), uint8
            Such as will be embedded; the first eight are used.
        cells : CellPlan, optional
            As `start` will be given.

        Returns
        -------
        Choice
        """
        if self.choice is None:
            self.choice = self._measure(patches[:WARM_UP_PATCHES], cells)
            log.info("precision: %s", self.choice)
        return self.choice

    def encode(self, patches: npt.NDArray[np.uint8]) -> Singles:
        """Embed patches.

        Parameters
        ----------
        patches : ndarray of shape (n, rows, columns, 3), uint8
            RGB. Resized to the encoder's input size where it has one; else of any size.

        Returns
        -------
        ndarray of shape (n, dimension), float32

        Raises
        ------
        ValueError
            When the patches are anything else.
        """
        return self.fetch(self.start(patches)).pooled

    def start(
        self,
        patches: npt.NDArray[np.uint8],
        *,
        precision: str | None = None,
        cells: CellPlan | None = None,
    ) -> Started:
        """Begin to embed patches; on a GPU this returns while it works, and `fetch` waits for it.

        Parameters
        ----------
        patches : ndarray of shape (n, rows, columns, 3), uint8
            As of `encode`, with its errors. More than the device's memory holds at once are run in parts.
        precision : "float32" or "bfloat16", optional
            Of the run that this one goes on for; by default as it is settled.
        cells : CellPlan, optional
            Cells to be told as well, of patches of its size; made by `plan_cells`.

        Returns
        -------
        tuple of Tensor
            What `fetch` makes features of, on the device.

        Raises
        ------
        EncoderError
            When the device's memory does not hold one patch.
        """
        import torch

        if patches.dtype != np.uint8 or patches.ndim != 4 or patches.shape[-1] != 3:
            raise ValueError(
                f"patches are {patches.dtype} of shape {patches.shape}; "
                "give uint8 of shape (n, rows, columns, 3)"
            )
        precision = precision or self.choose_precision(patches, cells=cells).precision
        try:
            forward = self._forward(precision, patches, cells)
        except torch.OutOfMemoryError as error:
            raise self._too_large() from error
        with torch.inference_mode(), keep_float32_exact():
            return self._run(forward, patches)

    def _run(self, forward: Forward, patches: npt.NDArray[np.uint8]) -> Started:
        """Run patches by as many at once as the device's memory holds, which is found by trying."""
        import torch

        while True:
            at_once = min(self.at_once or len(patches), len(patches))
            pieces = [patches[start : start + at_once] for start in range(0, len(patches), at_once)]
            try:
                parts = [forward(self._to_device(piece)) for piece in pieces]
                return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if at_once == 1:
                    raise self._too_large() from error
            # Not in the handler: what failed there is held by its traceback.
            parts = []
            self.at_once = at_once // 2
            torch.cuda.empty_cache()
            log.info(
                "%s has too little memory for %d patches at once: going on with %d",
                *(self.device, at_once, self.at_once),
            )

    def _too_large(self) -> EncoderError:
        return EncoderError(
            f"{self.name} does not fit into the free memory of {self.device}, not even with one patch at a "
            "time; end what else runs there, or choose a smaller encoder, --precision bfloat16, or "
            "--device cpu"
        )

    def fetch(self, started: Started) -> Features:
        """Bring what `start` began to memory.

        Parameters
        ----------
        started : tuple of Tensor

        Returns
        -------
        Features
        """
        return Features(*fetch(started))

    def _to_device(self, patches: npt.NDArray[np.uint8]) -> torch.Tensor:
        import torch

        with warnings.catch_warnings():
            # A patch may be a read-only view; nothing writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            batch = torch.from_numpy(np.ascontiguousarray(patches))
        if torch.device(self.device).type == "cuda":
            return batch.pin_memory().to(self.device, non_blocking=True)
        return batch.to(self.device)

    def _measure(self, patches: npt.NDArray[np.uint8], cells: CellPlan | None) -> Choice:
        import torch

        def make(precision: str, patches: npt.NDArray[np.uint8]) -> Forward:
            return self._forward(precision, patches, cells)

        def make_as_it_is(precision: str, _: npt.NDArray[np.uint8]) -> Forward:
            return wrap(self.network, self.spec, precision, self.device, None)

        try:
            if torch.device(self.device).type == "cpu":
                any_size = self.spec.input_size is None
                first = take_first_look(make_as_it_is, patches, self._to_device, any_size=any_size)
                if first is not None:
                    return first
            return compare(make, patches, self._to_device)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise self._too_large() from error
            raise

    def _forward(self, precision: str, patches: npt.NDArray[np.uint8], cells: CellPlan | None) -> Forward:
        """Return the function from patches to what `fetch` takes, made at the first patches of a size."""
        key = (precision, *patches.shape[1:3], cells)
        if key not in self._forwards:
            whole = wrap(self.network, self.spec, precision, self.device, cells)
            sample = self._to_device(patches[:WARM_UP_PATCHES])
            self._forwards[key] = freeze(whole, self.spec.name, precision, self.device, sample)
        return self._forwards[key]
