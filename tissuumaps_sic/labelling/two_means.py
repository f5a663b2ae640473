"""Dividing patches in two: Lloyd's iterations for two centres, at the speed of reading the embeddings.

`Rows` wraps the embeddings of a slide and is built once; `Part` is some of its patches; `seeded_two_means`
and `two_means` divide a part and return a `Split`. X is never copied whole, to scale or to convert it: blocks
that fit in the processor's cache are converted as they are used.

Three things make it fast. Which of two centres is nearer depends only on the plane half way between them, so
a pass is one product with its normal. The sums of the two sides follow the patches that change side and no
others. And a patch is skipped while the plane cannot have reached it: its distance from the plane changes by
no more than its radius times the turn of the normal and the plane's own move, the bound of Hamerly's KMeans.

Products are taken in single precision when X is single or half; the few patches that lie nearer to the plane
than that can tell are decided in double precision. So are sums, centres and k-means++ distances, and the
labels are those of a computation in double precision.

References
----------
G. Hamerly, "Making k-means even faster", SIAM International Conference on Data Mining, 2010.
D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.h5ad import first_rows

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

# Bytes of a block of rows in double precision: it should stay in the cache between its uses. On an EPYC with
# 1 MiB of second-level cache a core, half or twice as much costs up to half as much time again.
_BLOCK_BYTES = 5 << 19
_SAMPLE_ROWS = 1024
# Rows of a block that is read where it lies, and patches that are assigned at a time.
_LARGE_ROWS = 8192
# As many products with each row keep all processors busy in a block that is too large for the cache.
_MANY_PRODUCTS = 8
# Of X that is held in memory for a division.
_MOST_HELD = 2**30
# Finite numbers in half precision are smaller; see `_from_half`.
_BEYOND_HALF = 65536.0
# Share of what is left that one of Lloyd's iterations is told to be: most divisions take ten to thirty.
_ROUND = 0.1


@runtime_checkable
class RowReader(Protocol):
    """A matrix whose rows are read into memory when they are needed, as `slidefile.h5ad.StoredMatrix` is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_patches, n_features)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows."""

    def read_rows(self, start: int, out: Floats) -> None:
        """Read rows from `start` on into `out`, (n, n_features)."""

    def take_rows(self, index: Index, out: Floats) -> None:
        """Read rows that rise into `out`, (n, n_features)."""

    def __getitem__(self, rows: Any) -> Floats:
        """Read some rows."""


class Rows:
    """The embeddings of a slide's patches, ready for products with any of them.

    Build it once a slide; every division of the slide then reuses what one pass over X has found. It is
    never changed afterwards, so that several threads may share it.

    Parameters
    ----------
    X : array-like of shape (n_patches, n_features)
        Embeddings, one row a patch; may be a memory map, or a `RowReader`, which is read a block at a time.
        float16, float32 and float64 in the machine's byte order are used where they lie, anything else is
        copied to float64. It must not change while this object is in use.
    normalize : bool, default=True
        Compute with every row scaled to unit length; a row of zeros stays as it is.
    stretch : Stretch, optional
        What the pass over X tells how far it is.

    Attributes
    ----------
    n_patches, n_features : int
    normalized : bool
        The parameter `normalize`.
    scales : ndarray of shape (n_patches,), float64, or None
        What each row of X is multiplied by; None for all ones.
    origin : ndarray of shape (n_features,), float64
        About the mean of the scaled rows; distances are kept from here, where they are small.
    radii : ndarray of shape (n_patches,), float64
        Distance of each scaled row from `origin`, or a little more.
    total : ndarray of shape (n_features,), float64
        Sum of the scaled rows.
    precise : bool
        Whether products are taken in double precision, as they are when X is float64.

    Raises
    ------
    ValueError
        When X cannot be used; the message says what to do.
    """

    def __init__(self, X: npt.ArrayLike, *, normalize: bool = True, stretch: Stretch = SILENT) -> None:
        self._X = _matrix(X)
        self._reader = self._X if isinstance(self._X, RowReader) else None
        self.n_patches, self.n_features = (int(size) for size in self._X.shape)
        self.normalized = normalize
        self.precise = bool(self._X.dtype == np.float64)
        self._block_rows = min(max(_BLOCK_BYTES // (8 * self.n_features), 64), 8192)
        self.scales: Doubles | None = None
        with np.errstate(invalid="ignore", over="ignore"):
            self.origin = self._sample_mean()
            self._read_once(stretch)

    def blocks(
        self, index: Index | None = None, stretch: Stretch = SILENT, *, in_cache: bool = False
    ) -> Iterator[tuple[slice, Floats]]:
        """Read rows of X as they are, unscaled, in the precision of products.

        Parameters
        ----------
        index : ndarray of shape (n,), intp, or None
            The rows in rising order; None for all. Those that lie together are read where they lie.
        stretch : Stretch, optional
            Is told after each block how many of the rows have been used, and may end the reading.
        in_cache : bool, default=False
            Whether every block is to be small enough for the processor's cache.

        Yields
        ------
        where : slice
            Which of the n rows these are.
        values : ndarray of shape (k, n_features), float32 or float64
            To be used before the next step and not to be written to: a view of X, or a buffer that the next
            block is read into.
        """
        size = self.n_patches if index is None else len(index)
        first = 0 if index is None or not size else int(index[0])
        together = index is None or not size or int(index[-1]) - first == size - 1
        half, reader = self._X.dtype == np.float16, self._reader
        # What is neither gathered nor converted needs no cache, and large blocks keep all processors busy.
        n_rows = self._block_rows if in_cache or half or not together else _LARGE_ROWS
        shape = (min(n_rows, size), self.n_features)
        taken = None if together and reader is None else np.empty(shape, dtype=self._X.dtype)
        widened = np.empty(shape, dtype=np.float32) if half else None
        for start in range(0, size, n_rows):
            where = slice(start, min(start + n_rows, size))
            if taken is None:
                values = self._X[first + where.start : first + where.stop]
            else:
                values = taken[: where.stop - start]
                if reader is not None and (index is None or together):
                    reader.read_rows(first + start, values)
                elif reader is not None and index is not None:
                    reader.take_rows(index[where], values)
                elif index is not None:
                    # Without mode="clip" numpy takes into a buffer of its own first.
                    np.take(self._X, index[where], axis=0, out=values, mode="clip")
            if widened is not None:
                values = _from_half(values, widened[: len(values)])
            yield where, values
            stretch.tell(where.stop / size)

    def wide_blocks(
        self, index: Index | None = None, stretch: Stretch = SILENT
    ) -> Iterator[tuple[slice, Doubles]]:
        """Read rows of X as `blocks` does, but in double precision."""
        wide = np.empty((self._block_rows, self.n_features))
        for where, values in self.blocks(index, stretch, in_cache=True):
            np.copyto(wide[: len(values)], values)
            yield where, wide[: len(values)]

    def scale(self, index: Index | slice) -> Doubles | float:
        """Return the factors of the rows at `index` as a column, (n, 1), or 1.0 where there are none."""
        return 1.0 if self.scales is None else self.scales[index][:, None]

    def narrow(self, values: Doubles) -> Floats:
        """Return values in the precision of products."""
        return values if self.precise else values.astype(np.float32)

    def products(self, directions: Doubles, index: Index | None = None, stretch: Stretch = SILENT) -> Doubles:
        """Return the products of scaled rows with some directions, in the precision of products.

        Parameters
        ----------
        directions : ndarray of shape (n_directions, n_features), float64
        index : ndarray of shape (n,), intp, or None
            The rows; None for all.
        stretch : Stretch, optional

        Returns
        -------
        ndarray of shape (n, n_directions), float64
        """
        columns = self.narrow(directions.T)
        size = self.n_patches if index is None else len(index)
        products = np.empty((size, len(directions)))
        # What was just read from a file is in the cache, and a few products are taken faster than it is read.
        in_cache = self._reader is not None and len(directions) < _MANY_PRODUCTS
        for where, values in self.blocks(index, stretch, in_cache=in_cache):
            np.multiply(
                values @ columns, self.scale(where if index is None else index[where]), out=products[where]
            )
        return products

    def sum(self, index: Index, stretch: Stretch = SILENT) -> Doubles:
        """Return the sum, of shape (n_features,), of the scaled rows at `index`, in double precision."""
        total: Doubles = self.weighted(index, np.ones((len(index), 1)), stretch)[0]
        return total

    def weighted(self, index: Index, weights: Doubles, stretch: Stretch = SILENT) -> Doubles:
        """Return weighted sums of the scaled rows at `index`, in double precision.

        Parameters
        ----------
        index : ndarray of shape (n,), intp
        weights : ndarray of shape (n, n_sums), float64
        stretch : Stretch, optional

        Returns
        -------
        ndarray of shape (n_sums, n_features), float64
        """
        sums = np.zeros((weights.shape[1], self.n_features))
        for where, values in self.wide_blocks(index, stretch):
            sums += (weights[where] * self.scale(index[where])).T @ values
        return sums

    def precise_products(self, directions: Doubles, index: Index) -> Doubles:
        """Return the products as `products` does, in double precision."""
        products = np.empty((len(index), len(directions)))
        for where, values in self.wide_blocks(index):
            np.multiply(values @ directions.T, self.scale(index[where]), out=products[where])
        return products

    def at(self, index: Index) -> Doubles:
        """Return the scaled rows at `index`, (n, n_features), in double precision; for a few of them."""
        found: Doubles = self._X[index].astype(np.float64) * self.scale(index)
        return found

    def held(self) -> Rows:
        """Return the same rows with X in memory, for as long as who goes over it many times needs them.

        What is larger than a gigabyte goes on being read from its file, at up to half as much time again.
        """
        if self._reader is None or self._X.dtype.itemsize * self.n_patches * self.n_features > _MOST_HELD:
            return self
        rows = copy.copy(self)
        rows._X, rows._reader = self._X[:], None
        return rows

    def whole(self) -> Part:
        """Return all patches as a part."""
        return Part(self, None, self.n_patches, self.total)

    def part(self, index: Index) -> Part:
        """Return the patches at `index`, of shape (n,), in rising order, as a part."""
        return Part(self, index, len(index), self.sum(index))

    @property
    def rounding(self) -> float:
        """The most that rounding changes a product with a unit vector, as a share of the row's length."""
        # n roundings of half a last place each (Higham, 2002, section 3.1), twice for what follows.
        return (2.0**-52 if self.precise else 2.0**-23) * (self.n_features + 8)

    def _sample_mean(self) -> Doubles:
        index = np.linspace(0, self.n_patches - 1, min(self.n_patches, _SAMPLE_ROWS)).astype(np.intp)
        total = np.zeros(self.n_features)
        for _, values in self.wide_blocks(index):
            factors, _ = self._factors(values)
            total += factors @ values
        return total / len(index)

    def _read_once(self, stretch: Stretch) -> None:
        """Check X and find scales, radii and total in the same pass."""
        self.radii = np.empty(self.n_patches)
        self.total = np.zeros(self.n_features)
        if self.normalized:
            self.scales = np.empty(self.n_patches)
        origin_square = float(self.origin @ self.origin)
        wrong = np.zeros(self.n_patches, dtype=bool)
        for where, values in self.wide_blocks(None, stretch):
            factors, squares = self._factors(values)
            wrong[where] = self._not_finite(where, squares)
            self.total += factors @ values
            lengths = factors**2 * squares + origin_square
            radii = np.maximum(lengths - 2.0 * factors * (values @ self.origin), 0.0)
            # Rounded up, since distances that nearly cancel are told apart no better than this.
            self.radii[where] = np.sqrt(radii + 1e-14 * lengths)
            if self.scales is not None:
                self.scales[where] = factors
        if wrong.any():
            raise ValueError(
                f"X holds NaN or infinity {first_rows(wrong)}; leave those patches out "
                "(adata[np.isfinite(adata.X).all(axis=1)]) or embed them again"
            )

    def _factors(self, values: Doubles) -> tuple[Doubles, Doubles]:
        """Return what each row is to be multiplied by, and its squared length before."""
        squares = np.einsum("ij,ij->i", values, values)
        if not self.normalized:
            return np.ones(len(values)), squares
        return 1.0 / np.sqrt(np.where(squares == 0, 1.0, squares)), squares

    def _not_finite(self, where: slice, squares: Doubles) -> Mask | bool:
        """Return which rows at `where` hold NaN or infinity, by their squared lengths.

        Raises
        ------
        ValueError
            When a row is finite and its squared length is not.
        """
        if self._X.dtype == np.float16:
            # Conversion from half gives numbers for infinity and NaN, larger than any other.
            suspect = bool((squares >= _BEYOND_HALF**2).any())
        else:
            suspect = not np.isfinite(squares).all()
        if not suspect:
            return False
        finite: Mask = np.isfinite(self._X[where]).all(axis=1)
        too_large = finite & ~np.isfinite(squares)
        if too_large.any():
            row = where.start + int(np.argmax(too_large))
            raise ValueError(
                f"X holds values too large to square, first in row {row}; scale the embeddings down"
            )
        return ~finite


