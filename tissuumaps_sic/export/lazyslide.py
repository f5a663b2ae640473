"""Labels into a store of LazySlide (wsidata): beside what is there, which stays as it is."""

from __future__ import annotations

import glob
import logging
import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.elements import make_patches, make_regions, make_table, patch_corners
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.spatialdata import list_elements, quiet, write_elements
from tissuumaps_sic.slides.regions import slide_size_of

log = logging.getLogger(__name__)

REGIONS, PATCHES = "sic_regions", "sic_patches"
# Corners are whole pixels there, and centres may lie between them here.
_ROUNDING = 1.0


def write_lazyslide(
    labelled: Labelled,
    store: Path,
    *,
    simplify: float = 0.0,
    blocks: bool = False,
    embeddings: bool = False,
    replace: bool = False,
) -> None:
    """Add labels to the slide's store: shapes ``sic_regions``, and a table ``sic_<tiles>``.

    The table annotates the store's own tiles where each patch is one of them, whatever they are called;
    tiles that no patch is of have no label. Else the patches are added, as shapes ``sic_patches``. Nothing
    that is in the store is changed: elements are made beside it and moved in one by one. What an earlier
    export put there is replaced.

    Parameters
    ----------
    labelled : Labelled
    store : Path
        A folder that LazySlide, wsidata or SpatialData wrote.
    simplify, blocks
        As for `write_regions`.
    embeddings : bool, default=False
        As for `write_spatialdata`; where each patch has a tile and each tile a patch.
    replace : bool, default=False
        Whether elements of the same names are replaced that others wrote.

    Raises
    ------
    ExportError, SlideFileError, OSError
        When there is no such store, it is of another slide, or it has such elements of somebody else's.
    """
    import zarr

    if store.is_dir():
        _put_back(store)
    there = list_elements(store) if store.is_dir() else None
    if there is None:
        raise ExportError(
            f"{store}: is not a LazySlide store; give the slide's own with -o, or make a new store with "
            "--format spatialdata"
        )
    root = zarr.open_group(store, mode="r", use_consolidated=False)
    _require_same_slide(labelled, store, dict(root.attrs))
    found = _find_tiles(labelled, store, [name for name in there if name.startswith("shapes/")])
    with quiet():
        elements = {REGIONS: make_regions(labelled, simplify=simplify, blocks=blocks)}
        tiles, instances, rows = found or (PATCHES, None, None)
        if found is None:
            log.info(
                "%s: has no tiles that are the patches of %s; the patches are added as shapes %s",
                *(store, labelled.slide.name, PATCHES),
            )
            patches = make_patches(labelled)
            patches["tile_id"] = np.arange(len(patches))
            elements[PATCHES] = patches
        elements[f"sic_{tiles}"] = make_table(
            labelled,
            tiles,
            keys=("library_id", "tile_id"),
            instances=instances,
            rows=rows,
            embeddings=embeddings,
        )
    kinds = {name: "shapes" if name in (REGIONS, PATCHES) else "tables" for name in elements}
    foreign = [name for name, kind in kinds.items() if there.get(f"{kind}/{name}") is False]
    if foreign and not replace:
        raise ExportError(
            f"{store}: has {', '.join(foreign)} already, which this program did not write; rename it there, "
            "or give --replace"
        )
    _move_in(elements, kinds, store, root.metadata.zarr_format)


def _require_same_slide(labelled: Labelled, store: Path, facts: dict[str, Any]) -> None:
    """See that a store is not of a slide of another size."""
    shape = (facts.get("slide_properties") or {}).get("shape")
    size = slide_size_of(labelled.slide)
    if shape and size and (int(shape[1]), int(shape[0])) != size:
        raise ExportError(
            f"{store}: is of a slide of {shape[1]} x {shape[0]} pixels, and {labelled.slide.name} of "
            f"{size[0]} x {size[1]}; give the store of that slide"
        )


def _find_tiles(
    labelled: Labelled, store: Path, shapes: list[str]
) -> tuple[str, npt.NDArray[Any], npt.NDArray[np.intp]] | None:
    """Return the tiles that the patches are: their name, the id of each, and its patch; -1 is none."""
    corners = patch_corners(labelled)
    for element in shapes:
        name = element.partition("/")[2]
        if name in (REGIONS, PATCHES):
            continue
        try:
            bounds, ids = _read_shapes(store / element / "shapes.parquet")
        except (OSError, ValueError, KeyError):
            continue  # points, circles, or of another version: no tiles
        rows = _match(corners, bounds)
        if rows is not None:
            return name, ids, rows
    return None


def _read_shapes(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Return the bounds of each shape, (n, 4), and its id."""
    import geopandas

    frame = geopandas.read_parquet(path)
    ids = frame.get("tile_id", frame.index)
    return shapely.bounds(frame.geometry.to_numpy()), np.asarray(ids)


def _match(corners: npt.NDArray[np.float64], bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.intp] | None:
    """Return the patch of each tile, -1 is none; None where some patch is no tile."""
    from scipy.spatial import KDTree

    # Those of an empty shape are NaN.
    if len(bounds) < len(corners) or not np.isfinite(bounds).all():
        return None
    distance, tile = KDTree(bounds).query(corners, p=np.inf)
    if distance.max() > _ROUNDING or len(np.unique(tile)) < len(tile):
        return None
    rows = np.full(len(bounds), -1, np.intp)
    rows[tile] = np.arange(len(corners))
    return rows


def _move_in(elements: dict[str, Any], kinds: dict[str, str], store: Path, zarr_format: int) -> None:
    """Write elements into a folder beside a store and move them in: shapes before the table of them."""
    import zarr

    # On the same disk, so that to move is to rename.
    with tempfile.TemporaryDirectory(prefix=f".{store.stem}-", dir=store.parent) as beside:
        made = Path(beside) / "made.zarr"
        write_elements(elements, made, zarr_format=zarr_format)
        root = zarr.open_group(store, mode="r+", use_consolidated=False)
        for name, kind in kinds.items():
            root.require_group(kind)
            _exchange(made / kind / name, store / kind / name, _find_free(store, kind, name))
        with quiet():
            # What reads the store's summary finds them from here on.
            zarr.consolidate_metadata(store)


def _find_free(store: Path, kind: str, name: str) -> Path:
    """Return where an element is put aside: not in a folder that is removed, for it may be needed again."""
    names = (f".{store.name}-{kind}-{name}~{number}.old" for number in count(1))
    return next(path for path in map(store.with_name, names) if not path.exists())


def _put_back(store: Path) -> None:
    """Put back what an export that was killed has put aside; tell where there is another in its place."""
    prefix = f".{store.name}-"
    for old in sorted(store.parent.glob(f"{glob.escape(prefix)}*.old")):
        kind, _, name = old.name.removeprefix(prefix).removesuffix(".old").partition("-")
        place = store / kind / name.partition("~")[0]
        if place.exists():
            log.warning(
                "%s: an export that was killed moved this out of %s; put it back if something is missing "
                "there, else remove it",
                *(old, store.name),
            )
        elif place.parent.is_dir():
            old.rename(place)


def _exchange(new: Path, place: Path, old: Path) -> None:
    """Put a folder where another may be, and that one aside; if it cannot be put there all is as it was."""
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
