"""How good the labels are: patches chosen by chance, asked about while nothing tells their labels."""

import json

import numpy as np
import pytest
from test_accessible import faults_of
from test_annotating import click_seeds, some_seeds, truth_of
from test_teaching import card_row, key, wait_for_another
from test_trust import name_by_truth
from viewer import ARTIFACTS


@pytest.fixture
def labelled(viewer):
    """The demo, labelled from six seeds of each class."""
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    viewer.show_all()
    click_seeds(viewer, some_seeds(viewer, per_class=6))
    viewer.run()
    viewer.wait_for_cells()
    viewer.page.wait_for_selector("#sic-look-quality")
    return viewer


def begin(viewer, name="c"):
    viewer.page.keyboard.press(name)
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    return card_row(viewer)


def answer(viewer, number, keys=None):
    """Answer so many patches by their true classes; return the rows and the keys that were pressed."""
    given = {}
    for _ in range(number):
        row = card_row(viewer)
        given[row] = (keys or {}).get(len(given)) or name_by_truth(viewer, row)
        viewer.page.keyboard.press(given[row])
        wait_for_another(viewer, row)
    viewer.wait()
    return given


def leave(viewer):
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_selector("#sic-card", state="detached")
    viewer.wait()


def open_quality(viewer):
    viewer.page.wait_for_function(
        """() => {
            const { quality, state, busy } = SIC.app, found = quality?.found;
            return found && !busy && found.answers + found.unclear === (state.sample?.answered ?? 0);
        }"""
    )
    viewer.page.click("#sic-look-quality")


def sight(viewer):
    """All that lies over the slide: what is drawn over each patch, and how the view lies."""
    return viewer.evaluate(
        """() => {
            const osd = tmapp.ISS_viewer, bounds = osd.viewport.getBounds();
            const drawn = document.querySelectorAll("#SIC_seeds rect, #SIC_outlines path, #SIC_pointed rect");
            const seen = [...drawn].filter((each) => each.checkVisibility({ visibilityProperty: true }));
            return {
                seeds: seen.length,
                markers: getComputedStyle(document.getElementById("gl_canvas")).visibility,
                view: SIC.app.view,
                bounds: [bounds.x, bounds.y, bounds.width].map((each) => each.toFixed(6)),
            };
        }"""
    )


def alphas(viewer):
    """Opacity of what is seen over each patch."""
    viewer.show_all()
    viewer.wait_for_frame()
    places = viewer.adata.obsm["spatial"]
    if sight(viewer)["markers"] == "hidden":  # with all that is drawn there, regions too
        assert viewer.evaluate("glUtils._markerOpacity.SICLABELS ?? 0") == 0
        return np.array(viewer.picture_pixels(places))[:, 3]
    return np.array(viewer.canvas_alphas(places))


