"""The panel for who sees little or has no mouse: what axe-core finds, and the README's tasks by keyboard."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from test_annotating import headless, truth_of
from viewer import looking

AXE = Path(__file__).parents[1] / "javascript" / "node_modules" / "axe-core" / "axe.min.js"
OURS = [".sic", ".sic-worklist", "#sic-bar", "#sic-ruler", "#sic-card", "#sic-gallery", "#sic-command"]


def faults_of(viewer):
    """What axe-core calls serious or critical in what is ours: rule and element."""
    if not AXE.exists():
        if os.environ.get("CI"):
            pytest.fail("no axe-core; `make javascript` installs it")
        pytest.skip("no axe-core (make javascript)")
    viewer.evaluate(AXE.read_text())  # by the debugger, which the page's policy does not bind
    found = viewer.evaluate(
        """async (ours) => {
            const include = ours.filter((each) => document.querySelector(each));
            const { violations } = await axe.run({ include });
            return violations;
        }""",
        OURS,
    )
    return [
        (each["id"], node["html"][:160])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def copy_slides(demo_folder, place, number):
    """Several slides that are the demo."""
    for name in (f"demo_{n}" for n in range(1, number + 1)):
        for suffix in (".h5ad", ".tif"):
            os.link(demo_folder / f"demo{suffix}", place / f"{name}{suffix}")
        (place / f"{name}.tmap").write_text(
            (demo_folder / "demo.tmap").read_text().replace("demo.", f"{name}.")
        )


def press(viewer, *keys):
    for key in keys:
        viewer.page.keyboard.press(key)
        viewer.wait()


def focused(viewer):
    return viewer.evaluate("document.activeElement.id")


def tab_to(viewer, wanted):
    """Go to a control by Tab alone; what has the focus shows it, and nothing lies over the last."""
    for _ in range(150):
        viewer.page.keyboard.press("Tab")
        here = viewer.evaluate(
            """() => {
                const each = document.activeElement, style = getComputedStyle(each);
                const { left, top, right, bottom } = each.getBoundingClientRect();
                const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
                return { id: each.id, isOurs: Boolean(each.closest(".sic")), isSeen,
                    isFree: Boolean(over && (each === over || each.contains(over) || over.contains(each))) };
            }"""
        )
        assert here["isSeen"] or not here["isOurs"], here
        if here["id"] == wanted:
            assert here["isFree"], here
            return
    pytest.fail(f"Tab does not lead to {wanted}")


def test_axe_finds_nothing_serious_before_and_after_a_run(browser, server, demo_folder, place):
    copy_slides(demo_folder, place, 2)
    with looking(browser, place, server.address(place / "demo_1.tmap")) as viewer:
        assert faults_of(viewer) == []
        truth = truth_like(viewer, demo_folder)
        for label in (1, 0):
            viewer.choose(label)
            for row in np.flatnonzero(truth == label)[:3]:
                viewer.click_patch(row)
        press(viewer, "Space", "?")
        viewer.page.click("#sic-slides summary")
        viewer.page.click("#sic-seeds summary")
        viewer.press("add-class")
        viewer.page.keyboard.type("Stroma")
        viewer.page.keyboard.press("Enter")
        viewer.wait()
        viewer.press("regions")
        viewer.press("map-toggle")
        viewer.page.mouse.move(*viewer.screen(*viewer.adata.obsm["spatial"][400]))
        viewer.page.wait_for_selector("#sic-why[data-patch]")
        for view in ("labels", "confidence", "colors"):
            viewer.press(f"view-{view}")
            assert faults_of(viewer) == []
        press(viewer, "Shift+Z")
        viewer.page.click("#sic-removal-2")
        assert faults_of(viewer) == []
        # The menu of a patch, the history with what was one act, and a note with what it is on.
        viewer.page.keyboard.press("Escape")
        viewer.page.click("#sic-history summary")
        viewer.page.wait_for_selector(".sic-act")
        viewer.page.click("#sic-notes summary")
        viewer.page.mouse.click(*viewer.screen(*viewer.adata.obsm["spatial"][400]), button="right")
        viewer.page.wait_for_selector("#sic-patch-menu:popover-open")
        assert faults_of(viewer) == []


def truth_like(viewer, demo_folder):
    """The truth of a copy of the demo."""
    viewer.folder, here = demo_folder, viewer.folder
    viewer.name, name = "demo", viewer.name
    truth = truth_of(viewer)
    viewer.folder, viewer.name = here, name
    return truth


def test_every_task_of_the_readme_is_done_by_keyboard_alone(browser, server, demo_folder, place):
    copy_slides(demo_folder, place, 2)
    with looking(browser, place, server.address(place / "demo_1.tmap")) as viewer:
        truth, centres = truth_like(viewer, demo_folder), viewer.adata.obsm["spatial"]
        # Whose seeds.
        tab_to(viewer, "sic-user")
        viewer.page.keyboard.type("Ann")
        viewer.page.keyboard.press("Enter")
        # Choose a class, frame patches, seed them.
        wanted = {1: 1, 2: 0}
        seeds = {}
        for key, label in wanted.items():
            press(viewer, str(key))
            for row in frame_some(viewer, centres, truth == label):
                press(viewer, "Enter")
                seeds[row] = label
                assert viewer.seeds == seeds
        assert json.loads(viewer.session_path.read_text())["actions"][0]["user"] == "Ann"
        press(viewer, "z")
        assert len(viewer.seeds) == len(seeds) - 1
        press(viewer, "Shift+Z")
        assert viewer.seeds == seeds
        # Run, look, correct, take back.
        press(viewer, "Space")
        labels = headless(viewer, seeds)
        assert viewer.layer["names"] == [("Other", "Tumour")[label] for label in labels]
        press(viewer, "v", "v")
        assert viewer.evaluate("SIC.app.view") == "confidence"
        press(viewer, "g", "m", "m", "n", "l", "l")
        assert viewer.page.get_attribute("#sic-regions", "aria-pressed") == "true"
        # A class is added, named, renamed and removed.
        tab_to(viewer, "sic-add-class")
        press(viewer, "Enter")
        viewer.page.keyboard.type("Stroma")
        press(viewer, "Enter")
        assert focused(viewer) == "sic-class-2"
        viewer.page.keyboard.press("F2")
        viewer.page.keyboard.type("Fat")
        press(viewer, "Enter")
        assert viewer.evaluate("SIC.app.state.classes[2].name") == "Fat"
        tab_to(viewer, "sic-removal-2")
        press(viewer, "Enter", "Enter")
        assert len(viewer.evaluate("SIC.app.state.classes")) == 2
        # Labels as a file.
        tab_to(viewer, "sic-export")
        with viewer.page.expect_download() as download:
            press(viewer, "Enter", "Enter")
        assert download.value.suggested_filename.startswith("demo_1")
        # The border, with a slider's own keys.
        tab_to(viewer, "sic-border")
        press(viewer, "ArrowRight")
        assert viewer.evaluate("SIC.app.border") is not None
        # A seed is found in the list, and taken back.
        tab_to(viewer, "sic-seeds-summary")
        press(viewer, "Enter", "Tab")
        assert focused(viewer).startswith("sic-seed-")
        press(viewer, "Delete")
        assert len(viewer.seeds) == len(seeds) - 1
        assert viewer.error is None
        # The next slide.
        with viewer.page.expect_navigation():
            viewer.page.keyboard.press("]")
        viewer.wait()
        viewer.page.wait_for_function("document.title === 'demo_2 - 2 of 2'")


def frame_some(viewer, centres, which, number=3):
    """Frame patches of a kind, by Shift and arrows from the one that is framed, and yield each."""
    rows = np.flatnonzero(which)
    known = {tuple(each): row for row, each in enumerate(centres)}
    viewer.page.keyboard.press("Shift+ArrowRight")
    for _ in range(number):
        here = viewer.evaluate("SIC.app.pointed")
        if here is None:
            pytest.fail("no patch is framed")
        seeds = viewer.seeds
        path = shortest(known, centres[here], {tuple(centres[row]) for row in rows if row not in seeds})
        for key in path:
            viewer.page.keyboard.press(f"Shift+Arrow{key}")
        yield viewer.evaluate("SIC.app.pointed")


def shortest(known, start, goals, step=128):
    """Return the arrows from a patch to the nearest of some others, over patches."""
    ways = {tuple(start): []}
    queue = [tuple(start)]
    moves = {"Left": (-step, 0), "Right": (step, 0), "Up": (0, -step), "Down": (0, step)}
    for place in queue:
        if place in goals:
            return ways[place]
        for key, (dx, dy) in moves.items():
            beside = (place[0] + dx, place[1] + dy)
            if beside in known and beside not in ways:
                ways[beside] = [*ways[place], key]
                queue.append(beside)
    pytest.fail("there is no way")
