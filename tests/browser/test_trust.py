"""Where to click first, which clicks to doubt, and when to stop, in a real TissUUmaps."""

from contextlib import suppress

import numpy as np
from making.many import write_mosaic
from playwright.sync_api import Error
from test_accessible import faults_of
from test_annotating import click_seeds, some_seeds, truth_of
from test_teaching import card_row, key, wait_for_another
from viewer import ARTIFACTS, looking

# Key of each class in the demo's list: Tumour comes first.
KEYS = {1: "1", 0: "2"}


def begin(viewer):
    """Press N on an untouched slide and return the row of the first typical patch."""
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    return card_row(viewer)


def name_by_truth(viewer, row):
    """The key of a patch's true class; of a mixed one of what most of it is."""
    truth = truth_of(viewer)
    if truth[row] < 0:
        centres = viewer.adata.obsm["spatial"]
        near = np.flatnonzero(truth >= 0)
        row = near[np.linalg.norm(centres[near] - centres[row], axis=1).argmin()]
    return KEYS[int(truth[row])]


def test_n_leads_by_keyboard_alone_from_an_untouched_slide_to_labels(viewer):
    assert "N shows some" in viewer.page.inner_text("#sic-steps")
    begin(viewer)
    card = viewer.page.locator("#sic-card")
    assert "Typical patch 1 of 6" in card.inner_text()
    assert "Typical patches of this slide: name a few of each class" in card.inner_text()
    viewer.wait_for_thumbnails("#sic-card .sic-card-body")
    viewer.keep_picture(ARTIFACTS, "typical")
    named = {}
    for _ in range(20):
        if not viewer.evaluate("SIC.app.card.isCold"):
            break
        row = card_row(viewer)
        named[row] = name_by_truth(viewer, row)
        viewer.page.keyboard.press(named[row])
        wait_for_another(viewer, row)
        viewer.wait()
    # Suggestions are now of what is in doubt: from the sixth seed of two classes on, asked for once more.
    assert len(named) >= 6
    assert set(named.values()) == {"1", "2"}
    assert "Suggested patch 1 of 20" in card.inner_text()
    assert "Typical" not in card.inner_text()
    assert viewer.evaluate("SIC.app.flips") is not None
    assert not set(named) & set(viewer.evaluate("SIC.app.card.rows"))
    viewer.keep_picture(ARTIFACTS, "in_doubt")
    viewer.page.keyboard.press("Escape")
    viewer.page.keyboard.press("Space")
    viewer.page.wait_for_function("SIC.app.labels !== null && !SIC.app.busy")
    truth, labels = truth_of(viewer), np.array(viewer.evaluate("[...SIC.app.labels]"))
    assert (labels == truth)[truth >= 0].mean() > 0.9
    assert viewer.seeds == {row: {"1": 1, "2": 0}[key] for row, key in named.items()}


def test_a_small_picture_of_the_strip_goes_there_and_the_next_is_shown(viewer):
    first = begin(viewer)
    tiles = viewer.page.locator("#sic-strip .sic-strip-tile")
    rows = viewer.evaluate("SIC.app.card.rows")
    assert [int(each.get_attribute("data-patch")) for each in tiles.all()] == rows
    assert len(rows) == 6
    assert rows[0] == first
    marked = viewer.page.locator("#sic-strip [aria-current]")
    assert int(marked.get_attribute("data-patch")) == first
    viewer.page.click("#sic-strip-3")
    assert card_row(viewer) == rows[3]
    assert int(marked.get_attribute("data-patch")) == rows[3]
    viewer.wait_to_see(*viewer.adata.obsm["spatial"][rows[3]])
    viewer.page.keyboard.press("2")
    wait_for_another(viewer, rows[3])
    viewer.wait()
    assert card_row(viewer) == rows[4]
    assert viewer.seeds == {rows[3]: 0}
    assert "seeded Other" in viewer.page.get_attribute("#sic-strip-3", "aria-label")
    # By keyboard as well, and back.
    viewer.page.focus("#sic-strip-1")
    viewer.page.keyboard.press("Enter")
    assert card_row(viewer) == rows[1]
    assert viewer.evaluate("document.activeElement.id") == "sic-strip-1"
    assert key(viewer, "Shift+N") == rows[0]