@dataclass(frozen=True)
class Part:
    """Some of the patches of a slide, with their sum.

    Attributes
    ----------
    rows : Rows
    index : ndarray of shape (n,), intp, or None
        The patches, in rising order; None for all.
    size : int
        n, the number of patches.
    total : ndarray of shape (n_features,), float64
        Sum of their scaled rows.
    """

    rows: Rows
    index: Index | None
    size: int
    total: Doubles

    def at(self, positions: Index) -> Index:
        """Return the patches at some positions of this part."""
        return positions if self.index is None else self.index[positions]

    @property
    def patches(self) -> Index:
        """The patches, of shape (n,), in rising order."""
        return np.arange(self.size) if self.index is None else self.index

    @cached_property
    def radii(self) -> Doubles:
        """The patches' distances from the rows' origin, of shape (n,)."""
        return self.rows.radii if self.index is None else self.rows.radii[self.index]

    @cached_property
    def spread(self) -> float:
        """Sum of the patches' squared distances from the rows' origin."""
        return float(self.radii @ self.radii)

    def mean_variance(self) -> float:
        """Return the variance of each feature over the part, averaged over the features."""
        offset = self.total / self.size - self.rows.origin
        squares = self.spread - self.size * float(offset @ offset)
        return max(squares / (self.size * self.rows.n_features), 0.0)


