"""The endpoints in TissUUmaps' own Flask application: what they answer, and whom they refuse."""

import json
import shutil

import anndata
import numpy as np
import pytest
from making.files import write_small_h5ad
from making.server import unpack

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server
from tissuumaps_sic.viewer.serve import make_app
from tissuumaps_sic.viewer.worklist import page


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served" / "sub").mkdir(parents=True)
    write_small_h5ad(tmp_path / "served" / "sub" / "small.h5ad")
    write_small_h5ad(tmp_path / "outside.h5ad")
    return tmp_path / "served"


@pytest.fixture
def app(folder):
    app = make_app(folder)
    app.config["READ_ONLY"] = False
    yield app
    app.config["READ_ONLY"] = False


@pytest.fixture
def client(app):
    return app.test_client()


H5AD = "sub/small.h5ad"
SEEDS = {0: 0, 13: 0, 11: 1, 22: 1}


def post(client, endpoint, content, **options):
    return client.post(f"/plugins/SIC/{endpoint}", json=content, **options)


def change(client, revision, **what):
    return post(client, "change", {"h5ad": H5AD, "revision": revision, "change": what})


def seed_all(client):
    revision = 0
    for row, label in SEEDS.items():
        state = change(client, revision, kind="seed", label=label, patches=[row]).json
        revision = state["revision"]
    return state


def test_seeds_are_rows_of_the_file_and_labels_come_back_in_its_order(client, folder):
    state = seed_all(client)
    assert state["seeds"] == {"patches": sorted(SEEDS), "labels": [SEEDS[row] for row in sorted(SEEDS)]}
    state, labels = unpack(post(client, "run", {"h5ad": H5AD, "revision": state["revision"]}))
    adata = anndata.read_h5ad(folder / H5AD)
    y = np.full(adata.n_obs, -1)
    for row, label in SEEDS.items():
        y[row] = label
    expected = SeededIterativeClustering(method="refine").fit(adata.X, y, adata.obsm["spatial"]).labels_
    assert np.array_equal(labels, expected)
    assert state["run"]["method"] == "refine"
    assert state["run"]["counts"] == np.bincount(labels, minlength=2).tolist()
    assert not state["run"]["stale"]
    assert np.array_equal(unpack(post(client, "labels", {"h5ad": H5AD}))[1], labels)
    assert change(client, state["revision"], kind="undo").json["run"]["stale"]
    assert post(client, "open", {"h5ad": H5AD}).json["run"]["stale"]


def test_the_session_lies_beside_the_file_and_is_written_at_every_change(client, folder):
    assert not (folder / "sub" / "small.sic.json").exists()
    assert change(client, 0, kind="seed", label=1, patches=[5, 6]).json["can_undo"]
    saved = json.loads((folder / "sub" / "small.sic.json").read_text())
    assert saved["actions"][0]["patches"] == ["small_640_0", "small_768_0"]


