"""What pages say beside seeds, what they looked at, and what a wand and a card ask the server for."""

import anndata
import numpy as np
import pytest
from making.many import write_mosaic
from making.server import ask

from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server


@pytest.fixture
def h5ad(tmp_path):
    return write_mosaic(tmp_path, "one")[0]


@pytest.fixture
def page(h5ad):
    server = Server()

    def call(endpoint, session="", **content):
        found = ask(server, endpoint, h5ad.parent, {"h5ad": h5ad.name, "session": session, **content})
        if endpoint == "change":
            call.revision[session] = found["revision"]
        return found

    def change(session="", **what):
        revision = call.revision.get(session, 0)
        return call("change", session, revision=revision, user="Anna", change=what)

    call.revision, call.change = {}, change
    return call


def saved(h5ad, name=""):
    return load_session(session_path(h5ad, name), open_slide_file(h5ad))


def test_skips_notes_and_checks_are_kept_and_told(page, h5ad):
    state = page.change(kind="skip", patches=[5])
    assert state["skipped"] == [5]
    assert page.change(kind="note", text=" fold ", patches=[7])["notes"][0] | {"time": ""} == {
        "number": 0,
        "text": "fold", "time": "", "user": "Anna", "patch": 7, "box": None, "outline": None,
        "place": saved(h5ad).notes[0].patch,
    }  # fmt: skip
    state = page.change(kind="note", text="here", patches=[0, 1, 24, 25])
    box = state["notes"][1]["box"]
    centres = open_slide_file(h5ad).centres[[0, 1, 24, 25]]
    assert box[0] < centres[:, 0].min() < centres[:, 0].max() < box[2]
    assert state["notes"][1]["patch"] in (0, 1, 24, 25)
    assert page.change(kind="note", text="", number=0)["notes"][0]["text"] == "here"
    assert page.change(kind="check", checked=True)["checked"]["user"] == "Anna"
    assert saved(h5ad).checked.is_current
    with pytest.raises(SicError, match="there is no patch"):
        page.change(kind="skip", patches=[10**6])


def test_a_note_is_on_what_was_drawn(page, h5ad):
    outline = ((10, 10), (300.5, 40), (200, 400))
    (note,) = page.change(kind="note", text="a fold", outline=outline)["notes"]
    assert note["outline"] == outline
    assert note["box"] == (10, 10, 300.5, 400)
    assert note["patch"] is not None
    kept = saved(h5ad).notes[0]
    assert kept.outline == outline
    # It stays where it is when it is written anew.
    assert page.change(kind="note", text="a tear", number=0)["notes"][0]["outline"] == outline
    assert page.change(kind="undo")["notes"][0]["text"] == "a fold"
    for wrong in ([[0, 0], [1, 1]], [[0, 0]] * 1001, [[0, 0], [1, 1], [1, None]], [[0, 0, 0]] * 3):
        with pytest.raises(SicError, match="not understood"):
            page.change(kind="note", text="x", outline=wrong)


def test_the_second_reader_sees_the_first_ones_notes(page):
    page.change(kind="note", text="fold")
    page.change("Ben", kind="note", text="ink", patches=[3])
    assert [(each["session"], each["text"]) for each in page("notes", "Ben")["notes"]] == [("", "fold")]
    assert [(each["session"], each["text"]) for each in page("notes")["notes"]] == [("Ben", "ink")]


def test_looking_is_added_up_changes_no_revision_and_begins_no_session(page, h5ad):
    assert page("look", patches=[1, 2]) == {"kept": False}
    assert not session_path(h5ad).exists()
    page.change(kind="seed", label=1, patches=[0])
    assert page("look", patches=[1, 2]) == {"kept": True}
    assert page("look", patches=[2, 9]) == {"kept": True}
    header, tissue, seen = page("looked")
    assert np.flatnonzero(seen).tolist() == [1, 2, 9]
    assert header["n_patches"] == len(tissue) == len(seen)
    # The file does not tell tissue, and the page is not to speak of any.
    assert header["tissue"] is False
    assert (tissue == 1).all()
    adata = anndata.read_h5ad(h5ad)
    adata.obs["tissue"] = np.linspace(0, 1, adata.n_obs)
    adata.write_h5ad(h5ad.with_name("told.h5ad"))
    header, tissue, _ = ask(Server(), "looked", h5ad.parent, {"h5ad": "told.h5ad", "session": ""})
    assert header["tissue"] is True
    assert np.allclose(tissue, adata.obs["tissue"])
    before = session_path(h5ad).stat().st_mtime_ns
    page("look", patches=[9])
    assert session_path(h5ad).stat().st_mtime_ns == before
    # A page that has seen the session before goes on.
    assert page.change(kind="seed", label=0, patches=[4])["revision"] == 2
    assert np.flatnonzero(page("looked")[2]).tolist() == [1, 2, 9]


def test_suggestions_leave_out_what_was_shown_and_skipped_and_put_little_tissue_last(page, h5ad):
    adata = anndata.read_h5ad(h5ad)
    page.change(kind="seed", label=1, patches=[22, 23, 70])
    page.change(kind="seed", label=0, patches=[1, 2, 97])
    first = page("suggest", revision=2, n=20)["patches"]
    assert len(set(first)) == 20
    again = page("suggest", revision=2, n=20, shown=first)["patches"]
    assert not set(first) & set(again)
    page.change(kind="skip", patches=first[:1])
    rest = page("suggest", revision=3, n=20)["patches"]
    assert first[0] not in rest
    tissue = np.ones(adata.n_obs, np.float32)
    tissue[first[:5]] = 0.1
    adata.obs["tissue"] = tissue
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    found = page("suggest", revision=3, n=20)["patches"]
    thin = [row in first[:5] for row in found]
    assert thin == sorted(thin)


def test_alike_is_the_cosine_with_the_patches_around(page, h5ad):
    header, rows, alike = page("alike", patch=100)
    slide = open_slide_file(h5ad)
    X = np.asarray(slide.X[np.arange(slide.n_patches)], np.float64)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert 100 in rows
    assert header["n"] == len(rows) == len(alike)
    assert np.allclose(alike, (unit @ unit[100])[rows], atol=1e-5)
    with pytest.raises(SicError, match="no patch"):
        page("alike", patch=10**6)
