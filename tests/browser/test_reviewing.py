"""A slide looked through: where one was, checked, notes, and the least sure patches; in a real TissUUmaps."""

import json

import numpy as np
from shapely import Polygon
from test_annotating import click_seeds, some_seeds
from viewer import ARTIFACTS

from tissuumaps_sic.annotation.store import load_session
from tissuumaps_sic.slides.slide import open_slide_file

# The middle of the slide at 10x or a little nearer, by the demo's 0.5 µm a pixel.
CLOSE = """(by) => {
    const view = tmapp.ISS_viewer.viewport, image = tmapp.ISS_viewer.world.getItemAt(0);
    view.zoomTo(image.imageToViewportZoom(by), null, true);
}"""


def tinted(viewer):
    return viewer.evaluate(
        """() => {
            const canvas = document.getElementById("sic-seen");
            if (!canvas?.isConnected || !canvas.width) return 0;
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let n = 0;
            for (let i = 3; i < data.length; i += 4) if (data[i]) n++;
            return n;
        }"""
    )


def test_where_one_has_looked_is_tinted_told_and_kept(viewer):
    """B12: nothing told how much of a slide was looked at."""
    # Not by the list of what the browser loaded, which takes no more than 250: scripts, tiles, answers.
    answers = []
    viewer.page.on(
        "requestfinished", lambda each: answers.append(each) if each.url.endswith("/look") else None
    )
    viewer.page.wait_for_function("window.SIC.app.looked")
    assert tinted(viewer) == 0
    assert "Looked at 0 %" in viewer.page.inner_text("#sic-looked")
    viewer.evaluate(CLOSE, 0.6)
    viewer.page.wait_for_function("window.SIC.app.looked.share > 0")
    assert tinted(viewer) > 10
    seen = np.array(viewer.evaluate("[...SIC.app.looked.seen]"), bool)
    box = viewer.page.locator(".openseadragon-canvas").first.bounding_box()
    on_screen = []
    for row, (x, y) in enumerate(viewer.adata.obsm["spatial"]):
        left, top = viewer.screen(x, y)
        inside = (box["x"] + 3 < left < box["x"] + box["width"] - 3) and (
            box["y"] + 3 < top < box["y"] + box["height"] - 3
        )
        on_screen += [row] if inside else []
    assert seen[on_screen].all()
    tissue = viewer.adata.obs["tissue"].to_numpy(np.float64)
    share = 100 * tissue[seen].sum() / tissue.sum()
    told = viewer.page.inner_text("#sic-looked")
    assert f"{share:.0f} %" in told or f"{share:.1f} %" in told
    viewer.page.mouse.move(box["x"] + 300, box["y"] + 300)  # the small map fades where nothing moves
    viewer.page.wait_for_function(
        "getComputedStyle(document.querySelector('.navigator').parentElement).opacity > 0.9"
    )
    viewer.keep_picture(ARTIFACTS, "looked")
    # To look begins no session; once there is one it is kept with it, before the page is left.
    assert not viewer.session_path.exists()
    viewer.page.fill("#sic-user", "Anna")
    viewer.page.keyboard.press("Tab")
    viewer.press("checked")
    viewer.page.wait_for_function("document.getElementById('sic-checked-by')?.textContent.includes('Anna')")
    slide = open_slide_file(viewer.h5ad)

    def kept():
        return load_session(viewer.session_path, slide).seen_patches(slide.n_patches)

    told = 0
    while not np.array_equal(kept(), seen):
        while len(answers) == told:
            viewer.page.wait_for_timeout(20)
        told = len(answers)
    assert np.array_equal(kept(), seen)
    viewer.reload()
    viewer.page.wait_for_function("window.SIC.app.looked?.share > 0")
    assert tinted(viewer) > 10
    assert "✓ Reviewed" in viewer.page.inner_text("#sic-checked")
    # A seed more, and it is no longer what was checked.
    viewer.click_patch(40)
    assert "changed since" in viewer.page.inner_text("#sic-checked-by")


def test_notes_are_written_gone_to_removed_and_read_by_the_second_reader(viewer):
    viewer.page.fill("#sic-user", "Anna")
    viewer.page.keyboard.press("Tab")
    viewer.page.click("#sic-notes summary")
    viewer.page.fill("#sic-note-text", "Blurred <i>here</i>")
    viewer.press("note-add")
    viewer.page.fill("#sic-note-text", "This part")
    viewer.choose_from("#sic-note-target", value="view")
    viewer.evaluate(CLOSE, 0.6)
    viewer.press("note-add")
    notes = [json.loads(viewer.session_path.read_text())["actions"][place] for place in (0, 1)]
    assert [(each["text"], each["user"]) for each in notes] == [
        ("Blurred <i>here</i>", "Anna"), ("This part", "Anna"),
    ]  # fmt: skip
    assert notes[0]["box"] is None
    assert notes[1]["box"][0] < notes[1]["box"][2]
    assert viewer.page.inner_text("[data-note='0'] .sic-note-text") == "Blurred <i>here</i>"
    viewer.begin_session("Ben")
    viewer.page.wait_for_selector("[data-note='/1']")
    # Where the part is, is seen on the slide.
    patch = viewer.evaluate("SIC.app.notes[1].patch")
    assert viewer.page.get_attribute("#SIC_notes [data-note]", "data-note") == str(patch)
    viewer.keep_picture(ARTIFACTS, "notes")
    viewer.show_all()
    viewer.page.click("[data-note='/1'] button")
    viewer.page.wait_for_function("tmapp.ISS_viewer.viewport.getZoom(true) > 3")
    viewer.wait_to_see(*viewer.adata.obsm["spatial"][patch])
    viewer.choose_from("#sic-session", value="")
    viewer.wait()
    viewer.page.click("[data-note='0'] button[aria-label='Remove this note']")
    viewer.wait()
    assert viewer.page.query_selector("[data-note='0']") is None
    viewer.press("undo")
    assert viewer.page.query_selector("[data-note='0']")


