"""The patches that a reader is asked about to know how good the labels are: where they were drawn from."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tissuumaps_sic.annotation.patch_rows import unpack
from tissuumaps_sic.annotation.records import Record, SessionError

# Two for each class, of the most classes that there can be.
MOST_STRATA = 128
# Whole numbers of JavaScript are exact up to it.
MOST_RANDOM = 2**53 - 1

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def require_sample(sample: CheckSample | None) -> CheckSample:
    """Return a session's check sample.

    Parameters
    ----------
    sample : CheckSample or None

    Returns
    -------
    CheckSample

    Raises
    ------
    SessionError
        When there is none.
    """
    if sample is None:
        raise SessionError("there is no check sample yet; begin one")
    return sample


class CheckSample(Record):
    """How a check sample was drawn; which patches it asks about follows from this alone.

    Attributes
    ----------
    randomness : int
        What the order of patches is made of (`verification.sampling.order_patches`).
    strata : str
        The stratum of each patch at the drawing, a byte a patch, as `pack` has it.
    shares : tuple of float
        Which share of the questions is of each stratum.
    run : str
        `Run.identity` of the run whose labels and scores the strata are of.
    time, user : str
    """

    randomness: int = Field(ge=0, le=MOST_RANDOM)
    strata: str = Field(min_length=1)
    shares: tuple[_Share, ...] = Field(min_length=1, max_length=MOST_STRATA)
    run: str = Field(max_length=100)
    time: str
    user: str = ""

    def unpack(self, n_patches: int) -> npt.NDArray[np.uint8]:
        """Return the stratum of each patch of the slide, which has so many, (n_patches,) uint8.

        Parameters
        ----------
        n_patches : int

        Returns
        -------
        ndarray of shape (n_patches,), uint8

        Raises
        ------
        SessionError
            When what is kept is damaged, or of another number of patches.
        """
        try:
            strata = np.frombuffer(unpack(self.strata, n_patches), np.uint8)
        except ValueError as error:
            raise SessionError(f"the check sample is damaged ({error}); begin another one") from error
        if len(strata) != n_patches or strata.max(initial=0) >= len(self.shares):
            raise SessionError("the check sample belongs to other patches; begin another one")
        return strata
