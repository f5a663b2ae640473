"""The file contract, rule by rule: what a file breaks, and what to do about it.

The contract lets one file open unchanged in scanpy, squidpy, SpatialData, LazySlide and TissUUmaps, and lets
a reader map the embeddings into memory. The embedder writes it (`embedding/writing.py`); `check` takes any
file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.heaps import has_endless_heap
from tissuumaps_sic.slidefile.paths import holds_path, leads_away
from tissuumaps_sic.slidefile.provenance import DAMAGED, FINE, FINE_TISSUE, KEY, Provenance


class ContractError(SicError):
    """A file would break, or breaks, the contract; the message names the rules."""


@dataclass(frozen=True)
class Problem:
    """A rule of the contract that a file breaks.

    Attributes
    ----------
    rule : str
        Short and stable, for machines.
    what : str
        What is the matter.
    fix : str
        What to do.
    """

    rule: str
    what: str
    fix: str


# Read at once.
_BLOCK_BYTES = 4 * 2**20
# gzip, the strongest packing that the contract knows, makes at most this much of a byte.
_MOST_TIMES_PACKED = 1100

# What a person calls something, in uns['embedder'] and uns['sic'].
_NAMES = ("name", "slide", "user")

Rule = Callable[[h5py.File], Iterator[Problem]]


def check(path: Path | str) -> list[Problem]:
    """Name every rule of the contract that a file breaks.

    Parameters
    ----------
    path : path
        Any file at all.

    Returns
    -------
    list of Problem
        Empty when the file follows the contract.
    """
    path = Path(path)
    try:
        if has_endless_heap(path):
            return [
                Problem("file", "it has zeros where texts should be, as a broken copy has", "copy it again")
            ]
        with h5py.File(path, "r", locking=False) as file:
            # Before anything is read: what is not in the file would be made up, however much it is.
            unheld = list(_ask(_size_rule, file))
            if unheld:
                return unheld
            return [problem for rule in _RULES for problem in _ask(rule, file)]
    except FileNotFoundError:
        return [Problem("file", "there is no such file", "give the path of an h5ad")]
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        return [
            Problem(
                "file", f"it cannot be read as HDF5 ({reason})", "copy it again, or embed the slide again"
            )
        ]


def _ask(rule: Rule, file: h5py.File) -> Iterator[Problem]:
    """Put a rule to a file; where the file is so odd that the rule itself fails, that is the finding."""
    try:
        yield from rule(file)
    except Exception as error:  # noqa: BLE001 -- HDF5 can hold anything anywhere
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        subject = rule.__name__.strip("_").removesuffix("_rule")
        yield Problem(
            "layout",
            f"it is not laid out like an AnnData file: {subject} cannot be read ({reason})",
            "write the file with anndata, or embed the slide again",
        )


def _size_rule(file: h5py.File) -> Iterator[Problem]:
    """Find what is declared to be larger than what the file holds of it could ever unpack to."""
    unheld: list[str] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            most = _MOST_TIMES_PACKED * item.id.get_storage_size() + _BLOCK_BYTES
            if (item.size or 0) * item.dtype.itemsize > most:
                unheld.append(f"{name} ({' x '.join(map(str, item.shape))})")

    file.visititems(visit)
    if unheld:
        yield Problem(
            "sizes",
            f"declares more values than it holds: {', '.join(unheld[:5])}",
            "copy it again, or embed the slide again",
        )


def _x_rule(file: h5py.File) -> Iterator[Problem]:
    X = file.get("X")
    again = "embed the slide again, or write X as a dense float32 or float16 array"
    if X is None:
        yield Problem("X-dense-float32", "there is no X", again)
    elif isinstance(X, h5py.Group):
        kind = X.attrs.get("encoding-type", "a group")
        yield Problem("X-dense-float32", f"X is {kind}, not dense", again)
    else:
        yield from _matrix_problems("X", X, again)


def _matrix_problems(name: str, matrix: h5py.Dataset, again: str) -> Iterator[Problem]:
    """Find what is wrong with a matrix of embeddings."""
    if matrix.dtype not in (np.float32, np.float16) or matrix.ndim != 2:
        yield Problem("X-dense-float32", f"{name} is {matrix.ndim}-dimensional {matrix.dtype}", again)
        return
    if matrix.chunks is not None and matrix.compression is None:
        yield Problem(
            "X-contiguous", f"{name} is stored in chunks, so it cannot be mapped into memory", again
        )
    rows = max(1, _BLOCK_BYTES // max(1, matrix.shape[1] * matrix.dtype.itemsize))
    bad = 0
    for start in range(0, matrix.shape[0], rows):
        bad += int((~np.isfinite(matrix[start : start + rows]).all(axis=1)).sum())
    if bad:
        yield Problem(
            "X-finite", f"{name} holds NaN or infinity in {bad} of {matrix.shape[0]} patches", again
        )


def _embeddings_rule(file: h5py.File) -> Iterator[Problem]:
    """Look at the embeddings beside X, of other encoders or scales, that the provenance lists."""
    for key in (each.key for each in _read_known(file).encoders):
        matrix = file.get(key) if key is not None else None
        if key is None or not isinstance(matrix, h5py.Dataset):
            yield Problem("embeddings", f"uns['embedder'] lists {key}, which is not there", "add it again")
        elif key != "X":
            yield from _matrix_problems(key, matrix, "add it again (embedder add)")


def _length_rule(file: h5py.File) -> Iterator[Problem]:
    """Find what does not have one entry for each patch, or for each feature."""
    X = file.get("X")
    if not isinstance(X, h5py.Dataset) or X.ndim != 2:
        return
    for group, length in (("obs", X.shape[0]), ("obsm", X.shape[0]), ("var", X.shape[1])):
        parent = file.get(group)
        for name, item in parent.items() if isinstance(parent, h5py.Group) else ():
            values = item.get("codes") if _is_categorical(item) else item
            # What is kept in groups of another kind is for other rules.
            if isinstance(values, h5py.Dataset) and (values.ndim == 0 or values.shape[0] != length):
                found = "one entry in all" if values.ndim == 0 else f"{values.shape[0]} entries"
                yield Problem(
                    "lengths", f"{group}[{name!r}] has {found}, for {length} in X", "embed the slide again"
                )


def _filter_rule(file: h5py.File) -> Iterator[Problem]:
    """Find compression that the HDF5 reader of TissUUmaps' page does not know: it has gzip alone."""
    foreign: list[str] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks is not None:
            filters = item.id.get_create_plist()
            codes = {filters.get_filter(i)[0] for i in range(filters.get_nfilters())}
            if codes - {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}:
                foreign.append(name)

    file.visititems(visit)
    if foreign:
        yield Problem(
            "gzip-only",
            f"compressed by other than gzip: {', '.join(foreign[:5])}",
            "write it with gzip, or plain",
        )


