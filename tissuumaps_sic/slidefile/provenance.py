"""How a slide's file was made, ``uns['embedder']``: one model, and nobody else knows its keys.

Files of every version are read, those of other programs too. So a value of the wrong kind counts as one that
is not there, and what the model does not know stays in the `document` and is written again as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import h5py
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.h5ad import SlideFileError, open_h5ad, text_in

# The embedding of a file that has one only.
MAIN = "X"
KEY = "uns/embedder"
# Where the cells smaller than a patch lie in `obsm`.
FINE, FINE_TISSUE = "fine", "fine_tissue"
# Of patches: whether a part was read from another level, because the slide is damaged there.
DAMAGED = "damaged"


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


def _to_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return int(value)


def _to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004
    return value


def _only_mapping(value: Any) -> Any:
    return value if isinstance(value, Mapping | BaseModel) else {}


def _only_mappings(values: Any) -> Any:
    return [_only_mapping(each) for each in values] if isinstance(values, list | tuple) else []


T = TypeVar("T")
Number = StrictInt | StrictFloat
# Not pydantic's own, which knows no name that is not UTF-8.
Text = Annotated[str, PlainValidator(_to_text)]
# None where the file does not tell, or tells something of another kind.
Told = Annotated[T | None, WrapValidator(_or_none)]
Part = Annotated[T, BeforeValidator(_only_mapping)]
_Whole = Annotated[int, BeforeValidator(_to_whole)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class ProfileRecord(_Record):
    """A slide's colour profile (ICC); neither where it has none, no description where it is broken."""

    description: Told[Text] = None
    sha256: Told[Text] = None


class SlideRecord(_Record):
    """Which slide it was.

    Attributes
    ----------
    size : (width, height), optional
        Level-0 pixels.
    bounds : (x, y, width, height), optional
        What the scanner filled of it, level-0 pixels.
    colour_profile : ProfileRecord, optional
        None where the file is of before it was recorded.
    stage : (x, y, width, height), optional
        Nanometres from the middle of the glass slide to level 0's corner, and of its pixel; annotations of
        Hamamatsu's programs are counted from there.
    """

    name: Told[Text] = None
    size: Told[tuple[_Whole, _Whole]] = None
    bounds: Told[tuple[_Whole, _Whole, _Whole, _Whole]] = None
    hash: Told[Text] = None
    mpp_x: Told[Number] = None
    mpp_y: Told[Number] = None
    mpp_source: Told[Text] = None
    colour_profile: Told[ProfileRecord] = None
    stage: Told[tuple[Number, Number, Number, Number]] = None

    @property
    def known_size(self) -> tuple[int, int] | None:
        """(width, height) in level-0 pixels, where both can be."""
        return self.size if self.size is not None and min(self.size) > 0 else None

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Micrometres per level-0 pixel in x and in y, where both can be."""
        return _both(self.mpp_x, self.mpp_y)


class GridRecord(_Record):
    """How the patches lie: `patch_size` and `stride` in their own pixels, what ends in 0 at level 0."""

    target_mpp: Told[Number] = None
    patch_size: Told[Number] = None
    overlap: Told[Number] = None
    stride: Told[Number] = None
    patch_size0: Told[Number] = None
    patch_width0: Told[Number] = None
    patch_height0: Told[Number] = None
    scale: Told[Number] = None
    level: Told[Number] = None
    level_downsample: Told[Number] = None

    @property
    def edges0(self) -> tuple[float | None, float | None]:
        """Width and height of a patch in level-0 pixels, as they are told.

        Files of before slides with pixels that are not square could be embedded have one edge alone.
        """
        width, height = (
            self.patch_size0 if each is None else each for each in (self.patch_width0, self.patch_height0)
        )
        return width, height

    @property
    def patch0(self) -> tuple[float, float] | None:
        """Width and height of a patch in level-0 pixels, where both can be."""
        return _both(*self.edges0)

    @property
    def stride0(self) -> float | None:
        """From a patch to the next along the longer side of a pixel, level-0 pixels."""
        return None if self.stride is None or self.scale is None else self.stride * self.scale


class TissueRecord(_Record):
    """What was taken for tissue."""

    min_tissue: Told[Number] = None
    method: Told[Text] = None
    parameters: Told[dict[str, Any]] = None


class EncoderRecord(_Record):
    """What embedded the patches.

    Attributes
    ----------
    icc : bool, optional
        Whether their colours were converted to sRGB first, by the slide's profile.
    """

    name: Told[Text] = None
    architecture: Told[Text] = None
    dimension: Told[StrictInt] = None
    weights_sha256: Told[Text] = None
    transform: Told[Text] = None
    icc: Told[StrictBool] = None
    storage: Told[Text] = None
    source: Told[Text] = None
    licence: Told[Text] = None
    device: Told[Text] = None
    precision: Told[Text] = None
    precision_choice: Told[Text] = None


class EmbeddingRecord(EncoderRecord):
    """One of several embeddings: where it lies in the file, its encoder, and how its patches were seen."""

    key: Told[Text] = None
    target_mpp: Told[Number] = None
    patch_size: Told[Number] = None
    overlap: Told[Number] = None
    stride: Told[Number] = None


class FineRecord(_Record):
    """How ``obsm['fine']`` was made: embeddings of small cells of each patch's middle, rows of cells first.

    Attributes
    ----------
    side : int, optional
        Cells along an edge of the middle, which is a square of one stride about the patch's centre.
    channels : int, optional
        Numbers for each cell.
    cell : float, optional
        Edge of a cell in target pixels.
    layer : str, optional
        The module of the network whose output is told apart by place.
    projection : str, optional
        How its channels were made fewer; None where they were not.
    """

    side: Told[StrictInt] = None
    channels: Told[StrictInt] = None
    cell: Told[Number] = None
    layer: Told[Text] = None
    projection: Told[Text] = None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Cells along an edge, and numbers for each; None where that cannot be."""
        side, channels = self.side or 0, self.channels or 0
        return (side, channels) if side > 0 and channels > 0 else None