def test_a_page_that_has_not_seen_the_last_change_is_refused(client):
    assert change(client, 0, kind="seed", label=1, patches=[5]).status_code == 200
    late = change(client, 0, kind="seed", label=0, patches=[6])
    assert late.status_code == 409
    assert "another window" in late.json["error"]
    assert post(client, "open", {"h5ad": H5AD}).json["seeds"]["patches"] == [5]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"kind": "seed", "label": 1, "patches": [96]}, "there is no patch 96"),
        ({"kind": "seed", "label": 1, "patches": [-1]}, "not understood"),
        ({"kind": "seed", "label": 2, "patches": [1]}, "there is no class 2"),
        ({"kind": "seed", "label": 64, "patches": [1]}, "not understood"),
        ({"kind": "add-class", "name": "Other"}, "another name"),
        ({"kind": "add-class", "name": ""}, "a class needs a name"),
        ({"kind": "remove-class", "label": 0}, "must be two classes"),
        ({"kind": "remove-class", "label": 0, "into": -1}, "not understood"),
        ({"kind": "seed", "label": 1, "patches": []}, "not understood"),
        ({"kind": "seed", "label": 1, "patches": ["a"]}, "not understood"),
        ({"kind": "nothing"}, "not understood"),
        ({"kind": "undo"}, "nothing to undo"),
        ({"kind": "redo"}, "nothing to redo"),
        ({"kind": "class", "label": 1, "name": " \n ", "color": "#000000"}, "a class needs a name"),
        ({"kind": "class", "label": 1, "name": "a" * 73, "color": "#000000"}, "shorten it by 13"),
        ({"kind": "class", "label": 1, "name": "a", "color": "red"}, "is not a colour"),
        ({"kind": "restore", "position": 3}, "no such point"),
        ({"kind": "add-offered"}, "no class list"),
        ({"kind": "class", "label": 1, "name": "Other", "color": "#000000"}, "another name"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(client, folder, what, told):
    response = change(client, 0, **what)
    assert response.status_code == 422
    assert told in response.json["error"]
    assert not (folder / "sub" / "small.sic.json").exists()


@pytest.mark.parametrize("content", [[], "text", 5, {}, {"h5ad": 5}, {"h5ad": H5AD, "more": 1}])
def test_odd_requests_are_refused_without_a_crash(client, content):
    assert post(client, "open", content).status_code == 422


def test_a_full_disk_is_told_and_the_old_session_stays(client, folder, monkeypatch):
    change(client, 0, kind="seed", label=1, patches=[5])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    response = change(client, 1, kind="seed", label=0, patches=[6])
    assert response.status_code == 507
    assert "No space left" in response.json["error"]
    monkeypatch.undo()
    assert post(client, "open", {"h5ad": H5AD}).json["seeds"]["patches"] == [5]


def test_labels_are_written_into_the_file_and_seeding_goes_on(client, folder):
    state = seed_all(client)
    content = {"h5ad": H5AD, "revision": state["revision"]}
    assert "run the clustering first" in post(client, "write", content).json["error"]
    state, labels = unpack(post(client, "run", content))
    content["revision"] = state["revision"]
    assert post(client, "write", content).json == {"written": "small.h5ad"}
    assert np.array_equal(anndata.read_h5ad(folder / H5AD).obs["sic_label"].cat.codes, labels)
    assert change(client, state["revision"], kind="clear").status_code == 200


def test_a_session_of_other_patches_is_not_overwritten(client, folder):
    seed_all(client)
    before = (folder / "sub" / "small.sic.json").read_bytes()
    shutil.copy(write_small_h5ad(folder / "wide.h5ad", columns=20), folder / H5AD)
    response = change(client, 4, kind="clear")
    assert response.status_code == 409
    assert "other patches" in response.json["error"]
    assert (folder / "sub" / "small.sic.json").read_bytes() == before


def test_many_clients_at_once_lose_no_seed(app, client, folder):
    from concurrent.futures import ThreadPoolExecutor

    def seed(row):
        mine = app.test_client()
        while True:
            revision = post(mine, "open", {"h5ad": H5AD}).json["revision"]
            done = change(mine, revision, kind="seed", label=row % 2, patches=[row])
            if done.status_code == 200:
                return
            assert done.status_code == 409

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(seed, range(40)))
    assert post(client, "open", {"h5ad": H5AD}).json["seeds"]["patches"] == list(range(40))


def test_tissuumaps_serves_the_plugins_script(client):
    response = client.get("/plugins/SIC.js")
    assert response.status_code == 200
    assert b"window.SIC" in response.data


def test_addresses_of_projects_name_their_folder(tmp_path):
    assert page(tmp_path, tmp_path / "a b.tmap") == "/a%20b.tmap"
    assert page(tmp_path, tmp_path / "sub" / "x" / "a.tmap") == "/a.tmap?path=sub%2Fx"


def test_a_suggestion_is_the_estimators_and_changes_nothing(client, folder):
    change(client, 0, kind="seed", label=0, patches=[0, 1, 2])
    change(client, 1, kind="seed", label=1, patches=[93, 94, 95])
    before = (folder / "sub" / "small.sic.json").read_bytes()
    asked = {"h5ad": H5AD, "revision": 2, "method": "refine", "n": 3}
    answer = post(client, "suggest", asked)
    slide = open_slide_file(folder / H5AD)
    y = np.full(slide.n_patches, -1)
    y[:3], y[93:96] = 0, 1
    estimator = SeededIterativeClustering(method="refine").fit(slide.X, y, slide.centres)
    assert answer.json["patches"] == estimator.suggest(3).tolist()
    assert answer.json["flips"] == pytest.approx(float(estimator.flips(10).mean()))
    assert (folder / "sub" / "small.sic.json").read_bytes() == before
    assert post(client, "suggest", asked | {"revision": 1}).status_code == 409
    assert post(client, "suggest", asked | {"n": 1000}).status_code == 422