def test_suggest_on_seeds_that_were_never_run_goes_on_with_typical_patches(viewer):
    seeds = dict(list(some_seeds(viewer).items())[:2])
    click_seeds(viewer, seeds)
    viewer.press("suggest")
    viewer.page.wait_for_selector("#sic-card")
    assert "Typical patch" in viewer.page.inner_text("#sic-card-title")
    assert not set(seeds) & set(viewer.evaluate("SIC.app.card.rows"))
    # Clicks on the slide count too: with six seeds of two classes the next is one in doubt.
    viewer.page.keyboard.press("Escape")
    click_seeds(viewer, {row: label for row, label in some_seeds(viewer).items() if row not in seeds})
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_function("SIC.app.card && !SIC.app.busy")
    assert viewer.evaluate("SIC.app.card.isCold") is False


def with_a_wrong_one(viewer):
    """Seed six patches of each class by the truth, but a tumour as Other; return the seeds and that one."""
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    viewer.show_all()
    seeds = some_seeds(viewer, per_class=6)
    wrong = next(row for row, label in seeds.items() if label == 1)
    click_seeds(viewer, seeds | {wrong: 0})
    return seeds | {wrong: 0}, wrong


def wait_for_doubts(viewer, n):
    viewer.page.wait_for_function(
        "(n) => SIC.app.doubts?.doubtful.length === n && !SIC.app.busy && !SIC.app.isSharpening", arg=n
    )
    viewer.wait()


def test_a_wrong_seed_is_listed_first_with_its_reason_and_flipped_and_undone(viewer):
    seeds, wrong = with_a_wrong_one(viewer)
    viewer.run()
    wait_for_doubts(viewer, 1)
    assert viewer.page.inner_text("#sic-seeds-summary .sic-doubts-count") == "1 doubtful"
    sentence = viewer.page.inner_text("#sic-stop")
    assert "11 of 12 seeds agree with the others" in sentence
    assert "Look at the doubtful seed." in sentence
    assert viewer.page.locator("#SIC_seeds [data-doubtful]").count() == 0
    # By keyboard: what the sentence says leads there.
    viewer.page.focus("#sic-look-doubtful")
    viewer.page.keyboard.press("Enter")
    assert viewer.evaluate("document.activeElement.id") == f"sic-doubt-{wrong}"
    first = viewer.page.locator("#sic-seeds > :nth-child(2)")
    assert "the other seeds say Tumour, 0." in first.inner_text() or "Tumour, 1.00" in first.inner_text()
    assert "left out in turn" in viewer.page.get_attribute("#sic-doubts-name", "title")
    mark = viewer.page.locator("#SIC_seeds circle[data-doubtful]")
    assert mark.get_attribute("data-doubtful") == str(wrong)
    viewer.wait_for_thumbnails("#sic-doubts")
    viewer.keep_picture(ARTIFACTS, "doubtful")
    viewer.page.keyboard.press("Tab")
    assert viewer.evaluate("document.activeElement.id") == f"sic-doubt-flip-{wrong}"
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_selector("#sic-doubts", state="detached")
    viewer.wait()
    assert viewer.seeds == seeds | {wrong: 1}
    assert viewer.evaluate("document.activeElement.id") == "sic-seeds-summary"
    assert mark.count() == 0
    viewer.page.keyboard.press("Control+z")
    viewer.page.wait_for_selector(f"#sic-doubt-{wrong}")
    viewer.wait()
    assert viewer.seeds == seeds
    # Or it is dropped, which is one step as well.
    viewer.page.click(f"#sic-doubt-drop-{wrong}")
    viewer.page.wait_for_selector("#sic-doubts", state="detached")
    viewer.wait()
    assert wrong not in viewer.seeds
    viewer.page.keyboard.press("z")
    viewer.page.wait_for_selector(f"#sic-doubt-{wrong}")
    viewer.wait()
    assert viewer.seeds == seeds
    assert viewer.error is None


