"""A slide that is damaged in places: patches there are marked, left out, too many; all others as ever."""

import errno
import json
from dataclasses import replace
from io import FileIO

import anndata
import h5py
import numpy as np
import pytest
from making.damage import TILE, cut, spoil, tissue, write_front, write_pyramid
from making.embeddings import MeanEncoder, file_contents

import embedder.embedding.encoding
from embedder.embedding import mapped
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.plan import plan_slides
from embedder.embedding.request import SlideInput
from embedder.files.combine import add_embedding
from embedder.files.share import share
from tissuumaps_sic.slidefile.contract import check

WIDTH, HEIGHT = 1600, 1280
PATCH = 64
OPTIONS = EmbedOptions(umap=False, min_tissue=0, patch_size=PATCH, batch_size=32, damage_limit=0.03)


class Spread(MeanEncoder):
    """Embeds a patch about the mean of all, so that a cosine says something; may end a run."""

    ends_after = None

    def start(self, patches, *, precision=None, cells=None):
        if self.ends_after is not None and self.encoded >= self.ends_after:
            raise KeyboardInterrupt
        return super().start(patches, precision=precision, cells=cells)

    def embed(self, patches):
        return super().embed(patches) - np.tile(np.float32([190, 125, 172]), 4)


@pytest.fixture
def encoder(monkeypatch):
    encoder = Spread()
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    return encoder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole slide of either kind, and what comes of it."""
    folder = tmp_path_factory.mktemp("made")
    paths = {
        "pyramid": write_pyramid(folder / "pyramid.tif", tissue(WIDTH, HEIGHT)),
        "front": write_front(folder / "front.tif", tissue(WIDTH, HEIGHT)),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: Spread())
        results = {kind: embed_slides([path], folder / "out", OPTIONS)[0] for kind, path in paths.items()}
    return {kind: (path, anndata.read_h5ad(results[kind].h5ad)) for kind, path in paths.items()}


@pytest.fixture
def copy(made, tmp_path):
    def copy_of(kind):
        path = tmp_path / f"{kind}.tif"
        path.write_bytes(made[kind][0].read_bytes())
        return path, made[kind][1]

    return copy_of


def touching(adata, tiles):
    """Which patches are made of pixels of some tiles of level 0, whose pixels are the patches' own."""
    x, y = (adata.obs[name].to_numpy() for name in ("x0", "y0"))
    found = np.zeros(adata.n_obs, bool)
    for column, row in tiles:
        left, top = column * TILE, row * TILE
        found |= (x < left + TILE) & (x + PATCH > left) & (y < top + TILE) & (y + PATCH > top)
    return found


def cosines(one, other):
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def damage_of(h5ad):
    with h5py.File(h5ad) as file:
        return json.loads(file["uns/embedder"].asstr()[()]).get("damage")


@pytest.mark.parametrize("half", [False, True])
def test_patches_on_a_damaged_tile_are_close_and_marked_and_all_others_the_same(
    encoder, copy, tmp_path, half
):
    path, whole = copy("pyramid")
    assert "damaged" not in whole.obs
    (result,) = embed_slides([spoil(path, (0, 5, 4), half=half)], tmp_path / "out", OPTIONS)
    assert result.status == "done", result
    adata = anndata.read_h5ad(result.h5ad)
    marked = adata.obs["damaged"].to_numpy()
    assert marked.dtype == np.bool_
    assert np.array_equal(marked, touching(whole, [(5, 4)]))
    assert np.array_equal(adata.X[~marked], whole.X[~marked])
    assert np.array_equal(adata.obsm["fine"][~marked], whole.obsm["fine"][~marked])
    assert not (adata.X[marked] == whole.X[marked]).all(axis=1).any()
    assert cosines(adata.X[marked], whole.X[marked]).min() > 0.98
    n = int(marked.sum())
    assert damage_of(result.h5ad) == {"patches": n, "left_out": 0, "left_out_at": [], "limit": 0.03}
    assert result.message.endswith(
        f"the slide is damaged: {n} of them read from another level (obs['damaged'])"
    )
    assert check(result.h5ad) == []


