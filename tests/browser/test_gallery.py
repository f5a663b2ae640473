"""Patches as pictures: sorted, picked, given a class at once; what is like one, here and elsewhere."""

import json

import anndata
import numpy as np
import pytest
from making.many import write_mosaic
from test_accessible import copy_slides, faults_of
from test_annotating import click_seeds, some_seeds
from test_patch_menu import choose, right_click
from viewer import ARTIFACTS, looking

ROWS = "[...document.querySelectorAll('.sic-gallery-tile')].map((each) => Number(each.dataset.galleryRow))"
PICKED = "[...SIC.app.picked]"


def open_class(viewer, label=1):
    """Label the demo, and open the pictures of a class; return the seeds and the rows that are shown."""
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.page.click(f"#sic-gallery-{label}")
    viewer.page.wait_for_selector("#sic-gallery")
    viewer.wait()
    return seeds, viewer.evaluate(ROWS)


def tile(viewer, row):
    return viewer.page.locator(f"#sic-gallery-tile-{row}")


def cosines(viewer, row):
    X = np.asarray(viewer.adata.X, np.float64)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return unit @ unit[row]


def focused_row(viewer):
    return int(viewer.evaluate("document.activeElement.dataset.galleryRow ?? -1"))


def test_pictures_are_sorted_by_doubt_by_score_and_by_likeness(viewer):
    _, rows = open_class(viewer)
    own = np.array(viewer.evaluate("[...SIC.app.scores.own]"))
    labelled = np.flatnonzero(np.array(viewer.evaluate("[...SIC.app.labels]")) == 1)
    assert rows == sorted(labelled, key=lambda row: own[row])[:60]
    viewer.page.click("#sic-gallery-by-score")
    assert viewer.evaluate(ROWS) == sorted(labelled, key=lambda row: -own[row])[:60]
    chosen = viewer.evaluate(ROWS)[4]
    tile(viewer, chosen).click()
    viewer.page.click("#sic-gallery-by-likeness")
    viewer.wait()
    shown, likeness = viewer.evaluate(ROWS), cosines(viewer, chosen)
    assert shown[0] == chosen
    assert set(shown) <= set(labelled)
    assert np.all(np.diff(likeness[shown]) <= 1e-5)
    assert likeness[np.setdiff1d(labelled, shown)].max(initial=-1) <= likeness[shown].min() + 1e-5
    assert focused_row(viewer) == chosen
    viewer.wait_for_thumbnails(".sic-gallery-tile:nth-child(-n+6)")
    viewer.keep_picture(ARTIFACTS, "gallery_like")


def test_click_shift_ctrl_and_a_band_pick_and_one_key_moves_all_of_them_in_one_step(viewer):
    seeds, rows = open_class(viewer)
    tile(viewer, rows[1]).click()
    assert viewer.evaluate(PICKED) == [rows[1]]
    tile(viewer, rows[4]).click(modifiers=["Shift"])
    assert viewer.evaluate(PICKED) == rows[1:5]
    tile(viewer, rows[8]).click(modifiers=["Control"])
    tile(viewer, rows[2]).click(modifiers=["Control"])
    picked = [rows[1], rows[3], rows[4], rows[8]]
    assert viewer.evaluate(PICKED) == picked
    assert viewer.page.inner_text("#sic-gallery-picked") == "Make 4 selected:"
    assert tile(viewer, rows[8]).get_attribute("aria-pressed") == "true"
    viewer.keep_picture(ARTIFACTS, "gallery_picked")
    sent = []
    viewer.page.on(
        "request", lambda each: sent.append(each.post_data_json) if each.url.endswith("/change") else None
    )
    viewer.page.keyboard.press("2")
    viewer.wait()
    assert len(sent) == 1
    assert viewer.seeds == seeds | dict.fromkeys(picked, 0)
    assert viewer.evaluate(PICKED) == []
    assert tile(viewer, rows[8]).inner_text() == "Other"
    assert focused_row(viewer) == rows[9]
    viewer.page.keyboard.press("Control+z")
    viewer.wait()
    assert viewer.seeds == seeds
    # A band from the gap at the left of the first picture to within the second of the second line.
    columns = viewer.evaluate(
        """() => {
            const all = [...document.querySelectorAll(".sic-gallery-tile")];
            return all.findIndex((each) => each.offsetTop !== all[0].offsetTop);
        }"""
    )
    first, last = (tile(viewer, row).bounding_box() for row in (rows[0], rows[columns + 1]))
    viewer.drag([(first["x"] + 20, first["y"] + 20), (last["x"] + 20, last["y"] + 20)])
    banded = [*rows[:2], *rows[columns : columns + 2]]
    assert sorted(viewer.evaluate(PICKED)) == sorted(banded)
    assert viewer.page.query_selector(".sic-band") is None
    viewer.page.click("#sic-gallery-give-0")
    viewer.wait()
    assert viewer.seeds == seeds | dict.fromkeys(banded, 0)
    # Esc lets go of what is picked first, and closes then.
    viewer.page.keyboard.press("Control+a")
    assert sorted(viewer.evaluate(PICKED)) == sorted(rows)
    viewer.page.keyboard.press("Escape")
    assert viewer.evaluate(PICKED) == []
    viewer.page.keyboard.press("Escape")
    assert viewer.page.query_selector("#sic-gallery") is None


