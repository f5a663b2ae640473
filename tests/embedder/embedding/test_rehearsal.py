"""What a run needs at its end is tried before its first patch."""

import errno
import tempfile
from types import SimpleNamespace

import h5py
import numba
import numpy as np
import pytest
from making.embeddings import MeanEncoder, write_ramp

import embedder.embedding.encoding
import embedder.embedding.rehearsal
import embedder.embedding.slide
from embedder.embedding import rehearsal, umap
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.rehearsal import RehearsalError
from embedder.files.combine import add_embedding
from embedder.files.convert import convert
from embedder.files.share import share
from tissuumaps_sic.slidefile.contract import check

PLAIN = EmbedOptions(umap=False, min_tissue=0.5)


@pytest.fixture
def encoder(monkeypatch):
    encoder = MeanEncoder()
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    return encoder


@pytest.fixture(autouse=True)
def untried():
    rehearsal.try_last_steps.cache_clear()
    yield
    rehearsal.try_last_steps.cache_clear()


def test_a_umap_that_cannot_run_ends_the_run_before_the_first_patch(encoder, tmp_path, monkeypatch):
    def refuse(*args):
        raise RuntimeError("cannot cache function 'rdist':\nno locator available")

    monkeypatch.setattr(umap, "_umap", refuse)
    slides = [write_ramp(tmp_path / "a.tif")]
    with pytest.raises(RehearsalError) as refused:
        embed_slides(slides, tmp_path / "out", EmbedOptions(min_tissue=0.5))
    assert "cannot cache function 'rdist': no locator available" in str(refused.value)
    assert "--no-umap" in str(refused.value)
    assert encoder.encoded == 0
    assert list((tmp_path / "out").iterdir()) == []
    # Without it nothing stands in the way.
    assert embed_slides(slides, tmp_path / "out", PLAIN)[0].status == "done"


def test_a_umap_that_fails_at_the_end_loses_nothing(encoder, tmp_path, monkeypatch):
    slide, options = write_ramp(tmp_path / "a.tif"), EmbedOptions(min_tissue=0.5)
    monkeypatch.setattr("embedder.embedding.rehearsal.rehearse", lambda: None)

    def fail(X):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("embedder.embedding.slide.fit_umap", fail)
        (result,) = embed_slides([slide], tmp_path / "out", options)
    assert result.status == "failed"
    assert "memory" in result.message
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".a.partial"]
    encoded = encoder.encoded
    monkeypatch.setattr(
        "embedder.embedding.slide.fit_umap",
        lambda X: (np.zeros((len(X), 2), "f4"), np.zeros((len(X), 3), "f4")),
    )
    (again,) = embed_slides([slide], tmp_path / "out", options)
    assert again.status == "done"
    assert encoder.encoded == encoded


def test_numba_is_given_a_place_for_its_cache_where_it_has_none(tmp_path, monkeypatch):
    from numba.core.caching import _CacheLocator

    ensure = _CacheLocator.ensure_cache_path

    def only_temporary(self):
        if not self.get_cache_path().startswith(tempfile.gettempdir()):
            raise PermissionError(errno.EROFS, "Read-only file system")
        ensure(self)

    monkeypatch.setattr(_CacheLocator, "ensure_cache_path", only_temporary)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    umap._find_cache.cache_clear()
    umap._find_cache()
    assert numba.config.CACHE_DIR.startswith(tempfile.gettempdir())
    numba.njit(cache=True)(only_temporary)  # as UMAP does when it is imported
    umap._find_cache.cache_clear()


def test_numba_keeps_its_own_place_where_it_has_one(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    umap._find_cache.cache_clear()
    umap._find_cache()
    assert numba.config.CACHE_DIR == ""


def test_a_temporary_folder_that_is_not_there_is_told_once_and_is_no_hindrance(
    encoder, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    slides = [write_ramp(tmp_path / f"{name}.tif") for name in "ab"]
    results = embed_slides(slides, tmp_path / "out", PLAIN)
    assert [each.status for each in results] == ["done", "done"]
    told = [record.getMessage() for record in caplog.records if "TMPDIR" in record.getMessage()]
    assert len(told) == 1
    assert "/nonexistent" in told[0]


def test_too_little_room_is_told_before_the_first_patch(encoder, tmp_path, monkeypatch):
    slide = write_ramp(tmp_path / "a.tif")
    monkeypatch.setattr(rehearsal.shutil, "disk_usage", lambda _: SimpleNamespace(free=50_000))
    (result,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert result.status == "failed"
    assert f"{tmp_path / 'out'}: about 0.1 MB are needed" in result.message
    assert "0.1 MB are free" in result.message
    assert encoder.encoded == 0
    assert list((tmp_path / "out").iterdir()) == []


def test_what_an_earlier_run_reserved_is_not_asked_for_again(tmp_path, monkeypatch):
    begun = tmp_path / ".a.partial"
    begun.mkdir()
    (begun / "X").write_bytes(b"x" * 10**6)
    monkeypatch.setattr(rehearsal.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_200_000))
    rehearsal.require_room(tmp_path, begun=begun, embeddings=10**6, beside=1000)
    with pytest.raises(OSError, match="are needed") as full:
        rehearsal.require_room(tmp_path, begun=tmp_path / "none", embeddings=10**6, beside=1000)
    assert full.value.errno == errno.ENOSPC


class FileWithoutLocks(h5py.File):
    """As on a disk whose server has no locks: the HDF5 library finds none."""

    def __init__(self, name, mode="r", **options):
        if options.get("locking") is not False:
            raise OSError("Unable to synchronously open file (unable to lock file, errno = 37)")
        super().__init__(name, mode, **options)


def test_a_disk_without_locks_takes_every_file(encoder, tmp_path, monkeypatch):
    slide = write_ramp(tmp_path / "a.tif")
    monkeypatch.setattr(h5py, "File", FileWithoutLocks)
    (made,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert made.status == "done", made.message
    h5ad = tmp_path / "out" / "a.h5ad"
    shared = share(h5ad, tmp_path / "shared")
    converted = convert(h5ad, tmp_path / "b.h5ad", mpp=0.5, patch_size0=256, umap=False)
    add_embedding(h5ad, shared.path, name="again")
    for path in (h5ad, shared.path, converted.path):
        assert check(path) == []
