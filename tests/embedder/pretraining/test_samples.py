"""Which patches are drawn, and that what is kept of them are the slide's own pixels."""

import numpy as np
import pytest
import pyvips
from making.damage import spoil, tissue, write_pyramid
from making.tissue import write_tissue
from PIL import Image

import embedder.patches.reading
import embedder.pretraining.store
from embedder.embedding.options import EmbedOptions
from embedder.embedding.request import SlideInput
from embedder.pretraining.samples import digest, draw, draw_probes, find_candidates, share_equally
from embedder.pretraining.store import PatchStore
from tissuumaps_sic.slidefile.pixels.source import SlideError

LAYOUT = EmbedOptions(patch_size=32, min_tissue=0.5)


@pytest.fixture
def items(tmp_path):
    """Three slides, the second smaller than the others."""
    sides = {"a": 512, "b": 256, "c": 512}
    return [
        SlideInput(write_tissue(tmp_path / f"{name}.tif", side=side, seed=ord(name)))
        for name, side in sides.items()
    ]


def patches_by_hand(drawn):
    """Each patch's pixels, read by libvips; a level-0 pixel is a target pixel here."""
    found = []
    for each in drawn:
        pixels = pyvips.Image.new_from_file(str(each.item.path)).numpy()[..., :3]
        found += [pixels[y : y + 32, x : x + 32] for x, y in zip(each.grid.x0, each.grid.y0, strict=True)]
    return np.stack(found)


def test_every_slide_gives_as_much_as_the_others_where_it_can():
    assert share_equally([100, 100, 100], 30) == [10, 10, 10]
    assert share_equally([100, 4, 100], 30) == [13, 4, 13]
    assert share_equally([5, 4, 0], 30) == [5, 4, 0]
    shares = share_equally([50, 60, 70], 100)
    assert sum(shares) == 100
    assert max(shares) - min(shares) == 1
    assert share_equally([], 10) == []


def test_what_is_drawn_depends_on_the_seed_alone(items):
    plans, failures = find_candidates(items, options=LAYOUT)
    assert failures == []
    first, again, other = (draw(plans, 60, seed=seed) for seed in (0, 0, 1))
    assert [len(each.grid) for each in first] == [20, 20, 20]
    assert digest(first) == digest(again) != digest(other)
    # Drawn all over the slide, and each patch once.
    grid = first[0].grid
    assert len(np.unique(grid.cells)) == 20
    assert grid.column.min() < grid.columns / 3 < 2 * grid.columns / 3 < grid.column.max()


def test_a_slide_that_fails_is_told_and_changes_nothing_for_the_others(items, tmp_path, caplog):
    (tmp_path / "broken.svs").write_bytes(b"no slide")
    without, _ = find_candidates(items, options=LAYOUT)
    broken = [*items, SlideInput(tmp_path / "broken.svs"), SlideInput(tmp_path / "missing.svs")]
    plans, failures = find_candidates(broken, options=LAYOUT)
    assert [path for path, _ in failures] == [str(tmp_path / name) for name in ("broken.svs", "missing.svs")]
    assert "broken.svs" in caplog.text
    assert "left out" in caplog.text
    assert digest(draw(plans, 60, seed=0)) == digest(draw(without, 60, seed=0))


def test_the_store_holds_the_pixels_of_what_was_drawn(items, tmp_path):
    drawn = draw(find_candidates(items, options=LAYOUT)[0], 60, seed=0)
    store = PatchStore.open(tmp_path / ".patches", drawn)
    assert np.array_equal(store.patches, patches_by_hand(drawn))
    assert store.slides().tolist() == [0] * 20 + [1] * 20 + [2] * 20
    store.remove()
    assert not list(tmp_path.glob(".patches*"))


def test_a_slide_that_is_read_in_bands_keeps_its_order(items, tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.patches.reading, "_BAND_PIXELS", 100)
    drawn = draw(find_candidates(items, options=LAYOUT)[0], 300, seed=0)
    store = PatchStore.open(tmp_path / ".patches", drawn)
    assert np.array_equal(store.patches, patches_by_hand(drawn))


def test_a_slide_that_fails_while_it_is_read_leaves_no_row(items, tmp_path, monkeypatch, caplog):
    real = embedder.pretraining.store.iter_patches

    def failing(slide, grid, *, batch_size):
        for number, batch in enumerate(real(slide, grid, batch_size=8)):
            if slide.path.stem == "b" and number == 1:
                raise SlideError("b.tif: a tile is damaged")
            yield batch

    monkeypatch.setattr(embedder.pretraining.store, "iter_patches", failing)
    drawn = draw(find_candidates(items, options=LAYOUT)[0], 60, seed=0)
    expected = patches_by_hand([drawn[0], drawn[2]])
    for _ in range(2):  # the second time it is not read again
        store = PatchStore.open(tmp_path / ".patches", drawn)
        assert np.array_equal(store.patches, expected)
        assert store.failures == [(str(items[1].path), "b.tif: a tile is damaged")]
        store.close()
        monkeypatch.setattr(embedder.pretraining.store, "iter_patches", None)
    monkeypatch.setattr(embedder.pretraining.store, "iter_patches", failing)
    with pytest.raises(SlideError, match=r"no slide could be read: b\.tif"):
        PatchStore.open(tmp_path / ".others", drawn[1:2])


