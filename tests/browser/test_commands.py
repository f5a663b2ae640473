"""The command of what the page shows, copied as a person does, and run in the folder that is served."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from test_accessible import faults_of
from test_annotating import click_seeds, some_seeds
from viewer import ARTIFACTS

from tissuumaps_sic.cli import main

ON_SLIDE = "document.activeElement.matches('.openseadragon-canvas')"


@pytest.fixture
def clipboard(viewer):
    """What Chromium's clipboard holds, which the page may write and the test may read."""
    context = viewer.page.context
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield lambda: viewer.evaluate("navigator.clipboard.readText()")
    context.clear_permissions()


def run_there(line, viewer, monkeypatch):
    program, *arguments = shlex.split(line)
    assert program == "tissuumaps-sic"
    # The server of the tests serves the folder above.
    monkeypatch.chdir(viewer.folder.parent)
    assert main(arguments) == 0
    return viewer.folder.parent / arguments[-1]


def wait_for_line(viewer):
    viewer.page.wait_for_selector("#sic-command-line")
    viewer.wait()
    return viewer.page.input_value("#sic-command-line")


def test_labels_and_an_export_are_copied_as_commands_that_give_them(viewer, clipboard, monkeypatch):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    shown = viewer.layer["names"]
    viewer.choose_from("#sic-copy-command", text="These labels")
    line = wait_for_line(viewer)
    assert clipboard() == line
    assert str(viewer.folder.parent) not in line
    assert "Copied" in viewer.page.inner_text("#sic-command")
    viewer.keep_picture(ARTIFACTS, "command")
    with run_there(line, viewer, monkeypatch).open(encoding="utf-8") as file:
        assert [row["label"] for row in csv.DictReader(file)] == shown
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_selector("#sic-command", state="detached")
    viewer.choose_from("#sic-copy-command", value="geojson")
    line = wait_for_line(viewer)
    assert clipboard() == line
    with viewer.page.expect_download() as download:
        viewer.choose_from("#sic-export", value="geojson")
    written = run_there(clipboard(), viewer, monkeypatch)
    assert written.name == download.value.suggested_filename
    assert written.read_bytes() == Path(download.value.path()).read_bytes()
    viewer.wait()


def test_a_seed_after_the_run_leaves_no_command_of_these_labels_and_the_page_says_so(viewer, clipboard):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    viewer.click_patch(40)
    viewer.choose_from("#sic-copy-command", text="These labels")
    viewer.wait()
    assert "have changed since these labels were made" in viewer.status
    assert not viewer.page.query_selector("#sic-command")


def test_where_the_browser_refuses_the_clipboard_the_command_is_selected_to_be_copied(viewer):
    # As on a page that is neither of this machine nor https.
    viewer.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    viewer.choose_from("#sic-copy-command", value="csv")
    line = wait_for_line(viewer)
    viewer.page.wait_for_function("document.activeElement?.id === 'sic-command-line'")
    assert viewer.evaluate("getSelection().toString()") == line
    assert "Press Ctrl-C" in viewer.page.inner_text("#sic-command")
    viewer.keep_picture(ARTIFACTS, "command-selected")
    assert faults_of(viewer) == []
    # From within the text, too; nobody else hears of it, and the slide has the focus.
    viewer.evaluate(
        """() => {
            window.heard = 0;
            document.addEventListener("keydown", () => { window.heard += 1; }, { once: true });
        }"""
    )
    viewer.page.keyboard.press("Escape")
    viewer.page.wait_for_selector("#sic-command", state="detached")
    assert viewer.evaluate("window.heard") == 0
    assert viewer.evaluate(ON_SLIDE)
    viewer.choose_from("#sic-copy-command", value="csv")
    wait_for_line(viewer)
    viewer.press("command-close")
    assert not viewer.page.query_selector("#sic-command")
    assert viewer.evaluate(ON_SLIDE)
    viewer.evaluate("delete navigator.clipboard")
    # So it is with all that lies over the slide.
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card")
    viewer.wait()
    viewer.press("card-close")
    viewer.press("map-toggle")
    viewer.page.focus("#sic-map-canvas")
    viewer.press("map-close")
    assert viewer.evaluate(ON_SLIDE)


@pytest.mark.parametrize("width", [1280, 1000])
def test_a_command_leaves_the_card_its_buttons_however_wide_that_is(viewer, width):
    """With more than four classes the card is wider, and Next was below the command."""
    click_seeds(viewer, some_seeds(viewer))
    for name in ("Stroma", "Necrosis", "Folds", "Ink"):
        viewer.press("add-class")
        viewer.page.keyboard.type(name)
        viewer.page.keyboard.press("Enter")
        viewer.wait()
    viewer.page.set_viewport_size({"width": width, "height": 720})
    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card-command")
    viewer.wait()
    viewer.press("card-command")
    viewer.page.wait_for_selector("#sic-command")
    card, box = (viewer.page.locator(each).bounding_box() for each in ("#sic-card", "#sic-command"))
    assert card["x"] + card["width"] <= box["x"] or card["y"] + card["height"] <= box["y"]
    row = viewer.evaluate("SIC.app.suggested")
    viewer.page.click("#sic-card-next", timeout=5000)
    viewer.page.wait_for_function("(row) => SIC.app.suggested !== row", arg=row)


def test_suggestions_and_a_second_opinion_are_copied_as_commands(viewer, clipboard, monkeypatch, capsys):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()

    def listed(line):
        capsys.readouterr()
        run_there(f"{line} --json", viewer, monkeypatch)
        return json.loads(capsys.readouterr().out)["patches"]

    def asked():
        names = viewer.adata.obs_names
        return [str(names[row]) for row in viewer.evaluate("SIC.app.card.rows")]

    viewer.page.keyboard.press("n")
    viewer.page.wait_for_selector("#sic-card-command")
    viewer.wait()
    viewer.press("card-command")
    assert listed(clipboard()) == asked()
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    viewer.wait_for_frame()
    viewer.keep_picture(ARTIFACTS, "command-card")
    card, box = (viewer.page.query_selector(each).bounding_box() for each in ("#sic-card", "#sic-command"))
    assert card["x"] + card["width"] <= box["x"]
    viewer.page.set_viewport_size({"width": 1400, "height": 900})
    # An answer changes what would be suggested.
    viewer.page.keyboard.press("Escape")
    viewer.page.keyboard.press("1")
    viewer.wait()
    viewer.press("card-command")
    assert "seeds have changed since they were asked for" in viewer.status
    viewer.page.keyboard.press("Escape")
    viewer.run()
    viewer.page.keyboard.press("d")
    viewer.page.wait_for_selector("#sic-card-command")
    viewer.wait()
    viewer.press("card-command")
    assert listed(clipboard()) == asked()
