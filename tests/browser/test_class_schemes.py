"""Any class scheme: classes that a slide lacks, any name, the folder's list, colours and letters."""

import json
import shutil

import numpy as np
import pytest
from test_annotating import click_seeds, some_seeds
from viewer import ARTIFACTS, looking

NAMES = ["Barrett's", "T & N", "<5 %", '<img src=x onerror="window.ran=1">', "腫瘍 ورم"]


def add_class(viewer, name):
    viewer.press("add-class")
    viewer.page.fill("#sic-class-naming", name)
    viewer.page.keyboard.press("Enter")
    viewer.wait()


def row_of(viewer, label):
    return viewer.page.inner_text(f".sic-classes tr[data-label='{label}']")


def test_a_run_takes_the_classes_that_have_seeds_and_live_says_what_it_waits_for(viewer):
    """B2: a class without seeds blocked everything, Live said nothing, and the error named one class."""
    viewer.press("run")
    assert "Each class needs a seed: Tumour 0, Other 0" in viewer.error
    add_class(viewer, "Necrosis")
    viewer.page.click("#sic-live")
    seeds = some_seeds(viewer)
    first = next(row for row in seeds if seeds[row] == 1)
    viewer.choose(1)
    viewer.click_patch(first)
    assert "Live waits until two classes have seeds: Tumour 1, Other 0, Necrosis 0" in viewer.status
    viewer.choose(0)
    viewer.click_patch(next(row for row in seeds if seeds[row] == 0))
    assert viewer.error is None
    assert set(viewer.legend) == {"Tumour", "Other"}
    assert "not used" in row_of(viewer, 2)
    title = viewer.page.get_attribute("tr[data-label='2'] .sic-count", "title")
    assert title.startswith("Not used on this slide")
    viewer.keep_picture(ARTIFACTS, "unused-class")
    viewer.press("view-confidence")
    assert viewer.error is None


def test_any_name_is_kept_shown_whole_and_never_run(viewer):
    """B11: names with quotes, < > or & were refused, and what was typed was lost."""
    for name in NAMES:
        add_class(viewer, name)
        assert viewer.error is None
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    free = [row for row in range(viewer.adata.n_obs) if row not in seeds][::120]
    for label, row in enumerate(free[: len(NAMES)], 2):
        viewer.choose(label)
        viewer.click_patch(row)
    viewer.run()
    shown = [each.inner_text() for each in viewer.page.query_selector_all(".sic-class-name")]
    assert shown == ["Tumour", "Other", *NAMES]
    cells = viewer.page.query_selector_all(".sic-class-name")
    assert all(each.evaluate("e => e.scrollWidth <= e.clientWidth + 1") for each in cells)
    assert len(viewer.legend) == 2 + len(NAMES)
    # TissUUmaps' own menus and regions have them as well, and hide them.
    viewer.press("regions")
    viewer.page.uncheck("tr[data-label='3'] input[aria-label^='Show labels']")
    assert not viewer.evaluate(
        "interfaceUtils._mGenUIFuncs.getGroupInputs('SICLABELS', 'T \\uff06 N').visible"
    )
    viewer.keep_picture(ARTIFACTS, "any-name")
    assert viewer.evaluate("window.ran ?? null") is None
    assert not viewer.page.query_selector("img[src=x]")
    viewer.reload()
    assert [each.inner_text() for each in viewer.page.query_selector_all(".sic-class-name")] == shown
    # C16: told in human words, and what was typed is there to be shortened.
    viewer.rename(0, "a" * 70)
    assert "has 70 characters, and the name of a class has 60 at most; shorten it by 10" in viewer.error
    assert viewer.page.input_value("#sic-class-naming") == "a" * 70
    viewer.page.keyboard.press("Escape")
    assert viewer.page.query_selector("#sic-class-naming") is None
    viewer.begin_session("x" * 45)
    assert "45 characters, and 40 are the most" in viewer.error
    assert viewer.page.input_value("#sic-session-name") == "x" * 45


def test_the_labels_of_a_removed_class_stay_named_and_can_be_hidden(viewer):
    """B3, its end: the removed class's colour stayed on the slide with no row that named it."""
    add_class(viewer, "Stroma")
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.choose(2)
    viewer.click_patch(next(row for row in range(viewer.adata.n_obs) if row not in seeds))
    viewer.run()
    viewer.choose_from("#sic-removal-2", value="remove")
    viewer.wait()
    gone = viewer.page.locator(".sic-gone")
    assert "Stroma" in gone.inner_text()
    assert "until the next run" in gone.inner_text()
    gone.locator("input[type=checkbox]").uncheck()
    assert not viewer.evaluate("interfaceUtils._mGenUIFuncs.getGroupInputs('SICLABELS', 'Stroma').visible")
    viewer.run()
    assert gone.count() == 0


@pytest.fixture
def class_list(server):
    """The class list of the served folder, which other tests share."""
    path = server.root / "classes.json"
    yield path
    path.unlink(missing_ok=True)


