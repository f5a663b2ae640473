"""The pipeline from slide to file, with an encoder whose embeddings are known beforehand."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import anndata
import numpy as np
import pytest
import pyvips
import torch
from making.embeddings import MeanEncoder, file_contents, write_ramp

import embedder.embedding.encoding
import embedder.embedding.partial
import embedder.embedding.slide
import embedder.embedding.writing
from embedder.embedding.image import link_image, plan_image
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.request import SlideInput
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.contract import Problem, check


@pytest.fixture
def encoder(monkeypatch):
    encoder = MeanEncoder()
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    return encoder


PLAIN = EmbedOptions(umap=False, min_tissue=0.5)


def test_each_patch_has_the_embedding_of_its_own_place(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif", glass=400)
    (result,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert result.status == "done"
    adata = anndata.read_h5ad(result.h5ad)
    assert check(result.h5ad) == []
    assert result.n_patches == adata.n_obs
    # On glass nothing is embedded: a centre in it would lie beyond 1000.
    assert adata.obsm["spatial"][:, 0].max() <= 1000
    # 256 px at 128 px: the left half's mean is 64 px left of the centre, a pixel's middle half a pixel on.
    x, y = adata.obsm["spatial"].T
    whole = x + 128 <= 1000
    assert whole.sum() > 20
    red_left, red_right, green_up, green_down = (adata.X[:, i] for i in (0, 3, 7, 10))
    for found, centre, length in (
        (red_left, x - 64, 1400),
        (red_right, x + 64, 1400),
        (green_up, y - 64, 1100),
        (green_down, y + 64, 1100),
    ):
        assert np.abs(found - (centre - 0.5) * 250 / length + 0.5)[whole].max() < 1.5
    assert (adata.obs["tissue"][whole] > 0.9).all()


def test_patches_of_a_finer_slide_are_the_same_tissue_at_the_same_resolution(encoder, tmp_path):
    coarse = write_ramp(tmp_path / "coarse.tif")
    fine = write_ramp(tmp_path / "fine.tif", width=2800, height=2200, mpp=0.25)
    results = embed_slides([coarse, fine], tmp_path / "out", PLAIN)
    a, b = (anndata.read_h5ad(result.h5ad) for result in results)
    assert a.n_obs == b.n_obs
    assert np.allclose(b.obsm["spatial"], 2 * a.obsm["spatial"])
    assert np.abs(a.X - b.X).max() < 1.5


def test_the_same_slide_gives_the_same_file_contents(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif")
    for name in ("one", "two"):
        embed_slides([slide], tmp_path / name, EmbedOptions(batch_size=7 if name == "one" else 32))
    a, b = (anndata.read_h5ad(tmp_path / name / "ramp.h5ad") for name in ("one", "two"))
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.obsm["fine"], b.obsm["fine"])
    assert np.array_equal(a.obsm["fine_tissue"], b.obsm["fine_tissue"])
    assert np.array_equal(a.obsm["X_umap_3d"], b.obsm["X_umap_3d"])
    assert a.obs["umap_rgb"].tolist() == b.obs["umap_rgb"].tolist()


def test_a_slide_that_fails_never_ends_the_run(encoder, shared_data, tmp_path, caplog):
    slides = shared_data / "slides"
    empty = tmp_path / "empty.png"
    pyvips.Image.black(2000, 1500, bands=3).linear(1, 245).cast("uchar").pngsave(str(empty))
    bad = {
        slides / "broken.svs": "broken.svs",
        slides / "osp_unreadable.svs": "osp_unreadable.svs",
        slides / "pathml_small_dicom.dcm": "pathml_small_dicom.dcm",
        slides / "tcga-cr-7395-01a-01-ts1.svs": "--slide-mpp",
        slides / "osp_boxes.tiff": "352",
        slides: "folder",
        tmp_path / "missing.svs": "missing.svs",
        empty: "--slide-mpp",
    }
    good = write_ramp(tmp_path / "good.tif")
    out = tmp_path / "out"
    results = embed_slides([*bad, good], out, PLAIN)
    for (path, told), result in zip(bad.items(), results, strict=False):
        assert result.status == "failed", path
        assert told in result.message
        assert "\n" not in result.message
    assert results[-1].status == "done"
    assert {path.name for path in out.iterdir()} == {"good.h5ad", "good.tmap", "good.tif"}
    assert sum(record.levelname == "ERROR" for record in caplog.records) == len(bad)


def test_a_slide_without_tissue_is_told_so(encoder, tmp_path):
    empty = tmp_path / "empty.png"
    pyvips.Image.black(2000, 1500, bands=3).linear(1, 245).cast("uchar").pngsave(str(empty))
    (result,) = embed_slides([empty], tmp_path / "out", EmbedOptions(umap=False, slide_mpp=0.5))
    assert result.status == "failed"
    assert "tissue" in result.message
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_there_is_kept_unless_asked_for(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif")
    first = embed_slides([slide], tmp_path / "out", PLAIN)[0]
    before = (tmp_path / "out" / "ramp.h5ad").stat().st_mtime_ns
    again = embed_slides([slide], tmp_path / "out", PLAIN)[0]
    assert (first.status, again.status) == ("done", "skipped")
    assert (tmp_path / "out" / "ramp.h5ad").stat().st_mtime_ns == before
    assert again.n_patches == first.n_patches
    anew = embed_slides([slide], tmp_path / "out", replace(PLAIN, overwrite=True))[0]
    assert anew.status == "done"
    assert (tmp_path / "out" / "ramp.h5ad").stat().st_mtime_ns > before


def test_two_slides_of_one_name_do_not_overwrite_each_other(encoder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    slides = [write_ramp(tmp_path / folder / "ramp.tif") for folder in "ab"]
    results = embed_slides(slides, tmp_path / "out", EmbedOptions(umap=False, overwrite=True))
    assert [result.status for result in results] == ["done", "failed"]
    assert "same name" in results[1].message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"patch_size": 224}, "grid patch size is 256, not 224"),
        ({"overlap": 0.25}, "grid overlap is 0.5, not 0.25"),
        ({"mpp": 0.6}, "grid target mpp is 0.5, not 0.6"),
        ({"min_tissue": 0.9}, "min tissue is 0.5, not 0.9"),
        ({"slide_mpp": 0.51}, "slide mpp x is 0.5, not 0.51"),
        ({"precision": "bfloat16"}, "precision is float32, not bfloat16"),
        ({"storage": "float16"}, "storage is float32, not float16"),
        ({"umap": True}, "no UMAP"),
        ({"fine": True}, "no cells smaller than a patch, which --no-fine"),
    ],
)
def test_a_file_made_otherwise_is_neither_kept_silently_nor_overwritten(encoder, tmp_path, change, told):
    slide = write_ramp(tmp_path / "ramp.tif")
    plain = replace(PLAIN, fine="fine" not in change)
    embed_slides([slide], tmp_path / "out", plain)
    before = (tmp_path / "out" / "ramp.h5ad").read_bytes()
    (result,) = embed_slides([slide], tmp_path / "out", replace(plain, **change))
    assert result.status == "failed"
    assert told in result.message
    assert "--overwrite" in result.message
    assert (tmp_path / "out" / "ramp.h5ad").read_bytes() == before


def test_a_slide_whose_pixels_are_not_square_gives_undistorted_patches(encoder, tmp_path):
    """The same tissue, scanned twice as finely across as down."""
    square = write_ramp(tmp_path / "square.tif", width=1400, height=1100, mpp=0.5)
    image = pyvips.Image.new_from_file(str(square)).resize(2, vscale=1, kernel="linear")
    oblong = tmp_path / "oblong.tif"
    image.copy(xres=4000, yres=2000).tiffsave(str(oblong), tile=True, pyramid=True, resunit="cm")
    results = embed_slides([square, oblong], tmp_path / "out", replace(PLAIN, min_tissue=0))
    a, b = (anndata.read_h5ad(result.h5ad) for result in results)
    assert a.n_obs == b.n_obs
    assert np.allclose(b.obsm["spatial"], a.obsm["spatial"] * (2, 1), atol=0.01)
    assert np.abs(a.X - b.X).max() < 1.5
    assert check(results[1].h5ad) == []
    known = json.loads(b.uns["embedder"])["grid"]
    assert (known["patch_width0"], known["patch_height0"]) == pytest.approx((512, 256))


def test_another_slide_of_the_same_name_is_not_taken_for_done(encoder, tmp_path):
    embed_slides([write_ramp(tmp_path / "ramp.tif")], tmp_path / "out", PLAIN)
    (tmp_path / "other").mkdir()
    other = write_ramp(tmp_path / "other" / "ramp.tif", glass=300)
    (result,) = embed_slides([other], tmp_path / "out", PLAIN)
    assert result.status == "failed"
    assert "slide hash is" in result.message


def test_a_slide_that_another_run_is_at_is_left_to_it(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif")
    (tmp_path / "out").mkdir()
    with leases.hold_lock(tmp_path / "out" / ".ramp.lock"):
        (result,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert result.status == "skipped"
    assert f"process {os.getpid()}" in result.message
    assert encoder.encoded == 0
    assert embed_slides([slide], tmp_path / "out", PLAIN)[0].status == "done"


def test_a_slide_of_a_table_has_its_own_resolution(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif", mpp=0.5)
    item = SlideInput(slide, mpp=0.25)
    (result,) = embed_slides([item], tmp_path / "out", replace(PLAIN, slide_mpp=0.4))
    known = json.loads(anndata.read_h5ad(result.h5ad).uns["embedder"])
    assert (known["slide"]["mpp_x"], known["slide"]["mpp_source"]) == (0.25, "user")


def test_a_full_disk_is_told_in_one_line_and_the_next_run_goes_on(encoder, tmp_path, monkeypatch):
    slide = write_ramp(tmp_path / "ramp.tif")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(embedder.embedding.slide.writing, "write_slide", full)
        (result,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert result.status == "failed"
    assert "No space left on device" in result.message
    assert "run again" in result.message
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".ramp.partial"}
    encoded = encoder.encoded
    (again,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert again.status == "done"
    assert encoder.encoded == encoded  # all was done before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ramp.tif", "ramp.h5ad", "ramp.tmap"}


def test_a_disk_that_fills_up_while_embedding_keeps_what_was_done(encoder, tmp_path, monkeypatch):
    slide = write_ramp(tmp_path / "ramp.tif")
    write = embedder.embedding.partial.Partial.write

    def fills_up(self, indices, *features):
        if self.written >= 12:
            raise OSError(28, "No space left on device")
        write(self, indices, *features)

    options = replace(PLAIN, batch_size=4)
    with monkeypatch.context() as patched:
        patched.setattr(embedder.embedding.partial.Partial, "write", fills_up)
        (result,) = embed_slides([slide], tmp_path / "out", options)
    assert result.status == "failed"
    encoder.encoded = 0
    (again,) = embed_slides([slide], tmp_path / "out", options)
    assert again.status == "done"
    assert encoder.encoded == again.n_patches - 12


# A run that kills itself, as `kill -9` would, when it has begun a number of batches.
KILLED = """
import os, signal, sys
from pathlib import Path
import embedder.embedding.partial
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.encoders.network import Encoder
from embedder.encoders.precision import Choice

