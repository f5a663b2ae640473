"""Embeddings of other encoders and scales in one file, each patch with the one that lies where it lies."""

import json

import anndata
import h5py
import numpy as np
import pytest
from making.slides import project

from embedder.embedding.writing import write_matrix, write_slide
from embedder.files import combine
from embedder.files.combine import CombineError, add_embedding
from embedder.patches.grid import PatchGrid
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.contract import ContractError, Problem, check
from tissuumaps_sic.slidefile.provenance import Provenance

SIZE = (1500, 1190)  # wider than high, and a multiple of no stride


def write(
    path,
    *,
    encoder="first",
    mpp=0.5,
    overlap=0.5,
    patch_size=256,
    size=SIZE,
    bounds=None,
    digest="aa",
    keep=None,
    order=None,
    dtype=np.float32,
    n_features=6,
):
    """A slide of 0.5 µm per pixel whose embeddings begin with x and y of the patch's centre."""
    grid = PatchGrid.plan(
        size, mpp_x=0.5, mpp_y=0.5, target_mpp=mpp, patch_size=patch_size, overlap=overlap, bounds=bounds
    )
    if keep is not None:
        grid = grid.select(keep(*grid.centres.T))
    rows = np.arange(len(grid)) if order is None else order(len(grid))
    centres = grid.centres[rows]
    X = np.random.default_rng(0).normal(size=(len(rows), n_features)).astype(np.float32)
    X[:, :2] = centres
    write_slide(
        path,
        X=X,
        x0=grid.x0[rows],
        y0=grid.y0[rows],
        centres=centres,
        tissue=np.ones(len(rows), np.float32),
        umap2=np.zeros((len(rows), 2), np.float32),
        umap3=np.zeros((len(rows), 3), np.float32),
        colors=["#808080"] * len(rows),
        slide_name="slide",
        encoder_name=encoder,
        provenance=Provenance.of({
            "slide": {
                "name": "slide", "size": list(size), "bounds": list(bounds or (0, 0, *size)), "hash": digest,
            },
            "grid": {
                "target_mpp": mpp, "patch_size": patch_size, "overlap": overlap, "stride": grid.stride,
                "scale": grid.scale, "patch_size0": grid.patch_size0,
            },
            "encoder": {"name": encoder, "weights_sha256": encoder * 2, "transform": "none"},
            **{key: {} for key in ("tissue", "versions", "seconds")},
        }),
        tmap=project(centres, image="slide.svs"),
    )  # fmt: skip
    with h5py.File(path, "r+") as file:
        write_matrix(file, "X", X.astype(dtype))
    return path


@pytest.fixture
def base(tmp_path):
    return write(tmp_path / "slide.h5ad")


def other(tmp_path, **options):
    (tmp_path / "other").mkdir(exist_ok=True)
    return write(tmp_path / "other" / "slide.h5ad", **{"encoder": "second"} | options)


def found(base, name):
    adata = anndata.read_h5ad(base)
    return adata.obsm["spatial"], adata.obsm[f"X_{name}"]


def nearest(centres, others):
    """The nearest centre of `others`, by trying all; of equals the first."""
    distances = np.linalg.norm(centres[:, None] - others[None], axis=2).round(6)
    return distances.argmin(axis=1)


