"""Opened h5ad files: the embeddings read as they are needed, faults told in words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.h5ad import (
    SlideFileError,
    Stamp,
    first_rows,
    library_names,
    names_in,
    open_h5ad,
    read_names,
    require_held,
    stamp_of,
    twice_named,
)
from tissuumaps_sic.slidefile.matrix import Matrix, open_matrix
from tissuumaps_sic.slidefile.provenance import MAIN, EmbeddingRecord, Provenance, provenance_in

# What has no more columns is a picture of an embedding, such as obsm['X_umap'].
_MOST_PICTURED = 3
# Embeddings that are made anew differ in every row, if they differ at all.
_SAMPLED = 64
# A file that is replaced while it is opened is opened anew, so often.
_ATTEMPTS = 3
# Of what may be long in a message.
_SHOWN_SLIDES, _LONGEST_NAME = 3, 80


@dataclass(frozen=True)
class Embedding:
    """One of the embeddings in a file.

    Attributes
    ----------
    name : str
        What it is chosen by: "X", or what follows ``X_`` in its key of ``obsm``.
    encoder : str or None
        Name of its encoder, where the file tells.
    mpp : float or None
        µm per pixel of the patches that were embedded, where the file tells.
    n_features : int
    """

    name: str
    encoder: str | None
    mpp: float | None
    n_features: int

    @property
    def label(self) -> str:
        """What the embedding goes by among others: the encoder's name for ``X``, else its own."""
        return (self.encoder or self.name) if self.name == MAIN else self.name

    @property
    def title(self) -> str:
        """The label for people, with the resolution where it is known."""
        if self.mpp is None:
            return self.label
        return f"{self.label.removesuffix(f'_{self.mpp:g}mpp')}, {self.mpp:g} µm/px"


@dataclass(eq=False)
class EmbeddedSlide:
    """One slide's patches and one embedding of each; what is found of them is kept.

    Attributes
    ----------
    path : Path
        The h5ad.
    X : Matrix of shape (n_patches, n_features), floating
        Embeddings, read from the file when they are asked for. A file that is changed meanwhile raises
        `SlideFileError` there.
    patch_names : ndarray of shape (n_patches,), object
        The index of ``obs``.
    centres : ndarray of shape (n_patches, 2), float64
        Patch centres (x, y) in level-0 pixels.
    embedding : str
        Name of the embedding that `X` is.
    embeddings : tuple of Embedding
        All that the file holds, that of ``X`` first.
    stamp : tuple of int, optional
        Of the file that all this was read from (`stamp_of`).
    """

    path: Path
    X: Matrix
    patch_names: npt.NDArray[np.object_]
    centres: npt.NDArray[np.float64]
    embedding: str = MAIN
    embeddings: tuple[Embedding, ...] = ()
    stamp: Stamp | None = None
    _prepared: Prepared | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The slide's name: the file's, without its ending."""
        return self.path.stem

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return int(self.X.shape[0])

    @cached_property
    def spacing(self) -> float:
        """Distance between neighbouring patch centres in level-0 pixels; 1.0 for a single patch."""
        return spacing_of(self.centres)

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each patch by its name."""
        return {str(name): row for row, name in enumerate(self.patch_names)}

    @property
    def is_prepared(self) -> bool:
        """Whether the pass over X that every run needs has been made."""
        return self._prepared is not None

    @property
    def prepared(self) -> Prepared:
        """What every run needs of the slide, found once."""
        return self.prepare(SILENT)

    def prepare(self, stretch: Stretch) -> Prepared:
        """Return `prepared`, and tell how far the reading of X is where that has not been read yet.

        Parameters
        ----------
        stretch : Stretch
            Is told how far it is.

        Returns
        -------
        Prepared
            The same object at every call.

        Raises
        ------
        ValueError
            When X holds NaN, infinity or numbers too large to square.
        SlideFileError
            When the file was changed since it was opened.
        """
        if self._prepared is None:
            reading = stretch.part(0.0, 1.0, "Reading the embeddings")
            self._prepared = Prepared(self.X, self.centres, stretch=reading)
        return self._prepared

    @cached_property
    def fingerprint(self) -> str:
        """What a session must find again: the patches' names in order, and the width of the file's X.

        The same for every embedding of a file, because seeds are of patches.
        """
        width = self.embeddings[0].n_features if self.embeddings else int(self.X.shape[1])
        digest = hashlib.sha256(f"{(self.n_patches, width)}\n".encode())
        digest.update("\n".join(map(str, self.patch_names)).encode())
        return f"sha256:{digest.hexdigest()}"

    @cached_property
    def sample(self) -> str:
        """What tells other embeddings of the same patches from these: a digest of some of them."""
        rows = np.unique(np.linspace(0, self.n_patches - 1, min(_SAMPLED, self.n_patches)).astype(np.intp))
        digest = hashlib.sha256(f"{self.X.shape} {self.X.dtype.str}\n".encode())
        digest.update(np.ascontiguousarray(self.X[rows]).tobytes())
        return f"sha256:{digest.hexdigest()}"

    def with_embedding(self, name: str) -> EmbeddedSlide:
        """Return the slide with another embedding of its file; itself where it is the same.

        Parameters
        ----------
        name : str
            "X", or what follows ``X_`` in a key of ``obsm``.

        Returns
        -------
        EmbeddedSlide

        Raises
        ------
        SlideFileError
            As `open_slide_file`.
        """
        return self if name == self.embedding else open_slide_file(self.path, name)

    def nearest(self, x: float, y: float) -> int:
        """Return the row of the patch whose centre is nearest to a point.

        Parameters
        ----------
        x, y : float
            Level-0 pixels.

        Returns
        -------
        int

        Raises
        ------
        SlideFileError
            When the point is farther than `spacing` from every centre.
        """
        distances = np.abs(self.centres - (x, y)).max(axis=1)
        # A patch holds its own corner, top left, and not the others: on a border the farther centre is right.
        nearest = np.flatnonzero(distances == distances.min())
        row = int(nearest[np.argmax(self.centres[nearest].sum(axis=1))])
        if distances[row] > self.spacing:
            raise SlideFileError(
                f"{self.path.name}: no patch at x {x:g}, y {y:g}; the nearest is {distances[row]:.0f} "
                "level-0 pixels away"
            )
        return row


