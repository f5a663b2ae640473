"""The embeddings of a slide's patches, read block by block and never copied whole.

Blocks that fit in the processor's cache are converted as they are used, so that nothing as large as the
embeddings is made to scale or to convert them. Products are taken in single precision when X is single or
half; who needs more asks for double.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.arrays import Doubles, Floats, Index, Mask
from tissuumaps_sic.slidefile.h5ad import first_rows

# Bytes of a block of rows in double precision: it should stay in the cache between its uses. On an EPYC with
# 1 MiB of second-level cache a core, half or twice as much costs up to half as much time again.
_BLOCK_BYTES = 5 << 19
# Rows of a block that is read where it lies.
LARGE_ROWS = 8192
_SAMPLE_ROWS = 1024
# As many products with each row keep all processors busy in a block that is too large for the cache.
_MANY_PRODUCTS = 8
# Of X that is held in memory for a division.
_MOST_HELD = 2**30
# Finite numbers in half precision are smaller; see `_widen`.
_BEYOND_HALF = 65536.0


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
        """Read rows from `start` on into `out`, (n, n_features).

        Parameters
        ----------
        start : int
        out : ndarray of shape (n, n_features)
            Is written to.
        """

    def take_rows(self, index: Index, out: Floats) -> None:
        """Read rows that rise into `out`, (n, n_features).

        Parameters
        ----------
        index : ndarray of shape (n,), intp
            Rising.
        out : ndarray of shape (n, n_features)
            Is written to.
        """

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
        self._X = _as_matrix(X)
        self._reader = self._X if isinstance(self._X, RowReader) else None
        self.n_patches, self.n_features = (int(size) for size in self._X.shape)
        self.normalized = normalize
        self.precise = bool(self._X.dtype == np.float64)
        self._block_rows = min(max(_BLOCK_BYTES // (8 * self.n_features), 64), 8192)
        self.scales: Doubles | None = None
        with np.errstate(invalid="ignore", over="ignore"):
            self.origin = self._find_sample_mean()
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
        n_rows = self._block_rows if in_cache or half or not together else LARGE_ROWS
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
                values = _widen(values, widened[: len(values)])
            yield where, values
            stretch.tell(where.stop / size)

    def wide_blocks(
        self, index: Index | None = None, stretch: Stretch = SILENT
    ) -> Iterator[tuple[slice, Doubles]]:
        """Read rows of X as `blocks` does, but in double precision.

        Parameters
        ----------
        index : ndarray of shape (n,), intp, optional
            All rows by default.
        stretch : Stretch, optional

        Yields
        ------
        (slice, ndarray of shape (n_block, n_features), float64)
            The next block overwrites it.
        """
        wide = np.empty((self._block_rows, self.n_features))
        for where, values in self.blocks(index, stretch, in_cache=True):
            np.copyto(wide[: len(values)], values)
            yield where, wide[: len(values)]

    def scale(self, index: Index | slice) -> Doubles | float:
        """Return the factors of the rows at `index` as a column, (n, 1), or 1.0 where there are none.

        Parameters
        ----------
        index : ndarray of shape (n,), intp, or slice

        Returns
        -------
        ndarray of shape (n, 1), float64, or 1.0
        """
        return 1.0 if self.scales is None else self.scales[index][:, None]

    def narrow(self, values: Doubles) -> Floats:
        """Return values in the precision of products.

        Parameters
        ----------
        values : ndarray, float64

        Returns
        -------
        ndarray of the same shape, float32 or float64
        """
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
        """Return the sum, of shape (n_features,), of the scaled rows at `index`, in double precision.

        Parameters
        ----------
        index : ndarray of shape (n,), intp
        stretch : Stretch, optional

        Returns
        -------
        ndarray of shape (n_features,), float64
        """
        total: Doubles = self.sum_weighted(index, np.ones((len(index), 1)), stretch)[0]
        return total

    def sum_weighted(self, index: Index, weights: Doubles, stretch: Stretch = SILENT) -> Doubles:
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
        """Return the products as `products` does, in double precision.

        Parameters
        ----------
        directions : ndarray of shape (n_directions, n_features), float64
        index : ndarray of shape (n,), intp

        Returns
        -------
        ndarray of shape (n, n_directions), float64
        """
        products = np.empty((len(index), len(directions)))
        for where, values in self.wide_blocks(index):
            np.multiply(values @ directions.T, self.scale(index[where]), out=products[where])
        return products

    def at(self, index: Index) -> Doubles:
        """Return the scaled rows at `index`, (n, n_features), in double precision; for a few of them.

        Parameters
        ----------
        index : ndarray of shape (n,), intp

        Returns
        -------
        ndarray of shape (n, n_features), float64
        """
        found: Doubles = self._X[index].astype(np.float64) * self.scale(index)
        return found

    def hold(self) -> Rows:
        """Return the same rows with X in memory, for as long as who goes over it many times needs them.

        What is larger than a gigabyte goes on being read from its file, at up to half as much time again.

        Returns
        -------
        Rows
        """
        if self._reader is None or self._X.dtype.itemsize * self.n_patches * self.n_features > _MOST_HELD:
            return self
        rows = copy.copy(self)
        rows._X, rows._reader = self._X[:], None
        return rows

    @property
    def rounding(self) -> float:
        """The most that rounding changes a product with a unit vector, as a share of the row's length."""
        # n roundings of half a last place each (Higham, 2002, section 3.1), twice for what follows.
        return (2.0**-52 if self.precise else 2.0**-23) * (self.n_features + 8)

    def _find_sample_mean(self) -> Doubles:
        index = np.linspace(0, self.n_patches - 1, min(self.n_patches, _SAMPLE_ROWS)).astype(np.intp)
        total = np.zeros(self.n_features)
        for _, values in self.wide_blocks(index):
            factors, _ = self._find_factors(values)
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
            factors, squares = self._find_factors(values)
            wrong[where] = self._find_not_finite(where, squares)
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

    def _find_factors(self, values: Doubles) -> tuple[Doubles, Doubles]:
        """Return what each row is to be multiplied by, and its squared length before."""
        squares = np.einsum("ij,ij->i", values, values)
        if not self.normalized:
            return np.ones(len(values)), squares
        return 1.0 / np.sqrt(np.where(squares == 0, 1.0, squares)), squares

    def _find_not_finite(self, where: slice, squares: Doubles) -> Mask | bool:
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


def _as_matrix(X: npt.ArrayLike | RowReader) -> Any:
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


def _widen(half: Floats, out: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
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
