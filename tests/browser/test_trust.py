"""Where to click first, which clicks to doubt, and when to stop, in a real TissUUmaps."""

import numpy as np
from test_annotating import click_seeds, some_seeds, truth_of
from test_teaching import card_row, key, wait_for_another
from viewer import ARTIFACTS

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
