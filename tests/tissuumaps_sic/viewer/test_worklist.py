"""The slides of a folder as a worklist, over the endpoints that the page asks, and whom they refuse."""

import json
import shutil

import numpy as np
import pytest
from making.many import seeds_of, write_mosaic

from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer import worklist
from tissuumaps_sic.viewer.serve import make_app


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    for number, place in enumerate((folder, folder, folder / "sub"), start=1):
        path, truth = write_mosaic(place, f"mosaic_{number}", seed=number)
        if number == 1:
            keep_session(path, truth)
    return folder


def keep_session(path, truth, *, name="", run=False, per_class=4):
    slide = open_slide_file(path)
    session = Session.new(slide)
    for patch, label in seeds_of(path, truth, per_class=per_class).items():
        session = session.seed([patch], label)
    if run:
        session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    save_session(session_path(path, name), session)
    return session


@pytest.fixture
def app(folder):
    app = make_app(folder)
    yield app
    app.config["READ_ONLY"] = False


@pytest.fixture
def client(app):
    return app.test_client()


def post(client, endpoint, h5ad="mosaic_2.h5ad", **content):
    options = content.pop("options", {})
    return client.post(f"/plugins/SIC/{endpoint}", json={"h5ad": h5ad, **content}, **options)


def listed(client, **content):
    response = post(client, "worklist", **content)
    assert response.status_code == 200, response.json
    return {each["h5ad"]: each for each in response.json["slides"]}


def test_every_slide_is_listed_by_path_with_its_page_and_how_far_it_is(client, folder):
    response = post(client, "worklist").json
    assert response["here"] == "mosaic_2.h5ad"
    assert [each["h5ad"] for each in response["slides"]] == [
        "mosaic_1.h5ad", "mosaic_2.h5ad", "sub/mosaic_3.h5ad",
    ]  # fmt: skip
    first, second, third = response["slides"]
    assert first["seeds"] == {"Other": 4, "Tumour": 4}
    assert first["n_patches"] == 384
    assert [each["state"] for each in response["slides"]] == ["seeded", "new", "new"]
    assert [each["lends"] for each in response["slides"]] == [True, False, False]
    assert first["sessions"] == [""]
    assert second["sessions"] == []
    # Where the server makes no pages, TissUUmaps' own for the h5ad; a project of the name comes first.
    assert third["page"] == "/mosaic_3.h5ad?path=sub"
    (folder / "sub" / "mosaic_3.tmap").write_text("{}")
    assert listed(client)["sub/mosaic_3.h5ad"]["page"] == "/mosaic_3.tmap?path=sub"


def test_states_follow_the_session_of_the_pages_name(client, folder):
    path, truth = folder / "mosaic_1.h5ad", write_mosaic(folder.parent, "x", seed=1)[1]
    session = keep_session(path, truth, run=True)
    assert listed(client)["mosaic_1.h5ad"]["state"] == "labelled"
    save_session(session_path(path), session.seed(["mosaic_1_0_0"], 1))
    assert listed(client)["mosaic_1.h5ad"]["state"] == "changed"
    other = listed(client, session="Anna")["mosaic_1.h5ad"]
    assert (other["state"], other["seeds"], other["sessions"]) == ("new", {}, [""])
    keep_session(path, truth, name="Anna", per_class=2)
    again = listed(client, session="Anna")["mosaic_1.h5ad"]
    assert (again["state"], again["seeds"]) == ("seeded", {"Other": 2, "Tumour": 2})
    assert again["sessions"] == ["", "Anna"]


