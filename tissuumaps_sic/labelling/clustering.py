"""Seeded iterative clustering: a few seeds of each class to a label for every patch.

The estimator checks what it is given and keeps what it learns. The methods are in `published` and `refine`,
and what both find once a slide in `prepared`. Nothing here reads a file or knows of a viewer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.utils.validation import check_is_fitted

from tissuumaps_sic.labelling import published, refine
from tissuumaps_sic.labelling.calibration import SLOPE, temper
from tissuumaps_sic.labelling.judged import JudgedSeeds
from tissuumaps_sic.labelling.methods import METHODS
from tissuumaps_sic.labelling.prepared import Prepared, prepare
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.labelling.published import Metric, Step
from tissuumaps_sic.labelling.second_opinion import Differing, find_differing
from tissuumaps_sic.slidefile.arrays import Index, Labels, Mask, Singles

UNLABELLED = -1
# Share of a fit that reading the embeddings takes, where they are not prepared.
_READING = 0.2


class SeededIterativeClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Clustering of patch embeddings, guided by a few seeds of each class.

    ``method="sic"`` is the algorithm as published. The whole slide is divided by a two-means that starts
    from the mean embedding of each class's seeds. The positive part is divided again in the same way as long
    as a metric over the seeds rises: by a seeded two-means while seeds of both classes lie in it, by a
    conventional one when only positive seeds do.

    ``method="refine"`` conditions a Gaussian process on the seeds, with the places of the patches as
    context. Its result gets better with every correction, which that of "sic" hardly does.

    Parameters
    ----------
    method : "sic" or "refine", default="sic"
        See above; "refine" needs coords.
    metric : "f1" or callable, default="f1"
        What the outer loop of "sic" must raise. A callable takes ``(y_true, y_pred)``, both int arrays of
        shape (n_seeds,) of 0 and 1, and returns a float that is larger when better.
    normalize : bool, default=True
        Scale every embedding to unit length first, so that directions are compared and not magnitudes.
    max_iter : int, default=300
        The most Lloyd iterations in one two-means of "sic".
    tol : float, default=1e-4
        A two-means ends when its centres move by less than this share of the mean variance of the
        features (squared distance, as in scikit-learn's ``KMeans``), or no patch changes sides.
    random_state : int, default=0
        Seed of the conventional two-means, of the resampling of seeds and of `suggest`.
    leave_one_out : bool, default=True
        Whether "refine" judges each seed by all others: how steep the scores' curve must be for a score to
        mean what it says, and how much seeds count that were given many at once. False gives the labels and
        scores of version 0.1.

    Attributes
    ----------
    labels_ : ndarray of shape (n_patches,), int64
        The class of each patch; of two, 1 is the positive one.
    scores_ : ndarray of shape (n_patches, n_classes), float32
        Rows sum to 1, and a patch's label has the highest. Of two classes a patch is positive exactly when
        its second score is above one half. For "sic", how near a patch lies to each side of the last split
        that it took part in.
    classes_ : ndarray of shape (n_classes,), int64
        0 to n_classes - 1, the columns of `scores_`.
    n_iter_ : int
        Lloyd iterations in all; for "refine", passes of the seeded KMeans.
    history_ : list of Step
        The outer loop of "sic", in order; empty when the first division left no positive seed to go on from,
        and for "refine". With more than two classes, the loops of the classes one after the other.
    slope_ : float
        The slope of the scores' logistic curve; of "sic", and without `leave_one_out`, a fixed one.
    n_features_in_ : int
        Length of an embedding.

    Notes
    -----
    In "sic" seeds steer the centres and nothing else: a seeded patch may end in the other class, and more
    seeds help little once the means are right. Where the tissue of interest is a small share of the slide,
    the result varies with the choice of seeds. In "refine" a seeded patch keeps its class.

    With three classes or more, "sic" runs the published algorithm once for each class, that class positive
    and all others together the other one; a patch gets the class whose score is highest. Every class is
    narrowed down by its own seeds, no class is special, and renaming classes renames labels. Of two classes
    only the positive one is narrowed down, as published: there the second run would contradict the first.

    The published listing keeps looping while the score does *not* rise and calls the positive-only case
    "only negative annotations"; both are read here as the text of the paper has them.

    References
    ----------
    "Seeded iterative clustering for histology region identification", Learning Meaningful Representations
    of Life workshop, NeurIPS 2022. S. Basu, A. Banerjee, R. Mooney, "Semi-supervised clustering by
    seeding", ICML 2002, for the seeded KMeans. `refine` for what that method rests on.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.repeat([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]], 4, axis=0)
    >>> y = np.full(12, -1)
    >>> y[0], y[4] = 0, 1
    >>> SeededIterativeClustering().fit(X, y).labels_
    array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0])
    >>> places = np.column_stack([np.arange(12), np.zeros(12)])
    >>> SeededIterativeClustering(method="refine").fit(X, y, places).labels_
    array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    """

    labels_: Labels
    scores_: Singles
    classes_: Labels
    n_iter_: int
    history_: list[Step]
    slope_: float
    n_features_in_: int

    def __init__(
        self,
        *,
        method: str = "sic",
        metric: str | Metric = "f1",
        normalize: bool = True,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int = 0,
        leave_one_out: bool = True,
    ) -> None:
        self.method = method
        self.metric = metric
        self.normalize = normalize
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.leave_one_out = leave_one_out

    def fit(
        self,
        X: npt.ArrayLike | Prepared,
        y: npt.ArrayLike,
        coords: npt.ArrayLike | None = None,
        *,
        guests: refine.Guests | None = None,
        progress: Progress | None = None,
    ) -> SeededIterativeClustering:
        """Label every patch.

        Parameters
        ----------
        X : array-like of shape (n_patches, n_features), or Prepared
            Embeddings, one row a patch; may be a memory map. float16 and float32 are read as they are, and
            "sic" makes nothing as large as X of them, where X is in memory or mapped. `Prepared`, built once
            a slide with the same `normalize`, saves later fits all that does not depend on the seeds.
        y : array-like of shape (n_patches,), int
            Seeds: -1 unlabelled, else the class, 0 to n_classes - 1. Every class has at least one seed.
        coords : array-like of shape (n_patches, 2), optional
            Patch centres (x, y) in level-0 pixels; needed by "refine", unless X is prepared with them.
        guests : refine.Guests, optional
            Seeds of another slide, for "refine"; a class may have its seeds among them.
        progress : callable, optional
            Called often with the stage in words and the share of the fit that is done, which rises to 1. What
            it raises, such as `progress.Cancelled`, ends the fit: this object is as it was, and of X what was
            found whole is kept.

        Returns
        -------
        self : SeededIterativeClustering

        Raises
        ------
        ValueError
            When a parameter, X, y or coords cannot be used; the message says what to do.
        """
        options = self._check_parameters()
        if guests is not None and self.method != "refine":
            raise ValueError("seeds of another slide need method 'refine'; give that, or no guests")
        stretch = Stretch.whole(progress)
        read_by = 0.0 if isinstance(X, Prepared) else _READING
        reading = stretch.part(0.0, read_by, "Reading the embeddings")
        prepared = prepare(X, coords, normalize=self.normalize, stretch=reading)
        foreign = np.empty(0, dtype=np.int64) if guests is None else guests.labels
        seeds = check_seeds(y, prepared.n_patches, foreign)
        classes = np.arange(int(max(seeds.max(), foreign.max(initial=0))) + 1)
        labelling = stretch.part(read_by, 1.0, "Labelling")
        field: refine.Field | None = None
        history: list[Step] = []
        slope = SLOPE
        if self.method == "refine":
            field = self._condition(prepared, seeds, len(classes), guests, labelling.part(0.0, 0.95))
            scores, slope = self._score(field, labelling.part(0.95, 1.0))
            labels, n_iter = scores.argmax(axis=1), field.n_iter
        else:
            labels, scores, n_iter, history = published.label_patches(
                prepared.rows.hold(), seeds, len(classes), options, labelling
            )
        labelling.tell(1.0)
        # All at the end: who has stopped a fit finds the one before it.
        self._prepared, self._seeds, self._foreign, self._field = prepared, seeds, foreign, field
        self.labels_, self.scores_, self.n_iter_, self.history_ = labels, scores, n_iter, history
        self.classes_, self.n_features_in_, self.slope_ = classes, prepared.rows.n_features, slope
        return self

    def suggest(self, n: int, *, progress: Progress | None = None) -> Index:
        """Return patches to seed next, the most telling first.

        They are patches whose seeds would tell most about patches in doubt, whatever class they turn out to
        be of, and each is chosen as if those before it were seeded already.

        Parameters
        ----------
        n : int
            How many.
        progress : callable, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), intp
            Unseeded patches; fewer than n where there are fewer.

        Raises
        ------
        ValueError
            When n is not positive, or the estimator was fitted without coords.
        """
        _require_count(n)
        check_is_fitted(self, "labels_")
        stretch = Stretch.whole(progress).part(0.0, 1.0, "Looking for the most telling patch")
        conditioned_by = 0.0 if self._field is not None else 0.9
        field = self._find_field(stretch.part(0.0, conditioned_by))
        # On one scale whatever the slide's: with steep scores all suggestions would crowd on the border.
        scores = temper(self.scores_, SLOPE / self.slope_)
        found = refine.suggest(field, scores, n, self.random_state, stretch.part(conditioned_by, 1.0))
        stretch.tell(1.0)
        return found

    def judge_seeds(self, *, progress: Progress | None = None) -> JudgedSeeds:
        """Return what the other seeds say of each seed of this slide.

        Every seed is left out in turn, in closed form. One that is its class's only seed is not judged: there
        is no other to say anything of that class.

        Parameters
        ----------
        progress : callable, optional
            As in `fit`.

        Returns
        -------
        JudgedSeeds
            Of a few thousand seeds all; of more, some of each class stand for all.

        Raises
        ------
        ValueError
            When the estimator was fitted without coords.
        """
        check_is_fitted(self, "labels_")
        stretch = Stretch.whole(progress).part(0.0, 1.0, "Judging the seeds")
        field = self._find_field(stretch.part(0.0, 0.9))
        judgement = field.judge()
        stretch.tell(1.0)
        return JudgedSeeds.of(field, judgement, self.slope_)

    def second_opinion(
        self, n: int, *, candidates: Mask | None = None, progress: Progress | None = None
    ) -> list[Differing]:
        """Return where another kind of model, from the same seeds, says another class than the labels.

        Errors are found there by fewer looks than where the labels are least sure; but what `suggest`
        returns raises the labels' quality more, click for click.

        Parameters
        ----------
        n : int
            How many patches of each pair of classes at most.
        candidates : ndarray of shape (n_patches,), bool, optional
            Patches that may be returned; all by default.
        progress : callable, optional
            As in `fit`.

        Returns
        -------
        list of Differing
            One for each pair of classes that are taken for each other, the rarest class first; no seeds are
            among the patches.

        Raises
        ------
        ValueError
            When n is not positive, or the estimator was fitted without coords.
        """
        _require_count(n)
        check_is_fitted(self, "labels_")
        stretch = Stretch.whole(progress).part(0.0, 1.0, "Asking for a second opinion")
        field = self._find_field(stretch.part(0.0, 0.5))
        found = find_differing(field, self.labels_, self.scores_, n, candidates=candidates)
        stretch.tell(1.0)
        return found

    def flips(self, n_resamples: int = 20, *, progress: Progress | None = None) -> Singles:
        """Return how often each patch changes its label when the seeds are resampled.

        Seeds, those of other slides too, are drawn with replacement inside each class. The mean over all
        patches is the stop sign: while it is high, the labels hang on single seeds, and more clicks will
        change them.

        Parameters
        ----------
        n_resamples : int, default=20
        progress : callable, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_patches,), float32
            Share of the resamples, 0..1.
        """
        check_is_fitted(self, "labels_")
        rng = np.random.default_rng(self.random_state)
        seeded = np.flatnonzero(self._seeds != UNLABELLED)
        # Those of this slide, then the guests.
        labels = np.concatenate([self._seeds[seeded], self._foreign])
        flips = np.zeros(len(self._seeds), dtype=np.float32)
        stretch = Stretch.whole(progress).part(0.0, 1.0, "Resampling the seeds")
        for done in range(n_resamples):
            kept = np.unique(
                np.concatenate(
                    [
                        rng.choice(of_class, of_class.size)
                        for label in self.classes_
                        for of_class in [np.flatnonzero(labels == label)]
                    ]
                )
            )
            own, guests = kept[kept < seeded.size], kept[kept >= seeded.size] - seeded.size
            part = stretch.part(done / n_resamples, (done + 1) / n_resamples)
            flips += self._label_from(seeded[own], guests, part) != self.labels_
        stretch.tell(1.0)
        if self.method == "refine":
            # What is seeded is settled.
            flips[seeded] = 0
        return flips / np.float32(n_resamples)

    def _label_from(self, kept: Index, guests: Index, stretch: Stretch) -> Labels:
        """Return the labels that some of the seeds, and some of the guests, give."""
        if self._field is not None:
            taken = np.ones(len(self._field.targets), dtype=bool)
            seeds = np.concatenate([np.isin(self._field.rows, kept), np.isin(self._field.guests, guests)])
            taken[: seeds.size] = seeds
            labels: Labels = self._field.spread(self._field.weigh(taken), stretch=stretch).argmax(axis=1)
            return labels
        y = np.full_like(self._seeds, UNLABELLED)
        y[kept] = self._seeds[kept]
        refitted: SeededIterativeClustering = clone(self).fit(
            self._prepared, y, progress=lambda _, share: stretch.tell(share)
        )
        return refitted.labels_

    def _find_field(self, stretch: Stretch) -> refine.Field:
        """Return the Gaussian process on the seeds, which "sic" does without until it is asked for."""
        if self._field is not None:
            return self._field
        return self._condition(self._prepared, self._seeds, len(self.classes_), None, stretch)

    def _condition(
        self,
        prepared: Prepared,
        seeds: Labels,
        n_classes: int,
        guests: refine.Guests | None,
        stretch: Stretch,
    ) -> refine.Field:
        return refine.condition(
            prepared, seeds, n_classes, guests, doubt_lassos=self.leave_one_out, stretch=stretch
        )

    def _score(self, field: refine.Field, stretch: Stretch) -> tuple[Singles, float]:
        """Return the scores, and the slope of their curve."""
        if not self.leave_one_out:
            return field.score(field.spread(field.weigh(), stretch=stretch), SLOPE), SLOPE
        judgement = field.judge()
        mean = field.spread(judgement.weights, stretch=stretch)
        slope = field.find_slope(mean, judgement)
        return field.score(mean, slope), slope

    def _check_parameters(self) -> published.Options:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; give one of {', '.join(METHODS)}")
        if callable(self.metric):
            metric: Metric = self.metric
        elif self.metric == "f1":
            metric = published.f1
        else:
            raise ValueError(f"metric is {self.metric!r}; give 'f1' or a function of (y_true, y_pred)")
        if self.max_iter < 1:
            raise ValueError(f"max_iter is {self.max_iter}; give at least 1")
        if self.tol < 0:
            raise ValueError(f"tol is {self.tol}; give 0 or more")
        return published.Options(metric, self.max_iter, self.tol, self.random_state)