def test_a_check_by_keyboard_alone_tells_how_good_the_labels_are(labelled):
    viewer = labelled
    assert "Check 40 patches to know how good they are." in viewer.page.inner_text("#sic-stop")
    # The sentence leads to the section, whose button has the focus.
    viewer.page.focus("#sic-look-quality")
    viewer.page.keyboard.press("Enter")
    assert viewer.evaluate("document.activeElement.id") == "sic-check-go"
    assert viewer.page.inner_text("#sic-check-go") == "Check 40 patches"
    told = viewer.page.inner_text("#sic-quality-told")
    assert "chosen at random" in told
    assert "labels hidden" in told
    assert "never used to label" in told
    viewer.keep_picture(ARTIFACTS, "check_none")
    seeds = viewer.seeds
    begin(viewer, "Enter")
    assert "patch 1 of 40" in viewer.page.inner_text("#sic-card-title")
    viewer.wait_for_thumbnails("#sic-card .sic-card-body")
    viewer.keep_picture(ARTIFACTS, "check_asks")
    given = answer(viewer, 12)
    assert "patch 13 of 40" in viewer.page.inner_text("#sic-card-title")
    # Back, and another answer, which is the one that counts.
    row = list(given)[-1]
    assert key(viewer, "Shift+N") == row
    assert "you said" in viewer.page.inner_text("#sic-card-said")
    key(viewer, given[row])
    viewer.wait()
    assert "patch 13 of 40" in viewer.page.inner_text("#sic-card-title")
    # What one cannot tell is made up for.
    key(viewer, "s")
    viewer.wait()
    assert "patch 14 of 41" in viewer.page.inner_text("#sic-card-title")
    given |= answer(viewer, 27)
    assert "patch 41 of 41" in viewer.page.inner_text("#sic-card-title")
    viewer.page.keyboard.press(name_by_truth(viewer, card_row(viewer)))
    viewer.page.wait_for_selector("#sic-card", state="detached")
    viewer.page.wait_for_selector("#sic-quality-table")
    viewer.wait()
    assert viewer.evaluate("SIC.app.state.sample") == {"answered": 41, "unclear": 1}
    found = viewer.evaluate("SIC.app.quality.found")
    assert (found["state"], found["answers"]) == ("ready", 40)
    rows = viewer.page.locator("#sic-quality-table tbody tr")
    assert [each.get_attribute("data-class") for each in rows.all()] == ["Tumour", "Other"]
    tumour = found["classes"][0]
    text = rows.first.inner_text()
    for name in ("precision", "recall", "f1", "area"):
        low, high = (f"{tumour[name][each]:.2f}" for each in ("low", "high"))
        assert f"{tumour[name]['value']:.2f}" in text
        assert f"{low}\N{EN DASH}{high}" in text
    # The truth of the demo lies in the ranges.
    truth, labels = truth_of(viewer), np.array(viewer.evaluate("[...SIC.app.labels]"))
    right = (labels == truth)[truth >= 0].mean()
    assert found["accuracy"]["low"] - 0.05 <= right <= found["accuracy"]["high"] + 0.05
    assert "more answers would halve the range" in viewer.page.inner_text("#sic-quality-halving")
    assert found["told"] == viewer.page.inner_text("#sic-quality-told")
    heads = viewer.page.locator("#sic-quality-table thead th")
    assert heads.all_inner_texts() == ["Class", "Precision", "Recall", "F1", "mm²"]
    assert all("95 times in 100" in each.get_attribute("title") for each in heads.all()[1:])
    sentence = viewer.page.inner_text("#sic-stop")
    f1 = tumour["f1"]
    assert (
        f"F1 of Tumour: {f1['value']:.2f} ({f1['low']:.2f} to {f1['high']:.2f}), by a check of 40 patches."
        in sentence
    )
    # Nothing of it is a seed.
    assert viewer.seeds == seeds
    assert not viewer.evaluate("SIC.app.state.run.stale")
    viewer.page.locator("#sic-quality").scroll_into_view_if_needed()
    viewer.keep_picture(ARTIFACTS, "check_ready")


@pytest.mark.parametrize("view", ["labels", "outlines", "confidence", "colors"])
def test_labels_are_hidden_while_it_asks_and_back_after(labelled, view):
    viewer = labelled
    if view != "labels":
        viewer.press(f"view-{view}")
    viewer.press("regions")
    viewer.evaluate("tmapp.ISS_viewer.viewport.zoomBy(1.7, null, true)")
    viewer.wait_for_frame()
    before, pixels = sight(viewer), viewer.picture_pixels(viewer.adata.obsm["spatial"])
    assert before["seeds"]
    begin(viewer)
    # Also when labels come anew, the window is turned to, keys are pressed or the pointer rests on a patch.
    for name in ("v", "g", "m", "i", "Space", "h", "u", "x", "n", "Enter", "Shift+ArrowLeft"):
        viewer.page.keyboard.press(name)
        viewer.wait()
    row = card_row(viewer)
    viewer.page.mouse.click(*viewer.screen(*viewer.adata.obsm["spatial"][row]), button="right")
    viewer.page.mouse.click(620, 600)
    viewer.wait()
    assert card_row(viewer) == row
    during = sight(viewer)
    assert (during["seeds"], during["markers"]) == (0, "hidden")
    assert viewer.page.locator("#sic-patch-menu, #SIC_picture, #sic-map").count() == 0
    assert viewer.page.locator("#sic-halo").is_visible()
    assert not alphas(viewer).any()
    if view == "labels":
        answer(viewer, 2)
        assert not alphas(viewer).any()
    leave(viewer)
    viewer.wait_for_frame()
    assert sight(viewer) == before
    assert viewer.picture_pixels(viewer.adata.obsm["spatial"]) == pixels
    assert viewer.evaluate("Object.keys(regionUtils._regions).length") == 2
    assert viewer.error is None


