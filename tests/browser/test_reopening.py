"""The plugin closed and opened again in the same page: the panel begins anew."""

from test_annotating import click_seeds, some_seeds
from test_teaching import card_row

REOPEN = """() => {
    SIC.old = true;
    pluginUtils.startPlugin("SIC", [], true);
}"""


def reopen(viewer):
    viewer.evaluate(REOPEN)
    viewer.page.wait_for_function("!SIC.old")
    viewer.wait()
    viewer.show_all()


def first_suggestion(viewer):
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    row = card_row(viewer)
    viewer.page.keyboard.press("n")
    viewer.wait()
    viewer.page.keyboard.press("Escape")
    return row


def test_a_panel_that_is_opened_again_begins_anew(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    # What a check would tell, which is asked for once of the same labels.
    viewer.page.wait_for_selector("#sic-quality-told")
    told = viewer.page.inner_text("#sic-quality-told")
    assert told
    place = viewer.screen(*viewer.adata.obsm["spatial"][400])
    viewer.page.mouse.move(*place)
    viewer.wait_for_why(400)
    first = first_suggestion(viewer)
    viewer.press("map-toggle")
    box = viewer.page.locator("#sic-map").bounding_box()
    viewer.drag([(box["x"] + 30, box["y"] + 20), (box["x"] - 70, box["y"] - 30)])
    viewer.page.click("#sic-notes summary")
    viewer.page.fill("#sic-note-text", "half a note")
    viewer.page.mouse.move(5, 5)
    reopen(viewer)
    assert viewer.page.query_selector("#sic-map") is None
    viewer.page.wait_for_selector("#sic-quality-told")
    assert viewer.page.inner_text("#sic-quality-told") == told
    viewer.page.mouse.move(*viewer.screen(*viewer.adata.obsm["spatial"][400]))
    viewer.wait_for_why(400)
    assert first_suggestion(viewer) == first
    viewer.press("map-toggle")
    again = viewer.page.locator("#sic-map").bounding_box()
    assert abs(again["x"] - box["x"]) < 2
    assert abs(again["y"] - box["y"]) < 2
    assert viewer.page.input_value("#sic-note-text") == ""
    # And what is closed sends nothing any more but where one looked, and that a job is to be stopped.
    asked = []
    viewer.page.on("request", lambda each: asked.append(each.url))
    viewer.evaluate("SIC.close()")
    viewer.page.wait_for_timeout(1800)
    assert not [each for each in asked if "/plugins/SIC/" in each and not each.endswith(("/look", "/cancel"))]
    viewer.leave()
