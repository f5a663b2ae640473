"""A slide that kills, hangs or eats the memory costs one line, and no other slide."""

import json
import os
import struct
import subprocess
import sys
import time

import psutil
import pytest
from making import isolation
from making.embeddings import write_ramp

import embedder.embedding.bar
import embedder.embedding.encoding
import embedder.isolation.child
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.plan import plan_slides
from embedder.embedding.request import SlideInput
from embedder.files.checking import check_files
from embedder.isolation import memory
from embedder.isolation.child import Child, Limits, LostError, StalledError

OPTIONS = EmbedOptions(device="cpu", umap=False, min_tissue=0, batch_size=8)
KILLERS = ("abort.tif", "midway.tif")


@pytest.fixture(scope="module")
def prepared():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedder.isolation.child, "PREPARATION", "making.isolation:prepare")
        yield


@pytest.fixture(scope="module")
def child():
    with Child() as child:
        yield child


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killers")
    for name in ("a.tif", *KILLERS, "b.tif"):
        write_ramp(folder / name)
    return folder


@pytest.fixture(scope="module")
def runs(prepared, folder):
    """Two runs of the same command over slides three of which kill their process."""
    slides = [folder / name for name in ("a.tif", *KILLERS, "b.tif")]
    first = embed_slides(slides, folder / "out", OPTIONS, limits=Limits())
    return first, embed_slides([slides[1], slides[-1]], folder / "out", OPTIONS, limits=Limits())


def test_slides_that_kill_are_told_and_the_others_are_embedded(runs, folder):
    first, _ = runs
    assert [each.status for each in first] == ["done", "failed", "failed", "done"]
    aborted, midway = (each.message for each in first[1:3])
    assert "while the slide was opened, its process died of SIGABRT" in aborted
    assert "(last words: libdecoder: the tile is 3 TB large)" in aborted
    assert "exit status 3" in embedder.isolation.child._describe_death(3)
    assert "while its patches were read and embedded, its process died of SIGSEGV" in midway
    for name, result in zip(KILLERS, first[1:3], strict=True):
        assert str(folder / name) in result.message
        assert "\n" not in result.message


def test_the_same_command_again_gets_past_the_slides_that_kill(runs):
    _, second = runs
    assert [each.status for each in second] == ["failed", "skipped"]


def test_of_a_slide_that_killed_nothing_is_left_but_what_was_embedded(runs, folder):
    made = {f"{stem}.{suffix}" for stem in "ab" for suffix in ("tif", "h5ad", "tmap")}
    assert {path.name for path in (folder / "out").iterdir()} == made | {".midway.partial"}
    state = json.loads((folder / "out" / ".midway.partial" / "state.json").read_text())
    assert state["done"] > 0


def test_the_files_are_those_of_a_run_without_a_child(runs, folder, monkeypatch):
    encoder = isolation.MeanEncoder()
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    embed_slides([folder / "a.tif"], folder / "here", OPTIONS)
    one, two = (content(folder / place / "a.h5ad") for place in ("out", "here"))
    assert one == two


def content(path):
    """What a file holds, but for the seconds that it took."""
    import anndata

    adata = anndata.read_h5ad(path)
    known = json.loads(adata.uns["embedder"])
    del known["seconds"]
    cells = adata.obsm["fine"].tobytes(), adata.obsm["fine_tissue"].tobytes()
    return adata.X.tobytes(), adata.obs.to_json(), adata.obsm["spatial"].tobytes(), *cells, known


def test_a_plan_tells_slides_that_kill_and_counts_the_others(prepared, folder):
    names = ("a.tif", "abort.tif", "b.tif")
    plan = plan_slides([SlideInput(folder / name) for name in names], folder, OPTIONS, limits=Limits())
    assert [each.problem is None for each in plan.slides] == [True, False, True]
    assert "SIGABRT" in plan.slides[1].problem
    assert plan.slides[0].n_patches == plan.slides[2].n_patches > 0
    assert plan.patches_per_second > 0


def test_a_run_that_is_stopped_saves_what_the_child_did(prepared, folder, monkeypatch):
    def interrupt(self, done, total):
        if done >= 16:
            raise KeyboardInterrupt

    monkeypatch.setattr(embedder.embedding.bar.Bar, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        embed_slides([folder / "a.tif"], folder / "stopped", OPTIONS, limits=Limits())
    assert [path.name for path in (folder / "stopped").iterdir()] == [".a.partial"]
    assert json.loads((folder / "stopped" / ".a.partial" / "state.json").read_text())["done"] >= 16


def test_a_real_decoder_that_aborts_is_one_line(prepared, tmp_path):
    """Tag 325 of a BigTIFF, of another type than it should be: OpenSlide asks GLib for terabytes."""
    slide = tmp_path / "bad.tif"
    slide.write_bytes(_big_tiff_of_odd_counts())
    (result,) = embed_slides([slide], tmp_path / "out", OPTIONS, limits=Limits())
    assert result.status == "failed"
    assert "bad.tif" in result.message
    assert "\n" not in result.message


def _big_tiff_of_odd_counts():
    def tag(number, kind, count, value):
        return struct.pack("<HHQ", number, kind, count) + struct.pack("<Q", value)

    tags = [
        tag(256, 4, 1, 512), tag(257, 4, 1, 512), tag(258, 3, 3, 8 | 8 << 16 | 8 << 32), tag(259, 3, 1, 1),
        tag(262, 3, 1, 2), tag(277, 3, 1, 3), tag(322, 4, 1, 256), tag(323, 4, 1, 256),
        tag(324, 16, 4, 16), tag(325, 12, 4, 16),
    ]  # fmt: skip
    return (
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)) + b"".join(tags) + bytes(8 + 4 * 256 * 256 * 3)
    )


