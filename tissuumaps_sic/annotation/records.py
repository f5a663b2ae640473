"""What the records of a session have in common: they never change, and are read with a slide's patches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo

from tissuumaps_sic.annotation.patch_rows import PatchIndex, unpack
from tissuumaps_sic.slidefile.errors import SicError

# Of what is packed in a file: more than half a million clicks, or borrowed seeds.
MOST_UNPACKED = 64 * 2**20


class SessionError(SicError):
    """A session cannot be read, or does not fit its slide; the message says what to do."""


class SessionFileError(SessionError):
    """The file of a session is damaged, or of other patches than the slide's."""

    status = 409


class Record(BaseModel):
    """A value; whoever changes it gets another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what was worked out from this one (`cached_property`) is not of the copy.

        Parameters
        ----------
        update : mapping of str to value, optional
            Attributes that the copy has other values of; they are not checked.
        deep : bool, default=False
            Whether values are copied, too.

        Returns
        -------
        Record
        """
        copied = super().model_copy(update=update, deep=deep)
        for key in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[key]
        return copied


@dataclass
class Reading:
    """What a file is read with: the patches that it is of, and how much may still be unpacked."""

    index: PatchIndex
    room: int = MOST_UNPACKED
    # How many of the actions stand in the history.
    n_packed: int = 0

    @classmethod
    def of(cls, info: ValidationInfo) -> Reading | None:
        """Return what the record is read with; None where it is not of a file.

        Parameters
        ----------
        info : ValidationInfo

        Returns
        -------
        Reading or None
        """
        return info.context if isinstance(info.context, cls) else None

    def unpack(self, text: str) -> bytes:
        """Return the bytes of a packed text.

        Parameters
        ----------
        text : str

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            When it is damaged, or there is more in the file than there may be.
        """
        data = unpack(text, self.room)
        self.room -= len(data)
        return data


def to_line(data: dict[str, Any]) -> str:
    """Return JSON on one line, as short as it can be.

    Parameters
    ----------
    data : dict of str to value

    Returns
    -------
    str
    """
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