def test_the_gallery_is_worked_with_by_keyboard_alone(viewer):
    seeds, rows = open_class(viewer)
    press = viewer.page.keyboard.press
    assert focused_row(viewer) == rows[0]
    press("ArrowRight")
    press("Shift+ArrowRight")
    press("Shift+ArrowRight")
    assert viewer.evaluate(PICKED) == rows[1:4]
    press("ArrowRight")
    press("Space")
    assert viewer.evaluate(PICKED) == rows[1:5]
    press("Space")
    press("2")
    viewer.wait()
    assert viewer.seeds == seeds | dict.fromkeys(rows[1:4], 0)
    press("z")
    viewer.wait()
    assert viewer.seeds == seeds
    press("Home")
    press("PageDown")
    if viewer.page.query_selector("#sic-gallery-more"):
        assert viewer.evaluate("SIC.app.gallery.from") == 60
        press("PageUp")
    assert focused_row(viewer) == rows[0]
    press("a")
    viewer.wait()
    assert viewer.evaluate("SIC.app.gallery.order") == "likeness"
    assert viewer.evaluate(ROWS)[0] == rows[0]
    press("Enter")
    viewer.wait_to_see(*viewer.adata.obsm["spatial"][rows[0]])
    press("Escape")
    assert viewer.page.query_selector("#sic-gallery") is None
    # What is like the patch that is framed.
    press("Shift+ArrowLeft")
    framed = viewer.evaluate("SIC.app.pointed")
    press("a")
    viewer.page.wait_for_selector("#sic-gallery-here")
    viewer.wait()
    assert focused_row(viewer) == viewer.evaluate(ROWS)[0] == framed


def test_alike_shows_what_is_most_like_a_patch_of_this_slide(viewer):
    row = 40
    right_click(viewer, row)
    choose(viewer, "Alike")
    viewer.page.wait_for_selector("#sic-gallery-here[aria-pressed=true]")
    shown, likeness = viewer.evaluate(ROWS), cosines(viewer, row)
    assert shown[0] == row
    assert len(shown) == 31
    assert np.all(np.diff(likeness[shown[1:]]) <= 1e-5)
    centres = viewer.adata.obsm["spatial"]
    width, height = viewer.evaluate(
        "(({ width, height }) => [width, height])(SIC.app.facts.fields.X ? "
        "{ width: SIC.app.facts.fields.X[0], height: SIC.app.facts.fields.X[1] } : {})"
    )
    for place, one in enumerate(shown):
        away = np.abs(centres[shown[:place]] - centres[one]) / (width, height)
        assert (np.clip(1 - away, 0, 1).prod(axis=1) <= 0.51).all()
    viewer.page.keyboard.press("Control+a")
    viewer.page.keyboard.press("1")
    viewer.wait()
    assert viewer.seeds == dict.fromkeys(shown, 1)
    assert {each.inner_text() for each in viewer.page.locator(".sic-gallery-tile").all()} == {"Tumour"}
    viewer.page.keyboard.press("z")
    viewer.wait()
    assert viewer.seeds == {}


