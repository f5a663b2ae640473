"""How far two readers agree on the patches that both were asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.arrays import Doubles, Integers
from tissuumaps_sic.verification.estimation import Interval, find_interval

_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class ReaderAgreement:
    """Two readers' answers beside each other.

    Attributes
    ----------
    table : ndarray of shape (n_classes, n_classes), int64
        Patches by the class that the first reader says (rows) and the second (columns).
    share : Interval or None
        Of the patches on which they agree; None where there are none that both answered.
    kappa : Interval or None
        Cohen's; None also where both say one class alone.
    """

    table: Integers
    share: Interval | None
    kappa: Interval | None

    @property
    def n_patches(self) -> int:
        """How many both answered."""
        return int(self.table.sum())


def compare_answers(
    first: npt.NDArray[np.integer[Any]], second: npt.NDArray[np.integer[Any]], n_classes: int
) -> ReaderAgreement:
    """Compare what two readers said of the same patches.

    The intervals are of a Dirichlet posterior of the table, whose prior is worth one patch. They tell of
    patches as those that were drawn, of which rare classes are more than on the slide.

    Parameters
    ----------
    first, second : integer ndarray of shape (n,)
        The class of each patch, 0 to n_classes - 1.
    n_classes : int

    Returns
    -------
    ReaderAgreement

    References
    ----------
    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20,
    1960.
    """
    table = np.bincount(first * n_classes + second, minlength=n_classes**2).reshape(n_classes, n_classes)
    if not len(first):
        return ReaderAgreement(table, None, None)
    rng = np.random.default_rng(0)
    drawn = rng.dirichlet(table.ravel() + 1.0 / table.size, _DRAWS).reshape(_DRAWS, *table.shape)
    share, kappa = _measure(drawn)
    value, own_kappa = _measure(table[None] / table.sum())
    return ReaderAgreement(table, find_interval(value, share), find_interval(own_kappa, kappa))


def _measure(tables: Doubles) -> tuple[Doubles, Doubles]:
    """Return agreement and kappa of tables that sum to 1, (n, n_classes, n_classes); NaN of one class."""
    agree = np.trace(tables, axis1=1, axis2=2)
    by_chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return agree, (agree - by_chance) / (1.0 - by_chance)