@dataclass(frozen=True)
class Split:
    """The patches of a part, divided in two.

    Attributes
    ----------
    part : Part
        What was divided.
    labels : ndarray of shape (n,), int64
        0 or 1 for each patch of the part.
    centers : ndarray of shape (2, n_features), float64
        Centres of the two sides: a patch has the label of the nearer one, or 0 when both are as near.
    totals : ndarray of shape (2, n_features), float64
        Sum of the scaled rows of each side.
    n_iter : int
        Lloyd iterations.
    split : str
        "seeded" or "kmeans".
    """

    part: Part
    labels: Labels
    centers: Doubles
    totals: Doubles
    n_iter: int
    split: str

    def swapped(self) -> Split:
        """Return the same division with the two sides' numbers exchanged."""
        return Split(
            self.part, 1 - self.labels, self.centers[::-1], self.totals[::-1], self.n_iter, self.split
        )

    def side(self, label: int) -> Part:
        """Return the patches of one side as a part."""
        index = self.part.at(np.flatnonzero(self.labels == label))
        return Part(self.part.rows, index, len(index), self.totals[label])

    def positive_score(self, stretch: Stretch = SILENT) -> Doubles:
        """Return the nearness to side 1, of shape (n,), in 0..1; above one half exactly where the label is 1.

        That is d0 / (d0 + d1) of the squared distances to the two centres. It takes a pass over the part.
        """
        rows = self.part.rows
        difference, middle = self.centers[1] - self.centers[0], self.centers.mean(axis=0) - rows.origin
        # d0 - d1 = 2 (x - middle) . difference, and d0 + d1 = 2 |x - middle|^2 + |difference|^2 / 2.
        gap, reach = float(np.linalg.norm(difference)), float(np.linalg.norm(middle))
        axes = np.stack([difference / gap, middle / reach if reach > 0 else middle])
        along = rows.products(axes, self.part.index, stretch) - axes @ rows.origin
        squares = np.maximum(self.part.radii**2 - 2.0 * reach * along[:, 1] + reach**2, 0.0)
        score = 0.5 + gap * (along[:, 0] - axes[0] @ middle) / (2.0 * squares + 0.5 * gap**2)
        # Rounding may put a patch on the wrong side of one half; scores are kept as float32.
        above = np.nextafter(np.float32(0.5), np.float32(1.0))
        agreeing: Doubles = np.where(self.labels == 1, np.clip(score, above, 1.0), np.clip(score, 0.0, 0.5))
        return agreeing


