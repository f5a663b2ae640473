"""What the page draws its fine map from is what exports are made of, wherever the border is put."""

import h5py
import numpy as np
import pytest
from making.labels import cell_centres, plan, write_grid_h5ad
from making.server import ask

from tissuumaps_sic.annotation.cells import sharpen_labels
from tissuumaps_sic.annotation.runs import replay
from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.labelling.sharpen import find_middle
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server

SIDE = 4


@pytest.fixture
def slide(tmp_path):
    """Two tissues, whose border is within patches, and a corner of glass."""
    grid = plan((2600, 1900))
    places = cell_centres(grid, SIDE)
    truth = (places[..., 0] < grid.columns / 2 * grid.stride + 40).astype(int)
    tissue = np.where((places[..., 0] < 500) & (places[..., 1] < 400), 0, 100).astype(np.uint8)
    values = 2.5 * np.eye(2, 6)[truth] + np.random.default_rng(0).standard_normal((*truth.shape, 6))
    return write_grid_h5ad(tmp_path / "slide.h5ad", grid, fine=(values, tissue)), grid, tissue


class Asking:
    """A page's requests about the shared session."""

    def __init__(self, h5ad):
        self.h5ad, self.server, self.revision = h5ad, Server(), 0

    def __call__(self, endpoint, *, seen=True, **content):
        more = {"revision": self.revision} if seen else {}
        found = ask(self.server, endpoint, self.h5ad.parent, {"h5ad": self.h5ad.name, **more, **content})
        state = found[0] if isinstance(found, tuple) else found
        self.revision = state.get("revision", self.revision)
        return found

    def seed(self, grid):
        """Seed one patch of each tissue, far from the border."""
        left, right = (int(np.flatnonzero(grid.column == column)[3]) for column in (1, grid.columns - 2))
        for label, row in ((1, left), (0, right)):
            self("change", change={"kind": "seed", "label": label, "patches": [row]})
        return {left: 1, right: 0}


def test_the_lattice_tells_where_each_cell_lies_and_what_is_glass(slide):
    h5ad, grid, tissue = slide
    header, places, glass = Asking(h5ad)("lattice", seen=False)
    assert header["side"] == SIDE
    assert header["fine"]
    assert header["middle"] == find_middle(SIDE)
    # The middle of each patch, from corner, size and place, as a page finds it.
    middles = np.add(header["corner"], (places + 0.5) * SIDE * np.array(header["size"]))
    assert np.allclose(middles, grid.centres)
    assert np.array_equal(glass.reshape(tissue.shape), tissue == 0)


@pytest.mark.parametrize("border", [None, 0.2, 0.37, 0.9])
def test_the_page_is_sent_the_labels_that_are_exported(slide, border):
    h5ad, grid, _ = slide
    page = Asking(h5ad)
    page.seed(grid)
    page("run", **({} if border is None else {"border": border}))
    header, labels, own, positive, rest = page("cells")
    assert header["side"] == SIDE
    opened = open_slide_file(h5ad)
    labelled = replay(opened, load_session(session_path(h5ad), opened))
    found = sharpen_labels(labelled)
    assert [each.name for each in labelled.classes] == ["Other", "Tumour"]
    assert np.array_equal(labels.reshape(found.labels.shape), found.labels)
    for sent, scores in ((own, found.scores), (positive, found.every[..., 1])):
        assert np.abs(sent.reshape(scores.shape) / 100 - scores + 0.005).max() <= 0.0051
    assert (rest == 0).all()


