"""Opened h5ad files: the embeddings memory-mapped, a few slides kept, any file's faults told in words."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.prepared import Prepared


class SlideFileError(Exception):
    """An h5ad cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class EmbeddedSlide:
    """One slide's patches and their embeddings.

    Attributes
    ----------
    path : Path
        The h5ad.
    X : ndarray of shape (n_patches, n_features), floating
        Embeddings; a read-only memory map where the file allows it.
    patch_names : ndarray of shape (n_patches,), object
        The index of ``obs``.
    centres : ndarray of shape (n_patches, 2), float64
        Patch centres (x, y) in level-0 pixels.
    """

    path: Path
    X: npt.NDArray[np.floating[Any]]
    patch_names: npt.NDArray[np.object_]
    centres: npt.NDArray[np.float64]

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
        steps = np.concatenate([np.diff(np.unique(self.centres[:, axis])) for axis in (0, 1)])
        # Centres of one column may differ by the rounding of level-0 pixels; that is no step of the grid.
        steps = steps[steps > 1.5]
        return float(steps.min()) if steps.size else 1.0

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each patch by its name."""
        return {str(name): row for row, name in enumerate(self.patch_names)}

    @cached_property
    def prepared(self) -> Prepared:
        """What every run needs of the slide, found once."""
        return Prepared(self.X, self.centres)

    @cached_property
    def fingerprint(self) -> str:
        """What a session must find again: the patches' names in order, and the length of an embedding."""
        digest = hashlib.sha256(f"{self.X.shape}\n".encode())
        digest.update("\n".join(map(str, self.patch_names)).encode())
        return f"sha256:{digest.hexdigest()}"

    def nearest(self, x: float, y: float) -> int:
        """Return the row of the patch whose centre is nearest to (x, y), in level-0 pixels.

        Raises
        ------
        SlideFileError
            When the point lies outside every patch.
        """
        distances = np.abs(self.centres - (x, y)).max(axis=1)
        row = int(np.argmin(distances))
        if distances[row] > self.spacing:
            raise SlideFileError(
                f"{self.path.name}: no patch at x {x:g}, y {y:g}; the nearest is {distances[row]:.0f} "
                "level-0 pixels away"
            )
        return row


def open_slide_file(path: Path) -> EmbeddedSlide:
    """Open the embeddings of one slide.

    Parameters
    ----------
    path : Path
        An h5ad with dense embeddings in ``X`` and patch centres in ``obsm['spatial']``.

    Returns
    -------
    EmbeddedSlide

    Raises
    ------
    SlideFileError
        When the file is missing, damaged, or holds no dense embeddings or centres.
    """
    if not path.is_file():
        raise SlideFileError(f"{path.name}: no such file; embed the slide first (embedder embed)")
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _read(path, file)
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise SlideFileError(
            f"{path.name}: not a readable h5ad ({error}); embed the slide again (embedder embed)"
        ) from error


def provenance(path: Path) -> dict[str, Any]:
    """Return what the embedder recorded in an h5ad's ``uns['embedder']``; nothing where there is none.

    Raises
    ------
    SlideFileError
        When the file cannot be read.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            text = file["uns/embedder"].asstr()[()] if "uns/embedder" in file else "{}"
        known = json.loads(text)
    except (OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise SlideFileError(
            f"{path.name}: its provenance cannot be read ({error}); embed the slide again"
        ) from error
    return known if isinstance(known, dict) else {}


def _read(path: Path, file: h5py.File) -> EmbeddedSlide:
    for key in ("X", "obs", "obsm/spatial"):
        if key not in file:
            raise SlideFileError(
                f"{path.name}: has no {key}; `embedder check {path.name}` names what the file lacks"
            )
    X = _embeddings(path, file["X"])
    obs = file["obs"]
    index = obs[obs.attrs["_index"]]
    if isinstance(index, h5py.Group):
        # A nullable string array, which anndata writes with pandas 3; names are never missing.
        index = index["values"]
    names = index.asstr()[()].astype(object)
    spatial = file["obsm/spatial"]
    if not isinstance(spatial, h5py.Dataset) or spatial.shape != (X.shape[0], 2):
        raise SlideFileError(
            f"{path.name}: obsm['spatial'] is not one (x, y) for each patch; "
            f"`embedder check {path.name}` tells more"
        )
    return EmbeddedSlide(path, X, names, np.asarray(spatial[()], dtype=np.float64))


def _embeddings(path: Path, dataset: Any) -> npt.NDArray[np.floating[Any]]:
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 2 or dataset.dtype.kind != "f":
        raise SlideFileError(f"{path.name}: X is not a dense matrix of floats; embed the slide again")
    offset = dataset.id.get_offset()
    if dataset.chunks is None and offset is not None and dataset.dtype.isnative:
        return np.memmap(path, dtype=dataset.dtype, mode="r", offset=offset, shape=dataset.shape)
    # A compressed file costs its unpacked size in memory; `embedder share --compress` makes such files.
    values: npt.NDArray[np.floating[Any]] = dataset[()]
    return values


class SlideCache:
    """The slides opened last, reopened when their file changes; safe to share between threads.

    Parameters
    ----------
    size : int
        How many slides are kept.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._slides: OrderedDict[Path, tuple[tuple[int, int], EmbeddedSlide]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> EmbeddedSlide:
        """Return the slide at `path`, from memory where the file is still the same.

        Raises
        ------
        SlideFileError
            As `open_slide_file`.
        """
        with self._lock:
            try:
                stat = path.stat()
            except OSError as error:
                self._slides.pop(path, None)
                raise SlideFileError(f"{path.name}: no such file; embed the slide first") from error
            stamp = (stat.st_mtime_ns, stat.st_size)
            known = self._slides.pop(path, None)
            slide = known[1] if known and known[0] == stamp else open_slide_file(path)
            self._slides[path] = (stamp, slide)
            while len(self._slides) > self._size:
                self._slides.popitem(last=False)
            return slide

    def forget(self, path: Path) -> None:
        """Let go of a slide, so that its file can be replaced on systems that lock mapped files."""
        with self._lock:
            self._slides.pop(path, None)
