"""A copy of a slide's file that tells nothing of whose slide it is, and a list of what was taken out."""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from embedder.anndata_io import write_matrix
from embedder.contract import ContractError, check
from embedder.tmap import tmap_project, write_tmap
from tissuumaps_sic.slidefile.writing import replacing

# What may stay; whatever else somebody put into the file goes, unless it is asked for.
_OBS = ("x0", "y0", "umap_rgb", "library_id", "tissue", "sic_label", "sic_score", "sic_seed")
_OBSM = ("spatial", "X_umap", "X_umap_3d")
_UNS = ("embedder", "sic", "sic_label_colors")
# Of how the labels were made, all that says nothing of who made them, when, and from which slide.
_RUN = ("method", "embedding", "parameters", "version", "n_iter", "counts")
_GROUPS = ("obs", "var", "obsm", "uns")
_MOST_SHIFT = 2**16
_NAME_DIGITS = 16
_PATH = re.compile(r"^(/(?!obs/|obsm/|uns/|X\b)|~[/\\]|[A-Za-z]:[\\/]|\\\\|file:)|^\.\.[\\/]")


class ShareError(Exception):
    """A file cannot be shared; the message says why, and nothing was written."""


@dataclass(frozen=True)
class Change:
    """One thing that a shared file has not as its source had it.

    Attributes
    ----------
    place : str
        Where in the file, such as ``obs/patient``.
    what : str
        "removed", or what it is now.
    why : str
    """

    place: str
    what: str
    why: str


@dataclass(frozen=True)
class Shared:
    """What was shared.

    Attributes
    ----------
    path : Path
        The h5ad; its TissUUmaps project lies beside it.
    name : str
        Of the slide in it.
    changes : tuple of Change
    """

    path: Path
    name: str
    changes: tuple[Change, ...]


def read_key(path: Path) -> bytes:
    """Read the secret that names and shifts are made with; one is made where the file is not there.

    Raises
    ------
    ShareError
        The file is too short to be a secret.
    OSError
        It cannot be read or made.
    """
    if not path.exists():
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise ShareError(
            f"{path}: has {len(key)} bytes; a secret has at least 16 (delete it, and one is made)"
        )
    return key


def share(
    source: Path,
    folder: Path,
    *,
    key: bytes | None = None,
    rename: bool = False,
    shift: bool = False,
    compress: bool = False,
    keep: Sequence[str] = (),
) -> Shared:
    """Write a copy that holds no pixels, no paths, no names of people or machines, and no unknown columns.

    Parameters
    ----------
    source : Path
        An h5ad that follows the file contract.
    folder : Path
        Where the copy and its TissUUmaps project go; made if it is not there.
    key : bytes, optional
        The secret of `rename` and `shift`: the same key gives the same name and shift again, and nobody
        without it can tell from which slide a file comes.
    rename : bool, default=False
        Whether to name the slide by a keyed hash (HMAC-SHA256) of its name, and to leave out the hash of the
        slide's own file, which tells whoever has that file.
    shift : bool, default=False
        Whether to move all coordinates by a keyed whole number of level-0 pixels, and to tell the extent of
        the patches in place of the slide's size.
    compress : bool, default=False
        Whether to store the embeddings by gzip: smaller to send, but no reader can map them into memory.
    keep : sequence of str
        Places to keep beside those of the contract, such as ``obs/stage``.

    Returns
    -------
    Shared
        With all that was removed or changed.

    Raises
    ------
    ShareError
        There is no key where one is needed, the source does not follow the contract, or the copy would still
        hold a name or a path.
    OSError
        A file cannot be read or written.
    """
    if (rename or shift) and key is None:
        raise ShareError("a new name or a shift needs a secret key; give one with --key FILE")
    problems = [each for each in check(source) if each.rule != "no-paths"]
    if problems:
        raise ShareError(
            f"{source}: does not follow the file contract ({problems[0].what}); `embedder check` tells more"
        )
    try:
        copy = _Copy(source, key if rename else None, key if shift else None, frozenset(keep))
        project = copy.project(f"{copy.name}.h5ad")
    except KeyError as error:
        raise ShareError(f"{source}: uns['embedder'] has no {error}; embed the slide again") from error
    target = folder / f"{copy.name}.h5ad"
    if target.exists() and target.samefile(source):
        raise ShareError(f"{source}: would be written over itself; give another folder, or --rename")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        copy.write(temporary, project, compress=compress)
        problems = check(temporary)
        # Compressed embeddings are what was asked for, and the rule is about plain chunks alone.
        if problems:
            raise ContractError(f"{target.name} would break the file contract ({problems[0].what})")
        with h5py.File(temporary, "r", locking=False) as file:
            _prove(_strings_of(file), original=copy.original if rename else None)
    write_tmap(target.with_suffix(".tmap"), project)
    return Shared(target, copy.name, tuple(copy.changes))