def spacing_of(centres: npt.NDArray[np.float64]) -> float:
    """Return the distance between neighbouring patch centres, (n_patches, 2); 1.0 for a single patch.

    Parameters
    ----------
    centres : ndarray of shape (n_patches, 2), float64
        (x, y) in level-0 pixels.

    Returns
    -------
    float
        Level-0 pixels.
    """
    steps = np.concatenate([np.diff(np.unique(centres[:, axis])) for axis in (0, 1)])
    # Centres of one column may differ by the rounding of level-0 pixels; that is no step of the grid.
    steps = steps[steps > 1.5]
    return float(steps.min()) if steps.size else 1.0


def open_slide_file(path: Path | str, embedding: str = MAIN) -> EmbeddedSlide:
    """Open an embedding of one slide.

    Parameters
    ----------
    path : Path
        An h5ad with dense embeddings in ``X`` and patch centres in ``obsm['spatial']``.
    embedding : str, default="X"
        Which embedding: "X", or what follows ``X_`` in a key of ``obsm`` (`embeddings` lists them).

    Returns
    -------
    EmbeddedSlide

    Raises
    ------
    SlideFileError
        When the file is missing, damaged, or holds no dense embeddings, no centres, or no embedding of that
        name.
    """
    path = Path(path)
    for _ in range(_ATTEMPTS):
        try:
            before = stamp_of(path)
        except OSError:
            before = None  # told below, as whatever else is wrong with the file
        with open_h5ad(path) as file:
            slide = _read(path, file, embedding)
        # The matrix is opened by name, after the rest: were it of another file, all would look well.
        if before is not None and before == stamp_of(path):
            return replace(slide, stamp=before)
    raise SlideFileError(f"{path.name}: is being written at this moment; try again when it is finished")


