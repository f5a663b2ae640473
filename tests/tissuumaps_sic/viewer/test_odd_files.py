"""Files that are replaced, cut off, without numbers, tiny or huge; disks that are full; many open slides."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from making.files import write_small_h5ad
from making.server import Client, ask, serving, unpack

from tissuumaps_sic.annotation.runs import Labelled, cluster
from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server

SEEDS = {0: 0, 13: 0, 11: 1, 22: 1}


@pytest.fixture
def server():
    return Server()


class Page:
    """What a browser's page does to one slide."""

    def __init__(self, server, h5ad):
        self.server, self.root, self.h5ad, self.revision = server, h5ad.parent, h5ad.name, 0

    def ask(self, endpoint, **content):
        found = ask(self.server, endpoint, self.root, {"h5ad": self.h5ad, **content})
        state, labels = found if isinstance(found, tuple) else (found, None)
        self.revision = state.get("revision", self.revision)
        return state if labels is None else (state, labels)

    def seed(self, label, *rows):
        what = {"kind": "seed", "label": label, "patches": list(rows)}
        return self.ask("change", revision=self.revision, change=what)

    def run(self, **options):
        return self.ask("run", revision=self.revision, **options)

    def seed_and_run(self):
        for row, label in SEEDS.items():
            self.seed(label, row)
        return self.run()


def put(new, h5ad):
    """Replace a file as careful programs do, with the same size and time as the old one had."""
    old = h5ad.stat()
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    new.replace(h5ad)


def other_embeddings(h5ad, target):
    adata = anndata.read_h5ad(h5ad)
    adata.X = np.random.default_rng(7).permutation(adata.X)
    adata.write_h5ad(target)
    return target


def test_other_embeddings_of_the_same_patches_are_used_and_old_labels_told_apart(
    server, small_h5ad, tmp_path
):
    page = Page(server, small_h5ad)
    state, before = page.seed_and_run()
    assert not state["run"]["stale"]
    put(other_embeddings(small_h5ad, tmp_path / "new"), small_h5ad)
    state, labels = page.ask("labels")
    assert state["run"]["stale"]
    assert state["run"]["outdated"]
    assert np.array_equal(labels, before)
    with pytest.raises(SicError, match=r"are not those that its seeds give here.*run the clustering again"):
        page.ask("write", revision=page.revision)
    state, after = page.run()
    assert not state["run"]["stale"]
    assert not np.array_equal(after, before)
    slide = open_slide_file(small_h5ad)
    session = load_session(session_path(small_h5ad), slide)
    assert np.array_equal(after, cluster(slide, session.classes, session.seeds)[0].unpack())
    assert page.ask("write", revision=page.revision) == {"written": "small.h5ad"}
    assert not page.ask("open")["run"]["stale"]


def test_other_patches_are_told_and_the_session_stays(server, small_h5ad, tmp_path):
    page = Page(server, small_h5ad)
    page.seed_and_run()
    saved = session_path(small_h5ad).read_bytes()
    shutil.copy(small_h5ad, tmp_path / "old")
    put(write_small_h5ad(tmp_path / "new.h5ad", columns=10), small_h5ad)
    for again in (
        lambda: page.ask("open"),
        lambda: page.ask("labels"),
        lambda: page.seed(1, 3),
        page.run,
        lambda: page.ask("write", revision=page.revision),
        lambda: page.ask("suggest", revision=page.revision),
        lambda: page.ask("why", revision=page.revision, patch=3),
    ):
        with pytest.raises(SicError, match=r"was made on other patches than small\.h5ad holds now") as caught:
            again()
        assert caught.value.status == 409
    assert session_path(small_h5ad).read_bytes() == saved
    put(tmp_path / "old", small_h5ad)
    assert page.ask("open")["seeds"]["patches"] == sorted(SEEDS)


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_as_one(small_h5ad, tmp_path, monkeypatch):
    """The embeddings are opened by the file's name, after the names of the patches were read."""
    import tissuumaps_sic.slides.slide as slides

    new = write_small_h5ad(tmp_path / "new.h5ad", columns=10)
    expected = anndata.read_h5ad(new)
    read = slides._read

    def replace_once(path, file, embedding):
        if new.exists():
            new.replace(small_h5ad)
        return read(path, file, embedding)

    monkeypatch.setattr(slides, "_read", replace_once)
    slide = open_slide_file(small_h5ad)
    assert list(slide.patch_names) == list(expected.obs_names)
    assert np.array_equal(slide.X, expected.X)

    def replace_always(path, file, embedding):
        shutil.copy(path, tmp_path / "again")
        (tmp_path / "again").replace(path)
        return read(path, file, embedding)

    monkeypatch.setattr(slides, "_read", replace_always)
    with pytest.raises(SlideFileError, match="is being written at this moment"):
        open_slide_file(small_h5ad)