class _Copy:
    """What of a file may be shared, and what was done to it."""

    def __init__(
        self, source: Path, rename_key: bytes | None, shift_key: bytes | None, keep: frozenset[str]
    ) -> None:
        from anndata.io import read_elem

        self.source = source
        self.changes: list[Change] = []
        with h5py.File(source, "r", locking=False) as file:
            self.provenance: dict[str, Any] = json.loads(file["uns/embedder"].asstr()[()])
            known = {str(entry.get("key", "")) for entry in self.provenance.get("encoders", ())}
            allowed = (
                {f"obs/{name}" for name in _OBS}
                | {f"obsm/{name}" for name in _OBSM}
                | {f"uns/{name}" for name in _UNS}
                | {key for key in known if key.startswith("obsm/X_")}
                | keep
            )
            self.obs = read_elem(file["obs"])
            self.var = read_elem(file["var"])
            for column in list(self.obs.columns):
                if f"obs/{column}" not in allowed:
                    self._removed(f"obs/{column}", "a column that is not the file contract's")
                    del self.obs[column]
            for column in list(self.var.columns):
                if f"var/{column}" not in keep:
                    self._removed(f"var/{column}", "a column that is not the file contract's")
                    del self.var[column]
            self.obsm: dict[str, Any] = {}
            self.matrices: list[str] = []
            for name in file["obsm"]:
                if f"obsm/{name}" not in allowed:
                    self._removed(f"obsm/{name}", "a matrix that is not the file contract's")
                elif f"obsm/{name}" in known:
                    self.matrices.append(f"obsm/{name}")
                else:
                    self.obsm[name] = read_elem(file[f"obsm/{name}"])
            self.uns: dict[str, Any] = {}
            for name in file["uns"]:
                if f"uns/{name}" in allowed:
                    self.uns[name] = read_elem(file[f"uns/{name}"])
                elif name == "spatial":
                    self._removed("uns/spatial", "it holds pixels of the slide")
                elif name != "tmap":  # made anew
                    self._removed(f"uns/{name}", "an entry that is not the file contract's")
            for name in file:
                if name not in (*_GROUPS, "X") and _holds_something(file[name]):
                    self._removed(name, "a part that is not the file contract's")
        self.original = str(self.provenance["slide"]["name"])
        self.name = self.original
        if rename_key is not None:
            digest = hmac.new(rename_key, f"name:{self.original}".encode(), hashlib.sha256)
            self.name = digest.hexdigest()[:_NAME_DIGITS]
        self._strip_provenance(renamed=rename_key is not None)
        if shift_key is not None:
            self._shift(shift_key)
        self._strip_labels()
        if rename_key is not None:
            self._rename()
        self.provenance["shared"] = {
            "renamed": rename_key is not None,
            "shifted": shift_key is not None,
        }
        self.uns["embedder"] = json.dumps(self.provenance)
        self._changed("uns/tmap", "without the image layer", "the image is not shared")

    def project(self, h5ad_name: str) -> dict[str, Any]:
        """Return the TissUUmaps project of the copy."""
        slide, grid = self.provenance["slide"], self.provenance["grid"]
        return tmap_project(
            h5ad_name=h5ad_name,
            slide_name=self.name,
            image=None,
            slide_size=tuple(slide["size"]),
            centres=np.asarray(self.obsm["spatial"], np.float64),
            stride0=grid["stride"] * grid["scale"],
            mpp=(slide["mpp_x"] + slide["mpp_y"]) / 2,
        )

    def write(self, path: Path, project: dict[str, Any], *, compress: bool) -> None:
        """Write the copy; the embeddings pass block by block."""
        import anndata
        from anndata.io import write_elem

        uns = self.uns | {"tmap": json.dumps(project)}
        adata = anndata.AnnData(obs=self.obs, var=self.var, obsm=self.obsm, uns=uns)
        # The copy is nobody else's yet, and not every disk has the locks that HDF5 would take.
        with h5py.File(self.source, "r", locking=False) as there, h5py.File(path, "w", locking=False) as here:
            write_elem(here, "/", adata)
            for key in ("X", *self.matrices):
                write_matrix(here, key, there[key], compress=compress)

    def _removed(self, place: str, why: str) -> None:
        self.changes.append(Change(place, "removed", why))

    def _changed(self, place: str, what: str, why: str) -> None:
        self.changes.append(Change(place, what, why))

    def _strip_provenance(self, *, renamed: bool) -> None:
        if renamed:
            slide, tissue = self.provenance["slide"], self.provenance["tissue"]
            if slide.get("hash") is not None:
                slide["hash"] = None
                self._removed("uns/embedder: slide.hash", "it tells whoever has the slide which it is")
            parameters = tissue.get("parameters")
            if isinstance(parameters, dict) and parameters.pop("sha256", None) is not None:
                self._removed("uns/embedder: tissue.parameters.sha256", "it tells whoever has that file")
        for place, value in list(_leaves(self.provenance)):
            if _PATH.search(value):
                _put(self.provenance, place, None)
                self._removed(f"uns/embedder: {'.'.join(map(str, place))}", "a path")

    def _shift(self, key: bytes) -> None:
        digest = hmac.new(key, f"shift:{self.original}".encode(), hashlib.sha256).digest()
        moved = np.array([int.from_bytes(digest[k : k + 4], "big") % _MOST_SHIFT for k in (0, 4)], np.int64)
        slide, grid = self.provenance["slide"], self.provenance["grid"]
        corners: npt.NDArray[np.int64] = self.obs[["x0", "y0"]].to_numpy(np.int64)
        # From the first patch's corner on, so that what is left of the true place is the shift alone.
        moved -= corners.min(axis=0)
        self.obs["x0"], self.obs["y0"] = (corners + moved).T
        self.obsm["spatial"] = np.asarray(self.obsm["spatial"], np.float64) + moved
        edges = [grid.get(name, grid["patch_size0"]) for name in ("patch_width0", "patch_height0")]
        extent = np.ceil((corners + moved).max(axis=0) + np.array(edges)).astype(int)
        slide["size"], slide["bounds"] = extent.tolist(), [0, 0, *extent.tolist()]
        self.obs.index = self._names(self.original)
        for place in ("obs/x0, obs/y0", "obs index", "obsm/spatial"):
            self._changed(place, "shifted by a keyed number of pixels", "asked for")
        self._changed("uns/embedder: slide.size, slide.bounds", "the extent of the patches", "asked for")

    def _strip_labels(self) -> None:
        if "sic" not in self.uns:
            return
        known = json.loads(str(self.uns["sic"]))
        run = known.get("run") or {}
        kept = {
            "classes": [
                {name: each.get(name) for name in ("name", "color")} for each in known.get("classes", ())
            ],
            "run": {name: run[name] for name in _RUN if name in run},
        }
        self.uns["sic"] = json.dumps(kept)
        gone = sorted((set(known) - set(kept)) | {f"run.{name}" for name in set(run) - set(kept["run"])})
        if gone:
            self._removed(f"uns/sic: {', '.join(gone)}", "who labelled which slide, and when")

    def _rename(self) -> None:
        import pandas as pd

        self.obs.index = self._names(self.name)
        self.obs["library_id"] = pd.Categorical.from_codes(
            np.zeros(len(self.obs), np.int8), categories=pd.Index([self.name], dtype=object)
        )
        self.provenance["slide"]["name"] = self.name
        for place in ("obs index", "obs/library_id", "uns/embedder: slide.name", "the file's name"):
            self._changed(place, self.name, "the slide was renamed")

    def _names(self, name: str) -> Any:
        import pandas as pd

        pairs = zip(self.obs["x0"], self.obs["y0"], strict=True)
        return pd.Index([f"{name}_{x}_{y}" for x, y in pairs], dtype=object, name=self.obs.index.name)


