"""Seeds with what the other seeds say of them: which of one's clicks may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tissuumaps_sic.labelling.calibration import apply_slope
from tissuumaps_sic.labelling.leave_one_out import Judgement, find_doubtful, find_judged
from tissuumaps_sic.labelling.refine import Field
from tissuumaps_sic.slidefile.arrays import Index, Labels, Mask, Singles


@dataclass(frozen=True)
class JudgedSeeds:
    """Seeds of a slide, each judged by all others.

    Attributes
    ----------
    patches : ndarray of shape (n_seeds,), intp
        Rows of the seeds that are judged, in order.
    labels : ndarray of shape (n_seeds,), int64
        The class that each was given.
    expected : ndarray of shape (n_seeds,), int64
        The class that the others say it is of.
    scores : ndarray of shape (n_seeds,), float32
        How surely they do, 0 to 1, on the scale of `SeededIterativeClustering.scores_`.
    margins : ndarray of shape (n_seeds,), float32
        By how much they prefer the class that was given to the best other one, -1 to 1.
    is_doubtful : ndarray of shape (n_seeds,), bool
        Whether they contradict it clearly. One that is merely unlike all others is not doubtful.
    """

    patches: Index
    labels: Labels
    expected: Labels
    scores: Singles
    margins: Singles
    is_doubtful: Mask

    @classmethod
    def of(cls, field: Field, judgement: Judgement, slope: float) -> JudgedSeeds:
        """Return what a process says of its seeds on its own slide.

        Parameters
        ----------
        field : Field
        judgement : Judgement
        slope : float

        Returns
        -------
        JudgedSeeds
        """
        n_classes = field.targets.shape[1]
        doubtful = find_doubtful(field.labels, judgement.margins[: field.n_seeds], n_classes)
        judged = np.flatnonzero(find_judged(field.labels, n_classes)[: field.rows.size])
        labels, means, margins = field.labels[judged], judgement.means[judged], judgement.margins[judged]
        expected = means.argmax(axis=1)
        scores = apply_slope(means, slope).max(axis=1)
        return cls(
            field.rows[judged],
            labels,
            expected,
            scores.astype(np.float32),
            margins.astype(np.float32),
            doubtful[judged],
        )

    @property
    def doubtful(self) -> Index:
        """Rows of the doubtful seeds, the most contradicted first."""
        order = np.argsort(self.margins, kind="stable")
        found: Index = self.patches[order[self.is_doubtful[order]]]
        return found

    @property
    def accuracy(self) -> float:
        """Share of the seeds whose class the others say too, 0 to 1; NaN where none is judged.

        It is one of seeds, which people place where labels are wrong or tissue is typical, not of the slide.
        """
        return float((self.expected == self.labels).mean()) if len(self.labels) else float("nan")
