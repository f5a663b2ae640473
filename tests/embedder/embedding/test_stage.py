"""Where a Hamamatsu scan lies on the glass is kept, and annotations of NDP.view find their patches by it."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from making.drawings import box, write_ndpa
from making.embeddings import MeanEncoder

import embedder.embedding.encoding
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.files.share import share
from embedder.patches.drawn import read_tissue
from tissuumaps_sic.annotation.seeds import read_seeds
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses
from tissuumaps_sic.truth.squares import patch_squares
from tissuumaps_sic.truth.truth import read_truth

WIDTH, HEIGHT = 1536, 1024
# The middle of the scan lies 3 mm right of and 2 mm above the middle of the glass slide; pixels have 500 nm.
MIDDLE = (3_000_000, -2_000_000)
STAGE = (MIDDLE[0] - 500.0 * WIDTH / 2, MIDDLE[1] - 500.0 * HEIGHT / 2, 500.0, 500.0)


def write_ndpi(path):
    """Write what OpenSlide takes for a scan of Hamamatsu's: a JPEG in a TIFF with their tags."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 160, (HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] += 60
    tags = [
        *((65420, "I", 1, 1, True), (65421, "f", 1, 20.0, True), (65424, "i", 1, 0, True)),
        *((65422, "i", 1, MIDDLE[0], True), (65423, "i", 1, MIDDLE[1], True)),
    ]
    tifffile.imwrite(
        path, pixels, photometric="ycbcr", compression="jpeg", rowsperstrip=HEIGHT, metadata=None,
        resolution=(20000, 20000), resolutionunit="CENTIMETER", extratags=tags,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    slide = write_ndpi(folder / "scan.ndpi")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: MeanEncoder())
        (result,) = embed_slides([slide], folder, EmbedOptions(umap=False, min_tissue=0.0))
    assert result.status == "done", result
    return Path(result.h5ad)


def test_where_the_scan_lies_on_the_glass_is_kept(made):
    with open_slide(made.parent / "scan.ndpi") as slide:
        assert slide.stage == STAGE
    assert read_provenance(made).slide.stage == STAGE


@pytest.mark.parametrize("known", ["file", "image", "nowhere"])
def test_annotations_of_ndp_view_find_their_patches(made, tmp_path, known):
    h5ad = made
    if known != "file":
        h5ad = tmp_path / "scan.h5ad"
        h5ad.write_bytes(made.read_bytes())
        with h5py.File(h5ad, "r+") as file:
            told = json.loads(file["uns/embedder"].asstr()[()])
            del told["slide"]["stage"]
            del file["uns/embedder"]
            file["uns/embedder"] = json.dumps(told)
        if known == "image":
            for name in ("scan.ndpi", "scan.tmap"):
                (tmp_path / name).write_bytes((made.parent / name).read_bytes())
    slide = open_slide_file(h5ad)
    path = write_ndpa(
        tmp_path / "scan.ndpi.ndpa", STAGE, Tumor=[box(0, 0, 512, 512)], Stroma=[[slide.centres[-1].tolist()]]
    )
    if known == "nowhere":
        with pytest.raises(Exception, match="counts from the middle of the glass slide"):
            read_seeds(path, slide, positive="Tumor")
        return
    seeds = read_seeds(path, slide, positive="Tumor")
    corners = slide.centres - 128
    shares = np.prod(np.clip(512 - corners, 0, 256) / 256, axis=1)
    assert {patch for patch, label in seeds.patches.items() if label} == set(
        slide.patch_names[shares >= 0.5 - 1e-6]
    )
    assert seeds.patches[slide.patch_names[-1]] == 0
    truth = read_truth(path, patch_squares(slide), TruthClasses.binary("Tumor"))
    assert np.abs(truth.shares[:, 1] - shares).max() < 0.01


def test_tissue_is_read_from_them_too(made, tmp_path):
    path = write_ndpa(tmp_path / "scan.ndpa", STAGE, Tissue=[box(0, 0, 768, 1024)])
    with open_slide(made.parent / "scan.ndpi") as slide:
        tissue = read_tissue(slide, path)
    assert tissue.mask[:, : tissue.mask.shape[1] // 2].mean() > 0.99
    assert tissue.mask[:, tissue.mask.shape[1] // 2 + 1 :].mean() == 0


def test_a_copy_to_be_shared_does_not_tell_it(made, tmp_path):
    share(made, tmp_path / "shared")
    assert read_provenance(tmp_path / "shared" / "scan.h5ad").slide.stage is None
