"""--icc: embeddings are of converted pixels, the file says so, and no run mixes the two."""

import json
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pytest
from making.damage import make_profile, tissue, write_pyramid
from making.embeddings import MeanEncoder
from making.tiff import UNDEFINED, page, write_tiff

import embedder.embedding.encoding
from embedder.commands import options as command_options
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.request import SlideInput
from embedder.files.share import share
from embedder.pretraining.samples import digest, draw, find_candidates
from embedder.pretraining.store import PatchStore
from tissuumaps_sic.slidefile.contract import check
from tissuumaps_sic.slidefile.pixels.colours import ColourProfile

PLAIN = EmbedOptions(umap=False, min_tissue=0, patch_size=64, fine=False)
CONVERTED = replace(PLAIN, icc=True)
PROFILE = make_profile()
BROKEN = (UNDEFINED, b"no profile" * 50)
RESOLUTION = {282: 20_000.0, 283: 20_000.0, 296: 3}


class Ending(MeanEncoder):
    """May end a run."""

    ends_after = None

    def start(self, patches, *, precision=None, cells=None):
        if self.ends_after is not None and self.encoded >= self.ends_after:
            raise KeyboardInterrupt
        return super().start(patches, precision=precision, cells=cells)


@pytest.fixture
def encoder(monkeypatch):
    encoder = Ending()
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    return encoder


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    pixels = tissue(600, 500)
    return {
        "with": write_pyramid(folder / "with.tif", pixels, profile=PROFILE),
        "without": write_pyramid(folder / "without.tif", pixels),
        "broken": write_tiff(folder / "broken.tif", page(pixels, tags=RESOLUTION | {34675: BROKEN})),
    }


def known_of(h5ad):
    with h5py.File(h5ad) as file:
        return json.loads(file["uns/embedder"].asstr()[()])


def test_embeddings_are_of_the_converted_pixels_where_it_is_asked_for_and_there_is_a_profile(
    encoder, slides, tmp_path, caplog
):
    found = {}
    for name, options in (("plain", PLAIN), ("icc", CONVERTED)):
        for kind in ("with", "without"):
            (result,) = embed_slides([slides[kind]], tmp_path / name, options)
            assert result.status == "done", result
            assert check(result.h5ad) == []
            found[name, kind] = anndata.read_h5ad(result.h5ad).X, known_of(result.h5ad)
    assert np.array_equal(found["plain", "with"][0], found["plain", "without"][0])
    assert np.array_equal(found["icc", "without"][0], found["plain", "without"][0])
    assert np.abs(found["icc", "with"][0] - found["plain", "with"][0]).mean() > 3
    profile = {"description": "made up scanner", "sha256": ColourProfile(PROFILE).sha256}
    none = {"description": None, "sha256": None}
    for name, kind, expected, applied in (
        ("plain", "with", profile, False),
        ("icc", "with", profile, True),
        ("plain", "without", none, False),
        ("icc", "without", none, False),
    ):
        known = found[name, kind][1]
        assert (known["slide"]["colour_profile"], known["encoder"]["icc"]) == (expected, applied)
    assert "'without.tif' has no colour profile" in caplog.text
    # The first pixels by hand, by Pillow.
    assert np.abs(found["icc", "with"][0][0, :3] - means_of(slides["with"])).max() < 1


def means_of(path):
    import io

    import tifffile
    from PIL import Image, ImageCms

    with tifffile.TiffFile(path) as file:
        pixels = file.pages[0].asarray()[:64, :32]
    profile = ImageCms.getOpenProfile(io.BytesIO(PROFILE))
    made = ImageCms.profileToProfile(Image.fromarray(pixels), profile, ImageCms.createProfile("sRGB"))
    return np.asarray(made).mean(axis=(0, 1))


def test_a_broken_profile_is_recorded_and_refused_only_where_it_is_to_be_applied(encoder, slides, tmp_path):
    (result,) = embed_slides([slides["broken"]], tmp_path / "out", PLAIN)
    assert result.status == "done"
    known = known_of(result.h5ad)["slide"]["colour_profile"]
    assert (known["description"], len(known["sha256"])) == (None, 64)
    (refused,) = embed_slides([slides["broken"]], tmp_path / "icc", CONVERTED)
    assert refused.status == "failed"
    assert "'broken.tif' has a colour profile that cannot convert its pixels" in refused.message


