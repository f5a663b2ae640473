"""SimCLR on one's own slides: an encoder that learns to know a patch again in another stain, turn and crop.

Chen et al. 2020, with augmentations for histology. All randomness comes from the seed and the number of the
step, so a run that was stopped and goes on does what it would have done without the stop.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedder.embedding.pipeline import EmbedOptions
from embedder.embedding.request import SlideInput
from embedder.encoders.checkpoints import PRETRAINED_FORMAT
from embedder.encoders.network import Encoder
from embedder.encoders.table import DEFAULT_ENCODER, ENCODERS, load_encoder
from embedder.pretraining.augment import AugmentOptions, view
from embedder.pretraining.probes import knn_probe, linear_probe, neighbour_probe
from embedder.pretraining.samples import Failure, PatchStore, digest, draw, draw_probes, plan_slides
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.pixels.slide import SlideError
from tissuumaps_sic.slidefile.writing import replacing

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

STARTS = ("weights", "random")
PRECISIONS = ("auto", "float32", "bfloat16")
# What `load_encoder` builds again from a file's own words.
TRAINABLE = ("resnet18", "resnet50", "tf_efficientnet_lite0")

_FILES = ("encoder.safetensors", "training.ckpt", "loss.png", "probe.png", "history.json")
_CHECKPOINT_FORMAT = "tissuumaps-sic-simclr-training/1"
# Steps of a run over which the learning rate rises to its full height.
_WARM_UP = 0.1
_HIDDEN, _PROJECTED = 512, 128
_PROBE_BATCH = 64


class PretrainError(SicError):
    """An encoder cannot be trained as asked; the message says what to change."""


@dataclass(frozen=True)
class PretrainOptions:
    """How an encoder is trained.

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
    mpp, slide_mpp, patch_size, overlap, tissue, tissue_classes, tissue_from_bounds, min_tissue
        As in `EmbedOptions`. Embed with the same resolution and patch size.
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
    mpp: float = 0.5
    slide_mpp: float | None = None
    patch_size: int = 256
    overlap: float = 0.5
    tissue: Path | None = None
    tissue_classes: tuple[str, ...] = ()
    tissue_from_bounds: bool = False
    min_tissue: float = 0.5
    device: str = "auto"
    precision: str = "auto"
    probe_patches: int = 1000
    truth: Path | None = None
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class Probe:
    """What one probe found, 0 to 1: of the start, of the trained encoder, and by chance."""

    start: float
    trained: float
    chance: float


@dataclass(frozen=True)
class PretrainResult:
    """What came of a training.

    Attributes
    ----------
    encoder : Path
        The file that `load_encoder` takes.
    steps : int
    n_patches, n_slides : int
        Trained on.
    loss : tuple of float
        Of each step.
    probes : dict of str to Probe
        By what was asked.
    failures : tuple of (slide, message)
        Slides that were left out.
    """

    encoder: Path
    steps: int
    n_patches: int
    n_slides: int
    loss: tuple[float, ...]
    probes: dict[str, Probe]
    failures: tuple[Failure, ...]


def pretrain(
    slides: Sequence[SlideInput | Path], folder: Path, options: PretrainOptions | None = None
) -> PretrainResult:
    """Train an encoder on the tissue of slides, and compare it with what it started from.

    A run that was stopped goes on where it was when it is asked for again, to the same result (on a
    processor, to the last bit).

    Parameters
    ----------
    slides : sequence of SlideInput or Path
        A slide that cannot be read is told, and left out.
    folder : Path
        Where ``encoder.safetensors``, ``training.ckpt``, ``loss.png``, ``probe.png`` and ``history.json`` go;
        made if it is not there. Until the end it holds the patches, too.
    options : PretrainOptions, optional

    Returns
    -------
    PretrainResult

    Raises
    ------
    PretrainError
        When an option cannot be used, no slide gives a patch, the folder holds another training, or the loss
        is no longer a number.
    EncoderError
        When the encoder cannot be loaded.
    OSError
        When the folder cannot be written.
    KeyboardInterrupt
        Passed on after the step under way was finished and saved.
    """
    options = options or PretrainOptions()
    _check(options)
    items = [each if isinstance(each, SlideInput) else SlideInput(each) for each in slides]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with leases.locked(folder / ".pretrain.lock") as lock:
            return _pretrain(items, folder, options, lock)
    except leases.LockedError as error:
        raise PretrainError(f"{folder}: {error}") from error
    except SlideError as error:
        raise PretrainError(str(error)) from error