def test_a_class_list_is_offered_to_new_slides(browser, server, viewer, class_list):
    """B9: 20 classes on one slide, and the next had Tumour and Other."""
    for name in ("Necrosis", "Barrett's"):
        add_class(viewer, name)
    viewer.press("offer")
    assert viewer.error is None
    written = json.loads(class_list.read_text())
    assert [each["name"] for each in written["classes"]] == ["Tumour", "Other", "Necrosis", "Barrett's"]
    # An older slide is offered them; a new one, and a new session, begin with them.
    for end in (".h5ad", ".tif", ".tmap"):
        if (viewer.folder / f"demo{end}").exists():
            shutil.copy(viewer.folder / f"demo{end}", viewer.folder / f"next{end}")
    (viewer.folder / "next.tmap").unlink(missing_ok=True)
    with looking(browser, viewer.folder, server.address(viewer.folder / "next.tmap")) as other:
        assert [each["name"] for each in other.evaluate("SIC.app.state.classes")] == [
            "Other", "Tumour", "Necrosis", "Barrett's",
        ]  # fmt: skip
        other.choose(3)
        other.click_patch(5)
        assert other.seeds == {5: 3}
    viewer.begin_session("Ben")
    assert len(viewer.evaluate("SIC.app.state.classes")) == 4
    class_list.write_text("no list")
    viewer.reload()
    assert "classes.json: is not a class list" in viewer.page.inner_text("#sic-scheme")


def test_confidence_is_the_strength_of_the_labels_own_colour(viewer):
    """B10: "sure" was the orange of Tumour over H&E, and "unsure" the blue of Other."""
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.press("view-confidence")
    viewer.press("fine")  # off: of whole patches
    shades = viewer.colors_seen
    names = viewer.layer["names"]
    colors = {"Other": (0x00, 0xA6, 0xFB), "Tumour": (0xFF, 0xB0, 0x00)}
    scores = np.array(viewer.evaluate("[...SIC.app.scores.own]"))
    for shade, name, score in list(zip(shades, names, scores, strict=True))[::7]:
        rgb = np.array(list(bytes.fromhex(shade[1:])), float)
        # Between white and the class's colour, by how sure it is.
        own = np.array(colors[name], float)
        part = (255 - rgb).sum() / (255 - own).sum()
        assert np.allclose(rgb, 255 + (own - 255) * part, atol=1.5)
        expected = 0.12 + 0.88 * (score - 0.5) / 0.5
        assert abs(part - expected) < 0.03
    viewer.keep_picture(ARTIFACTS, "confidence")


def test_seeds_of_a_black_class_are_seen(viewer):
    """B10: black "Debris" had a black frame on a black line."""
    viewer.choose(1)
    viewer.click_patch(40)
    lines = "[...document.querySelectorAll('#SIC_seeds rect')].map((each) => each.getAttribute('stroke'))"
    assert viewer.evaluate(lines) == ["#111", "#ffb000"]
    viewer.page.fill("#sic-color-1", "#000000")
    viewer.wait()
    assert viewer.evaluate(lines) == ["#fff", "#000000"]


def test_shares_beside_the_classes_are_of_the_tissue(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.page.wait_for_function("SIC.app.looked !== null")
    tissue, names = viewer.adata.obs["tissue"].to_numpy(float), np.array(viewer.layer["names"])
    for label, name in enumerate(("Other", "Tumour")):
        part = 100 * tissue[names == name].sum() / tissue.sum()
        title = viewer.page.get_attribute(f"tr[data-label='{label}'] .sic-count", "title")
        assert title.endswith(" of the tissue")
        assert abs(float(title.split(", ")[1].split(" %")[0]) - part) <= 0.5


def test_classes_from_the_eighth_on_have_letters(viewer):
    for number in range(7):
        add_class(viewer, f"Kind {number}")
    signs = [each.inner_text() for each in viewer.page.query_selector_all(".sic-sign")]
    assert signs == ["A", "B"]
    viewer.choose(8)
    viewer.click_patch(40)
    assert viewer.page.locator("#SIC_seeds text").all_text_contents() == ["B"]
    colors = [each["color"] for each in viewer.evaluate("SIC.app.state.classes")]
    assert len(set(colors)) == 9
    # TissUUmaps' own legend has them too, and the outlines are dashed.
    for label, row in ((1, 5), (8, 41), (0, 200)):
        viewer.choose(label)
        viewer.click_patch(row)
    viewer.run()
    assert viewer.error is None
    legend = viewer.page.locator("#SICLABELS_menu-UI tbody tr:has([data-sign])")
    assert [each.get_attribute("data-key") for each in legend.all()] == ["Kind 6"]
    assert legend.locator("[data-sign]").text_content() == "B"
    viewer.press("view-outlines")
    dashes = {
        each.get_attribute("data-label"): each.get_attribute("stroke-dasharray")
        for each in viewer.page.query_selector_all("#SIC_outlines [data-label]")
    }
    assert dashes["8"]
    assert not dashes["1"]
    # They stay when labels change.
    viewer.press("undo")
    viewer.run()
    assert legend.locator("[data-sign]").all_text_contents() == ["B"]
    viewer.page.locator("text=Markers").locator("visible=true").first.click()
    viewer.keep_picture(ARTIFACTS, "legend-letters")