def seeded_two_means(
    part: Part, seeds: Labels, *, max_iter: int, tol: float, stretch: Stretch = SILENT
) -> Split | None:
    """Divide a part in two by Lloyd's iterations that start from the mean of each class's seeds.

    Parameters
    ----------
    part : Part
        n patches.
    seeds : ndarray of shape (n,), int64
        -1, 0 or 1 for each patch of the part; both classes occur.
    max_iter : int
        The most iterations.
    tol : float
        The iterations end when the centres move by less than this share of the part's mean variance (squared
        distance, as in scikit-learn's ``KMeans``), or no patch changes sides.
    stretch : Stretch, optional
        Is told how far the division is, by what is known of its iterations.

    Returns
    -------
    Split or None
        None where the two starting means are equal, so that nothing divides.
    """
    chosen = [part.at(np.flatnonzero(seeds == label)) for label in (0, 1)]
    sums = [
        part.rows.sum(index, stretch.part(0.05 * at, 0.05 * at + 0.05)) for at, index in enumerate(chosen)
    ]
    centers = np.stack([total / len(index) for total, index in zip(sums, chosen, strict=True)])
    runs = _lloyd(
        part, centers[None], max_iter=max_iter, tol=tol, split="seeded", stretch=stretch.part(0.1, 1.0)
    )
    return runs[0]