batches = int(sys.argv[4])
Encoder._measure = lambda self, patches, cells: Choice(sys.argv[5], "auto", 1.0, 1.0)
start = Encoder.start
def counting(self, patches, **others):
    global batches
    if batches == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    batches -= 1
    return start(self, patches, **others)
Encoder.start = counting
embedder.embedding.partial._CHECKPOINT_SECONDS = 0
options = EmbedOptions(encoder=sys.argv[3], patch_size=64, batch_size=8, umap=False, min_tissue=0)
results = embed_slides([Path(sys.argv[1])], Path(sys.argv[2]), options)
assert results[0].status == "done", results
"""


def test_a_run_that_was_killed_twice_gives_the_same_bits(shared_data, tmp_path, caplog):
    """With a real network, whose last bits depend on how patches are batched and on the precision chosen."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    checkpoint = tmp_path / "random.pth"
    torch.save(resnet18().state_dict(), checkpoint)
    slide = tmp_path / "field.png"
    pyvips.Image.new_from_file(str(shared_data / "prostate" / "test10.jpg")).crop(0, 0, 300, 320).copy(
        xres=2000, yres=2000
    ).pngsave(str(slide))

    def run(folder, batches, measured):
        command = [sys.executable, "-c", KILLED, slide, tmp_path / folder, checkpoint, str(batches), measured]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    whole = run("whole", -1, "bfloat16")
    assert whole.returncode == 0, whole.stderr
    assert run("cut", 2, "bfloat16").returncode == -signal.SIGKILL
    # Measured anew, the precision might be another; what the first run chose is kept.
    assert run("cut", 3, "float32").returncode == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [".field.lock", ".field.partial"]
    left = run("cut", -1, "float32")
    assert left.returncode == 0, left.stderr
    assert "which is gone; it is cleared" in left.stderr
    a, b = (file_contents(tmp_path / folder / "field.h5ad") for folder in ("whole", "cut"))
    # The batch under way is lost each time: after its start, nothing of it was written.
    assert b["X"]["shape"][0] > 40
    assert b["obsm/fine"]["shape"] == (b["X"]["shape"][0], 64)
    assert a == b
    a, b = ((tmp_path / folder / "field.tmap").read_bytes() for folder in ("whole", "cut"))
    assert a == b
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"field.h5ad", "field.tmap", "field.png"}


