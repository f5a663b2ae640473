"""Cells get the labels that their embeddings and their patches' scores tell."""

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tissuumaps_sic.labelling import sharpen as module
from tissuumaps_sic.labelling.held import Held
from tissuumaps_sic.labelling.places import Places
from tissuumaps_sic.labelling.sharpen import CellGrid, find_middle, sharpen

COLUMNS, ROWS, SIDE = 10, 8, 4


def lattice(columns=COLUMNS, rows=ROWS):
    return np.stack([np.tile(np.arange(columns), rows), np.repeat(np.arange(rows), columns)], 1).astype(
        np.int64
    )


def cell_places(grid_places, side=SIDE):
    """Centres (x, y) of cells in strides, (n_patches, side, side, 2)."""
    offsets = (np.arange(side) + 0.5) / side
    x = grid_places[:, 0, None, None] + offsets[None, None, :]
    y = grid_places[:, 1, None, None] + offsets[None, :, None]
    return np.stack(np.broadcast_arrays(x, y), -1)


def drawn(inside, *, side=SIDE, noise=1.0, channels=6, seed=0, n_classes=2):
    """Scores of patches and embeddings of cells of a picture: `inside` tells each place's class."""
    rng = np.random.default_rng(seed)
    places = lattice()
    truth = inside(*np.moveaxis(cell_places(places, side), -1, 0))
    share = np.stack([(truth == each).mean(axis=(1, 2)) for each in range(n_classes)], 1)
    scores = np.exp(4 * share) / np.exp(4 * share).sum(axis=1, keepdims=True)
    means = 3.0 * np.eye(n_classes, channels)
    values = means[truth] + noise * rng.standard_normal((*truth.shape, channels))
    return places, truth, scores.astype(np.float32), values.astype(np.float16)


def wavy(x, y):
    """A border that lies within patches, and not alike in x and y."""
    return (x > 4.3 + 0.8 * np.sin(2 * y)).astype(int)


def right(cells, truth):
    return (cells.argmax(axis=3) == truth).mean()


def test_cells_follow_a_border_within_patches():
    places, truth, scores, values = drawn(wavy)
    plain = sharpen(scores, CellGrid(places, side=SIDE), reach=1.0)
    fine = sharpen(scores, CellGrid(places, values), reach=1.0)
    assert plain.shape == fine.shape == (len(places), SIDE, SIDE, 2)
    assert right(plain, truth) > 0.9
    assert right(fine, truth) > 0.99
    assert np.allclose(fine.sum(axis=3), 1, atol=1e-5)


def test_three_classes():
    places, truth, scores, values = drawn(lambda x, y: wavy(x, y) + (wavy(x, y) & (y > 3.4)), n_classes=3)
    assert set(np.unique(truth)) == {0, 1, 2}
    fine = sharpen(scores, CellGrid(places, values), reach=1.0)
    assert right(fine, truth) > 0.99


def test_a_class_that_no_cell_is_surely_of_stays_what_it_was():
    places, truth, scores, values = drawn(wavy)
    third = np.column_stack([scores * 0.999, np.full(len(scores), 0.001)]).astype(np.float32)
    fine = sharpen(third, CellGrid(places, values), reach=1.0)
    assert right(fine, truth) > 0.99
    assert fine[..., 2].max() < 0.1


def test_one_class_alone_is_interpolated():
    places, _, scores, values = drawn(wavy)
    alone = np.tile(np.float32([0.9, 0.1]), (len(scores), 1))
    fine = sharpen(alone, CellGrid(places, values), reach=1.0)
    assert np.allclose(fine, alone[:, None, None], atol=1e-6)


def test_scores_are_interpolated_between_centres_and_x_is_not_y():
    places = lattice()
    field = np.column_stack([places[:, 0], 10.0 * places[:, 1]]).astype(np.float32)
    cells = CellGrid(places, side=SIDE).interpolate(field).reshape(-1, SIDE, SIDE, 2)
    wanted = np.clip(cell_places(places) - 0.5, 0, [COLUMNS - 1, ROWS - 1]) * [1, 10]
    assert np.allclose(cells, wanted, atol=1e-4)


def test_a_patch_that_is_missing_is_left_out_of_its_neighbours():
    places = lattice()
    hole = 34
    kept = np.delete(np.arange(len(places)), hole)
    field = np.ones((len(kept), 1), np.float32)
    assert np.allclose(CellGrid(places[kept], side=SIDE).interpolate(field), 1)


def test_patches_may_come_in_any_order():
    places, _, scores, values = drawn(wavy)
    order = np.random.default_rng(3).permutation(len(places))
    one = sharpen(scores, CellGrid(places, values), reach=1.0)
    other = sharpen(scores[order], CellGrid(places[order] + 7, values[order]), reach=1.0)
    assert np.allclose(one[order], other, atol=1e-4)


def test_the_same_numbers_give_the_same_cells():
    places, _, scores, values = drawn(wavy)
    grid = CellGrid(places, values)
    assert np.array_equal(sharpen(scores, grid, reach=1.0), sharpen(scores, grid, reach=1.0))


def test_cells_that_are_not_kept_in_memory_give_the_same(monkeypatch):
    places, _, scores, values = drawn(wavy)
    one = sharpen(scores, CellGrid(places, values), reach=1.0)
    monkeypatch.setattr(module, "_HELD", Held(0))
    assert np.array_equal(one, sharpen(scores, CellGrid(places, values), reach=1.0))


