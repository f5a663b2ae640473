"""Any model of timm, by its name or as a repository of the hub describes it."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.encoders.build import make_empty
from embedder.encoders.checkpoints import load_strictly, read_checkpoint, sha256
from embedder.encoders.hub import HUB_FILES, download, fetch, page_of
from embedder.encoders.outside import ANY_MPP, Facts, Foreign, Triple, measure_dimension, tell
from embedder.encoders.pooling import class_and_mean, pool_class, pool_map_max, pool_map_mean, pool_tokens
from embedder.encoders.spec import VIT_HEADS, EncoderError, EncoderSpec, FineLayer, UnknownEncoderError
from embedder.encoders.told import INTERPOLATIONS, Told

if TYPE_CHECKING:
    import torch

TIMM, HUB = "timm:", "hf:"
_REPOSITORY = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def open_timm(name: str, weights: Path | None, told: Told) -> Foreign:
    """Return ``timm:NAME`` with its own weights or a checkpoint; parameters and errors as `open_foreign`.

    Parameters
    ----------
    name : str
        ``timm:NAME``.
    weights : Path or None
        A checkpoint in place of its own weights.
    told : Told

    Returns
    -------
    Foreign

    Raises
    ------
    UnknownEncoderError
        timm has no such model or weights, or a fact of its input is not told.
    EncoderError
        It has no weights, or they cannot be had or do not match.
    """
    import timm

    asked = name.removeprefix(TIMM)
    architecture = asked.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists them"
        raise UnknownEncoderError(f"timm {timm.__version__} has no model {architecture!r}; {hint}")
    try:
        config: Any = timm.get_pretrained_cfg(asked, allow_unregistered=False)
    except RuntimeError:
        config = None
    if config is None:
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise UnknownEncoderError(f"timm knows no weights {asked!r}; of this model there are {tags}")
    facts = config.to_dict()
    spec, network = _build(name, architecture, facts, {}, told)
    if weights is not None:
        path, source = weights, "a file"
    elif facts.get("hf_hub_id"):
        path = fetch(name, str(facts["hf_hub_id"]), HUB_FILES)
        source = f"huggingface {_pin(str(facts['hf_hub_id']), path)}"
    elif facts.get("url"):
        path, source = download(name, str(facts["url"])), str(facts["url"])
    else:
        raise EncoderError(
            f"{name} has no pretrained weights; name some ({name}.TAG), or give --weights FILE"
        )
    return _fill(replace(spec, source=f"timm {asked}; {source}"), network, path)


def open_hub(name: str, weights: Path | None, told: Told) -> Foreign:
    """Return ``hf:OWNER/NAME[@REVISION]``, as its description has it; otherwise as `open_timm`.

    Parameters
    ----------
    name : str
        ``hf:OWNER/NAME[@REVISION]``.
    weights : Path or None
        A checkpoint in place of its own weights.
    told : Told

    Returns
    -------
    Foreign

    Raises
    ------
    UnknownEncoderError
        It is no such name, or a fact of its input is not told.
    EncoderError
        The repository cannot be read or describes no timm model, or its weights do not match.
    """
    match = _REPOSITORY.fullmatch(name.removeprefix(HUB))
    if match is None:
        raise UnknownEncoderError(f"{name}: must be hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
    repository, revision = match["repository"], match["revision"]
    described = fetch(name, repository, ("config.json",), revision=revision)
    architecture, facts, arguments = _read_config(name, repository, described)
    spec, network = _build(name, architecture, facts, arguments, told)
    # The commit that its description is of, so that a push in between gives no mixture.
    commit = _find_commit(described) or revision
    path = fetch(name, repository, HUB_FILES, revision=commit) if weights is None else weights
    source = f"huggingface {_pin(repository, described, revision)}"
    return _fill(replace(spec, source=source if weights is None else f"{source}; a file"), network, path)


def _read_config(name: str, repository: str, path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return architecture, facts and arguments of a repository's description, in timm's form."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{name}: its config.json cannot be read ({error})") from error
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(architecture, str):
        raise EncoderError(
            f"{name}: {page_of(repository)} does not describe a timm model (its config.json names no "
            "architecture); give an encoder of the table, or export the network to a TorchScript file"
        )
    # Older files have the facts beside the architecture.
    facts = {**config, **(config.get("pretrained_cfg") or {})}
    arguments = {key: config[key] for key in ("global_pool",) if config.get(key) is not None}
    return architecture, facts, {**arguments, **(config.get("model_args") or {})}


def _find_commit(path: Path) -> str | None:
    """Return the commit that a file of the hub's cache is of: its folder's name."""
    return next((part for part in reversed(path.parts) if _COMMIT.fullmatch(part)), None)


def _pin(repository: str, path: Path, revision: str | None = None) -> str:
    return f"{repository}@{_find_commit(path) or revision or 'unknown revision'}"


def _build(
    name: str, architecture: str, config: Mapping[str, Any], arguments: Mapping[str, Any], told: Told
) -> tuple[EncoderSpec, torch.nn.Module]:
    """Return the facts of a timm model, and its network without weights."""
    import timm

    given = {**arguments, **({"global_pool": ""} if told.pool else {}), "num_classes": 0}
    size = told.input_size or _read_size(config)
    if told.input_size and told.input_size != _read_size(config) and _has_positions(architecture):
        given["dynamic_img_size"] = True
    try:
        network: Any = make_empty(lambda: timm.create_model(architecture, pretrained=False, **given))
    except Exception as error:
        raise EncoderError(f"{name}: timm cannot build {architecture} ({tell(error)})") from error
    facts = Facts(
        size,
        told.mean or _read_triple(config, "mean"),
        told.std or _read_triple(config, "std"),
        told.interpolation or _read_interpolation(config),
    )
    spec = EncoderSpec(
        name=name,
        dimension=0,
        **facts.require(name),
        mpp=0.5,
        mpp_range=ANY_MPP,
        source="",
        licence=str(config.get("license") or "not stated"),
        architecture=architecture,
        arguments=given,
        heads=(*VIT_HEADS, *_list_heads(config), *_list_heads(network.pretrained_cfg)),
        resized=None if told.input_size else _find_resized(facts.input_size, config),
        pool=_choose_pool(name, network, told.pool),
        pooling=told.pool or "",
    )
    device = next(network.parameters()).device.type
    dimension = measure_dimension(spec, network, device)
    return replace(spec, dimension=dimension, fine=_find_fine(network, spec.input_size)), network


def _has_positions(architecture: str) -> bool:
    """Return whether a network has learnt positions, which timm resamples for patches of another size."""
    import timm

    made = timm.model_entrypoint(architecture)
    return made.__module__.endswith((".vision_transformer", ".eva"))


def _read_size(config: Mapping[str, Any]) -> int | None:
    size = config.get("input_size")
    is_square = isinstance(size, list | tuple) and len(size) == 3 and size[1] == size[2]
    return int(size[1]) if is_square else None  # type: ignore[index]


def _read_triple(config: Mapping[str, Any], key: str) -> Triple | None:
    values = config.get(key)
    if not isinstance(values, list | tuple) or len(values) != 3:
        return None
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _read_interpolation(config: Mapping[str, Any]) -> str:
    told = str(config.get("interpolation", ""))
    return told if told in INTERPOLATIONS else ""


def _find_resized(size: int | None, config: Mapping[str, Any]) -> int | None:
    """Return the edge that patches are resized to, to be cut, by timm's own rule; None without a cut."""
    if size is None:
        return None
    resized = math.floor(size / float(config.get("crop_pct") or 1.0))
    return resized if resized > size else None


