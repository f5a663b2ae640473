"""How a slide's file is made: what is written into it, and whether that is what is asked for now."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from embedder.patches.grid import PatchGrid
from embedder.patches.tissue import TissueMask
from tissuumaps_sic.slidefile.pixels.slide import Slide, require_resolution
from tissuumaps_sic.slidefile.provenance import (
    DamageRecord,
    EncoderRecord,
    FineRecord,
    GridRecord,
    ProfileRecord,
    Provenance,
    SlideRecord,
    TissueRecord,
    provenance_in,
)

if TYPE_CHECKING:
    from embedder.embedding.options import EmbedOptions
    from embedder.encoders.fine import CellPlan
    from embedder.encoders.network import Encoder
    from embedder.encoders.precision import Choice
    from embedder.patches.damage import Tally

# What `tissue.tissue_mask` calls its own way of finding tissue.
_OTSU = "otsu-saturation"
_VERSIONS = ("tissuumaps-sic", "torch", "umap-learn", "openslide-python", "anndata")


def describe_wanted(
    slide: Slide,
    mask: TissueMask | None,
    encoder: Encoder,
    cells: CellPlan | None,
    options: EmbedOptions,
) -> Provenance:
    """Return what a slide's file must have been made with to be what is asked for.

    Everything that the embeddings and the choice of patches depend on; what only tells about a run (versions,
    times, the precision that was chosen where the choice was left open) is in `describe` alone. Without a
    mask the tissue is what the slide's colours say.

    Parameters
    ----------
    slide : Slide
    mask : TissueMask or None
    encoder : Encoder
    cells : CellPlan or None
    options : EmbedOptions

    Returns
    -------
    Provenance
    """
    resolution = require_resolution(slide)
    # Where the profile is not applied, nothing depends on it.
    profile: dict[str, Any] = {"colour_profile": _describe_profile(slide)} if slide.is_converted else {}
    return Provenance(
        slide=SlideRecord(
            name=slide.name,
            size=slide.size,
            bounds=slide.bounds,
            hash=slide.fast_hash(),
            mpp_x=resolution.mpp_x,
            mpp_y=resolution.mpp_y,
            **profile,
        ),
        grid=GridRecord(target_mpp=options.mpp, patch_size=options.patch_size, overlap=options.overlap),
        tissue=TissueRecord(min_tissue=options.min_tissue, method=_OTSU)
        if mask is None
        else TissueRecord(
            min_tissue=options.min_tissue, method=mask.method, parameters=dict(mask.parameters)
        ),
        encoder=EncoderRecord(
            name=encoder.name,
            architecture=encoder.spec.name,
            dimension=encoder.dimension,
            weights_sha256=encoder.weights_sha256,
            transform=encoder.transform,
            icc=slide.is_converted,
            storage=options.storage,
        ),
        **_describe_cells(cells),
    )


def _describe_profile(slide: Slide) -> ProfileRecord:
    profile = slide.profile
    return ProfileRecord(
        description=None if profile is None else profile.description,
        sha256=None if profile is None else profile.sha256,
    )


def _describe_cells(cells: CellPlan | None) -> dict[str, Any]:
    """Return the record of the cells under its name, where there are any: what is left out is not written."""
    if cells is None:
        return {}
    record = FineRecord(
        side=cells.side,
        channels=cells.channels,
        cell=cells.cell,
        layer=cells.layer.module,
        projection=cells.projection,
    )
    return {"fine": record}


def _describe_damage(tally: Tally | None, options: EmbedOptions) -> dict[str, Any]:
    """Return the record of the damage under its name, where there is any."""
    if tally is None or not tally.damaged.any():
        return {}
    record = DamageRecord(
        patches=int(tally.mended.sum()),
        left_out=int(tally.lost.sum()),
        left_out_at=tally.corners_of_lost(),
        limit=options.damage_limit,
    )
    return {"damage": record}


def describe(
    slide: Slide,
    grid: PatchGrid,
    mask: TissueMask,
    encoder: Encoder,
    cells: CellPlan | None,
    options: EmbedOptions,
    *,
    choice: Choice,
    seconds: dict[str, float],
    tally: Tally | None = None,
) -> Provenance:
    """Return a slide's provenance for ``uns['embedder']``, with no path and no person's name.

    Parameters
    ----------
    slide : Slide
    grid : PatchGrid
        Of the patches that are in the file.
    mask : TissueMask
    encoder : Encoder
    cells : CellPlan or None
    options : EmbedOptions
    choice : Choice
        The precision that was chosen.
    seconds : dict of str to float
        How long each stage took.
    tally : Tally, optional
        Where the slide is damaged.

    Returns
    -------
    Provenance
    """
    wanted = describe_wanted(slide, mask, encoder, cells, options)
    return Provenance(
        slide=wanted.slide.model_copy(
            update={
                "mpp_source": require_resolution(slide).source,
                "colour_profile": _describe_profile(slide),
                # What is left out is not written.
                **({} if slide.stage is None else {"stage": slide.stage}),
            }
        ),
        grid=GridRecord(
            target_mpp=options.mpp,
            patch_size=options.patch_size,
            overlap=options.overlap,
            stride=grid.stride,
            patch_size0=grid.patch_size0,
            patch_width0=grid.patch_width0,
            patch_height0=grid.patch_height0,
            scale=grid.scale,
            level=grid.level,
            level_downsample=grid.level_downsample,
        ),
        tissue=wanted.tissue,
        encoder=wanted.encoder.model_copy(
            update={
                "source": encoder.spec.source,
                "licence": encoder.spec.licence,
                "device": encoder.device.partition(":")[0],
                "precision": choice.precision,
                "precision_choice": str(choice),
            }
        ),
        **_describe_cells(cells),
        **_describe_damage(tally, options),
        umap=options.umap,
        versions={name: version(name) for name in _VERSIONS},
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
    )


def differences(h5ad: Path, wanted: Provenance, options: EmbedOptions) -> list[str]:
    """Tell where a file was made otherwise than is asked for.

    Parameters
    ----------
    h5ad : Path
    wanted : Provenance
        As `describe_wanted` returns it.
    options : EmbedOptions

    Returns
    -------
    list of str
        Such as ``"patch_size is 224, not 256"``; empty where the file is what is asked for.
    """
    try:
        with h5py.File(h5ad, "r", locking=False) as file:
            made = provenance_in(file)
    except (OSError, KeyError, ValueError, AttributeError, TypeError):
        made = Provenance()
    if not made.is_told:
        return ["it does not say how it was made"]
    # Files of before there was a choice keep float32 and the slide's own colours, and tell the stride in
    # place of the overlap.
    implied = {"overlap": _overlap(made.grid), "storage": "float32", "icc": False}
    found = []
    lacks_cells = wanted.fine is not None and made.fine is None
    for part, values in wanted.document.items():
        if part == "fine" and lacks_cells:
            continue
        known = made.document.get(part)
        for key, value in values.items():
            was = known.get(key) if isinstance(known, dict) else None
            was = implied.get(key) if was is None else was
            if not _is_same(was, value):
                told, asked = _shorten_both(was, value)
                found.append(f"{part} {key.replace('_', ' ')} is {told}, not {asked}")
    if options.precision not in ("auto", made.encoder.precision):
        found.append(f"precision is {made.encoder.precision}, not {options.precision}")
    if options.umap and made.umap is False:
        found.append("it has no UMAP colours")
    if lacks_cells:
        found.append("it has no cells smaller than a patch, which --no-fine does without")
    return found


def _overlap(grid: GridRecord) -> float | None:
    return 1 - grid.stride / grid.patch_size if grid.stride is not None and grid.patch_size else None


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_is_same, a, b))
    if isinstance(a, float | int) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def _shorten_both(one: Any, other: Any) -> tuple[str, str]:
    """Return two values in few words that tell them apart."""
    short = _shorten(one), _shorten(other)
    if short[0] != short[1]:
        return short
    texts = [str(one), str(other)]
    pairs = enumerate(zip(*texts, strict=False))
    shared = next((place for place, (a, b) in pairs if a != b), min(map(len, texts)))
    # From the word on in which they differ.
    begin = texts[0].rfind(" ", 0, shared) + 1
    first, second = (f"… {_shorten(text[begin:])}" for text in texts)
    return first, second


def _shorten(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