def test_one_bound_holds_for_the_cells_of_all_slides(monkeypatch):
    """Each fits alone, two together do not: a server has many slides open."""
    places, _, scores, values = drawn(wavy)
    one = sharpen(scores, CellGrid(places, values), reach=1.0)
    held = Held(int(1.5 * values.size * 4))
    monkeypatch.setattr(module, "_HELD", held)
    grids = [CellGrid(places, values) for _ in range(8)]
    for grid in grids:
        assert np.array_equal(one, sharpen(scores, grid, reach=1.0))
        assert held.n_bytes == values.size * 4
    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(lambda grid: sharpen(scores, grid, reach=1.0), grids * 4))
    assert all(np.array_equal(one, each) for each in every)
    assert held.n_bytes <= held.most


def test_cells_in_memory_are_read_once_and_go_with_their_slide(monkeypatch):
    places, _, scores, values = drawn(wavy)
    held = Held(2**20)
    monkeypatch.setattr(module, "_HELD", held)
    reads = []

    class Reader:
        shape = values.shape

        def __getitem__(self, rows):
            reads.append(rows)
            return values[rows]

    grid = CellGrid(places, Reader())
    sharpen(scores, grid, reach=1.0)
    n_reads = len(reads)
    sharpen(scores, grid, reach=1.0)
    assert len(reads) == n_reads
    assert held.n_bytes == values.size * 4
    del grid
    gc.collect()
    assert held.n_bytes == 0


def test_what_cannot_be_read_takes_no_room(monkeypatch):
    places, _, scores, values = drawn(wavy)
    held = Held(2**20)
    monkeypatch.setattr(module, "_HELD", held)

    class Broken:
        shape = values.shape

        def __getitem__(self, rows):
            raise OSError("gone")

    grid = CellGrid(places, Broken())
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            sharpen(scores, grid, reach=1.0)
        assert held.n_bytes == 0


def test_detail_is_not_believed_where_regions_are_large():
    """A speckle of cells within a large region is noise where labels stay alike over many strides."""
    places, truth, scores, values = drawn(lambda x, y: (x > 5).astype(int))
    speckled = values.copy()
    rng = np.random.default_rng(1)
    flipped = rng.random(truth.shape) < 0.1
    speckled[flipped] = values[::-1, ::-1, ::-1][flipped]
    grid = CellGrid(places, speckled)
    apart = abs(cell_places(places)[..., 0] - 5) > 1
    near = sharpen(scores, grid, reach=0.5).argmax(axis=3)
    far = sharpen(scores, grid, reach=20.0).argmax(axis=3)
    assert (near != truth)[apart].mean() > 0.02
    assert (far != truth)[apart].mean() == 0


def test_glass_does_not_count():
    places, truth, scores, values = drawn(wavy)
    tissue = np.full(truth.shape, 100, np.uint8)
    tissue[:, 0] = 0
    spoilt = values.copy()
    spoilt[:, 0] = 500
    one = sharpen(scores, CellGrid(places, values, tissue), reach=3.0)
    other = sharpen(scores, CellGrid(places, spoilt, tissue), reach=3.0)
    assert np.allclose(one[:, 1:], other[:, 1:], atol=1e-4)


@pytest.mark.parametrize(("side", "held"), [(4, {5, 6, 9, 10}), (3, {4}), (2, {0, 1, 2, 3}), (1, {0})])
def test_the_middle_of_a_seeded_patch_has_its_class(side, held):
    places, truth, scores, values = drawn(wavy, side=side)
    seeds = np.full(len(places), -1)
    patch = 3 * COLUMNS + 1
    assert (truth[patch] == 0).all()
    seeds[patch] = 1
    fine = (
        sharpen(scores, CellGrid(places, values), reach=1.0, seeds=seeds).argmax(axis=3).reshape(-1, side**2)
    )
    assert set(np.flatnonzero(fine[patch] == 1)) == held
    assert (fine[patch - 1] == 0).all()


@pytest.mark.parametrize(("side", "n_classes"), [(4, 2), (3, 3), (1, 1), (2, 5)])
def test_many_seeds_are_honoured_as_each_by_itself(side, n_classes):
    """Of a lasso with thousands of seeds, against the same one cell after the other."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, side**2, n_classes)).astype(np.float32)
    seeds = rng.integers(-1, n_classes, 3000)
    wanted = logits.copy()
    for patch in np.flatnonzero(seeds >= 0):
        for cell in find_middle(side):
            own = seeds[patch]
            others = np.delete(wanted[patch, cell], own).max(initial=-np.inf)
            wanted[patch, cell, own] = max(wanted[patch, cell, own], others + module._HONOUR)
    module._honour(logits, seeds, side)
    assert np.array_equal(logits, wanted)
    module._honour(logits, np.full(3000, -1), side)
    assert np.array_equal(logits, wanted)


def test_seeds_are_honoured_together_and_not_one_after_the_other():
    """No Python step for each seed, whatever the machine: counted, not timed."""
    logits = np.zeros((10_000, 16, 3), np.float32)
    lines = 0

    def count(frame, event, _):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        module._honour(logits, np.ones(10_000, np.int64), 4)
    finally:
        sys.settrace(before)
    assert (logits[:, find_middle(4), 1] > 0).all()
    assert lines < 500


def test_what_does_not_fit_is_refused():
    places, _, _, values = drawn(wavy)
    with pytest.raises(ValueError, match="fit the patches"):
        CellGrid(places, values[1:])
    with pytest.raises(ValueError, match="tissue has shape"):
        CellGrid(places, values, np.ones((3, SIDE, SIDE), np.uint8))
    with pytest.raises(ValueError, match="one place"):
        CellGrid(np.zeros_like(places), values)


def test_reach_is_the_distance_over_which_a_field_stays_alike():
    places = lattice(60, 60).astype(float) * 128
    tree = Places(places)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((len(places), 1))
    narrow, broad = tree.smooth(noise, 2), tree.smooth(noise, 30)
    assert tree.find_reach(narrow) < 1.5
    assert tree.find_reach(broad) > 3
