"""What of a slide's file may be in a copy that tells nothing of whose slide it is, and what was done to it.

Each value is read, looked at and written anew; what may stay is on a list (`whitelist`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from embedder.embedding.writing import write_matrix
from embedder.files import whitelist
from embedder.files.proof import ATTRIBUTES, ShareError
from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.project import tmap_project
from tissuumaps_sic.slidefile.provenance import (
    DAMAGED,
    FINE,
    FINE_TISSUE,
    NEEDED,
    EmbeddingRecord,
    Provenance,
    provenance_in,
)

# What may stay; whatever else somebody put into the file goes, unless it is asked for.
_UMAPS = {"X_umap": 2, "X_umap_3d": 3}
_UNS = ("embedder", "sic", "sic_label_colors", "tmap")
_GROUPS = ("obs", "var", "obsm", "uns")
_MOST_SHIFT = 2**16
_NAME_DIGITS = 16
_GREY = "#808080"

Value = TypeVar("Value", str, float)


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


class Copy:
    """What of a file may be shared, and what was done to it."""

    def __init__(
        self,
        source: Path,
        rename_key: bytes | None,
        shift_key: bytes | None,
        keep: frozenset[str],
        *,
        fine: bool,
    ) -> None:
        self.source = source
        self.keep = keep
        self.changes: list[Change] = []
        with h5py.File(source, "r", locking=False) as file:
            known = provenance_in(file)
            self.original = _plain_name(_require(known.slide.name, "name"))
            self.name = self.original
            if rename_key is not None:
                digest = hmac.new(rename_key, f"name:{self.original}".encode(), hashlib.sha256)
                self.name = digest.hexdigest()[:_NAME_DIGITS]
            # Where each embedding lies in the source, by where it will.
            self.matrices = {"X": "X"}
            # Of cells smaller than a patch, which go under their own names.
            self.cells: tuple[str, ...] = ()
            self.obsm: dict[str, Any] = {}
            self._find_cells(known, keep=fine)
            self._read_matrices(file, known)
            self._read_provenance(known, renamed=rename_key is not None, shifted=shift_key is not None)
            corners = np.column_stack([np.asarray(file[f"obs/{key}"][()], np.int64) for key in ("x0", "y0")])
            if shift_key is not None:
                corners = self._shift(shift_key, corners)
            if rename_key is not None or shift_key is not None:
                self._tell_extent(corners)
            self.uns: dict[str, Any] = {}
            self._read_labels(file)
            self.obs = self._read_obs(file["obs"], corners)
            self.var = self._read_var(file["var"], int(file["X"].shape[1]))
            self._read_kept(file)
            self._list_attributes(file)
        if rename_key is not None:
            for place in ("obs index", "obs/library_id", "uns/embedder: slide.name", "the file's name"):
                self._log_changed(place, self.name, "the slide was renamed")
        self.uns["embedder"] = self.provenance.to_json()
        self._log_changed("uns/tmap", "without the image layer", "the image is not shared")

    def project(self, h5ad_name: str) -> dict[str, Any]:
        """Return the TissUUmaps project of the copy.

        Parameters
        ----------
        h5ad_name : str
            Name of the copy's file.

        Returns
        -------
        dict
        """
        slide, grid = self.provenance.slide, self.provenance.grid
        size = slide.size or self.obsm["spatial"].max(axis=0)
        return tmap_project(
            h5ad_name=h5ad_name,
            slide_name=self.name,
            image=None,
            slide_size=(int(size[0]), int(size[1])),
            centres=self.obsm["spatial"],
            stride0=_require(grid.stride, "stride") * _require(grid.scale, "scale"),
            mpp=(_require(slide.mpp_x, "mpp_x") + _require(slide.mpp_y, "mpp_y")) / 2,
        )

    def write(self, path: Path, project: dict[str, Any], *, compress: bool) -> None:
        """Write the copy; the embeddings pass block by block.

        Parameters
        ----------
        path : Path
        project : dict
            As `project` returned it.
        compress : bool
            Whether to store embeddings by gzip.
        """
        import anndata
        from anndata.io import write_elem

        uns = self.uns | {"tmap": json.dumps(project)}
        adata = anndata.AnnData(obs=self.obs, var=self.var, obsm=self.obsm, uns=uns)
        # The copy is nobody else's yet, and not every disk has the locks that HDF5 would take.
        with h5py.File(self.source, "r", locking=False) as there, h5py.File(path, "w", locking=False) as here:
            write_elem(here, "/", adata)
            for new, old in self.matrices.items():
                write_matrix(here, new, there[old], compress=compress)
            for place in self.cells:
                write_matrix(here, place, there[place], compress=compress)

    def _log_removed(self, place: str, why: str) -> None:
        self.changes.append(Change(place, "removed", why))

    def _log_changed(self, place: str, what: str, why: str) -> None:
        self.changes.append(Change(place, what, why))

    def _find_cells(self, known: Provenance, *, keep: bool) -> None:
        """Settle whether the cells stay; that the file has all of their parts was checked."""
        if known.fine is None:
            return
        places = tuple(f"obsm/{key}" for key in (FINE, FINE_TISSUE))
        if keep:
            self.cells = places
            return
        for place in (*places, "uns/embedder: fine"):
            self._log_removed(place, "asked for: it tells of texture finer than a patch")

    def _read_matrices(self, file: h5py.File, known: Provenance) -> None:
        """Read the places and the UMAP; of the other embeddings settle what they are called."""
        entries = {
            each.key: each
            for each in known.encoders
            if each.key is not None and each.key.startswith("obsm/X_")
        }
        self.obsm["spatial"] = np.array(file["obsm/spatial"][()], np.float64)
        for name, item in file["obsm"].items():
            place = f"obsm/{name}"
            if name == "spatial" or name in (FINE, FINE_TISSUE):
                continue
            of_numbers = isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.ndim == 2
            if of_numbers and item.shape[1] == _UMAPS.get(name):
                self.obsm[name] = np.array(item[()], np.float32)
            elif place in entries and of_numbers:
                new = place if place in self.keep else self._embedding_place(place, entries[place])
                self.matrices[new] = place
                if new != place:
                    self._log_changed(place, new, "named by people; by its encoder now")
            elif place not in self.keep:
                self._log_removed(place, "a matrix that is not the file contract's")

    def _embedding_place(self, place: str, entry: EmbeddingRecord) -> str:
        """Return where an added embedding goes: its encoder names it, not people."""
        encoder, mpp = whitelist.encoder_name(entry), entry.target_mpp
        names = [encoder, f"{encoder}_{mpp:g}mpp"] if whitelist.is_number(mpp) else [encoder]
        if place.removeprefix("obsm/X_") in names:
            return place
        free = [f"obsm/X_{name}" for name in [*names, *(f"{encoder}-{k}" for k in range(2, 1000))]]
        return next(each for each in free if each not in self.matrices)

    def _read_provenance(self, known: Provenance, *, renamed: bool, shifted: bool) -> None:
        gone: list[str] = []
        document = dict(known.document)
        if not self.cells:
            document.pop("fine", None)
        found = whitelist.keep(document, whitelist.PROVENANCE, gone)
        for part in NEEDED:
            found.setdefault(part, {})
        named = {"slide.name", "encoder.name", "encoders"}
        self._tell_gone("uns/embedder: ", [each for each in gone if each not in named])
        if renamed:
            for place in whitelist.SINGLING:
                parent = found
                for key in place[:-1]:
                    parent = parent.get(key) or {}
                if parent.get(place[-1]) not in (None, {}):
                    parent[place[-1]] = {} if place[-1] == "seconds" else None
                    self._log_removed(
                        f"uns/embedder: {'.'.join(place)}", "it tells whoever has the slide which it is"
                    )
        found["slide"]["name"] = self.name
        found["encoder"]["name"] = whitelist.encoder_name(known.encoder)
        if found["encoder"]["name"] != known.encoder.name:
            why = "an encoder's name that people gave"
            self._log_changed("uns/embedder: encoder.name", found["encoder"]["name"], why)
        if len(self.matrices) > 1 or "encoders" in known.document:
            places = {old: new for new, old in self.matrices.items()}
            found["encoders"] = [
                whitelist.keep(
                    each.model_dump(exclude_unset=True), {**whitelist.ENCODER, **whitelist.GRID}, []
                )
                | {"key": places[each.key], "name": whitelist.encoder_name(each)}
                for each in known.encoders
                if each.key in places
            ]
            for each in found["encoders"] if renamed else ():
                each.pop("precision_choice", None)
        before = found.get("shared", {})
        found["shared"] = {
            "renamed": renamed or before.get("renamed") is True,
            "shifted": shifted or before.get("shifted") is True,
        }
        self.provenance = Provenance.of(found)

    def _tell_gone(self, where: str, gone: Sequence[str]) -> None:
        for place in gone:
            self._log_removed(f"{where}{place}", "not what the file contract has there")

    def _shift(self, key: bytes, corners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        digest = hmac.new(key, f"shift:{self.original}".encode(), hashlib.sha256).digest()
        moved = np.array([int.from_bytes(digest[k : k + 4], "big") % _MOST_SHIFT for k in (0, 4)], np.int64)
        # From the first patch's corner on, so that what is left of the true place is the shift alone.
        moved -= corners.min(axis=0)
        self.obsm["spatial"] = self.obsm["spatial"] + moved
        for place in ("obs/x0, obs/y0", "obs index", "obsm/spatial"):
            self._log_changed(place, "shifted by a keyed number of pixels", "asked for")
        return corners + moved

    def _tell_extent(self, corners: npt.NDArray[np.int64]) -> None:
        """Put the extent of the patches in place of the slide's size, which archives list."""
        edges = [_require(edge, "patch_size0") for edge in self.provenance.grid.edges0]
        extent = np.ceil(corners.max(axis=0) + np.array(edges)).astype(int).tolist()
        self.provenance = self.provenance.with_extent((extent[0], extent[1]))
        self._log_changed("uns/embedder: slide.size, slide.bounds", "the extent of the patches", "asked for")

    def _read_obs(self, obs: h5py.Group, corners: npt.NDArray[np.int64]) -> Any:
        import pandas as pd
        from anndata.io import read_elem

        index = pd.Index([f"{self.name}_{x}_{y}" for x, y in corners.tolist()], dtype=object)
        columns: dict[str, Any] = {
            "x0": corners[:, 0],
            "y0": corners[:, 1],
            "umap_rgb": pd.Series(list(obs["umap_rgb"].asstr()[()]), index=index, dtype=object),
            "library_id": pd.Categorical.from_codes(
                np.zeros(len(index), np.int8), categories=pd.Index([self.name], dtype=object)
            ),
            "tissue": np.array(obs["tissue"][()], np.float32),
        }
        if DAMAGED in obs:
            columns[DAMAGED] = np.array(obs[DAMAGED][()], np.bool_)
        if "sic_label" in obs:
            columns["sic_label"] = _drop_unused(read_elem(obs["sic_label"]))
            columns["sic_score"] = np.array(obs["sic_score"][()], np.float32)
            columns["sic_seed"] = _drop_unused(read_elem(obs["sic_seed"]))
        for name in obs:
            if name in columns or name == obs.attrs["_index"]:
                continue
            if f"obs/{name}" in self.keep:
                columns[name] = _as_column(read_elem(obs[name]), index)
            else:
                self._log_removed(f"obs/{name}", "a column that is not the file contract's")
        return pd.DataFrame(columns, index=index)

    def _read_var(self, var: h5py.Group, n_features: int) -> Any:
        import pandas as pd
        from anndata.io import read_elem

        encoder = self.provenance.encoder.name
        index = pd.Index([f"{encoder}_{k:04d}" for k in range(n_features)], dtype=object)
        if list(var[var.attrs["_index"]].asstr()[()]) != list(index):
            self._log_changed("var index", f"{encoder}_0000 and so on", "named by the encoder")
        columns = {}
        for name in var:
            if name == var.attrs["_index"]:
                continue
            if f"var/{name}" in self.keep:
                columns[name] = _as_column(read_elem(var[name]), index)
            else:
                self._log_removed(f"var/{name}", "a column that is not the file contract's")
        return pd.DataFrame(columns, index=index)

    def _read_labels(self, file: h5py.File) -> None:
        """Read how the labels were made, and the colours of the classes that there are labels of."""
        from anndata.io import read_elem

        used = self._read_label_columns(file) if "sic_label" in file["obs"] else set()
        if "sic" in file["uns"]:
            known = parse_json(str(read_elem(file["uns"]["sic"])))
            self._read_making(known if isinstance(known, dict) else {}, used)

    def _read_label_columns(self, file: h5py.File) -> set[str]:
        """Read the colours of the labels; return the names of the classes that a patch or a seed is of."""
        from anndata.io import read_elem

        labels, seeds = read_elem(file["obs/sic_label"]), read_elem(file["obs/sic_seed"])
        used = set(map(str, _drop_unused(labels).categories))
        if "sic_label_colors" in file["uns"]:
            colors = [str(each) for each in file["uns/sic_label_colors"].asstr()[()]]
            self.uns["sic_label_colors"] = np.array(
                [
                    _clean_color(color)
                    for name, color in zip(map(str, labels.categories), colors, strict=True)
                    if name in used
                ],
                dtype=object,
            )
        for column, values in (("sic_label", labels), ("sic_seed", seeds)):
            if len(_drop_unused(values).categories) < len(values.categories):
                self._log_removed(f"obs/{column}: categories without a patch", "classes without a patch")
        return used | set(map(str, _drop_unused(seeds).categories))

    def _read_making(self, known: dict[str, Any], used: set[str]) -> None:
        """Read how the labels were made, but for who made them, and of the classes those that are used."""
        found = known.get("run")
        run: dict[str, Any] = found if isinstance(found, dict) else {}
        gone = [key for key in known if key not in ("classes", "run")]
        kept_run = whitelist.keep(run, whitelist.RUN, gone, "run.")
        listed = known.get("classes")
        classes = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        stay = [each for each in classes if each.get("name") in used]
        counts = run.get("counts")
        if isinstance(counts, list) and len(counts) == len(classes) and all(map(whitelist.is_whole, counts)):
            kept_run["counts"] = [n for n, each in zip(counts, classes, strict=True) if each in stay]
            gone.remove("run.counts")
        places = {old: new for new, old in self.matrices.items()}
        embedding = run.get("embedding")
        old = embedding if embedding == "X" else f"obsm/X_{embedding}"
        if "embedding" in run and old in places:
            kept_run["embedding"] = places[old].removeprefix("obsm/X_")
            gone.remove("run.embedding")
        kept = [{"name": each["name"], "color": _clean_color(str(each.get("color")))} for each in stay]
        self.uns["sic"] = json.dumps({"classes": kept, "run": kept_run})
        gone += [f"classes: {each.get('name')}" for each in classes if each not in stay]
        if gone:
            self._log_removed(f"uns/sic: {', '.join(sorted(gone))}", "who labelled which slide, and when")

    def _read_kept(self, file: h5py.File) -> None:
        """Read what was asked for beside columns, and list what of the file's other parts stays behind."""
        from anndata.io import read_elem

        for name in file["obsm"]:
            if f"obsm/{name}" in self.keep and f"obsm/{name}" not in self.matrices and name not in self.obsm:
                self.obsm[name] = read_elem(file[f"obsm/{name}"])
        for name in file["uns"]:
            if name in _UNS:
                if name == "sic_label_colors" and name not in self.uns:
                    self._log_removed("uns/sic_label_colors", "colours of labels that are not there")
            elif f"uns/{name}" in self.keep:
                self.uns[name] = read_elem(file[f"uns/{name}"])
            elif name == "spatial":
                self._log_removed("uns/spatial", "it holds pixels of the slide")
            else:
                self._log_removed(f"uns/{name}", "an entry that is not the file contract's")
        for name in file:
            if name not in (*_GROUPS, "X") and _holds_something(file.get(name)):
                self._log_removed(name, "a part that is not the file contract's")

    def _list_attributes(self, file: h5py.File) -> None:
        """List what else is behind names: attributes, index names, what lies before the file's beginning."""
        items: list[tuple[str, Any]] = [("/", file)]
        file.visititems(lambda name, item: items.append((name, item)))
        for name, item in items:
            odd = [key for key in item.attrs if key not in ATTRIBUTES]
            if odd:
                self._log_removed(
                    f"{name}: attributes {', '.join(odd)}", "attributes that anndata does not write"
                )
        for name in ("obs", "var"):
            if file[name].attrs["_index"] != "_index":
                self._log_removed(f"{name}: the name of its index", "named by people")
        if file.userblock_size:
            self._log_removed("the user block", "bytes before the file's beginning")