def test_more_than_the_limit_is_refused_in_a_sentence_that_says_what_to_do(encoder, copy, tmp_path):
    path, whole = copy("pyramid")
    spoil(path, (0, 5, 4), (0, 1, 1), (0, 9, 8))
    (result,) = embed_slides([path], tmp_path / "out", OPTIONS)
    assert result.status == "failed"
    for words in (
        "'pyramid.tif' is damaged: at least ",
        " of its 1,911 patches",
        "--damage-limit 0.1",
    ):
        assert words in result.message
    assert "\n" not in result.message
    # What was done is not done again, and where the damage was is remembered.
    encoded = encoder.encoded
    (again,) = embed_slides([path], tmp_path / "out", OPTIONS)
    assert again.status == "failed"
    assert encoder.encoded <= encoded + 64
    (more,) = embed_slides([path], tmp_path / "out", replace(OPTIONS, damage_limit=0.2))
    assert more.status == "done", more
    assert encoder.encoded < encoded + whole.n_obs
    adata = anndata.read_h5ad(more.h5ad)
    assert np.array_equal(adata.obs["damaged"], touching(whole, [(5, 4), (1, 1), (9, 8)]))


def test_a_whole_level_that_is_not_needed_changes_nothing_and_one_that_is_comes_from_the_next(
    encoder, copy, tmp_path
):
    path, whole = copy("pyramid")
    spoil(path, (2, None, None), (4, None, None))
    (result,) = embed_slides([path], tmp_path / "out", OPTIONS)
    assert result.status == "done", result
    assert np.array_equal(anndata.read_h5ad(result.h5ad).X, whole.X)
    coarse = replace(OPTIONS, mpp=2.0, patch_size=32)
    (refused,) = embed_slides([path], tmp_path / "coarse", coarse)
    assert "--damage-limit" in refused.message
    (allowed,) = embed_slides([path], tmp_path / "coarse", replace(coarse, damage_limit=1.0))
    (expected,) = embed_slides([copy("front")[0]], tmp_path / "coarse", replace(coarse, damage_limit=1.0))
    one, other = (anndata.read_h5ad(each.h5ad) for each in (allowed, expected))
    assert one.obs["damaged"].all()
    assert cosines(one.X, other.X).min() > 0.95


def test_a_file_that_is_cut_short_has_its_last_patches_from_the_smaller_level(encoder, copy, tmp_path):
    path, whole = copy("front")
    cut(path, 0.9)
    (refused,) = embed_slides([path], tmp_path / "out", OPTIONS)
    assert "is damaged: at least" in refused.message
    assert encoder.encoded == 0  # it is known beforehand
    assert "is damaged: at least" in plan_slides([SlideInput(path)], tmp_path, OPTIONS).slides[0].problem
    (result,) = embed_slides([path], tmp_path / "out", replace(OPTIONS, damage_limit=0.2))
    assert result.status == "done", result
    adata = anndata.read_h5ad(result.h5ad)
    marked = adata.obs["damaged"].to_numpy()
    assert 0.02 < marked.mean() < 0.2
    assert adata.obs["y0"].to_numpy()[marked].min() > HEIGHT / 2
    assert np.array_equal(adata.X[~marked], whole.X[~marked])
    assert cosines(adata.X[marked], whole.X[marked]).min() > 0.95


