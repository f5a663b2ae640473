"""Labels finer than a patch: from the scores of patches to a score for each small cell of their middles.

A patch tells what it is, and its cells tell which part of it is like what. The scores of the patches are
interpolated between their centres. What those cells have in common that lie surely in one class or another is
then learnt from the slide's own labels, by a linear discriminant, and added; in five rounds, each from the
labels of the one before. How far the cells' evidence is averaged over their surroundings follows how far the
slide's labels stay alike: where regions are large, no cell's own detail is believed; where glands of a few
cells alternate with stroma, each is. What was tried beside is in ``benchmarks/README.md``.

References
----------
R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 1936.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.labelling.held import Held
from tissuumaps_sic.labelling.progress import SILENT, Stretch
from tissuumaps_sic.slidefile.arrays import Doubles, Index, Integers, Labels, Singles

# Cells along a patch's middle where the file has none: as many as the default encoder and geometry give.
PLAIN_SIDE = 4
_ROUNDS = 5
# How much what the cells tell counts beside what their patches tell.
_WEIGHT = 0.7
# Added to the covariance's diagonal, of the mean variance; 0.3 was as good.
_RIDGE = 0.05
# The local evidence is averaged with a Gaussian of this share of the distance over which labels stay alike,
# less a distance over which they do on any slide; all in strides.
_REACH_SHARE, _REACH_LEAST, _MOST_BLUR = 0.25, 1.5, 0.5
# Scores are at least this, so that no patch is so sure that its cells cannot be asked.
_LEAST_SCORE = 1e-4
# How far a seeded cell's class is raised above the others.
_HONOUR = 0.05
_BLOCK_PATCHES = 2048
# The cells' embeddings as float32, of all slides of this process: a server has many open.
_HELD = Held(2**29)
# As many cells as the discriminant is learnt from, of patches at even steps; twice as many changed nothing.
_MOST_LEARNT = 2**16


# Reads standardized embeddings of the cells of some patches, (n * side * side, channels).
_Read = Callable[[slice], Singles]


class CellReader(Protocol):
    """Reads the cells' embeddings of some patches: an array, or `slidefile.fine.Cells`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_patches, side, side, channels)."""

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float16]:
        """Read the cells of consecutive patches."""


