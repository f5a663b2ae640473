"""Choices that do something are made when they are chosen, not by every key that goes past (B3, its kind)."""

import pytest
from test_annotating import click_seeds, some_seeds
from test_readers import reading
from test_reviewing import CLOSE


def test_no_select_acts_when_an_arrow_or_a_letter_changes_it(viewer):
    """A select's `change` comes with every arrow; those that are left only set what the next run takes."""
    seeds = some_seeds(viewer)
    reading(viewer, "Anna", seeds)
    reading(viewer, "Ben", seeds)
    viewer.page.click("#sic-notes summary")
    selects = viewer.evaluate("[...document.querySelectorAll('.sic select')].map((each) => each.id)")
    assert set(selects) <= {"sic-method", "sic-embedding"}
    asked = []
    viewer.page.on("request", lambda each: asked.append(each.url) if "/plugins/SIC/" in each.url else None)
    state = "JSON.stringify([SIC.app.session, SIC.app.compared, SIC.app.part, SIC.app.checkOther])"
    before = viewer.evaluate(state)
    for choice in ("#sic-session", "#sic-compare", "#sic-note-target", "#sic-method"):
        viewer.page.focus(choice)
        for key in ("ArrowDown", "ArrowDown", "a", "End", "Escape"):
            viewer.page.keyboard.press(key)
            viewer.wait()
        assert viewer.evaluate(state) == before, choice
        assert viewer.evaluate("document.activeElement.id") == choice[1:]
    assert not [each for each in asked if not each.endswith(("/judge", "/cancel", "/verify"))]
    # By keyboard alone: the list opens at what is chosen.
    viewer.page.focus("#sic-session")
    viewer.page.keyboard.press("Enter")
    marked = "[document.activeElement.dataset.value, document.activeElement.getAttribute('aria-checked')]"
    assert viewer.evaluate(marked) == ["Ben", "true"]
    viewer.page.keyboard.press("ArrowUp")
    viewer.page.keyboard.press("Enter")
    viewer.wait()
    assert viewer.chosen("#sic-session") == "Anna"
    assert viewer.evaluate("document.activeElement.id") == "sic-session"
    # What is chosen already is not chosen again.
    asked.clear()
    viewer.choose_from("#sic-session", value="Anna")
    viewer.wait()
    assert not [each for each in asked if each.endswith("/open")]


def test_a_list_that_is_open_outlives_what_is_told_meanwhile(viewer):
    """The view rests, what was looked at is told anew, and the list beside that was gone with the focus."""
    viewer.page.wait_for_function("SIC.app.looked !== null")
    viewer.page.click("#sic-notes summary")
    viewer.evaluate(CLOSE, 0.6)
    viewer.page.click("#sic-note-target")
    viewer.page.keyboard.press("ArrowDown")
    viewer.page.wait_for_function("SIC.app.looked.share > 0")
    viewer.wait()
    assert viewer.page.is_visible("#sic-note-target + [role=menu]")
    assert viewer.evaluate("document.activeElement.dataset.value") == "patch"
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_function("!document.getElementById('sic-looked').textContent.includes('at 0 %')")
    assert viewer.evaluate("document.activeElement.id") == "sic-note-target"


def test_menus_of_the_panel_are_in_sight_and_named(viewer):
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    click_seeds(viewer, some_seeds(viewer))
    name = "A reader with a long name of forty sign"
    viewer.begin_session(name)
    box = viewer.page.locator("#sic-session").bounding_box()
    assert box["x"] + box["width"] <= 1280
    assert viewer.page.get_attribute("#sic-session", "aria-label") == f"Session: {name}"
    viewer.page.click("#sic-session")
    menu = viewer.page.locator("#sic-session + [role=menu]").bounding_box()
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= 1280
    assert menu["y"] + menu["height"] <= 720


@pytest.mark.parametrize(("width", "text"), [(640, 100), (1280, 150)])
def test_a_long_name_that_is_chosen_ends_within_the_panel(viewer, width, text):
    name, seeds = "A reader with a long name of forty sign", some_seeds(viewer)
    reading(viewer, "Ben", seeds)
    reading(viewer, name, seeds)
    viewer.page.set_viewport_size({"width": width, "height": 720})
    viewer.evaluate(f"document.documentElement.style.fontSize = '{text}%'")
    viewer.page.click("#sic-notes summary")

    def is_within(choice):
        box, panel = (viewer.page.locator(each).bounding_box() for each in (choice, ".sic-below"))
        assert box["x"] >= panel["x"]
        assert box["x"] + box["width"] <= panel["x"] + panel["width"] + 1
        looks = "(each) => getComputedStyle(document.querySelector(each)).textOverflow"
        assert viewer.evaluate(looks, choice) == "ellipsis"

    is_within("#sic-session")
    is_within("#sic-note-target")
    viewer.choose_from("#sic-session", text="Ben")
    viewer.wait()
    viewer.choose_from("#sic-compare", text=name)
    viewer.wait()
    assert viewer.page.inner_text("#sic-compare") == name
    is_within("#sic-compare")