def _frames_rule(file: h5py.File) -> Iterator[Problem]:
    """Find what pandas calls nullable or string: it is a group on disk, and breaks readers."""
    for name in ("obs", "var"):
        frame = file.get(name)
        index = frame.attrs.get("_index") if isinstance(frame, h5py.Group) else None
        if not isinstance(index, str) or index not in frame:
            yield Problem(
                f"{name}-index", f"{name} is no data frame with an index", "write the file with anndata"
            )
            continue
        if isinstance(frame[index], h5py.Dataset):
            if _index(frame) is None:
                yield Problem(
                    f"{name}-index",
                    f"the index of {name} is not a column of strings",
                    f"{name}.index = {name}.index.astype(str).astype(object) before writing",
                )
        else:
            yield Problem(
                f"{name}-index",
                f"the index of {name} is a nullable string array",
                f"{name}.index = {name}.index.astype(object) before writing",
            )
        for column, item in frame.items():
            kind = str(item.attrs.get("encoding-type", ""))
            if column != index and kind.startswith("nullable"):
                yield Problem(
                    "no-nullable",
                    f"{name}[{column!r}] is a {kind}",
                    "use a plain int, float, bool, object or category column",
                )
            categories = item.get("categories") if isinstance(item, h5py.Group) else None
            if isinstance(categories, h5py.Group):
                yield Problem(
                    "no-nullable",
                    f"the categories of {name}[{column!r}] are a nullable string array",
                    "make the categories an index of objects before writing",
                )