def two_means(
    part: Part,
    *,
    max_iter: int,
    tol: float,
    random_state: int,
    n_init: int = 10,
    stretch: Stretch = SILENT,
) -> Split | None:
    """Divide a part in two by conventional KMeans: the tightest of `n_init` k-means++ starts.

    The random draws are those of scikit-learn's ``KMeans(2, n_init=10, random_state=...)``, so that the
    two agree patch for patch.

    Parameters
    ----------
    part : Part
    max_iter : int
    tol : float
        As in `seeded_two_means`.
    random_state : int
        Seed of the draws.
    n_init : int, default=10
        Starts; they advance together, so that each pass over the part serves all.
    stretch : Stretch, optional

    Returns
    -------
    Split or None
        None where all rows are equal.
    """
    rng = np.random.RandomState(random_state)
    starts = _plus_plus_centers(part, n_init, rng, stretch.part(0.0, 0.3))
    runs = _lloyd(part, starts, max_iter=max_iter, tol=tol, split="kmeans", stretch=stretch.part(0.3, 1.0))
    best: Split | None = None
    best_inertia = np.inf
    for split in runs:
        if split is None:
            continue
        inertia = _inertia(split)
        same = best is not None and (
            np.array_equal(best.labels, split.labels) or np.array_equal(best.labels, 1 - split.labels)
        )
        if inertia < best_inertia and not same:
            best, best_inertia = split, inertia
    return best


