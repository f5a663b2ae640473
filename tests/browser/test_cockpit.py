"""The frame of the page: keys, what is in sight, how a slide opens, and what lies over it."""

import json
import os

import anndata
import numpy as np
import pytest
from PIL import Image
from test_annotating import click_seeds, headless, some_seeds
from viewer import Viewer, looking

SMALL = {"width": 1280, "height": 720}


def box_of(viewer, selector):
    """Left, top, right and bottom of an element on the screen."""
    box = viewer.page.locator(selector).bounding_box()
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


def is_in_sight(viewer, selector):
    """Whether all of an element is on the screen, and nothing else lies over its middle."""
    return viewer.evaluate(
        """(selector) => {
            const each = document.querySelector(selector);
            const { left, top, right, bottom } = each.getBoundingClientRect();
            const over = document.elementsFromPoint((left + right) / 2, (top + bottom) / 2);
            const isOver = over[0] === each || each.contains(over[0])
                || getComputedStyle(each).pointerEvents === "none";
            return right > left && left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight
                && isOver;
        }""",
        selector,
    )


def view_bounds(viewer):
    return viewer.evaluate("(({x, y, width}) => [x, y, width])(tmapp.ISS_viewer.viewport.getBounds())")


def test_keys_are_ours_alone_after_a_click_on_the_slide(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    boxes = "[...document.querySelectorAll('[id^=SICLABELS_][id$=_check]')].map((each) => each.checked)"
    shown = viewer.evaluate(boxes)
    assert shown
    assert all(shown)
    place = viewer.adata.obsm["spatial"][viewer.tissue_of("Tumour")]
    viewer.page.mouse.click(*viewer.screen(*place))
    viewer.wait()
    viewer.page.keyboard.press("m")
    viewer.wait()
    assert viewer.page.query_selector("#sic-map")
    assert viewer.evaluate(boxes) == shown
    assert viewer.canvas_alpha(*place) > 0.5
    viewer.page.keyboard.press("m")
    viewer.page.wait_for_selector("#sic-map", state="detached")


def test_a_key_that_is_held_takes_one_step_and_arrows_go_on(viewer):
    rows = list(some_seeds(viewer))
    for row in rows:
        viewer.click_patch(row)
    for _ in range(5):  # of which all but the first repeat it
        viewer.page.keyboard.down("z")
        viewer.wait()
    viewer.page.keyboard.up("z")
    assert list(viewer.seeds) == sorted(rows[:-1])
    for key, seeds in (
        ("Control+y", rows),
        ("Control+z", rows[:-1]),
        ("Control+Shift+z", rows),
        ("Meta+z", rows[:-1]),
    ):
        viewer.page.keyboard.press(key)
        viewer.wait()
        assert list(viewer.seeds) == sorted(seeds)
    for key, axis in (("ArrowRight", 0), ("ArrowDown", 1)):
        viewer.page.keyboard.press("+")
        before = view_bounds(viewer)
        viewer.page.keyboard.down(key)
        once = view_bounds(viewer)
        viewer.page.keyboard.down(key)
        viewer.page.keyboard.up(key)
        assert before[axis] < once[axis] < view_bounds(viewer)[axis]
    width = view_bounds(viewer)[2]
    viewer.page.keyboard.press("-")
    assert view_bounds(viewer)[2] > width


def test_space_runs_when_it_comes_up_and_moves_the_slide_when_one_drags(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.page.keyboard.press("+")
    before, start = view_bounds(viewer), viewer.screen(*viewer.adata.obsm["spatial"][400])
    viewer.page.keyboard.down("Space")
    viewer.drag([start, (start[0] + 80, start[1] + 40)])
    viewer.page.keyboard.up("Space")
    viewer.wait()
    assert view_bounds(viewer)[0] < before[0]
    assert viewer.layer is None
    assert viewer.seeds == seeds
    viewer.page.keyboard.press("Space")
    viewer.wait()
    assert viewer.layer["names"] == [("Other", "Tumour")[label] for label in headless(viewer, seeds)]


def test_keys_work_after_a_slider_and_after_a_name(viewer):
    viewer.press("view-colors")
    viewer.page.click("#sic-opacity")
    viewer.page.keyboard.press("2")
    assert viewer.evaluate("SIC.app.state.classes[SIC.app.active].name") == "Other"
    viewer.page.fill("#sic-user", "Ann")
    viewer.page.keyboard.press("Enter")
    viewer.page.keyboard.press("1")
    viewer.page.keyboard.press("?")
    assert viewer.page.input_value("#sic-user") == "Ann"
    assert viewer.evaluate("localStorage.getItem('SIC.user')") == "Ann"
    assert viewer.evaluate("SIC.app.active") == 1
    viewer.page.wait_for_selector("#sic-keys[open]")
    keys = viewer.page.inner_text("#sic-keys")
    for each in ("F", "0", "H, held", "Space-drag", "Ctrl-Y"):
        assert each in keys


def test_a_double_click_seeds_once_and_tells_nothing_of_tissuumaps(viewer):
    place = viewer.screen(*viewer.adata.obsm["spatial"][200])
    viewer.page.mouse.dblclick(*place)
    viewer.wait()
    assert viewer.seeds == {200: 1}
    assert json.loads(viewer.session_path.read_text())["position"] == 1
    assert "Fullscreen on double click" not in viewer.page.inner_text("body")


def test_a_slide_opens_on_its_tissue_with_three_steps_and_reopens_on_its_labels(fresh):
    viewer = fresh
    middle = viewer.adata.obsm["spatial"][400]
    assert viewer.evaluate("SIC.app.view") == "slide"
    assert viewer.canvas_alpha(*middle) == 0
    assert viewer.evaluate("document.title") == "demo"

    def steps():
        return [
            (each.inner_text().split("\n")[0].strip()[2:8], "sic-done" in (each.get_attribute("class") or ""))
            for each in viewer.page.query_selector_all("#sic-steps li")
        ]

    assert [done for _, done in steps()] == [False, False, False]
    viewer.choose(0)
    assert [done for _, done in steps()] == [True, False, False]
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    assert [done for _, done in steps()] == [True, True, False]
    assert "Saved" in viewer.page.inner_text("#sic-saved")
    viewer.run()
    assert steps() == []
    viewer.reload()
    assert viewer.evaluate("SIC.app.view") == "labels"
    assert viewer.canvas_alpha(*middle) > 0.5
    assert steps() == []
    viewer.press("view-outlines")
    viewer.reload()
    assert viewer.evaluate("SIC.app.view") == "outlines"


@pytest.mark.parametrize("height", [360, 720])
def test_a_slide_opens_wholly_in_sight_below_what_is_said_over_it(browser, server, folder, height):
    """In a window that is as high as the slide its lower edge was out of it."""
    page = browser.new_page(viewport={"width": 1280, "height": height})
    viewer = Viewer(page, folder, server.address(folder / "demo.tmap"))
    page.goto(viewer.address)
    viewer.wait()
    with Image.open(folder / "demo.tif") as slide:
        width, length = slide.size
    for _ in range(2):
        bar = page.locator("#sic-bar").bounding_box()
        window = page.locator(".openseadragon-canvas").first.bounding_box()
        left, top = viewer.screen(0, 0)
        right, bottom = viewer.screen(width, length)
        assert top >= bar["y"] + bar["height"] - 1
        assert bottom <= window["y"] + window["height"] + 1
        assert left >= window["x"] - 1
        assert right <= window["x"] + window["width"] + 1
        viewer.evaluate("void tmapp.ISS_viewer.viewport.applyConstraints(true)")  # as at the next touch
    page.close()


def test_clicks_seed_only_while_the_slide_says_so(viewer):
    assert viewer.page.inner_text("#sic-badge") == "Seeding: Tumour"
    place = viewer.screen(*viewer.adata.obsm["spatial"][400])
    viewer.page.mouse.move(*place)
    viewer.page.wait_for_selector("#SIC_frame[data-patch='400']", state="attached")
    cursor = "(place) => getComputedStyle(document.elementFromPoint(...place)).cursor"
    assert viewer.evaluate(cursor, place) == "crosshair"
    for away, back in (
        ("#title-tab-markers", "#title-tab-plugins"),
        ("#title-tab-image", "#title-tab-plugins"),
        ("#title-tab-regions", "#title-tab-plugins"),
        (
            ".accordion-button[data-bs-target='#plugin-SIC']",
            ".accordion-button[data-bs-target='#plugin-SIC']",
        ),
    ):
        viewer.page.click(away)
        viewer.page.wait_for_selector("#sic-badge", state="detached")
        viewer.page.mouse.click(*place)
        viewer.page.keyboard.press("z")
        viewer.wait()
        assert viewer.seeds == {}
        viewer.page.wait_for_function("!document.querySelector('.collapsing')")  # Bootstrap is deaf meanwhile
        viewer.page.click(back)
        viewer.page.wait_for_selector("#sic-badge")
    viewer.page.uncheck("#sic-seeding")
    viewer.page.wait_for_selector("#sic-badge", state="detached")
    viewer.page.check("#sic-seeding")
    viewer.page.mouse.click(*place)
    viewer.wait()
    assert viewer.seeds == {400: 1}


def test_the_frame_is_what_a_click_seeds_and_the_line_around_it_what_the_network_saw(viewer):
    row = 400
    x, y = viewer.adata.obsm["spatial"][row]
    viewer.page.mouse.move(*viewer.screen(x + 30, y - 30))
    viewer.page.wait_for_selector(f"#SIC_frame[data-patch='{row}']", state="attached")
    grid = json.loads(viewer.adata.uns["embedder"])["grid"]
    for selector, side in ((".sic-frame", 128), (".sic-field", grid["patch_size0"])):
        left, top, right, bottom = viewer.evaluate(
            """(each) => {
                const { left, top, right, bottom } = document.querySelector(each).getBoundingClientRect();
                return [left, top, right, bottom];
            }""",
            f"#SIC_frame {selector}",
        )
        expected = [*viewer.screen(x - side / 2, y - side / 2), *viewer.screen(x + side / 2, y + side / 2)]
        assert np.allclose([left, top, right, bottom], expected, atol=3)
    assert viewer.page.inner_text("#sic-magnification").endswith("x")
    assert viewer.page.inner_text("#sic-ruler-length").split()[1] in ("µm", "mm")


def test_nothing_of_tissuumaps_falsifies_the_map_and_it_comes_back(viewer):
    viewer.page.wait_for_selector("#ISS_globalmarkersize", state="hidden")
    assert viewer.evaluate("glUtils._globalMarkerScale") == 1
    assert viewer.page.is_hidden("#plugins-gui h6")
    viewer.evaluate("SIC.close()")
    assert viewer.page.is_visible("#plugins-gui h6")
    viewer.page.wait_for_selector("#ISS_globalmarkersize", state="visible")


def test_the_bare_slide_is_a_held_key_away_and_outlines_lie_inside_their_class(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.wait_for_cells()
    hidden = (
        "['gl_canvas', 'SIC_picture'].map((id) => getComputedStyle(document.getElementById(id)).visibility)"
    )
    viewer.page.keyboard.down("h")
    assert viewer.evaluate(hidden) == ["hidden", "hidden"]
    assert viewer.page.query_selector("#sic-badge") is None
    viewer.page.keyboard.up("h")
    assert viewer.evaluate(hidden) == ["visible", "visible"]
    viewer.press("fine")  # off: of whole patches
    viewer.page.wait_for_function("SIC.app.doubts")  # asked for once nothing else is to be done
    requests = []
    viewer.page.on("request", lambda request: requests.append(request.url))
    viewer.press("view-outlines")
    assert not [each for each in requests if "/plugins/" in each]
    labels, centres = headless(viewer, seeds), viewer.adata.obsm["spatial"]
    assert viewer.canvas_alpha(*centres[400]) == 0
    ends = viewer.evaluate(
        """() => [...document.querySelectorAll("#SIC_outlines path[data-label]")].map((path) => {
            const image = tmapp.ISS_viewer.world.getItemAt(0);
            const numbers = path.getAttribute("d").match(/-?[\\d.e-]+/g).map(Number), places = [];
            for (let i = 0; i < numbers.length; i += 2) {
                const { x, y } = image.viewportToImageCoordinates(numbers[i], numbers[i + 1]);
                places.push([x, y]);
            }
            return [Number(path.dataset.label), places];
        })"""
    )
    assert {label for label, _ in ends} == set(labels.tolist())
    for label, places in ends:
        distances = (
            np.abs(np.asarray(places)[:, None] - centres[labels == label][None]).max(axis=2).min(axis=1)
        )
        assert distances.max() < 64
    # Alt-click shows one class alone, and again all.
    viewer.page.locator("label[for=sic-class-1]").click(modifiers=["Alt"])
    assert viewer.evaluate(
        "[...document.querySelectorAll('#SIC_outlines path[data-label]')].map((each) => each.dataset.label)"
    ) == ["1"]
    assert not viewer.page.is_checked("#sic-shown-0")
    viewer.page.locator("label[for=sic-class-1]").click(modifiers=["Alt"])
    assert viewer.page.is_checked("#sic-shown-0")
    assert viewer.seeds == seeds


def test_menus_do_nothing_until_something_is_chosen(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.press("add-class")
    viewer.page.keyboard.type("<5 % necrosis, a name that is longer than the panel")
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    before = viewer.session_path.read_bytes()
    viewer.page.focus("#sic-removal-2")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "End", "Escape"):
        viewer.page.keyboard.press(key)
    assert viewer.evaluate("document.activeElement.id") == "sic-removal-2"
    assert viewer.session_path.read_bytes() == before
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        viewer.page.keyboard.press(key)
    viewer.wait()
    assert [each["name"] for each in viewer.evaluate("SIC.app.state.classes")] == ["Other", "Tumour"]


def test_enter_that_is_held_opens_a_list_and_chooses_nothing_of_it(viewer):
    """A2, its kind: the next repeat chose what removes a class with its seeds, and Undo stepped on and on."""
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.press("add-class")
    viewer.page.keyboard.type("Necrosis")
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    viewer.page.focus("#sic-removal-1")
    for _ in range(4):  # of which all but the first repeat it
        viewer.page.keyboard.down("Enter")
        viewer.wait()
    viewer.page.keyboard.up("Enter")
    assert viewer.page.is_visible("#sic-removal-1 + [role=menu]")
    assert len(viewer.evaluate("SIC.app.state.classes")) == 3
    assert viewer.seeds == seeds
    viewer.page.keyboard.press("Escape")
    viewer.page.focus("#sic-undo")
    for _ in range(4):
        viewer.page.keyboard.down("Enter")
        viewer.wait()
    viewer.page.keyboard.up("Enter")
    assert len(viewer.evaluate("SIC.app.state.classes")) == 2
    assert viewer.seeds == seeds


def test_names_are_shown_whole_and_become_a_field(viewer):
    name = "Adenocarcinoma with signet ring cells, poorly differentiated"
    viewer.rename(1, name)
    label = viewer.page.locator("label[for=sic-class-1]")
    assert label.inner_text() == name
    assert name in label.get_attribute("title")
    assert label.evaluate("each => each.scrollWidth <= each.clientWidth + 1")
    viewer.page.focus("#sic-class-1")
    viewer.page.keyboard.press("F2")
    viewer.page.keyboard.type("Tumour 2")
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    assert label.inner_text() == "Tumour 2"
    assert viewer.evaluate("document.activeElement.id") == "sic-class-1"


def test_a_missing_h5ad_is_named(browser, server, folder):
    (folder / "demo.h5ad").unlink()
    page = browser.new_page(viewport=SMALL)
    page.goto(server.address(folder / "demo.tmap"))
    page.wait_for_selector("#sic-error")
    assert f"{folder.name}/demo.h5ad is not there" in page.inner_text("#sic-error")
    assert "demo.h5ad" in page.inner_text("#sic-waiting")
    page.close()


def test_a_session_that_is_refused_is_told_and_another_one_can_be_begun(browser, server, folder):
    damaged = folder / "demo.sic.json"
    damaged.write_text("{")
    page = browser.new_page(viewport=SMALL)
    page.goto(server.address(folder / "demo.tmap"))
    page.wait_for_selector("#sic-other-session")
    assert "demo.sic.json" in page.inner_text("#sic-error")
    assert "move it away to start anew" in page.inner_text("#sic-waiting")
    for name in ("../outside", "Ben"):  # the first is refused, and can be mended
        page.fill("#sic-other-session", name)
        page.keyboard.press("Enter")
        page.wait_for_function("!window.SIC.app.busy")
        if name != "Ben":
            assert page.input_value("#sic-other-session") == name
            # The message is closed, the reason stays.
            page.click("#sic-error-close")
            assert "demo.sic.json" in page.inner_text("#sic-waiting")
            page.focus("#sic-other-session")
    page.wait_for_function("window.SIC.app.state !== null")
    page.wait_for_function("document.activeElement.matches('.openseadragon-canvas')")
    assert page.get_attribute("#sic-session", "data-value") == "Ben"
    assert page.query_selector("#sic-waiting") is None
    assert damaged.read_text() == "{"
    page.close()


@pytest.mark.parametrize("status", [500, None])
def test_a_slide_that_did_not_open_is_opened_by_trying_again(browser, server, folder, status):
    """Nothing was refused: another session would not open either, and the page asked for one."""
    page = browser.new_page(viewport=SMALL)
    is_down = True

    def answer(route):
        if not is_down:
            route.continue_()
        elif status:
            route.fulfill(status=status, body="")
        else:
            route.abort()

    page.route("**/plugins/SIC/open", answer)
    page.goto(server.address(folder / "demo.tmap"))
    page.wait_for_selector("#sic-try-again")
    assert page.query_selector("#sic-other-session") is None
    why = page.inner_text("#sic-waiting")
    page.click("#sic-error-close")
    assert page.inner_text("#sic-waiting") == why
    assert "Waiting" not in why
    page.focus("#sic-try-again")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sic-error")
    page.wait_for_function("document.activeElement.id === 'sic-try-again'")
    is_down = False
    page.keyboard.press("Enter")
    page.wait_for_function("window.SIC.app.state !== null && !window.SIC.app.busy")
    page.wait_for_function("document.activeElement.matches('.openseadragon-canvas')")
    assert page.query_selector("#sic-waiting") is None
    page.close()


def test_pictures_show_what_the_network_saw_where_patches_do_not_overlap(browser, server, folder):
    """B6: with `--overlap 0` they showed four times the area."""
    adata = anndata.read_h5ad(folder / "demo.h5ad")
    known = json.loads(adata.uns["embedder"])
    side = known["grid"]["patch_size0"]
    corners = adata.obs[["x0", "y0"]].to_numpy()
    adata = adata[((corners - corners.min(axis=0)) % side == 0).all(axis=1)].copy()
    known["grid"]["overlap"] = 0.0
    adata.uns["embedder"] = json.dumps(known)
    for key in ("fine", "fine_tissue"):
        adata.obsm.pop(key, None)
    adata.write_h5ad(folder / "demo.h5ad", convert_strings_to_categoricals=False)
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        row = int(np.abs(viewer.adata.obsm["spatial"] - [3000, 2200]).sum(axis=1).argmin())
        viewer.click_patch(row)
        viewer.page.click("#sic-seeds summary")
        viewer.page.wait_for_selector(f"#sic-seed-{row} canvas")
        viewer.wait_for_thumbnails("#sic-seeds")
        drawn = np.array(
            viewer.evaluate(
                """(row) => {
                    const canvas = document.querySelector(`#sic-seed-${row} canvas`);
                    const { width, height } = canvas;
                    return [width, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
                }""",
                row,
            )
        )
        width, pixels = drawn[0], drawn[1:].reshape(drawn[0], -1, 4)[..., :3].astype(float)
        x, y = viewer.adata.obsm["spatial"][row]
        with Image.open(folder / "demo.tif") as slide:

            def shown(part):
                box = (x - part / 2, y - part / 2, x + part / 2, y + part / 2)
                crop = slide.convert("RGB").crop(tuple(map(round, box))).resize((width, width))
                return np.asarray(crop, float)

            differences = {part: np.abs(shown(part) - pixels).mean() for part in (side, 2 * side)}
        assert differences[side] < differences[2 * side] / 2, differences


@pytest.mark.parametrize("text", [100, 150])
def test_what_is_done_most_and_every_message_is_in_sight(browser, demo_folder, server, place, text):
    for number in range(1, 5):
        for suffix in (".h5ad", ".tif"):
            os.link(demo_folder / f"demo{suffix}", place / f"demo_{number}{suffix}")
        project = (demo_folder / "demo.tmap").read_text().replace("demo.", f"demo_{number}.")
        (place / f"demo_{number}.tmap").write_text(project)
    with looking(browser, place, server.address(place / "demo_2.tmap")) as viewer:
        viewer.page.set_viewport_size(SMALL)
        viewer.evaluate(f"document.documentElement.style.fontSize = '{text}%'")
        assert viewer.evaluate("document.title") == "demo_2 - 2 of 4"
        assert viewer.page.is_hidden("#project_select")
        for name in ("Stroma", "Necrosis", "Folds", "Debris and ink"):
            viewer.press("add-class")
            viewer.page.keyboard.type(name)
            viewer.page.keyboard.press("Enter")
            viewer.wait()
        viewer.page.keyboard.press("Space")  # no seeds: an error
        viewer.wait()
        for scroll in (0, 100_000):
            viewer.evaluate("(top) => { document.getElementById('ISS_menu').scrollTop = top; }", scroll)
            for selector in ("#sic-run", "#sic-undo", "#sic-error", "#sic-saved", "#sic-badge", "#sic-ruler"):
                assert is_in_sight(viewer, selector), (selector, scroll)
            for label in range(6):
                assert is_in_sight(viewer, f"label[for=sic-class-{label}]"), (label, scroll)
        panel = viewer.page.locator(".sic-above").bounding_box()
        assert viewer.evaluate("document.querySelector('.sic-above').scrollWidth") <= panel["width"] + 1


@pytest.mark.parametrize("width", [640, 1000])
def test_the_panel_can_be_read_beside_half_a_window(viewer, width):
    viewer.page.set_viewport_size({"width": width, "height": 720})
    viewer.page.wait_for_function("document.getElementById('ISS_viewer').clientWidth >= innerWidth / 2 - 1")
    menu = viewer.page.locator("#ISS_menu").bounding_box()
    assert menu["width"] >= 320 - 1
    wide = viewer.evaluate(
        """() => [...document.querySelectorAll(".sic-above *, .sic-group *")]
            .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && each.offsetParent)
            .map((each) => each.id || each.className)"""
    )
    assert wide == []


def test_folds_are_remembered(viewer):
    viewer.page.click(".sic-group summary:text-is('View')")
    viewer.page.wait_for_selector("#sic-view-slide", state="hidden")
    viewer.reload()
    assert viewer.page.is_hidden("#sic-view-slide")
    viewer.page.click(".sic-group summary:text-is('View')")
    viewer.page.wait_for_selector("#sic-view-slide")


def test_the_map_is_moved_and_made_larger(viewer):
    viewer.press("map-toggle")
    left, top, right, bottom = box_of(viewer, "#sic-map")
    viewer.drag([(left + 30, top + 20), (left - 70, top - 30)])
    assert np.allclose(box_of(viewer, "#sic-map")[:2], (left - 100, top - 50), atol=2)
    left, top, right, bottom = box_of(viewer, ".sic-map-plot")
    viewer.drag([(right - 4, bottom - 4), (right + 46, bottom + 46)])
    viewer.page.wait_for_function(
        "(side) => document.getElementById('sic-map-canvas').clientWidth > side", arg=right - left + 40
    )
