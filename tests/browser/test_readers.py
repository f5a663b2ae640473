"""Seeds as a list, two readers compared, and the keys, as a person uses them."""

import json

import numpy as np
from test_annotating import click_seeds, headless, some_seeds
from viewer import ARTIFACTS

from tissuumaps_sic.annotation.agreement import compare
from tissuumaps_sic.annotation.agreement import consensus as merge
from tissuumaps_sic.annotation.store import load_session
from tissuumaps_sic.slides.slide import open_slide_file


def listed_seeds(viewer):
    """The seeds of each class in the list, by label."""
    return {
        int(wall.get_attribute("data-label")): [
            int(each.get_attribute("data-patch")) for each in wall.query_selector_all(".sic-seed")
        ]
        for wall in viewer.page.query_selector_all("#sic-seeds .sic-wall")
    }


def pointed(viewer):
    mark = viewer.page.query_selector("#SIC_pointed")
    return mark and int(mark.get_attribute("data-patch"))


def middle_of(viewer, selector):
    box = viewer.page.locator(selector).bounding_box()
    return [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]


def test_the_list_of_seeds_finds_them_on_the_slide_and_takes_them_back(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.page.click("#sic-seeds summary")
    viewer.page.wait_for_selector("#sic-seeds .sic-wall")
    by_class = {label: sorted(row for row, each in seeds.items() if each == label) for label in (1, 0)}
    assert listed_seeds(viewer) == by_class
    viewer.wait_for_thumbnails("#sic-seeds")
    viewer.keep_picture(ARTIFACTS, "seed-list")
    one, other = by_class[1][0], by_class[0][1]
    viewer.page.hover(f"#sic-seed-{one}")
    assert pointed(viewer) == one
    centres = viewer.adata.obsm["spatial"]
    assert np.allclose(middle_of(viewer, "#SIC_pointed rect >> nth=0"), viewer.screen(*centres[one]), atol=2)
    # What is not in the view comes into it.
    viewer.evaluate(
        """([x, y]) => {
            const view = tmapp.ISS_viewer.viewport, image = tmapp.ISS_viewer.world.getItemAt(0);
            view.zoomTo(10 * view.getHomeZoom(), null, true);
            view.panTo(image.imageToViewportCoordinates(x, y), true);
        }""",
        [6000 - float(centres[other][0]), 4500 - float(centres[other][1])],
    )
    box = viewer.page.query_selector(".openseadragon-canvas").bounding_box()
    viewer.page.hover(f"#sic-seed-{other}")
    viewer.wait_to_see(*centres[other])
    left, top = viewer.screen(*centres[other])
    assert box["x"] < left < box["x"] + box["width"]
    assert box["y"] < top < box["y"] + box["height"]
    viewer.page.mouse.move(5, 5)
    assert pointed(viewer) is None
    # By keyboard: Delete takes a seed back, and the next has the focus.
    viewer.page.focus(f"#sic-seed-{one}")
    assert pointed(viewer) == one
    viewer.page.keyboard.press("Delete")
    viewer.wait()
    assert listed_seeds(viewer) == {1: by_class[1][1:], 0: by_class[0]}
    viewer.page.wait_for_function("id => document.activeElement.id === id", arg=f"sic-seed-{by_class[1][1]}")
    assert one not in viewer.seeds
    viewer.page.hover(f".sic-seed[data-patch='{other}']")
    viewer.page.click(f".sic-seed[data-patch='{other}'] .sic-seed-remove")
    viewer.wait()
    assert other not in viewer.seeds
    viewer.press("undo")
    assert listed_seeds(viewer)[0] == by_class[0]


def reading(viewer, name, seeds):
    viewer.begin_session(name)
    click_seeds(viewer, seeds)
    viewer.run()


def test_readers_see_where_they_differ_and_keep_what_they_agree_on(viewer):
    assert viewer.page.query_selector("#sic-compare") is None
    few, many = some_seeds(viewer), some_seeds(viewer, per_class=8)
    last = next(row for row in many if many[row] == 0 and row not in few)
    disputed_seed = next(iter(few))
    reading(viewer, "Anna", few)
    reading(viewer, "Ben", {**many, disputed_seed: 1 - few[disputed_seed]})
    viewer.choose_from("#sic-compare", text="Anna")
    viewer.wait()
    viewer.keep_picture(ARTIFACTS, "compared")
    slide = open_slide_file(viewer.h5ad)
    sessions = [load_session(viewer.folder / f"demo.{name}.sic.json", slide) for name in ("Ben", "Anna")]
    expected = compare(slide, *sessions)
    assert 0 < expected.disputed.sum() < slide.n_patches / 2
    assert viewer.page.inner_text("#sic-kappa") == f"κ {expected.kappa:.2f}, {expected.word}"
    assert f"{expected.disputed.sum()} disputed" in viewer.page.inner_text("#sic-disputed")
    shades = np.array(viewer.colors_seen)
    assert np.array_equal(shades != "#c4c9ce", expected.disputed)
    viewer.page.locator(".sic-head").click()
    viewer.page.keyboard.press("x")
    assert expected.disputed[pointed(viewer)]
    assert "Disputed place 1 of" in viewer.status
    # What the other one says of it is told where the pointer rests.
    row = pointed(viewer)
    viewer.page.mouse.move(*viewer.screen(*slide.centres[row]))
    viewer.page.wait_for_selector(f"#sic-why[data-patch='{row}']")
    theirs = ("Other", "Tumour")[sessions[1].run.unpack()[row]]
    assert f"Anna: {theirs}" in viewer.page.inner_text("#sic-why")
    # A run changes what is disputed, and the picture with it.
    viewer.choose(1 - many[last])
    viewer.click_patch(last)
    viewer.run()
    now = compare(slide, load_session(viewer.folder / "demo.Ben.sic.json", slide), sessions[1])
    shades = np.array(viewer.colors_seen)
    assert np.array_equal(shades != "#c4c9ce", now.disputed)

    viewer.press("consensus")
    assert viewer.page.input_value("#sic-session-name") == "consensus"
    viewer.press("session-make")
    assert viewer.error is None
    assert viewer.chosen("#sic-session") == "consensus"
    both = {**many, **few}
    readers = {name: load_session(viewer.folder / f"demo.{name}.sic.json", slide) for name in ("Ben", "Anna")}
    merged, left = merge(readers)
    expected = {slide.index[patch]: label for patch, label in merged.seeds.items()}
    assert viewer.seeds == expected
    assert disputed_seed not in viewer.seeds
    assert last not in viewer.seeds
    assert set(viewer.seeds) | {slide.index[patch] for patch in left} == set(both) | {last}
    # The mark of X is gone (C2).
    assert pointed(viewer) is None
    saved = json.loads((viewer.folder / "demo.consensus.sic.json").read_text())
    assert {each["user"] for each in saved["actions"] if each["kind"] == "seed"} <= {"Anna", "Ben"}
    assert viewer.chosen("#sic-compare") == "none"
    viewer.choose_from("#sic-compare", text="Anna")
    viewer.wait()
    assert "no labels yet" in viewer.error
    assert viewer.page.query_selector("#sic-disputed") is None


def test_who_says_what_is_seen_counted_and_decided_by_one_key(viewer):
    """B8: one pink for both directions, and a consensus that kept what is disputed."""
    few = some_seeds(viewer)
    first, *rest = few
    reading(viewer, "Anna", few)
    reading(viewer, "Ben", {**{row: few[row] for row in rest}, first: 1 - few[first]})
    viewer.choose_from("#sic-compare", text="Anna")
    viewer.wait()
    slide = open_slide_file(viewer.h5ad)
    sessions = [load_session(viewer.folder / f"demo.{name}.sic.json", slide) for name in ("Ben", "Anna")]
    mine, theirs = (session.run.unpack() for session in sessions)
    shades = np.array(viewer.colors_seen)
    # One colour for "Ben Tumour, Anna Other", another one for the other way round, and each has a line.
    of_pair = {pair: set(shades[(mine == pair[0]) & (theirs == pair[1])]) for pair in ((0, 1), (1, 0))}
    assert all(len(colors) <= 1 for colors in of_pair.values())
    assert not of_pair[0, 1] & of_pair[1, 0]
    lines = viewer.page.locator(".sic-pair").all_inner_texts()
    names = ("Other", "Tumour")
    for one, other in of_pair:
        n = int(((mine == one) & (theirs == other)).sum())
        told = viewer.page.inner_text(f"[data-pair='{names[one]}/{names[other]}']")
        assert told == f"{n:,}"
        assert any(f"Ben {names[one]} / Anna {names[other]}" in line for line in lines) == (n > 0)
    viewer.keep_picture(ARTIFACTS, "who-says-what")

    viewer.press("consensus")
    viewer.press("session-make")
    assert viewer.error is None
    viewer.page.wait_for_function("SIC.app.decisions !== null")
    assert first not in viewer.seeds
    # The seed that is left out is asked about first, with its picture and who said what.
    assert viewer.evaluate("SIC.app.decisions.decisions[0].row") == first
    n = viewer.evaluate("SIC.app.decisions.n")
    told = viewer.page.inner_text("#sic-decide")
    assert f"To decide: {n}" in told
    assert f"Ben: {names[1 - few[first]]}" in told.replace("\n", " ")
    viewer.wait_for_thumbnails("#sic-decide")
    viewer.keep_picture(ARTIFACTS, "decide")
    viewer.page.locator(".sic-head").click()
    viewer.page.keyboard.press("e")
    viewer.page.wait_for_function("n => SIC.app.decisions?.n < n && !SIC.app.busy", arg=n)
    # Ben is the first reader, Anna the second.
    assert viewer.seeds[first] == few[first]
    # A class that neither gave is decided for by its name.
    if viewer.evaluate("SIC.app.decisions.n"):
        row = viewer.evaluate("SIC.app.decisions.decisions[0].row")
        viewer.page.fill("#sic-decide-name", "Necrosis")
        viewer.page.keyboard.press("Enter")
        viewer.page.wait_for_function("row => SIC.app.state.seeds.patches.includes(row)", arg=row)
        viewer.wait()
        assert viewer.evaluate("SIC.app.state.classes").pop()["name"] == "Necrosis"
        assert viewer.seeds[row] == 2
    viewer.reload()
    # The consensus remembers its readers.
    viewer.page.wait_for_function("SIC.app.decisions !== null")
    assert "Ben, Anna" in viewer.page.inner_text("#sic-decide")


def test_the_same_labels_are_not_disputed(viewer):
    seeds = some_seeds(viewer)
    reading(viewer, "Anna", seeds)
    reading(viewer, "Ben", seeds)
    viewer.choose_from("#sic-compare", text="Anna")
    viewer.wait()
    assert viewer.page.inner_text("#sic-kappa") == "κ 1.00, almost perfect"
    assert "Nothing is disputed" in viewer.page.inner_text("#sic-disputed")
    assert viewer.page.is_disabled("#sic-next-disputed")
    # The other one's labels are gone: a run is drawn all the same, and compared with nobody.
    other = viewer.folder / "demo.Anna.sic.json"
    other.write_text(json.dumps(json.loads(other.read_text()) | {"run": None}))
    viewer.run()
    assert viewer.error is None
    assert viewer.chosen("#sic-compare") == "none"
    assert viewer.layer["names"] == [("Other", "Tumour")[each] for each in headless(viewer, seeds)]
    assert viewer.page.query_selector("#sic-disputed") is None


def test_everything_has_a_key_and_every_control_says_what_it_does(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    press = viewer.page.keyboard.press
    viewer.page.locator(".sic-head").click()
    press(" ")
    viewer.wait()
    assert viewer.layer is not None
    press("t")
    assert viewer.evaluate("SIC.app.tool") == "rectangle"
    press("l")
    viewer.wait()
    assert viewer.page.is_checked("#sic-live")
    for view in ("outlines", "confidence"):
        press("v")
        viewer.wait()
        assert viewer.evaluate("SIC.app.view") == view
    press("m")
    viewer.wait()
    assert viewer.page.is_visible("#sic-map")
    press("m")
    viewer.wait()
    assert not viewer.page.is_visible("#sic-map")
    press("g")
    viewer.wait()
    assert viewer.page.is_visible("#sic-areas")
    press("g")
    viewer.wait()
    press("?")
    assert viewer.page.is_visible("#sic-keys table")
    viewer.keep_picture(ARTIFACTS, "keys")
    press("?")
    assert not viewer.page.is_visible("#sic-keys table")
    press("z")
    viewer.wait()
    assert len(viewer.seeds) == len(seeds) - 1
    viewer.page.click("#sic-seeds summary")
    untold = viewer.evaluate(
        """() => [...document.querySelectorAll(".sic button, .sic select, .sic input, .sic summary")]
            .filter((each) => !each.title).map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert untold == []
    unnamed = viewer.evaluate(
        """() => [...document.querySelectorAll(".sic select, .sic input")]
            .filter((each) => !each.ariaLabel && !each.title && !each.labels?.length)
            .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []


def test_all_that_is_left_is_decided_as_one_reader_has_it(viewer):
    few = some_seeds(viewer)
    first, second, *rest = few
    agreed = {row: few[row] for row in rest}
    reading(viewer, "Anna", few)
    reading(viewer, "Ben", {**agreed, first: 1 - few[first], second: 1 - few[second]})
    viewer.choose_from("#sic-compare", text="Anna")
    viewer.wait()
    viewer.press("consensus")
    viewer.press("session-make")
    viewer.page.wait_for_function("SIC.app.decisions !== null")
    before, decisions = viewer.seeds, viewer.evaluate("SIC.app.decisions.decisions")
    assert len(decisions) >= 2
    assert {first, second} <= {each["row"] for each in decisions}
    viewer.page.click("button:text-is('All as Anna')")
    viewer.page.wait_for_function("SIC.app.decisions?.n === 0 && !SIC.app.busy")
    viewer.wait()
    names = ("Other", "Tumour")
    theirs = {
        each["row"]: names.index(said["name"])
        for each in decisions
        for said in each["said"]
        if said["reader"] == "Anna"
    }
    assert theirs[first] == few[first]
    assert viewer.seeds == before | theirs
    assert "Everything is decided" in viewer.page.inner_text("#sic-decide")
    assert "Decided as Anna has it" in viewer.status
    assert viewer.page.query_selector("#SIC_pointed") is None
    # It is undone like anything else, and asked about again.
    while viewer.seeds != before:
        viewer.press("undo")
    viewer.page.wait_for_function("n => SIC.app.decisions?.n === n", arg=len(decisions))
