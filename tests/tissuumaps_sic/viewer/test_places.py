"""Sessions of slides in folders that cannot be written: kept by the server, and given back by pages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from making.many import write_mosaic

from tissuumaps_sic import load_session, open_slide_file
from tissuumaps_sic.viewer import places
from tissuumaps_sic.viewer.serve import make_app


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_mosaic(folder, "a", columns=6, rows=4)
    write_mosaic(folder, "b", columns=6, rows=4)
    return folder


@pytest.fixture
def shut(folder, monkeypatch):
    """The folder, into which nothing can be written; root could, whatever its rights."""
    access = os.access

    def refuse(path, mode, **more):
        return not (mode == os.W_OK and folder in (path, *path.parents)) and access(path, mode, **more)

    monkeypatch.setattr(os, "access", refuse)
    before = sorted(folder.rglob("*"))
    yield folder
    assert sorted(folder.rglob("*")) == before, "something was written"


class Page:
    def __init__(self, folder, h5ad="a.h5ad", session=""):
        self.client = make_app(folder).test_client()
        self.about = {"h5ad": h5ad, "session": session}
        self.revision = self.ask("open").json["revision"]

    def ask(self, endpoint, **more):
        return self.client.post(f"/plugins/SIC/{endpoint}", json={**self.about, **more})

    def seen(self, endpoint, **more):
        answer = self.ask(endpoint, revision=self.revision, **more)
        assert answer.status_code == 200, answer.text
        self.revision = (answer.json or {}).get("revision", self.revision)
        return answer

    def change(self, **change):
        return self.seen("change", user="Ann", change=change).json

    def label(self):
        for label, patches in ((1, [0, 1]), (0, [20, 21])):
            self.change(kind="seed", label=label, patches=patches)
        self.seen("run")
        self.revision = self.ask("open").json["revision"]


def test_a_whole_session_is_worked_through_where_nothing_can_be_written(shut):
    page = Page(shut)
    page.label()
    assert page.ask("open").json["run"]["stale"] is False
    assert page.change(kind="undo")["seeds"]["labels"] == [1, 1]
    page.change(kind="redo")
    for format_ in ("csv", "geojson", "html", "h5ad"):
        assert page.seen("export", format=format_).content_length > 500
    rows = page.ask("worklist").json["slides"]
    assert [(row["h5ad"], row["state"]) for row in rows] == [("a.h5ad", "labelled"), ("b.h5ad", "new")]
    other = Page(shut, session="second")
    other.label()
    assert page.ask("open").json["sessions"] == ["", "second"]
    assert other.seen("compare", other="").status_code == 200
    assert "labelled" in page.client.get("/").text


def test_what_is_kept_is_a_session_that_opens_beside_the_slide(shut, tmp_path):
    page = Page(shut)
    page.label()
    document = page.seen("document").json
    assert document["name"] == "a.sic.json"
    (tmp_path / "a.sic.json").write_text(document["text"])
    session = load_session(tmp_path / "a.sic.json", open_slide_file(shut / "a.h5ad"))
    assert session.revision == page.revision
    assert session.run is not None
    assert sorted(session.seeds.values()) == [0, 0, 1, 1]


def test_a_server_that_was_started_anew_takes_back_what_a_page_has_held(shut, monkeypatch):
    page = Page(shut)
    page.label()
    held, revision = page.seen("document").json["text"], page.revision
    monkeypatch.setattr(places, "_OWN", places._Own())
    assert page.ask("open").json["revision"] == 0
    damaged = json.dumps({**json.loads(held), "fingerprint": "other"})
    for text in (damaged, "no session"):
        assert page.ask("bring", text=text).status_code == 409, text
    assert page.ask("open").json["revision"] == 0
    answer = page.ask("bring", text=held)
    assert answer.status_code == 200, answer.text
    assert answer.json["revision"] == revision
    assert answer.json["run"]["stale"] is False
    assert page.ask("bring", text=held).status_code == 409, "what is there is never replaced"


def test_a_session_is_brought_to_no_folder_that_can_be_written(folder):
    page = Page(folder)
    page.label()
    assert (folder / "a.sic.json").exists()
    held = page.seen("document").json["text"]
    (folder / "a.sic.json").unlink()
    assert page.ask("bring", text=held).status_code == 409
    assert not (folder / "a.sic.json").exists()


def test_a_session_beside_the_slide_is_where_work_begins(folder, monkeypatch):
    page = Page(folder)
    page.label()
    text, revision = (folder / "a.sic.json").read_text(), page.revision
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert page.ask("open").json["revision"] == revision
    page.change(kind="clear")
    assert page.ask("open").json["revision"] == revision + 1
    assert (folder / "a.sic.json").read_text() == text
    monkeypatch.undo()
    # What lies in a folder that can be written is what everybody sees.
    assert page.ask("open").json["revision"] == revision


def test_what_was_kept_goes_to_the_folder_once_that_can_be_written(folder, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    page = Page(folder)
    page.change(kind="seed", label=1, patches=[0])
    assert not (folder / "a.sic.json").exists()
    monkeypatch.undo()
    page.change(kind="seed", label=1, patches=[1])
    assert len(json.loads((folder / "a.sic.json").read_text())["actions"]) == 2


def test_labels_are_not_written_into_a_file_of_such_a_folder(shut):
    page = Page(shut)
    page.label()
    answer = page.ask("write", revision=page.revision)
    assert answer.status_code == 507
    assert "may not be written to; export an h5ad instead" in answer.json["error"]


def test_the_servers_own_folder_goes_with_it(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from tissuumaps_sic.viewer.places import _OWN\n"
        "folder = _OWN.make_for(Path('/x'))\n"
        "(folder / 'a.sic.json').write_text('{}')\n"
        "print(folder.parent, oct(folder.parent.stat().st_mode & 0o777))\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    path, mode = told.split()
    assert mode == "0o700"
    assert not Path(path).exists()