@pytest.mark.parametrize("block_bytes", [combine._BLOCK_BYTES, 100])
def test_every_patch_gets_the_embedding_of_its_own_place(base, tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(combine, "_BLOCK_BYTES", block_bytes)
    shuffled = other(tmp_path, order=lambda n: np.random.default_rng(1).permutation(n), n_features=9)
    added = add_embedding(base, shuffled)
    centres, X = found(base, "second")
    assert np.array_equal(X[:, :2], centres)
    theirs = anndata.read_h5ad(shuffled)
    row_of = {tuple(place): row for row, place in enumerate(theirs.obsm["spatial"])}
    assert np.array_equal(X, theirs.X[[row_of[tuple(place)] for place in centres]])
    assert (added.name, added.n_patches, added.n_features) == ("second", len(centres), 9)
    assert (added.dtype, added.farthest) == ("float32", 0)


@pytest.mark.parametrize(
    ("mpp", "overlap"),
    [(1.0, 0.5), (1.0, 0.75), (2.0, 0.75), (0.5, 0.25), (0.4, 0.5)],
)
def test_another_scale_is_matched_by_the_nearest_centre(base, tmp_path, mpp, overlap):
    wide = other(tmp_path, encoder="first", mpp=mpp, overlap=overlap)
    added = add_embedding(base, wide, name="scale")
    centres, X = found(base, "scale")
    theirs = anndata.read_h5ad(wide)
    partners = nearest(centres, theirs.obsm["spatial"])
    assert np.array_equal(X, theirs.X[partners])
    assert added.farthest == pytest.approx(np.abs(centres - theirs.obsm["spatial"][partners]).max())


def test_patches_at_the_rim_get_the_nearest_that_a_larger_field_can_have(base, tmp_path):
    wide = other(tmp_path, mpp=1.0, overlap=0.75)
    assert add_embedding(base, wide).farthest == 128
    centres, X = found(base, "second")
    corner = int(np.flatnonzero((centres == (128, 128)).all(axis=1))[0])
    assert X[corner, :2].tolist() == [256, 256]
    # Bounds shift both grids alike.
    bounds = (100, 60, 1400, 1100)
    inner = write(tmp_path / "inner.h5ad", bounds=bounds)
    assert add_embedding(inner, other(tmp_path, mpp=1.0, overlap=0.75, bounds=bounds)).farthest == 128


def test_a_patch_is_never_given_a_field_that_does_not_hold_its_centre(base, tmp_path):
    # One field of 1024 at the upper left of a slide of 1500 x 1190; the next would begin at 1024.
    lone = other(tmp_path, mpp=2.0, overlap=0)
    with pytest.raises(CombineError, match="has no patch near"):
        add_embedding(base, lone)
    centres = anndata.read_h5ad(base).obsm["spatial"]
    inside = write(tmp_path / "in.h5ad", keep=lambda x, y: (x <= 1024) & (y <= 1024))
    assert add_embedding(inside, lone).n_patches == (centres <= 1024).all(axis=1).sum()


def test_patches_without_a_partner_are_counted_with_what_to_do(base, tmp_path):
    before = base.read_bytes()
    partial = other(tmp_path, mpp=1.0, keep=lambda x, y: x < 800)
    with pytest.raises(CombineError) as caught:
        add_embedding(base, partial)
    x, _ = anndata.read_h5ad(base).obsm["spatial"].T
    # The last of its centres are at 768, good for half a stride of 256 more.
    assert f"has no patch near {(x > 768 + 128).sum()} of the {len(x)} patches" in str(caught.value)
    assert "--min-tissue 0 and --overlap 0.75" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert base.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "slide.h5ad"]
    # What it says helps.
    assert add_embedding(base, other(tmp_path, mpp=1.0, overlap=0.75)).n_patches == len(x)


def test_a_hole_inside_is_not_bridged_by_what_the_rim_is_allowed(base, tmp_path):
    # Only the patch at (640, 512) is missing: the next are a stride of 128 away, less than at the rim.
    holed = other(tmp_path, mpp=1.0, overlap=0.75, keep=lambda x, y: (x != 640) | (y != 512))
    with pytest.raises(CombineError, match="has no patch near 1 of the"):
        add_embedding(base, holed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digest": "bb"}, "is not of the same slide"),
        ({"digest": None, "size": (1500, 1191)}, r"is not of the same slide .*1500 x 1190.*1500 x 1191"),
    ],
)
def test_another_slide_is_refused(base, tmp_path, options, message):
    with pytest.raises(CombineError, match=message):
        add_embedding(base, other(tmp_path, **options))


def test_without_hashes_name_and_size_tell_the_slide(tmp_path):
    base = write(tmp_path / "slide.h5ad", digest=None)
    assert add_embedding(base, other(tmp_path)).name == "second"


def test_names_follow_encoder_and_scale(base, tmp_path):
    assert add_embedding(base, other(tmp_path)).name == "second"
    assert add_embedding(base, other(tmp_path, mpp=1.0, overlap=0.75)).name == "second_1mpp"
    assert add_embedding(base, other(tmp_path, encoder="first", mpp=1.0, overlap=0.75)).name == "first_1mpp"
    assert add_embedding(base, other(tmp_path), name="my net/v2 é").name == "my-net-v2-"
    assert add_embedding(base, other(tmp_path, encoder="a b")).name == "a-b"
    with pytest.raises(CombineError, match="has an embedding named second_1mpp already"):
        add_embedding(base, other(tmp_path, mpp=1.0, overlap=0.75))
    # The first of its encoder keeps its name, also where there are more by now.
    with pytest.raises(CombineError, match="has an embedding named second already"):
        add_embedding(base, other(tmp_path))
    # One that was given a name of its own is in nobody's way.
    add_embedding(base, other(tmp_path, mpp=0.75), name="own")
    assert add_embedding(base, other(tmp_path, mpp=0.75)).name == "second_0.75mpp"
    assert check(base) == []


@pytest.mark.parametrize("name", ["umap", "umap_3d", "X", "all", "first", "é", ""])
def test_names_that_would_be_mistaken_are_refused(base, tmp_path, name):
    with pytest.raises(CombineError, match="--name"):
        add_embedding(base, other(tmp_path), name=name)


def test_the_same_embedding_twice_is_refused_by_its_name(base, tmp_path):
    with pytest.raises(CombineError, match="its X is of first already"):
        add_embedding(base, other(tmp_path, encoder="first"))


def test_an_embedding_is_replaced_only_when_asked(base, tmp_path):
    add_embedding(base, other(tmp_path))
    assert add_embedding(base, other(tmp_path, n_features=11), replace=True).n_features == 11
    assert found(base, "second")[1].shape[1] == 11
    known = json.loads(anndata.read_h5ad(base).uns["embedder"])
    assert [each["key"] for each in known["encoders"]] == ["X", "obsm/X_second"]


