"""What a training leaves in its folder: the encoder, two figures, and the record of how it went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from embedder.encoders.checkpoints import PRETRAINED_FORMAT
from embedder.encoders.network import Encoder
from embedder.pretraining.figures import loss_figure, probe_figure
from embedder.pretraining.options import PretrainOptions
from embedder.pretraining.probes import Probe
from embedder.pretraining.samples import Failure
from embedder.pretraining.training import Training
from tissuumaps_sic.slidefile.writing import replacing


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


def read_result(folder: Path, mark: dict[str, Any], failures: Sequence[Failure]) -> PretrainResult | None:
    """Return what a finished run of the same training left in a folder, if one did.

    Parameters
    ----------
    folder : Path
    mark : dict
        All that the training depends on, as `write_report` was given it.
    failures : sequence of (slide, message)
        Of this run, for the result.

    Returns
    -------
    PretrainResult or None
    """
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
            probes={name: Probe(**probe) for name, probe in history["probes"].items()},
            failures=tuple(failures),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_encoder(path: Path, training: Training, encoder: Encoder, options: PretrainOptions) -> None:
    """Write the backbone as `load_encoder` reads it, without a path or a slide's name.

    Parameters
    ----------
    path : Path
    training : Training
    encoder : Encoder
        That it started from.
    options : PretrainOptions
    """
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


def write_report(
    folder: Path,
    result: PretrainResult,
    options: PretrainOptions,
    *,
    seconds: float,
    mark: dict[str, Any],
) -> None:
    """Write the figures and then ``history.json``, by which `read_result` knows that the training is done.

    Parameters
    ----------
    folder : Path
    result : PretrainResult
    options : PretrainOptions
    seconds : float
        That the steps took.
    mark : dict
        All that the training depends on.
    """
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
        "probes": {name: asdict(probe) for name, probe in result.probes.items()},
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