def test_alike_of_the_folder_shows_other_slides_pictures_and_seeds_them_there(
    browser, server, demo_folder, place
):
    copy_slides(demo_folder, place, 3)
    with looking(browser, place, server.address(place / "demo_1.tmap")) as viewer:
        viewer.page.set_viewport_size({"width": 1280, "height": 720})
        right_click(viewer, 40)
        choose(viewer, "Alike")
        # Esc stops what takes long; the gallery stays.
        held = viewer.hold("elsewhere")
        viewer.page.click("#sic-gallery-elsewhere")
        held.wait()
        with viewer.page.expect_event("requestfinished", lambda each: each.url.endswith("/cancel")):
            viewer.page.keyboard.press("Escape")
        held.let_go()
        viewer.wait()
        assert "Stopped" in viewer.status
        assert viewer.page.get_attribute("#sic-gallery-here", "aria-pressed") == "true"
        viewer.page.click("#sic-gallery-elsewhere")
        viewer.page.wait_for_function("SIC.app.gallery?.kind === 'elsewhere' && !SIC.app.busy")
        found = viewer.evaluate("SIC.app.elsewhere.patches")
        assert {each["slide"] for each in found} == {"demo_2", "demo_3"}
        assert [each["patch"] for each in found[:2]] == [40, 40]  # they are copies
        assert "2 other slides looked through" in viewer.page.inner_text("#sic-gallery-words")
        viewer.wait_for_thumbnails(".sic-gallery-found:nth-child(-n+6)")
        viewer.keep_picture(ARTIFACTS, "elsewhere")
        viewer.page.keyboard.press("Shift+ArrowRight")
        viewer.page.keyboard.press("1")
        viewer.wait()
        assert viewer.error is None
        assert "Undo is there" in viewer.status
        assert viewer.seeds == {}
        name = anndata.read_h5ad(place / "demo_2.h5ad", backed="r").obs_names[40]
        for slide in ("demo_2", "demo_3"):
            last = json.loads((place / f"{slide}.sic.json").read_text())["actions"][-1]
            assert (last["kind"], last["label"], last["patches"]) == ("seed", 1, [name])
        assert viewer.page.locator(".sic-gallery-tile").first.inner_text() == "Tumour"
        # Its name leads there, in a tab of its own.
        address = viewer.page.locator(".sic-gallery-found a").first.get_attribute("href")
        with viewer.page.context.expect_page() as opened:
            viewer.page.locator(".sic-gallery-found a").first.click()
        assert opened.value.url.endswith(address)
        opened.value.close()
        # A class that the other slide lacks is refused, and said what to do.
        viewer.page.click("#sic-gallery-close")
        viewer.press("add-class")
        viewer.page.fill("#sic-class-naming", "Necrosis")
        viewer.page.keyboard.press("Enter")
        viewer.wait()
        viewer.page.mouse.move(5, 5)
        right_click(viewer, 40)
        choose(viewer, "Alike")
        viewer.page.click("#sic-gallery-elsewhere")
        viewer.page.wait_for_function("SIC.app.gallery?.kind === 'elsewhere' && !SIC.app.busy")
        viewer.page.keyboard.press("3")
        viewer.wait()
        assert "has no class “Necrosis”" in viewer.error
    with looking(
        browser, place, server.address(place / "demo_2.tmap") + "#sic-patch=40&sic-session="
    ) as other:
        other.wait_to_see(*other.adata.obsm["spatial"][40])
        assert other.evaluate("SIC.app.pointed") == 40
        assert other.seeds == {40: 1}
        other.page.keyboard.press("z")
        other.wait()
        assert other.seeds == {}


def test_without_an_image_colours_stand_for_pictures(browser, server, place):
    write_mosaic(place, "mosaic")
    write_mosaic(place, "second", seed=2)
    with looking(browser, place, server.address(place / "mosaic.tmap")) as viewer:
        viewer.page.set_viewport_size({"width": 1280, "height": 720})
        right_click(viewer, 100)
        choose(viewer, "Alike")
        viewer.page.wait_for_selector("#sic-gallery")
        assert "has no image" in viewer.page.inner_text("#sic-gallery-words")
        viewer.wait_for_thumbnails(".sic-gallery-tile:nth-child(-n+6)")
        row = viewer.evaluate(ROWS)[3]
        color = viewer.evaluate("(row) => [...SIC.app.map.colors.slice(3 * row, 3 * row + 3)]", row)
        drawn = viewer.evaluate(
            """(row) => {
                const canvas = document.querySelector(`#sic-gallery-tile-${row} canvas`);
                return [...canvas.getContext("2d").getImageData(40, 40, 1, 1).data].slice(0, 3);
            }""",
            row,
        )
        assert drawn == color
        viewer.keep_picture(ARTIFACTS, "gallery_no_image")
        viewer.page.click("#sic-gallery-elsewhere")
        viewer.page.wait_for_function("SIC.app.gallery?.kind === 'elsewhere' && !SIC.app.busy")
        viewer.page.wait_for_function(
            "document.querySelector('#sic-gallery-words').textContent.includes('no image')"
        )