class CellGrid:
    """The cells of a slide, with what every sharpening of it needs.

    What takes long is found when it is first asked for, and kept; the embeddings while there is room for
    them beside those of other slides.

    Parameters
    ----------
    lattice : ndarray of shape (n_patches, 2), int64
        (column, row) of each patch on the grid of patches, none twice.
    values : CellReader of shape (n_patches, side, side, channels), optional
        An embedding for each cell: patch, row of cells, column of cells, channel. Without it labels are
        interpolated and nothing more.
    tissue : ndarray of shape (n_patches, side, side), uint8, optional
        Percent of each cell that is tissue; all by default.
    side : int, default=4
        Cells along a patch's middle where there are no `values`.

    Attributes
    ----------
    n_patches, side : int

    Raises
    ------
    ValueError
        When the shapes do not fit, or two patches have one place.
    """

    def __init__(
        self,
        lattice: Integers,
        values: CellReader | None = None,
        tissue: npt.NDArray[np.uint8] | None = None,
        *,
        side: int = PLAIN_SIDE,
    ) -> None:
        self.n_patches = len(lattice)
        self.side = side if values is None else int(values.shape[1])
        shape = (self.n_patches, self.side, self.side)
        if values is not None and tuple(values.shape[:3]) != shape:
            raise ValueError(
                f"values has shape {tuple(values.shape)}; {shape} and the channels fit the patches"
            )
        if tissue is not None and tissue.shape != shape:
            raise ValueError(f"tissue has shape {tissue.shape}, not {shape}")
        self._values = values
        self._tissue = tissue
        self._neighbours = _find_neighbours(lattice)
        self._spread: tuple[Singles, Singles] | None = None

    @property
    def has_values(self) -> bool:
        """Whether the cells have embeddings."""
        return self._values is not None

    def interpolate(self, field: Singles) -> Singles:
        """Interpolate a field between the patches' centres.

        Parameters
        ----------
        field : ndarray of shape (n_patches, n_fields), float32

        Returns
        -------
        ndarray of shape (n_patches, side * side, n_fields), float32
            Bilinear; where a neighbour is no patch, of those that are.
        """
        return self._mix(field[:, None], _weigh_bilinear(self.side)[:, :, None], _blocks(self.n_patches))

    def blur(self, field: Singles, deviation: float, blocks: list[slice]) -> Singles:
        """Average a field of the cells with a Gaussian; glass does not count.

        Parameters
        ----------
        field : ndarray of shape (n_patches, side * side, n_fields), float32
        deviation : float
            Standard deviation in strides, up to one half; 0 gives the field itself.
        blocks : list of slice
            Patches for which it is wanted, one block after the other.

        Returns
        -------
        ndarray of shape (n, side * side, n_fields), float32
        """
        if deviation * self.side < 0.25:  # less than one in a thousand of a neighbour
            return np.concatenate([field[block] for block in blocks])
        weights = _weigh_gaussian(self.side, deviation)
        return self._mix(field, weights, blocks, self._shares(slice(None)))

    def _mix(
        self, field: Singles, weights: Singles, blocks: list[slice], shares: Singles | None = None
    ) -> Singles:
        """Sum what the 3 x 3 patches around some patches have, by weights, over the patches that there are.

        `field` is (n_patches, n_parts, n_fields), `weights` (n_cells, 9, n_parts), `shares` how much each
        part counts, (n_patches, n_parts).
        """
        n_cells, n_parts = weights.shape[0], weights.shape[2]
        sizes = [len(range(*block.indices(self.n_patches))) for block in blocks]
        mixed = np.empty((sum(sizes), n_cells, field.shape[2]), np.float32)
        flat = np.ascontiguousarray(weights.reshape(n_cells, -1).T)
        counts = np.ones((self.n_patches, n_parts), np.float32) if shares is None else shares
        for block, stop in zip(blocks, np.cumsum(sizes).tolist(), strict=True):
            around = self._neighbours[block]
            counted = counts[around] * (around >= 0)[:, :, None]
            total = counted.reshape(len(around), -1) @ flat
            # A cell with nothing but glass around it: its evidence is nought.
            np.maximum(total, 1e-6, out=total)
            for number in range(field.shape[2]):
                values = (field[around, :, number] * counted).reshape(len(around), -1)
                mixed[stop - len(around) : stop, :, number] = values @ flat / total
        return mixed

    def _shares(self, rows: slice) -> Singles:
        """Return the share of tissue of some patches' cells, (n, side * side)."""
        if self._tissue is None:
            return np.ones((len(range(*rows.indices(self.n_patches))), self.side**2), np.float32)
        return self._tissue[rows].reshape(-1, self.side**2).astype(np.float32) / np.float32(100)

    def _standardize(self) -> tuple[Singles, Singles]:
        """Return the mean and the standard deviation of each channel over the tissue."""
        if self._spread is None:
            assert self._values is not None
            total, mean, squares = 1e-9, np.zeros(self._values.shape[3]), np.zeros(self._values.shape[3])
            for block in _blocks(self.n_patches):
                rows = self._read(block).astype(np.float64)
                shares = self._shares(block).reshape(-1).astype(np.float64)
                total += shares.sum()
                mean += shares @ rows
                squares += shares @ rows**2
            mean /= total
            deviation = np.sqrt(np.maximum(squares / total - mean**2, 0.0))
            deviation[deviation < 1e-6] = 1.0
            self._spread = mean.astype(np.float32), deviation.astype(np.float32)
        return self._spread

    def _read(self, block: slice) -> Singles:
        assert self._values is not None
        return self._values[block].reshape(-1, self._values.shape[3]).astype(np.float32)

    @contextmanager
    def embeddings(self) -> Iterator[_Read]:
        """Open the cells' standardized embeddings, for as long as the block runs.

        Yields
        ------
        callable
            Given a slice of patches, it returns those of their cells, (n * side * side, channels): from
            memory, or where there is no room read anew each time.
        """
        assert self._values is not None
        shape = self.n_patches, self.side**2, self._values.shape[3]
        with _HELD.lend(self, 4 * int(np.prod(shape)), self._read_all) as held:
            yield self._read_standardized if held is None else lambda block: held[block].reshape(-1, shape[2])

    def _read_all(self) -> Singles:
        assert self._values is not None
        shape = self.side**2, self._values.shape[3]
        read = np.empty((self.n_patches, *shape), np.float32)
        for block in _blocks(self.n_patches):
            read[block] = self._read_standardized(block).reshape(-1, *shape)
        return read

    def _read_standardized(self, block: slice) -> Singles:
        mean, deviation = self._standardize()
        return (self._read(block) - mean) / deviation

    def counted(self, block: slice) -> Singles:
        """Return how much each cell counts, (n * side * side,): its share of tissue.

        Parameters
        ----------
        block : slice

        Returns
        -------
        ndarray of shape (n * side * side,), float32
        """
        return self._shares(block).reshape(-1)