def test_sessions_by_name_do_not_touch_one_another(client, folder):
    change(client, 0, kind="seed", label=0, patches=[0])
    shared = (folder / "sub" / "small.sic.json").read_bytes()
    answer = post(
        client,
        "change",
        {
            "h5ad": H5AD,
            "session": "Anna",
            "user": "Anna B.",
            "revision": 0,
            "change": {"kind": "seed", "label": 1, "patches": [3]},
        },
    )
    assert answer.json["sessions"] == ["", "Anna"]
    assert answer.json["seeds"] == {"patches": [3], "labels": [1]}
    own = json.loads((folder / "sub" / "small.Anna.sic.json").read_text())
    assert own["actions"][0]["user"] == "Anna B."
    assert (folder / "sub" / "small.sic.json").read_bytes() == shared
    for name in ("../x", "a/b", "x.y", "x\0"):
        assert post(client, "open", {"h5ad": H5AD, "session": name}).status_code == 422


def test_why_tells_the_most_alike_seeds_of_each_class(client, folder):
    change(client, 0, kind="add-class", name="Stroma")
    change(client, 1, kind="seed", label=0, patches=[0, 1, 13, 14])
    change(client, 2, kind="seed", label=1, patches=[95])
    before = (folder / "sub" / "small.sic.json").read_bytes()
    asked = {"h5ad": H5AD, "revision": 3, "patch": 40}
    answer = post(client, "why", asked).json
    X = np.asarray(open_slide_file(folder / H5AD).X, float)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosine = unit @ unit[40]
    best = {each["label"]: each for each in answer["nearest"]}
    assert best.keys() == {0, 1}
    expected = sorted([0, 1, 13, 14], key=lambda row: -cosine[row])[:3]
    assert best[0]["patches"] == expected
    assert best[0]["similarities"] == pytest.approx(cosine[expected])
    assert best[1]["patches"] == [95]
    ahead = cosine[expected[0]] - cosine[95]
    assert answer["nearest"][0]["label"] == (0 if ahead > 0 else 1)
    assert answer["margin"] == pytest.approx(abs(ahead))
    assert (folder / "sub" / "small.sic.json").read_bytes() == before
    assert post(client, "why", asked | {"patch": 96}).status_code == 422
    assert post(client, "why", asked | {"revision": 2}).status_code == 409