def embeddings(path: Path) -> list[Embedding]:
    """Return the embeddings that a file holds, to choose from: ``X``, then those in ``obsm`` by name.

    Those are the dense matrices of floats named ``X_...`` with a row for each patch; what has three columns
    or fewer is taken for a picture of one, such as ``X_umap``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of Embedding

    Raises
    ------
    SlideFileError
        When the file is missing or damaged, or its X is no dense matrix of floats.
    """
    with open_h5ad(path) as file:
        return list(_list_embeddings(path, file))


@dataclass(frozen=True)
class Outline:
    """What is known of a slide without reading any of its patches.

    Attributes
    ----------
    n_patches : int
    embeddings : tuple of Embedding
        All that the file holds, that of ``X`` first.
    provenance : dict of str to Provenance
        Of each embedding, by its name (`Provenance.of_embedding`).
    """

    n_patches: int
    embeddings: tuple[Embedding, ...]
    provenance: dict[str, Provenance]


def outline(path: Path) -> Outline:
    """Read the shapes in a slide's file, and what it tells of its making.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Outline

    Raises
    ------
    SlideFileError
        When the file is missing or damaged, or holds no dense embeddings with a centre for each.
    """
    with open_h5ad(path) as file:
        X = _patches(path, file)
        listed = tuple(_list_embeddings(path, file))
        known = _read_known(file)
        return Outline(int(X.shape[0]), listed, {each.name: known.of_embedding(each.name) for each in listed})


def _read_known(file: h5py.File) -> Provenance:
    """Return the provenance of an open h5ad, which tells nothing where it cannot be read."""
    try:
        return provenance_in(file)
    except ValueError:
        return Provenance()


def _list_embeddings(path: Path, file: h5py.File) -> Iterator[Embedding]:
    X = file.get("X")
    _check_dense(path, MAIN, X)
    known = _read_known(file)
    yield _embedding(MAIN, known.encoder.name or _feature_prefix(file), known.grid.target_mpp, X)
    obsm, records = file.get("obsm"), {each.key: each for each in known.embeddings}
    for key, item in obsm.items() if isinstance(obsm, h5py.Group) else ():
        # X itself would be shadowed by an X_X.
        if key.startswith("X_") and key not in ("X_", "X_X") and _is_embedding(item, X.shape[0]):
            record = records.get(f"obsm/{key}", EmbeddingRecord())
            yield _embedding(key[2:], record.name, record.target_mpp, item)


def _embedding(name: str, encoder: str | None, mpp: float | None, matrix: h5py.Dataset) -> Embedding:
    return Embedding(name, encoder or None, None if mpp is None else float(mpp), int(matrix.shape[1]))


def _is_embedding(item: Any, n_patches: int) -> bool:
    return bool(
        isinstance(item, h5py.Dataset)
        and item.ndim == 2
        and item.dtype.kind == "f"
        and item.shape[0] == n_patches
        and item.shape[1] > _MOST_PICTURED
    )


def _feature_prefix(file: h5py.File) -> str | None:
    """Return what the features' names begin with: the encoder's name, in files that do not tell it."""
    try:
        first = file["var"][file["var"].attrs["_index"]].asstr()[0]
    except (OSError, KeyError, AttributeError, IndexError, TypeError, ValueError):
        return None
    match = re.fullmatch(r"(.+)_\d+", first)
    return match[1] if match else None


def _read(path: Path, file: h5py.File, embedding: str) -> EmbeddedSlide:
    n_patches = _patches(path, file).shape[0]
    listed = tuple(_list_embeddings(path, file))
    if embedding not in {each.name for each in listed}:
        there = ", ".join(
            f"X ({each.label})" if each.name == MAIN and each.encoder else each.name for each in listed
        )
        raise SlideFileError(
            f"{path.name}: has no embedding {embedding!r}; there is {there}; choose one of them, or add it "
            "(embedder add)"
        )
    key = "X" if embedding == MAIN else f"obsm/X_{embedding}"
    require_held(file[key], f"{path.name}: {key}")
    names, centres = _names(path, file), _centres(path, file, n_patches)
    return EmbeddedSlide(path, open_matrix(path, file[key]), names, centres, embedding, listed)