def test_other_patches_are_read_anew(items, tmp_path):
    plans, _ = find_candidates(items, options=LAYOUT)
    for seed in (0, 1):
        drawn = draw(plans, 60, seed=seed)
        store = PatchStore.open(tmp_path / ".patches", drawn)
        assert np.array_equal(store.patches, patches_by_hand(drawn))
        store.close()


def test_probes_share_no_pixel_and_are_neighbours(items):
    plans, _ = find_candidates(items, options=LAYOUT)
    drawn = draw_probes(plans, 75, seed=0)
    for each in drawn:
        grid = each.grid
        assert len(grid) == 25
        assert grid.stride == 32
        # 25 patches around one are at most a circle of five, or against an edge a wider part of one.
        assert np.ptp(grid.column) <= 9
        assert np.ptp(grid.row) <= 9
        assert len({*zip(grid.x0.tolist(), grid.y0.tolist(), strict=True)}) == 25


def test_probes_have_the_label_that_covers_them(items, tmp_path):
    truth = tmp_path / "truth"
    truth.mkdir()
    # At a quarter of the scale: 5 left of level-0 x = 200, 9 right of it, for the first slide alone.
    mask = np.full((128, 128), 9, np.uint8)
    mask[:, :50] = 5
    Image.fromarray(mask).save(truth / "a_mask.png")
    plans, failures = find_candidates(items, options=LAYOUT, truth=truth)
    assert failures == []
    (drawn,) = draw_probes(plans, 100, seed=0)
    assert drawn.item.name == "a"
    assert len(drawn.labels) == len(drawn.grid) == 100
    assert set(drawn.labels.tolist()) == {5, 9}
    centres = drawn.grid.centres[:, 0]
    assert (drawn.labels[centres < 190] == 5).all()
    assert (drawn.labels[centres > 210] == 9).all()


def test_patches_where_a_slide_is_damaged_are_of_another_level_or_leave_no_row(tmp_path, caplog):
    whole, damaged = (
        SlideInput(write_pyramid(tmp_path / f"{name}.tif", tissue(1200, 1000)))
        for name in ("whole", "damaged")
    )
    drawn = {}
    for item in (whole, damaged):
        (drawn[item],) = draw(find_candidates([item], options=LAYOUT)[0], 3000, seed=0)
    # One tile is lost at all levels, and one at level 0 alone.
    spoil(damaged.path, (0, 6, 5), *((level, 3 // 2**level, 2 // 2**level) for level in range(4)))
    x, y = drawn[damaged].grid.x0, drawn[damaged].grid.y0
    lost = (x + 32 > 3 * 128) & (x < 4 * 128) & (y + 32 > 2 * 128) & (y < 3 * 128)
    mended = (x + 32 > 6 * 128) & (x < 7 * 128) & (y + 32 > 5 * 128) & (y < 6 * 128)
    expected = PatchStore.open(tmp_path / ".whole", [drawn[whole]]).patches.astype(int)
    for _ in range(2):  # the second time it is not read again
        store = PatchStore.open(tmp_path / ".patches", [drawn[damaged], drawn[whole]], damage_limit=0.1)
        assert store.failures == []
        found = store.patches[: int((~lost).sum())].astype(int)
        assert np.array_equal(store.patches[len(found) :], expected)
        assert np.array_equal(found[~mended[~lost]], expected[~lost & ~mended])
        off = np.abs(found[mended[~lost]] - expected[mended])
        assert 0 < off.mean() < 6
        assert len(store.slides()) == len(store.places()) == len(store.patches) == 2 * len(lost) - lost.sum()
        store.close()
    assert f"{lost.sum()} others left out, which no level has" in caplog.text
    with pytest.raises(SlideError, match=r"no slide could be read: .*--damage-limit"):
        PatchStore.open(tmp_path / ".few", [drawn[damaged]])
    # What failed is tried again where more is allowed.
    assert PatchStore.open(tmp_path / ".few", [drawn[damaged]], damage_limit=0.1).failures == []
    # And what did is looked at again where less is.
    with pytest.raises(SlideError, match=r"no slide could be read: .*--damage-limit"):
        PatchStore.open(tmp_path / ".few", [drawn[damaged]])