def test_a_hundred_thousand_patches_of_a_class_cost_a_page_of_pictures(browser, server, place):
    write_mosaic(place, "large", columns=420, rows=480)
    with looking(browser, place, server.address(place / "large.tmap")) as viewer:
        viewer.page.set_viewport_size({"width": 1280, "height": 720})
        viewer.evaluate(
            """async () => {
                const { h5ad } = SIC.app.layer, headers = { "Content-Type": "application/json" };
                async function change(revision, label, patches) {
                    const about = { h5ad, revision, change: { kind: "seed", label, patches } };
                    const asked = { method: "POST", headers, body: JSON.stringify(about) };
                    return (await fetch("/plugins/SIC/change", asked)).json();
                }
                const { revision } = await change(SIC.app.state.revision, 1, [400, 820, 1240]);
                await change(revision, 0, [5, 425, 845]);
            }"""
        )
        viewer.reload()
        viewer.run()
        n = viewer.evaluate("SIC.app.state.run.counts")
        label = int(np.argmax(n))
        took = viewer.evaluate(
            """async (label) => {
                const start = performance.now();
                document.getElementById(`sic-gallery-${label}`).click();
                while (!document.querySelector(".sic-gallery-tile canvas")) {
                    await new Promise(requestAnimationFrame);
                }
                const first = performance.now() - start;
                document.getElementById("sic-gallery-by-score").click();
                return [first, performance.now() - start - first];
            }""",
            label,
        )
        assert max(n) > 95_000
        print(f"{max(n)} patches: {took[0]:.0f} ms to the first pictures, {took[1]:.0f} ms to sort anew")
        viewer.wait()
        assert viewer.page.locator(".sic-gallery-tile").count() == 60
        # Those that are in sight alone.
        assert 12 <= viewer.page.locator(".sic-gallery-tile canvas").count() <= 42
        for _ in range(12):
            viewer.page.keyboard.press("PageDown")
        viewer.page.wait_for_selector(".sic-gallery-tile canvas")
        assert viewer.page.locator("#sic-gallery canvas").count() <= 42
        assert viewer.evaluate("SIC.app.gallery.from") == 720


def test_a_check_shuts_the_gallery_and_keeps_it_shut(viewer):
    open_class(viewer)
    viewer.page.keyboard.press("c")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    assert viewer.page.query_selector("#sic-gallery") is None
    viewer.page.keyboard.press("a")
    viewer.wait()
    assert viewer.page.query_selector("#sic-gallery") is None


@pytest.mark.parametrize("text", [100, 150])
def test_axe_finds_nothing_serious_in_the_gallery(viewer, text):
    open_class(viewer)
    if text != 100:
        viewer.evaluate("document.documentElement.style.fontSize = '150%'")
        viewer.wait_for_frame()
    assert faults_of(viewer) == []
    box, room = viewer.page.locator("#sic-gallery").evaluate(
        "(box) => [[box.scrollWidth, box.clientWidth], [box.getBoundingClientRect().bottom, innerHeight]]"
    )
    assert box[0] <= box[1]
    assert room[0] <= room[1]
    viewer.keep_picture(ARTIFACTS, f"gallery_{text}")
    rows = viewer.evaluate(ROWS)
    tile(viewer, rows[0]).click()
    assert faults_of(viewer) == []
    viewer.page.focus("#sic-gallery-size")
    viewer.page.keyboard.press("Enter")
    assert viewer.evaluate("document.activeElement.id") == "sic-gallery-size"
    assert viewer.page.locator(".sic-gallery-tile").count() <= 24
    viewer.reload()
    viewer.page.click("#sic-gallery-1")
    viewer.page.wait_for_selector(".sic-gallery-large")


def test_a_run_meanwhile_shows_what_is_labelled_with_the_class_now(viewer):
    seeds, rows = open_class(viewer)
    viewer.evaluate("document.getElementById('sic-live').click()")
    viewer.wait()
    viewer.page.focus(f"#sic-gallery-tile-{rows[0]}")
    viewer.page.keyboard.press("2")
    viewer.page.wait_for_function("!SIC.app.busy && SIC.app.scores && !SIC.app.state.run.stale")
    viewer.wait()
    assert viewer.seeds == seeds | {rows[0]: 0}
    own = np.array(viewer.evaluate("[...SIC.app.scores.own]"))
    labelled = np.flatnonzero(np.array(viewer.evaluate("[...SIC.app.labels]")) == 1)
    assert rows[0] not in labelled
    assert viewer.evaluate(ROWS) == sorted(labelled, key=lambda row: own[row])[:60]
    # A double click goes there.
    row = viewer.evaluate(ROWS)[5]
    tile(viewer, row).dblclick()
    viewer.wait_to_see(*viewer.adata.obsm["spatial"][row])
    assert viewer.evaluate("SIC.app.pointed") == row