def test_a_border_that_a_page_draws_by_itself_is_the_one_that_a_run_gives(slide):
    h5ad, grid, _ = slide
    page = Asking(h5ad)
    seeds = page.seed(grid)
    page("run")
    _, _, _, positive, rest = page("cells")
    counts = []
    for border in (0.0, 0.05, 0.5, 0.83, 1.0):
        # As `moveBorder` of the page.
        drawn = np.where(positive >= round(100 * border), 1, rest)
        for row, label in seeds.items():
            drawn[row, find_middle(SIDE)] = label
        page("run", border=border)
        assert np.array_equal(page("cells")[1], drawn)
        counts.append(int((drawn == 1).sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > counts[-1]


def test_without_labels_there_are_no_cells_and_it_is_said_what_to_do(slide):
    with pytest.raises(SicError, match="no labels yet; seed every class and run"):
        Asking(slide[0])("cells")


@pytest.fixture
def sharpened(monkeypatch):
    """How often anything was sharpened."""
    import tissuumaps_sic.slides.cells as cells

    calls, real = [], cells.sharpen

    def count(*given, **how):
        calls.append(given)
        return real(*given, **how)

    monkeypatch.setattr(cells, "sharpen", count)
    return calls


def test_regions_map_and_report_of_a_run_are_sharpened_once(slide, sharpened):
    h5ad, grid, _ = slide
    page = Asking(h5ad)
    seeds = page.seed(grid)
    page("run")
    page("regions")
    first = page("cells", job="a" * 24)[1:]
    page("export", format="html")
    assert len(sharpened) == 1
    # Another run is another one, and the first is still known when its seeds are back.
    more = int(np.flatnonzero(grid.column == 2)[5])
    page("change", change={"kind": "seed", "label": 1, "patches": [more]})
    page("run")
    second = page("cells")[1:]
    assert len(sharpened) == 2
    assert (second[0][more, find_middle(SIDE)] == 1).all()
    assert more not in seeds
    page("run", border=0.9)
    third = page("cells")[1:]
    page("regions")
    assert len(sharpened) == 2
    assert (third[0] == 1).sum() < (second[0] == 1).sum()
    page("change", change={"kind": "undo"})
    page("run")
    assert all(np.array_equal(one, other) for one, other in zip(page("cells")[1:], first, strict=True))
    assert len(sharpened) == 2


def test_what_was_stopped_is_neither_kept_nor_answered_from_what_is(slide, sharpened):
    h5ad, grid, _ = slide
    page = Asking(h5ad)
    page.seed(grid)
    page("run")
    for job, n_calls in (("a" * 24, 1), ("b" * 24, 2)):
        page("cancel", seen=False, job=job)
        with pytest.raises(SicError, match="stopped") as caught:
            page("cells", job=job)
        assert caught.value.status == 499
        assert len(sharpened) == n_calls  # begun anew: nothing was kept
    page("cells", job="c" * 24)
    page("cells", job="d" * 24)
    assert len(sharpened) == 3
    page("cancel", seen=False, job="e" * 24)
    with pytest.raises(SicError, match="stopped"):
        page("cells", job="e" * 24)


def test_patches_on_no_grid_have_no_lattice(small_h5ad, monkeypatch):
    import tissuumaps_sic.viewer.cells as cells
    from tissuumaps_sic.slidefile.h5ad import SlideFileError

    def fail(_):
        raise SlideFileError("x.h5ad: the patches lie on no grid")

    monkeypatch.setattr(cells, "open_cells", fail)
    with pytest.raises(SicError, match="on no grid") as caught:
        Asking(small_h5ad)("lattice", seen=False)
    assert caught.value.status == 422


def write_pieces(path, off):
    """A slide of two pieces of tissue, the second with its own grid, off by a share of a stride in y."""
    grid = plan((2600, 1900))
    second = grid.column > grid.columns / 2
    h5ad = write_grid_h5ad(path, grid)
    with h5py.File(h5ad, "r+") as file:
        file["obsm/spatial"][...] = grid.centres + np.outer(second, [0, round(off * 128)])
    return h5ad


@pytest.mark.parametrize("off", [0.15, 0.45])
def test_patches_on_several_grids_have_no_lattice(tmp_path, off):
    """Drawn as a picture a piece would lie up to half a stride beside its tissue."""
    h5ad = write_pieces(tmp_path / "pieces.h5ad", off)
    with pytest.raises(SicError, match=r"pieces.h5ad: \d+ of \d+ patches do not lie on one grid") as caught:
        Asking(h5ad)("lattice", seen=False)
    assert caught.value.status == 422


@pytest.mark.parametrize("mpp", [(0.5, 0.5), (0.37, 0.41), (3.9, 3.9)], ids=str)
def test_patches_rounded_to_pixels_are_on_the_grid(tmp_path, mpp):
    grid = plan((2600, 1900), mpp=mpp, patch_size=64 if mpp[0] > 1 else 256, target_mpp=max(mpp[0], 0.5))
    _, places, _ = Asking(write_grid_h5ad(tmp_path / "a.h5ad", grid))("lattice", seen=False)
    assert len(places) == len(grid)


def test_pieces_that_are_off_by_little_have_one(tmp_path):
    _, places, _ = Asking(write_pieces(tmp_path / "pieces.h5ad", 0.05))("lattice", seen=False)
    assert len(places)