def test_nothing_on_the_screen_tells_the_label(labelled):
    """No text, colour or picture of the card and the panel differs by what the asked patch is labelled."""
    viewer = labelled
    viewer.page.click("#sic-seeds-summary")
    viewer.page.wait_for_selector(".sic-wall")
    viewer.page.mouse.move(*viewer.screen(*viewer.adata.obsm["spatial"][300]))
    viewer.page.wait_for_selector("#sic-why[data-patch='300']")
    begin(viewer)
    shown = """() => [...document.querySelectorAll(".sic, #sic-card, #sic-halo")].map((each) => {
        const copy = each.cloneNode(true);
        for (const node of copy.querySelectorAll("#sic-keys, #sic-saved")) node.remove();
        return copy.outerHTML.replace(/[0-9]/g, ""); // which patch of how many, and where it lies
    }).join("\\n")"""
    telling = (
        "#sic-why, #sic-seeds, #sic-doubts, #sic-history, #sic-gallery, .sic-review > *, "
        "#sic-view-labels, #sic-compare, #sic-regions, #sic-quality"
    )
    pages = {}
    labels = viewer.evaluate("[...SIC.app.labels]")
    for _ in range(14):
        row = card_row(viewer)
        viewer.page.mouse.move(*viewer.screen(*viewer.adata.obsm["spatial"][row]))
        viewer.wait()
        assert viewer.page.locator(telling).count() == 0
        pages.setdefault(labels[row], set()).add(viewer.evaluate(shown))
        assert viewer.page.inner_text("#sic-card-said") == ""
        assert viewer.evaluate("SIC.app.why") is None
        viewer.page.keyboard.press("s")
        wait_for_another(viewer, row)
    assert set(pages) == {0, 1}
    assert pages[0] & pages[1]
    leave(viewer)
    assert viewer.page.locator("#sic-seeds").count() == 1
    assert viewer.evaluate("document.querySelector('#sic-seeds').open")


def test_an_answer_is_undone_and_asked_again_and_done_again(labelled):
    viewer = labelled
    first = begin(viewer)
    given = answer(viewer, 3)
    third, fourth = list(given)[-1], card_row(viewer)
    viewer.page.keyboard.press("Control+z")
    wait_for_another(viewer, fourth)
    viewer.wait()
    assert card_row(viewer) == third
    assert viewer.evaluate("SIC.app.state.sample.answered") == 2
    assert viewer.page.inner_text("#sic-card-said") == ""
    assert "patch 3 of 40" in viewer.page.inner_text("#sic-card-title")
    viewer.page.keyboard.press("Control+y")
    wait_for_another(viewer, third)
    viewer.wait()
    assert card_row(viewer) == fourth
    assert viewer.evaluate("SIC.app.state.sample.answered") == 3
    # Back to before the check was begun.
    for left in (2, 1, 0):
        viewer.page.keyboard.press("z")
        viewer.page.wait_for_function(f"SIC.app.state.sample?.answered === {left} && !SIC.app.busy")
        viewer.wait()
    viewer.page.wait_for_function(
        f"document.querySelector('#sic-card .sic-card-body').dataset.patch === '{first}'"
    )
    viewer.page.keyboard.press("z")
    viewer.page.wait_for_selector("#sic-card", state="detached")
    viewer.wait()
    assert viewer.evaluate("SIC.app.state.sample") is None
    assert "Check 40 patches" in viewer.page.inner_text("#sic-stop")


def test_a_check_that_was_left_goes_on_where_it_was_after_the_page_is_loaded_again(labelled):
    viewer = labelled
    begin(viewer)
    given = answer(viewer, 12)
    next_row = card_row(viewer)
    viewer.reload()
    open_quality(viewer)
    assert viewer.page.inner_text("#sic-check-go") == "12 of 40 answered: go on"
    assert viewer.page.locator("#sic-quality-table").count() == 1
    viewer.page.click("#sic-check-go")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    assert card_row(viewer) == next_row
    assert "patch 13 of 40" in viewer.page.inner_text("#sic-card-title")
    kept = json.loads(viewer.session_path.read_text())
    said = [each for each in kept["actions"] if each["kind"] == "verify-answer"]
    assert [each["patch"] for each in said] == [viewer.adata.obs_names[row] for row in given]
    # What was answered in the last sitting is taken back as well, and asked again.
    viewer.page.keyboard.press("z")
    wait_for_another(viewer, next_row)
    viewer.wait()
    assert card_row(viewer) == list(given)[-1]
    assert "patch 12 of 40" in viewer.page.inner_text("#sic-card-title")


