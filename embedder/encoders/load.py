"""Loading an encoder by its name or from a file, and the list of those that can be loaded here.

Weights are never guessed at: a checkpoint that does not match its network key for key is refused, and its
sha256 goes into the provenance.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import shorten

from embedder.encoders.build import build
from embedder.encoders.checkpoints import (
    Checkpoint,
    fit_grid,
    load_strictly,
    read_checkpoint,
    read_pretrained,
    sha256,
)
from embedder.encoders.foreign import open_foreign
from embedder.encoders.hub import READY, find_state, find_weights, require_conch
from embedder.encoders.known import KNOWN, KnownEncoder
from embedder.encoders.network import Encoder
from embedder.encoders.outside import Foreign
from embedder.encoders.packages import list_packages
from embedder.encoders.spec import DEFAULT_ENCODER, PRECISIONS, EncoderError, EncoderSpec, UnknownEncoderError
from embedder.encoders.table import ENCODERS, SIMCLR, TRAINABLE
from embedder.encoders.told import Told

log = logging.getLogger(__name__)

NOTHING_TOLD = Told()

# So that a line of the list fits 100 columns.
_LICENCE_WIDTH = 28
_BELOW_TABLE = (
    "embedder encoders --details NAME says where it comes from, what it needs here, and how.",
    "* Some facts could not be read; --details NAME says which.",
    "--encoder PATH takes a checkpoint of a CNN above, or what `embedder pretrain` wrote.",
    "--encoder timm:NAME, hf:OWNER/NAME, or PATH of a TorchScript or torch.export file takes any other.",
)


@dataclass(frozen=True)
class EncoderStatus:
    """An encoder, and what it takes to use it on this machine.

    Attributes
    ----------
    name : str
        As given to ``--encoder``.
    dimension : int or None
        Length of an embedding; None where a file tells it.
    input_size : int or None
        Edge in pixels that the network takes; None where that is any, or a file tells it.
    mpp : float or None
        µm per pixel at which it is best used; None where a file tells it.
    licence, source : str
        Of the weights.
    state : str
        "ready", or "needs ..." with all that is to be done.
    summary : str
        The same in two or three words.
    usable : bool
        Whether nothing has to be fetched, asked for or installed.
    unread : tuple of str
        Facts that no card or repository was at hand for.
    """

    name: str
    dimension: int | None
    input_size: int | None
    mpp: float | None
    licence: str
    source: str
    state: str
    summary: str
    usable: bool
    unread: tuple[str, ...] = ()


def available_encoders() -> list[EncoderStatus]:
    """Return every encoder with what it takes to use it here; nothing is fetched.

    Returns
    -------
    list of EncoderStatus
        Those that everybody may fetch and use come first.
    """
    statuses = []
    # What everybody may fetch and use comes first.
    for spec in sorted(ENCODERS.values(), key=lambda each: (each.gated, not each.is_free)):
        state = find_state(spec)
        facts = (spec.name, spec.dimension, spec.input_size, spec.mpp, spec.licence, spec.source)
        statuses.append(
            EncoderStatus(*facts, state.text, state.summary, usable=state == READY, unread=spec.unread)
        )
    needs = "needs --weights FILE: the encoder.safetensors that `embedder pretrain` wrote"
    of_file = (SIMCLR, None, None, None, "your own", "your slides")
    own = EncoderStatus(*of_file, needs, "needs --weights", usable=False)
    packages = list_packages()
    offered = {each.name for each in packages}
    known = [_describe_known(each) for each in KNOWN.values() if each.name not in offered]
    return [*statuses, *known, own, *map(_describe_package, packages)]


def describe_encoder(name: str) -> list[tuple[str, str]]:
    """Return all that is known of an encoder by its name, as pairs of what and which.

    Parameters
    ----------
    name : str

    Returns
    -------
    list of (str, str)

    Raises
    ------
    UnknownEncoderError
        When it is none.
    """
    if name not in ENCODERS:
        # First, as `load_encoder` has it: a package may offer what is known and not loaded here.
        offered = next((each for each in list_packages() if each.name == name), None)
        if offered is not None:
            return _list_offered(offered)
        if name in KNOWN:
            return _list_known(KNOWN[name])
        raise UnknownEncoderError(_explain_unknown(name))
    spec = ENCODERS[name]
    least, most = spec.mpp_range or (spec.mpp, spec.mpp)
    trained = f"{least:g} µm/px" if least == most else f"{least:g} to {most:g} µm/px"
    if most == float("inf"):
        trained = "any resolution"
    elif not spec.tells_resolution:
        trained = "not told"
    layer = "none"
    if spec.fine is not None:
        layer = f"{spec.fine.module}: {spec.fine.channels} numbers for each {spec.fine.stride} px"
    return [
        ("encoder", name),
        ("embedding", f"{spec.dimension}-d"),
        ("what is done to a patch", spec.transform),
        ("best at", f"{spec.mpp:g} µm/px{'' if spec.tells_resolution else ', by convention'}"),
        ("trained at", trained),
        ("network", f"{spec.architecture} ({'written here' if spec.library == 'own' else spec.library})"),
        ("cells", layer),
        ("source", spec.source),
        ("licence", f"{spec.licence} ({'for any use' if spec.is_free else 'read it before you use it'})"),
        ("weights", "on request" if spec.gated else "for everybody"),
        ("state", find_state(spec).text),
        ("could not be read", ", ".join(spec.unread) or "nothing"),
    ]


def _list_offered(offered: EntryPoint) -> list[tuple[str, str]]:
    status = _describe_package(offered)
    return [
        ("encoder", status.name),
        ("source", status.source),
        ("licence", status.licence),
        ("state", status.state),
        ("all else", "told by the package when it is loaded"),
    ]


def _list_known(known: KnownEncoder) -> list[tuple[str, str]]:
    return [
        ("encoder", known.name),
        ("embedding", f"{known.dimension}-d"),
        *known.facts,
        ("best at", f"{known.mpp:g} µm/px"),
        ("source", known.source),
        ("licence", f"{known.licence} (read it before you use it)"),
        ("state", "known, not loaded here"),
        ("could not be read", known.reason),
        ("what to do", known.remedy),
    ]


def _describe_known(known: KnownEncoder) -> EncoderStatus:
    facts = (known.name, known.dimension, known.input_size, known.mpp, known.licence, known.source)
    return EncoderStatus(*facts, known.state, "not loaded here", usable=False, unread=("its network",))


def _describe_package(offered: EntryPoint) -> EncoderStatus:
    package = f"package {offered.dist.name} {offered.dist.version}" if offered.dist else offered.module
    facts = (offered.name, None, None, None, "by package", package)
    return EncoderStatus(*facts, READY.text, READY.summary, usable=True)


def format_table(encoders: Sequence[EncoderStatus]) -> list[str]:
    """Return a table of encoders that fits a terminal of 100 columns, and what else can be given.

    Parameters
    ----------
    encoders : sequence of EncoderStatus

    Returns
    -------
    list of str
        A heading, a line an encoder, its columns aligned, and four lines on what the table leaves out.
    """
    rows = [("encoder", "embedding", "input", "µm/px", "licence", "state")]
    rows += [
        (
            f"{status.name} *" if status.unread else status.name,
            "by file" if status.dimension is None else f"{status.dimension}-d",
            "any" if status.input_size is None else f"{status.input_size} px",
            "by file" if status.mpp is None else f"{status.mpp:g}",
            shorten(status.licence, _LICENCE_WIDTH, placeholder=" ..."),
            status.summary,
        )
        for status in encoders
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [*lines, *_BELOW_TABLE]


def load_encoder(
    name: str = DEFAULT_ENCODER,
    *,
    weights: Path | None = None,
    told: Told = NOTHING_TOLD,
    device: str = "cpu",
    precision: str = "float32",
) -> Encoder:
    """Load an encoder with its pretrained weights.

    Parameters
    ----------
    name : str
        A name of `ENCODERS`, "simclr", or the path of a checkpoint (``.pth``, ``.pt``, ``.ckpt``,
        ``.safetensors``): what `embedder pretrain` wrote, the published HistoSSL file, or one of the
        convolutional architectures, which its keys tell. Or an encoder from outside: ``timm:NAME``,
        ``hf:OWNER/NAME``, the path of a TorchScript or ``torch.export`` file, the name of a package's.
    weights : Path, optional
        Checkpoint for a named encoder, in place of its own.
    told : Told, optional
        Of an encoder from outside, what it does not tell, or what is to hold in place of what it tells.
    device : str
    precision : "auto", "float32" or "bfloat16"
        "auto" measures on the first patches which of the two is worth it.

    Returns
    -------
    Encoder

    Raises
    ------
    EncoderError
        When the name or the precision is unknown, weights are missing or not to be had, or they do not match
        the network key for key.
    """
    import torch

    if precision not in PRECISIONS:
        raise UnknownEncoderError(
            f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}"
        )
    if name not in ENCODERS and name != SIMCLR:
        foreign = open_foreign(name, weights, told, device)
        if foreign is not None:
            return _run_foreign(foreign, device, precision)
    if told.given:
        raise UnknownEncoderError(
            f"{name} tells its own transform; leave out {', '.join(told.given)}, which are for encoders from "
            "outside (timm:NAME, hf:OWNER/NAME, TorchScript)"
        )
    known, path = _find_file(name, weights)
    remedy = "save the state_dict alone"
    if known is not None and known.download is not None:
        remedy += f", or take {known.download}"
    checkpoint = read_checkpoint(path, remedy=remedy)
    name, spec = _identify(name, known, checkpoint)
    spec = fit_grid(spec, checkpoint)
    network = build(spec)
    load_strictly(spec, network, checkpoint)
    # The classifier is the last layer of every convolutional network; its place is taken by nothing.
    for head in ("classifier", "fc"):
        if hasattr(network, head):
            setattr(network, head, torch.nn.Identity())
    return Encoder(spec, network, name=name, weights_sha256=sha256(path), device=device, precision=precision)


def _run_foreign(foreign: Foreign, device: str, precision: str) -> Encoder:
    """Return an encoder from outside, on its device."""
    if foreign.is_fixed:
        if precision == "bfloat16":
            raise UnknownEncoderError(f"{foreign.spec.name} is compiled for float32; --precision float32")
        precision = "float32"
    return Encoder(
        foreign.spec,
        foreign.network,
        name=foreign.spec.name,
        weights_sha256=foreign.weights_sha256,
        device=device,
        precision=precision,
    )


def _find_file(name: str, weights: Path | None) -> tuple[EncoderSpec | None, Path]:
    """Return the facts of an encoder, where its name tells them, and the file of its weights."""
    if name not in ENCODERS and name != SIMCLR:
        path = Path(name)
        if not path.is_file():
            raise UnknownEncoderError(_explain_unknown(name))
        if weights is not None:
            raise UnknownEncoderError(
                f"{name} is a checkpoint already; leave out --weights {weights}, or name the encoder that "
                "it is of"
            )
        return None, path
    if weights is not None and not weights.is_file():
        raise EncoderError(f"{weights}: no such file; give the checkpoint of {name} with --weights")
    if name == SIMCLR:
        if weights is None:
            raise EncoderError(
                "simclr has no weights of its own; give the encoder.safetensors that `embedder pretrain` "
                "wrote with --weights"
            )
        return None, weights
    spec = ENCODERS[name]
    require_conch(spec)  # before gigabytes are fetched for nothing
    return spec, find_weights(spec) if weights is None else weights


def _explain_unknown(name: str) -> str:
    if name.lower() in KNOWN:
        return KNOWN[name.lower()].explanation
    choices = [*ENCODERS, SIMCLR]
    close = difflib.get_close_matches(name.lower(), choices, n=3, cutoff=0.5)
    close += [choice for choice in choices if name.lower() in choice and choice not in close]
    offered = f"did you mean {' or '.join(close)}?" if close else f"choose one of {', '.join(choices)}."
    return f"there is no encoder {name!r}; {offered} A checkpoint is given by its path"


def _identify(name: str, known: EncoderSpec | None, checkpoint: Checkpoint) -> tuple[str, EncoderSpec]:
    """Return the name and the facts of an encoder, by its name or by what its file says of itself.

    A file that is known gets the same name whether it was given by that or by its path.
    """
    if known is not None:
        if checkpoint.pretrained:
            # Its own mean and resolution are in the file; those of the name would be the wrong ones.
            raise EncoderError(
                f"{checkpoint.path}: was written by `embedder pretrain` and is no checkpoint of "
                f"{known.name}; use --encoder simclr --weights {checkpoint.path}"
            )
        return name, known
    if checkpoint.pretrained or name == SIMCLR:
        return SIMCLR, _read_own_spec(checkpoint)
    spec = _recognise(checkpoint)
    return (spec.name if checkpoint.histossl else checkpoint.path.stem), spec


def _read_own_spec(checkpoint: Checkpoint) -> EncoderSpec:
    """Return the facts that `embedder pretrain` wrote into a file."""
    facts = read_pretrained(checkpoint)
    if facts.architecture not in TRAINABLE:
        raise EncoderError(
            f"{checkpoint.path}: holds an architecture that is not known here, {facts.architecture!r}; "
            "use the version of tissuumaps-sic that wrote it"
        )
    start = f" from {facts.start_sha256[:12]}" if facts.start_sha256 else ""
    return replace(
        ENCODERS[TRAINABLE[facts.architecture]],
        mean=facts.mean,
        std=facts.std,
        mpp=facts.mpp,
        mpp_range=None,
        patch_size=facts.patch_size,
        source=f"embedder pretrain, SimCLR, {facts.steps} steps{start}",
        licence="your own",
        shipped=None,
        download=None,
    )


def _recognise(checkpoint: Checkpoint) -> EncoderSpec:
    """Return the encoder that a checkpoint's keys belong to."""
    keys = checkpoint.state.keys()
    name = None
    if checkpoint.histossl:
        name = "histossl"
    elif "_conv_stem.weight" in keys or "conv_stem.weight" in keys:
        name = "efficientnet-lite0"
    elif "layer1.0.conv3.weight" in keys:
        name = "resnet50"
    elif "layer1.0.conv1.weight" in keys:
        name = "resnet18"
    if name is not None:
        log.info("%s: read as a checkpoint of %s, with its mean and resolution", checkpoint.path.name, name)
        return ENCODERS[name]
    if any(key.rpartition(".")[2] == "cls_token" for key in keys):
        raise EncoderError(
            f"{checkpoint.path}: is a vision transformer's, which does not tell its transform; "
            f"name it with --encoder NAME --weights {checkpoint.path}"
        )
    raise EncoderError(
        f"{checkpoint.path}: its keys belong to none of {', '.join(ENCODERS)}; "
        f"they begin {', '.join(list(keys)[:5])}"
    )
