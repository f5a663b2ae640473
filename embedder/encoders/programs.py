"""Networks that somebody compiled into a file: TorchScript and torch.export."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.encoders.checkpoints import sha256
from embedder.encoders.outside import ANY_MPP, Facts, Foreign, measure_dimension, tell
from embedder.encoders.spec import EncoderError, EncoderSpec, UnknownEncoderError
from embedder.encoders.told import INTERPOLATIONS, Told

if TYPE_CHECKING:
    import torch


def recognise_program(path: Path) -> str | None:
    """Return "script" or "export" where a file holds a network and not its weights alone.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str or None
    """
    if not path.is_file():
        return None
    if path.suffix == ".pt2":
        return "export"
    try:
        with zipfile.ZipFile(path) as archive:
            return "script" if any("/code/" in each for each in archive.namelist()) else None
    except (zipfile.BadZipFile, OSError):
        return None


def open_program(path: Path, kind: str, told: Told, device: str) -> Foreign:
    """Return the network of a file, "script" or "export"; a person tells all that it does not.

    A file of either kind is a program: load those alone that you trust.

    Parameters
    ----------
    path : Path
    kind : "script" or "export"
    told : Told
    device : str
        On which it is to run.

    Returns
    -------
    Foreign

    Raises
    ------
    EncoderError
        It cannot be loaded or run.
    UnknownEncoderError
        The pooling is to be another, or a fact of its input is not told.
    """
    if told.pool:
        raise UnknownEncoderError(f"{path.name} is compiled; --pool cannot change what it gives")
    facts = Facts(told.input_size, told.mean, told.std, told.interpolation or INTERPOLATIONS[0])
    spec = EncoderSpec(
        name=path.stem,
        dimension=0,
        **facts.require(path.name),
        mpp=0.5,
        mpp_range=ANY_MPP,
        source="TorchScript" if kind == "script" else "torch.export",
        licence="not stated",
        architecture=kind,
        library="program",
    )
    network = _load_program(path, kind, "cpu")
    dimension = measure_dimension(spec, network, "cpu")
    if device != "cpu":
        network = _load_program(path, kind, device)
    return Foreign(replace(spec, dimension=dimension), network, sha256(path), is_fixed=True)


def _load_program(path: Path, kind: str, device: str) -> Any:
    import torch

    try:
        if kind == "script":
            return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
        program = torch.export.load(path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return _as_module(program.module())
    except Exception as error:
        raise EncoderError(
            f"{path}: cannot be loaded ({tell(error)}); save it anew with torch {torch.__version__}"
        ) from error


def _as_module(exported: torch.nn.Module) -> torch.nn.Module:
    """Return an exported network in a module that can be told to evaluate, which itself it refuses."""
    import torch

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.exported = exported

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.exported(x)
            return found

        def train(self, mode: bool = True) -> Exported:
            self.training = mode
            return self

    return Exported()