def test_damaged_files_have_a_row_that_says_so(client, folder):
    (folder / "broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (folder / "empty.h5ad").touch()
    (folder / "mosaic_1.sic.json").write_text("{")
    (folder / "mosaic_2.sic.json").symlink_to(folder.parent / "elsewhere")
    rows = listed(client)
    assert "not a readable h5ad" in rows["broken.h5ad"]["problem"]
    assert "not a readable h5ad" in rows["empty.h5ad"]["problem"]
    assert rows["broken.h5ad"]["n_patches"] is None
    assert "mosaic_1.sic.json is not a session" in rows["mosaic_1.h5ad"]["problem"]
    assert rows["mosaic_1.h5ad"]["n_patches"] == 384
    assert rows["mosaic_2.h5ad"]["problem"]
    assert rows["sub/mosaic_3.h5ad"]["problem"] == ""
    # A session that came from a slide of other patches.
    small, truth = write_mosaic(folder.parent, "y")
    keep_session(small, truth, run=True)
    told = json.loads((folder.parent / "y.sic.json").read_text())
    told["run"]["counts"] = [1, 2]
    (folder / "sub" / "mosaic_3.sic.json").write_text(json.dumps(told))
    assert listed(client)["sub/mosaic_3.h5ad"]["problem"] == "its session was made on other patches"


def test_links_hidden_files_and_other_passwords_are_not_listed(client, folder):
    outside, _ = write_mosaic(folder.parent, "outside")
    (folder / "link.h5ad").symlink_to(outside)
    (folder / "twin.h5ad").symlink_to(folder / "mosaic_1.h5ad")
    (folder / "up").symlink_to(folder.parent)
    (folder / ".tissuumaps").mkdir()
    shutil.copy(outside, folder / ".tissuumaps" / "cached.h5ad")
    shutil.copy(outside, folder / ".mosaic_1-0123abcd.h5ad")
    assert list(listed(client)) == ["mosaic_1.h5ad", "mosaic_2.h5ad", "sub/mosaic_3.h5ad"]
    (folder / "sub" / "auth").write_text("anna;secret")
    assert list(listed(client)) == ["mosaic_1.h5ad", "mosaic_2.h5ad"]
    assert post(client, "worklist", h5ad="sub/mosaic_3.h5ad").status_code == 401
    options = {"auth": ("anna", "secret")}
    assert list(listed(client, h5ad="sub/mosaic_3.h5ad", options=options)) == ["sub/mosaic_3.h5ad"]
    assert list(listed(client, options=options)) == ["mosaic_1.h5ad", "mosaic_2.h5ad"]


@pytest.mark.parametrize("h5ad", ["../outside.h5ad", "/etc/passwd", "missing.h5ad", "", 3, None])
def test_a_worklist_is_asked_for_from_a_slide_of_the_folder(client, folder, h5ad):
    write_mosaic(folder.parent, "outside")
    assert post(client, "worklist", h5ad=h5ad).status_code in (404, 422)
    assert post(client, "worklist", extra=1).status_code == 422
    assert client.get("/plugins/SIC/worklist").status_code == 405


def test_unchanged_files_are_read_once(client, folder, monkeypatch):
    before = listed(client)
    read = []
    monkeypatch.setattr(worklist, "outline", lambda path: read.append(path.name))
    assert listed(client) == before
    assert read == []
    monkeypatch.undo()
    write_mosaic(folder, "mosaic_2", seed=9)
    keep_session(folder / "mosaic_2.h5ad", write_mosaic(folder.parent, "z", seed=9)[1])
    (folder / "mosaic_1.h5ad").unlink()
    after = listed(client)
    assert list(after) == ["mosaic_2.h5ad", "sub/mosaic_3.h5ad"]
    assert after["mosaic_2.h5ad"]["seeds"] == {"Other": 4, "Tumour": 4}


# ------------------------------------------------------------------------------------------------ borrowing


def borrow(client, source, revision=0, h5ad="mosaic_2.h5ad", **options):
    change = {"kind": "borrow", "source": source}
    return post(client, "change", h5ad, revision=revision, change=change, options=options)


def unpack(response, n, *kinds):
    assert response.status_code == 200, response.json
    length = int.from_bytes(response.data[:4], "little")
    return json.loads(response.data[4 : 4 + length]), response.data[4 + length :]


def test_seeds_of_one_slide_label_another_in_the_viewer(client, folder):
    state = borrow(client, "mosaic_1.h5ad").json
    assert state["borrowed"] == [
        {"slide": "mosaic_1", "path": "mosaic_1.h5ad", "session": "", "counts": [4, 4]}
    ]
    assert state["seeds"] == {"patches": [], "labels": []}
    truth = write_mosaic(folder.parent, "x", seed=2)[1]
    asked = {"revision": state["revision"]}
    state, body = unpack(post(client, "run", **asked), 384)
    labels = np.frombuffer(body, np.uint8)
    assert (labels == truth).mean() > 0.95
    assert state["run"]["scored"]
    assert not state["run"]["stale"]
    asked = {"revision": state["revision"]}
    assert len(unpack(post(client, "scores", **asked), 384)[1]) == 384 * 9
    header, unlike = unpack(post(client, "unlike", **asked), 384)
    assert header["unlike"] == sum(unlike) < 100
    assert post(client, "suggest", **asked).json["patches"]
    why = post(client, "why", patch=0, **asked).json
    assert why["nearest"][0]["label"] == labels[0]
    assert why["nearest"][0]["slide"] == "mosaic_1"
    assert all(each.startswith("mosaic_1_") for each in why["nearest"][0]["patches"])
    assert why["margin"] > 0
    assert post(client, "regions", **asked).json["regions"]
    assert len(unpack(post(client, "export", format="csv", **asked), 384)[1].splitlines()) == 385
    assert post(client, "write", **asked).status_code == 200
    # Listed as labelled; and a correction on this slide counts at once.
    assert listed(client)["mosaic_2.h5ad"]["borrowed"] == 8
    assert listed(client)["mosaic_2.h5ad"]["state"] == "labelled"
    row = int(np.flatnonzero(labels == 0)[50])
    change = {"kind": "seed", "label": 1, "patches": [row]}
    state = post(client, "change", revision=state["revision"], change=change).json
    assert state["run"]["stale"]
    _, body = unpack(post(client, "run", revision=state["revision"]), 384)
    assert body[row] == 1
    # The lender goes: labels stay, a run says why not, and × helps.
    (folder / "mosaic_1.h5ad").rename(folder / "away.h5ad")
    state = post(client, "open").json
    refused = post(client, "run", revision=state["revision"])
    assert refused.status_code == 422
    assert "mosaic_1.h5ad: is not there" in refused.json["error"]
    change = {"kind": "return", "path": "mosaic_1.h5ad"}
    assert post(client, "change", revision=state["revision"], change=change).json["borrowed"] == []


def test_a_lender_that_changed_makes_labels_outdated(client, folder):
    state = borrow(client, "mosaic_1.h5ad").json
    unpack(post(client, "run", revision=state["revision"]), 384)
    assert not post(client, "open").json["run"]["outdated"]
    write_mosaic(folder, "mosaic_1", seed=77)
    assert post(client, "open").json["run"]["outdated"]


@pytest.mark.parametrize(
    "source",
    [
        "../outside.h5ad",
        "sub/../../outside.h5ad",
        "/etc/passwd",
        "link.h5ad",
        "missing.h5ad",
        "a\0.h5ad",
        "..\\o.h5ad",
    ],
)
def test_nothing_outside_the_folder_lends(client, folder, source):
    path, truth = write_mosaic(folder.parent, "outside")
    keep_session(path, truth)
    (folder / "link.h5ad").symlink_to(path)
    assert borrow(client, source).status_code == 404
    assert not (folder / "mosaic_2.sic.json").exists()


def test_nothing_behind_another_password_lends(client, folder):
    path, truth = write_mosaic(folder / "sub", "secret", seed=4)
    keep_session(path, truth)
    (folder / "sub" / "auth").write_text("anna;secret")
    assert borrow(client, "sub/secret.h5ad", auth=("anna", "secret")).status_code == 404
    assert borrow(client, "sub/secret.h5ad").status_code == 404


def test_a_session_that_names_a_file_elsewhere_does_not_open_it(client, folder):
    """A session file may come from anywhere; over HTTP it reads nothing outside the folder."""
    outside, truth = write_mosaic(folder.parent, "outside", seed=5)
    slide, lender = open_slide_file(folder / "mosaic_2.h5ad"), open_slide_file(outside)
    from tissuumaps_sic.annotation.lending import guests_of, lend

    session = Session.new(slide)
    session = session.borrow(lend(lender, seeds_of(outside, truth), slide), session.classes)
    assert session.loans[0].path == "../outside.h5ad"
    guests = guests_of(slide, session.loans)
    session = session.with_run(cluster(slide, session.classes, {}, guests=guests)[0])
    save_session(session_path(slide.path), session)
    asked = {"revision": post(client, "open").json["revision"]}
    before = (folder / "mosaic_2.h5ad").read_bytes()
    for endpoint in ("run", "scores", "unlike", "suggest", "write"):
        refused = post(client, endpoint, **asked)
        assert refused.status_code == 422, endpoint
        assert "is not there" in refused.json["error"]
    assert post(client, "export", format="csv", **asked).status_code == 422
    assert post(client, "why", patch=3, **asked).json["nearest"] == []
    assert (folder / "mosaic_2.h5ad").read_bytes() == before


def test_a_read_only_server_lists_and_does_not_borrow(client, app):
    app.config["READ_ONLY"] = True
    assert len(listed(client)) == 3
    assert borrow(client, "mosaic_1.h5ad").status_code == 403


def test_a_slide_without_seeds_or_of_another_embedding_is_refused_in_words(client, folder):
    assert "has no seeds to borrow" in borrow(client, "sub/mosaic_3.h5ad").json["error"]
    path, truth = write_mosaic(folder, "other", known={"encoder": {"name": "else"}, "grid": {}})
    keep_session(path, truth)
    refused = borrow(client, "other.h5ad")
    assert refused.status_code == 422
    assert "encoder (else there, net here)" in refused.json["error"]
    assert not listed(client)["other.h5ad"]["lends"]
