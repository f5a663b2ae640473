"""Where to click first: patches that are typical of the slide and unlike each other.

No class need be known. Each is the patch nearest to the middle of a cluster in which nothing was clicked yet.
There are always a few more clusters than clicks, so that one more click goes to a large cluster and not to a
sliver of one. Herding, the variance of a Gaussian process and a tree of clusters were tried too
(``benchmarks/README.md``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.arrays import Index, Labels, Mask, Singles

# Clusters of the first look, and by how many there are more of them than clicks from then on.
_FEWEST_CLUSTERS, _MORE_CLUSTERS = 3, 3
# Patches that are clustered: more of them move the middles by less than a patch.
_MOST_CLUSTERED = 5000
_STARTS = 10
# Seeds in all from which on a suggestion looks at what is in doubt, once two classes have some.
FEWEST_SEEDS = 6


def is_untold(y: Labels) -> bool:
    """Return whether seeds, (n_seeds,), -1 for none, are too few to suggest by what is in doubt.

    Parameters
    ----------
    y : ndarray of shape (n_seeds,), int64

    Returns
    -------
    bool
    """
    seeds = y[y >= 0]
    return len(np.unique(seeds)) < 2 or len(seeds) < FEWEST_SEEDS


def choose_typical(
    prepared: Prepared,
    n: int,
    clicked: Sequence[int] | Index = (),
    *,
    candidates: Mask | None = None,
    random_state: int = 0,
    stretch: Stretch = SILENT,
) -> Index:
    """Return patches to click before classes are known, in the order in which to click them.

    Parameters
    ----------
    prepared : Prepared
    n : int
    clicked : sequence of int
        Rows of the patches that need no telling: seeds, and those that were shown. Their clusters are passed
        over.
    candidates : ndarray of shape (n_patches,), bool, optional
        Patches that may be returned, and that the clusters are made of; all by default.
    random_state : int, default=0
        Draws the patches that are clustered, on slides of more than 5,000, and the first centres.
    stretch : Stretch, optional

    Returns
    -------
    ndarray of shape (n,), intp
        None of `clicked`; fewer where there are fewer candidates.
    """
    rows = np.arange(prepared.n_patches) if candidates is None else np.flatnonzero(candidates)
    known = np.unique(np.asarray(clicked, dtype=np.intp))
    rng = np.random.default_rng(random_state)
    if rows.size > _MOST_CLUSTERED:
        rows = np.sort(rng.choice(rows, _MOST_CLUSTERED, replace=False))
    free = ~np.isin(rows, known)
    components, taken = prepared.components[rows], prepared.components[known]
    n = min(n, int(free.sum()))
    chosen: list[int] = []
    while len(chosen) < n:
        stretch.tell(len(chosen) / n)
        is_first = not chosen and not known.size
        occupied = np.concatenate([taken, components[chosen]])
        middles = _find_middles(components, free, occupied, random_state)
        # All clusters of the first look are as good as each other; later ones depend on what was clicked.
        chosen += middles[: n - len(chosen)] if is_first else middles[:1]
        free[chosen] = False
    stretch.tell(1.0)
    return rows[chosen]


def _find_middles(components: Singles, free: Mask, occupied: Singles, random_state: int) -> list[int]:
    """Return the free row nearest to the middle of each cluster that holds no occupied one, largest first."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    n_different = len(np.unique(components, axis=0))
    n_clusters = max(_FEWEST_CLUSTERS, len(occupied) + _MORE_CLUSTERS)
    while n_clusters < n_different:
        # One thread: the same sums on any machine, and so few numbers are not worth more.
        with threadpool_limits(1):
            means = KMeans(n_clusters, n_init=_STARTS, random_state=random_state).fit(components)
            passed = means.predict(occupied) if len(occupied) else ()
        sizes = np.bincount(means.labels_, minlength=n_clusters)
        middles = []
        for cluster in np.argsort(-sizes, kind="stable"):
            members = np.flatnonzero((means.labels_ == cluster) & free)
            if cluster not in passed and members.size:
                offsets = components[members] - means.cluster_centers_[cluster]
                middles.append(int(members[np.einsum("ij,ij->i", offsets, offsets).argmin()]))
        if middles:
            return middles
        n_clusters *= 2
    # Nearly as many clicks as there are different patches: any that is left.
    return [int(np.flatnonzero(free)[0])]
