"""An HDF5 file whose reading would never end is told before it is read."""

import h5py
import numpy as np
import pytest

from tissuumaps_sic.slidefile import h5ad, heaps
from tissuumaps_sic.slidefile.contract import check
from tissuumaps_sic.slidefile.heaps import has_endless_heap


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = np.arange(2**19, dtype=np.float32)
        for k in range(5):
            file["X"].attrs[f"a{k}"] = "x" * 40
    return path


def spoil(path):
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 100
    content[place : place + 500] = bytes(500)
    path.write_bytes(content)


@pytest.mark.parametrize("small", [0, 2**26])
def test_zeros_in_a_heap_are_found(path, monkeypatch, small):
    monkeypatch.setattr(heaps, "_PATIENCE_SECONDS", 3)
    monkeypatch.setattr(heaps, "_SMALL", small)
    monkeypatch.setattr(heaps, "_BLOCK", 2**16)
    assert not has_endless_heap(path)
    spoil(path)
    assert has_endless_heap(path)
    (problem,) = check(path)
    assert problem.rule == "file"
    assert "zeros" in problem.what


def test_a_heap_that_the_file_has_given_up_is_no_reason(path):
    content = path.read_bytes()
    heap = content[content.index(b"GCOL") :][:4096]
    with h5py.File(path, "r+") as file:
        file["old"] = np.frombuffer(heap[:200] + bytes(3896), np.uint8)
    assert not has_endless_heap(path)


def test_a_compressed_file_is_looked_through_but_for_its_chunks(path, monkeypatch):
    monkeypatch.setattr(heaps, "_PATIENCE_SECONDS", 3)
    monkeypatch.setattr(heaps, "_SMALL", 0)
    monkeypatch.setattr(heaps, "_BLOCK", 2**12)
    with h5py.File(path, "r+") as file:
        heap = b"GCOL\x01\0\0\0" + (4096).to_bytes(8, "little") + bytes(4080)
        noise = np.random.default_rng(0).integers(0, 256, (64, 2**12), dtype=np.uint8)
        noise[::7] = np.frombuffer(heap, np.uint8)
        file.create_dataset("obsm/X_a", data=noise, chunks=(1, 2**12), shuffle=True)
    assert len(list(heaps._large_extents(path))) > 64
    assert not has_endless_heap(path)
    spoil(path)
    assert has_endless_heap(path)


def test_the_viewer_tells_it_and_looks_once(path, monkeypatch):
    monkeypatch.setattr(heaps, "_PATIENCE_SECONDS", 3)
    asked = []
    monkeypatch.setattr(h5ad, "has_endless_heap", lambda path: asked.append(path) or has_endless_heap(path))
    for _ in range(2):
        with h5ad.open_h5ad(path):
            pass
    assert asked == [path]
    spoil(path)
    with pytest.raises(h5ad.SlideFileError, match=r"a\.h5ad: has zeros"), h5ad.open_h5ad(path):
        pass