class DamageRecord(_Record):
    """What was done where the slide is damaged; a file of a whole slide has none.

    Attributes
    ----------
    patches : int, optional
        In the file, read from another level in part: ``obs['damaged']``.
    left_out : int, optional
        Of which a part is at no level; they are not in the file.
    left_out_at : list of (x, y), optional
        Their top-left corners, level-0 pixels.
    limit : float, optional
        The largest share of patches for which that was allowed.
    """

    patches: Told[StrictInt] = None
    left_out: Told[StrictInt] = None
    left_out_at: Told[list[tuple[_Whole, _Whole]]] = None
    limit: Told[Number] = None


# What is of the grid, and not of the encoder, in the record of one of several embeddings.
_SEEN = tuple(key for key in EmbeddingRecord.model_fields if key in GridRecord.model_fields)
# Without these a file does not say how it was made.
NEEDED = ("slide", "grid", "tissue", "encoder", "versions", "seconds")


class Provenance(_Record):
    """How a slide's file was made.

    What is made by its fields is written in their order, those left out aside; what was read is written as it
    was.

    Attributes
    ----------
    converted : dict, optional
        From which program's file, where the embedder did not make the embeddings.
    fine : FineRecord, optional
        Where the file has embeddings of cells smaller than a patch; of the encoder that made ``X``.
    damage : DamageRecord, optional
        Where the slide was damaged.
    versions, seconds : dict, optional
        Of each package; of each stage of the work.
    encoders : tuple of EmbeddingRecord
        As listed, where there are several embeddings; see `embeddings`.
    shared : dict, optional
        What was done to a copy that may be shared.
    """

    converted: Told[dict[str, Any]] = None
    slide: Part[SlideRecord] = SlideRecord()
    grid: Part[GridRecord] = GridRecord()
    tissue: Part[TissueRecord] = TissueRecord()
    encoder: Part[EncoderRecord] = EncoderRecord()
    fine: Told[FineRecord] = None
    damage: Told[DamageRecord] = None
    umap: Told[StrictBool] = None
    versions: Told[dict[str, Any]] = None
    seconds: Told[dict[str, Any]] = None
    encoders: Annotated[tuple[EmbeddingRecord, ...], BeforeValidator(_only_mappings)] = ()
    shared: Told[dict[str, Any]] = None
    _document: dict[str, Any] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, document: Any) -> Self:
        """Take what a file's JSON holds; what is no object tells nothing.

        Parameters
        ----------
        document : object
            As JSON gave it.

        Returns
        -------
        Provenance
        """
        known = document if isinstance(document, dict) else {}
        made = cls.model_validate(known)
        made._document = known
        return made

    @property
    def document(self) -> dict[str, Any]:
        """All of it, JSON-able, with what the model does not know."""
        return self.model_dump(exclude_unset=True) if self._document is None else self._document

    @property
    def is_told(self) -> bool:
        """Whether anything is said at all."""
        return bool(self.document)

    @property
    def lacks(self) -> list[str]:
        """The parts that a file must have and that are not there."""
        return [key for key in NEEDED if key not in self.document]

    @property
    def embeddings(self) -> tuple[EmbeddingRecord, ...]:
        """The records of all embeddings of the file, that of ``X`` included."""
        return tuple(map(EmbeddingRecord.model_validate, self._entries()))

    def of_embedding(self, name: str) -> Provenance:
        """Return what is told of one embedding: of "X", or of another by what follows ``X_`` in its key.

        Of another than ``X`` the grid says only how its patches were seen, since they lie elsewhere; nothing
        at all is told where its making is not recorded.

        Parameters
        ----------
        name : str

        Returns
        -------
        Provenance
        """
        if name == MAIN:
            return self
        keyed = {each["key"]: each for each in self._entries() if isinstance(each.get("key"), str)}
        entry = keyed.get(f"obsm/X_{name}")
        if entry is None:
            return Provenance()
        grid = {key: entry[key] for key in _SEEN if key in entry}
        encoder = {key: value for key, value in entry.items() if key not in ("key", *_SEEN)}
        return Provenance.of(self.document | {"encoder": encoder, "grid": grid})

    def with_embedding(self, key: str, made: Provenance) -> Provenance:
        """Return it with another embedding, made as the ``X`` of `made`, in place of that of its key.

        Parameters
        ----------
        key : str
            Such as "obsm/X_resnet18".
        made : Provenance

        Returns
        -------
        Provenance
        """
        others = [each for each in self._entries() if each.get("key") != key]
        return Provenance.of(self.document | {"encoders": [*others, made._entry(key)]})

    def with_extent(self, size: tuple[int, int]) -> Provenance:
        """Return it of a slide of another size, all of which was scanned.

        Parameters
        ----------
        size : (width, height)
            Level-0 pixels.

        Returns
        -------
        Provenance
        """
        slide = _only_mapping(self.document.get("slide")) | {"size": [*size], "bounds": [0, 0, *size]}
        return Provenance.of(self.document | {"slide": slide})

    def to_json(self) -> str:
        """Return the text that stands in ``uns['embedder']``.

        Returns
        -------
        str
        """
        return json.dumps(self.document)

    def _entries(self) -> list[dict[str, Any]]:
        listed = self.document.get("encoders")
        entries = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        if not any(each.get("key") == MAIN for each in entries):
            entries.insert(0, self._entry(MAIN))
        return entries

    def _entry(self, key: str) -> dict[str, Any]:
        grid, encoder = (_only_mapping(self.document.get(part)) for part in ("grid", "encoder"))
        return {"key": key, **encoder} | {each: grid[each] for each in _SEEN if each in grid}


def provenance_in(file: h5py.File) -> Provenance:
    """Return the provenance of an open h5ad; it tells nothing where there is none.

    Parameters
    ----------
    file : h5py.File

    Returns
    -------
    Provenance

    Raises
    ------
    ValueError
        When there is something that cannot be read; the message says why.
    """
    return Provenance.of(parse_json(text_in(file, KEY) or "{}"))


def read_provenance(path: Path) -> Provenance:
    """Return the provenance of an h5ad; it tells nothing where there is none.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Provenance

    Raises
    ------
    SlideFileError
        When the file, or what stands there, cannot be read.
    """
    with open_h5ad(path) as file:
        try:
            return provenance_in(file)
        except ValueError as error:
            raise SlideFileError(
                f"{path.name}: uns['embedder'], which tells how it was made, cannot be read ({error}); embed "
                "the slide again, or take that out (del adata.uns['embedder'])"
            ) from error


def _both(x: float | None, y: float | None) -> tuple[float, float] | None:
    return (x, y) if x is not None and y is not None and x > 0 and y > 0 else None