def test_answers_are_kept_while_the_server_is_away(labelled):
    viewer = labelled
    begin(viewer)
    answer(viewer, 1)
    seeds = viewer.evaluate("SIC.app.state.seeds.patches.length")
    viewer.page.route("**/plugins/SIC/change", lambda route: route.abort())
    given = {}
    for _ in range(2):
        row = card_row(viewer)
        given[row] = name_by_truth(viewer, row)
        viewer.page.keyboard.press(given[row])
        wait_for_another(viewer, row)
    assert [each["patches"] for each in viewer.evaluate("SIC.app.unsent")] == [[row] for row in given]
    viewer.page.unroute("**/plugins/SIC/change")
    viewer.page.wait_for_function("!SIC.app.unsent.length && !SIC.app.busy", timeout=60_000)
    viewer.wait()
    assert viewer.evaluate("SIC.app.state.sample.answered") == 3
    assert viewer.evaluate("SIC.app.state.seeds.patches.length") == seeds
    assert "patch 4 of 40" in viewer.page.inner_text("#sic-card-title")


def test_a_check_is_void_once_an_answered_patch_was_seeded_and_run(labelled):
    viewer = labelled
    begin(viewer)
    given = answer(viewer, 11)
    leave(viewer)
    open_quality(viewer)
    assert "by a check of 11 patches" in viewer.page.inner_text("#sic-stop")
    row = next(each for each in given if each not in viewer.seeds)
    viewer.show_all()
    viewer.choose(1)
    viewer.click_patch(row)
    viewer.run()
    viewer.page.wait_for_function("SIC.app.quality.found?.state === 'void'")
    viewer.wait()
    assert "The check is void" in viewer.page.inner_text("#sic-stop")
    assert viewer.page.inner_text("#sic-quality-told").startswith("Void: ")
    assert viewer.page.locator("#sic-quality-table").count() == 0
    viewer.page.locator("#sic-quality").scroll_into_view_if_needed()
    viewer.keep_picture(ARTIFACTS, "check_void")
    assert viewer.page.inner_text("#sic-check-go") == "Begin another check"
    viewer.page.click("#sic-check-go")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    assert "patch 1 of 40" in viewer.page.inner_text("#sic-card-title")
    # Undo brings the other check back.
    leave(viewer)
    viewer.page.keyboard.press("z")
    viewer.page.wait_for_function("SIC.app.state.sample?.answered === 11")


def test_a_second_reader_is_asked_about_the_same_patches_and_compared(labelled):
    viewer = labelled
    begin(viewer)
    given = answer(viewer, 11)
    leave(viewer)
    viewer.begin_session("Ben")
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    open_quality(viewer)
    viewer.choose_from("#sic-check-other", value="0")
    viewer.page.click("#sic-check-like")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    # One is answered otherwise.
    first = next(iter(given))
    assert answer(viewer, 11, {0: "1" if given[first] == "2" else "2"}).keys() == given.keys()
    leave(viewer)
    viewer.page.wait_for_selector("#sic-agreement")
    agreed = viewer.evaluate("SIC.app.quality.found.agreement")
    assert agreed["patches"] == 11
    assert abs(agreed["share"]["value"] - 10 / 11) < 1e-9
    assert "You agree on 0.91 (" in viewer.page.inner_text("#sic-agreement")
    assert "kappa" in viewer.page.inner_text("#sic-agreement")
    viewer.page.locator("#sic-agreement-table").scroll_into_view_if_needed()
    viewer.keep_picture(ARTIFACTS, "check_agreement")
    assert faults_of(viewer) == []


def test_axe_finds_nothing_serious_in_a_check_and_large_text_is_not_cut_off(labelled):
    viewer = labelled
    begin(viewer)
    assert faults_of(viewer) == []
    answer(viewer, 12)
    viewer.evaluate("document.documentElement.style.fontSize = '150%'")
    viewer.wait_for_frame()
    viewer.keep_picture(ARTIFACTS, "check_asks_150")
    leave(viewer)
    open_quality(viewer)
    viewer.page.wait_for_selector("#sic-quality-table")
    assert faults_of(viewer) == []
    viewer.page.locator("#sic-quality").scroll_into_view_if_needed()
    viewer.keep_picture(ARTIFACTS, "check_ready_150")
    across, room = viewer.page.locator("#sic-quality").evaluate("(box) => [box.scrollWidth, box.clientWidth]")
    assert across <= room
