"""Keys that TissUUmaps has too, Esc in the middle of something, and keys that change what is not in sight."""

import numpy as np
import pytest
from test_annotating import click_seeds, some_seeds
from test_readers import reading
from test_tour import Newcomer
from viewer import looking

BOXES = "[...document.querySelectorAll('[id^=SICLABELS_][id$=_check]')].map((each) => each.checked)"


def middle_of_slide(viewer):
    box = viewer.page.locator(".openseadragon-canvas").first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def draw_around(viewer, *, shift=True):
    """Begin a drag over the slide, and stay in the middle of it; the way back to its start is left."""
    x, y = middle_of_slide(viewer)
    if shift:
        viewer.page.keyboard.down("Shift")
    viewer.page.mouse.move(x - 90, y - 60)
    viewer.page.mouse.down()
    for dx, dy in ((90, -60), (90, 60), (-90, 60)):
        viewer.page.mouse.move(x + dx, y + dy, steps=4)


def draw_beside_card(viewer):
    """Begin a Shift-drag over the slide where the card does not lie."""
    card = viewer.page.locator("#sic-card").bounding_box()
    slide = viewer.page.locator(".openseadragon-canvas").first.bounding_box()
    x = (card["x"] + card["width"] + slide["x"] + slide["width"]) / 2
    y = slide["y"] + slide["height"] / 2
    viewer.page.keyboard.down("Shift")
    viewer.page.mouse.move(x - 40, y - 40)
    viewer.page.mouse.down()
    for dx, dy in ((40, -40), (40, 40), (-40, 40)):
        viewer.page.mouse.move(x + dx, y + dy, steps=4)


def let_go(viewer):
    viewer.page.mouse.up()
    viewer.page.keyboard.up("Shift")
    viewer.wait()


def test_no_key_of_tissuumaps_hides_what_the_panel_says_is_shown(viewer):
    """A1, its kind: R hid all regions, and M with Ctrl, or typed over the slide, all labels."""
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    viewer.press("regions")
    viewer.page.wait_for_selector("#sic-areas")
    boxes = viewer.evaluate(BOXES)
    assert all(boxes)
    assert len(boxes) > 1
    viewer.page.mouse.move(*middle_of_slide(viewer))
    viewer.page.focus(".openseadragon-canvas")
    for key in ("Control+m", "Alt+m", "Control+0"):
        viewer.page.keyboard.press(key)
    assert viewer.evaluate(BOXES) == boxes
    assert viewer.page.is_visible("#ISS_menu")
    # R is what G is: where regions go, the panel says so.
    viewer.page.keyboard.press("r")
    viewer.wait()
    assert viewer.evaluate("Object.keys(regionUtils._regions).length") == 0
    assert viewer.page.get_attribute("#sic-regions", "aria-pressed") == "false"
    viewer.page.keyboard.press("r")
    viewer.wait()
    assert viewer.page.get_attribute("#sic-regions", "aria-pressed") == "true"
    # What is typed over the slide is no key of it.
    viewer.evaluate("SIC.app.state && document.querySelector('#sic-copy-command').click()")
    viewer.page.locator("#sic-copy-command + [role=menu] .sic-menu-item").first.click()
    viewer.page.wait_for_selector("#sic-command-line")
    viewer.page.focus("#sic-command-line")
    for key in ("m", "0", "r"):
        viewer.page.keyboard.press(key)
    assert viewer.evaluate(BOXES) == boxes
    assert viewer.page.is_visible("#ISS_menu")
    assert viewer.page.get_attribute("#sic-regions", "aria-pressed") == "true"