def _lloyd(
    part: Part, centers: Doubles, *, max_iter: int, tol: float, split: str, stretch: Stretch
) -> list[Split | None]:
    """Run Lloyd's iterations for two centres from several starts, (n_runs, 2, n_features), side by side.

    The result of a run is None where its centres coincide at the start or one side runs empty.
    """
    results: list[Split | None] = [None] * len(centers)
    runs = _Runs(part, centers)
    runs.keep(_differ(centers))
    threshold = tol * part.mean_variance()
    runs.assign(stretch.round(0, _ROUND))
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        runs.keep((runs.n_one > 0) & (runs.n_one < part.size))
        if not len(runs.names):
            break
        shifts = runs.move(runs.means())
        changed = runs.assign(stretch.round(n_iter, _ROUND))
        ended = (changed == 0) | (shifts <= threshold) | (n_iter == max_iter)
        for run in np.flatnonzero(ended):
            results[runs.names[run]] = runs.result(int(run), n_iter, split)
        runs.keep(~ended)
    return results


class _Runs:
    """The state of several runs over one part.

    A run's plane is where (x - origin) . axis = offset, half way between its centres; the patches beyond it,
    where the product is larger, have label 1.

    Attributes
    ----------
    names : ndarray of shape (n_runs,), intp
        Which of the runs that were started these are.
    centers : ndarray of shape (n_runs, 2, n_features), float64
    axes : ndarray of shape (n_runs, n_features), float64
        Unit normals of the planes.
    offsets : ndarray of shape (n_runs,), float64
    turned : ndarray of shape (n_runs,), float64
        How far the normal's tip has travelled since the start.
    labels : ndarray of shape (n, n_runs), bool
    room : ndarray of shape (n, n_runs), float32
        For each patch, the least that (x - origin) . axis can be in the direction of its own side, to which
        radius * turned is added when it is stored and taken off when it is used.
    sums : ndarray of shape (n_runs, n_features), float64
        Sum of the scaled rows with label 1.
    n_one : ndarray of shape (n_runs,), int64
        Patches with label 1.
    """

    centers: Doubles
    axes: Doubles
    offsets: Doubles

    def __init__(self, part: Part, centers: Doubles) -> None:
        n_runs = len(centers)
        self.part = part
        self.names = np.arange(n_runs)
        self.turned = np.zeros(n_runs)
        # Nothing is assigned yet; no room at all makes the first pass look at every patch.
        self.labels = np.zeros((part.size, n_runs), dtype=bool)
        self.room = np.full((part.size, n_runs), -np.inf, dtype=np.float32)
        self.sums = np.zeros((n_runs, part.rows.n_features))
        self.n_one = np.zeros(n_runs, dtype=np.int64)
        self._set(centers)

    def keep(self, which: Mask) -> None:
        """Go on with some of the runs only."""
        if which.all():
            return
        self.names, self.centers, self.axes = self.names[which], self.centers[which], self.axes[which]
        self.offsets, self.turned = self.offsets[which], self.turned[which]
        self.labels, self.room = self.labels[:, which], self.room[:, which]
        self.sums, self.n_one = self.sums[which], self.n_one[which]

    def means(self) -> Doubles:
        """Return the mean of each side, of the shape of `centers`."""
        n_one = self.n_one[:, None]
        others = (self.part.total - self.sums) / (self.part.size - n_one)
        return np.stack([others, self.sums / n_one], axis=1)

    def move(self, centers: Doubles) -> Doubles:
        """Set the centres and return by how much they moved: squared distances, of shape (n_runs,)."""
        shifts: Doubles = ((centers - self.centers) ** 2).sum(axis=(1, 2))
        before = self.axes
        self._set(centers)
        # A little more than it is, so that rounding never makes a bound too tight.
        self.turned = self.turned + np.linalg.norm(self.axes - before, axis=1) * (1 + 1e-9) + 1e-15
        return shifts

    def assign(self, stretch: Stretch) -> npt.NDArray[np.int64]:
        """Give every patch the label of the nearer centre; return how many changed in each run."""
        rows = self.part.rows
        changed = np.zeros(len(self.names), dtype=np.int64)
        middle = self.axes @ rows.origin
        due = self._due()
        for start in range(0, len(due), _LARGE_ROWS):
            positions = due[start : start + _LARGE_ROWS]
            index = self.part.at(positions)
            along = rows.products(self.axes, index) - middle
            if not rows.precise:
                unsure = (np.abs(along - self.offsets) <= self._slack(positions)).any(axis=1)
                if unsure.any():
                    along[unsure] = rows.precise_products(self.axes, index[unsure]) - middle
            changed += self._settle(positions, index, along)
            stretch.tell((start + len(positions)) / len(due))
        stretch.tell(1.0)
        return changed

    def result(self, run: int, n_iter: int, split: str) -> Split:
        """Return one run as it stands."""
        return Split(
            part=self.part,
            labels=self.labels[:, run].astype(np.int64),
            centers=self.centers[run],
            totals=np.stack([self.part.total - self.sums[run], self.sums[run]]),
            n_iter=n_iter,
            split=split,
        )

    def _set(self, centers: Doubles) -> None:
        differences = centers[:, 1] - centers[:, 0]
        lengths = np.linalg.norm(differences, axis=1, keepdims=True)
        self.centers = centers
        self.axes = differences / np.where(lengths > 0, lengths, 1.0)
        self.offsets = np.einsum("rj,rj->r", self.axes, centers.mean(axis=1) - self.part.rows.origin)

    def _due(self) -> Index:
        """Return the positions of the patches that may have changed side in any run."""
        due = np.zeros(self.part.size, dtype=bool)
        for run in range(len(self.names)):
            bound = self.part.radii * self.turned[run]
            bound += np.where(self.labels[:, run], self.offsets[run], -self.offsets[run])
            due |= ~(self.room[:, run] > bound)
        positions = np.flatnonzero(due)
        # Reading all rows where they lie is faster than gathering half of them.
        if self.part.index is None and 2 * len(positions) > self.part.size:
            return np.arange(self.part.size)
        return positions

    def _slack(self, positions: Index) -> Doubles:
        """Return how much rounding may have changed a product, (k, 1); no row is longer than this sum."""
        rows = self.part.rows
        length = self.part.radii[positions] + np.linalg.norm(rows.origin)
        slack: Doubles = rows.rounding * length[:, None]
        return slack

    def _settle(self, positions: Index, index: Index, along: Doubles) -> npt.NDArray[np.int64]:
        """Store where some patches lie; return how many changed side in each run.

        Parameters
        ----------
        positions, index : ndarray of shape (k,), intp
            The patches, by their positions in the part and among all rows.
        along : ndarray of shape (k, n_runs), float64
            (x - origin) . axis.
        """
        before = self.labels[positions]
        after = along > self.offsets
        self.labels[positions] = after
        radii = self.part.radii[positions][:, None]
        room = np.where(after, along, -along) - self._slack(positions) + radii * self.turned
        self.room[positions] = np.nextafter(room.astype(np.float32), np.float32(-np.inf))
        gained = after.astype(np.int8) - before
        moved = np.flatnonzero(gained.any(axis=1))
        if len(moved):
            self.sums += self.part.rows.weighted(index[moved], gained[moved].astype(np.float64))
            self.n_one += gained.sum(axis=0)
        changed: npt.NDArray[np.int64] = (gained != 0).sum(axis=0)
        return changed