def test_a_note_is_on_a_part_that_is_drawn(viewer):
    viewer.page.click("#sic-notes summary")
    viewer.choose_from("#sic-note-target", value="part")
    assert viewer.page.inner_text("#sic-badge") == "Drawing: the part that the note is on"
    assert "Drag around the part" in viewer.status
    corners = [(2000, 2000), (4000, 2100), (3500, 3600), (2100, 3000)]
    viewer.drag([viewer.screen(*each) for each in corners])
    # Nothing was seeded; it can be drawn again, and what is drawn is seen.
    assert viewer.seeds == {}
    assert viewer.page.locator("#SIC_notes [data-part]").count() == 1
    viewer.press("note-redraw")
    viewer.drag([viewer.screen(x + 300, y) for x, y in corners])
    viewer.page.fill("#sic-note-text", "A fold")
    viewer.press("note-add")
    note = json.loads(viewer.session_path.read_text())["actions"][0]
    assert note["text"] == "A fold"
    drawn = Polygon(note["outline"])
    expected = Polygon([(x + 300, y) for x, y in corners])
    assert drawn.symmetric_difference(expected).area < 0.1 * expected.area
    assert np.allclose(note["box"], drawn.bounds)
    shown = viewer.page.locator("#SIC_notes [data-note]")
    assert len(shown.get_attribute("points").split()) == len(note["outline"])
    assert viewer.page.locator("#SIC_notes [data-part]").count() == 0
    assert viewer.chosen("#sic-note-target") == "slide"
    viewer.keep_picture(ARTIFACTS, "note-drawn")
    # Clicks seed again; Esc takes back that something is to be drawn; with the rectangle it has four corners.
    viewer.click_patch(40)
    assert viewer.seeds == {40: 1}
    viewer.choose_from("#sic-note-target", value="part")
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_function("window.SIC.app.part === null")
    assert viewer.chosen("#sic-note-target") == "slide"
    # From within the note's text, too, and of a part that was drawn.
    for is_drawn in (False, True):
        viewer.choose_from("#sic-note-target", value="part")
        if is_drawn:
            viewer.drag([viewer.screen(*each) for each in corners])
        viewer.page.fill("#sic-note-text", "Half a note")
        viewer.page.keyboard.press("Escape")
        viewer.page.wait_for_function("window.SIC.app.part === null")
        assert viewer.chosen("#sic-note-target") == "slide"
        assert viewer.page.input_value("#sic-note-text") == "Half a note"
    viewer.press("tool-rectangle")
    viewer.choose_from("#sic-note-target", value="part")
    viewer.drag([viewer.screen(2000, 2000), viewer.screen(3000, 2800)])
    viewer.page.fill("#sic-note-text", "Ink")
    viewer.press("note-add")
    note = json.loads(viewer.session_path.read_text())["actions"][-1]
    assert len(note["outline"]) == 4
    assert viewer.seeds == {40: 1}


def test_the_gallery_shows_the_least_sure_first_and_corrects_by_key(viewer):
    """B12: no gallery of the patches that are labelled with a class, no sort by score."""
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.page.click("#sic-gallery-1")
    viewer.page.wait_for_selector("#sic-gallery")
    viewer.wait()
    rows = viewer.evaluate(
        "[...document.querySelectorAll('.sic-gallery-tile')].map((each) => Number(each.dataset.galleryRow))"
    )
    own = np.array(viewer.evaluate("[...SIC.app.scores.own]"))
    labelled = [row for row, name in enumerate(viewer.layer["names"]) if name == "Tumour"]
    assert rows == sorted(labelled, key=lambda row: own[row])[:60]
    viewer.keep_picture(ARTIFACTS, "gallery")
    viewer.page.keyboard.press("ArrowRight")
    viewer.page.keyboard.press("2")
    viewer.wait()
    assert viewer.seeds == seeds | {rows[1]: 0}
    viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_function("tmapp.ISS_viewer.viewport.getZoom(true) > 3")
    viewer.page.keyboard.press("Escape")
    assert viewer.page.query_selector("#sic-gallery") is None
