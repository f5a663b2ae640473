"""Several embeddings of one slide in one file: other encoders, or other scales, beside ``X``."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.contract import ContractError, check
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.failure import as_os_errors
from tissuumaps_sic.slidefile.kind import tell_kind
from tissuumaps_sic.slidefile.provenance import DAMAGED, MAIN, EmbeddingRecord, Provenance, provenance_in
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing

# Written at once.
_BLOCK_BYTES = 16 * 2**20
# Level-0 pixels by which a centre may be off: other tools round theirs.
_ROUNDING = 1.0
# obsm holds the UMAP under two of these; the others mean something where an embedding is chosen.
_RESERVED = ("umap", "umap_3d", "X", "all")

Centres = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


class CombineError(SicError):
    """An embedding cannot be put into a file; the message says why and what to do."""


@dataclass(frozen=True)
class Added:
    """An embedding that was put into a file.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        What the embedding is chosen by; it lies in ``obsm['X_<name>']``.
    n_patches, n_features : int
    dtype : str
        "float32" or "float16".
    farthest : float
        How far, along x or y, a patch lies from the one whose embedding it got, at most; level-0 pixels.
    """

    path: Path
    name: str
    n_patches: int
    n_features: int
    dtype: str
    farthest: float


@dataclass(frozen=True)
class _Grid:
    """Where a file's patches lie, and where patches like them could; level-0 pixels.

    Attributes
    ----------
    centres : ndarray of shape (n, 2), float64
        (x, y).
    edge, stride : float
    first, last : ndarray of shape (2,), float64
        Centre (x, y) of the first and of the last patch of the whole grid, whether embedded or not.
    """

    centres: Centres
    edge: float
    stride: float
    first: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]


def add_embedding(
    base: Path | str, other: Path | str, *, name: str | None = None, replace: bool = False
) -> Added:
    """Put the embeddings of another file of the same slide into a file, as ``obsm['X_<name>']``.

    Each patch of `base` gets the embedding of the patch of `other` whose centre is nearest; of equals, the
    first. That is accepted up to half of `other`'s stride, in x and in y. Where `base` has patches nearer to
    the slide's rim than `other`'s grid reaches, because a larger field of view cannot be centred there, the
    distance counts from where that grid ends; the patch must still hold the centre of the one of `base`.

    Parameters
    ----------
    base : Path
        The h5ad to add to; replaced as a whole, or not at all.
    other : Path
        An h5ad of the same slide, embedded with another encoder or at another scale; its ``X`` is taken.
    name : str, optional
        Of the embedding; by default that of `other`'s encoder, with ``_<mpp>mpp`` where `base` has that
        encoder at another mpp. Other signs than A-Z, a-z, 0-9, ``_``, ``.`` and ``-`` become ``-``.
    replace : bool, default=False
        Whether an embedding of that name may be there, and is replaced.

    Returns
    -------
    Added

    Raises
    ------
    CombineError
        The files are not of one slide, do not tell how they were made, patches of `base` have no partner, or
        the name is taken.
    ContractError
        The file would break the contract.
    OSError
        A file cannot be read or written. `base` is then, as with the other errors, what it was.
    """
    base, other = Path(base), Path(other)
    try:
        # The lock of `embed`: two at a time would each leave out what the other adds.
        with leases.hold_lock(base.parent / leases.hidden_name(base.stem, ".lock")) as lock:
            return _add(base, other, name, lock, replace=replace)
    except leases.LockedError as error:
        raise CombineError(f"{base.name}: {error}") from error


def _add(base: Path, other: Path, name: str | None, lock: leases.Lock, *, replace: bool) -> Added:
    from anndata.io import write_elem

    ours, theirs = _provenance(base), _provenance(other)
    _check_same_slide(base, ours, other, theirs)
    name = _name(base, other, ours.embeddings, theirs, name, replace=replace)
    grid, other_grid = _grid(base, ours), _grid(other, theirs)
    partners, distances = _partners(grid.centres, other_grid)
    _check_partners(base, grid, other, other_grid, distances)
    key = f"obsm/X_{name}"
    remove_left_behind(base)
    with replacing(base) as temporary, as_os_errors(base):
        shutil.copyfile(base, temporary)
        # Our private copy needs no lock of HDF5's, which not every disk has.
        with (
            h5py.File(temporary, "r+", locking=False) as file,
            h5py.File(other, "r", locking=False) as source,
        ):
            X = _matrix(other, source)
            _write_rows(file, key, X, partners, other)
            _add_damage(file, source, partners)
            write_elem(file["uns"], "embedder", ours.with_embedding(key, theirs).to_json())
            added = Added(
                base, name, len(partners), int(X.shape[1]), str(X.dtype), float(distances.max(initial=0))
            )
        problems = check(temporary)
        if problems:
            told = "; ".join(f"{each.rule}: {each.what}" for each in problems)
            raise ContractError(f"{base.name} would break the file contract ({told}); nothing was written")
        lock.check()
    return added


# -------------------------------------------------------------------------------------------- what is there


def _provenance(path: Path) -> Provenance:
    if not path.is_file():
        raise CombineError(f"{path.name}: no such file; embed the slide first (embedder embed)")
    try:
        with h5py.File(path, "r", locking=False) as file:
            known = provenance_in(file)
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        kind = tell_kind(path) if isinstance(error, OSError) else None
        if kind is not None:
            raise CombineError(f"{path.name}: cannot be read as HDF5; it is {kind}") from error
        reason = " ".join(str(error).split())
        raise CombineError(
            f"{path.name}: does not tell how it was embedded ({reason}); embed the slide again"
        ) from error
    if not known.is_told:
        raise CombineError(f"{path.name}: does not tell how it was embedded; embed the slide again")
    return known


def _check_same_slide(base: Path, ours: Provenance, other: Path, theirs: Provenance) -> None:
    one, two = ours.slide, theirs.slide
    facts = [(one.hash, two.hash)] if one.hash and two.hash else [(one.name, two.name), (one.size, two.size)]
    if any(mine is None or mine != its for mine, its in facts):
        told = "; ".join(
            f"{path.name} is of {slide.name}, {' x '.join(map(str, slide.size or '?'))} px"
            for path, slide in ((base, one), (other, two))
        )
        raise CombineError(
            f"{other.name}: is not of the same slide as {base.name} ({told}); embed the same file for both"
        )


def _name(
    base: Path,
    other: Path,
    there: Sequence[EmbeddingRecord],
    theirs: Provenance,
    given: str | None,
    *,
    replace: bool,
) -> str:
    """Return what the embedding is called."""
    name = given
    if name is None:
        if not theirs.encoder.name:
            raise CombineError(f"{other.name}: does not name its encoder; give the embedding a name (--name)")
        name = _default_name(theirs.encoder.name, theirs.grid.target_mpp, there)
    name = _sanitise(name)
    if not name.strip("-"):
        raise CombineError(f"{given!r} has no letter or digit to name an embedding by; give another --name")
    if name in _RESERVED:
        raise CombineError(f"{name!r} means something else already; give the embedding another --name")
    if any(each.key == MAIN and each.name == name for each in there):
        # Where embeddings are compared, X goes by the name of its encoder.
        raise CombineError(
            f"{base.name}: its X is of {name} already; give the embedding of {other.name} another --name"
        )
    with h5py.File(base, "r", locking=False) as file:
        if f"obsm/X_{name}" in file and not replace:
            raise CombineError(
                f"{base.name}: has an embedding named {name} already; give another --name, or --replace"
            )
    return name


def _default_name(encoder: str, mpp: float | None, there: Sequence[EmbeddingRecord]) -> str:
    known = [each for each in there if each.name == encoder]
    # The first of an encoder keeps its bare name, however many scales come after it.
    again = any(each.key == f"obsm/X_{_sanitise(encoder)}" and each.target_mpp == mpp for each in known)
    elsewhere = any(each.target_mpp != mpp for each in known)
    return f"{encoder}_{mpp:g}mpp" if elsewhere and not again and mpp is not None else encoder


def _sanitise(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)


def _matrix(path: Path, file: h5py.File) -> h5py.Dataset:
    X = file.get("X")
    if not isinstance(X, h5py.Dataset) or X.ndim != 2 or X.dtype not in (np.float32, np.float16):
        kind = X.dtype if isinstance(X, h5py.Dataset) else "not dense"
        raise CombineError(
            f"{path.name}: its X is {kind}, not a dense matrix of float32 or float16; embed the slide again"
        )
    return X


# -------------------------------------------------------------------------------------------- who gets what


def _grid(path: Path, known: Provenance) -> _Grid:
    slide, edge, stride = known.slide, known.grid.patch_size0, known.grid.stride0
    bounds = slide.bounds or (slide.size and (0, 0, *slide.size))
    if bounds is None or edge is None or stride is None:
        raise CombineError(
            f"{path.name}: does not tell where its patches lie (uns['embedder'] lacks the slide's size, or "
            "of the grid patch_size0, stride and scale); embed the slide again"
        )
    origin, extent = np.array(bounds[:2], dtype=np.float64), np.array(bounds[2:], dtype=np.float64)
    if not (math.isfinite(edge) and math.isfinite(stride) and edge > 0 and stride > 0):
        raise CombineError(
            f"{path.name}: has patches of {edge:g} px every {stride:g} px; embed the slide again"
        )
    with h5py.File(path, "r", locking=False) as file:
        spatial, X = file.get("obsm/spatial"), _matrix(path, file)
        if not isinstance(spatial, h5py.Dataset) or spatial.shape != (X.shape[0], 2) or not X.shape[0]:
            raise CombineError(
                f"{path.name}: obsm['spatial'] is not the centre (x, y) of each patch; "
                f"`embedder check {path.name}` tells more"
            )
        centres = np.asarray(spatial[()], dtype=np.float64)
    # As `PatchGrid` counts them: up to one stride along the right and lower edges is in no patch.
    steps = np.maximum(np.floor((extent - edge) / stride + 1e-6), 0)
    first = origin + edge / 2
    return _Grid(centres, edge, stride, first, first + steps * stride)


def _partners(centres: Centres, other: _Grid) -> tuple[Index, npt.NDArray[np.float64]]:
    """Return the row of the nearest patch of `other` for each centre, (n,), and its distance (x, y), (n, 2).

    Of equally near ones the first in the file, so that the result is the same everywhere; there are two or
    four where strides are multiples of each other.
    """
    from scipy.spatial import cKDTree

    count = min(4, len(other.centres))
    distances, rows = cKDTree(other.centres).query(centres, k=count)
    distances, rows = distances.reshape(-1, count), rows.reshape(-1, count)
    equal = distances <= distances[:, :1] + 1e-3
    partners: Index = np.where(equal, rows, len(other.centres)).min(axis=1).astype(np.intp)
    return partners, np.abs(centres - other.centres[partners])


def _check_partners(
    base: Path, grid: _Grid, other: Path, other_grid: _Grid, distances: npt.NDArray[np.float64]
) -> None:
    """See that every patch of `base` has a patch of `other` around it."""
    outside = np.maximum(other_grid.first - grid.centres, grid.centres - other_grid.last)
    allowed = np.minimum(other_grid.stride / 2 + np.maximum(outside, 0), other_grid.edge / 2)
    alone = np.flatnonzero((distances > allowed + _ROUNDING).any(axis=1))
    if alone.size:
        overlap = 1 - grid.stride / other_grid.edge
        hint = f" and --overlap {overlap:.4g}" if 0 <= overlap < 1 else ""
        raise CombineError(
            f"{other.name}: has no patch near {alone.size:,} of the {len(distances):,} patches of "
            f"{base.name} (the nearest are up to {distances.max():.0f} level-0 px away); embed it with the "
            f"same stride and wherever there is a patch: --min-tissue 0{hint}"
        )


# -------------------------------------------------------------------------------------------------- writing


def _add_damage(file: h5py.File, source: h5py.File, partners: Index) -> None:
    """Mark the patches whose new embedding was made where the slide is damaged, beside those that are."""
    from anndata.io import write_elem

    theirs = source.get(f"obs/{DAMAGED}")
    if not isinstance(theirs, h5py.Dataset) or theirs.dtype != np.bool_:
        return
    marked = theirs[()][partners]
    ours = file.get(f"obs/{DAMAGED}")
    if ours is None:
        obs = file["obs"]
        order = [str(each) for each in obs.attrs["column-order"]]
        obs.attrs["column-order"] = np.array([*order, DAMAGED], dtype=h5py.string_dtype())
    else:
        marked |= ours[()]
    write_elem(file["obs"], DAMAGED, marked)


def _write_rows(file: h5py.File, key: str, X: h5py.Dataset, rows: Index, source: Path) -> None:
    """Write rows of a matrix as anndata writes one, contiguous and block by block."""
    if key in file:
        del file[key]
    dtype = X.dtype.newbyteorder("=")
    dataset = file.create_dataset(key, shape=(len(rows), X.shape[1]), dtype=dtype)
    dataset.attrs["encoding-type"], dataset.attrs["encoding-version"] = "array", "0.2.0"
    size = max(1, _BLOCK_BYTES // max(1, X.shape[1] * dtype.itemsize))
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        # Both files go through the slide line by line, so that a block's partners lie close together.
        first = int(block.min())
        try:
            span = X[first : int(block.max()) + 1]
        except (OSError, RuntimeError) as error:
            told = " ".join(str(error).split())
            raise CombineError(f"{source.name}: its X is damaged ({told}); copy it again") from error
        dataset[start : start + len(block)] = span[block - first]