def test_what_a_child_says_arrives_as_if_it_were_said_here(child, caplog, capsys):
    told = []
    with caplog.at_level("INFO", "embedder"):
        result = child.run(isolation.speak, progress=lambda *numbers: told.append(numbers))
    assert result == b"x" * 10**7
    assert told == [(3, 4)]
    said = [(record.name, record.getMessage()) for record in caplog.records]
    assert ("elsewhere", "a warning of a library") in said
    written = capsys.readouterr()
    assert written.out == ""
    for words in ("this is deprecated", "printed by a library", "written by C \\xff"):
        assert words in written.err


def test_a_child_is_kept_and_raises_what_was_raised_in_it(child):
    pid = child.run(isolation.own_pid)
    with pytest.raises(FileNotFoundError) as missing:
        child.run(isolation.fail, "file")
    assert (missing.value.errno, missing.value.filename) == (2, "a.svs")
    with pytest.raises(ModuleNotFoundError) as lacking:
        child.run(isolation.fail, "module")
    assert lacking.value.name == "torch"
    with pytest.raises(RuntimeError, match="OddError: a and b"):
        child.run(isolation.fail, "odd")
    assert child.run(isolation.answer_signals) == ""  # Ctrl-C of a terminal reaches all of its processes
    assert child.run(isolation.own_pid) == pid != os.getpid()


def test_a_child_that_hangs_or_eats_the_memory_is_ended_and_another_one_made():
    with Child(Limits(silent_seconds=0.5, memory=10**9)) as child:
        # Where silence is no sign of trouble it is not counted.
        assert child.run(isolation.nap, 1.0, False) == 1.0
        with pytest.raises(StalledError, match="while its tissue was looked for, nothing came of it for"):
            child.run(isolation.hang)
    with Child(Limits(memory=3 * 10**8)) as child:
        with pytest.raises(LostError, match=r"it took \d.\d GB of memory, and --memory allows 0.3 GB"):
            child.run(isolation.allocate)
        assert child.run(isolation.own_pid) != os.getpid()


def test_the_child_is_ended_before_the_machine_has_no_memory_left(monkeypatch):
    monkeypatch.setattr(memory, "measure_room", lambda: (10**9, 10**7))
    monkeypatch.setattr(memory, "count_own_bytes", lambda pid: 5 * 10**8)
    told = "it took 0.5 GB of memory, and of the 1.0 GB of this machine 0.0 GB were left"
    assert memory.describe_excess(1) == told
    # Who has little is not to blame.
    monkeypatch.setattr(memory, "count_own_bytes", lambda pid: 10**8)
    assert memory.describe_excess(1) is None
    monkeypatch.setattr(memory, "measure_room", lambda: (10**9, 10**8))
    assert memory.describe_excess(1) is None


@pytest.mark.parametrize("version", [1, 2])
def test_the_room_is_that_of_the_container(version, tmp_path, monkeypatch):
    if not sys.platform.startswith("linux"):
        pytest.skip("control groups are Linux's")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    # As in a container: the process is told the machine's path, and the group's files lie at the root.
    root = tmp_path if version == 2 else tmp_path / "memory"
    names = (
        ("memory.max", "memory.current")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    before = "" if version == 2 else "total_"
    root.mkdir(exist_ok=True)
    (root / names[0]).write_text("10000000\n")
    (root / names[1]).write_text("9000000\n")
    (root / "memory.stat").write_text(
        f"{before}active_file 1000000\n{before}inactive_file 2000000\nother 7\n"
    )
    line = "0::/a/b\n" if version == 2 else "4:cpu,memory:/a/b\n"
    monkeypatch.setattr(memory, "_lines", lambda: line.splitlines())
    assert memory.measure_room() == (10_000_000, 4_000_000)
    (root / names[0]).write_text("max\n" if version == 2 else "9223372036854771712\n")
    assert memory.measure_room()[0] > 10_000_000


PARENT = """
from making import isolation
from embedder.isolation.child import Child
with Child() as child:
    child.run(isolation.hang_for_all)
"""


def test_a_child_does_not_outlive_its_parent_whatever_it_does():
    if not sys.platform.startswith("linux"):
        pytest.skip("elsewhere a decoder that lets no thread run is not ended")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stderr=subprocess.PIPE, env=environment, text=True
    )
    pid = int(parent.stderr.readline().split()[1])
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)


def test_a_file_that_kills_its_reader_is_checked_as_one_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tissuumaps_sic.slidefile.contract.check", isolation.abort)
    (tmp_path / "a.h5ad").write_bytes(b"")
    ((path, (problem,)),) = check_files([tmp_path / "a.h5ad"])
    assert path == tmp_path / "a.h5ad"
    assert problem.rule == "file"
    assert "SIGABRT" in problem.what
