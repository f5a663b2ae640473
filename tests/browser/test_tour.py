"""The tour: begins on the demo, is closed for good by one click, and is found again under ?."""

import shutil

from viewer import ARTIFACTS, Viewer, looking

SMALL = {"width": 1280, "height": 720}


class Newcomer(Viewer):
    has_tour = True


def title(viewer):
    return viewer.page.inner_text("#sic-tour [role=status]")


def is_on_screen(viewer, selector):
    box = viewer.page.locator(selector).bounding_box()
    size = viewer.page.viewport_size
    return (
        box["x"] >= 0
        and box["y"] >= 0
        # Scrolling is by whole pixels.
        and box["x"] + box["width"] < size["width"] + 1
        and box["y"] + box["height"] < size["height"] + 1
    )


def test_the_tour_leads_through_the_panel_and_is_closed_for_good(browser, server, folder):
    with looking(browser, folder, server.address(folder / "demo.tmap"), kind=Newcomer) as viewer:
        page = viewer.page
        page.set_viewport_size(SMALL)
        page.wait_for_selector("#sic-tour")
        assert title(viewer) == "1 of 6: Choose a class"
        ARTIFACTS.mkdir(exist_ok=True)
        seen = []
        while True:
            seen.append(title(viewer))
            assert is_on_screen(viewer, "#sic-tour"), title(viewer)
            # All but the second are about something of the panel, which is in sight.
            assert page.locator("#sic-tour-frame").is_visible() == (len(seen) != 2)
            if len(seen) != 2:
                assert is_on_screen(viewer, "#sic-tour-frame"), title(viewer)
            page.screenshot(path=ARTIFACTS / f"tour-{len(seen)}.png")
            if page.inner_text("#sic-tour-next") == "Done":
                break
            page.click("#sic-tour-next")
        assert len(set(seen)) == len(seen) == 6
        page.click("#sic-tour-back")
        assert title(viewer) == seen[-2]
        # Where somebody has folded a part, that part is shown.
        page.click("#sic-tour-back")
        page.click("[data-group=View] > summary")
        page.wait_for_function(
            "document.querySelector('#sic-tour-frame').getBoundingClientRect().height < 40"
        )
        folded, frame = (
            page.locator(each).bounding_box() for each in ("[data-group=View]", "#sic-tour-frame")
        )
        assert abs(frame["y"] - folded["y"]) < 2
        page.click("[data-group=View] > summary")
        page.click("#sic-tour-next")
        # One does what it says meanwhile.
        page.keyboard.press("2")
        assert viewer.evaluate("SIC.app.active") == viewer.evaluate("SIC.app.state.listed[1]")
        page.click("#sic-tour-close")
        assert page.query_selector("#sic-tour") is None
        assert page.query_selector("#sic-tour-frame") is None
        viewer.reload()
        assert page.query_selector("#sic-tour") is None
        # And found again, by the keyboard alone.
        page.keyboard.press("?")
        page.focus("#sic-tour-start")
        page.keyboard.press("Enter")
        page.wait_for_selector("#sic-tour")
        assert title(viewer) == seen[0]
        assert viewer.evaluate("document.activeElement.id") == "sic-tour-next"
        page.keyboard.press("Escape")
        assert page.query_selector("#sic-tour") is None


def test_a_slide_of_ones_own_opens_without_a_tour(browser, server, place, demo_folder):
    for suffix in (".h5ad", ".tmap", ".tif"):
        shutil.copy(demo_folder / f"demo{suffix}", place / f"mine{suffix}")
    project = place / "mine.tmap"
    project.write_text(project.read_text().replace("demo", "mine"))
    with looking(browser, place, server.address(project), kind=Newcomer) as viewer:
        assert viewer.page.query_selector("#sic-tour") is None