def test_nothing_of_doubts_is_asked_while_a_run_is_under_way_and_a_run_ends_the_asking(viewer):
    running, judged = [], []

    def hear(request):
        name = request.url.rpartition("/")[2]
        if name == "run":
            running.append(request)
        if name == "judge":
            judged.append([dict(request.post_data_json), list(running)])

    viewer.page.on("request", hear)
    viewer.page.on("requestfinished", lambda each: running.remove(each) if each in running else None)
    _, wrong = with_a_wrong_one(viewer)
    assert judged == []  # nothing is run, and nobody looks at the list
    viewer.run()
    wait_for_doubts(viewer, 1)
    assert len(judged) == 1
    assert judged[0][1] == []
    # Once for these seeds.
    viewer.press("view-slide")
    viewer.page.click("#sic-seeds-summary")
    viewer.wait()
    assert len(judged) == 1
    # What does not come is given up for a click, and asked for anew once there is time.
    held, stopped = [], []
    viewer.page.route("**/plugins/SIC/judge", lambda route: route.continue_() if held else held.append(route))
    viewer.page.on(
        "request",
        lambda each: stopped.append(each.post_data_json["job"]) if each.url.endswith("/cancel") else None,
    )
    viewer.page.click(f"#sic-doubt-drop-{wrong}")
    viewer.page.wait_for_function("!document.getElementById('sic-doubts')")
    viewer.wait()
    while not held:
        viewer.page.wait_for_timeout(50)
    viewer.run()
    wait_for_doubts(viewer, 0)
    assert len(judged) == 3
    assert judged[1][0]["job"] in stopped
    assert all(under_way == [] for _, under_way in judged)
    assert viewer.error is None
    assert "doubtful" not in viewer.page.inner_text("#sic-seeds-summary")
    with suppress(Error):  # its request is gone
        held[0].abort()


def test_without_an_image_the_strip_of_suggestions_shows_places(browser, server, place):
    _, truth = write_mosaic(place, "mosaic")
    with looking(browser, place, server.address(place / "mosaic.tmap")) as viewer:
        rows = [begin(viewer), *viewer.evaluate("SIC.app.card.rows")[1:]]
        assert set(truth[rows]) == {0, 1}
        viewer.wait_for_thumbnails("#sic-strip")
        reds = viewer.evaluate(
            """() => [...document.querySelectorAll("#sic-strip canvas")].map((canvas) => {
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                let n = 0, x = 0, y = 0;
                for (let i = 0; i < data.length; i += 4) {
                    if (data[i] < 170 || data[i + 1] > 60) continue;
                    n++;
                    x += (i / 4) % width / width;
                    y += Math.floor(i / 4 / width) / height;
                }
                return [x / n, y / n];
            })"""
        )
        # Each mark lies where its patch does: from left to right, and from top to bottom.
        for axis in (0, 1):
            centres = viewer.adata.obsm["spatial"][rows, axis]
            assert np.corrcoef(centres, np.array(reds)[:, axis])[0, 1] > 0.99
        viewer.keep_picture(ARTIFACTS, "places")


def test_axe_finds_nothing_serious_in_the_strip_and_the_doubtful_seeds(viewer):
    begin(viewer)
    assert faults_of(viewer) == []
    viewer.page.keyboard.press("Escape")
    with_a_wrong_one(viewer)
    viewer.run()
    wait_for_doubts(viewer, 1)
    viewer.page.click("#sic-look-doubtful")
    viewer.page.wait_for_selector("#sic-doubts")
    assert faults_of(viewer) == []
    # With text half as large again nothing is cut off.
    viewer.evaluate("document.documentElement.style.fontSize = '150%'")
    viewer.wait_for_frame()
    viewer.page.locator("#sic-doubts").scroll_into_view_if_needed()
    viewer.keep_picture(ARTIFACTS, "doubtful_150")
    wide = "(box) => [box.scrollWidth, box.clientWidth]"
    across, room = viewer.page.locator("#sic-doubts").evaluate(wide)
    assert across <= room
