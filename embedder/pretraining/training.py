"""The steps of a training, SimCLR as in Chen et al. 2020, from what it starts from to its last step.

All randomness comes from the seed and the number of the step, so a run that was stopped and goes on does what
it would have done without the stop.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedder.encoders.load import load_encoder
from embedder.encoders.network import Encoder, choose_device
from embedder.encoders.table import ENCODERS, TRAINABLE
from embedder.pretraining.augment import view
from embedder.pretraining.options import PretrainError, PretrainOptions
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.arrays import Integers
from tissuumaps_sic.slidefile.writing import replacing

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CHECKPOINT_FORMAT = "tissuumaps-sic-simclr-training/1"
# Steps of a run over which the learning rate rises to its full height.
_WARM_UP = 0.1
_HIDDEN, _PROJECTED = 512, 128


def start_encoder(options: PretrainOptions) -> Encoder:
    """Return what a training starts from: an encoder with its weights, or with random ones from the seed.

    Parameters
    ----------
    options : PretrainOptions

    Returns
    -------
    Encoder

    Raises
    ------
    PretrainError
        When it is no convolutional network whose file could be loaded again.
    EncoderError
        When it cannot be loaded.
    """
    device = choose_device(options.device)
    if options.start == "random":
        spec = ENCODERS[options.encoder]
        _require_trainable(spec.architecture, options.encoder)
        network = _make_random_network(spec.architecture, options.seed)
        return Encoder(spec, network, name=spec.name, weights_sha256="", device=device, precision="float32")
    encoder = load_encoder(options.encoder, weights=options.weights, device=device, precision="float32")
    _require_trainable(encoder.spec.architecture, options.encoder)
    return encoder


def _require_trainable(architecture: str, name: str) -> None:
    if architecture not in TRAINABLE:
        raise PretrainError(
            f"{name} cannot be trained here: it is no convolutional network that is known; start from "
            "efficientnet-lite0, resnet18, resnet50, or a checkpoint of one of them"
        )


def _make_random_network(architecture: str, seed: int) -> torch.nn.Module:
    import timm
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: torch.nn.Module
        if architecture.startswith("tf_"):
            network = timm.create_model(architecture, pretrained=False)
            network.classifier = torch.nn.Identity()
        else:
            network = getattr(torchvision.models, architecture)(weights=None)
            network.fc = torch.nn.Identity()
    return network


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Return the learning rate of a step, 0 to `steps` - 1: a rise in a line, then half a cosine.

    Parameters
    ----------
    step : int
    steps : int
        In all.
    highest : float

    Returns
    -------
    float
    """
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return highest * (step + 1) / rise
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class Training:
    """A network, its head and its optimiser, and how far they are."""

    def __init__(
        self,
        encoder: Encoder,
        patches: npt.NDArray[np.uint8],
        options: PretrainOptions,
        request: str,
    ) -> None:
        import torch
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.options = options
        # What an epoch leaves over, fewer than a batch, is seen in another epoch.
        self.steps_per_epoch = len(patches) // options.batch_size
        self.n_steps = options.epochs * self.steps_per_epoch
        self.step = 0
        self.loss: list[float] = []
        self.seconds = 0.0
        self._patches = patches
        self._request = request
        self._device = torch.device(encoder.device)
        self.network = encoder.network.train().requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            head = SimCLRProjectionHead(encoder.dimension, _HIDDEN, _PROJECTED)
        self._head: torch.nn.Module = head.to(self._device).train()
        self._criterion = NTXentLoss(temperature=options.temperature)
        self._mean, self._std = (
            torch.tensor(color, device=self._device).view(1, 3, 1, 1) / 255
            for color in (encoder.spec.mean, encoder.spec.std)
        )
        parameters = [*self.network.parameters(), *self._head.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": [weight for weight in parameters if weight.ndim > 1]},
            # A decay of biases and norms shrinks what only shifts and scales.
            {"params": [weight for weight in parameters if weight.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(
            groups, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self._low = options.precision == "bfloat16" or (
            options.precision == "auto" and self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        )

    def run(self, checkpoint: Path, lock: leases.Lock) -> None:
        """Do the steps that are left, saving after every epoch and when interrupted, if still locked.

        Parameters
        ----------
        checkpoint : Path
        lock : Lock

        Raises
        ------
        PretrainError
            The loss is no longer a number.
        LostError
            The folder's lock is another run's.
        KeyboardInterrupt
            After the step under way was saved.
        """
        from tqdm import tqdm

        with (
            _hold_interrupts() as interrupted,
            tqdm(total=self.n_steps, initial=self.step, desc="training", unit=" steps") as bar,
        ):
            while self.step < self.n_steps:
                started = time.perf_counter()
                loss = self._do_step()
                self.seconds += time.perf_counter() - started
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
                if self.step % self.steps_per_epoch == 0 or interrupted():
                    lock.check("this folder")
                    self.save(checkpoint)
                if interrupted():
                    raise KeyboardInterrupt

    def _do_step(self) -> float:
        import torch

        options = self.options
        generator = torch.Generator().manual_seed(_make_seed(options.seed, self.step))
        batch = torch.from_numpy(self._patches[self._rows()]).permute(0, 3, 1, 2).to(self._device)
        # One pass for both views: batch normalisation sees them together.
        views = torch.cat([view(batch, generator=generator, options=options.augment) for _ in range(2)])
        views = ((views - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.n_steps, options.learning_rate)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._low):
            projected = self._head(self.network(views))
        loss: torch.Tensor = self._criterion(*projected.float().chunk(2))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise PretrainError(
                f"the loss is {value} at step {self.step + 1} of {self.n_steps}; choose a "
                f"--learning-rate below {options.learning_rate:g}, and another -o or --overwrite"
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.loss.append(value)
        self.step += 1
        return value

    def _rows(self) -> Integers:
        """Return which patches the next step sees, in ascending order, as they lie on disk."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        order = np.random.default_rng([self.options.seed, epoch, 2]).permutation(len(self._patches))
        begin = place * self.options.batch_size
        return np.sort(order[begin : begin + self.options.batch_size])

    def save(self, path: Path) -> None:
        """Write all that a run needs to go on.

        Parameters
        ----------
        path : Path
        """
        import torch

        state = {
            "format": CHECKPOINT_FORMAT,
            "request": self._request,
            "step": self.step,
            "loss": self.loss,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "head": self._head.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a run was that wrote `state`.

        Parameters
        ----------
        state : dict
            As `save` wrote it.
        """
        self.network.load_state_dict(state["network"])
        self._head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.loss, self.seconds = state["step"], list(state["loss"]), state["seconds"]


@contextmanager
def _hold_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C was pressed; a second Ctrl-C interrupts at once.

    A step that is broken off leaves weights that are half new: no run could go on from them to the same
    result. Where the process has its own way with interrupts, or this is no main thread, nothing is held.
    """
    pressed = threading.Event()
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
        yield pressed.is_set
        return

    def hold(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, usual)
        log.info("stopping after this step; what is done is kept")

    signal.signal(signal.SIGINT, hold)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, usual)


def _make_seed(seed: int, step: int) -> int:
    # Neighbouring seeds and steps give unrelated numbers; a bit less, since torch takes signed ones.
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
