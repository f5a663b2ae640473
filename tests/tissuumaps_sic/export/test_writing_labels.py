"""Labels that go into the slide's own h5ad: its mode, its links, what is left behind, and who else writes."""

import errno
import os
import stat
import threading

import h5py
import numpy as np
import pytest
from making.files import write_small_h5ad
from making.labels import labelled
from making.server import ask

from tissuumaps_sic.annotation.store import editing
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.viewer.endpoints import Server


@pytest.fixture
def known(small_h5ad):
    """A slide with labels, and what writes them without a run."""
    return labelled(small_h5ad, np.arange(96) % 3)


def write(known, target=None):
    write_labels(known, target or known.slide.path)


def has_labels(h5ad):
    with h5py.File(h5ad) as file:
        return "sic_label" in file["obs"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_labels_are_written_into_keeps_its_mode(known, small_h5ad, mode):
    small_h5ad.chmod(mode)
    write(labelled(small_h5ad, known.labels))
    assert has_labels(small_h5ad)
    assert stat.S_IMODE(small_h5ad.stat().st_mode) == mode


def test_a_link_is_followed_and_stays(known, small_h5ad, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "called.h5ad"
    link.symlink_to(small_h5ad)
    write(known, link)
    assert link.is_symlink()
    assert has_labels(small_h5ad)
    assert sorted(path.name for path in link.parent.iterdir()) == ["called.h5ad"]


def test_copies_that_killed_writers_left_are_removed_and_nothing_else(known, small_h5ad):
    folder = small_h5ad.parent
    left = [folder / f".small-{number:08x}.h5ad" for number in (1, 2**31)]
    others = [folder / name for name in (".small-x.h5ad", ".smaller-00000001.h5ad", ".small-00000001.json")]
    for path in (*left, *others):
        path.write_bytes(b"half")
    write(known)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_copies_of_an_embedder_at_work_and_of_exports_elsewhere_stay(known, small_h5ad, tmp_path):
    living = small_h5ad.with_name(".small-00000001.h5ad")
    living.write_bytes(b"half")
    lock = small_h5ad.with_name(".small.lock")
    lock.touch()
    write(known)
    assert living.exists()
    lock.unlink()
    (tmp_path / "out").mkdir()
    again = labelled(small_h5ad, known.labels)
    write(again, tmp_path / "out" / "small.h5ad")
    assert living.exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.h5ad"]
    write(again)
    assert not living.exists()


def test_the_thread_that_keeps_others_from_the_session_writes_and_another_waits(
    known, small_h5ad, monkeypatch
):
    with editing(small_h5ad):
        write(known)
    assert has_labels(small_h5ad)
    monkeypatch.setattr("tissuumaps_sic.slidefile.locking._PATIENCE_SECONDS", 0.1)
    told = []

    def other():
        with pytest.raises(Exception, match="another program has been writing") as caught:
            write(labelled(small_h5ad, np.arange(96) % 3))
        told.append(caught.value)

    with editing(small_h5ad):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(told) == 1


def test_labels_of_embeddings_that_were_replaced_since_are_not_written(known, small_h5ad, tmp_path):
    (tmp_path / "new").mkdir()
    other = write_small_h5ad(tmp_path / "new" / "small.h5ad", seed=5)
    other.replace(small_h5ad)
    whole = small_h5ad.read_bytes()
    with pytest.raises(ExportError, match="has changed its embeddings since it was opened; nothing was"):
        write(known)
    assert small_h5ad.read_bytes() == whole


@pytest.mark.parametrize("key", ["obs", "uns"])
def test_labels_are_never_written_into_another_file(known, small_h5ad, tmp_path, key):
    (tmp_path / "elsewhere").mkdir()
    outside = write_small_h5ad(tmp_path / "elsewhere" / "small.h5ad")
    with h5py.File(outside, "r+") as file:
        file.require_group("uns")["sic"] = "theirs"
    whole = outside.read_bytes()
    with h5py.File(small_h5ad, "r+") as file:
        del file[key]
        file[key] = h5py.ExternalLink(str(outside), key)
    with pytest.raises(SlideFileError, match=f"{key} lies in another file"):
        write(known)
    with pytest.raises(SicError, match=f"{key} lies in another file") as caught:
        ask(Server(), "write", small_h5ad.parent, {"h5ad": small_h5ad.name, "revision": 1})
    assert caught.value.status == 422
    assert outside.read_bytes() == whole


def test_a_full_disk_is_told_with_the_files_name(known, small_h5ad, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tissuumaps_sic.export.h5ad.shutil.copyfile", full)
    with pytest.raises(OSError, match=r"No space left on device: .*small\.h5ad"):
        write(known)
    assert [path.name for path in small_h5ad.parent.glob(".small-*")] == []


@pytest.mark.parametrize("spoil", ["group", "number", "dangling link"])
@pytest.mark.parametrize(
    "name", [each for each in FORMATS if each not in ("csv", "parquet", "h5ad", "lazyslide")]
)
def test_no_export_fails_without_words_where_the_provenance_is_no_text(
    known, small_h5ad, tmp_path, spoil, name
):
    with h5py.File(small_h5ad, "r+") as file:
        uns = file.require_group("uns")
        uns["embedder"] = h5py.SoftLink("/nowhere") if spoil == "dangling link" else 3
        if spoil == "group":
            del uns["embedder"]
            uns.create_group("embedder")
    words = "leads nowhere" if spoil == "dangling link" else r"uns\['embedder'\].*cannot be read"
    with pytest.raises(SlideFileError, match=words):
        FORMATS[name].write(known, tmp_path / f"out.{name}")
    assert not (tmp_path / f"out.{name}").exists()