def _require_count(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; ask for at least one patch")


def check_seeds(y: npt.ArrayLike, n_patches: int, foreign: Labels) -> Labels:
    """Return y as seeds, once it has at least two classes and a seed of every class.

    Parameters
    ----------
    y : array-like of shape (n_patches,), int
        -1 unlabelled.
    n_patches : int
    foreign : ndarray of shape (n_foreign,), int64
        Classes of seeds of another slide, which count as seeded.

    Returns
    -------
    ndarray of shape (n_patches,), int64

    Raises
    ------
    ValueError
        Naming what is wrong and what to do.
    """
    given = np.asarray(y)
    if given.shape != (n_patches,):
        raise ValueError(
            f"y has shape {given.shape} and X has {n_patches} patches; give one seed or -1 for each patch"
        )
    seeds = given.astype(np.int64)
    choices = "give a class from 0 on, or -1 for unlabelled"
    if not np.array_equal(seeds, given):
        raise ValueError(f"y holds values that are not whole numbers; {choices}")
    # Labels are kept as bytes.
    wrong = np.flatnonzero((seeds < UNLABELLED) | (seeds >= np.iinfo(np.uint8).max))
    if wrong.size:
        raise ValueError(f"seed {seeds[wrong[0]]} of patch {wrong[0]} is out of range; {choices}")
    every = np.concatenate([seeds, foreign])
    missing = np.setdiff1d(np.arange(max(int(every.max(initial=0)) + 1, 2)), every)
    if missing.size:
        raise ValueError(f"no seed of class {missing[-1]}; seed at least one patch of each class")
    return seeds
