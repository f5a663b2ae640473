"""The endpoints of history, class lists and decisions."""

import json

import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.viewer.serve import make_app

H5AD = "small.h5ad"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served").mkdir()
    write_small_h5ad(tmp_path / "served" / H5AD)
    return tmp_path / "served"


@pytest.fixture
def client(folder):
    app = make_app(folder)
    app.config["READ_ONLY"] = False
    return app.test_client()


def post(client, endpoint, content):
    return client.post(f"/plugins/SIC/{endpoint}", json=content)


def change(client, revision, **what):
    return post(client, "change", {"h5ad": H5AD, "revision": revision, "change": what})


def seed_all(client):
    state = {"revision": 0}
    for row, label in {0: 0, 13: 0, 11: 1, 22: 1}.items():
        state = change(client, state["revision"], kind="seed", label=label, patches=[row]).json
    return state


def ask(client, endpoint, state, **more):
    return post(client, endpoint, {"h5ad": H5AD, "revision": state["revision"], **more})


def test_a_page_is_told_what_undo_would_do_and_can_go_to_any_point(client):
    state = seed_all(client)
    assert state["undo"]["text"] == "1 seed of Tumour"
    assert state["redo"] is None
    assert state["n_steps"] == 4
    for _ in range(3):
        state = change(client, state["revision"], kind="undo").json
    assert state["redo"]["text"] == "1 seed of Other"
    state = change(client, state["revision"], kind="clear").json
    assert state["n_steps"] == 5
    history = ask(client, "history", state).json
    assert [each["text"] for each in history["trunk"]] == ["all seeds cleared", "1 seed of Other"]
    assert [each["position"] for each in history["trunk"]] == [2, 1]
    assert history["position"] == 2
    assert history["more"] == 0
    last = max(history["branches"], key=lambda each: each["position"])
    assert (last["branch"], last["position"], last["text"]) == (0, 4, "1 seed of Tumour")
    point = {"branch": 0, "position": 4}
    assert "Tumour: 0 → 2 seeds" in ask(client, "restoring", state, **point).json["text"]
    # Nothing was done by asking.
    assert post(client, "open", {"h5ad": H5AD}).json["revision"] == state["revision"]
    state = change(client, state["revision"], kind="restore", **point).json
    assert state["seeds"]["patches"] == [0, 11, 13, 22]
    assert ask(client, "history", state, before=1).json["trunk"][0]["position"] == 1
    assert ask(client, "restoring", state, position=9).status_code == 422
    assert ask(client, "history", {"revision": 0}).status_code == 409


def test_classes_are_offered_to_new_slides_and_a_click_on_what_was_not_seen_is_refused(client, folder):
    state = change(client, 0, kind="add-class", name="Barrett's <5 %").json
    assert state["scheme"] is None
    state = ask(client, "offer", state).json
    # That of the served folder: no other password guards this one.
    written = json.loads((folder / "classes.json").read_text())
    assert [each["name"] for each in written["classes"]] == ["Tumour", "Other", "Barrett's <5 %"]
    assert state["scheme"] == {"names": ["Tumour", "Other", "Barrett's <5 %"], "missing": [], "problem": ""}
    new = post(client, "open", {"h5ad": H5AD, "session": "Ben"}).json
    assert [each["name"] for each in new["classes"]] == ["Other", "Tumour", "Barrett's <5 %"]
    click = {"kind": "seed", "label": 2, "patches": [3]}

    def click_at(revision):
        return post(client, "change", {"h5ad": H5AD, "session": "Ben", "revision": revision, "change": click})

    assert click_at(0).status_code == 409
    assert click_at(new["revision"]).json["seeds"] == {"patches": [3], "labels": [2]}
    # An older session is offered what it lacks.
    written["classes"].append({"name": "Debris", "color": "#123456"})
    (folder / "classes.json").write_text(json.dumps(written))
    state = post(client, "open", {"h5ad": H5AD}).json
    assert state["scheme"]["missing"] == ["Debris"]
    state = change(client, state["revision"], kind="add-offered").json
    assert [each["name"] for each in state["classes"]][-1] == "Debris"
    assert state["scheme"]["missing"] == []
    (folder / "classes.json").write_text("{}")
    state = post(client, "open", {"h5ad": H5AD, "session": "new"})
    assert state.status_code == 200
    assert "is not a class list" in state.json["scheme"]["problem"]


def test_a_class_list_that_is_a_link_is_neither_read_nor_written(client, folder, tmp_path):
    (tmp_path / "elsewhere.json").write_text("untouched")
    (folder / "classes.json").symlink_to(tmp_path / "elsewhere.json")
    state = post(client, "open", {"h5ad": H5AD}).json
    assert state["scheme"] is None
    assert ask(client, "offer", state).status_code == 422
    assert (tmp_path / "elsewhere.json").read_text() == "untouched"


def test_a_consensus_is_asked_about_and_decided(client):
    state = seed_all(client)
    post(client, "run", {"h5ad": H5AD, "revision": state["revision"]})
    click = {"kind": "seed", "label": 1, "patches": [0]}
    post(client, "change", {"h5ad": H5AD, "session": "Ben", "revision": 0, "change": click})
    merged = post(client, "merge", {"h5ad": H5AD, "session": "both", "sessions": ["", "Ben"]}).json
    assert merged["readers"] == ["", "Ben"]
    asked = {"h5ad": H5AD, "session": "both", "revision": merged["revision"]}
    found = post(client, "decisions", asked).json
    assert found["n"] == merged["n_disputed"] == 1
    said = found["decisions"][0]["said"]
    assert [(each["reader"], each["name"]) for each in said] == [("", "Other"), ("Ben", "Tumour")]
    decided = {"kind": "decide", "name": "Necrosis", "patches": [found["decisions"][0]["row"]]}
    state = post(client, "change", {**asked, "change": decided}).json
    assert state["classes"][-1]["name"] == "Necrosis"
    assert 0 in state["seeds"]["patches"]
    assert post(client, "decisions", {**asked, "revision": state["revision"]}).json["n"] == 0
    assert post(client, "decisions", {"h5ad": H5AD, "session": "Ben", "revision": 1}).status_code == 422


@pytest.mark.parametrize("field", ["session", "user"])
def test_what_is_too_long_is_told_in_words(client, field):
    asked = {"h5ad": H5AD, "revision": 0, field: "x" * 70, "change": {"kind": "clear"}}
    error = post(client, "change", asked).json["error"]
    assert "has 70 characters, and" in error
    assert "String" not in error