def test_too_little_memory_is_told(client, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    seed_all(client)
    monkeypatch.setattr("tissuumaps_sic.viewer.runs.cluster", fail)
    answer = post(client, "run", {"h5ad": H5AD, "revision": 4})
    assert answer.status_code == 507
    assert "too little memory" in answer.json["error"]


def unpack_scores(response):
    length = int.from_bytes(response.data[:4], "little")
    header = json.loads(response.data[4 : 4 + length])
    body, n = response.data[4 + length :], header["n_patches"]
    assert len(body) == 9 * n
    own, positive = np.frombuffer(body[: 8 * n], "<f4").reshape(2, n)
    return own, positive, np.frombuffer(body[8 * n :], np.uint8)


def test_scores_are_the_estimators_and_come_again_after_a_restart(client, folder, monkeypatch):
    state = seed_all(client)
    before = {"h5ad": H5AD, "revision": state["revision"]}
    assert post(client, "scores", before).status_code == 404
    state, labels = unpack(post(client, "run", before))
    assert state["run"]["scored"]
    now = {"h5ad": H5AD, "revision": state["revision"]}
    expected = fitted(folder).scores_
    for _ in ("kept", "found again"):
        own, positive, rest = unpack_scores(post(client, "scores", now))
        assert np.array_equal(own, expected[np.arange(len(labels)), labels])
        assert np.array_equal(positive, expected[:, 1])
        assert not rest.any()
        monkeypatch.setattr("tissuumaps_sic.plugin._SERVER", Server())
    assert post(client, "scores", before).status_code == 409


def fitted(folder):
    slide = open_slide_file(folder / H5AD)
    y = np.full(slide.n_patches, -1)
    y[list(SEEDS)] = list(SEEDS.values())
    return SeededIterativeClustering(method="refine").fit(slide.prepared, y)


def test_a_border_moves_labels_but_not_seeds_and_is_kept(client, folder):
    state = seed_all(client)
    asked = {"h5ad": H5AD, "revision": state["revision"]}
    estimator = fitted(folder)
    free = np.setdiff1d(np.arange(len(estimator.labels_)), list(SEEDS))
    # One that tells some of those that are positive at one half from others; the surest are equally sure.
    scores = np.unique(estimator.scores_[free, 1])
    border = float(scores[(scores > 0.5) & (scores < scores.max())].max())
    state, labels = unpack(post(client, "run", {**asked, "border": border}))
    assert state["run"]["border"] == border
    assert np.array_equal(labels[free], estimator.scores_[free, 1] >= border)
    assert 0 < labels[free].sum() < estimator.labels_[free].sum()
    assert {row: labels[row] for row in SEEDS} == SEEDS
    assert state["run"]["counts"] == np.bincount(labels, minlength=2).tolist()
    again, kept = unpack(post(client, "labels", {"h5ad": H5AD}))
    assert again["run"]["border"] == border
    assert np.array_equal(kept, labels)
    # What is written has the border, too.
    written = post(client, "write", {"h5ad": H5AD, "revision": state["revision"]})
    assert written.status_code == 200
    column = anndata.read_h5ad(folder / H5AD).obs["sic_label"]
    assert [("Other", "Tumour").index(each) for each in column] == labels.tolist()


@pytest.mark.parametrize("border", [-0.1, 1.1, "nan", [0.5]])
def test_what_is_no_border_is_refused(client, border):
    state = seed_all(client)
    asked = {"h5ad": H5AD, "revision": state["revision"], "border": border}
    assert post(client, "run", asked).status_code == 422


def seeded_session(client, name, seeds):
    revision = 0
    for row, label in seeds.items():
        content = {"h5ad": H5AD, "session": name, "revision": revision}
        what = {"kind": "seed", "label": label, "patches": [row]}
        revision = post(client, "change", {**content, "change": what}).json["revision"]
    content = {"h5ad": H5AD, "session": name, "revision": revision}
    return unpack(post(client, "run", content))


def test_two_sessions_are_compared_patch_by_patch(client):
    state, mine = seeded_session(client, "Anna", SEEDS)
    _, other = seeded_session(client, "Ben", {**SEEDS, 40: 1, 41: 1, 52: 1})
    asked = {"h5ad": H5AD, "session": "Anna", "revision": state["revision"], "other": "Ben"}
    header, arrays = unpack(post(client, "compare", asked))
    disputed, theirs = arrays.reshape(2, -1)
    assert np.array_equal(theirs, other)
    assert np.array_equal(disputed, mine != other)
    assert header["n_disputed"] == disputed.sum() > 0
    assert sum(size for _, size in header["places"]) == disputed.sum()
    assert all(disputed[row] for row, _ in header["places"])
    both = ((mine == 1).mean() * (other == 1).mean()) + ((mine == 0).mean() * (other == 0).mean())
    assert header["kappa"] == pytest.approx(((mine == other).mean() - both) / (1 - both))
    assert [each["name"] for each in header["classes"]] == ["Other", "Tumour"]
    assert post(client, "compare", asked | {"other": "Nobody"}).status_code == 422
    assert post(client, "compare", asked | {"other": "../x"}).status_code == 422


def test_a_consensus_becomes_a_session_that_is_never_overwritten(client, folder):
    seeded_session(client, "Anna", SEEDS)
    seeded_session(client, "Ben", {0: 0, 22: 0, 30: 1})
    asked = {"h5ad": H5AD, "session": "consensus", "sessions": ["Anna", "Ben"]}
    state = post(client, "merge", asked).json
    assert dict(zip(state["seeds"]["patches"], state["seeds"]["labels"], strict=True)) == {
        0: 0, 13: 0, 11: 1, 30: 1,
    }  # fmt: skip
    assert state["n_disputed"] == 1
    saved = (folder / "sub" / "small.consensus.sic.json").read_bytes()
    assert {each["user"] for each in json.loads(saved)["actions"]} == {"Anna", "Ben"}
    again = post(client, "merge", asked)
    assert again.status_code == 422
    assert "already" in again.json["error"]
    assert (folder / "sub" / "small.consensus.sic.json").read_bytes() == saved
    for wrong in (["Anna", "Nobody"], ["Anna", "Anna"], ["Anna"]):
        assert post(client, "merge", asked | {"session": "next", "sessions": wrong}).status_code == 422
    client.application.config["READ_ONLY"] = True
    assert post(client, "merge", asked | {"session": "next"}).status_code == 403
    assert not (folder / "sub" / "small.next.sic.json").exists()
