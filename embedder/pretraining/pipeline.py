"""SimCLR on one's own slides: an encoder learns to know a patch again in another stain, turn and crop."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.embedding.request import SlideInput, as_inputs
from embedder.encoders.load import load_encoder
from embedder.encoders.network import Encoder, choose_device
from embedder.pretraining.options import PretrainError, PretrainOptions
from embedder.pretraining.probes import Probe, knn_probe, linear_probe, neighbour_probe
from embedder.pretraining.report import PretrainResult, read_result, write_encoder, write_report
from embedder.pretraining.samples import Failure, Sample, digest, draw, draw_probes, find_candidates
from embedder.pretraining.store import PatchStore
from embedder.pretraining.training import CHECKPOINT_FORMAT, Training, start_encoder
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.arrays import Singles
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.spelling import say_count

log = logging.getLogger(__name__)

_FILES = ("encoder.safetensors", "training.ckpt", "loss.png", "probe.png", "history.json")
_PROBE_BATCH = 64


def pretrain(
    slides: Sequence[SlideInput | Path], folder: Path | str, options: PretrainOptions | None = None
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
    folder = Path(folder)
    options = options or PretrainOptions()
    options.check()
    items = as_inputs(slides)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with leases.hold_lock(folder / ".pretrain.lock") as lock:
            return _pretrain(items, folder, options, lock)
    except leases.LockedError as error:
        raise PretrainError(f"{folder}: {error}") from error
    except SlideError as error:
        raise PretrainError(str(error)) from error


def _pretrain(
    items: list[SlideInput], folder: Path, options: PretrainOptions, lock: leases.Lock
) -> PretrainResult:
    drawn, probed, failures = _draw(items, options)
    encoder = start_encoder(options)
    request = _request(options, encoder, digest(drawn))
    saved = _read_saved(folder, request, options)
    mark = json.loads(request) | {"probes": digest(probed)}
    if saved is not None and (done := read_result(folder, mark, failures)) is not None:
        log.info("%s: is there already, made as asked", done.encoder)
        return done
    limit = options.damage_limit
    store = PatchStore.open(folder / ".patches", drawn, damage_limit=limit)
    probe_store = PatchStore.open(folder / ".probes", probed, damage_limit=limit) if probed else None
    stores = [store] if probe_store is None else [store, probe_store]
    result = folder / "encoder.safetensors"
    try:
        _require_batch(len(store.patches), options)
        training = Training(encoder, store.patches, options, request)
        if saved is not None:
            training.restore(saved)
            log.info("%s: going on after %d of %d steps", folder, training.step, training.n_steps)
        training.run(folder / "training.ckpt", lock)
        lock.check("this folder")
        write_encoder(result, training, encoder, options)
        probes = {} if probe_store is None else _compare(probe_store, result, options)
        n_steps, loss, seconds = training.n_steps, tuple(training.loss), training.seconds
        del training  # it holds the patches, too
    finally:
        # What was read stays for a run that goes on; Windows removes no file that is mapped.
        for kept in stores:
            kept.close()
    made = PretrainResult(
        encoder=result,
        steps=n_steps,
        n_patches=len(store.slides()),
        n_slides=len(store.samples),
        loss=loss,
        probes=probes,
        failures=(*failures, *(failure for failure in store.failures if failure not in failures)),
    )
    write_report(folder, made, options, seconds=seconds, mark=mark)
    for kept in stores:
        kept.remove()
    log.info(
        "%s: %s on %d patches of %s",
        result,
        say_count(n_steps, "step"),
        made.n_patches,
        say_count(made.n_slides, "slide"),
    )
    return made


def _draw(
    items: list[SlideInput], options: PretrainOptions
) -> tuple[list[Sample], list[Sample], list[Failure]]:
    """Return the patches to train on and those to probe with, and the slides that cannot be used."""
    candidates, failures = find_candidates(items, options=options, truth=options.truth)
    if not candidates:
        why = failures[0][1] if failures else "none was given"
        raise PretrainError(f"there is no slide to train on: {why}")
    drawn = draw(candidates, options.patches, seed=options.seed)
    _require_batch(sum(len(sample.grid) for sample in drawn), options)
    probed = draw_probes(candidates, options.probe_patches, seed=options.seed)
    if not probed and options.probe_patches and options.truth is not None:
        raise PretrainError(
            f"{options.truth}: has no truth for any slide; it would be {items[0].name}_mask.png"
        )
    return drawn, probed, failures


def _require_batch(n_patches: int, options: PretrainOptions) -> None:
    if n_patches < options.batch_size:
        raise PretrainError(
            f"the slides have {n_patches} patches of tissue, fewer than a batch of {options.batch_size}; "
            "give more slides, a smaller --batch-size or a greater --overlap"
        )


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
        known = state["format"] == CHECKPOINT_FORMAT
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise PretrainError(
            f"{path}: cannot be read as a training ({reason}); give another -o, or --overwrite"
        ) from error
    if not known:
        raise PretrainError(f"{path}: was written by another version; give another -o, or --overwrite")
    if earlier != asked:
        different = ", ".join(name for name in asked if asked[name] != earlier.get(name))
        raise PretrainError(
            f"{folder}: holds another training (different: {different}); give another -o, or --overwrite"
        )
    return state


def _compare(store: PatchStore, trained: Path, options: PretrainOptions) -> dict[str, Probe]:
    """Compare the start with the file that was written, on patches that lie in `store`."""
    encoders = (
        start_encoder(options),
        load_encoder(str(trained), device=choose_device(options.device), precision="float32"),
    )
    features = [_embed(encoder, store.patches) for encoder in encoders]
    labels, slides, n = store.labels(), store.slides(), len(store.patches)
    if labels is None:
        if n < 2:
            return {}
        (start, chance), (end, _) = (neighbour_probe(X, store.places(), slides) for X in features)
        return {"nearest patches within 2 strides": Probe(start, end, chance)}
    n_labels = len(np.unique(labels))
    if n_labels < 2 or n < _PROBE_BATCH:
        log.warning(
            "the truth gives %d patches of %d labels, too few to compare the encoder with its start",
            n,
            n_labels,
        )
        return {}
    probes = {}
    for name, probe in (("neighbours", knn_probe), ("linear", linear_probe)):
        start, end = (probe(X, labels, groups=slides) for X in features)
        probes[f"{name}, balanced accuracy"] = Probe(start, end, 1 / n_labels)
    return probes


def _embed(encoder: Encoder, patches: npt.NDArray[np.uint8]) -> Singles:
    parts = range(0, len(patches), _PROBE_BATCH)
    return np.concatenate([encoder.encode(patches[begin : begin + _PROBE_BATCH]) for begin in parts])