def _plain_name(name: Any) -> str:
    """Return a slide's name, which names files, too.

    Raises
    ------
    ShareError
        It would lead into another folder.
    """
    if not isinstance(name, str) or name in ("", "..") or "\0" in name or Path(name).name != name:
        raise ShareError(
            f"uns['embedder'] calls the slide {name!r:.60}, which cannot name a file; embed it again"
        )
    return name


def _require(value: Value | None, key: str) -> Value:
    if value is None:
        raise KeyError(key)
    return value


def _drop_unused(values: Any) -> Any:
    """Return a categorical of texts with those of its categories that something is of."""
    import pandas as pd

    used = values.remove_unused_categories()
    names = pd.Index([str(each) for each in used.categories], dtype=object)
    return pd.Categorical.from_codes(used.codes, categories=names)


def _as_column(values: Any, index: Any) -> Any:
    """Return a column that was asked for as it was read, without what a categorical has no patch of."""
    import pandas as pd

    if isinstance(values, pd.Categorical):
        return values.remove_unused_categories()
    # pandas 3 would make strings of its own kind of them.
    is_text = isinstance(values, np.ndarray) and values.dtype == object
    return pd.Series(list(values), index=index, dtype=object) if is_text else values


def _holds_something(item: Any) -> bool:
    if isinstance(item, h5py.Dataset) and item.shape is None:
        return False  # AnnData's `raw` of a file without one
    return item is not None and (not isinstance(item, h5py.Group) or len(item) > 0)


def _clean_color(color: str) -> str:
    """Return a colour, or grey in place of what is none and may say anything."""
    return color if whitelist.COLOR.fullmatch(color) else _GREY
