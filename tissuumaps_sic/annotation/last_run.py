"""The last run of a session: the labels that it gave, and all that it takes to make them again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_core import to_json

from tissuumaps_sic.annotation.classes import MOST_CLASSES, SeedClass
from tissuumaps_sic.annotation.loans import UsedLoan
from tissuumaps_sic.annotation.patch_rows import PatchRows, SeedMap, unpack
from tissuumaps_sic.annotation.records import Reading, Record, to_line
from tissuumaps_sic.labelling.calibration import SLOPE
from tissuumaps_sic.labelling.methods import Method
from tissuumaps_sic.slidefile.provenance import MAIN

_Seeds = TypeAdapter(dict[str, int])


def _read_seeds(given: Any, info: ValidationInfo) -> Mapping[str, int]:
    if isinstance(given, SeedMap):
        return given
    reading = Reading.of(info)
    if reading is None:
        return _Seeds.validate_python(given)
    if not isinstance(given, list):
        return SeedMap.of(reading.index, _Seeds.validate_python(given))
    labels = np.full(reading.index.n_patches, -1, np.int8)
    for place, each in enumerate(given):
        if not isinstance(each, dict) or each.keys() != {"label", "rows"}:
            raise ValueError(f"[{place}] is not a label with its rows")
        if type(each["label"]) is not int or not 0 <= each["label"] < MOST_CLASSES:
            raise ValueError(f"[{place}].label: is not the number of a class")
        try:
            labels[PatchRows.read(reading.index, each["rows"]).rows] = each["label"]
        except ValueError as error:
            raise ValueError(f"[{place}].rows: {error}") from error
    return SeedMap(reading.index, labels)


class Run(Record):
    """One run of the clustering: what went in, and the labels that came out.

    Attributes
    ----------
    seeds : dict of str to int
        The seeds that it ran on; the session's own go on changing.
    labels : str
        One byte a patch, in the order of the file, zlib-compressed, base64.
    embedding : str
        Which embedding of the file it ran on, as `open_slide_file` names them; runs of before there was a
        choice were on "X".
    border : float or None
        The score from which a patch is of class 1; None is where that is the highest of its scores.
    sample : str
        `EmbeddedSlide.sample` of what it ran on, so that other embeddings of the same patches are noticed;
        empty in runs of before it was noted, and in those from seeds of another slide.
    classes : tuple of SeedClass
        What its labels meant when it ran; empty in runs of before classes could come and go.
    class_numbers : tuple of int
        The same classes as the session numbers them.
    loans : tuple of UsedLoan
        The seeds of other slides that it ran on as well, in the order in which it took them.
    """

    time: str
    seeds: Annotated[Mapping[str, int], PlainValidator(_read_seeds), PlainSerializer(dict)]
    embedding: str = Field(default=MAIN, min_length=1, max_length=200)
    method: Method
    parameters: dict[str, Any]
    version: str
    border: float | None = Field(default=None, ge=0, le=1)
    sample: str = ""
    n_iter: int
    counts: tuple[int, ...]
    labels: str
    classes: tuple[SeedClass, ...] = ()
    class_numbers: tuple[int, ...] = ()
    loans: tuple[UsedLoan, ...] = ()

    @field_validator("parameters")
    @classmethod
    def _require_keepable(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Refuse what could be read and never be written again: what is nested without end, no characters."""
        try:
            to_json(parameters)
        except ValueError as error:
            raise ValueError(f"cannot be kept as JSON ({str(error)[:100]})") from error
        return parameters

    @property
    def slope(self) -> float:
        """The slope of its scores' curve, `SeededIterativeClustering.slope_`; fixed before it was noted."""
        noted = self.parameters.get("slope")
        if isinstance(noted, int | float) and math.isfinite(noted) and noted > 0:
            return float(noted)
        return SLOPE

    @property
    def leaves_one_out(self) -> bool:
        """Whether seeds were judged by each other; in runs of before that none was."""
        return bool(self.parameters.get("leave_one_out", False))

    @property
    def can_replay(self) -> bool:
        """Whether it tells which seeds it ran on; runs of before loans were noted may not."""
        return bool(self.seeds or self.loans)

    def unpack(self) -> npt.NDArray[np.uint8]:
        """Return the labels, shape (n_patches,), uint8.

        Returns
        -------
        ndarray of shape (n_patches,), uint8
            Places in `Session.run_classes`.

        Raises
        ------
        ValueError
            When they are damaged, or more than `counts` says.
        """
        return np.frombuffer(unpack(self.labels, sum(self.counts)), dtype=np.uint8)

    @property
    def n_seeds(self) -> int:
        """How many seeds it ran on, borrowed ones too."""
        return len(self.seeds) + sum(len(loan.seeds) for loan in self.loans)

    @cached_property
    def packed_line(self) -> str:
        """Itself as JSON, seeds by their rows."""
        assert isinstance(self.seeds, SeedMap)
        return to_line(
            {
                **self.model_dump(exclude={"seeds", "loans"}),
                "seeds": [{"label": label, "rows": each.kept} for label, each in self.seeds.by_class()],
                "loans": [loan.pack() for loan in self.loans],
            }
        )

    @cached_property
    def identity(self) -> str:
        """What tells it from every other run."""
        digest = hashlib.sha256(self.model_dump_json(exclude={"seeds", "loans"}).encode())
        if isinstance(self.seeds, SeedMap):
            digest.update(self.seeds.labels.tobytes())
        else:
            digest.update(to_line(dict(self.seeds)).encode())
        for loan in self.loans:
            digest.update(loan.model_dump_json().encode())
        return digest.hexdigest()