def _obs_rule(file: h5py.File) -> Iterator[Problem]:
    obs = file.get("obs")
    if not isinstance(obs, h5py.Group):
        return
    again = "embed the slide again"
    for column in ("x0", "y0"):
        item = obs.get(column)
        if not isinstance(item, h5py.Dataset) or item.dtype != np.int64:
            yield Problem("obs-corners", f"obs[{column!r}] is not an int64 column", again)
    yield from _name_problems(obs, again)
    colors = obs.get("umap_rgb")
    if _is_categorical(colors):
        yield Problem(
            "obs-umap_rgb",
            "obs['umap_rgb'] is categorical, which AnnData makes of texts when it writes",
            "make it plain texts (`.astype(object)`) and write with convert_strings_to_categoricals=False",
        )
    elif (
        not isinstance(colors, h5py.Dataset)
        or not _holds_strings(colors)
        or not all(re.fullmatch(r"#[0-9a-f]{6}", each) for each in colors.asstr()[()])
    ):
        yield Problem("obs-umap_rgb", "obs['umap_rgb'] is not a column of #rrggbb", again)
    if not _is_categorical(obs.get("library_id")):
        yield Problem("obs-library_id", "obs['library_id'] is not categorical", again)
    share = obs.get("tissue")
    if not isinstance(share, h5py.Dataset) or share.dtype != np.float32:
        yield Problem("obs-tissue", "obs['tissue'] is not a float32 column", again)
    damaged = obs.get(DAMAGED)
    if damaged is not None and (not isinstance(damaged, h5py.Dataset) or damaged.dtype != np.bool_):
        yield Problem("obs-damaged", "obs['damaged'] is not a bool column", again)


def _name_problems(obs: h5py.Group, again: str) -> Iterator[Problem]:
    names, x0, y0 = _index(obs), _column(obs, "x0"), _column(obs, "y0")
    if names is None:
        return
    if len(set(names)) < len(names):
        yield Problem("obs-names", "names of patches are not unique", again)
    elif x0 is not None and y0 is not None and len(names) == len(x0) == len(y0):
        places = zip(names, x0.tolist(), y0.tolist(), strict=True)
        wrong = next((name for name, x, y in places if not name.endswith(f"_{x}_{y}")), None)
        if wrong is not None:
            yield Problem("obs-names", f"{wrong} does not end with its x0 and y0", again)


def _var_rule(file: h5py.File) -> Iterator[Problem]:
    names = _index(file.get("var"))
    if names and not all(name.endswith(f"_{i:04d}") for i, name in enumerate(names)):
        yield Problem(
            "var-names", f"var_names begin {names[0]!r}, not <encoder>_0000", "embed the slide again"
        )


def _spatial_rule(file: h5py.File) -> Iterator[Problem]:
    spatial = file.get("obsm/spatial")
    fix = "put the centre of each patch there, (x, y) in level-0 pixels of the whole slide"
    if not isinstance(spatial, h5py.Dataset) or spatial.ndim != 2 or spatial.shape[1] != 2:
        yield Problem("spatial-centres", "obsm['spatial'] is not a matrix of (x, y)", fix)
        return
    if spatial.dtype != np.float64:
        yield Problem("spatial-centres", f"obsm['spatial'] is {spatial.dtype}, not float64", fix)
        return
    centres = spatial[()]
    if not np.isfinite(centres).all():
        yield Problem("spatial-centres", "obsm['spatial'] holds NaN or infinity", fix)
        return
    edges = _read_known(file).grid.edges0
    x0, y0 = _column(file.get("obs"), "x0"), _column(file.get("obs"), "y0")
    if None in edges or x0 is None or y0 is None or not len(x0) == len(y0) == len(centres):
        return
    off = np.abs(centres - np.column_stack([x0, y0]) - np.array(edges) / 2).max(initial=0)
    # Corners are rounded to whole pixels, centres are not.
    if off > 1:
        yield Problem(
            "spatial-centres",
            f"obsm['spatial'] is up to {off:.0f} px from where x0, y0 and the patch size put the centres",
            fix,
        )