def _prove(strings: Iterator[tuple[str, str]], *, original: str | None) -> None:
    """Look through every string of a file for what must not be there.

    Raises
    ------
    ShareError
        Something is.
    """
    names = {"this machine's name": socket.gethostname(), "a user's name": _user()}
    # Names of three letters are found in anything.
    wanted = {why: name for why, name in names.items() if len(name) > 3}
    if original is not None and len(original) > 3:
        wanted["the slide's name"] = original
    patterns = {
        why: re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
        for why, name in wanted.items()
    }
    for place, text in strings:
        found = next((why for why, pattern in patterns.items() if pattern.search(text)), None)
        if found is None and _PATH.search(text):
            found = "a path"
        if found is not None:
            raise ShareError(
                f"the copy would still hold {found} in {place} ({text[:60]!r}), so it was not written; leave "
                "that out of --keep, or rename the class"
            )


def _strings_of(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Give every string of an HDF5 file with its place: names, attributes and contents, JSON taken apart."""
    items: list[tuple[str, Any]] = [("/", file)]
    file.visititems(lambda name, item: items.append((name, item)))
    for name, item in items:
        yield name, name.rpartition("/")[2]
        for key, value in item.attrs.items():
            for text in np.atleast_1d(np.asarray(value, dtype=object)).ravel():
                if isinstance(text, str):
                    yield f"{name}@{key}", text
        if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype) is not None:
            for text in np.atleast_1d(item.asstr()[()]).ravel():
                try:
                    parts = list(_texts(json.loads(text)))
                except ValueError:
                    parts = [str(text)]
                yield from ((name, each) for each in parts)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    else:
        yield str(value)


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Give every string of nested dicts and lists with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(each, (*place, key))


def _put(value: Any, place: tuple[Any, ...], new: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = new


def _holds_something(item: Any) -> bool:
    return not isinstance(item, h5py.Group) or len(item) > 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""  # a container's number without a name
