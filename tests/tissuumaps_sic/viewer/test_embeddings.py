"""Files with several embeddings, and files in half precision: from opening to exports, without a viewer."""

import csv
import hashlib
import json
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from making.files import write_small_h5ad
from making.server import unpack
from PIL import Image
from scipy import sparse

from tissuumaps_sic.annotation import runs
from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES
from tissuumaps_sic.annotation.lending import check_comparable, lend
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, replay
from tissuumaps_sic.annotation.seeds import read_seeds
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.evaluation.report import report
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slidefile.matrix import StoredMatrix
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import embeddings, open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses
from tissuumaps_sic.viewer.serve import make_app

# In the upper left and the lower right corner: X parts them by left and right, the other by up and down.
SEEDS = {"small_0_0": 0, "small_128_0": 0, "small_1408_896": 1, "small_1280_896": 1}
SIZE = (1664, 1152)
CLASSES = TruthClasses.parse(["Upper=1", "Lower=2"])


def entry(name, *, mpp=0.5, weights="aa", **more):
    """What is recorded of an embedding."""
    return {"name": name, "weights_sha256": weights, "transform": "none"} | more, {
        "target_mpp": mpp,
        "patch_size": 256,
    }


def write(path, *, second="second", record=True, seed=0, dtype=np.float32, noise=1.0):
    """The small slide, whose X tells left from right, with another embedding that tells up from down."""
    write_small_h5ad(path, seed=seed)
    adata = anndata.read_h5ad(path)
    rng = np.random.default_rng(seed + 100)
    lower = (adata.obs["y0"] >= 512).to_numpy()
    X = rng.normal(size=(adata.n_obs, 24)) * noise + 4 * lower[:, None]
    X[:, 0] += 6
    adata.obsm[f"X_{second}"] = X.astype(dtype)
    adata.obsm["X_umap"] = rng.normal(size=(adata.n_obs, 2)).astype(np.float32)
    adata.obsm["X_umap_3d"] = rng.normal(size=(adata.n_obs, 3)).astype(np.float32)
    adata.X = adata.X.astype(dtype)
    encoder, grid = entry("first")
    known = {"slide": {"name": path.stem, "size": SIZE}, "encoder": encoder, "grid": grid}
    if record:
        other, other_grid = entry(second.removesuffix("_1mpp"), mpp=1.0 if second.endswith("_1mpp") else 0.5)
        known["encoders"] = [
            {"key": "X"} | encoder | grid,
            {"key": f"obsm/X_{second}"} | other | other_grid,
        ]
    adata.uns["embedder"] = json.dumps(known)
    adata.write_h5ad(path)
    return path


@pytest.fixture
def h5ad(tmp_path):
    return write(tmp_path / "small.h5ad")


def expected(path, embedding, *, method="refine"):
    """Labels by the estimator on what anndata reads."""
    adata = anndata.read_h5ad(path)
    X = adata.X if embedding == "X" else adata.obsm[f"X_{embedding}"]
    y = np.full(adata.n_obs, -1)
    for name, label in SEEDS.items():
        y[adata.obs_names.get_loc(name)] = label
    return (
        SeededIterativeClustering(method=method).fit(X.astype(np.float32), y, adata.obsm["spatial"]).labels_
    )


def write_seeds(path):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["patch", "class"], *SEEDS.items()])
    return str(path)


def seeded(slide):
    session = Session.new(slide)
    for name, label in SEEDS.items():
        session = session.seed([name], label)
    return session


def labels_in(path):
    with Path(path).open() as file:
        return [int(row["label"] == "Tumour") for row in csv.DictReader(file)]


# ------------------------------------------------------------------------------------------------- opening


