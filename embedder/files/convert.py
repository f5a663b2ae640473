"""Embeddings that other programs made, as a slide's file: a lab's features can be annotated today."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from embedder.embedding import writing
from embedder.embedding.umap import fit_umap, srgb_hex
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.kind import tell_kind
from tissuumaps_sic.slidefile.pixels.resolution import PLAUSIBLE_MPP
from tissuumaps_sic.slidefile.project import tmap_project, write_tmap
from tissuumaps_sic.slidefile.provenance import (
    EncoderRecord,
    GridRecord,
    Provenance,
    SlideRecord,
    TissueRecord,
)
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing

log = logging.getLogger(__name__)

# Rows that are named in a message.
_MOST_ROWS = 8


class ConvertError(SicError):
    """Embeddings cannot be imported; the message says what is missing and which option gives it."""


@dataclass(frozen=True)
class Converted:
    """What was imported.

    Attributes
    ----------
    path : Path
        The h5ad; its TissUUmaps project lies beside it.
    kind : str
        What the source is: "trident", "clam", "lazyslide" or "h5ad".
    n_patches, n_features : int
    """

    path: Path
    kind: str
    n_patches: int
    n_features: int


@dataclass(frozen=True)
class _Found:
    """What a source says; None where it does not.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
    corners : float64 array of shape (n, 2)
        Top-left (x, y) of each patch in level-0 pixels, or in units of `unit` of them.
    centred : bool
        Whether `corners` are the patches' centres.
    size0 : float or None
        Edge of a patch in level-0 pixels.
    patch_size : int or None
        Edge of a patch in its own pixels.
    mpp : float or None
        µm per level-0 pixel.
    """

    kind: str
    X: npt.NDArray[Any]
    corners: npt.NDArray[np.float64]
    centred: bool = False
    size0: float | None = None
    patch_size: int | None = None
    mpp: float | None = None
    mpp_source: str = "tag"
    slide_size: tuple[int, int] | None = None
    name: str | None = None
    encoder: str | None = None


def convert(
    source: Path | str,
    target: Path | str,
    *,
    mpp: float | None = None,
    patch_size0: float | None = None,
    unit: float = 1.0,
    corners: bool = False,
    name: str | None = None,
    table: str | None = None,
    umap: bool = True,
    drop_nan: bool = False,
) -> Converted:
    """Write a slide's file from embeddings that another program made.

    Parameters
    ----------
    source : Path
        Patch features of TRIDENT or CLAM (``.h5``), a LazySlide or wsidata store (``.zarr``), or an AnnData
        file (``.h5ad``) with places in ``obsm['spatial']``, such as DEPICTER's.
    target : Path
        The h5ad to write.
    mpp : float, optional
        µm per level-0 pixel, in place of what the source says.
    patch_size0 : float, optional
        Edge of a patch in level-0 pixels, in place of what the source says.
    unit : float, default=1.0
        Level-0 pixels in one unit of the source's coordinates: the downsample of the level that they are of.
    corners : bool, default=False
        Whether the places of an AnnData file are the patches' top-left corners, and not their centres.
    name : str, optional
        Of the slide; the source's or its file's if not given.
    table : str, optional
        Which table of a LazySlide store, where it has several.
    umap : bool, default=True
        Whether to make UMAP coordinates and colours.
    drop_nan : bool, default=False
        Whether to leave patches out whose embedding or place holds NaN or infinity; else they are an error.

    Returns
    -------
    Converted

    Raises
    ------
    ConvertError
        The source is nothing that is known, or does not say what no option gave.
    ContractError
        What was made breaks the file contract.
    OSError
        A file cannot be read or written. What was there is as it was.
    """
    source, target = Path(source), Path(target)
    found = _finite(source, _read(source, table), drop_nan=drop_nan)
    found = replace(
        found,
        centred=found.centred and not corners,
        corners=found.corners * unit,
        mpp=found.mpp if mpp is None else mpp,
        mpp_source=found.mpp_source if mpp is None else "user",
        size0=found.size0 if patch_size0 is None else patch_size0,
    )
    _check(source, found)
    slide_name = name or found.name or source.name.removesuffix(".zarr").removesuffix(source.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with leases.hold_lock(target.parent / leases.hidden_name(target.stem, ".lock")):
            _write(target, slide_name, found, umap=umap)
    except leases.LockedError as error:
        raise ConvertError(f"{target}: {error}") from error
    return Converted(target, found.kind, *found.X.shape)


def _write(target: Path, slide_name: str, found: _Found, *, umap: bool) -> None:
    """Write the file of a slide, and its project."""
    assert found.mpp is not None
    assert found.size0 is not None
    x0y0 = found.corners - (found.size0 / 2 if found.centred else 0)
    centres, stride0 = x0y0 + found.size0 / 2, _stride(x0y0)
    umap2, umap3 = fit_umap(found.X) if umap else (None, None)
    right, bottom = np.ceil(x0y0.max(axis=0) + found.size0).tolist()
    slide_size = found.slide_size or (int(right), int(bottom))
    project = tmap_project(
        h5ad_name=target.name,
        slide_name=slide_name,
        image=None,
        slide_size=slide_size,
        centres=centres,
        stride0=stride0,
        mpp=found.mpp,
    )
    remove_left_behind(target)
    # The project has its room before the h5ad is written, and its place after.
    with replacing(target.with_suffix(".tmap")) as temporary:
        write_tmap(temporary, project)
        writing.write_slide(
            target,
            X=found.X,
            x0=np.rint(x0y0[:, 0]).astype(np.int64),
            y0=np.rint(x0y0[:, 1]).astype(np.int64),
            centres=centres,
            tissue=np.ones(len(x0y0), np.float32),
            umap2=umap2,
            umap3=umap3,
            colors=["#808080"] * len(x0y0) if umap3 is None else srgb_hex(umap3),
            slide_name=slide_name,
            encoder_name=found.encoder or "unknown",
            provenance=_provenance(found, slide_name, slide_size, stride0, umap=umap),
            tmap=project,
        )


def _read(source: Path, table: str | None) -> _Found:
    readers: dict[str, Callable[[], _Found]] = {
        ".h5": lambda: _read_h5(source),
        ".hdf5": lambda: _read_h5(source),
        ".h5ad": lambda: _read_h5ad(source),
        ".zarr": lambda: _read_zarr(source, table),
    }
    reader = readers.get(source.suffix.lower())
    if not source.exists():
        raise ConvertError(f"{source}: no such file; name the file of embeddings")
    if reader is None:
        raise ConvertError(f"{source}: is none of {', '.join(readers)}; export the features as one of them")
    try:
        return reader()
    except OSError as error:
        # Neither the target nor the system is at fault.
        kind = tell_kind(source)
        if kind is None:
            raise OSError(error.errno, " ".join(str(error).split()), str(source)) from error
        raise ConvertError(f"{source}: cannot be read; it is {kind}") from error
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConvertError(
            f"{source}: is not laid out as a {source.suffix} of features is ({told}); export it again"
        ) from error


def _read_h5(source: Path) -> _Found:
    """Read patch features of TRIDENT or CLAM: ``features``, and ``coords``, top-left in level-0 pixels."""
    with h5py.File(source, "r", locking=False) as file:
        if "features" not in file or "coords" not in file:
            raise ConvertError(
                f"{source}: has no features and coords but {', '.join(file) or 'nothing'}; give the file of "
                "patch features, not that of coordinates alone"
            )
        X, coords = file["features"][()], file["coords"][()]
        facts = {**dict(file.attrs), **dict(file["features"].attrs), **dict(file["coords"].attrs)}
    X, coords = X.reshape(-1, X.shape[-1]), coords.reshape(-1, coords.shape[-1])[:, :2]
    power = _number(facts.get("level0_magnification"))
    size0, patch_size = _number(facts.get("patch_size_level0")), _number(facts.get("patch_size"))
    if size0 is None and patch_size is not None:
        # CLAM tells the level's downsample, and places patches in level-0 pixels all the same.
        downsample = _number(np.ravel(facts["downsample"])[0]) if "downsample" in facts else None
        size0 = None if downsample is None else patch_size * downsample
    width, height = (_number(facts.get(f"level0_{side}")) for side in ("width", "height"))
    if power is not None:
        log.warning(
            "%s: says only its objective power, %gx: level-0 pixels are taken to be %.4g µm, an estimate; "
            "give the true value with --mpp",
            source.name,
            power,
            10 / power,
        )
    return _Found(
        kind="trident" if "patch_size_level0" in facts else "clam",
        X=X,
        corners=coords.astype(np.float64),
        size0=size0,
        patch_size=None if patch_size is None else int(patch_size),
        mpp=None if power is None else 10 / power,
        mpp_source="objective power",
        slide_size=None if width is None or height is None else (int(width), int(height)),
        name=_text(facts.get("name")),
        encoder=_text(facts.get("encoder")),
    )


def _read_zarr(source: Path, table: str | None) -> _Found:
    """Read a LazySlide store: a table of features, and the tiles that its rows name."""
    import zarr
    from anndata.io import read_zarr

    group: Any = zarr.open_group(source, mode="r")
    facts = dict(group.attrs)
    tables = [name for name in group["tables"] if "region" in _spatial(group["tables"][name])]
    specs = facts["tile_spec"]
    features = [name for name in tables if _spatial(group["tables"][name])["region"] in specs]
    if table is None and len(features) != 1:
        raise ConvertError(
            f"{source}: has {len(features)} tables of features ({', '.join(features)}); name one with --table"
        )
    chosen = table or features[0]
    if chosen not in features:
        raise ConvertError(
            f"{source}: has no table {chosen!r} of features but {', '.join(features)}; name one of them"
        )
    adata = read_zarr(source / "tables" / chosen)
    attributes = adata.uns["spatialdata_attrs"]
    region = str(attributes["region"])
    tiles, spec = _tiles(source / "shapes" / region / "shapes.parquet"), specs[region]
    places = tiles.loc[adata.obs[attributes["instance_key"]].to_numpy()].to_numpy(np.float64)
    edges = places[:, 2:] - places[:, :2]
    if np.ptp(edges) > 1 or spec["width"] != spec["height"]:
        raise ConvertError(
            f"{source}: its tiles are not squares of one size; tile and embed the slide again so"
        )
    slide = facts.get("slide_properties", {})
    shape = slide.get("shape")
    return _Found(
        kind="lazyslide",
        X=adata.X,
        corners=places[:, :2],
        size0=float(edges.mean()),
        patch_size=int(spec["width"]),
        mpp=_number(slide.get("mpp")),
        slide_size=(int(shape[1]), int(shape[0])) if shape else None,
        encoder=chosen.removesuffix(f"_{region}"),
    )


def _spatial(table: Any) -> dict[str, Any]:
    if "spatialdata_attrs" not in table["uns"]:
        return {}
    attributes = table["uns/spatialdata_attrs"]
    return {"region": str(np.ravel(attributes["region"][()])[0])} if "region" in attributes else {}


def _tiles(path: Path) -> Any:
    """Return the bounds of each tile, (x0, y0, x1, y1), by its number."""
    import pandas as pd
    import pyarrow as _  # noqa: F401, ICN001 -- pandas reads Parquet by it, and says less when it is missing
    import shapely

    shapes = pd.read_parquet(path)
    bounds = shapely.bounds(shapely.from_wkb(shapes["geometry"].to_numpy()))
    return pd.DataFrame(bounds, index=shapes.index)


def _read_h5ad(source: Path) -> _Found:
    adata = _open_h5ad(source)
    if "spatial" not in adata.obsm:
        raise ConvertError(
            f"{source}: has no obsm['spatial']; put the centre (x, y) of each patch there, in level-0 pixels"
        )
    if adata.X is None:
        raise ConvertError(f"{source}: has no X; put the embeddings there")
    spatial = adata.uns.get("spatial")
    library: Any = next(iter(spatial.values()), {}) if isinstance(spatial, dict) else {}
    scales = library.get("scalefactors", {})
    return _Found(
        kind="h5ad",
        X=adata.X,
        corners=np.asarray(adata.obsm["spatial"], np.float64)[:, :2],
        centred=True,
        size0=_number(scales.get("spot_diameter_fullres")),
    )


def _finite(source: Path, found: _Found, *, drop_nan: bool) -> _Found:
    """Return what was found with a dense X, and without what is no number if that is asked for."""
    X = _dense(source, found.X)
    if len(X) > 1 and (X[0] == X).all():
        raise ConvertError(
            f"{source.name}: all {len(X)} patches have the same embedding, which tells no tissue from "
            "another; make the embeddings again"
        )
    found = replace(found, X=X)
    if found.corners.shape != (len(X), 2):
        return found
    bad = np.flatnonzero(~(np.isfinite(X).all(axis=1) & np.isfinite(found.corners).all(axis=1)))
    if not bad.size:
        return found
    named = ", ".join(map(str, bad[:_MOST_ROWS])) + (", ..." if bad.size > _MOST_ROWS else "")
    what = (
        f"{bad.size:,} of {len(X):,} patches hold NaN or infinity in their embedding or place (rows {named}, "
        "counted from 0)"
    )
    if not drop_nan:
        raise ConvertError(f"{source}: {what}; embed them again, or leave them out with --drop-nan")
    if bad.size == len(X):
        raise ConvertError(f"{source}: {what}; nothing is left without them")
    log.warning("%s: %s; they are left out", source.name, what)
    good = np.delete(np.arange(len(X)), bad)
    return replace(found, X=X[good], corners=found.corners[good])


def _open_h5ad(source: Path) -> Any:
    from anndata.io import read_elem, read_h5ad

    # `read_h5ad` locks the file, which not every disk has; only it knows how old versions wrote.
    with h5py.File(source, "r", locking=False) as file:
        if file.attrs.get("encoding-type") == "anndata":
            return read_elem(file["/"])
    return read_h5ad(source)


def _check(source: Path, found: _Found) -> None:
    n = found.X.shape[0]
    if n == 0 or found.corners.shape != (n, 2):
        raise ConvertError(
            f"{source}: has {n} embeddings and {len(found.corners)} places; it needs a place for each"
        )
    if found.mpp is None:
        raise ConvertError(
            f"{source}: does not say its resolution; give µm per level-0 pixel with --mpp (about 0.25 for a "
            "scan at 40x, 0.5 at 20x)"
        )
    low, high = PLAUSIBLE_MPP
    if not low <= found.mpp <= high:
        raise ConvertError(f"{source}: no slide has {found.mpp:g} µm/px; give the true value with --mpp")
    if found.size0 is None or not found.size0 > 0:
        raise ConvertError(
            f"{source}: does not say how large its patches are; give their edge in level-0 pixels with "
            "--patch-size0"
        )
    if len(np.unique(np.rint(found.corners), axis=0)) < n:
        raise ConvertError(
            f"{source}: several patches have the same place; see that --unit is right, and list each "
            "patch once"
        )


def _dense(source: Path, X: Any) -> npt.NDArray[np.float32]:
    dense = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    if dense.dtype.kind not in "fiub":
        raise ConvertError(
            f"{source.name}: its embeddings are no numbers but {dense.dtype}; choose another file or table"
        )
    return np.ascontiguousarray(dense, dtype=np.float32)


def _stride(corners: npt.NDArray[np.float64]) -> float:
    """Return the distance between neighbouring patches in level-0 pixels; 1 for a single patch."""
    steps = np.concatenate([np.diff(np.unique(np.rint(corners[:, axis]))) for axis in (0, 1)])
    # Corners of one column may differ by rounding; that is no step of the grid.
    steps = steps[steps > 1.5]
    if not steps.size:
        return 1.0
    # The commonest: patches of pieces of tissue that lie on grids of their own may be nearer to each other.
    values, counts = np.unique(steps, return_counts=True)
    return float(values[counts.argmax()])


def _provenance(
    found: _Found, name: str, slide_size: tuple[int, int], stride0: float, *, umap: bool
) -> Provenance:
    assert found.mpp is not None
    assert found.size0 is not None
    patch_size = found.patch_size or round(found.size0)
    scale = found.size0 / patch_size
    return Provenance(
        converted={"from": found.kind},
        slide=SlideRecord(
            name=name,
            size=slide_size,
            bounds=(0, 0, *slide_size),
            hash=None,
            mpp_x=found.mpp,
            mpp_y=found.mpp,
            mpp_source=found.mpp_source,
        ),
        grid=GridRecord(
            target_mpp=found.mpp * scale,
            patch_size=patch_size,
            overlap=max(0.0, 1 - stride0 / found.size0),
            stride=stride0 / scale,
            patch_size0=found.size0,
            patch_width0=found.size0,
            patch_height0=found.size0,
            scale=scale,
        ),
        tissue=TissueRecord(min_tissue=None, method=None, parameters={}),
        encoder=EncoderRecord(
            name=found.encoder or "unknown",
            architecture=None,
            dimension=int(found.X.shape[1]),
            weights_sha256=None,
            transform=None,
            storage="float32",
            precision=None,
        ),
        umap=umap,
        versions={each: version(each) for each in ("tissuumaps-sic", "anndata")},
        seconds={},
    )


def _number(value: Any) -> float | None:
    """Return an attribute as a positive number; None where it is none."""
    try:
        number = float(np.ravel(value)[0]) if value is not None else np.nan
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str) and value and "/" not in value and "\\" not in value else None
