"""The menu of one patch, by the right button and by the keyboard."""

import json

import pytest
from test_annotating import click_seeds, some_seeds
from viewer import ARTIFACTS


def place_of(viewer, row):
    return viewer.screen(*viewer.adata.obsm["spatial"][row])


def right_click(viewer, row):
    viewer.page.mouse.click(*place_of(viewer, row), button="right")
    viewer.page.wait_for_selector("#sic-patch-menu:popover-open")


def items(viewer):
    return viewer.page.locator("#sic-patch-menu [role=menuitem]").all_inner_texts()


def choose(viewer, text):
    viewer.page.click(f"#sic-patch-menu [role=menuitem]:has-text('{text}')")
    viewer.wait()
    assert viewer.page.query_selector("#sic-patch-menu") is None


def test_the_right_button_offers_what_can_be_done_with_a_patch(viewer):
    """C7: a right click did nothing."""
    right_click(viewer, 40)
    assert items(viewer) == [
        "Seed as Tumour",
        "Seed as Other",
        "Cannot tell",
        "Alike",
        "Note on this patch …",
    ]
    assert viewer.page.get_attribute("#SIC_pointed", "data-patch") == "40"
    choose(viewer, "Seed as Other")
    assert viewer.seeds == {40: 0}
    # The class of clicks is the one that it was.
    assert viewer.page.is_checked("#sic-class-1")
    right_click(viewer, 40)
    assert "Seed as Other (it is)" in items(viewer)
    viewer.keep_picture(ARTIFACTS, "patch-menu")
    choose(viewer, "Take the seed back")
    assert viewer.seeds == {}
    right_click(viewer, 41)
    choose(viewer, "Cannot tell")
    assert viewer.evaluate("SIC.app.state.skipped") == [41]
    right_click(viewer, 41)
    assert "Cannot tell" not in items(viewer)
    # A click elsewhere closes it, and seeds nothing.
    viewer.page.mouse.click(*place_of(viewer, 200))
    viewer.wait()
    assert viewer.page.query_selector("#sic-patch-menu") is None
    assert viewer.seeds == {}
    viewer.page.mouse.click(*place_of(viewer, 200))
    viewer.wait()
    assert viewer.seeds == {200: 1}


def test_a_note_and_the_reason_of_a_label_are_had_by_the_menu(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    right_click(viewer, 300)
    choose(viewer, "Note on this patch")
    assert viewer.evaluate("document.activeElement.id") == "sic-note-text"
    viewer.page.keyboard.type("A mitosis")
    viewer.press("note-add")
    note = json.loads(viewer.session_path.read_text())["actions"][-1]
    assert (note["text"], note["patch"]) == ("A mitosis", viewer.adata.obs_names[300])
    right_click(viewer, 301)
    choose(viewer, "Why this label?")
    viewer.page.wait_for_selector("#sic-why[data-patch='301']")
    assert viewer.page.locator("#sic-why").is_visible()


@pytest.mark.parametrize("key", ["Shift+F10", "ContextMenu"])
def test_the_menu_is_had_by_the_keyboard_alone(viewer, key):
    viewer.page.keyboard.press("Shift+ArrowRight")
    row = viewer.evaluate("SIC.app.pointed")
    viewer.page.keyboard.press(key)
    viewer.page.wait_for_selector("#sic-patch-menu:popover-open")
    assert viewer.evaluate("document.activeElement.dataset.value") == "1"
    viewer.page.keyboard.press("Escape")
    assert viewer.page.query_selector("#sic-patch-menu") is None
    viewer.page.keyboard.press(key)
    viewer.page.keyboard.press("ArrowDown")
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    assert viewer.seeds == {row: 0}
    # Or the number of the class.
    viewer.page.keyboard.press(key)
    viewer.page.wait_for_selector("#sic-patch-menu:popover-open")
    viewer.page.keyboard.press("1")
    viewer.wait()
    assert viewer.seeds == {row: 1}