def _patches(path: Path, file: h5py.File) -> h5py.Dataset:
    """Return X of an open h5ad, once all shapes agree; nothing that has a row for each patch is read.

    Raises
    ------
    SlideFileError
    """
    for key in ("X", "obs", "obsm/spatial"):
        if key not in file:
            raise SlideFileError(
                f"{path.name}: has no {key}; `embedder check {path.name}` names what the file lacks"
            )
    X, more = file["X"], f"`embedder check {path.name}` tells more"
    _check_dense(path, MAIN, X)
    n_patches = int(X.shape[0])
    if not n_patches:
        raise SlideFileError(f"{path.name}: has no patches; embed the slide again, with a lower --min-tissue")
    if not X.shape[1]:
        raise SlideFileError(f"{path.name}: X has no columns; embed the slide again")
    n_bytes = path.stat().st_size
    if n_patches > n_bytes:
        raise SlideFileError(
            f"{path.name}: declares {n_patches} patches in {n_bytes} bytes, which cannot be; copy it again, "
            "or embed the slide again"
        )
    index, spatial = names_in(file["obs"], f"{path.name}: obs"), file["obsm/spatial"]
    if index.shape != (n_patches,):
        raise SlideFileError(f"{path.name}: has {index.shape[0]} names for {n_patches} patches; {more}")
    is_matrix = isinstance(spatial, h5py.Dataset) and spatial.dtype.kind in "iuf"
    if not is_matrix or spatial.shape != (n_patches, 2):
        raise SlideFileError(f"{path.name}: obsm['spatial'] is not one (x, y) for each patch; {more}")
    require_held(X, f"{path.name}: X")
    require_held(index, f"{path.name}: obs")
    require_held(spatial, f"{path.name}: obsm['spatial']")
    return X


def _names(path: Path, file: h5py.File) -> npt.NDArray[np.object_]:
    """Return the patches' names, each of which is that of one patch of one slide.

    Seeds are kept by name, and would land on another patch; the places of two slides lie over each other.
    """
    slides = library_names(file["obs"])
    if len(slides) > 1:
        listed = ", ".join(slides[:_SHOWN_SLIDES]) + (", ..." if len(slides) > _SHOWN_SLIDES else "")
        raise SlideFileError(
            f"{path.name}: holds patches of {len(slides)} slides ({listed}), as obs['library_id'] says; "
            "write each into a file of its own, such as "
            f"adata[adata.obs['library_id'] == {slides[0]!r}].write_h5ad('one.h5ad')"
        )
    names = patch_names_of(file)
    twice = twice_named(names)
    if twice is not None:
        name, row, other = twice
        raise SlideFileError(
            f"{path.name}: names of patches are not unique: {name[:_LONGEST_NAME]!r} is that of rows {row} "
            f"and {other}, and a seed on one would be on both; if several slides were put together, embed "
            "each into a file of its own, else give each patch its name (adata.obs_names_make_unique())"
        )
    return names


def _centres(path: Path, file: h5py.File, n_patches: int) -> npt.NDArray[np.float64]:
    """Return the patches' places, all of which are numbers."""
    centres = np.empty((n_patches, 2))
    file["obsm/spatial"].read_direct(centres)
    is_lost = np.logical_not(np.isfinite(centres).all(axis=1))
    if is_lost.any():
        raise SlideFileError(
            f"{path.name}: obsm['spatial'] holds NaN or infinity {first_rows(is_lost)}; leave those "
            "patches out (adata[np.isfinite(adata.obsm['spatial']).all(axis=1)]) or embed the slide again"
        )
    return centres


def patch_names_of(file: h5py.File) -> npt.NDArray[np.object_]:
    """Return the index of ``obs`` of an open h5ad, (n_patches,), object.

    Parameters
    ----------
    file : File

    Returns
    -------
    ndarray of shape (n_patches,), object

    Raises
    ------
    SlideFileError
        When there is none.
    """
    return read_names(names_in(file["obs"], f"{Path(file.filename).name}: obs"))


def _check_dense(path: Path, key: str, dataset: Any) -> None:
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 2 or dataset.dtype.kind != "f":
        raise SlideFileError(f"{path.name}: {key} is not a dense matrix of floats; embed the slide again")