def sharpen(
    scores: Singles,
    grid: CellGrid,
    *,
    reach: float,
    seeds: Labels | None = None,
    stretch: Stretch = SILENT,
) -> Singles:
    """Return a score for each cell and class.

    Parameters
    ----------
    scores : ndarray of shape (n_patches, n_classes), float32
        Of the patches; rows sum to 1, and the greatest is the patch's class.
    grid : CellGrid
        Without values, the scores are interpolated and nothing more.
    reach : float
        How far the scores stay alike, in strides: `Places.find_reach`.
    seeds : ndarray of shape (n_patches,), int64, optional
        -1 where there is none. The cells at the middle of a seeded patch get its class.
    stretch : Stretch, optional

    Returns
    -------
    ndarray of shape (n_patches, side, side, n_classes), float32
        Rows of cells first; scores of a cell sum to 1.

    Notes
    -----
    The same numbers give the same cells. Time and memory grow with the number of cells.
    """
    n_classes, side = scores.shape[1], grid.side
    stretch = stretch.part(0.0, 1.0, "Sharpening")
    broad = grid.interpolate(np.log(np.maximum(scores, _LEAST_SCORE)))
    logits = broad
    if grid.has_values and n_classes > 1:
        deviation = float(np.clip(_REACH_SHARE * (reach - _REACH_LEAST), 0.0, _MOST_BLUR))
        logits = _add_evidence(broad, grid, deviation, stretch)
    if seeds is not None:
        _honour(logits, seeds, side)
    raised = np.exp(logits - logits.max(axis=2, keepdims=True))
    raised /= raised.sum(axis=2, keepdims=True)
    stretch.tell(1.0)
    cells: Singles = raised.reshape(grid.n_patches, side, side, n_classes)
    return cells