def _umap_rule(file: h5py.File) -> Iterator[Problem]:
    if _read_known(file).umap is False:
        return
    for key, dimensions in (("X_umap", 2), ("X_umap_3d", 3)):
        item = file.get(f"obsm/{key}")
        if (
            not isinstance(item, h5py.Dataset)
            or item.dtype != np.float32
            or item.ndim != 2
            or item.shape[1] != dimensions
        ):
            yield Problem(
                "obsm-umap",
                f"obsm[{key!r}] is not a float32 matrix of {dimensions} columns",
                "embed the slide again",
            )


def _provenance_rule(file: h5py.File) -> Iterator[Problem]:
    again = "embed the slide again, or convert the file"
    if _text(file.get(KEY)) is None:
        yield Problem("uns-embedder", "uns['embedder'] is not one JSON string", again)
    elif missing := _read_known(file).lacks:
        yield Problem("uns-embedder", f"uns['embedder'] lacks {', '.join(missing)}", again)


def _path_rule(file: h5py.File) -> Iterator[Problem]:
    """Find paths of the machine that wrote the file; what lies beside the file may be named."""
    yield from _path_problems(_json(file, "tmap"), {key: _json(file, key) for key in ("embedder", "sic")})


def _path_problems(project: Any, known: dict[str, Any]) -> Iterator[Problem]:
    """Find paths in a project, and in what else of `uns` is JSON by its key."""
    found = [("tmap", each) for each in _addresses(project) if leads_away(each)]
    for key, value in known.items():
        found += [(key, text) for name, text in _list_strings(value) if _tells_path(name, text)]
    for key in dict.fromkeys(key for key, _ in found):
        yield Problem(
            "no-paths",
            f"uns[{key!r}] holds a path: {next(text for each, text in found if each == key)}",
            "write it relative to the folder of the file, or leave it out",
        )


def _addresses(project: Any) -> Iterator[str]:
    """Give where a project's layers and markers lie; its other strings are names, or places in the h5ad."""
    for entries, key in (("layers", "tileSource"), ("markerFiles", "path")):
        listed = project.get(entries) if isinstance(project, dict) else None
        for entry in listed if isinstance(listed, list) else ():
            value = entry.get(key) if isinstance(entry, dict) else None
            yield from (
                each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)
            )


def _tells_path(name: str, text: str) -> bool:
    if name in _NAMES:
        # A class may be called "/x", and Linux lets a slide be called "C:\\x".
        return "/" in text and holds_path(text)
    return holds_path(text) or re.match(r"[/\\][^\s/\\]+$", text) is not None