def test_the_provenance_tells_how_each_was_made_and_keeps_the_rest(base, tmp_path):
    before = json.loads(anndata.read_h5ad(base).uns["embedder"])
    add_embedding(base, other(tmp_path, mpp=1.0, overlap=0.75))
    after = json.loads(anndata.read_h5ad(base).uns["embedder"])
    assert {key: value for key, value in after.items() if key != "encoders"} == before
    assert after["encoders"] == [
        {
            "key": "X", "name": "first", "weights_sha256": "firstfirst", "transform": "none",
            "target_mpp": 0.5, "patch_size": 256, "overlap": 0.5, "stride": 128,
        },
        {
            "key": "obsm/X_second", "name": "second", "weights_sha256": "secondsecond", "transform": "none",
            "target_mpp": 1.0, "patch_size": 256, "overlap": 0.75, "stride": 64,
        },
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_file_keeps_what_it_held_and_what_was_added_can_be_mapped(base, tmp_path, dtype):
    before = anndata.read_h5ad(base)
    added = add_embedding(base, other(tmp_path, dtype=dtype))
    assert added.dtype == np.dtype(dtype).name
    after = anndata.read_h5ad(base)
    assert np.array_equal(after.X, before.X)
    assert after.obs.equals(before.obs)
    assert np.array_equal(after.obsm["X_umap"], before.obsm["X_umap"])
    assert after.uns["tmap"] == before.uns["tmap"]
    assert after.obsm["X_second"].dtype == dtype
    with h5py.File(base) as file:
        dataset = file["obsm/X_second"]
        assert dict(dataset.attrs) == {"encoding-type": "array", "encoding-version": "0.2.0"}
        assert dataset.chunks is None
        where = {"offset": dataset.id.get_offset(), "shape": dataset.shape}
    assert np.array_equal(np.memmap(base, dtype=dtype, mode="r", **where), after.obsm["X_second"])
    assert check(base) == []


def test_the_local_half_opens_what_was_added(base, tmp_path):
    from tissuumaps_sic.slides.slide import embeddings, open_slide_file

    before = open_slide_file(base).fingerprint
    add_embedding(base, other(tmp_path, mpp=1.0, overlap=0.75, dtype=np.float16))
    assert [each.title for each in embeddings(base)] == ["first, 0.5 µm/px", "second, 1 µm/px"]
    slide = open_slide_file(base, "second")
    assert slide.fingerprint == before
    assert np.array_equal(slide.X, found(base, "second")[1])


def test_a_compressed_file_can_be_added(base, tmp_path):
    packed = other(tmp_path)
    adata = anndata.read_h5ad(packed)
    adata.write_h5ad(packed, compression="gzip", convert_strings_to_categoricals=False)
    add_embedding(base, packed)
    assert np.array_equal(found(base, "second")[1], adata.X)


def _without(*keys):
    def spoil(path):
        with h5py.File(path, "r+") as file:
            known = json.loads(file["uns/embedder"].asstr()[()])
            part = known
            for key in keys[:-1]:
                part = part[key]
            del part[keys[-1]]
            file["uns/embedder"][()] = json.dumps(known)

    return spoil


def _in_doubles(path):
    with h5py.File(path, "r+") as file:
        X = file["X"][()]
        del file["X"]
        file["X"] = X.astype(np.float64)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_text("x"), "cannot be read as HDF5; it is a text that begins 'x'"),
        (_without("encoder", "name"), "does not name its encoder"),
        (_without("grid", "scale"), "does not tell where its patches lie"),
        (_in_doubles, "its X is float64"),
    ],
)
def test_a_file_that_cannot_be_added_is_told_in_one_line(base, tmp_path, spoil, message):
    spoilt = other(tmp_path)
    spoil(spoilt)
    before = base.read_bytes()
    with pytest.raises(CombineError, match=message) as caught:
        add_embedding(base, spoilt)
    assert "\n" not in str(caught.value)
    assert base.read_bytes() == before


def test_a_file_that_would_break_the_contract_is_not_written(base, tmp_path, monkeypatch):
    before = base.read_bytes()
    monkeypatch.setattr(combine, "check", lambda path: [Problem("rule", "broken", "mend it")])
    with pytest.raises(ContractError, match=r"slide\.h5ad would break the file contract \(rule: broken\)"):
        add_embedding(base, other(tmp_path))
    assert base.read_bytes() == before
    assert not list(tmp_path.glob(".slide*"))


def test_a_file_that_another_run_is_writing_is_left_alone(base, tmp_path):
    before = base.read_bytes()
    with (
        leases.hold_lock(tmp_path / ".slide.lock"),
        pytest.raises(CombineError, match=r"^slide\.h5ad: .*process"),
    ):
        add_embedding(base, other(tmp_path))
    assert base.read_bytes() == before