def test_float16_is_stored_on_request(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif")
    embed_slides([slide], tmp_path / "whole", PLAIN)
    embed_slides([slide], tmp_path / "half", replace(PLAIN, storage="float16"))
    whole, half = (anndata.read_h5ad(tmp_path / name / "ramp.h5ad") for name in ("whole", "half"))
    assert half.X.dtype == np.float16
    assert np.array_equal(half.X, whole.X.astype(np.float16))
    assert check(tmp_path / "half" / "ramp.h5ad") == []


def test_provenance_tells_how_and_names_no_place(encoder, tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif", mpp=0.25)
    embed_slides([slide], tmp_path / "out", PLAIN)
    text = anndata.read_h5ad(tmp_path / "out" / "ramp.h5ad").uns["embedder"]
    known = json.loads(text)
    assert known["slide"]["mpp_x"] == pytest.approx(0.25)
    assert known["slide"]["mpp_source"] == "tag"
    assert known["grid"]["patch_size0"] == pytest.approx(512, rel=1e-3)
    assert known["grid"]["stride"] == 128
    assert known["encoder"]["weights_sha256"] == "0" * 64
    assert str(tmp_path) not in text


def place(slide, folder):
    """Link a slide into a folder as a run does; return its name there."""
    placement = plan_image(slide, folder)
    link_image(placement)
    return placement.name


def test_the_slide_is_reachable_from_the_folder(tmp_path):
    slide = tmp_path / "elsewhere" / "a.svs"
    slide.parent.mkdir()
    slide.write_text("pixels")
    folder = tmp_path / "out"
    folder.mkdir()
    assert place(slide, folder) == "a.svs"
    assert (folder / "a.svs").read_text() == "pixels"
    assert place(slide, folder) == "a.svs"
    inside = folder / "sub" / "b.svs"
    inside.parent.mkdir()
    inside.write_text("x")
    assert place(inside, folder) == "sub/b.svs"
    (folder / "c.svs").write_text("somebody else's")
    other = tmp_path / "elsewhere" / "c.svs"
    other.write_text("pixels")
    assert place(other, folder) is None
    assert (folder / "c.svs").read_text() == "somebody else's"


def test_the_folder_of_a_mirax_slide_comes_along(tmp_path):
    slide = tmp_path / "elsewhere" / "a.mrxs"
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a" / "Data0000.dat").write_text("pixels")
    slide.write_text("")
    folder = tmp_path / "out"
    folder.mkdir()
    assert place(slide, folder) == "a.mrxs"
    assert (folder / "a" / "Data0000.dat").read_text() == "pixels"


def test_the_h5ad_is_there_before_what_points_to_it(encoder, tmp_path, monkeypatch):
    slide, out = write_ramp(tmp_path / "ramp.tif"), tmp_path / "out"
    write = embedder.embedding.slide.writing.write_slide
    seen = []

    def look(path, **parts):
        write(path, **parts)
        seen.extend(each.name for each in out.iterdir() if not each.name.startswith("."))

    monkeypatch.setattr(embedder.embedding.slide.writing, "write_slide", look)
    embed_slides([slide], out, PLAIN)
    assert seen == ["ramp.h5ad"]


def test_what_a_run_that_was_killed_left_undone_is_made_by_the_next(encoder, tmp_path):
    """Killed while it wrote, and between the file and what points to it."""
    slide, out = write_ramp(tmp_path / "ramp.tif"), tmp_path / "out"
    embed_slides([slide], out, PLAIN)
    whole = (out / "ramp.tmap").read_text()
    (out / "ramp.tmap").unlink()
    (out / "ramp.tif").unlink()
    (out / ".ramp.partial").mkdir()
    for name in (".ramp-0123abcd.h5ad", ".ramp-0123abcd.tmap", ".other-0123abcd.h5ad"):
        (out / name).write_text("half")
    (result,) = embed_slides([slide], out, PLAIN)
    assert result.status == "skipped"
    assert "ramp.tmap, which was not, is made anew" in result.message
    assert (out / "ramp.tmap").read_text() == whole
    assert {path.name for path in out.iterdir()} == {
        "ramp.h5ad", "ramp.tmap", "ramp.tif", ".other-0123abcd.h5ad"
    }  # fmt: skip
    assert "made anew" not in embed_slides([slide], out, PLAIN)[0].message


def test_a_failure_leaves_the_files_of_an_earlier_run_as_they_were(encoder, tmp_path, monkeypatch):
    slide, out = write_ramp(tmp_path / "ramp.tif"), tmp_path / "out"
    embed_slides([slide], out, PLAIN)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(file, key, matrix):
        raise RuntimeError("Can't decrement id ref count (file write failed: time = Thu\n, errno = 28, error")

    monkeypatch.setattr(embedder.embedding.writing, "write_matrix", fail)
    (result,) = embed_slides([slide], out, replace(PLAIN, overwrite=True))
    assert result.message == (
        f"{slide}: {out / 'ramp.h5ad'}: No space left on device; make room and run again: "
        "it goes on where it stopped"
    )
    after = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert after == before


def test_names_that_the_files_cannot_have_are_told_in_one_line(encoder, tmp_path):
    long, longer = write_ramp(tmp_path / f"{'x' * 245}.tif"), write_ramp(tmp_path / f"{'é' * 123}.tif")
    odd = tmp_path / os.fsdecode(b"caf\xe9.tif")
    write_ramp(tmp_path / "plain.tif").rename(odd)
    results = embed_slides([long, longer, odd], tmp_path / "out", PLAIN)
    assert [each.status for each in results] == ["done", "failed", "failed"]
    assert "its name is too long (246 bytes" in results[1].message
    assert "is not UTF-8" in results[2].message
    assert check(results[0].h5ad) == []


@pytest.mark.parametrize("name", ["~tilde", "S21 #2 A1", "C x", "%41"])
def test_a_name_is_no_path(encoder, tmp_path, name):
    (result,) = embed_slides([write_ramp(tmp_path / f"{name}.tif")], tmp_path / "out", PLAIN)
    assert result.status == "done", result.message
    assert check(result.h5ad) == []


def test_what_the_file_would_be_refused_for_is_told_before_a_patch_is_embedded(
    encoder, tmp_path, monkeypatch
):
    problem = Problem("names", "uns['tmap'] holds a name of yesterday", "rename the file")
    monkeypatch.setattr(embedder.embedding.slide, "foresee", lambda *_: [problem])
    (result,) = embed_slides([write_ramp(tmp_path / "ramp.tif")], tmp_path / "out", PLAIN)
    assert result.status == "failed"
    assert "name of yesterday; rename the file" in result.message
    assert encoder.encoded == 0
    assert list((tmp_path / "out").iterdir()) == []