def foresee(provenance: Provenance, project: dict[str, Any]) -> list[Problem]:
    """Name the rules that a file would break by what is written into it, before anything is embedded.

    Parameters
    ----------
    provenance : Provenance
        As it will stand in ``uns['embedder']``, as far as it is known.
    project : dict
        As it will stand in ``uns['tmap']``.

    Returns
    -------
    list of Problem
        Empty where a slide's names and addresses will not be what its file is refused for.
    """
    problems = list(_path_problems(project, {"embedder": provenance.document}))
    for key, value in (("embedder", provenance.document), ("tmap", project)):
        odd = [text for _, text in _list_strings(value) if not _is_storable(text)]
        if odd:
            problems.append(
                Problem(
                    "names", f"uns[{key!r}] holds a name that is not UTF-8: {odd[0]!a}", "rename the file"
                )
            )
    return problems


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _uns_rule(file: h5py.File) -> Iterator[Problem]:
    spatial, tmap = file.get("uns/spatial"), file.get("uns/tmap")
    if spatial is not None and tmap is not None:
        yield Problem(
            "tmap-or-spatial",
            "uns['tmap'] and uns['spatial'] are both there, and TissUUmaps misplaces the patches",
            "delete one of them",
        )
    yield from _library_problems(spatial)
    if tmap is not None:
        try:
            markers = parse_json(_text(tmap) or "")["markerFiles"]
            fine = isinstance(markers, list) and bool(markers)
        except (ValueError, KeyError, TypeError):
            fine = False
        if not fine:
            yield Problem(
                "uns-tmap", "uns['tmap'] is no TissUUmaps project with markers", "delete it, or embed again"
            )
    elif spatial is None:
        yield Problem(
            "uns-tmap", "there is no uns['tmap'], so TissUUmaps shows no colours", "embed the slide again"
        )
    if "obsp/spatial_connectivities" in file:
        yield Problem(
            "no-connectivities",
            "obsp['spatial_connectivities'] switches edges on for every layer in TissUUmaps",
            "delete it, or give it another name",
        )


def _library_problems(spatial: Any) -> Iterator[Problem]:
    """Find what is wrong with the pictures that scanpy keeps."""
    if isinstance(spatial, h5py.Group):
        needed = {"images/hires", "scalefactors/tissue_hires_scalef"}
        for library, item in spatial.items():
            if not isinstance(item, h5py.Group) or not needed <= _inner(item):
                yield Problem(
                    "uns-spatial",
                    f"uns['spatial'][{library!r}] lacks its image or its scale factor",
                    "write both images['hires'] and scalefactors['tissue_hires_scalef'], or neither",
                )
    elif spatial is not None:
        yield Problem("uns-spatial", "uns['spatial'] holds no libraries", "delete it")


def _fine_rule(file: h5py.File) -> Iterator[Problem]:
    """Look at the cells smaller than a patch: both their parts and their record are there, or none."""
    again = "embed the slide again, or take obsm['fine'], obsm['fine_tissue'] and what tells of them out"
    known = _read_known(file)
    record, parts = known.document.get("fine"), {key: file.get(f"obsm/{key}") for key in (FINE, FINE_TISSUE)}
    there = [f"obsm[{key!r}]" for key, item in parts.items() if item is not None]
    there += ["uns['embedder']'s fine"] if record is not None else []
    if not there:
        return
    shape = None if known.fine is None else known.fine.shape
    if len(there) < 3:
        yield Problem("fine", f"of the cells smaller than a patch there is only {' and '.join(there)}", again)
    elif shape is None or known.fine is None:
        yield Problem("fine", "uns['embedder'] does not tell the cells' side and channels", again)
    else:
        side, channels = shape
        for key, kind, width in ((FINE, np.float16, side**2 * channels), (FINE_TISSUE, np.uint8, side**2)):
            yield from _cell_problems(key, parts[key], np.dtype(kind), width, again)
        cell, stride = known.fine.cell, known.grid.stride
        if cell is None or (stride is not None and abs(cell * side - stride) > 1e-6 * stride):
            yield Problem("fine", f"{side} cells of {cell} px are not the stride of {stride} px", again)


