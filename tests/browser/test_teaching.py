"""Patches answered on cards by keys alone, in a real TissUUmaps."""

import json

import numpy as np
from test_annotating import click_seeds, some_seeds
from test_tour import Newcomer
from viewer import ARTIFACTS, looking


def card_row(viewer):
    return int(viewer.page.get_attribute("#sic-card .sic-card-body", "data-patch"))


def wait_for_another(viewer, row):
    viewer.page.wait_for_function(
        """(row) => {
            const body = document.querySelector("#sic-card .sic-card-body");
            return body && Number(body.dataset.patch) !== row && !window.SIC.app.busy;
        }""",
        arg=row,
    )
    return card_row(viewer)


def key(viewer, name):
    """Press a key that shows another card; return the row of that."""
    row = card_row(viewer)
    viewer.page.keyboard.press(name)
    return wait_for_another(viewer, row)


def seeded(viewer):
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    return seeds


def test_n_steps_on_and_goes_on_after_escape(viewer):
    """A4: N gave the same patch each time, and again after Esc."""
    seeded(viewer)
    rows = [card_row(viewer)]
    for _ in range(4):
        rows.append(key(viewer, "n"))
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_selector("#sic-card", state="detached")
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    rows.append(card_row(viewer))
    assert len(set(rows)) == 6
    assert key(viewer, "Shift+N") == rows[-2]
    # Twenty are asked for at once, and the twenty-first is none of them.
    for _ in range(15):
        rows.append(key(viewer, "n"))
    assert len(set(rows)) >= 20


def test_the_card_shows_the_patch_and_is_answered_by_keys_alone(viewer):
    """B5: no picture, no answer; a dot on the slide."""
    seeds = seeded(viewer)
    viewer.wait_for_thumbnails("#sic-card .sic-card-body")
    first = card_row(viewer)
    # At the whole slide a ring tells where it is, and the card does not hide it.
    assert viewer.page.is_visible("#sic-halo")
    viewer.page.wait_for_function(
        """() => {
            const card = document.getElementById("sic-card").getBoundingClientRect();
            const ring = document.getElementById("sic-halo").getBoundingClientRect();
            const { viewport } = tmapp.ISS_viewer;
            const rests = viewport.getCenter(true).distanceTo(viewport.getCenter(false)) < 1e-4;
            return rests && (ring.left >= card.right - 8 || ring.top >= card.bottom - 8);
        }"""
    )
    viewer.keep_picture(ARTIFACTS, "card")
    message = viewer.page.locator("#sic-bar").bounding_box()
    assert viewer.page.locator("#sic-card").bounding_box()["y"] >= message["y"] + message["height"]
    box = viewer.page.locator("#sic-halo").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    assert np.allclose(middle, viewer.screen(*viewer.adata.obsm["spatial"][first]), atol=4)
    # 40x: a pixel of the picture is a quarter of a micrometre; the demo's patches lie 64 µm apart.
    frame = viewer.page.locator("#sic-card .sic-card-frame").first.bounding_box()
    assert abs(frame["width"] - 64 / 0.25) <= 3
    second = key(viewer, "1")
    third = key(viewer, "2")
    fourth = key(viewer, "s")
    viewer.wait()
    assert viewer.seeds == seeds | {first: 1, second: 0}
    kept = json.loads(viewer.session_path.read_text())
    assert kept["actions"][-1]["kind"] == "skip"
    assert kept["actions"][-1]["patches"] == [viewer.adata.obs_names[third]]
    assert viewer.evaluate("SIC.app.state.skipped") == [third]
    # Not asked again, in another window neither.
    viewer.reload()
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    asked = viewer.evaluate("SIC.app.card.rows")
    assert third not in asked
    assert len(asked) == 20
    assert fourth not in viewer.seeds


def test_what_was_answered_on_a_card_is_undone_like_any_seed(viewer):
    seeds = seeded(viewer)
    first = card_row(viewer)
    key(viewer, "2")
    viewer.wait()
    assert viewer.seeds == seeds | {first: 0}
    viewer.page.keyboard.press("z")
    viewer.page.wait_for_function("!window.SIC.app.busy")
    viewer.wait()
    assert viewer.seeds == seeds
    assert key(viewer, "Shift+N") == first


def test_disputed_places_come_on_the_same_card(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.begin_session("Ben")
    swapped = {row: 1 - label if place == 0 else label for place, (row, label) in enumerate(seeds.items())}
    click_seeds(viewer, swapped)
    viewer.run()
    viewer.choose_from("#sic-compare", value="0")
    viewer.wait()
    viewer.page.keyboard.press("x")
    viewer.page.wait_for_selector("#sic-card")
    assert "Disputed place 1 of" in viewer.page.inner_text("#sic-card-title")
    assert card_row(viewer) == viewer.evaluate("SIC.app.compared.places[0][0]")


def test_answers_of_many_classes_are_in_sight_on_a_narrow_slide(viewer):
    """A window of 1280 x 720 at 150 %: the second column of answers lay beyond the card's edge."""
    for name in ("Stroma", "Necrosis", "Folds", "Ink"):
        viewer.press("add-class")
        viewer.page.keyboard.type(name)
        viewer.page.keyboard.press("Enter")
        viewer.wait()
    viewer.page.set_viewport_size({"width": 853, "height": 480})
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    beyond = (
        "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.getElementById('sic-card'))"
    )
    assert viewer.evaluate(beyond) <= 1
    card = viewer.page.locator("#sic-card").bounding_box()
    for label in range(6):
        viewer.page.locator(f"#sic-answer-{label}").scroll_into_view_if_needed()
        answer = viewer.page.locator(f"#sic-answer-{label}").bounding_box()
        assert answer["x"] + answer["width"] <= card["x"] + card["width"], label


def test_esc_that_is_held_lets_go_of_one_thing(browser, server, folder):
    """After the lasso its next repeat closed the card, and those after it the tour."""
    with looking(browser, folder, server.address(folder / "demo.tmap"), kind=Newcomer) as viewer:
        viewer.page.wait_for_selector("#sic-tour")
        viewer.page.keyboard.press("n")
        viewer.page.wait_for_selector("#sic-card")
        viewer.wait()
        for _ in range(4):  # of which all but the first repeat it
            viewer.page.keyboard.down("Escape")
            viewer.wait()
        viewer.page.keyboard.up("Escape")
        assert viewer.page.query_selector("#sic-card") is None
        assert viewer.page.query_selector("#sic-tour")
        viewer.page.keyboard.press("Escape")
        viewer.page.keyboard.press("Escape")
        viewer.page.wait_for_selector("#sic-tour", state="detached")
