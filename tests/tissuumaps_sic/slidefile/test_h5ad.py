"""An h5ad at the door: what is not its own, what it does not hold, and rows of a file that changes."""

import os
import shutil
import threading
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.slidefile import h5ad as door
from tissuumaps_sic.slidefile import matrix
from tissuumaps_sic.slidefile.h5ad import SlideFileError, open_h5ad, require_own
from tissuumaps_sic.slidefile.matrix import open_matrix
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import open_slide_file, outline


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace_by(key, link):
    def change(file):
        if file.get(key, getlink=True) is not None:
            del file[key]
        file[key] = link

    return change


@pytest.fixture
def other(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return write_small_h5ad(tmp_path / "elsewhere" / "other.h5ad", seed=1)


@pytest.mark.parametrize(
    "key", ["X", "obs", "obs/x0", "obsm", "obsm/spatial", "obsm/X_more", "uns", "uns/embedder"]
)
def test_a_link_to_another_file_is_refused_wherever_it_is_and_that_file_not_touched(small_h5ad, other, key):
    changed(other, lambda file: file.require_group("uns").create_dataset("embedder", data="{}"))
    whole = other.read_bytes()
    there = key if key in ("X", "obs", "obs/x0", "obsm", "obsm/spatial", "uns", "uns/embedder") else "X"
    changed(small_h5ad, replace_by(key, h5py.ExternalLink(str(other), there)))
    for read in (open_slide_file, outline, read_provenance):
        with pytest.raises(
            SlideFileError, match=rf"small\.h5ad: {key} lies in another file; write"
        ) as caught:
            read(small_h5ad)
        assert "\n" not in str(caught.value)
    assert other.read_bytes() == whole


def test_a_link_within_the_file_that_leads_out_by_another_one_is_refused(small_h5ad, other):
    def change(file):
        file["door"] = h5py.ExternalLink(str(other), "/")
        replace_by("uns", h5py.SoftLink("/door/uns"))(file)

    changed(other, lambda file: file.require_group("uns"))
    changed(small_h5ad, change)
    with pytest.raises(SlideFileError, match="uns lies in another file"):
        open_slide_file(small_h5ad)


def test_a_link_within_the_file_is_followed(small_h5ad):
    expected = anndata.read_h5ad(small_h5ad).obsm["spatial"]

    def change(file):
        file.move("obsm/spatial", "places")
        file["obsm/spatial"] = h5py.SoftLink("/places")
        file["uns/itself"] = file["uns"]

    changed(small_h5ad, change)
    assert np.array_equal(open_slide_file(small_h5ad).centres, expected)


@pytest.mark.parametrize("key", ["obs", "obsm/X_umap", "uns/embedder"])
def test_links_that_lead_nowhere_or_round_in_a_circle_are_refused(small_h5ad, key):
    for target in ("/nowhere", f"/{key}"):
        changed(small_h5ad, replace_by(key, h5py.SoftLink(target)))
        with pytest.raises(SlideFileError, match=rf"small\.h5ad: {key} is a link that leads nowhere"):
            open_slide_file(small_h5ad)


@pytest.mark.parametrize("key", ["X", "obsm/spatial", "obs/tissue"])
def test_data_that_lie_in_other_files_are_refused(small_h5ad, other, key):
    def virtual(file):
        shape = {"X": (96, 16), "obsm/spatial": (96, 2), "obs/tissue": (96,)}[key]
        layout = h5py.VirtualLayout(shape, "f8")
        source = h5py.VirtualSource(str(other), "X", (96, 16))
        layout[...] = source[:, : shape[1]] if len(shape) == 2 else source[:, 0]
        if key in file:
            del file[key]
        file.create_virtual_dataset(key, layout)

    def external(file):
        if key in file:
            del file[key]
        file.create_dataset(key, (96, 2), "f8", external=[(str(other), 0, 96 * 16)])

    for change in (virtual, external):
        changed(small_h5ad, change)
        with pytest.raises(SlideFileError, match=rf"{key} lies in another file"):
            open_slide_file(small_h5ad)


def test_own_files_are_what_can_be_written_to(small_h5ad, other):
    changed(small_h5ad, replace_by("uns", h5py.ExternalLink(str(other), "/")))
    with (
        h5py.File(small_h5ad, "r+") as file,
        pytest.raises(SlideFileError, match="copy: uns lies in another"),
    ):
        require_own(file, "copy")


def declare(n, *, chunks, **more):
    def change(file):
        del file["X"]
        file.create_dataset("X", (n, 16), "f4", chunks=chunks, **more)

    return change


@pytest.mark.parametrize("n", [96, 10**8])
def test_a_matrix_that_the_file_does_not_hold_is_refused_at_once(small_h5ad, n):
    def names(file):
        # As many names and places, or the numbers would tell.
        index = file["obs"].attrs["_index"]
        del file[f"obs/{index}"], file["obsm/spatial"]
        file.create_dataset(f"obs/{index}", (n,), h5py.string_dtype(), chunks=(4096,), compression="gzip")
        file.create_dataset("obsm/spatial", (n, 2), "f8", chunks=(4096, 2), compression="gzip")

    changed(small_h5ad, declare(n, chunks=(64, 16), compression="gzip"))
    if n > 96:
        with pytest.raises(SlideFileError, match=r"declares 100000000 patches in \d+ bytes, which cannot be"):
            open_slide_file(small_h5ad)
        changed(small_h5ad, names)
    with pytest.raises(SlideFileError, match=r"small\.h5ad.*declares"):
        open_slide_file(small_h5ad)
    with pytest.raises(SlideFileError, match="declares"):
        outline(small_h5ad)


def test_shapes_are_looked_at_before_names_and_places(small_h5ad, monkeypatch):
    changed(small_h5ad, declare(97, chunks=None))
    monkeypatch.setattr(
        "tissuumaps_sic.slides.slide.read_names", lambda index: pytest.fail("names were read")
    )
    with pytest.raises(SlideFileError, match="has 96 names for 97 patches"):
        open_slide_file(small_h5ad)


def test_what_unpacks_to_far_more_than_it_is_is_refused(small_h5ad, monkeypatch):
    monkeypatch.setattr(door, "_ALWAYS_UNPACKED", 0)
    monkeypatch.setattr(door, "_MOST_UNPACKED", 5)
    with h5py.File(small_h5ad, "r+") as file:
        X = file["X"][()] * 0
        del file["X"]
        file.create_dataset("X", data=X, chunks=(96, 16), compression="gzip")
    with pytest.raises(SlideFileError, match=r"X declares 6\.1 KB and the file holds \d+ bytes of it"):
        open_slide_file(small_h5ad)


def matrix_of(path, values, **layout):
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=values, **layout)
    with open_h5ad(path) as file:
        return open_matrix(path, file["X"])