def test_labels_never_overwrite_what_another_program_wrote_meanwhile(
    server, small_h5ad, tmp_path, monkeypatch
):
    page = Page(server, small_h5ad)
    page.seed_and_run()
    other = other_embeddings(small_h5ad, tmp_path / "other")
    expected = other.read_bytes()
    copyfile = shutil.copyfile

    def copy_and_replace(source, target):
        copyfile(source, target)
        other.replace(small_h5ad)

    monkeypatch.setattr("tissuumaps_sic.export.h5ad.shutil.copyfile", copy_and_replace)
    with pytest.raises(SicError, match="another program has just changed it"):
        page.ask("write", revision=page.revision)
    assert small_h5ad.read_bytes() == expected
    monkeypatch.undo()
    slide = open_slide_file(small_h5ad)
    write_small_h5ad(tmp_path / "wide.h5ad", columns=14).replace(small_h5ad)
    session = load_session(session_path(small_h5ad), slide)
    labelled = Labelled.of(slide, session, np.full((slide.n_patches, 2), 0.5, np.float32))
    with pytest.raises(ExportError, match="holds other patches than when the labels were made"):
        write_labels(labelled, small_h5ad)


def test_files_cut_off_anywhere_are_told_in_one_line(server, small_h5ad):
    page = Page(server, small_h5ad)
    page.ask("open")
    whole = small_h5ad.read_bytes()
    for length in [*range(0, len(whole) - 1, len(whole) // 60), len(whole) - 1]:
        small_h5ad.write_bytes(whole[:length])
        with pytest.raises(SicError, match=r"small\.h5ad.*embed the slide again") as caught:
            page.ask("open")
        assert caught.value.status == 422
        assert "\n" not in str(caught.value)
    small_h5ad.write_bytes(whole)
    assert page.ask("open")["n_patches"] == 96


def test_embeddings_in_other_files_are_refused(small_h5ad, tmp_path):
    """A link would lead out of the served folder, and its embeddings be read from the wrong place."""
    (tmp_path / "elsewhere").mkdir()
    other = write_small_h5ad(tmp_path / "elsewhere" / "small.h5ad", seed=1)
    adata = anndata.read_h5ad(small_h5ad)
    adata.obsm["X_more"] = np.ones((adata.n_obs, 8), np.float32)
    adata.write_h5ad(small_h5ad)
    with h5py.File(small_h5ad, "r+") as file:
        del file["obsm/X_more"]
        file["obsm/X_more"] = h5py.ExternalLink(str(other), "X")
    with pytest.raises(SlideFileError, match="obsm/X_more lies in another file"):
        open_slide_file(small_h5ad)
    with h5py.File(small_h5ad, "r+") as file:
        del file["obsm/X_more"]
        del file["X"]
        file["X"] = h5py.ExternalLink(str(other), "X")
    with pytest.raises(SlideFileError, match="X lies in another file"):
        open_slide_file(small_h5ad)
    with h5py.File(small_h5ad, "r+") as file:
        del file["X"]
        file.create_dataset("X", (96, 16), "f4", external=[(str(other), 0, 96 * 64)])
    with pytest.raises(SlideFileError, match="X lies in another file"):
        open_slide_file(small_h5ad)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["sic", "refine"])
def test_embeddings_that_are_no_numbers_are_refused_in_words(server, small_h5ad, dtype, value, method):
    adata = anndata.read_h5ad(small_h5ad)
    X = adata.X.astype(dtype)
    X[40, 3] = value
    adata.X = X
    adata.write_h5ad(small_h5ad)
    page = Page(server, small_h5ad)
    page.seed(0, 0)
    page.seed(1, 11)
    for again in (
        lambda: page.run(method=method),
        lambda: page.ask("suggest", revision=page.revision, method=method),
        lambda: page.ask("why", revision=page.revision, patch=40),
    ):
        with pytest.raises(
            SicError, match=r"small\.h5ad: X holds NaN or infinity.*embed them again"
        ) as caught:
            again()
        assert caught.value.status == 422
    # Of a patch that is well, the answer is of numbers, as JSON has them.
    json.dumps(page.ask("why", revision=page.revision, patch=1), allow_nan=False)


def test_a_slide_of_one_patch_opens_and_says_what_a_run_lacks(server, tmp_path):
    page = Page(server, write_small_h5ad(tmp_path / "one.h5ad", columns=1, rows=1))
    assert page.ask("open")["n_patches"] == 1
    with pytest.raises(SicError, match="Each class needs a seed: Tumour 0, Other 0"):
        page.run()
    assert page.seed(1, 0)["seeds"] == {"patches": [0], "labels": [1]}
    assert page.ask("why", revision=page.revision, patch=0)["margin"] is None
    for method in ("sic", "refine"):
        with pytest.raises(SicError, match="Tumour 1, Other 0; choose a class and click"):
            page.run(method=method)
        with pytest.raises(SicError, match="clustering needs at least two"):
            page.ask("suggest", revision=page.revision, method=method)


def test_a_session_with_damaged_labels_is_told(server, small_h5ad):
    page = Page(server, small_h5ad)
    page.seed_and_run()
    path = session_path(small_h5ad)
    saved = json.loads(path.read_text())
    whole = saved["run"]["labels"]
    for labels in ("", "!", whole[:-8], "eJwDAAAAAAE="):
        saved["run"]["labels"] = labels
        path.write_text(json.dumps(saved))
        with pytest.raises(SicError, match="the labels of its last run are damaged") as caught:
            page.ask("labels")
        assert caught.value.status == 409


def test_a_session_replayed_without_the_viewer_gives_its_labels_bit_for_bit(server, small_h5ad, tmp_path):
    page = Page(server, small_h5ad)
    for method in ("sic", "refine"):
        page.revision = page.ask("open")["revision"]
        page.seed(0, *range(3)) if method == "sic" else page.ask(
            "change", revision=page.revision, change={"kind": "undo"}
        )
        page.seed(1, 11, 23)
        page.seed(0, 12)
        _, labels = page.run(method=method)
        command = [sys.executable, "-m", "tissuumaps_sic", "run", str(small_h5ad)]
        command += ["--seeds", str(session_path(small_h5ad)), "-o", str(tmp_path / "labels.h5ad")]
        subprocess.run(command, check=True)
        replayed = anndata.read_h5ad(tmp_path / "labels.h5ad").obs["sic_label"].cat.codes.to_numpy()
        assert replayed.astype(np.uint8).tobytes() == labels.tobytes()


@contextmanager
def small_disk(where, n_bytes):
    """A file system of its own, of so many bytes; the test is skipped where none may be mounted."""
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(where)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(folder, leaving=0):
    with (folder / "ballast").open("wb") as file:
        stat = os.statvfs(folder)
        file.write(b"x" * max(stat.f_bavail * stat.f_frsize - leaving, 0))


@pytest.mark.skipif(
    not Path("/proc/mounts").exists() or os.geteuid() != 0, reason="only root mounts file systems"
)
def test_a_full_disk_is_told_and_nothing_is_lost(server, tmp_path):
    with small_disk(tmp_path / "disk", 2 * 2**20) as disk:
        h5ad = write_small_h5ad(disk / "small.h5ad")
        page = Page(server, h5ad)
        page.seed_and_run()
        session, whole = session_path(h5ad).read_bytes(), h5ad.read_bytes()
        fill(disk)
        names = sorted(path.name for path in disk.iterdir())
        for again in (
            lambda: page.seed(1, 5),
            page.run,
            lambda: page.ask("write", revision=page.revision),
        ):
            with pytest.raises(SicError, match=r"No space left on device.*free some space") as caught:
                again()
            assert caught.value.status == 507
        (disk / "ballast").unlink()
        # The copy fits and the labels do not, which the HDF5 library does not survive unharmed.
        fill(disk, leaving=len(whole) + 4096)
        with pytest.raises(SicError, match=r"small\.h5ad could not be written.*free some space") as caught:
            page.ask("write", revision=page.revision)
        assert caught.value.status == 507
        assert (session_path(h5ad).read_bytes(), h5ad.read_bytes()) == (session, whole)
        assert sorted(path.name for path in disk.iterdir()) == names
        (disk / "ballast").unlink()
        assert page.seed(1, 5)["seeds"]["patches"] == sorted([*SEEDS, 5])
        page.run()
        assert page.ask("write", revision=page.revision) == {"written": "small.h5ad"}
        # The room that was taken for the labels is given back.
        assert h5ad.stat().st_size < len(whole) + 100_000


@pytest.mark.skipif(
    not Path("/proc/mounts").exists() or os.geteuid() != 0, reason="only root mounts file systems"
)
def test_a_folder_that_cannot_be_written_is_annotated_and_not_touched(server, tmp_path):
    with small_disk(tmp_path / "disk", 2 * 2**20) as disk:
        h5ad = write_small_h5ad(disk / "small.h5ad")
        page = Page(server, h5ad)
        _, labels = page.seed_and_run()
        before = session_path(h5ad).read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert np.array_equal(page.ask("labels")[1], labels)
        page.ask("suggest", revision=page.revision)
        # What is done is the server's own to keep, until it stops.
        assert page.seed(1, 5)["seeds"]["patches"] == sorted([*SEEDS, 5])
        page.run()
        assert session_path(h5ad).read_bytes() == before
        with pytest.raises(SicError, match="may not be written to; export an h5ad instead"):
            page.ask("write", revision=page.revision)


def handles_of(folder):
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except OSError:
            continue
        if target.startswith(f"{folder}/"):
            found.add(target)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_more_slides_are_kept_open_than_the_cache_has_room_for(tmp_path):
    first = write_small_h5ad(tmp_path / "0.h5ad")
    for number in range(1, 30):
        shutil.copy(first, tmp_path / f"{number}.h5ad")
    server = Server()
    for _ in range(2):
        for number in range(30):
            Page(server, tmp_path / f"{number}.h5ad").ask("open")
            assert len(handles_of(tmp_path)) <= 8
    assert handles_of(tmp_path) == {str(tmp_path / f"{number}.h5ad") for number in range(22, 30)}


def test_large_slides_leave_the_cache_sooner(tmp_path):
    paths = [write_small_h5ad(tmp_path / f"{number}.h5ad") for number in range(4)]
    cache = SlideCache(size=8, patches=200)
    slides = [cache.get(path) for path in paths]
    # Of 96 patches each there is room for two.
    assert cache.get(paths[3]) is slides[3]
    assert cache.get(paths[2]) is slides[2]
    assert cache.get(paths[0]) is not slides[0]
    # One that is larger than all room is kept as long as it is the last.
    large = write_small_h5ad(tmp_path / "large.h5ad", columns=40)
    assert cache.get(large) is cache.get(large)


def peak_of(process):
    """The most memory that a process has had, bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_million_patches_are_opened_seeded_and_run_in_bounded_memory(tmp_path):
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    if available and int(available[1]) * 1024 < 8 * 2**30:
        pytest.skip("needs 8 GB of free memory")
    h5ad = write_small_h5ad(tmp_path / "small.h5ad", columns=1000, rows=1000)
    is_right = np.tile(np.arange(1000) >= 500, 1000)
    with serving(tmp_path) as server:
        client = Client(server.netloc)

        def told(answer):
            status, body = answer
            assert status == 200, body
            return body

        assert client.state()["n_patches"] == 1_000_000
        client.seed(0, 0)
        client.seed(999, 1)
        state, labels = unpack(told(client.post("run", revision=2)))
        assert np.array_equal(labels, is_right)
        assert unpack(told(client.post("labels")))[1].tobytes() == labels.tobytes()
        state, _ = unpack(told(client.post("run", revision=3, method="sic")))
        plain = peak_of(server)
        # A lasso around the whole right half; every patch of it keeps its class.
        lasso = {"kind": "seed", "label": 1, "patches": np.flatnonzero(is_right).tolist()}
        told(client.change(4, **lasso))
        state, labels = unpack(told(client.post("run", revision=5)))
        assert len(state["seeds"]["patches"]) == 500_001
        assert labels[is_right].all()
        assert labels[0] == 0
        lassoed = peak_of(server)
    print(f"peak {plain / 2**20:.0f} MB, with half of the slide seeded {lassoed / 2**20:.0f} MB")
    assert plain < 3 * 2**30
    assert lassoed < 6 * 2**30
    assert json.loads(session_path(h5ad).read_text())["revision"] == 6