@pytest.mark.parametrize("tool", ["lasso", "brush"])
def test_esc_takes_back_what_is_being_drawn_before_anything_else(browser, server, folder, tool):
    """Esc closed the tour, or the card, and what was drawn was seeded all the same."""
    with looking(browser, folder, server.address(folder / "demo.tmap"), kind=Newcomer) as viewer:
        viewer.page.wait_for_selector("#sic-tour")
        viewer.press(f"tool-{tool}")
        bounds = "(({x, y, width}) => [x, y, width])(tmapp.ISS_viewer.viewport.getBounds())"
        before = viewer.evaluate(bounds)
        draw_around(viewer)
        viewer.page.keyboard.press("Escape")
        assert viewer.page.query_selector(".sic-lasso, #SIC_painted") is None
        assert viewer.page.query_selector("#sic-tour")
        # Nor does the rest of the drag move the slide, or seed.
        x, y = middle_of_slide(viewer)
        viewer.page.mouse.move(x + 40, y + 30, steps=4)
        let_go(viewer)
        assert np.allclose(viewer.evaluate(bounds), before)
        assert viewer.seeds == {}
        viewer.page.keyboard.press("Escape")
        viewer.page.wait_for_selector("#sic-tour", state="detached")
        # A card is closed after what is drawn, too; and a drag that is not taken back seeds.
        viewer.page.keyboard.press("n")
        viewer.page.wait_for_selector("#sic-card")
        viewer.wait()
        draw_beside_card(viewer)
        assert viewer.page.query_selector(".sic-lasso, #SIC_painted")
        viewer.page.keyboard.press("Escape")
        assert viewer.page.query_selector(".sic-lasso, #SIC_painted") is None
        let_go(viewer)
        assert viewer.page.query_selector("#sic-card")
        assert viewer.seeds == {}
        viewer.page.keyboard.press("Escape")
        viewer.page.wait_for_selector("#sic-card", state="detached")
        viewer.show_all()
        draw_around(viewer)
        let_go(viewer)
        assert len(viewer.seeds) > 3


def test_esc_takes_a_lasso_on_the_map_back_and_the_map_has_keys(viewer):
    viewer.press("map-toggle")
    box = viewer.page.locator("#sic-map-canvas").bounding_box()
    left, top, side = box["x"], box["y"], box["width"]
    viewer.page.keyboard.down("Shift")
    viewer.page.mouse.move(left + 5, top + 5)
    viewer.page.mouse.down()
    for x, y in ((side - 5, 5), (side - 5, side - 5), (5, side - 5)):
        viewer.page.mouse.move(left + x, top + y, steps=4)
    viewer.page.keyboard.press("Escape")
    let_go(viewer)
    assert viewer.seeds == {}
    assert viewer.page.is_visible("#sic-map")
    # Arrows and + are the map's while it has the focus, and the slide's otherwise (C9).
    bounds = "(({x, y, width}) => [x, y, width])(tmapp.ISS_viewer.viewport.getBounds())"
    pixels = """() => { const canvas = document.getElementById("sic-map-points");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.reduce((sum, value, i) => (sum * 31 + value * (i % 97)) % 1000003, 7); }"""
    slide, before = viewer.evaluate(bounds), viewer.evaluate(pixels)
    # The list of keys says so, and what reads the page aloud.
    viewer.page.keyboard.press("?")
    assert "on the map" in viewer.page.locator("#sic-keys").text_content()
    assert viewer.page.get_attribute("#sic-map-canvas", "role") == "application"
    assert "Arrows" in viewer.page.get_attribute("#sic-map-canvas", "aria-description")
    viewer.page.keyboard.press("?")
    viewer.page.focus("#sic-map-canvas")
    seen = {before}
    for key in ("+", "ArrowRight", "ArrowDown"):
        viewer.page.keyboard.press(key)
        seen.add(viewer.evaluate(pixels))
    assert len(seen) == 4
    assert np.allclose(viewer.evaluate(bounds), slide)
    viewer.page.focus(".openseadragon-canvas")
    viewer.page.keyboard.press("+")
    assert not np.allclose(viewer.evaluate(bounds), slide)


def test_enter_shows_the_patch_that_it_seeds(viewer):
    """Framed by the map, the list of seeds or a card, a patch may be out of view."""
    row = 40
    viewer.evaluate(
        """([x, y]) => {
            const view = tmapp.ISS_viewer.viewport, image = tmapp.ISS_viewer.world.getItemAt(0);
            view.zoomTo(10 * view.getHomeZoom(), null, true);
            view.panTo(image.imageToViewportCoordinates(x, y), true);
        }""",
        [5000.0, 4000.0],
    )
    x, y = viewer.screen(*viewer.adata.obsm["spatial"][row])
    box = viewer.page.locator(".openseadragon-canvas").first.bounding_box()
    assert not (box["x"] < x < box["x"] + box["width"] and box["y"] < y < box["y"] + box["height"])
    viewer.press("map-toggle")
    viewer.page.focus(".openseadragon-canvas")  # Enter is the button's while that has the focus
    viewer.evaluate(
        """(row) => {
            const canvas = document.getElementById("sic-map-canvas"), { places } = SIC.app.map;
            const { left, top, width } = canvas.getBoundingClientRect(), margin = 14;
            const at = [0, 1].map((axis) => margin + places[2 * row + axis] * (width - 2 * margin));
            const place = { clientX: left + at[0], clientY: top + at[1] };
            canvas.dispatchEvent(new PointerEvent("pointermove", place));
        }""",
        row,
    )
    pointed = viewer.evaluate("SIC.app.pointed")
    assert pointed is not None
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    assert list(viewer.seeds) == [pointed]
    viewer.wait_to_see(*viewer.adata.obsm["spatial"][pointed])
    # Where clicks do not seed, Enter does not either, and says why.
    viewer.page.uncheck("#sic-seeding")
    viewer.page.focus(".openseadragon-canvas")
    viewer.page.keyboard.press("Shift+ArrowRight")
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    assert list(viewer.seeds) == [pointed]
    assert "while the slide does not say" in viewer.status