def test_what_no_level_has_is_left_out_counted_and_told(encoder, copy, tmp_path):
    path, whole = copy("pyramid")
    spoil(path, *((level, 5 // 2**level, 4 // 2**level) for level in range(5)))
    (result,) = embed_slides([path], tmp_path / "out", OPTIONS)
    assert result.status == "done", result
    adata = anndata.read_h5ad(result.h5ad)
    lost = touching(whole, [(5, 4)])
    assert result.n_patches == adata.n_obs == whole.n_obs - lost.sum()
    assert list(adata.obs_names) == list(whole.obs_names[~lost])
    assert np.array_equal(adata.X, whole.X[~lost])
    for key in ("fine", "fine_tissue", "spatial"):
        assert np.array_equal(adata.obsm[key], whole.obsm[key][~lost])
    assert "damaged" not in adata.obs
    known = damage_of(result.h5ad)
    assert (known["patches"], known["left_out"]) == (0, int(lost.sum()))
    assert known["left_out_at"] == whole.obs.loc[lost, ["x0", "y0"]].to_numpy().tolist()
    assert f"{lost.sum()} others left out, which no level has" in result.message
    assert check(result.h5ad) == []
    # Where they lay would tell a shift.
    shared = share(result.h5ad, tmp_path / "shared", key=b"a secret of enough bytes", shift=True)
    assert "left_out_at" not in damage_of(shared.path)
    assert damage_of(shared.path)["left_out"] == lost.sum()


def test_a_disk_that_is_full_when_patches_are_left_out_is_an_error(tmp_path, monkeypatch):
    class Full(FileIO):
        def write(self, data):
            # One byte at the end makes room for a map, which takes it only when it is written to.
            return super().write(data) if len(data) == 1 else self.fail()

        def fail(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped.tempfile, "TemporaryFile", lambda **place: Full(place["dir"] / "kept", "w+"))
    with pytest.raises(OSError, match="No space left"):
        mapped.select_rows(np.ones((9, 4), np.float32), np.arange(9) > 2, tmp_path)


def test_a_run_that_ended_and_goes_on_remembers_where_the_slide_was_damaged(
    encoder, copy, tmp_path, monkeypatch
):
    path, whole = copy("pyramid")
    spoil(path, (0, 5, 1), (0, 2, 8))
    spoil(path, *((level, 10 // 2**level, 1 // 2**level) for level in range(5)))
    options = replace(OPTIONS, damage_limit=0.2)
    (alone,) = embed_slides([path], tmp_path / "alone", options)
    monkeypatch.setattr(embedder.embedding.partial, "_CHECKPOINT_SECONDS", 0)
    encoder.encoded, encoder.ends_after = 0, whole.n_obs // 2
    with pytest.raises(KeyboardInterrupt):
        embed_slides([path], tmp_path / "out", options)
    encoder.ends_after = None
    before = encoder.encoded
    (result,) = embed_slides([path], tmp_path / "out", options)
    assert encoder.encoded - before < whole.n_obs * 0.6
    assert file_contents(result.h5ad) == file_contents(alone.h5ad)
    assert anndata.read_h5ad(result.h5ad).obs["damaged"].sum() > 10
    assert damage_of(result.h5ad)["left_out"] > 5


def test_marks_go_along_with_what_is_added_and_shared(encoder, copy, made, tmp_path):
    path, whole = copy("pyramid")
    (ours,) = embed_slides([path], tmp_path / "out", OPTIONS)
    spoil(path, (0, 5, 4))
    (theirs,) = embed_slides([path], tmp_path / "other", OPTIONS)
    # The hash is of the beginning and the end, which are the same.
    add_embedding(tmp_path / "out/pyramid.h5ad", tmp_path / "other/pyramid.h5ad", name="again")
    assert check(ours.h5ad) == []
    marked = anndata.read_h5ad(ours.h5ad).obs["damaged"].to_numpy()
    assert np.array_equal(marked, touching(whole, [(5, 4)]))
    shared = share(theirs.h5ad, tmp_path / "shared")
    assert np.array_equal(anndata.read_h5ad(shared.path).obs["damaged"], marked)
    assert not [each for each in shared.changes if "damage" in each.place and "left_out_at" not in each.place]
