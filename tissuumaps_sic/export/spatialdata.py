"""Labels as a SpatialData store: a folder that scverse's tools, and QuPath's neighbours in Python, open."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.elements import make_patches, make_regions, make_table
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.slidefile.writing import placing_folder

# Whose attribute of an element's folder says that we wrote it, and may write it anew.
MARK = "tissuumaps_sic"
KINDS = ("images", "labels", "points", "shapes", "tables")
# What else a store itself has: that of each version of zarr, and what a Mac puts into every folder.
_OF_STORES = {"zarr.json", ".zgroup", ".zattrs", ".zmetadata", "zmetadata", ".DS_Store"}
_FORMAT = "spatialdata_attrs"


def write_spatialdata(
    labelled: Labelled,
    target: Path,
    *,
    simplify: float = 0.0,
    blocks: bool = False,
    embeddings: bool = False,
    replace: bool = False,
) -> None:
    """Write a SpatialData store: shapes ``regions`` and ``patches``, and table ``labels`` of the patches.

    The coordinate system ``global`` is level-0 pixels of the whole slide; ``micrometres`` is there where the
    file tells the resolution. Nothing is there until all is. A store of the same name is replaced if nothing
    is in it that was not written here.

    Parameters
    ----------
    labelled, target, simplify, blocks
        As for `write_regions`.
    embeddings : bool, default=False
        Whether the table has the embeddings as well, as ``obsm["X_embedding"]``.
    replace : bool, default=False
        Whether whatever store has that name is replaced.

    Raises
    ------
    ExportError, SlideFileError, OSError
        When the patches do not lie on a grid, there is something of that name, or it cannot be written.
    """
    if target.exists() and not (replace and list_elements(target) is not None):
        _require_ours(target)
    with quiet():
        elements = {
            "regions": make_regions(labelled, simplify=simplify, blocks=blocks),
            "patches": make_patches(labelled),
            "labels": make_table(labelled, "patches", embeddings=embeddings),
        }
    with placing_folder(target) as temporary:
        write_elements(elements, temporary / "store")
        # The library makes the folder itself, and refuses one that is there.
        for path in (temporary / "store").iterdir():
            path.rename(temporary / path.name)
        (temporary / "store").rmdir()


def write_elements(elements: Mapping[str, Any], store: Path, *, zarr_format: int = 3) -> None:
    """Write a new store of these elements alone, each marked as ours.

    Parameters
    ----------
    elements : mapping of str to ShapesModel or TableModel
    store : Path
    zarr_format : 2 or 3, default=3
    """
    import zarr
    from anndata import AnnData
    from spatialdata import SpatialData
    from spatialdata._io.format import SpatialDataContainerFormatV01, SpatialDataContainerFormatV02

    tables = {name: each for name, each in elements.items() if isinstance(each, AnnData)}
    shapes = {name: each for name, each in elements.items() if name not in tables}
    container = SpatialDataContainerFormatV01 if zarr_format == 2 else SpatialDataContainerFormatV02
    with quiet():
        SpatialData(shapes=shapes, tables=tables).write(store, sdata_formats=container())
        root = zarr.open_group(store, mode="r+", use_consolidated=False)
        for kind, names in (("shapes", shapes), ("tables", tables)):
            for name in names:
                root[f"{kind}/{name}"].attrs[MARK] = __version__
        zarr.consolidate_metadata(store)


def list_elements(store: Path) -> dict[str, bool] | None:
    """Return whether each element of a store, ``<kind>/<name>``, is ours; None where there is none.

    Parameters
    ----------
    store : Path

    Returns
    -------
    dict of str to bool or None
    """
    import zarr

    try:
        root: Any = zarr.open_group(store, mode="r", use_consolidated=False)
        if _FORMAT not in root.attrs:
            return None
        return {
            f"{kind}/{name}": MARK in element.attrs
            for kind in KINDS
            if kind in root
            for name, element in root[kind].members()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _require_ours(target: Path) -> None:
    """See that a store holds nothing that was not written here."""
    import zarr

    elements = list_elements(target)
    if elements is None:
        raise ExportError(f"{target}: is there already, and is not a SpatialData store; give another -o")
    others = [name for name, ours in elements.items() if not ours]
    others += sorted({path.name for path in target.iterdir()} - {*KINDS, *_OF_STORES})
    attributes = zarr.open_group(target, mode="r", use_consolidated=False).attrs
    others += [f"attribute {name}" for name in attributes if name != _FORMAT]
    if others:
        raise ExportError(
            f"{target}: is there already, with {', '.join(others)}, which this program did not write; give "
            "another -o, or --replace to replace the whole store"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what the libraries warn developers of; nothing that a person can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