def start_encoder(options: PretrainOptions) -> Encoder:
    """Return what a training starts from: an encoder with its weights, or with random ones from the seed.

    Raises
    ------
    PretrainError
        When it is no convolutional network whose file could be loaded again.
    EncoderError
        When it cannot be loaded.
    """
    device = _device(options.device)
    if options.start == "random":
        spec = ENCODERS[options.encoder]
        _require_trainable(spec.architecture, options.encoder)
        network = _random_network(spec.architecture, options.seed)
        return Encoder(spec, network, name=spec.name, weights_sha256="", device=device, precision="float32")
    encoder = load_encoder(options.encoder, weights=options.weights, device=device, precision="float32")
    _require_trainable(encoder.spec.architecture, options.encoder)
    return encoder


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Return the learning rate of a step, 0 to `steps` - 1: a rise in a line, then half a cosine."""
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return highest * (step + 1) / rise
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


# ------------------------------------------------------------------------------------------- the whole


def _pretrain(
    items: list[SlideInput], folder: Path, options: PretrainOptions, lock: leases.Lock
) -> PretrainResult:
    layout = EmbedOptions(
        mpp=options.mpp,
        slide_mpp=options.slide_mpp,
        patch_size=options.patch_size,
        overlap=options.overlap,
        tissue=options.tissue,
        tissue_classes=options.tissue_classes,
        tissue_from_bounds=options.tissue_from_bounds,
        min_tissue=options.min_tissue,
    )
    plans, failures = plan_slides(items, options=layout, truth=options.truth)
    if not plans:
        told = failures[0][1] if failures else "none was given"
        raise PretrainError(f"there is no slide to train on: {told}")
    drawn = draw(plans, options.patches, seed=options.seed)
    _require_batch(sum(len(each.grid) for each in drawn), options)
    probed = draw_probes(plans, options.probe_patches, seed=options.seed)
    if not probed and options.probe_patches and options.truth is not None:
        raise PretrainError(
            f"{options.truth}: has no truth for any slide; it would be {items[0].name}_mask.png"
        )
    encoder = start_encoder(options)
    request = _request(options, encoder, digest(drawn))
    saved = _read_saved(folder, request, options)
    mark = json.loads(request) | {"probes": digest(probed)}
    if saved is not None and (done := _done(folder, mark, failures)) is not None:
        log.info("%s: is there already, made as asked", done.encoder)
        return done
    store = PatchStore.open(folder / ".patches", drawn)
    probe_store = PatchStore.open(folder / ".probes", probed) if probed else None
    try:
        _require_batch(len(store.patches), options)
        n_steps = options.epochs * (len(store.patches) // options.batch_size)
        training = _Training(encoder, store.patches, options, n_steps, request)
        if saved is not None:
            training.restore(saved)
            log.info("%s: going on after %d of %d steps", folder, training.step, n_steps)
        training.run(folder / "training.ckpt", lock)
        lock.check("this folder")
        result = folder / "encoder.safetensors"
        _write_encoder(result, training, encoder, options)
        probes = {} if probe_store is None else _probe(probe_store, result, options)
        loss, seconds = tuple(training.loss), training.seconds
        del training  # it holds the patches, too
    finally:
        # What was read stays for a run that goes on; Windows removes no file that is mapped.
        for each in (store, probe_store):
            if each is not None:
                each.close()
    failures += [each for each in store.failures if each not in failures]
    found = PretrainResult(
        encoder=result,
        steps=n_steps,
        n_patches=len(store.slides()),
        n_slides=len(store.drawn),
        loss=loss,
        probes=probes,
        failures=tuple(failures),
    )
    _write_report(folder, found, options, seconds=seconds, mark=mark)
    for each in (store, probe_store):
        if each is not None:
            each.remove()
    log.info("%s: %d steps on %d patches of %d slides", result, n_steps, found.n_patches, found.n_slides)
    return found


def _check(options: PretrainOptions) -> None:
    for word, value, choices in (
        ("start", options.start, STARTS),
        ("precision", options.precision, PRECISIONS),
    ):
        if value not in choices:
            raise PretrainError(f"there is no {word} {value!r}; choose one of {', '.join(choices)}")
    for word, number, least in (
        ("patches", options.patches, 2),
        ("epochs", options.epochs, 1),
        ("batch_size", options.batch_size, 2),
        ("probe_patches", options.probe_patches, 0),
        ("seed", options.seed, 0),
    ):
        if number < least:
            raise PretrainError(f"{word} is {number}; give {least} or more")
    for word, real in (("learning_rate", options.learning_rate), ("temperature", options.temperature)):
        if not (math.isfinite(real) and real > 0):
            raise PretrainError(f"{word} is {real:g}; give a number above 0")
    if options.start == "random" and options.weights is not None:
        raise PretrainError(f"{options.weights}: a random start takes no weights; leave out one of the two")
    if options.start == "random" and options.encoder not in ENCODERS:
        raise PretrainError(f"{options.encoder}: a random start takes an architecture's name; give resnet18")


def _require_batch(n_patches: int, options: PretrainOptions) -> None:
    if n_patches < options.batch_size:
        raise PretrainError(
            f"the slides have {n_patches} patches of tissue, fewer than a batch of {options.batch_size}; "
            "give more slides, a smaller --batch-size or a greater --overlap"
        )


def _require_trainable(architecture: str, name: str) -> None:
    if architecture not in TRAINABLE:
        raise PretrainError(
            f"{name} cannot be trained here: it is no convolutional network that is known; start from "
            "efficientnet-lite0, resnet18, resnet50, or a checkpoint of one of them"
        )


def _random_network(architecture: str, seed: int) -> torch.nn.Module:
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


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


# --------------------------------------------------------------------------------------------- training


class _Training:
    """A network, its head and its optimiser, and how far they are."""

    def __init__(
        self,
        encoder: Encoder,
        patches: npt.NDArray[np.uint8],
        options: PretrainOptions,
        n_steps: int,
        request: str,
    ) -> None:
        import torch
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.options = options
        self.n_steps = n_steps
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
            torch.tensor(each, device=self._device).view(1, 3, 1, 1) / 255
            for each in (encoder.spec.mean, encoder.spec.std)
        )
        parameters = [*self.network.parameters(), *self._head.parameters()]
        groups: list[dict[str, Any]] = [
            {"params": [each for each in parameters if each.ndim > 1]},
            # A decay of biases and norms shrinks what only shifts and scales.
            {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(
            groups, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self._low = options.precision == "bfloat16" or (
            options.precision == "auto" and self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; what is left over, fewer than a batch, is seen in another epoch."""
        return len(self._patches) // self.options.batch_size

    def run(self, checkpoint: Path, lock: leases.Lock) -> None:
        """Do the steps that are left, saving after every epoch and when interrupted, if still locked."""
        from tqdm import tqdm

        with (
            _interrupts_held() as interrupted,
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
        generator = torch.Generator().manual_seed(_seed_of(options.seed, self.step))
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
                f"the loss is {value} at step {self.step + 1} of {self.n_steps}; choose a learning rate "
                f"below {options.learning_rate:g} and another folder, or --overwrite"
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.loss.append(value)
        self.step += 1
        return value

    def _rows(self) -> npt.NDArray[np.int64]:
        """Return which patches the next step sees, in ascending order, as they lie on disk."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        order = np.random.default_rng([self.options.seed, epoch, 2]).permutation(len(self._patches))
        begin = place * self.options.batch_size
        return np.sort(order[begin : begin + self.options.batch_size])

    def save(self, path: Path) -> None:
        """Write all that a run needs to go on."""
        import torch

        state = {
            "format": _CHECKPOINT_FORMAT,
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
        """Go on where a run was that wrote `state`."""
        self.network.load_state_dict(state["network"])
        self._head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.loss, self.seconds = state["step"], list(state["loss"]), state["seconds"]


@contextmanager
def _interrupts_held() -> Iterator[Callable[[], bool]]:
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


def _seed_of(seed: int, step: int) -> int:
    # Neighbouring seeds and steps give unrelated numbers; a bit less, since torch takes signed ones.
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


def _request(options: PretrainOptions, encoder: Encoder, patches: str) -> str:
    """Return, as JSON, all that a training depends on, but for the machine that it runs on."""
    names = (
        "start",
        "epochs",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "temperature",
        "augment",
        "seed",
    )
    given = asdict(options)
    facts = {name: given[name] for name in names} | {
        "architecture": encoder.spec.architecture,
        "weights": encoder.weights_sha256,
        "patches": patches,
    }
    return json.dumps(facts, sort_keys=True)


def _read_saved(folder: Path, request: str, options: PretrainOptions) -> dict[str, Any] | None:
    """Return what an earlier run of the same training left; nothing where there is none."""
    import torch

    path = folder / "training.ckpt"
    if options.overwrite:
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        earlier, asked = json.loads(state["request"]), json.loads(request)
        known = state["format"] == _CHECKPOINT_FORMAT
    except Exception as error:
        told = " ".join(str(error).split())[:100]
        raise PretrainError(
            f"{path}: cannot be read as a training ({told}); give another -o, or --overwrite"
        ) from error
    if not known:
        raise PretrainError(f"{path}: was written by another version; give another -o, or --overwrite")
    if earlier != asked:
        different = ", ".join(name for name in asked if asked[name] != earlier.get(name))
        raise PretrainError(
            f"{folder}: holds another training (different: {different}); give another -o, or --overwrite"
        )
    return state


# ---------------------------------------------------------------------------------------------- results


def _done(folder: Path, mark: dict[str, Any], failures: Sequence[Failure]) -> PretrainResult | None:
    """Return what a finished run of the same training left in a folder, if one did."""
    try:
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        encoder = folder / "encoder.safetensors"
        if history["training"] != mark or not encoder.is_file():
            return None
        return PretrainResult(
            encoder=encoder,
            steps=history["steps"],
            n_patches=history["n_patches"],
            n_slides=history["n_slides"],
            loss=tuple(history["loss"]),
            probes={name: Probe(**each) for name, each in history["probes"].items()},
            failures=tuple(failures),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_encoder(path: Path, training: _Training, encoder: Encoder, options: PretrainOptions) -> None:
    """Write the backbone as `load_encoder` reads it, without a path or a slide's name."""
    from safetensors.torch import save_file

    facts = {
        "format": PRETRAINED_FORMAT,
        "architecture": encoder.spec.architecture,
        "mean": json.dumps(encoder.spec.mean),
        "std": json.dumps(encoder.spec.std),
        "mpp": json.dumps(options.mpp),
        "patch_size": str(options.patch_size),
        "steps": str(training.step),
        "version": version("tissuumaps-sic"),
    }
    if encoder.weights_sha256:
        facts["start_sha256"] = encoder.weights_sha256
    state = {key: value.detach().cpu().contiguous() for key, value in training.network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, temporary, metadata=facts)


def _probe(store: PatchStore, trained: Path, options: PretrainOptions) -> dict[str, Probe]:
    """Compare the start with the file that was written, on patches that lie in `store`."""
    encoders = (
        start_encoder(options),
        load_encoder(str(trained), device=_device(options.device), precision="float32"),
    )
    features = [_embedded(each, store.patches) for each in encoders]
    labels, slides, n = store.labels(), store.slides(), len(store.patches)
    if labels is None:
        if n < 2:
            return {}
        (start, chance), (end, _) = (neighbour_probe(each, store.places(), slides) for each in features)
        return {"nearest patches within 2 strides": Probe(start, end, chance)}
    n_labels = len(np.unique(labels))
    if n_labels < 2 or n < _PROBE_BATCH:
        log.warning("the truth gives %d patches of %d labels, too few to probe", n, n_labels)
        return {}
    found = {}
    for name, probe in (("neighbours", knn_probe), ("linear", linear_probe)):
        start, end = (probe(each, labels, groups=slides) for each in features)
        found[f"{name}, balanced accuracy"] = Probe(start, end, 1 / n_labels)
    return found


def _embedded(encoder: Encoder, patches: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    parts = range(0, len(patches), _PROBE_BATCH)
    return np.concatenate([encoder.encode(patches[begin : begin + _PROBE_BATCH]) for begin in parts])


def _write_report(
    folder: Path,
    result: PretrainResult,
    options: PretrainOptions,
    *,
    seconds: float,
    mark: dict[str, Any],
) -> None:
    from embedder.pretraining.figures import loss_figure, probe_figure

    history = {
        "schema": "tissuumaps-sic/pretrain/1",
        "training": mark,
        "mpp": options.mpp,
        "patch_size": options.patch_size,
        "n_patches": result.n_patches,
        "n_slides": result.n_slides,
        "n_slides_left_out": len(result.failures),
        "steps": result.steps,
        "steps_per_epoch": result.steps // options.epochs,
        "seconds": round(seconds, 1),
        "loss": list(result.loss),
        "probes": {name: asdict(each) for name, each in result.probes.items()},
        "versions": {name: version(name) for name in ("tissuumaps-sic", "torch", "lightly")},
    }
    with replacing(folder / "loss.png") as temporary:
        loss_figure(result.loss, steps_per_epoch=result.steps // options.epochs).savefig(temporary)
    if result.probes:
        with replacing(folder / "probe.png") as temporary:
            probe_figure(result.probes).savefig(temporary)
    # Last: where it is, the training is done.
    with replacing(folder / "history.json") as temporary:
        temporary.write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")