def _differ(centers: Doubles) -> Mask:
    """Return which pairs of centres, (n_runs, 2, n_features), differ by more than the rounding of a mean."""
    distances = np.linalg.norm(centers[:, 1] - centers[:, 0], axis=1)
    lengths = np.linalg.norm(centers, axis=2).max(axis=1)
    return np.asarray(distances > 64 * np.finfo(np.float64).eps * lengths)


def _inertia(split: Split) -> float:
    """Return the sum of squared distances of a part's patches to the centres of their sides."""
    part, inertia = split.part, split.part.spread
    for label in (0, 1):
        size = int((split.labels == label).sum())
        center = split.centers[label] - part.rows.origin
        sums = split.totals[label] - size * part.rows.origin
        inertia += size * float(center @ center) - 2.0 * float(sums @ center)
    return inertia


def _plus_plus_centers(part: Part, n_init: int, rng: np.random.RandomState, stretch: Stretch) -> Doubles:
    """Return pairs of rows, (n_init, 2, n_features), each by greedy k-means++ with two trials."""
    # The draws do not depend on the rows, so those of all starts come first and two passes serve all.
    uniform = np.full(part.size, 1.0 / part.size)
    draws = [(rng.choice(part.size, p=uniform), rng.uniform(size=2)) for _ in range(n_init)]
    first = part.rows.at(part.at(np.array([row for row, _ in draws], dtype=np.intp)))
    nearest = np.empty((n_init, part.size))
    for where, distances in _squared_distances(part, first, stretch.part(0.0, 0.5)):
        nearest[:, where] = distances.T
    trials = np.empty((n_init, 2), dtype=np.intp)
    for init, (_, shares) in enumerate(draws):
        summed = np.cumsum(nearest[init])
        trials[init] = np.minimum(np.searchsorted(summed, shares * nearest[init].sum()), part.size - 1)
    candidates = part.rows.at(part.at(trials.ravel()))
    potentials = np.zeros((n_init, 2))
    for where, distances in _squared_distances(part, candidates, stretch.part(0.5, 1.0)):
        pairs = distances.reshape(-1, n_init, 2)
        potentials += np.minimum(pairs, nearest[:, where].T[:, :, None]).sum(axis=0)
    chosen = candidates.reshape(n_init, 2, -1)[np.arange(n_init), potentials.argmin(axis=1)]
    return np.stack([first, chosen], axis=1)


