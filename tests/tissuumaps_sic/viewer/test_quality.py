"""The check of labels as a page does it: begun, asked without a label, answered, undone, told."""

import json

import numpy as np
import pytest
from making.many import write_mosaic
from making.server import ask

from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.answers import as_json
from tissuumaps_sic.viewer.endpoints import Server


@pytest.fixture
def h5ad(tmp_path):
    return write_mosaic(tmp_path, "one")[0]


@pytest.fixture
def page(h5ad):
    server = Server()

    def call(endpoint, session="", **content):
        revision = call.revision.get(session, 0)
        known = {} if endpoint == "open" else {"revision": revision}
        found = ask(
            server, endpoint, h5ad.parent, {"h5ad": h5ad.name, "session": session, **known, **content}
        )
        state = found[0] if isinstance(found, tuple) else found
        call.revision[session] = state.get("revision", revision)
        return found

    def change(session="", **what):
        return call("change", session, user="Anna", change=what)

    call.revision, call.change = {}, change
    return call


def label(page, session=""):
    page("open", session)
    for row, each in ((0, 0), (1, 0), (200, 1), (201, 1)):
        page.change(session, kind="seed", label=each, patches=[row])
    return page("run", session)[1]


def test_a_check_is_begun_answered_undone_and_told(page, h5ad):
    with pytest.raises(SicError, match="no labels yet") as refused:
        page("draw")
    assert refused.value.status == 404
    labels = label(page)
    assert page("open")["sample"] is None
    with pytest.raises(SicError, match="no check was begun") as refused:
        page("questions")
    assert refused.value.status == 404
    assert page("verify")["state"] == "none"
    state = page("draw", user="Anna")
    assert state["sample"] == {"answered": 0, "unclear": 0}
    for number in range(14):
        asked = page("questions", n=3)
        row = asked["patches"][0]
        # The third cannot be told; all others are as they are labelled.
        said = None if number == 2 else int(labels[row])
        state = page.change(kind="answer", patch=row, label=said)
        assert page("questions")["patches"][0] == asked["patches"][1]
    assert state["sample"] == {"answered": 14, "unclear": 1}
    assert len(state["seeds"]["patches"]) == 4
    told = page("verify")
    assert (told["state"], told["answers"], told["unclear"], told["fewest"]) == ("ready", 13, 1, 10)
    assert told["accuracy"]["value"] == 1
    assert told["accuracy"]["low"] < 1
    assert {each["name"] for each in told["classes"]} == {"Tumour", "Other"}
    assert set(told["classes"][0]["f1"]) == {"value", "low", "high"}
    json.loads(as_json(told))
    assert page.change(kind="undo")["sample"] == {"answered": 13, "unclear": 1}
    assert page("questions")["patches"] == [row]
    session = load_session(session_path(h5ad), open_slide_file(h5ad))
    assert len(session.answers) == 13
    assert session.sample.user == "Anna"


def test_what_is_asked_holds_no_label_score_or_class(page):
    label(page)
    state = page("draw")
    asked = page("questions", n=20)
    assert set(asked) == {"patches", "answered", "fewest", "wanted"}
    assert len(set(asked["patches"])) == 20
    assert set(state["sample"]) == {"answered", "unclear"}
    row = asked["patches"][0]
    state = page.change(kind="answer", patch=row, label=1)
    assert set(state["sample"]) == {"answered", "unclear"}
    assert state["undo"]["text"] == "an answer to the check sample"
    assert page("verify")["classes"] == ()
    # The order tells nothing either: it is not by label, nor by place.
    assert asked["patches"] != sorted(asked["patches"])


def test_patches_that_were_not_asked_about_are_refused(page):
    label(page)
    page("draw")
    asked = {*page("questions", n=20)["patches"]}
    n = page("open")["n_patches"]
    refused = 0
    for row in [*(set(range(n)) - asked), n + 5]:
        try:
            page.change(kind="answer", patch=row, label=0)
        except SicError as error:
            refused += error.status == 422
        else:
            page.change(kind="undo")
    # Those that come soon may be answered before their time.
    assert refused >= n - 60


def test_an_answer_may_be_of_no_class_that_there_is(page):
    label(page)
    page("draw")
    row = page("questions")["patches"][0]
    with pytest.raises(SicError, match="there is no class 7"):
        page.change(kind="answer", patch=row, label=7)


def test_a_run_with_an_answered_patch_as_seed_makes_a_check_void_and_others_do_not(page):
    labels = label(page)
    page("draw")
    rows = []
    for _ in range(12):
        rows.append(page("questions")["patches"][0])
        page.change(kind="answer", patch=rows[-1], label=int(labels[rows[-1]]))
    free = next(row for row in range(100, 200) if row not in rows)
    page.change(kind="seed", label=0, patches=[free])
    page("run")
    assert page("verify")["state"] == "ready"
    assert page("verify")["is_reweighted"]
    page.change(kind="seed", label=int(labels[rows[0]]), patches=[rows[0]])
    page("run")
    told = page("verify")
    assert told["state"] == "void"
    assert "Void: 1 of the patches" in told["told"]
    page("draw")
    assert page("verify")["state"] == "few"


def test_a_second_reader_answers_the_same_patches_and_is_compared(page):
    labels = label(page)
    label(page, "Ben")
    page("draw")
    for _ in range(12):
        row = page("questions")["patches"][0]
        page.change(kind="answer", patch=row, label=int(labels[row]))
    page("draw", "Ben", like="", user="Ben")
    for number in range(10):
        row = page("questions", "Ben")["patches"][0]
        said = int(labels[row])
        page.change("Ben", kind="answer", patch=row, label=1 - said if number == 0 else said)
    agreement = page("verify", other="Ben")["agreement"]
    assert agreement["patches"] == 10
    assert agreement["share"]["value"] == pytest.approx(0.9)
    assert np.array(agreement["table"]).sum() == 10
    assert agreement["kappa"]["low"] < agreement["kappa"]["value"]
    with pytest.raises(SicError, match="has no check sample"):
        page("draw", like="nobody")