def _cell_problems(key: str, item: Any, dtype: np.dtype[Any], width: int, again: str) -> Iterator[Problem]:
    name = f"obsm[{key!r}]"
    if not isinstance(item, h5py.Dataset) or item.dtype != dtype or (item.shape or ())[1:] != (width,):
        kind = f"{item.dtype} of shape {item.shape}" if isinstance(item, h5py.Dataset) else "no matrix"
        yield Problem("fine", f"{name} is {kind}, not {dtype} of {width} columns", again)
        return
    if item.chunks is not None and item.compression is None:
        yield Problem("fine", f"{name} is stored in chunks, so it cannot be read row by row", again)
    rows = max(1, _BLOCK_BYTES // max(1, width * dtype.itemsize))
    for start in range(0, item.shape[0], rows):
        block = item[start : start + rows]
        if not (np.isfinite(block) if dtype.kind == "f" else block <= 100).all():
            wrong = "NaN or infinity" if dtype.kind == "f" else "more than 100 percent"
            yield Problem("fine", f"{name} holds {wrong}", again)
            return


def _label_rule(file: h5py.File) -> Iterator[Problem]:
    obs = file.get("obs")
    if not isinstance(obs, h5py.Group) or "sic_label" not in obs:
        return
    again = "write the labels again (tissuumaps-sic export --format h5ad)"
    for column in ("sic_label", "sic_seed"):
        if not _is_categorical(obs.get(column)):
            yield Problem("labels", f"obs[{column!r}] is not categorical", again)
    score = obs.get("sic_score")
    if not isinstance(score, h5py.Dataset) or score.dtype != np.float32:
        yield Problem("labels", "obs['sic_score'] is not a float32 column", again)
    colors = file.get("uns/sic_label_colors")
    if _is_categorical(obs["sic_label"]) and (
        not isinstance(colors, h5py.Dataset) or colors.shape != obs["sic_label/categories"].shape
    ):
        yield Problem("labels", "uns['sic_label_colors'] is not one colour for each class", again)


_RULES: tuple[Rule, ...] = (
    _x_rule,
    _embeddings_rule,
    _length_rule,
    _filter_rule,
    _frames_rule,
    _obs_rule,
    _var_rule,
    _spatial_rule,
    _umap_rule,
    _provenance_rule,
    _path_rule,
    _uns_rule,
    _fine_rule,
    _label_rule,
)


def _read_known(file: h5py.File) -> Provenance:
    return Provenance.of(_json(file, "embedder"))


def _json(file: h5py.File, key: str) -> dict[str, Any]:
    """Return what a JSON string of `uns` holds; nothing where there is none."""
    try:
        known = parse_json(_text(file.get(f"uns/{key}")) or "{}")
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _holds_strings(item: h5py.Dataset) -> bool:
    """Whether a dataset is of strings of any length, as anndata writes those of objects."""
    kind = h5py.check_string_dtype(item.dtype)
    return kind is not None and kind.length is None


def _text(item: Any) -> str | None:
    if not isinstance(item, h5py.Dataset) or item.shape != () or not _holds_strings(item):
        return None
    return str(item.asstr()[()])


def _index(frame: Any) -> list[str] | None:
    name = frame.attrs.get("_index") if isinstance(frame, h5py.Group) else None
    index = frame.get(name) if isinstance(name, str) else None
    if not isinstance(index, h5py.Dataset) or index.ndim != 1 or not _holds_strings(index):
        return None
    return [str(each) for each in index.asstr()[()]]


def _column(frame: Any, name: str) -> npt.NDArray[Any] | None:
    item = frame.get(name) if isinstance(frame, h5py.Group) else None
    if not isinstance(item, h5py.Dataset) or item.ndim != 1 or item.dtype.kind not in "iuf":
        return None
    found: npt.NDArray[Any] = item[()]
    return found


def _is_categorical(item: Any) -> bool:
    return (
        isinstance(item, h5py.Group)
        and item.attrs.get("encoding-type") == "categorical"
        and isinstance(item.get("categories"), h5py.Dataset | h5py.Group)
        and isinstance(codes := item.get("codes"), h5py.Dataset)
        and codes.dtype.kind in "iu"
    )


def _inner(group: h5py.Group) -> set[str]:
    names: set[str] = set()
    group.visit(names.add)
    return names


def _list_strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Give every string of nested dicts and lists with the key that it stands under, and the keys."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield "name", str(key)
            yield from _list_strings(each, str(key))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _list_strings(each, name)