def _squared_distances(part: Part, points: Doubles, stretch: Stretch) -> Iterator[tuple[slice, Doubles]]:
    """Yield, a block at a time, the squared distances, (k, n_points), of a part's patches to some points."""
    rows = part.rows
    offsets = points - rows.origin
    squares = np.einsum("ij,ij->i", offsets, offsets)
    for where, values in rows.wide_blocks(part.index, stretch):
        index = where if part.index is None else part.index[where]
        along = (values @ offsets.T) * rows.scale(index) - offsets @ rows.origin
        yield where, np.maximum(part.radii[where][:, None] ** 2 - 2.0 * along + squares, 0.0)


def _matrix(X: npt.ArrayLike | RowReader) -> Any:
    """Return X as a matrix of shape (n_patches >= 2, n_features >= 1), without a copy where it is floats."""
    is_read = isinstance(X, RowReader) and X.dtype in (np.float16, np.float32, np.float64)
    # A memory map's own type would turn every block into one, at some cost.
    matrix: Any = X if is_read else np.asarray(X)
    if matrix.dtype not in (np.float16, np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if len(matrix.shape) != 2:
        raise ValueError(
            f"X has {matrix.ndim} dimensions; give a matrix with one row a patch, (n_patches, n_features)"
        )
    n_patches, n_features = matrix.shape
    if n_patches < 2:
        raise ValueError(f"X has {n_patches} patch; clustering needs at least two")
    if n_features < 1:
        raise ValueError("X has no features; give embeddings of at least one dimension")
    return matrix


def _from_half(half: Floats, out: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Convert finite half-precision numbers to single, exactly, into `out`, and return it.

    The bits of exponent and fraction move to their places and the exponent's bias is made up for by a
    product. numpy's own conversion takes one number at a time, ten times as long.
    """
    bits = out.view(np.int32)
    np.copyto(bits, half.view(np.int16))  # extends the sign into the three bits to be cleared
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(-0x70000001), out=bits)
    np.multiply(out, np.float32(2.0**112), out=out)
    return out