def _list_heads(config: Mapping[str, Any]) -> list[str]:
    named = config.get("classifier") or ()
    return [f"{each}." for each in ([named] if isinstance(named, str) else named)]


def _choose_pool(name: str, network: Any, pool: str | None) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return what makes an embedding of all places; None where the network has its own way."""
    if pool is None:
        return None
    prefix = getattr(network, "num_prefix_tokens", None)
    if prefix is None:
        if pool not in ("mean", "max"):
            raise UnknownEncoderError(f"{name} has no class token; give --pool mean or max")
        return pool_map_mean if pool == "mean" else pool_map_max
    if pool in ("cls", "cls+mean") and not prefix:
        raise UnknownEncoderError(f"{name} has no class token; give --pool mean or max")
    if pool == "cls+mean":
        return partial(class_and_mean, prefix=prefix)
    return pool_class if pool == "cls" else partial(pool_tokens, prefix=prefix, pool=pool)


def _find_fine(network: Any, size: int | None) -> FineLayer | None:
    """Return the layer that tells places apart, of a plain vision transformer; None where it is not known."""
    import timm
    import torch

    if not isinstance(network, timm.models.VisionTransformer) or size is None:
        return None
    edges = network.patch_embed.patch_size
    if isinstance(network.norm, torch.nn.Identity) or edges[0] != edges[1] or size % edges[0]:
        return None
    return FineLayer("norm", network.embed_dim, edges[0], padding="none", tokens=True)


def _fill(spec: EncoderSpec, network: torch.nn.Module, path: Path) -> Foreign:
    if not path.is_file():
        raise EncoderError(f"{path}: no such file; give the checkpoint of {spec.name} with --weights")
    load_strictly(spec, network, read_checkpoint(path, remedy="save the state_dict alone"))
    return Foreign(spec, network, sha256(path))