def test_a_lasso_that_ends_over_the_bare_slide_seeds_nothing(viewer):
    draw_around(viewer)
    viewer.page.keyboard.up("Shift")
    viewer.page.keyboard.down("h")
    let_go(viewer)
    viewer.page.keyboard.up("h")
    assert viewer.seeds == {}


def consensus_of_two(viewer):
    """Make a consensus that leaves one patch to decide; return the patch, and the class that Anna gave it."""
    few = some_seeds(viewer)
    first, *rest = few
    reading(viewer, "Anna", few)
    reading(viewer, "Ben", {**{row: few[row] for row in rest}, first: 1 - few[first]})
    viewer.choose_from("#sic-compare", text="Anna")
    viewer.wait()
    viewer.press("consensus")
    viewer.press("session-make")
    viewer.page.wait_for_function("SIC.app.decisions !== null")
    viewer.page.wait_for_selector("#sic-decide", state="attached")
    assert first not in viewer.seeds
    return first, few[first]


def decided(viewer, row):
    viewer.page.wait_for_function("row => SIC.app.state.seeds.patches.includes(row)", arg=row)
    viewer.wait()
    return viewer.seeds[row]


def test_q_and_e_show_what_they_decide_where_it_is_folded_away(viewer):
    first, label = consensus_of_two(viewer)
    viewer.page.click("[data-group=Readers] > summary")
    viewer.page.wait_for_selector("#sic-decide", state="hidden")
    viewer.page.locator(".sic-head").click()
    viewer.page.keyboard.press("e")
    viewer.wait()
    assert first not in viewer.seeds
    assert "press again" in viewer.status
    assert viewer.page.is_visible("#sic-decide")
    viewer.page.keyboard.press("e")
    assert decided(viewer, first) == label


def test_q_and_e_decide_only_what_is_wholly_in_sight(viewer):
    """One pixel of it in sight was enough."""
    first, label = consensus_of_two(viewer)
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    parts = """() => [".sic-above", "#sic-decide .sic-decide-pictures", "#sic-decide .sic-buttons"]
        .map((each) => document.querySelector(each).getBoundingClientRect())
        .map(({ top, bottom }) => [top, bottom])"""
    hide = """() => {
        const above = document.querySelector(".sic-above").getBoundingClientRect().bottom;
        const { bottom } = document.querySelector("#sic-decide").getBoundingClientRect();
        document.getElementById("ISS_menu").scrollTop += bottom - above - 4;
    }"""
    viewer.evaluate(hide)
    (_, above), _, (_, bottom) = viewer.evaluate(parts)
    assert bottom <= above + 4 + 60
    viewer.page.focus(".openseadragon-canvas")
    viewer.page.keyboard.press("e")
    viewer.wait()
    assert first not in viewer.seeds
    assert "press again" in viewer.status
    (_, above), (top, _), (_, bottom) = viewer.evaluate(parts)
    assert top >= above - 1
    assert bottom <= 721
    viewer.page.keyboard.press("e")
    assert decided(viewer, first) == label


def test_q_and_e_ask_for_the_side_bar_where_it_is_away(viewer):
    first, label = consensus_of_two(viewer)
    viewer.page.focus(".openseadragon-canvas")
    viewer.page.keyboard.press("0")
    viewer.page.wait_for_selector("#ISS_menu", state="hidden")
    for _ in range(2):
        viewer.page.keyboard.press("e")
        viewer.wait()
        assert "Bring the side bar back (0)" in viewer.status
    assert first not in viewer.seeds
    viewer.page.keyboard.press("0")
    viewer.page.wait_for_selector("#ISS_menu")
    for _ in range(2):  # the first may bring it into sight
        if viewer.evaluate("SIC.app.state.seeds.patches.length") < 6:
            viewer.page.keyboard.press("e")
            viewer.wait()
    assert decided(viewer, first) == label
    viewer.leave()  # TissUUmaps gives the slide another width than at first
