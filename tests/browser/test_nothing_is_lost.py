"""Seeds cannot be lost: by undo held too long, by a server that is away, by another tab."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from test_annotating import some_seeds
from viewer import ARTIFACTS, looking

from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def yesterdays(browser, server, folder):
    """The demo with 19 seeds of Other of yesterday, by Anna, and one of Tumour of today."""
    slide = open_slide_file(folder / "demo.h5ad")
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).seed(names[:9], 0, user="Anna").seed(names[9:28], 0, user="Anna")
    before = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="seconds")
    old = tuple(each.model_copy(update={"time": before}) for each in session.actions)
    session = session.model_copy(update={"actions": old}).seed(names[100:101], 1, user="Ben")
    save_session(folder / "demo.sic.json", session)
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        yield viewer


def steps(viewer):
    return viewer.page.locator(".sic-step").all_inner_texts()


def open_history(viewer):
    viewer.page.click("#sic-history summary")
    viewer.page.wait_for_selector(".sic-step")


def test_undo_asks_before_an_earlier_day_and_what_was_undone_comes_back(yesterdays):
    """A2: Z held for half a second, then a click on a patch."""
    viewer = yesterdays
    everything = viewer.seeds
    assert len(everything) == 29
    copy = viewer.folder / "demo.Cleo.sic.json"
    copy.write_bytes(viewer.session_path.read_bytes())
    viewer.press("undo")
    assert "Undone: 1 seed of Tumour (Ben)" in viewer.status
    # The next step is of yesterday: it is said, and a second press is a yes.
    viewer.press("undo")
    assert "is of yesterday: 19 seeds of Other (Anna). Undo again" in viewer.status
    assert len(viewer.seeds) == 28
    viewer.press("undo")
    assert "Undone: 19 seeds of Other (yesterday, Anna)" in viewer.status
    # The day is agreed to; further steps of it need no second press.
    viewer.press("undo")
    assert viewer.seeds == {}
    # But only here: in another session it was not.
    viewer.choose_from("#sic-session", value="Cleo")
    viewer.wait()
    for _ in range(2):
        viewer.press("undo")
    assert "is of yesterday: 19 seeds of Other (Anna). Undo again" in viewer.status
    assert len(viewer.seeds) == 28
    viewer.choose_from("#sic-session", value="")
    viewer.wait()
    viewer.choose(1)
    viewer.click_patch(200)
    assert viewer.seeds == {200: 1}
    session = json.loads(viewer.session_path.read_text())
    assert [len(each["actions"]) for each in session["branches"]] == [3]
    viewer.reload()
    open_history(viewer)
    viewer.keep_picture(ARTIFACTS, "history")
    told = steps(viewer)
    assert "1 seed of Tumour" in told[0]
    assert "now" in told[0]
    undone = viewer.page.locator(".sic-step[data-branch='0']")
    assert undone.count() == 2
    assert "Ben, today" in undone.nth(0).inner_text()
    assert "28 seeds of Other (undone)" in undone.nth(1).inner_text()
    assert "Anna, yesterday" in undone.nth(1).inner_text()
    viewer.page.click(".sic-act:has-text('28 seeds') .sic-fold")
    parts = viewer.page.locator(".sic-step.sic-part").all_inner_texts()
    assert [each.split(" (")[0] for each in parts] == ["19 seeds of Other", "9 seeds of Other"]
    # What going there does is said before it is done.
    undone.nth(0).click()
    viewer.page.wait_for_selector("#sic-point")
    assert "Other: 0 → 28 seeds" in viewer.page.inner_text("#sic-point")
    assert viewer.seeds == {200: 1}
    viewer.page.click("#sic-restore")
    viewer.wait()
    assert viewer.seeds == everything
    # And nothing was lost by it either.
    slide = open_slide_file(viewer.h5ad)
    session = load_session(viewer.session_path, slide)
    (branch,) = session.branches
    assert [slide.index[each] for each in branch.actions[0].patches] == [200]


def test_many_clicks_of_one_class_are_one_line_and_any_of_them_can_be_gone_to(viewer):
    rows = list(range(40, 52))
    viewer.choose(1)
    for row in rows:
        viewer.click_patch(row)
    viewer.choose(0)
    viewer.click_patch(200)
    open_history(viewer)
    assert len(steps(viewer)) == 3
    assert "1 seed of Other" in steps(viewer)[0]
    assert "12 seeds of Tumour" in steps(viewer)[1]
    assert viewer.page.inner_text(".sic-fold") == "▸ 12 steps"
    viewer.page.click(".sic-fold")
    assert len(steps(viewer)) == 15
    assert viewer.evaluate("document.activeElement.className") == "sic-fold"
    viewer.keep_picture(ARTIFACTS, "history-acts")
    viewer.page.click(".sic-step.sic-part[data-position='5']")
    viewer.page.wait_for_selector("#sic-point")
    viewer.page.click("#sic-restore")
    viewer.wait()
    assert list(viewer.seeds) == rows[:5]
    # What is beyond is told apart as undone, and the act's own line leads to its end.
    viewer.page.wait_for_function("document.querySelectorAll('.sic-act').length === 2")
    assert "7 seeds of Tumour (undone)" in steps(viewer)[1]
    assert "5 seeds of Tumour ← now" in next(each for each in steps(viewer) if "5 seeds" in each)
    viewer.page.click(".sic-act .sic-step >> nth=0")
    viewer.page.wait_for_selector("#sic-point")
    viewer.page.click("#sic-restore")
    viewer.wait()
    assert list(viewer.seeds) == rows


def test_clicks_while_the_server_is_away_are_kept_and_sent(viewer):
    """C17: seeds that were not saved were gone, and nobody said so."""
    rows = list(some_seeds(viewer))[:4]
    viewer.choose(1)
    viewer.click_patch(rows[0])
    viewer.page.route("**/plugins/SIC/**", lambda route: route.abort())
    viewer.click_patch(rows[1])
    viewer.choose(0)
    viewer.click_patch(rows[2])
    assert "Clicks are kept in this page" in viewer.error
    assert "2 changes of seeds are not saved yet" in viewer.page.inner_text("#sic-unsent")
    kept = viewer.page.locator("#SIC_seeds rect[data-unsent]")
    assert sorted(int(each.get_attribute("data-unsent")) for each in kept.all()) == sorted(rows[1:3])
    assert "Not saved" in viewer.page.inner_text("#sic-saved")
    viewer.keep_picture(ARTIFACTS, "unsent")
    # As a file, for whoever does not trust the page.
    with viewer.page.expect_download() as download:
        viewer.page.click("#sic-save-unsent")
    clicks = json.loads(download.value.path().read_text())["clicks"]
    assert [(each["name"], each["patches"]) for each in clicks] == [
        ("Tumour", [rows[1]]),
        ("Other", [rows[2]]),
    ]
    # A page that is loaded again has them still, and sends them when the server is back.
    viewer.page.unroute("**/plugins/SIC/**")
    viewer.reload()
    viewer.page.wait_for_function("window.SIC?.app?.state && !SIC.app.busy && !SIC.app.unsent.length")
    assert viewer.seeds == {rows[0]: 1, rows[1]: 1, rows[2]: 0}
    assert viewer.page.query_selector("#sic-unsent") is None
    names = viewer.adata.obs_names
    assert viewer.saved_seeds == {names[rows[0]]: 1, names[rows[1]]: 1, names[rows[2]]: 0}
    # The file brings back what is not there.
    viewer.press("clear")
    viewer.page.click("#sic-history summary")
    viewer.page.set_input_files("#sic-clicks-file", download.value.path())
    viewer.page.wait_for_function("SIC.app.state.seeds.patches.length === 2")
    viewer.wait()
    assert viewer.seeds == {rows[1]: 1, rows[2]: 0}


def test_a_click_goes_through_when_the_server_comes_back_by_itself(viewer):
    row = next(iter(some_seeds(viewer)))
    viewer.page.route("**/plugins/SIC/change", lambda route: route.abort())
    viewer.choose(1)
    viewer.click_patch(row)
    assert viewer.page.query_selector("#sic-unsent")
    assert "Not saved" in viewer.page.inner_text("#sic-saved")
    viewer.page.unroute("**/plugins/SIC/change")
    viewer.page.wait_for_function("!SIC.app.busy && !SIC.app.unsent.length")
    viewer.wait()
    assert "✓ Saved" in viewer.page.inner_text("#sic-saved")
    assert viewer.saved_seeds == {viewer.adata.obs_names[row]: 1}
    assert viewer.error is None


def test_a_click_is_made_on_what_another_tab_changed_by_the_name_of_its_class(browser, viewer):
    rows = list(some_seeds(viewer))[:3]
    with looking(browser, viewer.folder, viewer.address) as other:
        other.choose(0)
        # Class numbers move: what is class 0 in the other tab is another one in the file.
        viewer.press("add-class")
        viewer.page.fill("#sic-class-naming", "Stroma")
        viewer.page.keyboard.press("Enter")
        viewer.wait()
        other.click_patch(rows[0])
        assert other.error is None
        assert other.evaluate("SIC.app.state.classes.length") == 3
        assert other.seeds == {rows[0]: 0}
        assert viewer.saved_seeds == {viewer.adata.obs_names[rows[0]]: 0}