def _add_evidence(broad: Singles, grid: CellGrid, deviation: float, stretch: Stretch) -> Singles:
    """Return what its patches tell of each cell, and what it tells itself; (n_patches, cells, classes)."""
    every = _blocks(grid.n_patches)
    # The rounds but the last are for those patches alone that the next one learns from.
    some = _blocks(grid.n_patches, -(-grid.n_patches * grid.side**2 // _MOST_LEARNT))
    logits = np.concatenate([broad[block] for block in some])
    with grid.embeddings() as read:
        for done in range(_ROUNDS):
            part = stretch.part(done / _ROUNDS, (done + 1) / _ROUNDS)
            learnt = _learn(logits, grid, read, some, part.part(0.0, 0.6))
            if learnt is None:
                return broad
            wanted = every if done == _ROUNDS - 1 else some
            evidence = _apply(learnt, grid, read, broad.shape[2])
            # That for all classes comes to nought, and so does its average.
            blurred = grid.blur(evidence[..., :-1], deviation, wanted)
            told = np.concatenate([blurred, -blurred.sum(axis=2, keepdims=True)], axis=2)
            logits = told + (broad if wanted is every else np.concatenate([broad[block] for block in wanted]))
            part.tell(1.0)
    return logits


def _learn(
    logits: Singles, grid: CellGrid, read: _Read, blocks: list[slice], stretch: Stretch
) -> tuple[Index, Doubles, Doubles] | None:
    """Return the discriminant of the classes that some cell is surely of: which, slopes and offsets.

    `logits` are of the patches in the blocks. A cell counts by how far its class is ahead of the next, and
    all classes count alike. None where there is only one.
    """
    n_classes = logits.shape[2]
    weights, sums, products = np.zeros(n_classes), None, None
    flats = logits.reshape(-1, n_classes)
    start = 0
    for block in blocks:
        rows = read(block)
        flat = flats[start : start + len(rows)]
        start += len(rows)
        top = np.sort(flat, axis=1)
        likely = np.exp(flat - top[:, -1:]).sum(axis=1)
        ahead = (1.0 - np.exp(top[:, -2] - top[:, -1])) / likely * grid.counted(block)
        label = flat.argmax(axis=1)
        if sums is None or products is None:
            sums = np.zeros((n_classes, rows.shape[1]))
            products = np.zeros((n_classes, rows.shape[1], rows.shape[1]))
        for each in range(n_classes):
            mine = np.flatnonzero(label == each)
            if mine.size:
                own, weight = rows[mine], ahead[mine]
                weighted = own * weight[:, None]
                weights[each] += weight.sum(dtype=np.float64)
                sums[each] += weighted.sum(axis=0, dtype=np.float64)
                products[each] += weighted.T @ own
        stretch.tell(block.stop / grid.n_patches)
    present = np.flatnonzero(weights > 0)
    if len(present) < 2 or sums is None or products is None:
        return None
    means = sums[present] / weights[present, None]
    spread = products[present] / weights[present, None, None] - means[:, :, None] * means[:, None, :]
    covariance = spread.mean(axis=0)
    covariance += _RIDGE * max(np.trace(covariance) / len(covariance), 1e-9) * np.eye(len(covariance))
    slopes = np.linalg.solve(covariance, means.T)
    offsets = -0.5 * np.einsum("kc,ck->k", means, slopes)
    # About their mean: a class that no cell is surely of is neither favoured nor put off.
    return present, slopes - slopes.mean(axis=1, keepdims=True), offsets - offsets.mean()


def _apply(learnt: tuple[Index, Doubles, Doubles], grid: CellGrid, read: _Read, n_classes: int) -> Singles:
    """Return the evidence of each cell for each class, (n_patches, side * side, n_classes)."""
    present, slopes, offsets = learnt
    evidence = np.zeros((grid.n_patches, grid.side**2, n_classes), np.float32)
    narrow = slopes.astype(np.float32)
    for block in _blocks(grid.n_patches):
        found = read(block) @ narrow + offsets.astype(np.float32)
        evidence[block][..., present] = _WEIGHT * found.reshape(-1, grid.side**2, len(present))
    return evidence


def find_middle(side: int) -> list[int]:
    """Return the cells at the middle of a patch, one or four, as places in its rows of cells.

    Parameters
    ----------
    side : int

    Returns
    -------
    list of int
    """
    middle = range((side - 1) // 2, side // 2 + 1)
    return [row * side + column for row in middle for column in middle]


def _honour(logits: Singles, seeds: Labels, side: int) -> None:
    """Raise the class of a seeded patch above the others in the cells at its middle."""
    seeded, middle = np.flatnonzero(seeds >= 0), np.array(find_middle(side))
    at = np.ix_(seeded, middle)
    cells = logits[at]
    own = np.broadcast_to(seeds[seeded, None, None], (*cells.shape[:2], 1)).astype(np.intp)
    others = cells.copy()
    np.put_along_axis(others, own, -np.inf, axis=2)
    least = others.max(axis=2, keepdims=True) + np.float32(_HONOUR)
    np.put_along_axis(cells, own, np.maximum(np.take_along_axis(cells, own, axis=2), least), axis=2)
    logits[at] = cells


def _find_neighbours(lattice: Integers) -> Index:
    """Return the patches around each patch, (n_patches, 9): row by row, itself the fifth; -1 for none."""
    low = lattice.min(axis=0)
    width = int(lattice[:, 0].max() - low[0]) + 3
    codes = (lattice[:, 1] - low[1] + 1) * width + lattice[:, 0] - low[0] + 1
    order = np.argsort(codes, kind="stable")
    known = codes[order]
    if (known[1:] == known[:-1]).any():
        raise ValueError("two patches have one place on the grid; give each its own")
    neighbours = np.full((len(codes), 9), -1, np.intp)
    for place, (down, right) in enumerate((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)):
        wanted = codes + down * width + right
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        there = known[at] == wanted
        neighbours[there, place] = order[at[there]]
    return neighbours


def _weigh_bilinear(side: int) -> Singles:
    """Return the weight of the 3 x 3 patches around in each cell, (side * side, 9)."""
    centres = (np.arange(side) + 0.5) / side - 0.5
    line = np.maximum(0.0, 1.0 - np.abs(np.array([-1.0, 0.0, 1.0]) - centres[:, None]))
    weights: Doubles = np.einsum("ia,jb->ijab", line, line)
    return weights.reshape(side**2, 9).astype(np.float32)


def _weigh_gaussian(side: int, deviation: float) -> Singles:
    """Return the weight in each cell of each one of the 3 x 3 patches around, (side**2, 9, side**2)."""
    centres = (np.arange(side) + 0.5) / side
    places = np.array([-1.0, 0.0, 1.0])[:, None] + centres
    line = np.exp(-0.5 * ((places - centres[:, None, None]) / deviation) ** 2)
    line /= line.sum(axis=(1, 2), keepdims=True)
    weights: Doubles = np.einsum("iac,jbd->ijabcd", line, line)
    return weights.reshape(side**2, 9, side**2).astype(np.float32)


def _blocks(n: int, step: int = 1) -> list[slice]:
    """Return slices of some patches each, of every one of n or of those at some step."""
    size = _BLOCK_PATCHES * step
    return [slice(start, min(start + size, n), step) for start in range(0, n, size)]
