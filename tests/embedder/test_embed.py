"""The pipeline from slide to file, with an encoder whose embeddings are known beforehand."""

import json
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import pyvips

import embedder.embed
from embedder.contract import check
from embedder.embed import EmbedOptions, embed_slides, place_image


class MeanEncoder:
    """Embeds a patch as the mean red, green and blue of its left, right, upper and lower half."""

    name, dimension, weights_sha256, transform = "means", 12, "0" * 64, "none"
    device, precision = "cpu", "float32"
    spec = SimpleNamespace(name="means")

    def encode(self, patches):
        half = patches.shape[1] // 2
        parts = [patches[:, :, :half], patches[:, :, half:], patches[:, :half], patches[:, half:]]
        return np.concatenate([part.mean(axis=(1, 2)) for part in parts], axis=1).astype(np.float32)


@pytest.fixture
def encoder(monkeypatch):
    monkeypatch.setattr(embedder.embed, "load_encoder", lambda *args, **kwargs: MeanEncoder())


def write_ramp(path, *, width=1400, height=1100, mpp=0.5, glass=0):
    """A slide whose red grows with x and green with y, with `glass` columns of white on the right."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 250 / width, y * 250 / height, np.full_like(x, 20)], axis=-1).astype(np.uint8)
    if glass:
        pixels[:, -glass:] = 250
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb", xres=1000 / mpp, yres=1000 / mpp)
    image.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, pyramid=True, resunit="cm")
    return path


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
    anew = embed_slides([slide], tmp_path / "out", EmbedOptions(umap=False, overwrite=True))[0]
    assert anew.status == "done"
    assert (tmp_path / "out" / "ramp.h5ad").stat().st_mtime_ns > before


def test_two_slides_of_one_name_do_not_overwrite_each_other(encoder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    slides = [write_ramp(tmp_path / folder / "ramp.tif") for folder in "ab"]
    results = embed_slides(slides, tmp_path / "out", EmbedOptions(umap=False, overwrite=True))
    assert [result.status for result in results] == ["done", "failed"]
    assert "same name" in results[1].message


def test_a_folder_that_cannot_be_written_is_told_in_one_line(encoder, tmp_path, monkeypatch):
    slide = write_ramp(tmp_path / "ramp.tif")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedder.embed.anndata_io, "write_slide", full)
    (result,) = embed_slides([slide], tmp_path / "out", PLAIN)
    assert result.status == "failed"
    assert "No space left on device" in result.message
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"ramp.tif"}


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


def test_the_slide_is_reachable_from_the_folder(tmp_path):
    slide = tmp_path / "elsewhere" / "a.svs"
    slide.parent.mkdir()
    slide.write_text("pixels")
    folder = tmp_path / "out"
    folder.mkdir()
    assert place_image(slide, folder) == "a.svs"
    assert (folder / "a.svs").read_text() == "pixels"
    assert place_image(slide, folder) == "a.svs"
    inside = folder / "sub" / "b.svs"
    inside.parent.mkdir()
    inside.write_text("x")
    assert place_image(inside, folder) == "sub/b.svs"
    (folder / "c.svs").write_text("somebody else's")
    other = tmp_path / "elsewhere" / "c.svs"
    other.write_text("pixels")
    assert place_image(other, folder) is None
    assert (folder / "c.svs").read_text() == "somebody else's"


def test_the_folder_of_a_mirax_slide_comes_along(tmp_path):
    slide = tmp_path / "elsewhere" / "a.mrxs"
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a" / "Data0000.dat").write_text("pixels")
    slide.write_text("")
    folder = tmp_path / "out"
    folder.mkdir()
    assert place_image(slide, folder) == "a.mrxs"
    assert (folder / "a" / "Data0000.dat").read_text() == "pixels"