def test_each_embedding_is_opened_by_its_name(h5ad):
    adata = anndata.read_h5ad(h5ad)
    assert np.array_equal(open_slide_file(h5ad).X, adata.X)
    slide = open_slide_file(h5ad, "second")
    assert isinstance(slide.X, StoredMatrix)
    assert np.array_equal(slide.X, adata.obsm["X_second"])
    assert np.array_equal(slide.centres, adata.obsm["spatial"])
    assert slide.embedding == "second"
    assert slide.with_embedding("second") is slide
    assert np.array_equal(slide.with_embedding("X").X, adata.X)


@pytest.mark.parametrize("name", ["third", "umap", "spatial", "second/", "../X", ""])
def test_an_unknown_embedding_is_told_with_those_that_are_there(h5ad, name):
    with pytest.raises(
        SlideFileError, match=r"small\.h5ad: has no embedding .*; there is X \(first\), second;"
    ):
        open_slide_file(h5ad, name)


def test_embeddings_are_listed_with_encoder_and_scale_and_pictures_of_them_are_not(tmp_path):
    path = write(tmp_path / "a.h5ad", second="first_1mpp")
    adata = anndata.read_h5ad(path)
    adata.obsm["X_own"] = np.ones((96, 4), np.float64)
    adata.obsm["X_sparse"] = sparse.csr_matrix(np.eye(96, dtype=np.float32))
    adata.obsm["X_whole"] = np.ones((96, 5), np.int64)
    adata.obsm["Y"] = np.ones((96, 5), np.float32)
    adata.write_h5ad(path)
    assert [(each.name, each.encoder, each.mpp, each.n_features) for each in embeddings(path)] == [
        ("X", "first", 0.5, 16),
        ("first_1mpp", "first", 1.0, 24),
        ("own", None, None, 4),
    ]
    assert [each.title for each in embeddings(path)] == ["first, 0.5 µm/px", "first, 1 µm/px", "own"]


def test_a_file_without_provenance_has_its_one_embedding(small_h5ad):
    (only,) = embeddings(small_h5ad)
    assert (only.name, only.encoder, only.title) == ("X", None, "X")
    with pytest.raises(SlideFileError, match="no such file"):
        embeddings(small_h5ad.with_name("missing.h5ad"))


def test_the_fingerprint_is_of_the_patches_and_the_same_for_every_embedding(h5ad):
    names = "\n".join(anndata.read_h5ad(h5ad).obs_names)
    # What sessions of before there were several embeddings hold.
    known = f"sha256:{hashlib.sha256(f'(96, 16){chr(10)}{names}'.encode()).hexdigest()}"
    assert open_slide_file(h5ad).fingerprint == known
    assert open_slide_file(h5ad, "second").fingerprint == known


def test_the_cache_keeps_each_embedding_and_forgets_all_of_a_file(h5ad):
    cache = SlideCache()
    first, second = cache.get(h5ad), cache.get(h5ad, "second")
    assert (first.embedding, second.embedding) == ("X", "second")
    assert cache.get(h5ad) is first
    assert cache.get(h5ad, "second") is second
    cache.forget(h5ad)
    assert cache.get(h5ad) is not first
    assert cache.get(h5ad, "second") is not second


# ------------------------------------------------------------------------------------------ runs and sessions


def test_a_run_says_which_embedding_it_was_on_and_is_replayed_on_it(h5ad, tmp_path):
    slide = open_slide_file(h5ad, "second")
    session = seeded(slide)
    run, _ = cluster(slide, session.classes, session.seeds)
    assert run.embedding == "second"
    assert np.array_equal(run.unpack(), expected(h5ad, "second"))
    assert not np.array_equal(run.unpack(), expected(h5ad, "X"))
    save_session(session_path(h5ad), session.with_run(run))
    # Whoever exports opens the file as always.
    main_slide = open_slide_file(h5ad)
    again = load_session(session_path(h5ad), main_slide)
    assert np.array_equal(replay(main_slide, again).labels, run.unpack())
    write_labels(replay(main_slide, again), tmp_path / "out.h5ad")
    made = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert json.loads(made.uns["sic"])["run"]["embedding"] == "second"
    assert np.array_equal(made.obsm["X_second"], slide.X)


