"""A newcomer, who reads nothing but the first screen; twenty cards in a row; and every size of the window."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from test_annotating import click_seeds, some_seeds, truth_of
from test_cockpit import is_in_sight
from test_teaching import card_row, key
from viewer import ARTIFACTS, looking

SIZES = [(1280, 720, 100), (1440, 900, 100), (1920, 1080, 100), (1280, 720, 150)]


def next_step(viewer):
    """The step that the strip marks as the next, by its words alone; None once the strip is gone."""
    step = viewer.page.query_selector("[aria-label='To the first labels'] [aria-current='step']")
    return step and step.inner_text().split(" ", 1)[1].strip()


def visible(viewer, selector):
    return viewer.page.locator(selector).locator("visible=true")


def test_a_newcomer_is_led_to_labels_by_the_strip_of_steps(browser, server, folder):
    """Does step by step what the strip says, and finds what it names by its words on the screen."""
    with looking(browser, folder, server.address(folder / "demo.tmap"), height=720) as viewer:
        viewer.page.set_viewport_size({"width": 1280, "height": 720})
        # Tissue, not a rainbow.
        assert viewer.evaluate("SIC.app.view") == "slide"
        truth, centres = truth_of(viewer), viewer.adata.obsm["spatial"]
        rng = np.random.default_rng(7)
        names = ["Tumour", "Other"]
        done = []
        while (step := next_step(viewer)) is not None and len(done) < 6:
            done.append(step)
            if step == "Choose a class":
                visible(viewer, f"label:text-is('{names[0]}')").click()
            elif step == "Click a few of each (N shows some)":
                for name, label in zip(names, (1, 0), strict=True):
                    visible(viewer, f"label:text-is('{name}')").click()
                    # What a click does is said on the slide.
                    assert f"Seeding: {name}" in viewer.page.inner_text("#sic-badge")
                    for row in rng.choice(np.flatnonzero(truth == label), 3, replace=False):
                        viewer.click_patch(int(row), centres=centres)
            elif step == "Run":
                visible(viewer, "button:has-text('Run')").first.click()
                viewer.wait()
            else:
                pytest.fail(f"a step that a newcomer cannot do: {step}")
        assert done == ["Choose a class", "Click a few of each (N shows some)", "Run"]
        assert viewer.error is None
        assert viewer.evaluate("SIC.app.view") == "labels"
        labels, known = np.array(viewer.evaluate("[...SIC.app.labels]")), truth >= 0
        hits = ((labels == 1) & (truth == 1)).sum()
        f1 = 2 * hits / ((labels[known] == 1).sum() + (truth == 1).sum())
        assert f1 > 0.9, f1


def wait_for_pictures(viewer):
    """Wait until both pictures of the card show the slide in their middle: at its rim there may be none."""
    viewer.page.wait_for_function(
        """() => {
            const all = [...document.querySelectorAll("#sic-card .sic-card-body canvas")];
            return all.length === 2 && all.every((canvas) => {
                const { width, height } = canvas;
                const context = canvas.getContext("2d");
                const { data } = context.getImageData(width / 4, height / 4, width / 2, height / 2);
                const isDrawn = data.every((value, i) => i % 4 < 3 || value === 255);
                return isDrawn && new Set(data).size > 8;
            });
        }"""
    )


def test_twenty_cards_are_answered_one_after_the_other_by_keys_alone(viewer):
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    truth = truth_of(viewer)
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    rows = []
    for number in range(20):
        row = card_row(viewer)
        assert f"{number + 1} of 20" in viewer.page.inner_text("#sic-card-title")
        # Both pictures are drawn, and are of the slide: not of one colour.
        wait_for_pictures(viewer)
        assert viewer.page.locator("#sic-card .sic-card-empty").count() == 0
        rows.append(row)
        answer = {1: "1", 0: "2", -1: "s"}[truth[row]]
        if number < 19:
            key(viewer, answer)
        else:
            viewer.page.keyboard.press(answer)
    viewer.page.wait_for_function("!window.SIC.app.busy && !window.SIC.app.unsent.length")
    viewer.wait()
    assert len(set(rows)) == 20
    expected = {row: int(truth[row]) for row in rows if truth[row] >= 0}
    assert viewer.seeds == seeds | expected
    skipped = [row for row in rows if truth[row] < 0]
    assert viewer.evaluate("SIC.app.state.skipped") == sorted(skipped)
    actions = json.loads(viewer.session_path.read_text())["actions"]
    assert len(actions) == len(seeds) + 20


@pytest.fixture
def crowded(browser, demo_folder, server, place):
    """A worklist of four slides, the second open with six classes, seeds and labels."""
    for number in range(1, 5):
        for suffix in (".h5ad", ".tif"):
            os.link(demo_folder / f"demo{suffix}", place / f"demo_{number}{suffix}")
        project = (demo_folder / "demo.tmap").read_text().replace("demo.", f"demo_{number}.")
        (place / f"demo_{number}.tmap").write_text(project)
    with looking(browser, place, server.address(place / "demo_2.tmap")) as viewer:
        for name in ("Stroma", "Necrosis", "Folds", "Debris and ink"):
            viewer.press("add-class")
            viewer.page.keyboard.type(name)
            viewer.page.keyboard.press("Enter")
            viewer.wait()
        mask = np.asarray(Image.open(demo_folder / "demo_mask.png"))
        assert mask.any()
        for label, rows in ((1, (100, 101)), (0, (500, 501)), (2, (300,))):
            viewer.choose(label)
            for row in rows:
                viewer.click_patch(row)
        viewer.run()
        assert viewer.error is None
        yield viewer


def test_what_is_done_most_is_in_view_at_every_size(crowded):
    viewer = crowded
    for width, height, text in SIZES:
        viewer.page.set_viewport_size({"width": width, "height": height})
        viewer.evaluate(f"document.documentElement.style.fontSize = '{text}%'")
        viewer.show_all()
        viewer.page.wait_for_function(
            "(width) => document.getElementById('ISS_viewer').clientWidth >= width / 2 - 1", arg=width
        )
        viewer.keep_picture(ARTIFACTS, f"size-{width}x{height}-{text}")
        told = (width, height, text)
        for scroll in (0, 100_000):
            viewer.evaluate("(top) => { document.getElementById('ISS_menu').scrollTop = top; }", scroll)
            for selector in (
                "#sic-run",
                "#sic-undo",
                "#sic-status",
                "#sic-saved",
                "#sic-badge",
                "#sic-ruler",
            ):
                assert is_in_sight(viewer, selector), (selector, scroll, told)
            for label in range(6):
                assert is_in_sight(viewer, f"label[for=sic-class-{label}]"), (label, scroll, told)
        # The page itself never scrolls, which would take the messages out of sight for good.
        viewer.evaluate("document.querySelector('#sic-keys').scrollIntoView({ block: 'center' })")
        assert viewer.evaluate("document.scrollingElement.scrollTop") == 0, told
        # Nothing of the panel is cut off at its right edge, however far down.
        wide = viewer.evaluate(
            """() => [...document.querySelectorAll(".sic-above *, .sic-group *, .sic-worklist *")]
                .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && each.offsetParent
                    && !each.closest("[role=menu]"))
                .map((each) => each.id || each.className || each.tagName)"""
        )
        assert wide == [], told
