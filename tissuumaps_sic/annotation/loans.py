"""Seeds of another slide, as a session that borrows them and a run that took them keep them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tissuumaps_sic.annotation.patch_rows import pack
from tissuumaps_sic.annotation.records import Reading, Record


class Loan(Record):
    """Seeds of another slide, as they were when they were borrowed.

    They belong to its patches, and so to none of its embeddings: a run takes the one that is like its own.

    Attributes
    ----------
    slide : str
        Name of the slide that lends.
    path : str
        From the folder of the h5ad that borrows to that of the one that lends, with forward slashes.
    session : str
        Name of the session that the seeds are from, "" the one without a name.
    fingerprint : str
        That of the lender's patches (`EmbeddedSlide.fingerprint`).
    seeds : dict of str to int
        Class of each seeded patch by the patch's name, as the borrowing session numbers classes.
    """

    slide: str
    path: str = Field(min_length=1, max_length=4096)
    session: str = Field(default="", max_length=40)
    fingerprint: str
    seeds: dict[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _unpack_seeds(cls, data: Any, info: ValidationInfo) -> Any:
        reading = Reading.of(info)
        if not isinstance(data, dict) or not isinstance(data.get("seeds"), list) or reading is None:
            return data
        seeds: dict[str, int] = {}
        for place, each in enumerate(data["seeds"]):
            if not isinstance(each, dict) or each.keys() != {"label", "patches"}:
                raise ValueError(f"seeds[{place}]: is not a label with its patches")
            try:
                seeds |= dict.fromkeys(json.loads(reading.unpack(each["patches"])), each["label"])
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(f"seeds[{place}].patches: {str(error)[:200]}") from error
        return data | {"seeds": seeds}

    def pack(self) -> dict[str, Any]:
        """Return itself as a file holds it where it is large.

        Returns
        -------
        dict of str to value
        """
        by_class: dict[int, list[str]] = {}
        for patch, label in self.seeds.items():
            by_class.setdefault(label, []).append(patch)
        seeds = [
            {"label": label, "patches": pack(json.dumps(patches, ensure_ascii=False).encode())}
            for label, patches in by_class.items()
        ]
        return {**self.model_dump(exclude={"seeds"}), "seeds": seeds}

    @field_validator("path")
    @classmethod
    def _require_relative(cls, path: str) -> str:
        if path.startswith("/") or re.search(r"[\x00\\]|^[A-Za-z]:", path) or not path.endswith(".h5ad"):
            raise ValueError("the path of a slide that lends must be relative, and end in .h5ad")
        return path


class UsedLoan(Loan):
    """Borrowed seeds as a run took them.

    Attributes
    ----------
    embedding, sample : str
        Which embedding of the lender it took, and `EmbeddedSlide.sample` of it.
    """

    embedding: str = Field(min_length=1, max_length=200)
    sample: str


def seeds_by_path(loans: Iterable[Loan]) -> dict[str, tuple[str, dict[str, int]]]:
    """Return what of loans decides labels: the lender's fingerprint and the seeds, by path.

    Parameters
    ----------
    loans : iterable of Loan

    Returns
    -------
    dict of str to (str, dict of str to int)
    """
    return {each.path: (each.fingerprint, each.seeds) for each in loans}
