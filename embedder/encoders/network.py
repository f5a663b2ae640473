"""A network with its weights, run as fast as the machine allows without changing what it says.

Three things make a convolutional network faster on a processor, and none changes an embedding beyond
rounding: channels last in memory, batch normalisation folded into the convolutions (which tracing and
freezing do), and bfloat16 where the processor has instructions for it. Which precision is faster is measured,
not guessed, on the first patches of a run.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedder.encoders.fine import CellPlan, catch_output, make_reader, plan_cells
from embedder.encoders.spec import EncoderError, EncoderSpec
from tissuumaps_sic.slidefile.arrays import Singles

if TYPE_CHECKING:
    import torch

    Started = tuple[torch.Tensor, ...]
    Forward = Callable[[torch.Tensor], Started]

log = logging.getLogger(__name__)

# The warm-up: few enough patches to take a second, enough to fill the vectors of any processor.
_WARM_UP_PATCHES = 8
_WARM_UP_PASSES = 2
# bfloat16 is chosen only for a gain that is worth its rounding, and only where the rounding is small: the
# cosine of every embedding of the warm-up with its float32 one.
_WORTH = 1.2
# Below this at a first look it is not timed any longer: a processor without instructions for it takes ten
# times as long as in float32, and the warm-up a minute.
_HOPELESS = 0.25
# Edge of the part of a patch that is tried first, pixels.
_GLANCE = 64
_LEAST_COSINE = 0.999
# A frozen network differs from the eager one by rounding alone.
_FROZEN_COSINE = 0.99999


@dataclass(frozen=True)
class Choice:
    """Which precision was chosen, and why.

    Attributes
    ----------
    precision : "float32" or "bfloat16"
    asked : "auto", "float32" or "bfloat16"
    speed_ratio : float or None
        How many times as fast as float32 bfloat16 was in the warm-up; None where nothing was measured.
    cosine : float or None
        The least cosine of a bfloat16 embedding with its float32 one in the warm-up.
    """

    precision: str
    asked: str
    speed_ratio: float | None = None
    cosine: float | None = None

    def __str__(self) -> str:
        if self.speed_ratio is None or self.cosine is None:
            return f"{self.precision}, as asked"
        return (
            f"{self.precision}: bfloat16 is {self.speed_ratio:.2f} times as fast as float32 here, "
            f"and the embeddings' least cosine with float32 is {self.cosine:.5f}"
        )


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
    """Return the device of a name; of "auto", the fastest that is here."""
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
        """
        if self.choice is None:
            self.choice = self._measure(patches[:_WARM_UP_PATCHES], cells)
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
        with torch.inference_mode(), _keep_float32_exact():
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
                if not _is_out_of_memory(error):
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
        """Bring what `start` began to memory."""
        return Features(*(part.cpu().numpy() for part in started))

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

        if torch.device(self.device).type == "cpu":
            # One patch, by the network as it is, or a part of one where any size will do: where bfloat16 is a
            # twentieth as fast, a whole one takes seconds, and a minute on a busy machine.
            edge = _GLANCE if self.spec.input_size is None else None
            first = self._compare(patches[:1, :edge, :edge], None, self._forward_as_it_is)
            if first.speed_ratio is not None and first.speed_ratio < _HOPELESS:
                return first
        return self._compare(patches, cells, self._forward)

    def _compare(
        self, patches: npt.NDArray[np.uint8], cells: CellPlan | None, make: Callable[..., Forward]
    ) -> Choice:
        """Time both precisions, and choose by that."""
        import torch

        seconds: dict[str, float] = {}
        features: dict[str, Singles] = {}
        batch = self._to_device(patches)
        for precision in ("float32", "bfloat16"):
            try:
                forward = make(precision, patches, cells)
                with torch.inference_mode(), _keep_float32_exact():
                    features[precision] = self.fetch(forward(batch)).pooled
                    seconds[precision] = min(self._seconds(forward, batch) for _ in range(_WARM_UP_PASSES))
            except RuntimeError as error:  # a device without bfloat16 says so here
                if _is_out_of_memory(error):
                    if len(patches) == 1:
                        raise self._too_large() from error
                    break
                if precision == "float32":
                    raise
                log.debug("bfloat16 cannot be used on %s: %s", self.device, error)
                return Choice("float32", "auto")
        if len(seconds) < 2:
            # By fewer patches; not in the handler, whose traceback holds what failed.
            torch.cuda.empty_cache()
            return self._compare(patches[: len(patches) // 2], cells, make)
        ratio = seconds["float32"] / seconds["bfloat16"]
        cosine = _find_least_cosine(features["float32"], features["bfloat16"])
        chosen = "bfloat16" if ratio >= _WORTH and cosine >= _LEAST_COSINE else "float32"
        return Choice(chosen, "auto", speed_ratio=round(ratio, 2), cosine=round(cosine, 6))

    def _seconds(self, forward: Forward, batch: torch.Tensor) -> float:
        started = time.perf_counter()
        self.fetch(forward(batch))
        return time.perf_counter() - started

    def _forward_as_it_is(self, precision: str, _: npt.NDArray[np.uint8], cells: CellPlan | None) -> Forward:
        """Return the function that `_forward` returns, not frozen."""
        return _wrap(self.network, self.spec, precision, self.device, cells)

    def _forward(self, precision: str, patches: npt.NDArray[np.uint8], cells: CellPlan | None) -> Forward:
        """Return the function from patches to what `fetch` takes, made at the first patches of a size."""
        key = (precision, *patches.shape[1:3], cells)
        if key not in self._forwards:
            whole = _wrap(self.network, self.spec, precision, self.device, cells)
            sample = self._to_device(patches[:_WARM_UP_PATCHES])
            self._forwards[key] = _make_forward(whole, self.spec.name, precision, self.device, sample)
        return self._forwards[key]


def class_and_mean(tokens: torch.Tensor, *, prefix: int) -> torch.Tensor:
    """Return the class token followed by the mean of the patches' tokens.

    Parameters
    ----------
    tokens : Tensor of shape (n, tokens, d)
        The class token is the first.
    prefix : int
        How many tokens are no patch's: the class token and the registers after it.

    Returns
    -------
    Tensor of shape (n, 2 * d)
    """
    import torch

    return torch.cat([tokens[:, 0], tokens[:, prefix:].mean(dim=1)], dim=-1)


def _make_forward(
    eager: torch.nn.Module, name: str, precision: str, device: str, sample: torch.Tensor
) -> Forward:
    """Return a network as it was wrapped, or frozen where that is faster and says the same."""
    import torch

    kind = torch.device(device).type
    # Folding pays where there is batch normalisation, and on a GPU the compiler behind `freeze` gains
    # nothing that is worth its warm-up.
    if kind != "cpu" or not _has_batch_norm(eager):
        return eager
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that tracing takes for constants: compared below
            traced = torch.jit.trace(eager, sample, check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced)
        with torch.inference_mode():
            # Twice: the second pass is the one in which the compiler has settled. And with another number
            # of patches, since a trace could have taken it for a constant.
            parts = (sample, sample, sample[: max(1, len(sample) // 2)])
            same = all(_agrees(frozen(part), eager(part), precision) for part in parts)
    except (RuntimeError, TypeError, ValueError) as error:
        log.debug("%s cannot be frozen: %s", name, error)
        return eager
    return frozen if same else eager


def _has_batch_norm(network: torch.nn.Module) -> bool:
    import torch

    return any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def _agrees(frozen: Started, eager: Started, precision: str) -> bool:
    # In bfloat16, folding rounds other weights than the eager network has.
    least = _FROZEN_COSINE if precision == "float32" else _LEAST_COSINE
    return len(frozen) == len(eager) and all(
        a.shape == b.shape and _find_least_cosine(a.numpy(), b.numpy()) >= least
        for a, b in zip(frozen, eager, strict=True)
    )


def _wrap(
    network: torch.nn.Module, spec: EncoderSpec, precision: str, device: str, cells: CellPlan | None
) -> torch.nn.Module:
    """Return the network with all that comes before and after it: uint8 (n, rows, columns, 3) to features."""
    import copy

    import torch

    low = precision == "bfloat16"
    # A convolutional network is cast whole, which is fastest. A transformer's sums of residuals lose too
    # much that way: autocast keeps them in float32.
    cast = low and _has_batch_norm(network)
    body = copy.deepcopy(network).bfloat16() if cast else network
    dtype = torch.bfloat16 if cast else torch.float32
    device_type = torch.device(device).type

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            shape = (1, 3, 1, 1)
            self.mean = torch.tensor(spec.mean, device=device).view(shape)
            self.scale = (1 / torch.tensor(spec.std, device=device)).view(shape)
            self.reader = None if cells is None else make_reader(spec, cells, device)

        def forward(self, patches: torch.Tensor) -> Started:
            # Channels are last in memory already: the permutation is the layout that the network wants.
            x = patches.permute(0, 3, 1, 2).float()
            x = _fit(x, spec)
            x = ((x - self.mean) * self.scale).to(dtype)
            if cells is None or self.reader is None:
                return (self.embed(x),)
            with catch_output(self.body.get_submodule(cells.layer.module)) as caught:
                pooled = self.embed(x)
            return pooled, self.reader(caught[0])

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            if low and not cast:
                with torch.autocast(device_type, torch.bfloat16):
                    features = self.body(x)
            else:
                features = self.body(x)
            pooled: torch.Tensor = features if spec.pool is None else spec.pool(features)
            return pooled.float()

    return Whole().eval()


def _fit(patches: torch.Tensor, spec: EncoderSpec) -> torch.Tensor:
    """Return patches, (n, 3, rows, columns) of 0..255, resized and cut to what the network takes."""
    import torch

    if spec.input_size is None:
        return patches
    edge = spec.resized or spec.input_size
    # As Pillow does for the encoders' own transforms: along the rows, then along the columns, and after each
    # to 8 bits, halves upwards; that cuts a cubic's overshoot.
    for size in ([patches.shape[2], edge], [edge, edge]):
        if list(patches.shape[2:]) != size:
            resized = torch.nn.functional.interpolate(
                patches, size=size, mode=spec.interpolation, antialias=True
            )
            patches = (resized + 0.5).floor().clamp(0, 255)
    inner = slice(spec.margin, spec.margin + spec.input_size)
    return patches[:, :, inner, inner]


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a device's memory was full, which its libraries say in their own words."""
    import torch

    told = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in told or "ALLOC_FAILED" in told


def _keep_float32_exact() -> Any:
    """Keep float32 what it is.

    Left to itself, cuDNN rounds float32 to the 10 bits of TF32 and may choose its algorithm anew in each run.
    """
    import torch

    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def _find_least_cosine(a: Singles, b: Singles) -> float:
    """Return the least cosine of a row of one with the same row of the other; two zeros agree."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    same = (a64 == b64).all(axis=1)
    cosines = np.where(same, 1.0, (a64 * b64).sum(axis=1) / np.where(lengths == 0, 1, lengths))
    return float(cosines.min(initial=1.0))
