"""How a slide's file was made: what is written into it, and whether that is what is asked for now."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from embedder.patches.grid import PatchGrid
from embedder.patches.tissue import TissueMask
from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.pixels.slide import Slide, require_resolution

if TYPE_CHECKING:
    from embedder.embedding.options import EmbedOptions
    from embedder.encoders.network import Choice, Encoder

# What `tissue.tissue_mask` calls its own way of finding tissue.
_OTSU = "otsu-saturation"
_VERSIONS = ("tissuumaps-sic", "torch", "umap-learn", "openslide-python", "anndata")


def asked(slide: Slide, mask: TissueMask | None, encoder: Encoder, options: EmbedOptions) -> dict[str, Any]:
    """Return what a slide's file must have been made with to be what is asked for.

    Everything that the embeddings and the choice of patches depend on; what only tells about a run (versions,
    times, the precision that was chosen where the choice was left open) is in `describe` alone. Without a
    mask the tissue is what the slide's colours say.
    """
    resolution = require_resolution(slide)
    return {
        "slide": {
            "name": slide.name,
            "size": list(slide.size),
            "bounds": list(slide.bounds),
            "hash": slide.fast_hash(),
            "mpp_x": resolution.mpp_x,
            "mpp_y": resolution.mpp_y,
        },
        "grid": {
            "target_mpp": options.mpp,
            "patch_size": options.patch_size,
            "overlap": options.overlap,
        },
        "tissue": {"min_tissue": options.min_tissue}
        | (
            {"method": _OTSU}
            if mask is None
            else {"method": mask.method, "parameters": dict(mask.parameters)}
        ),
        "encoder": {
            "name": encoder.name,
            "architecture": encoder.spec.name,
            "dimension": encoder.dimension,
            "weights_sha256": encoder.weights_sha256,
            "transform": encoder.transform,
            "storage": options.storage,
        },
    }


def describe(
    slide: Slide,
    grid: PatchGrid,
    mask: TissueMask,
    encoder: Encoder,
    options: EmbedOptions,
    *,
    choice: Choice,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Return a slide's provenance for ``uns['embedder']``: JSON-able, with no path and no person's name."""
    found = asked(slide, mask, encoder, options)
    found["slide"]["mpp_source"] = require_resolution(slide).source
    found["grid"] |= {
        "stride": grid.stride,
        "patch_size0": grid.patch_size0,
        "patch_width0": grid.patch_width0,
        "patch_height0": grid.patch_height0,
        "scale": grid.scale,
        "level": grid.level,
        "level_downsample": grid.level_downsample,
    }
    found["encoder"] |= {
        "source": encoder.spec.source,
        "licence": encoder.spec.licence,
        "device": encoder.device.partition(":")[0],
        "precision": choice.precision,
        "precision_choice": str(choice),
    }
    found["umap"] = options.umap
    found["versions"] = {name: version(name) for name in _VERSIONS}
    found["seconds"] = {stage: round(value, 3) for stage, value in seconds.items()}
    return found


def differences(h5ad: Path, wanted: dict[str, Any], options: EmbedOptions) -> list[str]:
    """Tell where a file was made otherwise than is asked for.

    Parameters
    ----------
    h5ad : Path
    wanted : dict
        As `asked` returns it.
    options : EmbedOptions

    Returns
    -------
    list of str
        Such as ``"patch_size is 224, not 256"``; empty where the file is what is asked for.
    """
    try:
        with h5py.File(h5ad, "r", locking=False) as file:
            made = parse_json(file["uns/embedder"].asstr()[()])
    except (OSError, KeyError, ValueError, AttributeError, TypeError):
        return ["it does not say how it was made"]
    if not isinstance(made, dict):
        return ["it does not say how it was made"]
    found = []
    for part, values in wanted.items():
        known = made.get(part)
        for key, value in values.items():
            was = known.get(key) if isinstance(known, dict) else None
            if key == "overlap" and was is None:
                was = _overlap(known)
            if key == "storage" and was is None:
                was = "float32"  # files of before there was a choice
            if not _same(was, value):
                found.append(f"{part} {key.replace('_', ' ')} is {_told(was)}, not {_told(value)}")
    encoder = made.get("encoder")
    precision = encoder.get("precision") if isinstance(encoder, dict) else None
    if options.precision not in ("auto", precision):
        found.append(f"precision is {precision}, not {options.precision}")
    if options.umap and made.get("umap") is False:
        found.append("it has no UMAP colours")
    return found


def _overlap(grid: Any) -> float | None:
    try:
        return 1 - float(grid["stride"]) / float(grid["patch_size"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float | int) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