def test_a_file_made_otherwise_is_kept_and_told_and_one_without_a_profile_is_the_same(
    encoder, slides, tmp_path
):
    for first, second, told in (
        (PLAIN, CONVERTED, "encoder icc is False, not True"),
        (CONVERTED, PLAIN, "encoder icc is True, not False"),
    ):
        out = tmp_path / str(first.icc)
        two = [slides["with"], slides["without"]]
        embed_slides(two, out, first)
        there, without = embed_slides(two, out, second)
        assert (there.status, without.status) == ("failed", "skipped")
        assert told in there.message
        assert [each.status for each in embed_slides(list(slides.values())[:2], out, first)] == [
            "skipped"
        ] * 2


def test_a_file_of_before_profiles_were_recorded_is_one_of_the_slides_own_colours(encoder, slides, tmp_path):
    (result,) = embed_slides([slides["with"]], tmp_path, PLAIN)
    with h5py.File(result.h5ad, "r+") as file:
        known = json.loads(file["uns/embedder"].asstr()[()])
        del known["encoder"]["icc"], known["slide"]["colour_profile"]
        file["uns/embedder"][()] = json.dumps(known)
    (again,) = embed_slides([slides["with"]], tmp_path, PLAIN)
    assert again.status == "skipped"
    (other,) = embed_slides([slides["with"]], tmp_path, CONVERTED)
    assert other.status == "failed"


def test_a_run_that_ended_goes_on_only_with_the_same_colours(encoder, slides, tmp_path):
    (alone,) = embed_slides([slides["with"]], tmp_path / "alone", CONVERTED)
    n = alone.n_patches
    for options, left in ((PLAIN, n), (CONVERTED, n // 2)):
        out = tmp_path / str(options.icc)
        encoder.encoded, encoder.ends_after = 0, n // 2 + 40
        with pytest.raises(KeyboardInterrupt):
            embed_slides([slides["with"]], out, CONVERTED)
        encoder.encoded, encoder.ends_after = 0, None
        (result,) = embed_slides([slides["with"]], out, options)
        assert result.status == "done"
        assert encoder.encoded >= left if options is PLAIN else encoder.encoded < n
    assert np.array_equal(anndata.read_h5ad(result.h5ad).X, anndata.read_h5ad(alone.h5ad).X)


def test_a_shared_copy_keeps_the_hash_of_the_profile_and_not_what_it_says_of_itself(
    encoder, slides, tmp_path
):
    (result,) = embed_slides([slides["with"]], tmp_path, CONVERTED)
    known = known_of(share(result.h5ad, tmp_path / "shared").path)
    assert known["slide"]["colour_profile"] == {"sha256": ColourProfile(PROFILE).sha256}
    assert known["encoder"]["icc"] is True
    renamed = known_of(
        share(result.h5ad, tmp_path / "named", key=b"a secret of enough bytes", rename=True).path
    )
    assert renamed["slide"]["colour_profile"]["sha256"] is None


def test_what_is_trained_on_is_converted_too(slides, tmp_path):
    items = [SlideInput(slides["with"])]
    drawn = {}
    for icc in (False, True):
        candidates, failures = find_candidates(items, options=replace(PLAIN, icc=icc))
        assert failures == []
        drawn[icc] = draw(candidates, 20, seed=0)
    assert digest(drawn[False]) != digest(drawn[True])
    assert [each.profile for each in drawn[True]] == [ColourProfile(PROFILE).sha256]
    plain, converted = (
        PatchStore.open(tmp_path / str(icc), drawn[icc]).patches.astype(int) for icc in (False, True)
    )
    to_srgb = ColourProfile(PROFILE).to_srgb()
    expected = np.stack([to_srgb(each.astype(np.uint8)) for each in plain]).astype(int)
    assert np.abs(converted - expected).max() <= 2
    assert np.abs(converted - plain).mean() > 3


def test_the_commands_know_the_options():
    import argparse

    parser = argparse.ArgumentParser()
    command_options.add_embedding(parser)
    command_options.set_defaults(parser, EmbedOptions())
    given = command_options.read_options(EmbedOptions, parser.parse_args(["--icc", "--damage-limit", "0.05"]))
    assert (given.icc, given.damage_limit) == (True, 0.05)
    plain = command_options.read_options(EmbedOptions, parser.parse_args([]))
    assert (plain.icc, plain.damage_limit) == (False, 0.01)