LAYOUTS = {
    "plain": ({}, "<f4"),
    "half": ({}, "<f2"),
    "double": ({}, "<f8"),
    "big endian": ({}, ">f4"),
    "gzip": ({"compression": "gzip", "chunks": (7, 3)}, "<f4"),
    "chunks": ({"chunks": (10, 5)}, "<f2"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_those_that_numpy_would_give(tmp_path, layout, monkeypatch):
    monkeypatch.setattr(matrix, "_GAP_BYTES", 60)
    monkeypatch.setattr(matrix, "_SPAN_BYTES", 200)
    made, dtype = LAYOUTS[layout]
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 5)).astype(dtype)
    X = matrix_of(tmp_path / "x.h5ad", values, **made)
    assert (X.shape, X.dtype, len(X), X.ndim, X.nbytes) == ((50, 5), values.dtype, 50, 2, values.nbytes)
    indices = [
        3,
        -1,
        slice(4, 9),
        slice(None),
        slice(9, 2),
        slice(1, 40, 7),
        [],
        [5, 5, 2],
        np.arange(50) % 3 == 0,
    ]
    indices += [np.sort(rng.choice(50, n, replace=False)) for n in (1, 4, 20, 45)]
    for rows in [*indices, rng.integers(0, 50, 30), np.array([[1, 2], [3, 0]])]:
        expected = values[np.asarray(rows, np.intp) if isinstance(rows, list) else rows]
        assert X[rows].dtype == values.dtype
        assert np.array_equal(X[rows], expected)
    assert np.array_equal(np.asarray(X), values)
    assert np.asarray(X, np.float64).dtype == np.float64
    for wrong in (50, -51, [0, 50]):
        with pytest.raises(IndexError, match="not one of 50"):
            X[wrong]


def rewrite(path):
    path.write_bytes(bytes(path.stat().st_size))


def rewrite_with_the_same_times(path):
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


CHANGES = [rewrite, rewrite_with_the_same_times, cut, empty]


@pytest.mark.parametrize("layout", ["plain", "gzip"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_changed_gives_an_error_and_never_its_new_rows(tmp_path, layout, change):
    path = tmp_path / "x.h5ad"
    X = matrix_of(path, np.ones((5000, 8), np.float32), **LAYOUTS[layout][0])
    assert X[[1, 4]].all()
    change(path)
    for rows in (0, slice(None), [1, 4000]):
        with pytest.raises(
            SlideFileError, match=r"x\.h5ad: was (rewritten|cut short) while it was read; open it"
        ):
            X[rows]


@pytest.mark.parametrize(
    "take_away", [os.unlink, lambda path: Path(shutil.copy(path, f"{path}.new")).replace(path)]
)
def test_what_was_opened_stays_whole_when_its_name_goes_to_another_file(tmp_path, take_away):
    """No row of the new file is read: the old one is there until nobody has it open."""
    path = tmp_path / "x.h5ad"
    X = matrix_of(path, np.ones((50, 8), np.float32))
    take_away(path)
    assert (np.asarray(X) == 1).all()


def test_a_packed_file_that_is_gone_or_another_one_is_told(tmp_path):
    path = tmp_path / "x.h5ad"
    X = matrix_of(path, np.ones((50, 8), np.float32), compression="gzip")
    path.rename(tmp_path / "away")
    with pytest.raises(SlideFileError, match="was removed while it was read; put it back"):
        X[:]


def test_nothing_of_a_closed_slide_is_kept_open(tmp_path):
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("needs /proc")
    X = matrix_of(tmp_path / "x.h5ad", np.ones((50, 8), np.float32))
    n_open = len(list(handles.iterdir()))
    del X
    assert len(list(handles.iterdir())) == n_open - 1


def test_opening_one_slide_does_not_wait_for_another_and_one_is_opened_once(
    small_h5ad, tmp_path, monkeypatch
):
    other = write_small_h5ad(tmp_path / "other.h5ad")
    begun, go_on, opened_paths = threading.Event(), threading.Event(), []

    def slow(path, embedding):
        opened_paths.append(path)
        if path == small_h5ad:
            begun.set()
            assert go_on.wait(60)
        return open_slide_file(path, embedding)

    monkeypatch.setattr("tissuumaps_sic.slides.cache.open_slide_file", slow)
    cache, found = SlideCache(), []
    threads = [threading.Thread(target=lambda: found.append(cache.get(small_h5ad))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert cache.get(other).n_patches == 96
    assert not found
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found[0] is found[1] is found[2]
    assert opened_paths == [small_h5ad, other]
    assert not cache._openings