def test_a_session_of_before_there_was_a_choice_was_on_x(h5ad):
    slide = open_slide_file(h5ad)
    session = seeded(slide)
    run, _ = cluster(slide, session.classes, session.seeds)
    save_session(session_path(h5ad), session.with_run(run))
    data = json.loads(session_path(h5ad).read_text())
    assert data["schema"] == "tissuumaps-sic/session/3"
    del data["run"]["embedding"]
    session_path(h5ad).write_text(json.dumps(data))
    again = load_session(session_path(h5ad), slide)
    assert again.run.embedding == "X"
    assert read_seeds(session_path(h5ad), slide).embedding == "X"
    assert np.array_equal(replay(slide, again).labels, expected(h5ad, "X"))


def test_a_run_on_an_embedding_that_is_gone_is_told(h5ad):
    slide = open_slide_file(h5ad, "second")
    session = seeded(slide)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    with h5py.File(h5ad, "r+") as file:
        del file["obsm/X_second"]
    with pytest.raises(SlideFileError, match=r"has no embedding 'second'; there is X \(first\)"):
        replay(open_slide_file(h5ad), session)


def test_the_command_runs_on_the_embedding_asked_for_else_on_the_sessions(
    h5ad, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    seeds = write_seeds(tmp_path / "seeds.csv")
    assert main(["run", str(h5ad), "--seeds", seeds, "-o", "x.csv"]) == 0
    assert labels_in("x.csv") == expected(h5ad, "X").tolist()
    assert main(["run", str(h5ad), "--seeds", seeds, "--embedding", "second", "-o", "two.csv"]) == 0
    assert labels_in("two.csv") == expected(h5ad, "second").tolist()
    assert Path("two.csv").read_text().splitlines()[0] == Path("x.csv").read_text().splitlines()[0]
    slide = open_slide_file(h5ad, "second")
    session = seeded(slide)
    run, _ = cluster(slide, session.classes, session.seeds)
    save_session(session_path(h5ad), session.with_run(run))
    capsys.readouterr()
    command = ["run", str(h5ad), "--seeds", str(session_path(h5ad)), "-o", "out.csv"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedding"] == "second"
    assert labels_in("out.csv") == expected(h5ad, "second").tolist()
    assert main([*command, "--embedding", "X"]) == 0
    assert labels_in("out.csv") == expected(h5ad, "X").tolist()
    assert main(["export", str(h5ad), "-o", "exported.csv"]) == 0
    assert labels_in("exported.csv") == expected(h5ad, "second").tolist()


def test_the_command_tells_which_embeddings_there_are(h5ad, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    seeds = write_seeds(tmp_path / "seeds.csv")
    assert main(["run", str(h5ad), "--seeds", seeds, "--embedding", "third"]) == 1
    assert "there is X (first), second" in caplog.text
    assert not list(tmp_path.glob("*.labels.csv"))


# ------------------------------------------------------------------------------------------- other slides


def test_seeds_travel_between_embeddings_made_alike_wherever_they_lie(tmp_path):
    source = open_slide_file(write(tmp_path / "small.h5ad"), "second")
    # The same encoder is the X of the other file.
    target_path = write(tmp_path / "target.h5ad", seed=5)
    adata = anndata.read_h5ad(target_path)
    swapped = anndata.AnnData(adata.obsm["X_second"], obs=adata.obs, obsm={"spatial": adata.obsm["spatial"]})
    encoder, grid = entry("second")
    swapped.uns["embedder"] = json.dumps({"encoder": encoder, "grid": grid})
    swapped.write_h5ad(target_path)
    target = open_slide_file(target_path)
    session = Session.new(target).borrow(lend(source, SEEDS, target), DEFAULT_CLASSES)
    run = runs.label(target, session).run
    lower = target.centres[:, 1] >= 512 + 128
    assert (run.unpack() == lower).mean() > 0.95
    assert run.embedding == "X"
    assert run.loans[0].embedding == "second"
    with pytest.raises(SessionError, match=r"encoder \(first there, second here\)"):
        check_comparable(source.with_embedding("X"), target)


def test_the_embedding_that_is_used_is_what_must_be_made_alike(tmp_path):
    source = open_slide_file(write(tmp_path / "small.h5ad"))
    target_path = write(tmp_path / "target.h5ad", seed=5)
    with h5py.File(target_path, "r+") as file:
        known = json.loads(file["uns/embedder"].asstr()[()])
        known["encoders"][1]["target_mpp"] = 1.0
        file["uns/embedder"][()] = json.dumps(known)
    target = open_slide_file(target_path)
    check_comparable(source, target)
    with pytest.raises(SessionError, match=r"mpp \(0.5 there, 1.0 here\)"):
        check_comparable(source.with_embedding("second"), target.with_embedding("second"))
    bare = open_slide_file(write(tmp_path / "bare.h5ad", record=False), "second")
    with pytest.raises(SessionError, match=r"bare\.h5ad: does not say how its embedding second was embedded"):
        check_comparable(source.with_embedding("second"), bare)


def test_the_command_takes_seeds_of_another_slide_by_embedding(h5ad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = write(tmp_path / "target.h5ad", seed=5)
    seeds = write_seeds(tmp_path / "seeds.csv")
    command = ["run", str(target), "--seeds", seeds, "--from", str(h5ad), "-o", "out.csv"]
    y = open_slide_file(target).centres[:, 1]
    x = open_slide_file(target).centres[:, 0]
    assert main([*command, "--embedding", "second"]) == 0
    assert np.mean(labels_in("out.csv") == (y >= 512 + 128)) > 0.95
    assert main(command) == 0
    assert np.mean(labels_in("out.csv") == (x >= 768 + 128)) > 0.95


# ------------------------------------------------------------------------------------------------ evaluating


def mask(folder, name):
    image = np.ones((SIZE[1] // 16, SIZE[0] // 16), np.uint8)
    image[40:] = 2
    Image.fromarray(image).save(folder / f"{name}_mask.png")
    return folder


def measured(pairs, **options):
    options = {"methods": ("refine",), "seeds_per_class": (1, 3), "repeats": 3, "clicks": 4} | options
    return evaluate(pairs, classes=CLASSES, **options)


def test_every_embedding_is_an_encoder_of_its_own_with_the_same_draws(h5ad, tmp_path):
    adata = anndata.read_h5ad(h5ad)
    adata.obsm["X_twin"] = adata.X.copy()
    adata.write_h5ad(h5ad)
    mask(tmp_path, "small")
    all_of_them = measured([(h5ad, tmp_path)], embeddings=["all"])
    assert not all_of_them.failures
    assert all_of_them.slides[["encoder", "embedding"]].to_numpy().tolist() == [
        ["first", "X"], ["second", "second"], ["twin", "twin"],
    ]  # fmt: skip
    f1 = {name: rows["f1"].tolist() for name, rows in all_of_them.runs.groupby("encoder")}
    assert f1["first"] == f1["twin"]
    assert np.mean(f1["second"]) > 0.95 > 0.7 > np.mean(f1["first"])
    assert report(all_of_them)["parameters"]["embeddings"] == ["all"]
    # Each alone gives what it gives among others, and without a choice it is X.
    for chosen, name in ((["second"], "second"), (["X"], "first"), (None, "first")):
        alone = measured([(h5ad, tmp_path)], **({"embeddings": chosen} if chosen else {}))
        for table in ("runs", "clicks"):
            among = getattr(all_of_them, table)
            among = among[among["encoder"] == name].reset_index(drop=True)
            pd.testing.assert_frame_equal(getattr(alone, table), among)


def test_a_file_without_the_embedding_fails_alone(h5ad, tmp_path):
    plain = write(tmp_path / "plain.h5ad", second="other")
    mask(mask(tmp_path, "small"), "plain")
    evaluation = measured([(h5ad, tmp_path), (plain, tmp_path)], embeddings=["X", "second", "X"])
    (failure,) = evaluation.failures
    assert failure.message == "plain.h5ad: has no embedding 'second'; choose one of X, other"
    assert evaluation.slides[["slide", "encoder"]].to_numpy().tolist() == [
        ["small", "first"], ["small", "second"], ["plain", "first"],
    ]  # fmt: skip


def test_an_embedding_named_as_the_encoder_of_x_is_told_from_it(tmp_path):
    path = write(tmp_path / "small.h5ad", second="first")
    evaluation = measured([(path, mask(tmp_path, "small"))], embeddings=["all"])
    assert evaluation.slides["encoder"].tolist() == ["first", "X_first"]


def test_the_evaluate_command_takes_embeddings(h5ad, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mask(tmp_path, "small")
    command = ["evaluate", str(h5ad), "--truth", str(tmp_path), "--class", "Upper=1", "--class", "Lower=2"]
    command += ["--seeds", "1", "--repeats", "2", "--clicks", "0", "--methods", "sic"]
    for chosen, encoders in (
        (["all"], ["first", "second"]),
        (["second"], ["second"]),
        (["second", "X"], ["second", "first"]),
    ):
        assert main([*command, "--embedding", *chosen, "-o", "out"]) == 0
        assert list(pd.read_csv("out/evaluation.csv")["encoder"].unique()) == encoders
    assert main([*command, "--embedding", "X", "third", "-o", "out"]) == 1
    capsys.readouterr()


# ------------------------------------------------------------------------------------------------- the server


@pytest.fixture
def client(tmp_path):
    (tmp_path / "served").mkdir()
    write(tmp_path / "served" / "small.h5ad")
    app = make_app(tmp_path / "served")
    app.config["READ_ONLY"] = False
    return app.test_client()


def post(client, endpoint, **content):
    return client.post(f"/plugins/SIC/{endpoint}", json={"h5ad": "small.h5ad"} | content)


def test_the_page_is_given_the_embeddings_and_runs_on_the_chosen_one(client, tmp_path):
    path = tmp_path / "served" / "small.h5ad"
    state = post(client, "open").json
    assert state["embeddings"] == [
        {"name": "X", "title": "first, 0.5 µm/px"},
        {"name": "second", "title": "second, 0.5 µm/px"},
    ]
    index = open_slide_file(path).index
    for name, label in SEEDS.items():
        change = {"kind": "seed", "label": label, "patches": [index[name]]}
        state = post(client, "change", revision=state["revision"], change=change).json
    for embedding in ("X", "second"):
        state, labels = unpack(post(client, "run", revision=state["revision"], embedding=embedding))
        assert np.array_equal(labels, expected(path, embedding))
        assert state["run"]["embedding"] == embedding
        assert not state["run"]["stale"]
    again, labels = unpack(post(client, "labels"))
    assert again["run"]["embedding"] == "second"
    assert np.array_equal(labels, expected(path, "second"))
    assert post(client, "write", revision=state["revision"]).json == {"written": "small.h5ad"}
    assert np.array_equal(anndata.read_h5ad(path).obs["sic_label"].cat.codes, expected(path, "second"))
    refused = post(client, "run", revision=state["revision"], embedding="third")
    assert refused.status_code == 422
    assert "there is X (first), second" in refused.json["error"]
    assert post(client, "run", revision=state["revision"], embedding="").status_code == 422


# --------------------------------------------------------------------------------------------- half precision


@pytest.fixture
def halves(tmp_path):
    """A file in half precision, and one of the same numbers in single."""
    for name in ("half", "single"):
        (tmp_path / name).mkdir()
    half = write(tmp_path / "half" / "small.h5ad", dtype=np.float16)
    adata = anndata.read_h5ad(half)
    adata.X = adata.X.astype(np.float32)
    adata.obsm["X_second"] = adata.obsm["X_second"].astype(np.float32)
    adata.write_h5ad(tmp_path / "single" / "small.h5ad")
    return half, tmp_path / "single" / "small.h5ad"


@pytest.mark.parametrize("method", ["sic", "refine"])
@pytest.mark.parametrize("embedding", ["X", "second"])
def test_half_precision_is_mapped_and_labelled_as_the_same_numbers_in_single(halves, method, embedding):
    labels = []
    for path, dtype in zip(halves, (np.float16, np.float32), strict=True):
        slide = open_slide_file(path, embedding)
        assert isinstance(slide.X, StoredMatrix)
        assert slide.X.dtype == dtype
        run, scores = cluster(slide, DEFAULT_CLASSES, SEEDS, method=method)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        labels.append(run.unpack())
    assert np.array_equal(*labels)
    assert np.array_equal(labels[0], expected(halves[1], embedding, method=method))


def test_half_precision_goes_through_run_export_and_transfer(halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    half, _ = halves
    seeds = write_seeds(tmp_path / "seeds.csv")
    assert main(["run", str(half), "--seeds", seeds, "-o", "out.csv"]) == 0
    assert labels_in("out.csv") == expected(half, "X").tolist()
    slide = open_slide_file(half)
    session = seeded(slide)
    run, _ = cluster(slide, session.classes, session.seeds)
    save_session(session_path(half), session.with_run(run))
    assert main(["export", str(half), "--format", "h5ad", "-o", "out.h5ad"]) == 0
    made = anndata.read_h5ad("out.h5ad")
    assert made.X.dtype == np.float16
    assert np.array_equal(made.X, slide.X)
    assert np.array_equal(made.obs["sic_label"].cat.codes, run.unpack())
    target = write(tmp_path / "target.h5ad", seed=5, dtype=np.float16)
    assert main(["run", str(target), "--seeds", seeds, "--from", str(half), "-o", "far.csv"]) == 0
    x = open_slide_file(target).centres[:, 0]
    assert np.mean(labels_in("far.csv") == (x >= 768 + 128)) > 0.95


def test_half_precision_is_evaluated_as_the_same_numbers_in_single(halves):
    found = []
    for path in halves:
        mask(path.parent, "small")
        evaluation = measured([(path, path.parent)], embeddings=["all"], methods=("sic", "refine"))
        assert not evaluation.failures
        found.append(evaluation)
    pd.testing.assert_frame_equal(found[0].runs, found[1].runs)
    pd.testing.assert_frame_equal(found[0].clicks, found[1].clicks)


def test_half_precision_in_a_compressed_file_is_read_too(halves, tmp_path):
    half, _ = halves
    anndata.read_h5ad(half).write_h5ad(tmp_path / "packed.h5ad", compression="gzip")
    for embedding in ("X", "second"):
        packed = open_slide_file(tmp_path / "packed.h5ad", embedding)
        assert packed.X.dtype == np.float16
        assert np.array_equal(packed.X, open_slide_file(half, embedding).X)


def test_the_server_runs_on_half_precision(halves):
    half, _ = halves
    app = make_app(half.parent)
    app.config["READ_ONLY"] = False
    client = app.test_client()
    state, index = post(client, "open").json, open_slide_file(half).index
    for label in (0, 1):
        patches = [index[name] for name, each in SEEDS.items() if each == label]
        change = {"kind": "seed", "label": label, "patches": patches}
        state = post(client, "change", revision=state["revision"], change=change).json
    _, labels = unpack(post(client, "run", revision=state["revision"]))
    assert np.array_equal(labels, expected(half, "X"))
